"""The contestants of the federation benchmark: each makes a function that runs one round of the same federation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peers import byzfl_federation, tutorial
from labsec import data
from labsec.federation import engine
from labsec.federation.scenario import Scenario
from labsec.models import mlp
from labsec.train import local_updates_loop
from labsec.types import generator

STEPS = 5
BATCH = 16
LR = 0.3
HIDDEN = 64
ENDLESS = 10**9  # more rounds than any measurement takes, so that nothing is evaluated

OneRound = Callable[[], object]


def scenario(clients: int) -> Scenario:
    """The federation that all contestants run: digits, an MLP 64-64-10, 5 steps on batches of 16."""
    digits = data.load("digits")
    return Scenario(
        data=digits,
        model=mlp(digits.shape, digits.classes, hidden=(HIDDEN,)),
        clients=clients,
        rounds=ENDLESS,
        evaluate_every=ENDLESS,
        local_steps=STEPS,
        batch_size=BATCH,
        lr=LR,
    )


def labsec(clients: int) -> OneRound:
    """Our engine as learners use it, without the evaluation."""
    stream = engine.rounds(scenario(clients))
    return lambda: next(stream)


def loop_twin(clients: int) -> OneRound:
    """Our engine with the slow twin in place of the stacked training."""
    stream = engine.rounds(replace(scenario(clients), train=local_updates_loop))
    return lambda: next(stream)


def tutorial_loop(clients: int) -> OneRound:
    """A loop as tutorials write it."""
    model = network()
    loaders = _loaders(clients)
    return lambda: tutorial.tutorial_round(model, loaders, lr=LR)


def byzfl(clients: int) -> OneRound:
    """ByzFL's clients and server."""
    classes = data.load("digits").classes
    return byzfl_federation.byzfl_round(network, _loaders(clients), steps=STEPS, lr=LR, classes=classes)


def network() -> nn.Module:
    """The MLP as a torch.nn module, from the same start for everybody."""
    digits = data.load("digits")
    model = mlp(digits.shape, digits.classes, hidden=(HIDDEN,))
    return model.twin(model.init(generator(0, "start")))


def _loaders(clients: int) -> list[DataLoader]:
    digits = data.load("digits")
    shards = data.partition(digits.y, clients, generator=generator(0, "partition"))
    return tutorial.loaders(digits.x, digits.y, shards, steps=STEPS, batch_size=BATCH)


def flops(clients: int) -> float:
    """Floating-point operations of the matrix products in one round: forward, weights' and hidden layer's gradients."""
    digits = data.load("digits")
    first = HIDDEN * digits.x[0].numel()
    second = HIDDEN * digits.classes
    return 2.0 * BATCH * (2 * first + 3 * second) * STEPS * clients
