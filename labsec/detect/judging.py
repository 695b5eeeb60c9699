"""What a score and a threshold are worth, held against the truth: here, and in `metrics`, it may be looked at.

`is_bad` says of each score whether it belongs to an attacker. Scores of many rounds may be laid end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number, kind


def roc(scores: Tensor, is_bad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The receiver operating characteristic: what every threshold finds, and what it costs.

    scores     [n], higher for more suspicious
    is_bad     bool [n]
    returns    share of the honest above the threshold, share of the bad above it, and the threshold, each [points]:
               from nobody accused, at infinity, to everybody, at minus infinity

    >>> false_alarms, found, thresholds = roc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([False, True, True]))
    >>> false_alarms.tolist(), found.tolist(), thresholds.tolist()
    ([0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 2.0, 1.0, -inf])

    Raises ValueError unless there are honest and bad ones, one truth for each score, and no NaN.
    """
    _check("roc", scores, is_bad)
    order = scores.sort(descending=True, stable=True)
    bad = is_bad[order.indices].double()

    # A threshold accuses all of an equal score or none: a point lies behind the last of each.
    ends = torch.ones_like(is_bad)
    ends[:-1] = order.values[1:] != order.values[:-1]
    found = bad.cumsum(dim=0)[ends] / bad.sum()
    false_alarms = (1 - bad).cumsum(dim=0)[ends] / (1 - bad).sum()

    # The threshold of a point is the next lower score, for a score must be above it.
    distinct = order.values.double()[ends]
    none = distinct.new_zeros(1)
    thresholds = torch.cat([none + torch.inf, distinct[1:], none - torch.inf])
    return torch.cat([none, false_alarms]), torch.cat([none, found]), thresholds


def auc(scores: Tensor, is_bad: Tensor) -> float:
    """The area under the ROC: the chance that a bad one scores higher than an honest one, a tie counting half.

    scores     [n], higher for more suspicious
    is_bad     bool [n]

    1/2 is guessing. Below it, the score is right about whom it should have suspected least.

    >>> auc(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([False, False, True]))
    0.75

    Raises ValueError as `roc` does.
    """
    _check("auc", scores, is_bad)
    honest = scores[~is_bad].sort().values
    bad = scores[is_bad]
    below = torch.searchsorted(honest, bad)  # [bad]
    below_or_equal = torch.searchsorted(honest, bad, right=True)  # [bad]
    return float((below + below_or_equal).double().mean() / (2 * len(honest)))


def share_above(scores: Tensor, threshold: float) -> float:
    """Share of the scores above a threshold: of honest clients, the false-positive rate; of bad ones, the detected.

    >>> share_above(torch.tensor([1.0, 2.0, 3.0, 4.0]), 3.0)
    0.25

    Raises ValueError for no score, or for NaN.
    """
    _check_scores("share_above", scores)
    check_number("share_above", least=-torch.inf, most=torch.inf, threshold=threshold)
    return float((scores > threshold).double().mean())


def threshold_for(honest: Tensor, *, false_alarms: float) -> float:
    """The lowest of the scores as a threshold that accuses no more than a share of the honest ones.

    honest          [n] scores of honest clients
    false_alarms    share that may lie above it, in [0, 1)

    >>> threshold_for(torch.arange(100.0), false_alarms=0.05)
    94.0

    Chosen on some data, it holds for data like these: another skew has another rate.

    Raises ValueError for no score, for NaN, and unless 0 <= false_alarms < 1.
    """
    _check_scores("threshold_for", honest)
    check_number("threshold_for", least=0, below=1, false_alarms=false_alarms)
    allowed = int(false_alarms * len(honest))
    return float(honest.detach().sort(descending=True).values[allowed])


@dataclass(frozen=True)
class Accusations:
    """Whom a detector accuses, on average.

    right    accused, and bad
    wrong    accused, and honest
    """

    right: float
    wrong: float

    @property
    def share_right(self) -> float:
        """Share of the accusations that are true; NaN if nobody is accused."""
        accused = self.right + self.wrong
        return self.right / accused if accused else float("nan")


def accusations(*, clients: int, bad: float, false_alarms: float, detected: float) -> Accusations:
    """The base-rate sum: how many accusations a detector makes, and how many of them are true.

    clients         number of clients
    bad             share of them that is bad, in [0, 1]
    false_alarms    share of the honest ones that is accused, in [0, 1]
    detected        share of the bad ones that is accused, in [0, 1]

    Where few are bad, most of the accused are honest, however good a detector sounds:

    >>> sum = accusations(clients=1000, bad=0.01, false_alarms=0.05, detected=0.9)
    >>> sum.right, sum.wrong, round(sum.share_right, 2)
    (9.0, 49.5, 0.15)

    Raises ValueError unless clients >= 1 and every share lies in [0, 1].
    """
    check_number("accusations", whole=True, above=0, clients=clients)
    check_number("accusations", least=0, most=1, bad=bad, false_alarms=false_alarms, detected=detected)
    return Accusations(right=clients * bad * detected, wrong=clients * (1 - bad) * false_alarms)


def first_isolated(notes: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The round in which a quarantine isolated each client first, from its notes in a history: {client: round}.

    Minus the round in which an attacker began, this is the delay until it was caught. Other notes are passed over.

    >>> notes = [{"round": number, "client": 7, "action": "isolated"} for number in (4, 9)]
    >>> first_isolated(notes)
    {7: 4}

    Raises TypeError for what is no note.
    """
    check_kind("first_isolated", (list, tuple), notes=notes)
    first: dict[int, int] = {}
    for note in notes:
        check_kind("first_isolated", Mapping, note=note)
        if note.get("action") == "isolated":
            first.setdefault(note["client"], note["round"])
    return first


def rounds_left_out(notes: Sequence[Mapping[str, Any]], *, rounds: int) -> dict[int, int]:
    """In how many rounds each client was left out by a quarantine, from its notes in a history: {client: rounds}.

    rounds    number of rounds of the run, which began with round 0

    >>> notes = [{"round": 4, "client": 7, "action": "isolated"}, {"round": 6, "client": 7, "action": "released"}]
    >>> rounds_left_out([*notes, {"round": 8, "client": 7, "action": "isolated"}], rounds=10)
    {7: 4}

    Raises TypeError for what is no note, ValueError unless rounds >= 1.
    """
    check_kind("rounds_left_out", (list, tuple), notes=notes)
    check_number("rounds_left_out", whole=True, above=0, rounds=rounds)
    counts: dict[int, int] = {}
    since: dict[int, int] = {}
    for note in notes:
        check_kind("rounds_left_out", Mapping, note=note)
        if note.get("action") == "isolated":
            since[note["client"]] = note["round"]
        elif note.get("action") == "released":
            counts[note["client"]] = counts.get(note["client"], 0) + note["round"] - since.pop(note["client"])

    # Whoever was never released stays outside up to the end.
    for client, first in since.items():
        counts[client] = counts.get(client, 0) + rounds - first
    return counts


def _check(name: str, scores: Tensor, is_bad: Tensor) -> None:
    _check_scores(name, scores)
    check_kind(name, Tensor, is_bad=is_bad)
    if is_bad.shape != scores.shape or is_bad.dtype != torch.bool:
        raise ValueError(
            f"{name} needs one boolean for each score; "
            f"got scores {list(scores.shape)} and is_bad {list(is_bad.shape)}, {kind(is_bad)}"
        )
    bad = int(is_bad.sum())
    if not 0 < bad < len(scores):
        raise ValueError(f"{name} needs honest and bad ones; got {bad} bad of {len(scores)}")


def _check_scores(name: str, scores: Tensor) -> None:
    check_kind(name, Tensor, scores=scores)
    if scores.ndim != 1 or not len(scores) or not scores.is_floating_point() or scores.isnan().any():
        raise ValueError(f"{name} needs floating-point scores [n] without NaN, n >= 1; got {kind(scores)}")
