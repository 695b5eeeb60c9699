"""How well a model does: accuracy, loss, and how often it gives the label that an attacker wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.guards import check_function, check_kind, check_number, kind

if TYPE_CHECKING:
    from labsec.models import Model

SAMPLES_AT_ONCE = 2000


def evaluate(model: Model, params: Tensor, x: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy (share of samples) and mean cross-entropy (nats) of one model, params [dim], on x [n, *shape], y [n].

    Raises ValueError if a shape or a type does not fit, if there is no sample, or for a label that the model does not
    know. A model that is not finite any more has a loss that is none.
    """
    check_function("evaluate", model=model)
    check_kind("evaluate", Tensor, params=params)
    if params.shape != (model.dim,):
        raise ValueError(f"evaluate needs params [{model.dim}] for {model.name}; got {kind(params)}")
    model.check_data(x, y, params.dtype)
    right = 0
    loss = 0.0
    with torch.no_grad():
        for part, labels in zip(x.split(SAMPLES_AT_ONCE), y.split(SAMPLES_AT_ONCE), strict=True):
            logits = model(params[None], part[None])[0]  # [part, classes], a view of columns [classes, part]
            right += int((logits.contiguous().argmax(dim=1) == labels).sum())  # rows: 5 times faster than columns
            logs = logits.T.log_softmax(dim=0).T  # columns: one sweep for all samples
            loss += float(F.nll_loss(logs, labels, reduction="sum"))
    return {"accuracy": right / len(y), "loss": loss / len(y)}


def accuracy(model: Model, params: Tensor, x: Tensor, y: Tensor) -> float:
    """Share of the samples x [n, *shape] whose label y [n] is the model's first choice.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=())
    >>> accuracy(model, torch.tensor([1.0, 0, 0, 1, 0, 0]), torch.eye(2), torch.tensor([0, 0]))
    0.5
    """
    return evaluate(model, params, x, y)["accuracy"]


def accuracy_by_class(model: Model, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Share of the samples of every class that the model gets right: [classes]; NaN for a class without a sample.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 3, hidden=())
    >>> accuracy_by_class(model, torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0]), torch.eye(2), torch.tensor([0, 0]))
    tensor([0.5000,    nan,    nan])

    Raises ValueError as `evaluate` does.
    """
    check_function("accuracy_by_class", model=model)
    check_kind("accuracy_by_class", Tensor, params=params)
    model.check_data(x, y, params.dtype)
    shares = torch.full((model.classes,), torch.nan)
    for label in y.unique().tolist():
        mine = y == label
        shares[label] = accuracy(model, params, x[mine], y[mine])
    return shares


def label_share(model: Model, params: Tensor, *, x: Tensor, label: int) -> float:
    """Share of the samples x [n, *shape] to which the model gives this label, whatever they are.

    On samples of other classes with a backdoor's mark on them this is how often the backdoor opens. What the clean
    model says to the same samples is the baseline.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=())
    >>> label_share(model, torch.tensor([1.0, 0, 0, 1, 0, 0]), x=torch.eye(2), label=1)
    0.5

    Raises ValueError as `evaluate` does, and unless label is a class of the model.
    """
    check_function("label_share", model=model)
    check_kind("label_share", Tensor, params=params, x=x)
    check_number("label_share", whole=True, least=0, below=model.classes, label=label)
    wanted = torch.full((len(x),) if x.ndim else (), label, device=params.device)
    return accuracy(model, params, x.to(params.device), wanted)
