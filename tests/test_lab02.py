"""Lab 02's panels: the picture in two dimensions, and the crowd of messages in the real federation."""

import re
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch

from labsec import matrix
from labsec.course.panels import lab02, lab02_arrows, lab02_maps, lab02_matrix

START = {"skew": lab02.ALIKE, "malicious": 0.2, "boost": 10.0, "attack": "sign flip", "rule": "mean"}


def last(**controls):
    values = START | controls
    *_, state = lab02.compute(**values)
    return state, lab02.reading(values, state)


def went(attack="your arrow", x=0.0, y=0.0):
    """How far each rule goes from the honest mean, and the state."""
    state = next(lab02_arrows.compute(attack=attack, x=x, y=y))
    return {rule: lab02_arrows.away(place) for rule, place in state.results.items()}, state


def test_the_mean_follows_without_limit_and_no_other_rule_does():
    near, far = (went(x=v, y=v)[0] for v in (-3.0, -3000.0))
    assert far["mean"] > 100 * near["mean"]
    for rule in ("median", "trimmed mean", "Krum", "geometric median"):
        assert far[rule] == pytest.approx(near[rule], abs=0.02)


def test_a_quiet_arrow_moves_krum_farther_than_any_loud_one():
    """What the toy is for: Krum jumps onto the three where they stand near the crowd, and ALIE finds such a place."""
    loud, state = went(x=-3.0, y=-3.0)
    assert (state.results["Krum"] - state.sent).norm() > 3
    hidden, state = went("ALIE, z = 1.5")
    assert torch.equal(state.results["Krum"], state.sent)
    assert hidden["Krum"] > 5 * loud["Krum"]
    assert hidden["mean"] < loud["mean"] / 3


def test_without_the_three_nobody_is_far():
    alone, state = went("nobody attacks")
    assert state.sent is None
    assert alone["mean"] == pytest.approx(0, abs=1e-6)
    assert max(alone.values()) < 0.6


@pytest.mark.parametrize("attack", [name for name, make in lab02_arrows.ATTACKS.items() if make])
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
    state, said = last(boost=1e6)
    assert len(state.crowd.cosine) == 0
    assert "points lost" in said


@pytest.mark.parametrize("rule", list(lab02.RULES))
@pytest.mark.parametrize("attack", list(lab02.ATTACKS))
def test_every_choice_of_the_panel_runs(attack, rule):
    state = next(lab02.compute(**START | {"attack": attack, "rule": rule}))
    assert len(state.accuracy) == 1


def test_the_pictures_say_what_they_show():
    few = matrix.load("three_percent")
    said = repr(lab02_maps.dial(few[few.attack == "sign_flip"]))
    assert re.search(r"digits, mean goes from [01]\.\d\d to 8\d\.", said)
    assert re.search(r"both, norm clip \+ mean goes from 0\.5\d to 0\.5\d", said), (
        "the clip leaves nothing of the boost"
    )
    said = repr(lab02_maps.breakdown(matrix.load("breakdown"), "ipm_2", "min_sum"))
    assert "mean goes from 0.97 to" in said
    assert said.count("with IID shards") == said.count("with Dirichlet(0.1) shards") == len(lab02_maps.SHOWN)


def test_a_line_of_the_breakdown_follows_the_worst_attack_at_each_share():
    rows = [
        {"malicious": share, "seed": seed, "attack": attack, "accuracy": accuracy + 0.01 * seed}
        for share, attack, accuracy in [
            (0.0, "none", 0.9),
            (0.1, "a", 0.8),
            (0.1, "b", 0.7),
            (0.2, "a", 0.1),
            (0.2, "b", 0.6),
        ]
        for seed in range(2)
    ]
    seen = lab02_maps._worst_by_share(pandas.DataFrame(rows), [0.0, 0.1, 0.2])
    assert np.array(seen) == pytest.approx(np.array([[0.9, 0.7, 0.1], [0.91, 0.71, 0.11]]))


def chosen(setting, knows):
    choice = {"setting": lab02_matrix.SETTINGS[setting], "knows": lab02_matrix.KNOWLEDGE[knows]}
    state = next(lab02_matrix.compute(table=matrix.load(), **choice))
    return state, lab02_matrix.reading(choice, state)


def test_the_chooser_hides_what_the_attackers_cannot_do():
    state, _ = chosen("digits, IID", "own updates")
    assert np.isnan(state.mean[lab02_matrix.ROWS.index("adaptive")]).all()
    assert not np.isnan(state.mean[lab02_matrix.ROWS.index("sign_flip_x10")]).any()


def test_the_chooser_names_no_winner_among_rules_that_are_level():
    mean = np.full((len(lab02_matrix.ROWS), len(matrix.RULES)), np.nan)
    std = np.full_like(mean, 0.02)
    mean[0] = 0.95
    mean[1] = [0.10, 0.90, 0.89, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85]
    said = lab02_matrix.reading({}, lab02_matrix.FilteredMatrix(mean, std))
    assert "level, within one standard deviation: median (0.90 ± 0.02 under label flip; 0.95 when nobody" in said
    assert "The lowest of all is mean with 0.10 ± 0.02." in said
    mean[1, 2] = 0.8
    said = lab02_matrix.reading({}, lab02_matrix.FilteredMatrix(mean, std))
    assert "stands best: median (0.90 ± 0.02 under label flip" in said


def test_the_price_is_sorted_and_said():
    said = repr(lab02_maps.prices(matrix.load()))
    assert "Krum costs 39 points on very unlike clients" in said
    prices = [float(number) for number in re.findall(r"[a-z] (-?\d+\.\d)", said.partition("shards: ")[2])]
    assert prices == sorted(prices)
    assert len(prices) == len(matrix.RULES)
