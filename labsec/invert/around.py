"""A picture out of the first layers alone: what lies behind them may be random, masked or unknown."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import numpy as np
import torch
from torch import Tensor

from labsec.guards import check_function, check_kind, check_number
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget
from labsec.invert.shared import Watch, gradient
from labsec.invert.smooth import Smoother
from labsec.invert.threads import one_thread
from labsec.models import Layers
from labsec.types import ServerView

CONTRAST = 0.6  # how much pictures vary around mid-grey


@one_thread()
def around(
    view: ServerView,
    *,
    layers: int,
    features: Callable[[Layers, Tensor], Tensor],
    message: int = 0,
    iterations: int = 600,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """Match the gradients of the first layers, and leave out all that come behind them: against a random bottleneck.

    Whatever happens behind the first layers reaches them as one slope for each feature. The attack looks for the
    picture and for these slopes at once, so that it needs neither the label nor the random numbers that were drawn.

    view          `view.messages[message]` must be the update of one client: one step of plain SGD on one sample
    layers        how many of the model's parameters come first
    features      (those parameters, x [c, b, *shape]) -> [c, b, features], as `mask.before_bottleneck` gives both
    iterations    of L-BFGS at most
    seconds       of processor time after which it stops; None for no bound
    watch         called after each evaluation with the best picture so far
    returns       one candidate; `losses` are shares of the squared message, and one that stays near 1 found nothing

    >>> from labsec.mask import before_bottleneck, precode, variational_updates
    >>> model, x, y = precode((1, 8, 8), 4), torch.rand(1, 1, 8, 8), torch.tensor([1])
    >>> draws = torch.Generator().manual_seed(0)
    >>> params = model.init(draws)
    >>> update = variational_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1, beta=1e-3, generator=draws)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> count, features = before_bottleneck(model)
    >>> around(view, layers=count, features=features, iterations=5).losses[0] <= 1.0
    True

    It must fail where the first layers are masked as well, or have fewer numbers than picture and slopes together.
    Raises ValueError unless it is one step on one sample of numbers, unless 1 <= layers <= all, and if the
    first layers' part of the message is zero.
    Source: Scheliga, Mäder and Seeland 2022, arXiv:2208.04767, who leave the bottleneck's gradients out; that the slope
    behind the first layers is searched for is this course's own.
    """
    from scipy.optimize import minimize  # takes a while to import

    since = process_time()
    check_function("around", features=features)
    if watch is not None:
        check_function("around", watch=watch)
    wanted = gradient("around", view, message)  # [dim]
    model = view.model
    check_number("around", whole=True, least=1, most=len(model.shapes), layers=layers)
    budget = Budget(name="around", iterations=iterations, seconds=math.inf if seconds is None else seconds, watch=watch)
    if view.batch_size != 1 or model.vocabulary is not None:
        raise ValueError(
            f"around needs a message of one sample of numbers; got batch_size={view.batch_size}, model {model.name}"
        )
    first = sum(model.sizes[:layers])
    scale = wanted[:first].square().sum()
    if float(scale) == 0:
        raise ValueError(f"around needs first layers that were moved; the first {layers} of message {message} are zero")
    start = [layer.requires_grad_() for layer in model.layers(view.params.detach().double()[None])[:layers]]
    smoother = Smoother(model.shape)
    inputs = math.prod(model.shape)
    middle = torch.full((1, 1, *model.shape), 0.5, dtype=torch.float64)
    answer = features(start, middle)
    check_kind("around", Tensor, features=answer)
    count = answer.numel()
    losses: list[float] = []
    best = math.inf
    kept = middle[0]

    def loss_at(point: np.ndarray) -> tuple[float, np.ndarray]:
        """The share of the message that a picture [in] and slopes [features] leave unexplained."""
        nonlocal best, kept
        own = torch.from_numpy(point).clone().requires_grad_()
        z = own[None, :inputs]  # [1, in]
        x = (0.5 + CONTRAST * smoother.half(z)).view(1, 1, *model.shape)
        reached = features(start, x).flatten() @ own[inputs:]
        found = torch.autograd.grad(reached, start, create_graph=True)
        moved = torch.cat([part.flatten() for part in found])  # [first]
        loss = (moved - wanted[:first]).square().sum() / scale
        (slope,) = torch.autograd.grad(loss, own)
        losses.append(float(loss.detach()))
        if losses[-1] < best:
            best = losses[-1]
            kept = x.detach()[0]
        if budget.is_spent(len(losses) - 1, kept, best, since):
            raise _Spent
        return losses[-1], slope.numpy()

    with suppress(_Spent):
        point = np.zeros(inputs + count)
        minimize(loss_at, point, jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 30})
    return Reconstruction(
        method="around",
        estimate=kept.clamp(0, 1).to(view.params.dtype),
        losses=tuple(losses),
        divergences=int(not losses[-1] <= losses[0]),
        evaluations=len(losses),
        seconds=process_time() - since,
        assumptions=(
            "One sample and one step of plain SGD are behind the message.",
            "The first layers were trained on the sample itself, and sent as they are.",
        ),
    )


class _Spent(Exception):
    """The watcher or the clock ends a search inside scipy."""
