"""The table of defences: its cells, what its columns and its two adaptive rows mean, and its page."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas
import pytest
import torch

from labsec import Scenario, cli, matrix, run
from labsec.study import catalogue, detection, sweep
from labsec.study.matrix import defences, pages
from labsec.train import RootUpdate
from labsec.types import ImpossibleRule

SETTING = ["data", "skew", "rule"]


# --- the cells


def test_every_row_meets_every_column_at_every_skew():
    cells = defences.defence_cells(1)
    assert len(cells) == len(matrix.SKEWS) * len(defences.ROWS) * len(defences.COLUMNS)
    assert len(defences.ROWS) - 3 >= 18, "attacks, without the calm row and the two adaptive ones"
    assert len(defences.COLUMNS) >= 18
    for each in cells:
        s = matrix.defence(**each)
        assert (s.clients, s.rounds) == (30, 160)
        assert s.alpha == matrix.SKEWS[each["skew"]].alpha
        assert s.malicious_count == (0 if each["attack"] == "none" else 6)


def test_nobody_but_the_server_holds_the_root_samples_and_nobody_is_tested_on_them():
    """In every cell of the table, whether its rule looks at them or not."""
    for seed in (0, 1):
        _, x, y = detection.held_back(seed)
        root = {tuple(each.flatten().tolist()) for each in x}
        assert len(x) == len(y) == 100
        for rule in ("mean", "fltrust"):
            data = matrix.defence("digits", "iid", "none", rule, seed).data
            used = {tuple(each.flatten().tolist()) for each in torch.cat([data.x, data.x_test])}
            assert not root & used
    assert not torch.equal(detection.held_back(0)[1], detection.held_back(1)[1]), "each seed has its own"


def test_a_rule_that_has_root_data_looks_at_them_and_no_other_does():
    def said(defence, seed):
        data, x, y = detection.held_back(seed)
        root = RootUpdate(Scenario(data=data).network(), x, y, lr=0.3, steps=5)
        return json.dumps(sweep.describe(defence.fields(6, root)))

    for name, defence in matrix.DEFENCES.items():
        assert (said(defence, 0) != said(defence, 1)) == defence.needs_root, name
        assert ("(root)" in defence.title) == defence.needs_root, name


@pytest.mark.parametrize("name", [name for name, defence in matrix.DEFENCES.items() if defence.largest_f is not None])
def test_the_largest_f_of_a_defence_is_the_largest_that_it_holds(name):
    """A scenario with a rule that can never hold raises before its first round."""
    defence = matrix.DEFENCES[name]
    data, x, y = detection.held_back()
    root = RootUpdate(Scenario(data=data).network(), x, y, lr=0.3, steps=1)
    for clients in (7, 11, 30):
        largest = defence.largest_f(clients)
        for f, possible in ((largest, largest >= 0), (largest + 1, False)):
            scenario = Scenario(data=data, clients=clients, rounds=1, local_steps=1, **defence.fields(f, root))
            if possible:
                assert len(run(scenario).rows) == 1
            else:
                with pytest.raises(ImpossibleRule):
                    run(scenario)


def test_every_defence_believes_in_as_many_attackers_as_there_are():
    """RLR is told how many votes they have, one more than there are attackers."""

    def believed(part):
        found = [part.keywords.get("f")] if isinstance(part, partial) else [getattr(part, "f", None)]
        if isinstance(part, partial) and "rule" in part.keywords:
            found += believed(part.keywords["rule"])
        return [f for f in found if f is not None]

    for name, defence in matrix.DEFENCES.items():
        s = matrix.defence("digits", "iid", "sign_flip", name, 0)
        told = [f for part in (*s.server_stages, s.aggregate) for f in believed(part)]
        assert set(told) <= {6}
        assert bool(told) == (defence.largest_f is not None and name != "rlr"), name
    assert matrix.defence("digits", "iid", "none", "rlr", 0).aggregate.keywords["threshold"] == 7


def test_the_thresholds_of_the_quarantines_accuse_one_in_twenty_of_alike_honest_messages():
    tuned = detection.tuned_thresholds()
    for name, threshold in catalogue.THRESHOLDS.items():
        assert threshold == pytest.approx(tuned[name], abs=1e-3)


def test_a_backdoor_runs_when_the_page_says():
    for name in matrix.BACKDOORS:
        attack = matrix.defence("digits", "iid", name, "mean", 0).attack
        if name == "door_data":
            assert attack is None
        else:
            assert list(attack.keywords["rounds"]) == ([150] if name == "door_shot" else [*range(100, 160)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "notes"}, "no data set is called 'notes'; known: digits"),
        ({"skew": "even"}, "no skew is called 'even'; known: iid, "),
        ({"attack": "door"}, "no attack is called 'door'; known: none, .*door_adaptive"),
        ({"rule": "root"}, "no rule is called 'root'; known: mean, .*quarantine_root"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(changes, message):
    with pytest.raises(ValueError, match=message):
        matrix.defence(**{"data": "digits", "skew": "iid", "attack": "none", "rule": "mean", "seed": 0, **changes})


# --- the columns, by hand


def test_the_adaptive_rows_are_those_that_harmed_most_and_the_baseline_is_the_same_rules(monkeypatch):
    seen = {  # (rule, attack) -> accuracy, share of the marked samples that get the label
        ("mean", "none"): (0.95, 0.02),
        ("mean", "alie"): (0.60, 0.03),
        ("mean", "ipm_2"): (0.30, 0.30),
        ("mean", "adaptive"): (0.90, 0.01),
        ("mean", "door_x3"): (0.94, 0.80),
        ("mean", "door_data"): (0.20, 0.70),
        ("mean", "door_adaptive"): (0.93, 0.70),
        ("krum", "none"): (0.50, 0.10),
        ("krum", "alie"): (0.40, 0.00),
        ("krum", "ipm_2"): (0.45, 0.00),
        ("krum", "adaptive"): (0.41, 0.00),
        ("krum", "door_x3"): (0.51, 0.11),
        ("krum", "door_data"): (0.52, 0.12),
        ("krum", "door_adaptive"): (0.52, 0.12),
    }
    rows = [
        {
            "data": "digits",
            "skew": "iid",
            "attack": attack,
            "rule": rule,
            "seed": seed,
            "accuracy": accuracy + 0.01 * seed,
            "door": door + 0.01 * seed,
            "skipped": 0,
            "attackers_of_samples": 0.2,
            "clean": 0.95,
            "arrived": 4.0,
        }
        for (rule, attack), (accuracy, door) in seen.items()
        for seed in range(2)
    ]
    found = defences.with_doors(pandas.DataFrame(rows)).set_index(["rule", "attack", "seed"])
    assert found.loc["mean", "adaptive", 1][["played", "accuracy"]].tolist() == ["ipm_2", pytest.approx(0.31)]
    assert found.loc["krum", "adaptive", 0][["played", "accuracy"]].tolist() == ["alie", pytest.approx(0.4)]
    door = found.loc["mean", "door_adaptive", 0]
    assert door[["played", "accuracy", "success"]].tolist() == ["door_x3", pytest.approx(0.94), pytest.approx(0.8)]
    assert found.loc["krum", "door_adaptive", 1]["played"] == "door_data"
    assert np.isnan(found.loc["mean", "ipm_2", 0]["success"]), "that attack opens no backdoor, whatever the model says"
    assert found.loc["mean", "door_x3", 1]["baseline"] == pytest.approx(0.03)
    assert found.loc["krum", "alie", 0]["baseline"] == pytest.approx(0.1)
    assert "door" not in found


# --- the committed table


def means(column):
    frame = matrix.load("defences")
    return frame.groupby([*SETTING, "attack"])[column].mean().unstack()


def test_no_row_of_the_table_harms_a_defence_more_than_its_adaptive_ones():
    accuracy = means("accuracy")
    success = means("success")
    assert accuracy["adaptive"].to_numpy() == pytest.approx(accuracy[list(defences.UNTARGETED)].min(axis=1).to_numpy())
    assert success["door_adaptive"].to_numpy() == pytest.approx(success[list(matrix.BACKDOORS)].max(axis=1).to_numpy())


def test_every_backdoor_opens_against_the_mean_and_leaves_its_accuracy():
    frame = matrix.load("defences")
    open_ = frame[(frame["rule"] == "mean") & frame["success"].notna()]
    assert set(open_["attack"]) == {*matrix.BACKDOORS, matrix.DOOR_ADAPTIVE}
    by_setting = open_.groupby(["skew", "attack"])[["success", "baseline"]].mean()
    assert (by_setting["success"] > by_setting["baseline"] + 0.2).all()
    assert (open_["accuracy"] > open_["clean"] - 0.05).all()


def test_success_is_there_for_backdoors_alone_and_the_baseline_everywhere():
    frame = matrix.load("defences")
    assert (frame["success"].notna() == frame["attack"].str.startswith("door_")).all()
    assert frame["success"].dropna().between(0, 1).all()
    assert frame["baseline"].between(0, 1).all()


def test_a_row_with_another_success_does_not_come_back():
    frame = matrix.load("defences")
    row = frame[(frame["attack"] == "door_adaptive") & (frame["rule"] == "mean")].iloc[0]
    assert matrix.check_cell(row, table="defences")
    assert not matrix.check_cell({**row, "success": row["success"] - 0.3}, table="defences")


# --- pictures and the page


@pytest.fixture
def frame():
    frame = matrix.load("defences")
    return frame[frame["rule"].isin(["mean", "krum", "fltrust"]) & (frame["skew"] == "iid")]


def test_the_worst_of_a_defence_stands_in_a_frame(frame):
    """It is the lowest accuracy, and the highest success."""
    for column, worst in (("accuracy", np.min), ("success", np.max)):
        picture = matrix.defence_map(frame, "iid", column)
        (ax,) = picture.figure.axes
        values = ax.images[0].get_array()
        rows = [label.get_text() for label in ax.get_yticklabels()]
        framed = [int(patch.get_y() + 0.5) for patch in ax.patches]
        assert [values[row, place] for place, row in enumerate(framed)] == [worst(each) for each in values.T]
        assert f"mean {values[framed[0], 0]:.2f} under {rows[framed[0]]}" in picture.alt
    with pytest.raises(ValueError, match="accuracy or success as its column; got 'clean'"):
        matrix.defence_map(frame, "iid", "clean")


def test_the_page_says_what_a_defence_costs_and_keeps(frame):
    text = matrix.defence_page(frame)
    part = frame[frame["rule"] == "krum"].groupby("attack")[["accuracy", "success", "baseline"]].mean()
    calm = part.loc["none", "accuracy"]
    worst = part.loc["adaptive", "accuracy"]
    assert f"| Krum | {calm:.2f} | {worst:.2f} | " in text
    assert f" | {part.loc['door_adaptive', 'success']:.2f} | {part.loc['none', 'baseline']:.2f} | " in text
    assert 'src="defences_iid_success.png"' in text


def test_the_command_writes_the_page_and_two_pictures_of_each_skew(tmp_path, monkeypatch, frame):
    monkeypatch.setattr(pages, "run_table", lambda table, **given: frame)
    assert cli.main(["matrix", "defences", "--folder", str(tmp_path)]) == 0
    written = ["defences.csv", "defences.md", "defences_iid_accuracy.png", "defences_iid_success.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == written
