"""How quickly the panels answer: JupyterLab and Chromium on this machine, from the key to the pixels."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
from playwright.sync_api import Locator, Page

from benchmarks.common import machine, versions
from labsec import cli
from tests.browser.lab_page import NUMBERS, Notebook
from tests.browser.lab_server import NO_CHROMIUM, chromium, chromium_path, jupyterlab

ROOT = Path(__file__).parents[1]
PANELS = {  # notebook, which of its panels
    "lab 00": ("00_start.ipynb", 0),
    "lab 02": ("02_poisoning.ipynb", 1),
    "lab 03": ("03_backdoors.ipynb", 0),
    "lab 04": ("04_inversion.ipynb", 0),
    "lab 05": ("05_beyond.ipynb", 0),
    "lab 06": ("06_watching.ipynb", 0),
    "lab 07": ("07_epsilon.ipynb", 0),
    "lab 08": ("08_less.ipynb", 0),
}
PRESSES = 20  # of each slider
SECONDS = 3.0  # of dragging
DRAGS = 6  # the first in a panel that nobody has touched, the others after all keys
GOALS = {"first_ms": "p95 ≤ 80", "final_ms": "p50 ≤ 200, p95 ≤ 350", "pictures": "≥ 20", "first_drag": "as later ones"}

ARM = (
    """(panel) => {
  const numbers = """
    + NUMBERS
    + """;
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))));
  const seen = {}, old = numbers(panel);
  window.answer = new Promise((done) => {
    let start = null;
    panel.addEventListener('keydown', (event) => { start = event.timeStamp; }, { once: true, capture: true });
    const watcher = new MutationObserver(async () => {
      const now = numbers(panel), caption = panel.querySelector('.live-caption');
      if (start === null || now === old || panel.querySelector('.live-plot')?.dataset.for !== now) return;
      if (!seen.first) { seen.first = painted(); }
      if (caption?.dataset.for === now && caption.dataset.busy === 'false') {
        watcher.disconnect();
        done([await seen.first - start, await painted() - start]);
      }
    });
    watcher.observe(panel, { childList: true, subtree: true });
  });
}"""
)
COUNT = """(panel) => {
  const count = { pictures: 0, held: true };
  let last = panel.querySelector('.live-plot');
  const look = () => {
    const shown = panel.querySelector('.live-plot');
    if (shown && shown !== last) { count.pictures += 1; last = shown; }
    if (count.held) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  window.count = count;
}"""
COUNTED = "() => { window.count.held = false; return window.count.pictures; }"


@contextmanager
def opened_panel(name: str, number: int) -> Iterator[tuple[Notebook, Locator]]:
    """A notebook in the browser, all cells run, one of its panels settled."""
    path = chromium_path()
    if path is None:
        raise SystemExit(NO_CHROMIUM)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium(path) as browser:
        course = Path(folder, "course")
        temporary = Path(folder, "temporary")
        temporary.mkdir()
        shutil.copytree(ROOT / "notebooks", course / "notebooks")
        cli.copy_missing(course)
        with jupyterlab(course, temporary) as (base, token):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            notebook = Notebook(page, base, token)
            notebook.open(name)
            notebook.run_all()
            notebook.skip_questions()  # a panel may wait for their answers
            panel = page.locator(".live-panel").nth(number)
            panel.scroll_into_view_if_needed()
            notebook.settled(panel)
            yield notebook, panel
            notebook.close()


def answer_times(notebook: Notebook, panel: Locator) -> list[tuple[float, float]]:
    """Milliseconds from a key to the first and to the final picture of the new value, painted."""
    times = []
    for slider in panel.get_by_role("slider").all():
        for press in range(PRESSES):
            at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
            notebook.page.evaluate(ARM, panel.element_handle())
            slider.press("ArrowLeft" if at_end or press % 2 else "ArrowRight")
            times.append(tuple(notebook.page.evaluate("() => window.answer")))
    return times


def drag_rate(page: Page, panel: Locator) -> float:
    """Pictures a second while a slider is dragged back and forth, 0.6 seconds from end to end."""
    slider = panel.locator(".live-slider").first
    track = slider.locator(".noUi-target").bounding_box()
    handle = slider.get_by_role("slider").bounding_box()
    assert track is not None
    assert handle is not None
    height = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, height)
    page.mouse.down()
    page.evaluate(COUNT, panel.element_handle())
    start = perf_counter()
    while (passed := perf_counter() - start) < SECONDS:
        page.mouse.move(track["x"] + track["width"] * (0.5 - 0.5 * np.cos(5 * passed)), height)
        page.wait_for_timeout(1000 / 60)
    rate = page.evaluate(COUNTED) / (perf_counter() - start)
    page.mouse.up()
    return rate


def settled_drag(notebook: Notebook, panel: Locator) -> float:
    """The rate of one drag, after which the panel has come to rest."""
    rate = drag_rate(notebook.page, panel)
    notebook.settled(panel)
    return rate


def half(times: Sequence[float]) -> str:
    """The median, rounded."""
    return f"{np.median(times):.0f}"


def most(times: Sequence[float]) -> str:
    """The 95th percentile, rounded."""
    return f"{np.percentile(times, 95):.0f}"


def rows(name: str, number: int) -> list[tuple[str, str, str]]:
    """What was measured, the figure, the goal."""
    with opened_panel(name, number) as (notebook, panel):
        rates = [settled_drag(notebook, panel)]
        first, final = np.array(answer_times(notebook, panel)).T
        notebook.settled(panel)
        rates += [settled_drag(notebook, panel) for _ in range(DRAGS - 1)]
    later = rates[1:]
    return [
        ("key to first pixels, ms: p50 / p95", f"{half(first)} / {most(first)}", GOALS["first_ms"]),
        ("key to final picture, ms: p50 / p95", f"{half(final)} / {most(final)}", GOALS["final_ms"]),
        ("pictures a second in the first drag", f"{rates[0]:.0f}", GOALS["first_drag"]),
        (f"in {len(later)} later drags: least / median", f"{min(later):.0f} / {half(later)}", GOALS["pictures"]),
    ]


def main() -> str:
    """A table for each panel as Markdown."""
    parts = [f"{machine()}; {versions('jupyterlab', 'ipykernel', 'ipywidgets', 'matplotlib', 'torch')}"]
    for lab, (name, number) in PANELS.items():
        lines = [
            f"| {' | '.join(row)} |"
            for row in [(f"{lab}'s panel in Chromium", "measured", "goal"), *rows(name, number)]
        ]
        parts.append("\n".join([lines[0], "|---|---:|---:|", *lines[1:]]))
    return "\n\n".join(parts)
