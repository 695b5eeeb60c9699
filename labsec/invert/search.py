"""The search for samples whose message would look like the one received: its loss, its coordinates, its two engines.

Nothing here knows where a message comes from. A `Sent` says what clients with certain samples would send: one gradient
(`cosine`), the update of several steps (`simulation`), or the gradient of a learner's own module (`own_model`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.guards import check_number
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch
from labsec.models import Model

Sent = Callable[[Tensor], Sequence[Tensor]]
"""x [r, b, *shape], r restarts of b samples each -> what each would send, layer by layer: [r, …]."""

STEEPNESS = 0.7  # amplitudes of a photograph fall with the frequency about as 1 / f; a little less leaves details free
NEGLIGIBLE = 1e-6  # a layer whose share of the message is shorter than this says nothing
COLOUR = 0.4  # how much smaller differences of colour are than differences of brightness


@dataclass(frozen=True, kw_only=True, eq=False)
class Budget:
    """When a search ends: after so many iterations or processor seconds, or when the watcher says so.

    Raises ValueError unless iterations >= 1 and seconds > 0.
    """

    name: str
    iterations: int
    seconds: float
    watch: Watch | None

    def __post_init__(self) -> None:
        check_number(self.name, whole=True, above=0, iterations=self.iterations)
        check_number(self.name, above=0, most=math.inf, seconds=self.seconds)

    def is_spent(self, iteration: int, estimate: Tensor, loss: float, since: float) -> bool:
        """Whether to stop here; shows the estimate [b, *shape] to the watcher.

        since    `process_time` when the search began
        """
        stop = self.watch is not None and bool(self.watch(iteration, estimate, loss))
        return stop or process_time() - since >= self.seconds


# --- what is minimised


def distance(sent: Sequence[Tensor], target: Sequence[Tensor], *, by_layer: bool) -> Tensor:
    """One minus the cosine between what would be sent and what was: layers [r, …] and [1, …] -> [r], 0 is a match.

    by_layer    the mean over the layers of each one's own, in which a small layer counts as much as a large one
    """
    # A layer that was hardly moved (a bias in front of batch norm) points where rounding errors point.
    lengths = torch.stack([wanted.norm() for wanted in target])
    counts = (lengths > NEGLIGIBLE * lengths.norm()).tolist()
    parts = [
        (own.flatten(1), wanted.flatten(1))
        for own, wanted, does_count in zip(sent, target, counts, strict=True)
        if does_count
    ]
    if not by_layer:
        parts = [(torch.cat([own for own, _ in parts], dim=1), torch.cat([wanted for _, wanted in parts], dim=1))]
    return torch.stack([1 - F.cosine_similarity(own, wanted, dim=1, eps=1e-30) for own, wanted in parts]).mean(dim=0)


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels: [r, b, channels, h, w] -> [r]; zero for what is no image."""
    if x.ndim != 5:
        return x.new_zeros(len(x))
    down = (x[..., 1:, :] - x[..., :-1, :]).abs().flatten(1)
    across = (x[..., 1:] - x[..., :-1]).abs().flatten(1)
    return down.mean(dim=1) + across.mean(dim=1)


# --- where it is looked for


def natural(shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Coordinates in which a photograph is a point like any other: z [..., *shape] -> samples around mid-grey.

    A photograph is made of large slow waves and small fast ones, of much brightness and little colour. A search that
    steps equally far along each of these finds the slow waves first, and leaves at zero what the message does not say.
    Without it, batches of four ended 15 dB lower after as many evaluations. What is no image [channels, h, w] is
    searched as it is.
    """
    if len(shape) != 3:
        return lambda z: z + 0.5
    channels, height, width = shape
    rows = _cosines(height)  # [h, h]
    columns = _cosines(width)  # [w, w]
    speed = torch.hypot(torch.arange(height)[:, None].double(), torch.arange(width).double())
    scale = (1 + speed) ** -STEEPNESS  # [h, w]
    mixing = torch.eye(channels, dtype=torch.float64)
    if channels == 3:
        # Brightness, and two differences of colours, which are scarcer.
        waves = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        mixing = waves / waves.norm(dim=1, keepdim=True) * torch.tensor([[1.0], [COLOUR], [COLOUR]])

    def samples(z: Tensor) -> Tensor:
        waves = rows.T @ (z * scale) @ columns  # [..., channels, h, w]
        return torch.einsum("ij,...ihw->...jhw", mixing, waves) + 0.5

    return samples


def _cosines(n: int) -> Tensor:
    """The orthonormal cosine waves (DCT-II) of n places: [n, n], a wave in each row, the slowest first."""
    places = torch.arange(n, dtype=torch.float64)
    waves = torch.cos(torch.pi / n * (places + 0.5) * places[:, None]) * math.sqrt(2 / n)
    waves[0] /= math.sqrt(2)
    return waves


# --- the two engines


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a search brings home, in the words of `Reconstruction`."""

    estimate: Tensor
    losses: tuple[float, ...]
    restarts: int
    divergences: int
    evaluations: int

    def as_reconstruction(
        self,
        method: str,
        *,
        labels: Tensor | None,
        dtype: torch.dtype,
        since: float,
        assumptions: tuple[str, ...],
    ) -> Reconstruction:
        """The result, samples in [0, 1]; since: `process_time` when the attack began."""
        return Reconstruction(
            method=method,
            estimate=self.estimate.clamp(0, 1).to(dtype),
            labels=labels,
            losses=self.losses,
            restarts=self.restarts,
            divergences=self.divergences,
            evaluations=self.evaluations,
            seconds=process_time() - since,
            assumptions=assumptions,
        )


def signed_adam(sent: Sent, target: Sequence[Tensor], start: Tensor, *, tv: float, lr: float, budget: Budget) -> Found:
    """Adam on the signs of the gradient, all restarts side by side, each kept in [0, 1].

    start    [r, b, *shape] of r restarts

    On a network of ReLUs the loss is made of flat pieces, and how long a gradient is says nothing; its sign does. The
    learning rate falls along half a cosine. Of every restart the best iterate is kept, and of these the best.
    """
    x = start.clone().requires_grad_()
    step = torch.optim.Adam([x], lr=lr)
    since = process_time()
    best = torch.full((len(x),), torch.inf, dtype=x.dtype)  # [r]
    kept = x.detach().clone()
    history: list[Tensor] = []
    for iteration in range(budget.iterations):
        loss = distance(sent(x), target, by_layer=False) + tv * total_variation(x)  # [r]
        (slope,) = torch.autograd.grad(loss.sum(), x)
        history.append(loss.detach())
        better = history[-1] < best  # a NaN is never better
        best = torch.where(better, history[-1], best)
        kept[better] = x.detach()[better]
        winner = int(best.argmin())
        if budget.is_spent(iteration, kept[winner], float(best[winner]), since):
            break

        x.grad = slope.sign()
        step.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * iteration / budget.iterations)) / 2
        step.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    losses = torch.stack(history)  # [iterations, r]
    winner = int(best.argmin())
    return Found(
        estimate=kept[winner],
        losses=tuple(losses[:, winner].tolist()),
        restarts=len(x),
        divergences=int((~(losses[-1] <= losses[0])).sum()),
        evaluations=losses.numel(),
    )


class _Stop(Exception):
    """The watcher or the clock ends a search in the middle of a line search."""


def lbfgs(sent: Sent, target: Sequence[Tensor], starts: Tensor, *, tv: float, stop_at: float, budget: Budget) -> Found:
    """L-BFGS in `natural` coordinates, float64, one restart after another until one ends below `stop_at`.

    starts    [r, b, *shape] coordinates of r restarts, float64

    A line search shared by several restarts would suit none of them, so each has one of its own. An iteration is one
    evaluation of the loss. The best iterate is kept: a line search may end on a worse one.
    """
    # `fitting.fit` is not this one: it seeks no pictures, and weighs the length of a gradient as well as its direction.
    samples = natural(tuple(starts.shape[2:]))
    since = process_time()
    ends: list[tuple[float, Tensor, tuple[float, ...]]] = []  # of each restart: its best loss and iterate, its losses
    evaluations = 0
    divergences = 0
    for start in starts:
        best, kept, losses, is_over = _descend(sent, target, start, samples, tv, budget, since)
        ends.append((best, kept, losses))
        evaluations += len(losses)
        divergences += not losses[-1] <= losses[0]
        if is_over or best <= stop_at:
            break
    _, estimate, losses = min(ends, key=lambda end: end[0])
    return Found(
        estimate=estimate,
        losses=losses,
        restarts=len(ends),
        divergences=divergences,
        evaluations=evaluations,
    )


def _descend(
    sent: Sent,
    target: Sequence[Tensor],
    start: Tensor,
    samples: Callable[[Tensor], Tensor],
    tv: float,
    budget: Budget,
    since: float,
) -> tuple[float, Tensor, tuple[float, ...], bool]:
    """One restart: its best loss, that iterate [b, *shape], the losses, and whether the budget is spent."""
    z = start[None].clone().requires_grad_()
    losses: list[float] = []
    best = math.inf
    kept = samples(start)

    def closure() -> Tensor:
        nonlocal best, kept
        x = samples(z)
        loss = (distance(sent(x), target, by_layer=True) + tv * total_variation(x))[0]
        (z.grad,) = torch.autograd.grad(loss, z)
        value = float(loss.detach())
        losses.append(value)
        if value < best:
            best = value
            kept = x.detach()[0]
        if budget.is_spent(len(losses) - 1, kept, best, since):
            raise _Stop
        return loss.detach()

    engine = torch.optim.LBFGS(
        [z],
        max_iter=budget.iterations,
        max_eval=budget.iterations,
        history_size=10,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    try:
        engine.step(closure)
    except _Stop:
        return best, kept, tuple(losses), True
    return best, kept, tuple(losses), False


# --- what every search asks of its arguments


def check_continuous(name: str, model: Model) -> None:
    """Raise unless the model's samples are numbers, which a search may change little by little."""
    if model.vocabulary is not None:
        raise ValueError(f"{name} searches numbers that change little by little; {model.name} takes tokens")


def slopes(model: Model, layers: Sequence[Tensor], x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the mean cross-entropy of x [r, b, *shape], layer by layer [r, …], open to differentiation.

    layers    the parameters of each layer, [r, …], that require a gradient
    """
    logits = model.forward(layers, x)  # [r, b, classes]
    loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(x)), reduction="sum") / len(labels)
    return torch.autograd.grad(loss, layers, create_graph=True)
