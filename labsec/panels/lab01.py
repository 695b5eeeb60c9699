"""The pictures of lab 01: who holds what, what a weighted mean does, what accuracy costs, and a record read back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from labsec import plots
from labsec.scenario import History

MOST_CLIENTS = 40  # that a grid of labels can show


def shards(y: Tensor, parts: Sequence[Tensor], *, title: str) -> plots.Picture:
    """How many samples of every label each client holds, as discs on a grid.

    y        [n] labels
    parts    the samples of each client

    >>> shards(torch.tensor([0, 0, 1]), [torch.tensor([0, 1]), torch.tensor([2])], title="Two clients")
    Grid of discs. Two clients. 2 clients hold 1 to 2 samples each, of 1.0 different labels on average.

    Raises ValueError for more clients than a grid can show.
    """
    if len(parts) > MOST_CLIENTS:
        raise ValueError(f"the grid shows at most {MOST_CLIENTS} clients; got {len(parts)}")
    classes = int(y.max()) + 1
    counts = torch.stack([torch.bincount(y[part], minlength=classes) for part in parts]).numpy()  # [clients, classes]
    fig = plots.figure(7.0, 3.4)
    ax = plots.axes(fig)
    client, label = np.nonzero(counts)
    held = counts[client, label]
    ax.scatter(client, label, s=260 * held / counts.max(), color=plots.DEFENDER, alpha=0.75, linewidth=0)
    ax.set(xlabel="client", ylabel="label", title=title, yticks=range(classes))
    ax.set(xlim=(-0.8, len(parts) - 0.2), ylim=(-0.8, classes - 0.2))
    sizes = counts.sum(axis=1)
    labels = (counts > 0).sum(axis=1).mean()
    return plots.Picture(
        fig,
        f"Grid of discs. {title}. {len(parts)} clients hold {sizes.min()} to {sizes.max()} samples each, "
        f"of {labels:.1f} different labels on average.",
    )


def arrows(updates: Tensor, weights: Tensor, *, plain: Tensor, weighted: Tensor, title: str) -> plots.Picture:
    """A few clients' updates in two dimensions, as wide as the client is large, with both kinds of mean.

    updates            [clients, 2]
    weights            [clients] sample counts
    plain, weighted    [2]
    """
    fig = plots.figure(5.6, 3.8)
    ax = plots.axes(fig)
    widths = 0.004 + 0.010 * weights / weights.max()
    for (x, y), width, count in zip(updates.tolist(), widths.tolist(), weights.tolist(), strict=True):
        _arrow(ax, (x, y), plots.GREY, width)
        ax.annotate(f"{count:g}", (x, y), xytext=(4, 3), textcoords="offset points", color=plots.INK, fontsize=9)
    _arrow(ax, plain.tolist(), plots.OTHERS[1], 0.006)
    _arrow(ax, weighted.tolist(), plots.DEFENDER, 0.006)
    for end, name, colour in ((plain, "plain mean", plots.OTHERS[1]), (weighted, "weighted mean", plots.DEFENDER)):
        ax.annotate(name, end.tolist(), xytext=(6, -12), textcoords="offset points", color=colour, weight="bold")
    reach = 1.25 * float(updates.abs().max())
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), title=title, xlabel="first parameter", ylabel="second parameter")
    places = ", ".join(f"({x:.2f}, {y:.2f})" for x, y in (plain.tolist(), weighted.tolist()))
    return plots.Picture(fig, f"Arrows. {title}. Plain and weighted mean end at {places}.")


def _arrow(ax: Axes, end: Sequence[float], colour: str, width: float) -> None:
    ax.quiver(0, 0, *end, angles="xy", scale_units="xy", scale=1, color=colour, width=width)


def cost(*, title: str, **histories: History) -> plots.Picture:
    """Test accuracy against what the clients have sent so far, one line per name."""
    fig = plots.figure()
    ax = plots.axes(fig)
    words, ends = [], []
    looks = zip((plots.INK, plots.DEFENDER, *plots.OTHERS), plots.DASHES, strict=False)
    for (name, history), (colour, dash) in zip(histories.items(), looks, strict=False):
        megabytes = np.cumsum(history.column("bytes_up")) / 1e6
        ax.plot(megabytes, history.accuracy, color=colour, linestyle=dash)
        ends.append((history.final_accuracy, name.replace("_", " "), colour))
        words.append(f"{name.replace('_', ' ')} sends {megabytes[-1]:.1f} MB for {history.final_accuracy:.2f}")
    ax.set(xlabel="megabytes sent by all clients", ylabel="test accuracy", ylim=(0, 1), title=title)
    plots.label_ends(ax, ends)
    return plots.Picture(fig, f"Line plot. {title}. {'; '.join(words)}.")


def record(truth: Tensor, recovered: Tensor, guess: Tensor, *, title: str) -> plots.Picture:
    """One record's values [features], what was read out of the message, and a guess that needs no message."""
    fig = plots.figure(7.6, 3.2)
    ax = plots.axes(fig)
    places = np.arange(len(truth))
    ax.bar(places, truth.numpy(), color=plots.BAND, edgecolor=plots.GREY, label="the patient's true values")
    ax.plot(places, guess.numpy(), "o", color=plots.INK, fillstyle="none", label="average patient (no message)")
    ax.plot(places, recovered.numpy(), "x", color=plots.ATTACKER, label="read from the message")
    ax.set(xlabel="measurement number", ylabel="value, scaled to 0 … 1", title=title, ylim=(0, 1.3))
    ax.legend(loc="upper left", ncols=3, frameon=False, fontsize=9)
    off, missed = float((truth - recovered).abs().max()), float((truth - guess).abs().max())
    return plots.Picture(
        fig,
        f"Bars and marks. {title}. The values read from the message are off by {off:.2g} at most, "
        f"the average patient by {missed:.2g}.",
    )
