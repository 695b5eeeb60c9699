"""The opening of lab 00: one round of a real federation, a client that turns, and a message that is opened.

What is told here was measured a moment before, in the reader's own kernel.

    run       what is measured
    scenes    what is told about it
    still     one picture for pages on which nothing runs
    opening   the story as the page plays it (story.js, story.css)
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labsec.course.story import scenes, still
from labsec.course.story.run import Told, measured

HERE = Path(__file__).parent


class Opening(anywidget.AnyWidget):
    """The story of one run. The page plays it by itself: it asks neither the kernel nor another host.

    A cell's output is a still picture with the captions, and no widget. While the kernel has the story, the page puts
    the player in the place of this still. So a notebook stores nothing that could be dead when it is opened again,
    exported, or read on a site where nothing runs.

    data    numbers, words and pictures of the run
    key     a digest of `data`; the player takes the place of stills with the same key only
    """

    _esm = HERE / "story.js"
    _css = HERE / "story.css"

    data = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)

    def __init__(self, told: Told) -> None:
        data = scenes.page(told)
        key = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
        super().__init__(data=data, key=key)
        self._told = told

    def _repr_mimebundle_(self, **_: Any) -> Any:
        told = scenes.script(self._told)
        captions = "".join(f"<li><b>{escape(scene.title)}.</b> {escape(scene.caption)}</li>" for scene in told)
        kept = (
            f'<div class="labsec-story" data-story="{self.key}">{still.image_tag(self._told)}'
            "<p>This is a still. Run this cell in JupyterLab to play the story.</p>"
            f"<details><summary>The story in words</summary><ol>{captions}</ol></details></div>"
        )
        words = [f"{number}. {scene.title}. {scene.caption}" for number, scene in enumerate(told, start=1)]
        return {"text/html": kept, "text/plain": "\n".join(words)}


@cache
def opening() -> Opening:
    """The story, ready to be shown. It is measured at the first call, in about two seconds, and kept."""
    return Opening(measured())
