"""Every client's local training at once, and its slow, obvious twin.

The trick: the gradient of the mean cross-entropy at the logits is (softmax - one-hot) / samples, so no loss is ever
computed; differentiating the stacked logits once against it gives every client's gradient, for the clients do not
share a parameter.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.models import Model
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
    updates = params.repeat(len(batches), 1)  # [clients, dim], the only tensor of this size
    size = chunk or len(batches)
    for own, part in zip(updates.split(size), batches.split(size), strict=True):
        _train(model, own, x, y, part, lr)
    return updates.sub_(params)


def _train(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, lr: float) -> None:
    """Train in place: params [c, dim], batches [c, steps, batch]."""
    layers = [layer.detach().requires_grad_() for layer in model.layers(params)]
    present = batches >= 0  # [c, steps, batch]
    counts = present.sum(dim=2)[..., None, None]  # [c, steps, 1, 1]
    weights = present[:, :, None] / counts  # [c, steps, 1, batch]
    targets = F.one_hot(y[batches], model.classes).transpose(2, 3) * weights  # [c, steps, classes, batch]
    for step in range(batches.shape[1]):
        with torch.enable_grad():
            logits = model.forward(layers, x[batches[:, step]]).transpose(1, 2)  # [c, classes, batch]
        slope = logits.detach().softmax(dim=1).mul_(weights[:, step]).sub_(targets[:, step])
        gradients = torch.autograd.grad(logits, layers, slope)
        with torch.no_grad():
            for layer, gradient in zip(layers, gradients, strict=True):
                layer.sub_(gradient, alpha=lr)


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
