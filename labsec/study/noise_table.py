"""Noise for a slider: multipliers out of a committed table, where an accountant would take too long with sampling.

`python -m labsec.study.noise_table` makes docs/noise.csv, once. A slider then reads between two of its rows.

    noise_for    the multiplier for an epsilon, within a thousandth of a second
    load         the table
    problem      what is wrong with it
    main         makes it
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import exp, inf, log
from pathlib import Path

import numpy as np

from labsec import storage
from labsec.files import COURSE
from labsec.guards import check_kind, check_number
from labsec.privacy import Accountant, Relation, accountant, losses
from labsec.study.matrix.stamp import Stamp, split
from labsec.study.sweep import code_of, fingerprint

TABLE = COURSE / "docs" / "noise.csv"
COMMAND = "python -m labsec.study.noise_table"
HEADER = "relation,delta,rate,rounds,noise,epsilon\n"
RELATIONS: tuple[Relation, ...] = ("zero-out", "replace-one")
DELTA = 1e-5
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
ROUNDS = (10, 20, 50, 100, 200, 500, 1000)
LEAST = 1e-3  # epsilon
MOST = 1e7
STRAIGHT = 2e-3  # how far, as a share of it, the noise between two rows may be from a straight line
MARGIN = 1 + 2 * STRAIGHT  # what is read gets this much more, so that it is never too little
Curve = tuple[np.ndarray, np.ndarray]  # log epsilon [n], rising, and log noise [n]


@dataclass(frozen=True)
class Terms:
    """Of which table rows speak; the unit makes no difference to them."""

    relation: Relation
    delta: float
    rate: float
    rounds: int

    def accountant(self) -> Accountant:
        return Accountant(unit="client", delta=self.delta, relation=self.relation, rate=self.rate, rounds=self.rounds)


def all_terms() -> list[Terms]:
    """What the table holds: both relations, every rate and every number of rounds."""
    return [Terms(relation, DELTA, rate, rounds) for relation, rate, rounds in product(RELATIONS, RATES, ROUNDS)]


def noise_for(terms: Accountant, epsilon: float) -> float:
    """What `terms.noise_for(epsilon)` answers, from the table: never less than necessary, and up to 2 % more.

    terms      at rate 1 anything, because there a formula answers; below it what the table holds
    epsilon    from 1e-3 to 1e7, or infinite

    >>> terms = Accountant(unit="client", delta=1e-5, relation="zero-out", rate=0.1, rounds=50)
    >>> round(noise_for(terms, 4.0), 1), round(terms.noise_for(4.0), 1)
    (1.1, 1.1)

    Raises ValueError for terms that the table does not hold, and for an epsilon out of its range; FileNotFoundError or
    BrokenFileError for a table that is missing or that has lost rows.
    """
    check_kind("noise_for", Accountant, terms=terms)
    check_number("noise_for", above=0, most=inf, epsilon=epsilon)
    if terms.rate == 1 or epsilon == inf:
        return terms.noise_for(epsilon)
    if not LEAST <= epsilon <= MOST:
        raise ValueError(f"noise_for needs {LEAST:g} <= epsilon <= {MOST:g} below rate 1; got epsilon={epsilon}")
    curves = load()
    key = Terms(terms.relation, float(terms.delta), float(terms.rate), int(terms.rounds))
    if key not in curves:
        raise ValueError(
            f"the table holds delta {DELTA:g}, rates {RATES} and rounds {ROUNDS}; got delta={key.delta:g}, "
            f"rate={key.rate:g}, rounds={key.rounds}: ask Accountant.noise_for, which takes longer"
        )
    return MARGIN * exp(float(np.interp(log(epsilon), *curves[key])))


@cache
def load(path: Path = TABLE) -> dict[Terms, Curve]:
    """The curves of the committed table, read once.

    Raises FileNotFoundError or BrokenFileError for a file that is missing or that has lost rows.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[Stamp, dict[Terms, Curve]]:
    remedy = f"{storage.how_to_restore(path)}, or make it again with `{COMMAND}`"
    stamp, text = split(path, storage.read_text(path, remedy), remedy)
    points: dict[Terms, list[tuple[float, float]]] = {}
    try:
        for line in text.removeprefix(HEADER).splitlines():
            relation, delta, rate, rounds, noise, epsilon = line.split(",")
            terms = Terms(RELATIONS[RELATIONS.index(relation)], float(delta), float(rate), int(rounds))
            points.setdefault(terms, []).append((log(float(epsilon)), log(float(noise))))
    except ValueError as error:
        raise storage.BrokenFileError(path, f"a row is not what it should be: {error}", remedy) from None
    return stamp, {terms: _columns(sorted(rows)) for terms, rows in points.items()}


def _columns(rows: Sequence[tuple[float, float]]) -> Curve:
    epsilons, noises = np.array(rows).T
    return epsilons, noises


def problem(path: Path = TABLE) -> str:
    """What is wrong with the table, and what to do about it, in one sentence; "" if it is whole and current."""
    try:
        found, _ = _read(path)
    except (FileNotFoundError, storage.BrokenFileError) as error:
        return str(error)
    if found != _stamp(found.rows):
        return f"{path} was made by another accountant or for other terms than there are now: run `{COMMAND}`."
    return ""


def _stamp(rows: int) -> Stamp:
    """Rows, the terms they are for, and the code of the accountant."""
    settings = fingerprint(RELATIONS, DELTA, RATES, ROUNDS, LEAST, MOST, STRAIGHT)
    return Stamp(rows, settings, fingerprint([code_of(inspect.getsource(each)) for each in (accountant, losses)]))


def rows_of(terms: Terms) -> Iterator[str]:
    """The rows of one curve: close together where it bends, so that a straight line will do between them."""
    known = terms.accountant()

    def point(noise: float) -> tuple[float, float]:
        """(log epsilon, log noise) for a noise of five digits: what the file will hold."""
        written = float(f"{noise:.5g}")
        return log(known.epsilon(written)), log(written)

    def between(few: tuple[float, float], many: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """The points that are needed between two, the second included."""
        middle = point(exp((few[1] + many[1]) / 2))
        share = (middle[0] - few[0]) / (many[0] - few[0])
        straight = few[1] + share * (many[1] - few[1])
        if abs(middle[1] - straight) > STRAIGHT and abs(few[1] - many[1]) > 2 * STRAIGHT:
            yield from between(few, middle)
            yield from between(middle, many)
        else:
            yield from (middle, many)

    # A little beyond both ends, so that they are between two points as well.
    first = point(1.02 * known.noise_for(LEAST))
    last = point(0.98 * known.noise_for(MOST))
    for log_epsilon, log_noise in (first, *between(first, last)):
        terms_of = f"{terms.relation},{terms.delta:g},{terms.rate:g},{terms.rounds}"
        yield f"{terms_of},{exp(log_noise):.5g},{exp(log_epsilon):.6g}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--to", type=Path, default=TABLE, metavar="FILE", help=f"where it goes (default: {TABLE.name})")
    options = parser.parse_args(arguments)
    rows: list[str] = []
    for terms in all_terms():
        rows.extend(rows_of(terms))
        print(f"{terms}: {len(rows)} rows", flush=True)
    storage.write_text(options.to, f"{_stamp(len(rows))}{HEADER}{''.join(rows)}")


if __name__ == "__main__":
    main()
