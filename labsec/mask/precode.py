"""A network with a random bottleneck before its last layer (after PRECODE), and its training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from labsec.guards import check_function, check_kind, check_number, check_sizes, kind
from labsec.models import Activation, Layers, Model
from labsec.models.layers import conv, fan_in_bounds, linear
from labsec.types import Update, Updates

CHANNELS = (16, 32)  # of the two convolutions, as in `models.convnet`
BEFORE = 4  # parameters that lie before the bottleneck: weight and bias of each convolution
Sampled = tuple[Tensor, Tensor, Tensor]  # logits [c, b, classes], means and log-variances [c, latent, b]


def precode(shape: tuple[int, ...], classes: int, *, latent: int = 32, activation: Activation = torch.tanh) -> Model:
    """The two convolutions of `convnet`, then a variational bottleneck: features are drawn, not computed.

    shape         of a picture, [channels, height, width]
    latent        numbers that pass the bottleneck
    activation    behind each convolution

    In training (`variational_updates`) each sample draws its latent numbers from a normal distribution whose mean and
    variance are computed, so that the same sample gives another gradient each time. The model as a function, which
    scores and attacks use, takes the means.

    >>> model = precode((1, 8, 8), 10, latent=16)
    >>> model(torch.zeros(1, model.dim), torch.rand(1, 5, 1, 8, 8)).shape
    torch.Size([1, 5, 10])

    Raises ValueError unless all sizes are whole numbers >= 1 and shape has three of them.
    Source: Scheliga, Mäder and Seeland 2022, PRECODE, arXiv:2108.04725; the convolutions are this course's.
    """
    check_sizes("precode", shape=shape)
    check_number("precode", whole=True, above=0, classes=classes, latent=latent)
    check_function("precode", activation=activation)
    if len(shape) != 3:
        raise ValueError(f"precode needs images [channels, height, width]; got shape {list(shape)}")
    sides = list(shape[1:])
    shapes: list[tuple[int, ...]] = []
    ins = shape[0]
    widths = [math.prod(shape)]
    for out in CHANNELS:
        shapes += [(out, ins, 3, 3), (out,)]
        ins = out
        sides = [(side - 1) // 2 + 1 for side in sides]
        widths.append(out * math.prod(sides))
    features = widths[-1]
    for rows, columns in ((latent, features), (latent, features), (features, latent), (classes, features)):
        shapes += [(rows, columns), (rows,)]

    def forward(layers: Layers, x: Tensor) -> Tensor:
        logits, _, spread = _sampled(layers, x, None, activation)
        # The variances do not count without a draw; a training by plain SGD needs a slope for them all the same.
        return logits + 0 * spread.sum(dim=1)[:, :, None]

    arguments = {"shape": tuple(shape), "classes": classes, "latent": latent, "activation": activation}
    return Model(
        name=f"PRECODE-like {latent}",
        shape=tuple(shape),
        classes=classes,
        shapes=tuple(shapes),
        forward=forward,
        module=lambda: _Twin(tuple(shape), classes, latent, activation, features),
        bounds=fan_in_bounds(shapes),
        width=sum(widths) + 2 * latent + features + classes,
        origin=(precode, arguments),
    )


def _convolved(layers: Layers, x: Tensor, activation: Activation) -> Tensor:
    """The features before the bottleneck, [c, features, b]."""
    h = activation(conv(layers[0], layers[1], x, 2, 1))
    h = activation(conv(layers[2], layers[3], h, 2, 1))
    return h.flatten(2).transpose(1, 2)


def _sampled(layers: Layers, x: Tensor, noise: Tensor | None, activation: Activation) -> Sampled:
    """Logits with the given draws [c, latent, b] of the latent numbers; None takes their means."""
    h = _convolved(layers, x, activation)
    mean = linear(layers[4], layers[5], h)
    spread = linear(layers[6], layers[7], h)
    z = mean if noise is None else mean + (spread / 2).exp() * noise
    decoded = linear(layers[8], layers[9], z)
    return linear(layers[10], layers[11], decoded).transpose(1, 2), mean, spread


class _Twin(nn.Module):
    """The same network, without draws, as a torch.nn.Module."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, latent: int, activation: Activation, features: int
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(shape[0], CHANNELS[0], 3, 2, 1)
        self.second = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, 2, 1)
        self.mean = nn.Linear(features, latent)
        self.spread = nn.Linear(features, latent)
        self.decode = nn.Linear(latent, features)
        self.head = nn.Linear(features, classes)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.second(self.activation(self.first(x)))).flatten(1)
        answer: Tensor = self.head(self.decode(self.mean(h)))
        return answer


def before_bottleneck(model: Model) -> tuple[int, Callable[[Layers, Tensor], Tensor]]:
    """What lies before a model's bottleneck: how many parameters, and the function that they are of.

    returns    count, and (layers, x [c, b, *shape]) -> features [c, b, features]

    >>> count, features = before_bottleneck(precode((1, 8, 8), 10))
    >>> count
    4

    Raises ValueError for a model that `precode` did not make.
    """
    activation = _activation("before_bottleneck", model)
    return BEFORE, lambda layers, x: _convolved(layers, x, activation).transpose(1, 2)


def _activation(name: str, model: Model) -> Activation:
    """The activation of a model that `precode` made."""
    check_kind(name, Model, model=model)
    constructor, arguments = model.origin
    if constructor is not precode:
        raise ValueError(f"{name} needs a model that precode made; got {model.name}, made by {constructor.__name__}")
    activation: Activation = arguments["activation"]
    return activation


def variational_updates(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    *,
    lr: float,
    beta: float,
    generator: Generator,
    chunk: int | None = None,
) -> Updates:
    """`local_updates` for a model with a random bottleneck: latent numbers are drawn anew in every step.

    model      made by `precode`
    params, x, y, batches, lr    as for `train.local_updates`
    beta       weight of the distance between the latent numbers' distribution and the standard normal one
    generator  of the draws
    chunk      taken and not needed: clients are trained one by one
    returns    [clients, dim]

    >>> model, x, y = precode((1, 8, 8), 4, latent=8), torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 3, 0])
    >>> start, steps = model.init(torch.Generator().manual_seed(0)), torch.tensor([[[0, 1]], [[2, -1]]])
    >>> draws = torch.Generator().manual_seed(0)
    >>> variational_updates(model, start, x, y, steps, lr=0.1, beta=1e-3, generator=draws).shape
    torch.Size([2, 8532])

    Raises ValueError for a model that `precode` did not make, unless samples, labels and batches fit, and unless
    beta >= 0. Source: Scheliga, Mäder and Seeland 2022, arXiv:2108.04725; the loss of the bottleneck is Kingma and
    Welling 2014, arXiv:1312.6114, eq. 10.
    """
    activation = _activation("variational_updates", model)
    check_kind("variational_updates", Generator, generator=generator)
    check_kind("variational_updates", Tensor, params=params, batches=batches)
    check_number("variational_updates", least=0, beta=beta)
    check_number("variational_updates", above=0, lr=lr)
    if chunk is not None:
        check_number("variational_updates", whole=True, above=0, chunk=chunk)
    if batches.ndim != 3 or 0 in batches.shape[1:] or batches.dtype != torch.int64:
        raise ValueError(f"variational_updates needs int64 batches [clients, steps, batch]; got {kind(batches)}")
    if params.shape not in ((model.dim,), (len(batches), model.dim)) or not params.is_floating_point():
        raise ValueError(f"variational_updates needs params [{model.dim}] or [k, {model.dim}]; got {kind(params)}")
    model.check_data(x, y, params.dtype)
    least, most = (int(end) for end in batches.aminmax()) if len(batches) else (0, 0)
    if least < -1 or most >= len(x):
        raise ValueError(f"batches must hold indices below {len(x)}, or -1; got {least} … {most}")
    latent = model.origin[1]["latent"]
    updates = params.new_zeros(len(batches), model.dim)
    for client, steps in enumerate(batches):
        start = (params if params.ndim == 1 else params[client])[None].detach()  # [1, dim]
        here = start.clone()
        for batch in steps:
            own = batch[batch >= 0]
            noise = torch.randn(1, latent, len(own), generator=generator, dtype=x.dtype, device=x.device)
            layers = [layer.detach().requires_grad_() for layer in model.layers(here)]
            with torch.enable_grad():
                logits, mean, spread = _sampled(layers, x[own][None], noise, activation)
                apart = (mean.square() + spread.exp() - 1 - spread).sum(dim=1) / 2  # [1, b]
                loss = F.cross_entropy(logits[0], y[own]) + beta * apart.mean()
            slopes = torch.autograd.grad(loss, layers)
            here = here - lr * torch.cat([slope.flatten(1) for slope in slopes], dim=1)
        updates[client] = (here - start)[0]
    return updates
