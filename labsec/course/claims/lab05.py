"""What lab 05 measures for its claims: texts, tables, genomes, places and sizes of messages, a picture with a text.

Every share stands beside a baseline: the better of a guess that reads no message, and of what was read held against
another client's samples. A share is called read if it closes half of the gap between this baseline and 100 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import fmean

import torch
from torch import Tensor

from labsec import data, invert, metrics, models
from labsec.course.claims.base import Claim, Spread
from labsec.course.exercises.lab05 import as_rows, words_by_place
from labsec.data import Dataset
from labsec.invert import Reconstruction
from labsec.models import Model
from labsec.study import beyond
from labsec.types import ServerView, generator

UNSEEN = range(20, 25)  # the attacks were tried out on seeds 0 to 14
GAP = 0.5  # of what lies between the baseline and 100 %
LR_NOTES = 4.0  # with which the notes are learned elsewhere
READ_FROM = 25.0  # dB

Score = Callable[[Tensor, Tensor], float]  # (found, truth) -> share in [0, 1]


def closes_the_gap(name: str, measured: Spread, compared: Spread) -> bool:
    """Whether the lowest seed closes half of the gap between the baseline's highest seed and 100 %."""
    baseline = compared[name]["max"]
    return measured[name]["min"] >= baseline + GAP * (100 - baseline) and measured[name]["min"] > baseline


def by_setting(what: str, measured: Spread, compared: Spread) -> str:
    """held, did not hold, or what it depends on."""
    read = [name for name in measured if closes_the_gap(name, measured, compared)]
    if len(read) == len(measured):
        return "held"
    return f"depends on {what}: so for {'; '.join(sorted(read))}" if read else "did not hold"


def _beside(score: Score, found: Tensor, own: Tensor, other: Tensor, guess: Tensor) -> tuple[float, float]:
    """A score, and the better of the guess's and the stranger's, in percent."""
    baseline = max(score(guess.expand_as(own), own), score(found, other))
    return 100 * score(found, own), 100 * baseline


def _mean(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs)


Measured = Mapping[str, tuple[float, float]]  # name -> share and baseline, in percent


def _share(table: Measured) -> Mapping[str, float]:
    return {name: pair[0] for name, pair in table.items()}


def _baseline(table: Measured) -> Mapping[str, float]:
    return {name: pair[1] for name, pair in table.items()}


# Claim 19: text.
NOTES = 8  # messages a seed


def _bag(found: Tensor, truth: Tensor) -> float:
    return float(metrics.token_recall(found, truth).mean())


def _order(found: Tensor, truth: Tensor) -> float:
    return metrics.placed_tokens(found, truth)[1]


@cache
def _texts(seed: int) -> Measured:
    notes = data.load("notes")
    sizes = (notes.shape[0], notes.vocabulary or 0, notes.classes)
    mean = models.embedding(*sizes)
    fixed = models.transformer(*sizes, learned_positions=False)
    settings: dict[str, tuple[Model, Callable[[ServerView], Reconstruction], int, Score]] = {
        "words, mean": (mean, invert.tokens, 1, _bag),
        "order, mean": (mean, invert.tokens, 1, _order),
        "order, learned positions": (models.transformer(*sizes), invert.ordered_tokens, 1, _order),
        "order, fixed positions": (fixed, invert.span_check, 1, _order),
        "order, fixed positions, 4 notes": (fixed, invert.span_check, 4, _order),
        "order, GRU": (models.gru(*sizes), invert.searched_order, 1, _order),
    }
    guess = beyond.most_frequent(notes.x_test)[None]  # [1, length]
    table = {}
    for name, (model, attack, batch, score) in settings.items():
        pairs = []
        for number in range(NOTES):
            own, other = beyond.drawn(notes, 2 * batch, seed=NOTES * seed + number).split(batch)
            found = attack(beyond.one_message(model, notes, own, seed=seed, lr=LR_NOTES)).estimate
            pairs.append(_beside(score, found, notes.x[own], notes.x[other], guess))
        table[name] = _mean(pairs)
    return table


def words_read(seed: int) -> Mapping[str, float]:
    """Share of the words of 8 messages that were read, anywhere (words) or at their place (order); one note or four"""
    return _share(_texts(seed))


def words_guessed(seed: int) -> Mapping[str, float]:
    """The most frequent word of each place, or a stranger's note, whichever fits better"""
    return _baseline(_texts(seed))


# Claim 20: tables.
ROWS = (1, 4, 8, 16)
NEAR = 0.2  # of the range of a number


def _cells_near(found: Tensor, truth: Tensor) -> float:
    matches = metrics.best_matches(found, truth)[0]
    return float(((matches - truth).abs() <= NEAR).double().mean())  # NaN, where nothing was found, is not near


@cache
def _tables(seed: int) -> Measured:
    credit = data.load("credit")
    widths = [column.width for column in data.credit_columns()]
    net = models.mlp(credit.shape, credit.classes, hidden=(256,))
    usual = beyond.usual_record(credit.x_test, widths)
    right = partial(metrics.category_accuracy, widths=widths)
    table = {}
    for batch in ROWS:
        pairs = []
        for number in range(max(ROWS) // batch):
            own, other = beyond.drawn(credit, 2 * batch, seed=max(ROWS) * seed + number).split(batch)
            view = beyond.one_message(net, credit, own, seed=seed)
            found = beyond.matched(view, credit.y[own], lambda free: as_rows(free, widths), seed=seed)
            pairs.append(_beside(right, found, credit.x[own], credit.x[other], usual))
        table[f"credit, {rows(batch)}"] = _mean(pairs)

    nuclei = data.load("breast_cancer")
    net = models.mlp(nuclei.shape, nuclei.classes, hidden=(256,))
    usual = nuclei.x_test.mean(dim=0)[None]
    for batch in (4, 16):
        pairs = []
        for number in range(max(ROWS) // batch):
            own, other = beyond.drawn(nuclei, 2 * batch, seed=max(ROWS) * seed + number).split(batch)
            found = invert.analytic(beyond.one_message(net, nuclei, own, seed=seed))
            pairs.append(_beside(_cells_near, found, nuclei.x[own], nuclei.x[other], usual))
        table[f"nuclei, {rows(batch)}"] = _mean(pairs)
    return table


def rows(count: int) -> str:
    """1 row, 4 rows."""
    return f"{count} row" if count == 1 else f"{count} rows"


def cells_read(seed: int) -> Mapping[str, float]:
    """Share of cells read: categories of a credit table; numbers of cell nuclei, to within 20 % of their range"""
    return _share(_tables(seed))


def cells_guessed(seed: int) -> Mapping[str, float]:
    """The most frequent category or the mean of each column, or a stranger's rows, whichever fits better"""
    return _baseline(_tables(seed))


# Claim 23: 76 % of genomes.
CLAIMED = 76.0
PERSONS = 8  # messages a seed


def _genotypes(found: Tensor, truth: Tensor) -> float:
    return float(metrics.genotype_accuracy(found, truth).mean())


def _bases(found: Tensor, truth: Tensor) -> float:
    return float(metrics.base_accuracy(found, truth).mean())


@cache
def _genomes(seed: int) -> Measured:
    snps = data.load("snps")
    net = models.mlp(snps.shape, snps.classes, hidden=(256,))
    usual = beyond.most_frequent(snps.x_test)[None]
    rare = partial(metrics.rare_allele_recall, frequencies=snps.x_test.mean(dim=0))
    table = {}
    for batch in (1, 4, 16):
        pairs = []
        alleles = []
        for number in range(PERSONS):
            own, other = beyond.drawn(snps, 2 * batch, seed=PERSONS * seed + number).split(batch)
            found = invert.analytic(beyond.one_message(net, snps, own, seed=seed))
            pairs.append(_beside(_genotypes, found, snps.x[own], snps.x[other], usual))
            alleles.append((100 * rare(found, snps.x[own]), 100 * rare(found, snps.x[other])))
        table[f"genotypes, {batch} persons" if batch > 1 else "genotypes, 1 person"] = _mean(pairs)
        if batch > 1:
            # Of a single person's message nobody may carry a rare allele.
            table[f"rare alleles, {batch} persons"] = _mean([pair for pair in alleles if all(map(math.isfinite, pair))])

    dna = data.load("dna64")
    usual = torch.nn.functional.one_hot(dna.x_test.mean(dim=0).argmax(dim=0), 4).T[None].float()
    for name, activation in {"sigmoid": torch.sigmoid, "ReLU": torch.relu}.items():
        reader = models.sequence_net(dna.shape, dna.classes, activation=activation)
        pairs = []
        for number in range(4):
            own, other = beyond.drawn(dna, 2, seed=4 * seed + number).split(1)
            view = beyond.one_message(reader, dna, own, seed=seed)
            found = invert.bases(view, restarts=1, generator=generator(seed, number, "bases")).estimate
            pairs.append(_beside(_bases, found, dna.x[own], dna.x[other], usual))
        table[f"bases, {name}"] = _mean(pairs)
    return table


def genomes_read(seed: int) -> Mapping[str, float]:
    """Share of genotypes, of rare alleles and of bases that were read, from one step on so many persons"""
    return _share(_genomes(seed))


def genomes_guessed(seed: int) -> Mapping[str, float]:
    """The most frequent genotype or base of each place, or a stranger's, whichever fits better"""
    return _baseline(_genomes(seed))


def reaches_76(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= CLAIMED and closes_the_gap(name, measured, compared)


def three_quarters(measured: Spread, compared: Spread) -> str:
    read = [name for name in measured if reaches_76(name, measured, compared)]
    if len(read) == len(measured):
        return "held"
    return (
        f"depends on how many share the step, and on what is counted: so for {'; '.join(sorted(read))}"
        if read
        else ("did not hold")
    )


# Claim 33: sizes and places.
READ = 200  # notes a seed


def _desk_by(seen: Tensor, known: Tensor, desks: Tensor, classes: int) -> Tensor:
    """The desk [n] that what was seen speaks for, [n, features] of 0 and 1, by public notes (naive Bayes)."""
    counts = torch.stack([known[desks == desk].sum(dim=0) for desk in range(classes)])  # [classes, features]
    people = torch.bincount(desks, minlength=classes)[:, None]
    chance = (counts + 1) / (people + 2)
    scores = seen @ chance.log().T + (1 - seen) @ (1 - chance).log().T + people[:, 0].log()
    return scores.argmax(dim=1)


def _words_of(x: Tensor, vocabulary: int) -> Tensor:
    """Which words a note holds: [n, vocabulary] of 0 and 1."""
    held = torch.zeros(len(x), vocabulary).scatter_(1, x, 1.0)
    held[:, 0] = 0
    return held


@cache
def _channels(seed: int) -> Measured:
    notes = data.load("notes")
    vocabulary = notes.vocabulary or 0
    net = models.embedding(notes.shape[0], vocabulary, notes.classes)
    width = net.shapes[0][1]
    behind = net.dim - vocabulary * width  # numbers of the other layers
    own = beyond.drawn(notes, READ, seed=seed)
    truth = _words_of(notes.x[own], vocabulary)
    public = _words_of(notes.x_test, vocabulary)

    # What a listener sees of encrypted numbers: the places of those that were sent, or how many they are.
    named = torch.zeros_like(truth)
    sizes = torch.zeros(READ, dtype=torch.int64)
    for i, note in enumerate(own):
        places = beyond.one_message(net, notes, note[None], seed=seed).messages[0].nonzero()[:, 0]
        named[i, words_by_place(places, vocabulary=vocabulary, width=width)] = 1
        sizes[i] = len(places)
    counted = (sizes - behind) // width  # [n]

    desks = notes.y[own]
    usual = notes.y_test.bincount().argmax()
    counts = truth.sum(dim=1).long()
    often = public.sum(dim=1).long().bincount().argmax()
    longest = vocabulary
    by_count = [torch.nn.functional.one_hot(each, longest).float() for each in (counted, public.sum(dim=1).long())]
    frequent = public.sum(dim=0).argsort(descending=True)
    guessed = torch.stack([torch.isin(torch.arange(vocabulary), frequent[:count]).float() for count in counts])
    everything = torch.ones_like(truth)  # all rows are sent: the places say the same of every note

    def right(answers: Tensor, wanted: Tensor) -> float:
        return 100 * float((answers == wanted).double().mean())

    def found(marked: Tensor) -> float:
        return 100 * float((marked * truth).sum() / truth.sum())

    desk_guess = right(usual.expand(READ), desks)
    return {
        "words, by the places": (found(named), found(guessed)),
        "number of words, by the size": (right(counted, counts), right(often.expand(READ), counts)),
        "desk, by the places": (right(_desk_by(named, public, notes.y_test, notes.classes), desks), desk_guess),
        "desk, by the size": (
            right(_desk_by(by_count[0], by_count[1], notes.y_test, notes.classes), desks),
            desk_guess,
        ),
        "desk, all rows sent": (
            right(_desk_by(everything, torch.ones_like(public), notes.y_test, notes.classes), desks),
            desk_guess,
        ),
    }


def told_by_counts(seed: int) -> Mapping[str, float]:
    """Share of 200 notes, or of their words, that the places or the size of encrypted messages give away"""
    return _share(_channels(seed))


def told_by_nothing(seed: int) -> Mapping[str, float]:
    """The most frequent answer"""
    return _baseline(_channels(seed))


# Claim 65: several kinds of data in one message.
PAIRS = 4  # messages a seed
BLIND = 100  # iterations; the search that knows the text is over after fewer


def _both(seed: int) -> tuple[Dataset, Model]:
    digits = data.load("digits")
    notes = data.load("notes")
    words = notes.vocabulary or 0
    pictures = digits.x[beyond.drawn(digits, 2 * PAIRS, seed=seed)]
    texts = beyond.drawn(notes, 2 * PAIRS, seed=seed)
    x = models.join(pictures, notes.x[texts], words=words)
    y = notes.y[texts]
    both = Dataset(name="digits and notes", x=x, y=y, x_test=x, y_test=y, classes=notes.classes)
    return both, models.joint(digits.shape, notes.shape[0], words, notes.classes)


@cache
def _together(seed: int) -> Measured:
    both, model = _both(seed)
    shape = model.origin[1]["shape"]
    words = model.origin[1]["words"]
    pixels = torch.Size(shape).numel()
    mean = data.load("digits").x_test.mean(dim=0)[None]
    usual = beyond.most_frequent(data.load("notes").x_test)[None]

    def is_read(found: Tensor, truth: Tensor) -> float:
        return float((metrics.psnr(found, truth) >= READ_FROM).double().mean())

    texts = []
    pictures = []
    alone = []
    for number in range(PAIRS):
        view = beyond.one_message(model, both, torch.tensor([number]), seed=seed)
        found = invert.picture_and_text(view, restarts=1, generator=generator(seed, number, "both")).estimate
        picture, text = models.parts_of(found, shape=shape, words=words)
        own_picture, own_text = models.parts_of(both.x[[number]], shape=shape, words=words)
        other_picture, other_text = models.parts_of(both.x[[PAIRS + number]], shape=shape, words=words)
        texts.append(_beside(_order, text, own_text, other_text, usual))
        pictures.append(_beside(is_read, picture, own_picture, other_picture, mean))

        # The same search by somebody who has not read the text, and takes another one for it.
        wrong = both.x[[PAIRS + number], pixels:].double()

        def decode(free: Tensor, wrong: Tensor = wrong) -> Tensor:
            return torch.cat([free[:, :pixels].sigmoid(), wrong], dim=1)

        blind = beyond.matched(view, both.y[[number]], decode, seed=seed, iterations=BLIND)
        blind_picture = models.parts_of(blind, shape=shape, words=words)[0]
        alone.append(_beside(is_read, blind_picture, own_picture, other_picture, mean))
    return {
        "text, in order": _mean(texts),
        "picture, text read first": _mean(pictures),
        "picture, text not read": _mean(alone),
    }


def parts_read(seed: int) -> Mapping[str, float]:
    """Share of words at their place, and of pictures at 25 dB or more, from 4 messages about a picture and a text"""
    return _share(_together(seed))


def parts_guessed(seed: int) -> Mapping[str, float]:
    """The most frequent word of each place, the mean picture, or a stranger's, whichever fits better"""
    return _baseline(_together(seed))


def about_text(measured: Spread, compared: Spread) -> str:
    return by_setting("what the model knows of places, and on how many notes share the step", measured, compared)


def about_tables(measured: Spread, compared: Spread) -> str:
    return by_setting("how many rows share the step, and on what counts as right", measured, compared)


def about_channels(measured: Spread, compared: Spread) -> str:
    return by_setting("what is counted", measured, compared)


def about_several(measured: Spread, compared: Spread) -> str:
    return by_setting("the order of reading, and works today", measured, compared)


RULE = (
    "Read: in every seed the share closes half of the gap between the baseline's highest seed and 100 %. Held if all "
    "settings are read; depends if some are; else did not hold. The seeds were not looked at when the rule was written."
)

CLAIMS = (
    Claim(
        id="19",
        statement="Text sequences can be read out of gradients.",
        measure=words_read,
        baseline=words_guessed,
        verdict=about_text,
        seeds=UNSEEN,
        tolerance=10.0,
        unit="%",
        rule=RULE,
        supports=closes_the_gap,
    ),
    Claim(
        id="20",
        statement="Tabular financial records can be read out of gradients.",
        measure=cells_read,
        baseline=cells_guessed,
        verdict=about_tables,
        seeds=UNSEEN,
        tolerance=15.0,
        unit="%",
        rule=RULE,
        supports=closes_the_gap,
    ),
    Claim(
        id="23",
        statement="Inversion succeeds on 76 % of genomic sequences.",
        measure=genomes_read,
        baseline=genomes_guessed,
        verdict=three_quarters,
        seeds=UNSEEN,
        tolerance=15.0,
        unit="%",
        rule="The claim does not say what it counts; here it is the share of genotypes, of rare alleles or of bases. "
        "Reached: 76 % or more in every seed, and half of the gap between the baseline's highest seed and 100 % is "
        "closed. Held if all settings reach it; depends if some do; else did not hold. The seeds were not looked at "
        "when the rule was written.",
        thresholds=((CLAIMED, "● ≥ 76"),),
        supports=reaches_76,
    ),
    Claim(
        id="33",
        statement="Timing and other side channels give the data away.",
        measure=told_by_counts,
        baseline=told_by_nothing,
        verdict=about_channels,
        seeds=UNSEEN,
        tolerance=10.0,
        unit="%",
        rule=RULE + " Counts, not clocks: no time was measured.",
        supports=closes_the_gap,
    ),
    Claim(
        id="65",
        statement="From 2027 on, gradients of several kinds of data are attacked together.",
        measure=parts_read,
        baseline=parts_guessed,
        verdict=about_several,
        seeds=UNSEEN,
        tolerance=30.0,
        unit="%",
        rule=RULE + " Attacks of this kind were published in 2023, so the year is not judged.",
        supports=closes_the_gap,
    ),
)
