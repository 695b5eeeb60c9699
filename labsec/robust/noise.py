"""Noise that the server adds to what its rule has made of the updates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number
from labsec.types import Update, Updates


def central_noise(updates: Updates, *, rule: Callable[[Tensor], Tensor], std: float, generator: Generator) -> Update:
    """Rule: any rule, with Gaussian noise of one standard deviation on every coordinate of its result.

    updates      [clients, dim]
    rule         [clients, dim] -> [dim], a rule that asks the engine for nothing
    std          standard deviation in parameter units; with 0 the rule alone
    generator    draws the noise
    returns      [dim]

    As `bind(central_noise, rule=bind(trimmed_mean, f=4), std=0.01)` it is a scenario's rule. How private that is
    depends on how far one client can move the rule; for a mean of clipped rows `labsec.privacy` says it.

    >>> from labsec.robust import median
    >>> rows = torch.tensor([[1.0], [2.0], [900.0]])
    >>> central_noise(rows, rule=median, std=0.0, generator=torch.Generator())
    tensor([2.])

    Raises ValueError unless std >= 0, and what the rule raises.
    """
    check_function("central_noise", rule=rule)
    check_number("central_noise", least=0, std=std)
    check_kind("central_noise", Generator, generator=generator)
    return with_noise(rule(updates), std, generator)


def with_noise(update: Update, std: float | Tensor, generator: Generator) -> Update:
    """An update [dim] with Gaussian noise on every coordinate; the update itself where there is none."""
    if std == 0:
        return update
    noise = torch.randn(update.shape, generator=generator, device=generator.device)
    return update + (std * noise).to(update)
