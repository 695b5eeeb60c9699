"""What a learner guessed and said, kept beside the progress of the exercises, and how good the guesses are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TypeAlias

from labsec.course import progress_file

Guess: TypeAlias = float | str | None  # None: the question was skipped
ABOUT_CLAIMS = "claims"  # verdicts on claims are counted apart from predictions
FEWEST_FOR_A_TENDENCY = 3


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A guess, and what became of it.

    guess       a number, one of the choices, or None if the question was skipped
    measured    the result, once it was shown beside the guess; from then on the guess stays as it is
    off         how far the guess lay from the result, as a share of the scale: below 0 if it was too low, 0 if it was
                near enough. For a choice 0 or 1. None if nothing was guessed or shown
    about       what was predicted, in the plural ("attacks"); "" if no tendency is to be told
    """

    guess: Guess
    measured: float | str | None = None
    off: float | None = None
    about: str = ""


def kept(id: str) -> Kept | None:
    """What is known of a prediction, or None if nothing can be read."""
    try:
        found = json.loads(progress_file.states().get(id, ""))
        return Kept(**found)
    except (ValueError, TypeError):  # no JSON, or JSON of something else
        return None


def keep(id: str, entry: Kept) -> None:
    """Keep a prediction as text under its id, beside the states of the exercises; `labsec reset` clears it."""
    progress_file.note(id, json.dumps(asdict(entry), ensure_ascii=False))


def calibration() -> dict[str, str]:
    """How good the learner's guesses are so far, for the table of progress; empty as long as there is none.

    returns    "Predictions" -> such as "7, of which 4 within range; you tend to underestimate attacks",
               "Verdicts on claims" -> such as "5, of which 3 as measured"
    """
    entries = [entry for entry in map(kept, sorted(progress_file.states())) if entry and entry.off is not None]
    claims = [entry for entry in entries if entry.about == ABOUT_CLAIMS]
    predictions = [entry for entry in entries if entry.about != ABOUT_CLAIMS]
    rows = {}
    if predictions:
        rows["Predictions"] = "; ".join([f"{_hits(predictions)} within range", *tendencies(predictions)])
    if claims:
        rows["Verdicts on claims"] = f"{_hits(claims)} as measured"
    return rows


def _hits(entries: list[Kept]) -> str:
    return f"{len(entries)}, of which {sum(entry.off == 0 for entry in entries)}"


def tendencies(entries: list[Kept]) -> list[str]:
    """What a learner tends to overestimate or to underestimate.

    Said where there are three guesses or more about one thing, and two thirds of them lie on the same side.

    >>> tendencies([Kept(guess=1.0, off=off, about="attacks") for off in (-0.5, -0.2, 0.0)])
    ['you tend to underestimate attacks']
    """
    found = []
    for about in sorted({entry.about for entry in entries} - {""}):
        numbers = [entry.off for entry in entries if entry.about == about and not isinstance(entry.guess, str)]
        too_low = sum(off is not None and off < 0 for off in numbers)
        too_high = sum(off is not None and off > 0 for off in numbers)
        if len(numbers) >= FEWEST_FOR_A_TENDENCY and 3 * max(too_low, too_high) >= 2 * len(numbers):
            found.append(f"you tend to {'under' if too_low > too_high else 'over'}estimate {about}")
    return found
