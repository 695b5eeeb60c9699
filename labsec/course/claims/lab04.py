"""What lab 04 measures for its claims: which messages give their pictures away, and which guesses need no message.

A picture counts as read out at 25 dB or more, if that is also 10 dB more than the mean training picture scores: the
mean crop of an eye scores 25 dB by itself. For FedAvg likeness is measured as well, because a digit may be plain to see
at 9 dB. Beside every share stands that of a stranger's message: the same attack on
somebody else's picture, held against this client's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

from labsec import metrics, train
from labsec.course.claims.base import Claim, Reading, Sourced, Spread
from labsec.course.panels.lab04_leak import behind
from labsec.data import load
from labsec.federation.engine import rounds
from labsec.federation.scenario import Scenario
from labsec.invert import analytic, closed_form, cosine, gauss_newton, idlg, simulate
from labsec.models import Layers, Model, convnet, fixed_positions, lenet, mlp
from labsec.models.layers import linear
from labsec.models.texts import attend, mean_of_words
from labsec.types import ServerView, generator

UNSEEN = range(15, 20)  # the attacks were tried out on seeds 0 to 4; on 10 to 14 two clients could hold one picture
AFTERWARDS = range(20, 25)  # for verdicts whose words or settings were changed after the others had been seen
RECOVERED_FROM = 25.0  # dB
BEYOND_MEAN = 10.0  # dB
LR = 0.1
Attack = Callable[[ServerView, Tensor, int], Tensor]  # (view, labels, seed) -> candidates [k, *shape]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A message, and an attack on it.

    data        name of the data set
    network     (shape, classes) -> model
    attack      on the view; labels are those of the client's samples, in order
    batch       pictures behind a message
    steps       local steps, on the same pictures
    clients     messages for each seed
    only        class of the pictures; None for any
    """

    data: str
    network: Callable[[tuple[int, ...], int], Model]
    attack: Attack
    batch: int = 1
    steps: int = 1
    clients: int = 2
    only: int | None = None


def by_division(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    return analytic(view)


def in_closed_form(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    return closed_form(view).estimate


def by_newton(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    return gauss_newton(view, label=int(labels)).estimate


def as_published(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    return idlg(view, generator=generator(seed, "idlg"), iterations=40).estimate


def by_direction(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    return cosine(view, labels=labels, generator=generator(seed, "cosine"), iterations=150).estimate


def by_steps(view: ServerView, labels: Tensor, seed: int) -> Tensor:
    """The client's own steps, differentiated through."""
    order = torch.arange(len(labels)).expand(view.local_steps, -1)
    draws = generator(seed, "simulate")
    found = simulate(view, labels=labels, batches=order, smooth=False, tv=1e-2, iterations=100, generator=draws)
    return found.estimate


DENSE = Setting(data="mnist5k", network=mlp, attack=by_division)
SIGMOID = Setting(data="mnist5k", network=lenet, attack=in_closed_form)
RELU = Setting(data="mnist5k", network=convnet, attack=by_direction)


@cache
def mean_picture(data: str) -> Tensor:
    """The mean of the training pictures: a guess without any message."""
    return load(data).x.mean(dim=0)


def message(setting: Setting, seed: int, client: int) -> tuple[ServerView, Tensor, Tensor]:
    """What one client sent from a fresh model, and what is behind it: x [batch, *shape], labels [batch].

    No two clients of a seed hold the same picture.
    """
    samples = load(setting.data)
    model = setting.network(samples.shape, samples.classes)
    params = model.init(generator(seed, "model", client))
    y = torch.cat([samples.y, samples.y_test])
    candidates = torch.arange(len(y)) if setting.only is None else (y == setting.only).nonzero()[:, 0]
    places = candidates[torch.randperm(len(candidates), generator=generator(seed, "pictures"))]
    own = places[client * setting.batch : (client + 1) * setting.batch]
    x = torch.cat([samples.x, samples.x_test])[own]
    y = y[own]
    order = torch.arange(setting.batch).expand(1, setting.steps, -1)
    update = train.local_updates(model, params, x, y, order, lr=LR)
    view = ServerView(
        params=params, messages=update, model=model, lr=LR, local_steps=setting.steps, batch_size=setting.batch
    )
    return view, x, y


@cache
def read_out(setting: Setting, seed: int) -> list[tuple[Tensor, Tensor]]:
    """For each client what the attack found, and what was there: [k, *shape] and [batch, *shape].

    A model that is sure of its answer sends next to nothing, and an attack may refuse such a message: then it is left
    with mid-grey.
    """
    pairs = []
    for client in range(setting.clients):
        view, x, y = message(setting, seed, client)
        try:
            found = setting.attack(view, y, seed).float()
        except ValueError:
            found = torch.full_like(x, 0.5)
        pairs.append((found, x))
    return pairs


@cache
def fedavg(seed: int) -> list[tuple[Tensor, Tensor]]:
    """The same for two clients of real FedAvg: five steps of 16 pictures, and the attacker is told all labels."""
    samples = load("mnist5k")
    s = Scenario.fedavg(data=samples, model=convnet(samples.shape, samples.classes), lr=LR, seed=seed)
    first = next(rounds(replace(s, rounds=1, evaluate_every=1)))
    pairs = []
    for client in range(2):
        x, y = behind(s, first, client=client)
        view = ServerView(
            params=first.before,
            messages=first.messages[first.clients == client],
            model=s.network(),
            lr=s.lr,
            local_steps=s.local_steps,
            batch_size=s.batch_size,
        )
        draws = generator(seed, "fedavg", client)
        found = simulate(view, labels=y, smooth=False, tv=1e-2, iterations=25, generator=draws)
        pairs.append((found.estimate.float(), x))
    return pairs


def share(found: Tensor, truth: Tensor, mean: Tensor) -> float:
    """Percent of the true pictures [n, *shape] that are read out."""
    _, scores = metrics.assigned(found, truth)
    base = metrics.psnr(mean.expand_as(truth), truth)
    return 100 * float(((scores >= RECOVERED_FROM) & (scores >= base + BEYOND_MEAN)).float().mean())


def own_share(pairs: list[tuple[Tensor, Tensor]], mean: Tensor) -> float:
    """Percent of the pictures that are read out of their own client's message."""
    return sum(share(found, x, mean) for found, x in pairs) / len(pairs)


def strange_share(pairs: list[tuple[Tensor, Tensor]], mean: Tensor) -> float:
    """Percent of the pictures that are read out of the next client's message."""
    founds = [found for found, _ in pairs]
    strangers = founds[1:] + founds[:1]
    return sum(share(found, x, mean) for found, (_, x) in zip(strangers, pairs, strict=True)) / len(pairs)


def likeness(found: Tensor, truth: Tensor) -> float:
    """Percent of what was found [k, *shape] that looks more like a picture behind the message than like any other of
    the four thousand training digits. Noise that hides a digit from a PSNR need not hide it from a comparison."""
    gallery = load("mnist5k").x.flatten(1)
    behind_it = torch.cdist(truth.flatten(1), gallery).argmin(dim=1)
    nearest = torch.cdist(found.flatten(1), gallery).argmin(dim=1)
    return 100 * float(torch.isin(nearest, behind_it).float().mean())


# Claim 15: gradients leak, and nobody has to be malicious. Claim 25: by optimisation.
LEAKING = {
    "dense network, 1 picture": DENSE,
    "sigmoids, 1 picture": SIGMOID,
    "ReLUs, 1 picture": RELU,
    "ReLUs, 8 pictures": replace(RELU, batch=8),
}
FEDAVG = "ReLUs, FedAvg"
BY_LIKENESS = "ReLUs, FedAvg, by likeness"
LEAKS = 50.0  # points


def leaked(seed: int) -> Mapping[str, float]:
    """Percent of the pictures that are read out of honest messages about a fresh model, by a server that only reads"""
    found = {name: own_share(read_out(each, seed), mean_picture(each.data)) for name, each in LEAKING.items()}
    pairs = fedavg(seed)
    alike = [likeness(candidates, x) for candidates, x in pairs]
    return {**found, FEDAVG: own_share(pairs, mean_picture("mnist5k")), BY_LIKENESS: sum(alike) / len(alike)}


def leaked_by_a_stranger(seed: int) -> Mapping[str, float]:
    """The same attacks on another client's message"""
    found = {name: strange_share(read_out(each, seed), mean_picture(each.data)) for name, each in LEAKING.items()}
    pairs = fedavg(seed)
    alike = [likeness(candidates, x) for (candidates, _), (_, x) in zip(pairs, pairs[1:] + pairs[:1], strict=True)]
    return {**found, FEDAVG: strange_share(pairs, mean_picture("mnist5k")), BY_LIKENESS: sum(alike) / len(alike)}


def leaks(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] - compared[name]["max"] >= LEAKS


def where_it_leaks(measured: Spread, compared: Spread) -> str:
    return _sum_up([name for name in measured if leaks(name, measured, compared)], len(measured), "the setting")


def _sum_up(supporting: list[str], every: int, on: str) -> str:
    """A verdict from the names that support a claim."""
    if len(supporting) == every:
        return "held"
    return f"depends on {on}: so for {'; '.join(sorted(supporting))}" if supporting else "did not hold"


MATCHING = {
    "DLG, label first": replace(SIGMOID, attack=as_published),
    "repaired DLG": replace(SIGMOID, attack=by_newton),
    "direction and TV, ReLUs": RELU,
}


def matched(seed: int) -> Mapping[str, float]:
    """Percent of the pictures that a search for the message's gradient finds; two clients, a picture each"""
    return {name: own_share(read_out(each, seed), mean_picture(each.data)) for name, each in MATCHING.items()}


def matched_by_a_stranger(seed: int) -> Mapping[str, float]:
    """The same searches on another client's message"""
    return {name: strange_share(read_out(each, seed), mean_picture(each.data)) for name, each in MATCHING.items()}


# Claim 16: 93 % fidelity.
FIDELITY = 93.0  # percent
BEYOND_GUESS = 10.0  # points
METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda a, b: torch.cosine_similarity(a.flatten(1), b.flatten(1)),
    "1 - mean error": lambda a, b: 1 - (a - b).abs().flatten(1).mean(dim=1),
    "SSIM": metrics.ssim,
    "read out": lambda a, b: (metrics.psnr(a, b) >= RECOVERED_FROM).float(),
}
FACE = Setting(data="faces", network=lenet, attack=in_closed_form, clients=8, only=1)


def people() -> Tensor:
    """All hundred faces, [100, 1, 25, 25]."""
    samples = load("faces")
    return torch.cat([samples.x[samples.y == 1], samples.x_test[samples.y_test == 1]])


def all_of(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was found for each true picture, and the pictures of all clients: [n, *shape] twice."""
    found = [metrics.assigned(candidates, x)[0] for candidates, x in pairs]
    return torch.cat(found), torch.cat([x for _, x in pairs])


def mean_face() -> Tensor:
    samples = load("faces")
    return samples.x[samples.y == 1].mean(dim=0)


def fidelity(seed: int) -> Mapping[str, float]:
    """Percent by four metrics: faces read out of messages by the closed form, 8 clients with a face each"""
    found, truth = all_of(read_out(FACE, seed))
    return {name: 100 * float(metric(found, truth).mean()) for name, metric in METRICS.items()}


def fidelity_of_nothing(seed: int) -> Mapping[str, float]:
    """The same for the mean face, which has seen no message"""
    truth = all_of(read_out(FACE, seed))[1]
    guess = mean_face().expand_as(truth)
    return {name: 100 * float(metric(guess, truth).mean()) for name, metric in METRICS.items()}


def says_something(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= FIDELITY and compared[name]["max"] < FIDELITY - BEYOND_GUESS


def by_which_metric(measured: Spread, compared: Spread) -> str:
    telling = [name for name in measured if says_something(name, measured, compared)]
    return _sum_up(telling, len(measured), "the metric")


# Claim 17: one batch in less than a minute.
BATCHES = {
    "1 colour photo, sigmoids": Setting(data="photos", network=lenet, attack=in_closed_form),
    "1 digit, ReLUs": RELU,
    "8 digits, ReLUs": replace(RELU, batch=8),
    "1 digit, 3 steps, ReLUs": replace(RELU, attack=by_steps, steps=3),
}


def in_a_minute(seed: int) -> Mapping[str, float]:
    """Percent of the pictures that are read out by published attacks on one processor core; the time is not judged"""
    found = {name: own_share(read_out(each, seed), mean_picture(each.data)) for name, each in BATCHES.items()}
    return {**found, FEDAVG: own_share(fedavg(seed), mean_picture("mnist5k"))}


def in_a_minute_by_a_stranger(seed: int) -> Mapping[str, float]:
    """The same for another client's message"""
    found = {name: strange_share(read_out(each, seed), mean_picture(each.data)) for name, each in BATCHES.items()}
    return {**found, FEDAVG: strange_share(fedavg(seed), mean_picture("mnist5k"))}


# Claims 18 and 21: medical pictures, and biometric ones.
CROPS = {
    f"{name} {side} x {side}": Setting(data=data, network=lenet, attack=by_newton, clients=1)
    for name, sides in {
        "retina": {16: "retina16", 32: "retina", 64: "retina64"},
        "histology": {16: "histology16", 32: "histology", 64: "histology64"},
    }.items()
    for side, data in sides.items()
}


def crops_read(seed: int) -> Mapping[str, float]:
    """PSNR in dB of a crop read out of a message by the repaired DLG, from a network of sigmoids"""
    pairs = {name: read_out(each, seed)[0] for name, each in CROPS.items()}
    return {name: float(metrics.psnr(found, x)) for name, (found, x) in pairs.items()}


def crops_guessed(seed: int) -> Mapping[str, float]:
    """The same for the mean crop, which has seen no message"""
    truths = {name: read_out(each, seed)[0][1] for name, each in CROPS.items()}
    return {name: float(metrics.psnr(mean_picture(CROPS[name].data)[None], x)) for name, x in truths.items()}


def is_read(name: str, measured: Spread, compared: Spread) -> bool:
    here = zip(measured[name]["seeds"], compared[name]["seeds"], strict=True)
    return all(own >= RECOVERED_FROM and own >= guess + BEYOND_MEAN for own, guess in here)


def at_which_size(measured: Spread, compared: Spread) -> str:
    return _sum_up([name for name in measured if is_read(name, measured, compared)], len(measured), "the message")


SUCCESS = 70.0  # percent
SENSITIVE = {
    "eye, sigmoids, 1 crop": Setting(data="retina", network=lenet, attack=by_newton),
    "eye, ReLUs, 1 crop": Setting(data="retina", network=convnet, attack=by_direction),
    "faces, sigmoids, 1 face": replace(FACE, clients=2),
    "faces, ReLUs, 1 face": Setting(data="faces", network=convnet, attack=by_direction, only=1),
    "faces, ReLUs, 8 faces": Setting(data="faces", network=convnet, attack=by_direction, only=1, batch=8),
}


def succeeded(seed: int) -> Mapping[str, float]:
    """Percent of medical crops and faces that are read out; a fresh model, one step, labels known"""
    return {name: own_share(read_out(each, seed), mean_picture(each.data)) for name, each in SENSITIVE.items()}


def succeeded_for_a_stranger(seed: int) -> Mapping[str, float]:
    """The same attacks on another client's message"""
    return {name: strange_share(read_out(each, seed), mean_picture(each.data)) for name, each in SENSITIVE.items()}


def is_success(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] - compared[name]["max"] >= SUCCESS


def where_it_succeeds(measured: Spread, compared: Spread) -> str:
    return _sum_up([name for name in measured if is_success(name, measured, compared)], len(measured), "the setting")


# Claim 22: faces.
OF_FACES = 82.0  # percent


def recognised(seed: int) -> Mapping[str, float]:
    """Percent of all faces whose reconstruction looks more like the original than like any other of a hundred faces"""
    found = {}
    for name, each in SENSITIVE.items():
        if each.data == "faces":
            pictures, truth = all_of(read_out(each, seed))
            found[name] = 100 * float(metrics.reidentified(pictures, people(), _places(truth)).float().mean())
    return found


def recognised_without(seed: int) -> Mapping[str, float]:
    """The same for the mean face, which has seen no message"""
    found = {}
    for name, each in SENSITIVE.items():
        if each.data == "faces":
            truth = all_of(read_out(each, seed))[1]
            guess = mean_face().expand_as(truth)
            found[name] = 100 * float(metrics.reidentified(guess, people(), _places(truth)).float().mean())
    return found


def _places(truth: Tensor) -> Tensor:
    """Where each face is in the gallery, [n]."""
    return torch.cdist(truth.flatten(1), people().flatten(1)).argmin(dim=1)


def is_recognised(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] - compared[name]["max"] >= OF_FACES


def where_faces_are_found(measured: Spread, compared: Spread) -> str:
    return _sum_up([name for name in measured if is_recognised(name, measured, compared)], len(measured), "the setting")


# Claim 24: gradients are linear in the input.
LINEAR = 1.0  # percent


def attention(shape: tuple[int, ...], classes: int) -> Model:
    """The block of `models.transformer` over pictures: each row of pixels stands for the vector of a word."""
    length, width = shape[1:]

    def forward(layers: Layers, x: Tensor) -> Tensor:
        rows = x[:, :, 0]  # [c, b, length, width]
        present = torch.ones(rows.shape[:3], dtype=torch.bool)
        rows = rows + fixed_positions(length, width).to(rows)
        rows = rows + attend(rows, present, layers[0], layers[1], layers[2])
        return linear(layers[3], layers[4], mean_of_words(rows, present).transpose(1, 2)).transpose(1, 2)

    return Model(
        name=f"Attention {length}-{width}-{classes}",
        shape=shape,
        classes=classes,
        shapes=(*[(width, width)] * 3, (classes, width), (classes,)),
        forward=forward,
        module=_no_module,
        bounds=(width**-0.5,) * 5,
        width=length * (6 * width + length) + classes,
        origin=(attention, {"shape": shape, "classes": classes}),
    )


def _no_module() -> nn.Module:
    raise NotImplementedError("the block over pictures is measured here alone, and has no torch.nn.Module")


EVERY = slice(None)
NETWORKS: Mapping[str, tuple[Callable[[tuple[int, ...], int], Model], slice]] = {  # and which of its layers count
    "dense, ReLUs": (mlp, EVERY),
    "convolutions, sigmoids": (lenet, EVERY),
    "convolutions, ReLUs": (convnet, EVERY),
    "self-attention, values": (attention, slice(2, 3)),
    "self-attention, queries and keys": (attention, slice(0, 2)),
}


def bent(seed: int) -> Mapping[str, float]:
    """Percent by which the gradient of the mean of two pictures of a class misses the mean of their gradients"""
    return {name: _bend(network, counted, seed) for name, (network, counted) in NETWORKS.items()}


def bent_at_a_fixed_slope(seed: int) -> Mapping[str, float]:
    """The same for a dense layer whose slope at the output is held fixed: then the gradient is that slope times x"""
    a, b = _two_alike(seed)
    slope = torch.randn(8, 1, generator=generator(seed, "slope"), dtype=a.dtype)
    half = slope * ((a + b) / 2).flatten()
    both = (slope * a.flatten() + slope * b.flatten()) / 2
    miss = float(100 * (half - both).norm() / both.norm())
    return dict.fromkeys(NETWORKS, miss)


def _two_alike(seed: int) -> tuple[Tensor, Tensor]:
    """Two digits of one class, float64 [1, 28, 28]."""
    samples = load("mnist5k")
    label = int(torch.randint(samples.classes, (1,), generator=generator(seed, "class")))
    a, b = samples.x_test[samples.y_test == label][:2].double()
    return a, b


def _bend(network: Callable[[tuple[int, ...], int], Model], counted: slice, seed: int) -> float:
    samples = load("mnist5k")
    model = network(samples.shape, samples.classes)
    params = model.init(generator(seed, "model")).double()
    a, b = _two_alike(seed)
    x = torch.stack([a, b, (a + b) / 2])
    label = torch.randint(samples.classes, (1,), generator=generator(seed, "class")).expand(3)
    updates = train.local_updates(model, params, x, label, torch.arange(3)[:, None, None], lr=LR)  # [3, dim]
    one, other, half = torch.cat([layer.flatten(1) for layer in model.layers(updates)[counted]], dim=1)
    both = (one + other) / 2
    return float(100 * (half - both).norm() / both.norm())


def is_linear(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["max"] <= LINEAR


def where_linear(measured: Spread, compared: Spread) -> str:
    return _sum_up([name for name in measured if is_linear(name, measured, compared)], len(measured), "the layers")


RULE_OF_SHARES = (
    "A setting supports the claim if at least {share:.0f} points more are read out than of a stranger's message, in "
    "every seed. Read out: 25 dB or more, and 10 dB more than the mean picture. All: held; some: depends on. The seeds "
    "were not looked at when the rule was written."
)

CLAIMS = (
    Claim(
        id="15",
        statement="Gradients leak private data with no malicious node in the federation.",
        measure=leaked,
        baseline=leaked_by_a_stranger,
        verdict=where_it_leaks,
        supports=leaks,
        rule=RULE_OF_SHARES.format(share=LEAKS),
        seeds=UNSEEN,
        unit="%",
        thresholds=((LEAKS, "● least"),),
        tolerance=35.0,
    ),
    Claim(
        id="16",
        statement="Inversion reconstructs private data with 93 % fidelity.",
        measure=fidelity,
        baseline=fidelity_of_nothing,
        verdict=by_which_metric,
        supports=says_something,
        rule="A metric supports the claim if the attack reaches 93 % in every seed, and the mean face, which has seen "
        "no message, stays below 83 % in all. The seeds were not looked at when the rule was written.",
        seeds=UNSEEN,
        unit="%",
        thresholds=((FIDELITY, "● least"), (FIDELITY - BEYOND_GUESS, "○ most")),
        tolerance=1.0,
    ),
    Claim(
        id="17",
        statement="GradInverter-v3 reconstructs a batch in less than 60 seconds on a consumer's graphics card. (A name "
        "without a public description; here the published attacks, on one processor core.)",
        measure=in_a_minute,
        baseline=in_a_minute_by_a_stranger,
        verdict=where_it_leaks,
        supports=leaks,
        rule=RULE_OF_SHARES.format(share=LEAKS),
        seeds=UNSEEN,
        unit="%",
        thresholds=((LEAKS, "● least"),),
        tolerance=55.0,
    ),
    Claim(
        id="18",
        statement="High-resolution medical images can be reconstructed.",
        measure=crops_read,
        baseline=crops_guessed,
        verdict=at_which_size,
        supports=is_read,
        rule="A size supports the claim if in every seed the crop comes to 25 dB, and to 10 dB more than the mean "
        "crop. All: held; some: depends on. The seeds were not looked at when the rule was written.",
        seeds=AFTERWARDS,
        unit="dB",
        thresholds=((RECOVERED_FROM, "● least"),),
        tolerance=8.0,
    ),
    Claim(
        id="21",
        statement="Inversion succeeds in more than 70 % of the cases on medical and biometric data.",
        measure=succeeded,
        baseline=succeeded_for_a_stranger,
        verdict=where_it_succeeds,
        supports=is_success,
        rule=RULE_OF_SHARES.format(share=SUCCESS),
        seeds=UNSEEN,
        unit="%",
        thresholds=((SUCCESS, "● least"),),
        tolerance=35.0,
    ),
    Claim(
        id="22",
        statement="82 % success on faces.",
        measure=recognised,
        baseline=recognised_without,
        verdict=where_faces_are_found,
        supports=is_recognised,
        rule="A setting supports the claim if at least 82 points more faces are found in a gallery of a hundred than "
        "by the mean face, in every seed. All: held; some: depends on. The seeds were not looked at when the rule was "
        "written.",
        seeds=UNSEEN,
        unit="%",
        thresholds=((OF_FACES, "● least"),),
        tolerance=35.0,
    ),
    Claim(
        id="24",
        statement="Gradients leak because they are linear in the input, in convolutions and transformers, too.",
        measure=bent,
        baseline=bent_at_a_fixed_slope,
        verdict=where_linear,
        supports=is_linear,
        rule="A kind of layer supports the claim if the gradient of the mean of two pictures misses the mean of their "
        "gradients by 1 % at most, in every seed. The seeds were not looked at when the rule was written.",
        seeds=AFTERWARDS,
        unit="%",
        thresholds=((LINEAR, "● most"),),
        tolerance=1.0,
    ),
    Claim(
        id="25",
        statement="An attacker reconstructs data by optimising a guess until its gradient matches.",
        measure=matched,
        baseline=matched_by_a_stranger,
        verdict=where_it_leaks,
        supports=leaks,
        rule=RULE_OF_SHARES.format(share=LEAKS),
        seeds=UNSEEN,
        unit="%",
        thresholds=((LEAKS, "● least"),),
        tolerance=35.0,
    ),
    Reading(
        id="26",
        statement="Plaintext transport is the cause of gradient leakage.",
        says="The papers' attacker is the server or another participant, who holds the update after it was decrypted. "
        "TLS protects it between two machines and ends at the server. The lab ran the same attack on a message that "
        "had been encrypted on its way: the pictures were the same.",
        verdict="did not hold",
        sources=(
            "Zhu, Liu and Han 2019, Deep Leakage from Gradients, arXiv:1906.08935",
            "RFC 8446, The Transport Layer Security (TLS) Protocol Version 1.3: it protects data between two endpoints",
        ),
    ),
    Reading(
        id="27",
        statement="Attackers follow a structured pipeline, from access to verification.",
        says="A useful order for red teams: access, architecture, labels, matching, prior, verification. This lab went "
        "through it. But papers differ: the closed form matches nothing and the division needs no label, while the "
        "verification is free, since the message itself says whether a picture fits.",
        verdict="depends on the attack: not every one needs all stages",
        sources=(
            "Geiping et al. 2020, Inverting Gradients, arXiv:2003.14053",
            "Zhu and Blaschko 2021, R-GAP, arXiv:2010.07733",
        ),
    ),
    Sourced(
        id="28",
        statement="Gradient inversion is sold as a service.",
        asked=(
            "Where is it offered, since when, and by whom was it tested?",
            "What does it ask for: the update alone, or the model and the settings as well?",
            "What would a buyer get that published code does not do?",
        ),
        found="No public trace of such an offer. The code of the papers is public, and the lab's own service turned a "
        "file into a picture within seconds: little skill is needed, with or without a seller.",
        verdict="cannot be tested, because no such offer was found",
    ),
    Sourced(
        id="29",
        statement="There were 4,000 attempts at gradient inversion since the last quarter of 2025.",
        asked=(
            "Who could have counted them? A server that reads its own messages leaves no trace.",
            "What is an attempt: a search that ran, or one that found something?",
            "Were they incidents, or experiments of researchers?",
        ),
        found="No source for the count. Inversion runs on a copy of a message, offline; neither the client nor the "
        "network sees it.",
        verdict="cannot be tested, because nobody can count what leaves no trace",
    ),
)
