"""The rungs of the ladder for samples of any numbers, pictures above all: read, search, go on."""

from __future__ import annotations

import math
from time import process_time

import torch
import torch.nn.functional as F

from labsec.invert.analytic import analytic
from labsec.invert.closed_form import closed_form
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.evidence import believed
from labsec.invert.ladder import Job, Rung
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.polish import polish
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.simulation import simulate

RESTARTS = 8  # of a search that starts anew, at most
COSINE_STARTS = 3  # of the search on ReLUs, which takes much longer, at most
KINKED = (torch.relu, F.hardtanh, F.leaky_relu)  # activations without a curvature


def check_numbers(name: str, job: Job) -> None:
    """Raise unless the samples are numbers, which a search can change little by little; name: who needs it."""
    if job.view.model.vocabulary is not None:
        raise ValueError(f"{name} needs samples that are numbers; those of {job.view.model.name} are tokens")


def is_smooth(job: Job) -> bool:
    """Whether every activation of the network bends everywhere; the default activation is a ReLU."""
    constructor, arguments = job.view.model.origin
    return constructor.__name__ == "lenet" or arguments.get("activation", torch.relu) not in KINKED


def only_label(job: Job) -> int | None:
    """The label of a single sample; None where an attack shall read it, and refuse, by itself."""
    return int(job.labels) if job.labels is not None and len(job.labels) == 1 else None


def _go_on(job: Job) -> Reconstruction:
    if job.best is None or job.best.labels is None:
        raise ValueError("there is no candidate yet from which a search could go on")
    if job.stage is not None:
        raise ValueError("polish matches what the client computed; it sent what a stage made of that")
    return polish(
        job.view,
        job.best.estimate,
        job.best.labels,
        message=job.message,
        seconds=job.seconds,
        watch=job.watch,
    )


def _analytic(job: Job) -> Reconstruction:
    check_numbers("analytic", job)
    found = analytic(job.view, message=job.message)
    if not len(found):
        raise ValueError("analytic finds no neuron of the first layer that saw a sample")
    samples, labels = believed(job.view, found, message=job.message, labels=job.labels)
    said = ("Some neuron of the first layer saw one sample alone.",)
    return Reconstruction(method="analytic", estimate=samples, labels=labels, assumptions=said)


def _closed_form(job: Job) -> Reconstruction:
    return closed_form(job.view, message=job.message)


def _gauss_newton(job: Job) -> Reconstruction:
    return gauss_newton(
        job.view,
        message=job.message,
        label=only_label(job),
        restarts=RESTARTS if math.prod(job.view.model.shape) < 300 else 1,  # small samples have more false answers
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _lbfgs(job: Job) -> Reconstruction:
    return lbfgs(
        job.view,
        message=job.message,
        label=only_label(job),
        restarts=RESTARTS,
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _smooth_cosine(job: Job) -> Reconstruction:
    if not is_smooth(job):
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
    began = process_time()
    starts: list[Reconstruction] = []
    left = job.seconds
    # One start after another, so that the first one is the same however much time there is. A further one begins only
    # if it can come to its end: its steps shrink over their whole number, and half of them is no search.
    while len(starts) < COSINE_STARTS and (not starts or left > starts[0].seconds):
        found = cosine(
            job.view,
            message=job.message,
            labels=job.known_labels(),
            generator=job.generator,
            seconds=left,
            watch=job.watch,
        )
        starts.append(found)
        left = job.seconds - (process_time() - began)
    best = min(starts, key=lambda each: min(each.losses))
    return Reconstruction(
        method=best.method,
        estimate=best.estimate,
        labels=best.labels,
        losses=best.losses,
        restarts=len(starts),
        divergences=sum(each.divergences for each in starts),
        evaluations=sum(each.evaluations for each in starts),
        seconds=process_time() - began,
        assumptions=best.assumptions,
    )


def _simulate(job: Job) -> Reconstruction:
    if job.view.local_steps == 1:
        raise ValueError("simulation is for several local steps; this message is of one, which is a gradient")
    return simulate(
        job.view,
        message=job.message,
        labels=job.known_labels(),
        smooth=is_smooth(job),
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


GO_ON_FIRST = Rung("an earlier result, polished", _go_on)
GO_ON_LAST = Rung("the best result, polished", _go_on)
READING = (
    Rung("analytic first layer", _analytic),
    Rung("closed form, layer by layer", _closed_form),
)
SEARCHING = (
    Rung("deep leakage by Gauss-Newton", _gauss_newton),
    Rung("deep leakage by L-BFGS", _lbfgs),
    Rung("cosine matching in waves", _smooth_cosine),
    Rung("cosine matching with total variation", _cosine),
    Rung("simulation of the local steps", _simulate),
)
