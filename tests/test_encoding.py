"""A message is as long as it says, gives back what was written, and does no harm when it was made up."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from benchmarks.fuzz_encoding import spoiled_messages
from labsec import compress
from labsec.encoding import decode, encode, wire_bytes
from labsec.encoding.bits import (
    increasing_bytes,
    pack,
    pack_increasing,
    packed_bytes,
    unpack,
    unpack_increasing,
)
from labsec.types import generator


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal to the last bit, NaN included; the two zeros count as one."""
    return torch.equal((one + 0.0).view(torch.int32), (other + 0.0).view(torch.int32))


floats = st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=False)
sizes = st.integers(1, 300)
ROWS = {
    "any numbers": arrays.arrays(np.float32, sizes, elements=floats),
    "mostly zero": arrays.arrays(np.float32, sizes, elements=floats, fill=st.just(0.0)),
    "a grid": st.builds(
        lambda codes, step: codes.astype(np.float32) * np.float32(step),
        arrays.arrays(np.int64, sizes, elements=st.integers(-127, 127)),
        st.floats(2.0**-99, 2.0**99, width=32),
    ),
    "signs": st.builds(
        lambda signs, size: signs.astype(np.float32) * np.float32(size),
        arrays.arrays(np.int64, sizes, elements=st.sampled_from([-1, 1])),
        st.floats(2.0**-99, 2.0**99, width=32),
    ),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_what_is_decoded_is_what_was_encoded(rows):
    @settings(max_examples=150, deadline=None)
    @given(rows)
    def holds(numbers):
        row = torch.from_numpy(numbers)
        message = encode(row)
        assert same_bits(decode(message), row)
        assert len(message) == wire_bytes(row[None])
        assert len(message) <= 8 + 4 * len(row), "no longer than the numbers as they are"

    holds()


def draw(dim: int) -> Tensor:
    return torch.randn(1, dim, generator=generator(0, dim))


@pytest.mark.parametrize(
    ("stage", "size"),
    [
        # 8 bytes of header, then the numbers as they are.
        (lambda rows: rows, 8 + 4 * 4810),
        # 481 values and a count; each position costs 3 bits as they are and the steps 481 ones and 4809 // 8 zeros.
        (
            lambda rows: compress.top_k(rows, keep=0.1),
            8 + 4 + math.ceil((481 + 601) / 8) + math.ceil(3 * 481 / 8) + 1924,
        ),
        # For half of the entries a bitmap is shorter than positions.
        (lambda rows: compress.top_k(rows, keep=0.5), 8 + math.ceil(4810 / 8) + 4 * 2405),
        # A step and b bits for each entry.
        (lambda rows: compress.qsgd(rows, bits=8, generator=generator(1)), 8 + 4 + 4810),
        (lambda rows: compress.qsgd(rows, bits=5, generator=generator(1)), 8 + 4 + math.ceil(5 * 4810 / 8)),
        # A step and one bit for each entry.
        (compress.sign, 8 + 4 + math.ceil(4810 / 8)),
        (lambda rows: compress.sfsq(rows, bound=0.1, flip=0.2, generator=generator(1)), 8 + 4 + math.ceil(4810 / 8)),
        # A chain: 481 positions, of which only the sign and one size are sent.
        (
            lambda rows: compress.top_k(rows, keep=0.1).sign() * 0.25,
            8 + 4 + math.ceil((481 + 601) / 8) + math.ceil(3 * 481 / 8) + 4 + math.ceil(481 / 8),
        ),
        # Nothing at all: a header, and a count of no positions.
        (torch.zeros_like, 8 + 4),
    ],
    ids=["dense", "top 10 %", "top 50 %", "qsgd 8", "qsgd 5", "sign", "sfsq", "signs of top 10 %", "nothing"],
)
def test_sizes_by_hand(stage, size):
    row = stage(draw(4810))[0]
    assert len(encode(row)) == size
    assert wire_bytes(row[None]) == size
    assert same_bits(decode(encode(row)), row)


def test_few_bits_with_two_kinds_of_zeros():
    """QSGD at two bits: -1, 0 and 1. Many zeros make names and signs shorter than two bits for each entry."""
    row = torch.zeros(800)
    row[:80:2] = 0.5
    row[1:80:2] = -0.5
    assert len(encode(row)) == 8 + 4 + increasing_bytes(80, 800) + 4 + 10
    row[80:640] = 0.5
    assert len(encode(row)) == 8 + 100 + 4 + 80, "a bitmap, and a sign for each of 640"
    assert same_bits(decode(encode(row)), row)


def test_rows_are_counted_one_by_one():
    rows = torch.cat([draw(100), torch.zeros(1, 100), compress.sign(draw(100))])
    assert wire_bytes(rows) == sum(len(encode(row)) for row in rows) == 408 + 12 + 25
    assert wire_bytes(torch.zeros(0, 5)) == 0


def test_a_transposed_row_is_a_row():
    rows = torch.arange(12.0).reshape(3, 4)
    assert same_bits(decode(encode(rows[:, 1])), torch.tensor([1.0, 5.0, 9.0]))


# --- bits


@settings(max_examples=200, deadline=None)
@given(bits=st.integers(1, 8), count=st.integers(0, 200), seed=st.integers(0, 99))
def test_packed_codes_come_back(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, count, dtype=np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == packed_bytes(count, bits) == math.ceil(count * bits / 8)
    assert unpack(packed, bits, count=count).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", range(1, 9))
def test_packing_is_a_string_of_bits(bits):
    """Against an obvious twin: write the bits of each code, the lowest first, and cut the string into bytes."""
    codes = np.random.default_rng(bits).integers(0, 2**bits, 131_093, dtype=np.uint8)  # several blocks, and a rest
    string = np.unpackbits(codes[:, None], axis=1, count=bits, bitorder="little").ravel()
    assert pack(codes, bits) == np.packbits(string, bitorder="little").tobytes()


@settings(max_examples=200, deadline=None)
@given(below=st.integers(1, 3000), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_increasing_numbers_come_back(below, share, seed):
    numbers = np.flatnonzero(np.random.default_rng(seed).random(below) < share)
    packed = pack_increasing(numbers, below)
    assert len(packed) == increasing_bytes(len(numbers), below)
    assert unpack_increasing(packed, count=len(numbers), below=below).tolist() == numbers.tolist()


def test_positions_cost_little_more_than_they_must():
    """log2 of the number of ways to choose 100 out of 10,000 is 100.5 bytes short of nothing: within a tenth of it."""
    count, below = 100, 10_000
    ways = math.log2(math.comb(below, count)) / 8
    assert ways <= increasing_bytes(count, below) <= 1.1 * ways


def test_padding_must_be_zero():
    with pytest.raises(ValueError, match="bits after the last of 3 codes must be zero"):
        unpack(bytes([0b1000]), 1, count=3)


# --- messages that nobody wrote


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "header of 8 bytes; got 0 bytes"),
        (b"u2\x00\x20\x01\x00\x00\x00\x00\x00\x00\x00", r"needs mark b'u1'.*got b'u2'"),
        (b"u1\x03\x20\x01\x00\x00\x00\x00\x00\x00\x00", "places 0 … 2"),
        (b"u1\x00\x09\x01\x00\x00\x00\x00\x00\x00\x00", "bits 1 … 8 or 32"),
        (b"u1\x00\x20\x00\x00\x00\x00", "1 <= dim <= 16777216; got .* and 0"),
        (b"u1\x00\x20\xff\xff\xff\xff", "got .* and 4294967295"),
        (b"u1\x00\x20\x02\x00\x00\x00\x00\x00\x00\x00", "needs 8 more bytes at byte 8; got 4"),
        (b"u1\x00\x20\x01\x00\x00\x00\x00\x00\x00\x00!", "1 bytes follow"),
        (b"u1\x01\x20\x03\x00\x00\x00\x08", "bits after the last of 3 codes"),
        (b"u1\x02\x20\x03\x00\x00\x00\x04\x00\x00\x00", "at most dim = 3 positions; got 4"),
        (b"u1\x02\x20\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00", "as many steps; got 0"),
        (b"u1\x02\x20\x03\x00\x00\x00\x01\x00\x00\x00\x02\x01" + 4 * b"\x00", "must increase within 0 … 2"),
        (b"u1\x00\x02\x01\x00\x00\x00\x00\x00\x80\x3f\x03", "codes 0 … 2 in 2 bits; got 3"),
        (b"u1\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x01", "a step > 0 .* got 0.0"),
        (b"u1\x00\x02\x01\x00\x00\x00\x00\x00\xc0\x7f\x01", "a step > 0 .* got nan"),
        (b"u1\x00\x08\x01\x00\x00\x00\xff\xff\x7f\x7f\x01", "127 are finite"),
    ],
)
def test_a_malformed_message_is_told_what_is_wrong_with_it(message, words):
    with pytest.raises(ValueError, match=words):
        decode(message)


def test_a_few_bytes_cannot_ask_for_much_memory():
    """Twelve bytes that announce a row of 2**32 - 1 zeros, or of 2**24 with as many positions as bytes never came."""
    for message in (b"u1\x02\x20\xff\xff\xff\xff\x00\x00\x00\x00", b"u1\x02\x20\x00\x00\x00\x01\xff\xff\xff\x00"):
        tracemalloc.start()
        with pytest.raises(ValueError, match="decode needs"):
            decode(message)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000
    with pytest.raises(ValueError, match="1 <= dim <= 99"):
        decode(encode(torch.zeros(100)), longest=99)


def test_spoiled_messages_are_refused_in_words_or_hold_a_row():
    """What is taken is a row like any other: it can be written and read again."""
    refused = 0
    for message in itertools.islice(spoiled_messages(seed=0), 2000):
        try:
            row = decode(message, longest=100_000)
        except ValueError:
            refused += 1
            continue
        assert row.dtype == torch.float32
        assert row.ndim == 1
        assert same_bits(decode(encode(row)), row)
    assert 500 < refused < 2000
