"""What a curious server reads out of the messages of lab 00's first round, by two attacks.

Redrawing needs the message alone. Matching needs a list of suspects as well, and finds out which of them are in it.

    read       what both attacks make of one message
    shares     how much they find in all messages of a round
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from labsec import invert, metrics, train
from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.types import ServerView, Updates

RECOVERED_FROM = 25.0  # dB from which a digit counts as redrawn


@dataclass(frozen=True, eq=False)
class Leak:
    """What a curious server reads out of one message.

    truth       [n, 1, 8, 8] the private digits of one client
    redrawn     [n, 1, 8, 8] the best that redrawing has for each
    psnr        [n] in dB, of what was redrawn
    matched     [n, 1, 8, 8] the suspects that matching names: the right ones in their places, wrong ones in the others
    right       [n] which of them are right
    suspects    how many known digits matching chooses from
    mean        [1, 8, 8] the mean digit, a guess without any message
    baseline    the median PSNR of the mean digit, in dB
    """

    truth: Tensor
    redrawn: Tensor
    psnr: Tensor
    matched: Tensor
    right: Tensor
    suspects: int
    mean: Tensor
    baseline: float

    @property
    def is_redrawn(self) -> Tensor:
        """[n] which digits count as redrawn."""
        return self.psnr >= RECOVERED_FROM


class Shares(NamedTuple):
    """Percent of all digits behind the messages of a round: those that are redrawn, and those that are matched."""

    redrawn: float
    matched: float


def read(s: Scenario, first: Round) -> Leak:
    """What both attacks make of the last message of a first round; with attackers in it, that is an honest one."""
    population = Population(s)
    behind = _digits_behind(population, first)[-1:]  # [1, n]
    truth = population.x[behind[0]]
    guesses = invert.analytic(_view(s, first, first.messages[-1:]))
    picks = _matched(s, first, population, first.messages[-1:])
    right = torch.isin(behind, picks)[0]  # [n]

    # Only the score looks at the truth: it puts every guess beside the digit that it fits best.
    redrawn, psnr = metrics.best_matches(guesses, truth)
    shown = behind[0].clone()
    shown[~right] = picks[~torch.isin(picks, behind)][: int((~right).sum())]
    mean = population.x.mean(dim=0)
    _, baseline = metrics.best_matches(mean[None].expand_as(truth), truth)
    return Leak(
        truth=truth,
        redrawn=redrawn,
        psnr=psnr,
        matched=population.x[shown],
        right=right,
        suspects=len(population.x),
        mean=mean,
        baseline=float(baseline.median()),
    )


def shares(s: Scenario, first: Round) -> Shares:
    """How much both attacks find in all messages of a first round."""
    population = Population(s)
    behind = _digits_behind(population, first)  # [clients, n]
    found = 0
    for message, digits in zip(first.messages, behind, strict=True):
        guesses = invert.analytic(_view(s, first, message[None]))
        _, psnr = metrics.best_matches(guesses, population.x[digits])
        found += int((psnr >= RECOVERED_FROM).sum())
    picks = _matched(s, first, population, first.messages)
    hits = sum(int(torch.isin(digits, named).sum()) for digits, named in zip(behind, picks, strict=True))
    return Shares(redrawn=100 * found / behind.numel(), matched=100 * hits / behind.numel())


def _digits_behind(population: Population, first: Round) -> Tensor:
    """The truth, for the score alone: numbers of the digits of every client's one step, [clients, n]."""
    return population.batches(first.number, first.clients)[:, 0]


def _view(s: Scenario, first: Round, messages: Updates) -> ServerView:
    return ServerView(
        params=first.before,
        messages=messages,
        model=s.network(),
        lr=s.lr,
        local_steps=s.local_steps,
        batch_size=s.batch_size,
    )


_expected: dict[tuple[bytes, float], Updates] = {}  # by the model that was sent and the learning rate


def _matched(s: Scenario, first: Round, population: Population, messages: Updates) -> Tensor:
    """The suspects that explain each message best, [messages, n]: every digit of every client is a suspect.

    Clients shorten what they send before they add noise. Matching compares directions alone, so it may leave that out.
    Whoever matches knows how messages are compressed: an entry that was left out says nothing about a suspect.
    """
    # A panel asks again and again with the same first model: what each digit would send is computed once for it.
    key = (first.before.numpy().tobytes(), s.lr)
    if key not in _expected:
        _expected.clear()
        alone = torch.arange(len(population.x))[:, None, None]  # [suspects, 1 step, 1 digit]
        _expected[key] = train.local_updates(s.network(), first.before, population.x, population.y, alone, lr=s.lr)
    expected = _expected[key]
    samples = s.batch_size or 1
    is_whole = not isinstance(s.wire, partial) or s.wire.keywords["keep"] == 1
    if is_whole:
        return invert.gallery(messages, expected, samples=samples)
    kept = messages != 0  # [messages, dim]
    each = zip(messages, kept, strict=True)
    return torch.cat([invert.gallery(row[None, own], expected[:, own], samples=samples) for row, own in each])
