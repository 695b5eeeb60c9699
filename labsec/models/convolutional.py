"""Convolutional networks for pictures and for sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from labsec.guards import check_function, check_number, check_sizes
from labsec.models.layers import ActivationLayer, conv, fan_in_bounds, linear
from labsec.models.model import Activation, Layers, Model


def _convolutional(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    layers: Sequence[tuple[int, int, int, int]],
    activation: Activation,
    origin: tuple[Callable[..., Model], Mapping[str, Any]],
    start: float | None = None,
    *,
    sides: int = 2,
) -> Model:
    """Convolutions (out, kernel, stride, padding) over one or two sides, then one fully connected layer."""
    check_sizes(name, shape=shape)
    check_number(name, whole=True, above=0, classes=classes)
    check_function(name, activation=activation)
    if len(shape) != 1 + sides:
        wanted = "images [channels, height, width]" if sides == 2 else "sequences [channels, length]"
        raise ValueError(f"{name} needs {wanted}; got shape {list(shape)}")
    channels, *lengths = shape
    shapes: list[tuple[int, ...]] = []
    widths = [math.prod(shape)]
    for out, k, stride, padding in layers:
        shapes += [(out, channels, *[k] * sides), (out,)]
        channels = out
        lengths = [(length + 2 * padding - k) // stride + 1 for length in lengths]
        widths.append(channels * math.prod(lengths))
    features = widths[-1]
    shapes += [(classes, features), (classes,)]

    def forward(params: Layers, x: Tensor) -> Tensor:
        h = x
        for i, (_, _, stride, padding) in enumerate(layers):
            h = activation(conv(params[2 * i], params[2 * i + 1], h, stride, padding))
        return linear(params[-2], params[-1], h.flatten(2).transpose(1, 2)).transpose(1, 2)

    def module() -> nn.Module:
        ins = [shape[0], *(out for out, *_ in layers)]
        convolution = nn.Conv2d if sides == 2 else nn.Conv1d
        convs = [convolution(i, *layer) for i, layer in zip(ins, layers, strict=False)]
        between = [step for conv in convs for step in (conv, ActivationLayer(activation))]
        return nn.Sequential(*between, nn.Flatten(), nn.Linear(features, classes))

    return Model(
        name=name,
        shape=tuple(shape),
        classes=classes,
        shapes=tuple(shapes),
        forward=forward,
        module=module,
        bounds=fan_in_bounds(shapes) if start is None else (start,) * len(shapes),
        width=sum(widths) + classes,
        origin=(origin[0], {**origin[1], "shape": tuple(shape)}),
    )


def lenet(shape: tuple[int, ...], classes: int) -> Model:
    """The network of Deep Leakage from Gradients: three sigmoid convolutions of 12 channels, uniform(-0.5, 0.5) start.

    Source: Zhu, Liu and Han 2019, arXiv:1906.08935, and its published code.

    >>> lenet((3, 32, 32), 100).shapes[-2]
    (100, 768)
    """
    layers = [(12, 5, 2, 2), (12, 5, 2, 2), (12, 5, 1, 2)]
    origin = (lenet, {"shape": shape, "classes": classes})
    return _convolutional("LeNet (DLG)", shape, classes, layers, torch.sigmoid, origin, start=0.5)


def convnet(shape: tuple[int, ...], classes: int, *, activation: Activation = torch.relu) -> Model:
    """Two convolutions with stride 2 (16, then 32 channels) and a fully connected layer.

    >>> convnet((1, 28, 28), 10).dim
    20490
    """
    origin = (convnet, {"shape": shape, "classes": classes, "activation": activation})
    return _convolutional("ConvNet", shape, classes, [(16, 3, 2, 1), (32, 3, 2, 1)], activation, origin)


def sequence_net(shape: tuple[int, ...], classes: int, *, activation: Activation = torch.sigmoid) -> Model:
    """Two convolutions along a sequence (16 channels, 7 and 5 places wide, stride 2) and a fully connected layer.

    shape    [channels, length]: four channels for one-hot bases

    >>> sequence_net((4, 128), 4).shapes[0], sequence_net((4, 128), 4).dim
    ((16, 4, 7), 3812)

    Raises ValueError as `convnet` does. With sigmoids it starts uniform(-0.5, 0.5), as `lenet` does, since smaller
    weights leave a sigmoid without a bend; otherwise as torch.nn.
    """
    layers = [(16, 7, 2, 3), (16, 5, 2, 2)]
    origin = (sequence_net, {"shape": shape, "classes": classes, "activation": activation})
    start = 0.5 if activation is torch.sigmoid else None
    return _convolutional("Sequence net", shape, classes, layers, activation, origin, start, sides=1)
