"""Messages that hold no pictures: what one client sends, and a search with a decoder of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec import invert, metrics
from labsec.data import Dataset
from labsec.federation.engine import rounds
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.invert.fitting import search
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import Broadcast, ServerView, generator

MOVED = 1e-5  # of the largest move of a bias; a bin that moved by less holds nothing
LR = 0.1  # of a client's step in a round
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


def noisy(view: ServerView, *, std: float, seed: int) -> ServerView:
    """The same view of a client that adds Gaussian noise to every number of its message.

    >>> from labsec import data, models
    >>> view = one_message(models.mlp((128,), 2), data.load("snps"), torch.tensor([3]), seed=0)
    >>> bool((noisy(view, std=0.0, seed=0).messages == view.messages).all())
    True
    """
    noise = torch.randn(view.messages.shape, generator=generator(seed, "noise"))
    return replace(view, messages=view.messages + std * noise)


def most_frequent(known: Tensor) -> Tensor:
    """The guess without a message: of each cell what most samples have, [cells], from public samples [n, cells].

    >>> most_frequent(torch.tensor([[1, 0], [1, 2], [3, 2]]))
    tensor([1, 2])
    """
    return known.mode(dim=0).values


def usual_record(known: Tensor, widths: Sequence[int]) -> Tensor:
    """The guess for a table: the most frequent category of each column and the median of each number, [1, places].

    >>> usual_record(torch.tensor([[0.2, 1.0, 0.0], [0.4, 1.0, 0.0], [0.9, 0.0, 1.0]]), [1, 2])
    tensor([[0.4000, 1.0000, 0.0000]])
    """
    parts = []
    for part in known.split(list(widths), dim=1):
        if part.shape[1] == 1:
            parts.append(part.median(dim=0, keepdim=True).values)
        else:
            parts.append(F.one_hot(part.mean(dim=0).argmax(), part.shape[1])[None].to(part))
    return torch.cat(parts, dim=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """One client's answer in one round, and the truth behind it, for the score alone.

    view     what the server sees; its params are what it sent
    truth    [batch, *shape]
    """

    view: ServerView
    truth: Tensor


def one_round(
    model: Model, data: Dataset, *, batch: int, seed: int, steps: int = 1, broadcast: Broadcast | None = None
) -> Answer:
    """A round of a real federation of three clients, and what the first of them answers.

    broadcast    (params, generator) -> [dim], what a malicious server sends; None for an honest one

    >>> from labsec import data, models
    >>> one_round(models.mlp((128,), 2), data.load("snps"), batch=4, seed=0).truth.shape
    torch.Size([4, 128])

    Raises ValueError as `Scenario` does.
    """
    honest = model.init(generator(seed, "start"))  # [dim]
    sent = honest if broadcast is None else broadcast(honest, generator=generator(seed, "broadcast"))
    s = Scenario(
        data=data,
        model=model,
        clients=3,
        rounds=1,
        local_steps=steps,
        batch_size=batch,
        lr=LR,
        start=honest,
        broadcast=None if broadcast is None else lambda params: sent,
        seed=seed,
    )
    (first,) = rounds(s)
    view = ServerView(params=sent, messages=first.messages[:1], model=model, lr=LR, local_steps=steps, batch_size=batch)

    # The truth, for the score alone.
    behind = Population(s).batches(first.number, first.clients)[0].flatten()  # [steps * batch]
    return Answer(view=view, truth=data.x[behind])


def audit(answer: Answer, *, least: float = 25.0) -> float:
    """What a client reads out of its own message before it sends it: the share of its samples at `least` dB or more.

    It tries the ratios of single neurons (`invert.analytic`), and those of the differences of neighbours, in which bins
    show. A server with another trick may read more.

    >>> from labsec import data, models
    >>> audit(one_round(models.mlp((128,), 2), data.load("snps"), batch=1, seed=0))
    1.0

    Raises ValueError if the first layer is not fully connected.
    """
    view = answer.view
    ratios = invert.analytic(view)
    weight, bias = (layer[0] for layer in view.model.layers(view.messages.double())[:2])  # [n, in], [n]
    apart = bias[:-1] - bias[1:]  # [n - 1]
    moved = apart.abs() > MOVED * bias.abs().max()
    rows = ((weight[:-1] - weight[1:])[moved] / apart[moved, None]).clamp(0, 1)  # [k, in]
    bins = rows.view(-1, *view.model.shape).to(view.params.dtype)

    # Each attack has as many guesses as there are samples; a sample is read if either reads it.
    scores = torch.stack([metrics.best_matches(found, answer.truth)[1] for found in (ratios, bins)])  # [2, n]
    return float((scores.amax(dim=0) >= least).double().mean())
