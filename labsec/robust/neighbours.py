"""Rules that ask which updates are close to which: Krum, Multi-Krum, and mixing with the nearest neighbours.

All distances come from one product of the centred matrix with itself (`geometry.squared_distances`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import finite_rows, is_finite_row, squared_distances
from labsec.guards import check_number
from labsec.types import ImpossibleRule, Update, Updates


def krum(updates: Updates, *, f: int) -> Update:
    """The one update that is closest to its n - f - 2 nearest neighbours, by the sum of the squared distances.

    updates    [clients, dim]
    f          bad clients to withstand
    returns    [dim], a copy of one of the rows

    >>> krum(torch.tensor([[1.0], [1.1], [1.3], [1.6], [900.0]]), f=1)
    tensor([1.1000])

    Raises ImpossibleRule unless 0 <= f and 2 f + 2 < clients, ValueError if no row is finite.
    Source: Blanchard et al., NeurIPS 2017. Of equal scores the one with the smaller sum over all distances wins (the
    paper leaves this open), so that the order of the clients does not matter.
    """
    rows = finite_rows(updates)
    return rows[_by_score(rows, f, "krum")[0]].clone()


def multi_krum(updates: Updates, *, f: int, keep: int | None = None) -> Update:
    """The mean of the `keep` updates with the best Krum scores.

    updates    [clients, dim]
    f          bad clients to withstand
    keep       how many to average; None for clients - f, as in the paper's experiments
    returns    [dim]

    >>> multi_krum(torch.tensor([[1.0], [1.1], [1.3], [1.6], [900.0]]), f=1)
    tensor([1.2500])

    Raises ImpossibleRule unless 0 <= f, 2 f + 2 < clients and 1 <= keep <= clients, ValueError if no row is finite.
    Source: Blanchard et al., NeurIPS 2017, section 5.
    """
    rows = finite_rows(updates)
    best = _best(rows, f, keep, "multi_krum")
    weights = rows.new_zeros(len(rows))
    weights[best] = 1 / len(best)
    return weights @ rows


def multi_krum_mask(updates: Updates, *, f: int, keep: int | None = None) -> Tensor:
    """Stage: tell which updates have the best Krum scores: those that `multi_krum` averages.

    With a mask they keep their names and sample counts, and a scenario's rule may be any.

    updates    [clients, dim]
    f          bad clients to withstand
    keep       how many stay; None for clients - f
    returns    bool [clients]

    >>> multi_krum_mask(torch.tensor([[1.0], [1.1], [1.3], [1.6], [900.0]]), f=1).tolist()
    [True, True, True, True, False]

    Raises ImpossibleRule unless 0 <= f, 2 f + 2 < clients and 1 <= keep <= clients, ValueError if no row is finite.
    """
    rows = finite_rows(updates)
    stays = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    stays[_best(rows, f, keep, "multi_krum_mask")] = True
    mask = is_finite_row(updates)
    mask[mask.clone()] = stays
    return mask


def nnm(updates: Updates, *, f: int) -> Updates:
    """Stage: replace every update by the mean of the n - f updates nearest to it, itself included.

    A row far from the crowd is diluted with its neighbours, and honest clients with different data become more similar.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 every row becomes the mean
    returns    [clients, dim]

    >>> nnm(torch.tensor([[0.0], [1.0], [5.0]]), f=1)
    tensor([[0.5000],
            [0.5000],
            [3.0000]])

    Raises ImpossibleRule unless 0 <= 2 f < clients, ValueError if no row is finite.
    Source: Allouah et al. 2023, arXiv:2302.01772, Algorithm 2. Memory beside the result: [clients, clients].
    """
    rows = finite_rows(updates)
    check_number("nnm", whole=True, f=f)
    n = len(rows)
    if not 0 <= 2 * f < n:
        raise ImpossibleRule(f"nnm needs 0 <= 2f < clients; got f={f}, clients={n}")
    nearest = squared_distances(rows).sort(dim=1, stable=True).indices[:, : n - f]  # [n, n - f]
    weights = rows.new_zeros(n, n).scatter_(1, nearest, 1 / (n - f))
    return weights @ rows


def _best(rows: Updates, f: int, keep: int | None, name: str) -> Tensor:
    """The numbers of the `keep` rows with the best Krum scores, or of all but f: [keep]."""
    order = _by_score(rows, f, name)
    count = len(rows) - f if keep is None else keep
    check_number(name, whole=True, keep=count)
    if not 1 <= count <= len(rows):
        raise ImpossibleRule(f"{name} needs 1 <= keep <= clients; got keep={keep}, clients={len(rows)}")
    return order[:count]


def _by_score(rows: Updates, f: int, name: str) -> Tensor:
    """The rows' numbers in the order of their Krum scores, best first: [n]."""
    check_number(name, whole=True, f=f)
    n = len(rows)
    if not (f >= 0 and 2 * f + 2 < n):
        raise ImpossibleRule(f"{name} needs 0 <= f and 2f + 2 < clients; got f={f}, clients={n}")
    distances = squared_distances(rows)  # [n, n]
    scores = distances.sort(dim=1).values[:, 1 : n - f - 1].sum(dim=1)  # the first is the row itself
    by_total = distances.sum(dim=1).sort(stable=True).indices
    return by_total[scores[by_total].sort(stable=True).indices]
