"""A data set: samples with labels, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsec.guards import check_device, check_kind, check_number, kind

TENSORS = ("x", "y", "x_test", "y_test")  # the fields of a data set that hold tensors


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples with labels, split into a training and a test part; checked when it is made.

    name         what errors and plots call it
    x, x_test    [n, *shape] float32 in [0, 1] (images are [n, channels, height, width]), or [n, length] int64 token
                 numbers, with 0 behind the end of a text that is shorter than the longest
    y, y_test    [n] int64 in 0 … classes - 1
    classes      number of classes

    >>> x, y = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    >>> Dataset(name="mine", x=x, y=y, x_test=x, y_test=y, classes=2).shape
    (1, 2, 2)
    >>> Dataset(name="mine", x=x * 255, y=y, x_test=x, y_test=y, classes=2)
    Traceback (most recent call last):
    ValueError: mine: x must lie in [0, 1]; got values from ... to ...; divide images by 255

    Raises ValueError if a shape, a type or a value does not fit.
    """

    name: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int

    def __post_init__(self) -> None:
        check_kind("Dataset", str, name=self.name)
        check_kind(self.name, Tensor, x=self.x, y=self.y, x_test=self.x_test, y_test=self.y_test)
        check_number(self.name, whole=True, above=0, classes=self.classes)
        _check_samples(self.name, "x", self.x)
        _check_samples(self.name, "x_test", self.x_test)
        _check_labels(self.name, "y", self.y, len(self.x), self.classes)
        _check_labels(self.name, "y_test", self.y_test, len(self.x_test), self.classes)
        if self.x.shape[1:] != self.x_test.shape[1:] or self.x.dtype != self.x_test.dtype:
            raise ValueError(
                f"{self.name}: x and x_test must hold samples of one shape and type; "
                f"got {list(self.x.shape[1:])} {self.x.dtype} and {list(self.x_test.shape[1:])} {self.x_test.dtype}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def vocabulary(self) -> int | None:
        """How many token numbers there are, the padding 0 included; None where the samples are not tokens."""
        if self.x.dtype != torch.int64:
            return None
        return 1 + int(max(self.x.max(), self.x_test.max()))

    def to(self, device: str | torch.device) -> Dataset:
        """The same data set with its tensors on `device`."""
        check_device(self.name, device)
        return replace(self, **{part: getattr(self, part).to(device) for part in TENSORS})


def _check_samples(name: str, field: str, x: Tensor) -> None:
    if x.ndim < 2 or x.numel() == 0 or x.dtype not in (torch.float32, torch.int64):
        raise ValueError(
            f"{name}: {field} must be float32 (or int64 tokens) of shape [n, …], none of them 0; got {kind(x)}"
        )
    if x.dtype == torch.int64:
        if x.ndim != 2:
            raise ValueError(
                f"{name}: {field} of token numbers must be [n, length]; got {list(x.shape)}; "
                "make images float32 in [0, 1]"
            )
        if x.min() < 0:
            raise ValueError(f"{name}: {field} must hold token numbers >= 0; got {int(x.min())}")
    elif not x.isfinite().all():
        raise ValueError(f"{name}: {field} must be finite; {int((~x.isfinite()).sum())} values are NaN or infinite")
    elif x.min() < 0 or x.max() > 1:
        raise ValueError(
            f"{name}: {field} must lie in [0, 1]; got values from {x.min():.3g} to {x.max():.3g}; divide images by 255"
        )


def _check_labels(name: str, field: str, y: Tensor, n: int, classes: int) -> None:
    if y.shape != (n,) or y.dtype != torch.int64:
        raise ValueError(f"{name}: {field} must be int64 of shape [{n}]; got {kind(y)}")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"{name}: {field} must lie in 0 … {classes - 1} for {classes} classes; got {int(y.min())} … {int(y.max())}"
        )
