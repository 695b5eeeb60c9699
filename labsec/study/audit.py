"""Every private mechanism of the course audited, and mechanisms that are broken: `python -m labsec.study.audit`.

What an audit finds is a lower bound: it must not lie above the stated epsilon of a mechanism that is right, and should
lie above that of one that is broken. The page that it writes says of each whether it did.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from labsec import privacy, storage
from labsec.data import load
from labsec.files import COURSE
from labsec.guards import check_number
from labsec.infer import Audit, audit, audit_training, broken, direction, lower_bound
from labsec.models import mlp
from labsec.privacy import Accountant, Relation, Unit
from labsec.train import dp_sgd
from labsec.types import generator

DELTA = 1e-5
STATED = (1.0, 4.0)
CONFIDENCE = 0.95
CLIP = 1.0
OTHERS = 9
DIM = 20
LONG = 10.0  # the canary's length, in clips: whoever forgets to clip is found out

Mechanism = Callable[..., Tensor]  # (rows, *, generator) -> what is seen of a round


@dataclass(frozen=True, kw_only=True)
class Case:
    """A mechanism, what is stated of it, and whether that is true.

    name       in the page
    make       (noise multiplier) -> the mechanism, or for training a `train`
    relation   that is stated
    rounds     of a run, or steps of training
    right      whether the mechanism keeps what is stated
    noise      what the noise is made for, where that is not what is stated: other rounds, another relation
    trains     whether it is a training, which is audited with a canary among the samples
    """

    name: str
    make: Callable[[float], Any]
    relation: Relation
    rounds: int = 1
    right: bool = True
    noise: tuple[Relation, int] | None = None
    trains: bool = False

    def multiplier(self, stated: float) -> float:
        """The noise that the mechanism is run with."""
        relation, rounds = self.noise or (self.relation, self.rounds)
        unit: Unit = "example" if self.trains else "client"
        terms = Accountant(unit=unit, delta=DELTA, relation=relation, rate=1, rounds=rounds)
        return terms.noise_for(stated)


def cases() -> tuple[Case, ...]:
    """What is audited: first what is right, then what is broken.

    >>> sum(case.right for case in cases()) < len(cases())
    True
    """
    return (
        Case(name="central: noisy mean", make=_central, relation="zero-out"),
        Case(name="central: noisy mean", make=_central, relation="replace-one"),
        Case(name="central: noisy mean", make=_central, relation="zero-out", rounds=10),
        Case(name="central: adaptive clip", make=_adaptive, relation="zero-out", rounds=10),
        Case(name="local noise, a row", make=_local, relation="replace-one"),
        Case(name="local noise, a row", make=_local, relation="replace-one", rounds=10),
        Case(name="distributed noise, the sum", make=_distributed_sum, relation="zero-out"),
        Case(name="DP-SGD", make=_training, relation="replace-one", trains=True),
        Case(name="DP-SGD", make=_training, relation="replace-one", rounds=10, trains=True),
        Case(name="noise divided by n twice", make=_broken(broken.divided_twice), relation="zero-out", right=False),
        Case(name="clip forgotten", make=_broken(broken.unclipped), relation="zero-out", right=False),
        Case(name="clip by coordinate", make=_broken(broken.clipped_by_coordinate), relation="zero-out", right=False),
        Case(name="the same noise in every round", make=_same_noise, relation="zero-out", rounds=2, right=False),
        Case(
            name="replace-one stated, noise for zero-out",
            make=_central,
            relation="replace-one",
            right=False,
            noise=("zero-out", 1),
        ),
        Case(
            name="the same, noise at the client",
            make=_local,
            relation="replace-one",
            right=False,
            noise=("zero-out", 1),
        ),
        Case(
            name="the same, DP-SGD",
            make=_training,
            relation="replace-one",
            right=False,
            noise=("zero-out", 1),
            trains=True,
        ),
        Case(
            name="ten rounds, noise for one",
            make=_central,
            relation="zero-out",
            rounds=10,
            right=False,
            noise=("zero-out", 1),
        ),
        Case(name="distributed noise, a row before the sum", make=_distributed_row, relation="zero-out", right=False),
    )


def _central(noise: float) -> Mechanism:
    return partial(privacy.noisy_mean, clip=CLIP, noise=noise)


def _local(noise: float) -> Mechanism:
    return partial(privacy.local_noise, clip=CLIP, noise=noise)


def _distributed_row(noise: float) -> Mechanism:
    return partial(privacy.distributed_noise, clip=CLIP, noise=noise, senders=OTHERS + 1)


def _distributed_sum(noise: float) -> Mechanism:
    def summed(rows: Tensor, *, generator: Generator) -> Tensor:
        return _distributed_row(noise)(rows, generator=generator).sum(dim=0)

    return summed


def _adaptive(noise: float) -> Mechanism:
    rule = privacy.AdaptiveClip(noise=noise, count_noise=10 * noise, start=CLIP)
    return partial(_of_those_present, rule)


def _of_those_present(rule: Mechanism, rows: Tensor, *, generator: Generator) -> Tensor:
    """A rule that counts its rows is not given the row of zeros: who is not there is not counted."""
    return rule(rows[rows.any(dim=1)], expected=float(len(rows)), generator=generator)


def _same_noise(noise: float) -> Mechanism:
    return broken.SameNoise(clip=CLIP, noise=noise)


def _broken(function: Mechanism) -> Callable[[float], Mechanism]:
    def make(noise: float) -> Mechanism:
        return partial(function, clip=CLIP, noise=noise)

    return make


def _training(noise: float) -> Mechanism:
    return partial(dp_sgd, clip=CLIP, noise=noise)


def audited(case: Case, stated: float, *, trials: int, seed: int = 0) -> Audit:
    """The audit of one case.

    trials    runs with the canary, and as many without it, of one round; of ten rounds it is a fifth of them

    >>> audited(cases()[0], 4.0, trials=500).caught
    False

    Raises ValueError unless trials >= 50.
    """
    check_number("audited", whole=True, least=50, trials=trials)
    mechanism = case.make(case.multiplier(stated))
    run: dict[str, Any] = {
        "stated": stated,
        "delta": DELTA,
        "confidence": CONFIDENCE,
        "trials": trials if case.rounds < 10 or case.trains else trials // 5,
        "generator": generator(seed, "audit", case.name),
    }
    if case.trains:
        return audit_training(mechanism, **_lesson(), lr=0.01, steps=case.rounds, **run)
    draw = generator(seed, "rows")
    canary = direction(DIM, length=LONG * CLIP, generator=draw)
    rows = 0.1 * torch.randn(OTHERS, DIM, generator=draw)
    return audit(mechanism, rows=rows, canary=canary, relation=case.relation, rounds=case.rounds, **run)


def _lesson() -> dict[str, Any]:
    """A client's samples, where the canary is the first of them under the other of two labels.

    A fair start gives a sample with either label gradients that point against each other: nothing can be farther away.
    """
    data = load("breast_cancer")
    model = mlp(data.shape, 2, hidden=())
    return {
        "model": model,
        "params": torch.zeros(model.dim),
        "x": torch.cat([data.x[:1], data.x[:8]]),
        "y": torch.cat([1 - data.y[:1], data.y[:8]]),
        "canary": 0,
        "instead": 1,
    }


def length_audit(stated: float, *, trials: int, seed: int = 0) -> float:
    """What the lengths of DP-SGD's updates show of an epsilon if a sample is left out of a step of known size.

    The noise is on the sum, and the sum is divided by the number of samples: with one sample fewer the noise on the
    mean is louder. So zero-out must not be stated of steps whose size is not public.

    stated     the epsilon that the noise is made for, per example, zero-out
    returns    a lower bound that supposes nothing

    >>> length_audit(1.0, trials=500) > 1.0
    True

    Raises ValueError unless trials >= 50.
    """
    check_number("length_audit", whole=True, least=50, trials=trials)
    terms = Accountant(unit="example", delta=DELTA, relation="zero-out", rate=1, rounds=1)
    data = load("breast_cancer")
    model = mlp(data.shape, 2, hidden=(32,))  # in a thousand dimensions the length of noise is hardly random
    params = model.init(generator(seed, "start"))
    lengths = []
    for first in (-1, 0):  # the place of one sample left empty, and taken
        step = torch.tensor([first, *range(1, 8)]).expand(trials, 1, -1)
        updates = dp_sgd(
            model,
            params,
            data.x,
            data.y,
            step,
            lr=0.01,
            clip=CLIP,
            noise=terms.noise_for(stated),
            generator=generator(seed, "lengths", first),
        )
        lengths.append(updates.norm(dim=1))
    missing, there = lengths
    return lower_bound(missing, there, delta=DELTA, gaussian=False, confidence=CONFIDENCE).low


# --- the page


def page(*, trials: int, seed: int = 0) -> Iterator[str]:
    """The page, line by line as it is measured.

    trials    as for `audited`
    """
    yield "# What an audit finds\n"
    yield f"Printed by `python -m labsec.study.audit --trials {trials} --seed {seed}`.\n"
    yield (
        f"A canary {LONG:g} clips long is put into one client's update, or a sample with a wrong label into its data. "
        "An auditor who knows all else sees what comes out and guesses whether it was there. The bounds hold together "
        f"with {CONFIDENCE:.0%} confidence for each line; δ = {DELTA:g}; the threshold is chosen on one half of the "
        f"trials and judged on the other. There are {trials} trials with the canary and as many without it, and a "
        "fifth of them where a mechanism of clients runs ten rounds.\n"
    )
    yield (
        "The first bound supposes nothing about the mechanism, the second one takes it at its word that it adds "
        "Gaussian noise. A bound far below what is stated is no praise: with more trials it would be higher.\n"
    )
    yield "| mechanism | is | unit | relation | rounds | stated ε | ε is at least | if the noise is Gaussian | found |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for case in cases():
        for stated in STATED:
            found = audited(case, stated, trials=trials, seed=seed)
            cells = [
                case.name,
                "right" if case.right else "broken",
                found.unit,
                found.relation,
                str(found.rounds),
                f"{stated:g}",
                f"{found.any.low:.2f}",
                f"{found.gaussian.low:.2f}",
                "caught" if found.caught else "no more than stated",
            ]
            yield f"| {' | '.join(cells)} |"
    for stated in STATED:
        low = length_audit(stated, trials=trials, seed=seed)
        verdict = "caught" if low > stated else "no more than stated"
        yield (
            f"| DP-SGD in steps of a known size, a sample left out | broken | example | zero-out | 1 | {stated:g} "
            f"| {low:.2f} | – | {verdict} |"
        )
    yield (
        "\nThe last two lines look at the length of the update alone: the noise on the sum is divided by the number of "
        "samples in the step, so that its size tells that one is missing. Noise that is repeated is not seen in one "
        "round; the canary changes its sign from round to round, and in two rounds it is.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the page and write it."""
    parser = argparse.ArgumentParser(prog="python -m labsec.study.audit", description=__doc__)
    parser.add_argument("--trials", type=int, default=5000, metavar="N", help="of every audit (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every draw (default: 0)")
    parser.add_argument("--out", type=Path, default=COURSE / "docs" / "audit.md", help="where to write the page")
    options = parser.parse_args(arguments)
    lines = []
    for line in page(trials=options.trials, seed=options.seed):
        print(line, flush=True)
        lines.append(line)
    storage.write_text(options.out, "\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
