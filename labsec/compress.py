"""Compression of updates: what clients leave out to send less."""

from __future__ import annotations

import torch

from labsec.geometry import check_updates
from labsec.guards import check_number
from labsec.types import Updates


def top_k(updates: Updates, *, keep: float) -> Updates:
    """Keep the share `keep` of every row's entries that are largest in size; set the rest to zero.

    updates    [clients, dim]
    keep       share in (0, 1], no unit; round(keep * dim) entries are kept, at least one
    returns    [clients, dim], ready for a sparse encoding (`metrics.wire_bytes`)

    >>> top_k(torch.tensor([[1.0, -4.0, 2.0, 3.0]]), keep=0.5)
    tensor([[ 0., -4.,  0.,  3.]])

    Raises ValueError if keep is not in (0, 1]. Source: Aji and Heafield 2017, arXiv:1704.05021, without the error
    feedback.
    """
    check_updates(updates)
    check_number("top_k", above=0, most=1, keep=keep)
    dim = updates.shape[1]
    count = max(1, round(float(keep) * dim))
    if count == dim:
        return updates
    largest = updates.abs().topk(count, dim=1, sorted=False).indices  # [clients, count]
    return torch.zeros_like(updates).scatter_(1, largest, updates.gather(1, largest))
