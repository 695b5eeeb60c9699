"""Whose rows these are, for what remembers clients between rounds."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import check_updates, finite_rows, is_finite_row
from labsec.guards import check_kind, kind
from labsec.types import ImpossibleRule, Updates


def finite_rows_of(updates: Updates, clients: Tensor, owner: str) -> tuple[Updates, list[int]]:
    """The finite rows [k, dim] and the identities of those who sent them; `owner` is who asks, for the message.

    Raises ImpossibleRule if some rows stand for several clients: a stage or a wire before has merged them.
    """
    check_updates(updates)
    check_kind(owner, Tensor, clients=clients)
    if clients.shape != (len(updates),) or clients.is_floating_point() or clients.dtype == torch.bool:
        raise ValueError(f"{owner} needs a whole number for each of {len(updates)} clients; got {kind(clients)}")
    if (clients < 0).any():
        raise ImpossibleRule(f"{owner} needs to know whose rows these are, clients >= 0; got {clients.tolist()}")
    rows = finite_rows(updates)
    return rows, clients[is_finite_row(updates)].tolist()
