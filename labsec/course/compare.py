"""What differs between an answer and the right one, and values shown short enough to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

SHOWN = 12  # numbers of a tensor that fit on a line
WHOLE = "The result"  # the subject of a complaint that is not about an item of the result


def complaint(wanted: Any, got: Any, tolerance: float, place: str = "") -> str:
    """One sentence on the first thing that is wrong with `got`; "" if it agrees.

    tolerance    absolute and relative
    place        where in the result this is, such as "Item 1"; "" for the whole

    >>> complaint(torch.zeros(2), torch.zeros(3), 1e-6)
    'The shape is [3]; expected [2].'
    >>> complaint([1.0, 2.0], [1.0, 2.5], 1e-6)
    'Item 1 is 2.5; expected 2.0.'
    """
    if got is None and wanted is not None:
        return f"{place or WHOLE} is None: is a `return` missing?"
    if isinstance(wanted, Tensor):
        return _tensor_complaint(wanted, got, tolerance, place)
    if isinstance(wanted, (list, tuple)):
        return _sequence_complaint(wanted, got, tolerance, place)
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):  # True is an int, too
        return _number_complaint(wanted, got, tolerance, place)
    same = type(got) is type(wanted) and got == wanted
    return "" if same else f"{place or WHOLE} is {show(got)}; expected {show(wanted)}."


def _number_complaint(wanted: float, got: Any, tolerance: float, place: str) -> str:
    # A tensor of one element is as good as a number.
    number = got.item() if isinstance(got, Tensor) and got.numel() == 1 else got
    if not isinstance(number, (int, float)):
        return f"{place or WHOLE} is {kind(got)}; expected a number."
    close = number == wanted or abs(number - wanted) <= tolerance * (1 + abs(wanted))  # False for NaN
    return "" if close else f"{place or WHOLE} is {number}; expected {wanted}."


def _tensor_complaint(wanted: Tensor, got: Any, tolerance: float, place: str) -> str:
    # What a number means depends on shape and type, so these come first.
    at = f" of {place[0].lower()}{place[1:]}" if place else ""
    if not isinstance(got, Tensor):
        remedy = " Take `.values`." if hasattr(got, "values") and isinstance(got, tuple) else ""
        return f"{place or WHOLE} is {kind(got)}; expected a tensor.{remedy}"
    if got.shape != wanted.shape:
        return f"The shape{at} is {list(got.shape)}; expected {list(wanted.shape)}."
    if got.dtype != wanted.dtype:
        remedy = " `.float()` converts it." if wanted.dtype == torch.float32 else ""
        return f"The type{at} is {short_type(got)}; expected {short_type(wanted)}.{remedy}"
    if got.requires_grad:
        return f"The result{at} still carries its gradient graph: use `.detach()` or `torch.no_grad()`."

    # A NaN has causes of its own; it would otherwise be one number among others that differ.
    if bool((got.isnan() & ~wanted.isnan()).any()):
        count = f"{int(got.isnan().sum())} of {got.numel()} numbers{at}"
        return f"{count} are NaN: look for 0/0, or for infinity - infinity."

    off = ~torch.isclose(got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if not bool(off.any()):
        return ""
    first = tuple(off.nonzero()[0].tolist())
    return (
        f"{int(off.sum())} of {off.numel()} numbers{at} differ; the first, at {list(first)}, "
        f"is {got[first].item():.6g}; expected {wanted[first].item():.6g}."
    )


def _sequence_complaint(wanted: Sequence[Any], got: Any, tolerance: float, place: str) -> str:
    if not isinstance(got, (list, tuple)):
        return f"{place or WHOLE} is {kind(got)}; expected a list of {len(wanted)}."
    if len(got) != len(wanted):
        return f"{place or WHOLE} has {len(got)} items; expected {len(wanted)}."
    for i, (wanted_item, got_item) in enumerate(zip(wanted, got, strict=True)):
        item = f"Item {i} of {place.lower()}" if place else f"Item {i}"
        found = complaint(wanted_item, got_item, tolerance, item)
        if found:
            return found
    return ""


def identical(before: Any, after: Any) -> bool:
    """Whether an argument is what it was: tensors, numbers and texts by value, data classes field by field.

    What has no fields, such as a generator or a function, is not compared.
    """
    if isinstance(before, Tensor):
        return isinstance(after, Tensor) and before.dtype == after.dtype and _equal(before, after)
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(identical, before, after))
    if isinstance(before, Mapping):
        return before.keys() == after.keys() and all(identical(before[key], after[key]) for key in before)
    if isinstance(before, (int, float, str, bool, type(None))):
        return bool(before == after)
    fields = getattr(before, "__dataclass_fields__", {})
    return all(identical(getattr(before, name), getattr(after, name)) for name in fields)


def left_gradient(before: Any, after: Any) -> bool:
    """Whether an argument was made to track gradients, or holds another gradient than before.

    >>> shared = torch.ones(2)
    >>> before = shared.clone()
    >>> shared.requires_grad_().sum().backward()
    >>> identical(before, shared), left_gradient(before, shared)
    (True, True)
    """
    pairs = list(zip(tensors_in(before), tensors_in(after), strict=False))
    return any(one.requires_grad != other.requires_grad or _gradients_differ(one, other) for one, other in pairs)


def _gradients_differ(before: Tensor, after: Tensor) -> bool:
    # Only a leaf keeps its gradient; PyTorch warns whoever asks another tensor for one.
    had = before.grad if before.is_leaf else None
    has = after.grad if after.is_leaf else None
    if had is None or has is None:
        return had is not has
    return not _equal(had, has)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor of an argument or a result, also in lists, mappings and the fields of data classes."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    else:
        for name in getattr(value, "__dataclass_fields__", {}):
            yield from tensors_in(getattr(value, name))


def share_memory(one: Any, other: Any) -> bool:
    """Whether a tensor of the one lies in the memory of a tensor of the other.

    >>> table = torch.zeros(3, 2)
    >>> share_memory(table[1], table), share_memory(table[1].clone(), table)
    (True, False)
    """
    places = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(other) if tensor.numel()}
    return any(tensor.untyped_storage().data_ptr() in places for tensor in tensors_in(one) if tensor.numel())


def _equal(before: Tensor, after: Tensor) -> bool:
    # A NaN does not equal itself: where both hold one, they agree.
    return before.shape == after.shape and bool(((before == after) | (before.isnan() & after.isnan())).all())


def short_type(tensor: Tensor) -> str:
    """float32, not torch.float32."""
    return str(tensor.dtype).removeprefix("torch.")


def kind(value: Any) -> str:
    """What a value is, in a few words.

    >>> kind(torch.zeros(2, 3)), kind([1]), kind(True)
    ('a float32 tensor [2, 3]', 'a list', 'a bool')
    """
    if isinstance(value, Tensor):
        return f"{_article(short_type(value))} tensor {list(value.shape)}"

    # `median(dim=0)` and its relatives return two tensors under a name that says nothing of that.
    if type(value).__module__ == "torch.return_types":
        return f"the pair of values and places that `torch.{type(value).__name__}` returns"
    return _article(type(value).__name__)


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def show(value: Any) -> str:
    """A value on one line.

    >>> show(torch.tensor([[1.0, 2.5]])), show([torch.tensor([1, 2]), torch.tensor([3])])
    ('[[1.0, 2.5]]', '[[1, 2], [3]]')
    >>> show(torch.zeros(100, 3))
    'a float32 tensor [100, 3]: 0.0, 0.0, 0.0, 0.0, …'
    """
    if isinstance(value, Tensor):
        if value.numel() <= SHOWN:
            return str(_rounded(value.tolist()))
        first = ", ".join(str(_rounded(number)) for number in value.flatten()[:4].tolist())
        return f"{kind(value)}: {first}, …"
    if isinstance(value, (list, tuple)):
        inner = [show(item) for item in value[:6]]
        return "[" + ", ".join(inner) + (", …" if len(value) > 6 else "") + "]"
    if isinstance(value, (int, float, str, type(None))):
        return str(_rounded(value))
    if isinstance(value, Generator):
        return "a generator"

    # A model or a function is shown by its name, anything else by what it is: its own words may hold an address.
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return name if isinstance(name, str) else kind(value)


def show_argument(name: str, value: Any) -> str:
    """An argument on one line, or a data class on a line for each of its tensors.

    >>> print(show_argument("scale", 3.0))
    scale = 3.0
    """
    names = [field for field in getattr(value, "__dataclass_fields__", {}) if isinstance(getattr(value, field), Tensor)]
    if not names or callable(value):
        return f"{name} = {show(value)}"
    return "\n".join(f"{name}.{field} = {show(getattr(value, field))}" for field in names)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
