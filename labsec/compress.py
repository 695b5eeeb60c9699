"""Compression of updates: what clients leave out to send less."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labsec.geometry import check_updates
from labsec.types import Updates


def top_k(updates: Updates, *, keep: float) -> Updates:
    """Keep the share `keep` of every row's entries that are largest in size; set the rest to zero.

    updates    [clients, dim]
    keep       share in (0, 1]; round(keep * dim) entries are kept, at least one
    returns    [clients, dim], ready for a sparse encoding (`metrics.wire_bytes`)

    >>> top_k(torch.tensor([[1.0, -4.0, 2.0, 3.0]]), keep=0.5)
    tensor([[ 0., -4.,  0.,  3.]])

    Raises ValueError if keep is not in (0, 1]. Source: Aji and Heafield 2017, arXiv:1704.05021, without the error
    feedback.
    """
    check_updates(updates)
    if not 0 < keep <= 1:
        raise ValueError(f"top_k needs keep in (0, 1]; got {keep}")
    dim = updates.shape[1]
    count = max(1, round(keep * dim))
    if count == dim:
        return updates
    size = updates.abs()
    kept = size >= _kth_largest(size, count)  # [clients, dim]
    tied = kept.sum(dim=1) > count  # ties at the threshold; zeros among them cost nothing
    if tied.any():
        kept[tied] = _exactly(size[tied], count)
    return torch.where(kept, updates, 0.0)


def _kth_largest(size: Tensor, count: int) -> Tensor:
    """The count-th largest entry of every row, [clients, 1]; numpy's partial sort is five times faster than torch's."""
    place = size.shape[1] - count
    if size.device.type != "cpu":
        return size.kthvalue(place + 1, dim=1, keepdim=True).values
    return torch.from_numpy(np.partition(size.numpy(), place, axis=1)[:, place, None])


def _exactly(size: Tensor, count: int) -> Tensor:
    """A mask of exactly `count` entries of every row: of equal ones, the first."""
    order = size.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(size, dtype=torch.bool).scatter_(1, order, True)
