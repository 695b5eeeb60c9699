"""What an inference is worth, held against the truth, and how sure one can be of that.

Only here, in `metrics` and in `detect.judging` may the truth be looked at. The ROC itself is that of `detect.judging`:
a member takes the place of a bad client, and a false alarm is a stranger who is taken for a member.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from scipy.special import betaincinv, ndtri
from torch import Tensor

from labsec.detect.judging import auc, roc
from labsec.guards import check_number


@dataclass(frozen=True)
class Rate:
    """A number in [0, 1] that was measured, and an interval that holds the true one with a stated confidence."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.3g} ({self.low:.3g} … {self.high:.3g})"


def rate(hits: int, trials: int, *, confidence: float = 0.95) -> Rate:
    """The share of hits in independent trials, with its exact interval.

    confidence    chance that the interval holds the true share, at least; in (0, 1)

    >>> print(rate(0, 100))
    0 (0 … 0.0362)

    Never having seen a thing in a hundred trials does not mean that it happens less than once in a hundred times.
    Raises ValueError unless 0 <= hits <= trials, trials >= 1.
    Source: Clopper and Pearson 1934, Biometrika 26(4).
    """
    check_number("rate", whole=True, above=0, trials=trials)
    check_number("rate", whole=True, least=0, most=trials, hits=hits)
    check_number("rate", above=0, below=1, confidence=confidence)
    outside = (1 - float(confidence)) / 2
    return Rate(hits / trials, 1 - upper_end(trials - hits, trials, outside), upper_end(hits, trials, outside))


def upper_end(hits: int, trials: int, outside: float) -> float:
    """The share that is exceeded with a chance of at most `outside`, given so many hits in so many trials.

    >>> round(upper_end(0, 100, 0.05), 4)       # about 3 / trials
    0.0295

    Raises ValueError unless 0 <= hits <= trials, trials >= 1 and 0 < outside < 1.
    """
    check_number("upper_end", whole=True, above=0, trials=trials)
    check_number("upper_end", whole=True, least=0, most=trials, hits=hits)
    check_number("upper_end", above=0, below=1, outside=outside)
    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - outside))


def area(scores: Tensor, is_member: Tensor, *, confidence: float = 0.95) -> Rate:
    """The area under the ROC, the chance that a member scores higher than a stranger, with an interval.

    scores        [n], higher for who is taken for a member
    is_member     bool [n], the truth
    confidence    of the interval, in (0, 1)

    >>> print(area(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([True, True, False, False])))
    0.75 (0.057 … 1)

    The interval is for other candidates and the same model. Another model, trained on other members, may have another
    area, and only several models show that. It is a normal approximation: with few candidates, or near 1, it is too
    short.

    Raises ValueError unless there are two members or more and two strangers or more, and no NaN.
    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44(3).
    """
    check_number("area", above=0, below=1, confidence=confidence)
    middle = auc(scores, is_member)
    members = scores[is_member].double()
    strangers = scores[~is_member].double()
    if min(len(members), len(strangers)) < 2:
        found = f"{len(members)} members and {len(strangers)} strangers"
        raise ValueError(f"area needs two members or more and two strangers or more; got {found}")

    # The area is a mean over members of the share of strangers below each, and the other way round: its variance is
    # that of both means.
    by_member = _share_below(strangers, members)  # [members]
    by_stranger = 1 - _share_below(members, strangers)  # [strangers]
    variance = float(by_member.var() / len(members) + by_stranger.var() / len(strangers))
    half = float(ndtri((1 + float(confidence)) / 2)) * sqrt(variance)
    return Rate(middle, max(0.0, middle - half), min(1.0, middle + half))


def _share_below(some: Tensor, values: Tensor) -> Tensor:
    """For each value the share of some that lies below it, a tie counting half: [values]."""
    ordered = some.sort().values
    left = torch.searchsorted(ordered, values)
    right = torch.searchsorted(ordered, values, right=True)
    return (left + right).double() / (2 * len(some))


def found_at(scores: Tensor, is_member: Tensor, *, false_alarms: float, confidence: float = 0.95) -> Rate:
    """The share of the members that are found while at most a share of the strangers is taken for members.

    An attack that is right about a few people and certain of them harms more than one that is a little right about
    everybody; the area under the curve does not tell the two apart.

    scores          [n], higher for who is taken for a member
    is_member       bool [n], the truth
    false_alarms    share of the strangers, in [0, 1), such as 0.01
    confidence      of the interval around the share of members, in (0, 1); the threshold is taken as given

    >>> scores, is_member = torch.tensor([9.0, 8.0, 1.0, 2.0, 3.0]), torch.tensor([True, True, True, False, False])
    >>> print(found_at(scores, is_member, false_alarms=0.0))
    0.667 (0.0943 … 0.992)

    With fewer than 1 / false_alarms strangers, no false alarm at all is allowed.
    Raises ValueError unless there are members and strangers, and no NaN.
    Source: Carlini et al. 2022, arXiv:2112.03570, section IV.
    """
    check_number("found_at", least=0, below=1, false_alarms=false_alarms)
    wrong, right, _ = roc(scores, is_member)
    members = int(is_member.sum())
    share = float(right[wrong <= false_alarms].max())
    return rate(round(share * members), members, confidence=confidence)
