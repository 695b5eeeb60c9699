"""What a table was made of: its first line says how many rows follow, and names the settings and the code.

A table that lost rows is told at once, by `tables.load`. Whether it is still what the course would measure is told by
two fingerprints: that of the scenarios of all its cells, and that of the code that ran them. A comment, a docstring or
a line break changes neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsec import storage
from labsec.federation.scenario import Scenario
from labsec.study.sweep import describe, fingerprint, fingerprint_of_code

LINE = re.compile(r"# (\d+) rows; settings (\w+); code (\w+)\n")


@dataclass(frozen=True)
class Stamp:
    """The first line of a table.

    rows        how many follow the line with the columns' names
    settings    fingerprint of the scenarios of all cells, as `sweep.describe` tells them
    code        fingerprint of the laboratory's code

    >>> print(Stamp(1260, "0c", "a1"), end="")
    # 1260 rows; settings 0c; code a1
    """

    rows: int
    settings: str
    code: str

    def __str__(self) -> str:
        return f"# {self.rows} rows; settings {self.settings}; code {self.code}\n"


def stamp_of(build: Callable[..., Scenario], cells: Sequence[Mapping[str, Any]], rows: int) -> Stamp:
    """The stamp of a table that is made now.

    build    build(**cell) -> the scenario of a cell
    cells    those of one seed: the others differ from them by their seed alone
    rows     of the table, with all seeds
    """
    settings = fingerprint([describe(build(**cell)) for cell in cells])
    return Stamp(rows, settings, fingerprint_of_code())


def split(path: Path, text: str, remedy: str) -> tuple[Stamp, str]:
    """The stamp of a table and the table below it, once it is clear that no row is missing.

    text      of the file
    remedy    what to do about a broken file, to follow a colon

    Raises BrokenFileError if the first line is no stamp, if the last line has no end, or if rows are missing.
    """
    line = LINE.match(text)
    if line is None:
        raise storage.BrokenFileError(path, "its first line does not say how many rows it holds", remedy)
    stamp = Stamp(int(line[1]), line[2], line[3])
    rest = text[line.end() :]
    found = rest.count("\n") - 1
    if found != stamp.rows or not rest.endswith("\n"):
        torn = "" if rest.endswith("\n") else ", and its last line is cut"
        raise storage.BrokenFileError(path, f"it holds {found} of {stamp.rows} rows{torn}", remedy)
    return stamp, rest
