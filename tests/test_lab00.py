"""Lab 00: what its panel says, and what its text says of five seeds."""

from dataclasses import replace
from functools import cache
from math import floor, inf, sqrt

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from labsec import privacy, robust
from labsec.course.panels import lab00, lab00_leak
from labsec.course.panels.race import Race
from labsec.course.questions.lab00 import FINDINGS
from labsec.federation.engine import rounds
from labsec.federation.population import Population
from labsec.types import generator


@cache
def last(**controls):
    values = {"epsilon": inf, "noise_at": "server", "malicious": 0.0, "keep": 1.0, "rule": robust.mean, "batch": 4}
    values |= controls
    *_, state = lab00.compute(**values)
    return state, lab00.reading(values, state)


@cache
def shares(**controls):
    return lab00.shares(**controls)


@cache
def accuracy(**controls):
    return lab00.accuracy(**controls)


def redrawn(**controls):
    return [share.redrawn for share in shares(**controls)]


def matched(**controls):
    return [share.matched for share in shares(**controls)]


def mean(numbers):
    return sum(numbers) / len(numbers)


# the noise


@pytest.mark.parametrize("noise_at", ["server", "client"])
def test_both_places_keep_the_epsilon_between_neighbours_of_one_kind(noise_at):
    """What the receiver sees moves by twice the clip at most if one client's update is replaced by another."""
    s = lab00.scenario(epsilon=4, noise_at=noise_at)
    if noise_at == "client":
        clip, spread = s.client_stages
        bound = clip.keywords["bound"]
        multiplier = spread.keywords["std"] / bound
    else:
        assert s.aggregate.func is privacy.noisy_mean
        multiplier = s.aggregate.keywords["noise"]
        bound = s.aggregate.keywords["clip"]
    assert bound == lab00.CLIP
    got = lab00.TERMS.epsilon(multiplier)
    assert got == pytest.approx(4, rel=1e-3)


def test_the_noise_of_all_clients_adds_up_to_ten_times_that_of_the_server():
    """As the text says; a hundred independent noises have the root of a hundred times the deviation of one."""
    clip, spread = lab00.scenario(epsilon=4, noise_at="client").client_stages
    rows = spread(clip(torch.zeros(lab00.CLIENTS, 4000)), generator=generator(0))
    server = lab00.scenario(epsilon=4).aggregate(torch.zeros(lab00.CLIENTS, 4000), generator=generator(1))
    assert float(rows.mean(dim=0).std() / server.std()) == pytest.approx(10, rel=0.05)
    assert float(server.std()) == pytest.approx(2 * 7.64 * 0.5 / 100, rel=0.05)


def test_under_another_rule_the_rows_carry_as_much_noise_as_their_mean_would():
    """So that rules are compared under one noise: the mean of the rows has that of the noisy mean, noise * clip / n."""
    clip, spread = lab00.scenario(epsilon=4, rule=robust.median).server_stages
    rows = spread(clip(torch.zeros(lab00.CLIENTS, 4000)), generator=generator(0))
    assert float(rows.std()) == pytest.approx(2 * 7.64 * 0.5 / sqrt(100), rel=0.05)


def test_a_place_for_the_noise_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="'server' or 'client'; got 'clients'"):
        lab00.scenario(epsilon=4, noise_at="clients")


# the reading


def test_a_guarantee_names_its_terms_and_against_whom():
    _, said = last()
    assert said.endswith("No noise, no guarantee.")
    _, said = last(epsilon=4)
    terms = "ε = 4 per client for the whole run of 50 rounds, δ = 1e-05, replace-one neighbours"
    assert terms in said
    assert said.endswith("against readers of the model, not the server: odds may change by a factor of 55.")
    _, said = last(epsilon=4, noise_at="client")
    assert terms in said
    assert said.endswith("against everybody, the server too: odds may change by a factor of 55.")
    _, said = last(epsilon=4, rule=robust.median)
    assert said.endswith("The rule is not the mean: the noise made for ε = 4 guarantees nothing here.")


def test_a_large_epsilon_is_named_as_what_it_is():
    for epsilon in (e for e in lab00.EPSILONS if 20 < e < inf):
        assert lab00.promise(epsilon).startswith("next to nothing")
    for epsilon in (e for e in lab00.EPSILONS if e <= 20):
        assert "nothing" not in lab00.promise(epsilon)
    _, said = last(epsilon=1e3, noise_at="client")
    assert "hide" not in said
    assert said.endswith("next to nothing, odds may change by a factor of e^1000.")


def test_fewer_bytes_than_numbers_are_explained():
    state, said = last()
    assert state.megabytes < state.full
    assert "31.0 MB sent, 48.2 MB if zeros were sent too." in said
    squeezed, said = last(keep=0.1)
    places = (2 + 3 + 0.3) / 32  # of a tenth: a step, three low bits and passing on, beside the 32 bits of a number
    assert squeezed.megabytes == pytest.approx(0.1 * (1 + places) * squeezed.full, rel=0.02)
    _, said = last(epsilon=4, noise_at="client")
    assert "48.2 MB sent. " in said


def test_the_baseline_is_the_mean_digit_and_needs_no_message():
    state, said = last()
    s = lab00.scenario()
    assert torch.equal(state.leak.mean, s.data.x.mean(dim=0))
    assert 5 < state.leak.baseline < 20
    assert f"the mean digit, which needs no message, has {floor(state.leak.baseline)})" in said


def test_every_round_is_a_state():
    states = list(lab00.compute(epsilon=inf, noise_at="server", malicious=0.0, keep=1.0, rule=robust.mean, batch=1))
    assert [len(s.accuracy) for s in states] == list(range(1, 51))


def test_attack_and_rule():
    under_the_mean = accuracy(malicious=0.2)
    under_the_median = accuracy(malicious=0.2, rule=robust.median)
    assert [round(min(under_the_mean)), round(max(under_the_mean))] == [9, 13]
    assert [round(min(under_the_median)), round(max(under_the_median))] == [29, 64]
    attacked, _ = last(malicious=0.2)
    defended, _ = last(malicious=0.2, rule=robust.median)
    assert (defended.leak.psnr == attacked.leak.psnr).all(), "a rule does not stop the server from reading"


def test_what_helps_against_liars_is_the_servers_clip_and_not_the_noise():
    at_server = accuracy(malicious=0.2, epsilon=100)
    at_client = accuracy(malicious=0.2, epsilon=100, noise_at="client")
    assert [round(min(at_server)), round(max(at_server))] == [69, 80]
    assert [round(min(at_client)), round(max(at_client))] == [9, 13]
    almost_no_noise = accuracy(malicious=0.2, epsilon=1e5)
    assert max(abs(a - b) for a, b in zip(at_server, almost_no_noise, strict=True)) < 5


# the two attacks


def test_what_is_matched_stands_in_its_place_and_what_is_not_is_another_digit():
    for controls in ({}, {"epsilon": 1e4, "noise_at": "client"}, {"batch": 16}):
        leak = last(**controls)[0].leak
        same = (leak.matched == leak.truth).flatten(1).all(dim=1)
        assert torch.equal(same, leak.right)


def test_the_panel_and_the_shares_score_alike():
    """The share of all messages is the mean of what a panel would show for each of them."""
    s = replace(lab00.scenario(), rounds=1)
    first = next(rounds(s))
    one_by_one = []
    for client in range(lab00.CLIENTS):
        alone = replace(first, messages=first.messages[client, None], clients=first.clients[client, None])
        leak = lab00_leak.read(s, alone)
        one_by_one.append([float(leak.is_redrawn.sum()), float(leak.right.sum())])
    totals = np.asarray(one_by_one).sum(axis=0) / 4  # percent of 400 digits
    np.testing.assert_allclose(lab00_leak.shares(s, first), totals)


def test_without_a_message_matching_names_nobody():
    """Noise alone in the messages: four names of 1,438 hit one of four digits in 0.28 % of the cases."""
    s = replace(lab00.scenario(), rounds=1)
    first = next(rounds(s))
    noise = torch.randn(first.messages.shape, generator=generator(0))
    found = lab00_leak.shares(s, replace(first, messages=noise))
    assert found.redrawn == 0
    assert found.matched < 1.5
    assert len(Population(s).x) == 1438


# what the text says of five seeds


def test_the_findings_hold_and_the_numbers_of_the_text():
    assert FINDINGS["00.a"].fits(mean(redrawn()))
    assert redrawn(epsilon=4) == redrawn(), "exactly as many as before"
    assert FINDINGS["00.c"].fits(mean(accuracy(epsilon=4, noise_at="client")))
    assert FINDINGS["00.d"].fits(mean(matched(epsilon=1e4, noise_at="client", batch=1)))
    assert redrawn(epsilon=1e4, noise_at="client", batch=1) == [0] * 5, "redrawing finds no digit in any message"
    assert mean(accuracy()) == pytest.approx(91, abs=0.5)
    sizes = Population(lab00.scenario()).sizes
    assert (int(sizes.min()), int(sizes.max())) == (14, 15)


def test_at_epsilon_1000_the_accuracy_is_back_before_a_digit_is():
    lost = [free - noisy for free, noisy in zip(accuracy(), accuracy(epsilon=1e3, noise_at="client"), strict=True)]
    assert 3.5 < min(lost) <= max(lost) < 7
    assert redrawn(epsilon=1e3, noise_at="client") == [0] * 5
    named = matched(epsilon=1e3, noise_at="client")
    assert 0.5 < min(named) <= max(named) < 5.5


def test_redrawing_fades_with_the_batch_and_matching_does_not():
    assert redrawn(batch=1) == [100] * 5
    assert mean(redrawn(batch=16)) == pytest.approx(29, abs=1)
    assert mean(matched(batch=16)) == pytest.approx(97, abs=1)


def test_fewer_numbers_stop_redrawing_and_not_matching():
    lost = [free - less for free, less in zip(accuracy(), accuracy(keep=0.1), strict=True)]
    assert 0.5 < min(lost) <= max(lost) < 14
    assert redrawn(keep=0.1) == [0] * 5
    named = matched(keep=0.1)
    assert [round(min(named)), round(max(named))] == [74, 79]


def test_who_matches_leaves_out_what_a_client_left_out():
    """One number in a hundred, of one digit: enough, if a zero is not taken for an answer."""
    s = lab00.scenario(keep=0.01, batch=1)
    first = next(rounds(replace(s, rounds=1)))
    assert lab00_leak.shares(s, first).matched == 100
    deaf = replace(s, wire=lambda updates: updates)
    assert lab00_leak.shares(deaf, first).matched < 60


def test_no_epsilon_gives_both_accuracy_and_a_promise_against_the_server():
    assert min(accuracy(epsilon=10)) > 70
    assert max(accuracy(epsilon=10, noise_at="client")) < 30
    assert min(accuracy(epsilon=300, noise_at="client")) > 75
    for epsilon in (4, 10, 100, 300):
        server = accuracy(epsilon=epsilon)
        client = accuracy(epsilon=epsilon, noise_at="client")
        assert all(a > b for a, b in zip(server, client, strict=True)), "the same ε costs more at the client"


def test_matching_reads_what_redrawing_cannot():
    for batch in (1, 4):
        assert redrawn(epsilon=1e5, noise_at="client", batch=batch) == [0] * 5
        assert max(matched(epsilon=100, noise_at="client", batch=batch)) < 3
    assert min(matched(epsilon=1e3, noise_at="client", batch=1)) > 5
    assert matched(epsilon=1e5, noise_at="client", batch=1) == [100] * 5
    assert min(redrawn(epsilon=1e6, noise_at="client", batch=1)) > 70


# the race of two lines, which other panels have too


@pytest.fixture
def race():
    return Race(Figure().subplots(), 12, "clean")


def test_the_run_before_stays_as_a_ghost(race):
    clean = [0.9] * 12
    race.update("", clean, [0.5] * 12, attacked=False)
    assert len(race.ghost.get_xdata()) == 0, "nothing was before the first run"
    race.update("", clean, [0.2], attacked=True)
    assert list(race.ghost.get_ydata()) == [0.5] * 12
    assert race.ghost_name.get_text() == "before"
    race.update("", clean, [0.2, 0.3], attacked=True)
    assert list(race.ghost.get_ydata()) == [0.5] * 12


def test_a_run_that_was_interrupted_leaves_no_ghost(race):
    clean = [0.9] * 12
    race.update("", clean, [0.5] * 12, attacked=False)
    race.update("", clean, [0.2, 0.2, 0.2], attacked=True)
    race.update("", clean, [0.4], attacked=True)
    assert list(race.ghost.get_ydata()) == [0.5] * 12


def test_a_ghost_on_the_thin_line_has_no_name(race):
    clean = [0.9] * 12
    for _ in range(2):
        race.update("", clean, clean, attacked=False)
    assert list(race.ghost.get_ydata()) == clean
    assert race.ghost_name.get_text() == ""
