"""Write data/notes.csv: short notes of an invented hospital, drawn from a seeded grammar.

Run it as `python data/make_notes.py`; the same seed writes the same file. Nobody wrote these notes and nobody is in
them: a note is an opening, a topic of its desk, details that any desk might add, and at times a word about another
desk. One note in twelve says so little that no reader could be sure where it belongs.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

FILE = Path(__file__).resolve().parent / "notes.csv"
COUNT, SEED = 2400, 2026

OPENINGS = ["please note", "update", "handover", "urgent", "as agreed", "reminder", "second request", "for today", ""]
PEOPLE = ["the patient", "the family", "the night shift", "the day team", "the guardian", "the new colleague"]
PLACES = ["room four", "room nine", "the east wing", "the west wing", "the front desk", "the third floor", "the annex"]
TIMES = ["before noon", "tonight", "tomorrow morning", "by friday", "after the round", "within the hour", "next week"]
CLOSINGS = ["call back", "no change since", "thank you", "signed off", "waiting for an answer", "please confirm", ""]
VAGUE = ["asked again about the matter", "still open", "was told to wait", "form is missing", "needs a signature"]

TOPICS = {
    "ward": {
        "things": ["dressing", "drip", "blood pressure", "fever", "bed", "breakfast tray", "wound", "visitor list"],
        "acts": [
            "was checked",
            "was changed",
            "rose again",
            "looks better",
            "needs turning",
            "slept through",
            "is calm",
        ],
        "asides": ["nurse informed", "on the ward", "observation goes on"],
    },
    "billing": {
        "things": [
            "invoice",
            "deposit",
            "insurance number",
            "copayment",
            "refund",
            "account",
            "cost estimate",
            "tariff",
        ],
        "acts": [
            "was paid",
            "is overdue",
            "was sent twice",
            "needs correction",
            "was refused",
            "is settled",
            "is on hold",
        ],
        "asides": ["insurer informed", "at the cash desk", "second notice follows"],
    },
    "pharmacy": {
        "things": ["tablet", "dose", "antibiotic", "prescription", "ointment", "insulin pen", "vial", "allergy entry"],
        "acts": [
            "was dispensed",
            "is out of stock",
            "was halved",
            "was reordered",
            "expired",
            "is kept cool",
            "was checked",
        ],
        "asides": ["pharmacist informed", "from the dispensary", "twice a day"],
    },
    "transport": {
        "things": ["wheelchair", "ambulance", "stretcher", "driver", "transfer", "lift", "oxygen cart", "return trip"],
        "acts": [
            "is late",
            "was booked",
            "was cancelled",
            "is on its way",
            "needs a ramp",
            "was sent twice",
            "is on hold",
        ],
        "asides": ["driver informed", "at the gate", "pick up at the back door"],
    },
}


def note(desk: str, draw: random.Random) -> str:
    """Return one note of a desk, in lower case and without punctuation."""
    own = TOPICS[desk]
    kind = draw.random()
    if kind < 1 / 12:
        core = [draw.choice(PEOPLE), draw.choice(VAGUE)]
    elif kind < 3 / 12:
        core = [draw.choice(own["acts"]), draw.choice(PLACES)]
    else:
        core = [draw.choice(own["things"]), draw.choice(own["acts"])]
    parts = [draw.choice(OPENINGS), draw.choice(PEOPLE) if draw.random() < 0.5 else "", *core]
    parts += [draw.choice(PLACES) if draw.random() < 0.5 else "", draw.choice(TIMES) if draw.random() < 0.6 else ""]
    if draw.random() < 0.3:
        parts.append(draw.choice(own["asides"]))
    if draw.random() < 0.35:
        other = TOPICS[draw.choice([name for name in TOPICS if name != desk])]
        parts += ["not the", draw.choice(other["things"])]
    return " ".join(" ".join([*parts, draw.choice(CLOSINGS)]).split())


def rows() -> list[tuple[str, str]]:
    """Return all notes as (desk, text), in random order, with as many of each desk."""
    draw = random.Random(SEED)
    desks = [desk for desk in TOPICS for _ in range(COUNT // len(TOPICS))]
    draw.shuffle(desks)
    return [(desk, note(desk, draw)) for desk in desks]


def write(file: Path) -> None:
    """Write all notes to a CSV file with the columns desk and text."""
    with file.open("w", encoding="utf-8", newline="") as target:
        table = csv.writer(target, lineterminator="\n")
        table.writerow(("desk", "text"))
        table.writerows(rows())


if __name__ == "__main__":
    write(FILE)
