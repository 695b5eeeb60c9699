"""Records of a table out of a gradient: categories by softmax, several starts, and what the starts agree on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, check_sizes
from labsec.invert.fitting import Fit, search
from labsec.invert.reconstruction import Reconstruction
from labsec.types import ServerView

ENOUGH = 1e-9  # matching loss, relative
AS_GOOD = 10.0  # a start whose loss is at most so many times the lowest has a vote


def categories(
    view: ServerView,
    *,
    widths: Sequence[int],
    message: int = 0,
    labels: Tensor | None = None,
    restarts: int = 4,
    iterations: int = 200,
    seconds: float = math.inf,
    generator: Generator,
) -> Reconstruction:
    """Read the records of a table out of a gradient: numbers in [0, 1], and categories as one-hot groups.

    view        `view.messages[message]` must be the update of one step of plain SGD on records [places]
    widths      places of each column in the order of a sample: 1 for a number, more for a category
    labels      [batch_size] int64; None reads the label of a single record from the sign of the last bias
    restarts    starts at most; it ends early when a start explains the message
    seconds     of processor time after which it stops
    returns     estimate [batch_size, places], every category one-hot

    A number is a sigmoid and a category a softmax of free numbers, so the search never leaves the table. The order of
    the records in a batch is not in the gradient, so those of each start are paired with those of the best one before
    they are pooled: the mean over the starts that explain the message about as well.

    >>> from labsec import data, models
    >>> from labsec.train import local_updates
    >>> credit, model = data.load("credit"), models.mlp((29,), 2)
    >>> params = model.init(Generator().manual_seed(0))
    >>> update = local_updates(model, params, credit.x, credit.y, torch.tensor([[[7]]]), lr=1.0)
    >>> view = ServerView(params=params, messages=update, model=model, lr=1.0, local_steps=1, batch_size=1)
    >>> widths = [column.width for column in data.credit_columns()]
    >>> found = categories(view, widths=widths, generator=Generator().manual_seed(1)).estimate
    >>> bool((found - credit.x[7]).abs().max() < 0.01)
    True

    Raises ValueError unless the widths add up to the places of a sample, as `gradient` does, and for labels that do not
    fit.
    Source: TabLeak, Vero et al. 2023, arXiv:2210.01785: softmax, ensembles and their pooling. Here the starts are
    paired by squared distance and searched by L-BFGS-B in float64.
    """
    check_number("categories", whole=True, above=0, restarts=restarts, iterations=iterations)
    check_kind("categories", ServerView, view=view)
    check_kind("categories", Generator, generator=generator)
    check_sizes("categories", widths=widths)
    if view.model.shape != (sum(widths),):
        raise ValueError(
            f"categories needs widths that add up to the places of a sample, {list(view.model.shape)}; "
            f"got {[*widths]}, together {sum(widths)}"
        )
    decode = _decoder(widths)
    size = (view.batch_size or 0, sum(widths))
    starts = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(restarts)]
    found, known = search(
        "categories", view, message, labels, decode, starts, iterations=iterations, enough=ENOUGH, seconds=seconds
    )
    pooled = _pooled(found.fits, decode, known)  # [b, places]
    whole = [
        group if group.shape[1] == 1 else F.one_hot(group.argmax(dim=1), group.shape[1]).to(group)
        for group in pooled.split(list(widths), dim=1)
    ]
    who = "The labels are known." if labels is not None else "One record, whose label shows in the last bias."
    samples = torch.cat(whole, dim=1).to(view.params.dtype)
    return found.as_reconstruction(
        "categories", samples, labels=known, assumptions=(who, "The columns of the table are known.")
    )


def _decoder(widths: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Free numbers [b, places] -> records [b, places]: a sigmoid for a number, a softmax for each category."""

    def decode(free: Tensor) -> Tensor:
        groups = free.split(list(widths), dim=1)
        return torch.cat([group.sigmoid() if group.shape[1] == 1 else group.softmax(dim=1) for group in groups], dim=1)

    return decode


def _pooled(fits: Sequence[Fit], decode: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
    """The mean over the good starts of their records [b, places], each paired with a record of the best one."""
    from scipy.optimize import linear_sum_assignment  # 0.2 seconds, and few attacks need it

    best = decode(fits[0].free)
    good = [decode(each.free) for each in fits if each.loss <= AS_GOOD * max(fits[0].loss, ENOUGH)]
    paired = []
    for records in good:
        # Only records with one label can change places.
        apart = torch.cdist(best, records).square() + 1e6 * (labels[:, None] != labels[None])  # [b, b]
        paired.append(records[linear_sum_assignment(apart.numpy())[1]])
    return torch.stack(paired).mean(dim=0)
