"""How many reconstructions succeeded, how sure that is, and how much of it a stranger's message gives as well."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number, kind


def success_share(scores: Tensor, *, threshold: float, confidence: float = 0.95) -> tuple[float, float, float]:
    """The share of scores [n] that reach a threshold, with its Wilson interval: (share, low, high).

    scores        such as PSNRs in dB; minus infinity and NaN are failures
    confidence    chance that the interval holds the true share, in (0, 1)

    >>> tuple(round(end, 3) for end in success_share(torch.full((24,), 40.0), threshold=25))
    (1.0, 0.862, 1.0)

    24 successes out of 24 say no more than that: at least 86 %. Raises ValueError if there is no score.
    Source: Wilson 1927, Journal of the American Statistical Association 22(158).
    """
    check_kind("success_share", Tensor, scores=scores)
    check_number("success_share", threshold=threshold)
    check_number("success_share", above=0, below=1, confidence=confidence)
    if scores.ndim != 1 or not len(scores) or not scores.is_floating_point():
        raise ValueError(f"success_share needs floating-point scores [n] with n >= 1; got {kind(scores)}")
    n = len(scores)
    share = float((scores >= threshold).double().mean())
    z = float(torch.special.ndtri(torch.tensor((1 + float(confidence)) / 2, dtype=torch.float64)))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return share, max(0.0, middle - half), min(1.0, middle + half)


def success_beyond(scores: Tensor, strangers: Tensor, *, threshold: float) -> float:
    """The share of scores [n] that reach a threshold, less that of the strangers [m]: what the message itself gave.

    strangers    scores of the same attack on somebody else's message, held against the same truth

    An attack that paints an average face finds every face a little; it finds the stranger's as often.

    >>> success_beyond(torch.tensor([30.0, 26.0, 10.0, 28.0]), torch.tensor([9.0, 26.0, 10.0, 11.0]), threshold=25)
    0.5

    Raises ValueError as `success_share` does.
    """
    found = success_share(scores, threshold=threshold)[0]
    by_chance = success_share(strangers, threshold=threshold)[0]
    return found - by_chance
