"""Exercises in a notebook: `@exercise` keeps everybody going, `check` says where an answer stands.

An answer that is missing or wrong is replaced by the course's reference, and a line says so. With LABSEC_STRICT=1 a
check that does not pass raises an error.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from labsec.course import exercises, progress_file
from labsec.course.card import BLUE, GREY, ORANGE, Card
from labsec.course.compare import complaint, identical, left_gradient, share_memory, show, show_argument
from labsec.course.exercises.base import Case, Exercise, unchanged
from labsec.course.guesses import calibration

SYMBOLS = {"PASS": "✓", "NOT YET": "△", "TODO": "○"}
EDGES = {"PASS": BLUE, "NOT YET": ORANGE, "TODO": GREY}
HINT_NAMES = ("a nudge", "the approach", "nearly the code")


@dataclass(frozen=True)
class Verdict:
    """Where an answer stands.

    state    "PASS", "NOT YET" or "TODO"
    rows     for NOT YET: the likely misconception, what was given, what came back, what was expected, the difference
    """

    state: str
    rows: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The sentence that helps most: the misconception, or else the difference; "" where there is none."""
        return self.rows.get("Likely") or self.rows.get("Problem", "")


@dataclass(frozen=True)
class Outcome:
    """What one call did.

    returned    what it returned
    result      the essence of that: what is compared
    error       what it raised
    spoiled     what it did to its arguments that it should not have done, as a sentence; "" if it did nothing
    """

    returned: Any = None
    result: Any = None
    error: Exception | None = None
    spoiled: str = ""


def judge(task: Exercise, function: Callable[..., Any]) -> Verdict:
    """Try an answer on every case of an exercise.

    >>> from labsec.course.exercises import find
    >>> judge(find("01.5"), lambda updates, *, weights: updates.mean(dim=0)).rows["Likely"]
    'Every client counts alike here. ...'
    """
    wanted = _outcomes(task, task.reference)
    got = _outcomes(task, function)
    if any(_is_open(function, outcome.error) for outcome in got):
        return Verdict("TODO")

    # The first case that goes wrong is shown; one is enough to think about.
    for case, right, mine in zip(task.drawn_cases(), wanted, got, strict=True):
        problem = _problem(task, right, mine)
        if problem:
            likely = _misconception(task, got)
            rows = {"Likely": likely} if likely else {}
            rows |= {
                "Given": _given(task, case),
                "Got": "an error" if mine.error else show(mine.returned),
                "Wanted": show(right.returned),
                "Problem": problem,
            }
            return Verdict("NOT YET", rows)
    return Verdict("PASS")


def _is_open(function: Callable[..., Any], error: Exception | None) -> bool:
    """Whether an error is the stub's own `raise NotImplementedError`.

    PyTorch raises this type, too, with a message, where it has no code for what it was asked.
    """
    if not isinstance(error, NotImplementedError) or error.args:
        return False
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code is getattr(inspect.unwrap(function), "__code__", None)


def _outcomes(task: Exercise, function: Callable[..., Any]) -> list[Outcome]:
    """What a function does in every case, each drawn afresh for it."""
    return [_try(task, function, case) for case in task.drawn_cases()]


def _try(task: Exercise, function: Callable[..., Any], case: Case) -> Outcome:
    before = copy.deepcopy(_arguments(task, case))

    # A learner's code may raise anything, and a check explains it.
    try:
        returned = function(*case.args, **case.kwargs)
    except Exception as error:
        return Outcome(error=error)

    # Others still need the inputs: neither may they be spoiled, nor reached through the result where a copy is due.
    after = _arguments(task, case)
    spoiled = _spoiled(before, after)
    if not spoiled and task.copied and share_memory(returned, list(after.values())):
        spoiled = "The result is a view of the input, so whoever changes it changes both. Return a copy: `.clone()`."

    # Where several answers are right, only what they share is compared. A result of another kind may have no essence:
    # then all of it is compared, and the complaint says what kind was expected.
    try:
        return Outcome(returned=returned, result=task.essence(returned), spoiled=spoiled)
    except Exception:
        return Outcome(returned=returned, result=returned, spoiled=spoiled)


def _spoiled(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What happened to the arguments, as a sentence; "" if they are what they were."""
    changed = ", ".join(name for name in before if not identical(before[name], after[name]))
    if changed:
        return f"Your function changed {changed} in place; work on a copy, others still need it."
    marked = ", ".join(name for name in before if left_gradient(before[name], after[name]))
    if marked:
        return (
            f"Your function left its mark on {marked} (`.requires_grad` or `.grad`), which others still need. "
            f"Work on a copy, such as {marked}.detach().clone().requires_grad_()."
        )
    return ""


def _problem(task: Exercise, right: Outcome, mine: Outcome) -> str:
    """Why an outcome is not the right one; "" if it is."""
    if mine.error is not None:
        return f"Your function raised {type(mine.error).__name__}: {_first_line(mine.error)}"
    found = mine.spoiled or complaint(right.result, mine.result, task.tolerance)
    if not found or mine.spoiled or task.essence is unchanged:
        return found
    return f"{found} ({inspect.getdoc(task.essence)})"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _misconception(task: Exercise, got: Sequence[Outcome]) -> str:
    """The sentence of the planted wrong answer that does the same as this one in every case; "" if none does."""
    for function, sentence in task.wrong:
        pairs = zip(_outcomes(task, function), got, strict=True)
        if all(_alike(planted, mine, task.tolerance) for planted, mine in pairs):
            return sentence
    return ""


def _alike(one: Outcome, other: Outcome, tolerance: float) -> bool:
    """Whether two calls went the same way: errors of one type and text, or results within the tolerance."""
    if one.error is not None or other.error is not None:
        return type(one.error) is type(other.error) and str(one.error) == str(other.error)
    return one.spoiled == other.spoiled and not complaint(one.result, other.result, tolerance)


def _arguments(task: Exercise, case: Case) -> dict[str, Any]:
    """The arguments of a case under the names that the reference gives them."""
    return dict(inspect.signature(task.reference).bind(*case.args, **case.kwargs).arguments)


def _given(task: Exercise, case: Case) -> str:
    return "\n".join(show_argument(name, value) for name, value in _arguments(task, case).items())


def exercise(exercise_id: str, *, use: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function as the answer to an exercise. If it does not pass yet, its name calls the reference.

    use    "mine" to call the learner's function all the same, for a look at what a wrong answer does

    >>> @exercise("01.5")
    ... def weighted_mean(updates, *, weights):
    ...     raise NotImplementedError
    ○ Exercise 01.5 is open: below, weighted_mean is the course's reference.
    >>> weighted_mean.uses
    'reference'

    Raises ValueError for an unknown id, or another `use`.
    """
    task = exercises.find(exercise_id)
    if use not in (None, "mine"):
        raise ValueError(f'use is None or "mine"; got {use!r}')

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        state = judge(task, function).state
        uses = "mine" if state == "PASS" or use == "mine" else "reference"
        _banner(task, function.__name__, state, uses)
        return _labelled(function, function if uses == "mine" else task.reference, uses)

    return decorate


def _labelled(function: Callable[..., Any], chosen: Callable[..., Any], uses: str) -> Callable[..., Any]:
    """`chosen` under the learner's name; the attribute `uses` says whose it is, `learner` holds the learner's own."""

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        return chosen(*args, **kwargs)

    # The engine reads a signature to see what a rule asks for: it must be that of the function which is called.
    vars(named).update(uses=uses, learner=function, __signature__=inspect.signature(chosen))
    return named


def _banner(task: Exercise, name: str, state: str, uses: str) -> None:
    """Say what stands below under the learner's name, unless it is the learner's own answer and right."""
    if state == "PASS":
        return
    what = "open" if state == "TODO" else "not right yet"
    whose = "your own answer" if uses == "mine" else "the course's reference"
    title = f"Exercise {task.id} is {what}: below, {name} is {whose}."
    _display(Card(symbol=SYMBOLS[state], title=title, edge=EDGES[state]))


def check(exercise_id: str, function: Callable[..., Any]) -> None:
    """Show where the answer to an exercise stands: PASS, NOT YET (and why) or TODO, with hints to unfold.

    >>> check("01.5", find_answer)
    Traceback (most recent call last):
    NameError: name 'find_answer' is not defined

    Raises ValueError for an unknown id; AssertionError if the answer does not pass and LABSEC_STRICT=1.
    """
    task = exercises.find(exercise_id)

    # `exercise` may have put the reference in the answer's place: judge the answer, not the reference.
    verdict = judge(task, getattr(function, "learner", function))
    card = _verdict_card(task, verdict)
    if os.environ.get("LABSEC_STRICT") == "1":
        assert verdict.state == "PASS", f"\n{card}"
    progress_file.note(task.id, verdict.state)
    _display(card)


def _verdict_card(task: Exercise, verdict: Verdict) -> Card:
    if verdict.state == "PASS":
        further = {"Another way to write it, and why": task.another, "One step further": task.bonus}
        folded = {name: text for name, text in further.items() if text}
        body = ""
    else:
        folded = {f"Hint {i} of 3: {HINT_NAMES[i - 1]}": text for i, text in enumerate(task.hints, start=1)}
        body = f'There are three hints: unfold them, or call hint("{task.id}", 1).'

    # The reason stands above, in bold; below it only what it was read off.
    rows = {name: text for name, text in verdict.rows.items() if text != verdict.reason}
    return Card(
        symbol=SYMBOLS[verdict.state],
        title=f"{verdict.state} · {task.id} {task.title}",
        reason=verdict.reason,
        body=body,
        rows=rows,
        folded=folded,
        edge=EDGES[verdict.state],
    )


def hint(exercise_id: str, number: int) -> Card:
    """One of the three hints of an exercise: 1 nudges, 2 names the approach, 3 is nearly the code.

    >>> hint("01.5", 1)
    ? Hint 1 of 3 for 01.5: a nudge
      ...

    Raises ValueError for an unknown id or number.
    """
    if number not in (1, 2, 3):
        raise ValueError(f"there are hints 1, 2 and 3; got {number}")
    task = exercises.find(exercise_id)
    return Card(
        symbol="?",
        title=f"Hint {number} of 3 for {task.id}: {HINT_NAMES[number - 1]}",
        body=task.hints[number - 1],
    )


def progress(lab: str = "") -> Card:
    """Every exercise and its state in this folder, and how good the learner's predictions are.

    lab    the exercises of this lab alone, such as "01"; "" for those of the whole course

    The file never leaves this machine.

    >>> print(progress("01"))
    ☰ Your progress
      01.1 ...

    Raises ValueError for a number that no lab has.
    """
    states = progress_file.states()
    tasks = [task for each in ([lab] if lab else exercises.labs()) for task in exercises.load(each).EXERCISES]
    rows = {}
    for task in tasks:
        state = states.get(task.id, "TODO")
        rows[f"{task.id} {task.title}"] = f"{SYMBOLS.get(state, '○')} {state}"
    return Card(symbol="☰", title="Your progress", rows=rows | calibration())


def _display(card: Card) -> None:
    """Show a card in a notebook, print it elsewhere."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(card)
        return
    from IPython.display import display

    display(card)
