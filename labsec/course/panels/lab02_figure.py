"""The picture of lab 02's panel: accuracy over rounds, and the crowd of messages as the server could see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from labsec import plots
from labsec.course.panels.race import Race

LENGTHS = (0.03, 30.0)  # what lies outside is drawn at the edge


@dataclass(frozen=True, eq=False)
class State:
    """What the panel shows after a round.

    accuracy    so far; clean: of the whole run without attack, under the plain mean
    cosine      [clients] of each message with the honest mean; length: its norm over the honest median norm
    malicious   how many of the messages, from the first, are the attackers'
    moved       (cosine, length) of the rule's result
    """

    accuracy: list[float]
    clean: list[float]
    cosine: Tensor
    length: Tensor
    malicious: int
    moved: tuple[float, float]


class Drawing:
    """Artists that are made once; `update` changes their data only."""

    def __init__(self, rounds: int) -> None:
        self.figure = plots.figure(6.6, 5.4)
        top, bottom = plots.axes(self.figure, 2, 1, height_ratios=(1.25, 1))
        with plots.style():
            self.race = Race(top, rounds, "clean mean")
            self._crowd(bottom)
        self.moving = [*self.race.moving, self.honest, self.bad, self.step, self.step_name]

    def _crowd(self, ax: Any) -> None:
        ax.set(xlim=(-1.08, 1.08), ylim=LENGTHS, yscale="log")
        ax.set(xlabel="cosine with the honest mean", ylabel="length (honest median = 1)")
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.set_title("Who stands out? Last round's messages, and the rule's step", fontsize=10)
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

    def update(self, values: Mapping[str, Any], state: State) -> None:
        """Show a state; nothing is laid out anew."""
        held = "holds" if state.accuracy[-1] > state.clean[-1] - 0.1 else "fails"
        title = f"{values['rule'][0].upper()}{values['rule'][1:]} {held}: accuracy {state.accuracy[-1]:.2f}"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))
        length = state.length.clamp(0.04, 25).numpy()
        cosine, m = state.cosine.numpy(), state.malicious
        self.bad.set_data(cosine[:m], length[:m])
        self.honest.set_data(cosine[m:], length[m:])
        x, y = state.moved[0], min(max(state.moved[1], 0.04), 25)
        self.step.set_data([x], [y])
        self.step_name.set_position((x + 0.06 if x < 0.5 else x - 0.06, y))
        self.step_name.set_ha("left" if x < 0.5 else "right")
