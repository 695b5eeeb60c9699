"""Pictures are smooth: the one thing that an attacker knows about a picture that it has not seen.

A search that may move each pixel on its own spends its first hundred iterations on noise. Steps that come as smooth
patterns first lead to the same minimum, in a fifth of the iterations.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

TINT = 0.3  # how much less than brightness the differences between the three colours vary


class Smoother:
    """What steps are likely, as a symmetric linear map of samples [c, in]: `half` twice is `full`.

    knee    half-periods across the picture up to which all patterns count the same: a few for a search that shall show
            the picture soon, more for one that shall get all of it

    It is diagonal in the cosine transform, with weights 1 / (1 + (frequency / knee)²), the spectrum of natural
    pictures, and less for colour than for brightness. Samples that are no pictures [channels, height, width] stay as
    they are.

    Source: the spectrum is Field 1987, Relations between the statistics of natural images and the response properties
    of cortical cells; its use as a preconditioner here is this course's own.
    """

    def __init__(self, shape: tuple[int, ...], *, knee: float = 3.0) -> None:
        self.shape = shape
        self.is_picture = len(shape) == 3
        if not self.is_picture:
            return
        channels, height, width = shape
        self._rows = _cosines(height)
        self._columns = _cosines(width)
        self._colours = _opponents(channels)
        squares = torch.arange(height)[:, None] ** 2 + torch.arange(width)[None] ** 2  # [height, width]
        tints = torch.tensor([1.0, TINT, TINT] if channels == 3 else [1.0] * channels, dtype=torch.float64)
        self._weights = tints[:, None, None] / (1 + squares / knee**2)

    def full(self, x: Tensor) -> Tensor:
        """The preconditioner of a search: slopes [c, in] to steps [c, in]."""
        return self._weighted(x, self._weights) if self.is_picture else x

    def half(self, x: Tensor) -> Tensor:
        """Its square root, for a search in the coordinates in which all steps are equally likely."""
        return self._weighted(x, self._weights.sqrt()) if self.is_picture else x

    def _weighted(self, x: Tensor, weights: Tensor) -> Tensor:
        patterns = self._rows @ x.view(-1, *self.shape) @ self._columns.T  # [c, channels, height, width]
        if self.shape[0] == 3:
            patterns = (self._colours @ patterns.flatten(2)).view_as(patterns)
        patterns = patterns * weights
        if self.shape[0] == 3:
            patterns = (self._colours.T @ patterns.flatten(2)).view_as(patterns)
        return (self._rows.T @ patterns @ self._columns).reshape(x.shape)


@cache
def _cosines(n: int) -> Tensor:
    """The cosine transform of n numbers, [n, n], orthogonal; row k has k half-periods."""
    places = torch.arange(n, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / n * torch.arange(n, dtype=torch.float64)[:, None] * places) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def _opponents(channels: int) -> Tensor:
    """Brightness and two differences of colour, [3, 3], orthogonal; nothing is known of other channels."""
    if channels != 3:
        return torch.eye(channels, dtype=torch.float64)
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)
