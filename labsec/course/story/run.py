"""What the story tells: one real federation, its honest twin, and one message that the server opens.

Nobody here knows more than in the story: client 1 uses its own update alone, and the server its view.

    federation     eight clients, of whom the first turns after an honest start
    turns_late     that client
    measured       the run, with every number and picture that the page shows
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from labsec import data, invert, metrics, poison
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.types import AttackerView, ServerView, Updates

# Rounds and clients are counted from 1 here, as the captions count them.
CLIENTS = 8
ROUNDS = 160
HONEST_ROUNDS = 120  # client 1 turns after these
BOOST = 12  # the update that it then sends is so many times as long as the honest one
OPENED_ROUND = 70
OPENED_CLIENT = 6  # chosen for its digit, a seven as a person writes it; the others come out as exactly
FILM = (1, 10, 20, 30, 40, 50, 60, OPENED_ROUND, 80, 90, 100, HONEST_ROUNDS, 130, 145)  # rounds whose digits are shown
GREYS = 255  # steps between white and black in the pictures as they were scanned


@dataclass(frozen=True, eq=False)
class Told:
    """What was measured.

    parameters       numbers in the model
    samples          digits that each client holds
    tests            digits that the server tests on
    bytes_down       that one client receives in a round
    bytes_up         that all clients send in round 1
    attacked         [ROUNDS + 1] accuracy before round 1 and after each round
    honest           [ROUNDS + 1] the same for the run in which client 1 stays honest
    film             [len(FILM), CLIENTS, 28, 28] the digit that each client trains on
    message          [neurons, 784] the first layer of the update that is opened
    truth            [28, 28] the digit behind it, which the server never received
    read             [28, 28] what the server reads out of it
    mean             [28, 28] the mean of the server's test digits: a guess without any message
    read_error       mean distance per pixel between `read` and `truth`; white is 0 and black is 1
    mean_error       the same for `mean`
    exact_pixels     pixels of `read` with the grey value of `truth`
    exact_messages   messages of that round, of CLIENTS, that are read with every pixel exact
    """

    parameters: int
    samples: int
    tests: int
    bytes_down: int
    bytes_up: int
    attacked: list[float]
    honest: list[float]
    film: Tensor
    message: Tensor
    truth: Tensor
    read: Tensor
    mean: Tensor
    read_error: float
    mean_error: float
    exact_pixels: int
    exact_messages: int


def turns_late(view: AttackerView, *, honest_rounds: int, scale: float) -> Updates:
    """Send honest updates first, then the opposite, `scale` times as long.

    honest_rounds   after how many rounds the client turns
    """
    if view.round < honest_rounds:
        return view.own
    return poison.sign_flip(view, scale=scale)


def federation(*, attacked: bool) -> Scenario:
    """One step on one digit in each round: the setting in which a message tells most.

    >>> federation(attacked=True).malicious_count, federation(attacked=False).malicious_count
    (1, 0)
    """
    honest = Scenario(data=data.load("mnist5k"), clients=CLIENTS, rounds=ROUNDS, local_steps=1, batch_size=1, lr=0.1)
    if not attacked:
        return honest
    attack = bind(turns_late, honest_rounds=HONEST_ROUNDS, scale=BOOST)
    return replace(honest, malicious=1 / CLIENTS, attack=attack)


@cache
def measured() -> Told:
    """Both runs and the opened message; about two seconds, once."""
    s = federation(attacked=True)
    model = s.network()
    population = Population(s)
    history = list(rounds(s))
    first = history[0]
    opened = history[OPENED_ROUND - 1]
    before = metrics.accuracy(model, first.before, s.data.x_test, s.data.y_test)

    # The digits that stay at home are drawn on the page, and compared with what was read. The server gets neither.
    film = torch.stack([_trained_on(population, history[number - 1]) for number in FILM])
    truth = _trained_on(population, opened)  # [CLIENTS, 28, 28]
    view = server_view(s, opened)
    read = torch.stack([invert.analytic(view, message=client)[0, 0] for client in range(CLIENTS)])  # [CLIENTS, 28, 28]
    mean = s.data.x_test.mean(dim=(0, 1))  # [28, 28]
    exact = (GREYS * read).round() == (GREYS * truth).round()  # [CLIENTS, 28, 28]

    chosen = OPENED_CLIENT - 1
    return Told(
        parameters=model.dim,
        samples=int(population.sizes.min()),
        tests=len(s.data.y_test),
        bytes_down=first.bytes_down // CLIENTS,
        bytes_up=first.bytes_up,
        attacked=[before, *(result.metrics["accuracy"] for result in history)],
        honest=[before, *run(federation(attacked=False)).accuracy],
        film=film,
        message=model.layers(opened.messages[chosen, None])[0][0],
        truth=truth[chosen],
        read=read[chosen],
        mean=mean,
        read_error=float((read[chosen] - truth[chosen]).abs().mean()),
        mean_error=float((mean - truth[chosen]).abs().mean()),
        exact_pixels=int(exact[chosen].sum()),
        exact_messages=int(exact.flatten(1).all(dim=1).sum()),
    )


def server_view(s: Scenario, opened: Round) -> ServerView:
    """All that the curious server knows: the model that it sent, what came back, and what it told clients to do."""
    return ServerView(
        params=opened.before,
        messages=opened.messages,
        model=s.network(),
        lr=s.lr,
        local_steps=s.local_steps,
        batch_size=s.batch_size,
    )


def _trained_on(population: Population, result: Round) -> Tensor:
    """The digit that each client trained on in a round, [CLIENTS, 28, 28]."""
    indices = population.batches(result.number, torch.arange(CLIENTS))[:, 0, 0]
    return population.x[indices, 0]
