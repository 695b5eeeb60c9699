"""A message: which entries of a row it names, and how it writes their numbers.

    bytes    2       1          1      4        0 or 4      …             0 or 4     …
             mark    places     bits   dim      count       places        step       numbers

    places   0 all entries; 1 a bitmap of those that are not zero; 2 their positions, by the steps between them
    bits     32 numbers as float32; 2 … 8 codes, whole multiples of one step, in so many bits; 1 their signs
    count    how many positions follow, for places 2
    step     float32, for bits other than 32

The receiver needs nothing else. Every number is little-endian.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labsec.encoding.bits import (
    increasing_bytes,
    pack,
    pack_increasing,
    packed_bytes,
    unpack,
    unpack_increasing,
)
from labsec.guards import check_kind, check_number, kind
from labsec.types import Update, Updates

Floats = NDArray[np.float32]

HEADER = struct.Struct("<2sBBI")
COUNT = struct.Struct("<I")
STEP = struct.Struct("<f")
MARK = b"u1"  # an update, in the first version of this form
ALL = 0
BITMAP = 1
POSITIONS = 2
FLOATS = 32
MOST_BITS = 8
TOO_FAR = 127.5  # no code is that large; halfway to the next, so that rounding decides nothing
AT_ONCE = 16_384
LOOKED_AT = 256  # entries of a row that tell at a glance whether it can lie on a grid


def encode(row: Update) -> bytes:
    """Write a row in the shortest form that loses nothing.

    row        [dim] float32; any numbers, NaN and infinity among them
    returns    bytes that `decode` turns into the same row; a negative zero, and what the processor takes for zero, come
               back as zero

    Zeros are left out where naming the others is shorter. Numbers that are all whole multiples, up to 127, of the
    smallest among them take a few bits each: what QSGD, the sign and SFSQ make of a row is found that way.

    >>> sparse = torch.zeros(4810)
    >>> sparse[[3, 70, 4000]] = torch.tensor([0.5, 2.25, -1.0])
    >>> len(encode(torch.randn(4810))), len(encode(sparse)), len(encode(torch.ones(4810)))
    (19248, 29, 614)
    >>> bool((decode(encode(sparse)) == sparse).all())
    True

    Raises ValueError unless row is a float32 vector with an entry.
    """
    _check_rows("encode", row, "a row [dim]", dimensions=1)
    numbers = _as_numpy(row)
    filled = np.flatnonzero(numbers != 0)
    grid = _grid(numbers)
    _, places, bits = _shortest(len(numbers), len(filled), None if grid is None else grid[1])

    written = numbers if places == ALL else numbers[filled]
    parts = [HEADER.pack(MARK, places, bits, len(numbers))]
    if places == BITMAP:
        parts.append(pack((numbers != 0).view(np.uint8), 1))
    elif places == POSITIONS:
        parts += [COUNT.pack(len(filled)), pack_increasing(filled, len(numbers))]
    if grid is None or bits == FLOATS:
        parts.append(written.astype("<f4", copy=False).tobytes())
    else:
        parts += [STEP.pack(grid[0]), pack(_codes(written, grid[0], bits), bits)]
    return b"".join(parts)


def decode(message: bytes, *, longest: int = 2**24) -> Update:
    """The row [dim] that a message holds, float32.

    longest    the longest row that the receiver wants: a few bytes may announce a long row of zeros

    >>> decode(encode(torch.tensor([0.0, -1.5, 0.0, 3.0])))
    tensor([ 0.0000, -1.5000,  0.0000,  3.0000])
    >>> decode(b"u1")
    Traceback (most recent call last):
    ValueError: decode needs a message with a header of 8 bytes; got 2 bytes

    Raises ValueError, and takes no memory before, for a message that is cut, too long, or otherwise not well formed.
    """
    check_kind("decode", bytes, message=message)
    check_number("decode", whole=True, above=0, most=2**32 - 1, longest=longest)
    if len(message) < HEADER.size:
        raise ValueError(f"decode needs a message with a header of {HEADER.size} bytes; got {len(message)} bytes")
    mark, places, bits, dim = HEADER.unpack_from(message)
    known = mark == MARK and places in (ALL, BITMAP, POSITIONS) and (1 <= bits <= MOST_BITS or bits == FLOATS)
    if not known or not 1 <= dim <= longest:
        raise ValueError(
            f"decode needs mark {MARK!r}, places 0 … 2, bits 1 … 8 or 32 and 1 <= dim <= {longest}; "
            f"got {mark!r}, {places}, {bits} and {dim}"
        )
    rest = _Rest(message)
    filled = _read_places(rest, places, dim)
    numbers = _read_numbers(rest, bits, dim if filled is None else len(filled))
    if rest.left():
        raise ValueError(f"decode needs a message that ends after its numbers; {rest.left()} bytes follow")
    if filled is None:
        return torch.from_numpy(numbers)
    row = np.zeros(dim, dtype=np.float32)
    row[filled] = numbers
    return torch.from_numpy(row)


def wire_bytes(rows: Updates) -> int:
    """Bytes that the rows take on the wire, each by itself: the lengths of what `encode` makes of them.

    rows    [k, dim] float32

    >>> rows = torch.tensor([[1.0, 0.3, 3.1, 4.0, 5.0], [0.0, 0.0, 5.0, 0.0, 0.0]])
    >>> wire_bytes(rows), [len(encode(row)) for row in rows]
    (41, [28, 13])

    No message is written for it. Raises ValueError unless rows is a float32 matrix with a column.
    """
    _check_rows("wire_bytes", rows, "rows [k, dim]", dimensions=2)
    numbers = _as_numpy(rows)
    if not len(numbers):
        return 0
    is_dense = _cannot_be_a_grid(numbers).tolist()  # [k]
    total = 0
    for row, filled, dense in zip(numbers, numbers != 0, is_dense, strict=True):
        # numpy counts a row of booleans many times faster than anyone counts a matrix along an axis.
        count = int(np.count_nonzero(filled))
        grid = None if dense else _grid(row)
        total += _shortest(len(row), count, None if grid is None else grid[1])[0]
    return total


# --- which form is the shortest


def _length(dim: int, count: int, places: int, bits: int) -> int:
    """Bytes of a message about `count` entries other than zero out of `dim`."""
    named = {ALL: 0, BITMAP: packed_bytes(dim, 1), POSITIONS: COUNT.size + increasing_bytes(count, dim)}[places]
    step = 0 if bits == FLOATS else STEP.size
    return HEADER.size + named + step + packed_bytes(dim if places == ALL else count, bits)


@lru_cache(maxsize=4096)  # the rows of a run are much alike
def _shortest(dim: int, count: int, largest_code: int | None) -> tuple[int, int, int]:
    """The length in bytes, the places and the bits of the shortest message about `count` entries that are not zero.

    largest_code    in size; None for numbers that lie on no grid, or if there is none but zero
    """
    forms = []
    for places in (ALL, BITMAP, POSITIONS):
        forms.append((places, FLOATS))
        if largest_code is not None:
            forms.append((places, _bits(largest_code, has_zero=places == ALL and count < dim)))
    return min((_length(dim, count, places, bits), places, bits) for places, bits in forms)


def _bits(largest_code: int, *, has_zero: bool) -> int:
    """Bits that hold codes from -largest_code to largest_code; without a zero among them, two signs need one."""
    return 1 if largest_code == 1 and not has_zero else (2 * largest_code).bit_length()


def _levels(bits: int) -> int:
    """The largest code of so many bits: 1, 1, 3, 7, … 127."""
    return max(1, 2 ** (bits - 1) - 1)


# --- grids


def _grid(numbers: Floats) -> tuple[float, int] | None:
    """The step of which all numbers are whole multiples, and the largest multiple; None where there is no such step.

    The smallest number other than zero is the only step that is tried.
    """
    if _cannot_be_a_grid(numbers[None])[0]:
        return None
    blocks = [np.abs(numbers[part]) for part in _parts(len(numbers))]
    largest = max(float(sizes.max()) for sizes in blocks)
    step = min(float(_smallest_but_zero(sizes)) for sizes in blocks)
    if not (math.isfinite(largest) and 0 < largest / TOO_FAR <= step):
        return None

    # Only where product and number agree to the last bit does the receiver get back what was written.
    for sizes in blocks:
        if not np.array_equal(np.rint(sizes / np.float32(step)) * np.float32(step), sizes):
            return None
    return step, round(largest / step)


def _cannot_be_a_grid(rows: Floats) -> Any:
    """Which rows [k] hold entries too far apart in size for one grid; some entries are enough to tell.

    Few rows that lie on no grid pass, and those that do are looked at in full.
    """
    every = max(1, rows.shape[1] // LOOKED_AT) | 1  # odd: the widths of layers tend to be even
    sizes = np.abs(rows[:, ::every])
    return sizes.max(axis=1) / np.float32(TOO_FAR) > _smallest_but_zero(sizes)


def _smallest_but_zero(sizes: Floats) -> Any:
    """The smallest number > 0 of the last axis; infinity where there is none."""
    return np.where(sizes > 0, sizes, np.float32(np.inf)).min(axis=-1)


def _codes(numbers: Floats, step: float, bits: int) -> NDArray[np.uint8]:
    """Multiples of the step as codes from 0; of two signs the positive one is 1."""
    if bits == 1:
        return (numbers > 0).view(np.uint8)
    codes = np.empty(len(numbers), dtype=np.uint8)
    for part in _parts(len(numbers)):
        codes[part] = np.rint(numbers[part] / np.float32(step)) + _levels(bits)
    return codes


def _parts(count: int) -> list[slice]:
    """Slices of a long row that are worked on one after another: short enough to stay near the processor."""
    return [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]


# --- reading


class _Rest:
    """What is left of a message that is read from front to back."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = HEADER.size

    def left(self) -> int:
        return len(self._message) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left():
            raise ValueError(f"decode needs {count} more bytes at byte {self._at}; got {self.left()}")
        self._at += count
        return self._message[self._at - count : self._at]


def _read_places(rest: _Rest, places: int, dim: int) -> NDArray[np.int64] | None:
    """Which entries the message names, increasing; None for all."""
    if places == ALL:
        return None
    if places == BITMAP:
        return np.flatnonzero(unpack(rest.take(packed_bytes(dim, 1)), 1, count=dim))
    (count,) = COUNT.unpack(rest.take(COUNT.size))
    if count > dim:
        raise ValueError(f"decode needs at most dim = {dim} positions; got {count}")
    return unpack_increasing(rest.take(increasing_bytes(count, dim)), count=count, below=dim)


def _read_numbers(rest: _Rest, bits: int, count: int) -> Floats:
    """The next `count` numbers."""
    if bits == FLOATS:
        return np.frombuffer(rest.take(4 * count), dtype="<f4").astype(np.float32)
    (step,) = STEP.unpack(rest.take(STEP.size))
    levels = _levels(bits)
    if not 0 < step * levels <= float(np.finfo(np.float32).max):
        raise ValueError(f"decode needs a step > 0 of which {levels} are finite; got {step}")
    codes = unpack(rest.take(packed_bytes(count, bits)), bits, count=count)
    if bits == 1:
        return np.where(codes == 1, np.float32(step), np.float32(-step))
    if count and codes.max() > 2 * levels:
        raise ValueError(f"decode needs codes 0 … {2 * levels} in {bits} bits; got {codes.max()}")
    return (codes.astype(np.float32) - np.float32(levels)) * np.float32(step)


# --- what is given


def _as_numpy(rows: Tensor) -> Any:
    return np.ascontiguousarray(rows.detach().cpu().numpy())


def _check_rows(name: str, rows: Tensor, what: str, *, dimensions: int) -> None:
    check_kind(name, Tensor, rows=rows)
    if rows.ndim != dimensions or rows.dtype != torch.float32 or rows.shape[-1] < 1:
        raise ValueError(f"{name} needs {what} in float32 with dim >= 1; got {kind(rows)}")
