"""What lab 08 needs beside its attacks: messages to attack, a search with the learner's own loss, and servers that lie.

told            one client's message about one picture, as a view, with the truth for the score
searched        the search of lab 04 with a matching loss of one's own
masked_digits   digits behind two masks, and what a plain and a knowing attacker make of them
leaks           what full messages of many pictures and steps give away
signs_in        what a client's check says of the honest models of a federation
servers         an honest model, and three that a malicious server sends in its place
read_by         how many pictures each of these servers reads
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec import invert, mask, metrics, models
from labsec.data import Dataset, load
from labsec.federation.engine import rounds
from labsec.federation.scenario import Scenario
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerView, Train, generator

LR = 0.1  # of messages about one picture
READ_OUT = 25.0  # dB
OWN = 48  # samples that a client holds against a model that arrives
BATCH = 16  # pictures behind the answer to a malicious server
ONE = torch.tensor([[[0]]])  # one client, one step, one sample
Gap = Callable[[Tensor, Tensor], Tensor]  # (gradient of a guess [dim], received [dim]) -> number


def told(
    samples: Dataset, model: Model, i: int, *, by: Train = local_updates, **how: Any
) -> tuple[ServerView, Tensor, int]:
    """What a client with test picture i sends about a fresh model: the view, the picture [1, *shape] and its label.

    by     how the client trains: plain SGD, or a mask
    how    what the mask asks for

    >>> view, x, label = told(load("digits"), models.mlp((1, 8, 8), 10), 3)
    >>> view.messages.shape, x.shape, label
    (torch.Size([1, 4810]), torch.Size([1, 1, 8, 8]), 9)
    """
    params = model.init(torch.Generator().manual_seed(i))
    x = samples.x_test[i : i + 1]
    y = samples.y_test[i : i + 1]
    update = by(model, params, x, y, ONE, lr=LR, **how)
    view = ServerView(params=params, messages=update, model=model, lr=LR, local_steps=1, batch_size=1)
    return view, x, int(y)


def searched(gap: Gap, view: ServerView, label: int, *, iterations: int = 150) -> Tensor:
    """The picture [1, *shape] of the least matching loss: L-BFGS in double precision, from mid-grey.

    gap    the matching loss, with a slope at its first argument

    >>> view, x, label = told(load("digits"), models.lenet((1, 8, 8), 10), 0)
    >>> found = searched(lambda own, received: (own - received).square().sum(), view, label)
    >>> bool((found - x).abs().max() < 0.05)
    True
    """
    params = view.params.double().requires_grad_()
    received = -view.messages[0].double() / view.lr  # [dim]
    scale = received.square().sum()
    x = torch.full((1, *view.model.shape), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x], max_iter=iterations, history_size=50, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        logits = view.model(params[None], x[None])[0]
        loss = F.cross_entropy(logits, torch.tensor([label]))
        (own,) = torch.autograd.grad(loss, params, create_graph=True)
        distance = gap(own, received) / scale
        (x.grad,) = torch.autograd.grad(distance, x)
        return distance.detach()

    optimizer.step(closure)
    return x.detach()


def masked_digits(count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Digits [count, 1, 8, 8] behind a random bottleneck and behind a learned perturbation, and what is read.

    returns    the digits, and name of mask and attacker -> [count, 1, 8, 8]
    """
    digits = load("digits")
    plain_net = models.lenet(digits.shape, digits.classes)
    bottleneck = mask.precode(digits.shape, digits.classes)
    layers, features = mask.before_bottleneck(bottleneck)
    truth = []
    found: dict[str, list[Tensor]] = {}
    for i in range(count):
        draws = generator(i, "mask")
        drawn, x, label = told(digits, bottleneck, i, by=mask.variational_updates, beta=1e-3, generator=draws)
        nudged = partial(told, by=mask.learned_perturbation, strength=0.2, generator=draws)
        ten = [nudged(digits, plain_net, i)[0] for _ in range(10)]
        mean = torch.stack([view.messages for view in ten]).mean(dim=0)
        guesses = {
            "PRECODE, plain": invert.gauss_newton(drawn, label=label),
            "PRECODE, adaptive": invert.around(drawn, layers=layers, features=features),
            "perturbed, plain": invert.gauss_newton(ten[0], label=label),
            "perturbed, adaptive": invert.gauss_newton(replace(ten[0], messages=mean), label=label),
        }
        truth.append(x)
        for name, guess in guesses.items():
            found.setdefault(name, []).append(guess.estimate)
    return torch.cat(truth), {name: torch.cat(each) for name, each in found.items()}


def leaks(s: Scenario, *, batch: int, steps: int, clients: int = 20) -> tuple[float, float, float]:
    """What messages give away that nobody shortened or masked, about a fresh model of a federation of digits.

    returns    percent of the test digits behind a message that the division reads at 25 dB; percent of the suspects
               named by a gallery of all test digits that are behind it; and that percentage by chance

    >>> leaks(Scenario(), batch=1, steps=1, clients=3)[:2]
    (100.0, 100.0)
    """
    digits = load("digits")
    x = digits.x_test
    y = digits.y_test
    model = s.network()
    params = model.init(generator(s.seed, "leaks"))
    expected = local_updates(model, params, x, y, torch.arange(len(y))[:, None, None], lr=s.lr)  # [suspects, dim]
    read = []
    named = []
    for client in range(clients):
        who = torch.randperm(len(y), generator=generator(s.seed, "behind", client))[: batch * steps]
        update = local_updates(model, params, x, y, who.view(1, steps, batch), lr=s.lr)
        view = ServerView(params=params, messages=update, model=model, lr=s.lr, local_steps=steps, batch_size=batch)
        read.append((metrics.assigned(invert.analytic(view), x[who])[1] >= READ_OUT).double().mean())
        named.append(torch.isin(invert.gallery(update, expected, samples=len(who))[0], who).double().mean())
    by_chance = 100 * batch * steps / len(y)
    return float(100 * torch.stack(read).mean()), float(100 * torch.stack(named).mean()), by_chance


def signs_in(s: Scenario) -> list[dict[str, float]]:
    """What a client's check says of each model that an honest server sends in a federation.

    >>> from labsec import bind
    >>> len(signs_in(Scenario(rounds=3)))
    3
    """
    own = load("digits").x[:OWN]
    model = s.network()
    return [invert.check_up(sent.before, model=model, x=own) for sent in rounds(s)]


def servers(s: Scenario, limits: Mapping[str, float]) -> dict[str, Tensor]:
    """The model after the last round of a federation, and what three malicious servers send in its place: [dim] each.

    limits    of the clients' check, which the last of them knows
    """
    digits = load("digits")
    model = s.network()
    draws = generator(s.seed, "server")
    *_, last = rounds(s)
    traps = invert.trap_weights(last.after, model=model, scale=0.7, generator=draws)

    def passes(params: Tensor) -> bool:
        return not invert.alarms(invert.check_up(params, model=model, x=digits.x_test[:OWN]), limits)

    sly, neurons = invert.hidden(last.after, traps, model=model, accepts=passes, generator=draws)
    bins = invert.imprint(last.after, model=model, public=digits.x_test, one_hot=False, generator=draws)
    return {"honest": last.after, "bins": bins, "traps": traps, f"{neurons} hidden traps": sly}


def read_by(s: Scenario, sent: Mapping[str, Tensor]) -> dict[str, int]:
    """How many of 16 digits, one step, each server reads from a client's answer to what it sent.

    sent    name -> [dim], as `servers` returns them
    """
    digits = load("digits")
    model = s.network()
    batch = torch.arange(BATCH)
    found = {}
    for name, params in sent.items():
        update = local_updates(model, params, digits.x, digits.y, batch[None, None], lr=s.lr)
        view = BroadcastView(
            params=params,
            honest=sent["honest"],
            messages=update,
            model=model,
            lr=s.lr,
            local_steps=1,
            batch_size=BATCH,
        )
        guess = invert.read_imprint(view, one_hot=False).estimate if name == "bins" else invert.analytic(view)
        found[name] = int((metrics.assigned(guess, digits.x[batch])[1] >= READ_OUT).sum())
    return found
