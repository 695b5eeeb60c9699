"""What lab 08 measures for its claims: what compression and masking hide, from whom, and whether a server is noticed.

Every defence meets the attacker who takes its messages for gradients and the one who knows how they were made, on one
message and on several fresh ones about the same data. What is attacked, and what counts as read out, is that of
`labsec.study.masking`: a digit, one step, a fresh network that is read exactly where nothing hides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Generator, Tensor

from labsec import compress, invert, metrics
from labsec.course.claims.base import Claim, Spread
from labsec.data import load
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.models import Model, mlp
from labsec.study.alarm import FALSE_ALARMS, HONEST, reported
from labsec.study.masking import CLEAR, LR, STEPS, Case, in_the_clear, leak, made_up_samples, masked_features
from labsec.study.masking import random_bottleneck as bottleneck
from labsec.train import local_updates
from labsec.types import ServerView, generator

UNSEEN = range(10, 15)  # attacks and rules were tried out on seed 100 and on seeds 0 to 4


# Claim 50: SFSQ, our reading.
FLIP = 0.25
BOUNDS = {"fine": 10.0, "coarse": 30.0}  # the fixed bound, in mean entries of an update
CLIENTS = 10  # for each seed
SUSPECTS = 300  # digits, the clients' own among them
MOST = 50  # messages of a client
NAMED = 10.0  # percent of the clients, at most


def small_net(shape: tuple[int, ...], classes: int) -> Model:
    """The network of 2,410 parameters, over which the privacy of single coordinates adds up."""
    return mlp(shape, classes, hidden=(32,))


@cache
def suspects(seed: int) -> tuple[ServerView, Tensor]:
    """A fresh model, as a view without messages, and what each of the suspects would send: [300, dim]."""
    digits = load("digits")
    model = small_net(digits.shape, digits.classes)
    params = model.init(generator(seed, "model")).double()
    everyone = torch.arange(SUSPECTS)
    expected = local_updates(
        model, params, digits.x[:SUSPECTS].double(), digits.y[:SUSPECTS], everyone[:, None, None], lr=LR
    )
    view = ServerView(params=params, messages=expected[:0], model=model, lr=LR, local_steps=1, batch_size=1)
    return view, expected


def sfsq_messages(seed: int, bound: float, client: int) -> Tensor:
    """Fifty fresh messages [50, dim] of a client about its digit, the suspects' of that number."""
    _, expected = suspects(seed)
    again = expected[client].expand(MOST, -1)
    return compress.sfsq(again, bound=bound, flip=FLIP, generator=generator(seed, "sfsq", client))


def recognised(seed: int) -> Mapping[str, float]:
    """Percent of ten clients whose digit is found among 300 behind SFSQ, a quarter of the signs flipped"""
    view, expected = suspects(seed)
    found: dict[str, float] = {}
    for name, times in BOUNDS.items():
        bound = times * float(expected.abs().mean())
        known = partial(invert.flipped_signs, bound=bound, flip=FLIP)
        heard = [sfsq_messages(seed, bound, client) for client in range(CLIENTS)]
        for count in (1, 10, MOST):
            sent = [rows[:count] for rows in heard]
            if count in (1, MOST):
                found[f"{name}, plain, {_times(count)}"] = _divided(view, sent)
            hits = [invert.likeliest(rows, expected, likelihood=known) == client for client, rows in enumerate(sent)]
            found[f"{name}, adaptive, {_times(count)}"] = 100 * sum(hits) / CLIENTS
    return found


def recognised_without(seed: int) -> Mapping[str, float]:
    """The same where the update is sent as it is"""
    view, expected = suspects(seed)
    sent = [expected[client : client + 1] for client in range(CLIENTS)]
    plain = _divided(view, sent)
    hits = [
        invert.likeliest(row, expected, likelihood=invert.left_in_only) == client for client, row in enumerate(sent)
    ]
    adaptive = 100 * sum(hits) / CLIENTS
    names = [
        f"{name}, {who}, {_times(count)}"
        for name in BOUNDS
        for who, count in (("plain", 1), ("adaptive", 1), ("adaptive", 10), ("plain", MOST), ("adaptive", MOST))
    ]
    return {name: plain if "plain" in name else adaptive for name in names}


def _divided(view: ServerView, sent: Sequence[Tensor]) -> float:
    """Percent of the clients whose digit the plain attacker recognises: by division, from the mean message."""
    gallery = load("digits").x[:SUSPECTS]
    hits = []
    for client, rows in enumerate(sent):
        found = invert.analytic(replace(view, messages=rows.mean(dim=0, keepdim=True))).float()
        own = torch.tensor([client])
        hits.append(len(found) > 0 and bool(metrics.reidentified(found[:1], gallery, own)))
    return 100 * sum(hits) / len(hits)


def _times(count: int) -> str:
    return f"{count} message{'s' * (count > 1)}"


def hides_the_client(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["max"] <= NAMED


def from_whom(measured: Spread, compared: Spread) -> str:
    return sum_up([name for name in measured if hides_the_client(name, measured, compared)], len(measured))


def sum_up(supporting: list[str], every: int) -> str:
    """A verdict from the names that support a claim."""
    if len(supporting) == every:
        return "held"
    if not supporting:
        return "did not hold"
    return f"depends on who reads, and how often: so for {'; '.join(sorted(supporting))}"


# Claims 51 and 52: sampling and the other compressions.
def compressed(name: str, stage: Callable[..., Tensor], adaptive: Callable[[ServerView, int], Tensor]) -> Case:
    """A case of `masking` whose clients compress what they send."""

    def send(model: Model, params: Tensor, x: Tensor, y: Tensor, draws: Generator) -> Tensor:
        return stage(in_the_clear(model, params, x, y, draws), draws)

    return Case(family="compression", method=name, rate=0.0, send=send, adaptive=adaptive)


def sampled(keep: float) -> Case:
    """Random coordinates; the adaptive attacker sees which they are, and puts several messages together."""

    def read(view: ServerView, label: int) -> Tensor:
        held = (view.messages != 0).sum(dim=0)  # [dim]
        together = view.messages.sum(dim=0) / held.clamp_min(1)
        return invert.gauss_newton(
            replace(view, messages=together[None]), label=label, kept=held > 0, outer=STEPS
        ).estimate

    def stage(rows: Tensor, draws: Generator) -> Tensor:
        return compress.random_k(rows, keep=keep, unbiased=False, generator=draws)

    return compressed(f"keep {100 * keep:g} %", stage, read)


KEPT = (0.5, 0.02, 0.005)
FEW = 4  # pictures for each seed
HIDDEN = 10.0  # percent of the pictures, at most


@cache
def read_out(keep: float, seed: int, adaptive: bool, observations: int) -> float:
    """Percent of four clients' digits that are read out where a random share of the coordinates is sent."""
    found = leak(sampled(keep), seed=seed, observations=observations, adaptive=adaptive, pictures=FEW)
    return 100 * found.success


def read_from_samples(seed: int) -> Mapping[str, float]:
    """Percent of four clients' digits that are read out of random shares of the coordinates"""
    found: dict[str, float] = {}
    for keep in KEPT:
        name = f"keep {100 * keep:g} %"
        found[f"{name}, plain, 1 message"] = read_out(keep, seed, False, 1)
        found[f"{name}, adaptive, 1 message"] = read_out(keep, seed, True, 1)
        found[f"{name}, adaptive, 10 messages"] = read_out(keep, seed, True, 10)
    return found


def read_from_all(seed: int) -> Mapping[str, float]:
    """The same where every coordinate is sent, once"""
    everything = 100 * leak(CLEAR, seed=seed, observations=1, adaptive=False, pictures=FEW).success
    return dict.fromkeys(read_from_samples(seed), everything)


def hides_the_picture(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["max"] <= HIDDEN and compared[name]["min"] >= 90


def from_whom_samples_hide(measured: Spread, compared: Spread) -> str:
    return sum_up([name for name in measured if hides_the_picture(name, measured, compared)], len(measured))


def by_rounding(view: ServerView, label: int) -> Tensor:
    return invert.most_likely(view, label=label, likelihood=invert.rounded).estimate


def by_signs(view: ServerView, label: int) -> Tensor:
    return invert.most_likely(view, label=label, likelihood=invert.signs).estimate


def by_what_is_left(view: ServerView, label: int) -> Tensor:
    kept = invert.left_in(view)
    return invert.gauss_newton(replace(view, messages=view.messages[:1]), label=label, kept=kept, outer=STEPS).estimate


def _top(rows: Tensor, draws: Generator) -> Tensor:
    return compress.top_k(rows, keep=0.1)


def _eight_bits(rows: Tensor, draws: Generator) -> Tensor:
    return compress.qsgd(rows, bits=8, generator=draws)


def _four_bits(rows: Tensor, draws: Generator) -> Tensor:
    return compress.qsgd(rows, bits=4, generator=draws)


def _sign(rows: Tensor, draws: Generator) -> Tensor:
    return compress.sign(rows)


COMPRESSIONS: Mapping[str, tuple[Case, Callable[..., Tensor]]] = {
    "top 10 %": (compressed("top 10 %", _top, by_what_is_left), bind(compress.top_k, keep=0.1)),
    "random 10 %": (sampled(0.1), bind(compress.random_k, keep=0.1)),
    "8 bits": (compressed("8 bits", _eight_bits, by_rounding), bind(compress.qsgd, bits=8)),
    "4 bits": (compressed("4 bits", _four_bits, by_rounding), bind(compress.qsgd, bits=4)),
    "the sign": (compressed("the sign", _sign, by_signs), compress.sign),
}
HALF = 0.5
MINIMAL = 2.0  # points of accuracy
LOST = "accuracy lost"


def halved(seed: int) -> Mapping[str, float]:
    """Percent of four digits recognised among a thousand behind compressed updates; and points of accuracy lost"""
    found: dict[str, float] = {}
    base = _accuracy(seed, None)
    for name, (case, part) in COMPRESSIONS.items():
        for who, adaptive, count in (("plain", False, 1), ("adaptive", True, 1)):
            own = leak(case, seed=seed, observations=count, adaptive=adaptive, pictures=FEW)
            found[f"{name}, {who}"] = 100 * own.reidentified
        found[f"{name}, {LOST}"] = base - _accuracy(seed, part)
    return found


def not_compressed(seed: int) -> Mapping[str, float]:
    """The same without compression"""
    everything = 100 * leak(CLEAR, seed=seed, observations=1, adaptive=False, pictures=FEW).reidentified
    return {
        f"{name}, {what}": 0.0 if what == LOST else everything
        for name in COMPRESSIONS
        for what in ("plain", "adaptive", LOST)
    }


@cache
def _accuracy(seed: int, part: Callable[..., Tensor] | None) -> float:
    """Test accuracy in percent of a FedAvg whose wire compresses."""
    stages = () if part is None else (part,)
    scenario = Scenario.fedavg(rounds=60, evaluate_every=60, seed=seed, client_stages=stages)
    return 100 * run(scenario).final_accuracy


def halves(name: str, measured: Spread, compared: Spread) -> bool:
    """Whether success is halved, and the accuracy lost is small."""
    method = name.rpartition(", ")[0]
    is_cheap = measured[f"{method}, {LOST}"]["max"] <= MINIMAL
    if name.endswith(LOST):
        return is_cheap
    pairs = zip(measured[name]["seeds"], compared[name]["seeds"], strict=True)
    return is_cheap and all(own <= HALF * before for own, before in pairs)


def against_whom_halved(measured: Spread, compared: Spread) -> str:
    attacked = [name for name in measured if not name.endswith(LOST)]
    return sum_up([name for name in attacked if halves(name, measured, compared)], len(attacked))


# Claim 53: masking.
MASKS = {
    "masked features": masked_features(0.8),
    "random bottleneck": bottleneck(16),
    "made-up samples": made_up_samples(0.1),
}


MASKED = (
    ("masked features", "plain", 1),
    ("masked features", "adaptive", 1),
    ("random bottleneck", "plain", 1),
    ("random bottleneck", "adaptive", 1),
    ("made-up samples", "plain", 1),
    ("made-up samples", "adaptive", 1),
    ("made-up samples", "adaptive", 10),
)
"""Mask, attacker and messages. The attackers on the first two need one message: others would tell them nothing new."""


def masked(seed: int) -> Mapping[str, float]:
    """Percent of four digits that are read out at 25 dB, or recognised among a thousand, behind three masks"""
    found: dict[str, float] = {}
    for name, who, count in MASKED:
        own = leak(MASKS[name], seed=seed, observations=count, adaptive=who == "adaptive", pictures=FEW)
        found[f"{name}, {who}, {_times(count)}, read out"] = 100 * own.success
        found[f"{name}, {who}, {_times(count)}, recognised"] = 100 * own.reidentified
    return found


def not_masked(seed: int) -> Mapping[str, float]:
    """The same without a mask, on the same network without a bottleneck"""
    own = leak(CLEAR, seed=seed, observations=1, adaptive=False, pictures=FEW)
    found: dict[str, float] = {}
    for name, who, count in MASKED:
        found[f"{name}, {who}, {_times(count)}, read out"] = 100 * own.success
        found[f"{name}, {who}, {_times(count)}, recognised"] = 100 * own.reidentified
    return found


# Claim 54: a live alarm.
SEEN = 50.0  # points above the false alarms


def alarmed(seed: int) -> Mapping[str, float]:
    """Percent of the models that arrive which a client's check reports, at 5 % false alarms"""
    return {name: 100 * share for name, share in reported(seed).items()}


def alarmed_for_nothing(seed: int) -> Mapping[str, float]:
    """The same for honest models: false alarms"""
    shares = reported(seed)
    return dict.fromkeys(shares, 100 * shares[HONEST])


def is_seen(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] - compared[name]["max"] >= SEEN


def which_server_is_seen(measured: Spread, compared: Spread) -> str:
    seen = [name for name in measured if is_seen(name, measured, compared)]
    if len(seen) == len(measured):
        return "held"
    return f"depends on what the server does: seen are {'; '.join(sorted(seen))}" if seen else "did not hold"


NOT_LOOKED_AT = "The seeds were not looked at when the rule was written."

CLAIMS = (
    Claim(
        id="50",
        statement="SFSQ keeps a server from finding out whose data is behind a message. (A name without a public "
        "description; here our reading of it: clipped, a random sign, some signs flipped.)",
        measure=recognised,
        baseline=recognised_without,
        verdict=from_whom,
        supports=hides_the_client,
        rule="An attacker supports the claim if it finds one client in ten at most, in every seed. All: held; some: "
        f"depends on. {NOT_LOOKED_AT}",
        seeds=UNSEEN,
        unit="%",
        thresholds=((NAMED, "● most"),),
        tolerance=30.0,
    ),
    Claim(
        id="51",
        statement="Sending a random sample of the coordinates hides the data behind them.",
        measure=read_from_samples,
        baseline=read_from_all,
        verdict=from_whom_samples_hide,
        supports=hides_the_picture,
        rule="A setting supports the claim if 10 % of the pictures at most are read out in every seed, and 90 % at "
        f"least where all coordinates are sent. All: held; some: depends on. {NOT_LOOKED_AT}",
        seeds=UNSEEN,
        unit="%",
        thresholds=((HIDDEN, "● most"),),
        tolerance=45.0,
    ),
    Claim(
        id="52",
        statement="Compression halves the success of inversion at a minimal loss of utility.",
        measure=halved,
        baseline=not_compressed,
        verdict=against_whom_halved,
        supports=halves,
        rule="A compression supports the claim against an attacker if half as many digits at most are recognised as "
        "without it, in every seed, and if 60 rounds of FedAvg lose 2 points of accuracy at most. All: held; some: "
        f"depends on. {NOT_LOOKED_AT}",
        seeds=UNSEEN,
        unit="%",
        tolerance=45.0,
    ),
    Claim(
        id="53",
        statement="Masking gradients, by learned perturbation or in chosen layers, stops inversion.",
        measure=masked,
        baseline=not_masked,
        verdict=from_whom_samples_hide,
        supports=hides_the_picture,
        rule="A mask supports the claim against an attacker and a score if 10 % of the pictures at most are read out "
        "or recognised in every seed, and 90 % at least without the mask. All: held; some: depends on. "
        f"{NOT_LOOKED_AT}",
        seeds=UNSEEN,
        unit="%",
        thresholds=((HIDDEN, "● most"),),
        tolerance=45.0,
    ),
    Claim(
        id="54",
        statement="An auxiliary model detects inversion live.",
        measure=alarmed,
        baseline=alarmed_for_nothing,
        verdict=which_server_is_seen,
        supports=is_seen,
        rule="A server is seen if its models are reported 50 points more often than honest ones, in every seed. All: "
        f"held; some: depends on. {NOT_LOOKED_AT}",
        seeds=UNSEEN,
        unit="%",
        thresholds=((100 * FALSE_ALARMS, "○ false alarms asked for"),),
        tolerance=20.0,
    ),
)
