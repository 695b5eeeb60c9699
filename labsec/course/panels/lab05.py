"""The panel of lab 05: a server that sorts a client's pictures into bins, and a client that may look first; live.

compute          what the server sends, whether the client trains, and what comes back
reading          the result in words
ImprintDrawing   the result as a picture
panel            all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import data, invert, metrics, models, plots
from labsec.course import live
from labsec.federation.bind import bind
from labsec.models import Model
from labsec.study import beyond
from labsec.types import Broadcast, BroadcastView

NEURONS = (16, 64, 256, 1024)
BATCHES = (1, 4, 16, 64, 128)
SERVERS = {"honest": "honest", "bins": "bins", "traps": "traps"}
READ_FROM = 25.0  # dB
SEEDS = range(4)
SHOWN = 4
SCALE = 0.7  # of the traps


@dataclass(frozen=True, eq=False)
class Caught:
    """What one setting comes to.

    truth       [SHOWN, 1, h, w] pictures of the first batch; the last ones are repeated if there are fewer
    read        [SHOWN, 1, h, w] what fits each best among that which was read; grey where nothing was
    good        [SHOWN] whether it was read exactly
    shares      of each batch, one number a seed
    expected    (1 - 1/n)^(B - 1) for every batch size, [BATCHES]
    baseline    share that the mean picture would score
    score       what the client's check says of the model
    refuses     whether the client does not train
    """

    truth: Tensor
    read: Tensor
    good: Tensor
    shares: tuple[float, ...]
    expected: np.ndarray
    baseline: float
    score: float
    refuses: bool


@cache
def _network(neurons: int) -> tuple[data.Dataset, Model]:
    mnist = data.load("mnist5k")
    return mnist, models.mlp(mnist.shape, mnist.classes, hidden=(neurons,))


def _broadcast(server: str, neurons: int) -> Broadcast | None:
    mnist, model = _network(neurons)
    if server == "bins":
        return bind(invert.imprint, model=model, public=mnist.x_test, one_hot=False)
    if server == "traps":
        return bind(invert.trap_weights, model=model, scale=SCALE)
    return None


def theory(bins: int, batch: int) -> float:
    """The chance of a sample to be alone in its bin.

    >>> round(theory(256, 64), 2)
    0.78
    """
    return float((1 - 1 / bins) ** (batch - 1))


@cache
def _answer(server: str, neurons: int, batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """Truth, what was read, PSNRs, and what the client's check says of what it was sent."""
    mnist, model = _network(neurons)
    answer = beyond.one_round(model, mnist, batch=batch, seed=seed, broadcast=_broadcast(server, neurons))
    view = answer.view
    if server == "bins":
        told = BroadcastView(**vars(view), honest=view.params)
        candidates = invert.read_imprint(told, one_hot=False).estimate
    else:
        candidates = invert.analytic(view)
    matches, scores = metrics.best_matches(candidates, answer.truth)
    return answer.truth, matches, scores, invert.suspicion(view.params, model=model).score


def compute(*, server: str, neurons: int, batch: int, check: bool) -> Iterator[Caught]:
    """What the server reads in four rounds of one client each, whose batches differ.

    check    whether the client looks at the model before it trains, and refuses one that looks in one direction
    """
    # A state after every batch, so that the first picture does not wait for the last batch.
    found = []
    for seed in SEEDS:
        found.append(_answer(server, neurons, batch, seed))
        yield _state(found, neurons=neurons, check=check)


def _state(found: list[tuple[Tensor, Tensor, Tensor, float]], *, neurons: int, check: bool) -> Caught:
    """What the batches so far come to; the pictures are those of the first."""
    truth, matches, scores, score = found[0]
    refuses = check and score >= invert.malicious.ALIKE
    shown = torch.arange(SHOWN).clamp(max=len(truth) - 1)
    mean = _network(neurons)[0].x.mean(dim=0)[None]
    good = scores[shown] >= READ_FROM
    read = matches[shown].nan_to_num(0.5)
    if refuses:
        good = torch.zeros_like(good)
        read = torch.full_like(read, 0.5)
    shares = tuple(0.0 if refuses else float((each[2] >= READ_FROM).double().mean()) for each in found)
    baseline = metrics.best_matches(mean, truth)[1]
    return Caught(
        truth=truth[shown],
        read=read,
        good=good,
        shares=shares,
        expected=np.array([theory(neurons, size) for size in BATCHES]),
        baseline=float((baseline >= READ_FROM).double().mean()),
        score=score,
        refuses=refuses,
    )


def reading(controls: Mapping[str, Any], state: Caught) -> str:
    """The state in words."""
    batch = controls["batch"]
    looks = f"{state.score:.0%} of the first layer lies along one direction"
    if state.refuses:
        return f"{looks}: the client refuses to train, and the server reads nothing."
    judged = ", and the client's check finds nothing wrong with that" if controls["check"] else ""
    pictures = "1 picture" if batch == 1 else f"{batch} pictures"
    line = ""
    if controls["server"] == "bins":
        line = f" Alone in its bin, by theory: {theory(controls['neurons'], batch):.0%}."
    return (
        f"Of {pictures} in a step, {np.mean(state.shares):.0%} are read at {READ_FROM:g} dB or more "
        f"({len(state.shares)} of {len(SEEDS)} batches: "
        f"{min(state.shares):.0%} … {max(state.shares):.0%}; the mean picture, which needs no message, "
        f"{state.baseline:.0%}).{line} {looks}{judged}."
    )


class ImprintDrawing:
    """Four pictures and what was read of them, above the share that was read against the batch size.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        # Places by hand: the layout of so many small axes takes a tenth of a second, and never changes.
        self.figure.set_layout_engine("none")
        with plots.style():
            rows = [
                [self.figure.add_axes((0.05 + 0.235 * i, low, 0.2, 0.225)) for i in range(SHOWN)] for low in (0.7, 0.46)
            ]
            blank = np.zeros((28, 28))
            look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}
            self.pictures = [[ax.imshow(blank, **look) for ax in row] for row in rows]
            for ax in (*rows[0], *rows[1]):
                ax.set(xticks=[], yticks=[])
            self.frames = [spine for ax in rows[1] for spine in ax.spines.values()]
            for spine in self.frames:
                spine.set_visible(True)
                spine.set_linewidth(2)
            self.figure.text(0.05, 0.95, "The client's pictures, and below them what was read", fontsize=10)
            self._shares(self.figure.add_axes((0.13, 0.11, 0.84, 0.3)))
        images = [image for row in self.pictures for image in row]
        self.moving = [*images, *self.frames, self.line, self.dots]

    def _shares(self, ax: Any) -> None:
        (self.line,) = ax.plot([], [], color=plots.INK, linewidth=1.2, linestyle="--", label="theory for bins")
        (self.dots,) = ax.plot([], [], "o", color=plots.ATTACKER, markersize=9, alpha=0.6, label="read, four batches")
        ax.set(xlim=(0.8, 160), ylim=(-0.04, 1.08), xscale="log", xlabel="pictures in the step", ylabel="share read")
        ax.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        ax.minorticks_off()
        ax.legend(frameon=False, loc="lower left")

    def update(self, values: Mapping[str, Any], state: Caught) -> None:
        """Show a state; the layout stays as it is."""
        for images, pictures in zip(self.pictures, (state.truth, state.read), strict=True):
            for image, picture in zip(images, pictures, strict=True):
                image.set_data(1 - picture[0].numpy())
        for i, good in enumerate(state.good.tolist()):
            for spine in self.frames[4 * i : 4 * i + 4]:
                spine.set_color(plots.ATTACKER if good else plots.BAND)
        is_bins = values["server"] == "bins"
        self.line.set_data(BATCHES, state.expected if is_bins else np.full(len(BATCHES), np.nan))
        self.dots.set_data([values["batch"]] * len(state.shares), state.shares)


def panel() -> live.Panel:
    """The panel: what the server sends, how many neurons it has for it, the batch, and whether the client looks."""
    return live.Panel(
        name="lab05",
        attacker={
            "server": live.choice("Server sends", SERVERS, "bins", help="Its model, or one of its own making."),
            "neurons": live.log_slider("Neurons", 256, NEURONS, fmt="{:d}", help="Of the first layer; a bin each."),
        },
        defender={
            "batch": live.log_slider("Pictures in a step", 64, BATCHES, fmt="{:d}", help="The client's batch."),
            "check": live.switch("Client looks", False, help="It refuses a layer with one direction."),
        },
        setting={},
        compute=compute,
        draw=ImprintDrawing(),
        reading=reading,
    )
