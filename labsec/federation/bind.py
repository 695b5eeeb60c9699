"""`bind`: fix the arguments of a part and check them at once; and what the engine fills at each place.

A part is a function of the scenario: a rule, a stage, an attack, a training. What it may ask for is the names of its
keyword-only parameters. There is no other way to the engine's knowledge.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from labsec.guards import check_function
from labsec.parts import keywords_asked
from labsec.parts import part_name as part_name
from labsec.types import ENGINE_FILLS

EVERYWHERE = frozenset(ENGINE_FILLS)
PLACES: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "train": (("model", "params", "x", "y", "batches"), EVERYWHERE - {"params"} | {"lr", "chunk"}),
    "broadcast": (("params",), EVERYWHERE - {"params"}),
    "data attack": (("x", "y", "classes"), frozenset({"generator", "client"})),  # it runs before the first round
    "attack": (("view",), EVERYWHERE),
    "client stage": (("updates",), EVERYWHERE | {"drawn"}),
    "wire": (("updates",), EVERYWHERE | {"expected"}),
    "server stage": (("updates",), EVERYWHERE | {"expected"}),
    "rule": (("updates",), EVERYWHERE | {"expected"}),
    "probe": (("model", "params"), frozenset()),
}
"""Of each place in a scenario: what a part is called with, and the keywords that it may ask for.

    generator   torch.Generator of the part's own stream of draws for this round
    weights     [k] sample counts of those whose rows these are
    clients     [k] their identities; -1 for a row that stands for several
    params      [dim] the model that the server sent
    round       its number, from 0; -1 in the rehearsal before the first
    note        note(client=…, score=…, …) puts a record into `Round.notes`
    lr, chunk   the clients' learning rate, and how many of them are trained together (None: chosen by size)
    client      identity of the client whose data is attacked
    drawn       [k] bool, who takes part in the round: a client stage that draws is given a row for everybody
    expected    participation * clients, the number that a sum is divided by whoever came; a cohort's size
"""
ANYWHERE = frozenset().union(*(offers for _, offers in PLACES.values()))
BINDABLE = frozenset({"lr"})  # a rule that trains, such as FLTrust, has a learning rate of its own


def bind(function: Callable[..., Any], /, **arguments: Any) -> Callable[..., Any]:
    """Fix the arguments of a rule, a stage, an attack or a training, and check them at once.

    What the engine fills stays open. `lr` may be bound, except for a scenario's `train`, which gets the scenario's.

    >>> from labsec.robust import trimmed_mean
    >>> rule = bind(trimmed_mean, f=4)
    >>> bind(trimmed_mean, F=4)
    Traceback (most recent call last):
    TypeError: trimmed_mean: got an unexpected keyword argument 'F'; it takes (updates: 'Updates', *, ...

    Raises TypeError for an argument that the function does not take or still lacks, and for those that the engine
    fills at some place: see `PLACES`.
    """
    check_function("bind", function=function)
    name = part_name(function)
    filled = sorted(set(arguments) & ANYWHERE - BINDABLE)
    if filled:
        raise TypeError(f"{name}: {', '.join(filled)} is supplied by the engine; do not bind it")
    signature = _signature(name, function)
    try:
        signature.bind_partial(**arguments)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; it takes {signature}") from None
    bound = functools.partial(function, **arguments)
    _check_complete(name, bound, ANYWHERE)
    return bound


def part_in_words(function: Callable[..., Any]) -> str:
    """A part with what is bound to it, as its author wrote it.

    >>> from labsec.robust import trimmed_mean
    >>> part_in_words(bind(trimmed_mean, f=4))
    'trimmed_mean(f=4)'
    """
    if isinstance(function, functools.partial):
        bound = ", ".join(f"{name}={_short(value)}" for name, value in function.keywords.items())
        return f"{part_name(function)}({bound})"
    return part_name(function)


def _short(value: Any) -> str:
    """A value on a line, without an address."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return part_in_words(value) if callable(value) else type(value).__name__


def asked_for(function: Callable[..., Any], place: str) -> list[str]:
    """The keywords that the engine fills for a part at its place."""
    check_function("asked_for", function=function)
    _, offers = _place(place)
    return keywords_asked(function, offers)


def check_part(function: object, place: str) -> None:
    """Raise TypeError unless a part can be called at its place with what the engine offers there."""
    if not callable(function):
        raise TypeError(f"a {place} is a function; got {function!r}")
    name = f"{place} {part_name(function)}"
    positional, offers = _place(place)
    fixed = function.keywords if isinstance(function, functools.partial) else {}
    twice = sorted(set(fixed) & offers)
    if twice:
        raise TypeError(f"{name}: {', '.join(twice)} is supplied by the engine; do not bind it")
    signature = _signature(name, function)
    for parameter in list(signature.parameters.values())[len(positional) :]:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name in offers:
            raise TypeError(f"{name}: the engine fills {parameter.name} by keyword only; write `*, {parameter.name}`")
    _check_complete(name, function, offers)
    try:
        signature.bind(*positional, **dict.fromkeys(asked_for(function, place)))
    except TypeError as error:
        raise TypeError(f"{name} is called with ({', '.join(positional)}): {error}; it takes {signature}") from None


def _place(name: str) -> tuple[tuple[str, ...], frozenset[str]]:
    if name not in PLACES:
        raise ValueError(f"no place in a scenario is called {name!r}; known: {', '.join(PLACES)}")
    return PLACES[name]


def _signature(name: str, function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError:
        raise TypeError(f"{name} does not tell its parameters: call it from a function of your own") from None


def _check_complete(name: str, function: Callable[..., Any], offers: frozenset[str]) -> None:
    """Raise TypeError unless only keywords that are offered are open."""
    for parameter in _signature(name, function).parameters.values():
        is_open = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        if not is_open or parameter.name in offers:
            continue
        if parameter.name in ANYWHERE:
            given = ", ".join(sorted(offers)) or "nothing"
            raise TypeError(
                f"{name} asks for {parameter.name}, which the engine does not offer there; it offers {given}"
            )
        example = name.split()[-1]
        raise TypeError(f"{name} lacks {parameter.name}: bind it, as in bind({example}, {parameter.name}=…)")
