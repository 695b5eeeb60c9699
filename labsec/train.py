"""Every client's local training at once, plain or differentially private, and its slow, obvious twin.

The trick: the gradient of the mean cross-entropy at the logits is (softmax - one-hot) / samples, so no loss is ever
computed; differentiating the stacked logits once against it gives every client's gradient, for the clients do not
share a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.models import Layers, Model, Slope
from labsec.types import Update, Updates

WORKING_BYTES = 4 * 2**20  # what the clients that train together may take: more leaves a core's own caches
Seen = list[tuple[Tensor, Tensor]]  # of each layer: what it saw [c, in, b] and the slope at its output [c, out, b]


def local_updates(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    *,
    lr: float,
    chunk: int | None = None,
) -> Updates:
    """What every client learns by plain SGD: its new parameters minus those that it started from.

    params     [dim], one start for everybody, or [clients, dim], one for each
    x, y       [n, *shape], [n] the pool that all batches are drawn from
    batches    [clients, steps, batch] indices into the pool; -1 marks a place left empty
    lr         learning rate, no unit
    chunk      clients trained together; bounds activations and working parameters, the result is the same. None takes
               as many as a core's caches hold, and on a GPU all
    returns    [clients, dim]

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> local_updates(model, torch.zeros(model.dim), x, y, torch.tensor([[[0, 1]], [[2, -1]]]), lr=0.1).shape
    torch.Size([2, 386])

    Raises ValueError if params or batches have a shape that does not fit, or if a step of a client has no sample.
    Source: McMahan et al. 2017, arXiv:1602.05629, Algorithm 1 (ClientUpdate), with steps in place of epochs.
    """
    _check(model, params, batches)
    updates = params.new_empty(len(batches), model.dim)
    size = chunk or _clients_at_once(model, batches)
    starts = params.expand_as(updates)
    for own, start, part in zip(updates.split(size), starts.split(size), batches.split(size), strict=True):
        layers = _copies(model, start)
        here = _common_start(model, params) or layers
        for samples, weight, target in _steps(model, x, y, part, lr, params.dtype):
            if model.backward is None:
                gradients = _gradients(model, layers, samples, partial(_slope, weight=weight, target=target))
                torch._foreach_sub_(layers, gradients)
            else:
                _descend(layers, _backward(model, here, samples, weight, target))
            here = layers
        _subtract(layers, start, own)
    return updates


def dp_sgd(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    *,
    lr: float,
    clip: float,
    noise: float,
    generator: Generator,
    chunk: int | None = None,
) -> Updates:
    """`local_updates` by differentially private SGD: every sample's gradient is clipped, every step's sum gets noise.

    params, x, y, batches, lr, chunk    as for `local_updates`
    clip         bound on the L2 norm of a sample's gradient, over all layers together; may be infinite without noise
    noise        multiplier, no unit: the noise on the SUM of a step's gradients has standard deviation noise * clip
    generator    gives each client a stream of noise of its own, which does not depend on the chunk
    returns      [clients, dim]

    The noisy sum is divided by the number of places that hold a sample. With an infinite clip and without noise this
    is `local_updates`.

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2, hidden=()), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> step = torch.tensor([[[0]]])
    >>> private = {"lr": 1.0, "clip": 0.1, "noise": 0.0, "generator": Generator()}
    >>> dp_sgd(model, torch.zeros(model.dim), x, y, step, **private).norm()
    tensor(0.1000)

    Raises ValueError as `local_updates` does, unless clip > 0 and noise >= 0, and if an infinite clip has noise.
    Source: Abadi et al. 2016, arXiv:1607.00133, Algorithm 1. Its batches are Poisson samples and its divisor is their
    expected size; here both are what the batches say, and an accountant must know that.
    """
    _check(model, params, batches)
    if not clip > 0 or not 0 <= noise < float("inf") or (noise > 0 and clip == float("inf")):
        raise ValueError(f"dp_sgd needs clip > 0 and noise >= 0, both finite if there is noise; got {clip=}, {noise=}")
    updates = params.new_empty(len(batches), model.dim)
    size = chunk or _clients_at_once(model, batches, apart=model.backward is None)
    starts = params.expand_as(updates)
    streams = _streams(generator, len(batches))
    for place, (own, start, part) in enumerate(
        zip(updates.split(size), starts.split(size), batches.split(size), strict=True)
    ):
        layers = _copies(model, start)
        here = _common_start(model, params) or layers
        for samples, weight, target in _steps(model, x, y, part, lr, params.dtype):
            # The slopes carry lr / samples from the start, so that the bound and the noise have to carry it, too.
            scale = clip * weight.amax(dim=2)  # [c, 1]
            if model.backward is None:
                torch._foreach_sub_(layers, _clipped_gradients(model, layers, samples, weight, target, scale))
            else:
                _descend(layers, _clipped(_backward(model, here, samples, weight, target), scale))
            if noise > 0:
                _add_noise(model, layers, noise * scale, streams[place * size :])
            here = layers
        _subtract(layers, start, own)
    return updates


def _check(model: Model, params: Tensor, batches: Tensor) -> None:
    if batches.ndim != 3 or batches.dtype != torch.int64:
        raise ValueError(
            f"batches must be int64 [clients, steps, batch]; got {batches.dtype} of shape {list(batches.shape)}"
        )
    if not (batches >= 0).any(dim=2).all():
        raise ValueError("every step of every client needs a sample; some rows of batches hold only -1")
    if params.shape not in ((model.dim,), (len(batches), model.dim)):
        raise ValueError(
            f"{model.name} and {len(batches)} clients need params [{model.dim}] or [{len(batches)}, {model.dim}]; "
            f"got {list(params.shape)}"
        )


def _clients_at_once(model: Model, batches: Tensor, *, apart: bool = False) -> int:
    """How many clients' parameters and activations fit into WORKING_BYTES; on a GPU all.

    apart    whether each sample needs parameters of its own
    """
    if batches.device.type != "cpu":
        return max(1, len(batches))
    samples = batches.shape[2]
    numbers = samples * model.width + (samples if apart else 1) * model.dim
    return max(1, WORKING_BYTES // (4 * numbers))


def _copies(model: Model, start: Updates) -> list[Tensor]:
    """The layers [c, *shape] that the clients [c, dim] change, apart in memory: products are faster."""
    return [layer.clone(memory_format=torch.contiguous_format) for layer in model.layers(start)]


def _common_start(model: Model, params: Update | Updates) -> list[Tensor] | None:
    """The layers [1, *shape] that all clients start from; None where each has a start of its own."""
    return model.layers(params[None]) if params.ndim == 1 else None


def _steps(
    model: Model, x: Tensor, y: Tensor, batches: Tensor, lr: float, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Step by step the samples [c, b, *shape], their weights [c, 1, b] and weight * one-hot [c, classes, b].

    A sample weighs lr / samples in the step, a place left empty nothing.
    """
    order = batches.transpose(0, 1)  # [steps, c, b]
    present = order >= 0
    weights = (present * (lr / present.sum(dim=2, keepdim=True).to(dtype)))[:, :, None]  # [steps, c, 1, b]
    places = order.clamp_min(0)
    targets = weights.new_zeros(*order.shape[:2], model.classes, order.shape[2])  # [steps, c, classes, b]
    targets.scatter_(2, y.take(places)[:, :, None], weights)
    for here, weight, target in zip(places, weights, targets, strict=True):
        yield x.index_select(0, here.flatten()).view(*here.shape, *model.shape), weight, target


def _slope(logits: Tensor, *, weight: Tensor, target: Tensor) -> Tensor:
    """Slope of the clients' weighted cross-entropies at logits [c, classes, b]; target is weight * one-hot."""
    return logits.softmax(dim=1).mul_(weight).sub_(target)


def _backward(model: Model, layers: Layers, x: Tensor, weight: Tensor, target: Tensor) -> Seen:
    """What every layer saw and the slope at its output, for layers of each client or for a common start [1, *shape].

    A common start is one network that sees everybody's samples: a few large products in place of many small ones.
    """
    assert model.backward is not None
    clients, samples = x.shape[:2]
    if len(layers[0]) == clients:
        return model.backward(layers, x, partial(_slope, weight=weight, target=target))
    together = partial(
        _slope,
        weight=weight.reshape(1, 1, -1),  # [1, 1, c * b]
        target=target.transpose(0, 1).reshape(1, model.classes, -1),  # [1, classes, c * b]
    )
    seen = model.backward(layers, x.flatten(0, 1)[None], together)
    return [tuple(part[0].unflatten(1, (clients, samples)).transpose(0, 1) for part in pair) for pair in seen]


def _descend(layers: Layers, seen: Seen) -> None:
    """One step in place: the gradient of a weight is the sum of its samples' outer products."""
    for i, (h, delta) in enumerate(seen):
        layers[2 * i].baddbmm_(delta, h.transpose(1, 2), alpha=-1)
        layers[2 * i + 1].sub_(delta.sum(dim=2))


def _gradients(model: Model, layers: Layers, x: Tensor, slope: Slope) -> tuple[Tensor, ...]:
    """The gradient of every layer of any model, by automatic differentiation."""
    with torch.enable_grad():
        leaves = [layer.detach().requires_grad_() for layer in layers]
        logits = model.forward(leaves, x).transpose(1, 2)  # [c, classes, b]
    return torch.autograd.grad(logits, leaves, slope(logits.detach()))


def _subtract(layers: Layers, start: Updates, updates: Updates) -> None:
    """Write what the clients learned into updates [c, dim]."""
    torch.cat([layer.flatten(1) for layer in layers], dim=1, out=updates).sub_(start)


def _clipped(seen: Seen, bound: Tensor) -> Seen:
    """The slopes shortened in place so that no sample's gradient is longer than bound [c, 1].

    The gradients themselves are never made: the length of an outer product is the product of the lengths, and a bias
    sees a one beside the inputs.
    """
    squares = torch.stack([delta.square().sum(dim=1) * (h.square().sum(dim=1) + 1) for h, delta in seen])
    norms = squares.sum(dim=0).sqrt()  # [c, b]
    scale = _shortening(norms, bound)[:, None]  # [c, 1, b]
    return [(h, delta * scale) for h, delta in seen]


def _clipped_gradients(
    model: Model, layers: Layers, x: Tensor, weight: Tensor, target: Tensor, bound: Tensor
) -> list[Tensor]:
    """The same for any model: every sample is a client of its own, with a copy of its client's parameters."""
    clients, samples = x.shape[:2]
    alone = [layer.repeat_interleave(samples, dim=0) for layer in layers]  # [c * b, *shape]
    slope = partial(
        _slope,
        weight=weight.reshape(-1, 1, 1),  # [c * b, 1, 1]
        target=target.transpose(1, 2).reshape(-1, model.classes, 1),  # [c * b, classes, 1]
    )
    gradients = _gradients(model, alone, x.flatten(0, 1)[:, None], slope)
    squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients])
    norms = squares.sum(dim=0).sqrt().view(clients, samples)
    scale = _shortening(norms, bound)[:, None]  # [c, 1, b]
    return [
        torch.bmm(scale, gradient.view(clients, samples, -1)).view_as(layer)
        for layer, gradient in zip(layers, gradients, strict=True)
    ]


def _shortening(norms: Tensor, bound: Tensor) -> Tensor:
    """The factors that bring norms [c, b] down to bound [c, 1]; a gradient of zero keeps its length."""
    return (bound / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max(1.0)


def _streams(generator: Generator, clients: int) -> list[Generator]:
    """A random stream for each client, so that nobody's noise depends on who else trains beside it."""
    device = generator.device
    seeds = torch.randint(2**62, (clients,), generator=generator, device=device)
    return [Generator(device).manual_seed(seed) for seed in seeds.tolist()]


def _add_noise(model: Model, layers: Layers, std: Tensor, streams: Sequence[Generator]) -> None:
    """Normal noise of standard deviation std [c, 1] on all parameters, in place."""
    noise = layers[0].new_empty(len(std), model.dim)  # [c, dim]
    for row, stream in zip(noise, streams, strict=False):
        row.normal_(generator=stream)
    for layer, part in zip(layers, model.layers(noise.mul_(std)), strict=True):
        layer.add_(part)


def local_updates_loop(
    model: Model, params: Update | Updates, x: Tensor, y: Tensor, batches: Tensor, *, lr: float
) -> Updates:
    """The same as `local_updates`, one client and one torch.nn module at a time: slow, and plainly right.

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> args = (model, torch.zeros(model.dim), x, y, torch.tensor([[[0, 1]], [[2, -1]]]))
    >>> torch.allclose(local_updates_loop(*args, lr=0.1), local_updates(*args, lr=0.1), atol=1e-6)
    True
    """
    updates = []
    for start, client in zip(params.expand(len(batches), -1), batches, strict=True):
        module = model.twin(start)
        optimizer = torch.optim.SGD(module.parameters(), lr=lr)
        for batch in client:
            batch = batch[batch >= 0]
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
        updates.append(torch.nn.utils.parameters_to_vector(module.parameters()).detach() - start)
    return torch.stack(updates)
