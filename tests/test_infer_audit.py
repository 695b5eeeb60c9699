"""An audit's bound holds as often as it says, is silent about what is right, and catches each broken mechanism."""

from functools import partial
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Generator, Tensor

from labsec import infer, privacy
from labsec.infer import broken
from labsec.infer.bounds import gaussian_epsilon
from labsec.models import mlp
from labsec.train import dp_sgd, local_updates
from labsec.types import generator

DELTA = 1e-5
NOISE_AT_1 = 3.7303  # over the sensitivity: epsilon is 1 at this delta for one round
NOISE_AT_4 = 1.0812


def case(**changes: Any) -> dict[str, Any]:
    """Nine others, and a canary ten times as long as the clip, in five dimensions."""
    draw = generator(0, "rows")
    default = {
        "rows": 0.1 * torch.randn(9, 5, generator=draw),
        "canary": infer.direction(5, length=10.0, generator=draw),
        "stated": 1.0,
        "relation": "zero-out",
        "rounds": 1,
        "delta": DELTA,
        "trials": 2000,
        "generator": generator(0, "audit"),
    }
    return {**default, **changes}


def central(noise: float) -> Any:
    return partial(privacy.noisy_mean, clip=1.0, noise=noise)


def local(noise: float) -> Any:
    def messages(rows: Tensor, *, generator: Generator) -> Tensor:
        return privacy.gaussian_noise(privacy.clip(rows, bound=1.0), std=noise, generator=generator)

    return messages


# --- the arithmetic


def test_the_epsilon_of_a_gaussian_is_that_of_its_definition() -> None:
    """Delta is the mass by which one normal density exceeds e^epsilon times the other, added up on a fine grid."""
    points = np.linspace(-12, 14, 200_001)
    for distance in (0.3, 1.0, 3.0):
        epsilon = gaussian_epsilon(distance, delta=1e-3)
        excess = norm.pdf(points - distance) - exp(epsilon) * norm.pdf(points)
        assert np.maximum(excess, 0).sum() * (points[1] - points[0]) == pytest.approx(1e-3, rel=1e-3)


def test_the_epsilon_of_a_gaussian_is_the_one_that_is_known() -> None:
    assert gaussian_epsilon(sqrt(50) / 7.64, delta=DELTA) == pytest.approx(4, abs=5e-3)
    assert gaussian_epsilon(sqrt(50) / 11.55, delta=DELTA) == pytest.approx(2.5, abs=5e-3)
    assert gaussian_epsilon(1 / NOISE_AT_1, delta=DELTA) == pytest.approx(1, abs=1e-3)
    assert gaussian_epsilon(1 / NOISE_AT_4, delta=DELTA) == pytest.approx(4, abs=1e-3)
    assert gaussian_epsilon(0.0, delta=DELTA) == 0
    assert gaussian_epsilon(100.0, delta=DELTA) > 5000


def failures(runs: int, trials: int, true: float, draw: Any, *, gaussian: bool, confidence: float) -> int:
    """How many of so many bounds, each of trials of its own, lie above the true epsilon."""
    above = 0
    for number in range(runs):
        with_canary, without = draw(torch.Generator().manual_seed(number), trials)
        found = infer.lower_bound(with_canary, without, delta=DELTA, gaussian=gaussian, confidence=confidence)
        above += found.low > true
    return above


def normal_scores(stream: Generator, trials: int, *, distance: float) -> tuple[Tensor, Tensor]:
    noise = torch.randn(2, trials, generator=stream)
    return noise[0] + distance, noise[1]


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5])
def test_a_bound_for_gaussian_noise_fails_no_more_often_than_it_says(distance: float) -> None:
    """At 80 % confidence a fifth of 400 bounds may fail: 80, and three standard deviations more are 104.

    So many may, not so few: the bound would be worthless if it never came near. It is made of two ends, each of which
    may fail with a tenth, and their errors seldom go the same way.
    """
    draw = partial(normal_scores, distance=distance)
    true = gaussian_epsilon(distance, delta=DELTA)
    assert 4 <= failures(400, 400, true, draw, gaussian=True, confidence=0.8) <= 104


def answers(stream: Generator, trials: int, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Randomised response: the truth about the canary with chance e^epsilon / (1 + e^epsilon)."""
    honest = torch.rand(2, trials, generator=stream) < exp(epsilon) / (1 + exp(epsilon))
    return honest[0].float(), 1 - honest[1].float()


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_bound_that_supposes_nothing_fails_no_more_often_than_it_says(epsilon: float) -> None:
    """Randomised response gives away all that an epsilon allows, so that the bound comes near."""
    draw = partial(answers, epsilon=epsilon)
    assert 4 <= failures(400, 400, epsilon, draw, gaussian=False, confidence=0.8) <= 104


def test_the_half_that_chose_the_threshold_has_no_say_in_the_bound() -> None:
    apart = torch.cat([torch.ones(500), torch.zeros(500)])
    for gaussian in (False, True):
        found = infer.lower_bound(apart, torch.zeros(1000), delta=DELTA, gaussian=gaussian)
        assert found.low == 0, "only the first half can be told apart"
        assert found.found == found.false_alarms == 0


def test_scores_that_never_overlap_show_no_more_than_so_many_trials_can() -> None:
    found = infer.lower_bound(torch.ones(2000), torch.zeros(2000), delta=DELTA, gaussian=False)
    none_in_a_thousand = 1 - 0.025 ** (1 / 1000)  # the upper end for either error
    assert found.low == pytest.approx(np.log((1 - none_in_a_thousand - DELTA) / none_in_a_thousand), rel=1e-6)
    assert (found.found, found.false_alarms) == (1, 0)


def test_scores_that_are_all_equal_show_nothing() -> None:
    for gaussian in (False, True):
        assert infer.lower_bound(torch.ones(100), torch.ones(100), delta=DELTA, gaussian=gaussian).low == 0


def test_a_canary_that_lowers_the_chance_of_high_scores_shows_as_much_at_the_other_end() -> None:
    """Without the canary nine in ten score 1, with it half: what counts is how often 0 was never seen without."""
    with_canary = torch.cat([torch.tensor([0.0, 1.0]).repeat(500), torch.tensor([0.0, 1.0]).repeat(500)])
    found = infer.lower_bound(1 - 2 * with_canary, torch.full((2000,), -1.0), delta=DELTA, gaussian=False)
    assert found.low > 4


# --- mechanisms that keep what is stated


@pytest.mark.parametrize(
    ("mechanism", "changes"),
    [
        (central(NOISE_AT_1), {}),
        (central(NOISE_AT_4), {"stated": 4.0}),
        (central(2 * NOISE_AT_4), {"stated": 4.0, "relation": "replace-one"}),
        (central(sqrt(5) * NOISE_AT_4), {"stated": 4.0, "rounds": 5, "trials": 600}),
        (local(2 * NOISE_AT_4), {"stated": 4.0, "relation": "replace-one"}),
        (central(NOISE_AT_4), {"stated": 4.0, "canary": torch.eye(5)[0], "rows": torch.zeros(0, 5)}),
    ],
    ids=["eps-1", "eps-4", "replace-one", "five-rounds", "local", "alone"],
)
def test_a_right_mechanism_is_not_caught_and_the_bound_comes_near(mechanism: Any, changes: dict[str, Any]) -> None:
    found = infer.audit(mechanism, **case(**changes))
    assert not found.caught
    assert 0.2 * found.stated < found.low <= found.stated
    assert found.any.low < found.gaussian.low, "to know the noise helps"


def test_audits_of_a_right_mechanism_fail_no_more_often_than_they_say() -> None:
    """At 80 % confidence 12 of 60 may fail; three standard deviations more are 21."""
    runs = [
        infer.audit(central(NOISE_AT_4), **case(stated=4.0, trials=60, confidence=0.8, generator=generator(i)))
        for i in range(60)
    ]
    assert sum(run.caught for run in runs) <= 21


def test_more_trials_bring_the_bound_nearer() -> None:
    few, many = (infer.audit(central(NOISE_AT_4), **case(stated=4.0, trials=trials)).low for trials in (100, 4000))
    assert few < many - 0.5


# --- mechanisms that do not


@pytest.mark.parametrize(
    ("mechanism", "changes"),
    [
        (partial(broken.divided_twice, clip=1.0, noise=NOISE_AT_1), {}),
        (partial(broken.unclipped, clip=1.0, noise=NOISE_AT_1), {}),
        (partial(broken.clipped_by_coordinate, clip=1.0, noise=NOISE_AT_1), {}),
        (broken.SameNoise(clip=1.0, noise=sqrt(2) * NOISE_AT_1), {"rounds": 2}),
        (central(NOISE_AT_1), {"relation": "replace-one"}),
        (local(NOISE_AT_1), {"relation": "replace-one"}),
        (central(NOISE_AT_4), {"stated": 4.0, "rounds": 4, "trials": 800}),
        (lambda rows, *, generator: central(NOISE_AT_1)(rows, generator=Generator().manual_seed(0)), {}),
    ],
    ids=["divided-twice", "unclipped", "by-coordinate", "same-noise", "relation", "relation-local", "rounds", "seed"],
)
def test_a_broken_mechanism_is_caught(mechanism: Any, changes: dict[str, Any]) -> None:
    for seed in range(2):
        found = infer.audit(mechanism, **case(**changes, generator=generator(seed, "audit")))
        assert found.caught, found.in_words()


def test_a_broken_mechanism_is_right_where_it_is_not_broken() -> None:
    """Without noise, and for rows that no clip shortens, each is the mean: nothing else is wrong with them."""
    rows = 0.1 * torch.randn(6, 5, generator=generator(0, "rows"))
    functions = (broken.divided_twice, broken.unclipped, broken.clipped_by_coordinate)
    for rule in (*(partial(f, clip=1.0, noise=0.0) for f in functions), broken.SameNoise(clip=1.0, noise=0.0)):
        torch.testing.assert_close(rule(rows, generator=Generator()), rows.mean(dim=0))


def test_noise_that_comes_again_is_not_seen_in_one_round() -> None:
    """A single look cannot find it: that is why the canary changes its sign over two."""
    found = infer.audit(broken.SameNoise(clip=1.0, noise=NOISE_AT_4), **case(stated=4.0, rounds=1))
    assert not found.caught


def test_what_a_mechanism_remembers_lasts_for_one_trial_alone() -> None:
    rule = broken.SameNoise(clip=1.0, noise=1.0)
    infer.audit(rule, **case(trials=20))
    assert rule(torch.zeros(1, 5), generator=generator(0)).equal(rule(torch.zeros(1, 5), generator=generator(1)))
    fresh = broken.SameNoise(clip=1.0, noise=1.0)
    assert fresh(torch.zeros(1, 5), generator=generator(0)).equal(rule(torch.zeros(1, 5), generator=generator(2)))


def test_a_finding_says_all_that_it_depends_on() -> None:
    said = infer.audit(central(NOISE_AT_1), **case(relation="replace-one", trials=200)).in_words()
    for part in ("95% confidence", "per client", "whole run of 1 round,", "δ = 1e-05", "replace-one", "stated ε = 1"):
        assert part in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canary": torch.zeros(5)}, "a finite canary .* not zero"),
        ({"canary": torch.ones(4)}, r"a finite canary .*; got torch.float32 of shape \[4\]"),
        ({"relation": "neighbours"}, "needs a relation out of .* got relation='neighbours'"),
        ({"trials": 9}, "needs a whole number trials >= 10; got trials=9"),
        ({"delta": 0.0}, "needs 0 < delta < 1; got delta=0.0"),
        ({"mechanism": lambda rows, *, generator: rows[:3]}, r"returns \[5\] or \[10, 5\]; got .* \[3, 5\]"),
        ({"mechanism": lambda rows, *, generator: rows.sum(0) * torch.nan}, "returns finite numbers; got nan"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"mechanism": central(1.0), **case(), **changes}
    with pytest.raises(ValueError, match=message):
        infer.audit(given.pop("mechanism"), **given)


# --- private training


def training(**changes: Any) -> dict[str, Any]:
    """Two labels and the same sample with either: two gradients that point against each other at a fair start."""
    draw = generator(0, "samples")
    x = torch.rand(6, 3, generator=draw)
    default = {
        "model": mlp((3,), 2, hidden=()),
        "params": torch.zeros(8),
        "x": torch.cat([x[:1], x]),
        "y": torch.tensor([0, 1, 0, 1, 0, 1, 0]),
        "canary": 0,
        "instead": 1,
        "lr": 0.01,
        "steps": 1,
        "stated": 4.0,
        "delta": DELTA,
        "trials": 3000,
        "generator": generator(0, "training"),
    }
    return {**default, **changes}


def test_private_training_keeps_its_epsilon_and_the_bound_comes_near() -> None:
    for steps in (1, 4):
        noise = 2 * NOISE_AT_4 * sqrt(steps)
        found = infer.audit_training(partial(dp_sgd, clip=0.1, noise=noise), **training(steps=steps))
        assert not found.caught
        assert found.low > 2.5
        assert (found.unit, found.relation, found.rounds) == ("example", "replace-one", steps)


@pytest.mark.parametrize(
    ("noise", "changes"),
    [(NOISE_AT_4, {}), (2 * NOISE_AT_4, {"steps": 4})],
    ids=["noise for zero-out", "noise for one step"],
)
def test_private_training_with_too_little_noise_is_caught(noise: float, changes: dict[str, Any]) -> None:
    assert infer.audit_training(partial(dp_sgd, clip=0.1, noise=noise), **training(**changes)).caught


def test_a_sample_that_is_left_out_is_half_as_far_away_as_one_that_is_replaced() -> None:
    found = infer.audit_training(partial(dp_sgd, clip=0.1, noise=NOISE_AT_4), **training(instead=None))
    assert found.relation == "zero-out"
    assert not found.caught
    assert found.low > 2.5


def test_training_without_noise_is_told_at_once() -> None:
    def plain(*arguments: Any, lr: float, generator: Generator) -> Tensor:
        return local_updates(*arguments, lr=lr)

    found = infer.audit_training(plain, **training(trials=200))
    assert found.caught
    assert (found.any.found, found.any.false_alarms) == (1, 0)


def test_a_canary_needs_another_sample_in_its_place() -> None:
    with pytest.raises(ValueError, match="another sample instead of the canary; got instead=0, canary=0"):
        infer.audit_training(partial(dp_sgd, clip=1.0, noise=1.0), **training(instead=0))
