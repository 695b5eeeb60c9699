"""A quiz of five questions: feedback on every option, no kernel needed, and a sheet for teachers."""

from __future__ import annotations

import html
import re

import pytest

from labsec.course import questions, quiz
from labsec.course.questions.base import Finding, Item
from labsec.course.quizzes import Quiz

every_lab = pytest.mark.parametrize("lab", questions.labs())


@every_lab
def test_a_lab_asks_five_questions_and_says_something_about_every_option(lab):
    items = quiz(lab).items
    assert len(items) == 5
    assert len({item.question for item in items}) == 5
    for item in items:
        assert item.question.endswith("?")
        assert len(item.options) == 3
        assert all(feedback.endswith((".", "?")) for _, feedback in item.options), item.question


@every_lab
def test_the_right_option_is_not_to_be_told_by_its_place(lab):
    """The page sorts by letter: right options are first, in the middle and last."""
    places = {[text for text, _ in item.in_order()].index(item.right) for item in quiz(lab).items}
    assert len(places) > 1


@every_lab
def test_one_option_of_each_question_is_right_on_the_page(lab):
    page = quiz(lab)._repr_html_()
    assert page.count("✓ Right.") == 5
    assert page.count("✗ Not this one.") == 10
    assert len(re.findall(r"<details name=\"quiz-\d\d-(\d)\"", page)) == 15
    for item in quiz(lab).items:
        after = page.split(f">{html.escape(item.right)}</summary>")[1]
        assert after.index("✓ Right.") < after.index("</details>")


@every_lab
def test_findings_belong_to_their_lab_and_are_sentences(lab):
    for id, finding in questions.load(lab).FINDINGS.items():
        assert id.startswith(f"{lab}.")
        assert isinstance(finding, Finding)
        assert finding.text.endswith(".")


def test_a_page_needs_nothing_but_itself():
    """JupyterLab cleans the HTML of a notebook that is not trusted: no style sheet, no script, no picture in SVG."""
    page = quiz("02")._repr_html_()
    assert not re.search(r"<(style|script|svg|link)|https?:|currentColor", page)


def test_what_an_author_writes_is_text():
    page = Quiz("00", (Item("<b>?", [("<i>", "<s>"), ("b", "c")]),))._repr_html_()
    assert not re.search("<[bis]>", page)


def test_the_sheet_of_a_teacher_marks_the_right_options_and_that_of_a_learner_does_not():
    sheet = quiz("02").sheet()
    assert len(re.findall(r"^\d\. ", sheet, flags=re.MULTILINE)) == 5
    assert sheet.count("(right)") == 5
    assert "   - **It follows them** (right) The mean has no bound" in sheet
    blank = quiz("02").sheet(answers=False)
    assert "   - It follows them\n" in blank
    assert "right)" not in blank
    assert "no bound" not in blank


def test_an_item_needs_options_that_differ():
    for options in ([("one", "x")], [("one", "x"), ("one", "y")]):
        with pytest.raises(ValueError, match="needs two different options or more"):
            Item("Which?", options)


def test_a_lab_without_questions_is_named():
    with pytest.raises(ValueError, match=r"lab '77' has no questions; known: 00, 01, 02"):
        quiz("77")
