"""What several scores need: a place for rows that are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import check_clients, check_updates, is_finite_row
from labsec.types import Updates


def for_all(finite: Tensor, scores: Tensor) -> Tensor:
    """The scores of all rows: those of the finite rows, and infinity for the others.

    finite     bool [clients]
    scores     [finite rows]
    returns    [clients], float64

    >>> for_all(torch.tensor([True, False]), torch.tensor([0.5]))
    tensor([0.5000,    inf], dtype=torch.float64)
    """
    everybody = torch.full(finite.shape, torch.inf, dtype=torch.float64, device=finite.device)
    everybody[finite] = scores.double()
    return everybody


def finite_of(updates: Updates, clients: Tensor, name: str) -> tuple[Tensor, list[int]]:
    """Which rows a score that remembers may learn from, and whose they are: bool [clients], identities."""
    check_updates(updates)
    check_clients(name, clients, len(updates))
    finite = is_finite_row(updates)
    return finite, clients[finite].tolist()
