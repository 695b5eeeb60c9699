"""A picture out of a message layer by layer, from the last to the first: linear systems, and no search.

The last layer's gradient is the outer product of two vectors that are both known then, the slope at the logits and the
features. From a layer's output, its bias and its gradient follow two sets of linear equations for its input, solved
together; the slope comes down with it. It is exact as long as each layer has more equations than unknowns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import process_time

import numpy as np
import torch
from torch import Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.kernel import Plan, Step, kernel, plan_of
from labsec.invert.labels import label as read_label
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import gradient
from labsec.invert.smooth import Smoother
from labsec.invert.threads import one_thread
from labsec.types import ServerView

# Of each activation, what it was given, and the open range of its values.
_INVERSES: dict[Callable[[Tensor], Tensor], tuple[Callable[[Tensor], Tensor], float, float]] = {
    torch.sigmoid: (torch.logit, 0.0, 1.0),
    torch.tanh: (torch.atanh, -1.0, 1.0),
}
_SLOPES: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = {
    torch.sigmoid: lambda value: value * (1 - value),
    torch.tanh: lambda value: 1 - value * value,
}
KNEE = 12.0  # half-periods of the patterns that come first in the sample; see Smoother
PRECISION = 1e-15  # relative to the numbers of a system, where LSMR stops early
NEAREST = 1e-12  # how near to the ends of an activation's range a value may lie; noise puts values beyond them
ASSUMPTIONS = (
    "One sample and one step of plain SGD are behind the message.",
    "Every layer has an activation that can be undone.",
    "Every layer's output and gradient together have more numbers than its input.",
)


@one_thread()
def closed_form(view: ServerView, *, message: int = 0, iterations: Sequence[int] = (300, 1000, 420)) -> Reconstruction:
    """The sample behind a message, recovered recursively from the last layer to the first (R-GAP).

    With W, b, dW of a layer, z what its activation was given, and delta the slope of the loss there, the input h solves
    W h = z - b and delta h^T = dW. The second set is weighted by |W| / |delta|, and LSMR solves both together.

    view          `view.messages[message]` must be the update of one client: one step of plain SGD on one sample
    iterations    of LSMR at most, for each layer below the head, the topmost first; the last number stands for all
                  that follow
    returns       one candidate. `losses` holds the matching loss of what was found, and `divergences` is 1 if it is
                  above that of an empty gradient: then an assumption does not hold

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x = lenet((1, 8, 8), 10), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    >>> params = model.init(torch.Generator().manual_seed(0)).double()
    >>> update = local_updates(model, params, x, torch.tensor([7]), torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> bool((closed_form(view).estimate - x).abs().max() < 1e-5)
    True

    Raises ValueError unless it is one step on one sample, if the label cannot be read, for a network that is no chain
    of layers with sigmoid or tanh (a ReLU cannot be undone), and unless iterations are whole numbers >= 1.
    Source: Zhu and Blaschko 2021, R-GAP, arXiv:2010.07733. There the output of the last layer follows from the loss of
    a binary label; here from the gradient of the head, for any number of classes; LSMR solves the
    systems, that of the picture in steps that are smooth first.
    """
    began = process_time()
    check_kind("closed_form", (tuple, list), iterations=iterations)
    if not iterations:
        raise ValueError(f"closed_form needs iterations for at least one layer; got {iterations}")
    for number in iterations:
        check_number("closed_form", whole=True, least=1, iterations=number)
    flat = gradient("closed_form", view, message)
    known = read_label(view, message=message)
    model = view.model
    plan = plan_of(model)
    if plan is None or plan.activation not in _INVERSES:
        raise ValueError(
            f"closed_form needs a chain of layers whose activation can be undone, sigmoid or tanh; got {model.name}, "
            f"made by {model.origin[0].__name__}"
        )

    # The head's gradient is error @ features^T, and that of its bias the error itself.
    params = view.params.detach().double()
    layers = [layer[0] for layer in model.layers(params[None])]
    gradients = [layer[0] for layer in model.layers(flat[None])]
    error = gradients[-1]  # [classes]
    h = gradients[-2].T @ error / (error @ error)  # [features]
    above = layers[-2].T @ error  # [features], the slope of the loss there

    # Down through the layers: from each output its input, which is the output of the layer below.
    for depth, number in enumerate(reversed(range(len(plan.steps)))):
        step = plan.steps[number]
        weight = layers[2 * number].flatten(1)  # [out, seen]
        bias = layers[2 * number + 1][:, None]  # [out, 1]
        value = _inside(plan, h).view(len(weight), -1)  # [out, places]
        delta = _SLOPES[plan.activation](value) * above.view_as(value)
        given = _INVERSES[plan.activation][0](value)
        system = Layer(step, weight, delta)
        likely = Smoother(step.shape, knee=KNEE) if number == 0 else None
        most = iterations[min(depth, len(iterations) - 1)]
        h = system.solve(given - bias, gradients[2 * number].flatten(1), most=most, likely=likely)
        above = step.fold((weight.T @ delta)[None])[0]

    # What was found is held against the message: the attacker's own evidence.
    found = h.flatten()[None] if plan.steps else _inside(plan, h)[None]
    loss = float(kernel(model, params, flat, known).at(found).losses)
    return Reconstruction(
        method="closed_form",
        estimate=found.clamp(0, 1).to(view.params.dtype).view(1, *model.shape),
        labels=torch.tensor([known], device=found.device),
        losses=(loss,),
        divergences=int(not loss <= float(flat.square().sum() / 2)),
        evaluations=1,
        seconds=process_time() - began,
        assumptions=ASSUMPTIONS,
    )


def _inside(plan: Plan, value: Tensor) -> Tensor:
    """Values of the activation, within its range: noise may have put them at its ends or beyond."""
    _, low, high = _INVERSES[plan.activation]
    return value.clamp(low + NEAREST, high - NEAREST)


class Layer:
    """The linear equations for the input h of one layer: what it gave, and what its gradient was.

    weight    [out, seen]
    delta     [out, places] slope of the loss at the output, before the activation
    """

    def __init__(self, step: Step, weight: Tensor, delta: Tensor) -> None:
        self.step = step
        self.weight = weight
        # Either set of equations gets the same say.
        self.share = float(weight.norm() / delta.norm().clamp_min(torch.finfo(delta.dtype).tiny))
        self.delta = self.share * delta

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """What input h would give [out, places], and its weighted gradient [out, seen]."""
        seen = self.step.unfold(h[None])[0]  # [seen, places]
        return self.weight @ seen, self.delta @ seen.T

    def backward(self, given: Tensor, slope: Tensor) -> Tensor:
        """The transpose of `forward`."""
        seen = torch.addmm(slope.T @ self.delta, self.weight.T, given)
        return self.step.fold(seen[None])[0].flatten()

    def solve(self, given: Tensor, slope: Tensor, *, most: int, likely: Smoother | None) -> Tensor:
        """The input [in] that fits best, by LSMR.

        given     [out, places] what came out, less the bias
        slope     [out, seen] the gradient of the weight
        most      iterations
        likely    which inputs are likely, for the layer that sees the sample; the search starts at .5 then
        """
        from scipy.sparse.linalg import LinearOperator, lsmr  # takes a while to import

        size = math.prod(self.step.shape)
        middle = given.new_full((size,), 0.5)

        def to_input(u: np.ndarray) -> Tensor:
            h = torch.from_numpy(u)
            return h if likely is None else likely.half(h[None])[0]

        def equations(u: np.ndarray) -> np.ndarray:
            return torch.cat([part.flatten() for part in self.forward(to_input(u))]).numpy()

        def transposed(rows: np.ndarray) -> np.ndarray:
            first, second = torch.from_numpy(rows).split([given.numel(), slope.numel()])
            h = self.backward(first.view_as(given), second.view_as(slope))
            return (h if likely is None else likely.half(h[None])[0]).numpy()

        out, places = self.forward(middle)
        right = torch.cat([(given - out).flatten(), (self.share * slope - places).flatten()])
        shape = (len(right), size)
        system = LinearOperator(shape, matvec=equations, rmatvec=transposed, dtype=np.float64)
        u = lsmr(system, right.numpy(), atol=PRECISION, btol=PRECISION, conlim=0, maxiter=most)[0]
        return middle + to_input(u)
