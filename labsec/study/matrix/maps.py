"""A table of numbers as a heat map: attacks from the top, rules from the left, the worst of each rule in a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from labsec import plots
from labsec.study.catalogue import title_of

if TYPE_CHECKING:
    import pandas

COLOURS = "cividis"  # reads the same with every kind of colour vision, and in grey
FEW = 12  # columns whose names may lie almost flat


def part_of(frame: pandas.DataFrame, column: str, name: str) -> pandas.DataFrame:
    """The rows with a name in a column."""
    part = frame[frame[column] == name]
    if part.empty:
        raise ValueError(f"the frame holds no {column} {name!r}; it holds {', '.join(frame[column].unique())}")
    return part


def means(part: pandas.DataFrame, column: str = "accuracy") -> pandas.DataFrame:
    """The mean over the seeds of one setting: [attacks, rules] in the order of the frame."""
    return wide(part, part.groupby(["attack", "rule"])[column].mean())


def wide(part: pandas.DataFrame, column: pandas.Series) -> pandas.DataFrame:
    """A number for each attack and rule as [attacks, rules], in the order of the frame."""
    return column.unstack().reindex(index=part["attack"].unique(), columns=part["rule"].unique())


class HeatMap:
    """A map in axes with its values in the cells; `fill` shows other values.

    rows, columns    names, from the top and from the left
    worst            which number of a column is the worst, and stands in a frame: np.nanargmin or np.nanargmax
    """

    def __init__(
        self,
        ax: Axes,
        title: str,
        rows: Iterable[Any],
        columns: Iterable[Any],
        *,
        worst: Callable[..., Any] = np.nanargmin,
    ) -> None:
        self.worst = worst
        rows = [title_of(name) for name in rows]
        columns = [title_of(name) for name in columns]
        blank = np.full((len(rows), len(columns)), np.nan)
        self.image = ax.imshow(blank, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
        middle: Any = {"ha": "center", "va": "center", "fontsize": 8.5}
        self.texts = {(i, j): ax.text(j, i, "", **middle) for i, j in np.ndindex(blank.shape)}
        self.frames = [_frame(ax, column) for column in range(len(columns))]
        with plots.style():
            ax.set_title(title, pad=8)
        ax.set_xticks(range(len(columns)), columns, rotation=20 if len(columns) <= FEW else 45, ha="right")
        ax.set_yticks(range(len(rows)), rows)
        ax.set(xlabel="rule", ylabel="attack")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)

    def fill(self, values: np.ndarray) -> None:
        """Numbers [rows, columns]; a cell that is NaN stays empty."""
        self.image.set_data(values)
        for (i, j), text in self.texts.items():
            value = float(values[i, j])
            text.set_text("" if np.isnan(value) else f"{value:.2f}")
            text.set_color("black" if np.isnan(value) else ink(value))
        for column, frame in enumerate(self.frames):
            known = not np.isnan(values[:, column]).all()
            frame.set_visible(known)
            if known:
                frame.set_y(int(self.worst(values[:, column])) - 0.5)


def _frame(ax: Axes, column: int) -> Rectangle:
    """A frame around a cell of a column, for the worst row."""
    frame = Rectangle((column - 0.5, -0.5), 1, 1, fill=False, edgecolor=plots.ATTACKER, linewidth=2.2)
    ax.add_patch(frame)
    return frame


def draw_map(ax: Axes, title: str, mean: pandas.DataFrame, *, worst: Callable[..., Any] = np.nanargmin) -> None:
    """Draw a map of numbers [rows, columns] into axes, the lowest of each column (or else its worst) in a frame."""
    HeatMap(ax, title, mean.index, mean.columns, worst=worst).fill(mean.to_numpy(dtype=float))


def ink(value: float) -> str:
    """Black or white, whichever stands out more on the cell's colour: the contrast is at least 4.5."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colormaps[COLOURS](value))]
    light = float(np.dot((0.2126, 0.7152, 0.0722), linear))
    return "black" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "white"
