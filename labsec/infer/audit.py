"""An audit: run a mechanism with a canary and without it, guess which was which, and hold that against its statement.

Whoever guesses too well has shown that the stated epsilon is wrong. Not guessing well shows nothing: somebody else may.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from labsec.geometry import check_updates, is_finite_row, unit_rows
from labsec.guards import check_function, check_kind, check_number, kind
from labsec.infer.bounds import FEWEST, Bound, lower_bound
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import Train, Update, Updates

Relation = Literal["zero-out", "replace-one"]
Unit = Literal["client", "example"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What an audit found, beside what was stated.

    stated         the epsilon that the mechanism is said to have, for the whole run
    unit           who is hidden, a "client" or an "example"
    relation       what is hidden: "zero-out", whether it took part, or "replace-one", which of two rows it was
    rounds         of a run
    delta          of both epsilons
    confidence     with which both bounds hold together
    any            the bound that supposes nothing about the mechanism
    gaussian       the bound that takes it at its word that its noise is Gaussian
    with_canary    [trials] scores of the runs with the canary, one for each
    without        [trials] scores of those without it
    """

    stated: float
    unit: Unit
    relation: Relation
    rounds: int
    delta: float
    confidence: float
    any: Bound
    gaussian: Bound
    with_canary: Tensor
    without: Tensor

    @property
    def low(self) -> float:
        """The larger of the two bounds."""
        return max(self.any.low, self.gaussian.low)

    @property
    def caught(self) -> bool:
        """Whether the mechanism gives away more than was stated."""
        return self.low > self.stated

    def in_words(self) -> str:
        """The finding with all that it depends on, as it should be printed."""
        turns = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        verdict = "more than stated: the mechanism is broken" if self.caught else "no more than stated"
        return (
            f"ε >= {self.low:.3g} at {self.confidence:.0%} confidence per {self.unit} for the whole run of {turns}, "
            f"δ = {self.delta:g}, {self.relation} neighbours; stated ε = {self.stated:.3g}: {verdict}"
        )


def audit(
    mechanism: Callable[..., Tensor],
    *,
    rows: Updates,
    canary: Update,
    stated: float,
    relation: Relation,
    rounds: int,
    delta: float,
    trials: int = 5000,
    confidence: float = 0.95,
    generator: Generator,
) -> Audit:
    """Plant a canary into a client's update, and see how surely what comes out tells that it was there.

    mechanism     (rows [clients, dim], *, generator) -> what is seen of a round: [dim], a sum or mean, or
                  [clients, dim], the messages, where noise is added at the client. Bind what else it takes. It is
                  copied for every trial, and what it remembers lasts for the rounds of one
    rows          [others, dim] updates of the other clients, the same in every round; may be empty
    canary        [dim] the update of the client that is hidden. It should be longer than the clip
    stated        the epsilon that the mechanism is said to have for the whole run
    relation      "zero-out": the canary is a row of the sum, or a row of zeros stands in its place. "replace-one": it
                  is the canary, or the canary turned round
    rounds        of a run. The canary changes its sign from round to round, so that noise which comes again is found
                  out: it cancels where the canary adds up
    delta         of the stated epsilon
    trials        runs with the canary, and as many without it
    confidence    chance that the bound is not above the true epsilon
    generator     of everything that the mechanism draws

    >>> from functools import partial
    >>> from labsec.privacy import noisy_mean
    >>> draw = torch.Generator().manual_seed(0)
    >>> case = {"rows": torch.zeros(9, 5), "canary": torch.eye(5)[0] * 10, "stated": 4.38, "relation": "zero-out"}
    >>> case = {**case, "rounds": 1, "delta": 1e-5, "trials": 1000, "generator": draw}
    >>> audit(partial(noisy_mean, clip=1.0, noise=1.0), **case).caught
    False
    >>> forgotten = partial(noisy_mean, clip=10.0, noise=0.1)     # as much noise, and a clip that clips nothing
    >>> print(audit(forgotten, **case).in_words())
    ε >= ... at 95% confidence per client for the whole run of 1 round, δ = 1e-05, zero-out neighbours; stated
    ε = 4.38: more than stated: the mechanism is broken

    Raises ValueError if rows and canary do not fit, if the canary is zero, for numbers out of range, for an unknown
    relation, and if the mechanism returns neither [dim] nor [clients, dim], or what is not finite.
    Sources: as for `lower_bound`; Jagielski et al. 2020, arXiv:2006.07709, audits whole trainings. The canary that
    changes its sign is our own.
    """
    check_function("audit", mechanism=mechanism)
    check_updates(rows, name="rows", least=0)
    check_kind("audit", Tensor, canary=canary)
    if canary.shape != rows.shape[1:] or canary.dtype != rows.dtype or not canary.isfinite().all() or not canary.any():
        raise ValueError(f"audit needs a finite canary {kind(rows[:1])} that is not zero; got {kind(canary)}")
    _check("audit", stated, relation, rounds, delta, trials, confidence, generator)
    absent = torch.zeros_like(canary) if relation == "zero-out" else -canary
    scores = [
        [_score(copy.deepcopy(mechanism), own, canary, rows, rounds, generator) for _ in range(trials)]
        for own in (canary, absent)
    ]
    return _judged(
        torch.tensor(scores, dtype=torch.float64),
        stated=stated,
        unit="client",
        relation=relation,
        rounds=rounds,
        delta=delta,
        confidence=confidence,
    )


def _score(
    mechanism: Callable[..., Tensor], own: Tensor, canary: Tensor, rows: Tensor, rounds: int, generator: Generator
) -> float:
    """How much of the canary one run shows: the sum over the rounds of what is seen along it."""
    total = 0.0
    for number in range(rounds):
        sign = 1 - 2 * (number % 2)
        seen = mechanism(torch.cat([sign * own[None], rows]), generator=generator)  # [dim] or [clients, dim]
        if not isinstance(seen, Tensor) or seen.shape not in {canary.shape, (len(rows) + 1, len(canary))}:
            raise ValueError(
                f"audit needs a mechanism that returns [{len(canary)}] or [{len(rows) + 1}, {len(canary)}]; "
                f"got {kind(seen)}"
            )
        own_part = seen if seen.ndim == 1 else seen[0]
        total += sign * float((own_part @ canary).detach())
    if total != total or abs(total) == inf:
        raise ValueError(f"audit needs a mechanism that returns finite numbers; got {total} along the canary")
    return total


def audit_training(
    train: Train,
    *,
    model: Model,
    params: Update,
    x: Tensor,
    y: Tensor,
    canary: int,
    instead: int | None,
    lr: float,
    steps: int,
    stated: float,
    delta: float,
    trials: int = 5000,
    confidence: float = 0.95,
    generator: Generator,
) -> Audit:
    """Plant a canary into a client's data, and see how surely the client's update tells that it was there.

    train         (model, params, x, y, batches, *, lr, generator) -> [k, dim], such as `bind(dp_sgd, clip=…, noise=…)`:
                  all trials are trained at once, as stacked clients
    model         the architecture; params [dim] is what the client received
    x, y          [n, *shape], [n] the client's samples, the canary among them
    canary        which of them is the canary
    instead       which of them takes its place in runs without it: "replace-one". None leaves its place empty:
                  "zero-out", where training does not depend on how many samples there are
    lr, steps     of the training; each step takes all samples that are there
    stated        the epsilon of the whole training, per example
    delta, trials, confidence    as for `audit`
    generator     of the noise

    The score of an update is its part along the canary's gradient, less that of the sample in its place.

    >>> from functools import partial
    >>> from labsec.models import mlp
    >>> from labsec.train import dp_sgd
    >>> draw = torch.Generator().manual_seed(0)
    >>> model, x = mlp((3,), 2, hidden=()), torch.tensor([[1.0, 1, 1], [1, 1, 1], [0, 0, 1]])
    >>> y = torch.tensor([0, 1, 1])     # the same sample with either label: gradients that point against each other
    >>> case = {"model": model, "params": torch.zeros(8), "x": x, "y": y, "canary": 0, "instead": 1, "lr": 0.1}
    >>> case = {**case, "steps": 1, "stated": 4.38, "delta": 1e-5, "trials": 1000, "generator": draw}
    >>> audit_training(partial(dp_sgd, clip=1.0, noise=2.0), **case).caught
    False
    >>> audit_training(partial(dp_sgd, clip=1.0, noise=1.0), **case).caught     # noise for zero-out
    True

    Raises ValueError if the samples do not fit, unless canary and instead are two of the samples, for numbers out of
    range, and if the training returns what is not finite.
    Source: Nasr et al. 2021, arXiv:2101.04535, and Nasr et al. 2023, arXiv:2302.07956, white-box audits.
    """
    check_function("audit_training", train=train)
    check_kind("audit_training", Model, model=model)
    check_kind("audit_training", Tensor, params=params)
    model.check_data(x, y, params.dtype)
    check_number("audit_training", whole=True, least=0, below=len(y), canary=canary)
    check_number("audit_training", whole=True, above=0, steps=steps)
    check_number("audit_training", above=0, lr=lr)
    if instead is not None:
        check_number("audit_training", whole=True, least=0, below=len(y), instead=instead)
    if instead == canary:
        raise ValueError(f"audit_training needs another sample instead of the canary; got {instead=}, {canary=}")
    relation: Relation = "zero-out" if instead is None else "replace-one"
    _check("audit_training", stated, relation, steps, delta, trials, confidence, generator)

    # What one step on either sample alone would send says where to look.
    alone = torch.tensor([canary, canary if instead is None else instead])[:, None, None]  # [2, 1, 1]
    there, gone = unit_rows(local_updates(model, params, x, y, alone.to(y.device), lr=lr))
    along = there if instead is None else there - gone  # [dim]

    others = [place for place in range(len(y)) if place not in (canary, instead)]
    scores = []
    for own in (canary, -1 if instead is None else instead):
        step = torch.tensor([own, *others], device=y.device)
        batches = step.expand(trials, steps, -1)
        updates = train(model, params, x, y, batches, lr=lr, generator=generator)  # [trials, dim]
        check_updates(updates, name="what audit_training trained")
        if not is_finite_row(updates).all():
            raise ValueError(f"audit_training needs a training that returns finite updates; got {kind(updates)}")
        scores.append((updates @ along).double())
    return _judged(
        torch.stack(scores),
        stated=stated,
        unit="example",
        relation=relation,
        rounds=steps,
        delta=delta,
        confidence=confidence,
    )


def _check(
    owner: str,
    stated: float,
    relation: str,
    rounds: int,
    delta: float,
    trials: int,
    confidence: float,
    generator: Generator,
) -> None:
    check_number(owner, least=0, most=inf, stated=stated)
    check_number(owner, whole=True, above=0, rounds=rounds)
    check_number(owner, above=0, below=1, delta=delta, confidence=confidence)
    check_number(owner, whole=True, least=FEWEST, trials=trials)
    check_kind(owner, Generator, generator=generator)
    if relation not in get_args(Relation):
        raise ValueError(f"{owner} needs a relation out of {get_args(Relation)}; got relation={kind(relation)}")


def _judged(
    scores: Tensor, *, stated: float, unit: Unit, relation: Relation, rounds: int, delta: float, confidence: float
) -> Audit:
    """The audit of scores [2, trials], first those with the canary."""
    # Two bounds are made of the same trials. Each may fail with half of the chance, so that both hold together.
    each = (1 + float(confidence)) / 2
    with_canary, without = scores
    return Audit(
        stated=stated,
        unit=unit,
        relation=relation,
        rounds=rounds,
        delta=delta,
        confidence=confidence,
        any=lower_bound(with_canary, without, delta=delta, gaussian=False, confidence=each),
        gaussian=lower_bound(with_canary, without, delta=delta, gaussian=True, confidence=each),
        with_canary=with_canary,
        without=without,
    )
