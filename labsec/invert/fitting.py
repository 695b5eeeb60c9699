"""Gradient matching for samples that are no pictures: what is sought is a function of free numbers.

A category is a softmax over its places, a base over its four letters, so every point of the search is a sample that a
client could hold, but for the sharpness of the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import gradient
from labsec.models import Model
from labsec.types import ServerView

ENOUGH = 1e-10  # squared distance of the gradients, relative; float32 messages are exact to about 1e-12
Decode = Callable[[Tensor], Tensor]  # free numbers -> samples [b, *shape]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where one start of the search ended.

    free        the free numbers with the lowest matching loss that was seen
    loss        that loss: squared distance of the gradients, by the squared length of the one that was received
    losses      by evaluation
    diverged    whether the search met numbers that are not finite, or ended no better than it began
    """

    free: Tensor
    loss: float
    losses: tuple[float, ...]
    diverged: bool


def fit(
    model: Model,
    params: Tensor,
    target: Tensor,
    labels: Tensor,
    decode: Decode,
    start: Tensor,
    *,
    iterations: int,
    enough: float,
    until: float = math.inf,
) -> Fit:
    """Search for the samples whose gradient is the one that was received, from one start, by L-BFGS-B.

    params, target    [dim] float64
    labels            [b] of the samples
    decode            makes samples [b, *shape] of free numbers; differentiable
    start             free numbers, of any shape
    enough            the loss at which it stops
    until             processor time at which it stops, as `process_time` counts
    """
    from scipy.optimize import minimize  # 0.2 seconds, and few attacks need it

    leaf = params.clone().requires_grad_()
    scale = float(target.square().sum().clamp_min(torch.finfo(torch.float64).tiny))
    losses: list[float] = []
    best = start.clone()
    lowest = torch.inf

    def mismatch(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, lowest
        free = torch.from_numpy(flat.copy()).view_as(start).requires_grad_()
        logits = model(leaf[None], decode(free)[None])[0]  # [b, classes]
        (sent,) = torch.autograd.grad(F.cross_entropy(logits, labels), leaf, create_graph=True)  # [dim]
        loss = (sent - target).square().sum() / scale
        (slope,) = torch.autograd.grad(loss, free)
        losses.append(float(loss.detach()))
        if losses[-1] < lowest:
            lowest = losses[-1]
            best = free.detach()
        return losses[-1], slope.numpy().ravel()

    def stop_when_good_enough(_: np.ndarray) -> None:
        if lowest < enough or process_time() > until:
            raise StopIteration

    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 50, "ftol": 1e-30, "gtol": 1e-14}
    minimize(
        mismatch, start.numpy().ravel(), jac=True, method="L-BFGS-B", options=options, callback=stop_when_good_enough
    )
    diverged = not np.isfinite(losses).all() or lowest >= losses[0]
    return Fit(free=best, loss=lowest, losses=tuple(losses), diverged=diverged)


def known_labels(name: str, view: ServerView, sent: Tensor, labels: Tensor | None) -> Tensor:
    """The labels [b] of the samples behind a gradient: those given, or that of a single sample, read off its sign.

    sent    [dim] the gradient; the model's last parameter must be the bias of its classes

    The gradient of the last bias is softmax minus one-hot: below zero for the class of a single sample, and only there.
    Raises ValueError for several samples without labels, and unless labels are int64 [batch_size] below classes.
    """
    bias = sent[-view.model.classes :]  # [classes]
    if labels is None and view.batch_size != 1:
        raise ValueError(
            f"{name} needs the labels of several samples, labels=…; got labels=None, batch_size={view.batch_size}"
        )
    if labels is None:
        return bias.argmin()[None]
    check_kind(name, Tensor, labels=labels)
    if labels.shape != (view.batch_size,) or labels.dtype != torch.int64:
        raise ValueError(f"{name} needs int64 labels [{view.batch_size}]; got {kind(labels)}")
    least, most = (int(end) for end in labels.aminmax())
    if least < 0 or most >= view.model.classes:
        raise ValueError(f"{name} needs labels in 0 … {view.model.classes - 1}; got {least} … {most}")
    return labels


@dataclass(frozen=True, kw_only=True)
class Search:
    """All starts of a search, the one with the lowest matching loss first."""

    fits: tuple[Fit, ...]
    seconds: float

    @property
    def best(self) -> Fit:
        """The fit with the lowest matching loss."""
        return self.fits[0]

    @property
    def divergences(self) -> int:
        """How many starts came to nothing."""
        return sum(each.diverged for each in self.fits)

    @property
    def evaluations(self) -> int:
        """How many gradients of the matching loss were computed."""
        return sum(len(each.losses) for each in self.fits)

    def as_reconstruction(
        self, method: str, estimate: Tensor, *, labels: Tensor, assumptions: tuple[str, ...]
    ) -> Reconstruction:
        """The result, with the samples that an attack makes of the best fit: estimate [b, *shape]."""
        return Reconstruction(
            method=method,
            estimate=estimate,
            labels=labels,
            losses=self.best.losses,
            restarts=len(self.fits),
            divergences=self.divergences,
            evaluations=self.evaluations,
            seconds=self.seconds,
            assumptions=assumptions,
        )


def search(
    name: str,
    view: ServerView,
    message: int,
    labels: Tensor | None,
    decode: Decode,
    starts: Sequence[Tensor],
    *,
    iterations: int,
    enough: float = ENOUGH,
    seconds: float = math.inf,
) -> tuple[Search, Tensor]:
    """Try the starts one after the other until a matching loss is below `enough`; returns also the labels [b].

    seconds    of processor time after which it stops
    """
    begin = process_time()
    check_number(name, above=0, most=math.inf, seconds=seconds)
    until = begin + seconds
    target = gradient(name, view, message)  # [dim]
    labels = known_labels(name, view, target, labels)
    params = view.params.detach().double()
    fits: list[Fit] = []
    for start in starts:
        fits.append(
            fit(view.model, params, target, labels, decode, start, iterations=iterations, enough=enough, until=until)
        )
        if fits[-1].loss < enough or process_time() > until:
            break
    fits.sort(key=lambda each: each.loss)
    return Search(fits=tuple(fits), seconds=process_time() - begin), labels
