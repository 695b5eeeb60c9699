"""How well the reader of captured updates stands what is none: mutations of a valid file, and what became of each."""

from __future__ import annotations

import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from benchmarks.common import machine, peak_megabytes, versions
from labsec import Scenario
from labsec.study.capture import Capture, NoCapture, decoded, encoded, from_run

CASES = 100_000
SEED = 0
STRANGE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, -(2**63), 10**400, 1e308, -0.0, 0.5, "", "F16", "F32", "I64", "x"),
    *([], [0], [-1], [1, 1], [2**40, 2**40], {}, {"a": 1}, "NaN", "1e999", "[[[[", "\ud800", "\x00", "0" * 5000),
)


def valid() -> bytes:
    """A captured update as `labsec capture` writes it."""
    found = from_run(Scenario(local_steps=1, batch_size=1))
    return encoded(found.view, round=found.round)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    """Some bits are turned, more often in the header than behind it."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        end = len(data) if draw.random() < 0.3 else min(len(data), 600)
        changed[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def insert(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(min(len(data), 600))
    return data[:place] + draw.randbytes(draw.randrange(1, 20)) + data[place + draw.randrange(3) :]


def announce(data: bytes, draw: random.Random) -> bytes:
    """Another length of the header."""
    size = draw.choice((0, 1, 2, 2**16, 2**32, 2**63, 2**64 - 1, draw.randrange(2000)))
    return size.to_bytes(8, "little") + data[8:]


def noise(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(200))


def edit_text(data: bytes, draw: random.Random) -> bytes:
    """A letter of the header becomes another one."""
    size = int.from_bytes(data[:8], "little")
    place = 8 + draw.randrange(size)
    return data[:place] + draw.choice(string.printable).encode() + data[place + 1 :]


def edit_header(data: bytes, draw: random.Random) -> bytes:
    """A value of the header, or of the JSON in its metadata, becomes a strange one, is lost, or gets company."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if draw.random() < 0.6:
        fields = header["__metadata__"]
        name = draw.choice([*fields])
        box = {name: json.loads(fields[name])}
        _spoil(box, draw)
        fields[name] = json.dumps(box.get(name, "gone"))
    else:
        _spoil(header, draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _spoil(box: Any, draw: random.Random) -> None:
    """Change one place somewhere in a dictionary or a list."""
    place = draw.choice([*box]) if isinstance(box, dict) else draw.randrange(len(box))
    if isinstance(box[place], dict | list) and box[place] and draw.random() < 0.7:
        _spoil(box[place], draw)
    elif draw.random() < 0.15:
        del box[place]
    elif isinstance(box, dict) and draw.random() < 0.1:
        box[draw.choice(("more", "__metadata__", "params"))] = draw.choice(STRANGE)
    else:
        box[place] = draw.choice(STRANGE)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut,
    flip_bits,
    insert,
    announce,
    noise,
    edit_text,
    edit_header,
    edit_header,
    edit_header,
)


def mutants(data: bytes, cases: int, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """The name of a mutation and what it makes of a valid file, `cases` times."""
    draw = random.Random(seed)
    for _ in range(cases):
        mutation = draw.choice(MUTATIONS)
        yield mutation.__name__, mutation(data, draw)


def outcome(data: bytes) -> str:
    """ "refused", "read", or the name of an error that should not have been raised."""
    try:
        found = decoded(data)
    except NoCapture:
        return "refused"
    except Exception as error:  # whatever it is, it is what this looks for
        return type(error).__name__
    return "read" if isinstance(found, Capture) else "something else"


def main(cases: int = CASES) -> str:
    """A table of mutations and outcomes as Markdown."""
    data = valid()
    counts: Counter[tuple[str, str]] = Counter()
    longest = 0.0
    before = peak_megabytes()
    began = perf_counter()
    for name, mutant in mutants(data, cases):
        start = perf_counter()
        counts[name, outcome(mutant)] += 1
        longest = max(longest, perf_counter() - start)
    seconds = perf_counter() - began
    outcomes = sorted({each for _, each in counts} | {"refused", "read"})
    lines = [f"| mutation of a captured update | {' | '.join(outcomes)} |", "|---|" + "---:|" * len(outcomes)]
    for name in dict.fromkeys(mutation.__name__ for mutation in MUTATIONS):
        lines.append(f"| {name} | {' | '.join(f'{counts[name, each]:,}' for each in outcomes)} |")
    others = sum(count for (_, each), count in counts.items() if each not in ("refused", "read"))
    return "\n".join(
        [
            f"{machine()}; {versions('torch', 'safetensors')}",
            "",
            *lines,
            "",
            f"{cases:,} malformed files (seed {SEED}): {others:,} errors other than the documented one; "
            f"{seconds:.0f} s, at most {1000 * longest:.0f} ms each; {peak_megabytes() - before:.0f} MB more memory at "
            "the peak. A file whose numbers alone were changed is still a captured update, and is read.",
        ]
    )
