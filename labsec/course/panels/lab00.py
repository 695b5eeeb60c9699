"""The panel of lab 00: one federation, attacked, defended and read by a curious server, live.

One hundred clients take fifty rounds of one step each (FedSGD on small batches). The message that the server inverts
is one of that very run: what the last honest client sends in the first round.

    scenario      the federation behind the controls
    compute       its run, with what the server reads out of one message
    reading       the result in words
    LeakDrawing    the result as a picture
    panel         all of it together
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import inf, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import compress, data, invert, metrics, models, plots, poison, privacy, robust
from labsec.course import live
from labsec.course.panels.race import Race
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.types import ServerView

CLIENTS = 100
ROUNDS = 50
DELTA = 1e-5
CLIP = 0.5  # L2 bound on an update, tuned once for the best accuracy under noise at the server
BOOST = 4.0  # the malicious clients send their update flipped and this much louder
BELIEVED = 25  # the number of bad clients that the trimmed mean is built for; nobody tells it the true one
RECOVERED_FROM = 25.0  # dB from which a digit counts as recovered
EPSILONS = (1, 2.5, 4, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, inf)
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
    """The federation behind the panel. `noise_at` is "server" or "client"; `epsilon` covers all rounds of one client.

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


def _rule_and_noise(epsilon: float, noise_at: str, rule: Callable[..., Tensor]) -> dict[str, Any]:
    """The fields of the scenario that hold the rule and the noise."""
    if epsilon == inf:
        return {"aggregate": rule}
    noise = privacy.noise_for(epsilon, rounds=ROUNDS, delta=DELTA)
    clip = bind(privacy.clip, bound=CLIP)

    # At the client one row is replaced by another: sensitivity 2 C.
    if noise_at == "client":
        return {"aggregate": rule, "client_stages": (clip, bind(privacy.gaussian_noise, std=2 * noise * CLIP))}

    # Under the mean at the server every client has the same weight: sensitivity C / n.
    if rule is robust.mean:
        return {"aggregate": bind(privacy.noisy_mean, clip=CLIP, noise=noise)}

    # Any other rule gets rows with as much noise that their mean would carry noise * C / n.
    spread = bind(privacy.gaussian_noise, std=noise * CLIP / sqrt(CLIENTS))
    return {"aggregate": rule, "server_stages": (clip, spread)}


@cache
def _clean(batch: int) -> list[float]:
    return run(scenario(batch=batch)).accuracy


@cache
def _mean_digit() -> Tensor:
    return _digits()[0].x.mean(dim=0, keepdim=True)


@dataclass(frozen=True, eq=False)
class Leak:
    """What a curious server reads out of one message.

    truth        [n, 1, 8, 8] the private digits of one client
    recovered    [n, 1, 8, 8] the server's best guess for each
    psnr         [n] in dB, of the guesses
    mean         [1, 8, 8] the mean digit, a guess without any message
    baseline     the median PSNR of the mean digit, in dB
    """

    truth: Tensor
    recovered: Tensor
    psnr: Tensor
    mean: Tensor
    baseline: float

    @property
    def found(self) -> int:
        """How many digits count as recovered."""
        return int((self.psnr >= RECOVERED_FROM).sum())


@dataclass(frozen=True, eq=False)
class RunAndLeak:
    """What the panel shows after a round.

    accuracy     so far, one number a round
    clean        accuracy of the whole run without attack and defence
    megabytes    sent by the clients so far
    dense        megabytes that they would have sent uncompressed
    leak         what the server reads out of a message of the first round
    """

    accuracy: list[float]
    clean: list[float]
    megabytes: float
    dense: float
    leak: Leak


def _read_last_message(s: Scenario, first: Round) -> Leak:
    """What a curious server reads out of the last message of a round, and how far that is from the truth."""
    view = ServerView(
        params=first.before,
        messages=first.messages[-1:],
        model=s.network(),
        lr=s.lr,
        local_steps=s.local_steps,
        batch_size=s.batch_size,
    )
    guesses = invert.analytic(view)

    # The truth is looked at by the score alone.
    population = Population(s)
    truth = population.x[population.batches(first.number, first.clients)[-1, 0]]
    recovered, psnr = metrics.best_matches(guesses, truth)
    _, baseline = metrics.best_matches(_mean_digit().expand_as(truth), truth)
    return Leak(truth=truth, recovered=recovered, psnr=psnr, mean=_mean_digit()[0], baseline=float(baseline.median()))


def compute(**controls: Any) -> Iterator[RunAndLeak]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s = scenario(**controls)
    clean = _clean(controls["batch"])
    dense_a_round = 4 * s.network().dim * CLIENTS / 1e6
    accuracy: list[float] = []
    megabytes = 0.0
    for result in rounds(s):
        if result.number == 0:
            leak = _read_last_message(s, result)
        accuracy.append(result.metrics["accuracy"])
        megabytes += result.bytes_up / 1e6
        yield RunAndLeak(list(accuracy), clean, megabytes, dense_a_round * len(accuracy), leak)


def reading(controls: Mapping[str, Any], state: RunAndLeak) -> str:
    """The state in words."""
    leak = state.leak
    middle = float(leak.psnr.median())
    quality = f"{middle:.0f} dB" if middle > -inf else "no picture at all"
    return (
        f"Round {len(state.accuracy)} of {ROUNDS}: accuracy {state.accuracy[-1]:.2f}, clean run {state.clean[-1]:.2f}. "
        f"The server recovers {leak.found} of {len(leak.psnr)} private digits "
        f"(median {quality}; the mean digit, a guess without any message, scores {leak.baseline:.0f} dB). "
        f"{state.megabytes:.1f} MB sent of {state.dense:.1f} MB. {_guarantee(controls)}"
    )


def _guarantee(controls: Mapping[str, Any]) -> str:
    epsilon = controls["epsilon"]
    if epsilon == inf:
        return "No noise, no guarantee."
    noise = privacy.noise_for(epsilon, rounds=ROUNDS, delta=DELTA)
    terms = f"δ = {DELTA:g}, all {ROUNDS} rounds, noise {noise:.2f}"
    if controls["noise_at"] == "client":
        return f"ε = {epsilon:g} hides which update an honest client sent, from the server too ({terms})."
    if controls["rule"] is not robust.mean:
        return f"The rule is not the mean, so the noise of ε = {epsilon:g} guarantees nothing here."
    return f"ε = {epsilon:g} hides from readers of the model whether a client took part, not from the server ({terms})."


def outcome(seed: int = 0, **controls: Any) -> tuple[float, float]:
    """Final accuracy of a run, and the share of one client's digits that the server recovers.

    >>> accuracy, share = outcome(epsilon=4, noise_at="client")
    >>> accuracy < 0.5, share
    (True, 0.0)
    """
    s = replace(scenario(seed=seed, **controls), evaluate_every=ROUNDS)
    first, *_, last = rounds(s)
    leak = _read_last_message(s, first)
    return last.metrics["accuracy"], leak.found / len(leak.psnr)


SHOWN = 8  # digits side by side; one more place is kept for the guess that needs no message
GAP = 2  # white pixels between them
SIDE = 8  # pixels of a digit
SELDOM = 0.5  # zorder of what changes with the message that is read: nothing of it is drawn again in every round
OFTEN = 2.5  # zorder of what changes in every round


class LeakDrawing:
    """Accuracy over rounds, bytes sent, private digits and what the server makes of them.

    Artists are made once; `update` changes their data only.
    """

    def __init__(self) -> None:
        self.figure = plots.figure(6.6, 4.9)
        with plots.style():
            grid = self.figure.add_gridspec(3, 2, height_ratios=(3.0, 1, 1.25), width_ratios=(9, 1))
            self.race = Race(self.figure.add_subplot(grid[0, 0]), ROUNDS, "clean")
            self._bytes(self.figure.add_subplot(grid[0, 1]))
            self._digits(self.figure.add_subplot(grid[1, :]), self.figure.add_subplot(grid[2, :]))
        self.moving = [*self.race.moving, self.bar, self.sent, self.private, self.guess, *self.scores]

    def _bytes(self, ax: Any) -> None:
        self.bar = ax.bar([0], [1], color=plots.DEFENDER, width=0.8, zorder=OFTEN)[0]
        ax.bar([0], [1], color=plots.BAND, width=0.8)
        ax.set(xlim=(-0.6, 0.6), ylim=(0, 1), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_title("sent", fontsize=10, fontweight="normal", loc="center")
        self.sent = ax.text(0, -0.03, "", ha="center", va="top")

    def _digits(self, top: Any, bottom: Any) -> None:
        self.private = _strip(top, "one client's\nprivate digits", plots.INK)
        self.guess = _strip(bottom, "recovered by\nthe server", plots.ATTACKER)
        centres = [i * (SIDE + GAP) + SIDE / 2 - 0.5 for i in range(SHOWN + 1)]
        self.scores = [
            bottom.text(x, SIDE + 0.8, "", ha="center", va="top", fontsize=8, zorder=SELDOM) for x in centres
        ]
        middle = {"ha": "center", "va": "center", "fontsize": 8}
        top.text(centres[-1], SIDE / 2 - 0.5, "a guess\nwithout a\nmessage", **middle)

    def update(self, values: Mapping[str, Any], state: RunAndLeak) -> None:
        """Show a state; the layout stays as it is."""
        leak = state.leak
        title = f"Accuracy {state.accuracy[-1]:.2f}; {leak.found} of {len(leak.psnr)} digits read"
        self.race.update(title, state.clean, state.accuracy, attacked=bool(values["malicious"]))
        self.bar.set_height(state.megabytes / state.dense)
        self.sent.set_text(f"{state.megabytes:.1f} MB")

        # The last place of the lower row belongs to the guess without a message.
        _put(self.private, _mosaic(leak.truth[:SHOWN]))
        _put(self.guess, _mosaic(leak.recovered[:SHOWN], leak.mean))
        marks = [_score(float(psnr)) for psnr in leak.psnr[:SHOWN]]
        marks += [""] * (SHOWN - len(marks)) + [_score(leak.baseline)]
        for text, mark in zip(self.scores, marks, strict=True):
            text.set_text(mark)


def _strip(ax: Any, label: str, colour: str) -> Any:
    blank = np.ones((SIDE, (SHOWN + 1) * (SIDE + GAP) - GAP))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_ylabel(label, rotation=0, ha="right", va="center", color=colour, labelpad=8)
    return ax.imshow(blank, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal")


def _mosaic(images: Tensor, last: Tensor | None = None) -> np.ndarray:
    """Digits [n, 1, 8, 8] side by side as ink on paper, and one in the last place; a missing guess is a grey square."""
    strip = torch.full((SIDE, (SHOWN + 1) * (SIDE + GAP)), torch.nan)  # nothing is drawn where it stays NaN
    places = list(enumerate(images))
    if last is not None:
        places.append((SHOWN, last))
    for place, image in places:
        left = place * (SIDE + GAP)
        strip[:, left : left + SIDE] = torch.nan_to_num(1 - image[0], nan=0.85)
    return strip[:, :-GAP].numpy()


def _put(image: Any, pixels: np.ndarray) -> None:
    """Show pixels, unless they are there: what is set is drawn again."""
    if not np.array_equal(np.ma.filled(image.get_array(), np.nan), pixels, equal_nan=True):
        image.set_data(pixels)


def _score(psnr: float) -> str:
    if psnr == -inf:
        return "none"
    return f"{psnr:.0f} dB" + (" ✓" if psnr >= RECOVERED_FROM else "")


def panel() -> live.Panel:
    """The panel: epsilon and who adds the noise, the malicious fraction, the compression rate, the rule, the batch."""
    privacy.noise_for(1.0, rounds=ROUNDS, delta=DELTA)  # loads the accountant now, not at the first move of epsilon
    for batch in BATCHES:
        _clean(batch)
    return live.Panel(
        name="lab00",
        attacker={
            "malicious": live.slider(
                "Malicious fraction",
                0.0,
                0.0,
                0.5,
                1 / CLIENTS,
                fmt="{:.0%}",
                help=f"Share of clients that send {BOOST:g} x the opposite",
            ),
            "batch": live.log_slider("Batch size", 4, BATCHES, fmt="{:.0f}"),
        },
        defender={
            "epsilon": live.log_slider("Epsilon ε", inf, EPSILONS, fmt="{:g}"),
            "noise_at": live.choice("Noise added by", {"the server": "server", "each client": "client"}, "the server"),
            "keep": live.log_slider("Share kept", 1.0, KEPT, fmt="{:g}"),
            "rule": live.choice("Aggregation rule", dict(RULES), "mean"),
        },
        compute=compute,
        draw=LeakDrawing(),
        reading=reading,
    )
