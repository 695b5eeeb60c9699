"""The panel of lab 00: one federation, attacked, defended and read by a curious server, live.

One hundred clients take fifty rounds of one step each (FedSGD on small batches). The message that the server inverts
is one of that very run: what the last honest client sends in the first round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from math import inf, sqrt
from typing import Any

from torch import Tensor

from labsec import compress, data, invert, metrics, models, poison, privacy, robust
from labsec.course import live
from labsec.course.panels.lab00_figure import Drawing, State
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.types import ServerView

CLIENTS, ROUNDS, DELTA = 100, 50, 1e-5
CLIP = 0.5  # L2 bound on an update, tuned once for the best accuracy under noise at the server
BOOST = 4.0  # the malicious clients send their update flipped and this much louder
BELIEVED = 25  # the number of bad clients that the trimmed mean is built for; nobody tells it the true one
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
    noise, clip = privacy.noise_for(epsilon, rounds=ROUNDS, delta=DELTA), bind(privacy.clip, bound=CLIP)
    if noise_at == "client":  # one row is replaced: sensitivity 2 C
        return {"aggregate": rule, "client_stages": (clip, bind(privacy.gaussian_noise, std=2 * noise * CLIP))}
    if rule is robust.mean:  # every client counts alike: sensitivity C / n
        return {"aggregate": bind(privacy.noisy_mean, clip=CLIP, noise=noise)}
    spread = bind(privacy.gaussian_noise, std=noise * CLIP / sqrt(CLIENTS))  # their mean would carry noise * C / n
    return {"aggregate": rule, "server_stages": (clip, spread)}


@cache
def _clean(batch: int) -> list[float]:
    return run(scenario(batch=batch)).accuracy


@cache
def _mean_digit() -> Tensor:
    return _digits()[0].x.mean(dim=0, keepdim=True)


def _leak(s: Scenario, first: Round) -> dict[str, Any]:
    """What a curious server reads out of the last message of a round, and how far that is from the truth."""
    view = ServerView(
        params=first.before,
        messages=first.messages[-1:],
        model=s.network(),
        lr=s.lr,
        local_steps=s.local_steps,
        batch_size=s.batch_size,
    )
    population = Population(s)
    truth = population.x[population.batches(first.number, first.clients)[-1, 0]]  # looked at by the score alone
    recovered, psnr = metrics.best_matches(invert.analytic(view), truth)
    _, baseline = metrics.best_matches(_mean_digit().expand_as(truth), truth)
    guess = {"mean": _mean_digit()[0], "baseline": float(baseline.median())}
    return {"truth": truth, "recovered": recovered, "psnr": psnr, **guess}


def compute(**controls: Any) -> Iterator[State]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s = scenario(**controls)
    clean, accuracy, sent, dense = _clean(controls["batch"]), [], 0.0, 0.0
    for result in rounds(s):
        if result.number == 0:
            leak = _leak(s, result)
        accuracy.append(result.metrics["accuracy"])
        sent, dense = sent + result.bytes_up / 1e6, dense + 4 * s.network().dim * CLIENTS / 1e6
        yield State(accuracy=list(accuracy), clean=clean, megabytes=(sent, dense), **leak)


def reading(controls: Mapping[str, Any], state: State) -> str:
    """The state in words."""
    found, middle = int((state.psnr >= state.recovered_from).sum()), float(state.psnr.median())
    return (
        f"Round {len(state.accuracy)} of {ROUNDS}: accuracy {state.accuracy[-1]:.2f}, clean run {state.clean[-1]:.2f}. "
        f"The server recovers {found} of {len(state.psnr)} private digits "
        f"(median {f'{middle:.0f} dB' if middle > -inf else 'no picture at all'}; the mean digit, a guess without any "
        f"message, scores {state.baseline:.0f} dB). "
        f"{state.megabytes[0]:.1f} MB sent of {state.megabytes[1]:.1f} MB. {_guarantee(controls)}"
    )


def _guarantee(controls: Mapping[str, Any]) -> str:
    epsilon, at_client = controls["epsilon"], controls["noise_at"] == "client"
    if epsilon == inf:
        return "No noise, no guarantee."
    noise = privacy.noise_for(epsilon, rounds=ROUNDS, delta=DELTA)
    terms = f"δ = {DELTA:g}, all {ROUNDS} rounds, noise {noise:.2f}"
    if at_client:
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
    found = _leak(s, first)["psnr"] >= State.recovered_from
    return last.metrics["accuracy"], float(found.float().mean())


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
        draw=Drawing(ROUNDS),
        reading=reading,
    )
