"""Bucketing: averages of a few clients each, dealt out at random."""

from __future__ import annotations

import torch
from torch import Generator

from labsec.geometry import finite_rows
from labsec.guards import check_kind, check_number
from labsec.types import Updates


def bucketing(updates: Updates, *, size: int, generator: Generator) -> Updates:
    """Stage: deal the updates out at random into buckets of `size`, and hand on the mean of every bucket.

    Honest clients with different data become more similar, so that a rule behind this drops fewer of them. Nobody knows
    any more whose row a row is, on purpose; and one bad client spoils a whole bucket.

    updates      [clients, dim]
    size         clients in a bucket; the last one holds what is left over. With 1 the rows stay as they are
    generator    says who comes into which bucket
    returns      [clients / size, rounded up, dim]

    >>> deal = torch.Generator().manual_seed(0)
    >>> bucketing(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]]), size=2, generator=deal).shape
    torch.Size([3, 1])

    Raises ValueError unless size >= 1, or if no row is finite.
    Source: Karimireddy et al. 2022, arXiv:2006.09365, Algorithm 1. An f of the rule behind it counts buckets: f bad
    clients spoil f of them at most.
    """
    check_number("bucketing", whole=True, above=0, size=size)
    check_kind("bucketing", Generator, generator=generator)
    rows = finite_rows(updates)
    if size == 1:
        return rows.clone()
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    buckets = order.split(size)
    means = rows.new_zeros(len(buckets), rows.shape[1])
    for place, bucket in enumerate(buckets):
        for row in bucket.tolist():
            # Share by share: a sum of huge rows overflows, their mean does not.
            means[place].add_(rows[row], alpha=1 / len(bucket))
    return means
