"""Dots on an axis, in plain HTML.

The theme colours the text, and the text keeps its size. Every mark is a border, because borders are printed and survive
where JupyterLab cleans the HTML of a notebook that it does not trust; backgrounds, SVG and `transform` do not.
To a screen reader a whole chart is one image with a sentence; whoever shows a chart says its numbers in text as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

INK = "#7a7f87"  # of rings, thresholds and guesses: seen on light and on dark themes
MEASURED = "#009e73"  # neither the attacker's colour nor the defender's
ROW_HEIGHT = 22  # pixels
TEXT_SIZE = "12.5px"
ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a chart.

    name     at the left
    dots     what was measured, a number per seed
    rings    what it is compared with
    end      a word at the right
    """

    name: str
    dots: Sequence[float] = ()
    rings: Sequence[float] = ()
    end: str = ""


@dataclass(frozen=True)
class Scale:
    """From numbers to places on an axis of any width."""

    low: float
    high: float

    def at(self, number: float) -> str:
        """The place of a number, in percent of the axis; what lies beyond an end is drawn at that end.

        >>> Scale(0, 50).at(20), Scale(0, 50).at(60)
        ('40.00%', '100.00%')
        """
        inside = min(max(number, self.low), self.high)
        return f"{100 * (inside - self.low) / (self.high - self.low):.2f}%"

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers on the axis.

        >>> Scale(0, 97).ticks()
        [0.0, 20.0, 40.0, 60.0, 80.0]
        """
        finest = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(finest))
        step = next(power * factor for factor in ROUND_STEPS if power * factor >= finest * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]

    def alignment(self, number: float) -> str:
        """How a word at a number is aligned, so that it stays on the page near the ends."""
        share = (number - self.low) / (self.high - self.low)
        return "left" if share < 0.12 else "right" if share > 0.88 else "center"


def chart(rows: Sequence[Row], *, unit: str, alt: str, thresholds: Sequence[tuple[float, str]] = ()) -> str:
    """Rows of dots over one axis: names at the left, numbers in the middle, a word at the right.

    unit          of the numbers, below the words
    alt           the sentence for a screen reader
    thresholds    (number, name): dashed lines, named below the numbers
    """
    numbers = [number for row in rows for number in (*row.dots, *row.rings)]
    scale = _scale_around([0.0, *numbers, *(number for number, _ in thresholds)])
    height = ROW_HEIGHT * len(rows)

    # The lines first, so that dots lie on top of them.
    marks = [_upright(scale.at(tick), 0, height, "1px solid #8885") for tick in scale.ticks()]
    marks += [_level(ROW_HEIGHT * (i + 0.5)) for i in range(len(rows))]
    marks += [_upright(scale.at(number), 0, height, f"2px dashed {INK}") for number, _ in thresholds]

    # Rings lie a little above the line of their row and dots a little below, so that neither hides the other.
    for i, row in enumerate(rows):
        middle = ROW_HEIGHT * (i + 0.5)
        marks += [_ring(scale.at(number), middle - 3.5) for number in row.rings]
        marks += [_dot(scale.at(number), middle + 3.5) for number in row.dots]

    # Two thresholds may stand close together: one name ends at its line, the other begins there.
    words = [_word(scale.at(tick), 0, f"{tick:g}") for tick in scale.ticks()]
    for i, (number, name) in enumerate(sorted(thresholds)):
        align = "center" if len(thresholds) == 1 else "left" if i else "right"
        words.append(_word(scale.at(number), 15, name, align=align, bold=True))

    cell = "grid-column:{};grid-row:{};white-space:nowrap;"
    names = "".join(
        f'<div style="{cell.format(1, i)}text-align:right">{escape(row.name)}</div>'
        f'<div style="{cell.format(3, i)}">{escape(row.end)}</div>'
        for i, row in enumerate(rows, start=1)
    )
    below = len(rows) + 1
    return (
        f'<div role="img" aria-label="{escape(alt, quote=True)}" style="display:grid;font-size:{TEXT_SIZE};'
        f"max-width:760px;margin-top:4px;column-gap:12px;line-height:{ROW_HEIGHT}px;"
        "grid-template-columns:max-content minmax(120px,1fr) max-content;"
        f'grid-template-rows:repeat({len(rows)},{ROW_HEIGHT}px) {32 if thresholds else 17}px">{names}'
        f'<div style="grid-column:2;grid-row:1/{below};position:relative">{"".join(marks)}</div>'
        f'<div style="grid-column:2;grid-row:{below};position:relative;line-height:16px">{"".join(words)}</div>'
        f'<div style="{cell.format(3, below)}line-height:16px;padding-left:6px">{escape(unit)}</div></div>'
    )


def guess_beside(numbers: Sequence[float], guess: float | None, *, low: float, high: float, alt: str) -> str:
    """What was measured, a dot per seed, and the guess, on the scale on which it was asked.

    low, high    the ends of that scale; the axis is longer where a result lies beyond
    """
    scale = Scale(min(low, *numbers), max(high, *numbers))
    line = 28  # pixels from the top: above it the guess, below it the result
    mean = fmean(numbers)
    marks = [_level(line)]
    for tick in scale.ticks():
        marks += [_upright(scale.at(tick), line - 4, 8, f"1px solid {INK}"), _word(scale.at(tick), 50, f"{tick:g}")]
    if guess is not None:
        # A bar for the distance between the two.
        width = 100 * abs(guess - mean) / (scale.high - scale.low)
        place = f"left:{scale.at(min(guess, mean))};top:{line - 1}px;width:{width:.2f}%"
        marks.append(f'<span style="position:absolute;{place};border-top:3px solid {INK};opacity:.6"></span>')
        marks.append(_circle(scale.at(guess), line + 0.5, inner=0, border=6, colour=INK))
        marks.append(_word(scale.at(guess), 3, "your guess", align=scale.alignment(guess), bold=True))
    marks += [_dot(scale.at(number), line + 0.5, radius=5) for number in numbers]
    marks.append(_word(scale.at(mean), 35, "measured", align=scale.alignment(mean), bold=True))
    return (
        f'<div role="img" aria-label="{escape(alt, quote=True)}" style="position:relative;height:68px;'
        f'max-width:560px;margin:2px 14px 0;font-size:{TEXT_SIZE}">{"".join(marks)}</div>'
    )


def key(measured: str, baseline: str, *, marked: bool) -> str:
    """What dots and rings stand for, and the marks at the ends of the rows if there are any."""
    dot = f'<span style="color:{MEASURED}">●</span>'
    parts = [f"{dot} {escape(measured)}", f"○ {escape(baseline)}"] + ["✓ supports the claim"] * marked
    words = "".join(f'<span style="margin-right:16px">{part}</span>' for part in parts)
    return f'<div style="font-size:{TEXT_SIZE};margin-top:2px">{words}</div>'


def _scale_around(numbers: Sequence[float]) -> Scale:
    """A scale on which every number has room for its dot."""
    low = min(numbers)
    high = max(numbers)
    margin = 0.03 * (high - low or 1.0)
    return Scale(low - margin, high + margin)


def _upright(x: str, top: float, height: float, border: str) -> str:
    place = f"left:{x};top:{top:g}px;height:{height:g}px"
    return f'<span style="position:absolute;{place};border-left:{border};margin-left:-1px"></span>'


def _level(top: float) -> str:
    return f'<span style="position:absolute;left:0;top:{top:g}px;width:100%;border-top:1px solid #8885"></span>'


def _dot(x: str, y: float, *, radius: float = 3.5) -> str:
    return _circle(x, y, inner=0, border=radius, colour=MEASURED, more=";opacity:.8")


def _ring(x: str, y: float) -> str:
    return _circle(x, y, inner=5, border=1.5, colour=INK)


def _circle(x: str, y: float, *, inner: float, border: float, colour: str, more: str = "") -> str:
    """A circle around a place. With an inner width of 0 its border fills it."""
    radius = inner / 2 + border
    return (
        f'<span style="position:absolute;left:{x};top:{y - radius:g}px;margin-left:-{radius:g}px;'
        f"width:{inner:g}px;height:{inner:g}px;border:{border:g}px solid {colour};border-radius:50%;"
        f'box-sizing:content-box{more}"></span>'
    )


def _word(x: str, top: float, text: str, *, align: str = "center", bold: bool = False) -> str:
    """A word at a place: centred on it, or beginning (left) or ending (right) there."""
    shift = {"center": -80, "left": -7, "right": -153}[align]  # pixels, of a box that is 160 wide
    look = "font-weight:600" if bold else "opacity:.8"
    return (
        f'<span style="position:absolute;left:{x};top:{top:g}px;width:160px;margin-left:{shift}px;text-align:{align};'
        f'white-space:nowrap;line-height:16px;{look}">{escape(text)}</span>'
    )
