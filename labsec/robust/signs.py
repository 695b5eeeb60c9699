"""Rules that count the signs of every coordinate: sign majority, and the robust learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import COLUMNS_AT_ONCE, finite_rows
from labsec.guards import check_number
from labsec.types import ImpossibleRule, Update, Updates


def sign_majority(updates: Updates, *, step: float) -> Update:
    """Move every coordinate by `step` to the side that more clients moved it to; where as many moved it back, by none.

    updates    [clients, dim]
    step       length of a move, in parameter units
    returns    [dim], of -step, 0 and step

    How far a client goes counts for nothing: a bad client has one vote in each coordinate, however large its numbers.

    >>> sign_majority(torch.tensor([[1.0, -0.1], [2.0, 0.1], [-900.0, 0.0]]), step=0.01)
    tensor([0.0100, 0.0000])

    Raises ValueError unless step > 0, or if no row is finite.
    Source: Bernstein et al. 2019, signSGD with majority vote, arXiv:1810.05291. There a client sends the signs
    alone, of a momentum; here the server takes the signs of updates that arrive in full.
    """
    check_number("sign_majority", above=0, step=step)
    rows = finite_rows(updates)
    return step * votes(rows).sign()


def rlr(updates: Updates, *, threshold: int) -> Update:
    """Robust learning rate: the mean, negated in every coordinate where too few clients agree on its direction.

    updates      [clients, dim]
    threshold    on the votes for the direction minus those against it; with 0 the plain mean
    returns      [dim]

    A backdoor lives in coordinates that few clients move, and there it is undone. So is what few honest clients know.

    >>> rlr(torch.tensor([[1.0, 3.0], [2.0, -1.0], [3.0, -1.0]]), threshold=2)
    tensor([ 2.0000, -0.3333])

    Raises ImpossibleRule unless 0 <= threshold <= clients, ValueError if no row is finite.
    Source: Ozdayi et al. 2021, arXiv:2007.03767. There the mean is weighted by samples.
    """
    rows = finite_rows(updates)
    check_number("rlr", whole=True, threshold=threshold)
    if not 0 <= threshold <= len(rows):
        raise ImpossibleRule(f"rlr needs 0 <= threshold <= clients; got threshold={threshold}, clients={len(rows)}")
    average = rows.new_full((len(rows),), 1 / len(rows)) @ rows
    return torch.where(votes(rows).abs() >= threshold, average, -average)


def votes(rows: Updates) -> Tensor:
    """How many clients move each coordinate up, minus those that move it down: [n, dim] -> [dim]."""
    result = rows.new_empty(rows.shape[1])
    for columns, part in zip(rows.detach().split(COLUMNS_AT_ONCE, dim=1), result.split(COLUMNS_AT_ONCE), strict=True):
        torch.sum(columns.sign(), dim=0, out=part)
    return result
