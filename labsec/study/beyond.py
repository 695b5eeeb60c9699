"""What a server reads out of messages that hold no pictures: one message, a search, and scores beside a guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsec.data import Dataset
from labsec.guards import check_kind, kind
from labsec.invert.fitting import search
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import ServerView, generator

SPREAD = 0.1  # of a start's free numbers around "nothing is known"


def drawn(data: Dataset, count: int, *, seed: int) -> Tensor:
    """Places [count] of samples of a data set, without repetition.

    >>> from labsec.data import load
    >>> drawn(load("snps"), 3, seed=0).tolist() == drawn(load("snps"), 3, seed=0).tolist()
    True
    """
    return torch.randperm(len(data.x), generator=generator(seed, "samples", count))[:count]


def one_message(model: Model, data: Dataset, samples: Tensor, *, seed: int, lr: float = 1.0) -> ServerView:
    """What a curious server sees of one client that takes one step on these samples, with a fresh model.

    samples    [batch] places in the training part

    >>> from labsec import data, models
    >>> snps = data.load("snps")
    >>> one_message(models.mlp((128,), 2), snps, torch.tensor([3, 5]), seed=0).batch_size
    2

    Raises ValueError as `train.local_updates` does.
    """
    params = model.init(generator(seed, "start"))
    update = local_updates(model, params, data.x, data.y, samples[None, None], lr=lr)
    return ServerView(params=params, messages=update, model=model, lr=lr, local_steps=1, batch_size=len(samples))


def matched(
    view: ServerView,
    labels: Tensor,
    decode: Callable[[Tensor], Tensor],
    *,
    seed: int,
    restarts: int = 1,
    iterations: int = 300,
) -> Tensor:
    """The samples [batch, *shape] whose gradient is most like the one received, as `decode` makes them of free numbers.

    labels    [batch] int64, which the server reads first (lab 04)
    decode    (free [batch, *shape]) -> samples of the same shape; differentiable

    >>> from labsec import data, models
    >>> snps = data.load("snps")
    >>> view = one_message(models.mlp((128,), 2), snps, torch.tensor([3]), seed=0)
    >>> bool((matched(view, snps.y[[3]], torch.sigmoid, seed=0) - snps.x[[3]]).abs().max() < 0.2)
    True

    Raises ValueError if the message is no gradient of one step, and for labels that do not fit.
    """
    draw = generator(seed, "starts")
    shape = (len(labels), *view.model.shape)
    starts = [SPREAD * torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(restarts)]
    found, _ = search("matched", view, 0, labels, decode, starts, iterations=iterations)
    return decode(found.best.free).to(view.params.dtype)


def categories(rows: Tensor, widths: Sequence[int]) -> Tensor:
    """Which category each column of a table says: rows [n, places] -> [n, columns], numbers of width 1 left out.

    >>> categories(torch.tensor([[0.3, 0.1, 0.9, 0.0]]), [1, 3])
    tensor([[1]])
    """
    parts = rows.split(list(widths), dim=1)
    return torch.stack([part.argmax(dim=1) for part in parts if part.shape[1] > 1], dim=1)


def agreement(found: Tensor, truth: Tensor) -> Tensor:
    """The share of the cells that were read rightly, of each true sample: [n].

    found    [k, cells] whole numbers, in any order; each stands for one sample of the truth at most
    truth    [n, cells]

    The truth is looked at here alone. Samples that nothing is left for have 0.

    >>> agreement(torch.tensor([[1, 2], [5, 6]]), torch.tensor([[5, 6], [1, 9], [0, 0]]))
    tensor([1.0000, 0.5000, 0.0000])

    Raises ValueError unless both hold whole numbers, as many cells each.
    """
    from scipy.optimize import linear_sum_assignment  # a tenth of a second, and few need it

    check_kind("agreement", Tensor, found=found, truth=truth)
    if found.ndim != 2 or truth.ndim != 2 or found.shape[1] != truth.shape[1] or found.is_floating_point():
        raise ValueError(f"agreement needs whole numbers [k, cells] and [n, cells]; got {kind(found)}, {kind(truth)}")
    right = (truth[:, None] == found[None]).double().mean(dim=2)  # [n, k]
    samples, candidates = linear_sum_assignment(right.numpy(), maximize=True)
    shares = torch.zeros(len(truth))
    shares[samples] = right[samples, candidates].float()
    return shares


def most_frequent(known: Tensor) -> Tensor:
    """The guess without a message: of each cell what most people have, [cells], from public samples [n, cells].

    >>> most_frequent(torch.tensor([[1, 0], [1, 2], [3, 2]]))
    tensor([1, 2])
    """
    return known.mode(dim=0).values


def recall(found: Tensor, truth: Tensor, rare: Tensor) -> float:
    """Of the rare alleles that people carry, the share that was read: copies [n, loci] twice, rare [loci] true or false.

    >>> recall(torch.tensor([[1, 0]]), torch.tensor([[1, 2]]), torch.tensor([True, True]))
    0.5

    Raises ValueError if nobody carries one.
    """
    carried = (truth > 0) & rare
    if not carried.any():
        raise ValueError("recall needs somebody who carries a rare allele; nobody does")
    return float((found > 0)[carried].double().mean())
