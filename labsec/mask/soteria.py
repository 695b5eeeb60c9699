"""Holes in the last layer's gradient, where it tells most about the sample (after Soteria)."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number
from labsec.models import Layers, Model
from labsec.train import local_updates
from labsec.types import Update, Updates

FLOOR = 1e-12  # the least length of a slope that is divided by


def representation(model: Model, params: Updates, x: Tensor) -> Tensor:
    """What the last layer of a network reads: the features of each sample.

    params     [c, dim]
    x          [c, b, *shape]
    returns    [c, b, features]

    >>> from labsec.models import mlp
    >>> model = mlp((3,), 2, hidden=(8,))
    >>> representation(model, torch.zeros(1, model.dim), torch.rand(1, 5, 3)).shape
    torch.Size([1, 5, 8])

    Raises ValueError unless the network ends in a fully connected layer with a row for each class, and if the samples
    are tokens.
    """
    check_kind("representation", Model, model=model)
    check_kind("representation", Tensor, params=params, x=x)
    _check_head("representation", model)
    model(params, x)  # says in words what does not fit
    return _features(model, model.layers(params), x)


def _check_head(name: str, model: Model) -> None:
    """Raise unless the last layer is fully connected and the samples are numbers."""
    shapes = model.shapes
    has_head = len(shapes) >= 4 and len(shapes[-2]) == 2 and shapes[-2][0] == model.classes == shapes[-1][0]
    if not has_head or model.vocabulary is not None:
        raise ValueError(
            f"{name} needs a network for numbers that ends in a layer with a row for each class, behind at least one "
            f"other; got {model.name} with {list(shapes)}"
        )


def _features(model: Model, layers: Layers, x: Tensor) -> Tensor:
    """The features [c, b, features]: the answer of the same network with a last layer that passes them on."""
    count = layers[-2].shape[2]
    passing = torch.eye(count, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)  # [c, features, features]
    nothing = passing.new_zeros(len(x), count)
    return model.forward([*layers[:-2], passing, nothing], x)


def soteria(
    model: Model,
    params: Update | Updates,
    x: Tensor,
    y: Tensor,
    batches: Tensor,
    *,
    lr: float,
    share: float,
    chunk: int | None = None,
) -> Updates:
    """Plain SGD, and then holes in the update where the last layer reads the features that tell most about the samples.

    model, params, x, y, batches, lr, chunk    as for `train.local_updates`
    share      of the features whose column in the last layer's weight is left out, in [0, 1]
    returns    [clients, dim]; round(share * features) columns of every row are zero

    How much feature r_i tells is |r_i| / |dr_i/dx|, the mean over a client's samples at the model that was sent: where
    a small change of the picture makes a large change of the feature, it says little.

    >>> from labsec.models import mlp
    >>> model = mlp((3,), 2, hidden=(8,), activation=torch.sigmoid)
    >>> x, y = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> start = model.init(torch.Generator().manual_seed(0))
    >>> update = soteria(model, start, x, y, torch.tensor([[[0, 1]]]), lr=0.1, share=0.5)
    >>> int((model.layers(update)[-2][0] == 0).all(dim=0).sum())
    4

    Only the last layer is masked. An attacker who leaves it out (`invert.outside`) has all other layers as they were.
    Raises ValueError as `local_updates` does, unless 0 <= share <= 1, and for a network without such a last layer.
    Source: Sun et al. 2021, Soteria, arXiv:2012.06043, for one step on one sample; the mean over the samples of several
    steps is this course's own.
    """
    check_kind("soteria", Model, model=model)
    check_number("soteria", least=0, most=1, share=share)
    _check_head("soteria", model)
    updates = local_updates(model, params, x, y, batches, lr=lr, chunk=chunk)
    count = round(float(share) * model.shapes[-2][1])
    if not len(updates) or count == 0:
        return updates
    head = model.layers(updates)[-2]  # a view, [c, classes, features]
    if count == head.shape[2]:
        head.zero_()
        return updates
    told = torch.cat([_told(model, params, x, own, number) for number, own in enumerate(batches)])  # [c, features]
    columns = told.topk(count, dim=1).indices  # [c, count]
    holes = torch.ones_like(told).scatter_(1, columns, 0.0)
    head.mul_(holes[:, None])
    return updates


def _told(model: Model, params: Update | Updates, x: Tensor, batches: Tensor, client: int) -> Tensor:
    """How much each feature tells about one client's samples, [1, features].

    batches    [steps, batch] the client's own
    """
    start = params[None] if params.ndim == 1 else params[client][None]  # [1, dim]
    places = batches[batches >= 0].unique()
    with torch.enable_grad():
        own = x[places][None].detach().requires_grad_()  # [1, b, *shape]
        features = _features(model, model.layers(start.detach()), own)  # [1, b, features]
        # Samples do not meet in a forward pass, so that one pass back gives a feature's slope for each of them; the
        # passes of all features run together.
        total = features.sum(dim=(0, 1))  # [features]
        each = torch.eye(len(total), dtype=total.dtype, device=total.device)
        (slopes,) = torch.autograd.grad(total, own, each, is_grads_batched=True)  # [features, 1, b, *shape]
    lengths = slopes.flatten(3).norm(dim=3).permute(1, 2, 0)  # [1, b, features]
    return (features.detach().abs() / lengths.clamp_min(FLOOR)).mean(dim=1)
