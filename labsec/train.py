"""Every client's local training at once, plain or differentially private, and its slow, obvious twin.

The trick: the gradient of the mean cross-entropy at the logits is (softmax - one-hot) / samples, so no loss is ever
computed; differentiating the stacked logits once against it gives every client's gradient, for the clients do not
share a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.models import Layers, Model
from labsec.types import Update, Updates

WORKING_BYTES = 3 * 2**20  # what the clients that train together may take: more leaves a core's own caches
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

    Raises ValueError if a shape or a type does not fit, for an index or a label that there is none for, if a step of a
    client has no sample, and unless lr is finite and chunk >= 1.
    Source: McMahan et al. 2017, arXiv:1602.05629, Algorithm 1 (ClientUpdate), with steps in place of epochs.
    """
    _check("local_updates", model, params, x, y, batches, lr=lr, chunk=chunk)
    return _train(model, params, x, y, batches, lr, chunk or _clients_at_once(model, batches))


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
    _check("dp_sgd", model, params, x, y, batches, lr=lr, chunk=chunk)
    check_number("dp_sgd", least=0, lr=lr)
    check_number("dp_sgd", above=0, most=math.inf, clip=clip)
    check_number("dp_sgd", least=0, noise=noise)
    check_kind("dp_sgd", Generator, generator=generator)
    if noise > 0 and clip == math.inf:
        raise ValueError(f"dp_sgd needs a finite clip where there is noise; got {clip=}, {noise=}")
    private = _Private(clip, noise, _streams(generator, len(batches)))
    size = chunk or _clients_at_once(model, batches, apart=model.backward is None)
    return _train(model, params, x, y, batches, lr, size, private)


def _check(
    name: str, model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float, chunk: int | None
) -> None:
    check_kind(name, Model, model=model)
    check_kind(name, Tensor, params=params, batches=batches)
    check_number(name, lr=lr)
    if chunk is not None:
        check_number(name, whole=True, above=0, chunk=chunk)
    if batches.ndim != 3 or 0 in batches.shape[1:] or batches.dtype != torch.int64:
        raise ValueError(
            f"batches must be int64 [clients, steps, batch] with steps >= 1, batch >= 1; got {kind(batches)}"
        )
    if params.shape not in ((model.dim,), (len(batches), model.dim)) or not params.is_floating_point():
        raise ValueError(
            f"{model.name} and {len(batches)} clients need params [{model.dim}] or [{len(batches)}, {model.dim}], "
            f"floating-point numbers; got {kind(params)}"
        )
    model.check_data(x, y, params.dtype)
    for given in (params, x):
        if given.requires_grad:
            raise ValueError(
                f"{name} needs params and x that require no gradient, for it lets none through; got {kind(given)}: "
                "detach() it"
            )
    if not len(batches):
        return
    least, most = (int(end) for end in batches.aminmax())
    if least < -1 or most >= len(x):
        raise ValueError(f"batches must hold indices below {len(x)}, or -1; got {least} … {most}")
    if least < 0 and not (batches >= 0).any(dim=2).all():
        raise ValueError("every step of every client needs a sample; some rows of batches hold only -1")


def _clients_at_once(model: Model, batches: Tensor, *, apart: bool = False) -> int:
    """How many clients' parameters, activations and slopes fit into WORKING_BYTES; on a GPU all.

    apart    whether each sample needs parameters of its own
    """
    if batches.device.type != "cpu":
        return max(1, len(batches))
    samples = batches.shape[2]
    numbers = 2 * samples * model.width + (samples if apart else 1) * model.dim
    most = max(1, WORKING_BYTES // (4 * numbers))
    chunks = max(1, math.ceil(len(batches) / most))
    return max(1, math.ceil(len(batches) / chunks))  # no chunk much smaller than the others


def _train(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    lr: float,
    size: int,
    private: _Private | None = None,
) -> Updates:
    """The updates [clients, dim], `size` clients at a time."""
    gaps = bool((batches < 0).any())
    if gaps:
        # Clients with like numbers of samples train together, so that few places are computed for nothing.
        order = (batches >= 0).sum(dim=(1, 2)).argsort(stable=True)  # [clients]
        batches = batches[order]
        params = params if params.ndim == 1 else params[order]
        private = private and private[order]
    updates = params.new_empty(len(batches), model.dim)
    for first in range(0, len(batches), size):
        own = slice(first, first + size)
        part = batches[own]
        if gaps:
            part = part[:, :, (part >= 0).any(dim=0).any(dim=0)]  # without the places that nobody here fills
        start = params[None] if params.ndim == 1 else params[own]  # [1, dim] or [c, dim]
        _train_together(model, start, updates[own], x, y, part, lr, private and private[own])
    return torch.empty_like(updates).index_copy_(0, order, updates) if gaps else updates


def _train_together(
    model: Model,
    start: Updates,
    updates: Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    lr: float,
    private: _Private | None,
) -> None:
    """Write the updates [c, dim] of clients with batches [c, steps, b] and one start [1, dim] or their own [c, dim]."""
    starts = model.layers(start.expand_as(updates))
    # Parameters to work on, layer by layer, because products are faster on matrices that lie apart. A single step
    # needs none: it is taken from the start, and what it adds to zero is the update.
    once = batches.shape[1] == 1 and model.backward is not None
    layers = [
        layer.new_zeros(layer.shape) if once else layer.clone(memory_format=torch.contiguous_format) for layer in starts
    ]
    here = model.layers(start) if once else layers
    for samples, weight, target in _steps(model, x, y, batches, lr, start.dtype):
        if model.backward is not None:
            seen = _backward(model, here, samples, weight, target)
            _descend(layers, private.clipped(seen, weight) if private else seen)
        else:
            find = private.clipped_gradients if private else _gradients
            for layer, gradient in zip(layers, find(model, layers, samples, weight, target), strict=True):
                layer.sub_(gradient)
        if private:
            private.add_noise(model, layers, weight)
    torch.cat([layer.flatten(1) for layer in layers], dim=1, out=updates)
    if not once:
        updates.sub_(start)


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


def _gradients(model: Model, layers: Layers, x: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """The gradient of every layer of any model, by automatic differentiation."""
    with torch.enable_grad():
        leaves = [layer.detach().requires_grad_() for layer in layers]
        logits = model.forward(leaves, x).transpose(1, 2)  # [c, classes, b]
    return torch.autograd.grad(logits, leaves, _slope(logits.detach(), weight=weight, target=target))


@dataclass(frozen=True, eq=False)
class _Private:
    """What makes training private: a bound on every sample's gradient, and a stream of noise for each client.

    The slopes carry lr / samples from the start (that is the weight of a sample), so bound and noise carry it, too.
    """

    clip: float
    noise: float
    streams: Sequence[Generator]

    def __getitem__(self, clients: slice | Tensor) -> _Private:
        """The same for some of the clients."""
        numbers = torch.arange(len(self.streams))[clients].tolist()
        return _Private(self.clip, self.noise, [self.streams[number] for number in numbers])

    def clipped(self, seen: Seen, weight: Tensor) -> Seen:
        """The slopes, so shortened that no sample's gradient is too long.

        The gradients themselves are never made: an outer product is as long as the product of its columns' lengths,
        and a bias sees a one beside the inputs.
        """
        squares = [delta.square().sum(dim=1) * (h.square().sum(dim=1) + 1) for h, delta in seen]  # [c, b] each
        shortening = self._shortening(squares, weight)
        return [(h, delta * shortening) for h, delta in seen]

    def clipped_gradients(
        self, model: Model, layers: Layers, x: Tensor, weight: Tensor, target: Tensor
    ) -> list[Tensor]:
        """The sum of the samples' shortened gradients, for any model: every sample is a client of its own."""
        clients, samples = x.shape[:2]
        gradients = _gradients(
            model,
            [layer.repeat_interleave(samples, dim=0) for layer in layers],  # [c * b, *shape]
            x.flatten(0, 1)[:, None],  # [c * b, 1, *shape]
            weight.reshape(-1, 1, 1),
            target.transpose(1, 2).reshape(-1, model.classes, 1),
        )
        rows = [gradient.view(clients, samples, -1) for gradient in gradients]  # [c, b, numbers of the layer]
        shortening = self._shortening([row.square().sum(dim=2) for row in rows], weight)
        return [torch.bmm(shortening, row).view_as(layer) for row, layer in zip(rows, layers, strict=True)]

    def _shortening(self, squares: Sequence[Tensor], weight: Tensor) -> Tensor:
        """The factors [c, 1, b] that bring gradients down to the bound, from their layers' squared lengths [c, b]."""
        lengths = torch.stack([*squares]).sum(dim=0).sqrt()[:, None]  # [c, 1, b]
        bound = self.clip * weight.amax(dim=2, keepdim=True)  # [c, 1, 1]
        return (bound / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)).clamp_max(1.0)

    def add_noise(self, model: Model, layers: Layers, weight: Tensor) -> None:
        """Normal noise on the parameters, in place."""
        if self.noise == 0:
            return
        noise = layers[0].new_empty(len(self.streams), model.dim)  # [c, dim]
        stds = self.noise * self.clip * weight.amax(dim=(1, 2))  # [c]
        for row, std, stream in zip(noise, stds.tolist(), self.streams, strict=True):
            row.normal_(0.0, std, generator=stream)
        for layer, part in zip(layers, model.layers(noise), strict=True):
            layer.add_(part)


def _streams(generator: Generator, clients: int) -> list[Generator]:
    """A random stream for each client, so that nobody's noise depends on who else trains beside it."""
    seeds = torch.randint(2**62, (clients,), generator=generator, device=generator.device)
    return [Generator(generator.device).manual_seed(seed) for seed in seeds.tolist()]


class RootUpdate:
    """What a server learns by itself, on samples of its own: params [dim] -> [dim], for a rule that asks for `root`.

    model    the architecture
    x, y     [n, *shape], [n] the server's samples; every step takes all of them
    lr       learning rate, no unit
    steps    number of steps

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> RootUpdate(model, x, y, lr=0.1, steps=2)(torch.zeros(model.dim)).shape
    torch.Size([386])

    Raises ValueError if samples, labels and model do not fit, unless lr is finite and steps >= 1; when called, if the
    params do not fit. Source: Cao et al. 2021, arXiv:2012.13995, which draws batches from the samples.
    """

    def __init__(self, model: Model, x: Tensor, y: Tensor, *, lr: float, steps: int) -> None:
        check_kind("RootUpdate", Model, model=model)
        check_kind("RootUpdate", Tensor, x=x, y=y)
        check_number("RootUpdate", lr=lr)
        check_number("RootUpdate", whole=True, above=0, steps=steps)
        model.check_data(x, y, x.dtype if x.is_floating_point() else torch.float32)
        self.model = model
        self.x = x
        self.y = y
        self.lr = lr
        self.steps = steps

    def __call__(self, params: Update) -> Update:
        check_kind("RootUpdate", Tensor, params=params)
        if params.ndim != 1:
            raise ValueError(f"RootUpdate needs params [{self.model.dim}]; got {kind(params)}")
        x = self.x.to(params.device)
        y = self.y.to(params.device)
        everything = torch.arange(len(y), device=params.device).expand(1, self.steps, -1)  # [1, steps, n]
        return local_updates(self.model, params, x, y, everything, lr=self.lr)[0]


def local_updates_loop(
    model: Model, params: Update | Updates, x: Tensor, y: Tensor, batches: Tensor, *, lr: float
) -> Updates:
    """The same as `local_updates`, one client and one torch.nn module at a time: slow and obviously right.

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((3,), 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> args = (model, torch.zeros(model.dim), x, y, torch.tensor([[[0, 1]], [[2, -1]]]))
    >>> torch.allclose(local_updates_loop(*args, lr=0.1), local_updates(*args, lr=0.1), atol=1e-6)
    True
    """
    _check("local_updates_loop", model, params, x, y, batches, lr=lr, chunk=None)
    check_number("local_updates_loop", least=0, lr=lr)
    updates = [params.new_zeros(0, model.dim)]
    for start, client in zip(params.expand(len(batches), -1), batches, strict=True):
        module = model.twin(start)
        optimizer = torch.optim.SGD(module.parameters(), lr=lr)
        for batch in client:
            batch = batch[batch >= 0]
            optimizer.zero_grad()
            F.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
        updates.append(torch.nn.utils.parameters_to_vector(module.parameters()).detach()[None] - start)
    return torch.cat(updates)
