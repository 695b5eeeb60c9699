"""`python -m benchmarks.pictures` makes the README's pictures: the panel in a browser, and the plot of its code."""

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


def first_run_picture(target: Path) -> None:
    """What the README's first code block draws."""
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    names: dict[str, object] = {}
    *lines, last = block.strip().splitlines()
    exec("\n".join(lines), names)
    target.write_bytes(plots.png(eval(last, names).figure))


if __name__ == "__main__":
    panel_picture(DOCS / "panel.png")
    first_run_picture(DOCS / "first_run.png")
