"""Whose rows these are, for what remembers clients between rounds."""

from __future__ import annotations

from torch import Tensor

from labsec.geometry import check_clients, check_updates, finite_rows, is_finite_row
from labsec.types import Updates


def finite_rows_of(updates: Updates, clients: Tensor, owner: str) -> tuple[Updates, list[int]]:
    """The finite rows [k, dim] and the identities of those who sent them; `owner` is who asks, for the message.

    Raises ImpossibleRule if some rows stand for several clients: a stage or a wire before has merged them. Raises
    ValueError if there is not one identity for each row, or if a client sends two.
    """
    check_updates(updates)
    check_clients(owner, clients, len(updates))
    rows = finite_rows(updates)
    return rows, clients[is_finite_row(updates)].tolist()
