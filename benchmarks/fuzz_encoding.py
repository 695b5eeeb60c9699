"""Spoil messages and decode them: every one is refused with a ValueError or holds a row, within little memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch

from benchmarks.common import machine, versions
from labsec import compress
from labsec.encoding import decode, encode
from labsec.types import generator

CASES = 100_000
LONGEST = 100_000  # numbers of a row that the receiver wants


def whole_messages() -> list[bytes]:
    """A message of every form, of some lengths."""
    messages = []
    for dim in (1, 7, 64, 1000):
        rows = torch.randn(1, dim, generator=generator(0, dim))
        draws = generator(1, dim)
        kinds = [rows, torch.zeros(1, dim), compress.sign(rows), compress.top_k(rows, keep=0.5)]
        kinds += [compress.top_k(rows, keep=0.05), compress.sign(compress.top_k(rows, keep=0.05))]
        kinds += [compress.qsgd(rows, bits=bits, generator=draws) for bits in range(2, 9)]
        messages += [encode(row[0]) for row in kinds]
    return messages


def spoiled_messages(seed: int) -> Iterator[bytes]:
    """Messages without end: cut, lengthened, with bits turned over, another header, spliced, or drawn by chance."""
    whole = whole_messages()
    chance = np.random.default_rng(seed)
    while True:
        message = bytearray(whole[chance.integers(len(whole))])
        way = chance.integers(6)
        if way == 0:
            message = message[: chance.integers(len(message))]
        elif way == 1:
            message += chance.bytes(int(chance.integers(1, 20)))
        elif way == 2:
            for place in chance.integers(len(message), size=chance.integers(1, 6)):
                message[place] ^= 1 << chance.integers(8)
        elif way == 3:
            place = chance.integers(2, min(16, len(message)))
            message[place] = chance.integers(256)
        elif way == 4:
            other = whole[chance.integers(len(whole))]
            place = int(chance.integers(8, len(message) + 1))
            message = message[:place] + other[place:]
        else:
            message = bytearray(b"u1" + chance.bytes(int(chance.integers(60))))
        yield bytes(message)


def main() -> str:
    """Decode a hundred thousand spoiled messages and tell how it went, as a section of a page."""
    refused = 0
    tracemalloc.start()
    began = perf_counter()
    for message in itertools.islice(spoiled_messages(seed=1), CASES):
        try:
            decode(message, longest=LONGEST)
        except ValueError:
            refused += 1
    seconds = perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return "\n".join(
        [
            "## Messages that nobody wrote: the decoder of updates under fuzzing",
            "",
            f"`python -m benchmarks fuzz_encoding` on {machine()}; {versions('torch', 'numpy')}.",
            "",
            f"{CASES:,} messages, spoiled in six ways: {refused:,} were refused with a ValueError, {CASES - refused:,} "
            f"held a row of at most {LONGEST:,} numbers, and nothing else happened. Most memory at a time: "
            f"{peak / 1e6:.1f} MB, the messages' own included. {seconds:.0f} s.",
        ]
    )
