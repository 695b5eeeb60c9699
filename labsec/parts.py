"""A part of a scenario as seen from outside: what to call it, and which keywords it asks for.

The engine calls parts. So does a part that is made of another one, as a quarantine is made of a score.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

from labsec.guards import check_function
from labsec.types import ENGINE_FILLS


def part_name(function: Callable[..., Any]) -> str:
    """What to call a part in a message: its function's name under any `bind`, or its class.

    >>> part_name(functools.partial(sorted, reverse=True)), part_name(functools.partial(functools.partial(len)))
    ('sorted', 'len')
    """
    check_function("part_name", function=function)
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def keywords_asked(function: Callable[..., Any], offered: Collection[str]) -> list[str]:
    """Those of the offered keywords that a part asks for: the names of its keyword-only parameters.

    >>> def score(updates, *, params, window=5): ...
    >>> keywords_asked(score, ["params", "round"])
    ['params']
    """
    check_function("keywords_asked", function=function)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in offered]


def check_inner(owner: str, function: Callable[..., Any], offered: Collection[str] = ENGINE_FILLS) -> None:
    """Raise TypeError unless a part that another one calls lacks nothing but what that one offers.

    owner      the part that calls it, for the message
    offered    keywords that it fills

    >>> def score(updates, *, params, model): ...
    >>> check_inner("Quarantine", functools.partial(score, model=None))
    >>> check_inner("Quarantine", score)
    Traceback (most recent call last):
    TypeError: Quarantine needs a function that lacks nothing; score lacks model: bind it, as in bind(score, model=…)
    """
    check_function(owner, function=function)
    for parameter in inspect.signature(function).parameters.values():
        is_open = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        if is_open and parameter.name not in offered:
            name = part_name(function)
            raise TypeError(
                f"{owner} needs a function that lacks nothing; {name} lacks {parameter.name}: "
                f"bind it, as in bind({name}, {parameter.name}=…)"
            )
