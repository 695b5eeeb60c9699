"""What every benchmark shares: who is measured, where, and how."""

from __future__ import annotations

import gc
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import torch


def machine() -> str:
    """One line that names the processor, its cores, the threads in use and the system.

    >>> "thread" in machine()
    True
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    cores = len(names) or "unknown number of"
    return f"{processor}, {cores} cores, {threads} thread{'s' * (threads > 1)} used, {platform.system()}"


def versions(*names: str) -> str:
    """The versions of Python and of the packages that are installed, in one line.

    >>> versions("torch", "no-such-package").endswith("no-such-package not installed")
    True
    """
    return ", ".join([f"Python {platform.python_version()}", *map(_version, names)])


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call, `repeats` for each function after one to warm up, taken in turns.

    Taking turns lets a slow moment of the machine affect every function equally.

    >>> sorted(interleaved({"a": lambda: 1, "b": lambda: 2}, repeats=3))
    ['a', 'b']
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            gc.collect()
            start = perf_counter()
            function()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def peak_megabytes() -> float:
    """The most memory this process has held, in megabytes (10^6 bytes).

    Linux's own high-water mark comes first: getrusage there also remembers the parent from before the start.
    """
    status = Path("/proc/self/status")
    marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
    if marks:
        return int(marks[0].split()[1]) * 1024 / 1e6
    import resource  # absent on Windows

    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kept / 1e6 if sys.platform == "darwin" else kept * 1024 / 1e6
