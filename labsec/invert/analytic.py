"""Samples read out of a fully connected first layer: no optimisation, no labels."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.invert.shared import one_message
from labsec.types import ServerView

EMPTY = 1e-3  # a value this close to zero counts as empty
SAME_SAMPLE = 0.02  # root mean square distance below which two candidates show the same sample
MOST_STEPS = 20  # of the power iteration
SETTLED = 1e-14  # distance of two unit vectors from which on they are one
LEAST_BIAS = 1e-12  # a neuron whose bias moved by less saw no sample


def analytic(view: ServerView, *, message: int = 0) -> Tensor:
    """Read samples out of the first fully connected layer, without optimisation and without labels.

    A neuron's weight gradient is its bias gradient times the sample, summed over the samples that it saw. A neuron
    that saw one sample gives it away as the ratio of the two; the learning rate cancels.

    view       `view.messages[message]` must be the update of one client: one step of plain SGD, or several steps on
               one and the same sample
    returns    [k, *shape] candidates in [0, 1], without duplicates, the most plausible first; k may be 0

    With `view.batch_size == 1` and one local step, the layer's gradient is a rank-1 matrix; its leading singular
    vector is exact, and the best estimate under noise. Otherwise every neuron offers its ratio, and candidates are
    ranked by what the attacker can see: how much of the sample is empty, less how far its values lie outside [0, 1].
    A mixture of two samples fills the empty places of both, or leaves the range.

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model, x = mlp((4,), 2, hidden=(8,)), torch.tensor([[0.1, 0.9, 0.5, 0.3]])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, torch.tensor([1]), torch.tensor([[[0]]]), lr=0.1)
    >>> analytic(ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1))
    tensor([[0.1000, 0.9000, 0.5000, 0.3000]])

    Raises ValueError if the first layer is not fully connected, if there is no such message, or if it is not finite.
    Source: Geiping et al. 2020, arXiv:2003.14053, Proposition 3.1; deduplication and ranking are this course's own.
    """
    weight, bias = _first_layer(view, message)  # [neurons, in], [neurons]

    # One sample in one step makes the whole layer rank 1; otherwise each neuron offers a ratio of its own.
    if view.batch_size == 1 and view.local_steps == 1:
        candidates = _leading_direction(weight, bias)  # [k, in]
    else:
        seen = bias.abs() > LEAST_BIAS  # [neurons]
        candidates = _ranked(weight[seen] / bias[seen, None])  # [k, in]
    return candidates.clamp(0, 1).to(view.params.dtype).view(-1, *view.model.shape)


def _first_layer(view: ServerView, message: int) -> tuple[Tensor, Tensor]:
    """The update of the first layer, float64: weight [neurons, in], bias [neurons]."""
    own = one_message("analytic", view, message)  # [dim]
    inputs = torch.Size(view.model.shape).numel()
    if view.model.shapes[0][1:] != (inputs,):
        raise ValueError(
            "the analytic attack needs a fully connected first layer "
            f"[neurons, {inputs}]; {view.model.name} starts with {list(view.model.shapes[0])}"
        )

    # The layers come with a leading client axis; this is one client.
    weight, bias = view.model.layers(own[None])[:2]  # [1, neurons, in], [1, neurons]
    return weight[0], bias[0]


def _leading_direction(weight: Tensor, bias: Tensor) -> Tensor:
    """The sample x of a layer gradient d [x, 1]^T plus noise: [1, in], or [0, in] if the gradient is zero."""
    direction, last = _leading_row(weight, bias)  # the sample and 1, up to a factor

    # The factor is the last entry, where the bias stands for an input of 1. It is zero for an empty message.
    sample = (direction / last)[None]  # [1, in]
    return sample[sample.isfinite().all(dim=1)]


def _leading_row(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The leading right singular vector of [weight, bias], up to its sign: [in] for the weight, and its last entry.

    Power iteration from the neuron whose bias moved most: a matrix of rank 1 is done at once, many times faster than by
    a decomposition, which is left to those that noise has given a close second. The two parts are never put side by
    side, since a copy of the weight costs as much as a step.
    """
    start = bias.abs().argmax()
    row, last = _unit(weight[start], bias[start])
    for _ in range(MOST_STEPS):
        before = row
        before_last = last
        slopes = torch.addmv(bias * last, weight, row)  # [neurons]
        row, last = _unit(slopes @ weight, slopes @ bias)
        if torch.hypot(torch.dist(row, before), last - before_last) < SETTLED:
            return row, last
    leading = torch.linalg.svd(torch.cat([weight, bias[:, None]], dim=1), full_matrices=False).Vh[0]
    return leading[:-1], leading[-1]


def _unit(row: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """A vector in two parts [in] and [], divided by its length; zero stays zero."""
    length = torch.hypot(row.norm(), last).clamp_min(torch.finfo(row.dtype).tiny)
    return row / length, last / length


def _ranked(ratios: Tensor) -> Tensor:
    """Ratios [k, in], the most plausible sample first, each sample once."""
    ratios = ratios[ratios.isfinite().all(dim=1)]

    # A pure sample has empty places and stays in [0, 1]; a mixture fills the places or leaves the range.
    outside = (ratios - ratios.clamp(0, 1)).abs().mean(dim=1)  # [k] mean distance from the range
    empty = (ratios.abs() < EMPTY).double().mean(dim=1)  # [k] share of the values
    ratios = ratios[(outside - empty).argsort(stable=True)]

    # Several neurons may show the same sample: keep the most plausible of them. Distances come from differences, since
    # those by way of a matrix product are too coarse for rows so close together.
    apart = torch.cdist(ratios, ratios, compute_mode="donot_use_mm_for_euclid_dist") / ratios.shape[1] ** 0.5  # [k, k]
    repeats = (apart < SAME_SAMPLE).tril(diagonal=-1).any(dim=1)  # [k] a better one shows the same
    return ratios[~repeats]
