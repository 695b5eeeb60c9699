"""The plain average, of clients or of samples: what every other rule is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import finite_rows, is_finite_row
from labsec.guards import check_kind, kind
from labsec.types import Update, Updates


def mean(updates: Updates) -> Update:
    """The average of the rows; every client counts alike. One client can move it anywhere.

    updates    [clients, dim]
    returns    [dim]

    >>> import torch
    >>> mean(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    tensor([0.5000, 1.0000])

    Raises ValueError if no row is finite.
    """
    rows = finite_rows(updates)

    # As a product with ones: a matrix product reads the rows faster than a sum down the columns.
    return rows.new_ones(len(rows)) @ rows / len(rows)


def weighted_mean(updates: Updates, *, weights: Tensor) -> Update:
    """The average of the rows by sample counts: FedAvg. One client can move it anywhere, and a large one more easily.

    updates    [clients, dim]
    weights    [clients] sample counts, which the engine fills in
    returns    [dim]

    >>> import torch
    >>> weighted_mean(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), weights=torch.tensor([3, 1]))
    tensor([0.2500, 1.0000])

    Raises ValueError if no row is finite, if a weight is negative or not finite, or if the finite rows have no weight.
    Source: McMahan et al. 2017, arXiv:1602.05629.
    """
    rows = finite_rows(updates)
    check_kind("weighted_mean", Tensor, weights=weights)
    fits = weights.shape == (len(updates),) and weights.dtype != torch.bool
    if not fits or not weights.isfinite().all() or (weights < 0).any():
        raise ValueError(
            f"weighted_mean needs one weight >= 0 for each of {len(updates)} rows; "
            f"got {kind(weights)}: {weights.tolist()}"
        )

    # The weight of a row that was dropped goes with it, so that the shares of the others add up to one.
    left = weights if len(rows) == len(updates) else weights[is_finite_row(updates)]  # [finite]
    left = left.to(rows.dtype)
    if not left.sum() > 0:
        raise ValueError(f"weighted_mean needs a finite row of positive weight; got weights {weights.tolist()}")
    return (left / left.sum()) @ rows
