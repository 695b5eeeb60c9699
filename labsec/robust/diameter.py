"""Minimum diameter averaging: the mean of those n - f updates that lie closest together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labsec.geometry import finite_rows, squared_distances
from labsec.guards import check_number
from labsec.types import ImpossibleRule, Update, Updates

LARGEST_F = 16  # twice the work with each further one: 65,536 subsets at worst, two seconds


def mda(updates: Updates, *, f: int) -> Update:
    """The mean of the n - f updates whose diameter, the largest distance between two of them, is smallest.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 the plain mean
    returns    [dim]

    >>> mda(torch.tensor([[1.0], [1.1], [1.3], [1.6], [900.0]]), f=1)
    tensor([1.2500])

    There are n! / (f! (n - f)!) such subsets, 593,775 of 30 with f = 6, but few need a look. Of the two updates that
    are farthest apart one must be left out, or the diameter stays; so must one of the two farthest among the rest, and
    so on: at most 2^f subsets, whatever n is. That still doubles with each f, and above 16 the rule refuses.

    Raises ImpossibleRule unless 0 <= 2 f < clients and f <= 16, ValueError if no row is finite.
    Source: El Mhamdi et al. 2018, arXiv:1802.07927; Rousseeuw 1985. Of subsets with one diameter the one with the
    smallest sum of squared distances counts (the papers leave this open), so that the clients' order does not matter.
    """
    rows = finite_rows(updates)
    check_number("mda", whole=True, f=f)
    n = len(rows)
    if not 0 <= 2 * f < n:
        raise ImpossibleRule(f"mda needs 0 <= 2f < clients; got f={f}, clients={n}")
    if f > LARGEST_F:
        raise ImpossibleRule(
            f"mda needs f <= {LARGEST_F}, because it looks at up to 2^f subsets; got f={f}, clients={n}"
        )
    weights = rows.new_full((n,), 1 / (n - f))
    if f > 0:
        weights[_left_out(squared_distances(rows.detach()), f)] = 0
    return weights @ rows


def _left_out(distances: Tensor, f: int) -> list[int]:
    """The numbers of the f rows without which the largest of the distances [n, n] is smallest."""
    n = len(distances)
    first, second = torch.triu_indices(n, n, offset=1)
    far = distances[first, second].sort(descending=True, stable=True)
    lengths = far.values.tolist()
    pairs = list(zip(first[far.indices].tolist(), second[far.indices].tolist(), strict=True))  # the farthest first

    # What is still to be looked at: who is out, and the place of the first pair of which both may still be in.
    waiting: list[tuple[frozenset[int], int]] = [(frozenset(), 0)]
    seen = set()
    narrowest = math.inf
    found: list[frozenset[int]] = []
    while waiting:
        out, place = waiting.pop()
        while place < len(pairs) and not out.isdisjoint(pairs[place]):
            place += 1
        if len(out) < f:
            # One of the two must go, or their distance stays.
            for row in pairs[place]:
                without = out | {row}
                if without not in seen:
                    seen.add(without)
                    waiting.append((without, place + 1))
        elif lengths[place] < narrowest:
            narrowest = lengths[place]
            found = [out]
        elif lengths[place] == narrowest:
            found.append(out)
    densest = min(found, key=lambda out: _spread(distances, out))
    return sorted(densest)


def _spread(distances: Tensor, out: frozenset[int]) -> float:
    """The sum of the distances [n, n] between the rows that are not out."""
    kept = [row for row in range(len(distances)) if row not in out]
    return float(distances[kept][:, kept].sum())
