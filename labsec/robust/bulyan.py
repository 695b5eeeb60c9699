"""Bulyan: choose updates by Krum, one after the other, then average what is near the median of the chosen ones."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import finite_rows, squared_distances
from labsec.guards import check_number
from labsec.robust.coordinates import mean_around_median
from labsec.types import ImpossibleRule, Update, Updates


def bulyan(updates: Updates, *, f: int) -> Update:
    """Choose n - 2 f updates by Krum; of every coordinate the mean of the n - 4 f values nearest to their median.

    Krum alone can be led astray in a single coordinate, for one coordinate hardly shows in a distance. Here what Krum
    has let through must lie in the middle of every coordinate as well.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 the plain mean
    returns    [dim]

    >>> bulyan(torch.tensor([[0.0], [1.0], [3.0], [6.0], [10.0], [15.0], [900.0]]), f=1)  # of 1, 3, 6, 10 and 15
    tensor([6.3333])

    Raises ImpossibleRule unless 0 <= f and 4 f + 2 < clients, ValueError if no row is finite.
    Source: El Mhamdi et al. 2018, arXiv:1802.07927, with Krum as the rule that chooses. Each choice is made among those
    that are left, of which n' there count n' - f - 2 neighbours. The last choices would count none, so that they count
    one; of equal scores the one with the smaller sum over all distances wins, as in `krum`.
    """
    rows = finite_rows(updates)
    check_number("bulyan", whole=True, f=f)
    n = len(rows)
    if not (f >= 0 and 4 * f + 2 < n):
        raise ImpossibleRule(f"bulyan needs 0 <= f and 4f + 2 < clients; got f={f}, clients={n}")
    if f == 0:
        return mean_around_median(rows, n)
    chosen = _choose(squared_distances(rows), f, n - 2 * f)
    return mean_around_median(rows[chosen], n - 4 * f)


def _choose(distances: Tensor, f: int, count: int) -> list[int]:
    """The numbers of `count` rows, each the best by Krum's score among those that are left: from distances [n, n]."""
    # Equal scores go to whoever comes first, so whoever is nearer to all others comes first.
    left = distances.sum(dim=1).sort(stable=True).indices  # [n']
    nearest = distances[left].sort(dim=1)
    lengths = nearest.values  # [n', n'], from each that is left to all that are left, the nearest first
    others = nearest.indices  # [n', n'], who they are
    chosen = []
    for _ in range(count):
        neighbours = max(len(left) - f - 2, 1)
        best = lengths[:, 1 : neighbours + 1].sum(dim=1).argmin()  # the nearest of all is the row itself
        chosen.append(int(left[best]))

        # Whoever was chosen is nobody's neighbour any more.
        rest = torch.arange(len(left), device=left.device) != best
        stays = others[rest] != left[best]
        left = left[rest]
        lengths = lengths[rest][stays].view(len(left), len(left))
        others = others[rest][stays].view(len(left), len(left))
    return chosen
