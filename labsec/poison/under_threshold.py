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


class UnderThreshold:
    """Turn and shorten an attack's messages, back towards the honest updates, until a score lets them pass.

    attack       (view, *, …) -> [malicious, dim], the messages that the attackers would like to send. It may ask for
                 generator, clients, params and round
    score        the detector's public score, (updates [k, dim], *, …) -> [k]; it may ask for params, clients and round
    threshold    of the detector; the neutral setting is infinity
    tries        how often the part of a message that is caught shrinks by a quarter; at the last, nothing is left

    An attacker's message lies on the way from its own honest update to the attack's. Each looks for its own share. The
    score is tried with the honest messages where the view holds them, else with the attackers' own honest updates. A
    score that remembers is copied, and the copy remembers what was really sent, so that the attack stays under the
    threshold of averages over many rounds, too. Whom the honest update itself would betray sends that.

    >>> from types import SimpleNamespace
    >>> def length(updates):
    ...     return updates.norm(dim=1)
    >>> def ten_times_back(view):
    ...     return -10 * view.own
    >>> view = SimpleNamespace(own=torch.tensor([[1.0]]), others=torch.tensor([[1.0], [2.0]]))
    >>> UnderThreshold(ten_times_back, length, threshold=4.0)(view).round(decimals=2)
    tensor([[-3.6400]])

    Raises TypeError for an attack or a score that lacks an argument, ValueError unless threshold is a number and
    tries >= 1; when called, what the attack raises. Its copy of the score numbers the honest clients in the order of
    their messages behind the attackers: a score that remembers is foreseen where everybody takes part.
    Source: our own; the goal is that of the adaptive attacks on detectors in Bagdasaryan et al. 2020
    (constrain-and-scale), reached by search in place of training.
    """

    def __init__(
        self, attack: Callable[..., Updates], score: Callable[..., Tensor], *, threshold: float, tries: int = 20
    ) -> None:
        check_inner("UnderThreshold", attack, OFFERED_TO_ATTACK)
        check_inner("UnderThreshold", score, OFFERED_TO_SCORE)
        check_number("UnderThreshold", least=-torch.inf, most=torch.inf, threshold=threshold)
        check_number("UnderThreshold", whole=True, above=0, tries=tries)
        self.attack = attack
        self.score = score
        self.threshold = threshold
        self.tries = tries

    def __call__(self, view: AttackerView, *, generator: Generator | None = None) -> Updates:
        own = own_updates(view, "UnderThreshold")
        honest = honest_rows(view, "UnderThreshold")
        asked = keywords_asked(self.attack, OFFERED_TO_ATTACK)
        wanted = self.attack(view, **{n: generator if n == "generator" else getattr(view, n) for n in asked})
        part = own.new_ones(len(own), 1)  # of the way from the own update to the wanted one
        for number in range(1, self.tries + 1):
            rows = own + part * (wanted - own)
            watched, scores = self._scored(torch.cat([rows, honest]), view)
            caught = scores[: len(own), None] > self.threshold
            if not caught.any():
                break
            part = torch.where(caught, part * 0.75 if number < self.tries else 0 * part, part)
        else:
            rows = own + part * (wanted - own)
            watched, _ = self._scored(torch.cat([rows, honest]), view)
        self.score = watched  # which remembers what is really sent
        return rows

    def _scored(self, rows: Updates, view: AttackerView) -> tuple[Callable[..., Tensor], Tensor]:
        """A copy of the score that has seen these rows, and what it said: [k]."""
        watched = copy.deepcopy(self.score)
        known = {}
        for name in keywords_asked(self.score, OFFERED_TO_SCORE):
            known[name] = _identities(view, len(rows)) if name == "clients" else getattr(view, name)
        scores = watched(rows, **known)
        check_kind("UnderThreshold", Tensor, scores=scores)
        if scores.shape != (len(rows),):
            raise ValueError(f"UnderThreshold needs a score that returns [{len(rows)}] numbers; got {kind(scores)}")
        return watched, scores


def _identities(view: AttackerView, rows: int) -> Tensor:
    """The attackers' identities, and after them numbers for the honest rows: [rows]."""
    if view.clients is None:
        return torch.arange(rows, device=view.own.device)
    first = int(view.clients.max()) + 1
    others = torch.arange(first, first + rows - len(view.clients), device=view.clients.device)
    return torch.cat([view.clients, others])
