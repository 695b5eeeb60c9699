"""Lab 01: the right answer to every exercise, and wrong ones that teach something."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.models import Model


def deal(order: Tensor, clients: int) -> list[Tensor]:
    """Exercise 01.1."""
    return [order[i::clients] for i in range(clients)]


def deal_positions(order: Tensor, clients: int) -> list[Tensor]:
    return [torch.arange(len(order))[i::clients] for i in range(clients)]


def deal_whole_hands(order: Tensor, clients: int) -> list[Tensor]:
    size = len(order) // clients
    return [order[i * size : (i + 1) * size] for i in range(clients)]


def deal_even(order: Tensor, clients: int) -> list[Tensor]:
    return [order[: len(order) // clients * clients][i::clients] for i in range(clients)]


def deal_chunks(order: Tensor, clients: int) -> list[Tensor]:
    return list(order.chunk(clients))


def deal_split(order: Tensor, clients: int) -> list[Tensor]:
    return list(order.tensor_split(clients))


def skew(y: Tensor, shares: Tensor) -> list[Tensor]:
    """Exercise 01.2."""
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        ends = (share.cumsum(0) * len(members)).round().long()[:-1]
        for part, piece in zip(parts, members.tensor_split(ends.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def skew_positions(y: Tensor, shares: Tensor) -> list[Tensor]:
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = torch.arange(int((y == label).sum()))
        ends = (share.cumsum(0) * len(members)).round().long()[:-1]
        for part, piece in zip(parts, members.tensor_split(ends.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def skew_without_sum(y: Tensor, shares: Tensor) -> list[Tensor]:
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        ends = (share * len(members)).round().long()[:-1]
        for part, piece in zip(parts, members.tensor_split(ends.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def skew_in_one(y: Tensor, shares: Tensor) -> list[Tensor]:
    ends = (shares.mean(dim=0).cumsum(0) * len(y)).round().long()[:-1]
    return list(torch.arange(len(y)).tensor_split(ends.tolist()))


def skew_floor(y: Tensor, shares: Tensor) -> list[Tensor]:
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        ends = (share.cumsum(0) * len(members)).long()[:-1]
        for part, piece in zip(parts, members.tensor_split(ends.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def skew_rounded_parts(y: Tensor, shares: Tensor) -> list[Tensor]:
    """Each part's size is rounded; the last client gets what is left."""
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        ends = (share * len(members)).round().long().cumsum(0)[:-1]
        for part, piece in zip(parts, members.tensor_split(ends.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def skew_rounded_slices(y: Tensor, shares: Tensor) -> list[Tensor]:
    """Each part's size is rounded; what is left belongs to nobody."""
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        sizes = (share * len(members)).round().long()
        ends = sizes.cumsum(0)
        for part, size, end in zip(parts, sizes.tolist(), ends.tolist(), strict=True):
            part.append(members[end - size : end])
    return [torch.cat(part) for part in parts]


def skew_rounded_sizes(y: Tensor, shares: Tensor) -> list[Tensor]:
    """Each part's size is rounded, and `split` refuses sizes that do not add up."""
    parts: list[list[Tensor]] = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        sizes = (share * len(members)).round().long()
        for part, piece in zip(parts, members.split(sizes.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def local_step(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    """Exercise 01.3."""
    return params - lr * _gradient(model, params, x, y, "mean")


def _gradient(model: Model, params: Tensor, x: Tensor, y: Tensor, reduction: str) -> Tensor:
    params = params.detach().requires_grad_()
    loss = F.cross_entropy(model(params[None], x[None])[0], y, reduction=reduction)
    return torch.autograd.grad(loss, params)[0]


def step_uphill(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    return params + lr * _gradient(model, params, x, y, "mean")


def step_by_sum(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    return params - lr * _gradient(model, params, x, y, "sum")


def step_alone(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    return -lr * _gradient(model, params, x, y, "mean")


def step_gradient(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    return _gradient(model, params, x, y, "mean")


def step_without_lr(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    return params - _gradient(model, params, x, y, "mean")


def step_of_shared(model: Model, params: Tensor, x: Tensor, y: Tensor, *, lr: float) -> Tensor:
    """The gradient is left on the parameters that everybody shares."""
    params.requires_grad_()
    F.cross_entropy(model(params[None], x[None])[0], y).backward()
    assert params.grad is not None
    return (params - lr * params.grad).detach()


def local_update(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    """Exercise 01.4."""
    local = params
    for batch in batches:
        local = local_step(model, local, x[batch], y[batch], lr=lr)
    return local - params


def update_whole_model(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    return params + local_update(model, params, x, y, batches, lr=lr)


def update_backwards(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    return -local_update(model, params, x, y, batches, lr=lr)


def update_from_start(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    return local_update(model, params, x, y, batches[-1:], lr=lr)


def update_last_step(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    local = params
    for batch in batches:
        before = local
        local = local_step(model, local, x[batch], y[batch], lr=lr)
    return local - before


def update_summed(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Tensor:
    return sum((local_update(model, params, x, y, batch[None], lr=lr) for batch in batches), torch.zeros_like(params))


def weighted_mean(updates: Tensor, *, weights: Tensor) -> Tensor:
    """Exercise 01.5."""
    return (weights / weights.sum()) @ updates


def mean_of_equals(updates: Tensor, *, weights: Tensor) -> Tensor:
    return updates.mean(dim=0)


def mean_by_count(updates: Tensor, *, weights: Tensor) -> Tensor:
    return (weights[:, None] * updates).mean(dim=0)


def sum_of_weighted(updates: Tensor, *, weights: Tensor) -> Tensor:
    return weights.to(updates.dtype) @ updates


def product_of_kinds(updates: Tensor, *, weights: Tensor) -> Tensor:
    """Whole numbers times floats: refused by PyTorch."""
    return weights @ updates


def fedavg_round(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    """Exercise 01.6."""
    updates = torch.stack([local_update(model, params, x, y, own, lr=lr) for own in batches])
    return params + weighted_mean(updates, weights=weights)


def round_of_change(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    return fedavg_round(model, params, x, y, batches, weights=weights, lr=lr) - params


def round_as_relay(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    for own in batches:
        params = params + local_update(model, params, x, y, own, lr=lr)
    return params


def round_of_equals(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    return fedavg_round(model, params, x, y, batches, weights=torch.ones(len(batches)), lr=lr)


def round_backwards(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    return 2 * params - fedavg_round(model, params, x, y, batches, weights=weights, lr=lr)


def round_with_two_rates(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    return params + lr * round_of_change(model, params, x, y, batches, weights=weights, lr=lr)


def round_against_the_mean(
    model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, weights: Tensor, lr: float
) -> Tensor:
    return params - lr * round_of_change(model, params, x, y, batches, weights=weights, lr=lr)
