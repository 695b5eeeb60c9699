"""GradInverter (our reading; not the named product): one call that tries what applies, and says what it went by.

A name without a public description is read here as a ladder of published attacks: read what can be read off the
message, search for the rest, and let the message decide which result is believed. `RUNGS` is the ladder; a further
attack is one more line in `rungs` or `beyond`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number, check_sizes, kind
from labsec.invert.beyond import AS_ITS_KIND, BINS, KINDS, MESSAGES, PUBLIC, WORDS
from labsec.invert.evidence import believed, unexplained
from labsec.invert.genome import bases, genotypes
from labsec.invert.labels import label, label_counts
from labsec.invert.ladder import Head, Inversion, Job, Tried, climbed, with_evidence
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.rungs import GO_ON_FIRST, GO_ON_LAST, READING, SEARCHING
from labsec.invert.shared import Watch, one_message
from labsec.invert.tokens import words_used
from labsec.types import ServerView, Stage

FOUND = 1e-9  # a candidate that leaves a smaller share of the message unexplained is not searched for any further
LEAST_SECONDS = 0.05  # it is not worth while to start a rung with less
BALANCED = 1e-3  # slopes of the classes add up to zero; a sum that is a larger share of their length was disturbed
MOST_LEVELS = 2**8  # of a message that was rounded; a float32 update takes about as many values as it has numbers
REPEATED = 8  # and how often each of them occurs, on average

# What is read off the message first, then what searches with more knowledge, then what searches with less.
RUNGS = (
    GO_ON_FIRST,
    *BINS,
    *READING,
    *WORDS,
    *KINDS,
    *MESSAGES,
    *SEARCHING,
    *PUBLIC,
    GO_ON_LAST,
    AS_ITS_KIND,
)


def gradinverter(
    view: ServerView,
    *,
    message: int = 0,
    seconds: float = 60.0,
    generator: Generator,
    labels: Tensor | None = None,
    prior: Tensor | None = None,
    widths: Sequence[int] | None = None,
    genome: Head | None = None,
    earlier: Sequence[ServerView] = (),
    stage: Stage | None = None,
    known: Reconstruction | None = None,
    watch: Watch | None = None,
) -> Inversion:
    """Try every attack that applies to a message, and return the result that explains most of it, with its evidence.

    view         `view.messages[message]` is the update of one client
    seconds      of processor time for all together; each rung may take half of what is left
    generator    of the random starts
    labels       [b] int64 classes behind the message, in any order; None reads them off the message where that goes
    prior        [n, *shape] public samples of the same kind: their mean is the guess to beat, and searches start from
                 it and from the nearest of them. None takes .5 everywhere for a guess
    widths       places of each column, if the samples are known to be records of a table; see `categories`
    genome       `bases` or `genotypes`, if the samples are known to be such
    earlier      further views, of one message each, about the same data; see `ServerMemory.of`
    stage        what the client does to its update before it sends it, [k, dim] -> [k, dim], if it is known: in
                 expectation where it draws, and changing little by little where a search shall go through it
    known        an earlier result, from which the search goes on, and which is kept unless a better one is found
    watch        (iteration, samples, unexplained share) -> True to stop; iterations are counted over all rungs
    returns      the best result. `unexplained` is its evidence, `baseline` that of a guess without the message, and
                 `rungs` names what each attack achieved, or why it does not apply. The truth is never asked for.
                 What a malicious server sent is used if the view is a `BroadcastView`

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

    Raises ValueError if there is no such message, if it is zero or not finite, and for labels, a prior, widths, a
    genome or earlier views that do not fit.
    Source: our reading of a product without a public description; each rung names the paper that it comes from.
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
    _check_kinds(view, widths, genome)
    _check_messages(view, earlier, stage)
    guess = _guess(view, prior)
    read, how = _read_labels(view, message, labels)
    looker = _Looker(view, message, read, watch)
    job = Job(
        view=view,
        message=message,
        labels=read,
        prior=prior,
        widths=widths,
        genome=genome,
        earlier=tuple(earlier),
        stage=stage,
        best=None,
        generator=generator,
        seconds=seconds,
        watch=looker,
    )
    best = None if known is None else with_evidence(job, known)
    is_read = False
    rungs = []
    for rung in RUNGS:
        left = seconds - (process_time() - began)
        reason = _needless(best, left, looker.has_stopped)
        if reason:
            rungs.append(Tried(name=rung.name, reason=reason))
            continue
        tried, found = climbed(rung, replace(job, best=best, seconds=left / 2))
        rungs.append(tried)
        if found is not None:
            looker.see(found)
        if found is not None and _is_better(found, best, is_read):
            best = found
            is_read = rung.is_read
    if best is None:
        nothing = torch.empty(0, *view.model.shape, dtype=guess.dtype)
        best = Inversion(method="none", estimate=nothing, restarts=0)
    return replace(
        best,
        baseline=_baseline(view, message, guess, read),
        words=None if view.model.vocabulary is None else words_used(view, message=message),
        rungs=tuple(rungs),
        seconds=process_time() - began,
        assumptions=(*_told(view, message, stage), how, *best.assumptions),
    )


def _check_labels(view: ServerView, labels: Tensor | None) -> None:
    if labels is None:
        return
    check_kind("gradinverter", Tensor, labels=labels)
    if labels.ndim != 1 or not len(labels) or labels.dtype != torch.int64:
        raise ValueError(f"gradinverter needs labels [b], int64, at least one; got {kind(labels)}")
    if int(labels.min()) < 0 or int(labels.max()) >= view.model.classes:
        raise ValueError(f"gradinverter needs labels in 0 … {view.model.classes - 1}; got {labels.tolist()}")


def _check_kinds(view: ServerView, widths: Sequence[int] | None, genome: Head | None) -> None:
    if widths is not None:
        check_sizes("gradinverter", widths=widths)
    if widths is not None and view.model.shape != (sum(widths),):
        raise ValueError(
            f"gradinverter needs widths that add up to the places of a sample, {list(view.model.shape)}; "
            f"got {[*widths]}, together {sum(widths)}"
        )
    if genome is not None and genome not in (bases, genotypes):
        raise ValueError(f"gradinverter needs a genome that is bases, genotypes or None; got {genome!r}")


def _check_messages(view: ServerView, earlier: Sequence[ServerView], stage: Stage | None) -> None:
    check_kind("gradinverter", (tuple, list), earlier=earlier)
    for number, other in enumerate(earlier):
        one_message(f"earlier[{number}]", other, 0)
        if len(other.messages) != 1 or other.model is not view.model:
            raise ValueError(
                f"gradinverter needs earlier views of one message each and of {view.model.name}, the view's own; "
                f"earlier[{number}] has {len(other.messages)} of {other.model.name}"
            )
    if stage is not None:
        check_function("gradinverter", stage=stage)


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


def _read_labels(view: ServerView, message: int, labels: Tensor | None) -> tuple[Tensor | None, str]:
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


def _is_better(found: Inversion, best: Inversion | None, is_read: bool) -> bool:
    """Whether a result takes the place of the best one so far; is_read: of the rung that `best` comes from."""
    if best is None:
        return True
    return found.unexplained < (min(best.unexplained, FOUND) if is_read else best.unexplained)


def _needless(best: Inversion | None, left: float, has_stopped: bool) -> str:
    """Why the rest of the ladder is left out, or ""."""
    if has_stopped:
        return "the search was stopped"
    if best is not None and best.unexplained <= FOUND:
        return f"not needed: {best.method} explains the message already"
    return "no time was left" if left < LEAST_SECONDS else ""


def _baseline(view: ServerView, message: int, guess: Tensor, labels: Tensor | None) -> float:
    """What the guess leaves unexplained, under the labels that are known or the likeliest one."""
    if labels is None:
        guess, labels = believed(view, guess, message=message)
    return unexplained(view, guess.expand(len(labels), *guess.shape[1:]), labels, message=message)


def _told(view: ServerView, message: int, stage: Stage | None) -> tuple[str, ...]:
    """What the ladder takes for granted whatever rung is used."""
    batch = "its whole shard" if view.batch_size is None else f"{view.batch_size} sample(s)"
    added = "Nothing was added to its message, and nothing left out."
    return (
        f"The client took {view.local_steps} step(s) of plain SGD with lr {view.lr:g} on {batch}, as it was told.",
        _disturbed(view, message) or added if stage is None else "The client's stage did what was told of it.",
        "The server knows the network, which has no batch normalisation, and the parameters that it sent.",
    )


def _disturbed(view: ServerView, message: int) -> str:
    """What the message itself says of a stage that changed it, or ""."""
    own = one_message("gradinverter", view, message)  # [dim]
    moved = own[own != 0]
    values = len(moved.unique())
    if values <= MOST_LEVELS and values * REPEATED <= len(moved):
        return f"The message takes {values} values alone: it was rounded, and is matched as if it were not."
    bias = own[-view.model.classes :]
    if float(bias.sum().abs()) > BALANCED * float(bias.norm()):
        # The slope at the logits is softmax minus one-hot, which adds up to zero, and so do sums of it.
        return "The slopes of the classes do not add up to zero: noise was added, or something left out."
    return ""


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
