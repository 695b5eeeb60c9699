"""The picture of lab 00's panel: accuracy over rounds, bytes sent, private digits and what the server makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import plots
from labsec.course.panels.race import Race

SHOWN = 8  # digits side by side; one place more is kept for the guess that needs no message
GAP = 2  # white pixels between them
SIDE = 8  # pixels of a digit


@dataclass(frozen=True, eq=False)
class State:
    """What the panel shows after a round.

    accuracy     so far, one number a round; clean: of the whole run without attack and defence
    megabytes    sent by the clients so far, and what they would have sent uncompressed
    truth        [n, 1, 8, 8] the private digits of one client; recovered: the server's best guess for each
    psnr         [n] in dB; from recovered_from on, a digit counts as recovered
    mean         [1, 8, 8] the mean digit, a guess without any message; baseline: its median PSNR
    """

    accuracy: list[float]
    clean: list[float]
    megabytes: tuple[float, float]
    truth: Tensor
    recovered: Tensor
    psnr: Tensor
    mean: Tensor
    baseline: float
    recovered_from: float = 25.0


class Drawing:
    """Artists that are made once; `update` changes their data only."""

    def __init__(self, rounds: int) -> None:
        self.figure = plots.figure(6.6, 4.9)
        with plots.style():
            grid = self.figure.add_gridspec(3, 2, height_ratios=(3.0, 1, 1.25), width_ratios=(9, 1))
            self.race = Race(self.figure.add_subplot(grid[0, 0]), rounds, "clean")
            self._bytes(self.figure.add_subplot(grid[0, 1]))
            self._digits(self.figure.add_subplot(grid[1, :]), self.figure.add_subplot(grid[2, :]))
        self.moving = [*self.race.moving, self.bar, self.sent, self.private, self.guess, *self.scores]

    def _bytes(self, ax: Any) -> None:
        self.bar = ax.bar([0], [1], color=plots.DEFENDER, width=0.8)[0]
        ax.bar([0], [1], color=plots.BAND, width=0.8)
        ax.set(xlim=(-0.6, 0.6), ylim=(0, 1), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title("sent", fontsize=10, fontweight="normal", loc="center")
        self.sent = ax.text(0, -0.03, "", ha="center", va="top")

    def _digits(self, top: Any, bottom: Any) -> None:
        self.private = _strip(top, "one client's\nprivate digits", plots.INK)
        self.guess = _strip(bottom, "recovered by\nthe server", plots.ATTACKER)
        centres = [i * (SIDE + GAP) + SIDE / 2 - 0.5 for i in range(SHOWN + 1)]
        self.scores = [bottom.text(x, SIDE + 0.8, "", ha="center", va="top", fontsize=8) for x in centres]
        middle = {"ha": "center", "va": "center", "fontsize": 8}
        top.text(centres[-1], SIDE / 2 - 0.5, "a guess\nwithout a\nmessage", **middle)

    def update(self, values: Mapping[str, Any], state: State) -> None:
        """Show a state; nothing is laid out anew."""
        found = int((state.psnr >= state.recovered_from).sum())
        title = f"Accuracy {state.accuracy[-1]:.2f}; {found} of {len(state.psnr)} digits read"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))
        self.bar.set_height(state.megabytes[0] / state.megabytes[1])
        self.sent.set_text(f"{state.megabytes[0]:.1f} MB")
        self.private.set_data(_mosaic(state.truth[:SHOWN]))
        self.guess.set_data(_mosaic(state.recovered[:SHOWN], state.mean))
        marks = [_score(float(p), state.recovered_from) for p in state.psnr[:SHOWN]]
        marks += [""] * (SHOWN - len(marks)) + [_score(state.baseline, state.recovered_from)]
        for text, mark in zip(self.scores, marks, strict=True):
            text.set_text(mark)


def _strip(ax: Any, label: str, colour: str) -> Any:
    blank = np.ones((SIDE, (SHOWN + 1) * (SIDE + GAP) - GAP))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour, labelpad=8)
    return ax.imshow(blank, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")


def _mosaic(images: Tensor, last: Tensor | None = None) -> np.ndarray:
    """Digits [n, 1, 8, 8] side by side as ink on paper, and one in the last place; a missing guess is a grey square."""
    strip = torch.full((SIDE, (SHOWN + 1) * (SIDE + GAP)), torch.nan)  # nothing is drawn there
    for i, image in [*enumerate(images), *([(SHOWN, last)] if last is not None else [])]:
        strip[:, i * (SIDE + GAP) : i * (SIDE + GAP) + SIDE] = torch.nan_to_num(1 - image[0], nan=0.85)
    return strip[:, :-GAP].numpy()


def _score(psnr: float, recovered_from: float) -> str:
    return "none" if psnr == float("-inf") else f"{psnr:.0f} dB" + (" ✓" if psnr >= recovered_from else "")
