"""Scores by hand and against slow, obvious twins; the quarantine's memory; what a detector is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from labsec import Scenario, bind, detect, json_lines, poison, robust, rounds, run
from labsec.detect.history import _curvature_times
from labsec.detect.judging import (
    accusations,
    auc,
    first_isolated,
    roc,
    rounds_left_out,
    share_above,
    threshold_for,
)
from labsec.models import mlp
from labsec.train import RootUpdate, local_updates_loop
from labsec.types import ImpossibleRule


def draw(clients: int, dim: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(clients, dim, generator=torch.Generator().manual_seed(seed))


def network() -> dict[str, Any]:
    """A small model with root data and parameters."""
    model = mlp((3,), 2, hidden=(4,))
    x = torch.rand(8, 3, generator=torch.Generator().manual_seed(3))
    return {"params": model.init(torch.Generator().manual_seed(4)), "model": model, "x": x, "y": torch.arange(8) % 2}


# --- scores of one round


def test_norm_is_measured_in_median_lengths() -> None:
    updates = torch.tensor([[3.0, 4.0], [0.0, 5.0], [6.0, 8.0], [0.0, 0.5]])
    assert detect.norm(updates).tolist() == pytest.approx([1.0, 1.0, 2.0, 0.1])
    assert detect.norm(1000 * updates).tolist() == pytest.approx(detect.norm(updates).tolist())


def test_where_most_send_nothing_every_length_is_infinite() -> None:
    assert detect.norm(torch.tensor([[0.0], [0.0], [0.0], [2.0]])).tolist() == [1.0, 1.0, 1.0, math.inf]


def test_cosine_against_a_loop_over_pairs() -> None:
    updates = draw(9) + 0.3
    rows = updates.double().numpy()

    def one_cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    wanted = [1 - np.median([one_cosine(a, b) for j, b in enumerate(rows) if j != i]) for i, a in enumerate(rows)]
    assert detect.cosine(updates).tolist() == pytest.approx(wanted, abs=1e-6)


def test_a_minority_cannot_vouch_for_itself() -> None:
    honest = torch.tensor([[1.0, 0.1], [1.0, -0.1], [1.0, 0.0], [2.0, 0.1]])
    colluders = torch.tensor([[-1.0, 0.0], [-1.0, 0.0]])
    scores = detect.cosine(torch.cat([colluders, honest]))
    assert scores[:2].min() > 1.9
    assert scores[2:].max() < 0.1


def test_cosine_to_root_against_a_loop_that_trains() -> None:
    known = network()
    updates = draw(5, known["model"].dim)
    steps = torch.arange(8).expand(1, 3, -1)
    own = local_updates_loop(known["model"], known["params"], known["x"], known["y"], steps, lr=0.2)[0]
    wanted = 1 - torch.nn.functional.cosine_similarity(updates, own[None])
    root = RootUpdate(known["model"], known["x"], known["y"], lr=0.2, steps=3)
    found = detect.cosine_to_root(updates, params=known["params"], root=root)
    torch.testing.assert_close(found.float(), wanted, rtol=1e-4, atol=1e-5)
    at_home = detect.cosine_to_root(torch.stack([own, -own, 0 * own]), params=known["params"], root=root)
    assert at_home.tolist() == pytest.approx([0, 2, 1], abs=1e-5)


def test_root_loss_is_the_rise_of_the_loss() -> None:
    known = network()
    updates = draw(70, known["model"].dim)

    def loss(params: Tensor) -> float:
        logits = known["model"](params[None], known["x"][None])[0]
        return float(torch.nn.functional.cross_entropy(logits, known["y"]))

    wanted = [loss(known["params"] + update) - loss(known["params"]) for update in updates]
    assert detect.root_loss(updates, **known).tolist() == pytest.approx(wanted, abs=1e-5)


def test_spectral_against_a_singular_value_decomposition() -> None:
    updates = draw(12).double() + 5
    centred = updates - updates.mean(dim=0)
    direction = torch.linalg.svd(centred).Vh[0]
    wanted = (centred @ direction).square() / centred.square().sum(dim=1).quantile(0.5)
    torch.testing.assert_close(detect.spectral(updates), wanted)


@pytest.mark.parametrize("bad", [1, 3, 4])
def test_spectral_scores_colluders_by_their_share(bad: int) -> None:
    updates = torch.zeros(10, 6)
    updates[:bad] = draw(1, 6)
    share = bad / 10
    scores = detect.spectral(updates + 100)
    assert scores[:bad].tolist() == pytest.approx([((1 - share) / share) ** 2] * bad, rel=1e-4)
    assert scores[bad:].tolist() == pytest.approx([1.0] * (10 - bad), rel=1e-4)


# --- scores that remember


def test_a_trajectory_is_the_mean_of_the_last_rounds() -> None:
    known = network()
    root = {name: known[name] for name in ("model", "x", "y")}
    score = detect.LossTrajectory(**root, window=2)
    excesses = []
    for seed in range(3):
        updates = draw(5, known["model"].dim, seed)
        losses = detect.root_loss(updates, **known).numpy()
        above = losses - np.median(losses)
        excesses.append(above / np.median(np.abs(above)))
        found = score(updates, params=known["params"], clients=torch.arange(5))
        assert found.tolist() == pytest.approx(np.mean(excesses[-2:], axis=0).tolist(), rel=1e-6)


def test_one_bad_round_counts_less_than_many() -> None:
    known = network()
    score = detect.LossTrajectory(**{name: known[name] for name in ("model", "x", "y")})
    help_ = local_updates_loop(
        known["model"], known["params"], known["x"], known["y"], torch.arange(8).expand(1, 3, -1), lr=0.5
    )
    honest = help_ * torch.linspace(0.9, 1.1, 6)[:, None]
    for number in range(5):
        unlucky = -help_ if number == 0 else help_
        found = score(torch.cat([-help_, unlucky, honest]), params=known["params"], clients=torch.arange(8))
    assert found[0] > 3 * found[1] > 3 * found[2:].max()


def slow_fldetector(sent: list[Tensor], models: list[Tensor], window: int) -> list[float]:
    """FLDetector round by round from all that was ever sent; the curvature matrix written out by BFGS updates."""
    distances: list[np.ndarray] = []
    for t in range(1, len(sent)):
        moves = [(b - a).double().numpy() for a, b in pairwise(models[: t + 1])]
        pairs = [(s, y - s) for s, y in pairwise(moves)][-window:]
        pairs = [(s, y) for s, y in pairs if s @ y < 0]
        change = bfgs(pairs) @ moves[-1] if pairs else np.zeros(len(moves[-1]))
        differences = (sent[t] - sent[t - 1]).double().numpy() - change
        lengths = np.linalg.norm(differences, axis=1)
        distances.append(lengths / lengths.mean())
    return list(np.mean(distances[-window:], axis=0))


def bfgs(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The matrix itself, one update for each pair (Nocedal and Wright, Numerical Optimization, 2006, (6.19))."""
    last, change = pairs[-1]
    matrix = (last @ change) / (last @ last) * np.eye(len(last))
    for s, y in pairs:
        seen = matrix @ s
        matrix = matrix - np.outer(seen, seen) / (s @ seen) + np.outer(y, y) / (y @ s)
    return matrix


@pytest.mark.parametrize("window", [1, 3, 10])
def test_fldetector_against_one_with_the_whole_matrix(window: int) -> None:
    sent = [draw(6, 12, seed=number) for number in range(8)]
    models = [torch.zeros(12)]
    for rows in sent:
        models.append(models[-1] + rows.mean(dim=0))
    score = detect.FLDetector(window=window)
    for rows, params in zip(sent, models, strict=False):
        found = score(rows, clients=torch.arange(6), params=params)
    assert found.tolist() == pytest.approx(slow_fldetector(sent, models, window), rel=1e-6)


def test_the_curvature_takes_the_last_move_to_its_change() -> None:
    curvature = draw(6, 6).double()
    curvature = -(curvature @ curvature.T)
    pairs = [(move, curvature @ move) for move in draw(3, 6, seed=1).double()]
    torch.testing.assert_close(_curvature_times(pairs, pairs[-1][0]), pairs[-1][1])
    torch.testing.assert_close(_curvature_times(pairs, 2 * pairs[-1][0]), 2 * pairs[-1][1])
    assert torch.equal(_curvature_times([], pairs[0][0]), torch.zeros(6, dtype=torch.float64))


def test_fldetector_foresees_clients_on_a_parabola() -> None:
    """Updates that are linear in the model are foretold exactly once the curvature is known; a liar's are not."""
    score = detect.FLDetector()
    goals = torch.tensor([[1.0], [2.0], [3.0], [-4.0]])
    params = torch.zeros(1)
    for number in range(6):
        rows = 0.3 * (goals - params)
        rows[3] *= (-1) ** number
        found = score(rows, clients=torch.arange(4), params=params)
        params = params + rows[:3].mean(dim=0)
    assert found[3] > 3
    assert found[:3].max() < 0.6


def test_fldetector_judges_those_only_who_sent_in_the_round_before() -> None:
    score = detect.FLDetector()
    zero = torch.zeros(3)
    assert score(draw(3, 3), clients=torch.arange(3), params=zero).tolist() == [1, 1, 1]
    found = score(draw(2, 3, seed=1), clients=torch.tensor([1, 9]), params=zero)
    assert found.tolist() == [1, 1]  # client 1 is the only one that can be foretold: its distance is the mean
    found = score(draw(3, 3, seed=2), clients=torch.tensor([0, 1, 9]), params=zero)
    assert found[0] == 1  # absent in between, and never foretold
    assert found[1] != 1


def test_fldetector_refuses_another_width() -> None:
    score = detect.FLDetector()
    score(draw(3, 3), clients=torch.arange(3), params=torch.zeros(3))
    with pytest.raises(ValueError, match="one width, the remembered 3"):
        score(draw(3, 4), clients=torch.arange(3), params=torch.zeros(4))


def slow_foolsgold(sums: np.ndarray) -> list[float]:
    """The lines of FoolsGold's Algorithm 1 as they stand, up to the largest similarity after pardoning."""
    n = len(sums)
    cs = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            cs[i, j] = sums[i] @ sums[j] / np.linalg.norm(sums[i]) / np.linalg.norm(sums[j])
    others = [[cs[i, j] for j in range(n) if j != i] for i in range(n)]
    v = [max(row) for row in others]
    pardoned = cs.copy()
    for i in range(n):
        for j in range(n):
            if v[j] > v[i] and cs[i, j] > 0:
                pardoned[i, j] = cs[i, j] * v[i] / v[j]
    return [max(pardoned[i, j] for j in range(n) if j != i) for i in range(n)]


def test_sybil_similarity_against_the_lines_of_the_paper() -> None:
    score = detect.SybilSimilarity()
    total = torch.zeros(7, 40)
    for seed in range(3):
        updates = draw(7, seed=seed) + 0.2
        total += updates
        found = score(updates, clients=torch.arange(7))
        assert found.tolist() == pytest.approx(slow_foolsgold(total.double().numpy()), abs=1e-5)


def test_sybils_betray_themselves_in_the_long_run() -> None:
    """In each round two sybils differ by noise as large as their goal; their sums do not."""
    score = detect.SybilSimilarity()
    goal = draw(1, 400, seed=99)
    means = draw(6, 400, seed=98)
    for seed in range(30):
        noise = 3 * draw(8, 400, seed=seed)
        found = score(torch.cat([goal, goal, means]) + noise, clients=torch.arange(8))
        if seed == 0:
            first = found
    assert first[:2].max() < 0.4
    assert found[:2].min() > 0.7 > 2 * found[2:].max()


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        (torch.arange(2), "one whole number for each of 3 clients"),
        (torch.zeros(3), "one whole number for each of 3 clients"),
        (torch.tensor([0, 1, 1]), r"one row each; got clients=\[0, 1, 1\]"),
        (torch.tensor([-1, -1, -1]), "rows that belong to one client each"),
    ],
)
def test_a_score_that_remembers_needs_names(clients: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detect.SybilSimilarity()(draw(3), clients=clients)


def test_sybil_similarity_refuses_another_width() -> None:
    score = detect.SybilSimilarity()
    score(draw(3, 4), clients=torch.arange(3))
    with pytest.raises(ValueError, match="remembers 4 parameters; got updates of 5"):
        score(draw(3, 5), clients=torch.arange(3))


# --- the quarantine


def first_column(updates: Tensor) -> Tensor:
    """A score that tests can dictate."""
    return updates[:, 0]


def isolate(stage: detect.Quarantine, *scores: float, clients: list[int] | None = None) -> tuple[list[bool], list[Any]]:
    """One round: who stays, and the notes as (client, action)."""
    notes: list[Any] = []
    updates = torch.tensor(scores, dtype=torch.float32)[:, None]
    who = torch.arange(len(scores)) if clients is None else torch.tensor(clients)
    mask = stage(updates, clients=who, note=lambda **values: notes.append((values["client"], values["action"])))
    assert mask.dtype is torch.bool
    return mask.tolist(), notes


def test_a_sentence_round_by_round() -> None:
    stage = detect.Quarantine(first_column, threshold=1.0, probation=2)
    story = [
        ((0, 0), [True, True], []),
        ((0, 1), [True, True], []),  # the threshold itself is no alarm
        ((0, 5), [True, False], [(1, "isolated")]),
        ((0, 0), [True, False], []),  # first round of probation
        ((0, 3), [True, False], [(1, "kept")]),  # and it begins anew
        ((0, 0), [True, False], []),
        ((0, 0), [True, False], []),
        ((2, 0), [False, True], [(0, "isolated"), (1, "released")]),
        ((0, 0), [False, True], []),
        ((0, 9), [False, False], [(1, "isolated")]),
        ((0, 0), [True, False], [(0, "released")]),
    ]
    for number, (scores, mask, notes) in enumerate(story):
        assert isolate(stage, *scores) == (mask, notes), number


def test_without_probation_every_round_stands_for_itself() -> None:
    stage = detect.Quarantine(first_column, threshold=1.0, probation=0)
    assert isolate(stage, 5.0) == ([False], [(0, "isolated")])
    assert isolate(stage, 5.0) == ([False], [(0, "kept")])
    assert isolate(stage, 0.0) == ([True], [(0, "released")])


def test_nobody_comes_back_without_a_probation_that_ends() -> None:
    stage = detect.Quarantine(first_column, threshold=1.0, probation=None)
    isolate(stage, 5.0)
    assert all(isolate(stage, 0.0) == ([False], []) for _ in range(1000))


def test_probation_counts_the_rounds_in_which_a_client_sends() -> None:
    stage = detect.Quarantine(first_column, threshold=1.0, probation=1)
    isolate(stage, 5.0, 0.0, clients=[7, 8])
    for _ in range(5):
        assert isolate(stage, 0.0, clients=[8]) == ([True], [])
    assert isolate(stage, 0.0, 0.0, clients=[8, 7]) == ([True, False], [])
    assert isolate(stage, 0.0, clients=[7]) == ([True], [(7, "released")])


def test_an_infinite_threshold_isolates_nobody() -> None:
    stage = detect.Quarantine(detect.norm, threshold=math.inf)
    mask = stage(torch.tensor([[1.0], [1.0], [math.nan]]), clients=torch.arange(3), note=pytest.fail)
    assert mask.all()


def test_a_score_that_lacks_an_argument_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"root_loss lacks model: bind it, as in bind\(root_loss, model=…\)"):
        detect.Quarantine(detect.root_loss, threshold=1.0)


@pytest.mark.parametrize("wrong", [torch.zeros(2), torch.tensor([0.0, math.nan, 0.0]), [0.0, 0.0, 0.0]])
def test_a_score_must_give_each_client_a_number(wrong: Any) -> None:
    stage = detect.Quarantine(lambda updates: wrong, threshold=1.0)
    with pytest.raises(
        ValueError, match=r"needs a score that returns \[3\] numbers, none of them NaN; <lambda> returned"
    ):
        stage(draw(3), clients=torch.arange(3), note=pytest.fail)


def attacked(**changes: Any) -> Scenario:
    """Two loud clients of ten, among alike ones."""
    fields = {"clients": 10, "malicious": 0.2, "rounds": 6, "local_steps": 2}
    return Scenario(**{**fields, "attack": bind(poison.sign_flip, scale=20), **changes})


def test_in_a_federation_the_loud_are_out_and_on_record() -> None:
    history = run(attacked(server_stages=[detect.Quarantine(detect.norm, threshold=5.0)]))
    isolated = [note for note in history.notes if note["action"] == "isolated"]
    assert {note["client"] for note in isolated} == {0, 1}
    (first, _) = isolated
    assert first == {
        "round": 0,
        "place": "server stage 0, Quarantine",
        "client": 0,
        "detector": "norm",
        "score": first["score"],
        "threshold": 5.0,
        "action": "isolated",
    }
    assert first["score"] > 15

    # What counts is what the eight others send, as if the two were not there.
    watched = list(rounds(attacked(server_stages=[detect.Quarantine(detect.norm, threshold=5.0)])))
    wanted = watched[0].before + watched[0].messages[2:].mean(dim=0)
    torch.testing.assert_close(watched[0].after, wanted)
    assert run(attacked()).final_accuracy < 0.3 < history.final_accuracy


def test_a_quarantine_gets_what_its_score_asks_for() -> None:
    asked: list[tuple[Any, ...]] = []

    def nosy(
        updates: Tensor, *, clients: Tensor, params: Tensor, weights: Tensor, round: int, generator: torch.Generator
    ) -> Tensor:
        asked.append((clients.tolist(), params, weights.tolist(), round, torch.rand(1, generator=generator).item()))
        return updates.norm(dim=1)

    class Keeper(detect.Quarantine):
        def __deepcopy__(self, memo: object) -> detect.Quarantine:
            return self

    scenario = Scenario(clients=3, rounds=2, server_stages=[Keeper(nosy, threshold=math.inf)])
    results = list(rounds(scenario))
    seen = asked[1:]  # the first is the rehearsal
    assert [each[3] for each in seen] == [0, 1]
    for each, result in zip(seen, results, strict=True):
        assert each[0] == result.clients.tolist()
        assert torch.equal(each[1], result.before)
        assert sum(each[2]) == len(scenario.data.y)
    assert seen[0][4] != seen[1][4]


def test_each_run_begins_without_memory() -> None:
    scenario = attacked(server_stages=[detect.Quarantine(detect.FLDetector(), threshold=1.5)])
    assert run(scenario).notes == run(scenario).notes


def test_a_secure_sum_has_no_one_to_isolate() -> None:
    """The conflict between privacy and detection is a shape: one row that belongs to nobody."""

    def secure_sum(updates: Tensor) -> Tensor:
        return updates.mean(dim=0, keepdim=True)

    scenario = attacked(wire=secure_sum, server_stages=[detect.Quarantine(detect.norm, threshold=5.0)])
    with pytest.raises(ImpossibleRule, match="needs rows that belong to one client each; got clients="):
        run(scenario)


def test_notes_go_out_as_json_lines() -> None:
    history = run(attacked(server_stages=[detect.Quarantine(detect.norm, threshold=5.0, probation=1)]))
    lines = json_lines(history.notes).splitlines()
    assert [json.loads(line) for line in lines] == [dict(note) for note in history.notes]
    assert len(lines) == 12  # two clients, isolated once and kept in five rounds


def test_json_lines_hold_no_number_that_json_lacks() -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    text = json_lines([{"a": math.inf, "b": -math.inf, "c": math.nan, "d": 1.5, "e": True, "f": None, "g": "ä\n"}])
    assert text.count("\n") == 1
    back = json.loads(text, parse_constant=refuse)
    assert back == {"a": "inf", "b": "-inf", "c": "nan", "d": 1.5, "e": True, "f": None, "g": "ä\n"}
    assert json_lines([]) == ""


# --- what a detector is worth

pairs = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda drawn: 0 < sum(bad for _, bad in drawn) < len(drawn)
)


@settings(max_examples=100, deadline=None)
@given(drawn=pairs)
def test_roc_and_auc_against_scikit_learn_and_all_pairs(drawn: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([score for score, _ in drawn], dtype=torch.float64)
    is_bad = torch.tensor([bad for _, bad in drawn])
    false_alarms, found, _ = roc(scores, is_bad)
    wanted = roc_curve(is_bad.numpy(), scores.numpy(), drop_intermediate=False)
    np.testing.assert_allclose(false_alarms, wanted[0])
    np.testing.assert_allclose(found, wanted[1])
    duels = [(bad > good) + (bad == good) / 2 for bad in scores[is_bad] for good in scores[~is_bad]]
    assert auc(scores, is_bad) == pytest.approx(float(sum(duels)) / len(duels))
    assert auc(scores, is_bad) == pytest.approx(roc_auc_score(is_bad.numpy(), scores.numpy()))
    assert auc(scores, is_bad) == pytest.approx(float(torch.trapezoid(found, false_alarms)))


@settings(max_examples=50, deadline=None)
@given(drawn=pairs)
def test_every_threshold_of_the_curve_does_what_its_point_says(drawn: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([score for score, _ in drawn], dtype=torch.float64)
    is_bad = torch.tensor([bad for _, bad in drawn])
    for false_alarm, found, threshold in zip(*map(Tensor.tolist, roc(scores, is_bad)), strict=True):
        assert share_above(scores[~is_bad], threshold) == pytest.approx(false_alarm)
        assert share_above(scores[is_bad], threshold) == pytest.approx(found)


def test_auc_of_infinite_scores() -> None:
    assert auc(torch.tensor([1.0, 2.0, math.inf]), torch.tensor([False, False, True])) == 1.0


@settings(max_examples=50, deadline=None)
@given(scores=st.lists(st.integers(0, 9), min_size=1, max_size=60), rate=st.floats(0, 0.99))
def test_the_tuned_threshold_is_the_lowest_that_keeps_the_rate(scores: list[int], rate: float) -> None:
    honest = torch.tensor(scores, dtype=torch.float64)
    threshold = threshold_for(honest, false_alarms=rate)
    assert share_above(honest, threshold) <= rate
    lower = [score for score in scores if score < threshold]
    assert not lower or share_above(honest, max(lower)) > rate


def test_the_base_rate_sum() -> None:
    """1,000 clients, 1 % bad, 5 % false alarms: a perfect detector accuses five times as many honest ones."""
    made = accusations(clients=1000, bad=0.01, false_alarms=0.05, detected=1.0)
    assert made.right == pytest.approx(10)
    assert made.wrong == pytest.approx(49.5)
    assert made.share_right == pytest.approx(10 / 59.5)
    assert math.isnan(accusations(clients=10, bad=0.5, false_alarms=0.0, detected=0.0).share_right)


def test_delays_and_sentences_are_read_off_the_notes() -> None:
    stage = detect.Quarantine(first_column, threshold=1.0, probation=2)
    plan = [(0, 0), (0, 5), (0, 0), (0, 0), (0, 0), (3, 0), (0, 4), (0, 0)]
    notes: list[dict[str, Any]] = []
    out = {0: 0, 1: 0}
    for number, scores in enumerate(plan):

        def note(*, at: int = number, **values: Any) -> None:
            notes.append({"round": at, **values})

        mask = stage(torch.tensor(scores, dtype=torch.float32)[:, None], clients=torch.arange(2), note=note)
        for client in (0, 1):
            out[client] += not mask[client]
    assert first_isolated(notes) == {0: 5, 1: 1}
    assert rounds_left_out(notes, rounds=len(plan)) == out == {0: 3, 1: 5}


# --- the attacker who knows the detector


def caught(attack: Callable[..., Tensor], score: Callable[..., Tensor], threshold: float) -> set[int]:
    """Who of six attackers among 24 alike clients is ever isolated."""
    scenario = Scenario(
        clients=24,
        malicious=0.25,
        rounds=15,
        local_steps=5,
        omniscient=True,
        attack=attack,
        evaluate_every=100,
        server_stages=[detect.Quarantine(score, threshold=threshold)],
    )
    return set(first_isolated(run(scenario).notes)) & set(range(6))


def loud(view: Any) -> Tensor:
    return poison.sign_flip(view, scale=10)


@pytest.mark.parametrize(
    ("score", "threshold"),
    [(detect.norm, 1.8), (detect.cosine, 1.0), (detect.spectral, 2.0), (detect.FLDetector(), 1.3)],
    ids=["norm", "cosine", "spectral", "FLDetector"],
)
def test_the_plain_attack_is_caught_and_the_adaptive_one_is_not(score: Callable[..., Tensor], threshold: float) -> None:
    assert caught(loud, score, threshold)
    assert not caught(poison.UnderThreshold(loud, score, threshold=threshold), score, threshold)


def test_what_the_adaptive_attacker_gets_through_still_harms() -> None:
    hidden = poison.UnderThreshold(loud, detect.norm, threshold=1.8)
    watch = detect.Quarantine(detect.norm, threshold=1.8)
    fields = {"clients": 24, "malicious": 0.25, "rounds": 15, "omniscient": True, "server_stages": [watch]}
    adaptive = run(Scenario(**fields, attack=hidden)).final_accuracy
    plain = run(Scenario(**fields, attack=loud)).final_accuracy
    assert adaptive < plain - 0.02


def test_rows_of_the_attackers_shape_and_type_and_an_untouched_view() -> None:
    view = attackers_view(own=[[1.0, 2.0]] * 2, others=[[1.0, 1.0]] * 3)
    for dtype in (torch.float32, torch.float64):
        typed = SimpleNamespace(own=view.own.to(dtype), others=view.others.to(dtype), clients=None)
        attack = poison.UnderThreshold(loud, detect.norm, threshold=3.0)
        for _ in range(2):
            forged = attack(typed)
            assert (forged.shape, forged.dtype) == ((2, 2), dtype)
            forged.add_(1)
        assert torch.equal(typed.own, view.own.to(dtype))
        assert torch.equal(typed.others, view.others.to(dtype))


def test_of_two_attackers_each_takes_what_it_can() -> None:
    view = attackers_view(own=[[1.0], [2.0]], others=[[1.0], [1.0]])
    attack = poison.UnderThreshold(lambda view: torch.tensor([[9.0], [3.0]]), first_column, threshold=4.0)
    assert torch.equal(attack(view), view.own)  # the first message is honest
    assert attack(view).tolist() == [[pytest.approx(1 + 0.36 * 8)], [3.0]]


def test_who_is_caught_whatever_it_sends_sends_the_honest_update() -> None:
    view = attackers_view(own=[[5.0]], others=[[1.0]])
    attack = poison.UnderThreshold(lambda view: -view.own, lambda updates: updates[:, 0].abs() + 10, threshold=4.0)
    for _ in range(3):
        assert torch.equal(attack(view), view.own)


def test_an_infinite_threshold_lets_the_attack_through() -> None:
    view = attackers_view(own=[[5.0]], others=[[1.0]])
    attack = poison.UnderThreshold(lambda view: -view.own, first_column, threshold=math.inf)
    attack(view)
    assert attack(view).tolist() == [[-5.0]]


def test_a_way_back_is_kept() -> None:
    """A score that looks at the change since the last round would catch the honest update after a loud one."""

    class Change:
        def __init__(self) -> None:
            self.last: Tensor | None = None

        def __call__(self, updates: Tensor) -> Tensor:
            before = updates if self.last is None else self.last
            self.last = updates.clone()
            return (updates - before)[:, 0].abs()

    view = attackers_view(own=[[1.0]], others=[[1.0]])
    attack = poison.UnderThreshold(lambda view: torch.tensor([[100.0]]), Change(), threshold=3.0)
    sent = [attack(view).item() for _ in range(10)]
    jumps = np.abs(np.diff(sent))
    assert jumps.max() <= 3.0
    assert max(sent) > 2


def test_the_attack_inside_gets_what_it_asks_for() -> None:
    hidden = poison.UnderThreshold(bind(poison.gaussian, std=0.1), detect.norm, threshold=math.inf)
    scenario = Scenario(clients=4, malicious=0.5, rounds=2, attack=hidden, aggregate=robust.median)
    first, second = rounds(scenario)
    honest = list(rounds(Scenario(clients=4, rounds=2, aggregate=robust.median)))
    assert torch.equal(first.messages, honest[0].messages)
    assert 0.09 < (second.messages[:2] - honest[1].messages[:2]).std() < 0.11


def attackers_view(*, own: list[list[float]], others: list[list[float]]) -> Any:
    return SimpleNamespace(own=torch.tensor(own), others=torch.tensor(others), clients=None)
