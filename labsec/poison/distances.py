"""Min-Max and Min-Sum: as far from the honest mean as the honest rows are from each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.geometry import check_updates, squared_distances
from labsec.guards import check_function, check_kind, kind
from labsec.poison.shared import all_send, honest_rows
from labsec.types import AttackerView, Update, Updates


def against_mean(rows: Updates) -> Update:
    """Direction: the opposite of the mean. [k, dim] -> [dim]"""
    check_updates(rows)
    return -rows.mean(dim=0)


def against_std(rows: Updates) -> Update:
    """Direction: the negative standard deviation of every coordinate, of at least 2 rows. [k, dim] -> [dim]"""
    check_updates(rows, least=2)
    return -rows.std(dim=0)


def against_sign(rows: Updates) -> Update:
    """Direction: the opposite of the mean's signs. [k, dim] -> [dim]"""
    check_updates(rows)
    return -rows.mean(dim=0).sign()


def min_max(view: AttackerView, *, direction: Callable[[Updates], Update] = against_mean) -> Updates:
    """The mean pushed along `direction` until its largest distance to an honest row reaches the largest distance
    between two honest rows.

    view         the attackers' view; `others` if it holds them, else `own`, at least 2 rows
    direction    [k, dim] -> [dim], both float64: `against_mean`, `against_std`, `against_sign`, or your own
    returns      [malicious, dim], all rows equal

    >>> import torch
    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0], [2.0], [3.0]])
    >>> min_max(SimpleNamespace(own=torch.zeros(1, 1), others=others))
    tensor([[1.]])

    Raises ValueError if there are too few rows, or if the direction vanishes or is not finite.
    Source: Shejwalkar and Houmansadr, NDSS 2021, where bisection finds the step. The squared distances are quadratic
    in the step, so it is found at once here.
    """
    # In float64, because squares and sums of finite float32 numbers may overflow in float32.
    rows = honest_rows(view, "min_max", least=2).double()  # [k, dim]
    mean = rows.mean(dim=0)  # [dim]
    push = _unit(direction, rows, "min_max")  # [dim]
    away = rows - mean  # [k, dim]

    # Row i lies at the squared distance t² - 2 t <away_i, push> + |away_i|² from the message mean + t * push. It may
    # grow up to the largest squared distance between two rows: solve for t, and take the smallest of the rows' answers.
    along = away @ push  # [k]
    room = (squared_distances(rows).max() - away.square().sum(dim=1)).clamp_min(0)  # [k]
    steps = along + (along.square() + room).sqrt()  # [k]
    return all_send(view, mean + steps.min() * push)


def min_sum(view: AttackerView, *, direction: Callable[[Updates], Update] = against_mean) -> Updates:
    """The mean pushed along `direction` until the sum of its squared distances to all honest rows reaches the largest
    such sum of an honest row.

    view         the attackers' view; `others` if it holds them, else `own`, at least 2 rows
    direction    [k, dim] -> [dim], both float64: `against_mean`, `against_std`, `against_sign`, or your own
    returns      [malicious, dim], all rows equal

    >>> import torch
    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0], [2.0], [3.0]])
    >>> min_sum(SimpleNamespace(own=torch.zeros(1, 1), others=others))
    tensor([[1.]])

    Raises ValueError if there are too few rows, or if the direction vanishes or is not finite.
    Source: Shejwalkar and Houmansadr, NDSS 2021; the step in closed form, as in `min_max`.
    """
    # In float64, because squares and sums of finite float32 numbers may overflow in float32.
    rows = honest_rows(view, "min_sum", least=2).double()  # [k, dim]
    mean = rows.mean(dim=0)  # [dim]
    push = _unit(direction, rows, "min_sum")  # [dim]

    # Around the mean the linear terms cancel: the squared distances from mean + t * push sum to their sum from the
    # mean plus k t².
    room = squared_distances(rows).sum(dim=1).max() - (rows - mean).square().sum()
    step = (room.clamp_min(0) / len(rows)).sqrt()
    return all_send(view, mean + step * push)


def _unit(direction: Callable[[Updates], Update], rows: Updates, name: str) -> Update:
    """The direction with length one, in float64. Raises ValueError for one that vanishes or is not finite."""
    check_function(name, direction=direction)
    found = direction(rows)
    check_kind(name, Tensor, direction=found)
    if found.shape != rows.shape[1:]:
        raise ValueError(f"{name} needs a direction that returns [{rows.shape[1]}]; got {kind(found)}")
    length = found.double().norm()
    if not 0 < length < torch.inf:
        raise ValueError(f"{name} needs a direction of finite, positive length; got length {length.item()}")
    return found.double() / length
