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
from labsec.course.compare import complaint, identical, show
from labsec.course.exercises.base import Case, Exercise
from labsec.course.guesses import calibration

SYMBOLS = {"PASS": "✓", "NOT YET": "△", "TODO": "○"}
EDGES = {"PASS": BLUE, "NOT YET": ORANGE, "TODO": GREY}
HINT_NAMES = ("a nudge", "the approach", "nearly the code")


@dataclass(frozen=True)
class Verdict:
    """Where an answer stands.

    state    "PASS", "NOT YET" or "TODO"
    rows     for NOT YET: what was given, what came back, what was expected, the likely misconception
    """

    state: str
    rows: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one call did.

    result     its essence, where the call returned
    error      what it raised
    changed    the names of the arguments that it changed in place, separated by commas; "" if it left all as they were
    """

    result: Any = None
    error: Exception | None = None
    changed: str = ""


def judge(task: Exercise, function: Callable[..., Any]) -> Verdict:
    """Try an answer on every case of an exercise.

    >>> from labsec.course.exercises import find
    >>> judge(find("01.5"), lambda updates, *, weights: updates.mean(dim=0)).rows["Likely"]
    'Every client counts alike here. ...'
    """
    wanted = _outcomes(task, task.reference)
    got = _outcomes(task, function)
    if any(isinstance(outcome.error, NotImplementedError) for outcome in got):
        return Verdict("TODO")

    # The first case that goes wrong is shown; one is enough to think about.
    for case, right, mine in zip(task.drawn_cases(), wanted, got, strict=True):
        problem = _problem(right, mine, task.tolerance)
        if problem:
            rows = {
                "Given": _given(task, case),
                "Got": "an error" if mine.error else show(mine.result),
                "Wanted": show(right.result),
                "Problem": problem,
            }
            likely = _misconception(task, got)
            if likely:
                rows["Likely"] = likely
            return Verdict("NOT YET", rows)
    return Verdict("PASS")


def _outcomes(task: Exercise, function: Callable[..., Any]) -> list[Outcome]:
    """What a function does in every case, each drawn afresh for it."""
    return [_try(task, function, case) for case in task.drawn_cases()]


def _try(task: Exercise, function: Callable[..., Any], case: Case) -> Outcome:
    before = copy.deepcopy(_arguments(task, case))

    # A learner's code may raise anything, and a check explains it.
    try:
        result = function(*case.args, **case.kwargs)
    except Exception as error:
        return Outcome(error=error)

    # Did it spoil an input that others still need?
    after = _arguments(task, case)
    changed = ", ".join(name for name in before if not identical(before[name], after[name]))

    # Where several answers are right, only what they share is compared. A result of another kind may have no essence:
    # then all of it is compared, and the complaint says what kind was expected.
    try:
        return Outcome(result=task.essence(result), changed=changed)
    except Exception:
        return Outcome(result=result, changed=changed)


def _problem(right: Outcome, mine: Outcome, tolerance: float) -> str:
    """Why an outcome is not the right one; "" if it is."""
    if mine.error is not None:
        return f"Your function raised {type(mine.error).__name__}: {mine.error}"
    if mine.changed:
        return f"Your function changed {mine.changed} in place; work on a copy, others still need it."
    return complaint(right.result, mine.result, tolerance)


def _misconception(task: Exercise, got: Sequence[Outcome]) -> str:
    """The sentence of the planted wrong answer that does the same as this one in every case; "" if none does."""
    for function, sentence in task.wrong:
        pairs = zip(_outcomes(task, function), got, strict=True)
        if all(_alike(planted, mine, task.tolerance) for planted, mine in pairs):
            return sentence
    return ""


def _alike(one: Outcome, other: Outcome, tolerance: float) -> bool:
    """Whether two calls went the same way: errors of one type, or results within the tolerance."""
    if one.error is not None or other.error is not None:
        return type(one.error) is type(other.error)
    return one.changed == other.changed and not complaint(one.result, other.result, tolerance)


def _arguments(task: Exercise, case: Case) -> dict[str, Any]:
    """The arguments of a case under the names that the reference gives them."""
    return dict(inspect.signature(task.reference).bind(*case.args, **case.kwargs).arguments)


def _given(task: Exercise, case: Case) -> str:
    return "\n".join(f"{name} = {show(value)}" for name, value in _arguments(task, case).items())


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
    folded = {}
    body = ""
    if verdict.state != "PASS":
        folded = {f"Hint {i} of 3: {HINT_NAMES[i - 1]}": text for i, text in enumerate(task.hints, start=1)}
        body = f'There are three hints: unfold them, or call hint("{task.id}", 1).'
    else:
        further = {"Another way to write it, and why": task.another, "One step further": task.bonus}
        folded = {name: text for name, text in further.items() if text}
    return Card(
        symbol=SYMBOLS[verdict.state],
        title=f"{verdict.state} · {task.id} {task.title}",
        body=body,
        rows=verdict.rows,
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


def progress() -> Card:
    """Every exercise of the course and its state in this folder, and how good the learner's predictions are.

    The file never leaves this machine.

    >>> print(progress())
    ☰ Your progress
      01.1 ...
    """
    states = progress_file.states()
    tasks = [task for lab in exercises.labs() for task in exercises.load(lab).EXERCISES]
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
