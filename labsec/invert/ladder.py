"""What a ladder of attacks is made of: the job, the rungs, what became of each, and the evidence that chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time

from torch import Generator, Tensor

from labsec.invert.evidence import believed, unexplained
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import Watch
from labsec.types import ServerView, Stage

Head = Callable[..., Reconstruction]
"""(view, *, message, labels, generator, seconds) -> Reconstruction: an attack that knows the kind of its samples."""


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
    words          [k] int64, the words that the rows of an embedding show, in rising order, whatever else is found;
                   None unless the model reads tokens
    rungs          every rung, in the order of the ladder
    """

    unexplained: float = math.inf
    baseline: float = math.inf
    words: Tensor | None = None
    rungs: tuple[Tried, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What a rung may use: the view, what was told or found so far, and how long it may take.

    labels     [b] the classes that are known or were read; None where they could not be
    prior      [n, *shape] public samples of the same kind; None without any
    widths     places of each column, where the samples are known to be records of a table
    genome     `bases` or `genotypes`, where the samples are known to be such
    earlier    further views of one message each, about the same data
    stage      what the client did to its update before it sent it, in expectation; None for nothing
    best       the best result so far; None if there is none
    seconds    of processor time
    """

    view: ServerView
    message: int
    labels: Tensor | None
    prior: Tensor | None
    widths: Sequence[int] | None
    genome: Head | None
    earlier: Sequence[ServerView]
    stage: Stage | None
    best: Inversion | None
    generator: Generator
    seconds: float
    watch: Watch | None

    def known_labels(self) -> Tensor:
        """The labels, for an attack that cannot do without."""
        if self.labels is None:
            raise ValueError("the labels are not known, and could not be read off the message")
        return self.labels

    def known_prior(self) -> Tensor:
        """The public samples, for an attack that starts from them."""
        if self.prior is None:
            raise ValueError("no public samples are at hand: prior=None")
        return self.prior


@dataclass(frozen=True)
class Rung:
    """An attack as the ladder knows it.

    climb      does it; a ValueError says, in its own words, why it does not apply
    is_read    whether each sample is read by itself, and exact wherever it is alone: then the result is kept before
               that of a search which explains more of the message by a compromise between all samples
    """

    name: str
    climb: Callable[[Job], Reconstruction]
    is_read: bool = False


def climbed(rung: Rung, job: Job) -> tuple[Tried, Inversion | None]:
    """What became of a rung, and its result if it has one."""
    began = process_time()
    try:
        found = rung.climb(job)
        judged = with_evidence(job, found) if found.succeeded else None
    except ValueError as error:
        return Tried(name=rung.name, reason=str(error), seconds=process_time() - began), None
    spent = process_time() - began
    if judged is None:
        return Tried(name=rung.name, reason=_why_nothing(found), seconds=spent), None
    return Tried(name=rung.name, unexplained=judged.unexplained, seconds=spent), judged


def _why_nothing(found: Reconstruction) -> str:
    """Why a rung that went to its end has no result."""
    if len(found.estimate):
        return "it ended in numbers that are not finite"
    failures = [said for said in found.assumptions if said.startswith("Failed: ")]
    return failures[0].removeprefix("Failed: ").rstrip(".") if failures else "it found no sample that it believes in"


def with_evidence(job: Job, found: Reconstruction) -> Inversion:
    """A result with the share of all the messages that it does not explain; their mean if there are several."""
    samples = found.estimate
    labels = found.labels
    if labels is None:
        samples, labels = believed(job.view, samples, message=job.message, labels=job.labels)
    shares = [unexplained(job.view, samples, labels, message=job.message, stage=job.stage)]
    shares += [unexplained(view, samples, labels, stage=job.stage) for view in job.earlier]
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
        unexplained=sum(shares) / len(shares),
    )
