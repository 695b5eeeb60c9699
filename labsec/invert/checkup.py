"""What a client can see of a malicious server: the model that arrived, held against its own samples; with a false-alarm
rate, and a server that hides below it.

A server that only reads changes nothing, and no check of any kind sees it. One that sends a model of its own making
must make it different, and how different honest models are from each other can be measured beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number, kind
from labsec.invert.malicious import dense_neurons, suspicion
from labsec.models import Model

ALIKE = "rows along one direction"
SILENT = "neurons silent for nearly all samples"
LOPSIDED = "answer of the median neuron, below zero"
ODD = "sizes of the weights, most over median"
SILENT_FOR = 0.9  # share of the client's samples


def check_up(params: Tensor, *, model: Model, x: Tensor) -> dict[str, float]:
    """Signs of tampering in a model that arrived, each a number that is larger for odder models.

    params     [dim] what arrived
    model      a network that starts with two fully connected layers
    x          [n, *shape] samples of the client's own, n >= 8: what the model will be trained on
    returns    the share of the first layer along one direction (imprint bins); the share of its neurons that stay below
               zero for nine in ten samples (a live neuron for few); minus what the median neuron answers on average, in
               its own spreads (trap weights); and the largest row's length over the median one (odd weights)

    >>> from labsec.invert import trap_weights
    >>> from labsec.models import mlp
    >>> model, draws = mlp((16,), 2, hidden=(32,)), torch.Generator().manual_seed(0)
    >>> honest, x = model.init(draws), torch.rand(20, 16, generator=draws)
    >>> trap = trap_weights(honest, model=model, scale=0.7, generator=draws)
    >>> check_up(honest, model=model, x=x)[SILENT] < check_up(trap, model=model, x=x)[SILENT]
    True

    Raises ValueError unless the network starts with two fully connected layers and there are 8 finite samples that fit.
    Source: this course's own, for the models of Fowl et al. 2022, arXiv:2110.13057, Boenisch et al. 2023,
    arXiv:2112.02918, and Pasquini et al. 2022, arXiv:2111.07380.
    """
    neurons = dense_neurons("check_up", params, model)
    check_kind("check_up", Tensor, x=x)
    fits = x.shape[1:] == model.shape and len(x) >= 8 and x.is_floating_point()
    if not fits or not x.isfinite().all():
        raise ValueError(
            f"check_up needs 8 or more finite samples [n, {', '.join(map(str, model.shape))}]; got {kind(x)}"
        )
    weight, bias = (layer[0].detach().double() for layer in model.layers(params[None])[:2])  # [n, in], [n]
    answers = x.detach().flatten(1).double() @ weight.T + bias  # [samples, n]
    silent = (answers <= 0).double().mean(dim=0) >= SILENT_FOR  # [n]
    middle = answers.mean(dim=0) / answers.std(dim=0).clamp_min(1e-12)  # [n]
    lengths = weight.norm(dim=1)
    return {
        ALIKE: suspicion(params, model=model).score,
        SILENT: float(silent.sum()) / neurons,
        LOPSIDED: -float(middle.median()),
        ODD: float(lengths.max() / lengths.median().clamp_min(1e-12)),
    }


def limits_of(honest: Sequence[Mapping[str, float]], *, rate: float) -> dict[str, float]:
    """For each sign the limit that honest models exceed seldom: all signs together at most at the rate.

    honest     `check_up` of models that are known to be honest, as a client keeps them from earlier rounds
    rate       of false alarms, in (0, 1)
    returns    sign -> limit; an equal number is no alarm

    Each of the k signs gets a k-th of the rate. Of n honest models, the next honest one exceeds the largest with chance
    1 / (n + 1), if it is one of the same kind. So fewer than k / rate - 1 models promise no such rate.

    >>> limits_of([{"odd": number / 10} for number in range(20)], rate=0.1)
    {'odd': 1.8}

    Raises ValueError unless 0 < rate < 1, unless all have the same signs, and for fewer models than the rate needs.
    Source: the quantile of split conformal prediction, Vovk, Gammerman and Shafer 2005.
    """
    check_number("limits_of", above=0, below=1, rate=rate)
    check_kind("limits_of", (list, tuple), honest=honest)
    for signs in honest:
        check_kind("limits_of", Mapping, honest=signs)
    if not honest or not honest[0] or any(signs.keys() != honest[0].keys() for signs in honest):
        raise ValueError(f"limits_of needs the same signs for one or more models; got {len(honest)} models")
    each = rate / len(honest[0])
    place = math.ceil((1 - each) * (len(honest) + 1) - 1e-9)  # of the limit among the sorted numbers, from 1
    if place > len(honest):
        raise ValueError(
            f"limits_of needs at least {math.ceil(1 / each) - 1} honest models for rate={rate} with "
            f"{len(honest[0])} signs; got {len(honest)}"
        )
    return {name: sorted(signs[name] for signs in honest)[place - 1] for name in honest[0]}


def alarms(signs: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """The signs that are above their limits; a number that is not finite always is.

    >>> alarms({"odd": 1.0, "silent": 0.2}, {"odd": 0.5, "silent": 0.5})
    ['odd']

    Raises ValueError unless both name the same signs.
    """
    check_kind("alarms", Mapping, signs=signs, limits=limits)
    if signs.keys() != limits.keys():
        raise ValueError(f"alarms needs a limit for each sign; got {dict(signs)} and {dict(limits)}")
    return [name for name, number in signs.items() if not number <= limits[name]]


def hidden(
    honest: Tensor, sent: Tensor, *, model: Model, accepts: Callable[[Tensor], bool], generator: Generator
) -> tuple[Tensor, int]:
    """A server that knows the check: as many neurons of a malicious first layer as still go through.

    honest     [dim] the model that it should send
    sent       [dim] the model that it would like to send: `trap_weights`, whose neurons work one by one
    accepts    a model [dim] -> whether the client would train on it; the server tries it on samples of its own
    generator  of the order in which neurons are taken
    returns    [dim], and how many neurons are malicious; 0 where none goes through

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=(4,))
    >>> def at_most_two(params: Tensor) -> bool:
    ...     return int((model.layers(params[None])[1] < 0).sum()) <= 2
    >>> draws = torch.Generator().manual_seed(0)
    >>> hidden(torch.ones(model.dim), -torch.ones(model.dim), model=model, accepts=at_most_two, generator=draws)[1]
    2

    It takes for granted that more malicious neurons are never less odd. Raises ValueError unless the network starts
    with two fully connected layers and both models fit it.
    """
    neurons = dense_neurons("hidden", honest, model)
    dense_neurons("hidden", sent, model)
    check_function("hidden", accepts=accepts)
    if honest.dtype != sent.dtype:
        raise ValueError(f"hidden needs two models of one type; got {kind(honest)} and {kind(sent)}")
    check_kind("hidden", Generator, generator=generator)
    order = torch.randperm(neurons, generator=generator)

    def mixed(count: int) -> Tensor:
        made = honest.detach().clone()
        layers = model.layers(made[None])[:2]  # views into `made`
        for own, wanted in zip(layers, model.layers(sent.detach()[None])[:2], strict=True):
            own[0, order[:count]] = wanted[0, order[:count]]
        return made

    low = 0
    high = neurons
    while low < high:
        middle = (low + high + 1) // 2
        if accepts(mixed(middle)):
            low = middle
        else:
            high = middle - 1
    return mixed(low), low
