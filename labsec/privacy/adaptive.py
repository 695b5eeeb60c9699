"""Central privacy without a clip that somebody has to guess: it follows a quantile of the norms, privately."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt

import torch
from torch import Generator

from labsec.geometry import clip_rows, finite_rows, row_norms_in_float64
from labsec.guards import check_kind, check_number
from labsec.privacy.mechanisms import gaussian_noise
from labsec.types import Update, Updates


class AdaptiveClip:
    """Rule: `noisy_mean` whose clip moves, after each round, towards a quantile of the norms of the updates.

    noise          multiplier that an accountant is told, no unit: what the noisy sum and the noisy count of a round
                   give away together is what one sum with this noise would
    count_noise    standard deviation of the noise on the number of updates that are not clipped, in clients; the paper
                   takes a twentieth of the clients
    start          the first clip, in parameter units
    quantile       share of the updates that should stay as they are
    speed          how fast the clip follows, no unit: a round changes it by a factor of e^speed at most

    The sum gets a little more noise than `noise * clip`, because the count is given away as well:
    (noise^-2 - (2 count_noise)^-2)^-1/2 in place of noise. A round's record (`note`) holds the clip and the noisy share
    of updates that were not clipped; both are as public as the model.

    >>> rule = AdaptiveClip(noise=0.0, count_noise=0.0, start=1.0)
    >>> rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 5.0]])
    >>> rule(rows, generator=Generator())
    tensor([0.3000, 0.6500])
    >>> round(rule.clip, 4)  # 1 of 4 was short enough, and 2 of 4 should be: up by e^(0.2 / 4)
    1.0513

    Raises ValueError unless noise >= 0, count_noise >= 0, start > 0, 0 <= quantile <= 1 and 0 <= speed <= 10; if there
    is noise, unless 2 * count_noise > noise; when called, unless expected > 0, or if no row is finite.
    Source: Andrew et al. 2021, arXiv:1905.03871, Algorithm 1 with the geometric step and the fixed divisor. A
    noisy share below 0 or above 1 counts as 0 or 1 here, which the noise makes no less private.
    """

    def __init__(
        self, *, noise: float, count_noise: float, start: float, quantile: float = 0.5, speed: float = 0.2
    ) -> None:
        check_number("AdaptiveClip", least=0, noise=noise, count_noise=count_noise)
        check_number("AdaptiveClip", above=0, start=start)
        check_number("AdaptiveClip", least=0, most=1, quantile=quantile)
        check_number("AdaptiveClip", least=0, most=10, speed=speed)
        if noise > 0 and not 2 * count_noise > noise:
            raise ValueError(
                "AdaptiveClip needs 2 * count_noise > noise, or the count alone gives away more than all may; "
                f"got noise={noise}, count_noise={count_noise}"
            )
        self.sum_noise = noise / sqrt(1 - (noise / (2 * count_noise)) ** 2) if noise > 0 else 0.0
        self.count_noise = count_noise
        self.quantile = quantile
        self.speed = speed
        self.clip = float(start)

    def __call__(
        self,
        updates: Updates,
        *,
        generator: Generator,
        expected: float | None = None,
        note: Callable[..., None] | None = None,
    ) -> Update:
        """The noisy mean of a round's rows; the clip of the next round moves.

        updates      [clients, dim]; rows that are not finite are dropped
        generator    draws the noise
        expected     what sum and count are divided by, filled in by the engine; None for the number of rows
        note         puts the clip and the share on record
        returns      [dim]
        """
        rows = finite_rows(updates)
        divisor = len(rows) if expected is None else expected
        check_number("AdaptiveClip", above=0, expected=divisor)
        check_kind("AdaptiveClip", Generator, generator=generator)
        clip = self.clip
        total = clip_rows(rows, clip).sum(dim=0, keepdim=True)  # [1, dim]
        mean = gaussian_noise(total, std=self.sum_noise * clip, generator=generator)[0] / divisor

        # Counted from -1/2 to 1/2, one client moves the count by 1/2 if it comes or goes, as it moves the sum by a
        # clip; and one that is replaced by another moves both by twice that. So one multiplier speaks of both.
        is_short = row_norms_in_float64(rows) <= clip  # [n]
        count = (is_short.double() - 0.5).sum()
        blur = torch.randn((), generator=generator, dtype=torch.float64, device=generator.device)
        noisy_share = 0.5 + float(count + self.count_noise * blur) / divisor
        share = min(max(noisy_share, 0.0), 1.0)
        self.clip = clip * exp(-self.speed * (share - self.quantile))
        if note is not None:
            note(clip=clip, share_not_clipped=share)
        return mean
