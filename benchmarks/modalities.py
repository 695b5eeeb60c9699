"""Inversion beyond pictures: texts, tables, genomes, and a picture with its text; each beside a guess and a stranger.

The guess looks at no message: the most frequent category, genotype, base or word of the training part. The stranger is
the same reconstruction held against another client's samples: what is left there is no recovery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import machine, versions
from benchmarks.report import table
from labsec import data, invert, metrics, models
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import ServerView, generator

MESSAGES = 24
LR = 1.0
LR_NOTES = 4.0  # with which the notes are learned elsewhere
WIDTHS = [column.width for column in data.credit_columns()]

Attack = Callable[[ServerView, Tensor, int], invert.Reconstruction]  # (view, labels [b], seed)
Score = Callable[[Tensor, Tensor], float]  # (found, truth) -> a number


@dataclass(frozen=True)
class Row:
    """A line of the table.

    title     what was attacked
    data      the samples, drawn from the test part
    model     what learned from them
    batch     samples behind a message
    attack    reads them out
    scores    what is counted, by name; a line for each
    guess     [1, *shape] what somebody would say who has seen no message
    """

    title: str
    data: data.Dataset
    model: Model
    batch: int
    attack: Attack
    scores: dict[str, Score]
    guess: Tensor


def measured(row: Row, messages: int = MESSAGES) -> list[list[str]]:
    """A line for each score: that of the attack, of the guess, against a stranger, and median processor time."""
    lr = LR_NOTES if row.data.name == "notes" else LR
    x = row.data.x_test
    y = row.data.y_test
    seen: dict[str, list[list[float]]] = {name: [] for name in row.scores}
    seconds = []
    for seed in range(messages):
        drawn = torch.randperm(len(y), generator=generator(seed, "samples"))[: 2 * row.batch]
        own, other = drawn.split(row.batch)
        params = row.model.init(generator(seed, "start"))
        sent = local_updates(row.model, params, x, y, own[None, None], lr=lr)
        view = ServerView(params=params, messages=sent, model=row.model, lr=lr, local_steps=1, batch_size=row.batch)
        found = row.attack(view, y[own], seed)
        seconds.append(found.seconds)
        guess = row.guess.expand(row.batch, *x.shape[1:])
        for name, score in row.scores.items():
            pairs = ((found.estimate, x[own]), (guess, x[own]), (found.estimate, x[other]))
            seen[name].append([score(said, truth) for said, truth in pairs])
    time = f"{1e3 * median(seconds):.1f}"
    return [
        [f"{row.title}: {name}", *(f"{mean(column):.2f}" for column in zip(*each, strict=True)), time]
        for name, each in seen.items()
    ]


def mean(scores: list[float]) -> float:
    """The mean of the scores that are numbers: nobody may carry a rare allele."""
    kept = [score for score in scores if score == score]
    return sum(kept) / max(1, len(kept))


def exact(found: Tensor, truth: Tensor) -> float:
    """Share of texts found word by word."""
    return float(metrics.exact_order(found, truth).float().mean())


def recall(found: Tensor, truth: Tensor) -> float:
    """Share of the words found."""
    return float(metrics.token_recall(found, truth).mean())


def letters(found: Tensor, truth: Tensor) -> float:
    """Share of the bases found."""
    return float(metrics.base_accuracy(found, truth).mean())


def copies(found: Tensor, truth: Tensor) -> float:
    """Share of the genotypes found."""
    return float(metrics.genotype_accuracy(found, truth).mean())


def text_rows() -> list[Row]:
    """Words and their order."""
    notes = data.load("notes")
    sizes = (notes.shape[0], notes.vocabulary or 0, notes.classes)
    common = notes.x.mode(dim=0).values[None]  # [1, length], the most frequent word of each place
    fixed = models.transformer(*sizes, learned_positions=False)

    # Texts whose bag is known as soon as their words are: none twice.
    words = (notes.x_test != 0).sum(dim=1)  # [n]
    different = torch.tensor([len(text.unique()) - 1 for text in notes.x_test])
    kept = (words == different) & (words >= 8) & (words <= 12)
    short = replace(notes, x_test=notes.x_test[kept], y_test=notes.y_test[kept])

    bag = models.embedding(*sizes)
    learned = models.transformer(*sizes)
    return [
        Row("mean of embeddings, bag", notes, bag, 1, lambda v, _, s: invert.tokens(v), {"words": recall}, common),
        Row(
            "mean of embeddings, order", notes, bag, 1, lambda v, _, s: invert.tokens(v), {"texts exact": exact}, common
        ),
        Row(
            "learned positions",
            notes,
            learned,
            1,
            lambda v, _, s: invert.ordered_tokens(v),
            {"texts exact": exact},
            common,
        ),
        Row(
            "fixed positions, batch 1",
            notes,
            fixed,
            1,
            lambda v, _, s: invert.span_check(v),
            {"texts exact": exact},
            common,
        ),
        *[
            Row(
                f"fixed positions, batch {batch}",
                notes,
                fixed,
                batch,
                lambda v, _, s: invert.span_check(v),
                {"precision": lambda found, truth: metrics.placed_tokens(found, truth)[0]},
                common,
            )
            for batch in (2, 4, 8)
        ],
        Row("GRU, 8 to 12 different words", short, models.gru(*sizes), 1, by_search, {"texts exact": exact}, common),
    ]


def by_search(view: ServerView, labels: Tensor, seed: int) -> invert.Reconstruction:
    """The order in a GRU from the words that show, each of them once."""
    return invert.searched_order(view)


def table_rows() -> list[Row]:
    """Categories of the credit table; labels known."""
    credit = data.load("credit")
    guess = torch.cat(
        [
            group.median(dim=0, keepdim=True).values
            if group.shape[1] == 1
            else F.one_hot(group.mean(dim=0).argmax(), group.shape[1])[None].float()
            for group in credit.x.split(WIDTHS, dim=1)
        ],
        dim=1,
    )
    score = partial(metrics.category_accuracy, widths=WIDTHS)

    def attack(view: ServerView, labels: Tensor, seed: int) -> invert.Reconstruction:
        return invert.categories(view, widths=WIDTHS, labels=labels, generator=generator(seed, "search"))

    model = models.mlp(credit.shape, 2, hidden=(100, 100))
    return [
        Row(f"credit, batch {batch}", credit, model, batch, attack, {"categories": score}, guess)
        for batch in (1, 4, 8, 16)
    ]


def genome_rows() -> list[Row]:
    """Bases and genotypes; labels of a batch known."""

    def sequences(view: ServerView, labels: Tensor, seed: int) -> invert.Reconstruction:
        return invert.bases(view, generator=generator(seed, "search"))

    def genotypes(view: ServerView, labels: Tensor, seed: int) -> invert.Reconstruction:
        return invert.genotypes(view, labels=labels, generator=generator(seed, "search"))

    rows = []
    for activation in (torch.sigmoid, torch.relu):
        for name, length in (("dna64", 64), ("dna", 128), ("dna256", 256)):
            dna = data.load(name)
            common = F.one_hot(dna.x.mean(dim=0).argmax(dim=0), 4).T[None].float()
            model = models.sequence_net(dna.shape, dna.classes, activation=activation)
            title = f"DNA, {activation.__name__}, {length} bases"
            rows.append(Row(title, dna, model, 1, sequences, {"bases": letters}, common))
    snps = data.load("snps")
    frequencies = snps.x.mean(dim=0)
    rare = partial(metrics.rare_allele_recall, frequencies=frequencies)
    common = snps.x.mode(dim=0).values[None]
    for batch in (1, 2, 4):
        model = models.mlp(snps.shape, snps.classes, activation=torch.sigmoid)
        both = {"genotypes": copies, "rare alleles": rare}
        rows.append(Row(f"SNPs, batch {batch}", snps, model, batch, genotypes, both, common))
    return rows


def joint_rows() -> list[Row]:
    """A picture with a note beside it."""
    notes = data.load("notes")
    words = notes.vocabulary or 0
    rows = []
    for name in ("faces", "retina16"):
        pictures = data.load(name)
        both = joined(pictures, notes)
        model = models.joint(pictures.shape, notes.shape[0], words, notes.classes)
        guess = models.join(pictures.x.mean(dim=0)[None], notes.x.mode(dim=0).values[None], words=words)
        parts = partial(models.parts_of, shape=pictures.shape, words=words)

        def decibels(found: Tensor, truth: Tensor, parts: Callable = parts) -> float:
            return float(metrics.best_matches(parts(found)[0], parts(truth)[0])[1].mean())

        def order(found: Tensor, truth: Tensor, parts: Callable = parts) -> float:
            return exact(parts(found)[1], parts(truth)[1])

        scores = {"picture, dB": decibels, "text exact": order}
        rows.append(Row(f"{name} and a note", both, model, 1, jointly, scores, guess))
    return rows


def jointly(view: ServerView, labels: Tensor, seed: int) -> invert.Reconstruction:
    """Both parts of a sample."""
    return invert.picture_and_text(view, generator=generator(seed, "search"))


def joined(pictures: data.Dataset, notes: data.Dataset) -> data.Dataset:
    """A picture and a note each, with the note's label, as many as there are pictures."""
    words = notes.vocabulary or 0
    x, x_test = (
        models.join(seen, read[: len(seen)], words=words)
        for seen, read in ((pictures.x, notes.x), (pictures.x_test, notes.x_test))
    )
    y = notes.y[: len(x)]
    y_test = notes.y_test[: len(x_test)]
    return data.Dataset(
        name=f"{pictures.name} and notes", x=x, y=y, x_test=x_test, y_test=y_test, classes=notes.classes
    )


def main() -> str:
    """The table as Markdown."""
    rows = [*text_rows(), *table_rows(), *genome_rows(), *joint_rows()]
    header = ["", f"found (mean of {MESSAGES})", "guess without a message", "against a stranger", "CPU ms"]
    return (
        "## Inversion beyond pictures\n\n"
        f"{machine()}; {versions('torch', 'scipy')}\n\n"
        f"One step on held-out samples, fresh models and samples for each message, lr {LR:g}, for notes alone "
        f"{LR_NOTES:g}. Labels of a batch are known, that of a single sample is read from the message.\n\n"
        + table(header, [line for row in rows for line in measured(row)])
    )
