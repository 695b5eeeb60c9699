"""Pieces that several networks are made of, stacked over clients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsec.models.model import Activation


def fan_in_bounds(shapes: Sequence[tuple[int, ...]]) -> tuple[float, ...]:
    """torch.nn's default start: uniform within 1/sqrt(fan in), a bias with the fan of its weight."""
    weights = [shape for shape in shapes if len(shape) > 1]
    return tuple(1 / math.sqrt(math.prod(shape[1:])) for shape in weights for _ in ("weight", "bias"))


def linear(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """Columns in, columns out: weight [c, out, in], bias [c, out], h [c, in, b] -> [c, out, b].

    Samples are the columns, so that the softmax over the classes is one vectorised pass (9 times faster).
    """
    return torch.baddbmm(bias[:, :, None], weight, h)


class ActivationLayer(nn.Module):
    """A function as a torch.nn layer, for the twins."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


def conv(weight: Tensor, bias: Tensor, h: Tensor, stride: int, padding: int) -> Tensor:
    """Every client's own convolution: weight [c, out, in, k, k], bias [c, out], h [c, b, in, y, x]; or without y.

    One convolution in groups, a group for each client, whose channels stand side by side.
    """
    convolution = F.conv2d if weight.ndim == 5 else F.conv1d
    channels = h.transpose(0, 1).flatten(1, 2)  # [b, c * in, y, x]
    result = convolution(channels, weight.flatten(0, 1), bias.flatten(), stride, padding, groups=len(weight))
    return result.unflatten(1, bias.shape).transpose(0, 1)  # [c, b, out, y, x]
