"""Scores that look at where an update points: away from the others, away from the server's own, or too much alike."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.detect.shared import finite_of, for_all, unit_rows
from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number, kind
from labsec.models import Model
from labsec.train import local_updates
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
    units = unit_rows(updates[finite])  # [k, dim]
    others = len(units) - 1
    if others < 1:
        return for_all(finite, units.new_zeros(len(units)))
    cosines = (units @ units.T).double().clamp(-1, 1)  # [k, k]
    to_others = cosines[~torch.eye(len(units), dtype=torch.bool, device=units.device)].view(-1, others)
    return for_all(finite, 1 - to_others.quantile(0.5, dim=1))


def cosine_to_root(
    updates: Updates, *, params: Update, model: Model, x: Tensor, y: Tensor, lr: float, steps: int = 5
) -> Tensor:
    """How far every update points away from what the server learns on data of its own: one minus the cosine to it.

    updates    [clients, dim]
    params     [dim] the model that the server sent, which the engine fills in
    model      the network
    x, y       [n, *shape], [n] the server's root data: few, clean, and like everybody's
    lr         learning rate of the server's own training
    steps      how many steps it takes, each on all root data
    returns    [clients] from 0, as the server, to 2, against it; 1 for a row of zeros

    A majority of attackers cannot change what the server learns by itself. But honest clients whose data are unlike the
    root data point elsewhere, too.

    >>> from labsec.models import mlp
    >>> root = {"model": mlp((2,), 2, hidden=()), "x": torch.eye(2), "y": torch.tensor([0, 1])}
    >>> own = local_updates(params=torch.zeros(6), batches=torch.tensor([[[0, 1]]]), lr=0.1, **root)
    >>> cosine_to_root(torch.cat([own, -3 * own]), params=torch.zeros(6), lr=0.1, **root).round()
    tensor([0., 2.], dtype=torch.float64)

    Raises ValueError if a shape does not fit, unless steps >= 1, or if the server's own training is not finite.
    Source: the trust score of FLTrust, Cao et al. 2021, arXiv:2012.13995, as a distance and not cut off at zero. The
    paper's server trains on batches as the clients do; here every step takes all root data, and draws nothing.
    """
    check_updates(updates)
    check_kind("cosine_to_root", Model, model=model)
    check_kind("cosine_to_root", Tensor, params=params)
    check_number("cosine_to_root", whole=True, above=0, steps=steps)
    if updates.shape[1] != model.dim or params.shape != (model.dim,):
        raise ValueError(
            f"cosine_to_root needs updates [clients, {model.dim}] and params [{model.dim}] for {model.name}; "
            f"got {kind(updates)} and {kind(params)}"
        )
    model.check_data(x, y, params.dtype)
    whole = torch.arange(len(y), device=y.device).expand(1, steps, -1)
    own = local_updates(model, params, x, y, whole, lr=lr)  # [1, dim]
    if not own.isfinite().all():
        raise ValueError(f"cosine_to_root needs a finite update of the server's own; got NaN or infinity at lr={lr}")
    finite = is_finite_row(updates)
    units = unit_rows(updates[finite])  # [k, dim]
    return for_all(finite, 1 - (units @ unit_rows(own).to(units.dtype)[0]).double().clamp(-1, 1))


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
        units = unit_rows(torch.stack([self._sums[client] for client in senders]))  # [k, dim]
        cosines = (units @ units.T).double().clamp(-1, 1).fill_diagonal_(-torch.inf)  # [k, k]
        largest = cosines.amax(dim=1)  # [k]

        # Row i, column j: how alike i is to j, pardoned where j looks more like a sybil than i does.
        is_pardoned = (largest[None, :] > largest[:, None]) & (cosines > 0)
        pardoned = torch.where(is_pardoned, cosines * largest[:, None] / largest[None, :], cosines)
        return for_all(finite, pardoned.amax(dim=1))
