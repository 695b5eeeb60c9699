"""What lab 06 measures for its claim: a bound on the length of a message against clients that shout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from labsec import robust
from labsec.course.claims.base import Claim, Spread
from labsec.course.exercises.lab06 import SCENARIO
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario

BOUND = 0.5


def points_lost(seed: int, scenario: Scenario) -> float:
    """Points of accuracy that the attackers of a scenario cost, against the clean mean of the same seed."""
    clean = run(replace(SCENARIO, malicious=0.0, attack=None, seed=seed))
    attacked = run(replace(scenario, seed=seed))
    return 100 * (clean.final_accuracy - attacked.final_accuracy)


def lost_behind_the_bound(seed: int) -> Mapping[str, float]:
    """Points lost to 6 of 30 clients that send 10 times the opposite, with a bound of 0.5"""
    bounded = replace(SCENARIO, server_stages=(bind(robust.norm_clip, bound=BOUND),))
    return {"bound 0.5": points_lost(seed, bounded)}


def lost_without_a_bound(seed: int) -> Mapping[str, float]:
    """The same under the plain mean"""
    return {"plain mean": points_lost(seed, SCENARIO)}


def stops(measured: Spread, compared: Spread) -> str:
    stopped = measured["bound 0.5"]["max"] <= 10 and compared["plain mean"]["min"] >= 30
    return "held" if stopped else "did not hold"


CLAIMS = (
    Claim(
        id="draft06",
        statement="A bound on the length of messages stops a loud minority.",
        measure=lost_behind_the_bound,
        baseline=lost_without_a_bound,
        verdict=stops,
        tolerance=5.0,
        unit="points",
        rule="Held if in every seed the bound loses 10 points or less and the mean 30 or more; else did not hold.",
        thresholds=((10, "● ≤ 10"), (30, "○ ≥ 30")),
    ),
)
