"""What the panels share: a run's accuracy over the rounds beside the run that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labsec import plots

APART = 0.09  # least distance between the names at the ends of two lines


class Race:
    """The part of a picture with both lines, their names and a title that states the finding.

    ax         where to draw, under `plots.style()`
    rounds     length of the lines
    compared   name of the thin dark line
    moving     the artists that `update` changes

    The run before is kept as a dotted ghost, so that a turn of a control shows what it changed.
    """

    def __init__(self, ax: Any, rounds: int, compared: str) -> None:
        self.rounds = np.arange(1, rounds + 1)
        (self.clean,) = ax.plot(self.rounds, np.zeros(rounds), color=plots.CLEAN, linewidth=1.2)
        (self.ghost,) = ax.plot([], [], color=plots.GREY, linewidth=1.5, linestyle=(0, (1, 1)))
        self.ghost_name = ax.text(0, 0, "", color=plots.GREY, fontsize=9, ha="center", va="center")
        self._latest: list[float] = []  # this run, as far as it was drawn
        (self.now,) = ax.plot(self.rounds, np.zeros(rounds), linewidth=2.5)
        self.clean_name = ax.text(rounds + 0.6, 0, compared, color=plots.CLEAN, va="center")
        self.now_name = ax.text(rounds + 0.6, 0, "this run", va="center", fontweight="bold")
        room = 1.1 + 0.011 * max(len(compared), len("this run"))
        ax.set(xlim=(1, rounds * room), ylim=(0, 1.02), xlabel="round", ylabel="test accuracy")
        ax.set_xticks(range(10, rounds + 1, 10))
        ax.set_title(" ")  # an empty string would free the space
        self.title = ax.text(0, 1.04, "", transform=ax.transAxes, fontsize=12, fontweight="bold")
        self.shown: Sequence[float] = ()  # what the thin line shows
        self.moving = [
            *(self.ghost, self.ghost_name, self.title),
            *(self.clean, self.now, self.clean_name, self.now_name),
        ]

    def update(self, title: str, clean: Sequence[float], now: Sequence[float], *, attacked: bool) -> None:
        """Show all of `clean`, and `now` up to the latest round, in the attacker's colour or the defender's."""
        # A new run begins where the lines do not go on. One that was interrupted leaves no ghost.
        if len(now) <= len(self._latest) == len(self.rounds):
            self._leave_ghost(clean)
        self._latest = list(now)
        self.title.set_text(title)
        if clean is not self.shown:
            self.clean.set_ydata(clean)
            self.shown = clean
        self.now.set_data(self.rounds[: len(now)], now)
        for artist in (self.now, self.now_name):
            artist.set_color(plots.ATTACKER if attacked else plots.DEFENDER)
        heights = _apart(clean[-1], now[-1])
        self.clean_name.set_y(heights[0])
        self.now_name.set_y(heights[1])

    def _leave_ghost(self, clean: Sequence[float]) -> None:
        """Draw the latest run as the ghost, and name it where it is farthest from the thin line, if it is off that."""
        ghost = np.asarray(self._latest)
        self.ghost.set_data(self.rounds, ghost)
        edge = len(ghost) // 6  # a name at an end would leave the axes
        apart = np.abs(ghost - clean)[edge : len(ghost) - edge]
        place = int(apart.argmax()) + edge
        below = -1 if ghost[place] < clean[place] else 1
        self.ghost_name.set_text("before" if apart.max() > APART else "")
        self.ghost_name.set_position((self.rounds[place], float(ghost[place]) + below * APART * 0.7))


def _apart(clean: float, now: float) -> tuple[float, float]:
    """Heights for the two names, pushed apart where the lines meet.

    >>> _apart(0.5, 0.9)
    (0.5, 0.9)
    """
    if abs(clean - now) >= APART:
        return clean, now
    side = APART / 2
    middle = min((clean + now) / 2, 1 - side)
    return (middle + side, middle - side) if clean >= now else (middle - side, middle + side)
