"""Scenarios and bindings fail where they are written."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from labsec import Scenario, bind, data, poison, robust
from labsec.models import embedding, mlp

NOTES = data.load("notes")


def keep(view):
    return view.own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": 0}, "Scenario needs a whole number clients > 0; got clients=0"),
        ({"clients": 2.5}, "a whole number clients > 0; got clients=2.5"),
        ({"rounds": True}, "a whole number rounds > 0; got rounds=True"),
        ({"batch_size": 0}, "a whole number batch_size > 0; got batch_size=0"),
        ({"lr": 0.0}, "a finite lr > 0; got lr=0.0"),
        ({"lr": float("nan")}, "a finite lr > 0; got lr=nan"),
        ({"alpha": -1.0}, "a finite alpha > 0; got alpha=-1.0"),
        ({"malicious": 1.2, "attack": keep}, "0 <= malicious <= 1; got malicious=1.2"),
        ({"malicious": 0.01, "attack": keep}, "malicious=0.01 of 20 clients rounds to no client at all"),
        ({"malicious": 0.2}, "an attack and malicious > 0 go together; got malicious=0.2 and no attack"),
        ({"attack": keep}, "go together; got malicious=0.0 and an attack"),
        ({"participation": 0.0}, "0 < participation <= 1; got participation=0.0"),
        ({"cohort": 21}, "cohort=21, clients=20"),
        ({"cohort": 5, "participation": 0.5}, "participation=0.5"),
        ({"seed": 0.9}, "a whole number seed; got seed=0.9"),
        ({"device": "mps"}, "mps has no float64"),
        ({"model": mlp((30,), 10)}, r"takes \[30\] and knows 10 classes, digits has \[1, 8, 8\] and 10"),
        ({"model": mlp((1, 8, 8), 5)}, "knows 5 classes"),
        ({"data": NOTES, "model": embedding(26, 100, 4)}, "takes 100 token numbers, notes holds 168 token"),
        ({"data": NOTES, "model": mlp((26,), 4)}, "takes no tokens, notes holds 168 token numbers"),
        ({"device": "gpu"}, "Scenario needs a device such as 'cpu' or 'cuda:0'; got 'gpu'"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Scenario(**changes)


def test_parts_must_be_functions_with_their_arguments():
    with pytest.raises(TypeError, match="a rule is a function; got 'median'"):
        Scenario(aggregate="median")
    with pytest.raises(TypeError, match="a wire is a function; got None"):
        Scenario(wire=None)
    with pytest.raises(TypeError, match=r"server_stages is a list of functions, as in server_stages=\[…\]"):
        Scenario(server_stages=robust.median)
    with pytest.raises(TypeError, match=r"rule trimmed_mean lacks f: bind it, as in bind\(trimmed_mean, f=…\)"):
        Scenario(aggregate=robust.trimmed_mean)
    with pytest.raises(TypeError, match="attack sign_flip lacks scale"):
        Scenario(malicious=0.2, attack=poison.sign_flip)


def rule_that_asks(updates, *, chunk):
    return updates.mean(dim=0)


def rule_with_lr(updates, *, lr):
    return updates.mean(dim=0)


def stage_that_sums(updates, *, expected):
    return updates


def old_style(updates, weights=None):
    return updates.mean(dim=0)


def train_too_little(model, params, *, lr, chunk):
    return params


def train(model, params, x, y, batches, *, lr, chunk):
    return params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregate": rule_that_asks}, "rule rule_that_asks asks for chunk, which the engine does not offer there"),
        ({"aggregate": rule_with_lr}, "rule rule_with_lr asks for lr, which the engine does not offer there"),
        ({"client_stages": [stage_that_sums]}, "client stage stage_that_sums asks for expected"),
        ({"aggregate": old_style}, r"the engine fills weights by keyword only; write `\*, weights`"),
        (
            {"train": train_too_little},
            r"is called with \(model, params, x, y, batches\): too many positional arguments",
        ),
        ({"train": bind(train, lr=0.1)}, "train train: lr is supplied by the engine; do not bind it"),
        ({"probes": {"door": lambda model: 0.0}}, r"is called with \(model, params\): too many positional arguments"),
    ],
)
def test_a_part_is_held_to_what_its_place_offers(changes, message):
    with pytest.raises(TypeError, match=message):
        Scenario(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "digits"}, r"data is a Dataset, as data.load\('digits'\) gives one; got 'digits'"),
        ({"model": "mlp"}, r"model is a Model, as models.mlp\(data.shape, data.classes\) gives one; got 'mlp'"),
    ],
)
def test_a_name_is_no_data_and_no_model(changes, message):
    with pytest.raises(TypeError, match=message):
        Scenario(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"start": torch.zeros(3)},
            r"start must be float32 \[4810\] for MLP .*; got .* of shape \[3\]",
        ),
        ({"start": [0.0]}, "got list"),
        ({"start": torch.full((4810,), torch.nan)}, "start must be finite; 4810 numbers are NaN or infinite"),
        ({"first_round": -1}, "a whole number first_round >= 0; got first_round=-1"),
        ({"probes": {"accuracy": lambda model, params: 0.0}}, "a probe cannot be called 'accuracy'"),
        ({"clients": 2, "shards": [[0]]}, "shards needs one list for each client; got 1 for clients=2"),
        ({"clients": 2, "shards": [[0], []]}, "an honest client needs a sample; shard 1 of 2 is empty"),
        ({"clients": 2, "shards": [[0], [1438]]}, r"shard 1 must hold indices in \[0, 1438\); got \[1438\]"),
        ({"clients": 2, "shards": [[0], [-1]]}, r"shard 1 must hold indices in \[0, 1438\); got \[-1\]"),
        ({"clients": 2, "shards": [[0], [1]], "alpha": 0.3}, "shards and alpha exclude each other"),
        ({"clients": 2, "shards": [[0], [0.5]]}, "shard 1 must hold whole numbers; got torch.float32"),
        ({"start": torch.zeros(4810, requires_grad=True)}, r"requires a gradient: detach\(\) it"),
    ],
)
def test_start_probes_and_shards_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        Scenario(**changes)


def test_numbers_of_numpy_and_torch_are_those_of_python():
    s = Scenario(clients=np.int64(4), lr=np.float32(0.5), seed=np.int64(7), participation=torch.tensor(0.5))
    for name, wanted in {"clients": 4, "lr": 0.5, "seed": 7, "participation": 0.5}.items():
        assert getattr(s, name) == wanted
        assert type(getattr(s, name)) is type(wanted)


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
        bind(robust.weighted_mean, weights=None)
    with pytest.raises(TypeError, match="trimmed_mean lacks f"):
        bind(robust.trimmed_mean)
    for filled in ("note", "params", "round", "expected", "client", "chunk"):
        with pytest.raises(TypeError, match=f"{filled} is supplied by the engine; do not bind it"):
            bind(robust.trimmed_mean, f=4, **{filled: 1})
    assert bind(robust.trimmed_mean, f=4).keywords == {"f": 4}


def test_stages_from_an_iterator_are_kept():
    stages = (bind(robust.norm_clip, bound=b) for b in (1.0, 2.0))
    assert len(Scenario(server_stages=stages).server_stages) == 2


def test_the_model_follows_the_data():
    assert replace(Scenario(), data=data.load("breast_cancer")).network().shape == (30,)


def test_a_scenario_is_shown_by_what_differs_from_the_default():
    s = Scenario.fedavg(malicious=0.2, attack=bind(poison.sign_flip, scale=2), server_stages=[robust.MedianNormClip()])
    assert repr(s) == (
        "Scenario(clients=30, malicious=0.2, rounds=160, attack=sign_flip(scale=2), server_stages=[MedianNormClip])"
    )
