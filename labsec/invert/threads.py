"""One thread: a search multiplies matrices so small that a second thread waits more than it works.

L-BFGS-B took thirty times as long with two. Torch has a limit of its own; numpy and scipy bring their own libraries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within this context, and in a function with this decorator, linear algebra keeps to one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _libraries() -> ThreadpoolController:
    # It looks through all libraries that are loaded, which takes milliseconds, so once is enough.
    import scipy.linalg  # noqa: F401  # loads them

    return ThreadpoolController()
