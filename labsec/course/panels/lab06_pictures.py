"""The pictures of lab 06: messages by two scores, a threshold, a quarantine over the rounds, and layers one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from labsec import plots


def crowds(seen: Mapping[str, tuple[Tensor, Tensor]], malicious: int, *, title: str) -> plots.Picture:
    """The clients of a round by their two scores: a plot for each name; the malicious clients come first.

    seen    name -> scores of lengths and of directions, [clients] each

    >>> import torch
    >>> crowds({"loud": (torch.tensor([9.0, 1.0, 1.0]), torch.ones(3))}, 1, title="One shouts")
    A scatter plot for each of loud. One shouts. Attackers' median length: loud 9.
    """
    fig = plots.figure(8.8, 2.5)
    words = []
    for ax, (name, (lengths, directions)) in zip(_row(fig, len(seen)), seen.items(), strict=True):
        honest = slice(malicious, None)
        ax.scatter(lengths[honest], directions[honest], color=plots.GREY, edgecolors=plots.INK, linewidths=0.4, s=22)
        ax.scatter(lengths[:malicious], directions[:malicious], color=plots.ATTACKER, marker="X", s=50)
        with plots.style():
            ax.set_title(name, fontsize=10)
            ax.set(xscale="log", xlabel="length (1 is usual)", ylim=(0, 2))
        ax.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        ax.minorticks_off()
        words.append(f"{name} {float(lengths[:malicious].quantile(0.5)):.2g}")
    fig.axes[0].set_ylabel("direction\n(2 is against all)")
    _headline(fig, title)
    return plots.Picture(
        fig, f"A scatter plot for each of {', '.join(seen)}. {title}. Attackers' median length: {', '.join(words)}."
    )


def above(scores: Mapping[str, Tensor], threshold: float, *, title: str) -> plots.Picture:
    """Histograms of honest messages' scores among several kinds of clients, and a threshold: name -> [n].

    >>> import torch
    >>> above({"alike": torch.tensor([0.5, 2.0]), "unlike": torch.tensor([2.0, 3.0])}, 1.0, title="Two kinds")
    Two or more histograms. Two kinds. Above the threshold of 1: alike 50%, unlike 100%.
    """
    fig = plots.figure(8.0, 2.1)
    words = []
    everything = np.concatenate([each.numpy() for each in scores.values()])
    low, high = np.quantile(everything, (0.002, 0.998)).tolist()
    edges = np.linspace(low, high, 50)
    for ax, (name, each) in zip(_row(fig, len(scores)), scores.items(), strict=True):
        share = float((each > threshold).double().mean())
        ax.hist(each.numpy(), edges, color=plots.GREY)
        ax.axvline(threshold, color=plots.DEFENDER, linewidth=2)
        with plots.style():
            ax.set_title(f"{name}: {share:.0%} above the threshold (blue)", fontsize=11)
            ax.set(xlabel="score of an honest message", yticks=[])
        words.append(f"{name} {share:.0%}")
    _headline(fig, title)
    return plots.Picture(
        fig, f"Two or more histograms. {title}. Above the threshold of {threshold:.3g}: {', '.join(words)}."
    )


def isolated(notes: Sequence[Mapping[str, Any]], *, clients: int, rounds: int, title: str) -> plots.Picture:
    """Who was in quarantine when, from the notes of a history: a line for each client.

    >>> notes = [{"round": 4, "client": 1, "action": "isolated"}, {"round": 6, "client": 1, "action": "released"}]
    >>> isolated(notes, clients=2, rounds=10, title="One of two")
    A bar over the rounds for each isolation. One of two. 1 of 2 clients was isolated at some time.
    """
    fig = plots.figure(7.6, 2.6)
    ax = plots.axes(fig)
    since: dict[int, int] = {}
    ever = set()
    for note in notes:
        client = note["client"]
        if note["action"] == "isolated":
            since[client] = note["round"]
            ever.add(client)
        elif note["action"] == "released":
            start = since.pop(client)
            ax.barh(client, note["round"] - start, left=start, height=0.8, color=plots.DEFENDER)
    for client, start in since.items():
        ax.barh(client, rounds - start, left=start, height=0.8, color=plots.DEFENDER)
    with plots.style():
        ax.set(xlim=(0, rounds), ylim=(clients - 0.5, -0.5), xlabel="round", ylabel="client", title=title)
    was = "was" if len(ever) == 1 else "were"
    words = f"{len(ever)} of {clients} clients {was} isolated at some time"
    return plots.Picture(fig, f"A bar over the rounds for each isolation. {title}. {words}.")


def layers(lost: Mapping[str, tuple[float, float]], *, title: str) -> plots.Picture:
    """What each defence loses when nobody attacks, and under the worse of two attacks: name -> two numbers of points.

    >>> layers({"mean": (0.0, 30.0), "clip": (1.0, 10.0)}, title="One layer")
    Two dots for each defence. One layer. Points lost to nobody and to the worse attack: mean 0 and 30, clip 1 and 10.
    """
    fig = plots.figure(7.6, 0.9 + 0.27 * len(lost))
    ax = plots.axes(fig)
    places = range(len(lost))
    calm = [pair[0] for pair in lost.values()]
    worst = [pair[1] for pair in lost.values()]
    ax.hlines(places, calm, worst, color=plots.BAND, linewidth=3)
    ax.plot(calm, places, "o", color=plots.DEFENDER, label="nobody attacks")
    ax.plot(worst, places, "X", color=plots.ATTACKER, markersize=9, label="the worse of two attacks")
    with plots.style():
        ax.set_yticks(places, list(lost))
        ax.set(xlabel="points of accuracy below the mean that nobody attacks", ylim=(len(lost) - 0.5, -0.5))
        ax.set_title(title)
        ax.legend(frameon=False, loc="center right")
    words = ", ".join(f"{name} {one:.0f} and {other:.0f}" for name, (one, other) in lost.items())
    return plots.Picture(
        fig, f"Two dots for each defence. {title}. Points lost to nobody and to the worse attack: {words}."
    )


def _row(fig: Any, count: int) -> np.ndarray:
    """Axes side by side that share their scales."""
    return np.atleast_1d(plots.axes(fig, 1, count, sharex=True, sharey=True))


def _headline(fig: Any, title: str) -> None:
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
