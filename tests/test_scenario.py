"""Scenarios and bindings fail where they are written."""

from dataclasses import FrozenInstanceError

import pytest

from labsec import Scenario, bind, poison, robust
from labsec.models import mlp


def keep(view):
    return view.own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": 0}, "clients must be a whole number >= 1; got 0"),
        ({"clients": 2.5}, "clients must be a whole number >= 1; got 2.5"),
        ({"rounds": True}, "rounds must be a whole number >= 1; got True"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"lr": 0.0}, "lr must be positive and finite; got 0.0"),
        ({"lr": float("nan")}, "lr must be positive and finite; got nan"),
        ({"alpha": -1.0}, "alpha must be positive"),
        ({"malicious": 1.2, "attack": keep}, r"share of the clients in \[0, 1\]; got 1.2"),
        ({"malicious": 0.01, "attack": keep}, "malicious=0.01 of 20 clients rounds to no client at all"),
        ({"malicious": 0.2}, "an attack and malicious > 0 go together; got malicious=0.2 and no attack"),
        ({"attack": keep}, "go together; got malicious=0.0 and an attack"),
        ({"participation": 0.0}, r"participation is a chance in \(0, 1\]; got 0.0"),
        ({"cohort": 21}, "cohort=21, clients=20"),
        ({"cohort": 5, "participation": 0.5}, "participation=0.5"),
        ({"seed": 0.9}, "seed must be a whole number; got 0.9"),
        ({"device": "mps"}, "mps has no float64"),
        ({"model": mlp((30,), 10)}, r"takes \[30\] and tells 10 classes, digits has \[1, 8, 8\] and 10"),
        ({"model": mlp((1, 8, 8), 5)}, "tells 5 classes"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Scenario(**changes)


def test_parts_must_be_functions_with_their_arguments():
    with pytest.raises(TypeError, match="are functions; got 'median'"):
        Scenario(aggregate="median")
    for missing in ({"aggregate": None}, {"wire": None}):
        with pytest.raises(TypeError, match="are functions; got None"):
            Scenario(**missing)
    with pytest.raises(TypeError, match=r"trimmed_mean lacks f: bind it, as in bind\(trimmed_mean, f=…\)"):
        Scenario(aggregate=robust.trimmed_mean)
    with pytest.raises(TypeError, match="sign_flip lacks scale"):
        Scenario(malicious=0.2, attack=poison.sign_flip)


def test_the_count_of_malicious_clients():
    assert Scenario(malicious=0.2, attack=keep).malicious_count == 4
    assert Scenario(clients=30, malicious=1 / 30, attack=keep).malicious_count == 1


def test_a_scenario_is_frozen_and_keyword_only():
    with pytest.raises(FrozenInstanceError):
        Scenario().clients = 3
    with pytest.raises(TypeError):
        Scenario(20)


def test_bind_checks_at_once():
    with pytest.raises(TypeError, match="unexpected keyword argument 'F'"):
        bind(robust.trimmed_mean, F=4)
    with pytest.raises(TypeError, match="weights is supplied by the engine"):
        bind(robust.mean, weights=None)
    with pytest.raises(TypeError, match="trimmed_mean lacks f"):
        bind(robust.trimmed_mean)
    with pytest.raises(TypeError, match="classes is supplied by the engine"):
        bind(poison.label_flip, classes=2)
    assert bind(robust.trimmed_mean, f=4).keywords == {"f": 4}


def test_stages_from_an_iterator_are_kept():
    stages = (bind(robust.norm_clip, bound=b) for b in (1.0, 2.0))
    assert len(Scenario(server_stages=stages).server_stages) == 2


def test_the_model_follows_the_data():
    from dataclasses import replace

    from labsec import data

    assert replace(Scenario(), data=data.load("breast_cancer")).network().shape == (30,)
