"""Lab 05: what its panel shows, what its claims measure, and that its exercises say what the laboratory says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from labsec import bind, data, invert, metrics, models
from labsec.course import exercises
from labsec.course.claims import lab05 as measures
from labsec.course.claims.base import Summary
from labsec.course.exercises import lab05 as answers
from labsec.course.panels import lab05, lab05_pictures
from labsec.study import beyond
from labsec.types import generator

START = {"server": "bins", "neurons": 256, "batch": 64, "check": False}


def caught(**controls: Any) -> tuple[lab05.Caught, str]:
    values = START | controls
    *_, state = lab05.compute(**values)
    return state, lab05.reading(values, state)


# --- exercises


def test_the_words_are_those_of_the_laboratory() -> None:
    notes = data.load("notes")
    view = beyond.one_message(models.embedding(26, 168, 4), notes, torch.tensor([3, 8]), seed=0)
    rows = view.model.layers(view.messages)[0][0]
    assert torch.equal(answers.words_in(rows), invert.words_used(view))
    assert answers.words_in(rows).tolist() == sorted(set(notes.x[[3, 8]].flatten().tolist()) - {0})


def test_a_row_of_free_numbers_is_one_that_a_client_could_hold() -> None:
    widths = [column.width for column in data.credit_columns()]
    rows = answers.as_rows(torch.randn(7, sum(widths), generator=generator(0, "free")), widths)
    for part in rows.split(widths, dim=1):
        if part.shape[1] > 1:
            torch.testing.assert_close(part.sum(dim=1), torch.ones(7))
    assert float(rows.min()) >= 0
    assert float(rows.max()) <= 1


def test_the_decoder_undoes_every_error_below_a_quarter() -> None:
    truth = torch.tensor([0, 1, 2]).repeat(40)
    errors = 0.49 * (torch.rand(120, generator=generator(0, "errors")) - 0.5)
    assert torch.equal(answers.copies(truth / 2 + errors), truth)


def test_a_bin_of_the_exercise_is_what_the_laboratory_reads() -> None:
    """The sample of every bin that moved is among those that `read_imprint` names."""
    mnist = data.load("mnist5k")
    net = models.mlp(mnist.shape, 10, hidden=(64,))
    bins = bind(invert.imprint, model=net, public=mnist.x_test, one_hot=False)
    answer = beyond.one_round(net, mnist, batch=4, seed=0, broadcast=bins)
    weight, bias = (layer[0].double() for layer in net.layers(answer.view.messages)[:2])
    apart = (bias[:-1] - bias[1:]).abs()
    opened = (apart > 1e-5 * bias.abs().max()).nonzero()[:, 0].tolist()
    read = torch.stack([answers.in_bin(weight, bias, k) for k in opened]).view(-1, *mnist.shape).float()
    assert 1 <= len(opened) <= 4
    assert float((metrics.best_matches(read, answer.truth)[1] >= 25).double().mean()) >= 0.5


def test_likeness_is_one_for_bins_and_small_for_an_honest_layer_and_for_traps() -> None:
    mnist = data.load("mnist5k")
    net = models.mlp(mnist.shape, 10, hidden=(64,))
    honest = net.init(generator(0, "start"))
    draws = generator(0, "server")
    bins = invert.imprint(honest, model=net, public=mnist.x_test, one_hot=False, generator=draws)
    traps = invert.trap_weights(honest, model=net, scale=0.7, generator=draws)
    found = {
        name: float(answers.likeness(net.layers(params[None])[0][0]))
        for name, params in {"honest": honest, "bins": bins, "traps": traps}.items()
    }
    assert found["bins"] == pytest.approx(1, abs=1e-4)
    assert max(found["honest"], found["traps"]) < 0.1


def test_places_name_the_words_that_the_numbers_name() -> None:
    notes = data.load("notes")
    model = models.embedding(26, 168, 4)
    view = beyond.one_message(model, notes, torch.tensor([5]), seed=0)
    places = view.messages[0].nonzero()[:, 0]
    assert torch.equal(answers.words_by_place(places, vocabulary=168, width=32), invert.words_used(view))


@pytest.mark.parametrize("task", exercises.load("05").EXERCISES, ids=lambda task: task.id)
def test_every_planted_mistake_is_told_from_the_right_answer(task: Any) -> None:
    from labsec.course.checking import judge

    assert judge(task, task.reference).state == "PASS"
    for wrong, sentence in task.wrong:
        verdict = judge(task, wrong)
        assert (verdict.state, verdict.reason) == ("NOT YET", sentence)


# --- messages


def test_an_audit_reads_what_bins_and_traps_give_away_and_little_of_an_honest_batch() -> None:
    mnist = data.load("mnist5k")
    net = models.mlp(mnist.shape, 10, hidden=(256,))
    bins = bind(invert.imprint, model=net, public=mnist.x_test, one_hot=False)
    traps = bind(invert.trap_weights, model=net, scale=0.7)
    read = {
        name: beyond.audit(beyond.one_round(net, mnist, batch=64, seed=0, broadcast=broadcast))
        for name, broadcast in {"honest": None, "bins": bins, "traps": traps}.items()
    }
    assert read["honest"] < 0.15 < 0.3 < read["traps"]
    assert read["bins"] > 0.6


def test_a_search_through_a_decoder_finds_the_row() -> None:
    credit = data.load("credit")
    widths = [column.width for column in data.credit_columns()]
    net = models.mlp(credit.shape, 2, hidden=(64,))
    view = beyond.one_message(net, credit, torch.tensor([7]), seed=0)
    found = beyond.matched(view, credit.y[[7]], lambda free: answers.as_rows(free, widths), seed=0)
    assert metrics.category_accuracy(found, credit.x[[7]], widths=widths) == 1.0
    assert metrics.category_accuracy(found, credit.x[[8]], widths=widths) < 1.0, "the stranger"


# --- the panel


@pytest.mark.parametrize(("neurons", "batch"), [(64, 64), (256, 64), (1024, 128)])
def test_what_bins_catch_is_near_the_theory(neurons: int, batch: int) -> None:
    state, said = caught(neurons=neurons, batch=batch)
    assert np.mean(state.shares) == pytest.approx(lab05.theory(neurons, batch), abs=0.12)
    assert f"by theory: {lab05.theory(neurons, batch):.0%}" in said


def test_an_honest_server_reads_little_of_a_batch_and_all_of_a_single_picture() -> None:
    state, said = caught(server="honest")
    assert max(state.shares) < 0.15
    assert state.baseline == 0
    assert "theory" not in said
    single, _ = caught(server="honest", batch=1)
    assert min(single.shares) == 1.0


def test_a_client_that_looks_refuses_bins_and_trains_for_an_honest_server_and_for_traps() -> None:
    refused, said = caught(check=True)
    assert refused.refuses
    assert max(refused.shares) == 0
    assert not bool(refused.good.any())
    assert "refuses" in said
    for server in ("honest", "traps"):
        trained, said = caught(server=server, check=True)
        assert not trained.refuses
        assert "finds nothing wrong" in said
    assert max(caught(server="traps", check=True)[0].shares) > 0.3


def test_the_drawing_shows_the_theory_for_bins_alone() -> None:
    drawing = lab05.ImprintDrawing()
    state, _ = caught()
    drawing.update(START, state)
    assert np.isfinite(drawing.line.get_ydata()).all()
    drawing.update(START | {"server": "honest"}, caught(server="honest")[0])
    assert not np.isfinite(drawing.line.get_ydata()).any()


# --- claims


def spread(ends: dict[str, tuple[float, float]]) -> dict[str, Summary]:
    return {name: Summary(mean=0, std=0, min=low, max=high, seeds=[low, high]) for name, (low, high) in ends.items()}


def test_a_share_is_read_if_its_worst_seed_closes_half_of_the_gap_to_the_best_guess() -> None:
    guess = spread({"cells": (40, 60)})
    assert measures.closes_the_gap("cells", spread({"cells": (80, 100)}), guess)
    assert not measures.closes_the_gap("cells", spread({"cells": (79, 100)}), guess)


def test_a_verdict_names_the_settings_that_were_read() -> None:
    guess = spread({"one": (0, 20), "many": (0, 20)})
    assert measures.by_setting("the batch", spread({"one": (90, 100), "many": (60, 90)}), guess) == "held"
    half = spread({"one": (90, 100), "many": (50, 90)})
    assert measures.by_setting("the batch", half, guess) == "depends on the batch: so for one"
    assert measures.by_setting("the batch", spread({"one": (0, 20), "many": (0, 20)}), guess) == "did not hold"


def test_claim_23_asks_for_76_percent_and_for_more_than_a_guess() -> None:
    guess = spread({"genotypes": (60, 68), "bases": (20, 30)})
    assert measures.three_quarters(spread({"genotypes": (84, 90), "bases": (76, 80)}), guess) == "held"
    flattered = spread({"genotypes": (80, 90), "bases": (76, 80)})
    assert measures.three_quarters(flattered, guess).endswith("so for bases")


def test_places_tell_and_all_rows_tell_nothing() -> None:
    told = measures.told_by_counts(0)
    nothing = measures.told_by_nothing(0)
    assert told["words, by the places"] == told["number of words, by the size"] == 100
    assert told["desk, all rows sent"] == nothing["desk, all rows sent"] < 40


def test_the_order_is_not_in_the_gradient_of_a_mean() -> None:
    read = measures.words_read(0)
    assert read["words, mean"] == read["order, learned positions"] == 100
    assert read["order, mean"] < 25


# --- pictures


def test_the_pictures_say_what_they_show() -> None:
    said = lab05_pictures.by_batch({"message": {1: 1.0, 8: 0.5}, "guess": {1: 0.4, 8: 0.4}}, title="Cells").alt
    assert "message: 1 100%, 8 50%; guess: 1 40%, 8 40%" in said
    truth = torch.rand(3, 1, 4, 4, generator=generator(0, "pictures"))
    assert "3 of 3 samples were read" in lab05_pictures.caught(truth, truth, title="All").alt
