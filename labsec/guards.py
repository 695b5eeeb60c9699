"""What a value must be, said before anything is done with it: a guard for each kind of value, and its words.

A guard looks at types and at single numbers; none of them reads a matrix, so a rule may ask for it in every round. A
number that does not fit raises ValueError, a value of another kind TypeError; the message holds the condition and what
was given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

HOW_TO_MAKE = {
    Tensor: "torch.as_tensor(…) makes a tensor of a list or an array",
    torch.Generator: "torch.Generator().manual_seed(0) makes one",
}
"""What to do about a value of another kind, where it is not evident."""


def kind(value: object) -> str:
    """What a value is, for a message: a short one as it is, of another one its type and shape.

    >>> kind(torch.zeros(2, 3)), kind([0.5, 1.0]), kind("x"), kind(None)
    ('torch.float32 of shape [2, 3]', 'list', "'x'", 'None')
    """
    if isinstance(value, Tensor) and value.ndim == 0:
        return str(value)
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"ndarray of shape {list(value.shape)}"
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value)
    return type(value).__name__


def check_number(
    owner: str,
    *,
    whole: bool = False,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
    **values: object,
) -> None:
    """Raise ValueError unless each of the values is a number within the bounds. NaN, True and False never are.

    owner           who needs it, for the message
    whole           whether it must be an integer
    above, least    the lower bound, excluded or included
    below, most     the upper bound, excluded or included; without one, the number must be finite

    >>> check_number("trimmed_mean", whole=True, f=2)
    >>> check_number("norm_clip", above=0, most=math.inf, bound=-1.0)
    Traceback (most recent call last):
    ValueError: norm_clip needs bound > 0; got bound=-1.0
    >>> check_number("label_flip", least=0, most=1, share="all")
    Traceback (most recent call last):
    ValueError: label_flip needs 0 <= share <= 1; got share='all'
    """
    for name, value in values.items():
        number = _number(value, whole)
        if number is not None and _is_within(number, above, least, most, below):
            continue
        condition = _condition(name, whole, above, least, most, below)
        raise ValueError(f"{owner} needs {condition}; got {name}={kind(value)}")


def _number(value: object, whole: bool) -> float | None:
    """The value as a number of Python, also if it comes from numpy or is a tensor without dimensions; else None."""
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return None
    return value


def _is_within(
    number: float, above: float | None, least: float | None, most: float | None, below: float | None
) -> bool:
    is_high_enough = number >= least if least is not None else number > (-math.inf if above is None else above)
    is_low_enough = number <= most if most is not None else number < (math.inf if below is None else below)
    return is_high_enough and is_low_enough


def _condition(
    name: str, whole: bool, above: float | None, least: float | None, most: float | None, below: float | None
) -> str:
    """The bounds in words, as in "a finite std >= 0" or "0 <= share <= 1"."""
    upper = f" <= {most}" if most is not None and math.isfinite(most) else "" if below is None else f" < {below}"
    lower = above if above is not None else least
    sign = ">" if above is not None else ">="
    if lower is None:
        text = f"{name}{upper}"
    elif upper:
        text = f"{lower} {sign.replace('>', '<')} {name}{upper}"
    else:
        text = f"{name} {sign} {lower}"
    if whole:
        return f"a whole number {text}"
    return f"a finite {text}" if most is None and below is None else text


def check_sizes(owner: str, **values: object) -> None:
    """Raise ValueError unless each of the values is a list or a tuple of whole numbers > 0.

    >>> check_sizes("mlp", shape=(1, 8, 8), hidden=())
    >>> check_sizes("mlp", hidden=(64, 0))
    Traceback (most recent call last):
    ValueError: mlp needs hidden to hold whole numbers > 0; got 0 in [64, 0]
    """
    for name, sizes in values.items():
        if isinstance(sizes, str) or not isinstance(sizes, Sequence):
            raise ValueError(f"{owner} needs {name} to be a list or a tuple of whole numbers > 0; got {kind(sizes)}")
        for size in sizes:
            number = _number(size, whole=True)
            if number is None or number < 1:
                raise ValueError(f"{owner} needs {name} to hold whole numbers > 0; got {kind(size)} in {[*sizes]}")


def check_kind(owner: str, wanted: type | tuple[type, ...], **values: object) -> None:
    """Raise TypeError unless each of the values is of a type, or of one of several.

    >>> check_kind("weighted_mean", Tensor, weights=[3, 1])
    Traceback (most recent call last):
    TypeError: weighted_mean needs weights to be of type Tensor; got list; torch.as_tensor(…) makes a tensor of a list
    or an array
    """
    types = wanted if isinstance(wanted, tuple) else (wanted,)
    for name, value in values.items():
        if isinstance(value, types):
            continue
        names = " or ".join(each.__name__ for each in types)
        hint = f"; {HOW_TO_MAKE[types[0]]}" if types[0] in HOW_TO_MAKE else ""
        raise TypeError(f"{owner} needs {name} to be of type {names}; got {kind(value)}{hint}")


def check_device(owner: str, device: str | torch.device) -> torch.device:
    """The device of that name; raises TypeError for what is no name, ValueError for a name that torch does not know.

    >>> check_device("Scenario", "cuda:1").index
    1
    """
    check_kind(owner, (str, torch.device), device=device)
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{owner} needs a device such as 'cpu' or 'cuda:0'; got {device!r}: {error}") from None


def check_function(owner: str, **values: object) -> None:
    """Raise TypeError unless each of the values can be called.

    >>> check_function("min_max", direction=3)
    Traceback (most recent call last):
    TypeError: min_max needs direction to be a function; got 3
    """
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{owner} needs {name} to be a function; got {kind(value)}")
