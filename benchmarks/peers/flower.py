"""Flower's simulation in an environment of its own, because it cannot be installed under our pins."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Timer
from time import perf_counter

import numpy as np

from labsec.data import Dataset

HOME = Path(__file__).resolve().parents[2] / ".labsec" / "flower"
SCRIPT = Path(__file__).with_name("flower_app.py")
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
LIMIT = 300  # seconds for one simulation


class Unavailable(RuntimeError):
    """Flower cannot be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Simulation:
    """What one simulation took.

    first      seconds from the start of the process to the end of the first round
    rounds     seconds of every later round
    version    of Flower
    """

    first: float
    rounds: list[float]
    version: str


def environment(home: Path = HOME) -> Path:
    """The interpreter of Flower's environment, which is made if it is not there; raises Unavailable if it cannot be.

    PyTorch is not installed a second time: a path file at the end of the new environment's search path points to
    ours, so that both sides run the same build of it.
    """
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / "ready"
    if not ready.exists():
        _do([sys.executable, "-m", "venv", "--clear", str(home)])
        _do([str(python), "-m", "pip", "install", "--quiet", "flwr[simulation]"])
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        theirs = Path(_do([str(python), "-c", ask]).strip())
        (theirs / "zz_torch.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        _do([str(python), "-c", "import flwr.simulation, ray, torch"])
        ready.touch()
    return python


def _do(command: list[str]) -> str:
    """The output of a command that has to succeed."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Unavailable(f"its environment could not be made: {said[-1] if said else error}") from error


def simulate(dataset: Dataset, *, clients: int, rounds: int, steps: int, batch_size: int, lr: float) -> Simulation:
    """Run one simulation from scratch; raises Unavailable if Flower is not available or does not finish."""
    python = environment()
    table = HOME / f"{dataset.name}.npz"
    np.savez(table, x=dataset.x.numpy(), y=dataset.y.numpy())
    numbers = [str(number) for number in (clients, rounds, steps, batch_size, lr)]
    begin = perf_counter()
    first = float("nan")
    ends = []
    for line in _lines([str(python), str(SCRIPT), str(table), *numbers]):
        if line.startswith("round "):
            ends.append(float(line.split()[2]))
            first = perf_counter() - begin if len(ends) == 2 else first
    if len(ends) != rounds + 1:
        raise Unavailable(f"its simulation ended after {max(len(ends) - 1, 0)} of {rounds} rounds")
    later = [end - start for start, end in pairwise(ends[1:])]
    version = _do([str(python), "-c", "from importlib.metadata import version; print(version('flwr'))"]).strip()
    return Simulation(first, later, version)


def _lines(command: list[str]) -> Iterator[str]:
    """What a command prints, line by line as it comes; it is stopped when it takes too long."""
    quiet = {**os.environ, **QUIET}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet)
    guard = Timer(LIMIT, process.kill)
    guard.start()
    with process:
        assert process.stdout is not None
        yield from process.stdout
    guard.cancel()
