"""A learner's own torch.nn.Module under attack: its gradient, the search, and why a rung does not apply."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from time import process_time

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from labsec.guards import check_kind, check_number, check_sizes, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget, Sent, lbfgs, signed_adam
from labsec.invert.shared import Watch

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
WITH_CORNERS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.MaxPool1d,
    nn.MaxPool2d,
)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)


def module_gradient(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """What one client with this module sends: the gradient of its mean cross-entropy, parameter by parameter.

    module    yours, in the mode in which a client trains it: `train()` or `eval()`; it is not changed
    x, y      [batch, *shape], [batch] the client's samples and int64 labels

    >>> module = nn.Linear(3, 2)
    >>> [tuple(part.shape) for part in module_gradient(module, torch.rand(4, 3), torch.tensor([0, 1, 1, 0]))]
    [(2, 3), (2,)]

    Raises ValueError if samples and labels do not fit, or if no parameter takes a gradient.
    """
    check_kind("module_gradient", nn.Module, module=module)
    check_kind("module_gradient", Tensor, x=x, y=y)
    if x.ndim < 2 or not x.is_floating_point() or y.shape != (len(x),) or y.dtype != torch.int64 or not len(y):
        raise ValueError(
            "module_gradient needs floating-point samples [batch, …] and int64 labels [batch]; "
            f"got {kind(x)} and {kind(y)}"
        )
    sent = _sent("module_gradient", module, y, x.dtype)
    return tuple(part[0].detach() for part in sent(x[None]))


def obstacles(module: nn.Module) -> dict[str, str]:
    """For each rung of the ladder that a module blocks or weakens, the reason: {} where nothing stands in the way.

    The names of the rungs are those of the functions: `analytic`, `smooth_cosine`, `cosine`.

    >>> obstacles(nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2)))
    {}
    >>> obstacles(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())).keys()
    dict_keys(['analytic', 'smooth_cosine', 'cosine'])

    What a module does in its own `forward`, beside its layers, cannot be seen from outside: a `torch.relu` there is
    not noticed.
    """
    check_kind("obstacles", nn.Module, module=module)
    layers = [layer for layer in module.modules() if not list(layer.children())]
    with_weights = [layer for layer in layers if list(layer.parameters(recurse=False))]
    found: dict[str, str] = {}
    first = with_weights[0] if with_weights else None
    if not isinstance(first, nn.Linear):
        found["analytic"] = f"the first layer with weights is {_name(first)}, not fully connected"
    elif first.bias is None:
        found["analytic"] = "the first layer has no bias, whose gradient is what the weights' is divided by"

    corners = [layer for layer in layers if isinstance(layer, WITH_CORNERS)]
    if corners:
        found["smooth_cosine"] = f"{_name(corners[0])} does not bend: it has corners, and no curvature to use"

    # What couples or changes samples by chance hides them from every search.
    norms = [layer for layer in layers if isinstance(layer, BATCH_NORMS) and _uses_the_batch(layer)]
    drops = [layer for layer in layers if isinstance(layer, DROPOUTS) and layer.training]
    if norms:
        reason = f"{_name(norms[0])} in train mode divides by what the batch itself has: every sample hides in the rest"
    elif drops:
        reason = f"{_name(drops[0])} in train mode drops numbers by chance, and the attacker does not know which"
    else:
        return found
    found["smooth_cosine"] = f"{found['smooth_cosine']}; {reason}" if "smooth_cosine" in found else reason
    found["cosine"] = reason
    return found


def _uses_the_batch(layer: nn.Module) -> bool:
    return layer.training or not getattr(layer, "track_running_stats", True)


def _name(layer: nn.Module | None) -> str:
    return "none" if layer is None else type(layer).__name__


def own_model(
    module: nn.Module,
    gradients: Sequence[Tensor],
    *,
    shape: tuple[int, ...],
    labels: Tensor,
    smooth: bool,
    generator: Generator,
    tv: float = 0.0,
    iterations: int = 300,
    seconds: float = math.inf,
    watch: Watch | None = None,
) -> Reconstruction:
    """Look for samples that would give this gradient in a module of your own.

    module       as the server knows it, in the mode that the attacker believes the client trained in: `eval()` means
                 batch norm by the running statistics, `train()` by those of the batch. It is not changed
    gradients    what was received, in the order of `module.parameters()`, as `module_gradient` gives it
    shape        of one sample
    labels       [batch] int64 classes of the samples
    smooth       True for L-BFGS as in `smooth_cosine`, False for signed Adam as in `cosine`
    generator, tv, iterations, seconds, watch    as for these two
    returns      estimate [batch, *shape] in [0, 1]; its assumptions name what `obstacles` says

    >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2)).double()
    >>> x, y = torch.rand(1, 4, dtype=torch.float64), torch.tensor([1])
    >>> sent = module_gradient(module, x, y)
    >>> draws = torch.Generator().manual_seed(0)
    >>> found = own_model(module, sent, shape=(4,), labels=y, smooth=True, generator=draws)
    >>> bool((found.estimate - x).abs().max() < 0.01)
    True

    Raises ValueError unless there is a finite gradient for each parameter and they are not all zero, and for a setting
    out of its range. What the module itself says against the samples is passed on as a ValueError.
    Source: as for `cosine`; the batch norm of Geiping et al. 2020, arXiv:2003.14053, is in eval mode, as Huang et al.
    2021, arXiv:2112.00059, point out.
    """
    since = process_time()
    check_kind("own_model", nn.Module, module=module)
    check_kind("own_model", Generator, generator=generator)
    check_kind("own_model", bool, smooth=smooth)
    check_sizes("own_model", shape=shape)
    if not len(shape):
        raise ValueError(f"own_model needs a shape with at least one size; got shape={[*shape]}")
    check_kind("own_model", Tensor, labels=labels)
    check_number("own_model", least=0, tv=tv)
    budget = Budget(name="own_model", iterations=iterations, seconds=seconds, watch=watch)
    if labels.ndim != 1 or labels.dtype != torch.int64 or not len(labels):
        raise ValueError(f"own_model needs int64 labels [batch], one for each sample; got {kind(labels)}")
    target = _target(module, gradients, torch.float64 if smooth else torch.float32)

    size = (1, len(labels), *shape)
    if smooth:
        starts = 0.1 * torch.randn(size, generator=generator, dtype=torch.float64)
        sent = _sent("own_model", module, labels, starts.dtype)
        found = lbfgs(sent, target, starts, tv=tv, stop_at=1e-9, budget=budget)
    else:
        start = torch.rand(size, generator=generator)
        sent = _sent("own_model", module, labels, start.dtype)
        found = signed_adam(sent, target, start, tv=tv, lr=0.1, budget=budget)
    rung = "smooth_cosine" if smooth else "cosine"
    reason = obstacles(module).get(rung)
    return found.as_reconstruction(
        "own model",
        labels=labels,
        dtype=gradients[0].dtype,
        since=since,
        assumptions=(
            "The message is the gradient of one step of plain SGD.",
            "The labels of the batch are known.",
            f"The client trained in {'train' if module.training else 'eval'} mode.",
            *([] if reason is None else [f"In the way of {rung}: {reason}."]),
        ),
    )


def _target(module: nn.Module, gradients: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The gradients, [1, …] each, checked against the module's parameters."""
    check_kind("own_model", Sequence, gradients=gradients)
    if isinstance(gradients, str) or not all(isinstance(part, Tensor) for part in gradients):
        raise TypeError(f"own_model needs gradients to be a list or a tuple of tensors; got {gradients!r}")
    expected = [tuple(parameter.shape) for parameter in module.parameters()]
    given = [tuple(part.shape) for part in gradients]
    if given != expected:
        raise ValueError(f"own_model needs a gradient for each parameter, {expected}; got {given}")
    wrong = sum(int((~part.isfinite()).sum()) for part in gradients)
    if wrong:
        raise ValueError(f"own_model needs finite gradients; got {wrong} NaN or infinite numbers")
    if not any(part.count_nonzero() for part in gradients):
        raise ValueError("own_model needs a gradient that points somewhere; all are zero")
    return [part.detach()[None].to(dtype) for part in gradients]


def _sent(name: str, module: nn.Module, labels: Tensor, dtype: torch.dtype) -> Sent:
    """What a client with this module and these labels would send; for one restart, x [1, b, *shape]."""
    # A copy, for batch norm in train mode writes its running statistics wherever it is called.
    own = copy.deepcopy(module).to(dtype)
    parameters = list(own.parameters())
    if not parameters:
        raise ValueError(f"{name} needs a module with parameters; got {type(module).__name__}")
    for parameter in parameters:
        parameter.requires_grad_()

    def sent(x: Tensor) -> list[Tensor]:
        loss = F.cross_entropy(_logits(name, own, x[0], labels), labels)
        parts = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
        return [part[None] for part in parts]

    return sent


def _logits(name: str, module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The module's answer [batch, classes] to x [batch, *shape], in which every label is a class."""
    try:
        logits = module(x)
    except (RuntimeError, IndexError, ValueError) as error:
        raise ValueError(f"{name} needs samples that the module takes; got {kind(x)}: {error}") from error
    check_kind(name, Tensor, logits=logits)
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(f"{name} needs a module that answers with logits [{len(labels)}, classes]; got {kind(logits)}")
    least, most = (int(end) for end in labels.aminmax())
    if least < 0 or most >= logits.shape[1]:
        raise ValueError(f"{name} needs labels in 0 … {logits.shape[1] - 1}; got {least} … {most}")
    return logits
