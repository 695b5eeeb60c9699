"""`python -m benchmarks.pictures` makes the pictures of the README, and of two more panels at two sizes of a screen."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.panel import PANELS, ROOT, opened_panel
from labsec import plots

DOCS = ROOT / "docs"


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


if __name__ == "__main__":
    panel_picture(DOCS / "panel.png")
    panel_on_screens("lab 03", "panel_03")
    panel_on_screens("lab 06", "panel_06")
    first_run_picture(DOCS / "first_run.png")
