"""Attacks that need no knowledge but the attackers' own updates: one line each."""

from __future__ import annotations

import torch
from torch import Generator

from labsec.guards import check_kind, check_number
from labsec.poison.shared import own_updates
from labsec.types import AttackerView, Updates


def sign_flip(view: AttackerView, *, scale: float) -> Updates:
    """Send the opposite of the honest update, `scale` times as long: gradient ascent.

    view       the attackers' view; only `own` [malicious, dim] is used
    scale      factor, no unit; scale = -1 is honest
    returns    [malicious, dim]

    >>> from types import SimpleNamespace
    >>> sign_flip(SimpleNamespace(own=torch.tensor([[1.0, -2.0]])), scale=3)
    tensor([[-3.,  6.]])

    Raises ValueError unless scale is finite.
    """
    check_number("sign_flip", scale=scale)
    return -scale * own_updates(view, "sign_flip")


def scaled(view: AttackerView, *, scale: float) -> Updates:
    """Send the update `scale` times as long: with a data attack, a boosted poison.

    view       the attackers' view; only `own` [malicious, dim] is used
    scale      factor, no unit; scale = 1 is honest
    returns    [malicious, dim]

    With scale = clients / malicious the mean is replaced by the attackers' will.

    >>> from types import SimpleNamespace
    >>> scaled(SimpleNamespace(own=torch.tensor([[1.0, -2.0]])), scale=10)
    tensor([[ 10., -20.]])

    Raises ValueError unless scale is finite. Source: Bagdasaryan et al. 2020 (model replacement).
    """
    check_number("scaled", scale=scale)
    return scale * own_updates(view, "scaled")


def gaussian(view: AttackerView, *, std: float, generator: Generator) -> Updates:
    """Add Gaussian noise to the update.

    view         the attackers' view; only `own` [malicious, dim] is used
    std          standard deviation of every coordinate, in parameter units; std = 0 is honest
    generator    of the noise
    returns      [malicious, dim]

    >>> from types import SimpleNamespace
    >>> gaussian(SimpleNamespace(own=torch.ones(1, 2)), std=0, generator=Generator())
    tensor([[1., 1.]])

    Raises ValueError unless std is finite and >= 0.
    """
    check_number("gaussian", least=0, std=std)
    check_kind("gaussian", Generator, generator=generator)
    own = own_updates(view, "gaussian")
    return own + std * torch.randn(own.shape, generator=generator, dtype=own.dtype, device=own.device)
