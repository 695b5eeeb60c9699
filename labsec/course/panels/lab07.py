"""The panel of lab 07: one ε, and side by side what it costs and what still leaks.

The numbers are rows of a committed table (`labsec.study.leakage`): five seeds of one federation, with noise at each
client, at the server, or in every client's training. The digits are live: messages of five clients, with the noise of
this ε in them, and what is read out of them. An ε is of all 50 rounds; whoever reads may have kept one message of each
client or all 50 of them, which leaves 1 / sqrt(50) of the noise.

    compute           the rows of a setting, and five messages of it
    reading           both in words
    LeakageDrawing    both as a picture
    panel             all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import inf, isnan, log10, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import invert, metrics, plots, privacy
from labsec.course import live
from labsec.course.panels.lab00 import promise
from labsec.geometry import unit_rows
from labsec.infer import guessed_labels
from labsec.study import leakage
from labsec.train import local_updates
from labsec.types import Updates, generator

PLACES = {"each client": "local", "the server": "central", "training (DP-SGD)": "dp_sgd"}
OBSERVERS = {"the server": "server", "who gets the model": "public"}
KEPT = {"all 50": leakage.ROUNDS, "the first": 1}
EPSILONS = leakage.EPSILONS
START = 1e3
SEED = 0  # of the messages that are shown
SHOWN = 5
COST = "accuracy"
MEASURES: Mapping[str, tuple[str, str]] = {  # column of the table: its name, its colour
    COST: ("accuracy", plots.DEFENDER),
    "plain": ("digit redrawn", plots.ATTACKER),
    "aware": ("digit recognised", plots.OTHERS[2]),
    "membership": ("member told, AUC", plots.OTHERS[1]),
    "labels": ("label read", plots.OTHERS[0]),
}


def guess(name: str, observer: str) -> float:
    """What a guess without any message reaches of a measure, in percent.

    >>> guess("membership", "server"), round(guess("aware", "public"), 1)
    (50.0, 7.4)
    """
    names = leakage.CLIENTS if observer == "public" else 1  # so many suspects are named for a message
    blind = {"accuracy": 10.0, "plain": 0.0, "membership": 50.0, "labels": 10.0}
    return blind[name] if name in blind else 100 * names / len(leakage.digits().y)


@dataclass(frozen=True, eq=False)
class Curves:
    """What the table says of a place and an observer, in percent.

    mean, low, high    column -> [epsilons], over the seeds; NaN where nothing was measured
    """

    mean: Mapping[str, np.ndarray]
    low: Mapping[str, np.ndarray]
    high: Mapping[str, np.ndarray]


@cache
def curves(place: str, observer: str, kept: int) -> Curves:
    """The rows of a place and an observer, over all epsilons; kept: how many messages of each client are read."""
    table = _table()
    rows = table[(table["place"] == place) & (table["observer"] == observer)]
    columns = {name: name if name == COST or kept == 1 else f"{name}_all" for name in MEASURES}
    groups = rows.groupby("epsilon")[list(columns.values())]
    found = [
        {name: 100 * over_seeds.loc[list(EPSILONS), column].to_numpy() for name, column in columns.items()}
        for over_seeds in (groups.mean(), groups.min(), groups.max())
    ]
    return Curves(*found)


@cache
def _table() -> Any:
    return leakage.load_table()


@dataclass(frozen=True, eq=False)
class Leak:
    """What is read out of the messages of five clients, one digit behind each.

    truth         [5, 1, 8, 8]
    redrawn       [5, 1, 8, 8] the best that redrawing has for each; NaN where it has none
    psnr          [5] in dB
    recognised    [5, 1, 8, 8] the suspect that is named for each: the right one, or another
    right         [5] bool, whether it is the right one
    labels        [5] what is read; None where all that is seen is a sum
    classes       [5] the true labels
    """

    truth: Tensor
    redrawn: Tensor
    psnr: Tensor
    recognised: Tensor
    right: Tensor
    labels: list[int] | None
    classes: list[int]


@dataclass(frozen=True, eq=False)
class CostAndLeak:
    """What the panel shows.

    curves      over all epsilons, of the table
    at          the place among EPSILONS of the one that is set
    observer    who looks: "server" or "public"
    leak        five messages, live
    """

    curves: Curves
    at: int
    observer: str
    leak: Leak


@cache
def _directions() -> Updates:
    """What each suspect alone would send in the first round, as unit vectors: [suspects, dim]."""
    model = leakage.network()
    digits = leakage.digits()
    alone = torch.arange(len(digits.y))[:, None, None]  # [suspects, 1 step, 1 digit]
    start = model.init(generator(SEED, "start"))
    return unit_rows(local_updates(model, start, digits.x, digits.y, alone, lr=leakage.LR))


def read(*, noise: float, place: str, observer: str) -> Leak:
    """Five messages under a noise multiplier, and what is read out of them.

    >>> read(noise=0.0, place="local", observer="server").right.tolist()
    [True, True, True, True, True]
    """
    view, chosen = leakage.messages(place, noise, SEED)
    digits = leakage.digits()
    truth = digits.x[chosen[:SHOWN]]
    if observer == "public":
        # All that is seen is the noisy mean, and a hundred digits are behind it.
        draw = generator(SEED, "noise", place)
        mean = privacy.noisy_mean(view.messages, clip=leakage.CLIP, noise=noise, generator=draw)
        seen = replace(view, messages=mean[None], batch_size=len(chosen))
        redrawn, psnr = metrics.best_matches(invert.analytic(seen), truth)
        named = (mean @ _directions().T).topk(len(chosen)).indices  # [100]
        right = torch.isin(chosen[:SHOWN], named)
        picks = torch.where(right, chosen[:SHOWN], named[~torch.isin(named, chosen)][:SHOWN])
        labels = None
    else:
        seen = replace(view, messages=view.messages[:SHOWN])
        pairs = [
            metrics.best_matches(invert.analytic(seen, message=i), truth[i : i + 1]) for i in range(len(seen.messages))
        ]
        redrawn = torch.cat([image for image, _ in pairs])
        psnr = torch.cat([decibels for _, decibels in pairs])
        picks = (seen.messages @ _directions().T).argmax(dim=1)  # [5]
        right = picks == chosen[:SHOWN]
        labels = guessed_labels(seen, x=digits.x_test, y=digits.y_test).tolist()
    return Leak(truth, redrawn, psnr, digits.x[picks], right, labels, digits.y[chosen[:SHOWN]].tolist())


def compute(*, epsilon: float, place: str, observer: str, kept: int) -> Iterator[CostAndLeak]:
    """One state: the table's rows of a setting, and five messages of it."""
    who = observer if place == "central" else "server"

    # A server that is trusted with the noise reads messages that have none. The mean of several has less.
    is_trusted = (place, who) == ("central", "server")
    noise = 0.0 if is_trusted else leakage.terms(place).noise_for(epsilon) / sqrt(kept)
    leak = read(noise=noise, place=place, observer=who)
    yield CostAndLeak(curves(place, who, kept), EPSILONS.index(epsilon), who, leak)


def reading(controls: Mapping[str, Any], state: CostAndLeak) -> str:
    """The state in words."""
    place = controls["place"]
    epsilon = controls["epsilon"]
    public = state.observer == "public"
    said = {name: _percent(state.curves.mean[name][state.at]) for name in MEASURES}
    who = "who gets the model" if public else "the server"
    out_of = "the first round" if controls["kept"] == 1 else f"all {leakage.ROUNDS} rounds"
    found = (
        f"Out of {out_of}: {who} redraws {said['plain']} of the digits and recognises {said['aware']} among "
        f"{len(leakage.digits().y):,} suspects (a guess: {guess('aware', state.observer):.1f} %), tells "
        f"members with an AUC of {state.curves.mean['membership'][state.at] / 100:.2f} (a guess: 0.50)"
    )
    labels = f"and reads {said['labels']} of the labels" if said["labels"] != "–" else "and sees no single label"
    right = f"Of the five digits shown it recognises {int(state.leak.right.sum())}."
    return f"Accuracy {said['accuracy']}. {found} {labels}. {right} {_guarantee(place, epsilon, public)}"


def _guarantee(place: str, epsilon: float, public: bool) -> str:
    if epsilon == inf:
        return "No noise, no guarantee."
    against = {"local": "against everybody", "dp_sgd": "against everybody"}.get(
        place, "against those who get the model, not the server"
    )
    if place == "central" and not public:
        against = "against those who get the model: the server reads messages without noise"
    return f"{leakage.terms(place).in_words(epsilon)}, {against}: {promise(epsilon)}."


def _percent(value: float) -> str:
    return "–" if isnan(value) else f"{value:.0f} %"


SIDE = 8
STEP = SIDE + 2
ROWS = (0, SIDE + 1, 2 * SIDE + 2)
HEIGHT = ROWS[2] + SIDE + 5
LABELS = 15
CENTRES = [i * STEP + SIDE / 2 - 0.5 for i in range(SHOWN)]


class LeakageDrawing:
    """Curves over ε with the present one marked, bars of the present one, and five digits with what is read of them.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        with plots.style():
            grid = self.figure.add_gridspec(2, 2, height_ratios=(1, 1.05), width_ratios=(1.1, 1))
            self._curves(self.figure.add_subplot(grid[0, 0]))
            self._bars(self.figure.add_subplot(grid[0, 1]))
            self._digits(self.figure.add_subplot(grid[1, :]))
        self.moving = [
            *self.lines.values(),
            self.here,
            *self.bars.values(),
            *self.spreads.values(),
            *self.numbers.values(),
            *self.guesses.values(),
            self.digits,
            *self.texts,
            *self.names,
            self.title,
        ]

    def _curves(self, ax: Any) -> None:
        self.places = [log10(epsilon) if epsilon < inf else log10(EPSILONS[-2]) + 1 for epsilon in EPSILONS]
        blank = np.full(len(EPSILONS), np.nan)
        self.lines = {
            name: ax.plot(self.places, blank, color=colour, linewidth=1.8)[0] for name, (_, colour) in MEASURES.items()
        }
        self.here = ax.axvline(0, color=plots.INK, linewidth=1)
        ax.set(xlim=(self.places[0] - 0.2, self.places[-1] + 0.2), ylim=(-3, 103), xlabel="ε of the whole run")
        ax.set_xticks([0, 2, 4, self.places[-1]], ["1", "100", "10⁴", "off"])
        ax.set_yticks([0, 50, 100])
        ax.set_title(" ")
        self.title = ax.text(0, 1.06, "", transform=ax.transAxes, fontsize=11, fontweight="bold")

    def _bars(self, ax: Any) -> None:
        self.bars = {}
        self.spreads = {}
        self.numbers = {}
        self.guesses = {}
        for row, (name, (title, colour)) in enumerate(MEASURES.items()):
            self.bars[name] = ax.barh([row], [0], color=colour, height=0.32)[0]
            (self.spreads[name],) = ax.plot([0, 0], [row, row], color=plots.INK, linewidth=1)
            dotted = {"color": plots.INK, "linewidth": 1, "linestyle": (0, (1, 1))}
            (self.guesses[name],) = ax.plot([0, 0], [row - 0.26, row + 0.26], **dotted)
            ax.text(0, row - 0.27, title, fontsize=9, va="bottom", color=colour, fontweight="bold")
            self.numbers[name] = ax.text(100, row - 0.27, "", fontsize=9, va="bottom", ha="right")
        ax.set(xlim=(0, 100), ylim=(len(MEASURES) - 0.55, -0.75), yticks=[], xticks=[0, 50, 100])
        ax.set_xlabel("percent; dotted: a blind guess")
        ax.spines[:].set_visible(False)

    def _digits(self, ax: Any) -> None:
        width = SHOWN * STEP
        self.digits = ax.imshow(
            np.full((HEIGHT, width), np.nan), cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal"
        )
        ax.set(xticks=[], yticks=[], xlim=(-LABELS, width), ylim=(HEIGHT - 0.5, -0.5))
        ax.spines[:].set_visible(False)
        beside = {"ha": "right", "va": "center", "fontsize": 9}
        middles = [row + SIDE / 2 - 0.5 for row in ROWS]
        colours = (plots.INK, plots.ATTACKER, MEASURES["aware"][1])
        self.names = [ax.text(-2, y, "", color=c, **beside) for y, c in zip(middles, colours, strict=True)]
        below = {"ha": "center", "va": "top", "fontsize": 8}
        self.texts = [ax.text(x, ROWS[2] + SIDE - 0.2, "", **below) for x in CENTRES]

    def update(self, values: Mapping[str, Any], state: CostAndLeak) -> None:
        """Show a state; the layout stays as it is."""
        at = state.at
        epsilon = values["epsilon"]
        self.title.set_text("no noise" if epsilon == inf else f"ε = {epsilon:,g}")
        self.here.set_xdata([self.places[at], self.places[at]])
        for name in MEASURES:
            mean = state.curves.mean[name]
            self.lines[name].set_ydata(mean)
            self.bars[name].set_width(0.0 if isnan(mean[at]) else mean[at])
            self.spreads[name].set_xdata([state.curves.low[name][at], state.curves.high[name][at]])
            self.guesses[name].set_xdata([guess(name, state.observer)] * 2)
            self.numbers[name].set_text("not seen" if isnan(mean[at]) else f"{mean[at]:.0f}")
        self.digits.set_data(_sheet(state.leak))
        redrawn = int((state.leak.psnr >= leakage.READ_FROM).sum())
        words = (
            "digits of\nfive clients",
            f"redrawn:\n{redrawn} of {SHOWN}",
            f"recognised:\n{int(state.leak.right.sum())} of {SHOWN}",
        )
        for name, text in zip(self.names, words, strict=True):
            name.set_text(text)
        for text, mark in zip(self.texts, _marks(state.leak), strict=True):
            text.set_text(mark)


def _sheet(leak: Leak) -> np.ndarray:
    """Three rows of digits as ink on paper; a guess that there is not is grey."""
    sheet = torch.full((HEIGHT, SHOWN * STEP), torch.nan)
    for top, images in zip(ROWS, (leak.truth, leak.redrawn, leak.recognised), strict=True):
        for i, image in enumerate(images):
            sheet[top : top + SIDE, i * STEP : i * STEP + SIDE] = torch.nan_to_num(1 - image[0], nan=0.85)
    return sheet.numpy()


def _marks(leak: Leak) -> list[str]:
    """Whether each digit was recognised, and which label was read."""
    marks = []
    for i, right in enumerate(leak.right.tolist()):
        mark = "✓" if right else "✗"
        if leak.labels is not None:
            mark += f"\nlabel {leak.labels[i]}{'✓' if leak.labels[i] == leak.classes[i] else '✗'}"
        marks.append(mark)
    return marks


def panel() -> live.Panel:
    """The panel: ε and where its noise is added; who looks."""
    curves("local", "server", leakage.ROUNDS)
    _directions()

    def only_at_the_server(values: Mapping[str, Any]) -> str:
        return "" if values["place"] == "central" else "The noise is in the messages: the server is looked at."

    who = live.choice("Who looks", OBSERVERS, "the server", help="The server sees each message, others the models.")
    budget = "The privacy budget of the whole run. A smaller ε means more noise."
    where = "At each client, the server sees noisy messages. At the server, it sees them without noise."
    return live.Panel(
        name="lab07",
        attacker={
            "observer": live.unless(who, only_at_the_server),
            "kept": live.choice("Rounds kept", KEPT, "all 50", help="All messages about one digit have less noise."),
        },
        defender={
            "epsilon": live.log_slider("Epsilon ε", START, EPSILONS, fmt="{:g}", help=budget),
            "place": live.choice("Noise added by", PLACES, "each client", help=where),
        },
        compute=compute,
        draw=LeakageDrawing(),
        reading=reading,
    )
