"""Images out of the gradient of a batch, by the angle between gradients: for ReLUs, and for smooth networks."""

from __future__ import annotations

import math
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget, Sent, check_continuous, lbfgs, signed_adam, slopes
from labsec.invert.shared import Watch, check_labels, gradient
from labsec.types import ServerView

ASSUMPTIONS = (
    "The message is the gradient of one step of plain SGD.",
    "The labels of the batch are known.",
)


def cosine(
    view: ServerView,
    *,
    message: int = 0,
    labels: Tensor,
    generator: Generator,
    tv: float = 1e-2,
    lr: float = 0.1,
    iterations: int = 300,
    restarts: int = 1,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Look for images whose gradient points where the message points: the attack for networks of ReLUs.

    labels        [batch] int64 classes of the samples, in any order; the estimate comes in the same
    generator     of the random starts
    tv            weight of the total variation, which prefers smooth images to grainy ones
    lr            learning rate of the signed Adam, in units of the images' range; it falls along half a cosine
    iterations    steps of the search
    restarts      searches side by side, stacked as clients; the one with the least loss is believed
    seconds       processor seconds after which the search stops
    watch         called with (iteration, best estimate so far, its loss); True stops the search
    returns       estimate [batch, *shape] in [0, 1]

    The length of a gradient falls as a model learns, while its direction goes on to say what was seen: so only the
    angle is compared. The second derivative of a ReLU is zero almost everywhere, which leaves L-BFGS without a
    curvature; small steps by the sign alone go on.

    >>> from labsec.models import convnet
    >>> from labsec.train import local_updates
    >>> model, x, y = convnet((1, 8, 8), 4), torch.rand(1, 1, 8, 8), torch.tensor([1])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> found = cosine(view, labels=y, generator=torch.Generator().manual_seed(0), iterations=50)
    >>> found.estimate.shape, found.losses[-1] < found.losses[0]
    (torch.Size([1, 1, 8, 8]), True)

    Raises ValueError if the message is not finite, not the update of one step, or zero; unless there is a label for
    each sample; and for a setting out of its range.
    Source: Geiping et al. 2020, arXiv:2003.14053, with 300 steps in place of 4,800 and the total variation ten times as
    heavy for it; the best iterate is kept.
    """
    since = process_time()
    check_kind("cosine", Generator, generator=generator)
    check_number("cosine", least=0, tv=tv)
    check_number("cosine", above=0, lr=lr)
    check_number("cosine", whole=True, above=0, restarts=restarts)
    budget = Budget(name="cosine", iterations=iterations, seconds=seconds, watch=watch)
    target = _target("cosine", view, message, labels, torch.float32)

    start = torch.rand(restarts, len(labels), *view.model.shape, generator=generator)
    found = signed_adam(_sent(view, labels, restarts, start.dtype), target, start, tv=tv, lr=lr, budget=budget)
    return found.as_reconstruction(
        "cosine", labels=labels, dtype=view.params.dtype, since=since, assumptions=ASSUMPTIONS
    )


def smooth_cosine(
    view: ServerView,
    *,
    message: int = 0,
    labels: Tensor,
    generator: Generator,
    tv: float = 0.0,
    iterations: int = 800,
    restarts: int = 1,
    stop_at: float = 1e-9,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Look for images whose gradient points where the message points, layer by layer: for smooth networks.

    labels, watch, seconds, returns    as for `cosine`
    generator     of the starts, which lie close to mid-grey
    tv            weight of the total variation; a smooth network needs none
    iterations    evaluations of the loss in each restart; one image takes 150, a batch of four 800
    restarts      searches one after another, as long as none ends below `stop_at`; the one with the least loss counts
    stop_at       matching loss that is good enough

    Where every activation bends (ELU, sigmoid, tanh), the loss has a curvature and L-BFGS uses it, in float64. Every
    layer counts the same, however short its gradient is. The search steps in waves, not in pixels: see
    `search.natural`.

    >>> from labsec.models import convnet
    >>> from labsec.train import local_updates
    >>> model = convnet((1, 8, 8), 4, activation=torch.tanh)
    >>> params, x, y = model.init(torch.Generator().manual_seed(0)), torch.rand(1, 1, 8, 8), torch.tensor([1])
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> found = smooth_cosine(view, labels=y, generator=torch.Generator().manual_seed(0), iterations=150)
    >>> bool((found.estimate - x).abs().max() < 0.05)
    True

    Raises ValueError as `cosine` does. Source: the loss of Geiping et al. 2020, arXiv:2003.14053, taken layer by layer,
    under L-BFGS (Liu and Nocedal 1989); the coordinates are this course's own.
    """
    since = process_time()
    check_kind("smooth_cosine", Generator, generator=generator)
    check_number("smooth_cosine", least=0, tv=tv, stop_at=stop_at)
    check_number("smooth_cosine", whole=True, above=0, restarts=restarts)
    budget = Budget(name="smooth_cosine", iterations=iterations, seconds=seconds, watch=watch)
    target = _target("smooth_cosine", view, message, labels, torch.float64)

    starts = 0.1 * torch.randn(restarts, len(labels), *view.model.shape, generator=generator, dtype=torch.float64)
    found = lbfgs(_sent(view, labels, 1, starts.dtype), target, starts, tv=tv, stop_at=stop_at, budget=budget)
    return found.as_reconstruction(
        "smooth_cosine", labels=labels, dtype=view.params.dtype, since=since, assumptions=ASSUMPTIONS
    )


def _target(name: str, view: ServerView, message: int, labels: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The gradient behind the message, layer by layer [1, …]."""
    wanted = gradient(name, view, message)  # [dim]
    check_labels(name, labels, view.model.classes, view.batch_size)
    check_continuous(name, view.model)
    if not wanted.count_nonzero():
        raise ValueError(f"{name} needs a message that points somewhere; message {message} is zero")
    return view.model.layers(wanted[None].to(dtype))


def _sent(view: ServerView, labels: Tensor, restarts: int, dtype: torch.dtype) -> Sent:
    """What clients with these labels would send, from the model of the view."""
    params = view.params.detach().to(dtype).expand(restarts, -1)  # [r, dim]
    layers = [layer.detach().requires_grad_() for layer in view.model.layers(params)]
    return lambda x: slopes(view.model, layers, x, labels)
