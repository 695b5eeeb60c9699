"""Every exercise of every lab: the reference passes, and each planted wrong answer is caught for what it is."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from labsec import poison, robust
from labsec.course import exercises
from labsec.course.checking import judge
from labsec.course.exercises import lab01_answers
from labsec.course.exercises.base import Exercise, case
from labsec.geometry import clip_rows
from labsec.robust import weighted_mean
from labsec.types import AttackerView


def deal_one_by_one(order, clients):
    hands = [[] for _ in range(clients)]
    for place, sample in enumerate(order.tolist()):
        hands[place % clients].append(sample)
    return [torch.tensor(hand) for hand in hands]


def skew_by_numpy(y, shares):
    parts = [[] for _ in shares[0]]
    for label in range(len(shares)):
        members = np.flatnonzero(y.numpy() == label)
        cuts = np.round(np.cumsum(shares[label].numpy()) * len(members)).astype(int)[:-1]
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.extend(piece.tolist())
    return [torch.tensor(part, dtype=torch.int64) for part in parts]


def step_by_backward(model, params, x, y, *, lr):
    copy = params.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([copy], lr=lr)
    torch.nn.CrossEntropyLoss()(model(copy[None], x[None])[0], y).backward()
    optimizer.step()
    return copy.detach()


def krum_by_loops(updates, *, f):
    n = len(updates)
    scores = []
    for i in range(n):
        distances = sorted(float((updates[i] - updates[j]).square().sum()) for j in range(n) if j != i)
        scores.append(sum(distances[: n - f - 2]))
    return updates[scores.index(min(scores))].clone()


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
    "03.5": lambda learned, *, boost, bound: clip_rows(boost * learned, bound),
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
    if isinstance(value, (list, tuple)):
        return [_zeros(item) for item in value]
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else 0


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


@pytest.mark.parametrize("task", [task for task in EVERY if task.another], ids=lambda task: task.id)
def test_the_other_way_to_write_it_passes(task):
    """The code of the worked solution, as a learner would type it below the same signature."""
    lines = [line for line in task.another.splitlines() if line.startswith("    ")]
    assert lines
    signature = inspect.signature(task.reference).replace(return_annotation=inspect.Signature.empty)
    names = ", ".join(
        "*, " * (p.kind is p.KEYWORD_ONLY and not keyword_only_before(signature, name)) + name
        for name, p in signature.parameters.items()
    )
    space = {"torch": torch, "F": torch.nn.functional, "local_step": lab01_answers.local_step}
    exec(f"def answer({names}):\n" + "\n".join(lines), space)
    assert judge(task, space["answer"]).state == "PASS"


def keyword_only_before(signature, name):
    """Whether a parameter that can be given by name only stands before this one."""
    names = list(signature.parameters)
    return any(signature.parameters[n].kind is inspect.Parameter.KEYWORD_ONLY for n in names[: names.index(name)])


@pytest.mark.parametrize("lab", ["01", "02"])
def test_half_of_a_labs_exercises_show_another_way_and_one_goes_further(lab):
    tasks = exercises.load(lab).EXERCISES
    assert sum(bool(task.another) for task in tasks) >= len(tasks) / 2
    assert sum(bool(task.bonus) for task in tasks) == 1


OTHER_ALARMS = {
    "mean of the coordinates' medians": lambda u, f: u.norm(dim=1) > f * u.quantile(0.5, dim=0).norm(),
    "largest number": lambda u, f: u.abs().amax(dim=1) > f * u.abs().amax(dim=1).quantile(0.5),
    "sum of sizes": lambda u, f: u.abs().sum(dim=1) > f * u.abs().sum(dim=1).quantile(0.5),
    "deviations": lambda u, f: u.norm(dim=1) > u.norm(dim=1).mean() + f * u.norm(dim=1).std(),
    "upper median": lambda u, f: u.norm(dim=1) > f * u.norm(dim=1).sort().values[len(u) // 2],
    "shortest": lambda u, f: u.norm(dim=1) > f * u.norm(dim=1).min(),
    "distance to the mean": lambda u, f: (u - u.mean(dim=0)).norm(dim=1) > f * u.norm(dim=1).quantile(0.5),
    "nobody": lambda u, f: torch.zeros(len(u), dtype=torch.bool),
    "everybody": lambda u, f: torch.ones(len(u), dtype=torch.bool),
}


@pytest.mark.parametrize("name", OTHER_ALARMS)
def test_a_mistake_that_was_not_planted_gets_no_diagnosis(name):
    """Bits agree by chance: the inputs must tell an alarm of another kind from the planted ones."""
    verdict = judge(exercises.find("02.8"), lambda updates, *, factor: OTHER_ALARMS[name](updates, factor))
    assert verdict.state == "NOT YET"
    assert "Likely" not in verdict.rows


RIGHT_IN_ANOTHER_STYLE = {
    "01.1": lambda order, clients: [
        torch.stack([order[j] for j in range(i, len(order), clients)]) for i in range(clients)
    ],
    "01.2": skew_by_numpy,
    "01.3": step_by_backward,
    "01.5": lambda updates, *, weights: torch.from_numpy(np.average(updates, axis=0, weights=weights)).float(),
    "02.1": lambda y, classes: torch.tensor([classes - 1 - int(label) for label in y]),
    "02.2": lambda view, *, scale: torch.stack([-scale * row for row in view.own]),
    "02.3": lambda updates: torch.from_numpy(np.median(updates.numpy(), axis=0)),
    "02.5": krum_by_loops,
    "02.6": lambda view, *, z: (view.own.mean(dim=0) - z * view.own.std(dim=0)).repeat(len(view.own), 1),
    "02.8": lambda updates, *, factor: updates.square().sum(dim=1).sqrt() / updates.norm(dim=1).quantile(0.5) > factor,
}


@pytest.mark.parametrize("number", RIGHT_IN_ANOTHER_STYLE)
def test_a_right_answer_in_another_style_passes(number):
    verdict = judge(exercises.find(number), RIGHT_IN_ANOTHER_STYLE[number])
    assert verdict.state == "PASS", verdict.rows


def test_krum_returns_a_copy():
    verdict = judge(
        exercises.find("02.5"), lambda updates, *, f: view_of(updates, exercises.find("02.5").reference(updates, f=f))
    )
    assert verdict.rows["Problem"].startswith("The result is a view of the input")
    assert "Return a copy: `.clone()`" in verdict.reason


def view_of(updates, row):
    return updates[int((updates == row).all(dim=1).nonzero()[0])]


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
