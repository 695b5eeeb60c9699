"""Several messages about the same data: what a curious server gains that keeps them."""

from __future__ import annotations

import math
from dataclasses import replace
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget, Sent, check_continuous, lbfgs, slopes
from labsec.invert.shared import Watch, check_labels, gradient, one_message
from labsec.types import ServerMemory, ServerView


def average(memory: ServerMemory, *, client: int) -> ServerView:
    """The mean of one client's messages about one model, as a view: the noise of k messages shrinks by sqrt(k).

    It needs a server that sent the same model in every round, and a client that answered with the same data. Any attack
    can then be tried on the view.

    >>> from labsec.models import mlp
    >>> model = mlp((3,), 2, hidden=(4,))
    >>> def heard(value: float) -> ServerView:
    ...     row = torch.full((1, model.dim), value)
    ...     return ServerView(
    ...         params=torch.zeros(model.dim), messages=row, model=model, lr=0.1, local_steps=1, batch_size=1
    ...     )
    >>> memory = ServerMemory(rounds=(heard(1.0), heard(2.0)), clients=(torch.tensor([7]), torch.tensor([7])))
    >>> average(memory, client=7).messages[0, 0]
    tensor(1.5000)

    Raises ValueError if the client never took part, if a message is not finite, or if the model changed in between:
    then `joint_cosine` holds the messages against each other. A mean takes the noise to be independent.
    """
    views = views_of("average", memory, client, same_model=True)
    first = views[0]
    rows = torch.stack([one_message("average", view, 0) for view in views])  # [k, dim]
    return replace(first, messages=rows.mean(dim=0, keepdim=True).to(first.messages.dtype))


def rank_one(memory: ServerMemory, *, client: int) -> Reconstruction:
    """Read one sample out of the first layers of several noisy messages about it, whatever models they were about.

    returns    estimate [1, *shape] in [0, 1], or [0, *shape] where the noise hides everything

    For one sample x the gradient of a fully connected first layer is d [x, 1]^T: only d depends on the model. So the
    layers of all messages, one below the other, are still of rank 1, and their leading singular vector is the best
    estimate under white noise. Whether there is anything to see shows in the singular values: noise alone spreads them
    in a known way around their median, and a largest one that does not stand out is not believed.

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model, x = mlp((4,), 2, hidden=(8,)), torch.tensor([[0.1, 0.9, 0.5, 0.3]])
    >>> def heard(seed: int) -> ServerView:
    ...     params = model.init(torch.Generator().manual_seed(seed))
    ...     update = local_updates(model, params, x, torch.tensor([1]), torch.tensor([[[0]]]), lr=0.1)
    ...     return ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> memory = ServerMemory(rounds=(heard(0), heard(1)), clients=(torch.tensor([7]), torch.tensor([7])))
    >>> rank_one(memory, client=7).estimate
    tensor([[0.1000, 0.9000, 0.5000, 0.3000]])

    Raises ValueError if the client never took part, if a message is not finite, for a batch of more than one sample, or
    if the first layer is not fully connected.
    Source: Eckart and Young 1936; the threshold of Gavish and Donoho 2014, arXiv:1305.5870, for unknown noise.
    """
    since = process_time()
    views = views_of("rank_one", memory, client)
    model = views[0].model
    if any(view.batch_size != 1 for view in views):
        raise ValueError(f"rank_one needs batches of one sample; got batch_size {[view.batch_size for view in views]}")
    inputs = torch.Size(model.shape).numel()
    if model.shapes[0][1:] != (inputs,):
        raise ValueError(
            f"rank_one needs a fully connected first layer [neurons, {inputs}]; {model.name} starts with "
            f"{list(model.shapes[0])}"
        )
    layers = []
    for view in views:
        weight, bias = model.layers(one_message("rank_one", view, 0)[None])[:2]  # [1, n, in], [1, n]
        layers.append(torch.cat([weight[0], bias[0][:, None]], dim=1))  # [n, in + 1]
    stack = torch.cat(layers)  # [k * n, in + 1]

    # Rows of neurons that slept hold noise alone, and they belong in, for they show how large it is.
    _, values, directions = torch.linalg.svd(stack, full_matrices=False)
    found = directions[:1, :-1] / directions[:1, -1:]  # [1, in]; not finite for an empty message
    stands_out = values[0] > _threshold(stack.shape) * values.median()
    if not stands_out or not found.isfinite().all():
        found = found[:0]
    return Reconstruction(
        method="rank one",
        estimate=found.clamp(0, 1).to(views[0].params.dtype).view(-1, *model.shape),
        seconds=process_time() - since,
        assumptions=(
            f"The {len(views)} messages are about one and the same sample.",
            "Noise, if any, is white and independent from message to message.",
        ),
    )


def _threshold(shape: torch.Size) -> float:
    """By how much a singular value must exceed the median one to be more than noise (Gavish and Donoho 2014, eq. 5)."""
    ratio = min(shape) / max(shape)
    return 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43


def joint_cosine(
    memory: ServerMemory,
    *,
    client: int,
    labels: Tensor,
    generator: Generator,
    tv: float = 0.0,
    iterations: int = 800,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Look for the samples that explain all messages of a client at once: for smooth networks, in one step each.

    labels     [batch] int64 classes of the samples, which are the same in every message
    generator, tv, iterations, seconds, watch, returns    as for `smooth_cosine`

    Every round's model sees the same samples from another side, so k messages hold k times as many equations for the
    same unknowns: a batch that one message leaves open may be closed by three.

    >>> from labsec.models import convnet
    >>> from labsec.train import local_updates
    >>> model, x, y = convnet((1, 8, 8), 4, activation=torch.tanh), torch.rand(1, 1, 8, 8), torch.tensor([1])
    >>> def heard(seed: int) -> ServerView:
    ...     params = model.init(torch.Generator().manual_seed(seed))
    ...     update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    ...     return ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> memory = ServerMemory(rounds=(heard(0), heard(1)), clients=(torch.tensor([7]), torch.tensor([7])))
    >>> found = joint_cosine(memory, client=7, labels=y, generator=torch.Generator().manual_seed(0), iterations=150)
    >>> bool((found.estimate - x).abs().max() < 0.05)
    True

    Raises ValueError if the client never took part, and for each of its messages as `smooth_cosine` does.
    """
    since = process_time()
    check_kind("joint_cosine", Generator, generator=generator)
    check_number("joint_cosine", least=0, tv=tv)
    budget = Budget(name="joint_cosine", iterations=iterations, seconds=seconds, watch=watch)
    views = views_of("joint_cosine", memory, client)
    target: list[Tensor] = []
    for view in views:
        wanted = gradient("joint_cosine", view, 0)  # [dim]
        check_labels("joint_cosine", labels, view.model.classes, view.batch_size)
        check_continuous("joint_cosine", view.model)
        if not wanted.count_nonzero():
            raise ValueError(f"joint_cosine needs messages that point somewhere; one of client {client} is zero")
        target += view.model.layers(wanted[None])

    starts = 0.1 * torch.randn(1, len(labels), *views[0].model.shape, generator=generator, dtype=torch.float64)
    found = lbfgs(_sent(views, labels), target, starts, tv=tv, stop_at=0.0, budget=budget)
    return found.as_reconstruction(
        "joint cosine",
        labels=labels,
        dtype=views[0].params.dtype,
        since=since,
        assumptions=(
            f"The {len(views)} messages are gradients of one step each, on one and the same batch.",
            "The labels of the batch are known.",
        ),
    )


def views_of(name: str, memory: ServerMemory, client: int, *, same_model: bool = False) -> tuple[ServerView, ...]:
    """The client's views, one message each.

    same_model    whether all of them must be about one model
    """
    check_kind(name, ServerMemory, memory=memory)
    check_number(name, whole=True, client=client)
    views = memory.of(client)
    if not views:
        raise ValueError(f"{name} needs a client that took part; got client={client}")
    for number, view in enumerate(views):
        if same_model and not torch.equal(view.params, views[0].params):
            raise ValueError(
                f"{name} needs messages about one model; the model of message {number} of client {client} differs "
                "from that of message 0"
            )
    return views


def _sent(views: tuple[ServerView, ...], labels: Tensor) -> Sent:
    """What a client with these labels would send in each of the rounds, one round's layers after another's."""
    starts = [
        [layer.requires_grad_() for layer in view.model.layers(view.params.detach().double()[None])] for view in views
    ]

    def sent(x: Tensor) -> list[Tensor]:
        rounds = zip(views, starts, strict=True)
        return [part for view, layers in rounds for part in slopes(view.model, layers, x, labels)]

    return sent
