"""The attack that knows the detector: it sends as much of another attack as a public score lets pass."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.parts import check_inner, keywords_asked
from labsec.poison.shared import honest_rows, own_updates
from labsec.types import AttackerView, Updates

OFFERED_TO_ATTACK = ("generator", "clients", "params", "round")
OFFERED_TO_SCORE = ("clients", "params", "round")
SHRINK = 0.6  # of the part of a message that is sent, at each try


class UnderThreshold:
    """Turn and shorten an attack's messages, back towards the honest updates, until a score lets them pass.

    attack       (view, *, …) -> [malicious, dim], the messages that the attackers would like to send. It may ask for
                 generator, clients, params and round
    score        the detector's public score, (updates [k, dim], *, …) -> [k]; it may ask for params, clients and round
    threshold    of the detector; the neutral setting is infinity
    tries        how often the score is tried; a message that is caught up to the last becomes the honest update

    A message lies on the way from the attacker's honest update to the attack's; each attacker looks for its own part of
    the way. The score is tried with the honest messages where the view holds them, else with the attackers' own honest
    updates. Its copy here remembers what was really sent. So a score that looks at many rounds is foreseen as well, and
    the attackers keep a way back: a message must let them pass with an honest update in the next round, too, for which
    the last round's messages stand. Therefore the first message is honest.

    >>> from types import SimpleNamespace
    >>> def length(updates):
    ...     return updates.norm(dim=1)
    >>> def ten_times_back(view):
    ...     return -10 * view.own
    >>> attack = UnderThreshold(ten_times_back, length, threshold=4.0)
    >>> view = SimpleNamespace(own=torch.tensor([[1.0]]), others=torch.tensor([[1.0], [2.0]]), clients=None)
    >>> attack(view), attack(view)
    (tensor([[1.]]), tensor([[-2.9600]]))

    Raises TypeError for an attack or a score that lacks an argument, ValueError unless threshold is a number and
    tries >= 1; when called, what the attack raises. Its copy of the score numbers the honest clients in the order of
    their messages, behind the attackers: a score that remembers is foreseen where everybody takes part.
    Source: our own; the goal is that of constrain-and-scale, Bagdasaryan et al. 2020, reached by a search in place of
    training.
    """

    def __init__(
        self, attack: Callable[..., Updates], score: Callable[..., Tensor], *, threshold: float, tries: int = 12
    ) -> None:
        check_inner("UnderThreshold", attack, OFFERED_TO_ATTACK)
        check_inner("UnderThreshold", score, OFFERED_TO_SCORE)
        check_number("UnderThreshold", least=-torch.inf, most=torch.inf, threshold=threshold)
        check_number("UnderThreshold", whole=True, above=0, tries=tries)
        self.attack = attack
        self.score = score
        self.threshold = threshold
        self.tries = tries
        self._before: Updates | None = None  # [k, dim] what everybody would have sent in the last round

    def __call__(self, view: AttackerView, *, generator: Generator | None = None) -> Updates:
        own = own_updates(view, "UnderThreshold")
        honest = honest_rows(view, "UnderThreshold")
        everybody = torch.cat([own, honest])  # [k, dim]
        before = self._before
        self._before = everybody
        if before is None:
            self.score, _ = self._scored(self.score, everybody, view)
            return own.clone()
        next_round = before if before.shape == everybody.shape else everybody

        asked = keywords_asked(self.attack, OFFERED_TO_ATTACK)
        wanted = self.attack(view, **{n: generator if n == "generator" else getattr(view, n) for n in asked})
        part = own.new_ones(len(own), 1)  # of the way from the own update to the wanted one
        safe, _ = self._scored(self.score, everybody, view)
        _, after_honest = self._scored(safe, next_round, view)
        for _ in range(self.tries):
            rows = own + part * (wanted - own)
            seen, now = self._scored(self.score, torch.cat([rows, honest]), view)
            _, after = self._scored(seen, next_round, view)
            caught = (now > self.threshold) | (after > after_honest.clamp_min(self.threshold))  # [k]
            caught = caught[: len(own)]
            if not caught.any():
                break
            part[caught] *= SHRINK
        else:
            rows = torch.where(caught[:, None], own, rows)
            seen, _ = self._scored(self.score, torch.cat([rows, honest]), view)
        self.score = seen
        return rows

    def _scored(
        self, score: Callable[..., Tensor], rows: Updates, view: AttackerView
    ) -> tuple[Callable[..., Tensor], Tensor]:
        """A copy of a score that has seen these rows, and what it said: [k]."""
        seen = copy.deepcopy(score)
        known = {}
        for name in keywords_asked(score, OFFERED_TO_SCORE):
            known[name] = _identities(view, len(rows)) if name == "clients" else getattr(view, name)
        scores = seen(rows, **known)
        check_kind("UnderThreshold", Tensor, scores=scores)
        if scores.shape != (len(rows),):
            raise ValueError(f"UnderThreshold needs a score that returns [{len(rows)}] numbers; got {kind(scores)}")
        return seen, scores


def _identities(view: AttackerView, rows: int) -> Tensor:
    """The attackers' identities, and after them numbers for the honest rows: [rows]."""
    if view.clients is None:
        return torch.arange(rows, device=view.own.device)
    first = int(view.clients.max()) + 1
    others = torch.arange(first, first + rows - len(view.clients), device=view.clients.device)
    return torch.cat([view.clients, others])
