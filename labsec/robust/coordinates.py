"""Rules that look at every coordinate by itself: median, trimmed mean, mean around the median."""

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


def meamed(updates: Updates, *, f: int) -> Update:
    """Mean around the median: of every coordinate the mean of the n - f values that are nearest to its median.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 the plain mean
    returns    [dim]

    Where the trimmed mean drops as many values above as below, this one drops those that are far, on either side.

    >>> meamed(torch.tensor([[1.0], [2.0], [3.0], [900.0]]), f=1)
    tensor([2.])

    Raises ImpossibleRule unless 0 <= 2 f < clients, ValueError if no row is finite.
    Source: Xie et al. 2018, Generalized Byzantine-tolerant SGD, arXiv:1802.10116. Of two values that are equally far
    the smaller one counts (the paper leaves this open).
    """
    rows = finite_rows(updates)
    check_number("meamed", whole=True, f=f)
    if not 0 <= 2 * f < len(rows):
        raise ImpossibleRule(f"meamed needs 0 <= 2f < clients; got f={f}, clients={len(rows)}")
    return mean_around_median(rows, len(rows) - f)


def mean_around_median(rows: Updates, keep: int) -> Update:
    """Of every coordinate the mean of the `keep` values nearest to its median: [n, dim] -> [dim]."""
    return _by_coordinate(rows, lambda columns: _nearest_to_the_middle(columns, keep).mean(dim=1))


def _nearest_to_the_middle(columns: Tensor, keep: int) -> Tensor:
    """The `keep` values nearest to the median of each row in order: [columns, n] -> [columns, keep].

    In order, they are neighbours: so they hold exactly one of the values at places i, i + keep, i + 2 keep, …, and
    each place is decided by itself. Its value gives way to the next as long as that one is nearer to the median.
    """
    n = columns.shape[1]
    middle = columns[:, (n - 1) // 2 : n // 2 + 1].mean(dim=1, keepdim=True)
    nearest = columns[:, :keep].clone()
    for start in range(keep, n, keep):
        following = columns[:, start : start + keep]
        current = nearest[:, : following.shape[1]]
        current.copy_(torch.where(following - middle < middle - current, following, current))
    return nearest


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
