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
from labsec.course.story.scenes import percent, scenes
from labsec.plots import ATTACKER, BAND, CLEAN, DEFENDER, GREY, INK

WIDTH = 840  # CSS pixels, as the player's stage
COLOURS = 48  # of the stored picture


def still(told: Told) -> str:
    """An <img> with alt text, which also survives where scripts, styles and SVG are taken out."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(plots.png(drawing(told)))) as image:
        height = round(WIDTH * image.height / image.width)
        image.convert("RGB").quantize(COLOURS).save(file, "PNG", optimize=True)
    code = base64.b64encode(file.getvalue()).decode()
    return f'<img width="{WIDTH}" height="{height}" alt="{escape(alt(told))}" src="data:image/png;base64,{code}">'


def alt(told: Told) -> str:
    """What the picture shows."""
    shown = {scene.name: scene.picture for scene in scenes(told)}
    return f"Three pictures. Left: {shown['home']} Middle: {shown['turn']} Right: {shown['read']}"


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
    """Clients with a digit each, and the server between them."""
    digits = told.film[FILM.index(OPENED_ROUND)]  # [clients, 28, 28]
    for client in range(CLIENTS):
        x = 0.4 + 1.1 * (client % 2)  # staggered, so that each line finds its way
        y = CLIENTS - 1 - client
        ax.plot([x + 0.5, 2.5, 3.4], [y, y, 3.5], color=GREY, linewidth=0.8, zorder=0)
        ax.plot(2.5, y, marker="s", markersize=4, color=DEFENDER)
        _digit(ax, digits[client], (x - 0.5, x + 0.5, y - 0.75, y + 0.75))
    ax.plot(3.6, 3.5, marker="o", markersize=38, markerfacecolor="white", markeredgecolor=DEFENDER, markeredgewidth=3)
    ax.text(3.6, 3.5, "server", ha="center", va="center", fontsize=9)
    ax.set(xlim=(-0.2, 4.4), ylim=(-0.9, 7.9), title="Only updates travel")
    ax.axis("off")


def _fall(ax: Axes, told: Told) -> None:
    """Accuracy with the client that turns, and without."""
    after = range(HONEST_ROUNDS, ROUNDS + 1)
    ax.plot(told.honest, color=CLEAN, linewidth=1.2)
    ax.plot(after, told.attacked[HONEST_ROUNDS:], color=ATTACKER)
    ax.set(ylim=(-0.02, 1.02), xlabel="round", ylabel="test accuracy", title="One client turns")
    ax.text(ROUNDS, told.honest[-1] + 0.06, f"all honest {percent(told.honest[-1])}", ha="right", color=INK)
    ax.text(HONEST_ROUNDS - 4, told.attacked[-1], f"1 of {CLIENTS} attacks {percent(told.attacked[-1])}", ha="right")


def _reading(ax: Axes, told: Told) -> None:
    """The digit that was read, large; the truth and the mean picture beside it."""
    _digit(ax, told.read, (0, 6.2, 2.6, 9.6), frame=ATTACKER)
    ax.text(0, 2.2, f"read from the update\nof client {OPENED_CLIENT}:\nmean error {percent(told.read_error)}", va="top")
    _digit(ax, told.truth, (7, 10, 6.3, 9.6))
    ax.text(7, 6.1, "the digit at\nthe client", va="top", fontsize=8)
    _digit(ax, told.mean, (7, 10, 1.4, 4.7))
    ax.text(7, 1.2, f"the mean digit:\nerror {percent(told.mean_error)}", va="top", fontsize=8)
    ax.set(xlim=(-0.1, 10.5), ylim=(0, 10), title="One message is opened")
    ax.axis("off")


def _digit(ax: Axes, values: Tensor, extent: tuple[float, float, float, float], *, frame: str = BAND) -> None:
    """A digit as ink on paper, with a frame, in the units of the axes."""
    left, right, bottom, top = extent
    ax.imshow(values.numpy(), cmap="gray_r", vmin=0, vmax=1, extent=extent, aspect="auto", zorder=2)
    ax.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color=frame, linewidth=1.5, zorder=3)
    ax.set_aspect("auto")
