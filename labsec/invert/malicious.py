"""The malicious server: a model that sorts samples into bins, the samples read out again, and the check against it."""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import one_message
from labsec.models import Model
from labsec.types import BroadcastView

SEEN = 1e-5  # a bin whose bias moved by less than this share of the largest move holds no sample
ALIKE = 0.9  # share of the rows' energy along one direction from which a first layer is suspicious


def imprint(params: Tensor, *, model: Model, public: Tensor, one_hot: bool, generator: Generator) -> Tensor:
    """A broadcast that sorts every client's samples into bins: one neuron of the first layer for each.

    params     [dim] the model that an honest server would send
    model      a fully connected network; its first hidden layer holds n neurons, and so n bins
    public     [m, *shape] samples like the clients', m >= 32, from which the server learns where to cut
    one_hot    True for a network of hardtanh, whose neuron answers to its own bin alone: this survives several local
               steps and epochs. False for ReLUs, whose neuron answers to its bin and all above it: one step
    generator  of the direction
    returns    [dim], to be used as `bind(imprint, model=…, public=…, one_hot=…)` for a scenario's `broadcast`

    Every neuron looks along one random direction, and each has a cut of its own, so that every bin holds equally many
    samples. A sample that is alone in its bin is read out exactly. In a batch of B a sample is alone with chance
    (1 - 1/n)^(B - 1).

    >>> from labsec.models import mlp
    >>> model, draws = mlp((4,), 2, hidden=(8,)), torch.Generator().manual_seed(0)
    >>> sent = imprint(model.init(draws), model=model, public=torch.rand(50, 4), one_hot=False, generator=draws)
    >>> sent.shape
    torch.Size([58])

    Raises ValueError unless the network starts with two fully connected layers, or if there are too few public samples.
    Source: Fowl et al. 2022, arXiv:2110.13057 (Robbing the Fed), in the layers that the model has anyway and with
    bins of the empirical distribution; the directions with alternating signs are this course's own.
    """
    neurons = dense_neurons("imprint", params, model)
    check_kind("imprint", bool, one_hot=one_hot)
    check_kind("imprint", Tensor, public=public)
    check_kind("imprint", Generator, generator=generator)
    fits = public.shape[1:] == model.shape and len(public) >= 32 and public.is_floating_point()
    if not fits or not public.isfinite().all():
        raise ValueError(
            f"imprint needs 32 or more finite floating-point samples [m, {', '.join(map(str, model.shape))}]; "
            f"got {kind(public)}"
        )
    sent = params.detach().clone()
    weight, bias, weight_2, bias_2 = (layer[0] for layer in model.layers(sent[None])[:4])  # views into `sent`

    # A direction across the mean picture, so that projections lie around zero and the biases stay small.
    x = public.detach().flatten(1).double()
    direction = torch.randn(x.shape[1], generator=generator, dtype=torch.float64)
    mean = x.mean(dim=0)
    direction -= (direction @ mean) / mean.square().sum().clamp_min(1e-12) * mean
    direction /= direction.norm()
    cuts = _cuts(x @ direction, neurons)  # [n + 1]
    low = cuts[:-1]
    high = cuts[1:]

    # Every neuron must pass the same slope back to its bin, whatever the class of the sample.
    push = torch.randn(len(bias_2), 1, generator=generator, dtype=torch.float64)  # [out, 1]
    if one_hot:
        # Between low and high a neuron goes from -1 to 1; elsewhere it is flat. Neighbours' signs alternate, so that
        # all the flat ones together leave the next layer near zero.
        width = (high - low).clamp_min(1e-9)
        weight.copy_(2 / width[:, None] * direction)
        bias.copy_(-(low + high) / width)
        weight_2.copy_(push * (1 - 2 * (torch.arange(neurons) % 2)))
    else:
        # All neurons below a sample add up: small first weights keep the sum near one, and the slopes large.
        unit = 1 / (neurons * (cuts[-1] - cuts[0]))
        weight.copy_(unit * direction.expand(neurons, -1))
        bias.copy_(-unit * low)
        weight_2.copy_(push.expand(-1, neurons))
    bias_2.zero_()
    return sent


def dense_neurons(name: str, params: Tensor, model: Model) -> int:
    """How many neurons the first hidden layer of a fully connected network has."""
    check_kind(name, Model, model=model)
    check_kind(name, Tensor, params=params)
    if params.shape != (model.dim,) or not params.is_floating_point():
        raise ValueError(f"{name} needs params [{model.dim}] for {model.name}; got {kind(params)}")
    wrong = int((~params.isfinite()).sum())
    if wrong:
        raise ValueError(f"{name} needs finite params; got {wrong} NaN or infinite numbers")
    inputs = torch.Size(model.shape).numel()
    shapes = model.shapes
    if len(shapes) < 4 or shapes[0][1:] != (inputs,) or shapes[2][1:] != shapes[1] or model.vocabulary is not None:
        raise ValueError(
            f"{name} needs a network that starts with two fully connected layers; {model.name} has {list(shapes)}"
        )
    return shapes[1][0]


def _cuts(projections: Tensor, bins: int) -> Tensor:
    """The edges [bins + 1] of bins that hold equally many samples, from projections [m] of public ones.

    Quantiles of m samples, taken one by one, are as uneven as the samples. So only about sqrt(m) of them are used, and
    a smooth rising curve in between. The outer bins are open, as far as the spread of all samples.
    """
    knots = np.linspace(0, 1, int(len(projections) ** 0.5) + 1)
    heights = np.quantile(projections.numpy(), knots)
    heights = np.maximum.accumulate(heights + np.arange(len(knots)) * 1e-12)  # rising, also where samples repeat
    edges = torch.as_tensor(PchipInterpolator(knots, heights)(np.linspace(0, 1, bins + 1)))
    spread = edges[-1] - edges[0]
    edges[0] -= spread
    edges[-1] += spread
    return edges


def read_imprint(view: BroadcastView, *, message: int = 0, one_hot: bool) -> Reconstruction:
    """Read the samples out of what a client sent back after an `imprint`: no optimisation, no labels.

    view       `params` are what was sent
    one_hot    as for `imprint`
    returns    estimate [k, *shape] in [0, 1], a candidate for each bin that moved, the clearest first; k may be 0

    A sample that shared its bin comes out mixed with its neighbours, and cannot be told from a clean one by this alone.

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model, draws = mlp((4,), 2, hidden=(64,)), torch.Generator().manual_seed(0)
    >>> honest, x = model.init(draws), torch.rand(100, 4, generator=draws)
    >>> sent = imprint(honest, model=model, public=x[3:], one_hot=False, generator=draws)
    >>> update = local_updates(model, sent, x, torch.tensor([0, 1] * 50), torch.tensor([[[0, 1]]]), lr=0.1)
    >>> view = BroadcastView(
    ...     params=sent, honest=honest, messages=update, model=model, lr=0.1, local_steps=1, batch_size=2
    ... )
    >>> found = read_imprint(view, one_hot=False).estimate
    >>> bool((torch.cdist(x[:2], found).min(dim=1).values < 1e-3).all())
    True

    Raises TypeError for a view of an honest server; ValueError if the message is not finite, or the network of another
    form. Source: Fowl et al. 2022, arXiv:2110.13057.
    """
    since = process_time()
    check_kind("read_imprint", BroadcastView, view=view)
    check_kind("read_imprint", bool, one_hot=one_hot)
    own = one_message("read_imprint", view, message)  # [dim]
    dense_neurons("read_imprint", view.params, view.model)
    weight, bias = (layer[0] for layer in view.model.layers(own[None])[:2])  # [n, in], [n]
    if not one_hot:
        # A ReLU also answers to all bins above its own: the difference to the next neuron is its own bin.
        weight = torch.cat([weight[:-1] - weight[1:], weight[-1:]])
        bias = torch.cat([bias[:-1] - bias[1:], bias[-1:]])

    order = bias.abs().argsort(descending=True)
    order = order[bias[order].abs() > SEEN * bias.abs().max()]
    candidates = weight[order] / bias[order, None]  # [k, in]
    return Reconstruction(
        method="imprint",
        estimate=candidates.clamp(0, 1).to(view.params.dtype).view(-1, *view.model.shape),
        seconds=process_time() - since,
        assumptions=("The server chose the model that it sent.", "The client did not look at what it received."),
    )


def trap_weights(params: Tensor, *, model: Model, scale: float, generator: Generator) -> Tensor:
    """A broadcast whose first layer keeps silent about most samples: less certain than bins, and harder to see.

    params, model    as for `imprint`; the network has ReLUs
    scale            in (0, 1]: how much smaller the positive half of a row is than the negative one; 1 is fair
    generator        of the weights
    returns          [dim]; what comes back is read by `analytic`

    Every row is drawn by itself, half of it negative and a little larger, so that a sample seldom wakes a neuron, and
    two samples seldom wake the same. No two rows are alike, so `suspicion` sees nothing.

    >>> from labsec.models import mlp
    >>> model, draws = mlp((6,), 2, hidden=(8,)), torch.Generator().manual_seed(0)
    >>> sent = trap_weights(model.init(draws), model=model, scale=0.5, generator=draws)
    >>> bool((model.layers(sent[None])[0][0].sum(dim=1) < 0).all())
    True

    Raises ValueError unless 0 < scale <= 1, and if the network does not start with two fully connected layers.
    Source: Boenisch et al. 2023, arXiv:2112.02918, section 4.2.
    """
    neurons = dense_neurons("trap_weights", params, model)
    check_number("trap_weights", above=0, most=1, scale=scale)
    check_kind("trap_weights", Generator, generator=generator)
    sent = params.detach().clone()
    weight, bias = (layer[0] for layer in model.layers(sent[None])[:2])  # views into `sent`: [n, in], [n]
    inputs = weight.shape[1]
    half = inputs // 2
    sizes = torch.randn(neurons, half, generator=generator).abs() / inputs**0.5
    # The same sizes with both signs, in an order of its own for every row; the odd place, if any, stays empty.
    values = torch.cat([-sizes, scale * sizes, sizes.new_zeros(neurons, inputs - 2 * half)], dim=1)
    places = torch.rand(neurons, inputs, generator=generator).argsort(dim=1)
    weight.copy_(values.gather(1, places))
    bias.zero_()
    return sent


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What a client thinks of a model that arrived.

    score      share of the first layer's energy along one direction, in (0, 1]
    reasons    what is wrong with it, in words; empty for a model that looks honest
    """

    score: float
    reasons: tuple[str, ...]


def suspicion(params: Tensor, *, model: Model) -> Suspicion:
    """The client's own check, before it trains: are the neurons of the first layer all alike?

    params     [dim] what arrived

    An honest layer looks into many directions: each row of it is a feature of its own. Bins need every row along one.
    The check looks at the directions of the rows alone, so no scale hides them.

    >>> from labsec.models import mlp
    >>> model = mlp((64,), 10, hidden=(32,))
    >>> honest = model.init(torch.Generator().manual_seed(0))
    >>> suspicion(honest, model=model).reasons
    ()
    >>> draws = torch.Generator().manual_seed(0)
    >>> bins = imprint(honest, model=model, public=torch.rand(40, 64), one_hot=False, generator=draws)
    >>> suspicion(bins, model=model).reasons
    ('100 % of the first layer lies along one direction: its 32 neurons differ in their cuts alone',)

    It cannot see `trap_weights`. A layer of few neurons or few inputs has few directions to look into, so there is no
    verdict on one with fewer than 8 of either. Raises ValueError unless the network starts with two fully connected
    layers. Source: this course's own, after the discussion in Fowl et al. 2022, arXiv:2110.13057, section 6.
    """
    neurons = dense_neurons("suspicion", params, model)
    rows = model.layers(params[None])[0][0].detach().double()  # [n, in]
    lengths = rows.norm(dim=1, keepdim=True)
    rows = rows[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not len(rows):
        return Suspicion(score=1.0, reasons=("the first layer is empty: every sample looks the same to it",))
    score = float(torch.linalg.matrix_norm(rows, 2).square()) / len(rows)
    if score < ALIKE or min(neurons, rows.shape[1]) < 8:
        return Suspicion(score=score, reasons=())
    found = (
        f"{score:.0%}".replace("%", " %")
        + f" of the first layer lies along one direction: its {neurons} neurons differ in their cuts alone"
    )
    return Suspicion(score=score, reasons=(found,))
