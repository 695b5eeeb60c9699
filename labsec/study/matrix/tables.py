"""The measurements: run, read, checked."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labsec import storage
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.study.catalogue import ADAPTIVE, find
from labsec.study.matrix.cells import boosted, boosted_cells, breakdown_cells, cell, matrix_cells, rehearsal_cells
from labsec.study.matrix.defences import defence, defence_cells, with_doors
from labsec.study.matrix.portfolio import strategy
from labsec.study.matrix.stamp import split, stamp_of
from labsec.study.sweep import RUNS, sweep

if TYPE_CHECKING:
    import pandas

DOCS = COURSE / "docs"
NEAR = 0.02  # accuracy: how close to the clean run a run has arrived
TABLES: Mapping[str, tuple[Callable[..., Scenario], Callable[[int], list[dict[str, Any]]]]] = {
    "rehearsal": (cell, rehearsal_cells),
    "matrix": (cell, matrix_cells),
    "breakdown": (cell, breakdown_cells),
    "three_percent": (boosted, boosted_cells),
    "defences": (defence, defence_cells),
}


def run_table(table: str, *, seeds: int, jobs: int = 1, cache: Path = RUNS) -> pandas.DataFrame:
    """Run the missing rows of a table of TABLES, and return the table: a row for each run.

    returns    the keywords of the cell; accuracy after the last round; skipped rounds; the attackers' share of the
               samples; clean, the accuracy of the plain mean without an attack for the same data, skew and seed;
               arrived, the first round from which accuracy stays within 0.02 of clean, empty where it never does; and
               played, where the table has an adaptive attacker: what was played, see `in_hindsight`; and of the
               table of defences success and baseline, see `defences.with_doors`

    Raises ValueError for an unknown table, or unless seeds >= 1 and jobs >= 1.
    """
    import pandas

    if seeds < 1:
        raise ValueError(f"a table needs seeds >= 1; got seeds={seeds}")
    build, make_cells = find(TABLES, "table", table)
    cells = make_cells(seeds)
    frame = pandas.DataFrame(sweep(build, cells, cache=cache, jobs=jobs)).drop(columns="notes")

    # The run to compare with: the same clients, the plain mean, nobody attacks.
    group = [name for name in ("data", "skew", "seed") if name in frame]
    clean = frame[(frame["attack"] == "none") & (frame["rule"] == "mean")].drop_duplicates(group)
    frame = frame.merge(clean[[*group, "accuracy"]].rename(columns={"accuracy": "clean"}), on=group, how="left")

    by_round = pandas.DataFrame(sweep(build, cells, cache=cache, by_round=True))
    curves = by_round.groupby(list(cells[0]), sort=False)
    frame["arrived"] = [
        arrival(curve["round"].tolist(), curve["accuracy"].tolist(), clean)
        for (_, curve), clean in zip(curves, frame["clean"], strict=True)
    ]
    if table == "defences":
        return with_doors(frame)
    return in_hindsight(frame) if ADAPTIVE in set(frame["attack"]) else frame


def in_hindsight(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The frame with a column `played`, and with adaptive rows that no other row of the same rule stands below.

    What harmed most in the rehearsal need not harm most here: clients of other seeds are other clients. So that the
    adaptive rows are never too weak, they become those of the attack that left the rule the lowest mean, if that is
    another. It is known only in hindsight, and makes them a bound on what these attacks can do.
    """
    setting = ["data", "skew", "rule"]
    frame = frame.assign(played=frame["attack"])
    adaptive = frame["attack"] == ADAPTIVE
    rehearsed = {
        names: strategy(*names) for names in frame[setting].drop_duplicates().itertuples(index=False, name=None)
    }
    frame.loc[adaptive, "played"] = [rehearsed[tuple(names)] for names in frame.loc[adaptive, setting].to_numpy()]

    # Of equal means the first by letter counts, and that is the adaptive one.
    means = frame[frame["attack"] != "none"].groupby([*setting, "attack"])["accuracy"].mean()
    for data, skew, rule, attack in means.groupby(level=setting).idxmin():
        if attack != ADAPTIVE:
            here = (frame["data"] == data) & (frame["skew"] == skew) & (frame["rule"] == rule)
            stronger = frame[here & (frame["attack"] == attack)]
            for name in ("played", "accuracy", "skipped", "attackers_of_samples", "arrived"):
                frame.loc[here & adaptive, name] = stronger[name].to_numpy()
    return frame


def arrival(rounds: Sequence[int], accuracy: Sequence[float], clean: float) -> float:
    """The first of some rounds from which the accuracy stays within 0.02 of `clean` or above it; NaN if it never does.

    An attack that leaves this number finite has delayed the model; one that leaves NaN has damaged it.

    >>> arrival([4, 9, 14, 19], [0.2, 0.9, 0.5, 0.89], 0.9)
    19
    >>> arrival([4, 9], [0.2, 0.5], 0.9)
    nan
    """
    found = math.nan
    for number, reached in zip(reversed(rounds), reversed(accuracy), strict=True):
        if not reached >= clean - NEAR:
            break
        found = number
    return found


def load(table: str = "matrix") -> pandas.DataFrame:
    """The committed measurements, a row for each run: matrix, breakdown, three_percent or defences.

    >>> sorted(load()["regime"].unique())
    ['fedavg', 'fedsgd']

    Raises ValueError for an unknown table, FileNotFoundError or BrokenFileError for a file that is missing or that has
    lost rows. Whether the numbers are those of today's settings and code is said by `problem`.
    """
    import pandas

    _, cells = find(TABLES, "table", table)
    path = DOCS / f"{table}.csv"
    remedy = f"{storage.how_to_restore(path)}, or measure it again with `{_command(table)}`"
    _, rows = split(path, storage.read_text(path, remedy), remedy)
    try:
        frame = pandas.read_csv(io.StringIO(rows))
    except ValueError as error:  # of pandas: no columns, or lines of different lengths
        raise storage.BrokenFileError(path, str(error).strip(), remedy) from None
    lacking = [name for name in (*cells(1)[0], "accuracy", "skipped", "clean") if name not in frame]
    if lacking or frame.empty:
        raise storage.BrokenFileError(path, f"no column {lacking[0]!r}" if lacking else "it holds no rows", remedy)
    return frame


def stamped(table: str, frame: pandas.DataFrame) -> str:
    """The text of a table's file: a line that says what it was made of, the columns' names, a line for each row."""
    build, cells = find(TABLES, "table", table)
    rows = frame.round(4).to_csv(index=False, lineterminator="\n")
    return f"{stamp_of(build, cells(1), len(frame))}{rows}"


def problem(table: str) -> str:
    """What is wrong with a committed table, and what to do about it, in one sentence; "" if it is whole and current.

    It is out of date if a scenario of its cells, or the code of the laboratory, is no longer what it was made with.

    Raises ValueError for an unknown table.
    """
    build, cells = find(TABLES, "table", table)
    path = DOCS / f"{table}.csv"
    try:
        rows = len(load(table))
    except (FileNotFoundError, storage.BrokenFileError) as error:
        return str(error)
    found, _ = split(path, storage.read_text(path, ""), "")
    now = stamp_of(build, cells(1), rows)
    if found.settings != now.settings:
        return f"{path} was made with other settings than the catalogue has now: run `{_command(table)}`."
    if found.code != now.code:
        return (
            f"{path} was made by other code than this: `matrix.check_cell` runs a row again, `{_command(table)}` all "
            "of them."
        )
    return ""


def confirm(table: str, *, every: int = 50) -> int:
    """Run some rows of a committed table again and, if each comes back to the last digit, stamp the table anew.

    every      one row in so many
    returns    how many rows were run

    It is for a change of the code that changes no number. Raises ValueError that shows the first row that does not
    come back, or that belongs to no cell of the table any more; the file then stays as it was.
    """
    import pandas

    _, cells = find(TABLES, "table", table)
    path = DOCS / f"{table}.csv"
    frame = pandas.read_csv(path, comment="#")
    wanted = pandas.DataFrame(cells(frame["seed"].nunique()))
    if not frame[list(wanted)].round(4).equals(wanted.round(4)):
        raise ValueError(f"the rows of {path} are not the cells of {table}: run `{_command(table)}`")
    chosen = [{str(name): value for name, value in row.items()} for _, row in frame.iloc[::every].iterrows()]
    for row in chosen:
        if not check_cell(row, table=table, tolerance=5.1e-5):  # the file holds four digits
            raise ValueError(f"a row of {path} does not come back: {row}")
    storage.write_text(path, stamped(table, frame))
    return len(chosen)


def _command(table: str) -> str:
    """What makes a committed table."""
    return f"python3 lab.py matrix {table} --seeds 5 --folder docs"


def check_cell(row: Mapping[str, Any], *, table: str = "matrix", tolerance: float = 0.05) -> bool:
    """Run one row of a table again and say whether its accuracy is reproduced, and the success of its backdoor.

    row          a row of `load(table)`
    tolerance    on both. On another machine sums are rounded differently, and an attacked run may enlarge that

    >>> check_cell(load().iloc[0])
    True
    """
    build, cells = find(TABLES, "table", table)
    # numpy's integers print differently, and so seed differently
    keywords = {name: type(value)(row[name]) for name, value in cells(1)[0].items()}
    if "played" in row:
        keywords["attack"] = row["played"]
    history = run(build(**keywords))
    found = [history.final_accuracy - row["accuracy"]]
    if "success" in row and not math.isnan(row["success"]):
        found.append(history.measured("door")[-1] - row["success"])
    return all(abs(difference) <= tolerance for difference in found)
