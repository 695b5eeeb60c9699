"""`bind`: fix the arguments of a part and check them at once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from labsec.types import ENGINE_FILLS


def bind(function: Callable[..., Any], /, **arguments: Any) -> Callable[..., Any]:
    """Fix the arguments of a rule, a stage or an attack, and check them at once.

    >>> from labsec.robust import trimmed_mean
    >>> rule = bind(trimmed_mean, f=4)
    >>> bind(trimmed_mean, F=4)
    Traceback (most recent call last):
    TypeError: trimmed_mean: got an unexpected keyword argument 'F'; it takes (updates: 'Updates', *, ...

    Raises TypeError for an argument that the function does not take or still lacks, and for `generator`, `weights`
    and `clients`, which the engine supplies.
    """
    name, signature = part_name(function), inspect.signature(function)
    filled = {*ENGINE_FILLS, *({"classes"} if "generator" in signature.parameters else ())}
    reserved = sorted(set(arguments) & filled)
    if reserved:
        raise TypeError(f"{name}: {', '.join(reserved)} is supplied by the engine; do not bind it")
    try:
        signature.bind_partial(**arguments)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; it takes {signature}") from None
    bound = functools.partial(function, **arguments)
    check_complete(name, bound)
    return bound


def part_name(function: Callable[..., Any]) -> str:
    """What to call a part in a message: its function's name under any `bind`, or its class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def check_complete(name: str, function: Callable[..., Any]) -> None:
    """Raise unless only keywords that the engine fills are open."""
    lacking = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in (*ENGINE_FILLS, "classes")
    ]
    if lacking:
        raise TypeError(f"{name} lacks {', '.join(lacking)}: bind it, as in bind({name}, {lacking[0]}=…)")
