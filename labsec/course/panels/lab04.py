"""The panel of lab 04: a picture emerges from a message, iteration by iteration; live.

One client has trained on a few handwritten digits and sent what it learned. The server searches for pictures that would
have sent the same. Beside them stand the mean picture, which needs no message at all, and what the same search makes of
a stranger's message, whose pictures are of the same classes.

    messages      what the client and the stranger sent
    search        the attack, as an iterator
    compute       the attack with its scores
    reading       the result in words
    PictureDrawing   the result as a picture
    panel         all of it together
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from labsec import metrics, plots, train
from labsec.course import live
from labsec.data import load
from labsec.invert.search import Sent, distance, slopes, total_variation
from labsec.models import Model, convnet
from labsec.types import ServerView, generator

ITERATIONS = 150
EVERY = 4  # iterations between two states
LR = 0.1  # of the clients
PACE = 0.1  # of the search, in units of the pictures' range; it falls along half a cosine
SMOOTHNESS = 1e-2  # weight of the total variation
RECOVERED_FROM = 25.0  # dB from which a picture counts as read out
BATCHES = (1, 2, 4, 8)
STEPS = (1, 2, 5)
NOISES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FIRST = 10  # of the test pictures that the client holds
LEARNING = (150, 32)  # steps and samples a step, until the model counts as trained


@cache
def _model() -> Model:
    return convnet((1, 28, 28), 10)


@cache
def _params(trained: bool) -> Tensor:
    """The model that the server sent, [dim]."""
    fresh = _model().init(generator(0, "lab04", "model"))
    if not trained:
        return fresh
    digits = load("mnist5k")
    batches = torch.randint(len(digits.x), (1, *LEARNING), generator=generator(0, "lab04", "training"))
    return fresh + train.local_updates(_model(), fresh, digits.x, digits.y, batches, lr=0.2)[0]


@cache
def _mean() -> Tensor:
    """The mean of the training pictures: a guess without any message, [1, 28, 28]."""
    return load("mnist5k").x.mean(dim=0)


@cache
def _people() -> tuple[Tensor, Tensor]:
    """The client's pictures and the stranger's, of the same classes: x [2, 8, 1, 28, 28], labels [8]."""
    digits = load("mnist5k")
    own = torch.arange(FIRST, FIRST + BATCHES[-1])
    labels = digits.y_test[own]

    # The stranger's are the next ones of the same classes.
    strange: list[int] = []
    for label in labels:
        later = (digits.y_test[FIRST + BATCHES[-1] :] == label).nonzero()[:, 0] + FIRST + BATCHES[-1]
        strange.append(next(int(place) for place in later if int(place) not in strange))
    return digits.x_test[torch.stack([own, torch.tensor(strange)])], labels


def messages(*, batch: int, steps: int, noise: float, trained: bool) -> tuple[ServerView, Tensor, Tensor]:
    """What the client and a stranger sent, and what is behind it.

    batch      pictures that each of them trained on
    steps      how often it did so, each time on all of them
    noise      standard deviation of what is added to every number, in units of the gradient
    trained    whether the model had learned before
    returns    a view with both messages [2, dim], x [2, batch, 1, 28, 28] and labels [batch]

    >>> view, x, labels = messages(batch=2, steps=1, noise=0.0, trained=False)
    >>> view.messages.shape, x.shape, labels.tolist()
    (torch.Size([2, 20490]), torch.Size([2, 2, 1, 28, 28]), [2, 6])
    """
    x, labels = (part[..., :batch, :, :, :] if part.ndim > 1 else part[:batch] for part in _people())
    params = _params(trained)
    order = torch.arange(2 * batch).view(2, 1, batch).expand(2, steps, batch)
    updates = train.local_updates(_model(), params, x.flatten(0, 1), labels.repeat(2), order, lr=LR)
    draws = torch.randn(updates.shape, generator=generator(0, "lab04", "noise"))
    view = ServerView(
        params=params,
        messages=updates + LR * noise * draws,
        model=_model(),
        lr=LR,
        local_steps=steps,
        batch_size=batch,
    )
    return view, x, labels


def search(
    view: ServerView, labels: Tensor, *, simulates: bool, draws: Generator
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Signed Adam on the angle between updates, with a price on grain, as `invert.cosine` and `invert.simulate` do it.

    Here it is an iterator, and looks at all messages side by side.

    labels       [batch] classes of the pictures behind each message
    simulates    whether it takes all the steps that the client took; otherwise it takes the message for one gradient
    draws        of the random start
    returns      (iteration, best pictures so far [messages, batch, *shape], their losses [messages])
    """
    target = view.model.layers(-view.messages / view.lr)
    sent = _sent(view, labels, view.local_steps if simulates else 1)
    start = torch.rand(len(view.messages), len(labels), *view.model.shape, generator=draws)
    x = start.clone().requires_grad_()
    best = start
    least = torch.full((len(start),), torch.inf)
    optimizer = torch.optim.Adam([x], lr=PACE)
    for iteration in range(ITERATIONS):
        loss = distance(sent(x), target, by_layer=False) + SMOOTHNESS * total_variation(x)  # [messages]
        (slope,) = torch.autograd.grad(loss.sum(), x)
        better = (loss < least).detach()
        best = torch.where(better[:, None, None, None, None], x.detach(), best)
        least = torch.where(better, loss.detach(), least)
        yield iteration, best, least

        # A ReLU's slope says where to go, and not how far.
        x.grad = slope.sign()
        optimizer.param_groups[0]["lr"] = PACE * (1 + math.cos(math.pi * iteration / ITERATIONS)) / 2
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)


def _sent(view: ServerView, labels: Tensor, steps: int) -> Sent:
    """What a client with pictures x would send after so many steps, as the sum of its gradients."""
    start = [layer.detach().requires_grad_() for layer in view.model.layers(view.params[None])]

    def sent(x: Tensor) -> list[Tensor]:
        layers = [layer.expand(len(x), *layer.shape[1:]) for layer in start]
        total = list(slopes(view.model, layers, x, labels))
        for _ in range(steps - 1):
            here = [layer - view.lr * slope for layer, slope in zip(layers, total, strict=True)]
            more = slopes(view.model, here, x, labels)
            total = [slope + further for slope, further in zip(total, more, strict=True)]
        return total

    return sent


@dataclass(frozen=True, eq=False)
class Emerging:
    """What the panel shows after some iterations.

    truth       [1, 28, 28] the first of the client's pictures
    found       [1, 28, 28] what the search has in its place
    stranger    [1, 28, 28] what it has in its place if it is given a stranger's message
    scores      median PSNR over the client's pictures, in dB, so far
    by_chance   the same for the stranger's message, held against the client's pictures
    baseline    the same for the mean picture
    losses      matching loss of the best pictures, so far
    recovered   how many pictures reach RECOVERED_FROM
    message     length of the gradient that was sent, and of the noise in it
    """

    truth: Tensor
    found: Tensor
    stranger: Tensor
    scores: list[float]
    by_chance: list[float]
    baseline: float
    losses: list[float]
    recovered: int
    message: tuple[float, float]


def compute(*, batch: int, steps: int, simulates: bool, noise: float, trained: bool) -> Iterator[Emerging]:
    """Run the search on `messages(…)`; a state after every few iterations."""
    view, x, labels = messages(batch=batch, steps=steps, noise=noise, trained=trained)
    own = x[0]
    baseline = float(metrics.psnr(_mean().expand_as(own), own).quantile(0.5))
    length = float((view.messages[0] / LR).norm())
    noise_length = noise * math.sqrt(view.model.dim)
    scores: list[float] = []
    by_chance: list[float] = []
    losses: list[float] = []
    for iteration, best, least in search(view, labels, simulates=simulates, draws=generator(0, "lab04", "start")):
        if iteration % EVERY and iteration != ITERATIONS - 1:
            continue
        found, psnr = metrics.assigned(best[0], own)
        stranger, chance = metrics.assigned(best[1], own)
        scores.append(float(psnr.quantile(0.5)))
        by_chance.append(float(chance.quantile(0.5)))
        losses.append(float(least[0]))
        yield Emerging(
            truth=own[0],
            found=found[0],
            stranger=stranger[0],
            scores=list(scores),
            by_chance=list(by_chance),
            baseline=baseline,
            losses=list(losses),
            recovered=int((psnr >= RECOVERED_FROM).sum()),
            message=(length, noise_length),
        )


def reading(controls: Mapping[str, Any], state: Emerging) -> str:
    """The state in words."""
    batch = controls["batch"]
    pictures = "1 picture" if batch == 1 else f"{batch} pictures"
    steps = "1 local step" if controls["steps"] == 1 else f"{controls['steps']} local steps"
    how = ""
    if controls["steps"] > 1:
        how = ", taken by the attacker, too" if controls["simulates"] else ", taken for one gradient"
    model = "a trained model" if controls["trained"] else "a fresh model"
    length, noise = state.message
    noisy = f", {noise:.2g} of it noise" if noise else ""
    median = "" if batch == 1 else "median "
    return (
        f"{pictures}, {steps}{how}, {model}; the gradient is {length:.2g} long{noisy}. {median.capitalize()}"
        f"PSNR {state.scores[-1]:.1f} dB; a stranger's message {state.by_chance[-1]:.1f}, the mean picture "
        f"{state.baseline:.1f}. {state.recovered} of {batch} at {RECOVERED_FROM:.0f} dB or more. Matching loss "
        f"{state.losses[-1]:.2g}."
    )


class PictureDrawing:
    """Four pictures above; below, how the score and the matching loss change.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.1)
        with plots.style():
            parts: Any = self.figure.subfigures(2, 1, height_ratios=(1.25, 1.6))
            top, bottom = parts
            images = top.subplots(1, 4)
            left, right = bottom.subplots(1, 2)
            self._pictures(images)
            self._lines(left, right)
        self._latest: list[float] = []  # the scores of this run, as far as they were drawn
        self.moving = [
            *(self.truth, self.found, self.stranger, self.score_name),
            *(self.ghost, self.baseline, self.chance, self.score, self.loss),
        ]

    def _pictures(self, axes: Sequence[Any]) -> None:
        shown = []
        names = ("the client's", "read out", "stranger's\nmessage", "mean picture,\nno message")
        for ax, name in zip(axes, names, strict=True):
            image = ax.imshow(1 - _mean()[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(name, fontsize=9, fontweight="normal", loc="center")
            shown.append(image)
        self.truth, self.found, self.stranger, _ = shown
        axes[1].set_title("read out", fontsize=9, fontweight="bold", loc="center", color=plots.ATTACKER)
        self.score_name = axes[1].text(
            0.5, -0.06, "", transform=axes[1].transAxes, ha="center", va="top", fontsize=9, color=plots.ATTACKER
        )

    def _lines(self, left: Any, right: Any) -> None:
        (self.ghost,) = left.plot([], [], color=plots.GREY, linewidth=1.5, linestyle=(0, (1, 1)))
        (self.baseline,) = left.plot([], [], color=plots.CLEAN, linewidth=1.2, label="mean picture")
        (self.chance,) = left.plot([], [], color=plots.OTHERS[0], linestyle="--", linewidth=1.5, label="stranger's")
        (self.score,) = left.plot([], [], color=plots.ATTACKER, linewidth=2.5, label="read out")
        left.set(xlim=(0, ITERATIONS), ylim=(0, 50), xlabel="iteration", ylabel="PSNR in dB")
        left.legend(loc="upper left", frameon=False, fontsize=8, ncols=1)
        (self.loss,) = right.plot([], [], color=plots.ATTACKER, linewidth=2.0)
        right.set(xlim=(0, ITERATIONS), ylim=(5e-4, 2), xlabel="iteration", ylabel="matching loss", yscale="log")

    def update(self, values: Mapping[str, Any], state: Emerging) -> None:
        """Show a state; the layout stays as it is."""
        # A new run begins where the lines do not go on; the run before stays as a ghost.
        if len(state.scores) <= len(self._latest):
            self.ghost.set_data(_iterations(len(self._latest)), self._latest)
        self._latest = state.scores
        for image, picture in ((self.truth, state.truth), (self.found, state.found), (self.stranger, state.stranger)):
            image.set_data((1 - picture[0]).numpy())
        shown = _iterations(len(state.scores))
        self.score.set_data(shown, state.scores)
        self.chance.set_data(shown, state.by_chance)
        self.baseline.set_data([0, ITERATIONS], [state.baseline, state.baseline])
        self.loss.set_data(shown, state.losses)
        self.score_name.set_text(f"{state.scores[-1]:.1f} dB")


def _iterations(states: int) -> list[int]:
    """The iterations after which there were states, the first so many.

    >>> _iterations(3)
    [0, 4, 8]
    """
    return [min(number * EVERY, ITERATIONS - 1) for number in range(states)]


def panel() -> live.Panel:
    """The panel: how many pictures are behind the message, how many steps, how much noise, and how old the model is."""

    def idle(values: Mapping[str, Any]) -> str:
        return "" if values["steps"] > 1 else "With one step the message is one gradient."

    simulates = live.switch("Simulates steps", True, help="Otherwise it takes the message for one gradient.")
    return live.Panel(
        name="lab04",
        attacker={"simulates": live.unless(simulates, idle)},
        defender={
            "noise": live.log_slider(
                "Noise", 0.0, NOISES, help="Standard deviation of what is added to every number of the gradient."
            )
        },
        setting={
            "batch": live.log_slider("Pictures", 1, BATCHES, help="How many pictures are behind the message."),
            "steps": live.log_slider("Local steps", 1, STEPS, help="On the same pictures each time."),
            "trained": live.choice(
                "Model", {"fresh": False, "trained": True}, "fresh", help="Whether it had learned before the round."
            ),
        },
        compute=compute,
        draw=PictureDrawing(),
        reading=reading,
    )
