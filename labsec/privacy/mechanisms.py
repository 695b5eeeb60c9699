"""Clipping and Gaussian noise: what a client or a server does to hide what one row of a sum gives away.

Three places for the noise, with one multiplier: `noisy_mean` at a server that is trusted with the sum, `local_noise` at
every client, which trusts nobody, and `distributed_noise` a share at every client, which trusts whoever sums.
"""

from __future__ import annotations

from math import inf, sqrt

import torch
from torch import Generator

from labsec.geometry import check_updates, clip_rows, finite_rows
from labsec.guards import check_kind, check_number
from labsec.types import Update, Updates


def clip(updates: Updates, *, bound: float) -> Updates:
    """Shorten every update that is longer than `bound` (L2 norm, in parameter units) to it.

    >>> clip(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), bound=1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    The neutral setting is infinity. A row that holds a NaN or an infinity keeps one, and goes no further in a run.

    Raises ValueError unless bound > 0. Source: Abadi et al. 2016, arXiv:1607.00133.
    """
    check_updates(updates)
    check_number("clip", above=0, most=inf, bound=bound)
    return clip_rows(updates, bound)


def gaussian_noise(updates: Updates, *, std: float, generator: Generator) -> Updates:
    """Add independent Gaussian noise of standard deviation `std` (in parameter units) to every entry.

    >>> rows = torch.zeros(2, 3)
    >>> gaussian_noise(rows, std=0.0, generator=Generator()).equal(rows)
    True

    Raises ValueError if std < 0 or is not finite.
    """
    check_updates(updates)
    check_number("gaussian_noise", least=0, std=std)
    check_kind("gaussian_noise", Generator, generator=generator)
    noise = torch.randn(updates.shape, generator=generator, dtype=updates.dtype, device=updates.device)
    return noise.mul_(std).add_(updates)


def noisy_mean(
    updates: Updates, *, clip: float, noise: float, generator: Generator, expected: float | None = None
) -> Update:
    """Clip each client's update, average, add Gaussian noise: client-level privacy by a trusted server.

    updates    [clients, dim]; rows that are not finite are dropped
    clip       bound on each row's L2 norm, in parameter units
    noise      multiplier, no unit: the standard deviation of the noise on the SUM is noise * clip
    expected   what the sum is divided by: the number of clients that are expected in a round, participation * clients,
               which the engine fills in; None for the number of rows
    returns    [dim]; noise per coordinate has standard deviation noise * clip / divisor

    >>> rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> noisy_mean(rows, clip=1.0, noise=0.0, generator=Generator())
    tensor([0.3000, 0.4000])
    >>> noisy_mean(rows, clip=1.0, noise=0.0, generator=Generator(), expected=4.0)
    tensor([0.1500, 0.2000])

    The divisor must not depend on who was drawn: the number of rows would tell whether one more client took part.
    The accountant must know the rate at which clients are drawn.

    Raises ValueError if clip <= 0, noise < 0 or expected <= 0, or if one of them is not finite.
    Source: McMahan et al. 2018, arXiv:1710.06963, Algorithm 1, with its fixed divisor.
    """
    rows = finite_rows(updates)
    divisor = len(rows) if expected is None else expected
    check_number("noisy_mean", above=0, clip=clip, expected=divisor)
    check_number("noisy_mean", least=0, noise=noise)
    check_kind("noisy_mean", Generator, generator=generator)

    # One client changes the sum by `clip` at most: that is the sensitivity which `noise` multiplies.
    total = clip_rows(rows, clip).sum(dim=0, keepdim=True)  # [1, dim]
    return gaussian_noise(total, std=noise * clip, generator=generator)[0] / divisor


def local_noise(updates: Updates, *, clip: float, noise: float, generator: Generator) -> Updates:
    """Client stage: clip each update and add noise to it, so that nobody has to be trusted, the server included.

    updates    [clients, dim]
    clip       bound on each row's L2 norm, in parameter units
    noise      multiplier, no unit: the standard deviation of the noise on every ROW is noise * clip
    returns    [clients, dim]; the mean of n rows has noise of noise * clip / sqrt(n), which is
               sqrt(n) times that of `noisy_mean`

    The receiver sees every row by itself, so an accountant takes the relation "replace-one" and the rate 1: who sent is
    no secret.

    >>> local_noise(torch.tensor([[3.0, 4.0]]), clip=1.0, noise=0.0, generator=Generator())
    tensor([[0.6000, 0.8000]])

    Raises ValueError unless clip > 0 and noise >= 0, both finite. Source: Dwork and Roth 2014, The Algorithmic
    Foundations of Differential Privacy, appendix A, for the mechanism.
    """
    check_updates(updates)
    check_number("local_noise", above=0, clip=clip)
    check_number("local_noise", least=0, noise=noise)
    return gaussian_noise(clip_rows(updates, clip), std=noise * clip, generator=generator)


def distributed_noise(updates: Updates, *, clip: float, noise: float, senders: float, generator: Generator) -> Updates:
    """Client stage: clip each update and add a share of the noise, so that the SUM over the senders has all of it.

    updates    [clients, dim]
    clip       bound on each row's L2 norm, in parameter units
    noise      multiplier, no unit: the standard deviation of the noise on the sum of `senders` rows is noise * clip
    senders    how many clients' shares an accountant may count on, no unit
    returns    [clients, dim]; every row has noise of noise * clip / sqrt(senders)

    The sum is as private as that of `noisy_mean`, if nobody sees less than the sum: a secure sum stands behind it. A
    row alone is hardly protected. Senders who stay away, and malicious ones, add no share: count on the least number
    of honest senders that a round is run with, or the epsilon is larger than stated.

    >>> rows = torch.zeros(100, 1000)
    >>> private = distributed_noise(rows, clip=1.0, noise=3.0, senders=100, generator=Generator().manual_seed(0))
    >>> round(float(private.std()), 1), round(float(private.sum(dim=0).std()), 0)
    (0.3, 3.0)

    Raises ValueError unless clip > 0, noise >= 0 and senders >= 1, all finite.
    Source: Dwork et al. 2006, Our Data, Ourselves: Privacy via Distributed Noise Generation, for the idea. Gaussian
    noise here; a secure sum of whole numbers needs discrete noise (Kairouz et al. 2021, arXiv:2102.06387).
    """
    check_updates(updates)
    check_number("distributed_noise", above=0, clip=clip)
    check_number("distributed_noise", least=0, noise=noise)
    check_number("distributed_noise", least=1, senders=senders)
    return gaussian_noise(clip_rows(updates, clip), std=noise * clip / sqrt(senders), generator=generator)
