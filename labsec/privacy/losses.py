"""What sampled Gaussian rounds give away together: a distribution of the privacy loss, on a grid.

Somebody sees a noisy sum and asks whether a client's row is in it. What they see has the density P in one case and Q
in the other; log P / Q is its privacy loss. The losses of independent rounds add up, so their distributions under P
are convolved, and delta is how much of P is left above e^epsilon Q.

Only the direction of the client's clipped row tells the cases apart, so everything is one-dimensional, in units of
the clip. Whatever does not fit a grid is moved to more loss: an epsilon from a grid is an upper end, and a finer grid
lowers it.
Sources: Doroshenko et al. 2022, arXiv:2207.04380, for the grid; Koskela et al. 2020, arXiv:1906.03049, for the FFT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, expm1, floor, inf, log, log1p, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter
from scipy.special import log_ndtr, logsumexp, ndtri

Floats = NDArray[np.float64]
Case = Literal["removed", "added", "replaced"]

LOST = 1e-4  # share of delta that may fall off the ends of the grids
FIRST = 128  # steps of the coarsest grid of one round
RELATIVE = 2e-3  # how much of an epsilon the last halving of the grid may still take off,
ABSOLUTE = 1e-6  # or how much at least
MOST = 2**21  # points of the largest grid: about a second of work


@dataclass(frozen=True)
class Round:
    """One round, seen with and without a client that is drawn with the probability `rate`.

    noise    standard deviation of the noise over the clip
    case     the client's row, of length 1, is in P and missing in Q ("removed"), missing in P and in Q ("added"), or
             it points one way in P and the other way in Q ("replaced")
    """

    noise: float
    rate: float
    case: Case

    @property
    def centres(self) -> tuple[float, float]:
        """Where P and Q are centred if the client is drawn, so that the loss rises along the axis; 0 otherwise."""
        return {"removed": (1.0, 0.0), "added": (0.0, -1.0), "replaced": (1.0, -1.0)}[self.case]

    def loss_at(self, x: float) -> float:
        """The privacy loss of seeing x."""
        p, q = self.centres
        return self._density_over_noise(x, p) - self._density_over_noise(x, q)

    def ends(self, lost: float) -> tuple[float, float]:
        """The losses below and above which there is a mass of P of at most `lost` each."""
        reach = -self.noise * float(ndtri(lost))
        return self.loss_at(-reach), self.loss_at(max(self.centres[0], 0.0) + reach)

    def _density_over_noise(self, x: float, centre: float) -> float:
        """Log of (1 - rate) N(0) + rate N(centre), over N(0), at x."""
        return float(np.logaddexp(log1p(-self.rate), log(self.rate) + centre * (x - centre / 2) / self.noise**2))

    def seen_at(self, losses: Floats) -> Floats:
        """The x at which the loss is as given: `loss_at` inverted; -inf or inf where it never is."""
        if self.case == "removed":
            return self._seen_at_removed(losses)
        if self.case == "added":
            return -self._seen_at_removed(-losses)

        # x / noise² is l / 2 + asinh(sinh(l / 2) e^shift); where that is large, asinh(y) is log(2 y).
        half = np.abs(losses) / 2
        shift = 0.5 / self.noise**2 + log1p(-self.rate) - log(self.rate)
        with np.errstate(divide="ignore"):
            exponent = shift + half + np.log(-np.expm1(-2 * half) / 2)
        large = exponent > 20
        turned = np.where(large, exponent + log(2), np.arcsinh(np.exp(np.where(large, 0.0, exponent))))
        return self.noise**2 * (losses / 2 + np.sign(losses) * turned)

    def _seen_at_removed(self, losses: Floats) -> Floats:
        # log(1 + (e^l - 1) / rate), written for small and for large l; a loss is never below log(1 - rate).
        possible = losses > log1p(-self.rate)
        with np.errstate(divide="ignore"):  # at the limit, but for rounding
            small = np.log1p(np.expm1(np.where(possible, np.minimum(losses, 1.0), 0.0)) / self.rate)
        large = np.maximum(losses, 1.0)
        large = large + np.log1p((self.rate - 1) * np.exp(-large)) - log(self.rate)
        return np.where(possible, 0.5 + self.noise**2 * np.where(losses > 1, large, small), -inf)

    def log_mass(self, edges: Floats, centre: float) -> Floats:
        """Log of the probability between every two edges, if the client's row lies at the centre."""
        drawn = _log_mass((edges - centre) / self.noise)
        if centre == 0:
            return drawn
        return np.logaddexp(log1p(-self.rate) + _log_mass(edges / self.noise), log(self.rate) + drawn)


def _log_mass(edges: Floats) -> Floats:
    """Log of the standard normal probability between every two edges."""
    # On the right side the mirror image is taken: a tail keeps its digits where it is small.
    left, right = edges[:-1], edges[1:]
    mirrored = left > 0
    below = log_ndtr(np.where(mirrored, -right, left))
    upto = log_ndtr(np.where(mirrored, -left, right))
    empty = below >= upto
    with np.errstate(invalid="ignore"):  # -inf minus -inf, which is empty
        return np.where(empty, -inf, upto + np.log(-np.expm1(np.where(empty, -1.0, below - upto))))


@dataclass(frozen=True)
class Losses:
    """A distribution of privacy losses: masses[i] at (first + i) * step, and the rest at infinity."""

    step: float
    first: int
    masses: Floats  # [points]
    infinite: float


def on_grid(one: Round, *, step: float, lost: float) -> Losses:
    """The losses of one round, on a grid: every loss is split between its two neighbours on the grid.

    Between two neighbours lie a mass p of P and q of Q. They are split so that both are kept, with e^loss as the
    ratio of P to Q at either end: the pair of distributions that results gives away at least as much.
    """
    # One step more than needed above: rounding must not leave the largest loss, where there is one, off the grid.
    low, high = one.ends(lost)
    first = floor(low / step)
    last = ceil(high / step) + 1
    losses: Floats = np.arange(first, last + 1, dtype=np.float64) * step  # [points]
    edges = one.seen_at(losses)  # [points]

    # Between neighbours p e^-l_left >= q >= p e^-l_right: how far q lies between says which share of p goes left.
    p, q = one.centres
    log_p = one.log_mass(edges, p)  # [points - 1]
    log_q = one.log_mass(edges, q)  # [points - 1]
    with np.errstate(invalid="ignore"):
        kept = np.exp(np.minimum(log_q + losses[:-1] - log_p, 0.0))
    share = np.clip((kept - exp(-step)) / -expm1(-step), 0.0, 1.0)
    between = np.exp(log_p)
    left = np.where(between > 0, between * share, 0.0)

    masses = np.zeros(len(losses))
    masses[:-1] += left
    masses[1:] += between - left

    # What lies below the grid moves up to its first point; what lies above it counts as infinite.
    masses[0] += np.exp(one.log_mass(np.array([-inf, edges[0]]), p)[0])
    infinite = np.exp(one.log_mass(np.array([edges[-1], inf]), p)[0])
    return Losses(step, first, masses, float(infinite))


def composed(releases: Sequence[tuple[Losses, int]], *, lost: float) -> Losses:
    """The losses of several kinds of rounds together, all on one grid.

    releases    a round's losses, and how often there is such a round
    lost        the mass that may fall off either end
    """
    alone, times = releases[0]
    if len(releases) == 1 and times == 1:
        return alone
    low, high = _range_of_sum(releases, lost)

    # A sum of independent losses is a convolution, which is a product in Fourier space. It wraps round at the length
    # of the transform, which therefore covers everything but the mass that is lost.
    length = next_fast_len(max(high - low + 1, *(len(one.masses) for one, _ in releases)), real=True)
    spectrum = np.ones(length // 2 + 1, dtype=np.complex128)
    for one, rounds in releases:
        spectrum *= rfft(one.masses, length) ** rounds
    masses = np.roll(irfft(spectrum, length), -low)[: high - low + 1].clip(min=0.0)
    first = sum(rounds * one.first for one, rounds in releases) + low
    finite = sum(rounds * log1p(-one.infinite) for one, rounds in releases)  # log of the chance of no infinite loss
    return Losses(alone.step, first, masses, -expm1(finite) + 2 * lost)


def _range_of_sum(releases: Sequence[tuple[Losses, int]], lost: float) -> tuple[int, int]:
    """The indices between which the sum of all draws lies but for `lost` at either end, by Chernoff's bound."""
    points = [(np.flatnonzero(one.masses), one.masses, rounds) for one, rounds in releases]
    logs = [(positions, np.log(masses[positions]), rounds) for positions, masses, rounds in points]
    variance = 0.0
    for positions, masses, rounds in points:
        mean = np.average(positions, weights=masses[positions])
        variance += rounds * np.average((positions - mean) ** 2, weights=masses[positions])
    low = 0
    high = sum(rounds * (len(one.masses) - 1) for one, rounds in releases)

    # The bound holds for every rate of decay; the best one is near a few over the spread of the sum.
    for decay in np.geomspace(0.03, 30, 16) / max(sqrt(variance), 1e-9):
        upwards = sum(rounds * logsumexp(log_mass + decay * positions) for positions, log_mass, rounds in logs)
        downwards = sum(rounds * logsumexp(log_mass - decay * positions) for positions, log_mass, rounds in logs)
        high = min(high, ceil((upwards - log(lost)) / decay))
        low = max(low, floor((downwards - log(lost)) / -decay))
    return low, high


def epsilon_of(losses: Losses, delta: float) -> float:
    """The smallest epsilon >= 0 at which no more than delta of P is left above e^epsilon Q."""
    # For each point of the grid: the mass from there on, and the same with every loss beyond it discounted.
    backwards = losses.masses[::-1]
    mass = losses.infinite + np.cumsum(backwards)[::-1]  # [points]
    discounted = lfilter([1.0], [1.0, -exp(-losses.step)], backwards)[::-1]  # [points]

    # At epsilon = a point of the grid, delta is mass - discounted; it falls as epsilon grows.
    enough = mass - discounted <= delta
    if not enough.any():
        return inf
    i = int(np.argmax(enough))
    if mass[i] <= delta:
        return max(0.0, (losses.first + i) * losses.step)

    # Up to this point delta(epsilon) = mass - e^(epsilon - loss) discounted, which is solved for epsilon.
    return max(0.0, (losses.first + i) * losses.step + log((mass[i] - delta) / discounted[i]))


def sampled_epsilon(sampled: Mapping[tuple[float, float], int], *, delta: float, replaced: bool) -> float:
    """An upper end of the epsilon of sampled rounds together, about 0.2 % or 1e-6 above it.

    sampled     (noise, rate) of a round -> how many rounds there are of the kind

    Raises ValueError where a grid of two million points does not suffice.
    """
    if replaced:
        return _on_finer_grids(_rounds(sampled, "replaced"), delta, least=0.0)

    # Nobody may tell that a client was added, nor that it was removed: the larger epsilon counts.
    removed = _on_finer_grids(_rounds(sampled, "removed"), delta, least=0.0)
    return _on_finer_grids(_rounds(sampled, "added"), delta, least=removed)


def _rounds(sampled: Mapping[tuple[float, float], int], case: Case) -> list[tuple[Round, int]]:
    return [(Round(noise, rate, case), times) for (noise, rate), times in sampled.items()]


def _on_finer_grids(kinds: Sequence[tuple[Round, int]], delta: float, *, least: float) -> float:
    """The epsilon on a grid that is halved until the epsilon stops moving, or is `least` or less; `least` if it is."""
    total = sum(times for _, times in kinds)
    lost = LOST * delta

    # Every kind of round needs so many steps from end to end; one grid serves them all.
    ends = [one.ends(lost / total) for one, _ in kinds]
    step = min(max(high - low, 1e-3 * abs(high)) for low, high in ends) / FIRST
    longest = max(high - low for low, high in ends)
    before = inf
    while longest / step <= MOST:
        singles = [(on_grid(one, step=step, lost=lost / total), times) for one, times in kinds]
        together = composed(singles, lost=lost)
        now = epsilon_of(together, delta)
        if now <= least or before - now <= max(RELATIVE * now, ABSOLUTE):
            return max(now, least)
        before = now
        longest = max(longest, len(together.masses) * step)
        step /= 2
    described = ", ".join(f"{times} x (noise={one.noise}, rate={one.rate})" for one, times in kinds)
    raise ValueError(f"no grid of {MOST} points resolves these rounds; got {described}, delta={delta}")
