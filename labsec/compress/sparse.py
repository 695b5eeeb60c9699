"""Leave most entries out: those that matter least, or any."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number
from labsec.types import Updates


def top_k(updates: Updates, *, keep: float) -> Updates:
    """Keep the share `keep` of every row's entries that are largest in size; set the rest to zero.

    updates    [clients, dim]
    keep       share in (0, 1], no unit; round(keep * dim) entries are kept, at least one
    returns    [clients, dim]

    >>> top_k(torch.tensor([[1.0, -4.0, 2.0, 3.0]]), keep=0.5)
    tensor([[ 0., -4.,  0.,  3.]])

    Biased: the small entries never arrive, unless `ErrorFeedback` saves them up. Which entries are named depends on the
    data, and so it tells something by itself.
    Raises ValueError if keep is not in (0, 1]. Source: Aji and Heafield 2017, arXiv:1704.05021, without the error
    feedback.
    """
    check_updates(updates)
    check_number("top_k", above=0, most=1, keep=keep)
    count = _count(updates.shape[1], keep)
    if count == updates.shape[1]:
        return updates
    largest = updates.abs().topk(count, dim=1, sorted=False).indices  # [clients, count]
    return _only(updates, largest)


def random_k(updates: Updates, *, keep: float, unbiased: bool = True, generator: Generator) -> Updates:
    """Keep a random share `keep` of every row's entries; set the rest to zero.

    updates      [clients, dim]
    keep         share in (0, 1], no unit; round(keep * dim) entries are kept, at least one
    unbiased     whether what is kept is multiplied by dim / count, so that the expectation over the patterns is the row
                 itself. Without it the row is shortened to its share on average: take that under `ErrorFeedback`
    generator    draws a pattern for each row; whoever knows its seed knows the patterns
    returns      [clients, dim]

    >>> random_k(torch.ones(1, 4), keep=0.5, generator=torch.Generator().manual_seed(0)).sum()
    tensor(4.)

    The pattern does not depend on the data. It is no secret: the zeros of the message show it.
    A row that holds a NaN or an infinity goes on as it is, for the server to see.

    Raises ValueError if keep is not in (0, 1].
    Source: the random mask of Konečný et al. 2016, arXiv:1610.05492. There the pattern's seed is sent, here the
    positions are.
    """
    check_updates(updates)
    check_number("random_k", above=0, most=1, keep=keep)
    check_kind("random_k", bool, unbiased=unbiased)
    check_kind("random_k", Generator, generator=generator)
    dim = updates.shape[1]
    count = _count(dim, keep)
    if count == dim:
        return updates

    # Of as many lots as entries, the highest ones win: that draws an exact number of places, all alike.
    lots = torch.rand(updates.shape, generator=generator, device=updates.device)
    drawn = lots.topk(count, dim=1, sorted=False).indices  # [clients, count]
    kept = _only(updates, drawn)
    if unbiased:
        kept *= dim / count
    return torch.where(is_finite_row(updates)[:, None], kept, updates)


def _count(dim: int, keep: float) -> int:
    """How many entries a share of them is."""
    return max(1, round(float(keep) * dim))


def _only(updates: Updates, places: Tensor) -> Updates:
    """The entries at these places [clients, count], and zeros."""
    return torch.zeros_like(updates).scatter_(1, places, updates.gather(1, places))
