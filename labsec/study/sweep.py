"""Many runs: in several processes, with a progress bar, and each only once.

A finished run is a line in a cache file. It is found again by what it was made of: the scenario and the sources of the
package. Whoever stops a sweep loses the runs that were under way, and nothing else.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from labsec.data import CACHE, Dataset
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.models import Model

RUNS = CACHE / "runs.jsonl"
ROOMS = [
    "types",
    "geometry",
    "data",
    "models",
    "train",
    "poison",
    "robust",
    "privacy",
    "compress",
    "metrics",
    "federation",
]

Cell = Mapping[str, Any]  # the keywords of one run: numbers and names


def sweep(
    build: Callable[..., Scenario], cells: Sequence[Cell], *, cache: Path = RUNS, jobs: int = 1
) -> list[dict[str, Any]]:
    """Run a scenario for every cell and return a row for each, in the order of the cells.

    build      a function of a module (other processes must find it by its name): build(**cell) -> Scenario
    cells      its keywords
    cache      file with a line for every run that is done
    jobs       processes that run scenarios at the same time, each on one thread
    returns    {**cell, "accuracy": after the last round, "skipped": rounds in which the model did not change}

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = sweep(Scenario, [{"rounds": 1, "seed": seed} for seed in (1, 2)], cache=Path(folder, "runs.jsonl"))
    >>> [row["seed"] for row in rows], sorted(rows[0])
    ([1, 2], ['accuracy', 'rounds', 'seed', 'skipped'])

    Raises ValueError unless jobs >= 1, and what a scenario or its run raises.
    """
    if jobs < 1:
        raise ValueError(f"sweep needs jobs >= 1; got jobs={jobs}")
    sources = fingerprint_of_sources()
    keys = [_hash(sources, describe(build(**cell))) for cell in cells]
    done = _read(cache)
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in done}
    cache.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=len(set(keys)), initial=len(set(keys)) - len(missing), unit="run", disable=not missing)
    with bar, cache.open("a", encoding="utf-8") as target:
        for key, result in _results(build, missing, jobs):
            done[key] = result
            target.write(json.dumps({"key": key, **result}) + "\n")
            target.flush()
            bar.update()
    return [{**cell, **done[key]} for key, cell in zip(keys, cells, strict=True)]


def measure(build: Callable[..., Scenario], cell: Cell) -> dict[str, Any]:
    """Run one cell: its accuracy after the last round, and how many rounds were skipped."""
    history = run(build(**cell))
    return {"accuracy": history.final_accuracy, "skipped": sum(map(bool, history.column("skipped")))}


def _results(
    build: Callable[..., Scenario], missing: Mapping[str, Cell], jobs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The results of the missing runs, each as soon as it is there."""
    if jobs == 1 or len(missing) <= 1:
        yield from ((key, measure(build, cell)) for key, cell in missing.items())
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        keys: dict[Future[dict[str, Any]], str] = {pool.submit(measure, build, c): key for key, c in missing.items()}
        yield from ((keys[future], future.result()) for future in as_completed(keys))
    finally:
        pool.shutdown(cancel_futures=True)


def _read(cache: Path) -> dict[str, dict[str, Any]]:
    """The finished runs by key; a line that an interruption cut off is passed over, and closed."""
    if not cache.exists():
        return {}
    text = cache.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        cache.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {row.pop("key"): row for row in rows}


def fingerprint_of_sources() -> str:
    """A hash of everything that a run executes: the rooms up to the engine, and torch. Comments do not count."""
    here = Path(__file__).parents[1]
    files = [file for room in ROOMS for file in sorted([*here.glob(f"{room}.py"), *here.glob(f"{room}/*.py")])]
    return _hash(torch.__version__, [_code(file.read_text(encoding="utf-8")) for file in files])


def _code(source: str) -> str:
    """A module without comments, layout and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def describe(value: Any) -> Any:
    """Say in lists, names and numbers what a scenario or a part of it is made of; equal parts read alike.

    >>> from labsec import bind, robust
    >>> describe(bind(robust.trimmed_mean, f=3))
    [['labsec.robust.coordinates.trimmed_mean', '...'], [], ['f', 3]]
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return hashlib.blake2b(value.contiguous().numpy().tobytes(), digest_size=8).hexdigest()
    if isinstance(value, list | tuple | deque):
        return [describe(item) for item in value]
    if isinstance(value, functools.partial):
        return [
            describe(value.func),
            describe(value.args),
            *([name, describe(part)] for name, part in sorted(value.keywords.items())),
        ]
    if isinstance(value, Dataset):
        return [describe(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, Model):
        return [value.name, list(value.shapes), list(value.bounds), describe(value.forward)]
    if isinstance(value, Scenario):
        return [[field.name, describe(getattr(value, field.name))] for field in fields(value)]
    if inspect.isfunction(value):
        around = [describe(cell.cell_contents) for cell in value.__closure__ or ()]
        return [_name(value), _hash(_compiled(value.__code__)), *around]
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    kind = type(value)
    methods = [_compiled(part.__code__) for part in vars(kind).values() if inspect.isfunction(part)]
    return [_name(kind), _hash(methods), *([name, describe(part)] for name, part in sorted(vars(value).items()))]


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _compiled(code: CodeType) -> Any:
    """What a function does, without its comments and its place in a file."""
    constants = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _hash(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
