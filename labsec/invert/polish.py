"""The last metres: from a candidate that some attack has found, straight down the matching loss."""

from __future__ import annotations

import math
from time import process_time

import torch
from torch import Tensor

from labsec.guards import check_function, check_kind, check_number, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch, gradient
from labsec.types import ServerView

MEMORY = 20  # pairs of steps and slopes that stand for the curvature
EVALUATIONS = 20  # of the loss between two looks at the clock


def polish(
    view: ServerView,
    samples: Tensor,
    labels: Tensor,
    *,
    message: int = 0,
    iterations: int = 100,
    target: float = 1e-12,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Go on from candidates by L-BFGS on the matching loss, in double precision: a search that was cut short resumes.

    view          `view.messages[message]` must be the update of one client: one step of plain SGD
    samples       [b, *shape] where to start
    labels        [b] int64 their classes
    iterations    of up to 20 evaluations each
    target        share of |gradient|² at which the loss is low enough to stop
    seconds       of processor time after which it stops
    watch         called after each iteration with the best samples so far; its loss is a share of |gradient|²
    returns       [b, *shape] in [0, 1], the best that was seen; never worse than the start

    >>> from labsec.models import convnet
    >>> from labsec.train import local_updates
    >>> model, x, y = convnet((1, 8, 8), 4, activation=torch.tanh), torch.rand(2, 1, 8, 8), torch.tensor([3, 1])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0, 1]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=2)
    >>> found = polish(view, (x + 0.1 * torch.rand_like(x)).clamp(0, 1), y, iterations=20)
    >>> bool((found.estimate - x).abs().max() < 0.05)
    True

    Raises ValueError unless it is one step on samples of numbers (not tokens), if the message is zero or not finite,
    and unless samples and labels fit the model.
    Source: the loss of Zhu, Liu and Han 2019, arXiv:1906.08935, under L-BFGS (Liu and Nocedal 1989) with a line search.
    """
    began = process_time()
    check_number("polish", whole=True, least=1, iterations=iterations)
    check_number("polish", least=0, target=target)
    check_number("polish", above=0, most=math.inf, seconds=seconds)
    if watch is not None:
        check_function("polish", watch=watch)
    check_kind("polish", Tensor, samples=samples, labels=labels)
    model = view.model
    if model.vocabulary is not None:
        raise ValueError(f"polish needs samples that are numbers; those of {model.name} are tokens")
    wanted = gradient("polish", view, message)  # [dim]
    scale = float(wanted.square().sum())
    if scale == 0:
        raise ValueError(f"polish needs a message that is not zero; message {message} holds nothing else")
    start = samples.detach().double()
    model.check_data(start, labels, torch.float64)
    if not start.isfinite().all():
        raise ValueError(f"polish needs finite samples; got {kind(samples)} with NaN or infinite numbers")

    params = view.params.detach().double()[None].clone().requires_grad_()  # [1, dim]
    rows = torch.arange(len(labels), device=labels.device)
    x = start.clone().requires_grad_()
    best = start.clamp(0, 1)
    least = math.inf
    evaluations = 0

    def loss_at(candidate: Tensor) -> Tensor:
        """Squared distance of the candidate's gradient from the message's, as a share of the latter's length."""
        logits = model(params, candidate[None])[0]  # [b, classes]
        loss = -logits.log_softmax(dim=1)[rows, labels].mean()
        (slope,) = torch.autograd.grad(loss, params, create_graph=True)  # [1, dim]
        return (slope[0] - wanted).square().sum() / scale

    def closure() -> Tensor:
        nonlocal best, least, evaluations
        evaluations += 1
        loss = loss_at(x)
        (x.grad,) = torch.autograd.grad(loss, x)
        value = float(loss.detach())
        if value < least and x.detach().isfinite().all():
            least = value
            best = x.detach().clone()
        return loss.detach()

    search = torch.optim.LBFGS([x], max_iter=EVALUATIONS, history_size=MEMORY, line_search_fn="strong_wolfe")
    losses: list[float] = []
    for iteration in range(iterations):
        before = least
        search.step(closure)
        losses.append(least)
        is_over = watch is not None and bool(watch(iteration, _as_seen(view, best), least))
        if is_over or least <= target or not least < before or process_time() > began + seconds:
            break

    # Clamping may only help where samples lie in [0, 1]; where the search has left the range, the start may be better.
    kept = start.clamp(0, 1)
    if float(loss_at(best.clamp(0, 1)).detach()) <= float(loss_at(kept).detach()):
        kept = best
    return Reconstruction(
        method="polish",
        estimate=_as_seen(view, kept),
        labels=labels,
        losses=tuple(losses),
        divergences=int(not math.isfinite(least)),
        evaluations=evaluations,
        seconds=process_time() - began,
        assumptions=("The message is the gradient of one step of plain SGD.", "The labels are known."),
    )


def _as_seen(view: ServerView, samples: Tensor) -> Tensor:
    """Samples as the view's are: in [0, 1], of the parameters' type."""
    return samples.clamp(0, 1).to(view.params.dtype)
