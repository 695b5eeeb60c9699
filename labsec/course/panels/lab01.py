"""The pictures of lab 01, and its panel: who holds what, what a weighted mean does, what accuracy costs, what leaks.

The panel runs federated averaging on the digits, live, beside training on pooled data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from labsec import plots, robust
from labsec.course import live
from labsec.course.panels.race import Race
from labsec.federation.engine import rounds, run
from labsec.federation.history import History
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario

MOST_CLIENTS = 40  # that a grid of labels can show
ROUNDS = 40
CLIENTS = (5, 10, 20, 40)
STEPS = (1, 2, 5, 10, 20)
ALPHAS = (0.1, 0.3, 1.0, 3.0, inf)
MOST_SAMPLES = 460  # that a bar of the panel can show


def shards(y: Tensor, **parts: Sequence[Tensor]) -> plots.Picture:
    """How many samples of every label each client holds, as discs on a grid: a grid for each name.

    y        [n] labels
    parts    the samples of each client

    >>> shards(torch.tensor([0, 0, 1]), dealt=[torch.tensor([0, 1]), torch.tensor([2])])
    Grid of discs. dealt: 2 clients hold 1 to 2 samples each, of 1.0 different labels on average.

    Raises ValueError for more clients than a grid can show.
    """
    most = max(map(len, parts.values()))
    if most > MOST_CLIENTS:
        raise ValueError(f"the grid shows at most {MOST_CLIENTS} clients; got {most}")
    classes = int(y.max()) + 1
    counts = {
        name: torch.stack([torch.bincount(y[own], minlength=classes) for own in shares]).numpy()  # [clients, classes]
        for name, shares in parts.items()
    }
    largest = max(held.max() for held in counts.values())
    fig = plots.figure(8.8, 2.1)
    grids = np.atleast_1d(plots.axes(fig, 1, len(parts)))
    words = []
    for ax, (name, held) in zip(grids, counts.items(), strict=True):
        client, label = np.nonzero(held)
        area = 120 * held[client, label] / largest
        ax.scatter(client, label, s=area, color=plots.DEFENDER, alpha=0.75, linewidth=0)
        ax.set(xlabel="client", ylabel="label", yticks=range(0, classes, 3), xticks=range(0, len(held), 5))
        ax.set(xlim=(-0.8, len(held) - 0.2), ylim=(-0.8, classes - 0.2))
        _title(ax, name.replace("_", " "))
        sizes = held.sum(axis=1)
        labels = (held > 0).sum(axis=1).mean()
        words.append(
            f"{name.replace('_', ' ')}: {len(held)} clients hold {sizes.min()} to {sizes.max()} samples each, "
            f"of {labels:.1f} different labels on average"
        )
    return plots.Picture(fig, f"Grid of discs. {'; '.join(words)}.")


def accuracy(**runs: Sequence[History]) -> plots.Picture:
    """Test accuracy over the rounds as `plots.accuracy` draws it, with a grey band over the seeds, and lower."""
    picture = plots.accuracy(title="Mean of five seeds, and their range", height=2.1, **runs)
    picture.figure.axes[0].set_ylim(0.4, 1.0)  # where the lines differ, so that their names do not touch
    return picture


def arrows(updates: Tensor, weights: Tensor, *, plain: Tensor, weighted: Tensor) -> plots.Picture:
    """A few clients' updates in two dimensions, as arrows that are thicker for larger clients, with both kinds of mean.

    updates            [clients, 2]
    weights            [clients] sample counts
    plain, weighted    [2]
    """
    fig = plots.figure(6.4, 2.1)
    ax = plots.axes(fig)
    for end, count in zip(updates.tolist(), weights.tolist(), strict=True):
        width = 0.002 + 0.006 * count / float(weights.max())
        ax.quiver(0, 0, *end, angles="xy", scale_units="xy", scale=1, color=plots.GREY, width=width)
        ax.annotate(
            f"{count:g}", end, xytext=(5 if end[0] > 0 else -16, 4), textcoords="offset points", color=plots.INK
        )
    ax.plot(*plain.tolist(), "s", color=plots.OTHERS[1], markersize=10, label="plain mean")
    ax.plot(*weighted.tolist(), "D", color=plots.DEFENDER, markersize=10, label="weighted mean")
    ax.legend(loc="lower left", frameon=False)
    low = updates.min(dim=0).values - 0.35  # [2]
    high = updates.max(dim=0).values + 0.35
    ax.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])))
    ax.set(xlabel="first parameter", ylabel="second parameter")
    _title(ax, "Whom does each mean follow?")
    places = " and ".join(f"({x:.2f}, {y:.2f})" for x, y in (plain.tolist(), weighted.tolist()))
    return plots.Picture(fig, f"Arrows of {len(updates)} clients. Plain and weighted mean lie at {places}.")


def _title(ax: Axes, text: str) -> None:
    with plots.style():  # position and style of a title are fixed when it is set
        ax.set_title(text)


def walks(measured: Mapping[int, tuple[float, float]]) -> plots.Picture:
    """What long walks without talking do: how far apart clients end, and how good their common model becomes.

    measured    local steps a message -> (mean distance of the clients' models from their mean after the first round,
                accuracy after the same number of steps in all)

    >>> walks({1: (0.5, 0.98), 100: (3.5, 0.94)})
    Two plots. After 1 step, clients end 0.50 from their mean; accuracy 0.98. After 100 steps, 3.50; 0.94.
    """
    steps = list(measured)
    fig = plots.figure(7.6, 2.0)
    left, right = plots.axes(fig, 1, 2)
    for ax, values, colour in (
        (left, [apart for apart, _ in measured.values()], plots.OTHERS[0]),
        (right, [accuracy for _, accuracy in measured.values()], plots.DEFENDER),
    ):
        ax.plot(steps, values, "o-", color=colour)
        ax.set(xscale="log", xlabel="local steps before a message", xticks=steps, xticklabels=[str(n) for n in steps])
        ax.minorticks_off()
        for place, value in zip(steps, values, strict=True):
            ax.annotate(f"{value:.2f}", (place, value), xytext=(0, 7), textcoords="offset points", ha="center")
    left.set(ylabel="from their mean", ylim=(0, 1.25 * max(apart for apart, _ in measured.values())))
    right.set(ylabel="accuracy", ylim=(0.85, 1.0))
    _title(left, "Clients' models after the first round")
    _title(right, "The common model in the end")
    words = [
        f"{n} step{'s' if n > 1 else ''}, {apart:.2f}; {accuracy:.2f}" for n, (apart, accuracy) in measured.items()
    ]
    words[0] = words[0].replace(", ", ", clients end ", 1).replace("; ", " from their mean; accuracy ", 1)
    return plots.Picture(fig, f"Two plots. After {'. After '.join(words)}.")


def record(truth: Tensor, recovered: Tensor, guess: Tensor, *, title: str) -> plots.Picture:
    """One record's values [features], what was read out of the message, and a guess that needs no message."""
    fig = plots.figure(7.6, 2.0)
    ax = plots.axes(fig)
    places = np.arange(len(truth))
    ax.bar(places, truth.numpy(), color=plots.BAND, edgecolor=plots.GREY, label="the patient's true values")
    ax.plot(places, guess.numpy(), "o", color=plots.INK, fillstyle="none", label="average patient (no message)")
    ax.plot(places, recovered.numpy(), "x", color=plots.ATTACKER, label="read from the message")
    ax.set(xlabel="measurement number", ylabel="value, 0 … 1", ylim=(0, 1.3))
    _title(ax, title)
    ax.legend(loc="upper left", ncols=3, frameon=False, fontsize=9)
    off = float((truth - recovered).abs().max())
    missed = float((truth - guess).abs().max())
    return plots.Picture(
        fig,
        f"Bars and marks. {title}. The values read from the message are off by {off:.2g} at most, "
        f"the average patient by {missed:.2g}.",
    )


@cache
def _pooled(samples: int, steps: int) -> list[float]:
    """Accuracy of one computer that sees, in every step, as many samples as all clients together."""
    # A batch that is so much larger bears larger steps than the clients' 0.3: of 0.3, 0.5 and 1, 0.5 is the rate that
    # beats 0.3 in nearly every setting of the panel without being unsteady in those of few steps.
    return run(Scenario(clients=1, rounds=ROUNDS, local_steps=steps, batch_size=samples, lr=0.5)).accuracy


@dataclass(frozen=True, eq=False)
class RunAndShards:
    """What the panel shows after a round.

    accuracy     so far, one number a round
    pooled       accuracy of training on pooled data, to the end
    megabytes    sent by all clients so far
    sizes        samples that each client holds
    """

    accuracy: list[float]
    pooled: list[float]
    megabytes: float
    sizes: list[int]


def compute(*, clients: int, steps: int, alpha: float, participation: float) -> Iterator[RunAndShards]:
    """Run the federation; a state after every round. An infinite alpha means IID shards.

    >>> first = next(compute(clients=5, steps=1, alpha=inf, participation=1.0))
    >>> len(first.accuracy), len(first.pooled), sum(first.sizes)
    (1, 40, 1438)
    """
    skew = None if alpha == inf else alpha
    s = Scenario(
        clients=clients,
        rounds=ROUNDS,
        local_steps=steps,
        alpha=skew,
        participation=participation,
        aggregate=robust.weighted_mean,
    )
    sizes = Population(s).sizes.tolist()
    pooled = _pooled(16 * clients, steps)
    accuracy: list[float] = []
    megabytes = 0.0
    for result in rounds(s):
        accuracy.append(result.metrics["accuracy"])
        megabytes += result.bytes_up / 1e6
        yield RunAndShards(list(accuracy), pooled, megabytes, sizes)


def reading(controls: Mapping[str, Any], state: RunAndShards) -> str:
    """The state in words."""
    return (
        f"Round {len(state.accuracy)} of {ROUNDS}: accuracy {state.accuracy[-1]:.2f}; pooled training on as many "
        f"samples ends at {state.pooled[-1]:.2f}. {len(state.sizes)} clients hold {min(state.sizes)} to "
        f"{max(state.sizes)} digits each and have sent {state.megabytes:.1f} MB."
    )


class ShardsDrawing:
    """Accuracy over rounds beside pooled training, and who holds how many samples.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 3.6)
        with plots.style():
            grid = self.figure.add_gridspec(2, 1, height_ratios=(2.4, 1))
            top = self.figure.add_subplot(grid[0])
            self.race = Race(top, ROUNDS, "pooled")
            self.sent = top.text(0.98, 0.05, "", transform=top.transAxes, ha="right")
            self._sizes(self.figure.add_subplot(grid[1]), CLIENTS[-1])
        self.shown: list[int] = []  # what the bars show
        self.moving = [*self.race.moving, *self.bars, self.sent]

    def _sizes(self, ax: Any, most_clients: int) -> None:
        self.bars = list(ax.bar(np.arange(1, most_clients + 1), np.zeros(most_clients), color=plots.GREY))
        ax.set(xlim=(0, most_clients + 1), ylim=(0, MOST_SAMPLES), xlabel="client", ylabel="digits held")

    def update(self, values: Mapping[str, Any], state: RunAndShards) -> None:
        """Show a state; the layout stays as it is."""
        title = f"Accuracy {state.accuracy[-1]:.2f}, pooled {state.pooled[-1]:.2f}"
        self.race.update(title, state.pooled, state.accuracy, attacked=False)
        self.sent.set_text(f"{state.megabytes:.1f} MB sent")

        # A client that is not there has a bar of no height. What is set is drawn again, so each run sets them once.
        if state.sizes is not self.shown:
            missing = [0] * (len(self.bars) - len(state.sizes))
            for bar, size in zip(self.bars, [*state.sizes, *missing], strict=True):
                bar.set_height(size)
            self.shown = state.sizes


def panel() -> live.Panel:
    """The panel: number of clients, local steps, label skew, and how many clients take part in a round."""
    return live.Panel(
        name="lab01",
        attacker={},
        defender={},
        setting={
            "clients": live.log_slider("Clients", 20, CLIENTS, fmt="{:d}", help="who share the 1,438 digits"),
            "steps": live.log_slider("Local steps", 5, STEPS, fmt="{:d}", help="on 16 digits each, before a message"),
            "alpha": live.log_slider("Label skew α", inf, ALPHAS, help="Dirichlet's parameter; off: IID"),
            "participation": live.slider(
                "Taking part", 1.0, 0.1, 1.0, 0.1, fmt="{:.0%}", help="chance of each client in each round"
            ),
        },
        compute=compute,
        draw=ShardsDrawing(),
        reading=reading,
    )
