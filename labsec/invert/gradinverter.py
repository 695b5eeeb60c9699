"""GradInverter (our reading; not the named product): one call that tries what applies, and says what it went by.

A name without a public description is read here as a ladder of published attacks: read what can be read off the
message, search for the rest, and let the message decide which result is believed. `RUNGS` is the ladder; a further
attack is one more line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import process_time

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number, kind
from labsec.invert.analytic import analytic
from labsec.invert.closed_form import closed_form
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.evidence import believed, unexplained
from labsec.invert.labels import label, label_counts
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.polish import polish
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch, one_message
from labsec.invert.simulation import simulate
from labsec.types import ServerView

FOUND = 1e-9  # a candidate that leaves a smaller share of the message unexplained is not searched for any further
RESTARTS = 8  # of a search that starts anew, at most
KINKED = (torch.relu, F.hardtanh, F.leaky_relu)  # activations without a curvature
LEAST_SECONDS = 0.05  # it is not worth while to start a rung with less


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A rung of the ladder, and what came of it.

    name           of the attack
    unexplained    share of the message that its result does not explain (`unexplained`); None if there is no result
    reason         why there is none, or why it was not tried; "" where there is a result
    seconds        of processor time
    """

    name: str
    unexplained: float | None = None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Inversion(Reconstruction):
    """The result of a ladder: that of the rung which explains most of the message, and what became of the others.

    unexplained    share of the message's squared length that the estimate does not explain; infinite without one
    baseline       the same for the guess that needs no message: the mean of the prior, or mid-grey
    rungs          every rung, in the order of the ladder
    """

    unexplained: float = math.inf
    baseline: float = math.inf
    rungs: tuple[Tried, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What a rung may use: the view, what is known or was found so far, and how long it may take.

    labels     [b] the classes that are known or were read; None where they could not be
    best       the best result so far; None if there is none
    seconds    of processor time
    """

    view: ServerView
    message: int
    labels: Tensor | None
    best: Reconstruction | None
    generator: Generator
    seconds: float
    watch: Watch | None

    def known_labels(self) -> Tensor:
        """The labels, for an attack that cannot do without."""
        if self.labels is None:
            raise ValueError("the labels are not known, and could not be read off the message")
        return self.labels


@dataclass(frozen=True)
class Rung:
    """An attack as the ladder knows it.

    climb    does it; a ValueError says, in its own words, why it does not apply
    """

    name: str
    climb: Callable[[Job], Reconstruction]


def _analytic(job: Job) -> Reconstruction:
    if job.view.model.vocabulary is not None:
        raise ValueError(f"analytic needs samples that are numbers; those of {job.view.model.name} are tokens")
    found = analytic(job.view, message=job.message)
    if not len(found):
        raise ValueError("analytic finds no neuron of the first layer that saw a sample")
    samples, labels = believed(job.view, found, message=job.message, labels=job.labels)
    said = ("Some neuron of the first layer saw one sample alone.",)
    return Reconstruction(method="analytic", estimate=samples, labels=labels, assumptions=said)


def _closed_form(job: Job) -> Reconstruction:
    return closed_form(job.view, message=job.message)


def _smooth_cosine(job: Job) -> Reconstruction:
    if not _is_smooth(job):
        raise ValueError(f"smooth_cosine needs activations that bend everywhere; those of {job.view.model.name} do not")
    return smooth_cosine(
        job.view,
        message=job.message,
        labels=job.known_labels(),
        generator=job.generator,
        restarts=RESTARTS,
        seconds=job.seconds,
        watch=job.watch,
    )


def _cosine(job: Job) -> Reconstruction:
    return cosine(
        job.view,
        message=job.message,
        labels=job.known_labels(),
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _simulate(job: Job) -> Reconstruction:
    if job.view.local_steps == 1:
        raise ValueError("simulation is for several local steps; this message is of one, which is a gradient")
    return simulate(
        job.view,
        message=job.message,
        labels=job.known_labels(),
        smooth=_is_smooth(job),
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _is_smooth(job: Job) -> bool:
    """Whether every activation of the network bends everywhere; the default activation is a ReLU."""
    constructor, arguments = job.view.model.origin
    return constructor.__name__ == "lenet" or arguments.get("activation", torch.relu) not in KINKED


def _gauss_newton(job: Job) -> Reconstruction:
    return gauss_newton(
        job.view,
        message=job.message,
        label=_only(job.labels),
        restarts=RESTARTS if math.prod(job.view.model.shape) < 300 else 1,  # small samples have more false answers
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _lbfgs(job: Job) -> Reconstruction:
    return lbfgs(
        job.view,
        message=job.message,
        label=_only(job.labels),
        restarts=RESTARTS,
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _go_on(job: Job) -> Reconstruction:
    if job.best is None or job.best.labels is None:
        raise ValueError("there is no candidate yet from which a search could go on")
    return polish(
        job.view,
        job.best.estimate,
        job.best.labels,
        message=job.message,
        seconds=job.seconds,
        watch=job.watch,
    )


RUNGS = (
    Rung("an earlier result, polished", _go_on),
    Rung("analytic first layer", _analytic),
    Rung("closed form, layer by layer", _closed_form),
    Rung("deep leakage by Gauss-Newton", _gauss_newton),
    Rung("deep leakage by L-BFGS", _lbfgs),
    Rung("cosine matching in waves", _smooth_cosine),
    Rung("cosine matching with total variation", _cosine),
    Rung("simulation of the local steps", _simulate),
    Rung("the best result, polished", _go_on),
)


def gradinverter(
    view: ServerView,
    *,
    message: int = 0,
    seconds: float = 60.0,
    generator: Generator,
    labels: Tensor | None = None,
    prior: Tensor | None = None,
    known: Reconstruction | None = None,
    watch: Watch | None = None,
) -> Inversion:
    """Try every attack that applies to a message, and return the result that explains most of it, with its evidence.

    view         `view.messages[message]` is the update of one client
    seconds      of processor time for all together; each rung may take half of what is left
    generator    of the random starts
    labels       [b] int64 classes behind the message, in any order; None reads them off the message where that goes
    prior        [n, *shape] public samples of the same kind, whose mean is the guess to beat; None takes .5 everywhere
    known        an earlier result, from which the search goes on, and which is kept unless a better one is found
    watch        (iteration, samples, unexplained share) -> True to stop; iterations are counted over all rungs
    returns      the best result. `unexplained` is its evidence, `baseline` that of a guess without the message, and
                 `rungs` names what each attack achieved, or why it does not apply. The truth is never asked for

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model, x, y = mlp((1, 4, 4), 3), torch.rand(1, 1, 4, 4), torch.tensor([2])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> found = gradinverter(view, generator=torch.Generator().manual_seed(0))
    >>> found.method, found.labels.tolist(), found.unexplained < 1e-9 < found.baseline
    ('analytic', [2], True)
    >>> found.rungs[0].reason
    'there is no candidate yet from which a search could go on'

    Raises ValueError if there is no such message, if it is zero or not finite, and for labels or a prior that do not
    fit. Source: our reading of a product without a public description; each rung names the paper that it comes from.
    """
    check_number("gradinverter", above=0, seconds=seconds)
    check_kind("gradinverter", Generator, generator=generator)
    if watch is not None:
        check_function("gradinverter", watch=watch)
    if known is not None:
        check_kind("gradinverter", Reconstruction, known=known)
    if not one_message("gradinverter", view, message).count_nonzero():
        raise ValueError(f"gradinverter needs a message that is not zero; message {message} holds nothing else")
    began = process_time()
    _check_labels(view, labels)
    guess = _guess(view, prior)
    read, how = _read_labels(view, message, labels, prior)
    looker = _Looker(view, message, read, watch)
    best = None if known is None else _judged(view, message, known)
    rungs = []
    for rung in RUNGS:
        left = seconds - (process_time() - began)
        reason = _needless(best, left, looker.has_stopped)
        if reason:
            rungs.append(Tried(name=rung.name, reason=reason))
            continue
        job = Job(
            view=view,
            message=message,
            labels=read,
            best=best,
            generator=generator,
            seconds=left / 2,
            watch=looker,
        )
        tried, found = _climbed(rung, job)
        rungs.append(tried)
        if found is not None:
            looker.see(found)
        if found is not None and (best is None or found.unexplained < best.unexplained):
            best = found
    if best is None:
        nothing = torch.empty(0, *view.model.shape, dtype=guess.dtype)
        best = Inversion(method="none", estimate=nothing, restarts=0)
    return replace(
        best,
        baseline=_baseline(view, message, guess, read),
        rungs=tuple(rungs),
        seconds=process_time() - began,
        assumptions=(*_told(view), how, *best.assumptions),
    )


def _check_labels(view: ServerView, labels: Tensor | None) -> None:
    if labels is None:
        return
    check_kind("gradinverter", Tensor, labels=labels)
    if labels.ndim != 1 or not len(labels) or labels.dtype != torch.int64:
        raise ValueError(f"gradinverter needs labels [b], int64, at least one; got {kind(labels)}")
    if int(labels.min()) < 0 or int(labels.max()) >= view.model.classes:
        raise ValueError(f"gradinverter needs labels in 0 … {view.model.classes - 1}; got {labels.tolist()}")


def _guess(view: ServerView, prior: Tensor | None) -> Tensor:
    """The sample [1, *shape] that somebody without the message would name."""
    model = view.model
    if model.vocabulary is not None:
        return torch.zeros(1, *model.shape, dtype=torch.int64)  # nothing but padding
    if prior is None:
        return torch.full((1, *model.shape), 0.5, dtype=view.params.dtype)
    check_kind("gradinverter", Tensor, prior=prior)
    if prior.shape[1:] != model.shape or not len(prior) or not prior.is_floating_point():
        raise ValueError(f"gradinverter needs a prior [n, {', '.join(map(str, model.shape))}]; got {kind(prior)}")
    if not prior.isfinite().all():
        raise ValueError("gradinverter needs a finite prior; it holds NaN or infinite numbers")
    return prior.mean(dim=0, keepdim=True).to(view.params.dtype)


def _read_labels(
    view: ServerView, message: int, labels: Tensor | None, prior: Tensor | None
) -> tuple[Tensor | None, str]:
    """The labels [b], and the sentence that says where they come from."""
    if labels is not None:
        return labels, "The labels were given."
    try:
        if view.batch_size == 1:
            return torch.tensor([label(view, message=message)]), "The label was read off the last layer's bias."
        counts = label_counts(view, message=message)  # [classes]
    except ValueError as error:
        return None, f"The labels are not known: {error}."
    return (
        torch.arange(view.model.classes).repeat_interleave(counts),
        "The counts of the labels were read off the last layer's bias, as if the model told no sample from another.",
    )


def _only(labels: Tensor | None) -> int | None:
    """The label of a single sample, None where an attack shall read it, and refuse, by itself."""
    return int(labels) if labels is not None and len(labels) == 1 else None


def _needless(best: Inversion | None, left: float, has_stopped: bool) -> str:
    """Why the rest of the ladder is left out, or ""."""
    if has_stopped:
        return "the search was stopped"
    if best is not None and best.unexplained <= FOUND:
        return f"not needed: {best.method} explains the message already"
    return "no time was left" if left < LEAST_SECONDS else ""


def _climbed(rung: Rung, job: Job) -> tuple[Tried, Inversion | None]:
    """What became of a rung, and its result if it has one."""
    began = process_time()
    try:
        found = rung.climb(job)
        is_finite = found.succeeded
        judged = _judged(job.view, job.message, found) if is_finite else None
    except ValueError as error:
        return Tried(name=rung.name, reason=str(error), seconds=process_time() - began), None
    spent = process_time() - began
    if judged is None:
        return Tried(name=rung.name, reason="it ended in numbers that are not finite", seconds=spent), None
    return Tried(name=rung.name, unexplained=judged.unexplained, seconds=spent), judged


def _judged(view: ServerView, message: int, found: Reconstruction) -> Inversion:
    """A result with its evidence."""
    samples, labels = found.estimate, found.labels
    if labels is None:
        samples, labels = believed(view, samples, message=message)
    share = unexplained(view, samples, labels, message=message)
    return Inversion(
        method=found.method,
        estimate=samples,
        labels=labels,
        losses=found.losses,
        restarts=found.restarts,
        divergences=found.divergences,
        evaluations=found.evaluations,
        seconds=found.seconds,
        assumptions=found.assumptions if not isinstance(found, Inversion) else (),
        unexplained=share,
    )


def _baseline(view: ServerView, message: int, guess: Tensor, labels: Tensor | None) -> float:
    """What the guess leaves unexplained, under the labels that are known or the likeliest one."""
    if labels is None:
        guess, labels = believed(view, guess, message=message)
    return unexplained(view, guess.expand(len(labels), *guess.shape[1:]), labels, message=message)


def _told(view: ServerView) -> tuple[str, ...]:
    """What the ladder takes for granted whatever rung is used."""
    batch = "its whole shard" if view.batch_size is None else f"{view.batch_size} sample(s)"
    return (
        f"The client took {view.local_steps} step(s) of plain SGD with lr {view.lr:g} on {batch}, as it was told.",
        "Nothing was added to its message, and nothing left out.",
        "The server knows the network, which has no batch normalisation, and the parameters that it sent.",
    )


class _Looker:
    """Shows whoever watches the samples of each rung, with one matching loss for all of them."""

    def __init__(self, view: ServerView, message: int, labels: Tensor | None, watch: Watch | None) -> None:
        self.view = view
        self.message = message
        self.labels = labels
        self.watch = watch
        self.iteration = 0
        self.has_stopped = False

    def __call__(self, _: int, samples: Tensor, loss: float) -> bool:
        """A step of a search: the rung's own loss is put aside for the one that is comparable."""
        if self.watch is None:
            return False
        labels = self.labels
        share = loss
        if labels is not None and len(labels) == len(samples):
            share = unexplained(self.view, samples, labels, message=self.message)
        return self._show(samples, share)

    def see(self, found: Inversion) -> None:
        """The result of a rung."""
        if self.watch is not None:
            self._show(found.estimate, found.unexplained)

    def _show(self, samples: Tensor, share: float) -> bool:
        assert self.watch is not None, "asked by whoever calls this"
        self.has_stopped |= bool(self.watch(self.iteration, samples, share))
        self.iteration += 1
        return self.has_stopped
