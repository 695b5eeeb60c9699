"""Scores that try every update on data of the server's own: in this round, and over many rounds."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from labsec.detect.shared import finite_of, for_all
from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number, kind
from labsec.models import Model
from labsec.types import Update, Updates

CLIENTS_AT_ONCE = 64  # whose models are tried together: bounds the activations


def root_loss(updates: Updates, *, params: Update, model: Model, x: Tensor, y: Tensor) -> Tensor:
    """By how much every update alone would raise the loss on the server's own data, in nats.

    updates    [clients, dim]
    params     [dim] the model that the server sent, which the engine fills in
    model      the network
    x, y       [n, *shape], [n] the server's root data
    returns    [clients]; negative for an update that helps, infinite for one that ruins the model

    >>> from labsec.models import mlp
    >>> right = torch.tensor([[9.0, 0, 0, 9, 0, 0]])
    >>> root = {"x": torch.eye(2), "y": torch.tensor([0, 1])}
    >>> rows = torch.cat([right, 0 * right, -right])
    >>> root_loss(rows, params=torch.zeros(6), model=mlp((2,), 2, hidden=()), **root)
    tensor([-0.6930,  0.0000,  8.3070], dtype=torch.float64)

    Raises ValueError if a shape or a type does not fit.
    Source: the descent score of Zeno, Xie et al. 2019, arXiv:1805.10032, with its sign changed and without its penalty
    on the length.
    """
    check_updates(updates)
    check_kind("root_loss", Model, model=model)
    check_kind("root_loss", Tensor, params=params)
    if updates.shape[1] != model.dim or params.shape != (model.dim,):
        raise ValueError(
            f"root_loss needs updates [clients, {model.dim}] and params [{model.dim}] for {model.name}; "
            f"got {kind(updates)} and {kind(params)}"
        )
    model.check_data(x, y, params.dtype)
    finite = is_finite_row(updates)
    tried = params + updates[finite].to(params.dtype)  # [k, dim]
    losses = [_losses(model, part, x, y) for part in tried.split(CLIENTS_AT_ONCE)]
    before = _losses(model, params[None], x, y)  # [1]
    return for_all(finite, (torch.cat(losses) - before).nan_to_num(nan=torch.inf, posinf=torch.inf))


def _losses(model: Model, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of several models on the same data: [k, dim] -> [k], float64."""
    with torch.no_grad():
        logits = model(params, x.expand(len(params), *x.shape)).double()  # [k, n, classes]
        chances = logits.log_softmax(dim=2)
        wanted = y.expand(len(params), -1)[:, :, None]
        return -chances.gather(2, wanted)[:, :, 0].mean(dim=1)


class LossTrajectory:
    """How much worse than usual a client's updates have been on the server's own data, on average over its last rounds.

    model      the network
    x, y       [n, *shape], [n] the server's root data
    window     rounds of a client that are remembered

    In each round a client's `root_loss` is compared with the median, in units of the median distance to it: 0 is
    usual. One bad round of a client that is unlike the root data counts little beside many; an attacker is worse than
    usual round after round.

    >>> from labsec.models import mlp
    >>> score = LossTrajectory(model=mlp((2,), 2, hidden=()), x=torch.eye(2), y=torch.tensor([0, 1]))
    >>> helpful = torch.tensor([[1.0, 0, 0, 1, 0, 0]])
    >>> rows = torch.tensor([[1.0], [1.2], [0.8], [-1.0]]) * helpful
    >>> score(rows, params=torch.zeros(6), clients=torch.arange(4))[3].round()
    tensor(18., dtype=torch.float64)
    >>> score(helpful.expand(4, -1), params=torch.zeros(6), clients=torch.arange(4))[3].round()
    tensor(9., dtype=torch.float64)

    Raises ValueError unless window >= 1 and the data fit the model; when called, as `root_loss` does, and if there is
    not one identity for each row.
    Source: our own, on the descent score of Zeno (`root_loss`).
    """

    def __init__(self, *, model: Model, x: Tensor, y: Tensor, window: int = 10) -> None:
        check_kind("LossTrajectory", Model, model=model)
        check_kind("LossTrajectory", Tensor, x=x, y=y)
        check_number("LossTrajectory", whole=True, above=0, window=window)
        model.check_data(x, y, x.dtype if x.is_floating_point() else torch.float32)
        self.model = model
        self.x = x
        self.y = y
        self.window = window
        self._past: dict[int, deque[float]] = {}

    def __call__(self, updates: Updates, *, params: Update, clients: Tensor) -> Tensor:
        finite, senders = finite_of(updates, clients, "LossTrajectory")
        losses = root_loss(updates, params=params, model=self.model, x=self.x, y=self.y)[finite]  # [k]
        for client, excess in zip(senders, _excess(losses).tolist(), strict=True):
            self._past.setdefault(client, deque(maxlen=self.window)).append(excess)
        means = [sum(self._past[client]) / len(self._past[client]) for client in senders]
        return for_all(finite, torch.tensor(means, dtype=torch.float64, device=updates.device))


def _excess(losses: Tensor) -> Tensor:
    """Distances above the median, in units of the median distance to it: [k] -> [k]; zero for the median itself."""
    if not len(losses):
        return losses
    above = losses - losses.quantile(0.5)
    return (above / above.abs().quantile(0.5)).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
