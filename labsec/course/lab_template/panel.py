"""The panel of lab NN: clients that shout, and a bound on the length of a message.

federation      the scenario behind the controls
compute         its run
reading         the result in words
RunDrawing      the result as a picture
panel           all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from typing import Any

from labsec import plots, poison, robust
from labsec.course import live
from labsec.course.lab_template.exercises import SCENARIO
from labsec.course.panels.race import Race
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.scenario import Scenario

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
BOOSTS = (1.0, 3.0, 10.0, 30.0)
BOUNDS = (0.1, 0.3, 0.5, 1.0, 3.0, inf)


def federation(*, malicious: float, boost: float, bound: float, seed: int = 0) -> Scenario:
    """The lab's scenario with another share of attackers, another boost and a bound at the server; infinity is none.

    >>> federation(malicious=0.1, boost=3.0, bound=0.5).malicious_count
    3
    """
    return replace(
        SCENARIO,
        malicious=malicious,
        attack=bind(poison.sign_flip, scale=boost) if malicious else None,
        server_stages=() if bound == inf else (bind(robust.norm_clip, bound=bound),),
        seed=seed,
    )


@cache
def _clean(seed: int) -> list[float]:
    return run(federation(malicious=0.0, boost=1.0, bound=inf, seed=seed)).accuracy


@dataclass(frozen=True, eq=False)
class RunSoFar:
    """What the panel shows after a round.

    accuracy    so far, one number a round
    clean       accuracy of the whole run without attack and bound
    """

    accuracy: list[float]
    clean: list[float]


def compute(**controls: Any) -> Iterator[RunSoFar]:
    """Run `federation(**controls)`; a state after every round."""
    accuracy: list[float] = []
    for result in rounds(federation(**controls)):
        accuracy.append(result.metrics["accuracy"])
        yield RunSoFar(list(accuracy), _clean(0))


def reading(controls: Mapping[str, Any], state: RunSoFar) -> str:
    """The state in words."""
    count = round(controls["malicious"] * SCENARIO.clients)
    who = f"{count} of {SCENARIO.clients} clients send {controls['boost']:g} times the opposite"
    held = "nothing is shortened" if controls["bound"] == inf else f"the bound is {controls['bound']:g}"
    lost = 100 * (state.clean[-1] - state.accuracy[-1])
    return f"{who}; {held}. Accuracy {state.accuracy[-1]:.3f}: {lost:.1f} points below the clean run."


class RunDrawing:
    """Accuracy over the rounds beside the clean run. Artists are made once; `update` changes their data only."""

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 3.6)
        with plots.style():
            self.race = Race(self.figure.add_subplot(), SCENARIO.rounds, "clean")
        self.moving = self.race.moving

    def update(self, values: Mapping[str, Any], state: RunSoFar) -> None:
        """Show a state; nothing is laid out anew."""
        title = f"Accuracy {state.accuracy[-1]:.2f} after round {len(state.accuracy)}"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))


def panel() -> live.Panel:
    """The panel: share and boost of the attackers, and the server's bound."""
    held = f"Share of the {SCENARIO.clients} clients that one attacker holds."
    boost = live.log_slider("Boost", 10.0, BOOSTS, help="How many times the opposite of what they learned.")
    return live.Panel(
        name="labNN",
        attacker={
            "malicious": live.log_slider("Malicious share", 0.2, SHARES, fmt="{:.0%}", help=held),
            "boost": live.unless(boost, lambda values: "" if values["malicious"] else "Nobody attacks."),
        },
        defender={"bound": live.log_slider("Bound on a message", inf, BOUNDS, help="Longer messages are shortened.")},
        compute=compute,
        draw=RunDrawing(),
        reading=reading,
    )
