"""The pictures of lab 04: strips of what was read out, and how searches go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from torch import Tensor

from labsec import metrics, plots


def strip(truth: Tensor, found: Mapping[str, Tensor], *, title: str) -> plots.Picture:
    """One picture [channels, h, w], and beside it what each attack has in its place, with the PSNR.

    found    name -> [channels, h, w]; values are shown as if cut to [0, 1], and scored as they are

    >>> import torch
    >>> strip(torch.ones(1, 4, 4), {"a guess": torch.full((1, 4, 4), 0.9)}, title="White")
    A row of 2 pictures. White. The truth; a guess 20.0 dB.
    """
    fig = plots.figure(min(9.0, 1.5 * (1 + len(found))), 2.3)
    first, *others = plots.axes(fig, 1, 1 + len(found))
    _show(first, truth)
    first.set_title("truth", fontsize=9, fontweight="normal", loc="center")
    words = []
    for ax, (name, picture) in zip(others, found.items(), strict=True):
        score = float(metrics.psnr(picture[None].to(truth.dtype), truth[None]))
        _show(ax, picture)
        ax.set_title(name, fontsize=9, fontweight="normal", loc="center")
        ax.set_xlabel(_score(score), fontsize=10, fontweight="bold", color=plots.INK)
        words.append(f"{name} {_score(score)}")
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return plots.Picture(fig, f"A row of {1 + len(found)} pictures. {title}. The truth; {'; '.join(words)}.")


def rows(truth: Tensor, found: Mapping[str, Tensor], *, title: str, height: float = 1.0) -> plots.Picture:
    """Several pictures [n, channels, h, w] in a row, and below them what each attack has in their places.

    found     name -> [n, channels, h, w]
    height    of a row, in inches

    >>> import torch
    >>> rows(torch.ones(3, 1, 4, 4), {"guess": torch.full((3, 1, 4, 4), 0.9)}, title="White")
    Rows of 3 pictures. White. The truth; guess, median 20.0 dB.
    """
    fig = plots.figure(min(9.0, 1.6 + 1.0 * len(truth)), 0.4 + height * (1 + len(found)))
    grid = plots.axes(fig, 1 + len(found), len(truth), squeeze=False)
    words = []
    for line, (name, pictures) in zip(grid, {"truth": truth, **found}.items(), strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            _show(ax, picture)
        label = name
        if name in found:
            score = float(metrics.psnr(pictures.to(truth.dtype), truth).quantile(0.5))
            label = f"{name}\n{_score(score)}"
            words.append(f"{name}, median {_score(score)}")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return plots.Picture(fig, f"Rows of {len(truth)} pictures. {title}. The truth; {'; '.join(words)}.")


def descents(losses: Mapping[str, Sequence[float]], *, title: str) -> plots.Picture:
    """The matching loss of searches over their iterations; one that runs off to NaN ends with a cross.

    >>> descents({"one": [1.0, 0.1], "other": [1.0, float("nan")]}, title="Two searches")
    Line plot on a logarithmic scale. Two searches. one goes from 1 to 0.1; other goes from 1 to numbers that are none.
    """
    fig = plots.figure(7.6, 2.8)
    ax = plots.axes(fig)
    words = []
    dashes = cycle(("-", "--", ":", "-."))
    colours = cycle((plots.ATTACKER, *plots.OTHERS))
    last = max(len(each) for each in losses.values()) - 1
    for (name, values), colour, dash in zip(losses.items(), colours, dashes, strict=False):
        finite = [value for value in values if math.isfinite(value) and value > 0]
        ax.plot(range(len(finite)), finite, color=colour, linestyle=dash, label=name)
        ran_off = len(finite) < len(values)
        ax.plot([len(finite) - 1], [finite[-1]], "X" if ran_off else "o", color=colour, markersize=7)
        end = "numbers that are none" if ran_off else f"{values[-1]:.2g}"
        words.append(f"{name} goes from {values[0]:.2g} to {end}")
    with plots.style():
        ax.set(xlabel="iteration", ylabel="matching loss", yscale="log", title=title, xlim=(0, last))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return plots.Picture(fig, f"Line plot on a logarithmic scale. {title}. {'; '.join(words)}.")


def _score(psnr: float) -> str:
    return f"{psnr:.1f} dB" if math.isfinite(psnr) else "not a picture"


def _show(ax: Any, picture: Tensor) -> None:
    """Grey pictures as ink on paper, colour as it is, without axes: [channels, h, w]."""
    shown = picture.detach().float().nan_to_num().clamp(0, 1)
    if len(shown) == 1:
        ax.imshow((1 - shown[0]).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        ax.imshow(shown.permute(1, 2, 0).numpy(), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
