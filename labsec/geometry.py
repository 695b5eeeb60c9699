"""Small facts about rows of updates that several rooms need."""

from __future__ import annotations

import torch
from torch import Tensor


def check_updates(updates: Tensor) -> None:
    """Raise unless `updates` is a floating-point matrix with at least one row.

    >>> check_updates(torch.zeros(3))
    Traceback (most recent call last):
    ValueError: updates must be a floating-point matrix [clients, dim] with clients >= 1; got float32 of shape [3]
    """
    if updates.ndim != 2 or len(updates) == 0 or not updates.is_floating_point():
        kind = str(updates.dtype).removeprefix("torch.")
        raise ValueError(
            "updates must be a floating-point matrix [clients, dim] with clients >= 1; "
            f"got {kind} of shape {list(updates.shape)}"
        )


def is_finite_row(updates: Tensor) -> Tensor:
    """Tell for each row whether every entry is finite: [clients, dim] -> bool [clients].

    A row's sum is finite only if its entries are, so one pass settles almost every row; a sum may overflow, so the
    few that fail are looked at entry by entry.

    >>> is_finite_row(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])).tolist()
    [True, False]
    """
    suspicious = ~updates.sum(dim=1).isfinite()  # [clients]
    if suspicious.any():
        suspicious[suspicious.clone()] = ~updates[suspicious].isfinite().all(dim=1)
    return ~suspicious


def finite_rows(updates: Tensor) -> Tensor:
    """Drop the rows that hold a NaN or an infinity: [clients, dim] -> [finite, dim]; the input itself if all are.

    >>> finite_rows(torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]))
    tensor([[1., 2.]])

    Raises ValueError if `updates` is no matrix, or if no row is left.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    if not finite.any():
        raise ValueError(f"no finite row is left of {len(updates)}: every client sent NaN or infinity")
    return updates if finite.all() else updates[finite]


def clip_rows(updates: Tensor, bound: float | Tensor) -> Tensor:
    """Shorten every row that is longer than `bound` (L2) to it; shorter rows stay as they are.

    updates    [clients, dim]
    bound      a number, or [clients] with a bound for each row

    >>> clip_rows(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    norms = updates.norm(dim=1)  # [clients]
    scale = (bound / norms.clamp_min(torch.finfo(updates.dtype).tiny)).clamp_max(1.0)
    return updates * scale[:, None]


def centred_gram(updates: Tensor) -> Tensor:
    """Inner products of the rows after their mean is taken off: [n, dim] -> [n, n], float64.

    Distances between rows do not change with a common offset, but float32 inner products lose them when it is
    large; so the offset goes first.

    >>> centred_gram(torch.tensor([[1e6, 0.0], [1e6 + 2.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]], dtype=torch.float64)
    """
    total = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
    for part in updates.split(65536, dim=1):
        centred = part - part.mean(dim=0)  # [n, chunk]
        total += centred @ centred.T
    return total
