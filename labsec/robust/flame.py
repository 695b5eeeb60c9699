"""FLAME: keep the majority that points in like directions, clip to the median norm, average, add noise."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.geometry import cosines, finite_rows, rows_and_norms
from labsec.guards import check_kind, check_number
from labsec.robust.noise import with_noise
from labsec.types import Update, Updates


def flame(updates: Updates, *, generator: Generator, noise: float = 0.001) -> Update:
    """Keep the largest cluster by cosine, clip its rows to the median norm of all, average them, add noise.

    updates      [clients, dim]
    generator    draws the noise
    noise        its standard deviation on every coordinate, in multiples of the median norm
    returns      [dim]

    >>> rows = torch.tensor([[3.0, 4.0], [6.0, 8.0], [4.0, 3.0], [-900.0, 0.0]])
    >>> flame(rows, generator=torch.Generator(), noise=0.0)
    tensor([3.8333, 4.3333])

    Raises ValueError unless noise >= 0, or if no row is finite.
    Source: Nguyen et al. 2022, arXiv:2101.02281, Algorithm 1. Its cosines are between the clients' models, here between
    their updates. It clusters by HDBSCAN with clusters of n / 2 + 1 rows at least and one sample to a core. That leaves
    room for one cluster, which is the one that `majority` finds without HDBSCAN.
    """
    check_number("flame", least=0, noise=noise)
    check_kind("flame", Generator, generator=generator)
    rows, norms = rows_and_norms(finite_rows(updates))
    distances = (1 - cosines(rows)).round(decimals=6)  # [n, n], as far as float32 tells them apart
    kept = majority(distances)  # bool [n]
    typical = norms.quantile(0.5)
    shortening = (typical / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max(1)  # [n]
    average = (shortening * kept / kept.sum()).to(rows.dtype) @ rows
    return with_noise(average, noise * typical, generator)


def majority(distances: Tensor) -> Tensor:
    """Who belongs to the first group of more than half of the rows, as near rows join into groups: [n, n] -> bool [n].

    Pairs join by distance, the nearest first, and whoever belongs to either comes along (single linkage). It stops at
    the distance at which a group holds n // 2 + 1 rows.

    >>> majority(torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]])).tolist()
    [True, True, False]
    """
    n = len(distances)
    groups = [{row} for row in range(n)]
    first, second = torch.triu_indices(n, n, offset=1)
    lengths, order = distances[first, second].sort(stable=True)
    largest = groups[0]
    reached = torch.inf  # the distance at which the largest group became a majority
    for length, i, j in zip(lengths.tolist(), first[order].tolist(), second[order].tolist(), strict=True):
        if length > reached:
            break
        if groups[i] is not groups[j]:
            joined = groups[i] | groups[j]
            for row in joined:
                groups[row] = joined
            largest = max(largest, joined, key=len)
        if len(largest) > n // 2:
            reached = length
    kept = torch.zeros(n, dtype=torch.bool, device=distances.device)
    kept[sorted(largest)] = True
    return kept
