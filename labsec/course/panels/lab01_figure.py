"""The picture of lab 01's panel: accuracy over rounds beside pooled training, and who holds how many samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from labsec import plots
from labsec.course.panels.race import Race


@dataclass(frozen=True, eq=False)
class State:
    """What the panel shows after a round.

    accuracy     so far, one number a round; pooled: of training on pooled data, to the end
    megabytes    sent by all clients so far
    sizes        samples that each client holds
    """

    accuracy: list[float]
    pooled: list[float]
    megabytes: float
    sizes: list[int]


class Drawing:
    """Artists that are made once; `update` changes their data only."""

    def __init__(self, rounds: int, most_clients: int, most_samples: int) -> None:
        self.figure = plots.figure(6.6, 4.4)
        with plots.style():
            grid = self.figure.add_gridspec(2, 1, height_ratios=(2.4, 1))
            top = self.figure.add_subplot(grid[0])
            self.race = Race(top, rounds, "pooled")
            self.sent = top.text(0.98, 0.05, "", transform=top.transAxes, ha="right")
            self._sizes(self.figure.add_subplot(grid[1]), most_clients, most_samples)
        self.moving = [*self.race.moving, *self.bars, self.sent]

    def _sizes(self, ax: Any, clients: int, samples: int) -> None:
        self.bars = list(ax.bar(np.arange(1, clients + 1), np.zeros(clients), color=plots.GREY))
        ax.set(xlim=(0, clients + 1), ylim=(0, samples), xlabel="client", ylabel="digits held")

    def update(self, values: Mapping[str, Any], state: State) -> None:
        """Show a state; nothing is laid out anew."""
        done, here, pooled = len(state.accuracy), state.accuracy[-1], state.pooled[-1]
        title = f"Accuracy {here:.2f} after {done} rounds; pooled training ends at {pooled:.2f}"
        self.race.update(title, state.pooled, state.accuracy, attacked=False)
        self.sent.set_text(f"{state.megabytes:.1f} MB sent")
        for bar, size in zip(self.bars, [*state.sizes, *[0] * len(self.bars)], strict=False):
            bar.set_height(size)
