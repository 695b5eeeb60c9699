"""The one visual language of the course, and the plots that many labs share. Nothing here runs a simulation.

Figures are made without pyplot, so that any thread may draw them. The attacker is always vermilion, the defender
always blue, the clean run always the same thin dark line.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, UnidentifiedImageError

from labsec.federation.history import History
from labsec.guards import check_kind, check_number, kind

INK = "#1f2328"
PAPER = "#ffffff"
GREY = "#8a8f98"
BAND = "#e6e8eb"

# Vermilion and blue of Okabe and Ito's palette are kept for the two roles; other lines take four more of its colours,
# then a grey and a brown.
ATTACKER = "#d55e00"
DEFENDER = "#0072b2"
CLEAN = INK
OTHERS = ("#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c5a2b")
DASHES = ("--", "-.", ":", "-")
FEW = 3  # lines that can have a grey band each
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "lines.linewidth": 2.0,
}


def figure(width: float = 7.0, height: float = 3.6, *, dpi: int = 100) -> Figure:
    """An empty figure in the course's style, in inches, with a canvas of its own and no pyplot behind it.

    Add axes under `style()`, or with `axes`, which does so. Raises ValueError unless all sizes are positive.
    """
    check_number("figure", above=0, width=width, height=height)
    check_number("figure", whole=True, above=0, dpi=dpi)
    with style():
        made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)
    return made


def style() -> Any:
    """The course's Matplotlib settings as a context: `with plots.style(): …`."""
    return matplotlib.rc_context(STYLE)


def axes(fig: Figure, *args: Any, **kwargs: Any) -> Any:
    """Subplots of a figure in the course's style: the arguments of `Figure.subplots`."""
    check_kind("axes", Figure, fig=fig)
    with style():
        return fig.subplots(*args, **kwargs)


def png(fig: Figure) -> bytes:
    """The figure as PNG bytes, compressed for speed rather than size."""
    check_kind("png", Figure, fig=fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


class Picture:
    """A finished figure with a sentence that says what it shows, for eyes, for screen readers and for print."""

    def __init__(self, fig: Figure, alt: str) -> None:
        check_kind("Picture", Figure, fig=fig)
        check_kind("Picture", str, alt=alt)
        self.figure = fig
        self.alt = alt

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return mimebundle(png(self.figure), self.alt)

    def __repr__(self) -> str:
        return self.alt


def mimebundle(image: bytes, alt: str) -> dict[str, str]:
    """A PNG for a notebook: as HTML with alt text, and as the text alone.

    There is no bare image/png beside it. Whatever shows HTML prefers HTML, so that a second copy would double the file
    and be seen by nobody; and a bare image has no place for the alt text that every converter keeps.

    Raises TypeError for what is no bytes or no text, ValueError for bytes that are no picture.
    """
    check_kind("mimebundle", bytes, image=image)
    check_kind("mimebundle", str, alt=alt)
    code = base64.b64encode(_few_colours(image)).decode()
    tag = f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{code}" style="max-width:100%">'
    return {"text/html": tag, "text/plain": alt}


def _few_colours(image: bytes) -> bytes:
    """The same PNG in 256 colours of its own, which nobody can tell from it: about a quarter of the bytes."""
    try:
        picture = Image.open(io.BytesIO(image)).convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"mimebundle needs the bytes of a PNG; got {len(image)} bytes of something else") from None
    few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)

    # The octree averages colours, and paper that is not quite white would show on a white page.
    few.putpalette([255 if level >= 254 else level for level in few.getpalette() or ()])
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def accuracy(
    *, title: str = "Accuracy over the rounds", height: float = 3.6, **histories: History | Sequence[History]
) -> Picture:
    """Test accuracy over the rounds, one line per name; several runs of one name become their mean with a grey band.

    height    of the figure, in inches

    The name `clean` is drawn as the thin dark line, `attacked` and `defended` in their colours.

    Raises ValueError without a history, or for runs that were not measured in the same rounds.
    """
    for name, given in histories.items():
        seeds = [given] if isinstance(given, History) else given
        if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not seeds:
            raise TypeError(f"accuracy needs {name} to be a History or a list of them; got {kind(given)}")
        for each in seeds:
            check_kind("accuracy", History, **{name: each})
    if not histories:
        raise ValueError("accuracy needs a history or more, as in accuracy(clean=run(scenario)); got none")
    runs = {name: [given] if isinstance(given, History) else list(given) for name, given in histories.items()}
    tables = {name: [history.accuracy for history in seeds] for name, seeds in runs.items()}

    # All runs are measured in the same rounds: the first one says in which.
    first = next(iter(runs.values()))[0]
    x = [row["round"] + 1 for row in first.rows if row["accuracy"] is not None]
    return curves(x, tables, title=title, xlabel="round", ylabel="test accuracy", height=height)


def curves(
    x: Sequence[float],
    runs: Mapping[str, Sequence[Sequence[float]] | np.ndarray],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log: bool = False,
    height: float = 3.6,
) -> Picture:
    """One line per name over x: the mean of the seeds with a grey band from the least to the most.

    More than three bands would hide each other; then thin bars take their place.

    x       what was varied
    runs    name -> [seeds, len(x)]; the names `clean`, `attacked` and `defended` have their fixed colours
    log     whether x is drawn on a logarithmic scale
    height  of the figure, in inches

    Raises ValueError for a height that is not positive, without a line, or for one that is no table of numbers
    [seeds, len(x)].
    """
    check_kind("curves", str, title=title, xlabel=xlabel, ylabel=ylabel)
    check_kind("curves", bool, log=log)
    check_kind("curves", Mapping, runs=runs)
    places = _numbers("x", x)  # [n]
    tables = {name: _numbers(name, rows) for name, rows in runs.items()}  # each [seeds, len(x)]
    if places.ndim != 1 or not len(places) or not tables:
        raise ValueError(
            f"curves needs x [n] and a line or more; got x {kind(x)} of shape {list(places.shape)}, {len(tables)} lines"
        )
    for name, table in tables.items():
        if table.ndim != 2 or table.shape[1] != len(places) or not len(table):
            raise ValueError(f"curves needs {name} [seeds, {len(places)}], as long as x; got shape {list(table.shape)}")
    fig = figure(height=height)
    ax = axes(fig)
    ends = []  # where each line ends, for its label
    words = []  # the same lines for those who cannot see them
    for (name, table), (colour, dash) in zip(tables.items(), looks(tables), strict=True):
        label = name.replace("_", " ")
        mean = table.mean(axis=0)
        low = table.min(axis=0)
        high = table.max(axis=0)
        if len(table) > 1 and len(runs) <= FEW:
            ax.fill_between(x, low, high, color=BAND, zorder=0, linewidth=0)
        elif len(table) > 1:
            ax.vlines(x, low, high, color=colour, linewidth=0.8, alpha=0.7)
        ax.plot(x, mean, color=colour, linestyle=dash, linewidth=1.2 if name == "clean" else 2.0)
        ends.append((float(mean[-1]), label, colour))
        words.append(f"{label} goes from {mean[0]:.2f} to {mean[-1]:.2f}")
    with style():
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale="log" if log else "linear")
    if not log and all(float(value).is_integer() for value in x):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))

    # The lines end where the axes do, so that names touch them.
    if len(places) > 1:
        ax.set_xlim(right=float(places.max()))

    # At least from just below 0 to just above 1, so that accuracies can be compared from figure to figure.
    ax.set_ylim(min(-0.02, ax.get_ylim()[0]), max(1.02, ax.get_ylim()[1]))
    label_ends(ax, ends)
    return Picture(fig, f"Line plot. {title.rstrip('.')}. " + "; ".join(words) + ".")


def _numbers(name: str, rows: object) -> np.ndarray:
    """What is to be drawn, as an array; a NaN leaves a gap."""
    try:
        return np.asarray(rows, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"curves needs numbers in {name}, rows of one length; got {kind(rows)}") from None


def looks(names: Iterable[str]) -> list[tuple[Any, Any]]:
    """A colour and a dash for each line: fixed ones for the names of the roles, the next free ones for any other."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"looks needs names to be a list of texts; got {kind(names)}")
    names = [*names]
    for name in names:
        check_kind("looks", str, name=name)
    fixed = {"clean": (CLEAN, "-"), "attacked": (ATTACKER, "-"), "defended": (DEFENDER, "-")}
    others = zip(cycle(OTHERS), cycle(DASHES), strict=False)
    return [fixed[name] if name in fixed else next(others) for name in names]


LINE_OF_TEXT = 0.234  # inches, and a little more, because the axes are lower than the figure


def label_ends(ax: Axes, ends: Iterable[tuple[float, str, Any]]) -> None:
    """Write each line's name at its right end, (y, name, colour), pushed apart where they would overlap.

    A line is expected to end where the axes do.
    """
    check_kind("label_ends", Axes, ax=ax)
    if isinstance(ends, str) or not isinstance(ends, Iterable):
        raise TypeError(f"label_ends needs ends to be a list of (y, name, colour); got {kind(ends)}")
    ends = [*ends]
    for end in ends:
        if not isinstance(end, tuple) or len(end) != 3:
            raise ValueError(f"label_ends needs (y, name, colour) of every line; got {end!r}")
    low, high = ax.get_ylim()
    fig = ax.get_figure(root=True)
    assert fig is not None  # axes without a figure cannot be drawn
    gap = LINE_OF_TEXT * (high - low) / fig.get_figheight()
    ends.sort(key=lambda end: end[0])
    heights = _apart([y for y, _, _ in ends], gap, low + gap / 2)

    # A name that had to move is joined to its line by a thin lead; then all names stand in one column behind the leads.
    moved = any(abs(height - y) > gap / 2 for height, (y, _, _) in zip(heights, ends, strict=True))
    where: Any = ("axes fraction", "data")
    for height, (y, name, colour) in zip(heights, ends, strict=True):
        text = {"xytext": (1.06 if moved else 1.01, height), "textcoords": where, "color": colour, "va": "center"}
        lead = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        ax.annotate(name, (1.0, y), xycoords=where, annotation_clip=False, arrowprops=lead if moved else None, **text)


def _apart(heights: Sequence[float], gap: float, least: float) -> list[float]:
    """Heights in rising order, moved as little as possible (least squares) until each is a gap above the one before.

    >>> _apart([0.3, 0.3, 0.9], 0.2, least=0.0)
    [0.2, 0.4, 0.9]
    >>> _apart([0.0, 0.0, 0.9], 0.2, least=0.1)
    [0.1, 0.3, 0.9]
    """
    from scipy.optimize import isotonic_regression  # takes a while to import, and few figures need it

    steps = gap * np.arange(len(heights))
    moved = isotonic_regression(np.asarray(heights) - steps).x.clip(min=least) + steps
    return [round(float(height), 9) for height in moved]
