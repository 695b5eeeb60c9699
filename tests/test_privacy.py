"""Clipping, noise and the accountant."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labsec import Scenario, bind, privacy, robust, rounds
from labsec.privacy import losses
from labsec.types import generator


def terms(**changes):
    """Of one client and the whole run, unless a test says otherwise."""
    usual = {"unit": "client", "delta": 1e-5, "relation": "zero-out", "rate": 1.0, "rounds": 50}
    return privacy.Accountant(**{**usual, **changes})


def test_the_exact_multipliers_of_the_design():
    assert terms(rounds=50, delta=1e-5).noise_for(4) == pytest.approx(7.64, abs=0.01)
    assert terms(rounds=50, delta=1e-5).noise_for(2.5) == pytest.approx(11.55, abs=0.01)


def test_epsilon_per_round_composes_to_far_more():
    per_round = terms(rounds=1, delta=1e-5).noise_for(4)
    assert terms(rounds=50, delta=1e-5).epsilon(per_round) == pytest.approx(48.5, abs=0.5)


def test_the_closed_form_agrees_with_composition():
    """Fifty rounds as one Gaussian against dp-accounting's own composition of fifty."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    composed = pld.from_gaussian_mechanism(7.64, value_discretization_interval=1e-3).self_compose(50)
    assert terms(rounds=50, delta=1e-5).epsilon(7.64) == pytest.approx(composed.get_epsilon_for_delta(1e-5), abs=0.02)


@settings(max_examples=30, deadline=None)
@given(epsilon=st.floats(0.05, 1e5), rounds=st.integers(1, 500))
def test_noise_and_epsilon_are_inverse(epsilon, rounds):
    noise = terms(rounds=rounds, delta=1e-5).noise_for(epsilon)
    assert terms(rounds=rounds, delta=1e-5).epsilon(noise) == pytest.approx(epsilon, rel=1e-4)


def test_sampling_helps_and_is_inverted():
    full, sampled = (terms(rate=q, rounds=50, delta=1e-5).epsilon(1.0) for q in (1.0, 0.1))
    assert sampled < full / 3
    noise = terms(rate=0.1, rounds=50, delta=1e-5).noise_for(2.0)
    assert terms(rate=0.1, rounds=50, delta=1e-5).epsilon(noise) == pytest.approx(2.0, rel=0.01)


SAMPLED = [  # noise, rate, rounds, delta
    (0.6, 0.01, 50, 1e-7),
    (1.1, 0.004, 10_000, 1e-5),
    (2.0, 0.01, 50, 1e-5),
    (8.0, 0.5, 1000, 1e-7),
]


@pytest.mark.parametrize(("noise", "rate", "rounds", "delta"), SAMPLED)
def test_sampled_epsilons_are_those_of_a_fine_grid_of_another_accountant(noise, rate, rounds, delta):
    """For both relations, against dp-accounting's distributions: at most half a percent above, and never below."""
    from dp_accounting.pld import privacy_loss_distribution as pld
    from dp_accounting.privacy_accountant import NeighboringRelation

    relations = {"zero-out": NeighboringRelation.ADD_OR_REMOVE_ONE, "replace-one": NeighboringRelation.REPLACE_ONE}
    for relation, neighbours in relations.items():
        found = terms(rate=rate, rounds=rounds, delta=delta, relation=relation).epsilon(noise)
        fine = pld.from_gaussian_mechanism(
            noise, sampling_prob=rate, value_discretization_interval=1e-4, neighboring_relation=neighbours
        )
        exact = fine.self_compose(rounds).get_epsilon_for_delta(delta)
        assert exact - 2e-4 * exact <= found <= exact * 1.005


GRID = [  # noise, rate, rounds, where opacus answers in a second or two
    *product((0.6, 1.5, 8.0), (0.001, 0.02), (1, 100)),
    (0.6, 0.5, 1),
    (0.6, 0.001, 10_000),
    (1.5, 0.5, 1),
    (8.0, 0.001, 10_000),
    (8.0, 0.02, 10_000),
]


@pytest.mark.parametrize(("noise", "rate", "rounds", "delta"), [*SAMPLED, *((*each, 1e-5) for each in GRID)])
@pytest.mark.filterwarnings("ignore:Secure RNG turned off", "ignore:Optimal order is the largest alpha")
def test_sampled_epsilons_are_those_of_opacus(noise, rate, rounds, delta):
    """Its accountant by another method; both allow themselves an error, and agree to a percent or 0.01."""
    prv = pytest.importorskip("opacus.accountants", reason="opacus, a second accountant, is not installed")
    accountant = prv.PRVAccountant()
    accountant.history = [(noise, rate, rounds)]
    theirs = accountant.get_epsilon(delta) - 0.01  # it adds its own tolerance on top
    found = terms(rate=rate, rounds=rounds, delta=delta).epsilon(noise)
    assert abs(found - theirs) <= max(0.01 * theirs, 0.01)


@pytest.mark.parametrize(("noise", "rate", "delta"), [(0.6, 0.001, 1e-5), (1.0, 0.1, 1e-7), (3.0, 0.5, 1e-5)])
def test_one_sampled_round_by_the_formula_of_amplification(noise, rate, delta):
    """delta(eps) of one sampled round is rate * delta'(eps') of one full round with e^eps' = 1 + (e^eps - 1) / rate."""
    full = terms(rounds=1, delta=delta / rate).epsilon(noise)
    by_hand = math.log1p(rate * math.expm1(full))
    assert terms(rate=rate, rounds=1, delta=delta).epsilon(noise) == pytest.approx(by_hand, rel=4e-3, abs=2e-6)


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
def test_sampling_almost_everybody_is_everybody(relation):
    sure = terms(rounds=100, delta=1e-7, relation=relation).epsilon(30.0)
    almost = terms(rate=1 - 1e-9, rounds=100, delta=1e-7, relation=relation).epsilon(30.0)
    assert almost == pytest.approx(sure, rel=5e-3)


@pytest.mark.parametrize("rate", [0.01, 0.9])
def test_a_finer_grid_only_lowers_epsilon(rate, monkeypatch):
    """A grid of a fifth of the step gives no more, and hardly less."""
    coarse = losses.sampled_epsilon({(1.5, rate): 300}, delta=1e-6, replaced=False)
    monkeypatch.setattr(losses, "FIRST", 5 * 128 * 8)
    fine = losses.sampled_epsilon({(1.5, rate): 300}, delta=1e-6, replaced=False)
    assert fine <= coarse <= fine * 1.005


def test_a_client_that_is_almost_never_drawn_in_a_noiseless_round():
    """Its row, added to Q, moves every loss to -log(1 - rate): the grid must hold a distribution of one point."""
    rate = 1.4844504854801097e-4
    assert terms(rate=rate, rounds=17, delta=2.57e-7).epsilon(0.05627) == pytest.approx(331.7, abs=1)


def test_replacing_one_row_moves_the_sum_twice_as_far():
    for noise in (5.0, 40.0):
        replaced = terms(rounds=50, delta=1e-5, relation="replace-one").epsilon(2 * noise)
        assert replaced == pytest.approx(terms(rounds=50, delta=1e-5).epsilon(noise))
    assert terms(rounds=50, delta=1e-5, relation="replace-one").noise_for(4) == pytest.approx(2 * 7.64, abs=0.02)


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
@pytest.mark.parametrize("target", [1e-3, 0.1, 1.0, 30.0, 1e4, 1e7])
@pytest.mark.parametrize(("rate", "rounds"), [(0.01, 50), (0.5, 1), (0.001, 10_000), (1.0, 50)])
def test_the_noise_is_enough_and_a_percent_less_is_not(target, rate, rounds, relation):
    settings = {"rate": rate, "rounds": rounds, "delta": 1e-5, "relation": relation}
    noise = terms(**settings).noise_for(target)
    assert terms(**settings).epsilon(noise) <= target < terms(**settings).epsilon(0.99 * noise)


def test_a_delta_far_below_the_smallest_double_step_is_answered():
    noise = terms(rounds=50, delta=1e-30).noise_for(1e-9)
    assert terms(rounds=50, delta=1e-30).epsilon(noise) == pytest.approx(1e-9, rel=1e-3)
    noise = terms(rounds=1, delta=1e-300).noise_for(1e7)
    assert terms(rounds=1, delta=1e-300).epsilon(noise) == pytest.approx(1e7, rel=1e-6)


def test_an_epsilon_is_printed_with_everything_it_depends_on():
    text = terms(unit="client", rate=0.1, rounds=50, delta=1e-5, relation="replace-one").in_words(2.0)
    for part in ("ε = 2 ", "client", "whole run", "50 rounds", "δ = 1e-05", "replace-one", "0.1"):
        assert part in text
    assert "ε = ∞" in terms(unit="example", rounds=1, delta=1e-5).in_words(math.inf)


def test_ends_of_the_scale():
    assert terms(rounds=5, delta=1e-5).epsilon(0.0) == math.inf
    assert terms(rounds=5, delta=1e-5).noise_for(math.inf) == 0.0
    assert terms(rounds=1, delta=0.1).epsilon(1e6) == 0.0
    assert terms(rounds=5, delta=1e-5).epsilon(math.inf) == 0.0
    assert terms(rate=0.5, rounds=5, delta=1e-5).epsilon(1e300) == 0.0
    assert terms(rounds=1, delta=1e-5).noise_for(1e11) <= 1e-4


def noisy(**changes):
    arguments = {"clip": 1.0, "noise": 1.0, "generator": generator(0), **changes}
    return privacy.noisy_mean(torch.ones(2, 2), **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: terms(rate=0.0, rounds=5, delta=1e-5).epsilon(1.0), "rate=0.0"),
        (lambda: terms(rounds=2.5, delta=1e-5).epsilon(1.0), "rounds=2.5"),
        (lambda: terms(rounds=0, delta=1e-5).epsilon(1.0), "rounds=0"),
        (lambda: terms(rounds=5, delta=0.0).epsilon(1.0), "delta=0.0"),
        (lambda: terms(rounds=5, delta=1e-5).epsilon(-1.0), "noise >= 0; got noise=-1.0"),
        (lambda: terms(rounds=5, delta=1e-5).noise_for(0.0), "epsilon > 0; got epsilon=0.0"),
        (lambda: terms(rounds=5, delta=1e-5, relation="near").epsilon(1.0), "relation out .*got relation='near'"),
        (
            lambda: terms(rounds=5, delta=1e-5, relation="near").noise_for(1.0),
            "relation out .*got relation='near'",
        ),
        (lambda: terms(unit="server", rounds=5, delta=1e-5).in_words(1.0), "unit out of .*got unit='server'"),
        (lambda: terms(unit="client", rounds=5, delta=1e-5).in_words(-1.0), "epsilon >= 0; got epsilon=-1.0"),
        (lambda: terms(rounds=1, delta=1e-5).epsilon(1e-13), "double precision cannot answer; got 1e-13"),
        (lambda: terms(rounds=1, delta=1e-5).noise_for(1e30), "none of them suits epsilon=1e\\+30"),
        (lambda: terms(rate=0.1, rounds=50, delta=1e-13).epsilon(1.0), "double precision drowns it; .*delta=1e-13"),
        (lambda: terms(rate=1e-6, rounds=5, delta=1e-5).noise_for(1.0), "no noise is necessary; .*and 5e-06"),
        (lambda: privacy.clip(torch.ones(2, 2), bound=0.0), "bound > 0; got bound=0.0"),
        (lambda: privacy.clip(torch.ones(2), bound=1.0), "must be a floating-point matrix"),
        (lambda: privacy.gaussian_noise(torch.ones(2, 2), std=-1.0, generator=generator(0)), "std >= 0; got std=-1.0"),
        (lambda: noisy(noise=-1.0), "noise=-1.0"),
        (lambda: noisy(clip=0.0), "clip=0.0"),
        (lambda: noisy(clip=math.inf), "clip=inf"),
        (lambda: noisy(expected=0), "expected > 0; got expected=0"),
        (lambda: noisy(expected=-1.5), "expected=-1.5"),
        (lambda: noisy(expected=math.nan), "expected=nan"),
    ],
)
def test_values_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_neutral_settings():
    rows = torch.randn(9, 50, generator=generator(0))
    assert torch.allclose(privacy.noisy_mean(rows, clip=1e9, noise=0.0, generator=generator(1)), robust.mean(rows))
    assert torch.equal(privacy.clip(rows, bound=1e9), rows)


def test_clipping_bounds_every_row_and_keeps_its_direction():
    rows = torch.randn(9, 50, generator=generator(0)) * torch.logspace(-2, 2, 9)[:, None]
    clipped = privacy.clip(rows, bound=3.0)
    assert (clipped.norm(dim=1) <= 3.0 + 1e-5).all()
    assert torch.allclose(torch.cosine_similarity(rows, clipped), torch.ones(9))
    assert torch.equal(clipped[:3], rows[:3])


def test_the_noise_has_the_promised_size():
    rows = torch.zeros(20, 4000)
    mean = privacy.noisy_mean(rows, clip=2.0, noise=3.0, generator=generator(0))
    assert float(mean.std()) == pytest.approx(3.0 * 2.0 / 20, rel=0.05)
    fixed = privacy.noisy_mean(rows, clip=2.0, noise=3.0, generator=generator(0), expected=12.5)
    assert float(fixed.std()) == pytest.approx(3.0 * 2.0 / 12.5, rel=0.05)
    assert float(privacy.gaussian_noise(rows, std=0.7, generator=generator(0)).std()) == pytest.approx(0.7, rel=0.02)


def test_the_divisor_is_the_expected_number_of_clients_whoever_came():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    for present in (rows, rows[:1]):
        mean = privacy.noisy_mean(present, clip=10.0, noise=0.0, generator=generator(0), expected=8)
        assert torch.equal(mean, present.sum(dim=0) / 8)


def test_nan_and_giants_do_not_reach_the_mean():
    rows = torch.randn(9, 50, generator=generator(0))
    rows[3, 4] = float("nan")
    rows[5] = 1e30
    assert privacy.noisy_mean(rows, clip=1.0, noise=0.0, generator=generator(0)).norm() <= 1.0


def test_in_a_run_the_noise_is_fresh_each_round_and_repeats_with_the_seed():
    rule = bind(privacy.noisy_mean, clip=1e-9, noise=1e9)
    s = Scenario(clients=5, rounds=2, local_steps=1, aggregate=rule)
    steps = [r.after - r.before for r in rounds(s)]
    assert not torch.allclose(steps[0], steps[1])
    again = [r.after - r.before for r in rounds(s)]
    assert all(map(torch.equal, steps, again))


def test_poisson_sampling_has_the_fixed_divisor_of_the_paper():
    """Whoever comes, the noise on the model is noise * clip / (rate * clients)."""
    rule = bind(privacy.noisy_mean, clip=1e-9, noise=1e9)
    s = Scenario(clients=40, rounds=6, local_steps=1, participation=0.5, aggregate=rule)
    for r in rounds(s):
        assert float((r.after - r.before).std()) == pytest.approx(1 / 20, rel=0.05)


LARGE = 1e38 * torch.randn(6, 400, generator=generator(0)).sign()  # their norms, 2e39, are too large for a float32
HALF_ZERO = torch.cat([torch.zeros(3, 400), 2 * torch.ones(3, 400)])


@pytest.mark.parametrize("rows", [LARGE, HALF_ZERO], ids=["large", "half zero"])
@pytest.mark.parametrize(
    "part", [lambda rows: privacy.clip(rows, bound=math.inf), robust.MedianNormClip(factor=math.inf)]
)
def test_an_infinite_bound_leaves_every_row_as_it_is(part, rows):
    assert torch.equal(part(rows), rows)


def test_an_infinite_factor_is_neutral_where_most_rows_are_zero():
    rows = torch.cat([torch.zeros(5, 4), torch.ones(1, 4)])
    assert torch.equal(robust.MedianNormClip(factor=math.inf)(rows), rows)
    assert not robust.MedianNormClip(factor=2.0)(rows).any()  # the median norm is zero, and so is the bound


def test_rows_whose_norm_overflows_are_clipped_to_the_right_length():
    clipped = privacy.clip(LARGE, bound=1e20)
    assert torch.allclose(clipped.double().norm(dim=1), torch.full((6,), 1e20, dtype=torch.float64), rtol=1e-5)
    assert torch.allclose(clipped / 1e20, LARGE.sign() / 20, rtol=1e-5)


def test_the_median_of_norms_that_overflow_is_a_number():
    """The bound itself, 1e39, is too large for a float32; the rows that it makes are not."""
    assert torch.allclose(robust.MedianNormClip(factor=0.5)(LARGE), LARGE / 2, rtol=1e-5)


def test_half_of_the_rows_being_zero_gives_half_of_the_others_length():
    clipped = robust.MedianNormClip()(HALF_ZERO)  # the median of 0, 0, 0, 40, 40, 40 is 20
    assert torch.allclose(clipped.norm(dim=1), torch.tensor([0.0, 0.0, 0.0, 20.0, 20.0, 20.0]))
    assert torch.equal(privacy.clip(HALF_ZERO, bound=10.0)[:3], HALF_ZERO[:3])


@pytest.mark.parametrize("target", [1e-3, 1.0, 1e3, 1e7])
@pytest.mark.parametrize(("rate", "rounds"), [(0.01, 50), (0.5, 1000), (0.001, 10_000)])
def test_noise_with_sampling_takes_few_and_coarse_grids(target, rate, rounds, monkeypatch):
    """Which is what makes it quick, for every epsilon: half a million points take a fifth of a second."""
    made = []
    on_grid = losses.on_grid

    def counted(one, *, step, lost):
        made.append(on_grid(one, step=step, lost=lost))
        return made[-1]

    monkeypatch.setattr(losses, "on_grid", counted)
    delta = 3e-6 + 1e-10 * math.log10(target)  # nobody has asked for this one, so nothing is remembered
    noise = terms(rate=rate, rounds=rounds, delta=delta).noise_for(target)
    assert terms(rate=rate, rounds=rounds, delta=delta).epsilon(noise) <= target
    assert len(made) <= 100
    assert sum(len(each.masses) for each in made) <= 500_000


def test_what_a_double_cannot_hold_is_said():
    classic = math.sqrt(2 * math.log(1.25 / 1e-30)) / 1e-9  # Dwork and Roth's noise, which is more than necessary
    assert 0.7 * classic < terms(rounds=1, delta=1e-30).noise_for(1e-9) < classic
    with pytest.raises(ValueError, match=r"at a rate below 1 needs delta >= .*got rate=0.5, rounds=50, delta=1e-30"):
        terms(rate=0.5, rounds=50, delta=1e-30).noise_for(1e-9)
