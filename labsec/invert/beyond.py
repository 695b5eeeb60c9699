"""The rungs of the ladder for what knows more: of the kind of sample, of public ones, of other messages, of a stage."""

from __future__ import annotations

from dataclasses import replace
from time import process_time

import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.invert.categories import categories
from labsec.invert.evidence import believed
from labsec.invert.fitting import search
from labsec.invert.genome import bases, genotypes
from labsec.invert.joint import picture_and_text
from labsec.invert.ladder import Head, Job, Rung
from labsec.invert.malicious import read_imprint, suspicion
from labsec.invert.observations import joint_cosine, rank_one
from labsec.invert.polish import polish
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.rungs import check_numbers, is_smooth
from labsec.invert.search import Budget, Sent, lbfgs, slopes
from labsec.invert.shared import one_message
from labsec.invert.tokens import ordered_tokens, searched_order, span_check, tokens, words_used
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerMemory

EXPLAINED = 1e-6  # a text that leaves less of its message is the right one: a wrong word leaves a hundredth
MOST_PATTERNS = 64  # of the public samples, in which the search that starts from them moves
LIKE = "The samples are like the public ones: where the message is silent, the answer is theirs."


# --- text


def _bag_of_words(job: Job) -> Reconstruction:
    return tokens(job.view, message=job.message)


def _ordered_words(job: Job) -> Reconstruction:
    return ordered_tokens(job.view, message=job.message)


def _words_in_a_span(job: Job) -> Reconstruction:
    return span_check(job.view, message=job.message)


def _words_in_a_gru(job: Job) -> Reconstruction:
    began = process_time()
    best = searched_order(job.view, message=job.message)

    # How often a word occurs does not show. If no order of the words, each taken once, explains the message, then one
    # of them may occur twice, and likely one whose row the best order leaves unexplained.
    shown = words_used(job.view, message=job.message)  # [k]
    if not best.succeeded or len(shown) == job.view.model.shape[0]:
        return best
    for word in shown[_missing(job, best.estimate)[shown].argsort(descending=True)]:
        if best.losses[-1] < EXPLAINED or process_time() - began > job.seconds:
            break
        found = searched_order(job.view, message=job.message, bag=torch.cat([shown, word[None]]))
        if found.losses[-1] < best.losses[-1]:
            best = found
    return best


def _missing(job: Job, text: Tensor) -> Tensor:
    """How much of each word's row a text [1, length] does not explain, as a share of the row: [vocabulary]."""
    view = job.view
    sample, label = believed(view, text, message=job.message, labels=job.labels)
    params = view.params.detach().double()
    would_send = local_updates(view.model, params, sample, label, torch.zeros(1, 1, 1, dtype=torch.int64), lr=view.lr)
    sent = one_message("searched_order", view, job.message)[None]  # [1, dim]
    rows = view.model.layers(sent)[0][0]  # [vocabulary, width]
    left = view.model.layers(sent - would_send)[0][0]
    return left.norm(dim=1) / rows.norm(dim=1).clamp_min(torch.finfo(rows.dtype).tiny)


def _picture_and_text(job: Job) -> Reconstruction:
    return picture_and_text(job.view, message=job.message, generator=job.generator)


# --- tables and genomes


def _records(job: Job) -> Reconstruction:
    if job.widths is None:
        raise ValueError("it is not known that the samples are records of a table, nor its columns: widths=None")
    return categories(
        job.view,
        widths=job.widths,
        message=job.message,
        labels=job.labels,
        generator=job.generator,
        seconds=job.seconds,
    )


def _as_its_kind(job: Job) -> Reconstruction:
    """The best result, with every category, letter and genotype as the nearest one that there is."""
    if job.best is None:
        raise ValueError("there is no candidate yet that could be rounded")
    best = job.best.estimate
    if job.widths is not None:
        columns = [_likeliest(column, 1) if column.shape[1] > 1 else column for column in best.split([*job.widths], 1)]
        whole = torch.cat(columns, dim=1)
    elif job.genome is bases:
        whole = _likeliest(best, 1)
    elif job.genome is genotypes:
        whole = (2 * best).round() / 2
    else:
        raise ValueError("it is not known what values a sample can have: widths=None, genome=None")
    said = ("Every category, letter or genotype is one of those that there are.",)
    return Reconstruction(
        method=f"{job.best.method}, rounded", estimate=whole, labels=job.best.labels, assumptions=said
    )


def _likeliest(shares: Tensor, dim: int) -> Tensor:
    """One-hot of the largest share along a dimension."""
    return torch.zeros_like(shares).scatter_(dim, shares.argmax(dim=dim, keepdim=True), 1)


def _sequences(job: Job) -> Reconstruction:
    return _genome(job, bases)


def _alleles(job: Job) -> Reconstruction:
    return _genome(job, genotypes)


def _genome(job: Job, head: Head) -> Reconstruction:
    if job.genome is not head:
        told = "None" if job.genome is None else job.genome.__name__
        raise ValueError(f"it is not known that the samples are {head.__name__}: genome={told}")
    return head(job.view, message=job.message, labels=job.labels, generator=job.generator, seconds=job.seconds)


# --- a malicious server


def _imprint(job: Job) -> Reconstruction:
    if not isinstance(job.view, BroadcastView):
        raise ValueError("the server followed the protocol: it sent its model, and no bins in the place of it")
    if not suspicion(job.view.params, model=job.view.model).reasons:
        raise ValueError("what the server sent has no bins: the rows of its first layer look into many directions")
    is_one_hot = job.view.model.origin[1].get("activation", torch.relu) is F.hardtanh
    return read_imprint(job.view, message=job.message, one_hot=is_one_hot)


# --- public samples


def _nearest_public(job: Job) -> Reconstruction:
    began = process_time()
    samples, labels = believed(job.view, job.known_prior(), message=job.message, labels=job.labels)
    return Reconstruction(
        method="nearest public samples",
        estimate=samples,
        labels=labels,
        seconds=process_time() - began,
        assumptions=("The samples are among the public ones, or like one of them.",),
    )


def _from_public(job: Job) -> Reconstruction:
    """First in the patterns of the public samples, where few numbers are unknown; from there in all numbers."""
    began = process_time()
    prior = job.known_prior()
    check_numbers("the search from public samples", job)
    labels = job.known_labels()
    shape = job.view.model.shape
    if len(labels) != job.view.batch_size:
        raise ValueError(f"the search from public samples is of one batch of known size; got {job.view.batch_size}")
    flat = prior.detach().double().flatten(1)  # [n, in]
    mean = flat.mean(dim=0)
    spreads, patterns = torch.linalg.svd(flat - mean, full_matrices=False)[1:]
    count = min(MOST_PATTERNS, int((spreads > 0).sum()))
    scaled = spreads[:count, None] / len(flat) ** 0.5 * patterns[:count]  # [count, in], as long as they vary

    def decode(free: Tensor) -> Tensor:
        return (mean + free @ scaled).view(len(free), *shape)

    # One start is the mean, the other the nearest public samples, as far as the patterns can say them.
    nearest = _in_order_of(labels, *believed(job.view, prior, message=job.message, labels=labels), mean.view(shape))
    starts = [
        torch.zeros(len(labels), count, dtype=torch.float64),
        (nearest.flatten(1) - mean) @ patterns[:count].T * len(flat) ** 0.5 / spreads[:count],
    ]
    name = "search from public samples"
    found, _ = search(name, job.view, job.message, labels, decode, starts, iterations=100, seconds=job.seconds / 2)
    rest = max(job.seconds - (process_time() - began), 1e-3)
    last = polish(job.view, decode(found.best.free), labels, message=job.message, seconds=rest, watch=job.watch)
    return Reconstruction(
        method=name,
        estimate=last.estimate,
        labels=labels,
        losses=(*found.best.losses, *last.losses),
        restarts=len(found.fits),
        divergences=found.divergences,
        evaluations=found.evaluations + last.evaluations,
        seconds=process_time() - began,
        assumptions=(LIKE, *last.assumptions),
    )


def _in_order_of(labels: Tensor, samples: Tensor, theirs: Tensor, mean: Tensor) -> Tensor:
    """A sample for each label [b], each used once; the mean where none is left: [b, *shape] float64."""
    chosen = mean.expand(len(labels), *mean.shape).clone()
    left = list(range(len(samples)))
    for place, label in enumerate(labels.tolist()):
        fitting = [number for number in left if int(theirs[number]) == label]
        if fitting:
            chosen[place] = samples[fitting[0]].double()
            left.remove(fitting[0])
    return chosen


# --- several messages, and a stage that stands between


def _memory(job: Job) -> ServerMemory:
    """All messages about the data, as those of one client; raises if there is but one."""
    if not job.earlier:
        raise ValueError("there is one message alone about these data: earlier=()")
    own = replace(job.view, messages=job.view.messages[job.message, None])
    views = (own, *job.earlier)
    return ServerMemory(rounds=views, clients=tuple(torch.zeros(1, dtype=torch.int64) for _ in views))


def _rank_one(job: Job) -> Reconstruction:
    memory = _memory(job)
    check_numbers("rank_one", job)
    found = rank_one(memory, client=0)
    if not len(found.estimate):
        raise ValueError("no singular value of the first layers stands out from the noise")
    return found


def _joint_cosine(job: Job) -> Reconstruction:
    memory = _memory(job)
    if not is_smooth(job):
        raise ValueError(f"joint_cosine needs activations that bend everywhere; those of {job.view.model.name} do not")
    return joint_cosine(
        memory,
        client=0,
        labels=job.known_labels(),
        generator=job.generator,
        seconds=job.seconds,
        watch=job.watch,
    )


def _behind_a_stage(job: Job) -> Reconstruction:
    """The search for samples whose update, after the stage, points where the message points."""
    began = process_time()
    if job.stage is None:
        raise ValueError("it is not known that a stage changed the update before it was sent: stage=None")
    check_numbers("the search behind a stage", job)
    labels = job.known_labels()
    if job.view.local_steps != 1:
        raise ValueError(f"the search behind a stage is of one local step; got local_steps={job.view.local_steps}")
    model = job.view.model
    params = job.view.params.detach().double()[None]
    layers = [layer.requires_grad_() for layer in model.layers(params)]
    wanted = one_message("the search behind a stage", job.view, job.message)  # [dim]
    sent = _after(job, lambda x: slopes(model, layers, x, labels))
    starts = 0.1 * torch.randn(1, len(labels), *model.shape, generator=job.generator, dtype=torch.float64)
    budget = Budget(name="the search behind a stage", iterations=800, seconds=job.seconds, watch=job.watch)
    found = lbfgs(sent, model.layers(wanted[None]), starts, tv=0.0, stop_at=1e-9, budget=budget)
    return found.as_reconstruction(
        "search behind the stage",
        labels=labels,
        dtype=job.view.params.dtype,
        since=began,
        assumptions=("What the client's stage makes of an update, in expectation, is known.", "The labels are known."),
    )


def _after(job: Job, computed: Sent) -> Sent:
    """What is sent, layer by layer, if the stage changes the update of gradients that are computed."""
    stage = job.stage
    assert stage is not None, "asked by whoever calls this"

    def sent(x: Tensor) -> list[Tensor]:
        gradients = torch.cat([part.flatten(1) for part in computed(x)], dim=1)  # [r, dim]
        update = stage(-job.view.lr * gradients)
        if not update.requires_grad:
            raise ValueError("a search needs a stage that changes little by little; nothing goes back through this one")
        return job.view.model.layers(update)

    return sent


WORDS = (
    Rung("words behind a mean of embeddings", _bag_of_words),
    Rung("words by the rows of their places", _ordered_words),
    Rung("words in the span of a batch", _words_in_a_span),
    Rung("words in a GRU, order by order", _words_in_a_gru),
    Rung("a picture with its text", _picture_and_text),
)
KINDS = (
    Rung("records of a table", _records),
    Rung("bases of a sequence", _sequences),
    Rung("genotypes", _alleles),
)
AS_ITS_KIND = Rung("the best result, rounded to its kind", _as_its_kind)
BINS = (Rung("bins of a malicious server", _imprint, is_read=True),)
MESSAGES = (
    Rung("rank one over several messages", _rank_one),
    Rung("cosine matching over several messages", _joint_cosine),
    Rung("search behind the client's stage", _behind_a_stage),
)
PUBLIC = (
    Rung("nearest public samples", _nearest_public),
    Rung("search from public samples", _from_public),
)
