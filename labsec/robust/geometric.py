"""The geometric median: the point with the smallest sum of distances to all updates."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import centred_gram, finite_rows, gram_distances
from labsec.guards import check_number
from labsec.types import Update, Updates


def geometric_median(updates: Updates, *, tolerance: float = 1e-7, iterations: int = 1000) -> Update:
    """The point whose distances (not squared) to all updates have the smallest sum; half of them cannot move it far.

    updates       [clients, dim]
    tolerance     stop when no row's share of the result changes by more
    iterations    at most so many steps
    returns       [dim]

    >>> geometric_median(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 3.0], [900.0, 0.0], [0.0, 0.0]]))
    tensor([0., 0.])

    Raises ValueError unless tolerance >= 0 and iterations >= 1, or if no row is finite.
    Source: Weiszfeld's iteration, as in Pillutla et al. 2019, arXiv:1912.13445. The point is always a weighted mean of
    the rows, so its distances follow from the rows' inner products: the rows are read twice, whatever the number of
    steps. A row that is itself the median, where the iteration would stall, is found by the condition of optimality.
    """
    rows = finite_rows(updates)
    check_number("geometric_median", least=0, tolerance=tolerance)
    check_number("geometric_median", whole=True, above=0, iterations=iterations)
    gram = centred_gram(rows)  # [n, n]
    distances = gram_distances(gram).sqrt()  # [n, n]
    optimal = _is_median(gram, distances)  # [n]
    if optimal.any():
        return rows[optimal.nonzero()[0, 0]].clone()
    share = _normalised(distances.quantile(0.5, dim=1))
    for _ in range(iterations):
        before = share
        share = _normalised(_distances_from(share, gram))
        if (share - before).abs().max() <= tolerance:
            break
    return share.to(rows.dtype) @ rows


def _distances_from(share: Tensor, gram: Tensor) -> Tensor:
    """Distances of all rows from the mean of the rows under the weights `share` [n]: [n]."""
    products = gram @ share  # [n]
    return (share @ products - 2 * products + gram.diagonal()).clamp_min(0).sqrt()


def _normalised(distances: Tensor) -> Tensor:
    """Shares that add to one, in inverse proportion to the distances: [n]."""
    inverse = 1 / distances.clamp_min(torch.finfo(distances.dtype).tiny)
    return inverse / inverse.sum()


def _is_median(gram: Tensor, distances: Tensor) -> Tensor:
    """Whether each row is the median: the unit pulls of all others on it add to less than its own multiplicity."""
    same = distances == 0
    pulls = torch.where(same, 0, 1 / distances.clamp_min(torch.finfo(distances.dtype).tiny))  # [row, other]
    pulls = pulls - pulls.sum(dim=1).diag()
    squares = ((pulls @ gram) * pulls).sum(dim=1).clamp_min(0)
    return squares.sqrt() < same.sum(dim=1) * (1 - 1e-6)
