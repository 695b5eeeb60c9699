"""How much a whole run gives away, and how much noise keeps it to an epsilon.

With everybody in every round the rounds are one Gaussian, and both questions have a formula. With sampling, the
distribution of the privacy loss is added up over the rounds (`labsec.privacy.losses`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import exp, expm1, inf, isfinite, log, log1p, sqrt
from typing import Literal, get_args

from scipy.optimize import brentq
from scipy.special import erf, erfcx, ndtr

from labsec.guards import check_number, kind
from labsec.privacy.losses import sampled_epsilon

Relation = Literal["zero-out", "replace-one"]
Unit = Literal["client", "example"]

# A multiplier beyond these leaves the exact formula too few digits of a double.
LEAST_NOISE = 1e-9
MOST_NOISE = 1e12


@dataclass(frozen=True, kw_only=True)
class Accountant:
    """The terms of a guarantee, without which an epsilon means nothing; and what an epsilon costs on these terms.

    unit        who is hidden: a "client" with all its data, or one "example" of the training data
    delta       the probability that the guarantee may fail, for the whole run
    relation    what the epsilon makes hard to tell: "zero-out", whether a unit's row is in the sum (add or remove one;
                the sum moves by the clip), or "replace-one", which of two rows it is (by twice the clip)
    rate        chance of each unit to take part in a round (Poisson sampling); 1 for everybody. Noise that clients add
                themselves is not helped by sampling: who receives the messages sees who sent. It is 1 there
    rounds      how many noisy sums are given away: rounds of a federation, or steps of DP-SGD

    >>> terms = Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=50)
    >>> round(terms.noise_for(4), 2), round(terms.epsilon(7.65), 2)
    (7.64, 4.0)

    Raises ValueError for values out of range, and where double precision cannot answer: below rate 1 for a delta less
    than 1e-15 * (1000 + rounds).
    Sources: Balle and Wang 2018, arXiv:1805.06530, for the exact formula at rate 1; for the rest see
    `labsec.privacy.losses`.
    """

    unit: Unit
    delta: float
    relation: Relation
    rate: float
    rounds: int

    def __post_init__(self) -> None:
        check_terms("Accountant", unit=self.unit, delta=self.delta, relation=self.relation)
        check_number("Accountant", above=0, most=1, rate=self.rate)
        check_number("Accountant", whole=True, above=0, rounds=self.rounds)
        check_precision(self.rate, self.rounds, self.delta)

    def epsilon(self, noise: float) -> float:
        """The epsilon of all rounds together.

        noise    multiplier: standard deviation of the noise on the sum over the CLIP, whatever the relation

        >>> terms = {"unit": "example", "delta": 1e-5, "rounds": 10_000}
        >>> round(Accountant(**terms, relation="zero-out", rate=0.004).epsilon(1.1), 2)
        1.84

        At rate 1 all rounds together are one Gaussian with noise / sqrt(rounds), which is solved exactly. Below 1 the
        answer is an upper end, which a finer grid would lower by about 0.2 % or 1e-6, whichever is more.
        Raises ValueError unless noise >= 0, and where double precision cannot answer.
        """
        check_number("epsilon", least=0, most=inf, noise=noise)
        if noise in (0, inf):
            return inf if noise == 0 else 0.0
        releases = {(float(noise), float(self.rate)): int(self.rounds)}
        return epsilon_of_all(releases, delta=float(self.delta), relation=self.relation)

    def noise_for(self, epsilon: float) -> float:
        """The noise multiplier that makes the whole run (epsilon, delta)-private; 0 for an infinite epsilon.

        >>> terms = {"unit": "client", "delta": 1e-5, "rate": 1, "rounds": 50}
        >>> round(Accountant(**terms, relation="zero-out").noise_for(2.5), 2)
        11.55
        >>> round(Accountant(**terms, relation="replace-one").noise_for(2.5), 2)
        23.11

        `epsilon` of this multiplier is never above the epsilon asked for; below rate 1 the multiplier is up to 1 %
        larger than necessary.
        Raises ValueError unless epsilon > 0, where double precision cannot answer, and where no noise is necessary: a
        unit that is drawn at all with a probability of at most delta may be shown to everybody.
        """
        check_number("noise_for", above=0, most=inf, epsilon=epsilon)
        if not isfinite(epsilon):
            return 0.0
        return _noise_for(float(epsilon), float(self.rate), int(self.rounds), float(self.delta), self.relation)

    def in_words(self, epsilon: float) -> str:
        """A guarantee with all that it depends on, as it should be printed.

        >>> terms = Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=50)
        >>> print(terms.in_words(4))
        ε = 4 per client for the whole run of 50 rounds, δ = 1e-05, zero-out neighbours, everybody in every round
        >>> from dataclasses import replace
        >>> print(replace(terms, unit="example", rate=0.1, rounds=1, relation="replace-one").in_words(1.8413))
        ε = 1.84 per example for the whole run of 1 round, δ = 1e-05, replace-one neighbours, each drawn with chance 0.1

        Raises ValueError unless epsilon >= 0.
        """
        check_number("in_words", least=0, most=inf, epsilon=epsilon)
        amount = "∞" if epsilon == inf else f"{epsilon:,.0f}" if epsilon >= 1000 else f"{epsilon:.3g}"
        turns = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        drawn = "everybody in every round" if self.rate == 1 else f"each drawn with chance {self.rate:g}"
        return (
            f"ε = {amount} per {self.unit} for the whole run of {turns}, δ = {self.delta:g}, "
            f"{self.relation} neighbours, {drawn}"
        )


def epsilon_of_all(releases: Mapping[tuple[float, float], int], *, delta: float, relation: Relation) -> float:
    """The epsilon of rounds with different noise together.

    releases    (noise, rate) of a round -> how many rounds there are of the kind; 0 < noise < inf
    delta       of all of them together

    >>> releases = {(10.0, 1.0): 16, (20.0, 1.0): 36}  # 16 / 10² + 36 / 20² is 1 / 2²
    >>> round(epsilon_of_all(releases, delta=1e-5, relation="zero-out"), 3)
    1.993
    >>> round(epsilon_of_all({(2.0, 1.0): 1}, delta=1e-5, relation="zero-out"), 3)
    1.993

    At rate 1 they are one Gaussian, in which 1 / noise² adds up; below it their losses are added up on one grid.
    Raises ValueError if rounds with everybody and sampled rounds are mixed: no grid here holds both.
    """
    return _epsilon(tuple(sorted(releases.items())), delta, relation)


@cache
def _epsilon(releases: tuple[tuple[tuple[float, float], int], ...], delta: float, relation: Relation) -> float:
    rounds = sum(times for _, times in releases)

    # As one Gaussian, with everybody in every round: 1 / noise² adds up, here in units of the least noise.
    least = min(noise for (noise, _), _ in releases)
    together = least / sqrt(sum(times * (least / noise) ** 2 for (noise, _), times in releases))
    without_sampling = _exact_epsilon(together / _moved(relation), delta)
    rates = {rate for (_, rate), _ in releases}
    if rates == {1.0} or without_sampling == 0:
        return without_sampling
    if 1.0 in rates:
        raise ValueError(
            "rounds with everybody and sampled rounds cannot be accounted together: keep a budget for each; "
            f"got rates {sorted(rates)}"
        )
    check_precision(min(rates), rounds, delta)
    sampled = sampled_epsilon(dict(releases), delta=delta, replaced=relation == "replace-one")

    # Sampling only helps, so the formula without it is an upper end too.
    return min(without_sampling, sampled)


@cache
def _noise_for(target: float, rate: float, rounds: int, delta: float, relation: Relation) -> float:
    everybody = sqrt(rounds) * _moved(relation) * _exact_noise(target, delta)
    if rate == 1:
        return everybody

    # Whoever is never drawn is safe without any noise.
    ever_drawn = -expm1(rounds * log1p(-rate))
    if ever_drawn <= delta:
        raise ValueError(
            "noise_for needs delta below the chance to be drawn at all, or no noise is necessary; "
            f"got delta={delta}, and {ever_drawn:.3g} for rate={rate}, rounds={rounds}"
        )

    return _sampled_noise(target, everybody, rate, rounds, delta, relation)


def check_terms(owner: str, *, unit: object, delta: object, relation: object) -> None:
    """Raise ValueError unless a guarantee can be given on these terms."""
    if unit not in get_args(Unit):
        raise ValueError(f"{owner} needs a unit out of {get_args(Unit)}; got unit={kind(unit)}")
    check_number(owner, above=0, below=1, delta=delta)
    if relation not in get_args(Relation):
        raise ValueError(f"{owner} needs a relation out of {get_args(Relation)}; got relation={kind(relation)}")


def check_precision(rate: float, rounds: int, delta: float) -> None:
    """Raise ValueError where the rounding errors of the Fourier transform would be a large share of delta."""
    if rate < 1 and delta < 1e-15 * (1000 + rounds):
        raise ValueError(
            "accounting at a rate below 1 needs delta >= 1e-15 * (1000 + rounds), or double precision drowns it; "
            f"got rate={rate}, rounds={rounds}, delta={delta}"
        )


def _moved(relation: Relation) -> int:
    """How far one unit moves the sum of a round, in clips."""
    return 2 if relation == "replace-one" else 1


# --- everybody in every round: one Gaussian


def _exact_epsilon(noise: float, delta: float) -> float:
    """The epsilon of one Gaussian whose noise is so many times its sensitivity."""
    # At epsilon = 0 delta is the total variation between the two cases.
    if erf(1 / (2 * sqrt(2) * noise)) <= delta:
        return 0.0
    if not LEAST_NOISE <= noise <= MOST_NOISE:
        raise ValueError(
            f"epsilon needs a multiplier between {LEAST_NOISE:g} and {MOST_NOISE:g} over the root of the rounds (half "
            f"of it for replace-one), or double precision cannot answer; got {noise}"
        )

    # Delta falls as epsilon grows: double an upper end until it is high enough, then search between.
    high = 1.0
    while _log_delta(noise, high) > log(delta):
        high *= 2
    return float(brentq(lambda e: _log_delta(noise, e) - log(delta), 0.0, high, xtol=1e-18, rtol=1e-12))


def _exact_noise(target: float, delta: float) -> float:
    """The noise, in sensitivities, that makes one Gaussian (target, delta)-private."""

    def excess(log_noise: float) -> float:
        return _log_delta(exp(log_noise), target) - log(delta)

    low, high = log(LEAST_NOISE), log(MOST_NOISE)
    if not excess(low) > 0 > excess(high):
        raise ValueError(
            f"noise_for finds multipliers between {LEAST_NOISE:g} and {MOST_NOISE:g}, as far as double precision goes, "
            f"and none of them suits epsilon={target}, delta={delta}"
        )

    # A part in a billion more, so that rounding cannot leave the guarantee a little short.
    return exp(brentq(excess, low, high, xtol=1e-12)) * (1 + 1e-9)


def _log_delta(noise: float, epsilon: float) -> float:
    """Log of the delta that one Gaussian has at an epsilon: log of Phi(a) - e^epsilon Phi(b)."""
    a = 0.5 / noise - epsilon * noise
    b = -0.5 / noise - epsilon * noise

    # e^epsilon Phi(b) is e^(-a² / 2) erfcx(-b / sqrt(2)) / 2, in which nothing is too large for a double. Where a is
    # small the same is done with Phi(a): a delta below the smallest double still has a logarithm.
    if a > 1:
        return log(ndtr(a) - exp(-a * a / 2) * erfcx(-b / sqrt(2)) / 2)
    difference = erfcx(-a / sqrt(2)) - erfcx(-b / sqrt(2))
    return log(difference / 2) - a * a / 2 if difference > 0 else -inf


# --- sampling


def _sampled_noise(
    target: float, everybody: float, rate: float, rounds: int, delta: float, relation: Relation
) -> float:
    """The least multiplier, but for half a percent, that is enough with sampling; `everybody` is enough without."""

    def excess(noise: float) -> float:
        """Log of epsilon over its target: positive where the noise is too little."""
        found = _epsilon((((noise, rate), rounds),), delta, relation)
        return log(max(found, 0.01 * target) / target)

    # Sampling only helps, so begin with what is enough without it. Epsilon grows about as the noise shrinks, or
    # faster: what is left of the target says how far to go down until the noise is too little.
    enough = little = everybody
    excess_of_enough = excess_of_little = excess(everybody)
    while excess_of_little <= 0:
        enough = little
        excess_of_enough = excess_of_little
        little *= exp(min(excess_of_little, -0.05))
        excess_of_little = excess(little)

    # Close in from both sides. A straight line between them, on logarithmic scales, tells about where the target is
    # met; a step beside it, towards the farther side, leaves the target between two near neighbours.
    while enough > 1.004 * little:
        share = excess_of_little / (excess_of_little - excess_of_enough)
        met = little * (enough / little) ** share
        beside = met * 1.0015 if met * met < little * enough else met / 1.0015
        middle = min(max(beside, little * 1.001), enough / 1.001)
        excess_of_middle = excess(middle)
        if excess_of_middle <= 0:
            enough = middle
            excess_of_enough = excess_of_middle
        else:
            little = middle
            excess_of_little = excess_of_middle
    return enough
