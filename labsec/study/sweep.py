"""Many runs: in several processes, with a progress bar, and each only once.

A finished run is a line in a cache file. It is found again by what it was made of: the scenario and the sources of the
package. Stopping a sweep, even with `kill -9`, loses the runs that were in progress, and nothing else. Several sweeps
may share a cache file.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from tqdm.auto import tqdm

from labsec import storage
from labsec.data import TENSORS, Dataset
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import CACHE
from labsec.guards import check_function, check_kind, check_number
from labsec.models import Model

RUNS = CACHE / "runs.jsonl"

# Rooms that no run goes through.
NOT_RUN = {"browser", "course", "study", "plots", "cli", "doctor", "files", "lazy", "storage", "__init__"}

GENERATED = frozenset({"__init__", "__repr__", "__eq__", "__setattr__", "__delattr__"})  # by a dataclass

Cell = Mapping[str, Any]  # the keywords of one run: numbers and names


def sweep(
    build: Callable[..., Scenario], cells: Sequence[Cell], *, cache: Path = RUNS, jobs: int = 1, by_round: bool = False
) -> list[dict[str, Any]]:
    """Run a scenario for every cell and return a row for each, in the order of the cells.

    build      a function of a module (other processes must find it by its name): build(**cell) -> Scenario
    cells      its keywords
    cache      file with a line for every run that is done
    jobs       processes that run scenarios at the same time, each on one thread
    by_round   a row for every round that was measured, in place of one for each run
    returns    {**cell, "accuracy": after the last round, the same for each probe, "skipped": rounds in which the model
               did not change, "notes": how many were written, "attackers_of_samples": their share}; by round
               {**cell, "round", "accuracy" and the probes}

    >>> import tempfile
    >>> cells = [{"rounds": 2, "seed": seed} for seed in (1, 2)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = sweep(Scenario, cells, cache=Path(folder, "runs.jsonl"))
    ...     rounds = sweep(Scenario, cells, cache=Path(folder, "runs.jsonl"), by_round=True)
    >>> [row["seed"] for row in rows], sorted(rows[0])
    ([1, 2], ['accuracy', 'attackers_of_samples', 'notes', 'rounds', 'seed', 'skipped'])
    >>> [(row["seed"], row["round"]) for row in rounds], rounds[1]["accuracy"] == rows[0]["accuracy"]
    ([(1, 0), (1, 1), (2, 0), (2, 1)], True)

    Raises ValueError unless jobs >= 1, OSError if the cache file cannot be written, BrokenProcessPool if a process of
    the sweep was ended from outside, and what a scenario or its run raises.
    """
    check_function("sweep", build=build)
    check_kind("sweep", (list, tuple), cells=cells)
    check_kind("sweep", Path, cache=cache)
    check_kind("sweep", bool, by_round=by_round)
    check_number("sweep", whole=True, least=1, jobs=jobs)
    for cell in cells:
        check_kind("sweep", Mapping, cell=cell)
    sources = fingerprint_of_sources()
    keys = [fingerprint(sources, describe(build(**cell))) for cell in cells]
    done = _read(cache)
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in done}
    cache.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(set(keys)), initial=len(set(keys)) - len(missing), unit="run", disable=not missing)
    with bar:
        for key, result in _results(build, missing, jobs):
            done[key] = result
            storage.append_line(cache, json.dumps({"key": key, **result}))
            bar.update()
    if by_round:
        return [{**cell, **row} for key, cell in zip(keys, cells, strict=True) for row in done[key]["by_round"]]
    return [{**cell, **done[key]["final"]} for key, cell in zip(keys, cells, strict=True)]


def run_cell(build: Callable[..., Scenario], cell: Cell) -> dict[str, Any]:
    """Run one cell: its row at the end, and its rows by round."""
    check_function("run_cell", build=build)
    check_kind("run_cell", Mapping, cell=cell)
    scenario = build(**cell)
    history = run(scenario)
    names = ["accuracy", *scenario.probes]
    measured = [row for row in history.rows if row["accuracy"] is not None]
    final = {
        **{name: measured[-1][name] for name in names},
        "skipped": sum(map(bool, history.column("skipped"))),
        "notes": len(history.notes),
        "attackers_of_samples": history.attackers_of_samples,
    }
    return {"final": final, "by_round": [{name: row[name] for name in ("round", *names)} for row in measured]}


def _results(
    build: Callable[..., Scenario], missing: Mapping[str, Cell], jobs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The results of the missing runs, each as soon as it is there."""
    if jobs == 1 or len(missing) <= 1:
        yield from ((key, run_cell(build, cell)) for key, cell in missing.items())
        return
    others = multiprocessing.active_children()  # of whoever called
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        keys: dict[Future[dict[str, Any]], str] = {pool.submit(run_cell, build, c): key for key, c in missing.items()}
        yield from ((keys[future], future.result()) for future in as_completed(keys))
    except BaseException:
        # Ctrl-C, or a run that failed: nobody will take the results of those in progress, so nobody waits for them.
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end as soon as the one that started it is gone. It is called first in every worker.

    A worker waits for its next cell at a pipe that the other workers hold open, too. After a `kill -9` of the parent
    they would wait for ever, each with torch in its memory.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only processes that multiprocessing started have a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

    # Ctrl-C reaches every process of a terminal; the parent alone answers it, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read(cache: Path) -> dict[str, dict[str, Any]]:
    """The finished runs by key. A line that is no run (torn by an interruption, say) is left out: it is run again."""
    try:
        lines = cache.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    rows = [row for row in map(_row, lines) if row is not None]
    return {row.pop("key"): row for row in rows}


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the cache file as what `run_cell` made, with its key; None if it is something else."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = (
        isinstance(row, dict)
        and row.keys() == {"key", "final", "by_round"}
        and isinstance(row["key"], str)
        and isinstance(row["final"], dict)
        and isinstance(row["by_round"], list)
    )
    return row if whole else None


def fingerprint_of_sources() -> str:
    """A hash of everything that a run may execute: the laboratory, and torch. Comments do not count."""
    return fingerprint(torch.__version__, fingerprint_of_code())


def fingerprint_of_code() -> str:
    """A hash of the laboratory's code, the same under every version of Python. Comments do not count."""
    package = Path(__file__).parents[1]
    files = [
        file
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).with_suffix("").parts[0] not in NOT_RUN
    ]
    return fingerprint([code_of(file.read_text(encoding="utf-8")) for file in files])


def code_of(source: str) -> Any:
    """A module without comments, layout and docstrings, in lists that `fingerprint` takes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return _syntax(tree)


def _syntax(node: Any) -> Any:
    """A syntax tree in lists and names. What is empty is left out: versions of Python differ in it."""
    if isinstance(node, ast.AST):
        filled = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *([name, _syntax(value)] for name, value in filled)]
    return [_syntax(item) for item in node] if isinstance(node, list) else repr(node)


def describe(value: Any, *, inside: tuple[Any, ...] = ()) -> Any:
    """Say in lists, names and numbers what a scenario or a part of it is made of; equal parts are described equally.

    inside    the functions that are being described, so that one that calls itself comes to an end

    >>> from labsec import bind, robust
    >>> describe(bind(robust.trimmed_mean, f=3))
    [['labsec.robust.coordinates.trimmed_mean'], [], ['f', 3]]
    """
    say = functools.partial(describe, inside=inside)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return hashlib.blake2b(value.detach().cpu().contiguous().numpy().tobytes(), digest_size=8).hexdigest()
    if isinstance(value, deque):
        return [value.maxlen, *map(say, value)]
    if isinstance(value, list | tuple):
        return [say(item) for item in value]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, Mapping):
        return [[say(key), say(item)] for key, item in value.items()]
    if isinstance(value, functools.partial):
        bound = [[name, say(part)] for name, part in sorted(value.keywords.items())]
        return [say(value.func), say(value.args), *bound]
    if isinstance(value, Dataset):
        return _describe_data(value)
    if isinstance(value, Scenario):
        return _describe_fields(value, say)
    if isinstance(value, Model):
        return [value.name, list(value.shapes), list(value.bounds), say(value.forward)]
    if inspect.isfunction(value):
        return [_name(value), "recursive"] if value in inside else _describe_function(value, (*inside, value))
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    kind = type(value)
    methods = [_describe_function(part, inside) for part in _methods(kind)]
    return [_name(kind), methods, *([name, say(part)] for name, part in sorted(vars(value).items()))]


def _methods(kind: type) -> list[Any]:
    """The functions of a class, but for those that a dataclass generates: what they do follows from the fields."""
    generated = GENERATED if is_dataclass(kind) else frozenset()
    return [part for name, part in vars(kind).items() if inspect.isfunction(part) and name not in generated]


def _describe_fields(value: Dataset | Scenario, say: Callable[[Any], Any]) -> list[Any]:
    return [[field.name, say(getattr(value, field.name))] for field in fields(value)]


_described_data: WeakKeyDictionary[Dataset, tuple[list[int], list[Any]]] = WeakKeyDictionary()


def _describe_data(data: Dataset) -> list[Any]:
    """What a data set is made of. Hundreds of cells share one, so it is read once; the versions that torch counts tell
    whether somebody has changed a tensor since."""
    versions = [getattr(data, name)._version for name in TENSORS]
    known = _described_data.get(data)
    if known is None or known[0] != versions:
        known = (versions, _describe_fields(data, describe))
        _described_data[data] = known
    return known[1]


def _describe_function(function: Any, inside: tuple[Any, ...]) -> list[Any]:
    """What a function does: its code, what it closes over, its defaults, and the globals that it refers to.

    Of the laboratory's own functions the name is enough, because the fingerprint of the sources speaks of their code;
    of other libraries, their version does.
    """
    say = functools.partial(describe, inside=inside)
    described: list[Any] = [_name(function)]
    described += [say(cell.cell_contents) for cell in function.__closure__ or ()]
    package, *room = function.__module__.split(".")
    if package == "labsec" and room and room[0] not in NOT_RUN:
        return described
    described += [fingerprint(_compiled(function.__code__)), say(function.__defaults__), say(function.__kwdefaults__)]
    for name in sorted(_names(function.__code__) & function.__globals__.keys()):
        found = function.__globals__[name]
        if not inspect.ismodule(found) and not getattr(found, "__module__", "").startswith(("torch", "numpy")):
            described.append([name, say(found)])
    return described


def _names(code: CodeType) -> set[str]:
    """The globals and attributes that a function's code names, nested functions included."""
    nested = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*nested)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _compiled(code: CodeType) -> Any:
    """What a function does, without its comments and its place in a file."""
    constants = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def fingerprint(*parts: Any) -> str:
    """A hash of what can be written as JSON: 32 digits."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
