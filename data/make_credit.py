"""Write data/credit.csv: an invented credit table, drawn from a seeded recipe.

Run it as `python data/make_credit.py`; the same seed writes the same file. Nobody is in it: every row is a draw of
numbers and categories that depend on each other a little, as in real tables, and whether the credit was paid back
depends on both. The shares of the categories are chosen so that always guessing the most frequent one is right for
about two cells in five.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

FILE = Path(__file__).resolve().parent / "credit.csv"
COUNT, SEED = 1200, 2026

CATEGORIES = {  # column: what it may say, and how often
    "housing": {"own": 0.52, "rent": 0.36, "free": 0.12},
    "purpose": {"car": 0.34, "furniture": 0.22, "business": 0.16, "education": 0.12, "repairs": 0.1, "travel": 0.06},
    "savings": {"none": 0.4, "small": 0.3, "medium": 0.2, "large": 0.1},
    "employment": {"under a year": 0.18, "one to four": 0.38, "four to seven": 0.24, "longer": 0.2},
    "history": {"no credit yet": 0.3, "paid on time": 0.44, "paid late": 0.17, "open elsewhere": 0.09},
    "contact": {"mobile": 0.46, "landline": 0.29, "letter": 0.25},
}


def row(draw: random.Random) -> dict[str, str | int]:
    """Return one invented client with its credit."""
    chosen = {name: draw.choices([*shares], [*shares.values()])[0] for name, shares in CATEGORIES.items()}
    age = round(min(75, max(19, draw.gauss(40, 12))))
    income = round(min(9000, max(800, draw.lognormvariate(7.9, 0.4))), -1)
    months = draw.choice([6, 12, 12, 18, 24, 24, 36, 48, 60])
    amount = round(min(20000, max(300, income * months / 24 * draw.uniform(0.4, 1.6))), -1)
    numbers = {
        "age": age,
        "income": int(income),
        "amount": int(amount),
        "months": months,
        "credits": draw.randint(0, 4),
    }

    # Whoever borrows little for the income, has savings and has paid on time pays back more often.
    score = 1.2 - amount / income / 4 + 0.02 * (age - 40)
    score += {"none": -0.7, "small": 0.0, "medium": 0.5, "large": 1.2}[str(chosen["savings"])]
    score += {"no credit yet": 0.0, "paid on time": 0.9, "paid late": -1.4, "open elsewhere": -0.8}[
        str(chosen["history"])
    ]
    repaid = int(score + draw.gauss(0, 0.7) > 0.6)
    return {**numbers, **chosen, "repaid": repaid}


def rows() -> list[dict[str, str | int]]:
    """Return all rows, in random order by their making."""
    draw = random.Random(SEED)
    return [row(draw) for _ in range(COUNT)]


def write(file: Path) -> None:
    """Write all rows to a CSV file with a column for each number and category, and `repaid`."""
    everything = rows()
    with file.open("w", encoding="utf-8", newline="") as target:
        table = csv.DictWriter(target, fieldnames=[*everything[0]], lineterminator="\n")
        table.writeheader()
        table.writerows(everything)


if __name__ == "__main__":
    write(FILE)
