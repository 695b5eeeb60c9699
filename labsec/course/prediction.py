"""Predict first: a number or a choice is committed before the result is seen, and the result is shown beside it.

    predict("02.a", "How many points does the mean lose?", 0, 100, unit="points", about="attacks")
    reveal("02.a", [84.7, 86.1, 87.2])

Only the question is a widget. What opens is plain HTML in the place of a line that waits, so it survives saving and
exporting. Without a guess output is held back and computation never is: a cell runs in any case. Where nobody can
answer, because a program runs the notebook, everything is shown.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean
from typing import Any, TypeAlias

from IPython.display import HTML

from labsec.course import dots, questions
from labsec.course.card import BLUE, Card, frame
from labsec.course.guesses import Guess, Kept, keep, kept
from labsec.course.question import Question
from labsec.course.questions.base import Finding
from labsec.course.showing import show

Result: TypeAlias = float | str | Sequence[float]  # a number, one of the choices, or a number per seed
NEAR = 0.1  # of the scale: so far from the result a guess is still near enough
WAITING = "The result opens here as soon as you commit your guess above, or press Skip."


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked, and how.

    low, high    the ends of the scale; both 0 if there are choices
    near         how far from the result a guess is near enough, in the unit of the scale
    about        what is predicted, in the plural
    fold         whether nothing is left of the question once the result is shown, because that repeats it
    """

    question: str
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    choices: tuple[str, ...] = ()
    unit: str = ""
    near: float = 0.0
    about: str = ""
    fold: bool = False

    @property
    def scale(self) -> str:
        """What may be answered, in words."""
        if self.choices:
            return " / ".join(self.choices)
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()

    def fits(self, guess: Any) -> bool:
        """Whether this is an answer to the question; None, for a question that was skipped, is one."""
        if guess is None:
            return True
        if self.choices:
            return guess in self.choices
        return isinstance(guess, int | float) and not isinstance(guess, bool) and self.low <= guess <= self.high


@dataclass
class _Open:
    """A question of this session: what was asked, its widget and how to replace that, and what waits for the answer."""

    asked: Asked
    widget: Question | None = None
    replace: Callable[[Any], None] = print
    waiting: list[Callable[[], None]] = field(default_factory=list)


_session: dict[str, _Open] = {}


def attended() -> bool:
    """Whether somebody can answer: Jupyter's server tells its kernels which notebook they serve; nbclient and nbval,
    which run notebooks without anybody there, do not."""
    return "JPY_SESSION_NAME" in os.environ and os.environ.get("LABSEC_BUILD") != "1"


def predict(
    id: str,
    question: str,
    low: float = 0,
    high: float = 100,
    step: float | None = None,
    *,
    choices: Sequence[str] = (),
    unit: str = "",
    near: float | None = None,
    about: str = "",
) -> None:
    """Ask for a number from low to high, or for one of the choices, and keep the answer beside the learner's progress.

    id         lab and letter, "02.a"; `reveal` and `after` name the same
    step       of the slider, by default a hundredth of the scale; in the number box any number may be given
    near       how far from the result a guess is near enough, by default a tenth of the scale
    about      what is predicted, in the plural ("attacks"): progress says whether the learner tends to overestimate it

    The slider has no value until it is touched, so that no number suggests itself. A guess may be changed until its
    result is shown.

    >>> predict("02.a", "How many points does the mean lose?", 0, 100, unit="points")
    ? How many points does the mean lose?
      0 to 100 points.

    Raises ValueError for another kind of id, for a scale without room, or for fewer than two choices.
    """
    if choices:
        low = high = 0
        if len(set(choices)) < max(2, len(choices)):
            raise ValueError(f"question {id} needs two different choices or more; got {list(choices)}")
    elif not low < high:
        raise ValueError(f"question {id} needs low < high; got low={low}, high={high}")
    asked = Asked(
        question=question,
        low=low,
        high=high,
        step=(high - low) / 100 if step is None else step,
        choices=tuple(choices),
        unit=unit,
        near=NEAR * (high - low) if near is None else near,
        about=about,
    )
    ask(id, asked)


def ask(id: str, asked: Asked) -> None:
    """Ask a question; where nobody can answer, show it.

    Raises ValueError unless the id begins with the number of a lab and a dot, by which `labsec reset` finds it.
    """
    if not re.fullmatch(r"\d\d\.\w+", id):
        raise ValueError(f'the id of a question is a lab and a name, such as "02.a"; got {id!r}')
    before = _session.get(id)
    if before and before.widget:
        before.widget.close()
    opened = _Open(asked)
    _session[id] = opened
    known = _known(id)
    if not attended() or (known and known.measured is not None):
        if not asked.fold:
            show(_unaskable(asked, known))
        return

    words = {"question": asked.question, "scale": asked.scale, "unit": asked.unit, "choices": list(asked.choices)}
    widget = Question(spec=words | {"low": asked.low, "high": asked.high, "step": asked.step})
    widget.on_msg(lambda _, message, __: commit(id, message["guess"]))
    opened.widget = widget
    _tell(id)
    opened.replace = show(widget)


def commit(id: str, guess: Guess) -> None:
    """Answer a question without its widget, or skip it with None; what waits for the answer opens.

    >>> predict("02.a", "How many points does the mean lose?", 0, 100, unit="points")
    ? How many points does the mean lose?
      0 to 100 points.
    >>> commit("02.a", 120)
    Traceback (most recent call last):
    ValueError: question 02.a takes 0 to 100 points; got 120

    Raises ValueError if the question was not asked in this session, if the guess is no answer to it, or if its result
    has been shown.
    """
    opened = _opened(id)
    if not opened.asked.fits(guess):
        raise ValueError(f"question {id} takes {opened.asked.scale}; got {guess!r}")
    known = _known(id)
    if known and known.measured is not None:
        raise ValueError(f"the result of question {id} has been shown: the guess stays {_words(known.guess, '')}")
    keep(id, Kept(guess=guess, about=opened.asked.about))

    # What opens may lock the guess, so the question is told last.
    waiting = opened.waiting
    opened.waiting = []
    for replace in waiting:
        replace()
    _tell(id)


def after(id: str, thing: Any) -> None:
    """Show something that gives an answer away, such as a plot with a telling title, once the question is answered.

    thing    whatever a notebook can show

    >>> predict("02.a", "How many points?", 0, 100)
    ? How many points?
      0 to 100.
    >>> after("02.a", "A plot whose title says the number.")  # nobody is there to answer: shown at once
    A plot whose title says the number.

    Raises ValueError if the question was not asked in this session.
    """
    hold(id, lambda: thing)


def hold(id: str, make: Callable[[], Any]) -> None:
    """Show what `make` returns once the question is answered; until then, a line that says so."""
    opened = _opened(id)
    if _known(id) or not attended():
        show(make())
    else:
        replace = show(Card(symbol="⋯", title=WAITING))
        opened.waiting.append(lambda: replace(make()))
    _tell(id)


def reveal(id: str, result: Result, *, finding: Finding | None = None) -> None:
    """Show the result of a prediction beside the guess, and only then say what was found.

    result     what was measured: a number, a number per seed, or one of the choices
    finding    the sentence at the end. It lies in the package (`questions.labNN.FINDINGS`), not in the cell, where it
               would be read before the question is answered; this is for trying one out

    A guess is near enough within `near` of the mean, or between the lowest and the highest seed. From now on it stays.

    Raises ValueError if the question was not asked in this session, if it has no finding, or if the result is no
    answer to it; AssertionError if LABSEC_STRICT=1 and the finding was written for another result.
    """
    asked = _opened(id).asked
    said = finding or questions.finding(id)
    if asked.choices and result not in asked.choices:
        raise ValueError(f"the result of question {id} is one of {asked.scale}; got {result!r}")
    measured = _mean(result)
    if os.environ.get("LABSEC_STRICT") == "1":
        assert said.fits(measured), f"the finding of {id} was written for {said.seen}; got {measured}"

    def answer() -> Answer:
        known = _known(id)
        made = _answer(asked, result, known, said)
        if known and known.measured is None:
            off = None if known.guess is None else _off(asked, known.guess, result)
            keep(id, Kept(guess=known.guess, measured=measured, off=off, about=asked.about))
        return made

    hold(id, answer)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Guess and result, and the finding last.

    drawn      HTML of the two
    told       the two in words
    finding    the sentence at the end
    """

    drawn: str
    told: str
    finding: str

    def __repr__(self) -> str:
        return f"{self.told}\n→ {self.finding}"

    def _repr_html_(self) -> str:
        finding = f'<strong><span aria-hidden="true">→</span> {escape(self.finding)}</strong>'
        told = f'<p style="margin:4px 0">{escape(self.told)}</p>'
        return frame(f'{self.drawn}{told}<div style="margin-top:4px">{finding}</div>', edge=BLUE)


def _answer(asked: Asked, result: Result, known: Kept | None, finding: Finding) -> Answer:
    guess = known.guess if known else None
    told = _outcome(asked, result)
    if guess is not None:
        told = f"{told} {_comparison(asked, guess, result)}"
    elif known:
        told = f"{told} You skipped the question."
    if isinstance(result, str):
        drawn = _marked_choices(asked.choices, guess, result)
    else:
        number = None if isinstance(guess, str) else guess
        drawn = dots.guess_beside(_numbers(result), number, low=asked.low, high=asked.high, alt=told)
    return Answer(drawn=drawn, told=told, finding=finding.said_of(_mean(result)))


def _outcome(asked: Asked, result: Result) -> str:
    words = f"It came out as {_words(_mean(result), asked.unit)}"
    numbers = [] if isinstance(result, str) else _numbers(result)
    if len(numbers) > 1:
        words += f" ({min(numbers):.3g} … {max(numbers):.3g} over {len(numbers)} seeds)"
    return f"{words}."


def _comparison(asked: Asked, guess: float | str, result: Result) -> str:
    if isinstance(guess, str) or isinstance(result, str):
        return "You were right." if guess == result else f"You said {guess}."
    distance = guess - fmean(_numbers(result))
    if f"{abs(distance):.2g}" == "0":
        return "You were right."
    side = "high" if distance > 0 else "low"
    words = f"Your guess was {_words(abs(distance), asked.unit)} too {side}"
    return f"{words}: near enough." if _off(asked, guess, result) == 0 else f"{words}."


def _off(asked: Asked, guess: float | str, result: Result) -> float:
    """How far off a guess is, as a share of the scale; below 0 if it is too low, 0 if it is near enough."""
    if isinstance(guess, str) or isinstance(result, str):
        return float(guess != result)
    numbers = _numbers(result)
    distance = guess - fmean(numbers)
    if abs(distance) <= asked.near or min(numbers) <= guess <= max(numbers):
        return 0.0
    return round(distance / (asked.high - asked.low), 3)


def _numbers(result: float | Sequence[float]) -> list[float]:
    numbers = [float(number) for number in (result if isinstance(result, Sequence) else [result])]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a result is one finite number or more; got {numbers}")
    return numbers


def _mean(result: Result) -> float | str:
    return result if isinstance(result, str) else fmean(_numbers(result))


def _words(value: Guess, unit: str) -> str:
    if value is None:
        return "skipped"
    if isinstance(value, str):
        return value
    number = f"{value:.3g}"
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}".rstrip()


def _marked_choices(choices: Sequence[str], guess: Guess, result: str) -> str:
    """The choices in a row: a thick border around what came out, and words for it and for the guess."""
    parts = []
    for text in choices:
        tags = ["measured"] * (text == result) + ["your guess"] * (text == guess)
        border = f"3px solid {dots.MEASURED}" if text == result else f"1px solid {dots.INK}"
        tag = f" <b>({' · '.join(tags)})</b>" if tags else ""
        parts.append(
            f'<span style="display:inline-block;padding:2px 10px;margin:4px 10px 4px 0;border:{border};'
            f'border-radius:12px">{escape(text)}{tag}</span>'
        )
    return f"<div>{''.join(parts)}</div>"


def _opened(id: str) -> _Open:
    if id not in _session:
        raise ValueError(f'question {id!r} was not asked yet: run the cell with predict("{id}", …) first')
    return _session[id]


def _known(id: str) -> Kept | None:
    """What is kept of a question, if it answers the question as it is asked now."""
    known = kept(id)
    return known if known and _opened(id).asked.fits(known.guess) else None


def _tell(id: str) -> None:
    """Bring the widget of a question up to date; once the result is shown, a card takes its place."""
    opened = _opened(id)
    known = _known(id)
    widget = opened.widget
    if widget is None or known is None:
        return
    if known.measured is None:
        widget.guess = known.guess
        widget.note = f"{_said(opened.asked, known)} You can change it until the result is shown."
        return

    # A saved notebook keeps a card, but only the empty frame of a widget.
    widget.locked = True
    opened.replace(HTML("") if opened.asked.fold else _unaskable(opened.asked, known))
    widget.close()
    opened.widget = None


def _unaskable(asked: Asked, known: Kept | None) -> Card:
    """A question that nobody can answer any more, or that nobody is there to answer."""
    body = _said(asked, known) if known else f"{asked.scale}."
    return Card(symbol="?", title=asked.question, body=body, edge=BLUE)


def _said(asked: Asked, known: Kept) -> str:
    return "You skipped this one." if known.guess is None else f"You said {_words(known.guess, asked.unit)}."
