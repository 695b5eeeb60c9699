"""One-hot sequences and genotypes out of a gradient: matching, and then the nearest value that there is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.fitting import search
from labsec.invert.reconstruction import Reconstruction
from labsec.types import ServerView

ENOUGH = 1e-7  # matching loss, relative, at which each letter has long been decided
SPREAD = 0.1  # of a start's free numbers around "any letter"


def bases(
    view: ServerView,
    *,
    message: int = 0,
    labels: Tensor | None = None,
    restarts: int = 4,
    iterations: int = 300,
    seconds: float = math.inf,
    generator: Generator,
) -> Reconstruction:
    """Read one-hot sequences out of a gradient: a softmax over the letters of each place, matched, then the likeliest.

    view          `view.messages[message]` must be the update of one step of plain SGD on sequences [letters, length]
    labels        [batch_size] int64; None reads the label of a single sequence from the sign of the last bias
    restarts      starts at most; it ends early when a start explains the message
    seconds       of processor time after which it stops
    returns       estimate [batch_size, letters, length], one-hot

    >>> from labsec import data, models
    >>> from labsec.train import local_updates
    >>> dna, model = data.load("dna64"), models.sequence_net((4, 64), 4)
    >>> params = model.init(Generator().manual_seed(0))
    >>> update = local_updates(model, params, dna.x, dna.y, torch.tensor([[[7]]]), lr=1.0)
    >>> view = ServerView(params=params, messages=update, model=model, lr=1.0, local_steps=1, batch_size=1)
    >>> bool((bases(view, generator=Generator().manual_seed(1)).estimate == dna.x[7]).all())
    True

    With ReLUs the gradient is not smooth in the sample and part of the letters is lost: `losses` ends far above zero.

    Raises ValueError unless samples are [letters, length], as `gradient` does, and for labels that do not fit.
    Source: matching after Zhu et al. 2019, arXiv:1906.08935; softmax in place of free pixels after TabLeak, Vero et al.
    2023, arXiv:2210.01785. The update is L-BFGS-B in float64.
    """
    check_number("bases", whole=True, above=0, restarts=restarts, iterations=iterations)
    check_kind("bases", ServerView, view=view)
    check_kind("bases", Generator, generator=generator)
    if len(view.model.shape) != 2:
        raise ValueError(f"bases needs sequences [letters, length]; {view.model.name} takes {list(view.model.shape)}")
    starts = _starts(view, restarts, generator)
    found, known = search(
        "bases",
        view,
        message,
        labels,
        lambda free: free.softmax(dim=1),
        starts,
        iterations=iterations,
        enough=ENOUGH,
        seconds=seconds,
    )
    letters = found.best.free.argmax(dim=1)  # [b, length]
    estimate = F.one_hot(letters, view.model.shape[0]).transpose(1, 2)  # [b, letters, length]
    samples = estimate.to(view.params.dtype)
    return found.as_reconstruction(
        "bases",
        samples,
        labels=known,
        assumptions=(_who_knows(labels), "Every place of a sequence holds exactly one letter."),
    )


def genotypes(
    view: ServerView,
    *,
    message: int = 0,
    labels: Tensor | None = None,
    restarts: int = 4,
    iterations: int = 300,
    seconds: float = math.inf,
    generator: Generator,
) -> Reconstruction:
    """Read genotypes out of a gradient: values between 0 and 1, matched, then the nearest of 0, 1/2 and 1.

    view          `view.messages[message]` must be the update of one step of plain SGD on genotypes, divided by 2
    labels        [batch_size] int64; None reads the label of a single person from the sign of the last bias
    seconds       of processor time after which it stops
    returns       estimate [batch_size, *shape] with values 0, 0.5 and 1: none, one and two copies of the rarer allele

    >>> from labsec import data, models
    >>> from labsec.train import local_updates
    >>> snps, model = data.load("snps"), models.mlp((128,), 2, activation=torch.sigmoid)
    >>> params = model.init(Generator().manual_seed(0))
    >>> update = local_updates(model, params, snps.x, snps.y, torch.tensor([[[7]]]), lr=1.0)
    >>> view = ServerView(params=params, messages=update, model=model, lr=1.0, local_steps=1, batch_size=1)
    >>> bool((genotypes(view, generator=Generator().manual_seed(1)).estimate == snps.x[7]).all())
    True

    Raises ValueError as `gradient` does, and for labels that do not fit.
    Source: as for `bases`; the decoder {0, 1, 2} is this course's own.
    """
    check_number("genotypes", whole=True, above=0, restarts=restarts, iterations=iterations)
    check_kind("genotypes", ServerView, view=view)
    check_kind("genotypes", Generator, generator=generator)
    starts = _starts(view, restarts, generator)
    found, known = search(
        "genotypes", view, message, labels, torch.sigmoid, starts, iterations=iterations, enough=ENOUGH, seconds=seconds
    )
    estimate = (2 * found.best.free.sigmoid()).round() / 2  # [b, *shape]
    samples = estimate.to(view.params.dtype)
    return found.as_reconstruction(
        "genotypes",
        samples,
        labels=known,
        assumptions=(_who_knows(labels), "Every value is 0, 1 or 2 copies of an allele, divided by 2."),
    )


def _starts(view: ServerView, restarts: int, generator: Generator) -> list[Tensor]:
    """Free numbers [b, *shape] near zero, which stand for "nothing is known"."""
    size = (view.batch_size or 0, *view.model.shape)
    return [SPREAD * torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(restarts)]


def _who_knows(labels: Tensor | None) -> str:
    return "The labels are known." if labels is not None else "One sample, whose label shows in the last bias."
