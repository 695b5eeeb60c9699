"""Reputation: a client counts as much as its updates have gone, over the rounds, the way of a trusted one."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import cosines_to
from labsec.guards import check_function, check_number
from labsec.robust.coordinates import median
from labsec.robust.root import Root, own_update
from labsec.robust.senders import finite_rows_of
from labsec.types import Update, Updates


class Reputation:
    """Stage: multiply every update by its client's reputation, so scaled that a mean behind it is the weighted mean.

    decay    what remains of a reputation from round to round, 0 … 1; with 0 only this round counts
    root     what the server learns by itself: params [dim] -> [dim]; None for the coordinate median of the updates

    A reputation is the moving average of a client's trust: the cosine of its update to the trusted one, none below
    zero. It starts with the trust of the first round that a client is in, and goes by identity: this stage comes before
    any that merges rows. Where nobody has a reputation, every row becomes zero.

    >>> stage = Reputation(decay=0.5)
    >>> rows = torch.tensor([[1.0], [1.0], [-1.0]])
    >>> stage(rows, clients=torch.arange(3), params=torch.zeros(1)).flatten()
    tensor([1.5000, 1.5000, -0.0000])
    >>> stage(rows.abs(), clients=torch.arange(3), params=torch.zeros(1)).flatten()  # 1, 1 and 0.5
    tensor([1.2000, 1.2000, 0.6000])

    Raises ValueError unless 0 <= decay <= 1; when called, ImpossibleRule if a row stands for several clients or the
    server's own update is not finite, ValueError if no row is finite.
    Source: the trust is that of FLTrust (Cao et al. 2021, arXiv:2012.13995); the average over rounds is our own.
    """

    def __init__(self, *, decay: float = 0.9, root: Root | None = None) -> None:
        check_number("Reputation", least=0, most=1, decay=decay)
        if root is not None:
            check_function("Reputation", root=root)
        self.decay = decay
        self.root = root
        self._reputation: dict[int, float] = {}

    def __call__(self, updates: Updates, *, clients: Tensor, params: Tensor) -> Updates:
        rows, senders = finite_rows_of(updates, clients, "Reputation")
        trusted = median(rows) if self.root is None else own_update(self.root, params, rows, "Reputation")
        weights = self._remember(trust(rows, trusted), senders)  # [n]
        scale = weights * len(rows) / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        return rows * scale.to(rows.dtype)[:, None]

    def _remember(self, now: Tensor, senders: list[int]) -> Tensor:
        """The senders' reputations [n] after this round, in which their trust was `now` [n]."""
        for client, new in zip(senders, now.tolist(), strict=True):
            before = self._reputation.get(client, new)
            self._reputation[client] = self.decay * before + (1 - self.decay) * new
        return torch.tensor([self._reputation[client] for client in senders], dtype=now.dtype, device=now.device)


def trust(rows: Updates, trusted: Update) -> Tensor:
    """The cosine of every row to a trusted update, none below zero: [n, dim], [dim] -> [n], float64."""
    return cosines_to(rows, trusted).clamp_min(0)
