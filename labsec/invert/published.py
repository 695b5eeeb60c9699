"""Deep leakage from gradients as its authors published it, with its faults: what later attacks are measured against.

Single precision, L-BFGS with a step of 1 and no line search, a random start, and whatever the last iteration holds. It
finds the picture in about half of the cases; in the others it runs off, and nothing in it notices.
"""

from __future__ import annotations

import math
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number
from labsec.invert.labels import label as read_label
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch, gradient
from labsec.invert.threads import one_thread
from labsec.types import ServerView

ONE_SAMPLE = "One sample and one step of plain SGD are behind the message."


@one_thread()
def dlg(
    view: ServerView,
    *,
    message: int = 0,
    generator: Generator,
    iterations: int = 300,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """Deep leakage from gradients, as published: picture and label are searched for together.

    The label is a softmax of numbers that are searched for, too. All starts at normal noise.

    view          `view.messages[message]` must be the update of one client: one step of plain SGD on one sample
    generator     of the noise that it starts from
    iterations    of L-BFGS, each with up to 20 evaluations
    seconds       of processor time after which it stops; None for no bound
    watch         called after each iteration
    returns       one candidate, the last one, not clamped; `divergences` is 1 if it ended further off than it began or
                  in numbers that are not finite

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x = lenet((1, 8, 8), 10), torch.rand(1, 1, 8, 8)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, torch.tensor([7]), torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> dlg(view, generator=torch.Generator().manual_seed(0), iterations=5).losses[0] > 0
    True

    Raises ValueError unless it is one step on one sample of numbers (not tokens), and for settings out of range.
    Source: Zhu, Liu and Han 2019, arXiv:1906.08935, and its published code. The one deviation: numbers that are not
    finite, or an iteration that changes nothing any more, end it, since all further iterations are the same.
    """
    return _search("dlg", view, message, generator, iterations, seconds, watch, reads_label=False)


@one_thread()
def idlg(
    view: ServerView,
    *,
    message: int = 0,
    generator: Generator,
    iterations: int = 300,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """Improved deep leakage, as published: the label is read off the message, then `dlg` searches for the picture.

    view, message, generator, iterations, seconds, watch, returns    as for `dlg`

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x = lenet((1, 8, 8), 10), torch.rand(1, 1, 8, 8)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, torch.tensor([7]), torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> idlg(view, generator=torch.Generator().manual_seed(0), iterations=5).labels
    tensor([7])

    Raises ValueError as `dlg` does, and if the label cannot be read.
    Source: Zhao, Mopuri and Bilen 2020, arXiv:2001.02610, with the deviation that `dlg` names.
    """
    return _search("idlg", view, message, generator, iterations, seconds, watch, reads_label=True)


def _search(
    name: str,
    view: ServerView,
    message: int,
    generator: Generator,
    iterations: int,
    seconds: float | None,
    watch: Watch | None,
    *,
    reads_label: bool,
) -> Reconstruction:
    began = process_time()
    check_kind(name, Generator, generator=generator)
    check_number(name, whole=True, least=1, iterations=iterations)
    if seconds is not None:
        check_number(name, above=0, seconds=seconds)
    if watch is not None:
        check_function(name, watch=watch)
    wanted = gradient(name, view, message).float()  # [dim]
    model = view.model
    if view.batch_size != 1:
        raise ValueError(f"{name} needs a message of one sample; got batch_size={view.batch_size}")
    if model.vocabulary is not None:
        raise ValueError(f"{name} needs samples that are numbers; those of {model.name} are tokens")

    # What is searched for: the picture, and numbers whose softmax is the label, unless that is known.
    x = torch.randn(1, 1, *model.shape, generator=generator, device=wanted.device, requires_grad=True)
    if reads_label:
        answers = torch.full((model.classes,), -math.inf, device=wanted.device)
        answers[read_label(view, message=message)] = 0
        searched = [x]
    else:
        answers = torch.randn(model.classes, generator=generator, device=wanted.device, requires_grad=True)
        searched = [x, answers]

    params = view.params.detach().float()[None].clone().requires_grad_()  # [1, dim]
    optimizer = torch.optim.LBFGS(searched, lr=1)
    evaluations = 0

    def loss() -> Tensor:
        """The matching loss, |G(x) - T|², with the slopes of what is searched for."""
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        said = model(params, x)[0, 0].log_softmax(dim=0)  # [classes]
        cost = -(answers.softmax(dim=0) * said).sum()
        (own,) = torch.autograd.grad(cost, params, create_graph=True)  # [1, dim]
        distance = (own[0] - wanted).square().sum()
        for each, slope in zip(searched, torch.autograd.grad(distance, searched), strict=True):
            each.grad = slope
        return distance.detach()

    # As published: a fixed number of iterations, and the last one counts.
    losses: list[float] = []
    for iteration in range(iterations):
        before = x.detach().clone()
        losses.append(float(optimizer.step(loss)))  # the loss that the iteration began with
        stopped = watch is not None and watch(iteration, x.detach()[0].to(view.params.dtype), losses[-1])
        late = seconds is not None and process_time() > began + seconds
        if stopped or late or torch.equal(before, x) or not x.isfinite().all():
            break
    last = float(loss())
    losses.append(last)
    return Reconstruction(
        method=name,
        estimate=x.detach()[0].to(view.params.dtype),
        labels=answers.detach().argmax()[None],
        losses=tuple(losses),
        divergences=int(not last <= losses[0]),
        evaluations=evaluations,
        seconds=process_time() - began,
        assumptions=(ONE_SAMPLE, "The label is read off the message.") if reads_label else (ONE_SAMPLE,),
    )
