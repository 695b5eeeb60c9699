"""What speaks for a candidate without a look at the truth: how much of the message it explains."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_function, check_kind, kind
from labsec.invert.gallery import gallery
from labsec.invert.shared import one_message
from labsec.train import local_updates
from labsec.types import ServerView, Stage

MOST_COMPARED = 2**24  # numbers in the table of what candidates would send


def unexplained(
    view: ServerView, samples: Tensor, labels: Tensor, *, message: int = 0, stage: Stage | None = None
) -> float:
    """The share of a message's squared length that samples do not explain: 0 is a perfect match, 1 is no better than 0.

    The client is played again with these samples, and what it would have sent is held against what it did. The number
    means the same for every attack, so that their results can be compared. Where there are as many samples as several
    steps took together, each step takes its own, in their order; otherwise every step takes them all.

    view       `view.messages[message]` is the update of one client
    samples    [b, *shape] the candidates
    labels     [b] int64 their classes
    stage      what the client does to its update before it sends it, [1, dim] -> [1, dim], in expectation; None for
               nothing
    returns    |would send - sent|² / |sent|²; infinite where numbers are not finite

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((4,), 3), torch.rand(1, 4), torch.tensor([2])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> unexplained(view, x, y) < 1e-9, unexplained(view, 1 - x, y) > 0.1
    (True, True)

    Raises ValueError if there is no such message, if it is zero or not finite, unless samples and labels fit, and if a
    stage returns another number of numbers.
    Source: the matching loss of Zhu, Liu and Han 2019, arXiv:1906.08935, relative to the message.
    """
    sent = one_message("unexplained", view, message)  # [dim]
    check_kind("unexplained", Tensor, labels=labels)
    check_samples("unexplained", view, samples)
    length = float(sent.square().sum())
    if length == 0:
        raise ValueError(f"unexplained needs a message that is not zero; message {message} holds nothing else")
    if not samples.isfinite().all():
        return float("inf")
    places = torch.arange(len(samples), device=samples.device)
    if view.batch_size is not None and len(samples) == view.local_steps * view.batch_size:
        batches = places.view(1, view.local_steps, view.batch_size)
    else:
        batches = places.expand(1, view.local_steps, -1)
    would_send = _staged(stage, _played(view, samples, labels, batches))[0]  # [dim]
    share = float((would_send - sent).square().sum()) / length
    return share if share == share else float("inf")  # a NaN is no share of anything


def _staged(stage: Stage | None, update: Tensor) -> Tensor:
    """What is sent of an update [1, dim]."""
    if stage is None:
        return update
    check_function("unexplained", stage=stage)
    changed = stage(update)
    check_kind("unexplained", Tensor, changed=changed)
    if changed.shape != update.shape:
        raise ValueError(f"unexplained needs a stage that keeps the shape {list(update.shape)}; got {kind(changed)}")
    return changed.to(update.dtype)


def believed(
    view: ServerView, candidates: Tensor, *, message: int = 0, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Of many candidates without labels those that explain the message together, each with its likeliest class.

    Every candidate is tried with every class, and taken with one of them at most; a matched filter (`gallery`) picks as
    many pairs as samples are behind the message.

    candidates    [k, *shape], k >= 1, the most plausible first
    labels        [b] the classes that are known to be there; None tries all
    returns       samples [b, *shape] and labels [b]; fewer than the message has where there are fewer candidates

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((4,), 3), torch.rand(2, 4), torch.tensor([2, 0])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0, 1]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=2)
    >>> samples, labels = believed(view, torch.cat([torch.rand(3, 4), x]))
    >>> sorted(labels.tolist()), sorted(samples[:, 0].tolist()) == sorted(x[:, 0].tolist())
    ([0, 2], True)

    Raises ValueError if there is no such message or candidate, and if the message is not finite.
    """
    sent = one_message("believed", view, message)  # [dim]
    check_samples("believed", view, candidates)
    model = view.model
    classes = torch.arange(model.classes, device=candidates.device) if labels is None else labels.unique()

    # The table has a row for each pair, and the most plausible candidates come first. Where it cannot hold as many as
    # there are samples behind the message, it holds every second number of a message, or every third, …
    behind = len(candidates) if view.batch_size is None else view.batch_size * view.local_steps
    candidates = candidates[: max(behind, MOST_COMPARED // (len(classes) * model.dim), 1)]
    stride = -(-len(candidates) * len(classes) * model.dim // MOST_COMPARED)
    samples = candidates.repeat_interleave(len(classes), dim=0)  # [k * classes, *shape]
    tried = classes.repeat(len(candidates))  # [k * classes]
    alone = torch.arange(len(samples), device=candidates.device)[:, None, None]  # [k * classes, 1, 1]
    parts = alone.split(max(1, MOST_COMPARED // model.dim))
    expected = torch.cat([_played(view, samples, tried, part)[:, ::stride] for part in parts])  # [k * classes, places]
    # A candidate has one class, so it is taken once.
    own = torch.arange(len(candidates), device=candidates.device).repeat_interleave(len(classes))
    chosen = gallery(sent[None, ::stride], expected, samples=min(behind, len(candidates)), groups=own)[0]  # [b]
    return samples[chosen], tried[chosen]


def check_samples(name: str, view: ServerView, samples: Tensor) -> None:
    """Raise unless samples are [n, *shape] with n >= 1, of the kind that the view's model takes; name: who needs it."""
    model = view.model
    check_kind(name, Tensor, samples=samples)
    is_of_kind = samples.is_floating_point() if model.vocabulary is None else samples.dtype == torch.int64
    if samples.ndim < 1 or samples.shape[1:] != model.shape or not len(samples) or not is_of_kind:
        what = "floating-point" if model.vocabulary is None else "int64"
        wanted = ", ".join(map(str, model.shape))
        raise ValueError(f"{name} needs {what} samples [n, {wanted}] with n >= 1; got {kind(samples)}")


def _played(view: ServerView, samples: Tensor, labels: Tensor, batches: Tensor) -> Tensor:
    """What clients with these batches [c, steps, batch] of the samples would send, float64 [c, dim]."""
    x = samples.detach() if view.model.vocabulary is not None else samples.detach().double()
    return local_updates(view.model, view.params.detach().double(), x, labels, batches, lr=view.lr)
