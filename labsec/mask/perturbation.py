"""The update of other samples: learned to be far from the client's own, while the update hardly changes."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import Update, Updates

RATE = 0.2  # of a step, as a share of the strength


def learned_perturbation(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    *,
    lr: float,
    strength: float,
    generator: Generator,
    steps: int = 20,
    chunk: int | None = None,
) -> Updates:
    """Send the update of samples that the client has made up, against the inversion of its own.

    Whoever inverts the update exactly finds the made-up samples. They start at random around the client's own, at the
    distance `strength`, and move on that sphere to where their gradient differs least from the true one: that
    difference is what the defence costs. The direction that a network hardly sees is learned, by descent.

    model, params, x, y, batches, lr, chunk    as for `train.local_updates`
    strength   root mean square distance of a made-up sample from its original, before values are cut to [0, 1]
    generator  of the starts
    steps      of descent
    returns    [clients, dim]

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> args = (model, model.init(torch.Generator().manual_seed(0)), x, y, torch.tensor([[[0, 1]]]))
    >>> draws = torch.Generator().manual_seed(0)
    >>> learned_perturbation(*args, lr=0.1, strength=0.2, generator=draws).shape
    torch.Size([1, 386])

    A strength of 0 is `local_updates`. What was learned against one inversion protects from that one alone: the
    made-up samples still look like the client's own to a comparison, and to whoever knows what pictures look like.

    Raises ValueError as `local_updates` does, for a model of tokens, and unless 0 <= strength <= 1 and steps >= 1.
    Source: this course's own reading of "gradient masking by learned perturbation", for which no public description
    was found.
    """
    check_kind("learned_perturbation", Model, model=model)
    check_kind("learned_perturbation", Generator, generator=generator)
    check_number("learned_perturbation", least=0, most=1, strength=strength)
    check_number("learned_perturbation", whole=True, least=1, steps=steps)
    plain = local_updates(model, params, x, y, batches, lr=lr, chunk=chunk)  # says in words what does not fit
    if model.vocabulary is not None:
        raise ValueError(f"learned_perturbation needs samples that are numbers; {model.name} takes tokens")
    if strength == 0 or not len(batches):
        return plain
    updates = torch.empty_like(plain)
    for client, own in enumerate(batches):
        start = (params if params.ndim == 1 else params[client]).detach()
        places, numbers = own.clamp_min(0).unique(return_inverse=True)
        made_up = _made_up(model, start, x[places], y[places], strength, steps, generator)
        order = torch.where(own >= 0, numbers, -1)[None]  # [1, steps, batch]
        updates[client] = local_updates(model, start, made_up, y[places], order, lr=lr)[0]
    return updates


def _made_up(
    model: Model, params: Update, x: Tensor, y: Tensor, strength: float, steps: int, generator: Generator
) -> Tensor:
    """Samples [n, *shape] around x whose gradient at params is as near as possible to that of x."""
    radius = strength * x[0].numel() ** 0.5
    layers = [layer.detach().requires_grad_() for layer in model.layers(params[None])]
    true = _gradient(model, layers, x, y).detach()  # [dim]
    scale = true.square().sum().clamp_min(torch.finfo(true.dtype).tiny)
    away = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    away = _on_sphere(away, radius)
    for _ in range(steps):
        away.requires_grad_()
        with torch.enable_grad():
            cost = (_gradient(model, layers, x + away, y) - true).square().sum() / scale
            (slope,) = torch.autograd.grad(cost, away)
        away = _on_sphere(away.detach() - RATE * _on_sphere(slope, radius), radius)
    return (x + away).clamp(0, 1)


def _gradient(model: Model, layers: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The gradient [dim] of the mean cross-entropy, open to differentiation with respect to x."""
    logits = model.forward(layers, x[None])[0]  # [n, classes]
    loss = torch.nn.functional.cross_entropy(logits, y)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, layers, create_graph=True)])


def _on_sphere(rows: Tensor, radius: float) -> Tensor:
    """Every sample of rows [n, *shape] at the length `radius`."""
    lengths = rows.flatten(1).norm(dim=1).clamp_min(torch.finfo(rows.dtype).tiny)
    return rows * (radius / lengths).view(-1, *[1] * (rows.ndim - 1))
