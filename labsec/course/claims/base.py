"""What a claim is: a statement that somebody makes in public, and how it is settled.

By measuring (`Claim`), by reading (`Reading`), or by looking for its source (`Sourced`). Each leaves a record, which
the build collects for the ledger. The verdict on a measured claim is computed by a rule.
"""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

MIME = "application/vnd.labsec.claim+json"
VERDICTS = ("held", "did not hold", "depends on", "cannot be tested, because")
FEWEST_SEEDS = 5
DIGITS = 4  # after the point, of what a record keeps


class Summary(TypedDict):
    """A number for every seed, and what they come to."""

    mean: float
    std: float
    min: float
    max: float
    seeds: list[float]


Measure: TypeAlias = Callable[[int], Mapping[str, float] | float]
Spread: TypeAlias = dict[str, Summary]  # by what was measured


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim that is measured with several seeds, beside a baseline.

    id            number of the claim
    statement     the claim, in our words
    measure       (seed) -> a number, or name -> number; the first line of its docstring says what is measured
    baseline      (seed) -> the same for what the claim must be compared with
    verdict       (measured, baseline) -> a sentence that begins with one of VERDICTS
    rule          the verdict's rule in words
    fixed         the commit that brought the rule before the numbers were there; "" if no commit shows that
    seeds         at least five
    unit          of the numbers
    thresholds    (number, name) of the rule, drawn as lines; a name begins with ● or ○ for what it judges
    supports      (name, measured, baseline) -> whether what was measured under this name supports the claim
    again         (seed) -> the same as measure, or a part of it, by running; where measure looks numbers up in a table
    tolerance     how far a number may lie from the committed one when a seed is run again: on another machine sums are
                  rounded differently, and a run may enlarge that
    beside        (seed) -> numbers that are shown and neither judged nor compared when a seed is run again, such as
                  times, which are others on another machine
    beside_unit   of these numbers

    Raises ValueError for fewer than five seeds or for a function without a docstring.
    """

    id: str
    statement: str
    measure: Measure
    baseline: Measure
    verdict: Callable[[Spread, Spread], str]
    rule: str
    fixed: str = ""
    seeds: Sequence[int] = range(5)
    unit: str = ""
    thresholds: Sequence[tuple[float, str]] = ()
    supports: Callable[[str, Spread, Spread], bool] | None = None
    again: Measure | None = None
    tolerance: float = 0.05
    beside: Measure | None = None
    beside_unit: str = ""

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < FEWEST_SEEDS:
            raise ValueError(f"claim {self.id} needs at least {FEWEST_SEEDS} different seeds; got {list(self.seeds)}")
        headline(self.measure)
        headline(self.baseline)
        if self.beside is not None:
            headline(self.beside)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A claim that is settled by reading, not by measuring.

    says       what the sources say, in our words
    sources    at least one citation

    Raises ValueError without a source.
    """

    id: str
    statement: str
    says: str
    verdict: str
    sources: Sequence[str]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(f"claim {self.id} is settled by reading and needs at least one source")


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """A claim that stands or falls with its source: an exercise in checking sources.

    asked      the questions that a source would have to answer
    found      what the search found

    Raises ValueError without a question.
    """

    id: str
    statement: str
    asked: Sequence[str]
    found: str
    verdict: str

    def __post_init__(self) -> None:
        if not self.asked:
            raise ValueError(f"claim {self.id} needs at least one question to its source")


AnyClaim: TypeAlias = Claim | Reading | Sourced


def record_of(
    claim: AnyClaim, results: Spread | None = None, compared: Spread | None = None, beside: Spread | None = None
) -> dict[str, Any]:
    """What the ledger keeps of a claim.

    results, compared, beside    of a measured claim, as `measured` returns them

    Raises ValueError for a verdict that begins otherwise than VERDICTS.
    """
    if isinstance(claim, Reading):
        return _record(claim, "reading", claim.verdict) | {"says": claim.says, "sources": list(claim.sources)}
    if isinstance(claim, Sourced):
        return _record(claim, "exercise", claim.verdict) | {"asked": list(claim.asked), "found": claim.found}
    results = results or {}
    compared = compared or {}
    record = {
        **_record(claim, "measured", claim.verdict(results, compared)),
        "measured": headline(claim.measure),
        "baseline": headline(claim.baseline),
        "rule": claim.rule,
        "fixed": claim.fixed,
        "unit": claim.unit,
        "seeds": len(claim.seeds),
        "results": results,
        "baseline_results": compared,
    }
    if claim.beside is not None:
        record |= {
            "beside": headline(claim.beside),
            "beside_unit": claim.beside_unit,
            "beside_results": beside or {},
        }
    return record


def _record(claim: AnyClaim, kind: str, verdict: str) -> dict[str, Any]:
    """What the records of all kinds of claims share."""
    if not verdict.startswith(VERDICTS):
        words = ", ".join(map(repr, VERDICTS))
        raise ValueError(f"the verdict on claim {claim.id} must begin with {words}; got {verdict!r}")
    return {"id": claim.id, "kind": kind, "statement": claim.statement, "verdict": verdict}


def headline(function: Measure) -> str:
    """The first line of a docstring: what a function measures.

    Raises ValueError if there is none.
    """
    text = inspect.getdoc(function)
    if not text:
        raise ValueError(f"{getattr(function, '__name__', function)} needs a docstring that says what it measures")
    return text.splitlines()[0].rstrip(".")


def by_name(function: Measure, seed: int) -> dict[str, float]:
    """What a function measures with one seed; a single number goes by the name of the function."""
    result = function(seed)
    if not isinstance(result, Mapping):
        result = {getattr(function, "__name__", "value").replace("_", " "): result}
    return {name: float(number) for name, number in result.items()}


def measured(function: Measure, seeds: Sequence[int]) -> Spread:
    """Measure with every seed, and sum up each of the numbers that were measured.

    >>> def heads(seed):
    ...     "Share of heads"
    ...     return 0.5 + 0.01 * seed
    >>> measured(heads, range(5))["heads"]
    {'mean': 0.52, 'std': 0.0158, 'min': 0.5, 'max': 0.54, 'seeds': [0.5, 0.51, 0.52, 0.53, 0.54]}

    Raises ValueError for a number that is not finite, or where seeds give numbers of different names.
    """
    tables = [by_name(function, seed) for seed in seeds]
    names = tables[0].keys()
    if any(table.keys() != names for table in tables):
        raise ValueError(f"every seed must give the same names; got {[sorted(table) for table in tables]}")

    # One column for each name, with a number for every seed.
    columns = {name: [table[name] for table in tables] for name in names}
    for name, numbers in columns.items():
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} is not finite for every seed; got {numbers}")
    return {name: _summary(numbers) for name, numbers in columns.items()}


def _summary(numbers: list[float]) -> Summary:
    return {
        "mean": round(statistics.fmean(numbers), DIGITS),
        "std": round(statistics.stdev(numbers), DIGITS),
        "min": round(min(numbers), DIGITS),
        "max": round(max(numbers), DIGITS),
        "seeds": [round(number, DIGITS) for number in numbers],
    }


def numbers_in_words(summary: Mapping[str, Any], unit: str) -> str:
    """Mean and spread on a line.

    >>> numbers_in_words({"mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0}, "dB")
    '1.5 dB (1 … 2, standard deviation 0.5)'
    """
    mean = f"{summary['mean']:.3g} {unit}".rstrip()
    return f"{mean} ({summary['min']:.3g} … {summary['max']:.3g}, standard deviation {summary['std']:.3g})"
