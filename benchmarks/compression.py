"""How fast messages are packed, written and read, and entries selected, beside copying the memory and torch's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import interleaved, machine, versions
from benchmarks.report import table
from labsec import compress
from labsec.encoding import decode, encode, wire_bytes
from labsec.encoding.bits import pack, unpack
from labsec.types import generator

DIM = 1_000_000
REPEATS = 15
WIDTHS = (1, 2, 4, 5, 8)


def packing() -> list[list[str]]:
    """A line for each width: GB/s of packing and unpacking a million codes of a byte each, and of copying them."""
    draws = np.random.default_rng(0)
    lines = []
    for bits in WIDTHS:
        codes = draws.integers(0, 2**bits, DIM, dtype=np.uint8)
        packed = pack(codes, bits)
        seconds = interleaved(
            {
                "copy": codes.copy,
                "pack": partial(pack, codes, bits),
                "unpack": partial(unpack, packed, bits, count=DIM),
            },
            REPEATS,
        )
        speeds = {name: DIM / median(times) / 1e9 for name, times in seconds.items()}
        ratio = speeds["copy"] / speeds["pack"]
        lines.append([str(bits), *(f"{speeds[name]:.1f}" for name in ("pack", "unpack", "copy")), f"{ratio:.0f}"])
    return lines


def messages() -> list[list[str]]:
    """A line for each compression of a row of a million numbers: bytes, and milliseconds to write, count and read."""
    row = torch.randn(1, DIM, generator=generator(0))
    kinds: dict[str, Tensor] = {
        "as it is": row,
        "top 10 %": compress.top_k(row, keep=0.1),
        "top 1 %": compress.top_k(row, keep=0.01),
        "QSGD, 8 bits": compress.qsgd(row, bits=8, generator=generator(1)),
        "QSGD, 4 bits": compress.qsgd(row, bits=4, generator=generator(1)),
        "sign": compress.sign(row),
    }
    lines = []
    for name, rows in kinds.items():
        message = encode(rows[0])
        seconds = interleaved(
            {
                "write": partial(encode, rows[0]),
                "count": partial(wire_bytes, rows),
                "read": partial(decode, message),
            },
            REPEATS,
        )
        times = [f"{1e3 * median(seconds[step]):.1f}" for step in ("write", "count", "read")]
        lines.append([name, f"{len(message):,}", f"{32 * DIM / 8 / len(message):.1f}", *times])
    return lines


def selection() -> list[list[str]]:
    """A line for each share: milliseconds of `top_k`, and of torch's selection with the least that must follow it."""
    row = torch.randn(1, DIM, generator=generator(0))
    lines = []
    for keep in (0.01, 0.1, 0.5):
        count = round(keep * DIM)
        contestants: dict[str, Callable[[], object]] = {
            "ours": partial(compress.top_k, row, keep=keep),
            "torch": partial(_selected_by_torch, row, count),
        }
        seconds = interleaved(contestants, REPEATS)
        lines.append([f"{keep:.0%}", *(f"{1e3 * median(seconds[name]):.1f}" for name in contestants)])
    return lines


def _selected_by_torch(row: Tensor, count: int) -> Tensor:
    return torch.topk(row.abs(), count, dim=1, sorted=False).indices


def main() -> str:
    """Measure, and write a section of the page."""
    return "\n".join(
        [
            "## Compression: packing, messages, selection",
            "",
            f"`python -m benchmarks compression` on {machine()}; {versions('torch', 'numpy')}. Rows of {DIM:,} "
            f"numbers; medians of {REPEATS} calls taken in turns.",
            "",
            "Packing codes of one byte each (GB/s of codes), and copying them:",
            "",
            table(["bits", "pack", "unpack", "copy", "copy : pack"], packing()),
            "",
            "Messages (a float32 row has 4,000,000 bytes; all of them give back the row to the last bit):",
            "",
            table(["compression", "bytes", "smaller by", "write, ms", "count only, ms", "read, ms"], messages()),
            "",
            "Selecting the largest entries (torch: `abs` and `topk` alone, without the row that is sent):",
            "",
            table(["kept", "`top_k`, ms", "`torch.topk`, ms"], selection()),
        ]
    )
