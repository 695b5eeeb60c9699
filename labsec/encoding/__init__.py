"""How a row of numbers becomes bytes, and bytes a row: what a message weighs is the length of what is sent.

The encoder looks at the numbers alone. Whatever made them, it finds out that most are zero, or that all lie on a grid
of a few steps, and writes the shortest of its forms. So one count holds for every compression and for any chain of
them, and nobody can state a size that was not sent.
"""

from __future__ import annotations

from labsec.encoding.message import decode, encode, wire_bytes

__all__ = ["decode", "encode", "wire_bytes"]
