"""The pictures of lab 03: samples with a mark and without, the length of messages, and the life of a backdoor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from labsec import plots
from labsec.federation.history import History


def pairs(x: Tensor, marked: Tensor, *, title: str) -> plots.Picture:
    """Pictures as they are, and below each the same one with the mark: [n, 1, h, w] twice.

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

    >>> answered(torch.zeros(2, 1, 4, 4), torch.tensor([7, 7]), torch.tensor([7, 1]), title="Two sevens")
    A row of 2 pictures. Two sevens. Answers before: 7, 7; after: 7, 1.
    """
    fig = plots.figure(min(8.8, 1.1 * len(x)), 1.9)
    for ax, picture, one, other in zip(np.atleast_1d(plots.axes(fig, 1, len(x))), x, before, after, strict=True):
        _show(ax, picture)
        colour = plots.INK if one == other else plots.ATTACKER
        ax.set_xlabel(f"{int(one)} → {int(other)}", color=colour, fontweight="bold", fontsize=11)
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    words = (", ".join(map(str, answers.tolist())) for answers in (before, after))
    return plots.Picture(fig, f"A row of {len(x)} pictures. {title}. Answers before: {'; after: '.join(words)}.")


def lengths(messages: Tensor, malicious: int, *, title: str) -> plots.Picture:
    """The length of every client's message in one round, [clients, dim]; the malicious ones come first."""
    norms = messages.norm(dim=1)  # [clients]
    usual = norms[malicious:].quantile(0.5)
    fig = plots.figure(7.0, 2.2)
    ax = plots.axes(fig)
    clients = np.arange(len(norms))
    ax.scatter(clients[:malicious], norms[:malicious], marker="X", s=80, color=plots.ATTACKER)
    ax.scatter(clients[malicious:], norms[malicious:], color=plots.GREY, edgecolors=plots.INK, linewidths=0.5)
    with plots.style():
        ax.set(yscale="log", xlabel="client", ylabel="length of its message", title=title)
    times = [f"{float(norm / usual):.3g}" for norm in norms[:malicious]]
    words = f"The attackers' messages are {', '.join(times)} times as long as the honest median"
    return plots.Picture(fig, f"Dots on a logarithmic scale. {title}. {words}.")


def lives(runs: Mapping[str, History], stops: Sequence[int], *, title: str) -> plots.Picture:
    """Accuracy and success of several runs over the rounds; each attack's last round is marked on its line.

    runs     name -> history with the probe "door"
    stops    the number of each run's last round with an attack
    """
    fig = plots.figure(8.8, 2.8)
    left, right = plots.axes(fig, 1, 2)
    ends = []
    words = []
    for (name, history), (colour, dash), stop in zip(runs.items(), plots.looks(runs), stops, strict=True):
        numbers = history.column("round")
        success = history.column("door")
        left.plot(numbers, history.column("accuracy"), color=colour, linestyle=dash, linewidth=1.5)
        right.plot(numbers, success, color=colour, linestyle=dash)
        right.plot([stop], [success[numbers.index(stop)]], "o", color=colour, markersize=8)
        ends.append((float(success[-1]), name, colour))
        words.append(
            f"{name} has {success[numbers.index(stop)]:.2f} after its last attack and ends at {success[-1]:.2f}"
        )
    with plots.style():
        left.set(xlabel="round", ylabel="test accuracy", ylim=(-0.02, 1.04))
        right.set(xlabel="round", ylabel="success of the door", ylim=(-0.02, 1.04))
        left.set_title(title)
        right.set_title("● last round with an attack", fontsize=10, fontweight="normal")
    plots.label_ends(right, ends)
    return plots.Picture(fig, f"Two line plots. {title}. Success: {'; '.join(words)}.")


def _show(ax: Any, picture: Tensor) -> None:
    """Ink on paper, without axes: [1, h, w]."""
    ax.imshow(1 - picture[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
