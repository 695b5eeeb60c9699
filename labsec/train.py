"""Every client's local training at once, and its slow, obvious twin.

The trick: the gradient of the mean cross-entropy at the logits is (softmax - one-hot) / samples, so no loss is ever
computed; differentiating the stacked logits once against it gives every client's gradient, for the clients do not
share a parameter.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.models import Layers, Model, Slope
from labsec.types import Update, Updates


def local_updates(
    model: Model, params: Update, x: Tensor, y: Tensor, batches: Tensor, *, lr: float, chunk: int | None = None
) -> Updates:
    """What every client learns by plain SGD from the same start: its new parameters minus the old.

    params     [dim]
    x, y       [n, *shape], [n] the pool that all batches are drawn from
    batches    [clients, steps, batch] indices into the pool; -1 marks a place left empty
    lr         learning rate, no unit
    chunk      clients trained together; bounds activations and working parameters, the result is the same
    returns    [clients, dim]

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> local_updates(model, torch.zeros(model.dim), x, y, torch.tensor([[[0, 1]], [[2, -1]]]), lr=0.1).shape
    torch.Size([2, 386])

    Raises ValueError if batches is not [clients, steps, batch], or if a step of a client has no sample.
    Source: McMahan et al. 2017, arXiv:1602.05629, Algorithm 1 (ClientUpdate), with steps in place of epochs.
    """
    if batches.ndim != 3 or batches.dtype != torch.int64:
        raise ValueError(
            f"batches must be int64 [clients, steps, batch]; got {batches.dtype} of shape {list(batches.shape)}"
        )
    if not (batches >= 0).any(dim=2).all():
        raise ValueError("every step of every client needs a sample; some rows of batches hold only -1")
    updates = params.new_empty(len(batches), len(params))
    size = chunk or len(batches)
    for own, part in zip(updates.split(size), batches.split(size), strict=True):
        _train(model, params, own, x, y, part, lr)
    return updates


def _train(model: Model, params: Update, updates: Updates, x: Tensor, y: Tensor, batches: Tensor, lr: float) -> None:
    """Write the updates [c, dim] of the clients that train on batches [c, steps, batch]."""
    start = model.layers(params.expand(len(batches), -1))
    layers = [layer.clone(memory_format=torch.contiguous_format) for layer in start]  # apart: products are faster
    order = batches.transpose(0, 1)  # [steps, c, batch]
    present = order >= 0
    weights = (present * (lr / present.sum(dim=2, keepdim=True).to(params.dtype)))[:, :, None]  # [steps, c, 1, batch]
    places = order.clamp_min(0)
    targets = weights.new_zeros(*order.shape[:2], model.classes, order.shape[2])  # [steps, c, classes, batch]
    targets.scatter_(2, y.take(places)[:, :, None], weights)
    descend = model.descend or partial(_descend, model)
    for here, weight, target in zip(places, weights, targets, strict=True):
        samples = x.index_select(0, here.flatten()).view(*here.shape, *model.shape)  # [c, batch, *shape]
        descend(layers, samples, partial(_slope, weight=weight, target=target))
    torch.cat([layer.flatten(1) for layer in layers], dim=1, out=updates).sub_(params)


def _slope(logits: Tensor, *, weight: Tensor, target: Tensor) -> Tensor:
    """Slope of the clients' weighted cross-entropies at logits [c, classes, batch]; target is weight * one-hot."""
    return logits.softmax(dim=1).mul_(weight).sub_(target)


def _descend(model: Model, layers: Layers, x: Tensor, slope: Slope) -> None:
    """One step in place for any model, by automatic differentiation."""
    with torch.enable_grad():
        leaves = [layer.detach().requires_grad_() for layer in layers]
        logits = model.forward(leaves, x).transpose(1, 2)  # [c, classes, batch]
    for layer, gradient in zip(layers, torch.autograd.grad(logits, leaves, slope(logits.detach())), strict=True):
        layer.sub_(gradient)


def local_updates_loop(model: Model, params: Update, x: Tensor, y: Tensor, batches: Tensor, *, lr: float) -> Updates:
    """The same as `local_updates`, one client and one torch.nn module at a time: slow, and plainly right.

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> args = (model, torch.zeros(model.dim), x, y, torch.tensor([[[0, 1]], [[2, -1]]]))
    >>> torch.allclose(local_updates_loop(*args, lr=0.1), local_updates(*args, lr=0.1), atol=1e-6)
    True
    """
    updates = []
    for client in batches:
        module = model.twin(params)
        optimizer = torch.optim.SGD(module.parameters(), lr=lr)
        for batch in client:
            batch = batch[batch >= 0]
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
        updates.append(torch.nn.utils.parameters_to_vector(module.parameters()).detach() - params)
    return torch.stack(updates)
