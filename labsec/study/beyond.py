"""Messages that hold no pictures: what one client sends, and a search with a decoder of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.data import Dataset
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
