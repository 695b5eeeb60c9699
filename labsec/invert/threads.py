"""One thread for numpy and scipy: torch's own limit does not reach their libraries.

A search multiplies matrices that are so small that a second thread of theirs waits more than it works: L-BFGS-B took
thirty times as long with two.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


def one_thread() -> AbstractContextManager[object]:
    """Within this context, the linear algebra of numpy and scipy keeps to one thread."""
    limit: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> ThreadpoolController:
    # It goes through all libraries that are loaded, which takes milliseconds, so once is enough.

    import scipy.linalg  # noqa: F401  # loads them

    return ThreadpoolController()
