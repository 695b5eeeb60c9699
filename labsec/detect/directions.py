"""Scores that look at where an update points: away from the others, away from the server's own, or too much alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.detect.shared import finite_of, for_all
from labsec.geometry import check_updates, cosines, cosines_to, is_finite_row
from labsec.guards import check_function, check_kind, kind
from labsec.types import Update, Updates


def cosine(updates: Updates) -> Tensor:
    """How far every update points away from the others: one minus the median of its cosines to them.

    updates    [clients, dim]
    returns    [clients] from 0, as the others, to 2, against them; 1 for a row of zeros, 0 for whoever is alone

    The median asks for a majority: a minority of colluders cannot vouch for each other.

    >>> cosine(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [-9.0, 0.0]]))
    tensor([0., 0., 0., 2.], dtype=torch.float64)

    Raises ValueError if `updates` is no matrix.
    Source: the pairwise cosines of FLAME, Nguyen et al. 2022, arXiv:2101.02281, which clusters them; the median is our
    own.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    rows = updates[finite]
    others = len(rows) - 1
    if others < 1:
        return for_all(finite, rows.new_zeros(len(rows)))
    is_other = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    to_others = cosines(rows)[is_other].view(-1, others)  # [k, k - 1]
    return for_all(finite, 1 - to_others.quantile(0.5, dim=1))


def cosine_to_root(updates: Updates, *, params: Update, root: Callable[[Update], Update]) -> Tensor:
    """How far every update points away from what the server learns on data of its own: one minus the cosine to it.

    updates    [clients, dim]
    params     [dim] the model that the server sent, which the engine fills in
    root       what the server learns from it: params [dim] -> [dim]; `train.RootUpdate` on data that are few, clean,
               and like everybody's
    returns    [clients] from 0, as the server, to 2, against it; 1 for a row of zeros

    A majority of attackers cannot change what the server learns by itself. But honest clients whose data are unlike the
    root data point elsewhere, too.

    >>> own = torch.tensor([0.0, 2.0])
    >>> rows = torch.tensor([[0.0, 5.0], [3.0, 0.0], [0.0, -1.0]])
    >>> cosine_to_root(rows, params=torch.zeros(2), root=lambda params: own)
    tensor([0., 1., 2.], dtype=torch.float64)

    Raises ValueError if the server's own update is not [dim], or not finite.
    Source: the trust score of FLTrust, Cao et al. 2021, arXiv:2012.13995, as a distance and not cut off at zero.
    """
    check_updates(updates)
    check_function("cosine_to_root", root=root)
    check_kind("cosine_to_root", Tensor, params=params)
    own = root(params)
    check_kind("cosine_to_root", Tensor, own=own)
    if own.shape != updates.shape[1:] or not own.isfinite().all():
        wrong = "NaN or infinity" if own.shape == updates.shape[1:] else kind(own)
        raise ValueError(f"cosine_to_root needs a finite update [{updates.shape[1]}] of the server's own; got {wrong}")
    finite = is_finite_row(updates)
    return for_all(finite, 1 - cosines_to(updates[finite], own))


class SybilSimilarity:
    """How much a client's sum of all updates so far looks like somebody else's: the largest cosine to another's.

    Sybils that share a goal send alike updates round after round. Honest clients with data of their own differ in the
    long run, and those with alike data do not: this score needs unlike clients.

    >>> score = SybilSimilarity()
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 4.0], [-3.0, 4.0]])
    >>> score(rows, clients=torch.arange(4)).round(decimals=2)
    tensor([0.0000, 0.6400, 1.0000, 1.0000], dtype=torch.float64)

    From -1 to 1; 0 for whoever is alone. Among the clients of a round, an honest one that looks like a sybil is
    pardoned: its cosine to a client of a larger score shrinks by the ratio of the two scores.

    Raises ValueError when called if there is not one identity for each row, or if the width changes.
    Source: FoolsGold, Fung et al. 2020, arXiv:1808.04866, Algorithm 1, up to the largest similarity after pardoning,
    without its choice of indicative features; what the paper turns into weights is a score here.
    """

    def __init__(self) -> None:
        self._sums: dict[int, Update] = {}

    def __call__(self, updates: Updates, *, clients: Tensor) -> Tensor:
        finite, senders = finite_of(updates, clients, "SybilSimilarity")
        for client, row in zip(senders, updates[finite].detach(), strict=True):
            before = self._sums.get(client)
            if before is not None and before.shape != row.shape:
                raise ValueError(f"SybilSimilarity remembers {len(before)} parameters; got updates of {len(row)}")
            self._sums[client] = row.clone() if before is None else before + row
        if len(senders) < 2:
            return for_all(finite, updates.new_zeros(len(senders)))
        sums = torch.stack([self._sums[client] for client in senders])  # [k, dim]
        alike = cosines(sums).fill_diagonal_(-torch.inf)  # [k, k]
        largest = alike.amax(dim=1)  # [k]

        # Row i, column j: how alike i is to j, pardoned where j looks more like a sybil than i does.
        is_pardoned = (largest[None, :] > largest[:, None]) & (alike > 0)
        pardoned = torch.where(is_pardoned, alike * largest[:, None] / largest[None, :], alike)
        return for_all(finite, pardoned.amax(dim=1))
