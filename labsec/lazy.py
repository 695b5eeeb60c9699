"""Packages whose names are loaded when they are first used, so that `labsec doctor` works where torch does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that finds its public names in other modules.

    package    its name
    homes      public name -> "module:name" in that module, or "module" for the module itself

    >>> lazily("here", {"sqrt": "math:sqrt"})("sqrt")(9)
    3.0
    >>> lazily("here", {})("sqrt")
    Traceback (most recent call last):
    AttributeError: module 'here' has no attribute 'sqrt'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        found = import_module(module)
        return getattr(found, attribute) if attribute else found

    return find
