"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from labsec.guards import check_function, check_number, check_sizes
from labsec.models.layers import ActivationLayer, fan_in_bounds, linear
from labsec.models.model import Activation, Layers, Model, Slope

_BEND: dict[Activation, Callable[[Tensor], Tensor]] = {
    torch.relu: torch.sign,
    torch.sigmoid: lambda h: h * (1 - h),
    torch.tanh: lambda h: 1 - h * h,
}
"""The derivative of an activation, written in terms of its output h."""


def _backward_mlp(layers: Layers, x: Tensor, slope: Slope, activation: Activation) -> list[tuple[Tensor, Tensor]]:
    """Backpropagation by hand: what every layer saw, [c, in, b], and the slope at its output, [c, out, b]."""
    inputs = [x.flatten(2).transpose(1, 2)]
    for i in range(0, len(layers) - 2, 2):
        inputs.append(activation(linear(layers[i], layers[i + 1], inputs[-1])))
    # From the last layer to the first: each slope, carried through a layer's weight, is bent by the activation below.
    slopes = [slope(linear(layers[-2], layers[-1], inputs[-1]))]
    for i in reversed(range(2, len(layers), 2)):
        below = torch.bmm(layers[i].transpose(1, 2), slopes[-1])
        slopes.append(below.mul_(_BEND[activation](inputs[i // 2])))
    return list(zip(inputs, reversed(slopes), strict=True))


def mlp(
    shape: tuple[int, ...],
    classes: int,
    *,
    hidden: Sequence[int] = (64,),
    activation: Activation = torch.relu,
) -> Model:
    """Fully connected layers; every input number is seen by every neuron of the first.

    shape         of one sample
    hidden        neurons of each hidden layer
    activation    elementwise, behind each of them

    >>> mlp((30,), 2, hidden=()).dim          # logistic regression
    62

    Raises ValueError unless all sizes are whole numbers >= 1.
    """
    check_sizes("mlp", shape=shape, hidden=hidden)
    check_number("mlp", whole=True, above=0, classes=classes)
    check_function("mlp", activation=activation)
    widths = [math.prod(shape), *hidden, classes]
    shapes = tuple(s for i, o in pairwise(widths) for s in ((o, i), (o,)))

    def forward(layers: Layers, x: Tensor) -> Tensor:
        h = x.flatten(2).transpose(1, 2)  # [c, in, b]
        for i in range(0, len(layers) - 2, 2):
            h = activation(linear(layers[i], layers[i + 1], h))
        return linear(layers[-2], layers[-1], h).transpose(1, 2)

    def module() -> nn.Module:
        linear = [nn.Linear(i, o) for i, o in pairwise(widths)]
        between = [step for layer in linear[:-1] for step in (layer, ActivationLayer(activation))]
        return nn.Sequential(nn.Flatten(), *between, linear[-1])

    return Model(
        name="MLP " + "-".join(map(str, widths)),
        shape=tuple(shape),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=module,
        bounds=fan_in_bounds(shapes),
        width=sum(widths),
        origin=(mlp, {"shape": tuple(shape), "classes": classes, "hidden": tuple(hidden), "activation": activation}),
        backward=partial(_backward_mlp, activation=activation) if activation in _BEND else None,
    )
