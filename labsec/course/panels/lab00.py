"""The panel of lab 00: one federation, attacked, defended and read by a curious server, live.

One hundred clients take fifty rounds of one step each (FedSGD on small batches). The message that the server reads is
one of that very run: what the last honest client sends in the first round.

    scenario      the federation behind the controls
    compute       its run, with what the server reads out of one message
    reading       the result in words
    LeakDrawing   the result as a picture
    panel         all of it together
    accuracy      how well the model does at the end, one number a seed
    shares        what the server reads out of all messages of the first round, one pair a seed

For the contrast at the end of the lab, `price_picture` and `reading_picture` draw these two over ε.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import exp, floor, inf, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import compress, data, models, plots, poison, privacy, robust
from labsec.course import live
from labsec.course.panels import lab00_leak
from labsec.course.panels.lab00_leak import RECOVERED_FROM, Leak, Shares
from labsec.course.panels.race import Race
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.scenario import Scenario

CLIENTS = 100
ROUNDS = 50
TERMS = privacy.Accountant(unit="client", delta=1e-5, relation="replace-one", rate=1, rounds=ROUNDS)
CLIP = 0.5  # L2 bound on an update
BOOST = 4.0  # the malicious clients send their update flipped and this much louder
BELIEVED = 25  # the number of bad clients that the trimmed mean is built for; nobody tells it the true one
SEEDS = range(5)
EPSILONS = (1, 2.5, 4, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, inf)
NEXT_TO_NOTHING = 20.0  # from this epsilon on a guarantee is called that: it allows odds of e^20, half a billion
BATCHES = (1, 2, 4, 8, 16)
KEPT = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
RULES: dict[str, Callable[..., Tensor]] = {
    "mean": robust.mean,
    "median": robust.median,
    f"trimmed mean, f = {BELIEVED}": bind(robust.trimmed_mean, f=BELIEVED),
}


@cache
def _digits() -> tuple[data.Dataset, models.Model]:
    digits = data.load("digits")
    return digits, models.mlp(digits.shape, digits.classes, hidden=(32,))


def scenario(
    *,
    epsilon: float = inf,
    noise_at: str = "server",
    malicious: float = 0.0,
    keep: float = 1.0,
    rule: Callable[..., Tensor] = robust.mean,
    batch: int = 4,
    seed: int = 0,
) -> Scenario:
    """The federation behind the panel.

    epsilon     for one client and the whole run, between neighbours that differ in what one client sent (replace-one),
                wherever the noise is added
    noise_at    "server" or "client"

    >>> scenario(epsilon=4, noise_at="client").client_stages[1].keywords["std"].__round__(2)
    7.64
    """
    if noise_at not in ("server", "client"):
        raise ValueError(f"noise_at is 'server' or 'client'; got {noise_at!r}")
    digits, model = _digits()
    return Scenario(
        data=digits,
        model=model,
        clients=CLIENTS,
        rounds=ROUNDS,
        local_steps=1,
        batch_size=batch,
        lr=0.5,
        malicious=malicious,
        attack=bind(poison.sign_flip, scale=BOOST) if malicious else None,
        wire=bind(compress.top_k, keep=keep),
        seed=seed,
        **_rule_and_noise(epsilon, noise_at, rule),
    )


def _noise(epsilon: float) -> float:
    """The multiplier of the clip, the same for both places: a message, or a sum, moves by twice the clip at most."""
    return TERMS.noise_for(epsilon)


def _rule_and_noise(epsilon: float, noise_at: str, rule: Callable[..., Tensor]) -> dict[str, Any]:
    """The fields of the scenario that hold the rule and the noise."""
    if epsilon == inf:
        return {"aggregate": rule}
    noise = _noise(epsilon)
    clip = bind(privacy.clip, bound=CLIP)
    if noise_at == "client":
        return {"aggregate": rule, "client_stages": (clip, bind(privacy.gaussian_noise, std=noise * CLIP))}
    if rule is robust.mean:
        return {"aggregate": bind(privacy.noisy_mean, clip=CLIP, noise=noise)}

    # Any other rule gets rows with as much noise that their mean would carry noise * C / n.
    spread = bind(privacy.gaussian_noise, std=noise * CLIP / sqrt(CLIENTS))
    return {"aggregate": rule, "server_stages": (clip, spread)}


@cache
def _clean(batch: int) -> list[float]:
    return run(scenario(batch=batch)).accuracy


@dataclass(frozen=True, eq=False)
class RunAndLeak:
    """What the panel shows after a round.

    accuracy     so far, one number a round
    clean        accuracy of the whole run without attack and defence
    megabytes    sent by the clients so far
    full         megabytes that all numbers of their messages take
    leak         what the server reads out of a message of the first round
    """

    accuracy: list[float]
    clean: list[float]
    megabytes: float
    full: float
    leak: Leak


def compute(**controls: Any) -> Iterator[RunAndLeak]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s = scenario(**controls)
    clean = _clean(controls["batch"])
    full_round = 4 * s.network().dim * CLIENTS / 1e6
    so_far: list[float] = []
    megabytes = 0.0
    for result in rounds(s):
        if result.number == 0:
            leak = lab00_leak.read(s, result)
        so_far.append(result.metrics["accuracy"])
        megabytes += result.bytes_up / 1e6
        yield RunAndLeak(list(so_far), clean, megabytes, full_round * len(so_far), leak)


def accuracy(**controls: Any) -> list[float]:
    """Accuracy in percent after the last round, one number a seed.

    >>> max(accuracy(epsilon=4, noise_at="client")) < 50
    True
    """
    ends = []
    for seed in SEEDS:
        *_, last = rounds(replace(scenario(seed=seed, **controls), evaluate_every=ROUNDS))
        ends.append(100 * last.metrics["accuracy"])
    return ends


def shares(**controls: Any) -> list[Shares]:
    """What both attacks find in the messages of all clients in the first round, one pair a seed.

    >>> shares(batch=1)[0]
    Shares(redrawn=100.0, matched=100.0)
    """
    found = []
    for seed in SEEDS:
        s = replace(scenario(seed=seed, **controls), rounds=1)
        found.append(lab00_leak.shares(s, next(rounds(s))))
    return found


def redrawn(**controls: Any) -> list[float]:
    """The share of the digits that redrawing finds, in percent, one number a seed."""
    return [share.redrawn for share in shares(**controls)]


def matched(**controls: Any) -> list[float]:
    """The share of the digits that matching finds, in percent, one number a seed."""
    return [share.matched for share in shares(**controls)]


def price_picture(epsilons: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]]) -> plots.Picture:
    """What noise costs. runs: name -> [len(epsilons), seeds], as `accuracy` gives them for each ε.

    The title says what was found, so it is written here and not in the cell, where it would be read too early.
    """
    return _against_epsilon(
        epsilons, runs, "The same ε costs more at the client", f"correct answers after {ROUNDS} rounds (%)"
    )


def reading_picture(epsilons: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]]) -> plots.Picture:
    """What is read although clients add noise. runs: name -> [len(epsilons), seeds], in percent."""
    return _against_epsilon(epsilons, runs, "Matching reads what redrawing cannot", "digits found (%)")


def _against_epsilon(
    epsilons: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]], title: str, ylabel: str
) -> plots.Picture:
    tables = {name: list(zip(*rows, strict=True)) for name, rows in runs.items()}
    terms = f"ε of one client, {ROUNDS} rounds, δ = {TERMS.delta:g}, {TERMS.relation} neighbours"
    return plots.curves(epsilons, tables, title=title, xlabel=terms, ylabel=ylabel, log=True)


def reading(controls: Mapping[str, Any], state: RunAndLeak) -> str:
    """The state in words."""
    leak = state.leak
    digits = "1 digit" if len(leak.psnr) == 1 else f"{len(leak.psnr)} digits"
    return (
        f"Round {len(state.accuracy)} of {ROUNDS}: accuracy {state.accuracy[-1]:.2f}, clean run {state.clean[-1]:.2f}. "
        f"One message of {digits}: redrawing finds {int(leak.is_redrawn.sum())} ({RECOVERED_FROM:g} dB or more; the "
        f"mean digit, which needs no message, has {floor(leak.baseline)}), matching against {leak.suspects:,} known "
        f"digits names {int(leak.right.sum())}. {_traffic(state)} {_guarantee(controls)}"
    )


def _traffic(state: RunAndLeak) -> str:
    sent = f"{state.megabytes:.1f} MB"
    full = f"{state.full:.1f} MB"
    return f"{sent} sent." if sent == full else f"{sent} sent, {full} if zeros were sent too."


def _guarantee(controls: Mapping[str, Any]) -> str:
    """What the noise promises, to whom and against whom."""
    epsilon = controls["epsilon"]
    if epsilon == inf:
        return "No noise, no guarantee."
    if controls["noise_at"] == "server" and controls["rule"] is not robust.mean:
        return f"The rule is not the mean: the noise made for ε = {epsilon:g} guarantees nothing here."
    against = {
        "client": "against everybody, the server too",
        "server": "against readers of the model, not the server",
    }[controls["noise_at"]]
    return f"{TERMS.in_words(epsilon)}, {against}: {promise(epsilon)}."


def promise(epsilon: float) -> str:
    """What an epsilon allows, on one scale of words.

    >>> promise(4), promise(1000)
    ('odds may change by a factor of 55', 'next to nothing, odds may change by a factor of e^1000')
    """
    if epsilon > NEXT_TO_NOTHING:
        return f"next to nothing, odds may change by a factor of e^{epsilon:g}"
    return f"odds may change by a factor of {float(f'{exp(epsilon):.2g}'):,g}"


SHOWN = 4  # digits side by side; one more place is kept for the guess that needs no message
SIDE = 8  # pixels of a digit
STEP = SIDE + 2  # from one digit to the next
ROWS = (0, SIDE + 1, 2 * SIDE + 4)  # where each row begins: below the second and the third there are words
HEIGHT = ROWS[2] + SIDE + 3
LABELS = 11  # room at the left of the digits
CENTRES = [i * STEP + SIDE / 2 - 0.5 for i in range(SHOWN + 1)]
SELDOM = 0.5  # zorder of what changes with the message that is read: nothing of it is drawn again in every round
OFTEN = 2.5  # zorder of what changes in every round


class LeakDrawing:
    """Accuracy over rounds, bytes sent, private digits and what two attacks make of them.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        with plots.style():
            grid = self.figure.add_gridspec(2, 2, height_ratios=(1, 1.7), width_ratios=(9, 1))
            self.race = Race(self.figure.add_subplot(grid[0, 0]), ROUNDS, "clean")
            self._bytes(self.figure.add_subplot(grid[0, 1]))
            self._digits(self.figure.add_subplot(grid[1, :]))
        words = [*self.labels, *self.scores, *self.names]
        self.moving = [*self.race.moving, self.bar, self.sent, self.digits, *words]

    def _bytes(self, ax: Any) -> None:
        self.bar = ax.bar([0], [1], color=plots.DEFENDER, width=0.8, zorder=OFTEN)[0]
        ax.bar([0], [1], color=plots.BAND, width=0.8)
        ax.set(xlim=(-0.6, 0.6), ylim=(0, 1), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title("sent", fontsize=10, fontweight="normal", loc="center")
        self.sent = ax.text(0, -0.03, "", ha="center", va="top", fontsize=9)

    def _digits(self, ax: Any) -> None:
        blank = np.ones((HEIGHT, (SHOWN + 1) * STEP))
        self.digits = ax.imshow(blank, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")
        ax.set(xticks=[], yticks=[], xlim=(-LABELS, (SHOWN + 1) * STEP), ylim=(HEIGHT - 0.5, -0.5))
        ax.spines[:].set_visible(False)
        colours = (plots.INK, plots.ATTACKER, plots.ATTACKER)
        beside = {"ha": "right", "va": "center", "fontsize": 9, "zorder": SELDOM}
        below = {"ha": "center", "va": "top", "fontsize": 8, "zorder": SELDOM}
        middles = [row + SIDE / 2 - 0.5 for row in ROWS]
        self.labels = [ax.text(-2, y, "", color=c, **beside) for y, c in zip(middles, colours, strict=True)]
        self.scores = [ax.text(x, ROWS[1] + SIDE - 0.2, "", **below) for x in CENTRES]
        self.names = [ax.text(x, ROWS[2] + SIDE - 0.2, "", **below) for x in CENTRES]
        ax.text(CENTRES[-1], middles[0], "a guess\nwithout a\nmessage:", ha="center", va="center", fontsize=8)

    def update(self, values: Mapping[str, Any], state: RunAndLeak) -> None:
        """Show a state; the layout stays as it is."""
        title = f"Accuracy {state.accuracy[-1]:.2f}; clean run {state.clean[-1]:.2f}"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))
        self.bar.set_height(state.megabytes / state.full)
        self.sent.set_text(f"{state.megabytes:.1f} MB")

        leak = state.leak
        number = len(leak.psnr)
        words = (
            "digits of\none client" + (f"\n({SHOWN} of {number})" if number > SHOWN else ""),
            f"redrawn:\n{int(leak.is_redrawn.sum())} of {number}",
            f"matched:\n{int(leak.right.sum())} of {number}",
        )
        for label, text in zip(self.labels, words, strict=True):
            label.set_text(text)
        _put(self.digits, _mosaic(leak))
        _say(self.scores, [_score(float(psnr)) for psnr in leak.psnr[:SHOWN]], _score(leak.baseline))
        _say(self.names, ["✓" if right else "another" for right in leak.right[:SHOWN]], "")


def _say(texts: list[Any], marks: list[str], last: str) -> None:
    """Put marks below the digits that there are, and one below the last place."""
    padded = [*marks, *[""] * (SHOWN - len(marks)), last]
    for text, mark in zip(texts, padded, strict=True):
        text.set_text(mark)


def _mosaic(leak: Leak) -> np.ndarray:
    """Three rows of digits as ink on paper: the private ones, the redrawn ones with the mean digit, the matched ones.

    A missing guess is a grey square.
    """
    sheet = torch.full((HEIGHT, (SHOWN + 1) * STEP), torch.nan)  # nothing is drawn where it stays NaN
    rows = [list(images[:SHOWN]) for images in (leak.truth, leak.redrawn, leak.matched)]
    places = [(top, i * STEP, image) for top, row in zip(ROWS, rows, strict=True) for i, image in enumerate(row)]
    places.append((ROWS[1], SHOWN * STEP, leak.mean))
    for top, left, image in places:
        sheet[top : top + SIDE, left : left + SIDE] = torch.nan_to_num(1 - image[0], nan=0.85)
    return sheet.numpy()


def _put(image: Any, pixels: np.ndarray) -> None:
    """Show pixels, unless they are there: what is set is drawn again."""
    if not np.array_equal(np.ma.filled(image.get_array(), np.nan), pixels, equal_nan=True):
        image.set_data(pixels)


def _score(psnr: float) -> str:
    """Decibels, floored, so that a 25 always has its tick.

    >>> _score(24.9), _score(25.0)
    ('24 dB', '25 dB ✓')
    """
    if psnr == -inf:
        return "none"
    return f"{floor(psnr)} dB" + (" ✓" if psnr >= RECOVERED_FROM else "")


def panel() -> live.Panel:
    """The panel: epsilon and who adds the noise, the malicious fraction, the compression rate, the rule, the batch."""
    _noise(1.0)  # loads the accountant now, not at the first move of epsilon
    for batch in BATCHES:
        _clean(batch)
    return live.Panel(
        name="lab00",
        attacker=_attackers_controls(),
        defender=_defenders_controls(),
        compute=compute,
        draw=LeakDrawing(),
        reading=reading,
    )


def _attackers_controls() -> dict[str, live.Control]:
    loud = f"These clients send the opposite of what they learned, {BOOST:g} times as large."
    made_of = "One message is made of so many digits."
    return {
        "malicious": live.slider("Malicious fraction", 0.0, 0.0, 0.5, 1 / CLIENTS, fmt="{:.0%}", help=loud),
        "batch": live.log_slider("Batch size", 4, BATCHES, fmt="{:.0f}", help=made_of),
    }


def _defenders_controls() -> dict[str, live.Control]:
    budget = "The privacy budget of the whole run. A smaller ε means more noise."
    places = {"the server": "server", "each client": "client"}
    when = "The server adds it to the sum of all messages. A client adds it before it sends."
    kept = "Each client sends this share of its numbers, the largest ones."
    rule = "How the server makes one update out of all messages."
    noise_at = live.choice("Noise added by", places, "the server", help=when)
    return {
        "epsilon": live.log_slider("Epsilon ε", inf, EPSILONS, fmt="{:g}", help=budget),
        "noise_at": live.unless(noise_at, lambda values: "ε is off: no noise." if values["epsilon"] == inf else ""),
        "keep": live.log_slider("Share kept", 1.0, KEPT, fmt="{:g}", help=kept),
        "rule": live.choice("Aggregation rule", dict(RULES), "mean", help=rule),
    }
