"""Lab 02's panels: the picture in two dimensions, and the crowd of messages in the real federation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labsec import matrix
from labsec.course.panels import lab02, lab02_arrows, lab02_maps, lab02_matrix
from labsec.study.catalogue import OWN, title_of

START = {"regime": "FedAvg, IID", "malicious": 0.2, "boost": 10.0, "attack": "sign flip", "rule": "mean"}


def last(**controls):
    values = START | controls
    *_, state = lab02.compute(**values)
    return state, lab02.reading(values, state)


def away(place):
    return float((place - lab02_arrows.HONEST.mean(dim=0)).norm())


def test_the_mean_follows_without_limit_and_the_median_does_not():
    near, far = (next(lab02_arrows.compute(attack="your arrow", x=v, y=v)).results for v in (-3.0, -3000.0))
    assert away(far["mean"]) > 100 * away(near["mean"])
    for rule in ("median", "trimmed mean", "Krum", "geometric median"):
        assert away(far[rule]) == pytest.approx(away(near[rule]), abs=0.02)


def test_an_arrow_like_the_others_moves_nobody_far():
    centre = lab02_arrows.HONEST.mean(dim=0)
    state = next(lab02_arrows.compute(attack="your arrow", x=float(centre[0]), y=float(centre[1])))
    assert max(map(away, state.results.values())) < 0.5


@pytest.mark.parametrize("attack", [name for name in lab02_arrows.ATTACKS if name != "your arrow"])
def test_an_attack_ignores_the_sliders(attack):
    one, other = (next(lab02_arrows.compute(attack=attack, x=v, y=v)).sent for v in (0.0, 2.0))
    assert torch.equal(one, other)


def test_attack_and_rule():
    attacked, said = last()
    assert attacked.accuracy[-1] < 0.3
    assert "6 of 30 clients (sign flip, boosted 10 times) against mean" in said
    defended, _ = last(rule="median")
    assert defended.accuracy[-1] > 0.9
    clean, said = last(malicious=0.0)
    assert clean.accuracy == clean.clean
    assert "Nobody against mean" in said


def test_the_crowd_shows_who_stands_out():
    state, _ = last(rule="median")
    assert state.crowd.malicious == 6
    assert len(state.crowd.cosine) == len(state.crowd.length) == 30
    assert state.crowd.length[:6].min() > 5 > state.crowd.length[6:].max()
    hidden, said = last(rule="median", attack="ALIE")
    assert hidden.crowd.length[:6].max() < 2
    assert "boosted" not in said


def test_the_crowd_is_measured_by_the_honest_messages_alone():
    """Two honest ones of length 1 and 3 to the right, and one attacker far to the left: by hand."""
    result = SimpleNamespace(
        messages=torch.tensor([[-40.0, 0.0], [1.0, 0.0], [3.0, 0.0]]),
        clients=torch.tensor([0, 1, 2]),
        before=torch.tensor([5.0, 5.0]),
        after=torch.tensor([5.0, 6.0]),
    )
    crowd = lab02._crowd(result, malicious=1)
    assert crowd.cosine.tolist() == pytest.approx([-1.0, 1.0, 1.0])
    assert crowd.length.tolist() == pytest.approx([20.0, 0.5, 1.5])
    assert (crowd.malicious, crowd.step_cosine, crowd.step_length) == (1, pytest.approx(0.0), pytest.approx(0.5))


def test_the_alie_of_the_panel_is_that_of_the_matrix():
    """The reading names no strength for it, so that it must be the one whose row learners look up."""
    attack = lab02.scenario(**START | {"attack": "ALIE"}).attack
    assert attack.keywords == matrix.ATTACKS["alie_1.5"].scenario()["attack"].keywords == {"z": 1.5}


def test_a_model_that_blows_up_leaves_an_empty_crowd():
    state, said = last(regime="FedSGD, Dirichlet 0.3", boost=100.0)
    assert len(state.crowd.cosine) == 0
    assert "points lost" in said


@pytest.mark.parametrize("rule", list(lab02.RULES))
@pytest.mark.parametrize("attack", list(lab02.ATTACKS))
def test_every_choice_of_the_panel_runs(attack, rule):
    state = next(lab02.compute(**START | {"attack": attack, "rule": rule}))
    assert len(state.accuracy) == 1


def test_the_maps_say_what_they_show():
    few = matrix.load("three_percent")
    assert "digits under the norm clip + mean: lowest 0.9" in repr(
        lab02_maps.boost_maps(few[few.attack == "sign_flip"])
    )
    picture = lab02_maps.breakdown(matrix.load("breakdown"), "fedsgd", "adaptive", title="None holds")
    assert "None holds. mean goes from 0.94" in repr(picture)


def test_the_chooser_judges_each_rule_by_its_worst_attack():
    table = matrix.load()
    easy, hard = (
        {"regime": "fedavg", "knows": lab02_matrix.KNOWLEDGE[OWN], "seed": None},
        {"regime": "fedsgd", "seed": None},
    )
    hard["knows"] = tuple(matrix.ATTACKS)
    states = [next(lab02_matrix.compute(table=table, **choice)) for choice in (easy, hard)]
    assert np.isnan(states[0].values[list(matrix.ATTACKS).index("adaptive")]).all()
    rules, part = list(matrix.RULES), table[table.regime == "fedsgd"]
    means = part.groupby(["rule", "attack"]).accuracy.mean().groupby("rule").min()
    assert f"{title_of(means.idxmax())} is best: {means.max():.2f}" in lab02_matrix.reading(hard, states[1])
    assert states[1].values.shape == (len(matrix.ATTACKS), len(rules))


def test_the_price_is_sorted_and_said():
    said = repr(lab02_maps.prices(matrix.load()))
    assert "On dissimilar clients, Krum costs" in said
    assert "mean 0.0" in said
