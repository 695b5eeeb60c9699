"""Claims and their verdicts: measured here, looked up, or traced to a source. Each leaves a record for the ledger.

A claim is a statement that somebody makes in public. The rule that turns numbers into a verdict is written down
before the numbers are there, and the verdict is computed.
"""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from labsec.course.card import BLUE, Card

MIME = "application/vnd.labsec.claim+json"
VERDICTS = ("held", "did not hold", "depends on", "cannot be tested, because")
FEWEST_SEEDS = 5

Measure: TypeAlias = Callable[[int], Mapping[str, float] | float]
Spread: TypeAlias = dict[str, dict[str, float]]  # what was measured -> mean, std, min, max


def claim(
    id: str,
    *,
    statement: str,
    measure: Measure,
    baseline: Measure,
    verdict: Callable[[Spread, Spread], str],
    seeds: Iterable[int],
    rule: str,
    unit: str = "",
) -> Card:
    """Measure a claim with several seeds, beside a baseline, and let the rule decide.

    id          number of the claim
    statement   the claim, in our words
    measure     (seed) -> a number, or name -> number; the first line of its docstring says what is measured
    baseline    (seed) -> the same for what the claim must be compared with
    verdict     (measured, baseline) -> a sentence that begins with "held", "did not hold", "depends on" or
                "cannot be tested, because"; both arguments are name -> {"mean", "std", "min", "max"}
    seeds       at least five
    rule        the verdict's rule in words, fixed before the data
    unit        of the numbers
    returns     a card to read, with the record in its MIME bundle

    >>> def heads(seed):
    ...     "Share of heads"
    ...     return 0.5 + 0.01 * seed
    >>> def fair(seed):
    ...     "A fair coin"
    ...     return 0.5
    >>> claim("0", statement="The coin is fair.", measure=heads, baseline=fair, seeds=range(5),
    ...       rule="held within .1", verdict=lambda got, base:
    ...       "held" if abs(got["heads"]["mean"] - base["fair"]["mean"]) < 0.1 else "did not hold")
    ⚖ Claim 0: held
      Statement  The coin is fair.
      Measured   Share of heads
                 heads: 0.52 (0.5 … 0.54, standard deviation 0.0158)
      Baseline   A fair coin
                 fair: 0.5 (0.5 … 0.5, standard deviation 0)
      Rule       held within .1
      Seeds      5

    Raises ValueError for fewer than five seeds, a function without a docstring, a number that is not finite, or a
    verdict that begins otherwise.
    """
    seeds = list(seeds)
    if len(set(seeds)) < FEWEST_SEEDS:
        raise ValueError(f"claim {id} needs at least {FEWEST_SEEDS} different seeds; got {seeds}")

    # What is measured is looked up first: a missing docstring shows before the runs, which may take minutes.
    measured_what = _headline(measure)
    compared_with = _headline(baseline)
    results = _spread(measure, seeds)
    baseline_results = _spread(baseline, seeds)

    # The record is for the ledger, the rows are for the reader.
    record = {
        **_record(id, "measured", statement, verdict(results, baseline_results)),
        "measured": measured_what,
        "baseline": compared_with,
        "rule": rule,
        "unit": unit,
        "seeds": len(seeds),
        "results": results,
        "baseline_results": baseline_results,
    }
    rows = {
        "Statement": statement,
        "Measured": _lines(measured_what, results, unit),
        "Baseline": _lines(compared_with, baseline_results, unit),
        "Rule": rule,
        "Seeds": str(len(seeds)),
    }
    return _card(record, rows)


def reading(id: str, *, statement: str, says: str, verdict: str, sources: Sequence[str]) -> Card:
    """A claim that is settled by reading, not by measuring.

    says       what the sources say, in our words
    sources    at least one citation

    >>> reading("0", statement="Water is wet.", says="It is.", verdict="held", sources=["A book"])
    ⚖ Claim 0: held
      Statement  Water is wet.
      Says       It is.
      Sources    A book

    Raises ValueError without a source, or for a verdict that begins otherwise.
    """
    if not sources:
        raise ValueError(f"claim {id} is settled by reading and needs at least one source")
    record = _record(id, "reading", statement, verdict) | {"says": says, "sources": list(sources)}
    return _card(record, {"Statement": statement, "Says": says, "Sources": "; ".join(sources)})


def sources(id: str, *, statement: str, asked: Sequence[str], found: str, verdict: str) -> Card:
    """A claim that stands or falls with its source: an exercise in checking sources.

    asked      the questions that a source would have to answer
    found      what the search found

    >>> sources("0", statement="87 % of figures are invented.", asked=["Who counted?"], found="Nothing.",
    ...         verdict="cannot be tested, because no source for the figure was found")
    ⚖ Claim 0: cannot be tested, because no source for the figure was found
      Statement   87 % of figures are invented.
      Question 1  Who counted?
      Found       Nothing.

    Raises ValueError without a question, or for a verdict that begins otherwise.
    """
    if not asked:
        raise ValueError(f"claim {id} needs at least one question to its source")
    record = _record(id, "exercise", statement, verdict) | {"asked": list(asked), "found": found}
    questions = {f"Question {i}": question for i, question in enumerate(asked, start=1)}
    return _card(record, {"Statement": statement, **questions, "Found": found})


def _record(id: str, kind: str, statement: str, verdict: str) -> dict[str, Any]:
    """What the records of all kinds of claims share."""
    if not verdict.startswith(VERDICTS):
        raise ValueError(f"the verdict on claim {id} must begin with {', '.join(map(repr, VERDICTS))}; got {verdict!r}")
    return {"id": id, "kind": kind, "statement": statement, "verdict": verdict}


def _card(record: dict[str, Any], rows: dict[str, str]) -> Card:
    """A card to read, with the record in its MIME bundle, where the build collects it."""
    title = f"Claim {record['id']}: {record['verdict']}"
    return Card(symbol="⚖", title=title, rows=rows, edge=BLUE, extra={MIME: record})


def _headline(function: Measure) -> str:
    """The first line of the docstring."""
    text = inspect.getdoc(function)
    if not text:
        raise ValueError(f"{getattr(function, '__name__', function)} needs a docstring that says what it measures")
    return text.splitlines()[0].rstrip(".")


def _spread(function: Measure, seeds: Sequence[int]) -> Spread:
    """Measure with every seed, and sum up each of the numbers that were measured."""
    results = [function(seed) for seed in seeds]

    # A single number goes by the name of its function.
    name = getattr(function, "__name__", "value").replace("_", " ")
    tables = [result if isinstance(result, Mapping) else {name: result} for result in results]

    # One column for each name, with a number for every seed.
    columns = {key: [float(table[key]) for table in tables] for key in tables[0]}
    for key, numbers in columns.items():
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{key} is not finite for every seed; got {numbers}")
    return {key: _summary(numbers) for key, numbers in columns.items()}


def _summary(numbers: list[float]) -> dict[str, float]:
    summary = {
        "mean": statistics.fmean(numbers),
        "std": statistics.stdev(numbers),
        "min": min(numbers),
        "max": max(numbers),
    }
    return {name: round(number, 4) for name, number in summary.items()}


def _lines(headline: str, spread: Spread, unit: str) -> str:
    return "\n".join([headline, *(f"{name}: {numbers_in_words(each, unit)}" for name, each in spread.items())])


def numbers_in_words(summary: Mapping[str, float], unit: str) -> str:
    """Mean and spread on a line.

    >>> numbers_in_words({"mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0}, "dB")
    '1.5 dB (1 … 2, standard deviation 0.5)'
    """
    mean = f"{summary['mean']:.3g} {unit}".rstrip()
    return f"{mean} ({summary['min']:.3g} … {summary['max']:.3g}, standard deviation {summary['std']:.3g})"
