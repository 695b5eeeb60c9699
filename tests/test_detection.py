"""The study of the detectors: what it watches and counts, and that its tables hold what was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from labsec import Scenario, bind, detect, rounds
from labsec.detect.judging import auc, first_isolated
from labsec.federation.population import Population
from labsec.study import detection
from labsec.types import AttackerView, Updates

SHORT = {"rounds": 4}


def test_no_client_holds_the_servers_root_data() -> None:
    root = detection.scores()["root loss"].keywords["x"]  # type: ignore[attr-defined]
    scenario = detection.federation(skew="iid", attack="none", seed=0)
    held = {tuple(x.flatten().tolist()) for x in scenario.data.x}
    assert len(root) == detection.ROOT_SAMPLES
    assert not [x for x in root if tuple(x.flatten().tolist()) in held]


def test_every_public_score_is_studied() -> None:
    studied = {
        type(score).__name__ if type(score).__module__.startswith("labsec") else getattr(score, "func", score).__name__
        for score in detection.scores().values()
    }
    assert studied == set(detect.__all__) - {"Quarantine"}


def test_what_is_watched_is_what_a_score_says_round_by_round() -> None:
    scenario = detection.federation(skew="iid", attack="sign_flip_x10", seed=0, **SHORT)
    said = detection.watch(scenario, {"norm": detect.norm, "FLDetector": detect.FLDetector()})
    score = detect.FLDetector()
    for number, result in enumerate(rounds(scenario)):
        assert torch.equal(said["norm"][number], detect.norm(result.messages))
        wanted = score(result.messages, clients=result.clients, params=result.before)
        assert torch.equal(said["FLDetector"][number], wanted)


def test_whoever_sends_no_number_scores_highest() -> None:
    def broken(view: AttackerView) -> Updates:
        return view.own * torch.nan

    calm = detection.federation(skew="iid", attack="none", seed=0, **SHORT)
    said = detection.watch(replace(calm, malicious=0.1, attack=broken), {"norm": detect.norm})
    assert (said["norm"][:, :3] == torch.inf).all()
    assert said["norm"][:, 3:].isfinite().all()


def test_a_judged_server_averages_the_honest_only() -> None:
    """No score is blamed for a model that another one failed to protect: under any attack the model is the same."""
    loud = detection.federation(skew="iid", attack="sign_flip_x10", seed=0, **SHORT)
    sly = detection.federation(skew="iid", attack="min_sum", seed=0, **SHORT)
    truth = bind(detection.only_honest, malicious=6)
    models = [list(rounds(replace(each, server_stages=[truth])))[-1].after for each in (loud, sly)]
    assert torch.equal(*models)


def test_what_is_judged_is_counted_by_hand() -> None:
    scenario = detection.federation(skew="dirichlet_0.3", attack="sign_flip_x10", seed=1, **SHORT)
    truth = bind(detection.only_honest, malicious=6)
    values = detection.watch(replace(scenario, server_stages=[truth]), {"norm": detect.norm})["norm"]
    judged = detection.judge("dirichlet_0.3", "sign_flip_x10", 1, dict.fromkeys(detection.scores(), 1.1), **SHORT)
    bad = torch.zeros(4, 30, dtype=torch.bool)
    bad[:, :6] = True
    assert judged["norm"].false_alarms == pytest.approx(float((values[:, 6:] > 1.1).double().mean()))
    assert judged["norm"].found == pytest.approx(float((values[:, :6] > 1.1).double().mean()))
    assert judged["norm"].auc == pytest.approx(auc(values.flatten(), bad.flatten()))
    calm = detection.judge("iid", "none", 1, dict.fromkeys(detection.scores(), 1.1), **SHORT)
    assert math.isnan(calm["norm"].auc)
    assert math.isnan(calm["norm"].found)


def test_tuned_thresholds_keep_their_rate_on_the_runs_they_were_tuned_on() -> None:
    thresholds = detection.tuned_thresholds(seeds=[7], **SHORT)
    judged = detection.judge("iid", "none", 7, thresholds, **SHORT)
    assert set(thresholds) == set(detection.scores())
    assert all(seen.false_alarms <= detection.FALSE_ALARMS for seen in judged.values())
    assert judged["norm"].false_alarms > detection.FALSE_ALARMS - 2 / 120


def test_the_cost_is_counted_on_the_classes_that_the_isolated_hold() -> None:
    def accuse_29(updates: Tensor, *, clients: Tensor) -> Tensor:
        return (clients == 29).double()

    calm = detection.federation(skew="dirichlet_0.1", attack="none", seed=0, **SHORT)
    stage = detect.Quarantine(accuse_29, threshold=0.5)
    clean = torch.linspace(0, 1, 10, dtype=torch.float64)
    outcome = detection.defend(calm, stage, clean)
    assert outcome.honest_out == pytest.approx(1 / 30)
    assert math.isnan(outcome.bad_out)
    assert math.isnan(outcome.delay)

    last = list(rounds(replace(calm, server_stages=[stage])))[-1]
    population = Population(calm)
    own = population.shards[29]
    labels = population.y[own[own >= 0]]
    change = detection.accuracy_by_class(calm, last) - clean
    assert outcome.cost == pytest.approx(float(change[labels].mean()))
    assert outcome.accuracy == last.metrics["accuracy"]


def test_a_delay_is_that_of_the_attackers_who_were_caught() -> None:
    def late(updates: Tensor, *, clients: Tensor, round: int) -> Tensor:
        return ((clients == 0) & (round >= 1) | (clients == 1) & (round >= 3)).double()

    attacked = detection.federation(skew="iid", attack="sign_flip_x10", seed=0, **SHORT)
    stage = detect.Quarantine(late, threshold=0.5)
    outcome = detection.defend(attacked, stage, torch.zeros(10, dtype=torch.float64))
    assert outcome.delay == 2.0
    assert outcome.bad_out == pytest.approx((3 + 1) / 4 / 6)
    assert outcome.honest_out == 0
    assert math.isnan(outcome.cost)
    notes = [note for result in rounds(replace(attacked, server_stages=[stage])) for note in result.notes]
    assert first_isolated(notes) == {0: 1, 1: 3}


def test_who_does_not_send_cannot_be_watched() -> None:
    with pytest.raises(ValueError, match=r"everybody in every round; got participation=0\.5, cohort=None"):
        detection.watch(Scenario(participation=0.5), {"norm": detect.norm})


def test_the_command_prints_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    detection.main(["--seeds", "1", "--rounds", "2", "--quarantines", "1"])
    page = capsys.readouterr().out
    lines = page.splitlines()
    for name in detection.scores():
        rows = [line for line in lines if line.startswith(f"| {name} |")]
        assert len(rows) == 4 + 3 * 5, name  # four tables of scores; three skews, five attacks
    widths = {line.count("|") for line in lines if line.startswith("| norm")}
    assert widths == {11, 15, 5, 9}
