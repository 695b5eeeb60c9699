"""What a learner sees: every lab with nothing solved, in JupyterLab and Chromium, its panels by keyboard and mouse.

What the controls lead to is tested without a browser (tests/test_panels.py). Here it is that each of them can be
turned, and that the page follows.
"""

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from lab_page import Notebook, answers_of_checks, changed
from playwright.sync_api import Locator

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts" / "browser"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
VISIBLE = 0.0005  # share of the pixels


def labs() -> list[Any]:
    """Every notebook of the course; what concerns one lab runs in one process."""
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"lab{name[:2]}")) for name in names]


# The notebooks that this folder brings along are quick: they share one JupyterLab.
of_fixtures = pytest.mark.xdist_group("fixtures of the browser")


def run(notebook: Notebook, path: str) -> None:
    notebook.open(path)
    notebook.run_all()
    assert notebook.errors() == []
    assert notebook.not_run() == []


def panels(notebook: Notebook) -> list[Locator]:
    """The panels of a notebook that has one at least."""
    notebook.page.locator(".live-panel").first.wait_for()
    return notebook.page.locator(".live-panel").all()


def drag(notebook: Notebook, slider: Locator, share: float) -> None:
    """Drag a slider's handle to a share of its track."""
    handle, track = slider.locator("[role=slider]"), slider.locator(".noUi-target").bounding_box()
    box = handle.bounding_box()
    assert box is not None
    assert track is not None
    mouse, height = notebook.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] / 2, height)
    mouse.down()
    mouse.move(track["x"] + track["width"] * share, height, steps=15)
    mouse.up()


def turn_slider(notebook: Notebook, panel: Locator, slider: Locator) -> None:
    handle = slider.locator("[role=slider]")
    handle.scroll_into_view_if_needed()
    pixels, reading = notebook.still(panel)
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.press("Home" if at_end else "End")
    by_key, told = notebook.still(panel)
    assert changed(pixels, by_key) > VISIBLE, f"{handle.get_attribute('aria-label')}: the key changed nothing"
    assert told != reading
    drag(notebook, slider, 0.4)
    by_drag, dragged = notebook.still(panel)
    assert changed(by_key, by_drag) > VISIBLE, f"{handle.get_attribute('aria-label')}: the drag changed nothing"
    assert dragged != told


def turn_menu(notebook: Notebook, panel: Locator, menu: Locator) -> None:
    before = notebook.still(panel)
    chosen = menu.evaluate("menu => menu.selectedIndex")
    last = menu.locator("option").count() - 1
    menu.select_option(index=last if chosen != last else 0)
    assert notebook.still(panel) != before, "another choice changed nothing"
    menu.select_option(index=chosen)
    _, reading = notebook.still(panel)
    assert reading == before[1], "the first choice did not come back"  # the picture has the ghost of the other one


def turn_switch(notebook: Notebook, panel: Locator, switch: Locator) -> None:
    before = notebook.still(panel)
    switch.press("Space")
    assert notebook.still(panel) != before, "the switch changed nothing"
    switch.press("Space")
    notebook.settled(panel)


def turn_everything(notebook: Notebook, panel: Locator) -> None:
    for slider in panel.locator(".live-slider:not(.live-idle)").all():
        turn_slider(notebook, panel, slider)
    for menu in panel.locator(".live-choice:not(.live-idle) select").all():
        turn_menu(notebook, panel, menu)
    for switch in panel.locator(".live-switch:not(.live-idle) input").all():
        turn_switch(notebook, panel, switch)


def check_size(panel: Locator) -> None:
    """At most 1000 pixels wide, nothing wider than its place, and the controls clear of the picture."""
    box = panel.bounding_box()
    assert box is not None
    assert box["width"] <= 1000
    beyond = panel.evaluate("""(panel) => {
      const right = (node) => node.getBoundingClientRect().right, column = panel.querySelector('.live-controls');
      const parts = [...column.querySelectorAll('input, select, .noUi-target')].map((node) => [node, right(column)]);
      const view = panel.closest('.jp-OutputArea-output');
      return [...parts, [panel, right(view)], [panel.querySelector('.live-plot'), right(view)]]
        .filter(([node, limit]) => right(node) > limit + 1).map(([node]) => node.className || node.tagName); }""")
    assert beyond == []


def check_accessible(notebook: Notebook) -> None:
    """WCAG A and AA in what the course itself puts on the page, and a name for every slider."""
    notebook.page.evaluate(AXE.read_text())
    found = notebook.page.evaluate("""async () => (await axe.run('.live-panel',
        {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}))
        .violations.map((found) => found.id + ': ' + found.nodes.map((node) => node.html.slice(0, 200)))""")
    assert found == []
    for handle in notebook.page.locator(".live-panel [role=slider]").all():
        assert handle.get_attribute("aria-label")
        assert handle.get_attribute("aria-valuetext")


@pytest.mark.parametrize("path", labs())
def test_a_lab_with_nothing_solved(path: str, notebook: Notebook) -> None:
    run(notebook, path)
    notebook.skip_questions()
    answers = answers_of_checks(notebook.cells())
    assert all(answer.startswith("○ TODO · ") for answer in answers), answers
    look_at_panels(notebook, Path(path).stem)


@of_fixtures
def test_a_panel_of_every_kind_of_control(notebook: Notebook) -> None:
    run(notebook, "fixture_good.ipynb")
    look_at_panels(notebook, "fixture_good")


def look_at_panels(notebook: Notebook, stem: str) -> None:
    """Turn every control of every panel, measure, take pictures, and demand that nothing failed."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    for number, panel in enumerate(panels(notebook)):
        turn_everything(notebook, panel)
        check_size(panel)
        notebook.page.screenshot(path=ARTIFACTS / f"{stem}-{number}.png")
    check_accessible(notebook)
    notebook.page.set_viewport_size({"width": 1024, "height": 640})  # 1280 x 800 at a zoom of 125 %
    for number, panel in enumerate(panels(notebook)):
        panel.scroll_into_view_if_needed()
        check_size(panel)
        notebook.page.screenshot(path=ARTIFACTS / f"{stem}-{number}-zoom.png")
    assert notebook.errors() == []
    assert notebook.off_machine == []


@of_fixtures
def test_number_box_moves_the_slider(notebook: Notebook) -> None:
    run(notebook, "fixture_good.ipynb")
    (panel,) = panels(notebook)
    box = panel.get_by_role("textbox", name="Malicious share")
    _, reading = notebook.still(panel)
    box.fill("29")
    box.press("Enter")
    notebook.page.wait_for_function("box => box.value === '30%'", arg=box.element_handle())
    _, told = notebook.still(panel)
    assert told != reading
    assert panel.get_by_role("slider", name="Malicious share").get_attribute("aria-valuetext") == "30%"


@of_fixtures
def test_the_arrow_follows_the_pointer(notebook: Notebook) -> None:
    run(notebook, "fixture_arrows.ipynb")
    (panel,) = panels(notebook)
    panel.locator("select").select_option("mimic")
    _, reading = notebook.still(panel)
    box, mouse = panel.locator("img.live-plot").bounding_box(), notebook.page.mouse
    assert box is not None
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.7, steps=10)
    mouse.up()
    handle = panel.get_by_role("slider", name="First weight").element_handle()
    notebook.page.wait_for_function("slider => Number(slider.getAttribute('aria-valuetext')) < -1", arg=handle)
    _, told = notebook.still(panel)
    assert told != reading
    assert "Three of twelve send (-1." in told
    assert panel.locator("select").input_value() == "your arrow"


@of_fixtures
def test_a_cell_that_raises_is_caught(notebook: Notebook) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(notebook, "fixture_bad_cell.ipynb")


@of_fixtures
@pytest.mark.parametrize(
    ("name", "what"), [("bad_worker", "boom in the worker"), ("bad_observer", "ZeroDivisionError")]
)
def test_a_callback_that_raises_is_caught(name: str, what: str, notebook: Notebook) -> None:
    run(notebook, f"fixture_{name}.ipynb")
    (panel,) = panels(notebook)
    with pytest.raises(AssertionError, match=what):
        turn_everything(notebook, panel)
