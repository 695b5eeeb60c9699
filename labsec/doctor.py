"""`labsec doctor`: what works on this machine, and what to do about the rest.

Only the standard library is loaded with this module. PyTorch is tried in a process of its own, because a broken one
may end the process that imports it.
"""

import errno
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from labsec import storage
from labsec.files import CLONE, learners_folder

State = Literal["ok", "note", "fail"]
SYMBOLS = {"ok": "✓", "note": "–", "fail": "✗"}
SET_UP = (
    "Run `python3 lab.py`: it resumes the set-up."
    if CLONE
    else "Install labsec again with pip: what it needs comes along."
)

# GiB free, a judgement; below them learners are warned.
ENOUGH_MEMORY = 1.0
ENOUGH_DISK = 1.0

PROBE = """
import json, sys, time, torch
from labsec import Scenario, rounds
wanted = float(sys.argv[1])
threads = torch.get_num_threads()
torch.set_num_threads(1)
done = 0
start = time.perf_counter()
while time.perf_counter() - start < wanted:
    for _ in rounds(Scenario()):
        done += 1
        if time.perf_counter() - start >= wanted:
            break
seconds = time.perf_counter() - start
print(json.dumps({"threads": threads, "gpu": torch.cuda.is_available(), "rounds_per_second": done / seconds}))
"""

TABLES = """
import torch
from labsec import matrix
from labsec.study import noise_table
torch.set_num_threads(1)
for problem in (*(matrix.problem(table) for table in matrix.TABLES), noise_table.problem()):
    if problem:
        print(problem)
"""


@dataclass(frozen=True)
class Row:
    """One line of the report.

    state     "ok", "note" (the course runs all the same) or "fail" (it does not)
    remedy    what to do about it; empty where nothing needs to be done
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def python_row(version: tuple[int, int, int], wanted: str) -> Row:
    """Compare this Python with the bounds in pyproject.toml.

    wanted    such as ">=3.11,<3.14"

    >>> python_row((3, 12, 1), ">=3.11,<3.14").state
    'ok'
    >>> python_row((3, 14, 0), ">=3.11,<3.14").state
    'fail'
    """
    bounds = re.findall(r"(>=|<)(\d+)\.(\d+)", wanted)
    limits = {sign: (int(major), int(minor)) for sign, major, minor in bounds}
    fits = limits[">="] <= version[:2] < limits["<"]
    found = ".".join(map(str, version))
    return Row("Python", "ok", found) if fits else Row("Python", "fail", found, f"Use a Python {wanted}.")


def project_needs(path: Path) -> tuple[str, list[str]]:
    """Return the bounds on Python, such as ">=3.11,<3.14", and the names of the needed packages from pyproject.toml.

    Raises FileNotFoundError or BrokenFileError.
    """
    remedy = storage.how_to_restore(path)
    text = storage.read_text(path, remedy)
    try:
        project = tomllib.loads(text)["project"]
        bounds = project["requires-python"]
        needed = [re.split("[<>=]", need)[0] for need in project["dependencies"]]
    except tomllib.TOMLDecodeError as error:
        raise storage.BrokenFileError(path, f"not TOML: {error}", remedy) from None
    except KeyError as error:
        raise storage.BrokenFileError(path, f"it lacks {error}", remedy) from None
    if not re.fullmatch(r">=\d+\.\d+,<\d+\.\d+", bounds):
        raise storage.BrokenFileError(path, f"requires-python is {bounds!r}", remedy)
    return bounds, needed


def read_pins(path: Path) -> dict[str, str]:
    """Return name and version of every pin in constraints.txt; raises FileNotFoundError or BrokenFileError."""
    remedy = storage.how_to_restore(path)
    found = pins(storage.read_text(path, remedy))
    if not found:
        raise storage.BrokenFileError(path, "it holds no pins", remedy)
    return found


def unreadable_row(path: Path, error: OSError | storage.BrokenFileError) -> Row:
    """Say that a file of the course is missing or broken, and how to get it back."""
    found = error.problem if isinstance(error, storage.BrokenFileError) else error.strerror or "missing"
    remedy = storage.how_to_restore(path)
    return Row(path.name, "fail", found, f"{remedy[0].upper()}{remedy[1:]}.")


def wanted_rows(course: Path) -> list[Row]:
    """Compare Python and the packages with what pyproject.toml and constraints.txt say."""
    rows = []
    needed: list[str] = []
    project = course / "pyproject.toml"
    try:
        bounds, needed = project_needs(project)
        rows.append(python_row(sys.version_info[:3], bounds))
    except (OSError, storage.BrokenFileError) as error:
        rows.append(unreadable_row(project, error))
    constraints = course / "constraints.txt"
    try:
        rows += package_rows(read_pins(constraints), needed)
    except (OSError, storage.BrokenFileError) as error:
        rows.append(unreadable_row(constraints, error))
    return rows


def pins(constraints: str) -> dict[str, str]:
    """Return name and version of every pin in the text of constraints.txt.

    >>> pins("numpy==2.4.6\\nPyYAML==6.0.3\\n")
    {'numpy': '2.4.6', 'PyYAML': '6.0.3'}
    """
    return dict(re.findall(r"^([\w.-]+)==(\S+)", constraints, flags=re.MULTILINE))


def installed(name: str) -> str:
    """Return the version of an installed package without its build's mark (2.15.0+cpu is 2.15.0), or ""."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def package_rows(wanted: dict[str, str], needed: list[str]) -> list[Row]:
    """Compare the installed packages with the pins: a row for each that differs, and one for all together.

    needed    names of the packages without which no lab runs; others may be missing
    """
    found = {name: installed(name) for name in wanted}
    rows = []
    for name, version in found.items():
        if not version and name in needed:
            rows.append(Row(name, "fail", f"missing, {wanted[name]} wanted", SET_UP))
        elif version and version != wanted[name]:
            rows.append(Row(name, "note", f"{version}, tested with {wanted[name]}", SET_UP if CLONE else ""))
    present = [name for name, version in found.items() if version]  # learners have no tools for tests
    as_pinned = sum(found[name] == wanted[name] for name in present)
    return [Row("packages", "note" if rows else "ok", f"{as_pinned} of {len(present)} as pinned"), *rows]


def free_memory() -> float | None:
    """Return the GiB of memory that programs may still have, or None where the system does not say."""
    try:
        import psutil
    except ImportError:
        meminfo = Path("/proc/meminfo")
        said = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.exists() else None
        return int(said[1]) / 2**20 if said else None
    return float(psutil.virtual_memory().available) / 2**30


def memory_row(free: float | None) -> Row:
    """Judge the free memory, in GiB."""
    if free is None:
        return Row("memory", "note", "the system does not say")
    if free < ENOUGH_MEMORY:
        return Row("memory", "note", f"{free:.1f} GiB free", "Close other programs if a lab is slow or stops.")
    return Row("memory", "ok", f"{free:.1f} GiB free")


def disk_row(free: float) -> Row:
    """Judge the free disk, in GiB."""
    if free < ENOUGH_DISK:
        return Row("disk", "note", f"{free:.1f} GiB free", "Free some space before you download data sets.")
    return Row("disk", "ok", f"{free:.1f} GiB free")


def cores_row() -> Row:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return Row("cores", "ok", str(len(os.sched_getaffinity(0))))
    return Row("cores", "ok", str(os.cpu_count() or 1))


def folder_row(mine: Path) -> Row:
    """Say whether the learner's folder can be written, or made where it is not there yet."""
    try:
        storage.check_writable(mine if mine.is_dir() else mine.parent)
    except OSError as error:
        remedy = "Free some space." if error.errno == errno.ENOSPC else "Work in a folder that you can write to."
        return Row("your folder", "fail", f"{error.filename}: {error.strerror}", remedy)
    return Row("your folder", "ok", f"{mine} can be written")


def last_line(text: str) -> str:
    """Return the last line of a program's output that says something, or ""."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def speed_rows(course: Path, *, seconds: float = 2.0, probe: str = PROBE) -> list[Row]:
    """Run the course's own rounds for a while in a process of their own, and report threads, speed and GPU.

    course     the folder that holds the package labsec
    seconds    how long
    probe      the program; its last line of output is a JSON object
    """
    command = [sys.executable, "-c", probe, str(seconds)]
    try:
        done = subprocess.run(command, cwd=course, capture_output=True, encoding="utf-8", errors="replace", timeout=120)
    except subprocess.TimeoutExpired:
        return [Row("speed", "fail", "no answer within 120 s", "Close other programs and try again.")]
    if done.returncode:
        reason = last_line(done.stderr) or f"its process ended with status {done.returncode}"
        return [Row("speed", "fail", f"the course's engine does not run: {reason}", SET_UP)]
    try:
        said = json.loads(last_line(done.stdout))
    except json.JSONDecodeError:
        return [Row("speed", "fail", f"the course's engine answers {last_line(done.stdout)!r}", SET_UP)]
    return [
        Row("threads", "ok", f"PyTorch would take {said['threads']}; the course takes 1"),
        Row("speed", "ok", f"{said['rounds_per_second']:.0f} rounds of the default federation per second"),
        Row("GPU", "ok" if said["gpu"] else "note", "present" if said["gpu"] else "none; no lab needs one"),
    ]


def kernel_row() -> Row:
    """Start a notebook kernel, let it answer, stop it."""
    start = time.perf_counter()
    try:
        from jupyter_client.manager import start_new_kernel

        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            environment = {**os.environ, "IPYTHONDIR": folder}
            manager, client = start_new_kernel(kernel_name="python3", env=environment, stderr=subprocess.DEVNULL)
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    except Exception as error:  # whatever keeps a kernel from starting belongs in the report
        return Row("kernel", "fail", f"does not start: {last_line(str(error)) or type(error).__name__}", SET_UP)
    return Row("kernel", "ok", f"answers after {time.perf_counter() - start:.1f} s")


def jupyterlab_row() -> Row:
    """Say whether JupyterLab is there."""
    version = installed("jupyterlab")
    return Row("JupyterLab", "ok", version) if version else Row("JupyterLab", "fail", "missing", SET_UP)


def notebooks_row(course: Path) -> Row:
    """Say whether the labs themselves are there."""
    count = len(list((course / "notebooks").glob("[0-9][0-9]_*.ipynb")))
    return Row("labs", "ok" if count else "fail", str(count), "" if count else "Run this in a clone of the course.")


def tables_row(course: Path) -> Row:
    """Say whether the committed measurements are whole, and made with the settings that the course has now."""
    command = [sys.executable, "-c", TABLES]
    try:
        done = subprocess.run(command, cwd=course, capture_output=True, encoding="utf-8", errors="replace", timeout=120)
    except subprocess.TimeoutExpired:
        return Row("tables", "note", "not looked at: no answer within 120 s", "Close other programs and try again.")
    if done.returncode:
        return Row("tables", "fail", last_line(done.stderr) or f"status {done.returncode}", SET_UP)
    problems = done.stdout.splitlines()
    if problems:
        found, _, remedy = problems[0].partition(": ")
        return Row("tables", "note", found, f"{remedy[:1].upper()}{remedy[1:]}")
    return Row("tables", "ok", "whole, and made with the settings of the course")


def chromium_row() -> Row:
    """Say whether a browser for the tests is there; learners need none but their own."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    path = next((found for name in names if name and (found := shutil.which(name))), "")
    if path:
        return Row("Chromium", "ok", path)
    return Row("Chromium", "note", "missing: only the browser tests need it, and no lab")


def summary_row(rows: list[Row]) -> Row:
    """Say in one row what works on this machine."""
    broken = [row.name for row in rows if row.state == "fail"]
    if broken:
        return Row("the course", "fail", f"would not run: {', '.join(broken)}", "Follow the remedies above.")
    return Row("the course", "ok", "runs")


def examine(course: Path) -> list[Row]:
    """Look at everything the course needs; the last row sums up."""
    rows = [
        *wanted_rows(course),
        memory_row(free_memory()),
        cores_row(),
        disk_row(shutil.disk_usage(course).free / 2**30),
        folder_row(learners_folder(course)),
        *speed_rows(course),
        kernel_row(),
        jupyterlab_row(),
        notebooks_row(course),
        tables_row(course),
        chromium_row(),
    ]
    return [*rows, summary_row(rows)]


def table(rows: list[Row]) -> str:
    """Lay the rows out as text; each remedy stands below its row.

    >>> print(table([Row("Python", "ok", "3.12.1"), Row("kernel", "fail", "does not start", "Run lab.py.")]))
    ✓ Python  3.12.1
    ✗ kernel  does not start
              Run lab.py.
    """
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{SYMBOLS[row.state]} {row.name:<{width}}  {row.found}")
        if row.remedy:
            lines.append(f"{'':<{width + 4}}{row.remedy}")
    return "\n".join(lines)


def doctor(course: Path, *, as_json: bool = False) -> int:
    """Print the report; returns 0 if the course runs here, else 1.

    course     the folder that holds pyproject.toml, constraints.txt and notebooks/
    as_json    print an object with `works` and `rows` for programs
    """
    rows = examine(course)
    works = rows[-1].state == "ok"
    if as_json:
        print(json.dumps({"works": works, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(table(rows))
    return 0 if works else 1
