"""Aggregation rules by labsec, ByzFL and Flower on the same matrices, one thread, in turns."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import interleaved, machine, versions
from benchmarks.report import table
from benchmarks.robust_peers import MODULES, Pair, missing, pairs
from labsec.robust.diameter import LARGEST_F

SIZES = {(20, 10_000): 11, (100, 100_000): 3, (50, 1_000_000): 3}  # (clients, parameters): repeats
TOO_LARGE_FOR_PEERS = {  # ByzFL gathers [clients, clients - f, dim]; Flower computes all distances for each choice
    ("nnm", 50),
    ("bulyan", 50),
}
TIMED = (
    "median",
    "trimmed_mean",
    "krum",
    "multi_krum",
    "geometric_median",
    "nnm",
    "CenteredClip",
    "bulyan",
    "mda",
    "meamed",
    "monna",
    "fltrust",
    "bucketing",
    "sign_majority",
    "rlr",
    "dnc",
    "flame",
    "FoolsGold",
    "Reputation",
    "FedShield",
)
RADIUS = 2.0  # of CenteredClip
WITH_DISTANCES = ("krum", "geometric_median", "nnm")
HUGE = 3e38  # near the largest float32
HUGE_ROWS = 10
REPEATS_HUGE = 5
NNM_MEMORY = (100, 100_000)


def main() -> str:
    """The section, as Markdown."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        parts = [
            "## Aggregation rules",
            f"{machine()}. {versions('torch', 'numpy', 'byzfl', 'flwr')}. f is 24 % of the clients, rounded down, "
            "for Bulyan 20 %, for FedShield 10 % in buckets of two, for MDA 16 at most; "
            "float32, normally distributed; medians in milliseconds. "
            + " ".join(f"{reason}." for reason in missing().values()),
            *(race(clients, dim, repeats) for (clients, dim), repeats in SIZES.items()),
            huge_rows(),
            alignment(),
            memory(),
        ]
    finally:
        torch.set_num_threads(threads)
    return "\n\n".join(parts)


def race(clients: int, dim: int, repeats: int) -> str:
    """Time every rule of every contestant on one matrix."""
    updates = torch.randn(clients, dim, generator=torch.Generator().manual_seed(0))
    found = [
        pair
        for f in sorted({suspected(rule, clients) for rule in TIMED})
        for pair in pairs(f, clients)
        if pair.rule in TIMED and f == suspected(pair.rule, clients)
    ]
    seconds = interleaved(contestants(found, updates), repeats)
    milliseconds = {name: 1e3 * median(values) for name, values in seconds.items()}
    product = milliseconds.pop("X @ X.T")
    reading = milliseconds.pop("reading X")
    rows = [_row(rule, milliseconds, product, reading) for rule in TIMED]
    return (
        f"### {clients} clients x {dim:,} parameters\n\n"
        f"`X @ X.T` takes {product:.3g} ms, reading X (its sum) {reading:.3g} ms.\n\n"
        + table(["rule", "labsec", "of X @ X.T", "of reading X twice", *MODULES, "times the better peer"], rows)
    )


def suspected(rule: str, clients: int) -> int:
    """The f of a rule on a matrix with so many rows."""
    percent = {"bulyan": 20, "FedShield": 10}.get(rule, 24)
    f = clients * percent // 100
    return min(f, LARGEST_F) if rule == "mda" else f


def contestants(found: list[Pair], updates: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by "who rule"."""
    clients = len(updates)
    functions: dict[str, Callable[[], object]] = {
        "X @ X.T": lambda: updates @ updates.T,
        "reading X": lambda: updates.sum(),
    }
    for rule, ours in labsec_rules(clients).items():
        functions[f"labsec {rule}"] = lambda ours=ours: ours(updates)
    for pair in found:
        if (pair.rule, clients) not in TOO_LARGE_FOR_PEERS:
            functions[f"{pair.peer} {pair.rule}"] = lambda pair=pair: pair.theirs(updates)
    return functions


def labsec_rules(clients: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """labsec's rules with the paper's conventions."""
    from labsec import robust

    settings: dict[str, dict[str, Any]] = {
        "CenteredClip": {"radius": RADIUS},
        "FedShield": {"radius": RADIUS},
        "bucketing": {"size": 2},
        "sign_majority": {"step": 0.01},
        "rlr": {"threshold": clients // 4},
        "fltrust": {"root": _itself},
        "monna": {"root": _itself},
    }
    rules: dict[str, Callable[[Tensor], Tensor]] = {}
    for rule in TIMED:
        part = getattr(robust, rule)
        own = settings.get(rule, {})
        if "f" in inspect.signature(part).parameters:
            own = {"f": suspected(rule, clients), **own}
        rules[rule] = partial(_called, part(**own) if inspect.isclass(part) else partial(part, **own))
    return rules


def _called(part: Callable[..., Tensor], updates: Tensor) -> Tensor:
    """A rule or stage with what the engine would fill in; the model that was sent looks like the first update."""
    offers = {"clients": torch.arange(len(updates)), "params": updates[0], "generator": torch.Generator()}
    return part(updates, **{name: offers[name] for name in inspect.signature(part).parameters if name in offers})


def _itself(params: Tensor) -> Tensor:
    """A server's own update that costs nothing."""
    return params


def _row(rule: str, milliseconds: dict[str, float], product: float, reading: float) -> list[str]:
    ours = milliseconds[f"labsec {rule}"]
    peers = [milliseconds.get(f"{peer} {rule}") for peer in MODULES]
    known = [value for value in peers if value is not None]
    return [
        f"`{rule}`",
        f"{ours:.3g}",
        f"{ours / product:.2f}x",
        f"{ours / (2 * reading):.2f}x",
        *(f"{value:,.4g}" if value is not None else "–" for value in peers),
        f"{min(known) / ours:.3g}x" if known else "–",
    ]


def huge_rows() -> str:
    """How much longer the rules that need distances take when some rows lie near the largest float32."""
    clients, dim = max(SIZES, key=lambda size: size[0] * size[1])
    ordinary = torch.randn(clients, dim, generator=torch.Generator().manual_seed(0))
    huge = ordinary.clone()
    huge[:HUGE_ROWS] = HUGE * huge[:HUGE_ROWS].sign()
    rules = {rule: part for rule, part in labsec_rules(clients).items() if rule in WITH_DISTANCES}
    functions: dict[str, Callable[[], object]] = {}
    for rule, part in rules.items():
        functions[f"{rule} ordinary"] = lambda part=part: part(ordinary)
        functions[f"{rule} huge"] = lambda part=part: part(huge)
    milliseconds = {name: 1e3 * median(values) for name, values in interleaved(functions, REPEATS_HUGE).items()}
    rows = []
    for rule in rules:
        plain = milliseconds[f"{rule} ordinary"]
        longer = milliseconds[f"{rule} huge"]
        rows.append([f"`{rule}`", f"{plain:.3g}", f"{longer:.3g}", f"{longer / plain:.2f}x"])
    return f"### {HUGE_ROWS} of {clients} rows near the largest float32, {dim:,} parameters\n\n" + table(
        ["rule", "ordinary rows, ms", "huge ones among them, ms", "longer"], rows
    )


def alignment() -> str:
    """How the peers' conventions differ from labsec's."""
    notes = dict.fromkeys(
        f"{pair.rule}: {pair.aligned}." for pair in pairs(4, 20) if pair.aligned and pair.rule in TIMED
    )
    return "\n".join(f"- {note}" for note in notes)


def memory() -> str:
    """How much a process grows at its peak while it mixes nearest neighbours, beyond the matrix itself."""
    clients, dim = NNM_MEMORY
    matrix = 4e-6 * clients * dim
    grown = {who: _growth(call) for who, call in (("labsec", "p.ours(x)"), ("ByzFL", "p.theirs(x)"))}
    figures = ", ".join(f"{who} {value:.0f} MB" for who, value in grown.items() if value is not None)
    return f"Memory of `nnm` at {clients} x {dim:,} beyond its input of {matrix:.0f} MB, at the peak: {figures or '–'}."


def _growth(call: str) -> float | None:
    """Megabytes by which a fresh process grows in a call with the ByzFL pair of nnm; None without ByzFL."""
    clients, dim = NNM_MEMORY
    code = f"""
import torch
from benchmarks.common import peak_megabytes
from benchmarks.robust_peers import pairs
torch.set_num_threads(1)
p = next(p for p in pairs({suspected("nnm", clients)}, {clients}) if p.rule == "nnm")
x = torch.randn({clients}, {dim})
p.ours(x[:, :100]), p.theirs(x[:, :100])
before = peak_megabytes()
{call}
print(peak_megabytes() - before)
"""
    if "ByzFL" in missing():
        return None
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])
