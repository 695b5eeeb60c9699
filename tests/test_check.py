"""What a learner sees: cards, reasons, the reference in place of an open exercise, progress."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from labsec import Scenario, run
from labsec.course import progress_file as progress
from labsec.course.checking import check, exercise, hint, judge
from labsec.course.checking import progress as progress_card
from labsec.course.compare import complaint, identical, kind, show
from labsec.course.exercises import find
from labsec.course.exercises.lab01_answers import weighted_mean as right
from labsec.robust import weighted_mean


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABSEC_STRICT", raising=False)
    monkeypatch.setattr(progress, "_session", {})


def open_mean(updates, *args, weights, **kwargs):
    raise NotImplementedError


def plain_mean(updates, *, weights):
    return updates.mean(dim=0)


def reason(function):
    verdict = judge(find("01.5"), function)
    assert verdict.state == "NOT YET"
    return verdict.rows["Problem"]


def test_an_open_exercise_is_replaced_by_the_reference_and_says_so(capsys):
    answer = exercise("01.5")(open_mean)
    assert "open_mean is the course's reference" in capsys.readouterr().out
    assert answer(torch.eye(2), weights=torch.tensor([3, 1])).tolist() == [0.75, 0.25]
    assert answer.uses == "reference"


def test_a_wrong_answer_is_replaced_unless_the_learner_insists(capsys):
    rows = torch.eye(2)
    assert exercise("01.5")(plain_mean)(rows, weights=torch.tensor([3, 1])).tolist() == [0.75, 0.25]
    assert exercise("01.5", use="mine")(plain_mean)(rows, weights=torch.tensor([3, 1])).tolist() == [0.5, 0.5]
    assert "your own answer" in capsys.readouterr().out


def test_a_right_answer_is_used_in_silence(capsys):
    answer = exercise("01.5")(right)
    assert answer.uses == "mine"
    assert capsys.readouterr().out == ""


def test_another_use_is_refused():
    with pytest.raises(ValueError, match="use is None or \"mine\"; got 'yours'"):
        exercise("01.5", use="yours")


def test_an_exercise_fits_into_a_scenario():
    """The engine reads the signature, so a replaced function must show the reference's."""
    rule = exercise("01.5")(open_mean)
    assert "weights" in inspect.signature(rule).parameters
    assert run(Scenario(rounds=1, aggregate=rule)).accuracy == run(Scenario(rounds=1, aggregate=weighted_mean)).accuracy


def test_check_shows_the_learners_answer_and_not_the_reference(capsys):
    answer = exercise("01.5")(plain_mean)
    capsys.readouterr()
    check("01.5", answer)
    shown = capsys.readouterr().out
    assert shown.startswith("△ NOT YET · 01.5 The weighted mean")
    assert "A client with ten times the samples should count ten times." in shown
    assert "Given" in shown
    assert "updates = [[" in shown


def test_the_three_states_begin_the_text(capsys):
    for function, start in ((open_mean, "○ TODO · 01.5"), (plain_mean, "△ NOT YET · 01.5"), (right, "✓ PASS · 01.5")):
        check("01.5", function)
        assert capsys.readouterr().out.startswith(start)


def test_hints_are_folded_until_the_answer_passes():
    from labsec.course.checking import Verdict, _verdict_card

    task = find("01.5")
    assert _verdict_card(task, Verdict("TODO"))._repr_html_().count("<details") == 3
    passed = _verdict_card(find("01.3"), Verdict("PASS"))
    assert "Another way to write it, and why" in passed.folded
    assert not any(name.startswith("Hint") for name in passed.folded)
    assert task.hints[2] not in repr(_verdict_card(task, Verdict("TODO")))
    assert task.hints[2].splitlines()[0] in repr(hint("01.5", 3))
    with pytest.raises(ValueError, match="there are hints 1, 2 and 3; got 4"):
        hint("01.5", 4)


@pytest.mark.parametrize("function", [open_mean, plain_mean])
def test_strict_checks_raise(function, monkeypatch):
    monkeypatch.setenv("LABSEC_STRICT", "1")
    with pytest.raises(AssertionError, match=r"TODO|NOT YET"):
        check("01.5", function)


def test_strict_checks_let_a_right_answer_pass(monkeypatch, capsys):
    monkeypatch.setenv("LABSEC_STRICT", "1")
    check("01.5", right)
    assert "PASS" in capsys.readouterr().out


def test_every_way_to_be_wrong_is_explained():
    assert "expected [2]" in reason(lambda updates, *, weights: updates)
    assert "float64; expected float32" in reason(lambda updates, *, weights: right(updates, weights=weights).double())
    assert "is a list; expected a tensor" in reason(
        lambda updates, *, weights: right(updates, weights=weights).tolist()
    )
    assert "`return` missing" in reason(lambda updates, *, weights: None)
    assert "are NaN" in reason(lambda updates, *, weights: right(updates, weights=weights) / 0 * 0)
    assert "raised ZeroDivisionError" in reason(lambda updates, *, weights: 1 / 0)
    assert "raised TypeError" in reason(lambda updates: updates)
    assert "changed updates in place" in reason(lambda updates, *, weights: right(updates.mul_(2), weights=weights) / 2)
    assert "numbers differ" in reason(lambda updates, *, weights: right(updates, weights=weights) + 1e-3)
    assert "gradient graph" in reason(
        lambda updates, *, weights: right(updates.clone().requires_grad_(), weights=weights)
    )


def test_a_pair_of_values_and_places_is_named_for_what_it_is():
    """`median(dim=0)` returns a tuple of a type called median, which explains nothing."""
    problem = reason(lambda updates, *, weights: updates.median(dim=0))
    assert problem == (
        "The result is the pair of values and places that `torch.median` returns; expected a tensor. Take `.values`."
    )


def test_a_type_that_numpy_brought_along_is_named_with_the_remedy():
    problem = reason(lambda updates, *, weights: torch.from_numpy(np.average(updates, axis=0, weights=weights)))
    assert problem == "The type is float64; expected float32. `.float()` converts it."


def spoil_in_place(updates):
    updates.mul_(2)


def spoil_by_numpy(updates):
    updates.numpy()[0, 0] = 7


def spoil_by_data(updates):
    updates.data[0, 0] = 7


def spoil_through_a_view(updates):
    updates[0].zero_()


@pytest.mark.parametrize("spoil", [spoil_in_place, spoil_by_numpy, spoil_by_data, spoil_through_a_view])
def test_an_input_that_was_changed_by_any_way_is_noticed(spoil):
    def answer(updates, *, weights):
        result = right(updates, weights=weights)
        spoil(updates)
        return result

    assert reason(answer) == "Your function changed updates in place; work on a copy, others still need it."


def leave_a_gradient(updates):
    updates.requires_grad_().sum().backward()
    updates.requires_grad_(False)


@pytest.mark.parametrize("mark", [leave_a_gradient, torch.Tensor.requires_grad_], ids=["grad", "requires_grad"])
def test_a_gradient_that_is_left_on_an_input_is_noticed(mark):
    """The next exercises share these parameters, and fail there for no reason that a learner could find."""

    def answer(updates, *, weights):
        mark(updates)
        return right(updates, weights=weights).detach()

    assert reason(answer).startswith("Your function left its mark on updates (`.requires_grad` or `.grad`)")


def test_a_gradient_on_a_copy_is_nobodys_business():
    def answer(updates, *, weights):
        copy = updates.detach().clone().requires_grad_()
        copy.sum().backward()
        return right(copy, weights=weights).detach()

    assert judge(find("01.5"), answer).state == "PASS"


def test_only_the_stubs_own_line_means_to_do():
    """PyTorch raises the same type, with a message, where it has no code for what it is asked."""

    def asks_too_much(updates, *, weights):
        raise NotImplementedError("Could not run 'aten::foo' with arguments from the 'Bar' backend.")

    def asks_torch(updates, *, weights):
        return torch.empty(2, device="meta").tolist()

    def helper():
        raise NotImplementedError

    def calls_an_open_helper(updates, *, weights):
        helper()

    assert judge(find("01.5"), open_mean).state == "TODO"
    with pytest.raises(NotImplementedError):
        asks_torch(None, weights=None)
    for answer in (asks_too_much, asks_torch, calls_an_open_helper):
        assert reason(answer).startswith("Your function raised NotImplementedError")


def test_the_reason_comes_first_and_in_bold(capsys):
    check("01.5", plain_mean)
    second = capsys.readouterr().out.splitlines()[1].strip()
    assert second.startswith("Every client counts alike here.")
    from labsec.course.checking import _verdict_card

    task = find("01.5")
    page = _verdict_card(task, judge(task, plain_mean))._repr_html_()
    assert "<strong>Every client counts alike here." in page
    places = [page.index(word) for word in ("Every client counts", ">Given<", ">Got<", ">Wanted<", "Hint 1 of 3")]
    assert places == sorted(places)


def test_without_a_diagnosis_the_difference_is_the_reason():
    verdict = judge(find("01.5"), lambda updates, *, weights: right(updates, weights=weights) + 1)
    assert "Likely" not in verdict.rows
    assert verdict.reason == verdict.rows["Problem"]


def test_what_was_returned_is_shown_as_it_was_returned():
    """The parts of 01.1 are compared sorted, and shown as they are."""
    verdict = judge(find("01.1"), lambda order, clients: [order.flip(0)[i::clients] for i in range(clients - 1)])
    order = find("01.1").drawn_cases()[0].args[0].flip(0)
    assert verdict.rows["Got"] == show([order[i::3] for i in range(2)])


def test_a_view_is_shown_by_its_tensors_and_without_addresses():
    given = judge(find("02.2"), lambda view, *, scale: view.own).rows["Given"]
    assert len(given) < 500
    assert " at 0x" not in given
    assert {line.split(" = ")[0] for line in given.splitlines()} >= {"view.own", "view.params", "scale"}


def test_a_diagnosis_needs_the_same_error_and_not_only_one_of_its_type():
    """01.5 plants `weights @ updates`, which raises a RuntimeError; another RuntimeError is another mistake."""
    planted = judge(find("01.5"), lambda updates, *, weights: weights @ updates)
    assert planted.rows["Likely"].startswith("`weights` holds whole numbers")
    assert "Likely" not in judge(find("01.5"), lambda updates, *, weights: updates @ updates[:, :1].T[:, :0]).rows


def test_complaints_about_other_kinds():
    assert complaint(3, 3.0, 1e-6) == ""
    assert complaint(3, float("nan"), 1e-6) == "The result is nan; expected 3."
    assert complaint(3, "3", 1e-6) == "The result is a str; expected a number."
    assert complaint([1], [1, 2], 1e-6) == "The result has 2 items; expected 1."
    assert complaint([1], 1, 1e-6) == "The result is an int; expected a list of 1."
    assert complaint([torch.zeros(2)], [torch.ones(2)], 1e-6).startswith("2 of 2 numbers of item 0 differ")
    assert complaint("a", "b", 1e-6) == "The result is b; expected a."
    assert complaint(torch.tensor([float("nan")]), torch.tensor([float("nan")]), 1e-6) == ""


def test_arguments_are_compared_by_value():
    assert identical({"a": [torch.zeros(2), 1]}, {"a": [torch.zeros(2), 1]})
    assert not identical({"a": [torch.zeros(2), 1]}, {"a": [torch.ones(2), 1]})
    assert not identical([1], [1, 2])
    assert identical(torch.tensor([torch.nan, 1.0]), torch.tensor([torch.nan, 1.0]))
    view = Scenario(rounds=1)
    assert identical(view, view)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.0, 1.0], [torch.nan, 1.0]),
        ([torch.nan, 1.0], [0.0, 1.0]),
        ([torch.finfo(torch.float32).max], [torch.inf]),
        ([-torch.inf], [torch.inf]),
    ],
)
def test_a_number_that_becomes_nan_or_infinite_has_changed(before, after):
    assert not identical(torch.tensor(before), torch.tensor(after))


def test_nan_in_an_answer_is_right_only_where_it_is_wanted():
    wanted = torch.tensor([1.0, torch.nan, 0.0])
    assert complaint(wanted, wanted.clone(), 1e-6) == ""
    assert "1 of 3 numbers are NaN" in complaint(torch.zeros(3), torch.tensor([0.0, torch.nan, 0.0]), 1e-6)
    assert "the first, at [1], is 0; expected nan" in complaint(wanted, torch.tensor([1.0, 0.0, 0.0]), 1e-6)


def test_values_are_shown_short():
    assert show(torch.Generator()) == "a generator"
    assert show(list(range(9))) == "[0, 1, 2, 3, 4, 5, …]"
    assert len(show(torch.rand(100, 100))) < 80
    assert kind(3) == "an int"


def test_progress_is_kept_in_the_folder_and_shown(tmp_path, capsys):
    check("01.5", right)
    check("01.6", open_mean)
    assert json.loads((tmp_path / ".progress.json").read_text()) == {"01.5": "PASS", "01.6": "TODO"}
    assert progress_card().rows["01.5 The weighted mean"] == "✓ PASS"
    assert progress_card().rows["01.1 Deal the samples"] == "○ TODO"


def test_forgetting_one_lab_leaves_the_others(tmp_path, capsys):
    (tmp_path / ".progress.json").write_text('{"01.5": "PASS", "02.1": "PASS", "10.1": "TODO"}')
    progress.forget("01")
    assert json.loads((tmp_path / ".progress.json").read_text()) == {"02.1": "PASS", "10.1": "TODO"}


def test_progress_survives_a_file_that_cannot_be_read(tmp_path, capsys):
    for text in ("{", "[1]", ""):
        (tmp_path / ".progress.json").write_text(text)
        check("01.5", right)
        assert progress.read() == {"01.5": "PASS"}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    (tmp_path / ".progress.json").mkdir()  # so that the file cannot be written, whoever runs the test
    check("01.5", right)
    assert progress.read() == {}


def test_the_courses_own_folders_keep_no_progress(monkeypatch, capsys):
    monkeypatch.chdir(progress.GENERATED[0])
    check("01.5", right)
    assert not (progress.GENERATED[0] / ".progress.json").exists()
    assert "✓ PASS" in repr(progress_card())


def test_progress_needs_the_standard_library_only(tmp_path):
    code = "import sys, labsec.course.progress_file; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
