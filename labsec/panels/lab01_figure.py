"""The picture of lab 01's panel: accuracy over rounds beside pooled training, and who holds how many samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from labsec import plots

if TYPE_CHECKING:
    from labsec.panels.lab01 import State

APART = 0.1  # least distance between two names at the lines' ends


class Drawing:
    """Artists that are made once; `update` changes their data only."""

    def __init__(self, rounds: int, most_clients: int, most_samples: int) -> None:
        self.figure = plots.figure(6.6, 4.4)
        with plots.style():
            grid = self.figure.add_gridspec(2, 1, height_ratios=(2.4, 1))
            self._lines(self.figure.add_subplot(grid[0]), rounds)
            self._sizes(self.figure.add_subplot(grid[1]), most_clients, most_samples)
        self.moving = [self.title, self.pooled, self.now, self.pooled_name, self.now_name, *self.bars, self.sent]

    def _lines(self, ax: Any, rounds: int) -> None:
        self.rounds = np.arange(1, rounds + 1)
        (self.pooled,) = ax.plot(self.rounds, np.zeros(rounds), color=plots.CLEAN, linewidth=1.2)
        (self.now,) = ax.plot(self.rounds, np.zeros(rounds), color=plots.DEFENDER, linewidth=2.5)
        self.pooled_name = ax.text(rounds + 0.6, 0, "pooled", color=plots.CLEAN, va="center")
        self.now_name = ax.text(rounds + 0.6, 0, "this run", color=plots.DEFENDER, va="center", fontweight="bold")
        ax.set(xlim=(1, rounds * 1.17), ylim=(0, 1.02), xlabel="round", ylabel="test accuracy")
        ax.set_title(" ")  # keeps the room
        self.title = ax.text(0, 1.04, "", transform=ax.transAxes, fontsize=12, fontweight="bold")
        self.sent = ax.text(0.98, 0.05, "", transform=ax.transAxes, ha="right")

    def _sizes(self, ax: Any, clients: int, samples: int) -> None:
        self.bars = list(ax.bar(np.arange(1, clients + 1), np.zeros(clients), color=plots.GREY))
        ax.set(xlim=(0, clients + 1), ylim=(0, samples), xlabel="client", ylabel="digits held")

    def update(self, values: Mapping[str, Any], state: State) -> None:
        """Show a state; nothing is laid out anew."""
        done, here, pooled = len(state.accuracy), state.accuracy[-1], state.pooled[-1]
        self.title.set_text(f"Accuracy {here:.2f} after {done} rounds; pooled training ends at {pooled:.2f}")
        self.pooled.set_ydata(state.pooled)
        self.now.set_data(self.rounds[:done], state.accuracy)
        push = max(0.0, APART - abs(here - pooled)) / 2 * (1 if here > pooled else -1)
        self.pooled_name.set_y(pooled - push)
        self.now_name.set_y(here + push)
        self.sent.set_text(f"{state.megabytes:.1f} MB sent")
        for bar, size in zip(self.bars, [*state.sizes, *[0] * len(self.bars)], strict=False):
            bar.set_height(size)
