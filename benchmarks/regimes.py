"""How long a round takes in many regimes, beside another commit where one is named; training alone beside its twins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import torch

from benchmarks.common import interleaved
from benchmarks.report import table
from benchmarks.worker import REGIMES, noise
from labsec.data import load
from labsec.models import Model, convnet, mlp
from labsec.train import dp_sgd, local_updates, local_updates_loop
from labsec.types import generator

ROOT = Path(__file__).resolve().parent.parent
BLOCK_SECONDS = 0.1  # a block of rounds takes about so long
BLOCKS = 15  # of each contestant in each regime
CLIENTS = 50
STEPS = 5
BATCH = 16
TRAININGS = {"ConvNet 28 x 28": (1, 28, 28), "MLP 3072-64-10": (3, 32, 32), "MLP 64-64-10": (1, 8, 8)}
REPEATS = 5

Block = Callable[[str, int], float]  # (regime, rounds) -> seconds


@contextmanager
def worker(package: Path) -> Iterator[Block]:
    """A process that runs rounds with the labsec of a folder, whenever it is told to."""
    environment = {**os.environ, "PYTHONPATH": str(package), "LABSEC_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "worker.py")]
    with subprocess.Popen(
        command, env=environment, cwd=package, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def block(regime: str, rounds: int) -> float:
            with suppress(BrokenPipeError):  # it has ended already: its silence says so
                process.stdin.write(json.dumps({"regime": regime, "rounds": rounds}) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"the worker in {package} ended in the regime {regime!r}")
            return json.loads(answer)["seconds"]

        try:
            yield block
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A temporary folder with the files of a commit; raises CalledProcessError if there is none of that name."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", revision, "labsec"], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def race(contestants: dict[str, Block], regime: str) -> dict[str, list[float]]:
    """Seconds of a round, block by block; the contestants take turns."""
    alone = {name: block(regime, 1) for name, block in contestants.items()}
    rounds = max(1, round(BLOCK_SECONDS / max(alone.values())))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(BLOCKS):
        for name, block in contestants.items():
            seconds[name].append(block(regime, rounds) / rounds)
    return seconds


def regimes(against: str | None = None) -> str:
    """A round of the engine in every regime; `against` names a commit to compare with, block against block."""
    with ExitStack() as stack:
        contestants = {"now": stack.enter_context(worker(ROOT))}
        if against is not None:
            contestants[against] = stack.enter_context(worker(stack.enter_context(checkout(against))))
        seen = {regime: race(contestants, regime) for regime in REGIMES}
    header = ["", "ms a round"]
    rows = [[regime, _milliseconds(seconds["now"])] for regime, seconds in seen.items()]
    if against is not None:
        header += [f"ms at {against}", "faster"]
        for row, seconds in zip(rows, seen.values(), strict=True):
            ratios = [old / new for old, new in zip(seconds[against], seconds["now"], strict=True)]
            row += [_milliseconds(seconds[against]), f"{median(ratios):.2f} x"]
    return (
        "### Regimes\n\n"
        f"Processor time of the whole engine, one thread, medians of {BLOCKS} blocks; unless it says otherwise, "
        f"digits, MLP 64-64-10, {STEPS} steps on batches of {BATCH}, nothing evaluated. Each version runs in a process "
        "of its own, in turns; the last column is the median of the ratios of neighbouring blocks.\n\n"
        + table(header, rows)
    )


def trainings() -> str:
    """Training alone: a plain loop over torch.nn modules, all clients at once, and DP-SGD."""
    rows = []
    for name, shape in TRAININGS.items():
        seconds = interleaved(_ways(shape, convnet if "Conv" in name else mlp), REPEATS)
        loop, plain, clipped, noisy = (median(values) for values in seconds.values())
        milliseconds = [f"{1e3 * value:.3g}" for value in (loop, plain, clipped, noisy)]
        rows.append(
            [name, *milliseconds, f"{loop / plain:.2f} x", f"{clipped / plain:.2f} x", f"{noisy / plain:.2f} x"]
        )
    header = ["", "loop, ms", "labsec, ms", "clipped, ms", "and noise, ms", "loop / labsec", "clipped / labsec"]
    return (
        f"### Training alone\n\n{CLIENTS} clients, {STEPS} steps on batches of {BATCH}, the default chunk; medians. "
        "The loop trains one torch.nn module after the other; DP-SGD clips every sample's gradient, and draws a normal "
        "number for each parameter of each client in each step.\n\n" + table([*header, "and noise / labsec"], rows)
    )


def _ways(shape: tuple[int, ...], make: Callable[..., Model]) -> dict[str, Callable[[], object]]:
    data = noise(shape, 5000) if shape != (1, 8, 8) else load("digits")
    model = make(shape, data.classes)
    batches = torch.randint(len(data.y), (CLIENTS, STEPS, BATCH), generator=generator(0, "batches"))
    work = (model, model.init(generator(0, "start")), data.x, data.y, batches)
    private = {"lr": 0.1, "clip": 1.0, "generator": generator(0, "noise")}
    return {
        "loop": lambda: local_updates_loop(*work, lr=0.1),
        "plain": lambda: local_updates(*work, lr=0.1),
        "clipped": lambda: dp_sgd(*work, noise=0.0, **private),
        "noisy": lambda: dp_sgd(*work, noise=1.0, **private),
    }


def _milliseconds(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.3g}"
