"""The measurements: run, read, checked."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsec import storage
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.study.catalogue import find
from labsec.study.matrix.cells import boosted, boosted_cells, breakdown_cells, cell, matrix_cells
from labsec.study.sweep import RUNS, sweep

if TYPE_CHECKING:
    import pandas

DOCS = COURSE / "docs"
TABLES: Mapping[str, tuple[Callable[..., Scenario], Callable[[int], list[dict[str, Any]]]]] = {
    "matrix": (cell, matrix_cells),
    "breakdown": (cell, breakdown_cells),
    "three_percent": (boosted, boosted_cells),
}


def run_table(table: str, *, seeds: int, jobs: int = 1, cache: Path = RUNS) -> pandas.DataFrame:
    """Run the missing rows of a table of TABLES, and return the table: a row for each run.

    returns    the keywords of the cell; accuracy after 50 rounds; skipped rounds; clean, the accuracy of the plain mean
               without an attack for the same data, regime and seed

    Raises ValueError for an unknown table, or unless seeds >= 1 and jobs >= 1.
    """
    import pandas

    if seeds < 1:
        raise ValueError(f"a table needs seeds >= 1; got seeds={seeds}")
    build, cells = find(TABLES, "table", table)
    frame = pandas.DataFrame(sweep(build, cells(seeds), cache=cache, jobs=jobs))
    group = ["data" if "data" in frame else "regime", "seed"]
    unattacked = (frame["malicious"] == 0) if "malicious" in frame else (frame["attack"] == "none")
    clean = frame[unattacked & (frame["rule"] == "mean")].drop_duplicates(group)
    return frame.merge(clean[[*group, "accuracy"]].rename(columns={"accuracy": "clean"}), on=group, how="left")


def load(table: str = "matrix") -> pandas.DataFrame:
    """The committed measurements, a row for each run: matrix, breakdown or three_percent.

    >>> sorted(load()["regime"].unique())
    ['fedavg', 'fedsgd']

    Raises ValueError for an unknown table, FileNotFoundError or BrokenFileError for a file that is missing or broken.
    """
    import pandas

    _, cells = find(TABLES, "table", table)
    path = DOCS / f"{table}.csv"
    remedy = storage.how_to_restore(path)
    text = storage.read_text(path, remedy)
    try:
        frame = pandas.read_csv(io.StringIO(text))
    except ValueError as error:  # of pandas: no columns, or lines of different lengths
        raise storage.BrokenFileError(path, str(error).strip(), remedy) from None
    lacking = [name for name in (*cells(1)[0], "accuracy", "skipped", "clean") if name not in frame]
    if lacking or frame.empty:
        raise storage.BrokenFileError(path, f"no column {lacking[0]!r}" if lacking else "it holds no rows", remedy)
    return frame


def check_cell(row: Mapping[str, Any], *, table: str = "matrix", tolerance: float = 0.05) -> bool:
    """Run one row of a table again and say whether its accuracy is reproduced.

    row          a row of `load(table)`
    tolerance    on the accuracy. On another machine sums are rounded differently, and an attacked run may enlarge that

    >>> check_cell(load().iloc[0])
    True
    """
    build, cells = find(TABLES, "table", table)
    keywords = {
        name: type(value)(row[name]) for name, value in cells(1)[0].items()
    }  # numpy's integers print differently, and so seed
    history = run(build(**keywords))
    return bool(abs(history.final_accuracy - row["accuracy"]) <= tolerance)
