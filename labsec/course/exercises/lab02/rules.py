"""The rules, and the alarm, that learners of lab 02 build."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Generator, Tensor

from labsec.course.exercises.base import Case, Exercise, case


def median(updates: Tensor) -> Tensor:
    """Exercise 02.3."""
    ordered = updates.sort(dim=0).values
    n = len(updates)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _matrices(draw: Generator) -> Sequence[Tensor]:
    return [torch.randn(n, dim, generator=draw) * 3 for n, dim in ((7, 5), (10, 4), (12, 12))]


def _plain(draw: Generator) -> Sequence[Case]:
    return [case(updates) for updates in _matrices(draw)]


def _row_of_median_norm(updates: Tensor) -> Tensor:
    order = updates.norm(dim=1).argsort()
    return updates[order[len(updates) // 2]].clone()


MEDIAN = Exercise(
    id="02.3",
    title="The median",
    reference=median,
    cases=_plain,
    wrong=(
        (
            lambda updates: updates.median(dim=0),
            "`torch.median` with `dim` returns two things, the medians and their places. Take `.values`, and look at "
            "an even number of clients then.",
        ),
        (
            lambda updates: updates.median(dim=0).values,
            "With an even number of clients, `torch.median` takes the lower of the two in the middle. Take their mean.",
        ),
        (
            lambda updates: updates.sort(dim=1).values[:, updates.shape[1] // 2],
            "You took the median of each client. Take it of each coordinate, over the clients: dim=0.",
        ),
        (_row_of_median_norm, "You chose one client's row. Here every coordinate chooses for itself."),
    ),
    hints=(
        "Look at one column: it holds what every client says about one number.",
        "Sort each column. With 7 clients the middle is place 3; with 10 it lies between places 4 and 5.",
        "n = len(updates)\nordered = updates.sort(dim=0).values\nreturn (ordered[(n - 1) // 2] + ordered[…]) / 2",
    ),
    another="In one line:\n\n"
    "    return updates.quantile(0.5, dim=0)\n\n"
    "The quantile between two values is their mean here. `torch.median` is no help: it takes the lower of the two.",
)


def trimmed_mean(updates: Tensor, *, f: int) -> Tensor:
    """Exercise 02.4."""
    return updates.sort(dim=0).values[f : len(updates) - f].mean(dim=0)


def _believed(draw: Generator) -> Sequence[Case]:
    return [case(updates, f=f) for updates, f in zip(_matrices(draw), (1, 3, 0), strict=True)]


def _trim_by_norm(updates: Tensor, *, f: int) -> Tensor:
    order = updates.norm(dim=1).argsort()
    return updates[order[f : len(updates) - f]].mean(dim=0)


def _winsorise(updates: Tensor, *, f: int) -> Tensor:
    ordered = updates.sort(dim=0).values
    return updates.clamp(ordered[f], ordered[len(updates) - 1 - f]).mean(dim=0)


TRIMMED_MEAN = Exercise(
    id="02.4",
    title="The trimmed mean",
    reference=trimmed_mean,
    cases=_believed,
    wrong=(
        (
            lambda updates, *, f: updates.sort(dim=0).values[: len(updates) - f].mean(dim=0),
            "You cut the largest values only. An attacker may also pull down.",
        ),
        (
            lambda updates, *, f: updates.sort(dim=0).values[f:-f].mean(dim=0),
            "With f = 0 the slice f:-f is empty. Count from the front: f : len(updates) - f.",
        ),
        (_trim_by_norm, "You threw out whole clients by their length. Here each coordinate is trimmed on its own."),
        (_winsorise, "You pulled the extreme values in. Leave them out altogether."),
        (
            lambda updates, *, f: updates.sort(dim=0).values[f : len(updates) - f].sum(dim=0) / len(updates),
            "You divided by all clients. How many values are left after the cut?",
        ),
    ),
    hints=(
        "The median is what is left when you trim almost everything. Trim less.",
        "Sort each column, drop f values at each end, average the rest.",
        "updates.sort(dim=0).values[f : …].mean(dim=0)",
    ),
    another="Without sorting everything: take away the largest and the smallest values.\n\n"
    "    if f == 0:\n"
    "        return updates.mean(dim=0)\n"
    "    high = updates.topk(f, dim=0).values.sum(dim=0)\n"
    "    low = updates.topk(f, dim=0, largest=False).values.sum(dim=0)\n"
    "    return (updates.sum(dim=0) - high - low) / (len(updates) - 2 * f)\n\n"
    "It reads like the definition, and it has a flaw: where an attacker sends 1e30, the sum keeps nothing of the "
    "others, and subtracting does not bring them back. Sort.",
)


def _krum(updates: Tensor, first: int, last: int, *, power: int = 2) -> Tensor:
    """The row with the smallest sum over its neighbours `first` to `last`, the nearest first: 0 is the row itself."""
    distances = torch.cdist(updates.double(), updates.double()).pow(power)  # [clients, clients]
    scores = distances.sort(dim=1).values[:, first:last].sum(dim=1)
    return updates[scores.argmin()].clone()


def krum(updates: Tensor, *, f: int) -> Tensor:
    """Exercise 02.5."""
    return _krum(updates, 1, len(updates) - f - 1)


def _krum_cases(draw: Generator) -> Sequence[Case]:
    """For every near miss two inputs on which it chooses another client."""
    cases: list[Case] = []
    for miss, (n, f) in product(_NEAR_MISSES, ((11, 3), (10, 1))):
        updates = torch.randn(n, 2, generator=draw)
        while torch.equal(miss(updates, f=f), krum(updates, f=f)):
            updates = torch.randn(n, 2, generator=draw)
        cases.append(case(updates, f=f))
    return cases


def _view_of_krum(updates: Tensor, *, f: int) -> Tensor:
    """The right row, and not a copy of it."""
    chosen = krum(updates, f=f)
    return updates[int((updates == chosen).all(dim=1).nonzero()[0])]


_KRUM_WRONG: tuple[tuple[Callable[..., Tensor], str], ...] = (
    (
        lambda updates, *, f: _krum(updates, 0, len(updates) - f - 2),
        "One of your n - f - 2 neighbours is the client itself, at distance 0. Leave it out.",
    ),
    (
        lambda updates, *, f: _krum(updates, 1, len(updates) - f),
        "You sum n - f - 1 neighbours. The paper counts n - f - 2.",
    ),
    (
        lambda updates, *, f: _krum(updates, 1, len(updates) - f - 1, power=1),
        "You add up distances. Krum adds up their squares.",
    ),
    (
        lambda updates, *, f: _krum(updates, 1, len(updates)),
        "You add up the distances to everybody. Only the n - f - 2 nearest count.",
    ),
)
_NEAR_MISSES: tuple[Callable[..., Tensor], ...] = (
    *(function for function, _ in _KRUM_WRONG),
    lambda updates, *, f: _krum(updates, 1, 6),
    lambda updates, *, f: _krum(updates, 1, len(updates) // 2 + 1),
    lambda updates, *, f: _krum(updates, len(updates) - f - 2, len(updates) - f - 1),
)

KRUM = Exercise(
    id="02.5",
    title="Krum",
    reference=krum,
    cases=_krum_cases,
    copied=True,
    wrong=(
        *_KRUM_WRONG,
        (
            _view_of_krum,
            "The right client, but you return its row itself: whoever changes the result changes `updates`. Return a "
            "copy: `.clone()`.",
        ),
    ),
    bonus="Multi-Krum: average the m clients with the smallest scores. Write it, set m = n - f, and compare the two on "
    "clients that differ, once you have seen what Krum costs there.",
    hints=(
        "Attackers who are far from everybody have no friends nearby. Who has many close friends?",
        "A matrix of squared distances; sort each row; add up the n - f - 2 smallest, without the zero to itself; "
        "return the row of the client with the smallest sum.",
        "n = len(updates)\ndistances = torch.cdist(updates, updates).square()\n"
        "scores = distances.sort(dim=1).values[:, 1 : n - f - 1].sum(dim=1)\nreturn updates[…]",
    ),
)


def norm_alarm(updates: Tensor, *, factor: float) -> Tensor:
    """Exercise 02.8."""
    norms = updates.norm(dim=1)  # [clients]
    return norms > factor * norms.quantile(0.5)


def _uneven(draw: Generator) -> Sequence[Case]:
    """Rows of very different lengths, so that every other rule for an alarm rings for somebody else in some case."""
    cases = []
    for clients, factor in ((7, 2.0), (8, 1.5), (5, 1.2), (6, 3.0), (9, 1.3), (8, 1.1), (7, 1.7), (6, 1.4)):
        lengths = 10 ** (2 * torch.rand(clients, 1, generator=draw) - 1)  # [clients, 1], 0.1 to 10
        directions = torch.nn.functional.normalize(torch.randn(clients, 6, generator=draw), dim=1)
        cases.append(case(lengths * directions, factor=factor))

    # The third row is exactly as long as the alarm allows: the lengths 1, 2, 4, 3, 1 have the median 2.
    cases.append(case(torch.tensor([1.0, 2.0, 4.0, 3.0, 1.0]).diag(), factor=2.0))
    return cases


NORM_ALARM = Exercise(
    id="02.8",
    title="An alarm on norms (optional)",
    reference=norm_alarm,
    cases=_uneven,
    wrong=(
        (
            lambda updates, *, factor: updates.norm(dim=1) > factor * updates.norm(dim=1).mean(),
            "One huge update raises the mean and hides behind it. Compare with the median norm.",
        ),
        (
            lambda updates, *, factor: updates.norm(dim=1) > factor * updates.norm(dim=1).median(),
            "With an even number of clients `torch.median` takes the lower of the two in the middle. Take their mean.",
        ),
        (
            lambda updates, *, factor: updates.square().sum(dim=1) > factor * updates.square().sum(dim=1).quantile(0.5),
            "You compare squared norms: a factor of 2 then means a length of 1.4.",
        ),
        (
            lambda updates, *, factor: updates.norm(dim=1) <= factor * updates.norm(dim=1).quantile(0.5),
            "Your alarm rings for everyone who is *not* odd: True means suspicious.",
        ),
        (
            lambda updates, *, factor: updates.norm(dim=1) >= factor * updates.norm(dim=1).quantile(0.5),
            "A norm that equals the limit does not exceed it: take > and not >=.",
        ),
        (
            lambda updates, *, factor: updates.norm(dim=1) > updates.norm(dim=1).quantile(0.5),
            "Half of the clients are always above the median. How far above is odd? `factor` is not used.",
        ),
    ),
    hints=(
        "What is long? Longer than most.",
        "Norm of each row; the median of these norms; True where a norm is more than `factor` times that.",
        "norms = updates.norm(dim=1)\nreturn norms > factor * …",
    ),
    another="As a ratio, which is what an operator would like to read in a log:\n\n"
    "    norms = updates.norm(dim=1)\n"
    "    return norms / norms.quantile(0.5) > factor\n\n"
    "If half of the updates are zero, so is the median: this divides by it, and the product does not.",
)
