"""From a drawing to PNG bytes: the figure is kept, and where the drawing says what moves, the rest is not redrawn."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Mapping
from operator import methodcaller
from typing import Any, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PIXELS_PER_INCH = 100  # on the page, whatever the resolution of the figure
WIDEST = 5.0  # inches; beside the controls, in a notebook on a small laptop
DRAWING = threading.RLock()  # Matplotlib's text layout is shared by all figures of a process


class Drawing(Protocol):
    """A figure, made once, and how a state changes the data of its artists.

    A drawing may have one attribute more, `moving`: the artists that `update` changes. They are then drawn alone, above
    all others and in order of their zorder, over a kept picture of the rest; that makes it several times faster.
    Without it the whole figure is drawn every time.

    From the lowest artist upwards, those that `update` has left alone are not drawn again either. So what seldom
    changes should have the lowest zorder, and be set only where it changes: Matplotlib notes as `stale` what was set.
    """

    @property
    def figure(self) -> Figure:
        """The figure; no pyplot, because controls are turned in other threads."""

    def update(self, values: Mapping[str, Any], state: Any) -> None:
        """Put a state into the artists."""


class Renderer:
    """Draws one figure again and again, and makes a PNG of it.

    Raises ValueError if the figure is too wide for a panel.
    """

    def __init__(self, drawing: Drawing) -> None:
        figure = drawing.figure
        width, height = figure.get_size_inches()
        if width > WIDEST:
            raise ValueError(f"a panel's figure is at most {WIDEST} inches wide; got {width:g}")
        self.size = (round(width * PIXELS_PER_INCH), round(height * PIXELS_PER_INCH))  # pixels on the page
        canvas = figure.canvas
        self._canvas = canvas if isinstance(canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
        self._drawing = drawing
        self._moving = sorted(getattr(drawing, "moving", ()), key=methodcaller("get_zorder"))
        self._still: Any = None  # the picture without what moves
        self._kept: Any = None  # the same with the lowest of the artists that move
        self._below = 0  # how many of them

    def render(self, values: Mapping[str, Any], state: Any) -> bytes:
        """The picture of a state as PNG."""
        with DRAWING:
            self._drawing.update(values, state)
            if self._still is None:
                self._lay_out()
            if self._moving:
                self._draw_moving()
            else:
                self._canvas.draw()
            return self._png()

    def _draw_moving(self) -> None:
        """Draw the artists that move, from the lowest that has changed since the last picture."""
        renderer = self._canvas.get_renderer()
        changed = [number for number, artist in enumerate(self._moving) if artist.stale]
        first = min(changed, default=len(self._moving))

        # Build on the kept picture, unless it holds an artist that has changed.
        is_good = first >= self._below
        self._canvas.restore_region(self._kept if is_good else self._still)
        for artist in self._moving[self._below if is_good else 0 : first]:
            artist.draw(renderer)
        self._kept = self._canvas.copy_from_bbox(self._drawing.figure.bbox)
        self._below = first
        for artist in self._moving[first:]:
            artist.draw(renderer)

    def _lay_out(self) -> None:
        """Settle the layout once, then freeze it: nothing jumps, and no picture pays for it again."""
        figure = self._drawing.figure
        self._canvas.draw()
        figure.set_layout_engine("none")
        for artist in self._moving:
            artist.set_animated(True)  # left out of draw()
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(figure.bbox)
        self._kept = self._still

    def _png(self) -> bytes:
        width, height = self._canvas.get_width_height(physical=True)
        return encode_png(np.asarray(self._canvas.buffer_rgba()).reshape(height, width, 4)[..., :3])


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG of [height, width, 3] bytes, compressed lightly and without filters, because the page is on this machine.

    Pillow tries every filter on every line; for flat graphics that costs time and saves nothing.

    >>> encode_png(np.zeros((2, 3, 3), np.uint8))[:4]
    b'\\x89PNG'
    """
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each line begins with the number of its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(lines.data, 1), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks.items())


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
