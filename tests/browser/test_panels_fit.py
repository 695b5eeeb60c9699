"""What is turned and what it changes are in view together, and a saved panel is still a picture when it is reopened."""

import os
from pathlib import Path
from typing import Any

import pytest
from lab_page import Notebook
from playwright.sync_api import Locator

ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "browser"
MOST = 480  # pixels of height: what a small laptop shows of a notebook
SIZES = {"1280": (1280, 800), "1024": (1024, 640)}  # the second is the first at a zoom of 125 %
PANELS = (
    "panel00",
    "panel01",
    "panel02",
    "panel03",
    "panel04",
    "panel05",
    "panel06",
    "panel07",
    "panel08",
    "defences",
    "arrows",
)

# Whether a switch's text ends before its question mark begins.
ASK_IS_BESIDE_THE_TEXT = """(control) => {
  const text = document.createRange();
  text.selectNodeContents(control.querySelector('label:has(input)'));
  const ask = control.querySelector('.live-help summary');
  return !ask || text.getBoundingClientRect().right <= ask.getBoundingClientRect().left;
}"""

pytestmark = pytest.mark.xdist_group("fixtures of the browser")


def start(notebook: Notebook, name: str) -> Locator:
    """The only panel of a fixture's notebook."""
    notebook.open(f"fixture_{name}.ipynb")
    notebook.run_all()
    assert notebook.errors() == []
    panel = notebook.page.locator(".live-panel")
    panel.wait_for()
    notebook.settled(panel)
    return panel


def box(of: Locator) -> Any:
    found = of.bounding_box()
    assert found is not None
    return found


def fits(panel: Locator) -> None:
    """The panel is low enough, and its picture stands beside the controls."""
    controls = box(panel.locator(".live-controls"))
    picture = box(panel.locator(".live-plot"))
    assert box(panel)["height"] <= MOST
    assert picture["x"] >= controls["x"] + controls["width"], "the picture stands below the controls"
    for switch in panel.locator(".live-switch").all():
        assert switch.evaluate(ASK_IS_BESIDE_THE_TEXT), f"the text meets the question mark: {switch.inner_text()}"


def resized(notebook: Notebook, size: str) -> None:
    width, height = SIZES[size]
    notebook.page.set_viewport_size({"width": width, "height": height})


def keep(notebook: Notebook, panel: Locator, name: str) -> None:
    """A picture for eyes, where LABSEC_PICTURES is set."""
    print(f"{name}: {box(panel)['height']:.0f} px high")
    if os.environ.get("LABSEC_PICTURES"):
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        panel.scroll_into_view_if_needed()
        notebook.page.screenshot(path=ARTIFACTS / f"fits_{name}.png")


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_fits_at_both_sizes_as_it_starts_and_with_every_slider_turned(name: str, notebook: Notebook) -> None:
    panel = start(notebook, name)
    for size in SIZES:
        resized(notebook, size)
        keep(notebook, panel, f"{name}_{size}")
        fits(panel)
    for slider in panel.locator(".live-slider:not(.live-idle) [role=slider]").all():
        slider.press("ArrowLeft")
    for menu in panel.locator("select:enabled").all():
        menu.select_option(index=menu.locator("option").count() - 1)
    notebook.settled(panel)
    for size in SIZES:
        resized(notebook, size)
        keep(notebook, panel, f"{name}_{size}_turned")
        fits(panel)


def test_a_question_mark_opens_one_sentence_and_escape_closes_it(notebook: Notebook) -> None:
    panel = start(notebook, "panel00")
    ask = panel.get_by_label("Help: Epsilon ε")
    told = panel.get_by_text("A smaller ε means more noise.")
    ask.press("Enter")
    assert told.is_visible()
    assert box(told)["width"] > 150
    panel.get_by_label("Help: Share kept").press("Enter")
    told.wait_for(state="hidden")
    panel.get_by_label("Help: Share kept").press("Escape")
    panel.get_by_text("Each client sends this share").wait_for(state="hidden")
    notebook.settled(panel)


def test_a_control_without_effect_says_why_and_is_there_again(notebook: Notebook) -> None:
    panel = start(notebook, "panel00")
    menu = panel.get_by_role("combobox", name="Noise added by")
    assert menu.is_disabled()
    assert menu.get_attribute("aria-description") == "ε is off: no noise."
    panel.get_by_role("slider", name="Epsilon ε").press("ArrowLeft")
    notebook.settled(panel)
    assert menu.is_enabled()
    assert menu.get_attribute("aria-description") == ""


def test_a_saved_panel_is_a_picture_when_it_is_opened_again(notebook: Notebook) -> None:
    panel = start(notebook, "panel00")
    reading = panel.locator(".live-caption").inner_text()
    notebook.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    assert panel.is_visible(), "the open page keeps its panel"
    notebook.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    notebook.page.reload()
    notebook.open("fixture_panel00.ipynb")
    output = notebook.page.locator(".jp-Notebook .jp-Cell-outputArea")
    assert f"{reading} Run this cell to bring it to life." in output.inner_text()
    assert "widget" not in output.inner_text()
    picture = output.locator("img")
    assert picture.get_attribute("alt") == reading
    assert box(picture)["width"] == 500


def test_lab_00_shows_its_panel_once_the_questions_are_answered(notebook: Notebook) -> None:
    notebook.open("00_start.ipynb")
    notebook.run_all()
    assert notebook.errors() == []
    assert notebook.page.locator(".live-panel").count() == 0
    assert notebook.page.get_by_text("opens here as soon as you commit").count() == 7
    notebook.skip_questions()
    panel = notebook.page.locator(".live-panel")
    panel.wait_for()
    notebook.settled(panel)
    for size in SIZES:
        resized(notebook, size)
        keep(notebook, panel, f"lab00_{size}")
        fits(panel)
    assert "three quarters" in notebook.page.locator(".jp-Notebook").inner_text().lower()
