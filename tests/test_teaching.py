"""The pages for teachers follow from the labs, and say all that a teacher needs."""

import re

import pytest

from labsec.course import build, exercises, questions, teaching
from labsec.files import COURSE

SOURCES = {path.name[:2]: path for path in sorted((COURSE / "solutions").glob("[0-9][0-9]_*.py"))}


def lesson(lab):
    return build.read(SOURCES[lab].read_text(encoding="utf-8"), SOURCES[lab].stem)


@pytest.mark.parametrize("lab", questions.labs())
def test_the_page_is_that_of_the_lab(lab):
    page = (COURSE / "docs" / "teaching" / f"{lab}.md").read_text(encoding="utf-8")
    assert page == teaching.page(lab, lesson(lab))


@pytest.mark.parametrize("lab", questions.labs())
def test_a_page_has_goals_every_planted_mistake_and_the_right_answers(lab):
    page = teaching.page(lab, lesson(lab))
    assert len(re.findall(r"^\d+\. ", page.partition("## Minutes")[0], re.MULTILINE)) >= 4
    for exercise in exercises.load(lab).EXERCISES:
        for _, sentence in exercise.wrong:
            assert f"* {sentence}" in page
    for item in questions.load(lab).QUIZ:
        assert f"**{item.right}** (right)" in page
    assert len(questions.load(lab).TEACHING.discuss) >= 3


def test_minutes_are_those_of_the_headings():
    text = "# %% [markdown]\n# # 09 · A lab\n# 1. Know.\n\n# %% [markdown]\n# ### Part · ●○○ (7 minutes)\n"
    assert "| Part · ●○○ | 7 |" in teaching._minutes(build.read(text, "09_x"))
    optional = text.replace("(7 minutes)", "(optional, 1 minute)")
    assert "| Part · ●○○ | 1 (optional) |" in teaching._minutes(build.read(optional, "09_x"))


@pytest.mark.parametrize("lab", questions.labs())
def test_the_overview_has_the_minutes_of_the_labs(lab):
    overview = (COURSE / "docs" / "teaching.md").read_text(encoding="utf-8")
    said = re.search(rf"^\| \[{lab} .*\| (\d+) \|", overview, re.MULTILINE)
    assert said is not None
    assert int(said[1]) == build.exercise_minutes(lesson(lab))
