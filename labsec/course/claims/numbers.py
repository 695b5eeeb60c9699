"""The numbers of a measured claim: committed ones, of which one seed is run again in front of whoever asks.

A build measures with every seed. A learner waits for one seed only: the others are the committed ones, which are taken
as long as the seed that was run again agrees with them. If it does not, every seed is measured here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labsec.course.claims.base import Claim, Spread, by_name, measured
from labsec.files import COURSE

LEDGER = COURSE / "docs" / "claims.json"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What was measured and what it is compared with, a sentence on where the numbers are from, and what stands beside
    them without being judged."""

    results: Spread
    compared: Spread
    origin: str
    beside: Spread = field(default_factory=dict)


def numbers_of(claim: Claim) -> Numbers:
    """The numbers of a claim, with one seed run again.

    Raises AssertionError if that seed does not agree with the numbers of a table and LABSEC_STRICT=1.
    """
    seed = claim.seeds[0]
    if claim.again is not None:
        looked_up = _measured_here(claim)
        here = by_name(claim.again, seed)
        differs = _difference(claim, here, looked_up.results)
        if os.environ.get("LABSEC_STRICT") == "1":
            assert not differs, f"claim {claim.id}, seed {seed}: {differs}"
        part = f" for {'; '.join(here)}" if len(here) < len(looked_up.results) else ""
        origin = f"Seed {seed} was run here{part}: {differs or 'the numbers of the table came out again'}."
        return replace(looked_up, origin=origin)

    committed = None if os.environ.get("LABSEC_BUILD") == "1" else _committed(claim)
    if committed is None:
        return _measured_here(claim)
    here = by_name(claim.measure, seed)
    differs = _difference(claim, here, committed.results)
    if not differs:
        origin = f"Seed {seed} was run here: the committed numbers came out again."
        results = _ordered(committed.results, here)
        return replace(committed, results=results, compared=_ordered(committed.compared, here), origin=origin)
    every = _measured_here(claim)
    origin = f"Seed {seed} was run here: {differs}. So every seed was run here, and the card shows these numbers."
    return replace(every, origin=origin)


def _measured_here(claim: Claim) -> Numbers:
    return Numbers(
        results=measured(claim.measure, claim.seeds),
        compared=measured(claim.baseline, claim.seeds),
        origin="All of them were run here.",
        beside=measured(claim.beside, claim.seeds) if claim.beside else {},
    )


def _committed(claim: Claim) -> Numbers | None:
    """The numbers of the ledger, or None where it has none for the claim as it is now."""
    try:
        records: list[dict[str, Any]] = json.loads(LEDGER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    record = next((record for record in records if record["id"] == claim.id), {})
    results = record.get("results", {})
    compared = record.get("baseline_results", {})
    columns = [summary.get("seeds", ()) for summary in (*results.values(), *compared.values())]
    whole = bool(columns) and all(len(column) == len(claim.seeds) for column in columns)
    if not whole or record["rule"] != claim.rule:
        return None
    # Nobody waits for numbers that are not judged: where the ledger lacks them, the card shows none.
    return Numbers(results=results, compared=compared, origin="", beside=record.get("beside_results", {}))


def _ordered(spread: Spread, names: Iterable[str]) -> Spread:
    """The same numbers in the order in which they are measured; a saved notebook sorts names by their letters."""
    return {name: spread[name] for name in (*(name for name in names if name in spread), *spread)}


def _difference(claim: Claim, here: Mapping[str, float], known: Spread) -> str:
    """What the first seed gives here and did not give before, in words; "" if all agrees within the tolerance."""
    for name, number in here.items():
        before = known[name]["seeds"][0] if name in known else None
        if before is None or abs(number - before) > claim.tolerance:
            return f"{name} is {number:.4g}, and was {'not measured' if before is None else f'{before:.4g}'}"
    return ""
