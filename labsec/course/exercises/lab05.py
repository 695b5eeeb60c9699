"""Lab 05, Beyond pixels: its federation and threat models, and its exercises with inputs to try and hints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import ThreatModel, threat_model_of
from labsec.data import load
from labsec.federation.scenario import Scenario

# The card is read off this federation: one note in each client's step, and a server that follows the protocol.
SCENARIO = Scenario(data=load("notes"), clients=20, rounds=20, local_steps=1, batch_size=1, lr=1.0)
THREAT_MODEL = threat_model_of(
    SCENARIO,
    goal="Learn what a client holds: the words of a note, a row of a table, a genome.",
    out_of_scope="Pictures alone (lab 04), noise with a guarantee (lab 07), messages that nobody can read (lab 09).",
)

# The same server in two other roles. What a scenario cannot say, because it is no part of a round, is said here.
KEEPS_MESSAGES: ThreatModel = replace(
    THREAT_MODEL,
    knowledge="The server keeps every message of every round, who sent it, and the model that it was an answer to.",
    capability="Read, compare rounds with each other, and follow the protocol. No client can see that it does.",
)
SENDS_ITS_OWN: ThreatModel = replace(
    THREAT_MODEL,
    knowledge="The server knows the model that it chose to send, public data of the same kind, and every message.",
    capability="Break the protocol: send a model of its own making, and read what comes back. The client holds the "
    "evidence, if it looks.",
)


def words_in(rows: Tensor) -> Tensor:
    """Exercise 05.1."""
    return rows.abs().sum(dim=1).nonzero()[:, 0]


def _words_as_mask(rows: Tensor) -> Tensor:
    return rows.abs().sum(dim=1) > 0


def _words_by_sum(rows: Tensor) -> Tensor:
    return (rows.sum(dim=1).abs() > 1e-6).nonzero()[:, 0]


def _words_that_rise(rows: Tensor) -> Tensor:
    return (rows.sum(dim=1) > 1e-6).nonzero()[:, 0]


def _words_by_column(rows: Tensor) -> Tensor:
    return rows.abs().sum(dim=0).nonzero()[:, 0]


def _words_the_longest(rows: Tensor) -> Tensor:
    return rows.norm(dim=1).argmax()[None]


def _words_that_stay(rows: Tensor) -> Tensor:
    return (rows.abs().sum(dim=1) == 0).nonzero()[:, 0]


def _embeddings(draw: Generator) -> Sequence[Case]:
    """Updates of a table: most rows are zero, and the numbers of some others add up to zero or less."""
    cases = []
    for vocabulary, width, used in ((8, 4, (1, 3, 6)), (30, 6, (0, 7, 8, 29)), (12, 2, (5, 9))):
        rows = torch.zeros(vocabulary, width)
        rows[list(used)] = 0.1 + torch.rand(len(used), width, generator=draw)
        rows[used[0]] = torch.tensor([0.5, -0.5]).repeat(width // 2)
        rows[used[1]] *= -1
        cases.append(case(rows))
    return cases


def as_rows(free: Tensor, widths: Sequence[int]) -> Tensor:
    """Exercise 05.2."""
    parts = free.split(list(widths), dim=1)
    return torch.cat([part.softmax(dim=1) if part.shape[1] > 1 else part.sigmoid() for part in parts], dim=1)


def _rows_one_softmax(free: Tensor, widths: Sequence[int]) -> Tensor:
    return free.softmax(dim=1)


def _rows_softmax_everywhere(free: Tensor, widths: Sequence[int]) -> Tensor:
    return torch.cat([part.softmax(dim=1) for part in free.split(list(widths), dim=1)], dim=1)


def _rows_sigmoid_everywhere(free: Tensor, widths: Sequence[int]) -> Tensor:
    return free.sigmoid()


def _rows_softmax_down(free: Tensor, widths: Sequence[int]) -> Tensor:
    parts = free.split(list(widths), dim=1)
    return torch.cat([part.softmax(dim=0) if part.shape[1] > 1 else part.sigmoid() for part in parts], dim=1)


def _rows_chosen(free: Tensor, widths: Sequence[int]) -> Tensor:
    parts = free.split(list(widths), dim=1)
    chosen = [(part == part.amax(dim=1, keepdim=True)).to(free.dtype) for part in parts]
    return torch.cat(
        [one if part.shape[1] > 1 else part.sigmoid() for one, part in zip(chosen, parts, strict=True)], dim=1
    )


def _rows_free_numbers(free: Tensor, widths: Sequence[int]) -> Tensor:
    parts = free.split(list(widths), dim=1)
    return torch.cat([part.softmax(dim=1) if part.shape[1] > 1 else part for part in parts], dim=1)


def _free(draw: Generator) -> Sequence[Case]:
    return [
        case(torch.randn(rows, sum(widths), generator=draw), widths)
        for rows, widths in ((2, (1, 3)), (3, (1, 1, 4, 2)), (5, (2, 1, 6)))
    ]


def copies(values: Tensor) -> Tensor:
    """Exercise 05.3."""
    return (2 * values).round().clamp(0, 2).long()


def _copies_without_range(values: Tensor) -> Tensor:
    return (2 * values).round().long()


def _copies_cut_off(values: Tensor) -> Tensor:
    return (2 * values).clamp(0, 2).long()


def _copies_halves(values: Tensor) -> Tensor:
    return ((2 * values).round() / 2).clamp(0, 1)


def _copies_of_one(values: Tensor) -> Tensor:
    return values.round().clamp(0, 1).long()


def _copies_doubled_late(values: Tensor) -> Tensor:
    return (2 * values.round()).clamp(0, 2).long()


def _genotypes(draw: Generator) -> Sequence[Case]:
    """Genotypes with errors below a quarter, so that the nearest is the right one; some lie beyond 0 and 1."""
    cases = []
    for persons, loci in ((2, 6), (3, 20), (1, 50)):
        truth = torch.randint(3, (persons, loci), generator=draw) / 2
        cases.append(case(truth + 0.46 * (torch.rand(persons, loci, generator=draw) - 0.5)))
    cases.append(case(torch.tensor([[-0.4, 1.4, 0.2, 0.3, 0.7, 0.8]])))
    return cases


def in_bin(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    """Exercise 05.4."""
    return (weight[k] - weight[k + 1]) / (bias[k] - bias[k + 1])


def _bin_with_all_above(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    return weight[k] / bias[k]


def _bin_undivided(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    return weight[k] - weight[k + 1]


def _bin_below(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    return (weight[k - 1] - weight[k]) / (bias[k - 1] - bias[k])


def _bin_of_ratios(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    return weight[k] / bias[k] - weight[k + 1] / bias[k + 1]


def _bin_divided_once(weight: Tensor, bias: Tensor, k: int) -> Tensor:
    return (weight[k] - weight[k + 1]) / bias[k]


def _layers_with_bins(draw: Generator) -> Sequence[Case]:
    """Updates of a first layer whose neuron j adds up all samples in the bins from j on."""
    cases = []
    for bins, inputs, k in ((4, 3, 1), (6, 5, 2), (9, 4, 5)):
        x = torch.rand(bins, inputs, generator=draw)  # a sample in each bin
        slope = 0.2 + torch.rand(bins, 1, generator=draw)
        above = torch.ones(bins, bins).triu()  # [neuron, bin]
        cases.append(case(above @ (slope * x), (above @ slope)[:, 0], k))
    return cases


def likeness(weight: Tensor) -> Tensor:
    """Exercise 05.5."""
    directions = torch.nn.functional.normalize(weight, dim=1)  # [neurons, in]
    cosines = (directions @ directions.T).abs()  # [neurons, neurons]
    n = len(weight)
    return (cosines.sum() - n) / (n * (n - 1))


def _likeness_with_itself(weight: Tensor) -> Tensor:
    directions = torch.nn.functional.normalize(weight, dim=1)
    return (directions @ directions.T).abs().mean()


def _likeness_signed(weight: Tensor) -> Tensor:
    directions = torch.nn.functional.normalize(weight, dim=1)
    n = len(weight)
    return ((directions @ directions.T).sum() - n) / (n * (n - 1))


def _likeness_of_lengths(weight: Tensor) -> Tensor:
    products = (weight @ weight.T).abs()
    n = len(weight)
    return (products.sum() - products.trace()) / (n * (n - 1))


def _likeness_of_inputs(weight: Tensor) -> Tensor:
    return likeness(weight.T)


def _likeness_of_the_most_alike(weight: Tensor) -> Tensor:
    directions = torch.nn.functional.normalize(weight, dim=1)
    return (directions @ directions.T).abs().fill_diagonal_(0).max()


def _first_layers(draw: Generator) -> Sequence[Case]:
    """Layers that look into many directions, and one whose rows lie along a single one, of either sign."""
    cases = [case(torch.randn(neurons, inputs, generator=draw)) for neurons, inputs in ((3, 5), (8, 4))]
    signs = torch.tensor([[1.0], [-1.0], [2.0], [-0.5], [3.0]])
    cases.append(case(signs * torch.randn(1, 6, generator=draw)))
    return cases


def words_by_place(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    """Exercise 05.6."""
    inside = places[places < vocabulary * width]
    return (inside // width).unique()


def _place_in_row(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    return (places[places < vocabulary * width] % width).unique()


def _place_of_all_layers(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    return (places // width).unique()


def _place_repeated(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    return places[places < vocabulary * width] // width


def _place_by_column(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    return (places[places < vocabulary * width] % vocabulary).unique()


def _place_itself(places: Tensor, *, vocabulary: int, width: int) -> Tensor:
    return places[places < vocabulary * width].unique()


def _places(draw: Generator) -> Sequence[Case]:
    """Places of the numbers that are not zero: those of a few rows of the table, and of the layers behind it."""
    cases = []
    for vocabulary, width, used in ((8, 4, (1, 5)), (20, 6, (0, 7, 19)), (50, 3, (2, 3, 30, 44))):
        row = torch.tensor(used)[:, None] * width + torch.arange(width)  # [words, width]
        behind = vocabulary * width + torch.arange(3 * width)
        sent = torch.rand(row.numel(), generator=draw) < 0.7
        sent[::width] = True  # a word keeps at least one of its numbers
        cases.append(case(torch.cat([row.flatten()[sent], behind]), vocabulary=vocabulary, width=width))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="05.1",
        title="The words, from the rows",
        reference=words_in,
        cases=_embeddings,
        wrong=(
            (_words_as_mask, "You returned True and False. The numbers of the rows are wanted: `.nonzero()[:, 0]`."),
            (_words_by_sum, "You added up the numbers of a row, and they may cancel. Take their sizes: `.abs()`."),
            (_words_that_rise, "A row may also move down: the sign says nothing about whether the word was there."),
            (_words_by_column, "You looked along the columns. A word is a row: `dim=1` goes along it."),
            (_words_the_longest, "You returned the longest row alone. Every row that moved is a word."),
            (_words_that_stay, "These are the words that do not occur."),
        ),
        hints=(
            "A word that is in no note has no part in the loss. What does its row of the update look like?",
            "Find the rows in which any number is not zero, and return where they are.",
            "moved = rows.abs().sum(dim=1)\nreturn moved.nonzero()[…]",
        ),
        another="A row that is not all zeros holds something true:\n\n"
        "    return rows.any(dim=1).nonzero().flatten()\n\n"
        "`any` takes every number but 0 for true, a tiny one as well.",
    ),
    Exercise(
        id="05.2",
        title="The category, by softmax",
        reference=as_rows,
        cases=_free,
        wrong=(
            (_rows_one_softmax, "You made one softmax over the whole row. Every column of the table has its own."),
            (
                _rows_softmax_everywhere,
                "A softmax over a single place is always 1. A number, of width 1, gets a sigmoid.",
            ),
            (_rows_sigmoid_everywhere, "With sigmoids a row may be two categories at once. Their shares add up to 1."),
            (_rows_softmax_down, "Your softmax runs over the rows of the batch. It runs over the places: `dim=1`."),
            (
                _rows_chosen,
                "You chose the largest at once. That has no slope, and the search would not know where to go.",
            ),
            (_rows_free_numbers, "A number of the table lies between 0 and 1, too: a sigmoid keeps it there."),
        ),
        hints=(
            "What must be true of the places of one category, whatever the search does with its free numbers?",
            "Split the columns by `widths`. Softmax along dim=1 where the width is above 1, sigmoid where it is 1.",
            "parts = free.split(list(widths), dim=1)\nsoft = [part.softmax(dim=1) if … else part.sigmoid() "
            "for part in parts]\nreturn torch.cat(soft, dim=1)",
        ),
    ),
    Exercise(
        id="05.3",
        title="The genotype decoder",
        reference=copies,
        cases=_genotypes,
        wrong=(
            (_copies_without_range, "Noise puts values below 0 and above 1: nobody has -1 copies, or 3."),
            (_copies_cut_off, "You cut off what is behind the point. 0.98 copies are nearly 1: round."),
            (_copies_halves, "You returned the values 0, 0.5 and 1. Whole numbers of copies are wanted."),
            (_copies_of_one, "You rounded to 0 and 1. A person has 0, 1 or 2 copies, stored as 0, 0.5 and 1."),
            (_copies_doubled_late, "You rounded before you doubled, so that nobody has a single copy."),
        ),
        hints=(
            "Which three values can there be, and how far apart are they?",
            "Double, round, keep within 0 and 2, and make whole numbers of it.",
            "return (2 * values).round().clamp(…).long()",
        ),
        another="As the nearest of a list, which works for any alphabet:\n\n"
        "    known = torch.tensor([0.0, 0.5, 1.0])\n"
        "    return (values[..., None] - known).abs().argmin(dim=-1)\n\n"
        "It needs three times the memory, and no arithmetic by heart.",
    ),
    Exercise(
        id="05.4",
        title="One imprint bin",
        reference=in_bin,
        cases=_layers_with_bins,
        wrong=(
            (_bin_with_all_above, "That is the mean of all samples from bin k on. Take off those from bin k + 1 on."),
            (_bin_undivided, "That is the sample times a slope. The same difference of the biases is this slope."),
            (_bin_below, "That is the bin below. Neuron k is awake from bin k on, neuron k + 1 from the next on."),
            (_bin_of_ratios, "Take the differences first, and the ratio of them afterwards."),
            (_bin_divided_once, "You divided by everything from bin k on. Divide by what the bin itself added."),
        ),
        hints=(
            "Which samples wake neuron k, and which of them do not wake neuron k + 1?",
            "The difference of two neighbours is what is in one bin: of the weights and of the biases. Then a ratio.",
            "return (weight[k] - weight[…]) / (bias[k] - …)",
        ),
    ),
    Exercise(
        id="05.5",
        title="The client's own check",
        reference=likeness,
        cases=_first_layers,
        wrong=(
            (
                _likeness_with_itself,
                "You counted each neuron with itself: a 1 for each, and an honest layer looks worse.",
            ),
            (_likeness_signed, "Opposite directions are one direction, too, and here they cancel: take the sizes."),
            (_likeness_of_lengths, "Your products depend on the lengths of the rows, which a server may choose."),
            (_likeness_of_inputs, "You compared the columns. A neuron is a row of the weight."),
            (_likeness_of_the_most_alike, "Two alike neurons are no crime. Take the mean over all pairs."),
        ),
        hints=(
            "What is true of the directions of all neurons of a layer with bins, and of no honest layer?",
            "Normalise the rows, take all cosines without their signs, and their mean over pairs of different rows.",
            "d = F.normalize(weight, dim=1)\ncosines = (d @ d.T).abs()\nn = len(weight)\n"
            "return (cosines.sum() - …) / (n * (n - 1))",
        ),
    ),
    Exercise(
        id="05.6",
        title="What the places say",
        reference=words_by_place,
        cases=_places,
        wrong=(
            (_place_in_row, "That is the place within a row. The number of the row is the whole quotient: `//`."),
            (_place_of_all_layers, "Behind the table come other layers. Keep places below vocabulary * width."),
            (_place_repeated, "Every word comes up once for each of its numbers: `.unique()`."),
            (_place_by_column, "The table is stored row by row: `width` numbers belong to a word."),
            (_place_itself, "These are places of single numbers. Which row does each belong to?"),
        ),
        hints=(
            "The table is stored row by row. Which places belong to word number 3?",
            "Keep the places of the table, divide by the width without a rest, and name every word once.",
            "inside = places[places < vocabulary * width]\nreturn (inside // …).unique()",
        ),
    ),
)
