"""The panel of lab 02: thirty clients, some of them bad, under one attack and one rule, live.

The rules are those of the matrix, and believe in as many bad clients as they do there.

    scenario        the federation behind the controls
    compute         its run, with the crowd of messages in every round
    reading         the result in words
    CrowdDrawing    the result as a picture
    panel           all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from labsec import matrix, plots
from labsec.course import live
from labsec.course.panels.race import Race
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.scenario import Scenario
from labsec.study import catalogue
from labsec.study.catalogue import KINDS

NO_SUCH_KIND = ("none", "search")  # nobody attacks at a share of zero; whoever knows the rule has a part of its own
ATTACKS = {kind.title: name for name, kind in KINDS.items() if name not in NO_SUCH_KIND}
RULES = {rule.title: name for name, rule in catalogue.RULES.items() if name != "centred_clip"}
SKEWS = {skew.short: name for name, skew in catalogue.SKEWS.items()}
ALIKE = catalogue.SKEWS["iid"].short
ROUNDS = 50  # a third of those of the matrix, so that a move is answered at once
ALIE_Z = 1.5  # the paper's own z does nothing with six attackers of thirty


def scenario(*, skew: str, malicious: float, boost: float, attack: str, rule: str) -> Scenario:
    """The federation behind the panel; attackers who need the honest messages see them.

    >>> scenario(skew=ALIKE, malicious=0.2, boost=3, attack="sign flip", rule="Krum").malicious_count
    6
    """
    base = replace(matrix.cell("digits", SKEWS[skew], "none", RULES[rule], 0), rounds=ROUNDS, evaluate_every=1)
    if not malicious:
        return base
    kind = KINDS[ATTACKS[attack]]
    return replace(base, malicious=malicious, **kind.scenario(ALIE_Z if ATTACKS[attack] == "alie" else boost))


@cache
def _clean(skew: str) -> list[float]:
    return run(scenario(skew=skew, malicious=0, boost=0, attack="", rule="mean")).accuracy


@dataclass(frozen=True, eq=False)
class Crowd:
    """Where the messages of a round stand relative to the honest ones, and where the rule went.

    cosine         [clients] of each message with the honest mean
    length         [clients] its norm over the honest median norm
    malicious      how many of the messages, from the first, are the attackers'
    step_cosine    of the rule's step with the honest mean
    step_length    its norm over the honest median norm
    """

    cosine: Tensor
    length: Tensor
    malicious: int
    step_cosine: float
    step_length: float


@dataclass(frozen=True, eq=False)
class RunAndCrowd:
    """What the panel shows after a round.

    accuracy     so far, one number a round
    clean        accuracy of the whole run without attack, under the plain mean
    last         the last round
    malicious    how many of the clients are the attackers'
    """

    accuracy: list[float]
    clean: list[float]
    last: Round
    malicious: int

    @cached_property
    def crowd(self) -> Crowd:
        """The messages of the last round; measured when asked for, because few rounds are drawn."""
        return _crowd(self.last, self.malicious)


def compute(**controls: Any) -> Iterator[RunAndCrowd]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s = scenario(**controls)
    clean = _clean(controls["skew"])
    accuracy: list[float] = []
    for result in rounds(s):
        accuracy.append(result.metrics["accuracy"])
        yield RunAndCrowd(list(accuracy), clean, result, s.malicious_count)


def _crowd(result: Round, malicious: int) -> Crowd:
    honest = result.messages[result.clients >= malicious]  # [honest, dim]

    # When the model has blown up, and so have all honest updates, there is nothing to compare with.
    if not len(honest):
        nobody = torch.zeros(0)
        return Crowd(cosine=nobody, length=nobody, malicious=0, step_cosine=0.0, step_length=0.0)

    # The rule's step is measured as one message more.
    step = result.after - result.before  # [dim]
    everything = torch.cat([result.messages, step[None]])  # [clients + 1, dim]
    cosine = torch.cosine_similarity(everything, honest.mean(dim=0, keepdim=True), dim=1)
    length = everything.norm(dim=1) / honest.norm(dim=1).quantile(0.5)
    return Crowd(
        cosine=cosine[:-1],
        length=length[:-1],
        malicious=int((result.clients < malicious).sum()),
        step_cosine=float(cosine[-1]),
        step_length=float(length[-1]),
    )


def reading(controls: Mapping[str, Any], state: RunAndCrowd) -> str:
    """The state in words."""
    count = round(controls["malicious"] * matrix.CLIENTS)
    takes_boost = KINDS[ATTACKS[controls["attack"]]].takes_boost
    loud = f", boosted {controls['boost']:g} times" if takes_boost else ""
    who = f"{count} of {matrix.CLIENTS} clients ({controls['attack']}{loud})" if count else "Nobody"
    lost = 100 * (state.clean[-1] - state.accuracy[-1])
    return (
        f"Round {len(state.accuracy)} of {len(state.clean)}, clients {controls['skew']}: {who} against "
        f"{controls['rule']}. Accuracy {state.accuracy[-1]:.2f}, clean mean {state.clean[-1]:.2f}: "
        f"{abs(lost):.0f} points {'lost' if lost >= 0 else 'gained'}. "
        f"The rule's step has cosine {state.crowd.step_cosine:.2f} with the honest mean."
    )


LENGTHS = (0.03, 30.0)  # the axis of the crowd
NEAREST = 0.04  # what lies outside of these two is drawn at them
FARTHEST = 25.0


class CrowdDrawing:
    """Accuracy over rounds, and the crowd of messages as the server could see it.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        top, bottom = plots.axes(self.figure, 2, 1, height_ratios=(1.25, 1))
        with plots.style():
            self.race = Race(top, ROUNDS, "clean mean")
            self._crowd(bottom)
        self.moving = [*self.race.moving, self.honest, self.bad, self.step, self.step_name]

    def _crowd(self, ax: Any) -> None:
        ax.set(xlim=(-1.08, 1.08), ylim=LENGTHS, yscale="log")
        ax.set(xlabel="cosine with the honest mean", ylabel="length")
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.set_title("The last round's messages; the honest median length is 1", fontsize=9)
        ax.axvline(0, color=plots.BAND, zorder=0)
        ax.axhline(1, color=plots.BAND, zorder=0)
        dot = {"linestyle": "none", "markersize": 6, "alpha": 0.75}
        (self.honest,) = ax.plot([], [], marker="o", color=plots.GREY, markeredgecolor=plots.INK, **dot)
        (self.bad,) = ax.plot(
            [], [], marker="X", color=plots.ATTACKER, markeredgecolor="white", **{**dot, "markersize": 9}
        )
        (self.step,) = ax.plot([], [], marker="D", color=plots.DEFENDER, linestyle="none", markersize=9)
        self.step_name = ax.text(0, 0, "the rule's step", color=plots.DEFENDER, fontweight="bold", va="center")
        self.step_name.set_bbox({"facecolor": plots.PAPER, "alpha": 0.8, "edgecolor": "none", "pad": 1})

    def update(self, values: Mapping[str, Any], state: RunAndCrowd) -> None:
        """Show a state; the layout stays as it is."""
        held = "holds" if state.accuracy[-1] > state.clean[-1] - 0.1 else "fails"
        title = f"{values['rule'][0].upper()}{values['rule'][1:]} {held}: accuracy {state.accuracy[-1]:.2f}"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))

        # The malicious messages come first.
        crowd = state.crowd
        cosine = crowd.cosine.numpy()
        length = crowd.length.clamp(NEAREST, FARTHEST).numpy()
        self.bad.set_data(cosine[: crowd.malicious], length[: crowd.malicious])
        self.honest.set_data(cosine[crowd.malicious :], length[crowd.malicious :])

        # The name stands where there is room for it: beside the mark, towards the middle.
        x = crowd.step_cosine
        y = min(max(crowd.step_length, NEAREST), FARTHEST)
        self.step.set_data([x], [y])
        at_left = x < 0.5
        self.step_name.set_position((x + 0.06 if at_left else x - 0.06, y))
        self.step_name.set_ha("left" if at_left else "right")


def _nobody(values: Mapping[str, Any]) -> str:
    return "" if values["malicious"] else "Nobody attacks."


def _nothing_to_boost(values: Mapping[str, Any]) -> str:
    chosen = f"{values['attack']} chooses its own length."
    return _nobody(values) or ("" if KINDS[ATTACKS[values["attack"]]].takes_boost else chosen)


def panel() -> live.Panel:
    """The panel: malicious fraction, attack and boost against the rule, at every skew."""
    for skew in SKEWS:
        _clean(skew)
    of_thirty = f"Share of the {matrix.CLIENTS} clients that one attacker holds."
    malicious = live.slider("Malicious fraction", 0.2, 0.0, 0.5, 1 / matrix.CLIENTS, fmt="{:.0%}", help=of_thirty)
    attack = live.choice("Attack", list(ATTACKS), "sign flip", help="What the malicious clients send.")
    loud = "How many times as long as an honest update."
    boost = live.log_slider("Boost", 3.0, (0.3, 1.0, 3.0, 10.0, 30.0, 100.0), fmt="{:g}", help=loud)
    believes = f"How the server makes one update of all; where it takes an f, it believes in {matrix.BELIEF}."
    return live.Panel(
        name="lab02",
        attacker={
            "malicious": malicious,
            "attack": live.unless(attack, _nobody),
            "boost": live.unless(boost, _nothing_to_boost),
        },
        defender={"rule": live.choice("Rule", list(RULES), "mean", help=believes)},
        setting={"skew": live.choice("Clients' data", list(SKEWS), ALIKE, help="How unlike their labels are.")},
        compute=compute,
        draw=CrowdDrawing(),
        reading=reading,
    )
