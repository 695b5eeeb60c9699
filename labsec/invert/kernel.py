"""The matching loss of gradient inversion and its slope: the price of every iterative attack is paid here.

An attack looks for the sample x whose gradient G(x) is the target T, and goes down the matching loss
1/2 |G(x) - T|^2. Its slope is J^T r, with the residual r = G(x) - T and the Jacobian J = dG/dx. As a gradient of the
network's loss L, G has a Jacobian that is a table of mixed second derivatives of L, so that J^T r is also what the
slope of L at the sample does as the PARAMETERS move along r:

    J^T r = d/de  dL/dx (x; params + e r)   at e = 0

One tangent pass through the network, in place of a second backward pass through the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.invert.shared import check_kept
from labsec.models import Model

# Of each activation, its slope and its second derivative at a point, both in terms of its value there.
_CURVES: dict[Callable[[Tensor], Tensor], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    torch.sigmoid: (
        lambda value: torch.addcmul(value, value, value, value=-1),  # v - v²
        lambda value, slope: torch.addcmul(slope, slope, value, value=-2),  # (1 - 2 v) slope
    ),
    torch.tanh: (
        lambda value: torch.addcmul(value.new_ones(()), value, value, value=-1),  # 1 - v²
        lambda value, slope: -2 * value * slope,
    ),
}


class Local(Protocol):
    """The matching problem of c candidates, seen from where they are.

    losses    [c] 1/2 |G(x) - T|^2
    slopes    [c, in] of the losses at the candidates: J^T (G(x) - T)
    """

    losses: Tensor
    slopes: Tensor

    def curved(self, along: Tensor) -> Tensor:
        """J^T J along, for a direction [c, in] of each candidate: the Gauss-Newton approximation of the Hessian."""


class Kernel(Protocol):
    """The matching problem of one message."""

    def at(self, x: Tensor) -> Local:
        """The problem seen from candidates x [c, in], float64."""


def kernel(model: Model, params: Tensor, target: Tensor, label: int, *, kept: Tensor | None = None) -> Kernel:
    """The fastest kernel that applies: by hand for sigmoid and tanh networks, otherwise automatic differentiation.

    params    [dim] the model that was sent
    target    [dim] the gradient that came back, of one sample
    label     of the sample
    kept      [dim] bool, the entries of the target that count; None for all. Elsewhere the residual is zero

    >>> from labsec.models import lenet
    >>> model = lenet((1, 8, 8), 10)
    >>> params = model.init(torch.Generator().manual_seed(0)).double()
    >>> here = kernel(model, params, torch.zeros(model.dim).double(), 3).at(torch.rand(5, 64).double())
    >>> here.losses.shape, here.slopes.shape
    (torch.Size([5]), torch.Size([5, 64]))

    Raises ValueError unless params and target are float64 [dim], kept is bool [dim], and 0 <= label < classes.
    Source: the loss is that of Zhu, Liu and Han 2019, arXiv:1906.08935; the tangent pass is Pearlmutter 1994, Fast
    exact multiplication by the Hessian, for the mixed derivatives.
    """
    check_kind("kernel", Model, model=model)
    check_kind("kernel", Tensor, params=params, target=target)
    for given in (params, target):
        if given.shape != (model.dim,) or given.dtype != torch.float64:
            raise ValueError(f"kernel needs params and target float64 [{model.dim}]; got {kind(given)}")
    check_number("kernel", whole=True, least=0, below=model.classes, label=label)
    if kept is not None:
        check_kept("kernel", kept, model.dim)
    plan = plan_of(model)
    if plan is None:
        return Automatic(model, params, target, label, kept)
    return ByHand(model, plan, params, target, label, kept)


# --- automatic differentiation: slow, and right for any model


class Automatic:
    """The matching problem by differentiating the gradient once more."""

    def __init__(self, model: Model, params: Tensor, target: Tensor, label: int, kept: Tensor | None) -> None:
        self.model = model
        self.params = params
        self.target = target
        self.label = label
        self.kept = kept

    def at(self, x: Tensor) -> AutomaticLocal:
        return AutomaticLocal(self, x)


class AutomaticLocal:
    """What automatic differentiation sees from candidates x [c, in]."""

    def __init__(self, problem: Automatic, x: Tensor) -> None:
        # A gradient with respect to the parameters, which is itself a function of x.
        self._x = x.detach().requires_grad_()  # [c, in]
        params = problem.params.expand(len(x), -1).clone().requires_grad_()  # [c, dim]
        logits = problem.model(params, self._x.view(len(x), 1, *problem.model.shape))  # [c, 1, classes]
        loss = -logits.log_softmax(dim=2)[:, :, problem.label].sum()
        (self._gradients,) = torch.autograd.grad(loss, params, create_graph=True)  # [c, dim]
        self._kept = problem.kept
        residuals = self._counted((self._gradients - problem.target).detach())
        self.losses = residuals.square().sum(dim=1) / 2
        self.slopes = self._back(residuals)

    def _counted(self, rows: Tensor) -> Tensor:
        """Rows [c, dim] with zeros where an entry does not count."""
        return rows if self._kept is None else rows * self._kept

    def _back(self, rows: Tensor) -> Tensor:
        """J^T rows, [c, dim] -> [c, in]."""
        (slopes,) = torch.autograd.grad(
            self._gradients, self._x, rows, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return slopes

    def curved(self, along: Tensor) -> Tensor:
        # J along is the slope of <J^T rows, along> with respect to rows, which is linear in them.
        rows = torch.zeros_like(self._gradients, requires_grad=True)
        (back,) = torch.autograd.grad(
            self._gradients, self._x, rows, create_graph=True, allow_unused=True, materialize_grads=True
        )
        if not back.requires_grad:
            return torch.zeros_like(along)
        (forward,) = torch.autograd.grad(back, rows, along)
        return self._back(self._counted(forward))


# --- by hand: a chain of convolutions or dense layers with a smooth activation, and a dense head


@dataclass(frozen=True)
class Step:
    """A layer below the head, as a matrix product: activation(weight @ unfold(h) + bias).

    window    (kernel, stride, padding) of a convolution; None for a dense layer
    shape     of the sample that it sees
    """

    window: tuple[int, int, int] | None
    shape: tuple[int, ...]

    def unfold(self, h: Tensor) -> Tensor:
        """What each output place sees, side by side: h [c, …] -> [c, seen, places]."""
        if self.window is None:
            return h.view(len(h), -1, 1)
        k, stride, padding = self.window
        padded = F.pad(h.view(-1, *self.shape), (padding,) * 4)  # [c, channels, height, width]
        candidates, channels, height, width = padded.shape
        rows = (height - k) // stride + 1
        columns = (width - k) // stride + 1

        # A view that steps through the kernel before it steps through the places; its copy is the matrix.
        sizes = (candidates, channels, k, k, rows, columns)
        strides = (channels * height * width, height * width, width, 1, stride * width, stride)
        return padded.as_strided(sizes, strides).reshape(candidates, channels * k * k, rows * columns)

    def fold(self, columns: Tensor) -> Tensor:
        """The other way, for slopes: [c, seen, places] -> [c, …], sums where places saw the same number."""
        if self.window is None:
            return columns.view(len(columns), -1)
        k, stride, padding = self.window
        return F.fold(columns, self.shape[1:], k, padding=padding, stride=stride)


@dataclass(frozen=True)
class Plan:
    """The network as steps below a dense head."""

    steps: tuple[Step, ...]
    activation: Callable[[Tensor], Tensor]


_WINDOWS = {"lenet": ((5, 2, 2), (5, 2, 2), (5, 1, 2)), "convnet": ((3, 2, 1), (3, 2, 1))}


def plan_of(model: Model) -> Plan | None:
    """How to compute the model by hand; None where that is not known."""
    made_by, arguments = model.origin
    constructor = made_by.__name__
    activation = arguments.get("activation", torch.sigmoid if constructor == "lenet" else torch.relu)
    if activation not in _CURVES or constructor not in ("mlp", *_WINDOWS):
        return None
    if constructor == "mlp":
        widths = [shape[1] for shape in model.shapes[:-2:2]]
        return Plan(tuple(Step(None, (width,)) for width in widths), activation)
    shape = model.shape
    steps = []
    for window, weight in zip(_WINDOWS[constructor], model.shapes[::2], strict=False):
        steps.append(Step(window, shape))
        k, stride, padding = window
        shape = (weight[0], *((side + 2 * padding - k) // stride + 1 for side in shape[1:]))
    return Plan(tuple(steps), activation)


class ByHand:
    """The matching problem of a network whose steps are known."""

    def __init__(
        self, model: Model, plan: Plan, params: Tensor, target: Tensor, label: int, kept: Tensor | None
    ) -> None:
        self.plan = plan
        self.weights, self.biases = _matrices(model, params)
        self.target_weights, self.target_biases = _matrices(model, target)
        self.minus_target_head = -self.target_weights[-1]
        self.label = label
        # 1 where an entry of the target counts, 0 elsewhere; None where all do.
        self.kept = None if kept is None else _matrices(model, kept.to(params.dtype))

    def at(self, x: Tensor) -> ByHandLocal:
        return ByHandLocal(self, x)


def _matrices(model: Model, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Weights [1, out, seen] and biases [1, out, 1] of every layer."""
    layers = model.layers(flat[None])
    return [layer.flatten(2) for layer in layers[::2]], [layer[:, :, None] for layer in layers[1::2]]


def _squares(rows: Tensor) -> Tensor:
    """Sums of squares [c] of rows [c, …]."""
    flat = rows.flatten(1)
    return torch.bmm(flat[:, None], flat[:, :, None])[:, 0, 0]


class ByHandLocal:
    """What the hand-made passes see from candidates x [c, in], all columns [c, …, places]."""

    def __init__(self, problem: ByHand, x: Tensor) -> None:
        with torch.no_grad():
            self._open(problem, x)

    def _open(self, problem: ByHand, x: Tensor) -> None:
        candidates = len(x)
        slope_of, curve_of = _CURVES[problem.plan.activation]
        self._steps = problem.plan.steps
        self._weights = [weight.expand(candidates, -1, -1) for weight in problem.weights[:-1]]
        self._head = problem.weights[-1][0]  # [classes, features], the same for all candidates and never copied
        self._seen = []  # of each step, [c, seen, places]
        self._slopes = []  # of each step's activation, [c, out, places]
        curves = []

        # Forward.
        h = x
        for step, weight, bias in zip(self._steps, self._weights, problem.biases, strict=False):
            self._seen.append(step.unfold(h))
            h = problem.plan.activation(torch.baddbmm(bias, weight, self._seen[-1]))
            self._slopes.append(slope_of(h))
            curves.append(curve_of(h, self._slopes[-1]))
        self._features = h.view(candidates, -1, 1)  # [c, features, 1]
        self._shares = (problem.biases[-1] + self._logits(self._features)).softmax(dim=1)
        self._error = self._shares.clone()  # [c, classes, 1]: the slope of the loss at the logits
        self._error[:, problem.label] -= 1

        # Backward: the slope of the loss at each step's output, and at what its activation was given.
        self._deltas = [h] * len(self._steps)
        self._bends = [h] * len(self._steps)  # curve * slope at the output: what a move before the activation adds
        above = self._to_features(self._error)
        for i in reversed(range(len(self._steps))):
            above = above.view_as(self._slopes[i])
            self._deltas[i] = self._slopes[i] * above
            self._bends[i] = curves[i] * above
            if i:
                above = self._steps[i].fold(torch.bmm(self._weights[i].transpose(1, 2), self._deltas[i]))

        # Residuals, layer by layer, and the loss. The head's weight has an outer product as its gradient.
        weights = []
        biases = []
        for delta, seen, weight, bias in zip(
            self._deltas, self._seen, problem.target_weights, problem.target_biases, strict=False
        ):
            weights.append(torch.baddbmm(weight, delta, seen.transpose(1, 2), beta=-1))
            biases.append(delta.sum(dim=2, keepdim=True) - bias)
        head = torch.addcmul(problem.minus_target_head, self._error, self._features.transpose(1, 2))
        head_bias = self._error - problem.target_biases[-1]
        self._kept = problem.kept
        if self._kept is not None:
            for part, kept in zip((*weights, head), self._kept[0], strict=True):
                part.mul_(kept)
            for part, kept in zip((*biases, head_bias), self._kept[1], strict=True):
                part.mul_(kept)
        parts = [_squares(part) for part in (*weights, *biases, head, head_bias)]
        self.losses = torch.stack(parts).sum(dim=0) / 2
        head_forward = torch.baddbmm(head_bias, head, self._features)
        head_back = torch.bmm(head.transpose(1, 2), self._error)
        self.slopes = self._back(weights, biases, head_forward, head_back)

    def _logits(self, features: Tensor) -> Tensor:
        """The head without its bias, [c, features, 1] -> [c, classes, 1]."""
        return (features[:, :, 0] @ self._head.T)[:, :, None]

    def _to_features(self, error: Tensor) -> Tensor:
        """The slope at the features, [c, classes, 1] -> [c, features, 1]."""
        return (error[:, :, 0] @ self._head)[:, :, None]

    def _moved_error(self, logits: Tensor) -> Tensor:
        """How the error moves with the logits, [c, classes, 1]."""
        weighted = self._shares * logits
        return weighted - self._shares * weighted.sum(dim=1, keepdim=True)

    def _back(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], head_forward: Tensor, head_back: Tensor
    ) -> Tensor:
        """J^T rows: how dL/dx moves as the parameters move along the rows, [c, in].

        weights, biases    the rows, for each step
        head_forward       how the rows move the logits: row @ features + row of the bias, [c, classes, 1]
        head_back          how they move the slope at the features: row^T @ error, [c, features, 1]
        """
        # Forward: what enters the first step stands still.
        moved: list[Tensor] = []  # of each step, before its activation
        for i, step in enumerate(self._steps):
            move = torch.baddbmm(biases[i], weights[i], self._seen[i])
            if i:
                move.baddbmm_(self._weights[i], step.unfold(self._slopes[i - 1] * moved[-1]))
            moved.append(move)
        features = (self._slopes[-1] * moved[-1]).view_as(self._features) if moved else None
        logits = head_forward if features is None else head_forward + self._logits(features)
        error = self._moved_error(logits)

        # Backward.
        above = head_back + self._to_features(error)
        for i in reversed(range(len(self._steps))):
            delta = torch.addcmul(self._bends[i] * moved[i], self._slopes[i], above.view_as(self._slopes[i]))
            columns = torch.bmm(self._weights[i].transpose(1, 2), delta)
            columns.baddbmm_(weights[i].transpose(1, 2), self._deltas[i])
            above = self._steps[i].fold(columns)
        return above.reshape(len(above), -1)

    @torch.no_grad()
    def curved(self, along: Tensor) -> Tensor:
        # J along: how the gradient moves with x. Forward first.
        seen = []
        moved = []
        h = along
        for step, weight, slope in zip(self._steps, self._weights, self._slopes, strict=False):
            seen.append(step.unfold(h))
            moved.append(torch.bmm(weight, seen[-1]))
            h = slope * moved[-1]
        features = h.reshape(self._features.shape)
        error = self._moved_error(self._logits(features))

        # Backward, and the move of each step's own gradient.
        weights = [h] * len(self._steps)
        biases = [h] * len(self._steps)
        above = self._to_features(error)
        for i in reversed(range(len(self._steps))):
            delta = torch.addcmul(self._bends[i] * moved[i], self._slopes[i], above.view_as(self._slopes[i]))
            weights[i] = torch.bmm(delta, self._seen[i].transpose(1, 2))
            weights[i].baddbmm_(self._deltas[i], seen[i].transpose(1, 2))
            biases[i] = delta.sum(dim=2, keepdim=True)
            if i:
                above = self._steps[i].fold(torch.bmm(self._weights[i].transpose(1, 2), delta))

        # The head's gradient is error @ features^T. Where entries are left out, its move is written out.
        if self._kept is not None:
            for part, kept in zip((*weights, *biases), (*self._kept[0][:-1], *self._kept[1][:-1]), strict=True):
                part.mul_(kept)
            head = torch.bmm(error, self._features.transpose(1, 2))
            head.baddbmm_(self._error, features.transpose(1, 2)).mul_(self._kept[0][-1])
            moved_bias = error * self._kept[1][-1]
            head_forward = torch.baddbmm(moved_bias, head, self._features)
            head_back = torch.bmm(head.transpose(1, 2), self._error)
            return self._back(weights, biases, head_forward, head_back)

        # Otherwise it has rank 2 and is not needed as a matrix.
        squares = (self._features * self._features).sum(dim=1, keepdim=True)
        overlap = (self._features * features).sum(dim=1, keepdim=True)
        head_forward = error * squares + self._error * overlap + error
        errors = (self._error * self._error).sum(dim=1, keepdim=True)
        agreement = (self._error * error).sum(dim=1, keepdim=True)
        head_back = self._features * agreement + features * errors
        return self._back(weights, biases, head_forward, head_back)
