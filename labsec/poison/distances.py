"""Min-Max and Min-Sum: as far from the honest mean as the honest rows are from each other."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from labsec.geometry import squared_distances
from labsec.poison.knowledge import honest_rows
from labsec.types import AttackerView, Update, Updates


def against_mean(rows: Updates) -> Update:
    """Direction: the opposite of the mean. [k, dim] -> [dim]"""
    return -rows.mean(dim=0)


def against_std(rows: Updates) -> Update:
    """Direction: the negative standard deviation of every coordinate. [k, dim] -> [dim]"""
    return -rows.std(dim=0)


def against_sign(rows: Updates) -> Update:
    """Direction: the opposite of the mean's signs. [k, dim] -> [dim]"""
    return -rows.mean(dim=0).sign()


def min_max(view: AttackerView, *, direction: Callable[[Updates], Update] = against_mean) -> Updates:
    """The mean pushed along `direction` until its largest distance to an honest row reaches the largest distance
    between two honest rows.

    view         the attackers' view; `others` if it holds them, else `own`, at least 2 rows
    direction    [k, dim] -> [dim]: `against_mean`, `against_std`, `against_sign`, or your own
    returns      [malicious, dim], all rows equal

    >>> import torch
    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0], [2.0], [3.0]])
    >>> min_max(SimpleNamespace(own=torch.zeros(1, 1), others=others))
    tensor([[1.]])

    Raises ValueError if there are too few rows, or if the direction vanishes or is not finite.
    Source: Shejwalkar and Houmansadr, NDSS 2021, where bisection finds the step. The squared distances are quadratic
    in the step, so it is found at once here: it is the smallest of the rows' positive roots.
    """
    centre, push, products, squares, between = _geometry(view, direction, "min_max")
    room = (between.max() - squares).clamp_min(0)  # [k]
    steps = products + (products.square() + room).sqrt()  # |push| = 1
    return _pushed(view, centre, push, steps.min())


def min_sum(view: AttackerView, *, direction: Callable[[Updates], Update] = against_mean) -> Updates:
    """The mean pushed along `direction` until the sum of its squared distances to all honest rows reaches the largest
    such sum of an honest row.

    view         the attackers' view; `others` if it holds them, else `own`, at least 2 rows
    direction    [k, dim] -> [dim]: `against_mean`, `against_std`, `against_sign`, or your own
    returns      [malicious, dim], all rows equal

    >>> import torch
    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0], [2.0], [3.0]])
    >>> min_sum(SimpleNamespace(own=torch.zeros(1, 1), others=others))
    tensor([[1.]])

    Raises ValueError if there are too few rows, or if the direction vanishes or is not finite.
    Source: Shejwalkar and Houmansadr, NDSS 2021; the step in closed form, as in `min_max`.
    """
    centre, push, _, squares, between = _geometry(view, direction, "min_sum")
    room = (between.sum(dim=1).max() - squares.sum()).clamp_min(0)
    return _pushed(view, centre, push, (room / len(squares)).sqrt())


def _geometry(
    view: AttackerView, direction: Callable[[Updates], Update], name: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean [dim], unit direction [dim]; of each row around the mean the product with it [k] and the square [k];
    squared distances between the rows [k, k]."""
    rows = honest_rows(view, name, least=2)
    push = direction(rows)
    length = push.norm()
    if not (length > 0 and length.isfinite()):
        raise ValueError(f"{name} needs a direction of finite, positive length; got length {length.item()}")
    centre, push = rows.mean(dim=0), push / length
    around = rows - centre  # [k, dim]
    return centre, push, (around @ push).double(), around.square().sum(dim=1).double(), squared_distances(rows)


def _pushed(view: AttackerView, centre: Tensor, push: Tensor, step: Tensor) -> Updates:
    return (centre + step.to(centre.dtype) * push).expand_as(view.own).clone()
