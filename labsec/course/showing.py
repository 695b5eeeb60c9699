"""Showing something in a notebook, and replacing it later; in plain Python it is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def show(thing: Any) -> Callable[[Any], None]:
    """Show something below the cell that runs.

    returns    (another thing) -> None, which puts that in its place, also when the cell has long ended
    """
    from IPython import get_ipython

    if get_ipython() is None:
        print(thing)
        return print

    from IPython.display import display

    handle = display(thing, display_id=True)
    return handle.update
