"""Compression of updates: what clients leave out or round off to send less.

Each is a stage for the clients or for the wire: rows in, rows out, every row by itself. How many bytes a row then takes
is counted by the encoder (`labsec.encoding`), which writes it.

Less to send is less to read, and no more than that: none of these is a defence by itself.
"""

from __future__ import annotations

from labsec.compress.feedback import ErrorFeedback
from labsec.compress.quantised import qsgd, sfsq, sfsq_epsilon, sign
from labsec.compress.sparse import random_k, top_k
from labsec.encoding import decode, encode, wire_bytes

__all__ = [
    "ErrorFeedback",
    "decode",
    "encode",
    "qsgd",
    "random_k",
    "sfsq",
    "sfsq_epsilon",
    "sign",
    "top_k",
    "wire_bytes",
]
