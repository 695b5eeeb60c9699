"""The plain average: what every other rule is measured against."""

from __future__ import annotations

from torch import Tensor

from labsec.geometry import finite_rows, is_finite_row
from labsec.types import Update, Updates


def mean(updates: Updates, *, weights: Tensor | None = None) -> Update:
    """The average of the rows, by sample counts where they are given: FedAvg. One client can move it anywhere.

    updates    [clients, dim]
    weights    [clients] sample counts; None for equal weights
    returns    [dim]

    >>> import torch
    >>> mean(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), weights=torch.tensor([3, 1]))
    tensor([0.2500, 1.0000])

    Raises ValueError if no row is finite, or if a weight is negative or not finite, or if all are zero.
    Source: McMahan et al. 2017, arXiv:1602.05629.
    """
    rows = finite_rows(updates)
    if weights is None:
        return rows.new_ones(len(rows)) @ rows / len(rows)
    if weights.shape != (len(updates),) or not weights.isfinite().all() or (weights < 0).any():
        raise ValueError(f"mean needs one weight >= 0 for each of {len(updates)} rows; got {weights.tolist()}")
    share = (weights if len(rows) == len(updates) else weights[is_finite_row(updates)]).to(rows.dtype)
    if not share.sum() > 0:
        raise ValueError(f"mean needs a finite row of positive weight; got weights {weights.tolist()}")
    return (share / share.sum()) @ rows
