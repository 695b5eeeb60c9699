"""Lab 06: what its panels show, what its claims measure, and that its exercises say what the laboratory says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor

from labsec import detect, robust
from labsec.course import exercises, live
from labsec.course.claims import lab06 as measures
from labsec.course.claims.base import Summary
from labsec.course.exercises import lab06 as answers
from labsec.course.live.pointer import Pointer
from labsec.course.panels import lab06, lab06_defences, lab06_pictures
from labsec.detect import judging
from labsec.study.catalogue import ADAPTIVE, BACKDOORS, DOOR_ADAPTIVE, HONEST, OWN, RULE

START = {"score": "norm", "attack": "sign_flip_x10", "skew": "iid", "alarms": 0.05, "bad": 0.01}


def judged(**controls: Any) -> tuple[lab06.Judged, str]:
    values = START | controls
    (state,) = lab06.compute(**values)
    return state, lab06.reading(values, state)


# --- exercises


def test_the_scores_are_those_of_the_laboratory() -> None:
    for task, score in (("06.1", detect.norm), ("06.2", detect.cosine)):
        for each in exercises.find(task).drawn_cases():
            mine = exercises.find(task).reference(*each.args)
            torch.testing.assert_close(mine.double(), score(*each.args), rtol=1e-5, atol=1e-6)


def test_trust_is_that_of_the_laboratory() -> None:
    for each in exercises.find("06.5").drawn_cases():
        updates, own = each.args
        said = robust.fltrust(updates, params=torch.zeros(len(own)), root=lambda params, own=own: own)
        torch.testing.assert_close(answers.fltrust(updates, own), said, rtol=1e-4, atol=1e-6)


def test_the_threshold_accuses_the_share_that_was_asked_for() -> None:
    scores = torch.arange(100.0)
    threshold = float(answers.threshold_for(scores, false_alarms=0.05))
    assert judging.share_above(scores, threshold) == 0.05


@pytest.mark.parametrize("probation", [1, 3])
def test_the_quarantine_of_the_exercise_decides_as_that_of_the_laboratory(probation: int) -> None:
    """Forty rounds of lengths drawn at random, of which many are above the threshold."""
    draw = torch.Generator().manual_seed(0)
    stage = detect.Quarantine(lambda updates: updates[:, 0], threshold=0.8, probation=probation)
    waits = torch.zeros(5, dtype=torch.int64)
    left_out = 0
    for _ in range(40):
        scores = torch.rand(5, generator=draw)
        counted, waits = answers.quarantine(scores, waits, threshold=0.8, probation=probation)
        theirs = stage(scores[:, None], clients=torch.arange(5), note=lambda **values: None)
        assert torch.equal(counted, theirs)
        left_out += int((~counted).sum())
    assert 0 < left_out < 200


def test_reputations_are_those_of_the_laboratory() -> None:
    """Over three rounds, with trust by a root update."""
    draw = torch.Generator().manual_seed(1)
    own = torch.randn(4, generator=draw)
    stage = robust.Reputation(decay=0.7, root=lambda params: own)
    before: Tensor | None = None
    for _ in range(3):
        updates = own + torch.randn(6, 4, generator=draw)
        trust = torch.nn.functional.cosine_similarity(updates, own[None]).clamp(min=0)
        before = trust if before is None else before
        rows, before = answers.weigh(updates, trust, before, decay=0.7)
        theirs = stage(updates, clients=torch.arange(6), params=torch.zeros(4))
        torch.testing.assert_close(rows, theirs, rtol=1e-4, atol=1e-5)


# --- the panel of scores


def test_a_shout_is_found_and_what_hides_in_the_norm_is_not() -> None:
    loud, said = judged()
    assert loud.auc == 1.0
    assert loud.found == 1.0
    assert loud.false_alarms == pytest.approx(0.05, abs=0.005)
    assert said.startswith("norm against sign flip x 10, alike (IID), area 1.00")
    quiet, _ = judged(attack="drift")
    assert quiet.found < 0.1


def test_the_sum_is_done_with_what_the_threshold_does() -> None:
    """1,000 clients, 10 of them bad: all ten, and 990 times the false alarms."""
    state, said = judged()
    assert state.sum.right == pytest.approx(10)
    assert state.sum.wrong == pytest.approx(990 * state.false_alarms)
    assert f"{10 / (10 + 990 * state.false_alarms):.0%} of the accusations are true" in said


def test_the_ends_of_the_threshold_accuse_nobody_honest_and_everybody() -> None:
    none, _ = judged(alarms=0.0)
    assert none.false_alarms == 0.0
    every, said = judged(alarms=1.0)
    assert (every.false_alarms, every.found) == (1.0, 1.0)
    assert "everybody is accused" in said


def test_what_was_tuned_among_alike_clients_accuses_more_among_unlike_ones() -> None:
    alike, _ = judged(score="cosine")
    unlike, _ = judged(score="cosine", skew="dirichlet_0.1")
    assert unlike.tuned[0] > 0.2 > alike.tuned[0]


def test_a_drag_moves_the_threshold_and_nothing_else() -> None:
    panel = lab06.panel()
    try:
        before = panel.values
        (pointer,) = [child for child in panel.children if isinstance(child, Pointer)]
        width, height = panel.draw.figure.bbox.size
        across, up = panel.draw.axes.transData.transform((0.3, 0.9))
        pointer.place = [across / width, 1 - up / height]
        panel.wait()
        assert panel.values == before | {"alarms": pytest.approx(0.3)}
    finally:
        panel.close()


def test_a_drag_may_follow_one_direction_only() -> None:
    assert live.Drag(x="alarms").y == ""


# --- the panel of defences


def small_table() -> pandas.DataFrame:
    """Two defences on two seeds: layers that lose to an attack that needs the honest messages, and a mean."""
    rows = []
    numbers = {
        ("fedshield", "none"): 0.94,
        ("fedshield", "sign_flip_x10"): 0.90,
        ("fedshield", "min_sum"): 0.80,
        ("fedshield", ADAPTIVE): 0.80,
        ("mean", "none"): 0.96,
        ("mean", "sign_flip_x10"): 0.10,
        ("mean", "min_sum"): 0.70,
        ("mean", ADAPTIVE): 0.10,
    }
    for (rule, attack), accuracy in numbers.items():
        for seed in range(2):
            rows.append({"rule": rule, "attack": attack, "seed": seed, "accuracy": accuracy + 0.02 * seed})
    door = next(iter(BACKDOORS))
    for rule, success in (("fedshield", 0.3), ("mean", 0.9)):
        for attack in (door, DOOR_ADAPTIVE):
            rows.extend({"rule": rule, "attack": attack, "seed": seed, "success": success} for seed in range(2))
    return pandas.DataFrame(rows).assign(data="digits", skew="iid", baseline=0.01)


def filtered(**controls: Any) -> tuple[lab06_defences.Filtered, str]:
    values = {"shows": "accuracy", "skew": "iid", "rules": ("mean", "fedshield"), "most": RULE} | controls
    (state,) = lab06_defences.compute(table=small_table(), **values)
    return state, lab06_defences.reading(values, state)


def test_the_best_defence_is_that_of_the_best_worst_row() -> None:
    state, said = filtered()
    assert [state.rows[row] for row in state.worst] == ["sign_flip_x10", "min_sum"]
    assert "stands best: FedShield (0.81 ± 0.01 under min-sum, 0.95 when nobody attacks)" in said


def test_rows_that_would_have_to_know_more_are_left_out() -> None:
    state, _ = filtered(most=OWN)
    assert "min_sum" not in state.rows
    assert ADAPTIVE not in state.rows
    assert state.mean[state.worst[1], 1] == pytest.approx(0.91)
    assert "min_sum" in filtered(most=HONEST)[0].rows


def test_a_high_success_is_the_worst() -> None:
    state, said = filtered(shows="success")
    assert state.mean[state.worst, [0, 1]] == pytest.approx([0.9, 0.3])
    assert "Of these 2 by the success of its best backdoor, stands best: FedShield (0.30 ± 0.00" in said
    assert state.calm == pytest.approx([0.01, 0.01])


def test_every_rule_of_the_table_stands_in_a_group() -> None:
    from labsec.study.matrix.defences import COLUMNS, ROWS

    grouped = {name for group in lab06_defences.GROUPS.values() for name in group}
    assert grouped == set(COLUMNS)
    assert {name for rows in lab06_defences.ROWS.values() for name in rows} == set(ROWS)


# --- claims


def spread(ends: dict[str, tuple[float, float]]) -> dict[str, Summary]:
    return {name: Summary(mean=0, std=0, min=low, max=high, seeds=[low, high]) for name, (low, high) in ends.items()}


def test_claim_35_asks_for_the_worst_and_for_the_price_among_both_kinds_of_clients() -> None:
    cheap = spread({"alike clients": (0, 3), "very unlike clients": (0, 3)})
    good = spread({"alike clients": (0, 10), "very unlike clients": (5, 10)})
    assert measures.protects(good, cheap) == "held"
    half = spread({"alike clients": (0, 10), "very unlike clients": (5, 11)})
    assert measures.protects(half, cheap).endswith("only for alike clients")
    assert measures.protects(good, spread(dict.fromkeys(good, (0, 4)))) == "did not hold"


def test_claim_36_counts_no_detector_that_accuses_the_honest() -> None:
    first, *others = measures.PAIRS
    found = spread(dict.fromkeys(measures.PAIRS, (80, 100)))
    assert measures.detects(found, spread(dict.fromkeys(found, (0, 10)))) == "held"
    unfair = spread({first: (0, 10), **dict.fromkeys(others, (0, 40))})
    assert measures.detects(found, unfair) == f"depends on score and attack: only {first}"
    assert measures.detects(spread(dict.fromkeys(found, (79, 100))), unfair) == "did not hold"


def test_claim_37_asks_for_half_true_and_an_alarm_that_never_rings_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measures.analytics(spread({"loud": (50, 90)}), {}) == "held"
    assert measures.analytics(spread({"loud": (50, 90), "quiet": (0, 90)}), {}).endswith("only loud")
    monkeypatch.setattr(measures, "accused", lambda *_: (0.0, 0.0))
    assert set(measures.true_accusations(0).values()) == {0.0}
    monkeypatch.setattr(measures, "accused", lambda *_: (1.0, 0.05))
    assert next(iter(measures.true_accusations(0).values())) == pytest.approx(100 * 10 / 59.5)


def test_claim_38_is_about_both_together() -> None:
    names = measures.combinations()
    calm = spread(dict.fromkeys(names, (0, 1)))
    bad = dict.fromkeys(names, (50, 90))
    assert measures.is_a_baseline(spread({**bad, "both": (5, 10)}), calm) == "held"
    assert measures.is_a_baseline(spread({**bad, "clip + trimmed mean": (5, 10)}), calm).endswith(
        "only clip + trimmed mean"
    )
    assert measures.is_a_baseline(spread(bad), calm) == "did not hold"


def test_claim_58_is_refuted_by_newcomers_without_data() -> None:
    assert measures.needs_a_member(spread({"3": (10, 90), "6": (20, 90)}), {}) == "did not hold"
    assert measures.needs_a_member(spread({"3": (1, 90), "6": (20, 90)}), {}).startswith("depends on how many")
    assert measures.needs_a_member(spread({"3": (1, 9)}), {}) == "held"
    s = measures.federation_of(0, joining=3)
    assert s.clients == 33
    assert [len(shard) for shard in s.shards or ()][:4] == [0, 0, 0, 48]


# --- pictures


def test_the_pictures_say_what_they_show() -> None:
    notes = [{"round": 4, "client": 1, "action": "isolated"}, {"round": 6, "client": 1, "action": "kept"}]
    said = lab06_pictures.isolated(notes, clients=3, rounds=10, title="One is out").alt
    assert "1 of 3 clients was isolated" in said
    scores = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([2.0, 3.0])}
    assert "a 50%, b 100%" in lab06_pictures.above(scores, 1.0, title="Two").alt
    assert np.isfinite(lab06_pictures.layers({"mean": (0.0, 30.0)}, title="One").figure.get_size_inches()).all()
