"""Lab 00's panel says what happened: the contrast that it is made for, and the conditions of the leak."""

from math import inf

import pytest
import torch

from labsec import privacy, robust
from labsec.course.panels import lab00
from labsec.types import generator


def last(**controls):
    values = {"epsilon": inf, "noise_at": "server", "malicious": 0.0, "keep": 1.0, "rule": robust.mean, "batch": 4}
    values |= controls
    *_, state = lab00.compute(**values)
    return state, lab00.reading(values, state)


def test_where_the_noise_is_added_decides():
    clean, said = last()
    assert clean.accuracy[-1] > 0.85
    assert "No noise, no guarantee" in said
    server, said = last(epsilon=4)
    assert server.accuracy[-1] > 0.6
    assert (server.leak.psnr == clean.leak.psnr).all(), "the server reads before it adds noise"
    assert "not from the server" in said
    client, said = last(epsilon=4, noise_at="client")
    assert client.accuracy[-1] < 0.5
    assert (client.leak.psnr < 25).all()
    assert "from the server too" in said


def test_the_noise_is_what_the_reading_says():
    """Under the mean every client counts alike, so that a client's part is clip / clients."""
    rule = lab00.scenario(epsilon=4).aggregate
    assert rule.func is privacy.noisy_mean
    assert rule.keywords == {"clip": lab00.CLIP, "noise": pytest.approx(7.64, abs=0.01)}
    client = lab00.scenario(epsilon=4, noise_at="client").client_stages[1]
    assert client.keywords["std"] == pytest.approx(2 * 7.64 * lab00.CLIP, rel=1e-3)
    with pytest.raises(ValueError, match="'server' or 'client'; got 'clients'"):
        lab00.scenario(epsilon=4, noise_at="clients")


def test_under_another_rule_the_rows_carry_as_much_noise_as_their_mean_would():
    """So that rules are compared under one noise: the mean of the rows has that of the noisy mean, noise * clip / n."""
    clip, spread = lab00.scenario(epsilon=4, rule=robust.median).server_stages
    rows = spread(clip(torch.zeros(lab00.CLIENTS, 4000)), generator=generator(0))
    noisy_mean = lab00.scenario(epsilon=4).aggregate(torch.zeros(lab00.CLIENTS, 4000), generator=generator(1))
    assert float(rows.mean(dim=0).std()) == pytest.approx(float(noisy_mean.std()), rel=0.05)
    assert float(noisy_mean.std()) == pytest.approx(7.64 * 0.5 / 100, rel=0.05)


def test_noise_under_another_rule_claims_nothing():
    _, said = last(epsilon=4, rule=robust.median)
    assert "guarantees nothing here" in said


def test_an_empty_guarantee_hides_the_picture_all_the_same():
    state, _ = last(epsilon=1e3, noise_at="client")
    assert state.accuracy[-1] > 0.75
    assert (state.leak.psnr < 25).all()


def test_attack_and_rule():
    attacked, _ = last(malicious=0.2)
    defended, _ = last(malicious=0.2, rule=robust.median)
    assert attacked.accuracy[-1] < 0.3 < defended.accuracy[-1]


def test_the_leak_fades_with_the_batch_and_the_compression():
    one, _ = last(batch=1)
    many, _ = last(batch=16)
    assert one.leak.psnr.tolist() == [120.0]
    assert (many.leak.psnr >= 25).float().mean() < 0.6
    squeezed, said = last(keep=0.1)
    assert (squeezed.leak.psnr < 25).all()
    assert squeezed.megabytes == pytest.approx(0.2 * squeezed.dense, rel=0.01)
    assert "9.6 MB sent of 48.2 MB" in said


def test_the_baseline_is_scored_by_the_same_rule():
    state, said = last()
    assert 5 < state.leak.baseline < 20
    assert f"scores {state.leak.baseline:.0f} dB" in said


def test_every_round_is_a_state():
    states = list(lab00.compute(epsilon=inf, noise_at="server", malicious=0.0, keep=1.0, rule=robust.mean, batch=1))
    assert [len(s.accuracy) for s in states] == list(range(1, 51))
