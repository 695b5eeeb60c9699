"""Differential privacy: clip, add noise, and account for what the whole run gives away.

An epsilon here always covers the whole run. Its unit is a client, and it needs a delta and a notion of neighbours:
noise at the server hides whether a client took part (its row is there or zero: sensitivity C); noise at the client
hides which update it sent (one row is replaced: sensitivity 2 C).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import exp, inf, isfinite, log, sqrt

import torch
from scipy.optimize import brentq
from torch import Generator

from labsec.geometry import check_updates, clip_rows, finite_rows
from labsec.types import Update, Updates


def clip(updates: Updates, *, bound: float) -> Updates:
    """Shorten every update that is longer than `bound` (L2 norm, in parameter units) to it.

    >>> clip(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), bound=1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Raises ValueError if bound <= 0. Source: Abadi et al. 2016, arXiv:1607.00133.
    """
    check_updates(updates)
    if not bound > 0:
        raise ValueError(f"clip needs bound > 0; got {bound}")
    return clip_rows(updates, bound)


def gaussian_noise(updates: Updates, *, std: float, generator: Generator) -> Updates:
    """Add independent Gaussian noise of standard deviation `std` (in parameter units) to every entry.

    >>> rows = torch.zeros(2, 3)
    >>> gaussian_noise(rows, std=0.0, generator=Generator()).equal(rows)
    True

    Raises ValueError if std < 0 or is not finite.
    """
    check_updates(updates)
    if not 0 <= std < inf:
        raise ValueError(f"gaussian_noise needs a finite std >= 0; got {std}")
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
    if not 0 < clip < inf or not 0 <= noise < inf:
        raise ValueError(f"noisy_mean needs a finite clip > 0 and noise >= 0; got clip={clip}, noise={noise}")
    divisor = len(rows) if expected is None else expected
    if not 0 < divisor < inf:
        raise ValueError(f"noisy_mean needs a finite expected > 0; got expected={expected}")

    # One client changes the sum by `clip` at most: that is the sensitivity which `noise` multiplies.
    total = clip_rows(rows, clip).sum(dim=0, keepdim=True)  # [1, dim]
    return gaussian_noise(total, std=noise * clip, generator=generator)[0] / divisor


def epsilon(noise: float, *, rate: float = 1.0, rounds: int, delta: float) -> float:
    """The epsilon of `rounds` rounds of the Gaussian mechanism together.

    noise    multiplier: standard deviation of the noise over the sensitivity
    rate     chance of each client to take part in a round (Poisson sampling, add or remove one); 1 for everybody
    delta    the probability that the guarantee may fail, for the whole run

    >>> round(epsilon(7.64, rounds=50, delta=1e-5), 2)
    4.0

    At rate 1 all rounds together are one Gaussian with noise / sqrt(rounds), which is solved exactly; below 1 the
    privacy loss distribution is composed on a grid of about a thousandth of the answer, rounded up.
    Raises ValueError for values out of range. Source: dp-accounting, which both paths use.
    """
    _check(rate, rounds, delta)
    if not noise >= 0:
        raise ValueError(f"epsilon needs noise >= 0; got {noise}")
    if noise in (0, inf):
        return inf if noise == 0 else 0.0
    if rate == 1:
        return _gaussian_epsilon(noise / sqrt(rounds), delta)
    return _sampled_epsilon(noise, rate, rounds, delta)


def noise_for(epsilon: float, *, rate: float = 1.0, rounds: int, delta: float) -> float:
    """The noise multiplier that makes a whole run (epsilon, delta)-private; 0 for an infinite epsilon.

    >>> round(noise_for(2.5, rounds=50, delta=1e-5), 2)
    11.55

    Arguments and errors as for `epsilon`, its inverse.
    """
    _check(rate, rounds, delta)
    if not epsilon > 0:
        raise ValueError(f"noise_for needs epsilon > 0; got {epsilon}")
    if not isfinite(epsilon):
        return 0.0
    return _noise_for(epsilon, rate, rounds, delta)


def _check(rate: float, rounds: int, delta: float) -> None:
    """Raise unless accounting makes sense for these."""
    if not (0 < rate <= 1 and rounds >= 1 and rounds == int(rounds) and 0 < delta < 1):
        raise ValueError(
            "accounting needs 0 < rate <= 1, a whole number of rounds >= 1 and 0 < delta < 1; "
            f"got rate={rate}, rounds={rounds}, delta={delta}"
        )


@cache
def _noise_for(target: float, rate: float, rounds: int, delta: float) -> float:
    # With everybody in every round, the rounds are one Gaussian with noise / sqrt(rounds).
    everybody = sqrt(rounds) * _root(lambda z: _gaussian_delta(z, target) - delta, 1e-5, 1e6)
    if rate == 1:
        return everybody

    # Sampling only helps, so that noise is more than enough: search below it.
    def excess(noise: float) -> float:
        return _sampled_epsilon(noise, rate, rounds, delta) - target

    return _root(excess, everybody * 1e-2, everybody, precision=1e-3)


def _root(function: Callable[[float], float], low: float, high: float, precision: float = 1e-9) -> float:
    """Where a falling function crosses zero, searched on a logarithmic scale; `low` if it is below zero already."""
    if function(low) <= 0:
        return low
    return exp(brentq(lambda u: function(exp(u)), log(low), log(high), xtol=precision))


@cache
def _gaussian_epsilon(z: float, delta: float) -> float:
    """The epsilon of one Gaussian mechanism with noise z times its sensitivity."""
    if _gaussian_delta(z, 0.0) <= delta:
        return 0.0

    # Delta falls as epsilon grows: double an upper end until it is high enough, then search between.
    high = 1.0
    while _gaussian_delta(z, high) > delta:
        high *= 2
    return brentq(lambda e: _gaussian_delta(z, e) - delta, 0.0, high, xtol=1e-9 * high)


def _gaussian_delta(z: float, epsilon: float) -> float:
    """The delta that one Gaussian mechanism with noise z times its sensitivity has at an epsilon."""
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss  # 0.85 s, paid by those who account

    return GaussianPrivacyLoss(z, sensitivity=1).get_delta_for_epsilon(epsilon)


@cache
def _sampled_epsilon(noise: float, rate: float, rounds: int, delta: float) -> float:
    """The epsilon of Gaussian rounds for each of which clients are drawn at a rate below 1."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    # The grid follows the size of the answer, of which the epsilon without sampling is an upper end.
    rough = _gaussian_epsilon(noise / sqrt(rounds), delta)
    grid = min(max(rough * max(rate, 0.05) / 1000, 1e-4), 1.0)
    loss = pld.from_gaussian_mechanism(noise, sampling_prob=rate, value_discretization_interval=grid)
    return loss.self_compose(rounds).get_epsilon_for_delta(delta)
