"""Whether a client notices a malicious server: false alarms on honest models, and what is seen of four kinds of server.

What honest models look like is learned from federations of other seeds (`limits`). The last server knows the check,
and makes as many of its neurons malicious as still go through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from labsec import invert, metrics
from labsec.data import load
from labsec.federation.engine import rounds
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.guards import check_number
from labsec.models import Model, mlp
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerView, generator

FALSE_ALARMS = 0.05  # that the client's limits allow
LEARNED_FROM = 100  # federations
WATCHED = 30  # federations for each seed
SKEWS = (None, 0.3, 0.1)  # of the clients' data, by turns
MOST_SAMPLES = 64  # that a client looks at
BATCH = 16  # pictures behind a message
LR = 0.1
RECOVERED_FROM = 25.0  # dB
HONEST = "a server that only reads"
Server = Callable[[Tensor], Tensor]  # the honest model [dim] -> what it sends instead


def dense_net() -> Model:
    """The network of all federations here."""
    digits = load("digits")
    return mlp(digits.shape, digits.classes, hidden=(64, 64))


def arrivals(first: int, federations: int) -> list[tuple[Tensor, Tensor]]:
    """Honest models that arrive, each with the samples of the client that gets it.

    first          seed of the first federation; the others follow
    federations    how many, and so how many pairs (params [dim], x [n, *shape])

    One model of each federation, from one of its first rounds: those of one federation are too alike to count twice.
    """
    check_number("arrivals", whole=True, first=first)
    check_number("arrivals", whole=True, least=1, federations=federations)
    model = dense_net()
    pairs = []
    for seed in range(first, first + federations):
        scenario = Scenario.fedavg(
            model=model, alpha=SKEWS[seed % 3], rounds=1 + seed % 7, seed=seed, evaluate_every=100
        )
        held = Population(scenario)
        last = [*rounds(scenario)][-1]
        own = held.shards[int(held.sizes.argsort()[scenario.clients // 2])]  # the client of the median size
        pairs.append((last.before, held.x[own[own >= 0]][:MOST_SAMPLES]))
    return pairs


@cache
def limits() -> Mapping[str, float]:
    """What a client has learned to expect of honest models."""
    model = dense_net()
    seen = [invert.check_up(sent, model=model, x=x) for sent, x in arrivals(10_000, LEARNED_FROM)]
    return invert.limits_of(seen, rate=FALSE_ALARMS)


@cache
def watched(seed: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """The honest models that arrive in the federations of one seed."""
    return tuple(arrivals(20_000 + WATCHED * seed, WATCHED))


def servers(seed: int) -> dict[str, Server]:
    """What each kind of server makes of its model; the draws are the seed's."""
    model = dense_net()
    draws = generator(seed, "server")
    public = load("digits").x_test[:100]

    def bins(honest: Tensor) -> Tensor:
        return invert.imprint(honest, model=model, public=public, one_hot=False, generator=draws)

    def traps(honest: Tensor) -> Tensor:
        return invert.trap_weights(honest, model=model, scale=0.5, generator=draws)

    def one_alive(honest: Tensor) -> Tensor:
        sent = honest.clone()
        model.layers(sent[None])[1][0, 1:] = -100.0
        return sent

    def accepts(sent: Tensor) -> bool:
        return not invert.alarms(invert.check_up(sent, model=model, x=public), limits())

    def hidden_traps(honest: Tensor) -> Tensor:
        return invert.hidden(honest, traps(honest), model=model, accepts=accepts, generator=draws)[0]

    return {
        HONEST: lambda honest: honest,
        "bins for all samples": bins,
        "trap weights": traps,
        "one live neuron": one_alive,
        "trap weights, hidden": hidden_traps,
    }


@cache
def reported(seed: int) -> Mapping[str, float]:
    """For each kind of server the share of its models that the client's check reports; for the honest one it is wrong.

    >>> shares = reported(0)
    >>> shares[HONEST] < 0.2 < shares["trap weights"]
    True
    """
    check_number("reported", whole=True, least=0, seed=seed)
    model = dense_net()
    shares = {}
    for name, server in servers(seed).items():
        heard = [
            bool(invert.alarms(invert.check_up(server(sent), model=model, x=x), limits())) for sent, x in watched(seed)
        ]
        shares[name] = sum(heard) / len(heard)
    return shares


def read_by(seed: int) -> dict[str, float]:
    """For each kind of server the share of 16 pictures that a message about its model gives away, over 10 clients.

    Bins are read by `read_imprint`'s differences, all others by `analytic`; a picture counts from 25 dB on.
    """
    check_number("read_by", whole=True, least=0, seed=seed)
    digits = load("digits")
    model = dense_net()
    shares: dict[str, float] = {}
    for name, server in servers(seed).items():
        scores = []
        for client, (honest, _) in enumerate(watched(seed)[:10]):
            order = torch.randperm(len(digits.y), generator=generator(seed, "batch", client))[:BATCH]
            sent = server(honest)
            update = local_updates(model, sent, digits.x, digits.y, order[None, None], lr=LR)
            view = ServerView(params=sent, messages=update, model=model, lr=LR, local_steps=1, batch_size=BATCH)
            found = _differences(view) if name.startswith("bins") else invert.analytic(view)
            if len(found):
                _, own = metrics.best_matches(found, digits.x[order])
                scores.append(float((own >= RECOVERED_FROM).double().mean()))
            else:
                scores.append(0.0)
        shares[name] = sum(scores) / len(scores)
    return shares


def _differences(view: ServerView) -> Tensor:
    """What the bins' neurons say, each less the next one."""
    broadcast = BroadcastView(**vars(view), honest=view.params)
    return invert.read_imprint(broadcast, one_hot=False).estimate
