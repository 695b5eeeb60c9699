"""What lab 03 measures for its claims: how well a backdoor opens, what it costs, and what is left of it later.

All runs are on digits: thirty clients who have trained for 60 rounds before the first attack. A success counts beyond
what the clean model of the same round and seed says to the same marked samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from labsec import poison, robust
from labsec.course.claims.base import Claim, Reading, Sourced, Spread
from labsec.course.exercises.lab03 import TRIGGER
from labsec.data import load
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.history import History
from labsec.federation.scenario import Scenario
from labsec.study import doors
from labsec.types import Attack

CLIENTS = 30
HONEST_ROUNDS = 60
CLEAN_ROUNDS = 50
UNSEEN = range(10, 15)  # the attacks were tried out on seeds 0 to 4


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """An attack that ends.

    malicious    how many of the clients
    attack       what they send
    rounds       for how many rounds
    fields       of a scenario: what the server does
    """

    malicious: int
    attack: Attack
    rounds: int
    fields: Mapping[str, Any]

    @property
    def last(self) -> int:
        """The number of the last round with an attack."""
        return HONEST_ROUNDS + self.rounds - 1


def replacing(boost: float, **more: Any) -> Attack:
    """Train on poisoned samples, and send the result so many times as long."""
    return bind(poison.model_replacement, trigger=TRIGGER, boost=boost, **more)


QUIET = bind(poison.constrain_and_scale, trigger=TRIGGER, boost=30.0, norm=1.0, steps=20)
CLIP: Mapping[str, Any] = {"server_stages": [robust.MedianNormClip()]}
OPENING = {
    "1 of 30, one round": Campaign(malicious=1, attack=replacing(30.0, steps=20), rounds=1, fields={}),
    "6 of 30, data alone": Campaign(malicious=6, attack=replacing(1.0), rounds=20, fields={}),
    "6 of 30, below a clip": Campaign(malicious=6, attack=QUIET, rounds=60, fields=CLIP),
}
LASTING = {
    "x 30, one round": Campaign(malicious=1, attack=replacing(30.0, steps=20), rounds=1, fields={}),
    "data alone, 20 rounds": Campaign(malicious=1, attack=replacing(1.0), rounds=20, fields={}),
    "x 3, 20 rounds": Campaign(malicious=1, attack=replacing(3.0), rounds=20, fields={}),
    "x 30, 20 rounds": Campaign(malicious=1, attack=replacing(30.0, steps=20), rounds=20, fields={}),
}


@cache
def federation(seed: int) -> Scenario:
    """The federation that the attackers join, with a probe for the backdoor."""
    digits = load("digits")
    probes = {"door": doors.success(TRIGGER, digits.x_test, digits.y_test)}
    return doors.grown(Scenario.fedavg(seed=seed, probes=probes), honest_rounds=HONEST_ROUNDS)


@cache
def clean(seed: int) -> History:
    """The run in which nobody attacks and the server averages."""
    return run(replace(federation(seed), rounds=60 + CLEAN_ROUNDS))


def attacked(seed: int, campaign: Campaign, *, clean_rounds: int) -> History:
    """The run under a campaign, and so many rounds without one."""
    attack = bind(poison.during, attack=campaign.attack, rounds=range(HONEST_ROUNDS, campaign.last + 1))
    late = replace(federation(seed), rounds=campaign.rounds + clean_rounds, **campaign.fields)
    return run(replace(late, malicious=campaign.malicious / CLIENTS, attack=attack))


def gained(seed: int, campaign: Campaign, *, clean_rounds: int) -> float:
    """Success beyond the clean model's, in points, so many rounds after the last attack."""
    after = doors.aftermath(
        attacked(seed, campaign, clean_rounds=clean_rounds), "door", last=campaign.last, clean_rounds=clean_rounds
    )
    baseline = doors.aftermath(clean(seed), "door", last=campaign.last, clean_rounds=clean_rounds)
    return 100 * (after[-1] - baseline[-1])


# Claim 10: the accuracy stays, and the trigger works.
OPENS = 50.0  # points
HARDLY = 3.0  # points of accuracy


def opened(seed: int) -> Mapping[str, float]:
    """Points of success after the last attack, beyond the clean model's, on marked test digits of other classes"""
    return {name: gained(seed, campaign, clean_rounds=0) for name, campaign in OPENING.items()}


def paid(seed: int) -> Mapping[str, float]:
    """The price: points of accuracy that the same attacks cost in the round in which they cost most"""
    found = {}
    for name, campaign in OPENING.items():
        under = attacked(seed, campaign, clean_rounds=0).accuracy
        found[name] = max(
            100 * (alone - now) for alone, now in zip(clean(seed).accuracy[: len(under)], under, strict=True)
        )
    return found


def is_hidden(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= OPENS and compared[name]["max"] <= HARDLY


def stays_and_works(measured: Spread, compared: Spread) -> str:
    hidden = [name for name in OPENING if is_hidden(name, measured, compared)]
    if len(hidden) == len(measured):
        return "held"
    return f"depends on the attack: so for {'; '.join(hidden)}" if hidden else "did not hold"


# Claim 11: three percent, and it stays.
def left_later(seed: int) -> Mapping[str, float]:
    """Points of success left after 50 rounds without an attack, beyond the clean model's; 1 of 30 attacks"""
    return {name: gained(seed, campaign, clean_rounds=CLEAN_ROUNDS) for name, campaign in LASTING.items()}


def had_at_first(seed: int) -> Mapping[str, float]:
    """The same after the last attack"""
    return {name: gained(seed, campaign, clean_rounds=0) for name, campaign in LASTING.items()}


def is_persistent(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= OPENS


def persists(measured: Spread, compared: Spread) -> str:
    lasting = [name for name in LASTING if is_persistent(name, measured, compared)]
    if len(lasting) == len(measured):
        return "held"
    return f"depends on how loud and how long: persistent only for {'; '.join(lasting)}" if lasting else "did not hold"


CLAIMS = (
    Claim(
        id="10",
        statement="The accuracy on clean samples stays, and the trigger works.",
        measure=opened,
        baseline=paid,
        verdict=stays_and_works,
        seeds=UNSEEN,
        tolerance=10.0,
        unit="points",
        rule="An attack is hidden if in every seed its success is 50 points or more above the clean model's, and it "
        "costs 3 points or less of accuracy in its worst round. Held if all three are hidden; depends "
        "if some are; else did not hold. The seeds were not looked at when the rule was written.",
        thresholds=((OPENS, "● ≥ 50"), (HARDLY, "○ ≤ 3")),
        supports=is_hidden,
    ),
    Claim(
        id="11",
        statement="3 % of the clients are enough to implant a persistent backdoor.",
        measure=left_later,
        baseline=had_at_first,
        verdict=persists,
        seeds=UNSEEN,
        tolerance=10.0,
        unit="points",
        rule="A backdoor is persistent if in every seed its success is still 50 points or more above the clean model's "
        "after 50 rounds without an attack. What it costs in accuracy is not part of this claim. Held if all four "
        "attacks of one client in thirty leave one; depends if some do; else did not hold. The seeds were not looked "
        "at when the rule was written.",
        thresholds=((OPENS, "● ≥ 50"),),
        supports=is_persistent,
    ),
    Sourced(
        id="12",
        statement="Kits that plant backdoors in federated models are sold for less than $ 500.",
        asked=(
            "Who offered which kit where, and when?",
            "Who bought one and looked at what it does?",
            "What does it do that the few lines of this lab do not?",
        ),
        found="In a search of public web pages on 21 November 2026: no offer and no buyer. Markets that no search "
        "engine reads were not searched. What this lab needs costs nothing: the attacks are published, with code.",
        verdict="cannot be tested, because no source for the price was found",
    ),
    Sourced(
        id="13",
        statement="MITRE has recorded 14 incidents of this kind in finance.",
        asked=(
            "Which entries of the public list of ATLAS case studies are they? Search it for federations.",
            "Is a case an incident, or an exercise of researchers? The list says which.",
            "Who counted by industry, and what counts as finance?",
        ),
        found="The case studies that MITRE ATLAS lists (version 5.6, November 2026): none speaks of a federation, and "
        "there is no count by industry.",
        verdict="cannot be tested, because no list of the 14 was found",
    ),
    Reading(
        id="14",
        statement="Backdoors in federated models parallel poisoned code assistants.",
        says="In the case on code assistants, instructions hidden in a shared rules file made the assistants write "
        "harmful code, and told them to stay silent about it. Common to both: something that many share is changed by "
        "one, and nothing looks odd. Different: there nobody trained a model; the file was read anew each time, and it "
        "was an exercise of researchers.",
        verdict="depends on what is compared: the hidden change, but not the way it gets in",
        sources=(
            "MITRE ATLAS, case study AML.CS0041, Rules File Backdoor: Supply Chain Attack on AI Coding Assistants",
            "Bagdasaryan et al. 2020, How To Backdoor Federated Learning, arXiv:1807.00459",
        ),
    ),
)
