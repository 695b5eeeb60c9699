"""Check yourself: a few questions, and what is right or wrong about each option, in plain HTML.

An option is a <details> element: Tab and Enter, a screen reader, a page without a kernel, an export and a notebook that
is not trusted all know what to do with it. Nothing is scored, kept or sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from labsec.course import questions
from labsec.course.card import BLUE, ORANGE
from labsec.course.questions.base import Item


@dataclass(frozen=True, repr=False)
class Quiz:
    """The questions of one lab.

    >>> Quiz("00", (Item("One and one?", [("2", "Count them."), ("3", "One too many.")]),))
    ☑ Check yourself
      1. One and one?
         - 2
         - 3
    """

    lab: str
    items: tuple[Item, ...]

    def __repr__(self) -> str:
        lines = ["☑ Check yourself"]
        for number, item in enumerate(self.items, start=1):
            lines.append(f"  {number}. {item.question}")
            lines += [f"     - {text}" for text, _ in item.in_order()]
        return "\n".join(lines)

    def sheet(self, *, answers: bool = True) -> str:
        """The quiz as Markdown, for teachers: with the right options marked and explained, or without.

        >>> print(Quiz("00", (Item("One and one?", [("2", "Count them."), ("3", "One too many.")]),)).sheet())
        # Lab 00: check yourself
        <BLANKLINE>
        1. One and one?
           - **2** (right) Count them.
           - 3. One too many.
        """
        lines = [f"# Lab {self.lab}: check yourself", ""]
        for number, item in enumerate(self.items, start=1):
            lines.append(f"{number}. {item.question}")
            for text, feedback in item.in_order():
                answered = f"**{text}** (right) {feedback}" if text == item.right else f"{text}. {feedback}"
                lines.append(f"   - {answered if answers else text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = "".join(self._question(number, item) for number, item in enumerate(self.items, start=1))
        return f'<div style="max-width:900px;line-height:1.45">{parts}</div>'

    def _question(self, number: int, item: Item) -> str:
        options = "".join(self._option(number, item, text, feedback) for text, feedback in item.in_order())
        return (
            '<fieldset style="border:1px solid #8884;border-radius:3px;margin:0 0 8px;padding:2px 14px 8px">'
            f'<legend style="font-weight:600;padding:0 4px;margin-left:-4px">{number}. {escape(item.question)}</legend>'
            f"{options}</fieldset>"
        )

    def _option(self, number: int, item: Item, text: str, feedback: str) -> str:
        is_right = text == item.right
        verdict = "✓ Right." if is_right else "✗ Not this one."
        colour = BLUE if is_right else ORANGE

        # A name that the options share lets one at most be open. JupyterLab leaves Enter to whoever says so.
        return (
            f'<details name="quiz-{escape(self.lab)}-{number}" style="margin:2px 0">'
            f'<summary data-lm-suppress-shortcuts="true" style="cursor:pointer">{escape(text)}</summary>'
            f'<p style="margin:2px 0 6px 18px;padding-left:8px;border-left:4px solid {colour}">'
            f"<strong>{verdict}</strong> {escape(feedback)}</p></details>"
        )


def quiz(lab: str) -> Quiz:
    """The quiz of a lab; `quiz("02").sheet()` is the list with the answers.

    Raises ValueError for a lab that has none.
    """
    return Quiz(lab, tuple(questions.load(lab).QUIZ))
