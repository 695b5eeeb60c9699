"""Deep leakage, repaired: the label first, double precision, the best iterate kept, and a search that converges.

As published the attack lets L-BFGS in single precision search for the label and the picture together, without a line
search, and reports where that ends. Nothing of this is needed: the label stands in the message, the matching loss is a
least-squares problem with an answer of zero, and whoever holds it sees from the loss whether it was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import process_time

import numpy as np
import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number
from labsec.invert.kernel import Kernel, Local, kernel
from labsec.invert.labels import label as read_label
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch, check_kept, gradient
from labsec.invert.smooth import Smoother
from labsec.invert.threads import one_thread
from labsec.types import ServerView

FORCING = 1e-2  # the linear problem of a step is solved until its residual has fallen to this share
SHORTEST = 2**-10  # a step that must be shorter than this to help does not help
LEAST_GAIN = 0.01  # an iteration that lowers the loss by a smaller share than this has come to rest
ASSUMPTIONS = (
    "One sample and one step of plain SGD are behind the message.",
    "The label is the one class whose bias gradient is negative.",
    "Neighbouring pixels are alike, which orders the steps and leaves the minimum where it is.",
)


@one_thread()
def gauss_newton(
    view: ServerView,
    *,
    message: int = 0,
    label: int | None = None,
    kept: Tensor | None = None,
    restarts: int = 1,
    generator: Generator | None = None,
    outer: int = 20,
    inner: int = 400,
    target: float = 1e-7,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """The sample whose gradient is the message, by Gauss-Newton steps: fast, and sure of itself.

    Each step solves the linearised problem by conjugate gradients, at first roughly, and is halved until the loss
    falls. The first start is .5 everywhere; the others are uniform in [0, 1], and all of them run side by side.

    view         `view.messages[message]` must be the update of one client: one step of plain SGD on one sample
    label        of the sample; None reads it off the message
    kept         [dim] bool, the entries of the message that are believed; None for all. A client that left entries out
                 or masked them is matched on the others: see `left_in` and `outside`
    restarts     starts, the first one included
    generator    of the further starts; needed if restarts > 1
    outer        steps at most
    inner        iterations of conjugate gradients in a step at most; the first step takes 10, each further one twice
                 as many as the one before
    target       share of |gradient|² / 2 at which the matching loss is low enough to stop
    seconds      of processor time after which it stops; None for no bound
    watch        called after each step with the best candidate
    returns      one candidate, that of the least loss; `evaluations` counts products with the Jacobian, both ways, too

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x = lenet((1, 8, 8), 10), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    >>> params = model.init(torch.Generator().manual_seed(0)).double()
    >>> update = local_updates(model, params, x, torch.tensor([7]), torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> found = gauss_newton(view, target=1e-12)
    >>> int(found.labels), bool((found.estimate - x).abs().max() < 1e-3)
    (7, True)

    Raises ValueError unless it is one step on one sample of numbers (not tokens), if the label cannot be read, if the
    message is zero, for settings out of range, and if restarts > 1 lack a generator.
    Source: the matching loss is Zhu, Liu and Han 2019, arXiv:1906.08935; the label first is Zhao, Mopuri and Bilen
    2020, arXiv:2001.02610. Solver, double precision and smooth steps are this course's own.
    """
    began = process_time()
    check_number("gauss_newton", whole=True, least=1, inner=inner)
    problem = _problem(
        "gauss_newton", view, message, label, kept, outer=outer, target=target, seconds=seconds, watch=watch
    )
    x = _starts("gauss_newton", view, restarts, generator)  # [c, in]
    run = _Run(problem, restarts, began)
    smoother = Smoother(view.model.shape)

    here = problem.kernel.at(x)
    done = run.saw(x, here.losses)
    for turn in range(outer):
        if done:
            break
        before = here.losses
        steps, products = _newton_step(here, smoother, min(inner, 10 * 2**turn), run.is_late)
        run.evaluations += products * len(x)
        x, here = _shortened(problem.kernel, x, here, steps, run)

        # A step that hardly helps any of the starts is the last one.
        done = run.saw(x, here.losses) or not bool((here.losses < (1 - LEAST_GAIN) * before).any())
    return run.report("gauss_newton")


@one_thread()
def lbfgs(
    view: ServerView,
    *,
    message: int = 0,
    label: int | None = None,
    kept: Tensor | None = None,
    restarts: int = 1,
    generator: Generator | None = None,
    iterations: int = 1000,
    memory: int = 20,
    target: float = 1e-7,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """The sample whose gradient is the message, by L-BFGS with a line search, in double precision.

    The search that the published attack uses, repaired; `gauss_newton` needs fewer iterations where there are many
    pixels. One start after another, until one reaches the target.

    iterations    of one start at most
    memory        pairs of steps and slopes that stand for the curvature
    view, message, label, kept, restarts, generator, target, seconds, watch, returns    as for `gauss_newton`

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x = lenet((1, 8, 8), 10), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    >>> params = model.init(torch.Generator().manual_seed(0)).double()
    >>> update = local_updates(model, params, x, torch.tensor([7]), torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> bool((lbfgs(view, target=1e-12).estimate - x).abs().max() < 1e-2)
    True

    Raises ValueError as `gauss_newton` does.
    Source: Zhu, Liu and Han 2019, arXiv:1906.08935, with the label first, double precision, a line search (L-BFGS-B of
    scipy: Zhu, Byrd, Lu and Nocedal 1997), the best iterate kept, and steps that are smooth first.
    """
    from scipy.optimize import minimize  # takes a while to import

    began = process_time()
    check_number("lbfgs", whole=True, least=1, memory=memory)
    problem = _problem(
        "lbfgs", view, message, label, kept, outer=iterations, target=target, seconds=seconds, watch=watch
    )
    starts = _starts("lbfgs", view, restarts, generator)  # [c, in]
    run = _Run(problem, restarts, began)
    smoother = Smoother(view.model.shape)

    # Without bounds on its own precision the search goes on until a line finds nothing lower.
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": memory, "ftol": 0, "gtol": 0}
    for number, start in enumerate(starts):
        line = _Line(run, number, start, smoother)
        with suppress(_Stopped):
            minimize(line, torch.zeros_like(start).numpy(), jac=True, method="L-BFGS-B", options=options)
        if run.is_over:
            break
    return run.report("lbfgs")


class _Stopped(Exception):
    """A search inside scipy has seen enough."""


@dataclass(frozen=True)
class _Line:
    """The loss as scipy wants it, around one start and in smooth steps."""

    run: _Run
    number: int
    start: Tensor  # [in]
    smoother: Smoother

    def __call__(self, step: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its slope for a step [in], as shares of the loss that an empty gradient would have."""
        problem = self.run.problem
        x = self.start + self.smoother.half(torch.from_numpy(step)[None])  # [1, in]
        here = problem.kernel.at(x)
        if self.run.saw(x, here.losses, first=self.number):
            raise _Stopped
        slope = self.smoother.half(here.slopes)[0] / problem.scale
        return float(here.losses) / problem.scale, slope.numpy()


# --- what both share


@dataclass(frozen=True)
class _Problem:
    """What is searched for, and when it is found.

    scale     |gradient|² / 2, the loss that an empty gradient would have; of the entries that count
    target    share of it that is low enough
    """

    view: ServerView
    kernel: Kernel
    label: int
    scale: float
    target: float
    seconds: float | None
    watch: Watch | None


def _problem(
    name: str,
    view: ServerView,
    message: int,
    label: int | None,
    kept: Tensor | None,
    *,
    outer: int,
    target: float,
    seconds: float | None,
    watch: Watch | None,
) -> _Problem:
    """Check what both searches take, and read the label."""
    check_number(name, whole=True, least=1, iterations=outer)
    check_number(name, least=0, target=target)
    if seconds is not None:
        check_number(name, above=0, seconds=seconds)
    if watch is not None:
        check_function(name, watch=watch)
    wanted = gradient(name, view, message)
    if view.batch_size != 1:
        raise ValueError(f"{name} needs a message of one sample; got batch_size={view.batch_size}")
    if view.model.vocabulary is not None:
        raise ValueError(f"{name} needs samples that are numbers; those of {view.model.name} are tokens")
    if kept is not None:
        check_kept(name, kept, len(wanted))
        wanted = wanted * kept
    scale = float(wanted.square().sum() / 2)
    if scale == 0:
        where = "" if kept is None else f" at the {int(kept.sum())} entries that count"
        raise ValueError(f"{name} needs a message that is not zero; message {message} holds nothing else{where}")
    known = read_label(view, message=message) if label is None else label
    matching = kernel(view.model, view.params.detach().double(), wanted, known, kept=kept)
    return _Problem(view, matching, known, scale, target, seconds, watch)


def _starts(name: str, view: ServerView, restarts: int, generator: Generator | None) -> Tensor:
    """Where the searches start, [restarts, in]: .5 everywhere, then uniform in [0, 1]."""
    check_number(name, whole=True, least=1, restarts=restarts)
    starts = torch.full((restarts, math.prod(view.model.shape)), 0.5, dtype=torch.float64, device=view.params.device)
    if restarts > 1:
        check_kind(name, Generator, generator=generator)
        starts[1:].uniform_(generator=generator)
    return starts


class _Run:
    """What a search has seen: the losses of every start, and the best candidate of all."""

    def __init__(self, problem: _Problem, restarts: int, began: float) -> None:
        self.problem = problem
        self.began = began
        self.evaluations = 0
        self.losses: list[list[float]] = [[] for _ in range(restarts)]
        self.best: Tensor | None = None  # [in]
        self.best_loss = math.inf
        self.winner = 0
        self.is_over = False  # found, stopped by the watcher, or out of time

    def saw(self, x: Tensor, losses: Tensor, *, first: int = 0) -> bool:
        """Take note of candidates [c, in] of the starts from `first` on, losses [c]; whether the search is over."""
        self.evaluations += len(x)
        for number, (candidate, loss) in enumerate(zip(x, losses.tolist(), strict=True), start=first):
            self.losses[number].append(loss)
            if loss < self.best_loss:
                self.best = candidate
                self.best_loss = loss
                self.winner = number
        problem = self.problem
        self.is_over |= self.best_loss <= problem.target * problem.scale or self.is_late()
        if problem.watch is not None and self.best is not None:
            iteration = len(self.losses[first]) - 1
            self.is_over |= bool(problem.watch(iteration, self._picture(self.best), self.best_loss))
        return self.is_over

    def is_late(self) -> bool:
        """Whether the processor time that was granted is over."""
        return self.problem.seconds is not None and process_time() > self.began + self.problem.seconds

    def report(self, method: str) -> Reconstruction:
        """What was found. A start diverged if it ended further off than it began, or in numbers that are not finite."""
        tried = [own for own in self.losses if own]
        assert self.best is not None, "the loss of a finite start is finite"
        picture = self._picture(self.best)
        return Reconstruction(
            method=method,
            estimate=picture,
            labels=torch.tensor([self.problem.label], device=picture.device),
            losses=tuple(self.losses[self.winner]),
            restarts=len(tried),
            divergences=sum(not own[-1] <= own[0] for own in tried),
            evaluations=self.evaluations,
            seconds=process_time() - self.began,
            assumptions=ASSUMPTIONS,
        )

    def _picture(self, candidate: Tensor) -> Tensor:
        """A candidate [in] as the view's samples are, [1, *shape] in [0, 1]."""
        view = self.problem.view
        return candidate.clamp(0, 1).to(view.params.dtype).view(1, *view.model.shape)


def _newton_step(here: Local, smoother: Smoother, most: int, is_late: Callable[[], bool]) -> tuple[Tensor, int]:
    """The step [c, in] of each candidate that solves J^T J step = -slope, and the products with J^T J that it took.

    Conjugate gradients, preconditioned by the smoother; over once every candidate's residual has fallen enough.
    """
    step = torch.zeros_like(here.slopes)
    residual = -here.slopes
    direction = smoother.full(residual)
    size = (residual * direction).sum(dim=1, keepdim=True)  # [c, 1]
    small = FORCING**2 * size
    for turn in range(most):
        if bool((size <= small).all()) or is_late():
            return step, turn
        curved = here.curved(direction)
        along = (direction * curved).sum(dim=1, keepdim=True)
        length = torch.where(along > 0, size / along, 0)  # a candidate that is done, or whose slope is flat, stays
        step = torch.addcmul(step, length, direction)
        residual = torch.addcmul(residual, length, curved, value=-1)
        likely = smoother.full(residual)
        new = (residual * likely).sum(dim=1, keepdim=True)
        direction = torch.addcmul(likely, torch.where(size > 0, new / size, 0), direction)
        size = new
    return step, most


def _shortened(problem: Kernel, x: Tensor, here: Local, step: Tensor, run: _Run) -> tuple[Tensor, Local]:
    """Candidates after their steps, each halved until its loss falls; one that falls nowhere stays where it is."""
    share = x.new_ones(len(x), 1)
    while True:
        there = problem.at(x + share * step)
        worse = ~(there.losses < here.losses)  # [c]; a NaN is worse
        if not worse.any():
            return x + share * step, there
        run.evaluations += len(x)
        share[worse] = torch.where(share[worse] > SHORTEST, share[worse] / 2, 0)
        if not share.any():
            return x, here
        if bool((share[worse] == 0).all()):
            moved = x + share * step
            return moved, problem.at(moved)
