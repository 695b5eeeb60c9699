"""Images out of what several local steps add up to: the attacker takes the client's steps, and learns backwards."""

from __future__ import annotations

import math
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget, Sent, check_continuous, lbfgs, signed_adam, slopes
from labsec.invert.shared import Watch, check_labels, one_message
from labsec.types import ServerView


def simulate(
    view: ServerView,
    *,
    message: int = 0,
    labels: Tensor,
    batches: Tensor | None = None,
    smooth: bool,
    generator: Generator,
    tv: float = 0.0,
    iterations: int = 300,
    restarts: int = 1,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Look for samples with which a client's several steps of plain SGD would end where this client's did.

    labels        [n] int64 classes of the samples that the client trained on
    batches       [local_steps, batch] which of them each step took, as numbers below n; None where each step took
                  samples of its own, in the order of the labels
    smooth        whether every activation of the model bends: then L-BFGS as in `smooth_cosine`, else signed Adam as in
                  `cosine`
    generator, iterations, restarts, seconds, watch    as for these two
    tv            weight of the total variation
    returns       estimate [n, *shape] in [0, 1]

    The update of several steps is no gradient, so it cannot be matched by one. But the attacker knows the model that
    was sent and the learning rate, can take the same steps with samples of its own, and can differentiate through all
    of them. What limits it is counting: 5 steps of 16 hide 80 samples behind one message.

    >>> from labsec.models import convnet
    >>> from labsec.train import local_updates
    >>> model = convnet((1, 8, 8), 4, activation=torch.tanh)
    >>> params, x, y = model.init(torch.Generator().manual_seed(0)), torch.rand(2, 1, 8, 8), torch.tensor([1, 3])
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0], [1]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=2, batch_size=1)
    >>> found = simulate(view, labels=y, smooth=True, generator=torch.Generator().manual_seed(0))
    >>> bool((found.estimate - x).abs().max() < 0.2)
    True

    Raises ValueError if the message is not finite or zero, unless lr > 0, unless the batches name samples that there
    are labels for, in as many steps as the view says; and for a setting out of its range.
    Source: the simulation of Geiping et al. 2020, arXiv:2003.14053, section 6, and of Dimitrov et al. 2022,
    arXiv:2206.12395, without the latter's prior over the order of the batches.
    """
    since = process_time()
    check_kind("simulate", Generator, generator=generator)
    check_kind("simulate", bool, smooth=smooth)
    check_number("simulate", least=0, tv=tv)
    check_number("simulate", whole=True, above=0, restarts=restarts)
    budget = Budget(name="simulate", iterations=iterations, seconds=seconds, watch=watch)
    update = one_message("simulate", view, message)  # [dim]
    check_number("simulate", above=0, lr=view.lr)
    check_labels("simulate", labels, view.model.classes, None)
    check_continuous("simulate", view.model)
    steps = _batches(view, labels, batches)  # [steps, batch]
    if not update.count_nonzero():
        raise ValueError(f"simulate needs a message that points somewhere; message {message} is zero")

    dtype = torch.float64 if smooth else torch.float32
    target = view.model.layers(-update[None].to(dtype) / view.lr)
    shape = (restarts, len(labels), *view.model.shape)
    if smooth:
        starts = 0.1 * torch.randn(shape, generator=generator, dtype=dtype)
        found = lbfgs(_sent(view, labels, steps, 1, dtype), target, starts, tv=tv, stop_at=1e-9, budget=budget)
    else:
        start = torch.rand(shape, generator=generator)
        sent = _sent(view, labels, steps, restarts, dtype)
        found = signed_adam(sent, target, start, tv=tv, lr=0.1, budget=budget)
    return found.as_reconstruction(
        "simulation",
        labels=labels,
        dtype=view.params.dtype,
        since=since,
        assumptions=(
            f"The message is what {view.local_steps} steps of plain SGD changed.",
            "The labels of the samples are known, and which step took which.",
        ),
    )


def _batches(view: ServerView, labels: Tensor, batches: Tensor | None) -> Tensor:
    """Which sample each step took, [steps, batch], checked."""
    if batches is None:
        if len(labels) % view.local_steps:
            raise ValueError(
                "simulate needs equally many labels for every step; "
                f"got {len(labels)} labels, local_steps={view.local_steps}"
            )
        return torch.arange(len(labels)).view(view.local_steps, -1)
    check_kind("simulate", Tensor, batches=batches)
    if batches.ndim != 2 or len(batches) != view.local_steps or batches.dtype != torch.int64 or not batches.numel():
        raise ValueError(f"simulate needs int64 batches [{view.local_steps}, batch]; got {kind(batches)}")
    least, most = (int(end) for end in batches.aminmax())
    if least < 0 or most >= len(labels):
        raise ValueError(f"simulate needs batches of numbers in 0 … {len(labels) - 1}; got {least} … {most}")
    return batches


def _sent(view: ServerView, labels: Tensor, batches: Tensor, restarts: int, dtype: torch.dtype) -> Sent:
    """What clients that take these steps would send, as the sum of their gradients: the update by minus lr."""
    params = view.params.detach().to(dtype).expand(restarts, -1)  # [r, dim]
    start = [layer.detach().requires_grad_() for layer in view.model.layers(params)]

    def sent(x: Tensor) -> list[Tensor]:
        here = start
        for own in batches:
            gradients = slopes(view.model, here, x[:, own], labels[own])
            here = [layer - view.lr * gradient for layer, gradient in zip(here, gradients, strict=True)]
        return [(before - after) / view.lr for before, after in zip(start, here, strict=True)]

    return sent
