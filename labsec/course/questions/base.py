"""What a finding is, an item of a quiz, and advice for teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A sentence that ends a prediction, and the results for which it was written.

    text    such as "Six clients of thirty destroy the plain mean."
    seen    (lowest, highest) mean, or the choice, of the runs from which the sentence was written

    A learner may change the code above: then the sentence is not said of a result that it does not fit.

    >>> lost = Finding("The mean is destroyed.", seen=(80.0, 90.0))
    >>> lost.said_of(86.1)
    'The mean is destroyed.'
    >>> lost.said_of(3.0)
    "This differs from the course's own runs, which gave 80 … 90: what did you change?"
    """

    text: str
    seen: tuple[float, float] | str

    def fits(self, result: float | str) -> bool:
        """Whether the sentence was written for such a result."""
        if isinstance(self.seen, str) or isinstance(result, str):
            return self.seen == result
        return self.seen[0] <= result <= self.seen[1]

    def said_of(self, result: float | str) -> str:
        """The sentence, or, of a result that it does not fit, that it does not."""
        if self.fits(result):
            return self.text
        seen = self.seen if isinstance(self.seen, str) else f"{self.seen[0]:g} … {self.seen[1]:g}"
        return f"This differs from the course's own runs, which gave {seen}: what did you change?"


@dataclass(frozen=True)
class Item:
    """A question of a quiz.

    options    (text, what is right or wrong about it); the first is the right one, and the page sorts them by letter

    Raises ValueError for fewer than two options, or two of one text.
    """

    question: str
    options: Sequence[tuple[str, str]]

    def __post_init__(self) -> None:
        texts = [text for text, _ in self.options]
        if len(set(texts)) < max(2, len(texts)):
            raise ValueError(f"{self.question!r} needs two different options or more; got {texts}")

    @property
    def right(self) -> str:
        """The text of the right option."""
        return self.options[0][0]

    def in_order(self) -> list[tuple[str, str]]:
        """The options as the page has them."""
        return sorted(self.options)


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Advice for those who teach a lab.

    skip       what to leave out when time is short
    discuss    questions without a single right answer
    """

    skip: str
    discuss: Sequence[str]
