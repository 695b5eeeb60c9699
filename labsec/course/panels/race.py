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
    """

    def __init__(self, ax: Any, rounds: int, compared: str) -> None:
        self.rounds = np.arange(1, rounds + 1)
        (self.clean,) = ax.plot(self.rounds, np.zeros(rounds), color=plots.CLEAN, linewidth=1.2)
        (self.now,) = ax.plot(self.rounds, np.zeros(rounds), linewidth=2.5)
        self.clean_name = ax.text(rounds + 0.6, 0, compared, color=plots.CLEAN, va="center")
        self.now_name = ax.text(rounds + 0.6, 0, "this run", va="center", fontweight="bold")
        room = 1.1 + 0.011 * max(len(compared), len("this run"))
        ax.set(xlim=(1, rounds * room), ylim=(0, 1.02), xlabel="round", ylabel="test accuracy")
        ax.set_xticks(range(10, rounds + 1, 10))
        ax.set_title(" ")  # an empty string would free the space
        self.title = ax.text(0, 1.04, "", transform=ax.transAxes, fontsize=12, fontweight="bold")
        self.shown: Sequence[float] = ()  # what the thin line shows
        self.moving = [self.title, self.clean, self.now, self.clean_name, self.now_name]

    def update(self, title: str, clean: Sequence[float], now: Sequence[float], *, attacked: bool) -> None:
        """Show all of `clean`, and `now` up to the latest round, in the attacker's colour or the defender's."""
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
