"""Every exercise of every lab: the reference passes, and each planted wrong answer is caught for what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator

from labsec import poison, robust
from labsec.course import exercises
from labsec.course.checking import judge
from labsec.course.exercises.base import Exercise, case
from labsec.robust import weighted_mean
from labsec.types import AttackerView

EVERY = [task for lab in exercises.labs() for task in exercises.load(lab).EXERCISES]
WRONG = [(task, function, sentence) for task in EVERY for function, sentence in task.wrong]
every = pytest.mark.parametrize("task", EVERY, ids=lambda task: task.id)


@every
def test_the_reference_passes(task):
    assert judge(task, task.reference).state == "PASS"


BY_THE_LABORATORY = {
    "01.5": weighted_mean,
    "02.1": lambda y, classes: poison.label_flip(torch.empty(len(y), 1), y, classes, generator=Generator())[1],
    "02.2": poison.sign_flip,
    "02.3": robust.median,
    "02.4": robust.trimmed_mean,
    "02.5": robust.krum,
    "02.6": lambda view, *, z: poison.alie(replace(view, others=None), z=z),
    "02.7": lambda view, *, scale: poison.ipm(replace(view, others=None), scale=scale),
}


@pytest.mark.parametrize("number", BY_THE_LABORATORY)
def test_a_reference_says_what_the_laboratory_says(number):
    """They are written apart, one for learners and one for speed."""
    task = exercises.find(number)
    for each in task.drawn_cases():
        said = BY_THE_LABORATORY[number](*each.args, **each.kwargs)
        torch.testing.assert_close(task.reference(*each.args, **each.kwargs), said, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("task", "function", "sentence"), WRONG, ids=[f"{t.id}-{f.__name__}" for t, f, _ in WRONG])
def test_a_wrong_answer_is_caught_with_its_own_message(task, function, sentence):
    verdict = judge(task, function)
    assert verdict.state == "NOT YET"
    assert verdict.rows["Likely"] == sentence
    assert {"Given", "Got", "Wanted", "Problem"} <= verdict.rows.keys()


@every
def test_an_open_exercise_is_to_do(task):
    def open_exercise(*args, **kwargs):
        raise NotImplementedError

    assert judge(task, open_exercise).state == "TODO"


@every
def test_a_check_is_not_vacuous(task):
    """Neither the answer to the first case, nor zeros of the right shape, nor nothing passes for all."""
    first = task.drawn_cases()[0]
    always = task.reference(*first.args, **first.kwargs)
    assert len(task.drawn_cases()) >= 2
    assert judge(task, lambda *args, **kwargs: always).state == "NOT YET"
    assert judge(task, lambda *args, **kwargs: None).state == "NOT YET"
    assert judge(task, lambda *args, **kwargs: _zeros(task.reference(*args, **kwargs))).state == "NOT YET"


def _zeros(value):
    return [_zeros(item) for item in value] if isinstance(value, (list, tuple)) else torch.zeros_like(value)


@every
def test_a_right_answer_that_spoils_its_input_is_caught(task):
    def spoiling(*args, **kwargs):
        result = task.reference(*args, **kwargs)
        next(tensors(args)).add_(1)
        return result

    verdict = judge(task, spoiling)
    assert verdict.state == "NOT YET"
    assert "in place" in verdict.rows["Problem"]


def tensors(values):
    """The tensors among some arguments, and inside the views among them."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, AttackerView):
            yield value.own


@every
def test_hints_lead_from_a_nudge_to_nearly_the_code(task):
    assert len(set(task.hints)) == 3
    assert all(len(hint) > 10 for hint in task.hints)


@every
def test_cases_are_the_same_every_time(task):
    for one, other in zip(task.drawn_cases(), task.drawn_cases(), strict=True):
        for a, b in zip(one.args, other.args, strict=True):
            assert not isinstance(a, torch.Tensor) or torch.equal(a, b)


def test_ids_belong_to_their_lab_and_are_unique():
    for lab in exercises.labs():
        ids = [task.id for task in exercises.load(lab).EXERCISES]
        assert ids == [f"{lab}.{i}" for i in range(1, len(ids) + 1)]


def test_unknown_ids_name_the_known_ones():
    with pytest.raises(ValueError, match=r"no exercise '01.9'; known: 01.1, 01.2"):
        exercises.find("01.9")
    with pytest.raises(ValueError, match=r"no exercise 'sign_flip'; known: .*01.1"):
        exercises.find("sign_flip")
    with pytest.raises(ValueError, match=r"no lab '77'; known: .*01"):
        exercises.load("77")


def test_an_exercise_needs_three_hints_and_two_wrong_answers():
    with pytest.raises(ValueError, match="needs 3 hints and at least 2 wrong answers; got 3 and 0"):
        Exercise(id="99.1", title="", reference=len, cases=lambda g: [case([])], wrong=(), hints=("a", "b", "c"))
