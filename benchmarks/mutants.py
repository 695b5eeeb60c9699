"""What the tests notice: each small change of the source is made in a copy of the tree, and the tests must fail.

Two kinds of changes. Those of `mutants_named` were written by people: each gives a number another meaning. Those of
`generated` are drawn from all comparisons, sums, products, constants and conditions of the laboratory; a seed chooses
them, so that nobody can write tests for them beforehand.

A change that the tests let pass has survived: a test is missing, or the change means nothing (`EQUIVALENT` says why).
"""

from __future__ import annotations

import ast
import compileall
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from py_compile import PycInvalidationMode
from time import perf_counter

import pytest

from benchmarks.mutants_named import EQUIVALENT, NAMED
from benchmarks.report import table

ROOT = Path(__file__).resolve().parent.parent
FORK = multiprocessing.get_context("fork")  # a mutant's process begins with all imports done: Linux and macOS
IMPORTED_ONCE = (
    *("torch", "numpy", "pandas", "scipy.fft", "scipy.optimize", "scipy.signal", "scipy.special", "hypothesis"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "ipywidgets", "anywidget", "tqdm.auto", "PIL.Image"),
    *("skimage.metrics", "sklearn.datasets", "torchvision.datasets", "multiprocessing.spawn"),
)
ALREADY_IMPORTED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins of pytest are among them
LEFT_OUT = (".git", ".venv", ".hypothesis", "__pycache__", "cache", "my", "*.egg-info", ".*_cache")
GENERATED_FROM = (
    "labsec/federation/*.py",
    "labsec/robust/*.py",
    "labsec/poison/*.py",
    "labsec/privacy/*.py",
    "labsec/study/*.py",
    "labsec/study/matrix/*.py",
    "labsec/data/*.py",
    "labsec/models/*.py",
    "labsec/invert/*.py",
    "labsec/compress/*.py",
    "labsec/encoding/*.py",
    "labsec/metrics/*.py",
    *(f"labsec/{name}.py" for name in ("geometry", "train")),
)

# The tests of a file come first, because they are the likeliest to notice; the others follow in this order.
OWN_TESTS = {
    "labsec/federation/": ("engine", "scenario", "what_a_lab_can_say"),
    "labsec/robust/": ("robust", "robust_contract"),
    "labsec/poison/": ("poison", "poison_labels"),
    "labsec/privacy/": ("privacy",),
    "labsec/study/": ("matrix", "record"),
    "labsec/geometry.py": ("robust", "robust_contract"),
    "labsec/metrics/": ("metrics",),
    "labsec/train.py": ("train",),
    "labsec/data/": ("data", "notes"),
    "labsec/models/": ("models", "train"),
    "labsec/compress/": ("compress",),
    "labsec/encoding/": ("encoding",),
    "labsec/invert/": ("invert", "invert_modalities"),
    "labsec/course/live/": ("live",),
    "labsec/course/panels/lab00": ("lab00",),
    "labsec/course/panels/lab01": ("lab01",),
    "labsec/course/panels/lab02": ("lab02",),
    "labsec/course/exercises/": ("exercises",),
    "labsec/course/": ("check", "cards"),
}
QUICK_TESTS = ("engine", "robust", "robust_contract", "poison", "train", "metrics", "scenario", "what_a_lab_can_say")
SLOW = "not processes and not another_process"  # tests that start processes of their own; names, for pytest's -k


@dataclass(frozen=True)
class Mutant:
    """A file with one change.

    file         path below the root
    line         number of the line, from 1
    text         that line, as it was
    was, now     the expression that changed
    meaning      what the change means, for a change written by people; "" for a generated one
    source       the whole file after the change
    """

    file: str
    line: int
    text: str
    was: str
    now: str
    meaning: str
    source: str

    def __str__(self) -> str:
        change = f"{_on_one_line(self.was)} -> {_on_one_line(self.now)}"
        return f"{self.file}:{self.line}: {change} ({self.meaning or self.text})"


def main(*, jobs: int = 2, sample: int = 2, seed: int = 0) -> str:
    """Try the named changes and `sample` generated ones of each file; returns the section of the page.

    jobs    mutants at a time
    seed    of the choice
    """
    drawn = list(generated(ROOT, sample=sample, seed=seed))
    return section(named(ROOT), drawn, jobs=jobs, seed=seed)


# --- the changes


def named(root: Path) -> list[Mutant]:
    """The changes of `NAMED`. Raises ValueError that lists those whose old text is not found exactly once."""
    stale = []
    mutants = []
    for change in NAMED:
        source = (root / change.file).read_text(encoding="utf-8")
        if source.count(change.old) != 1:
            stale.append(f"{change.file}: {change.meaning}: found {source.count(change.old)} times: {change.old}")
            continue
        line = 1 + source[: source.index(change.old)].count("\n")
        changed = source.replace(change.old, change.new)
        text = source.splitlines()[line - 1].strip()
        mutants.append(Mutant(change.file, line, text, change.old, change.new, change.meaning, changed))
    if stale:
        raise ValueError("these changes no longer fit the source:\n" + "\n".join(stale))
    return mutants


def generated(root: Path, *, sample: int, seed: int) -> Iterator[Mutant]:
    """For each file of GENERATED_FROM `sample` changes out of those that `changes_of` finds, or all of them."""
    for path in sorted(path for pattern in GENERATED_FROM for path in root.glob(pattern)):
        file = path.relative_to(root).as_posix()
        every = list(changes_of(file, path.read_text(encoding="utf-8")))
        draw = random.Random(f"{seed} {file}")  # of its own, so that a change of one file leaves the others' choice
        yield from draw.sample(every, min(sample, len(every)))


PAIRS = (
    *(("<", "<="), (">", ">="), ("==", "!="), ("in", "not in"), ("is", "is not")),
    *(("+", "-"), ("*", "/"), ("and", "or")),
)
OPPOSITE = dict(PAIRS) | {other: one for one, other in PAIRS}  # an operator -> what is put in its place
OPERATOR = re.compile(r"not\s+in\b|is\s+not\b|in\b|is\b|and\b|or\b|[<>=!]=|[<>]|[-+*/](?![*/])")


def changes_of(file: str, source: str) -> Iterator[Mutant]:
    """All generated changes of a file: operators turned into others, constants raised by one, `not` left out.

    Texts, error messages and the annotations of types are left alone: no number depends on them.

    >>> [f"{mutant.was} -> {mutant.now}" for mutant in changes_of("a.py", "y = x + 1 if not a < b else 0.5")]
    ['not a < b -> a < b', 'a < b -> a <= b', 'x + 1 -> x - 1', '1 -> 2', '0.5 -> 1.5']
    """
    lines = source.splitlines()
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + column  # in bytes, as `ast` counts

    def text(first: int, last: int) -> str:
        return source.encode()[first:last].decode()

    def mutant(node: ast.expr, first: int, last: int, new: str) -> Mutant:
        """The change of the bytes first … last, shown with the whole expression around them."""
        begin = offset(node.lineno, node.col_offset)
        end = offset(node.end_lineno or 0, node.end_col_offset or 0)
        now = text(begin, first) + new + text(last, end)
        changed = text(0, begin) + now + text(end, len(source.encode()))
        return Mutant(file, node.lineno, lines[node.lineno - 1].strip(), text(begin, end), now, "", changed)

    for node in _that_compute(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            begin = offset(node.lineno, node.col_offset)
            yield mutant(node, begin, offset(node.end_lineno or 0, node.end_col_offset or 0), repr(node.value + 1))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            begin = offset(node.lineno, node.col_offset)
            found = re.match(r"not\s*", text(begin, offset(node.operand.lineno, node.operand.col_offset)))
            assert found is not None
            yield mutant(node, begin, begin + found.end(), "")
        for left, right in _neighbours(node):
            between = offset(left.end_lineno or 0, left.end_col_offset or 0)
            found = OPERATOR.search(text(between, offset(right.lineno, right.col_offset)))
            if found and isinstance(node, ast.expr):
                first = between + found.start()
                yield mutant(node, first, between + found.end(), OPPOSITE[" ".join(found[0].split())])


def _that_compute(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, without those that no number depends on."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            continue
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Constant(value=None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        yield node
        yield from _that_compute(node)


def _neighbours(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The pairs of expressions that an operator stands between."""
    if isinstance(node, ast.Compare):
        yield from zip([node.left, *node.comparators], node.comparators, strict=False)
    if isinstance(node, ast.BoolOp):
        yield from zip(node.values, node.values[1:], strict=False)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        yield node.left, node.right


# --- the tests


def own_tests(file: str) -> list[str]:
    """The names of the tests that look at this file first of all."""
    return [name for start, names in OWN_TESTS.items() if file.startswith(start) for name in names]


def survivors_of(mutants: Sequence[Mutant], *, jobs: int) -> list[Mutant]:
    """Those of the mutants that the tests let pass.

    Each of `jobs` copies of the tree holds one mutant after the other. A run that takes three times as long as that
    of the unchanged tree hangs, which is noticed too. Raises RuntimeError if the unchanged tree fails.
    """
    for name in IMPORTED_ONCE:
        import_module(name)
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [_copy(Path(folder, str(number))) for number in range(jobs)]
        begin = perf_counter()
        if not all(passes for _, passes in _tried([None] * jobs, copies, limit=3600.0)):
            raise RuntimeError("the tests fail on the unchanged tree")
        limit = 30 + 3 * (perf_counter() - begin)
        for mutant, passes in _tried(mutants, copies, limit=limit):
            print(f"{'SURVIVED' if passes else 'noticed '} {mutant}", flush=True)
            if passes:
                survivors.append(mutant)
    return survivors


def _copy(folder: Path) -> Path:
    """A copy of the tree, compiled so that a file is compiled again if and only if its text differs.

    By its time and size alone, as Python judges by itself, a mutant may look like the mutant before.
    """
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    compileall.compile_dir(folder / "labsec", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return folder


def _tried(
    mutants: Sequence[Mutant | None], copies: Sequence[Path], *, limit: float
) -> Iterator[tuple[Mutant | None, bool]]:
    """Each mutant, None for the unchanged tree, and whether the tests pass with it within so many seconds."""
    waiting = deque(mutants)
    free = list(copies)
    running: dict[int, _Run] = {}  # by the number that tells when a process has ended
    while waiting or running:
        while waiting and free:
            begun = _Run(waiting.popleft(), free.pop(), perf_counter() + limit)
            running[begun.process.sentinel] = begun
        ended = [running[number] for number in wait(list(running), timeout=1.0)]
        for run in ended or [run for run in running.values() if perf_counter() > run.until]:
            del running[run.process.sentinel]
            free.append(run.copy)
            yield run.mutant, run.finish()


class _Run:
    """The tests of one mutant in a process of its own, begun when this is made.

    mutant    None for the unchanged tree
    copy      the tree that holds it meanwhile
    until     when it has taken too long
    """

    def __init__(self, mutant: Mutant | None, copy: Path, until: float) -> None:
        self.mutant = mutant
        self.copy = copy
        self.until = until
        if mutant is not None:
            (copy / mutant.file).write_text(mutant.source, encoding="utf-8")
        self.process = FORK.Process(target=_run_tests, args=(copy, "" if mutant is None else mutant.file))
        self.process.start()

    def finish(self) -> bool:
        """Undo the change, end what still runs, and say whether the tests passed."""
        self.process.kill()
        self.process.join()
        if self.mutant is not None:
            shutil.copy(ROOT / self.mutant.file, self.copy / self.mutant.file)
        return self.process.exitcode == 0


def _run_tests(copy: Path, file: str) -> None:
    """Run the tests of a copy of the tree in this process, and end it with their status."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), LABSEC_THREADS="1")  # for the processes that tests start
    sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry) != ROOT)]
    if not Path(import_module("labsec").__file__ or "").is_relative_to(copy):
        sys.exit("the copy's package is not the one that is imported")
    own = own_tests(file)
    for names in filter(None, (own, [name for name in QUICK_TESTS if name not in own])):
        files = [f"tests/test_{name}.py" for name in names]
        status = pytest.main(["-x", "-q", "--tb=no", "-k", SLOW, *ALREADY_IMPORTED, *files])
        if status:
            sys.exit(int(status))


# --- the report


def section(by_people: Sequence[Mutant], drawn: Sequence[Mutant], *, jobs: int, seed: int) -> str:
    """Try all mutants and write down how many were noticed, and which were not."""
    survivors = survivors_of([*by_people, *drawn], jobs=jobs)
    excused = {mutant: reason for mutant in survivors if (reason := reason_for(mutant))}
    rows = []
    for name, mutants in (("written by people", by_people), (f"generated, seed {seed}", drawn)):
        left = [mutant for mutant in mutants if mutant in survivors and mutant not in excused]
        told = len(mutants) - sum(mutant in excused for mutant in mutants)
        share = f"{1 - len(left) / told:.1%}" if told else "–"
        rows.append([name, str(len(mutants)), str(len(mutants) - told), str(told - len(left)), share])
    header = ["changes", "tried", "of which mean nothing", "noticed", "share"]
    lines = ["## What the tests notice", table(header, rows)]
    lines += ["Not noticed:\n\n" + _listed(str(each) for each in survivors if each not in excused)]
    lines += ["Not noticed, and without a meaning:\n\n" + _listed(f"{each}: {why}" for each, why in excused.items())]
    return "\n\n".join(lines)


def reason_for(mutant: Mutant) -> str:
    """Why a change means nothing; "" if it is not known to."""
    for known in EQUIVALENT:
        here = (known.file, known.text) == (mutant.file, mutant.text)
        if here and (known.was, known.now) in (("", ""), (_on_one_line(mutant.was), _on_one_line(mutant.now))):
            return known.reason
    return ""


def _listed(lines: Iterator[str]) -> str:
    return "\n".join(f"- `{line}`" for line in lines) or "- none"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
