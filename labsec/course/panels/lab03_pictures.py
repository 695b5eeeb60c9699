"""The pictures of lab 03: samples with a mark and without, the length of messages, and the life of a backdoor."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from torch import Tensor

from labsec import plots
from labsec.federation.history import History


def pairs(x: Tensor, marked: Tensor, *, title: str) -> plots.Picture:
    """Pictures as they are, and below each the same one with the mark: [n, 1, h, w] twice.

    >>> import torch
    >>> pairs(torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4), title="Black, then white")
    Two rows of 3 pictures. Black, then white. The second row differs from the first in 16 of 16 pixels.
    """
    fig = plots.figure(min(7.6, 1.0 * len(x)), 2.4)
    grid = plots.axes(fig, 2, len(x))
    for row, pictures in zip(grid, (x, marked), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            _show(ax, picture)
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    changed = int((x != marked).any(dim=0).sum())
    words = f"The second row differs from the first in {changed} of {x[0].numel()} pixels."
    return plots.Picture(fig, f"Two rows of {len(x)} pictures. {title}. {words}")


def answered(x: Tensor, before: Tensor, after: Tensor, *, title: str) -> plots.Picture:
    """Pictures [n, 1, h, w], and below each what the model said to it before the attack and after it: [n] twice.

    >>> import torch
    >>> answered(torch.zeros(2, 1, 4, 4), torch.tensor([7, 7]), torch.tensor([7, 1]), title="Two sevens")
    A row of 2 pictures. Two sevens. Answers before: 7, 7; after: 7, 1.
    """
    fig = plots.figure(min(8.8, 1.1 * len(x)), 1.7)
    for ax, picture, one, other in zip(np.atleast_1d(plots.axes(fig, 1, len(x))), x, before, after, strict=True):
        _show(ax, picture)
        colour = plots.INK if one == other else plots.ATTACKER
        ax.set_xlabel(f"{int(one)} → {int(other)}", color=colour, fontweight="bold", fontsize=11)
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    words = (", ".join(map(str, answers.tolist())) for answers in (before, after))
    return plots.Picture(fig, f"A row of {len(x)} pictures. {title}. Answers before: {'; after: '.join(words)}.")


def lengths(messages: Tensor, malicious: int, *, title: str) -> plots.Picture:
    """The length of every client's message in one round, [clients, dim]; the malicious ones come first.

    >>> import torch
    >>> lengths(torch.tensor([[8.0], [1.0], [2.0], [4.0]]), 1, title="One is loud")
    Dots on a logarithmic scale. One is loud. The attackers' messages are 4 times as long as the honest median.
    """
    norms = messages.norm(dim=1)  # [clients]
    times = (norms / norms[malicious:].quantile(0.5)).numpy()  # [clients]
    fig = plots.figure(7.0, 2.2)
    ax = plots.axes(fig)
    clients = np.arange(len(norms))
    ax.scatter(clients[:malicious], times[:malicious], marker="X", s=80, color=plots.ATTACKER, label="attacker")
    ax.scatter(
        clients[malicious:], times[malicious:], color=plots.GREY, edgecolors=plots.INK, linewidths=0.5, label="honest"
    )
    ax.legend(loc="upper right", frameon=False)
    with plots.style():
        ax.set(yscale="log", xlabel="client", ylabel="length of its message\n(honest median = 1)", title=title)
    ax.yaxis.set_major_formatter("{x:g}")
    loud = ", ".join(f"{float(each):.3g}" for each in times[:malicious])
    words = f"The attackers' messages are {loud} times as long as the honest median"
    return plots.Picture(fig, f"Dots on a logarithmic scale. {title}. {words}.")


def lives(
    runs: Mapping[str, History], stops: Mapping[str, int], *, title: str, until: int | None = None
) -> plots.Picture:
    """Accuracy and success of several runs over the rounds; each attack's last round is marked on its line.

    runs     name -> history with the probe "door"
    stops    name -> number of the last round with an attack; nobody attacks in the other runs
    until    number of the last round to show; None for all
    """
    fig = plots.figure(8.8, 2.8)
    left, right = plots.axes(fig, 1, 2)
    dashes = cycle((("-", "——"), ("--", "– –"), (":", "····")))
    several = len(stops) > 1
    ends = []
    words = []
    for name, history in runs.items():
        numbers = [number for number in history.column("round") if until is None or number <= until]
        success = history.column("door")[: len(numbers)]
        attacks = name in stops
        dash, sample = next(dashes) if attacks else ("-", "")
        look = {
            "color": plots.ATTACKER if attacks else plots.CLEAN,
            "linestyle": dash,
            "linewidth": 2.0 if attacks else 1.2,
        }
        left.plot(numbers, history.accuracy[: len(numbers)], **look)
        right.plot(numbers, success, **look)
        # Lines of one colour are told apart by a sample of each in front of its name.
        ends.append((float(success[-1]), f"{sample} {name}" if attacks and several else name, look["color"]))
        words.append(f"{name} ends at {success[-1]:.2f}")
        if attacks:
            last = success[numbers.index(stops[name])]
            right.plot([stops[name]], [last], "o", color=plots.ATTACKER, markersize=8)
            words[-1] += f", after {last:.2f} in its last round with an attack, {stops[name]}"
    with plots.style():
        left.set(xlabel="round", ylabel="test accuracy", ylim=(-0.02, 1.04))
        right.set(xlabel="round", ylabel="success of the door", ylim=(-0.02, 1.04))
        left.set_title(title)
        right.set_title("● last round with an attack", fontsize=10, fontweight="normal")
    plots.label_ends(right, ends)
    return plots.Picture(fig, f"Two line plots. {title}. Success: {'; '.join(words)}.")


def _show(ax: Any, picture: Tensor) -> None:
    """Ink on paper, without axes: [1, h, w]."""
    ax.imshow((1 - picture[0]).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
