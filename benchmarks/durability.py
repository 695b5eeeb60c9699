"""`python -m benchmarks.durability` draws docs/durability.png: how long backdoors live after the last attack.

Three attacks on digits, with the settings of `benchmarks.backdoors`: the mean over three seeds, with the least and the
most, of the success in the 50 rounds without an attack that follow. The clean line is the baseline.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.backdoors import CLIENTS, ROWS, START, WORLDS, Row, before
from labsec import plots, poison
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.files import COURSE
from labsec.study import doors

SEEDS = range(3)
SHOWN = {
    "replaced once": "1 of 30, x 30, 20 steps, once",
    "x 3 for 20 rounds": "3 of 30, x 3, 20 rounds",
    "Neurotoxin": "3 of 30, x 3, Neurotoxin .05",
}


def lives(row: Row) -> Iterator[tuple[list[float], list[float]]]:
    """For each seed the success after the last attack and after each round that follows, and the clean run's."""
    _, malicious, make, when, fields = row
    last = max(when)
    for seed in SEEDS:
        base = replace(before("digits", seed, malicious), rounds=last - START + doors.CLEAN_ROUNDS + 1)
        attack = bind(poison.during, attack=make(WORLDS["digits"].trigger), rounds=when)
        attacked = run(replace(base, malicious=malicious / CLIENTS, attack=attack, **fields))
        yield tuple(doors.aftermath(history, "door", last=last) for history in (attacked, run(base)))


def picture() -> plots.Picture:
    """The success over the rounds after the last attack, a line for each attack."""
    rows = {row[0]: row for row in ROWS}
    curves = {}
    for name, title in SHOWN.items():
        attacked, clean = zip(*lives(rows[title]), strict=True)
        curves[name] = attacked

    # One clean line for all: in none of them does the baseline move.
    curves["clean"] = clean
    return plots.curves(
        range(doors.CLEAN_ROUNDS + 1),
        curves,
        title="How long a backdoor in digits lives",
        xlabel="rounds since the last attack",
        ylabel="success of the backdoor",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if sys.argv[1:] else COURSE / "docs"
    drawn = picture()
    (folder / "durability.png").write_bytes(plots.png(drawn.figure))
    print(drawn.alt)
