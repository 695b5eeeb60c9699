"""The panel of lab 03: attackers who come late, plant a backdoor, and stop; live.

Thirty clients have learned to read digits before the first attack. Some of them then poison a share of their samples,
send what they learned some times as long, for one round or for fifteen, and are honest again ever after.

    scenario      the federation behind the controls
    compute       its run, with what the model says to a few digits, with the mark and without
    reading       the result in words
    DoorDrawing   the result as a picture
    panel         all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from torch import Tensor

from labsec import plots, poison, robust
from labsec.course import live
from labsec.course.exercises.lab03 import TRIGGER
from labsec.data import load
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.scenario import Scenario
from labsec.study import doors

CLIENTS = 30
HONEST_ROUNDS = 60  # before the panel begins
BEGINS = 5  # the first round with an attack, counted from 0
ROUNDS = 50
LENGTHS = {"one round": 1, "15 rounds": 15}
SHARES = tuple(count / CLIENTS for count in (0, 1, 2, 3, 6, 9))
BOOSTS = (1.0, 3.0, 10.0, 30.0)
POISONED = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
SHOWN = (3, 4, 5, 8, 9)  # a test digit of each of these classes


@cache
def _grown() -> Scenario:
    """The federation that the attackers join, with a probe for the backdoor."""
    digits = load("digits")
    probes = {"door": doors.success(TRIGGER, digits.x_test, digits.y_test)}
    late = doors.grown(Scenario.fedavg(probes=probes), honest_rounds=HONEST_ROUNDS)
    return replace(late, rounds=ROUNDS)


def scenario(*, malicious: float, boost: float, share: float, attacked: int, clip: bool) -> Scenario:
    """The federation behind the panel.

    malicious    share of the clients
    boost        how many times what they learned the attackers send
    share        of poisoned samples in what they train on
    attacked     in how many rounds
    clip         whether the server shortens long messages to the median norm

    >>> scenario(malicious=0.1, boost=3.0, share=0.5, attacked=15, clip=False).malicious_count
    3
    """
    stages = (robust.MedianNormClip(),) if clip else ()
    base = replace(_grown(), server_stages=stages)
    if not malicious:
        return base
    first = base.first_round + BEGINS
    attack = bind(poison.model_replacement, trigger=TRIGGER, boost=boost, share=share)
    late = bind(poison.during, attack=attack, rounds=range(first, first + attacked))
    return replace(base, malicious=malicious, attack=late)


@cache
def _clean() -> list[float]:
    return run(scenario(malicious=0.0, boost=1.0, share=0.0, attacked=1, clip=False)).accuracy


@cache
def _digits_shown() -> tuple[Tensor, Tensor]:
    """A test digit of each class that is shown, without the mark and with it: [shown, 1, 8, 8] twice."""
    digits = load("digits")
    places = [int((digits.y_test == label).nonzero()[0, 0]) for label in SHOWN]
    return digits.x_test[places], TRIGGER.stamp(digits.x_test[places])


@dataclass(frozen=True, eq=False)
class RunAndDoor:
    """What the panel shows after a round.

    accuracy    so far, one number a round
    success     so far: of the test digits of other classes, with the mark, those that get the target's label
    clean       accuracy of the whole run in which nobody attacks
    stops       the first round, from 0, in which nobody attacks any more
    length      of the attackers' messages over the honest median, in the last round with an attack; NaN before
    last        the last round
    """

    accuracy: list[float]
    success: list[float]
    clean: list[float]
    stops: int
    length: float
    last: Round

    @cached_property
    def answers(self) -> tuple[list[int], list[int]]:
        """What the model says to the digits that are shown, without the mark and with it."""
        model = _grown().network()
        plain, marked = (model(self.last.after[None], x[None])[0].argmax(dim=1).tolist() for x in _digits_shown())
        return plain, marked


def compute(**controls: Any) -> Iterator[RunAndDoor]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s = scenario(**controls)
    stops = BEGINS + controls["attacked"]
    accuracy: list[float] = []
    success: list[float] = []
    length = float("nan")
    for result in rounds(s):
        accuracy.append(result.metrics["accuracy"])
        success.append(result.metrics["door"])
        if s.malicious_count and BEGINS <= len(accuracy) - 1 < stops:
            norms = result.messages.norm(dim=1)  # [clients], the malicious ones first
            honest = norms[s.malicious_count :].quantile(0.5)
            length = float(norms[: s.malicious_count].mean() / honest)
        yield RunAndDoor(list(accuracy), list(success), _clean(), stops, length, result)


def reading(controls: Mapping[str, Any], state: RunAndDoor) -> str:
    """The state in words."""
    count = round(controls["malicious"] * CLIENTS)
    clipped = "the server clips" if controls["clip"] else "the server does not clip"
    if not count:
        return (
            f"Nobody attacks, {clipped}. Accuracy {state.accuracy[-1]:.2f}; the mark is answered with "
            f"{TRIGGER.target} in {state.success[-1]:.0%} of the cases: that is the baseline."
        )
    when = "one round" if controls["attacked"] == 1 else f"{controls['attacked']} rounds"
    who = f"{count} of {CLIENTS} clients poison {controls['share']:.0%} and send {controls['boost']:g} times, {when}"
    if len(state.success) <= BEGINS:
        return f"{who}; {clipped}. The attack has not begun."
    during = slice(BEGINS, state.stops)
    lowest = min(state.accuracy[during])
    last = state.success[during][-1]
    return (
        f"{who}; {clipped}. Their messages are {state.length:.1f} times as long as honest ones. Success "
        f"{last:.2f} after the last attack, {state.success[-1]:.2f} at the end. Accuracy {lowest:.2f} at its lowest, "
        f"clean run {min(state.clean[during]):.2f}; {state.accuracy[-1]:.2f} at the end."
    )


SIDE = 8
GAP = 4  # pixels between two digits
SELDOM = 0.5  # zorder of what changes with a setting, and not in every round


class DoorDrawing:
    """Accuracy and success over the rounds, and digits with the mark and without, with the model's answers.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        top, bottom = plots.axes(self.figure, 2, 1, height_ratios=(1.15, 1))
        with plots.style():
            self._lines(top)
            self._digits(bottom)
        self._latest: list[float] = []  # the success of this run, as far as it was drawn
        self.moving = [
            *(self.span, self.stop, self.stop_name, self.ghost, self.clean, self.accuracy, self.success),
            *(self.title, self.accuracy_name, self.success_name, *self.plain, *self.marked),
        ]

    def _lines(self, ax: Any) -> None:
        self.numbers = np.arange(1, ROUNDS + 1)
        blank = np.full(ROUNDS, np.nan)
        (self.clean,) = ax.plot(self.numbers, blank, color=plots.CLEAN, linewidth=1.2)
        (self.accuracy,) = ax.plot([], [], color=plots.DEFENDER, linewidth=2.0, linestyle="--")
        (self.success,) = ax.plot([], [], color=plots.ATTACKER, linewidth=2.5)
        (self.ghost,) = ax.plot([], [], color=plots.GREY, linewidth=1.5, linestyle=(0, (1, 1)), zorder=SELDOM)
        self.span = ax.axvspan(BEGINS + 0.5, BEGINS + 1.5, color=plots.BAND, linewidth=0, zorder=SELDOM)
        self.stop = ax.axvline(BEGINS + 1.5, color=plots.GREY, linewidth=1, zorder=SELDOM)
        self.stop_name = ax.text(0, 0.25, "the attack\nstops", color=plots.GREY, fontsize=9, va="bottom", zorder=SELDOM)
        self.accuracy_name = ax.text(ROUNDS + 0.8, 0, "accuracy", color=plots.DEFENDER, va="center")
        self.success_name = ax.text(ROUNDS + 0.8, 0, "success", color=plots.ATTACKER, va="center", fontweight="bold")
        ax.set(xlim=(1, ROUNDS * 1.22), ylim=(-0.02, 1.04), xlabel="round", ylabel="share")
        ax.set_xticks(range(10, ROUNDS + 1, 10))
        ax.set_title(" ")  # an empty string would free the space
        self.title = ax.text(0, 1.05, "", transform=ax.transAxes, fontsize=12, fontweight="bold")

    def _digits(self, ax: Any) -> None:
        without, marked = _digits_shown()
        width = len(SHOWN) * (SIDE + GAP)
        sheet = np.full((2 * SIDE + 2 * GAP, width), np.nan)
        centres = [place * (SIDE + GAP) + SIDE / 2 - 0.5 for place in range(len(SHOWN))]
        for place, pair in enumerate(zip(without, marked, strict=True)):
            left = place * (SIDE + GAP)
            for top, image in zip((0, SIDE + GAP), pair, strict=True):
                sheet[top : top + SIDE, left : left + SIDE] = (1 - image[0]).numpy()
        ax.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
        ax.set(xticks=[], yticks=[], xlim=(-12, width), ylim=(2 * SIDE + 2 * GAP, -1))
        ax.spines[:].set_visible(False)
        for row, label in ((0, "digit,\nanswer"), (SIDE + GAP, "with the\nmark")):
            ax.text(-2, row + SIDE / 2, label, ha="right", va="center", fontsize=9)
        below = {"ha": "center", "va": "top", "fontsize": 10, "fontweight": "bold"}
        self.plain = [ax.text(x, SIDE - 0.2, "", **below) for x in centres]
        self.marked = [ax.text(x, 2 * SIDE + GAP - 0.2, "", **below) for x in centres]

    def update(self, values: Mapping[str, Any], state: RunAndDoor) -> None:
        """Show a state; the layout stays as it is."""
        # A new run begins where the lines do not go on; the run before stays as a ghost.
        if len(state.success) <= len(self._latest) == ROUNDS:
            self.ghost.set_data(self.numbers, self._latest)
        self._latest = state.success
        shown = self.numbers[: len(state.success)]
        self.clean.set_ydata(state.clean)
        self.accuracy.set_data(shown, state.accuracy)
        self.success.set_data(shown, state.success)
        self._attack(state.stops if values["malicious"] else BEGINS)
        self.title.set_text(f"Accuracy {state.accuracy[-1]:.2f}, success {state.success[-1]:.2f}")
        heights = _apart(state.accuracy[-1], state.success[-1])
        self.accuracy_name.set_y(heights[0])
        self.success_name.set_y(heights[1])
        for texts, answers in zip((self.plain, self.marked), state.answers, strict=True):
            for text, answer, label in zip(texts, answers, SHOWN, strict=True):
                text.set_text(str(answer) if answer == label else f"{answer} ✗")
                text.set_color(plots.INK if answer == label else plots.ATTACKER)

    def _attack(self, stops: int) -> None:
        """Shade the rounds with an attack, and mark where it stops."""
        self.span.set_width(stops - BEGINS)
        is_there = stops > BEGINS
        self.stop.set_visible(is_there)
        self.stop.set_xdata([stops + 0.5, stops + 0.5])
        self.stop_name.set_text("the attack\nstops" if is_there else "")
        self.stop_name.set_x(stops + 1.0)


APART = 0.1  # least distance between the names at the ends of two lines


def _apart(one: float, other: float) -> tuple[float, float]:
    """Heights for two names, pushed apart where the lines meet.

    >>> _apart(0.9, 0.2)
    (0.9, 0.2)
    """
    if abs(one - other) >= APART:
        return one, other
    middle = min((one + other) / 2, 1 - APART / 2)
    return (middle + APART / 2, middle - APART / 2) if one >= other else (middle - APART / 2, middle + APART / 2)


def panel() -> live.Panel:
    """The panel: share and boost of the attackers, poisoned samples and rounds, and a clip at the server."""
    _clean()

    def idle(values: Mapping[str, Any]) -> str:
        return "" if values["malicious"] else "Nobody attacks."

    boost = live.log_slider("Boost", 3.0, BOOSTS, fmt="{:g}", help="How many times what they learned they send.")
    share = live.log_slider(
        "Poisoned samples", 0.5, POISONED, fmt="{:.0%}", help="Marked samples among those that they train on."
    )
    attacked = live.choice("They attack for", LENGTHS, "15 rounds", help="Afterwards they are honest.")
    return live.Panel(
        name="lab03",
        attacker={
            "malicious": live.log_slider("Malicious fraction", 0.1, SHARES, fmt="{:.0%}"),
            "boost": live.unless(boost, idle),
            "share": live.unless(share, idle),
            "attacked": live.unless(attacked, idle),
        },
        defender={"clip": live.switch("Clip length", False, help="To the median norm of the round, then the mean.")},
        compute=compute,
        draw=DoorDrawing(),
        reading=reading,
    )
