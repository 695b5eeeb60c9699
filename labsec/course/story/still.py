"""The story as one picture: who sends what, what one client can do, and what one message gives away."""

from __future__ import annotations

import base64
import io
from html import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from labsec import plots
from labsec.course.story.run import CLIENTS, FILM, HONEST_ROUNDS, OPENED_CLIENT, OPENED_ROUND, ROUNDS, Told
from labsec.course.story.scenes import percent
from labsec.plots import ATTACKER, BAND, CLEAN, DEFENDER, GREY, PAPER

WIDTH = 840  # CSS pixels, as the player's stage
COLOURS = 48  # of the stored picture


def image_tag(told: Told) -> str:
    """An <img> with alt text, which also survives where scripts, styles and SVG are taken out."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(plots.png(drawing(told)))) as image:
        height = round(WIDTH * image.height / image.width)
        image.convert("RGB").quantize(COLOURS).save(file, "PNG", optimize=True)
    code = base64.b64encode(file.getvalue()).decode()
    return f'<img width="{WIDTH}" height="{height}" alt="{escape(alt(told))}" src="data:image/png;base64,{code}">'


def alt(told: Told) -> str:
    """What the picture shows."""
    return (
        f"Three pictures. Left: {CLIENTS} clients, each with a handwritten digit, send updates to a server. Middle: "
        f"test accuracy over {ROUNDS} rounds. With honest clients it ends at {percent(told.honest[-1])}. With one "
        f"client that attacks after round {HONEST_ROUNDS}, it ends at {percent(told.attacked[-1])}. Right: a "
        f"handwritten digit, read from one update with a mean error of {percent(told.read_error)}. Beside it, the true "
        "digit, which looks the same, and the mean digit, a blur with a mean error of "
        f"{percent(told.mean_error)}."
    )


def drawing(told: Told) -> Figure:
    """The figure behind the picture."""
    fig = plots.figure(8.4, 3.5, dpi=144)
    with plots.style():
        left, middle, right = fig.subplots(1, 3, width_ratios=[1.0, 1.15, 1.15])
        _federation(left, told)
        _fall(middle, told)
        _reading(right, told)
    return fig


def _federation(ax: Axes, told: Told) -> None:
    """Clients with a digit each, and the server that they send to."""
    digits = told.film[FILM.index(OPENED_ROUND)]  # [clients, 28, 28]
    middle = (CLIENTS - 1) / 2
    for client in range(CLIENTS):
        x = 1.6 * (client % 2)  # staggered, so that each line finds its way
        y = CLIENTS - 1 - client
        ax.plot([x + 0.75, 4.0, 5.4], [y, y, middle], color=GREY, linewidth=0.8, zorder=0)
        ax.plot(4.0, y, marker="s", markersize=4, color=DEFENDER)
        _digit(ax, digits[client], left=x - 0.75, bottom=y - 0.75, side=1.5)
    ax.plot(5.7, middle, marker="o", markersize=38, markerfacecolor=PAPER, markeredgecolor=DEFENDER, markeredgewidth=3)
    ax.text(5.7, middle, "server", ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.9, 6.7), ylim=(-0.9, CLIENTS - 0.1), title="Only updates travel")
    _as_picture(ax)


def _fall(ax: Axes, told: Told) -> None:
    """Accuracy with the client that turns, and without."""
    after = range(HONEST_ROUNDS, ROUNDS + 1)
    ax.plot(told.honest, color=CLEAN, linewidth=1.2)
    ax.plot(after, told.attacked[HONEST_ROUNDS:], color=ATTACKER)
    ax.set(ylim=(-0.02, 1.02), xlabel="round", ylabel="test accuracy", title="One client turns")
    ax.text(ROUNDS, told.honest[-1] + 0.06, f"all honest {percent(told.honest[-1])}", ha="right")
    ax.text(HONEST_ROUNDS - 4, told.attacked[-1], f"1 of {CLIENTS} attacks {percent(told.attacked[-1])}", ha="right")


def _reading(ax: Axes, told: Told) -> None:
    """The digit that was read, large; the truth and the mean picture beside it."""
    words = f"read from the update\nof client {OPENED_CLIENT}:\nmean error {percent(told.read_error)}"
    _digit(ax, told.read, left=0, bottom=3.6, side=6.4, frame=ATTACKER)
    ax.text(0, 3.3, words, va="top")
    _digit(ax, told.truth, left=7, bottom=7, side=3)
    ax.text(7, 6.8, "the digit at\nthe client", va="top", fontsize=8)
    _digit(ax, told.mean, left=7, bottom=2, side=3)
    ax.text(7, 1.8, f"the mean digit:\nerror {percent(told.mean_error)}", va="top", fontsize=8)
    ax.set(xlim=(-0.1, 10.6), ylim=(0, 10.1), title="One message is opened")
    _as_picture(ax)


def _digit(ax: Axes, values: Tensor, *, left: float, bottom: float, side: float, frame: str = BAND) -> None:
    """A digit as ink on paper, with a frame, in the units of the axes."""
    right = left + side
    top = bottom + side
    ax.imshow(values.numpy(), cmap="gray_r", vmin=0, vmax=1, extent=(left, right, bottom, top), zorder=2)
    ax.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color=frame, linewidth=1.5, zorder=3)


def _as_picture(ax: Axes) -> None:
    """Axes that show no scale; a unit is as long upwards as sideways."""
    ax.axis("off")
    ax.set_aspect("equal", anchor="NW")
