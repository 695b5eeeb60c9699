"""Where the noise is added: at the server with a clip that follows the norms, at every client, or a share at each."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from labsec import Scenario, bind, privacy, rounds
from labsec.types import generator

ROWS = torch.randn(40, 500, generator=generator(0))


def adaptive(**changes):
    return privacy.AdaptiveClip(**{"noise": 0.0, "count_noise": 0.0, "start": 1.0, **changes})


# adaptive clipping


def test_without_noise_the_first_round_is_the_clipped_mean():
    mean = adaptive(start=3.0)(ROWS, generator=generator(1))
    assert torch.equal(mean, privacy.noisy_mean(ROWS, clip=3.0, noise=0.0, generator=generator(1)))


@pytest.mark.parametrize("start", [1e-3, 1e3])
@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_the_clip_finds_the_quantile_of_the_norms_from_either_side(start, quantile):
    rows = ROWS * torch.logspace(-1, 1, 40)[:, None]
    rule = adaptive(start=start, quantile=quantile)
    for turn in range(300):
        rule(rows, generator=generator(turn))
    norms = rows.norm(dim=1)
    assert float(norms.quantile(quantile - 0.06)) < rule.clip < float(norms.quantile(quantile + 0.06))


def test_one_step_by_hand():
    """3 of 4 rows are shorter than the clip and half should be: the clip shrinks by e^(-0.2 * 0.25)."""
    rows = torch.tensor([[0.5], [0.6], [0.7], [9.0]])
    rule = adaptive()
    rule(rows, generator=generator(0))
    assert rule.clip == pytest.approx(math.exp(-0.2 * 0.25))
    fixed = adaptive()
    fixed(rows, generator=generator(0), expected=8.0)  # 0.5 + (3 - 1) / 2 / 8 of the eight who were expected
    assert fixed.clip == pytest.approx(math.exp(-0.2 * 0.125))


def test_sum_and_count_together_cost_what_the_accountant_is_told():
    """Two Gaussians, the sum that moves by a clip and the count that moves by a half, are one: 1 / noise² adds up."""
    rule = adaptive(noise=1.5, count_noise=2.0)
    assert rule.sum_noise > 1.5
    assert rule.sum_noise**-2 + (rule.count_noise / 0.5) ** -2 == pytest.approx(1.5**-2)


def test_the_noise_on_the_sum_and_on_the_count_has_the_promised_size():
    rule = adaptive(noise=1.5, count_noise=2.0, start=0.5)
    zeros = torch.zeros(20, 20_000)
    mean = rule(zeros, generator=generator(0))
    assert float(mean.std()) == pytest.approx(rule.sum_noise * 0.5 / 20, rel=0.02)
    shares = []
    for turn in range(2000):
        records = []
        half = torch.cat([torch.zeros(10, 1), 100 * torch.ones(10, 1)])
        adaptive(noise=0.0, count_noise=2.0)(
            half, generator=generator(turn), note=lambda records=records, **values: records.append(values)
        )
        shares.append(records[0]["share_not_clipped"])
    spread = torch.tensor(shares)
    assert float(spread.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(spread.std()) == pytest.approx(2.0 / 20, rel=0.05)


def test_a_count_that_tells_too_much_is_refused():
    with pytest.raises(ValueError, match=r"2 \* count_noise > noise, .*; got noise=3.0, count_noise=1.5"):
        adaptive(noise=3.0, count_noise=1.5)
    with pytest.raises(ValueError, match=r"0 <= quantile <= 1; got quantile=1.5"):
        adaptive(quantile=1.5)
    with pytest.raises(ValueError, match=r"start > 0; got start=0.0"):
        adaptive(start=0.0)


def test_in_a_run_the_clip_follows_the_updates_and_is_on_record():
    rule = adaptive(noise=0.5, count_noise=1.0, start=20.0, speed=1.0)
    s = Scenario(clients=20, rounds=12, local_steps=5, aggregate=rule)
    results = list(rounds(s))
    clips = [result.notes[0]["clip"] for result in results]
    assert clips[0] == 20.0
    assert clips[-1] < 5.0 < float(results[0].messages.norm(dim=1).max()) * 10
    assert rule.clip == 20.0  # what a run's own copy learns stays with the run
    again = [result.notes[0]["clip"] for result in rounds(s)]
    assert again == clips


def test_a_round_to_which_nobody_came_still_gets_its_noise():
    rule = adaptive(noise=0.5, count_noise=1.0)
    s = Scenario(clients=20, rounds=6, local_steps=1, participation=0.02, aggregate=rule)
    alone = [result for result in rounds(s) if result.participants == 0]
    assert alone
    assert all((result.after != result.before).any() for result in alone)


# at the clients


def test_local_noise_is_the_two_stages_that_it_names():
    one = privacy.local_noise(ROWS, clip=2.0, noise=3.0, generator=generator(5))
    two = privacy.gaussian_noise(privacy.clip(ROWS, bound=2.0), std=6.0, generator=generator(5))
    assert torch.equal(one, two)


@pytest.mark.parametrize("stage", [privacy.local_noise, partial(privacy.distributed_noise, senders=40)])
def test_without_noise_a_stage_at_the_client_clips(stage):
    assert torch.equal(stage(ROWS, clip=2.0, noise=0.0, generator=generator(0)), privacy.clip(ROWS, bound=2.0))


def test_the_shares_of_all_senders_add_up_to_the_noise_of_the_server():
    zeros = torch.zeros(25, 40_000)
    private = privacy.distributed_noise(zeros, clip=2.0, noise=3.0, senders=25, generator=generator(0))
    assert float(private.std()) == pytest.approx(3.0 * 2.0 / 5, rel=0.02)
    assert float(private.sum(dim=0).std()) == pytest.approx(3.0 * 2.0, rel=0.02)
    central = privacy.noisy_mean(zeros, clip=2.0, noise=3.0, generator=generator(1))
    assert float(private.mean(dim=0).std() / central.std()) == pytest.approx(1, rel=0.03)


def test_in_a_federation_the_server_learns_what_a_trusted_one_would_have_let_out():
    """Steps of a run behind a sum: noise distributed and noise at the server are of one size."""
    base = Scenario(clients=16, rounds=3, local_steps=1)
    shares = bind(privacy.distributed_noise, clip=1e-9, noise=1e9, senders=16)
    server = bind(privacy.noisy_mean, clip=1e-9, noise=1e9)
    distributed = replace(base, client_stages=[shares], wire=lambda rows: rows.mean(dim=0, keepdim=True))
    for s in (distributed, replace(base, aggregate=server)):
        for result in rounds(s):
            assert float((result.after - result.before).std()) == pytest.approx(1 / 16, rel=0.05)


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (privacy.local_noise, {"clip": 0.0}, "clip > 0; got clip=0.0"),
        (privacy.local_noise, {"noise": -1.0}, "noise >= 0; got noise=-1.0"),
        (privacy.distributed_noise, {"senders": 0}, "senders >= 1; got senders=0"),
        (privacy.distributed_noise, {"clip": math.inf}, "a finite clip > 0; got clip=inf"),
    ],
)
def test_values_out_of_range_are_named(stage, changes, message):
    arguments = {"clip": 1.0, "noise": 1.0, "generator": generator(0)}
    if stage is privacy.distributed_noise:
        arguments["senders"] = 4
    with pytest.raises(ValueError, match=message):
        stage(ROWS, **{**arguments, **changes})
