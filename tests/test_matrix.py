"""The matrix: cells that can be run again, sweeps that go on where they were stopped, pictures that can be read."""

import json
from dataclasses import fields
from functools import partial

import numpy as np
import pandas
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from labsec import Scenario, bind, cli, matrix, models, plots, poison, robust, run
from labsec.study import catalogue, sweep
from labsec.study.matrix import cells, maps, pages, stamp, tables
from labsec.study.matrix.portfolio import strategy
from labsec.types import AttackerView, ImpossibleRule, generator


def tiny(seed, clients=4, aggregate="mean"):
    return Scenario(rounds=1, clients=clients, seed=seed, aggregate=getattr(robust, aggregate))


SEEDS = [{"seed": seed} for seed in range(3)]


# --- presets


@pytest.mark.parametrize(("alpha", "least"), [(None, 0.95), (0.3, 0.95), (0.1, 0.94)])
def test_digits_are_learned_up_to_a_plateau_at_every_skew(alpha, least):
    history = run(Scenario.fedavg(alpha=alpha, evaluate_every=40))
    *_, before, last = [row["accuracy"] for row in history.rows if row["accuracy"] is not None]
    assert last > least
    assert abs(last - before) < 0.02, "forty more rounds change little"


def test_fedsgd_is_still_on_its_way_after_fifty_rounds():
    assert 0.85 < run(Scenario.fedsgd(evaluate_every=50)).final_accuracy < 0.96


def test_only_the_shards_change_with_alpha():
    alike = Scenario.fedavg(seed=3)
    unlike = Scenario.fedavg(alpha=0.1, seed=3)
    different = [
        f.name for f in fields(alike) if f.name != "data" and getattr(alike, f.name) != getattr(unlike, f.name)
    ]
    assert different == ["alpha"]
    assert (alike.clients, alike.rounds, alike.local_steps, alike.batch_size, alike.lr) == (30, 160, 5, 16, 0.3)
    assert Scenario.fedavg(shards=[[client] for client in range(30)]).alpha is None


def test_fedsgd_takes_one_step_on_everything_and_changes():
    hard = Scenario.fedsgd(rounds=7, lr=0.1)
    assert (hard.clients, hard.rounds, hard.local_steps, hard.alpha, hard.lr) == (30, 7, 1, 0.3, 0.1)
    assert hard.batch_size is None


# --- sweeps


def test_rows_come_in_the_order_of_the_cells_and_agree_with_a_run(tmp_path):
    backwards = SEEDS[::-1]
    rows = sweep.sweep(tiny, backwards, cache=tmp_path / "runs.jsonl")
    assert [row["seed"] for row in rows] == [2, 1, 0]
    assert rows[0]["accuracy"] == run(tiny(2)).final_accuracy


def test_two_processes_give_what_one_gives(tmp_path):
    cells_ = [{"rounds": 1, "clients": 4, "seed": seed} for seed in range(3)]
    one, two = (sweep.sweep(Scenario, cells_, cache=tmp_path / f"{jobs}.jsonl", jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    cache = tmp_path / "runs.jsonl"
    first = sweep.sweep(tiny, SEEDS, cache=cache)
    monkeypatch.setattr(sweep, "run", None)
    assert sweep.sweep(tiny, SEEDS, cache=cache) == first


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    cache, ran = tmp_path / "runs.jsonl", []

    def stopping(scenario):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(scenario.seed)
        return run(scenario)

    monkeypatch.setattr(sweep, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(tiny, SEEDS, cache=cache)
    cache.write_text(cache.read_text() + '{"key": "cut o')
    monkeypatch.setattr(sweep, "run", lambda scenario: ran.append(scenario.seed) or run(scenario))
    rows = sweep.sweep(tiny, SEEDS, cache=cache)
    assert ran == [0, 1, 2]
    assert len(rows) == len([json.loads(line) for line in cache.read_text().splitlines()]) == 3


def test_other_sources_mean_other_runs(tmp_path, monkeypatch):
    cache = tmp_path / "runs.jsonl"
    sweep.sweep(tiny, SEEDS[:1], cache=cache)
    monkeypatch.setattr(sweep, "fingerprint_of_sources", lambda: "edited")
    sweep.sweep(tiny, SEEDS[:1], cache=cache)
    assert len(cache.read_text().splitlines()) == 2


def test_comments_and_docstrings_are_no_other_source():
    assert sweep.code_of('"""A."""\ndef f():\n    """B."""\n    return 1  # C\n') == sweep.code_of("def f(): return 1")
    assert sweep.code_of("def f(): return 1") != sweep.code_of("def f(): return 2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jobs": 0}, "a whole number jobs >= 1; got jobs=0"),
        ({"jobs": True}, "a whole number jobs >= 1; got jobs=True"),
        ({"build": None}, "build to be a function; got None"),
        ({"cells": "x"}, "cells to be of type list or tuple; got 'x'"),
        ({"cells": [3]}, "cell to be of type Mapping; got 3"),
        ({"cache": "x"}, "cache to be of type Path; got 'x'"),
        ({"by_round": 3}, "by_round to be of type bool; got 3"),
    ],
)
def test_a_sweep_says_what_it_needs(tmp_path, changes, message):
    arguments = {"build": tiny, "cells": SEEDS, "cache": tmp_path / "runs.jsonl"} | changes
    with pytest.raises((TypeError, ValueError), match=message):
        sweep.sweep(**arguments)


def other(updates):
    return updates.mean(dim=0)


def half(updates):
    return 0.5 * updates.mean(dim=0)


CHOICE = {"rule": other}


def through_a_helper(updates):
    return half(updates)


def through_a_dictionary(updates):
    return CHOICE["rule"](updates)


def length(model, params):
    return float(params.norm())


DIFFERENT = [
    Scenario(),
    Scenario(seed=1),
    Scenario(aggregate=robust.median),
    Scenario(aggregate=bind(robust.trimmed_mean, f=1)),
    Scenario(aggregate=bind(robust.trimmed_mean, f=2)),
    Scenario(aggregate=robust.CenteredClip(radius=1.0)),
    Scenario(aggregate=robust.CenteredClip(radius=2.0)),
    Scenario(aggregate=other),
    Scenario(aggregate=lambda updates: updates.mean(dim=0)),
    Scenario(aggregate=lambda updates: updates.sum(dim=0)),
    Scenario(model=models.mlp((1, 8, 8), 10, activation=torch.tanh)),
    Scenario(model=models.mlp((1, 8, 8), 10, activation=torch.sigmoid)),
    Scenario(server_stages=[robust.MedianNormClip()]),
    Scenario(server_stages=[robust.MedianNormClip(factor=2.0)]),
    Scenario(server_stages=[robust.MedianNormClip(window=50)]),
    Scenario(data=matrix.boosted("notes", "none", "mean", 0, 0, 0).data),
    Scenario(probes={"length": length}),
    Scenario(probes={"length": lambda model, params: 0.0}),
    Scenario(start=torch.zeros(4810)),
    Scenario(clients=2, shards=[[0], [1]]),
    Scenario(clients=2, shards=[[0], [2]]),
    *(
        Scenario(malicious=0.2, attack=bind(poison.during, attack=bind(poison.model_replacement, **given), rounds=when))
        for given, when in (
            ({"trigger": poison.Trigger(target=0), "boost": 3.0}, range(3)),
            ({"trigger": poison.Trigger(target=1), "boost": 3.0}, range(3)),
            ({"trigger": poison.Trigger(target=0, stamp=poison.corner), "boost": 3.0}, range(3)),
            ({"trigger": poison.Trigger(target=0), "boost": 3.0}, range(1, 3)),
        )
    ),
]


def test_a_description_tells_scenarios_apart_and_nothing_else():
    described = [json.dumps(sweep.describe(s)) for s in DIFFERENT]
    assert len(set(described)) == len(DIFFERENT)
    again = Scenario(aggregate=robust.CenteredClip(radius=1.0))
    assert json.dumps(sweep.describe(again)) == described[5]


@pytest.mark.parametrize(
    ("rule", "edit"),
    [(through_a_helper, {"half": other}), (through_a_dictionary, {"CHOICE": {"rule": half}})],
)
def test_a_description_follows_what_a_function_refers_to(rule, edit, monkeypatch):
    before = json.dumps(sweep.describe(rule))
    for name, value in edit.items():
        monkeypatch.setitem(rule.__globals__, name, value)
    assert json.dumps(sweep.describe(rule)) != before


def test_a_function_that_calls_itself_can_be_described():
    def again(updates):
        return again(updates)

    assert "recursive" in json.dumps(sweep.describe(again))


def probed(seed):
    return Scenario(rounds=3, evaluate_every=2, clients=4, seed=seed, probes={"length": length})


def test_probes_and_their_curves_come_through_the_cache(tmp_path):
    fresh, cached = (sweep.sweep(probed, SEEDS[:1], cache=tmp_path / "runs.jsonl") for _ in range(2))
    history = run(probed(0))
    assert fresh == cached
    assert fresh[0]["length"] == history.measured("length")[-1]
    curve = sweep.sweep(probed, SEEDS[:1], cache=tmp_path / "runs.jsonl", by_round=True)
    assert [(row["seed"], row["round"]) for row in curve] == [(0, 1), (0, 2)]
    assert [row["length"] for row in curve] == history.measured("length")


# --- cells


def test_every_attack_meets_every_rule_at_every_skew():
    every = cells.matrix_cells(1)
    digits = [each for each in every if each["data"] == "digits"]
    assert len(digits) == 3 * (len(matrix.ATTACKS) + 1) * len(matrix.RULES)
    for each in every:
        s = matrix.cell(**each)
        assert (s.clients, s.rounds) == (30, 90 if each["data"] == "mnist5k" else 160)
        assert s.malicious_count == (0 if each["attack"] == "none" else 6)
        assert s.data.name == each["data"]
        assert s.alpha == {"iid": None, "dirichlet_0.3": 0.3, "dirichlet_0.1": 0.1}[each["skew"]]


def test_no_table_shows_what_the_adaptive_attacker_rehearsed_on():
    rehearsed = {each["seed"] for each in cells.rehearsal_cells()}
    shown = {each["seed"] for make in (cells.matrix_cells, cells.breakdown_cells) for each in make(5)}
    assert rehearsed
    assert not rehearsed & shown


def test_the_adaptive_attacker_uses_what_harmed_most_in_the_rehearsal():
    means = matrix.load("rehearsal").groupby(["data", "skew", "rule", "attack"])["accuracy"].mean()
    for data, skew, rule in (("digits", "dirichlet_0.1", "krum"), ("notes", "iid", "median")):
        chosen = strategy(data, skew, rule)
        assert means[data, skew, rule, chosen] == means[data, skew, rule].min()
        adaptive = matrix.cell(data, skew, "adaptive", rule, 7)
        same = matrix.cell(data, skew, chosen, rule, 7)
        assert sweep.describe(adaptive) == sweep.describe(same)
    with pytest.raises(ValueError, match="did not rehearse krum on notes with dirichlet"):
        strategy("notes", "dirichlet_0.1", "krum")


def test_no_row_of_the_matrix_harms_a_rule_more_than_the_adaptive_one():
    frame = matrix.load()
    means = frame.groupby(["data", "skew", "rule", "attack"])["accuracy"].mean().unstack()
    others = means.drop(columns=["adaptive", "none"]).min(axis=1)
    assert (means["adaptive"] <= others + 1e-9).all()


def test_what_was_played_is_what_comes_back():
    frame = matrix.load()
    adaptive = frame[frame["attack"] == "adaptive"]
    other = [strategy(row.data, row["skew"], row.rule) != row.played for _, row in adaptive.iterrows()]
    assert matrix.check_cell(adaptive[other].iloc[0], tolerance=1e-3)


def test_in_hindsight_the_last_row_is_what_harmed_most(monkeypatch):
    """Two rules: the rehearsal was right about one of them, and wrong about the other."""
    monkeypatch.setattr(tables, "strategy", lambda data, skew, rule: "drift")
    accuracy = {
        ("mean", "none"): 0.05,  # no attack at all
        ("mean", "ipm_2"): 0.3,
        ("mean", "adaptive"): 0.2,
        ("krum", "ipm_2"): 0.3,
        ("krum", "adaptive"): 0.4,
    }
    rows = [
        {
            "data": "digits",
            "skew": "iid",
            "attack": attack,
            "rule": rule,
            "seed": seed,
            "accuracy": reached + 0.01 * seed,
            "skipped": 0,
            "attackers_of_samples": 0.2,
            "arrived": 4.0,
        }
        for (rule, attack), reached in accuracy.items()
        for seed in range(2)
    ]
    frame = tables.in_hindsight(pandas.DataFrame(rows))
    adaptive = frame[frame["attack"] == "adaptive"]
    assert adaptive["played"].tolist() == ["drift", "drift", "ipm_2", "ipm_2"]
    assert adaptive["accuracy"].tolist() == pytest.approx([0.2, 0.21, 0.3, 0.31])
    assert (frame[frame["attack"] != "adaptive"]["played"] == frame[frame["attack"] != "adaptive"]["attack"]).all()


def test_the_search_takes_part_where_it_was_said_to():
    tried = [each for each in cells.rehearsal_cells() if each["attack"] == "search"]
    assert {(each["data"], each["skew"]) for each in tried} == {("digits", "dirichlet_0.1")}
    assert len(tried) == 5 * len(matrix.RULES)


def beliefs(scenario):
    """Every f that is bound to a part of the server."""
    parts = [*scenario.server_stages, scenario.aggregate]
    return [part.keywords["f"] for part in parts if isinstance(part, partial) and "f" in part.keywords]


def test_every_rule_of_the_matrix_believes_in_as_many_attackers_as_there_are():
    """So that no rule loses for a wrong belief: what the page and the lab say of it."""
    told = {rule: beliefs(matrix.cell("digits", "iid", "sign_flip", rule, 0)) for rule in matrix.RULES}
    assert matrix.cell("digits", "iid", "sign_flip", "mean", 0).malicious_count == 6
    assert {f for found in told.values() for f in found} == {6}
    assert {rule for rule, found in told.items() if found} == {"trimmed_mean", "krum", "multi_krum", "nnm_trimmed"}


NAMED = {**matrix.ATTACKS, **matrix.STRATEGIES}


@pytest.mark.parametrize("name", [name for name in NAMED if name[-1].isdigit()])
def test_a_number_in_an_attacks_name_and_title_is_its_strength(name):
    """And the attack is called with it, under whatever name the parameter has there."""
    attack = NAMED[name]
    said = float(name.rpartition("_")[2].removeprefix("x"))
    assert attack.strength == said
    assert float(attack.title.split()[-1]) == said
    part = attack.scenario()["attack"]
    assert said in (part.keywords if isinstance(part, partial) else vars(part)).values()


@pytest.fixture
def view():
    """Ten honest messages of which each coordinate has mean 1 and standard deviation 0.5, and two attackers."""
    rows = torch.randn(10, 400, generator=generator(0, "view"))
    others = 1 + 0.5 * (rows - rows.mean(dim=0)) / rows.std(dim=0)
    return AttackerView(
        round=0,
        params=torch.zeros(400),
        own=torch.ones(2, 400),
        others=others,
        model=models.mlp((2,), 2, hidden=()),
        x=torch.zeros(1, 2),
        y=torch.zeros(1, dtype=torch.int64),
        rule=robust.mean,
    )


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("sign_flip", -1.0),
        ("sign_flip_x10", -10.0),
        ("label_flip_x10", 10.0),
        ("ipm_0.5", -0.5),
        ("ipm_2", -2.0),
        ("alie_1.5", 1 - 1.5 * 0.5),
    ],
)
def test_what_an_attack_of_the_matrix_sends(name, sent, view):
    forged = matrix.ATTACKS[name].scenario()["attack"](view)
    torch.testing.assert_close(forged, torch.full((2, 400), sent), rtol=1e-4, atol=1e-4)


def test_the_noise_of_the_matrix_has_the_standard_deviation_of_its_strength_in_hundredths(view):
    noise = matrix.ATTACKS["gaussian"].scenario()["attack"](view, generator=generator(0)) - view.own
    assert matrix.ATTACKS["gaussian"].strength == 100
    assert float(noise.std()) == pytest.approx(1.0, rel=0.1)


def test_the_search_keeps_within_twice_the_usual_length(view):
    """It goes that far against a rule that lets it."""
    fields = matrix.STRATEGIES["search"].scenario()
    usual = float(view.others.norm(dim=1).quantile(0.5))
    assert fields["attack"](view).norm(dim=1).tolist() == pytest.approx([2 * usual] * 2, rel=1e-4)


def test_an_attack_sees_what_the_page_says_it_knows():
    for name, attack in NAMED.items():
        fields = attack.scenario()
        knows = catalogue.KNOWLEDGE.index(attack.knows)
        assert fields.get("omniscient", False) == (knows >= catalogue.KNOWLEDGE.index(catalogue.HONEST)), name
        assert fields.get("public_rule", False) == (knows >= catalogue.KNOWLEDGE.index(catalogue.RULE)), name


def test_the_clips_of_the_matrix_bound_what_one_client_can_do():
    """A row of a hundred times the usual length: the one counts like the usual ones, the other moves half a unit."""
    rows = torch.eye(10)
    rows[0] *= 100
    (stage,) = matrix.RULES["norm_clip"].fields(6)["server_stages"]
    assert stage(rows).norm(dim=1).tolist() == pytest.approx([1.0] * 10)
    rule = matrix.RULES["centred_clip"].fields(6)["aggregate"]
    assert float(rule(torch.full((10, 4), 100.0)).norm()) == pytest.approx(0.5)


@pytest.mark.parametrize("rule", [name for name, rule in matrix.RULES.items() if rule.largest_f is not None])
def test_the_largest_f_of_a_rule_is_the_largest_that_it_holds(rule):
    for clients in (3, 4, 11, 30):
        largest = matrix.RULES[rule].largest_f(clients)
        for f, possible in ((largest, largest >= 0), (largest + 1, False)):
            scenario = Scenario(clients=clients, **matrix.RULES[rule].fields(f))
            rows = torch.randn(clients, 5, generator=generator(0))
            if possible:
                assert apply(scenario, rows).shape == (5,)
            else:
                with pytest.raises(ImpossibleRule):
                    apply(scenario, rows)


def apply(scenario, rows):
    """What the server makes of some rows."""
    for stage in scenario.server_stages:
        rows = stage(rows)
    return scenario.aggregate(rows)


@pytest.mark.parametrize("attack", matrix.ATTACKS)
def test_an_attack_runs_against_a_rule_that_remembers(attack):
    s = matrix.cell("digits", "dirichlet_0.1", attack, "centred_clip", 0)
    short = Scenario(**{f.name: getattr(s, f.name) for f in fields(s)} | {"rounds": 2})
    assert 0 < run(short).final_accuracy < 0.9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            partial(matrix.cell, "text", "iid", "none", "mean", 0),
            "no data set is called 'text'; known: digits, ",
        ),
        (partial(matrix.cell, "digits", "even", "none", "mean", 0), "no skew is called 'even'; known: iid, "),
        (partial(matrix.cell, "digits", "iid", "alien", "mean", 0), "no attack is called 'alien'; known: none, "),
        (partial(matrix.cell, "digits", "iid", "none", "average", 0), "no rule is called 'average'; known: mean, "),
        (partial(matrix.boosted, "text", "none", "mean", 0, 0, 0), "no data set is called 'text'; known: digits, "),
        (partial(matrix.load, "all"), "no table is called 'all'; known: rehearsal, matrix, "),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_beliefs_of_the_breakdown_sweep_are_possible_and_as_true_as_they_can_be():
    for each in cells.breakdown_cells(1):
        attackers = round(each["malicious"] * 30)
        assert each["f"] == attackers or each["f"] == matrix.RULES[each["rule"]].largest_f(30) < attackers
        scenario = matrix.cell(**each)
        assert scenario.malicious_count == (0 if each["attack"] == "none" else attackers)
        update = scenario.aggregate(torch.rand(30, 3))
        assert update.shape == (3,)


# --- tables


def test_clean_is_the_plain_mean_without_an_attack(tmp_path, monkeypatch):
    def few(seeds):
        return [
            {"data": "digits", "skew": "iid", "attack": attack, "rule": rule, "seed": seed}
            for attack in ("none", "sign_flip")
            for rule in ("krum", "mean", "median")  # not the plain mean first
            for seed in range(seeds)
        ]

    def short(data, skew, attack, rule, seed):
        s = matrix.cell(data, skew, attack, rule, seed)
        return Scenario(**{f.name: getattr(s, f.name) for f in fields(s)} | {"rounds": 1})

    monkeypatch.setattr(tables, "TABLES", {"matrix": (short, few)})
    frame = matrix.run_table("matrix", seeds=2, cache=tmp_path / "runs.jsonl")
    assert len(frame) == 12
    for seed, part in frame.groupby("seed"):
        assert (part["clean"] == run(short("digits", "iid", "none", "mean", seed)).final_accuracy).all()
        others = part[(part["rule"] != "mean") | (part["attack"] != "none")]
        assert (others["accuracy"] != part["clean"].iloc[0]).all(), "no other run may stand for the clean one"


@pytest.mark.parametrize("group", ["data", "skew"])
def test_clean_by_hand(group, monkeypatch):
    """Of the same seed, data and skew: the run of the plain mean that nobody attacks."""
    where = {"data": "digits", "skew": "iid"}
    other = {**where, group: "another"}
    rows = [
        {**where, "attack": "alie", "rule": "mean", "seed": 0, "accuracy": 0.1},
        {**where, "attack": "none", "rule": "krum", "seed": 0, "accuracy": 0.2},
        {**where, "attack": "none", "rule": "mean", "seed": 0, "accuracy": 0.9},
        {**where, "attack": "none", "rule": "mean", "seed": 1, "accuracy": 0.8},
        {**where, "attack": "alie", "rule": "krum", "seed": 1, "accuracy": 0.3},
        {**other, "attack": "none", "rule": "mean", "seed": 0, "accuracy": 0.7},
    ]

    def measured(build, cells, *, by_round=False, **_):
        return [{**row, "round": 4} for row in rows] if by_round else [{**row, "notes": ""} for row in rows]

    monkeypatch.setattr(tables, "sweep", measured)
    found = tables.run_table("matrix", seeds=2)
    assert found["clean"].tolist() == [0.9, 0.9, 0.9, 0.8, 0.8, 0.7]


def test_a_table_needs_a_seed():
    with pytest.raises(ValueError, match="seeds >= 1; got seeds=0"):
        matrix.run_table("matrix", seeds=0)


def test_a_run_has_arrived_when_it_stays_near_the_clean_one():
    rounds = [4, 9, 14, 19]
    assert matrix.arrival(rounds, [0.2, 0.89, 0.5, 0.881], clean=0.9) == 19
    assert matrix.arrival(rounds, [0.2, 0.89, 0.95, 0.9], clean=0.9) == 9
    assert np.isnan(matrix.arrival(rounds, [0.2, 0.9, 0.9, 0.879], clean=0.9))


@pytest.mark.parametrize("table", matrix.TABLES)
def test_the_committed_table_is_whole_and_has_its_seeds(table):
    frame = matrix.load(table)
    wanted = matrix.TABLES[table][1](5)
    assert len(frame) == len(wanted)
    names = list(wanted[0])
    assert frame[names].round(4).equals(pandas.DataFrame(wanted).round(4))
    assert frame["accuracy"].between(0, 1).all()
    assert table == "rehearsal" or frame["clean"].notna().all()


def only(table, change, folder, monkeypatch):
    """A folder that holds one committed table, its text changed, and that tables are read from now."""
    text = (tables.DOCS / f"{table}.csv").read_text(encoding="utf-8")
    (folder / f"{table}.csv").write_text(change(text), encoding="utf-8", newline="\n")
    monkeypatch.setattr(tables, "DOCS", folder)


@pytest.mark.parametrize("table", matrix.TABLES)
def test_the_settings_of_the_cells_are_those_that_the_committed_table_was_made_with(table):
    """Code may change without a change of the numbers, and cells that are run again tell; other settings are another
    table."""
    assert "settings" not in matrix.problem(table)


@pytest.mark.parametrize(
    ("cut", "problem"),
    [
        (lambda text: text[: text.rindex("\n", 0, -1) + 1], "it holds 3824 of 3825 rows"),
        (lambda text: text[:-3], "it holds 3824 of 3825 rows, and its last line is cut"),
        (lambda text: "".join(text.splitlines(keepends=True)[:2]), "it holds 0 of 3825 rows"),
        (lambda text: text.partition("\n")[2], "its first line does not say how many rows it holds"),
        (lambda text: "", "its first line does not say how many rows it holds"),
        (lambda text: text + text.splitlines(keepends=True)[-1], "it holds 3826 of 3825 rows"),
    ],
)
def test_a_table_that_is_cut_is_no_table(cut, problem, tmp_path, monkeypatch):
    only("matrix", cut, tmp_path, monkeypatch)
    remedy = "python3 lab.py matrix matrix --seeds 5 --folder docs"
    with pytest.raises(ValueError, match=rf"matrix\.csv is broken \({problem}\): .*`{remedy}`"):
        matrix.load()
    assert problem in matrix.problem("matrix")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("accuracy", "precision", 1), "no column 'accuracy'"),
        (lambda text: text.replace("3825", "0", 1).partition("\ndigits")[0] + "\n", "it holds no rows"),
    ],
)
def test_a_table_without_its_columns_or_without_any_row_is_broken(change, problem, tmp_path, monkeypatch):
    only("matrix", change, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=problem):
        matrix.load()


def test_a_missing_table_is_a_problem_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    assert "matrix.csv is missing: " in matrix.problem("matrix")


def test_other_settings_or_other_code_make_a_table_out_of_date(monkeypatch):
    monkeypatch.setattr(stamp, "fingerprint_of_code", lambda: tables.split(*committed("matrix"), "")[0].code)
    assert matrix.problem("matrix") == ""
    monkeypatch.setattr(cells, "MALICIOUS", 0.2)
    monkeypatch.setattr(stamp, "fingerprint_of_code", lambda: "0")
    assert "was made by other code than this: `matrix.check_cell`" in matrix.problem("matrix")
    monkeypatch.setattr(cells, "CLIENTS", 31)
    assert "was made with other settings than the catalogue has now: run `python3 lab.py" in matrix.problem("matrix")


def committed(table):
    path = tables.DOCS / f"{table}.csv"
    return path, path.read_text(encoding="utf-8")


def test_a_table_is_stamped_anew_only_if_its_rows_come_back(tmp_path, monkeypatch):
    only("matrix", lambda text: text, tmp_path, monkeypatch)
    path, before = committed("matrix")
    path.write_text(before.replace(",0.9721,", ",0.9999,", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"does not come back: .*'accuracy': 0\.9999"):
        matrix.confirm("matrix", every=3825)
    path.write_text(before.partition("\n")[2], encoding="utf-8")
    assert matrix.confirm("matrix", every=2000) == 2
    assert matrix.problem("matrix") == ""
    assert committed("matrix")[1].partition("\n")[2] == before.partition("\n")[2]


def test_what_the_command_writes_can_be_loaded(tmp_path, monkeypatch):
    def one(seeds):
        return [{"rounds": 1, "clients": 4, "seed": seed} for seed in range(seeds)]

    monkeypatch.setattr(tables, "TABLES", {"tiny": (Scenario, one)})
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    frame = pandas.DataFrame([{**each, "accuracy": 0.5, "skipped": 0, "clean": 0.5} for each in one(3)])
    (tmp_path / "tiny.csv").write_text(tables.stamped("tiny", frame), encoding="utf-8")
    assert matrix.load("tiny").equals(frame)
    assert matrix.problem("tiny") == ""


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("rehearsal", 40),
        ("matrix", 700),
        ("three_percent", 17),
        ("breakdown", 7),
        ("defences", 100),
        ("defences", 1500),
    ],
)
def test_a_committed_number_comes_back(table, row):
    row = matrix.load(table).iloc[row]
    assert matrix.check_cell(row, table=table)
    assert not matrix.check_cell({**row, "accuracy": row["accuracy"] + 0.1}, table=table)


# --- pictures and pages


@pytest.fixture
def frame():
    values = {("none", "mean"): 0.9, ("none", "krum"): 0.5, ("ipm_2", "mean"): 0.1}
    rows = [
        {
            "data": "digits",
            "skew": skew,
            "attack": attack,
            "rule": rule,
            "seed": seed,
            "accuracy": accuracy + 0.01 * seed,
            "arrived": 10.0 * seed + 4 if attack == "none" else np.nan,
            "attackers_of_samples": 0.0 if attack == "none" else 0.17 + 0.05 * seed,
        }
        for skew in ("dirichlet_0.1", "iid")
        for (attack, rule), accuracy in values.items()
        for seed in range(2)
    ]
    return pandas.DataFrame(rows)


def test_values_stand_in_the_cells_and_in_the_words(frame):
    picture = matrix.heat_map(frame, "digits", "dirichlet_0.1")
    (ax,) = picture.figure.axes
    written = {text.get_text() for text in ax.texts}
    assert {"0.91", "0.51", "0.11"} <= written
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no attack", "IPM x 2"]
    assert "mean 0.11 under IPM x 2" in picture.alt
    assert len(matrix.heat_map(frame, "digits").figure.axes) == 2


def test_the_worst_row_of_a_rule_stands_in_a_frame():
    figure = plots.figure(3, 3)
    drawn = matrix.HeatMap(plots.axes(figure), "", ["none", "ipm_2", "drift"], ["mean", "krum"])
    drawn.fill(np.array([[0.9, 0.5], [0.3, np.nan], [0.2, 0.6]]))
    assert [frame.get_xy() for frame in drawn.frames] == [(-0.5, 1.5), (0.5, -0.5)]
    drawn.fill(np.array([[0.9, np.nan], [0.1, np.nan], [0.2, np.nan]]))
    assert [frame.get_visible() for frame in drawn.frames] == [True, False]
    assert drawn.frames[0].get_xy() == (-0.5, 0.5)


def test_a_missing_cell_is_left_empty(frame):
    (ax,) = matrix.heat_map(frame, "digits", "iid").figure.axes
    assert sum(text.get_text() != "" for text in ax.texts) == 3


def test_an_absent_setting_is_named(frame):
    with pytest.raises(ValueError, match=r"no skew 'other'; it holds dirichlet_0\.1, iid"):
        matrix.heat_map(frame, "digits", "other")
    with pytest.raises(ValueError, match="no data 'notes'; it holds digits"):
        matrix.heat_map(frame, "notes")


def test_the_ink_can_be_read_on_every_colour():
    def light(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return sum(np.array([0.2126, 0.7152, 0.0722]) * linear)

    for value in np.linspace(0, 1, 101):
        low, high = sorted([light(colormaps[maps.COLOURS](value)), light(maps.ink(value))])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_page_holds_the_numbers_and_the_words_of_the_picture(frame):
    text = matrix.markdown_page(frame)
    assert "| no attack | 0.91 ± 0.01, 9 | 0.51 ± 0.01, 9 |" in text
    assert "| IPM x 2 | 0.11 ± 0.01, – |  |" in text
    assert "hold 17% to 22% of the samples" in text
    assert "mean 0.11 under IPM x 2" in text
    assert "Seeds: 2." in text


# --- the command


def test_the_command_writes_the_files(tmp_path, monkeypatch, frame, capsys):
    monkeypatch.setattr(pages, "run_table", lambda table, **given: frame.assign(seeds=given["seeds"]))
    assert cli.main(["matrix", "--seeds", "2", "--folder", str(tmp_path / "new")]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "matrix.csv",
        "matrix.md",
        "matrix_digits.png",
    ]
    assert "Wrote" in capsys.readouterr().out
    assert (pandas.read_csv(tmp_path / "new" / "matrix.csv", comment="#")["seeds"] == 2).all()
    assert cli.main(["matrix", "breakdown", "--folder", str(tmp_path / "other")]) == 0
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["breakdown.csv"]


def test_the_command_answers_a_wrong_name_in_one_sentence(tmp_path, capsys):
    assert cli.main(["matrix", "everything", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(
        "no table is called 'everything'; known: rehearsal, matrix, breakdown, three_percent, defences."
    )


def test_a_learners_run_leaves_the_committed_tables_alone(tmp_path, monkeypatch, frame):
    monkeypatch.setattr(pages, "run_table", lambda table, **given: frame)
    monkeypatch.setattr(cli, "COURSE", tmp_path)
    assert cli.main(["matrix"]) == 0
    assert (tmp_path / "my" / "matrix.csv").exists()
