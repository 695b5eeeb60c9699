"""A score that predicts every client's next update from its last one, and looks at the difference."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import torch
from torch import Tensor

from labsec.detect.shared import finite_of, for_all
from labsec.geometry import distances_from
from labsec.guards import check_kind, check_number, kind
from labsec.types import Update, Updates


class FLDetector:
    """How far a client's updates have been from what its own last ones foretold, on average over its last rounds.

    window    rounds of a client, and moves of the model, that are remembered

    A client whose data stay the same changes its update only because the model has moved: by the curvature times the
    move. The curvature is estimated from how the server's own steps changed from round to round (L-BFGS). In each round
    the distances between foretold and sent updates are divided by their mean, so that 1 is usual. A client that did
    not send in the round before cannot be foretold; one that never could scores 1.

    >>> score = FLDetector()
    >>> steady = torch.tensor([[1.0, 0.0]])
    >>> jumpy = torch.tensor([[0.0, 1.0]])
    >>> for jump in (1, -1):
    ...     rows = torch.cat([steady, 1.1 * steady, jump * jumpy])
    ...     print(score(rows, clients=torch.arange(3), params=torch.zeros(2)))
    tensor([1., 1., 1.], dtype=torch.float64)
    tensor([0., 0., 3.], dtype=torch.float64)

    Raises ValueError unless window >= 1; when called, if there is not one identity for each row, or if the width of the
    rows, or of params, is not the remembered one.
    Source: FLDetector, Zhang et al. 2022, arXiv:2207.09209, Algorithms 1 and 2, without its clustering of the scores,
    for which a threshold stands. Its aggregated gradient is here the model's own move, whatever rule made it, and a
    pair of moves that shows no positive curvature is left out, because the noise of small batches makes many such.
    """

    def __init__(self, *, window: int = 10) -> None:
        check_number("FLDetector", whole=True, above=0, window=window)
        self.window = window
        self._params: Update | None = None
        self._moves: deque[Update] = deque(maxlen=window + 1)  # of the model, oldest first
        self._last: dict[int, Update] = {}  # what each client sent in the last round
        self._past: dict[int, deque[float]] = {}

    def __call__(self, updates: Updates, *, clients: Tensor, params: Update) -> Tensor:
        finite, senders = finite_of(updates, clients, "FLDetector")
        check_kind("FLDetector", Tensor, params=params)
        fits = params.shape == updates.shape[1:] and params.is_floating_point()
        if not fits or self._width() not in (0, updates.shape[1]):
            raise ValueError(
                "FLDetector needs floating-point updates and params of one width, "
                f"the remembered {self._width() or 'one'}; got {kind(updates)} and {kind(params)}"
            )
        rows = updates[finite].detach()  # [k, dim]
        expected_change = self._learn(params.detach().double())  # [dim]

        known = [place for place, client in enumerate(senders) if client in self._last]
        if known:
            last = torch.stack([self._last[senders[place]] for place in known])
            distances = distances_from(rows[known].double() - last.double(), expected_change)  # [known]
            usual = (distances / distances.mean()).nan_to_num(nan=1.0)  # 0 / 0: all came as foretold
            for place, distance in zip(known, usual.tolist(), strict=True):
                self._past.setdefault(senders[place], deque(maxlen=self.window)).append(distance)
        self._last = dict(zip(senders, rows.clone(), strict=True))

        means = [_mean(self._past.get(client, ())) for client in senders]
        return for_all(finite, torch.tensor(means, dtype=torch.float64, device=updates.device))

    def _width(self) -> int:
        return 0 if self._params is None else len(self._params)

    def _learn(self, params: Update) -> Update:
        """Remember where the model is; how its last move should change everybody's update: [dim]."""
        before = self._params
        self._params = params.clone()
        if before is None:
            return torch.zeros_like(params)
        self._moves.append(params - before)

        # An update is what training does to the model, so its change over a move is the curvature with a minus. The
        # step that the server made after a move shows the change that the move made.
        pairs = [(move, step - move) for move, step in pairwise(self._moves)]
        convex = [(move, change) for move, change in pairs if move @ change < 0]
        return _curvature_times(convex, self._moves[-1])


def _mean(distances: deque[float] | tuple[()]) -> float:
    return sum(distances) / len(distances) if distances else 1.0


def _curvature_times(pairs: list[tuple[Update, Update]], move: Update) -> Update:
    """The L-BFGS estimate of the matrix that takes moves to changes, applied to a move; zero without pairs.

    pairs    (move [dim], the change it made [dim]), oldest first; every move @ change has the same sign

    The estimate takes the last move to its change, exactly. Source: Byrd, Nocedal and Schnabel 1994, the compact form.
    """
    if not pairs:
        return torch.zeros_like(move)
    moves = torch.stack([pair[0] for pair in pairs], dim=1)  # [dim, pairs]
    changes = torch.stack([pair[1] for pair in pairs], dim=1)  # [dim, pairs]
    products = moves.T @ changes  # [pairs, pairs]
    scale = products[-1, -1] / (moves[:, -1] @ moves[:, -1])
    lower = products.tril(-1)
    middle = torch.cat(
        [
            torch.cat([scale * moves.T @ moves, lower], dim=1),
            torch.cat([lower.T, -products.diagonal().diag()], dim=1),
        ]
    )
    sides = torch.cat([scale * moves, changes], dim=1)  # [dim, 2 pairs]
    return scale * move - sides @ (torch.linalg.pinv(middle) @ (sides.T @ move))
