"""From guesses to a lower bound on epsilon, with a stated confidence.

Somebody has scores of a mechanism's runs, with a canary in its input and without it, and guesses "it is there" above a
threshold. Privacy bounds how well anybody can guess; so whoever guesses better has shown that epsilon is larger.

This arithmetic is the auditor's own, and shares nothing with the accountant's: what is checked must not be what the
check relies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, log_ndtr, ndtri
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.infer.judging import upper_end

Floats = NDArray[np.float64]

THRESHOLDS = 20  # that are tried on the first half of the trials; with many, the luckiest one would be chosen
FEWEST = 10  # trials with the canary, and as many without it


@dataclass(frozen=True)
class Bound:
    """What some trials show of an epsilon.

    low             epsilon is at least so much, with the confidence that was asked for; 0 shows nothing
    threshold       scores above it are taken for "the canary is there"; chosen on the first half of the trials
    found           share of the second half's runs with the canary that lie above it
    false_alarms    share of the second half's runs without the canary that lie above it
    """

    low: float
    threshold: float
    found: float
    false_alarms: float


def lower_bound(
    with_canary: Tensor, without: Tensor, *, delta: float, gaussian: bool, confidence: float = 0.95
) -> Bound:
    """What epsilon must be at least, if a mechanism's runs score like this with a canary and without it.

    with_canary    [t] scores of independent runs with the canary, higher for what looks like it
    without        [s] scores of independent runs without it
    delta          of the epsilon that is bounded
    gaussian       whether the mechanism is stated to add Gaussian noise and nothing else. Then all of its trade-off
                   between errors is known, and guesses that are right a little too often in the middle refute it, too.
                   False supposes nothing about the mechanism, and finds less
    confidence     chance that the bound is not above the true epsilon, in (0, 1)

    The threshold is chosen on the first half of both, and the bound is made of the second half, which had no say.

    >>> import torch
    >>> draw = torch.Generator().manual_seed(0)
    >>> noise = torch.randn(2, 4000, generator=draw)     # a sensitivity of 1 with noise of 1: epsilon is 4.38
    >>> for gaussian in (False, True):
    ...     print(round(lower_bound(noise[0] + 1, noise[1], delta=1e-5, gaussian=gaussian).low, 1))
    1.9
    3.3

    Raises ValueError for fewer than ten scores, for NaN, and unless delta and confidence lie in (0, 1).
    Sources: Jagielski et al. 2020, arXiv:2006.07709, for the bound from two Clopper-Pearson ends; Nasr et al. 2023,
    arXiv:2302.07956, for the one that supposes Gaussian noise.
    """
    _check_scores("lower_bound", with_canary=with_canary, without=without)
    check_number("lower_bound", above=0, below=1, delta=delta, confidence=confidence)
    check_kind("lower_bound", bool, gaussian=gaussian)
    delta = float(delta)
    outside = (1 - float(confidence)) / 2  # each of the two errors may be above its upper end with this chance
    seen = with_canary.detach().double().cpu().numpy()
    unseen = without.detach().double().cpu().numpy()

    # The first half chooses the threshold which would show most.
    first_seen = np.sort(seen[: len(seen) // 2])
    first_unseen = np.sort(unseen[: len(unseen) // 2])
    thresholds = _between(np.concatenate([first_seen, first_unseen]))
    missed = np.searchsorted(first_seen, thresholds, side="right")
    alarms = len(first_unseen) - np.searchsorted(first_unseen, thresholds, side="right")
    promised = _strength(
        _upper_ends(missed, len(first_seen), outside),
        _upper_ends(alarms, len(first_unseen), outside),
        delta,
        gaussian,
    )
    threshold = float(thresholds[promised.argmax()])

    # The second half says what it shows.
    second_seen = seen[len(seen) // 2 :]
    second_unseen = unseen[len(unseen) // 2 :]
    found = int((second_seen > threshold).sum())
    wrong = int((second_unseen > threshold).sum())
    most_missed = upper_end(len(second_seen) - found, len(second_seen), outside)
    most_wrong = upper_end(wrong, len(second_unseen), outside)
    shown = float(_strength(np.array([most_missed]), np.array([most_wrong]), delta, gaussian)[0])
    low = gaussian_epsilon(max(shown, 0.0), delta=delta) if gaussian else max(shown, 0.0)
    return Bound(low, threshold, found / len(second_seen), wrong / len(second_unseen))


def _between(scores: Floats) -> Floats:
    """Thresholds between neighbours of the distinct scores, not too many; one above all of them if they are equal."""
    distinct = np.unique(scores)
    if len(distinct) == 1:
        return distinct
    middles = (distinct[:-1] + distinct[1:]) / 2
    chosen = np.linspace(0, len(middles) - 1, min(THRESHOLDS, len(middles))).round().astype(int)
    return middles[chosen]


def _upper_ends(hits: NDArray[np.int64], trials: int, outside: float) -> Floats:
    """`upper_end` of several numbers of hits."""
    sure = hits == trials
    return np.where(sure, 1.0, betaincinv(np.where(sure, 1, hits + 1), np.maximum(trials - hits, 1), 1 - outside))


def _strength(missed: Floats, alarms: Floats, delta: float, gaussian: bool) -> Floats:
    """What two errors show: an epsilon, or for Gaussian noise the sensitivity over its standard deviation.

    missed    the most of the runs with the canary that lie below a threshold, [thresholds]
    alarms    the most of the runs without it that lie above
    """
    if gaussian:
        # The two cases are normal, of spread 1: each error says how far its centre lies from the threshold.
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(-ndtri(alarms) - ndtri(missed), nan=-np.inf)

    # With the canary no event is more than e^epsilon times as likely, but for delta; and without it, neither.
    with np.errstate(divide="ignore"):
        there = np.log(np.maximum(1 - missed - delta, 0) / alarms)
        gone = np.log(np.maximum(1 - alarms - delta, 0) / missed)
    return np.maximum(there, gone)


def gaussian_epsilon(distance: float, *, delta: float) -> float:
    """The epsilon of one Gaussian mechanism, from its sensitivity over its standard deviation.

    >>> round(gaussian_epsilon(1.0, delta=1e-5), 2)
    4.38

    Raises ValueError unless distance >= 0 is finite and delta lies in (0, 1).
    Source: Balle and Wang 2018, arXiv:1805.06530, Theorem 8.
    """
    check_number("gaussian_epsilon", least=0, distance=distance)
    check_number("gaussian_epsilon", above=0, below=1, delta=delta)

    def excess(epsilon: float) -> float:
        """Log of the delta at an epsilon over the delta that is asked for."""
        above = float(log_ndtr(distance / 2 - epsilon / distance))
        below = epsilon + float(log_ndtr(-distance / 2 - epsilon / distance))
        return above + log(max(-expm1(below - above), 1e-300)) - log(delta)

    if distance == 0 or excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-12))


def _check_scores(owner: str, **scores: Tensor) -> None:
    check_kind(owner, Tensor, **scores)
    for name, each in scores.items():
        is_row = each.ndim == 1 and each.is_floating_point()
        if not is_row or len(each) < FEWEST or each.isnan().any():
            raise ValueError(
                f"{owner} needs {name} of {FEWEST} or more floating-point scores without NaN; got {kind(each)}"
            )
