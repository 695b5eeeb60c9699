"""What an exercise is: a reference, inputs to try, the wrong answers that teach most, and three hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Generator

from labsec.types import generator


class Case(NamedTuple):
    """One call to try."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def case(*args: Any, **kwargs: Any) -> Case:
    """The call `function(*args, **kwargs)`.

    >>> case(3, scale=2)
    Case(args=(3,), kwargs={'scale': 2})
    """
    return Case(args, kwargs)


def unchanged(result: Any) -> Any:
    """The whole result must agree."""
    return result


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One thing that a learner builds.

    id          lab and number, "01.3"
    title       for the progress table
    reference   the right answer, a function
    cases       (generator) -> calls to try; drawn afresh for every function, so none can spoil another's input
    wrong       (function, sentence) pairs: an answer that behaves like the function gets the sentence
    hints       nudge, approach, near-code
    tolerance   how far a number may be off, absolute and relative
    essence     (result) -> what of it must agree, where more than one answer is right
    copied      whether the result must not lie in the memory of an argument
    another     another way to write it, and why: shown, folded, once an answer has passed. Lines that begin with four
                spaces are code
    bonus       a task that goes further, shown in the same way

    Raises ValueError unless there are three hints and at least two wrong answers.
    """

    id: str
    title: str
    reference: Callable[..., Any]
    cases: Callable[[Generator], Sequence[Case]]
    wrong: tuple[tuple[Callable[..., Any], str], ...]
    hints: tuple[str, str, str]
    tolerance: float = 1e-5
    essence: Callable[[Any], Any] = field(default=unchanged)
    copied: bool = False
    another: str = ""
    bonus: str = ""

    def __post_init__(self) -> None:
        if len(self.hints) != 3 or len(self.wrong) < 2:
            raise ValueError(
                f"exercise {self.id} needs 3 hints and at least 2 wrong answers; "
                f"got {len(self.hints)} and {len(self.wrong)}"
            )

    def drawn_cases(self) -> list[Case]:
        """The calls to try, the same ones every time."""
        return list(self.cases(generator(0, "exercise", self.id)))
