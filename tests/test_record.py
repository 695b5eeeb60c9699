"""A run in one file: it comes back whole, and what it names is run again only if it is labsec's own."""

import json
from dataclasses import replace

import pytest
import torch

from labsec import Scenario, bind, detect, models, poison, robust, run
from labsec.study.record import load_run, save_run

SMALL = Scenario(clients=6, rounds=2, local_steps=1, batch_size=8)


def watch(updates, *, note):
    note(score=updates.norm())
    return updates


def length(model, params):
    return float(params.norm())


@pytest.mark.parametrize(
    "scenario",
    [
        replace(SMALL, malicious=0.5, attack=bind(poison.sign_flip, scale=3), aggregate=bind(robust.trimmed_mean, f=1)),
        replace(SMALL, server_stages=[robust.MedianNormClip(factor=2.0)], aggregate=robust.CenteredClip(radius=0.1)),
        replace(
            SMALL,
            malicious=0.5,
            attack=poison.UnderThreshold(bind(poison.sign_flip, scale=3), detect.norm, threshold=2.0),
            server_stages=[detect.Quarantine(detect.FLDetector(window=3), threshold=1.5, probation=None)],
        ),
        replace(SMALL, model=models.mlp((1, 8, 8), 10, hidden=(7,), activation=torch.tanh), seed=4),
        replace(SMALL, shards=[[i, i + 6] for i in range(6)], start=torch.linspace(-1, 1, 4810)),
        replace(SMALL, malicious=0.5, data_attack=poison.label_flip, alpha=1.0, participation=0.9),
    ],
)
def test_a_recorded_run_can_be_run_again(scenario, tmp_path):
    history = run(scenario)
    record = load_run(save_run(tmp_path / "run.json", scenario, history))
    assert record.history.rows == history.rows
    assert torch.__version__.startswith(record.versions["torch"])
    again = run(record.scenario())
    assert again.accuracy == history.accuracy
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_notes_and_probes_are_recorded(tmp_path):
    scenario = replace(SMALL, server_stages=[watch], probes={"length": length})
    history = run(scenario)
    record = load_run(save_run(tmp_path / "run.json", scenario, history))
    assert record.history.notes == history.notes
    assert record.history.measured("length") == history.measured("length")
    with pytest.raises(ValueError, match=r"server_stages was .*:watch, which is no part of labsec: give it"):
        record.scenario()
    with pytest.raises(ValueError, match=r"probes was .*:length, which is no part of labsec"):
        record.scenario(server_stages=[watch])
    assert run(record.scenario(server_stages=[watch], probes={})).accuracy == history.accuracy


def test_a_file_cannot_name_anybody_elses_code(tmp_path):
    path = save_run(tmp_path / "run.json", SMALL, run(SMALL))
    content = json.loads(path.read_text())
    for evil in ("os:system", "labsec.federation.scenario:Scenario.fedavg", "labsecx:run", "labsec.cli:main"):
        content["scenario"]["aggregate"] = {"part": evil}
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="no part of labsec"):
            load_run(path).scenario()


@pytest.mark.parametrize(("text", "message"), [("{", "it is not JSON"), ("[]", "its format is 'list'"), ("{}", "None")])
def test_what_is_no_record_is_refused(text, message, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_run(path)


def test_other_data_under_the_same_name_are_noticed(tmp_path):
    path = save_run(tmp_path / "run.json", SMALL, run(SMALL))
    content = json.loads(path.read_text())
    content["scenario"]["data"]["sha256"] = "0"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'digits' is not what it was"):
        load_run(path).scenario()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_run(None), "load_run needs path to be of type str or Path; got None"),
        (lambda: save_run("x.json", None, None), "save_run needs scenario to be of type Scenario; got None"),
        (lambda: save_run(3, Scenario(), None), "save_run needs path to be of type str or Path; got 3"),
    ],
)
def test_what_is_no_file_and_no_run_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()
