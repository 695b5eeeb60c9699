"""FoolsGold: clients whose updates were too much alike over the rounds are sybils of one another, and count less."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import cosines, rows_and_norms
from labsec.robust.senders import finite_rows_of
from labsec.types import Update, Updates


class FoolsGold:
    """Rule: the average under weights that fall as the sum of a client's updates becomes like that of another client.

    Many bad clients with one goal move in one direction round after round, honest ones with different data do not. So
    honest clients with like data pay for it, and a single bad client does not. It knows no f.

    The memory, one sum of updates for each client, goes by identity: a client that comes under a new name starts anew.
    Those who take part in a round are compared with each other.

    >>> rule = FoolsGold()
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-5.0, 0.0], [-5.0, 0.0]])
    >>> rule(rows, clients=torch.arange(4))
    tensor([0.5000, 0.5000])

    Returns zero where all clients are copies of each other. When called, raises ImpossibleRule if a row stands for
    several clients, ValueError if no row is finite or the width changes.
    Source: Fung et al. 2020, arXiv:1808.04866, Algorithm 1. It counts all coordinates alike (the paper's weights for
    those that matter to the output are left out), a client is like nobody by 0 at least, and weights are divided by
    their sum, where the paper adds the weighted gradients up.
    """

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._sums: Tensor | None = None  # [clients that were ever here, dim], in the order of their places

    def __call__(self, updates: Updates, *, clients: Tensor) -> Update:
        rows, senders = finite_rows_of(updates, clients, "FoolsGold")
        sums = self._remember(rows, senders)  # [n, dim]
        likeness = cosines(sums).round(decimals=6)  # [n, n], as far as float32 tells them apart
        weights = _weights(likeness)  # [n]
        share = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        return share.to(rows.dtype) @ rows

    def _remember(self, rows: Updates, senders: list[int]) -> Updates:
        """Add the rows to what their senders have sent so far, and return that: [n, dim]."""
        if self._sums is None:
            self._sums = rows.new_zeros(0, rows.shape[1])
        if self._sums.shape[1] != rows.shape[1]:
            raise ValueError(f"FoolsGold remembers {self._sums.shape[1]} parameters; got updates of {rows.shape[1]}")
        for client in senders:
            self._place.setdefault(client, len(self._place))
        new = rows.new_zeros(len(self._place) - len(self._sums), rows.shape[1])
        self._sums = torch.cat([self._sums, new]) if len(new) else self._sums

        # Only directions are compared, so a row that is too long to be squared may be shortened.
        places = torch.tensor([self._place[client] for client in senders], device=rows.device)
        self._sums.index_add_(0, places, rows_and_norms(rows)[0].detach())
        everybody = len(senders) == len(self._sums)
        return self._sums if everybody and places.diff().gt(0).all() else self._sums[places]


def _weights(likeness: Tensor) -> Tensor:
    """The weight of every client, 0 … 1, from the cosines [n, n] between what the clients have sent: [n]."""
    others = likeness.clone().fill_diagonal_(0)
    most = others.amax(dim=1).clamp_min(0)  # [n], how much a client is like the one that it is most like

    # An honest client may resemble a sybil by chance: of two, the one that has a closer copy is the likelier sybil.
    pardon = (most[:, None] / most.clamp_min(torch.finfo(most.dtype).tiny)).clamp_max(1)  # [n, other]
    alone = 1 - (others * pardon).amax(dim=1).clamp_min(0)  # [n], 0 … 1
    if not alone.max() > 0:
        return torch.zeros_like(alone)

    # The least suspect client counts in full; the logit sends the middle to the two ends.
    return ((alone / alone.max()).logit() + 0.5).clamp(0, 1)
