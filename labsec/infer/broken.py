"""Mechanisms that are broken on purpose, each as it happens in practice: what an audit must catch.

Every one looks like `privacy.noisy_mean`, takes its arguments, and is wrong in one place.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.geometry import check_updates, clip_rows
from labsec.guards import check_kind, check_number
from labsec.types import Update, Updates


def divided_twice(updates: Updates, *, clip: float, noise: float, generator: Generator) -> Update:
    """BROKEN: the noise belongs on the sum, and here on the mean it is divided by the number of clients once more.

    updates    [clients, dim]
    clip       bound on each row's L2 norm
    noise      multiplier: the noise on the sum should have the standard deviation noise * clip
    returns    [dim]

    >>> divided_twice(torch.tensor([[3.0, 4.0]]), clip=1.0, noise=0.0, generator=Generator())
    tensor([0.6000, 0.8000])

    Raises ValueError unless clip > 0, noise >= 0 and there is a row.
    """
    _check("divided_twice", updates, clip, noise, generator)
    mean = clip_rows(updates, clip).mean(dim=0)
    return mean + _drawn(mean, noise * clip / len(updates) / len(updates), generator)


def unclipped(updates: Updates, *, clip: float, noise: float, generator: Generator) -> Update:
    """BROKEN: the noise is made for rows that were clipped, and nobody clips them.

    Arguments, result and errors as for `divided_twice`.

    >>> unclipped(torch.tensor([[3.0, 4.0]]), clip=1.0, noise=0.0, generator=Generator())
    tensor([3., 4.])
    """
    _check("unclipped", updates, clip, noise, generator)
    mean = updates.mean(dim=0)
    return mean + _drawn(mean, noise * clip / len(updates), generator)


def clipped_by_coordinate(updates: Updates, *, clip: float, noise: float, generator: Generator) -> Update:
    """BROKEN: every number is clipped by itself, so that a row may be longer than the clip by the root of its width.

    Arguments, result and errors as for `divided_twice`.

    >>> clipped_by_coordinate(torch.tensor([[3.0, 4.0]]), clip=1.0, noise=0.0, generator=Generator())
    tensor([1., 1.])
    """
    _check("clipped_by_coordinate", updates, clip, noise, generator)
    mean = updates.clamp(-clip, clip).mean(dim=0)
    return mean + _drawn(mean, noise * clip / len(updates), generator)


class SameNoise:
    """BROKEN: the noise is drawn once and added in every round, so that it cancels in the difference of two rounds.

    clip     bound on each row's L2 norm
    noise    multiplier: the noise on the sum has the standard deviation noise * clip

    >>> rule, draw = SameNoise(clip=1.0, noise=1.0), Generator().manual_seed(0)
    >>> first = rule(torch.tensor([[0.6, 0.8]]), generator=draw)
    >>> first - rule(torch.tensor([[0.0, 0.0]]), generator=draw)
    tensor([0.6000, 0.8000])

    Raises ValueError unless clip > 0, noise >= 0 and there is a row.
    """

    def __init__(self, *, clip: float, noise: float) -> None:
        check_number("SameNoise", above=0, clip=clip)
        check_number("SameNoise", least=0, noise=noise)
        self.clip = clip
        self.noise = noise
        self._drawn: Tensor | None = None

    def __call__(self, updates: Updates, *, generator: Generator) -> Update:
        _check("SameNoise", updates, self.clip, self.noise, generator)
        mean = clip_rows(updates, self.clip).mean(dim=0)
        if self._drawn is None:
            self._drawn = _drawn(mean, self.noise * self.clip / len(updates), generator)
        return mean + self._drawn


def _check(owner: str, updates: Tensor, clip: float, noise: float, generator: Generator) -> None:
    check_updates(updates)
    check_number(owner, above=0, clip=clip)
    check_number(owner, least=0, noise=noise)
    check_kind(owner, Generator, generator=generator)


def _drawn(like: Tensor, std: float, generator: Generator) -> Tensor:
    """Normal noise of a standard deviation."""
    return std * torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
