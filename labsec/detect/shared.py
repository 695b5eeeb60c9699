"""What several scores need: a place for rows that are not finite, and rows of length one."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, kind
from labsec.types import ImpossibleRule, Updates


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


def unit_rows(rows: Updates) -> Updates:
    """Every row with length one, at least in float32; a row of zeros stays as it is: [k, dim] -> [k, dim].

    >>> unit_rows(torch.tensor([[3e38, 0.0], [0.0, 0.0]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))

    # In units of its largest entry no row has a length that overflows or vanishes.
    peaks = wide.abs().amax(dim=1, keepdim=True)  # [k, 1]
    scaled = wide / peaks.where(peaks > 0, 1)
    return torch.nn.functional.normalize(scaled, dim=1)


def finite_of(updates: Updates, clients: Tensor, name: str) -> tuple[Tensor, list[int]]:
    """Which rows a score that remembers may learn from, and whose they are: bool [clients], identities."""
    check_updates(updates)
    check_clients(name, clients, len(updates))
    finite = is_finite_row(updates)
    return finite, clients[finite].tolist()


def check_clients(name: str, clients: Tensor, rows: int) -> None:
    """Raise unless every row belongs to one client, and no client sends two.

    name       who needs it, for the message
    clients    [rows] identities

    Raises ImpossibleRule for rows that stand for several clients, as a secure sum does; ValueError for other faults.
    """
    check_kind(name, Tensor, clients=clients)
    if clients.shape != (rows,) or clients.is_floating_point() or clients.dtype == torch.bool:
        raise ValueError(f"{name} needs one whole number for each of {rows} clients; got clients={kind(clients)}")
    senders = clients.tolist()
    if min(senders, default=0) < 0:
        raise ImpossibleRule(f"{name} needs rows that belong to one client each; got clients={senders}")
    if len(set(senders)) != rows:
        raise ValueError(f"{name} needs clients that send one row each; got clients={senders}")
