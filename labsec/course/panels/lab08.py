"""The panel of lab 08: how hard a client presses its message together, and what is still read out of it.

The pictures are read while you wait: one client, one digit, and both attackers at work on its messages. The lines, the
accuracy and the bytes come from the committed table of `labsec.study.compression`, five seeds of three digits each.

    METHODS         what can be chosen, with the rates that the strength stands for
    compute         the pictures, with the table's numbers beside them
    reading         the result in words
    SqueezeDrawing  the result as a picture
    panel           all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import metrics, plots
from labsec.course import live
from labsec.data import load
from labsec.study import compression

STRENGTHS = (1, 2, 3, 4, 5)
METHODS = {  # family in the table -> its name here, its five rates, and how a rate is said
    "top-k": ("top-k", compression.KEPT, "{:.0%} kept"),
    "random-k": ("random-k", compression.KEPT, "{:.0%} kept"),
    "QSGD": ("rounded (QSGD)", compression.BITS, "{:.0f} bits"),
    "sign": ("sign", (1,) * len(STRENGTHS), "one rate alone"),
    "SFSQ (our reading)": ("SFSQ (our reading)", compression.FLIPS, "{:.0%} flipped"),
}
MOST_DB = 60  # a better score is drawn at the upper edge


@cache
def _method(family: str, rate: float) -> compression.Method:
    (found,) = (each for each in compression.METHODS if (each.family, each.rate) == (family, rate))
    return found


@cache
def _numbers(family: str, rate: float, observations: int, attacker: str) -> Mapping[str, float]:
    """The table's numbers of one setting: means over the seeds."""
    table = compression.load()
    chosen = (table["family"] == family) & (table["rate"] == rate) & (table["attacker"] == attacker)
    means = table[chosen & (table["observations"] == observations)].mean(numeric_only=True)
    return {str(name): float(value) for name, value in means.items()}


@cache
def _pictured(family: str, rate: float, observations: int, client: int, adaptive: bool) -> Tensor:
    """What one of the attackers reads of a client of seed 0: [1, 8, 8]."""
    method = _method(family, rate)
    place = compression.places(0)[client]
    view = compression.messages(method, seed=0, client=client, place=place, observations=observations)
    label = int(load("digits").y_test[place])
    return compression.pictured(method, view, label=label, adaptive=adaptive)[0].clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Squeezed:
    """What the panel shows of one setting.

    truth         [1, 8, 8] the client's digit
    found         what the plain attacker has in its place, and the adaptive one: [1, 8, 8] each
    scores        their PSNR in dB
    medians       median PSNR over the table's digits, of both attackers
    named         share of the table's digits that they name among 359
    lines         median PSNR at all five strengths, of both attackers
    bytes         of a message in the federation; `dense` of one that is not compressed
    accuracy      of the federation; `full` without compression
    everybody     bytes and accuracy of every method at every rate, [points] each
    """

    truth: Tensor
    found: tuple[Tensor, Tensor]
    scores: tuple[float, float]
    medians: tuple[float, float]
    named: tuple[float, float]
    lines: tuple[list[float], list[float]]
    bytes: float
    dense: float
    accuracy: float
    full: float
    everybody: tuple[list[float], list[float]]


def compute(*, method: str, strength: int, feedback: bool, observations: int, client: int) -> Iterator[Squeezed]:
    """Read one client's messages as both attackers do, and put the table's numbers beside it.

    method          family in the table
    strength        1 … 5: which of the family's rates
    feedback        whether the accuracy is that with error feedback, where the table has it
    observations    messages of the client, compressed anew each time
    client          0 … 2: whose digit
    """
    _, rates, _ = METHODS[method]
    rate = rates[strength - 1]
    truth = load("digits").x_test[compression.places(0)[client]]
    found = tuple(_pictured(method, rate, observations, client, adaptive) for adaptive in (False, True))
    psnr = metrics.psnr(torch.stack(found), truth.expand(2, -1, -1, -1)).tolist()
    plain, adaptive = (_numbers(method, rate, observations, attacker) for attacker in ("plain", "adaptive"))
    lines = tuple(
        [_numbers(method, each, observations, attacker)["median_psnr"] for each in rates]
        for attacker in ("plain", "adaptive")
    )
    column = "accuracy_feedback" if feedback and _method(method, rate).feedback is not None else "accuracy"
    dense = _numbers("none", 1.0, 1, "plain")
    others = [_numbers(family, each, 1, "plain") for family, (_, own, _) in METHODS.items() for each in own]
    yield Squeezed(
        truth=truth,
        found=(found[0], found[1]),
        scores=(psnr[0], psnr[1]),
        medians=(plain["median_psnr"], adaptive["median_psnr"]),
        named=(plain["reidentified"], adaptive["reidentified"]),
        lines=(lines[0], lines[1]),
        bytes=plain["bytes"],
        dense=dense["bytes"],
        accuracy=plain[column],
        full=dense["accuracy"],
        everybody=([each["bytes"] for each in others], [each["accuracy"] for each in others]),
    )


def reading(controls: Mapping[str, Any], state: Squeezed) -> str:
    """The state in words."""
    name, rates, how = METHODS[controls["method"]]
    rate = how.format(rates[controls["strength"] - 1])
    fed = " with error feedback" if _has_feedback(controls) else ""
    messages = "one message" if controls["observations"] == 1 else f"{controls['observations']} messages"
    return (
        f"{name}, {rate}: {state.bytes:,.0f} bytes in place of {state.dense:,.0f}, accuracy {state.accuracy:.3f}{fed} "
        f"({state.full:.3f} uncompressed). From {messages} about picture {controls['client'] + 1} the plain attacker "
        f"reads {state.scores[0]:.1f} dB, the adaptive one {state.scores[1]:.1f}. On five seeds: "
        f"{state.medians[0]:.1f} and {state.medians[1]:.1f} dB, and they name {state.named[0]:.0%} and "
        f"{state.named[1]:.0%} of the digits among 359."
    )


def _has_feedback(controls: Mapping[str, Any]) -> bool:
    return bool(controls["feedback"]) and controls["method"] != "SFSQ (our reading)"


class SqueezeDrawing:
    """Three pictures above; below, the score over the strength, and the accuracy over the bytes.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.1)
        with plots.style():
            parts: Any = self.figure.subfigures(2, 1, height_ratios=(1.35, 1.6))
            top, bottom = parts
            self._pictures(top.subplots(1, 3))
            left, right = bottom.subplots(1, 2)
            self._scores(left)
            self._costs(right)
        self.figure.draw_without_rendering()  # square pictures leave room for their titles in the second pass only
        self.moving = [
            *(*self.shown, *self.written),
            *(*self.lines, *self.points, self.others, self.before, self.here, self.said),
        ]

    def _pictures(self, axes: Any) -> None:
        names = ("the client's", "plain attacker", "adaptive attacker")
        colours = (plots.INK, plots.GREY, plots.ATTACKER)
        self.shown = []
        self.written = []
        for ax, name, colour in zip(axes, names, colours, strict=True):
            self.shown.append(ax.imshow(np.zeros((8, 8)), cmap="gray", vmin=0, vmax=1, interpolation="nearest"))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(name, fontsize=9, fontweight="bold", loc="center", color=colour)
            below = {"transform": ax.transAxes, "ha": "center", "va": "top", "fontsize": 9, "color": colour}
            self.written.append(ax.text(0.5, -0.03, " 0.0 dB", **below))  # keeps the room that a score takes
        self.written[0].set_text(" ")

    def _scores(self, ax: Any) -> None:
        styles = ((plots.GREY, "--", "plain"), (plots.ATTACKER, "-", "adaptive"))
        self.lines = [
            ax.plot(STRENGTHS, [0] * len(STRENGTHS), dash, color=colour, label=name, linewidth=2)[0]
            for colour, dash, name in styles
        ]
        self.points = [ax.plot([1], [0], "o", color=colour, markersize=8)[0] for colour, _, _ in styles]
        ax.axhline(compression.RECOVERED_FROM, color=plots.BAND, linewidth=1.5, zorder=0)
        ax.set(xlim=(0.8, 5.2), ylim=(0, MOST_DB), xticks=STRENGTHS, xlabel="strength", ylabel="median PSNR in dB")
        ax.legend(loc="upper right", frameon=False, fontsize=8)

    def _costs(self, ax: Any) -> None:
        (self.others,) = ax.plot([1], [0], "o", color=plots.GREY, markersize=4, linestyle="none")
        (self.before,) = ax.plot([1], [0], "D", color=plots.INK, markersize=6, linestyle="none")
        (self.here,) = ax.plot([1], [0], "o", color=plots.DEFENDER, markersize=10, linestyle="none")
        self.said = ax.text(0.03, 0.04, "", transform=ax.transAxes, ha="left", va="bottom", fontsize=8)
        ax.set(xlim=(100, 12_000), ylim=(0.82, 0.98), xscale="log", xlabel="bytes of a message", ylabel="accuracy")

    def update(self, values: Mapping[str, Any], state: Squeezed) -> None:
        """Show a state; the layout stays as it is."""
        for image, picture in zip(self.shown, (state.truth, *state.found), strict=True):
            image.set_data((1 - picture[0]).numpy())
        for text, score in zip(self.written[1:], state.scores, strict=True):
            text.set_text(f"{score:.1f} dB")
        place = values["strength"]
        for line, point, scores in zip(self.lines, self.points, state.lines, strict=True):
            line.set_ydata([min(score, MOST_DB) for score in scores])
            point.set_data([place], [min(scores[place - 1], MOST_DB)])
        self.others.set_data(*state.everybody)
        self.before.set_data([state.dense], [state.full])
        self.here.set_data([state.bytes], [state.accuracy])
        fed = ", feedback" if _has_feedback(values) else ""
        self.said.set_text(f"{state.dense / state.bytes:.1f}x smaller{fed}")


def panel() -> live.Panel:
    """The panel: how often the attacker sees an update, the method, its strength, error feedback, and whose picture."""

    def no_rate(values: Mapping[str, Any]) -> str:
        return "The sign has one rate alone." if values["method"] == "sign" else ""

    def no_feedback(values: Mapping[str, Any]) -> str:
        return "SFSQ is right on average." if values["method"] == "SFSQ (our reading)" else ""

    def no_copies(values: Mapping[str, Any]) -> str:
        return "Another copy is the same." if values["method"] in ("sign", "top-k") else ""

    messages = live.log_slider(
        "Messages", 1, compression.OBSERVATIONS, help="About one picture and one model, compressed anew each time."
    )
    strength = live.log_slider("Strength", 3, STRENGTHS, help="1 is mild, 5 is harsh; the sentence says the rate.")
    feedback = live.switch("Error feedback", False, help="Whether clients send later what a message left out.")
    names = {name: family for family, (name, _, _) in METHODS.items()}
    return live.Panel(
        name="lab08",
        attacker={"observations": live.unless(messages, no_copies)},
        defender={
            "method": live.choice("Method", names, "random-k", help="What clients do to send less."),
            "strength": live.unless(strength, no_rate),
            "feedback": live.unless(feedback, no_feedback),
        },
        setting={
            "client": live.choice(
                "Picture", {"first": 0, "second": 1, "third": 2}, "first", help="Whose digit is behind the messages."
            )
        },
        compute=compute,
        draw=SqueezeDrawing(),
        reading=reading,
    )
