"""Small whole numbers packed without gaps, and increasing ones in little more than two bits each.

Eight codes at a time are one 64-bit word: three shifts push its eight bytes together, for all words at once. That is
as fast as the memory allows, and works for every width from 1 to 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]

WORD = np.dtype("<u8")  # eight codes; little-endian on any machine
BLOCK = 16_384  # words that are packed together: as many as a processor keeps near
FIELDS = (8, 16, 32)  # bits of the fields that a step merges in pairs


def packed_bytes(count: int, bits: int) -> int:
    """How many bytes `count` codes of so many bits take.

    >>> packed_bytes(3, 5)
    2
    """
    return -(-count * bits // 8)


def pack(codes: Bytes, bits: int) -> bytes:
    """Write codes [n] below 2**bits one after another, the lowest bit first; the last byte is filled up with zeros.

    bits    1 … 8

    >>> pack(np.array([1, 0, 1, 1], dtype=np.uint8), 1)
    b'\\r'
    >>> unpack(pack(np.array([5, 0, 7], dtype=np.uint8), 3), 3, count=3).tolist()
    [5, 0, 7]
    """
    if bits == 8:
        return codes.tobytes()
    words = np.zeros(-(-len(codes) // 8), dtype=WORD)
    words.view(np.uint8)[: len(codes)] = codes
    for block in _blocks(words):
        _push_together(block, bits)
    lowest = words.view(np.uint8).reshape(-1, 8)[:, :bits]  # [words, bits]: the rest of each word is zero now
    return lowest.tobytes()[: packed_bytes(len(codes), bits)]


def unpack(packed: Bytes | bytes, bits: int, *, count: int) -> Bytes:
    """The codes [count] that `pack` wrote into so many bits each.

    Raises ValueError unless there are as many bytes as they take, and the bits after the last code are zero.
    """
    data = np.frombuffer(packed, dtype=np.uint8)
    if len(data) != packed_bytes(count, bits):
        raise ValueError(f"{count} codes of {bits} bits take {packed_bytes(count, bits)} bytes; got {len(data)}")
    if bits == 8:
        return data
    full = np.zeros(-(-count // 8) * bits, dtype=np.uint8)
    full[: len(data)] = data
    words = np.zeros(-(-count // 8), dtype=WORD)
    codes = words.view(np.uint8)
    codes.reshape(-1, 8)[:, :bits] = full.reshape(-1, bits)
    for block in _blocks(words):
        _pull_apart(block, bits)
    if codes[count:].any():
        raise ValueError(f"the bits after the last of {count} codes must be zero")
    return codes[:count]


def _blocks(words: NDArray[Any]) -> list[NDArray[Any]]:
    return [words[start : start + BLOCK] for start in range(0, len(words), BLOCK)]


def _push_together(words: NDArray[Any], bits: int) -> None:
    """Close the gaps between the eight codes of every word, in place.

    Each step merges neighbouring fields in pairs: the upper one moves down to where the lower one ends.
    """
    upper = np.empty_like(words)
    for width in FIELDS:
        filled = bits * width // 8  # of the `width` bits of a field
        np.right_shift(words, WORD.type(width - filled), out=upper)
        np.bitwise_and(upper, _mask(filled, start=filled, every=2 * width), out=upper)
        np.bitwise_and(words, _mask(filled, start=0, every=2 * width), out=words)
        np.bitwise_or(words, upper, out=words)


def _pull_apart(words: NDArray[Any], bits: int) -> None:
    """The same steps the other way round."""
    upper = np.empty_like(words)
    for width in reversed(FIELDS):
        filled = bits * width // 8
        np.left_shift(words, WORD.type(width - filled), out=upper)
        np.bitwise_and(upper, _mask(filled, start=width, every=2 * width), out=upper)
        np.bitwise_and(words, _mask(filled, start=0, every=2 * width), out=words)
        np.bitwise_or(words, upper, out=words)


def _mask(ones: int, *, start: int, every: int) -> Any:
    """A word in which so many bits are set from a place on, and again in every field of so many bits."""
    return WORD.type(sum((2**ones - 1) << (field + start) for field in range(0, 64, every)))


# --- increasing numbers


def increasing_bytes(count: int, below: int) -> int:
    """How many bytes `pack_increasing` takes for so many numbers: it depends on nothing else.

    >>> increasing_bytes(481, 4810), increasing_bytes(48, 4810)
    (317, 52)
    """
    low = _low_bits(count, below)
    steps = packed_bytes(_steps(count, below, low), 1)
    return steps + sum(packed_bytes(count, width) for _, width in _planes(low))


def pack_increasing(numbers: Whole, below: int) -> bytes:
    """Write increasing whole numbers [n] in 0 … below - 1 in about 2 + log2(below / n) bits each.

    The upper part of a number follows as the steps from the last one, as many zeros and then a one; its lowest bits
    follow as they are.

    >>> unpack_increasing(pack_increasing(np.array([2, 3, 60]), 64), count=3, below=64).tolist()
    [2, 3, 60]

    Sources: Elias 1974, Journal of the ACM 21(2); Vigna 2012, arXiv:1206.4300.
    """
    low = _low_bits(len(numbers), below)
    steps = np.zeros(_steps(len(numbers), below, low), dtype=np.uint8)
    steps[(numbers >> low) + np.arange(len(numbers))] = 1
    parts = [pack(steps, 1)]
    for shift, width in _planes(low):
        parts.append(pack(((numbers >> shift) & (2**width - 1)).astype(np.uint8), width))
    return b"".join(parts)


def unpack_increasing(packed: Bytes | bytes, *, count: int, below: int) -> Whole:
    """The increasing numbers [count] in 0 … below - 1 that `pack_increasing` wrote.

    Raises ValueError for bytes that it cannot have written.
    """
    low = _low_bits(count, below)
    ends = packed_bytes(_steps(count, below, low), 1)
    steps = unpack(packed[:ends], 1, count=_steps(count, below, low))
    ones = np.flatnonzero(steps)
    if len(ones) != count:
        raise ValueError(f"{count} increasing numbers have as many steps; got {len(ones)}")
    numbers = (ones - np.arange(count)) << low
    for shift, width in _planes(low):
        part = packed[ends : ends + packed_bytes(count, width)]
        numbers |= unpack(part, width, count=count).astype(np.int64) << shift
        ends += packed_bytes(count, width)
    if ends != len(packed) or not (np.diff(numbers) > 0).all() or (count and numbers[-1] >= below):
        raise ValueError(f"{count} numbers must increase within 0 … {below - 1} and take {ends} bytes")
    return numbers


def _low_bits(count: int, below: int) -> int:
    """How many bits of each number are written as they are: the fewer numbers there are, the more."""
    return max(0, (below // max(count, 1)).bit_length() - 1)


def _steps(count: int, below: int, low: int) -> int:
    """How many bits the steps of the upper parts take: a one for each number, a zero for each value passed."""
    return count + ((below - 1) >> low) if count else 0


def _planes(low: int) -> list[tuple[int, int]]:
    """Where each byte of the lowest bits begins, and how many bits of it are in use."""
    return [(shift, min(8, low - shift)) for shift in range(0, low, 8)]
