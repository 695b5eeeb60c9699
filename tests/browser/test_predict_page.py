"""Predictions, claims and the quiz as a learner meets them: by keyboard, locked once revealed, whole when reopened."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import nbformat
import pytest
from lab_page import Notebook
from lab_server import jupyterlab
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator

from labsec.course import build

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "browser"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
LOST = "[84.68, 85.51, 85.8, 87.18, 87.19]"
CELLS = [
    "from labsec.course import after, cards, predict, quiz, reveal\nfrom labsec.course.questions.base import Finding",
    'predict("02.a", "How many points of accuracy does the plain mean lose to one loud client in thirty?",\n'
    '        0, 100, unit="points", about="attacks")',
    f'reveal("02.a", {LOST})',
    'predict("02.b", "Which rule loses least with nobody attacking?",\n'
    '        choices=("median", "krum", "trimmed mean", "multi krum"), about="rules")',
    'after("02.b", "a plot with a telling title")',
    'reveal("02.b", "multi krum", finding=Finding("Multi-Krum loses least.", seen="multi krum"))',
    'cards.claim("7")',
    'cards.claim("3")',
    'quiz("02")',
]
LATER = [CELLS[0], CELLS[1], "revealing = False", f'if revealing:\n    reveal("02.a", {LOST})']

pytestmark = pytest.mark.xdist_group("fixtures of the browser")


def write(path: Path, sources: list[str]) -> None:
    cells = [new_code_cell(source, id=f"{path.stem}-{i}") for i, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds a learner's my/."""
    course = tmp_path_factory.mktemp("asked")
    (course / "my").mkdir()
    return course


@pytest.fixture(scope="module")
def server(folder: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with jupyterlab(folder, tmp_path_factory.mktemp("temporary")) as started:
        yield started


@pytest.fixture
def page(folder: Path, server: tuple[str, str], browser: Browser) -> Iterator[Notebook]:
    """A fresh profile, and nothing guessed yet."""
    for left in (folder / "my").glob(".progress*"):
        left.unlink()
    write(folder / "my" / "asked.ipynb", CELLS)
    write(folder / "my" / "later.ipynb", LATER)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    opened = Notebook(context.new_page(), *server)
    yield opened
    opened.close()


def start(page: Notebook, name: str = "asked.ipynb") -> None:
    page.open(name)
    page.run_all()
    assert page.errors() == []


def cell(page: Notebook, number: int) -> Locator:
    return page.page.locator(".jp-Notebook .jp-Cell").nth(number)


def output(page: Notebook, number: int) -> Locator:
    """What a cell shows, without its source."""
    return cell(page, number).locator(".jp-Cell-outputArea")


def kept(folder: Path) -> dict[str, Any]:
    states = json.loads((folder / "my" / ".progress.json").read_text(encoding="utf-8"))
    return {id: json.loads(text) for id, text in states.items()}


def theme(page: Notebook, name: str) -> None:
    page.page.evaluate("(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", THEMES[name])
    page.page.wait_for_function(
        "(name) => document.body.dataset.jpThemeName === name && document.body.dataset.jpThemeLight !== undefined",
        arg=THEMES[name],
    )


def accessible(page: Notebook, where: str) -> None:
    """WCAG A and AA in what the course itself puts on the page."""
    page.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.page.evaluate(
        """async (where) => (await axe.run(where, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}))
        .violations.map((found) => found.id + ': ' + found.nodes.map((node) => node.html.slice(0, 200)))""",
        where,
    )
    assert found == []


def picture(page: Notebook, name: str) -> None:
    """Keep the page for eyes, where LABSEC_PICTURES is set."""
    if os.environ.get("LABSEC_PICTURES"):
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        page.page.screenshot(path=ARTIFACTS / f"predict_{name}.png")


def answer_everything(page: Notebook) -> None:
    """Guess 20, skip the second question, and say of the two claims what is and what is not so."""
    cell(page, 1).get_by_role("spinbutton").fill("20")
    cell(page, 1).get_by_role("spinbutton").press("Enter")
    cell(page, 3).get_by_role("button", name="Skip").press("Enter")
    for number, said in ((6, "held"), (7, "did not hold")):
        cell(page, number).get_by_role("radio", name=said, exact=True).check()
        cell(page, number).get_by_role("button", name="Commit my guess").press("Enter")
    cell(page, 7).get_by_text("You said").wait_for()


def test_a_prediction_is_made_by_keyboard_and_opens_its_result(page: Notebook, folder: Path) -> None:
    start(page)
    asked = cell(page, 1)
    waiting = cell(page, 2)
    assert "opens here as soon as you commit" in waiting.inner_text()
    assert "85" not in output(page, 2).inner_text()
    assert "destroy" not in page.page.locator(".jp-Notebook").inner_text()

    # Nothing suggests a number: the slider has none, and nothing can be committed.
    slider = asked.get_by_role("slider", name="How many points of accuracy")
    box = asked.get_by_role("spinbutton", name="Your guess as a number, in points, from 0 to 100")
    assert slider.get_attribute("aria-valuetext") == "no guess yet"
    assert box.input_value() == ""
    assert asked.get_by_role("button", name="Commit my guess").is_disabled()
    accessible(page, ".labsec-question")

    # The arrow moves the slider, and not the notebook to its next cell.
    slider.press("ArrowRight")
    assert box.input_value() == "51"
    assert slider.get_attribute("aria-valuetext") == "51 points"
    box.fill("120")
    assert "Please give a number from 0 to 100." in asked.inner_text()
    assert asked.get_by_role("button", name="Commit my guess").is_disabled()
    box.fill("20")
    box.press("Enter")

    waiting.get_by_text("Your guess was 66.1 points too low.").wait_for()
    assert "One loud client in thirty destroys the plain mean." in waiting.inner_text()

    # The guess stays, a card has taken the place of the widget, and the keyboard is still at its cell.
    asked.get_by_text("You said 20 points.").wait_for()
    assert asked.locator(".labsec-question").count() == 0
    assert "predict(" in page.page.evaluate("document.activeElement.closest('.jp-Cell')?.textContent ?? ''")
    entry = kept(folder)["02.a"]
    assert (entry["guess"], entry["off"], entry["about"]) == (20, -0.661, "attacks")
    assert entry["measured"] == pytest.approx(86.07, abs=0.01)
    assert page.errors() == []
    assert page.off_machine == []


def test_a_skipped_question_shows_everything_that_waits(page: Notebook, folder: Path) -> None:
    start(page)
    assert "telling title" not in output(page, 4).inner_text()
    cell(page, 3).get_by_role("button", name="Skip").press("Space")
    cell(page, 5).get_by_text("You skipped the question.").wait_for()
    assert "a plot with a telling title" in output(page, 4).inner_text()
    assert "(measured)" in cell(page, 5).inner_text()
    assert kept(folder)["02.b"] == {"guess": None, "measured": "multi krum", "off": None, "about": "rules"}


def test_choices_are_made_by_keyboard(page: Notebook, folder: Path) -> None:
    start(page)
    first = cell(page, 3).get_by_role("radio", name="median", exact=True)
    first.press("Space")
    first.press("ArrowDown")
    cell(page, 3).get_by_role("radio", name="krum", exact=True).press("Enter")
    cell(page, 5).get_by_text("You said krum.").wait_for()
    assert kept(folder)["02.b"]["off"] == 1.0


def test_a_guess_may_change_until_its_result_is_shown(page: Notebook, folder: Path) -> None:
    start(page, "later.ipynb")
    box = cell(page, 1).get_by_role("spinbutton")
    for number in ("20", "86"):
        box.fill(number)
        box.press("Enter")
        cell(page, 1).get_by_text(f"You said {number} points. You can change it until").wait_for()
    page.page.evaluate(
        "(code) => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code }).done",
        f'reveal("02.a", {LOST})',
    )
    cell(page, 1).get_by_text("You said 86 points.", exact=True).wait_for()
    assert box.count() == 0
    assert kept(folder)["02.a"]["off"] == 0.0


def test_claims_ask_first_and_then_show_a_dot_for_each_seed(page: Notebook, folder: Path) -> None:
    start(page)
    assert "Verdict" not in page.page.locator(".jp-Notebook").inner_text()
    answer_everything(page)
    measured = cell(page, 6)
    assert "You said: held ✓" in measured.inner_text()
    assert measured.get_by_role("img", name="Dot plot. Points that the plain mean loses").is_visible()
    assert measured.locator(".labsec-question").count() == 0  # the card repeats the question
    folds = measured.locator("summary")
    assert folds.all_inner_texts() == ["Rule", "Numbers", "Code"]
    folds.first.press("Enter")
    measured.get_by_text("Held if at every skew").wait_for()
    assert "cannot be tested" in cell(page, 7).inner_text()
    entries = kept(folder)
    assert (entries["02.claim7"]["off"], entries["01.claim3"]["off"]) == (0.0, 1.0)
    for name in THEMES:
        theme(page, name)
        accessible(page, ".jp-Notebook [role=note]")


def test_a_reopened_notebook_shows_what_was_revealed(page: Notebook) -> None:
    start(page)
    answer_everything(page)
    page.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.open("asked.ipynb")
    assert "66.1 points too low" in output(page, 2).inner_text()
    assert "You skipped the question." in output(page, 5).inner_text()
    assert "You said: held ✓" in output(page, 6).inner_text()
    assert "You said 20 points." in output(page, 1).inner_text()
    assert page.page.get_by_text("Loading widget").count() == 0
    picture(page, "reopened")


def test_what_was_said_is_still_there_when_the_notebook_runs_again(page: Notebook) -> None:
    start(page)
    answer_everything(page)
    page.run_all()
    assert page.errors() == []
    assert "66.1 points too low" in cell(page, 2).inner_text()
    assert "You said 20 points." in output(page, 1).inner_text()
    assert cell(page, 1).get_by_role("spinbutton").count() == 0


def test_the_quiz_is_answered_by_keyboard(page: Notebook) -> None:
    start(page)
    asked = cell(page, 8)
    asked.locator("summary").nth(0).press("Enter")
    assert asked.get_by_text("Not this one.").filter(visible=True).count() == 1
    asked.locator("summary").nth(1).press("Space")
    assert asked.locator("details[open]").count() == 1  # one answer at a time for each question
    assert page.page.locator(".jp-mod-editMode").count() == 0  # Enter did not start to edit the cell
    for name in THEMES:
        theme(page, name)
        accessible(page, ".jp-Notebook fieldset")


def test_a_notebook_that_is_not_trusted_shows_the_same(page: Notebook, folder: Path) -> None:
    """As a lab that somebody else has run: JupyterLab takes styles, roles and scripts out of its outputs."""
    solved, _ = build.execute(nbformat.read(folder / "my" / "asked.ipynb", as_version=4), folder)
    nbformat.write(solved, folder / "my" / "foreign.ipynb")
    page.open("foreign.ipynb")
    assert page.page.locator(".jp-Notebook [role=img]").count() == 0  # it was cleaned, indeed
    assert "It came out as 86.1 points (84.7 … 87.2 over 5 seeds)." in output(page, 2).inner_text()
    measured = output(page, 6)
    dots = measured.locator("span").evaluate_all("""(spans) => spans.filter((span) => {
        const style = getComputedStyle(span);
        return style.borderTopStyle === 'solid' && style.borderTopColor === 'rgb(0, 158, 115)';
      }).map((span) => [span.getBoundingClientRect().x, span.getBoundingClientRect().width])""")
    assert len(dots) == 15  # three skews, five seeds
    assert max(x for x, _ in dots) - min(x for x, _ in dots) > 20
    assert all(width >= 6 for _, width in dots)
    measured.get_by_text("Rule", exact=True).click()
    measured.get_by_text("Held if at every skew").wait_for()
    output(page, 8).get_by_text("It averages them away").click()
    assert output(page, 8).get_by_text("These all point in one.").is_visible()
    cell(page, 6).scroll_into_view_if_needed()
    picture(page, "not_trusted")


@pytest.mark.parametrize("name", THEMES)
def test_cards_are_small_enough_in_both_themes(page: Notebook, name: str) -> None:
    start(page)
    theme(page, name)
    cell(page, 1).scroll_into_view_if_needed()
    picture(page, f"{name}_1_asked")
    answer_everything(page)
    for number, most in ((2, 200), (5, 160), (6, 320)):
        box = cell(page, number).locator("[role=note]").bounding_box()
        assert box is not None
        assert box["height"] <= most, f"cell {number}: {box['height']} px"
    cell(page, 1).scroll_into_view_if_needed()
    picture(page, f"{name}_2_revealed")
    cell(page, 6).locator("summary").nth(1).press("Enter")
    cell(page, 7).scroll_into_view_if_needed()
    picture(page, f"{name}_3_claims")
    cell(page, 8).locator("summary").nth(0).press("Enter")
    cell(page, 8).locator("summary").nth(4).press("Enter")
    cell(page, 8).locator("fieldset").nth(2).scroll_into_view_if_needed()
    picture(page, f"{name}_4_quiz")
