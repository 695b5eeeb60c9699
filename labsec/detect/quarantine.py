"""What a server does about suspicion: whoever scores too high is left out until it has behaved for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from labsec.geometry import check_clients, check_updates
from labsec.guards import check_number, kind
from labsec.parts import check_inner, keywords_asked, part_name
from labsec.types import ENGINE_FILLS, Updates


class Note(Protocol):
    """The engine's `note`: puts a record of numbers and texts into `Round.notes`."""

    def __call__(self, **values: Any) -> None: ...


class Quarantine:
    """Stage: leave out every client that scores above a threshold, and let it back after a probation.

    score        (updates [k, dim], *, …) -> [k], higher for a more suspicious update. It may ask for what the engine
                 fills; its other arguments are bound. What it remembers belongs to one run
    threshold    a higher score isolates; the neutral setting is infinity
    probation    rounds without a further alarm in which the client still sends and is watched, but not counted. With 0
                 every round stands for itself; None never lets anybody back

    Returns a mask [k]: who counts in this round. Every decision leaves a note with client, detector, score, threshold
    and action: "isolated", "kept" for a further alarm, after which the probation begins anew, and "released".

    >>> from labsec.detect import norm
    >>> stage = Quarantine(norm, threshold=3.0, probation=1)
    >>> calm = torch.tensor([[1.0], [1.0], [2.0]])
    >>> loud = torch.tensor([[1.0], [1.0], [9.0]])
    >>> for rows in (calm, loud, calm, calm):
    ...     mask = stage(rows, clients=torch.tensor([5, 6, 7]), note=lambda **values: print(values))
    ...     print(mask.tolist())
    [True, True, True]
    {'client': 7, 'detector': 'norm', 'score': 9.0, 'threshold': 3.0, 'action': 'isolated'}
    [True, True, False]
    [True, True, False]
    {'client': 7, 'detector': 'norm', 'score': 2.0, 'threshold': 3.0, 'action': 'released'}
    [True, True, True]

    A client that does not take part in a round neither serves its probation nor is watched in it. If nobody is left,
    the engine skips the round.

    Raises TypeError for a score that lacks an argument, ValueError unless threshold is a number and probation a whole
    number >= 0; when called, ImpossibleRule for rows that stand for several clients, as a secure sum does, and
    ValueError if the score is not [k] numbers.
    """

    def __init__(self, score: Callable[..., Tensor], *, threshold: float, probation: int | None = 10) -> None:
        check_inner("Quarantine", score)
        check_number("Quarantine", least=-torch.inf, most=torch.inf, threshold=threshold)
        if probation is not None:
            check_number("Quarantine", whole=True, least=0, probation=probation)
        self.score = score
        self.threshold = float(threshold)
        self.probation = probation
        self._waits: dict[int, float] = {}  # isolated client -> rounds of its probation that are left

    def __call__(
        self,
        updates: Updates,
        *,
        clients: Tensor,
        note: Note,
        params: Tensor | None = None,
        weights: Tensor | None = None,
        round: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        check_updates(updates)
        check_clients("Quarantine", clients, len(updates))
        offers = {
            "clients": clients,
            "note": note,
            "params": params,
            "weights": weights,
            "round": round,
            "generator": generator,
        }
        keywords = {name: offers[name] for name in keywords_asked(self.score, ENGINE_FILLS)}
        scores = self.score(updates, **keywords)
        if not isinstance(scores, Tensor) or scores.shape != (len(updates),) or scores.isnan().any():
            raise ValueError(
                f"Quarantine needs a score that returns [{len(updates)}] numbers, none of them NaN; "
                f"{part_name(self.score)} returned {kind(scores)}"
            )
        counted = [self._judge(*each, note) for each in zip(clients.tolist(), scores.tolist(), strict=True)]
        return torch.tensor(counted, dtype=torch.bool, device=updates.device)

    def _judge(self, client: int, score: float, note: Note) -> bool:
        """Whether a client counts in this round; a decision about it goes on record."""
        waits = self._waits.get(client)  # None for a client at large
        if score > self.threshold:
            action = "isolated" if waits is None else "kept"
            self._waits[client] = torch.inf if self.probation is None else self.probation
        elif waits == 0:
            action = "released"
            del self._waits[client]
        else:
            if waits is not None:
                self._waits[client] = waits - 1
            return waits is None
        note(client=client, detector=part_name(self.score), score=score, threshold=self.threshold, action=action)
        return action == "released"
