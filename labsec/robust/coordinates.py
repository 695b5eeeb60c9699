"""Rules that look at every coordinate by itself: median and trimmed mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from labsec.geometry import finite_rows
from labsec.guards import check_number
from labsec.types import ImpossibleRule, Update, Updates

COLUMNS_AT_ONCE = 2048  # their transpose, 50 clients wide, stays in a core's cache


def median(updates: Updates) -> Update:
    """The middle value of every coordinate; of an even number, the mean of the two in the middle.

    updates    [clients, dim]
    returns    [dim]

    >>> median(torch.tensor([[1.0, 0.0], [2.0, 0.0], [900.0, 5.0]]))
    tensor([2., 0.])

    Raises ValueError if no row is finite.
    Source: Yin et al. 2018, arXiv:1803.01498, Option I. (torch.median takes the lower middle.)
    """
    rows = finite_rows(updates)
    n = len(rows)

    # Places (n - 1) // 2 and n // 2: the same one where n is odd.
    return _by_coordinate(rows, lambda columns: columns[:, (n - 1) // 2 : n // 2 + 1].mean(dim=1))


def trimmed_mean(updates: Updates, *, f: int) -> Update:
    """The mean of every coordinate without its f largest and f smallest values.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 the plain mean
    returns    [dim]

    >>> trimmed_mean(torch.tensor([[1.0], [2.0], [3.0], [900.0]]), f=1)
    tensor([2.5000])

    Raises ImpossibleRule unless 0 <= 2 f < clients, ValueError if no row is finite.
    Source: Yin et al. 2018, arXiv:1803.01498, Option II.
    """
    rows = finite_rows(updates)
    check_number("trimmed_mean", whole=True, f=f)
    if not 0 <= 2 * f < len(rows):
        raise ImpossibleRule(f"trimmed_mean needs 0 <= 2f < clients; got f={f}, clients={len(rows)}")
    return _by_coordinate(rows, lambda columns: columns[:, f : len(rows) - f].mean(dim=1))


def _by_coordinate(rows: Updates, middle: Callable[[Tensor], Tensor]) -> Update:
    """Apply `middle`, [columns, clients] with every row in order -> [columns], to all coordinates, chunk by chunk.

    Sorting down the columns of a matrix jumps through memory. Here a few columns at a time are copied as rows that fit
    into the cache and are sorted there; on the CPU, numpy's vectorised sort of short rows beats torch's tenfold.
    """
    result = rows.new_empty(rows.shape[1])
    for start in range(0, rows.shape[1], COLUMNS_AT_ONCE):
        chunk = slice(start, start + COLUMNS_AT_ONCE)
        result[chunk] = middle(_sorted(rows[:, chunk].T))
    return result


def _sorted(columns: Tensor) -> Tensor:
    """Every row of [columns, clients] in order."""
    if columns.device.type != "cpu" or columns.dtype not in (torch.float32, torch.float64) or columns.requires_grad:
        return columns.sort(dim=1).values
    copy = np.array(columns.numpy(), order="C")
    copy.sort(axis=1)
    return torch.from_numpy(copy)
