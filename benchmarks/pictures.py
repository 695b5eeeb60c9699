"""`python -m benchmarks.pictures [NAME …]` makes the pictures of docs/ that show the panels and the service's page.

Each is taken in Chromium, as a learner sees it; a name is that of its file, all of them are made without one.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from playwright.sync_api import expect

from benchmarks.panel import PANELS, ROOT, opened_panel
from labsec import Scenario, data, models, plots, service
from labsec.study import capture
from tests.browser.lab_server import NO_CHROMIUM, chromium, chromium_path

DOCS = ROOT / "docs"
SHOWN = ("lab 03", "lab 04", "lab 05", "lab 06", "lab 07", "lab 08")  # whose panels are kept at two sizes
SECONDS = 300  # for the service to read an update


def panel_picture(target: Path) -> None:
    """Lab 00's panel after a few moves, as a learner sees it."""
    with opened_panel(*PANELS["lab 00"]) as (notebook, panel):
        moves = {"Malicious fraction": ["ArrowRight"] * 10, "Epsilon ε": ["Home"] + ["ArrowRight"] * 3}
        for name, keys in moves.items():
            for key in keys:
                panel.get_by_role("slider", name=name).press(key)
        panel.locator("select").last.select_option(index=2)
        notebook.settled(panel)
        panel.screenshot(path=target)


SCREENS = {"1280": (1280, 800), "1024": (1024, 640)}  # the second is the first at a zoom of 125 %


def panel_on_screens(lab: str, name: str) -> None:
    """A lab's panel as it starts, on each of SCREENS: NAME_1280.png, NAME_1024.png."""
    with opened_panel(*PANELS[lab]) as (notebook, panel):
        for screen, (width, height) in SCREENS.items():
            notebook.page.set_viewport_size({"width": width, "height": height})
            panel.scroll_into_view_if_needed()
            notebook.settled(panel)
            panel.screenshot(path=DOCS / f"{name}_{screen}.png")


def first_run_picture(target: Path) -> None:
    """What the README's first code block draws."""
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    names: dict[str, object] = {}
    *lines, last = block.strip().splitlines()
    exec("\n".join(lines), names)
    target.write_bytes(plots.png(eval(last, names).figure))


def service_picture(target: Path) -> None:
    """The inversion service's page, after it has read a digit out of an update that a run of FedSGD captured."""
    path = chromium_path()
    if path is None:
        raise SystemExit(NO_CHROMIUM)
    digits = data.load("mnist5k")
    scenario = Scenario(data=digits, model=models.lenet(digits.shape, digits.classes), local_steps=1, batch_size=1)
    with tempfile.TemporaryDirectory() as folder, service.running() as started, chromium(path) as browser:
        update = capture.save(Path(folder, "update.safetensors"), capture.from_run(scenario).view)
        page = browser.new_page(viewport={"width": 1024, "height": 640})
        page.goto(started.url)
        page.get_by_label("A captured update").set_input_files(update)
        page.get_by_role("button", name="Invert it").click()
        expect(page.get_by_role("status")).to_have_text("The search has ended.", timeout=SECONDS * 1000)
        page.screenshot(path=target, full_page=True)


PICTURES: dict[str, Callable[[], None]] = {
    "panel": partial(panel_picture, DOCS / "panel.png"),
    "first_run": partial(first_run_picture, DOCS / "first_run.png"),
    "service": partial(service_picture, DOCS / "service.png"),
    **{f"panel_{lab[-2:]}": partial(panel_on_screens, lab, f"panel_{lab[-2:]}") for lab in SHOWN},
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    names = parser.parse_args().names
    unknown = sorted({*names} - {*PICTURES})
    if unknown:
        parser.error(f"no picture is called {', '.join(unknown)}; known: {', '.join(PICTURES)}")
    for name in names or PICTURES:
        PICTURES[name]()
