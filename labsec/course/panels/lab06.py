"""The panel of lab 06: a score, a threshold to drag, and what the accusations are worth where few are bad; live.

The scores are those of every message of a real run, whose server averages the honest messages alone, as if somebody had
told it who is who: so every score judges the same messages.

    compute        the scores of a run, and what the threshold makes of them
    reading        the result in words
    ScoreDrawing   the result as a picture
    panel          all of it together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import plots
from labsec.course import live
from labsec.detect import judging
from labsec.federation.bind import bind
from labsec.study import detection
from labsec.study.catalogue import ATTACKS, SKEWS

ROUNDS = 60
CLIENTS = 1000  # of the base-rate sum
SCORES = ("norm", "cosine", "cosine to root", "loss trajectory")
SHOWN = ("sign_flip_x10", "alie_1.5", "min_sum", "drift")
BAD = (0.001, 0.01, 0.05, 0.2)
TUNED = 0.05  # of the messages of alike honest clients
WIDTH = 0.01  # the step of the threshold


@cache
def _seen(skew: str, attack: str, seed: int) -> Mapping[str, Tensor]:
    """What every score says of every message of a run: name -> [rounds, clients]."""
    scenario = detection.federation(skew=skew, attack=attack, seed=seed, rounds=ROUNDS)
    truth = bind(detection.only_honest, malicious=scenario.malicious_count)
    shown = {name: score for name, score in detection.scores().items() if name in SCORES}
    return detection.watch(replace(scenario, server_stages=[truth]), shown)


@cache
def tuned(score: str) -> float:
    """The threshold that accuses 5 % of the messages of alike honest clients, in another run."""
    seen = _seen("iid", "none", detection.TUNING_SEEDS[0])
    return judging.threshold_for(seen[score].flatten(), false_alarms=TUNED)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a score and a threshold make of the messages of a run.

    honest, bad     the scores of all messages of either kind
    threshold       above which a message is accused
    false_alarms    share of the honest messages that are accused
    found           share of the attackers' messages that are accused
    curve           what every threshold finds, and what it costs: false alarms and found, [points] each
    tuned           what the threshold that was chosen among alike honest clients does here: false alarms, found
    auc             the area under the curve
    sum             the accusations among CLIENTS clients
    """

    honest: Tensor
    bad: Tensor
    threshold: float
    false_alarms: float
    found: float
    curve: tuple[np.ndarray, np.ndarray]
    tuned: tuple[float, float]
    auc: float
    sum: judging.Accusations


def compute(*, score: str, attack: str, skew: str, alarms: float, bad: float) -> Iterator[Judged]:
    """Judge one score by a threshold that accuses a share `alarms` of the honest messages of this run.

    bad    share of bad clients in the base-rate sum
    """
    values = _seen(skew, attack, 0)[score]  # [rounds, clients], the malicious ones first
    malicious = round(detection.MALICIOUS * values.shape[1])
    of_bad = values[:, :malicious].flatten()
    honest = values[:, malicious:].flatten()
    everybody = torch.cat([of_bad, honest])
    is_bad = torch.arange(len(everybody)) < len(of_bad)
    false_alarms, found, _ = judging.roc(everybody, is_bad)

    threshold = -torch.inf if alarms >= 1 else judging.threshold_for(honest, false_alarms=alarms)
    accused = judging.share_above(honest, threshold)
    detected = judging.share_above(of_bad, threshold)
    known = tuned(score)
    yield Judged(
        honest=honest,
        bad=of_bad,
        threshold=threshold,
        false_alarms=accused,
        found=detected,
        curve=(false_alarms.numpy(), found.numpy()),
        tuned=(judging.share_above(honest, known), judging.share_above(of_bad, known)),
        auc=judging.auc(everybody, is_bad),
        sum=judging.accusations(clients=CLIENTS, bad=bad, false_alarms=accused, detected=detected),
    )


def reading(controls: Mapping[str, Any], state: Judged) -> str:
    """The state in words."""
    threshold = "everybody is accused" if state.threshold == -torch.inf else f"threshold {state.threshold:.2f}"
    right = state.sum.share_right
    true = "nobody is accused" if np.isnan(right) else f"{right:.0%} of the accusations are true"
    who = f"{controls['score']} against {ATTACKS[controls['attack']].title}, {SKEWS[controls['skew']].short}"
    return (
        f"{who}, area {state.auc:.2f}: {threshold} accuses {state.false_alarms:.0%} of the honest messages and "
        f"{state.found:.0%} of the attackers'. Of {CLIENTS:,} clients, {controls['bad']:.1%} of them bad, it accuses "
        f"{state.sum.right:.1f} bad and {state.sum.wrong:.1f} honest ones: {true}. ◇, tuned to {TUNED:.0%} of alike "
        f"honest messages, accuses {state.tuned[0]:.0%} and {state.tuned[1]:.0%} here."
    )


BINS = 40


class ScoreDrawing:
    """The ROC with the threshold as a point, the accusations as bars, and the scores of both kinds of clients.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        with plots.style():
            grid = self.figure.add_gridspec(2, 2, height_ratios=(1.9, 1), width_ratios=(1.5, 1))
            self.axes = self.figure.add_subplot(grid[0, 0])
            self._roc()
            self._sum(self.figure.add_subplot(grid[0, 1]))
            self._scores(self.figure.add_subplot(grid[1, :]))
        self.moving = [
            *(self.line, self.at_tuned, self.point, self.cross),
            *(*self.bars, *self.counts, self.share),
            *(*self.honest, *self.bad, self.threshold, self.low, self.high),
        ]

    def _roc(self) -> None:
        ax = self.axes
        ax.plot([0, 1], [0, 1], color=plots.GREY, linewidth=1, linestyle=":")
        ax.text(0.62, 0.52, "guessing", color=plots.GREY, fontsize=9)
        (self.line,) = ax.plot([], [], color=plots.INK, linewidth=1.5)
        (self.cross,) = ax.plot([], [], color=plots.DEFENDER, linewidth=1, linestyle="--")
        (self.at_tuned,) = ax.plot([], [], "D", color=plots.PAPER, markeredgecolor=plots.INK, markersize=8)
        (self.point,) = ax.plot([], [], "o", color=plots.DEFENDER, markersize=11)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xlabel="honest accused", ylabel="attackers accused")
        ax.set_title("Drag the point\n◇ tuned on alike clients", fontsize=10)

    def _sum(self, ax: Any) -> None:
        self.bars = ax.bar([0, 1], [0, 0], color=[plots.ATTACKER, plots.GREY], width=0.7)
        self.counts = [ax.text(x, 0, "", ha="center", va="bottom", fontsize=10, fontweight="bold") for x in (0, 1)]
        self.share = ax.text(0.5, 1.28, "", ha="center", va="top", fontsize=10, fontweight="bold")
        ax.set(xlim=(-0.6, 1.6), ylim=(0, 1.3), yticks=[])
        ax.set_xticks([0, 1], ["bad", "honest"])
        ax.set_title(f"Accused of {CLIENTS:,}\n ", fontsize=10)

    def _scores(self, ax: Any) -> None:
        places = np.arange(BINS)
        self.honest = ax.bar(places, np.zeros(BINS), width=1.0, color=plots.GREY)
        self.bad = ax.bar(places, np.zeros(BINS), width=1.0, color=plots.ATTACKER, alpha=0.6)
        self.threshold = ax.axvline(0, color=plots.DEFENDER, linewidth=2)
        self.low = ax.text(0, -0.06, "", ha="left", va="top", fontsize=9, transform=ax.transAxes)
        self.high = ax.text(1, -0.06, "", ha="right", va="top", fontsize=9, transform=ax.transAxes)
        ax.set(xlim=(-0.5, BINS - 0.5), ylim=(0, 1.05), xticks=[], yticks=[])
        ax.set_xlabel("score of a message (grey honest, orange attackers)", labelpad=2)

    def update(self, values: Mapping[str, Any], state: Judged) -> None:
        """Show a state; the layout stays as it is."""
        self.line.set_data(*state.curve)
        self.at_tuned.set_data([state.tuned[0]], [state.tuned[1]])
        self.point.set_data([state.false_alarms], [state.found])
        self.cross.set_data([state.false_alarms, state.false_alarms, 0], [0, state.found, state.found])

        numbers = (state.sum.right, state.sum.wrong)
        most = max(*numbers, 1e-9)
        for bar, text, number in zip(self.bars, self.counts, numbers, strict=True):
            bar.set_height(number / most)
            text.set_y(number / most)
            text.set_text(f"{number:.1f}")
        right = state.sum.share_right
        self.share.set_text("nobody accused" if np.isnan(right) else f"{right:.0%} are true")
        self._spread(state)

    def _spread(self, state: Judged) -> None:
        """The two histograms, each of height one, between scores that hold all but a few messages."""
        everybody = torch.cat([state.honest, state.bad])
        low, high = (float(everybody.quantile(share)) for share in (0.002, 0.995))
        edges = np.linspace(low, high, BINS + 1)
        for bars, scores in ((self.honest, state.honest), (self.bad, state.bad)):
            counts, _ = np.histogram(scores.clamp(low, high).numpy(), edges)
            for bar, count in zip(bars, counts, strict=True):
                bar.set_height(count / counts.max())
        place = (min(max(state.threshold, low), high) - low) / (high - low) * BINS - 0.5
        self.threshold.set_xdata([place, place])
        self.low.set_text(f"{low:.2g}")
        self.high.set_text(f"{high:.2g}")


def panel() -> live.Panel:
    """The panel: a score, who attacks, how unlike the clients are, the threshold, and how many clients are bad."""
    attacks = {ATTACKS[name].title: name for name in SHOWN}
    skews = {SKEWS[name].short: name for name in SKEWS}
    tell = "The share of the honest messages of this run above the threshold; drag the point on the curve."
    bad = live.log_slider("Bad clients", 0.01, BAD, fmt="{:.1%}", help="Of the 1,000 in the sum beside the curve.")
    return live.Panel(
        name="lab06",
        attacker={
            "attack": live.choice(
                "Attack", attacks, ATTACKS["min_sum"].title, help="Six of thirty send it in every round."
            )
        },
        defender={
            "score": live.choice("Score", SCORES, "norm", help="What the server looks at."),
            "alarms": live.slider("Honest accused", 0.05, 0.0, 1.0, WIDTH, fmt="{:.0%}", help=tell),
        },
        setting={
            "skew": live.choice("Clients", skews, SKEWS["iid"].short, help="How unlike their labels are."),
            "bad": bad,
        },
        compute=compute,
        draw=ScoreDrawing(),
        reading=reading,
        drag=live.Drag(x="alarms"),
    )
