"""What several attacks need: a look at samples, the honest updates that the attackers know, one message for all."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number, kind
from labsec.types import AttackerView, ImpossibleAttack, Update, Updates


def check_labelled(name: str, x: Tensor, y: Tensor) -> None:
    """Raise TypeError or ValueError unless x [n, …] are samples with int64 labels y [n]."""
    check_kind(name, Tensor, x=x, y=y)
    if y.ndim != 1 or x.shape[:1] != y.shape or y.dtype != torch.int64:
        raise ValueError(f"{name} needs x [n, …] and int64 labels y [n]; got x {kind(x)} and y {kind(y)}")


def check_samples(name: str, x: Tensor, y: Tensor, classes: int) -> None:
    """Raise TypeError or ValueError unless x [n, …] are samples with int64 labels y [n] below `classes`."""
    check_labelled(name, x, y)
    check_number(name, whole=True, above=0, classes=classes)
    if len(y) and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(f"{name} needs labels in 0 … {classes - 1}; got {int(y.min())} … {int(y.max())}")


def chosen_samples(name: str, y: Tensor, share: float, generator: Generator) -> Tensor:
    """Which samples to poison, each with the chance `share`: bool [n]."""
    check_number(name, least=0, most=1, share=share)
    check_kind(name, Generator, generator=generator)
    return torch.rand(y.shape, generator=generator, device=y.device) < share


def own_updates(view: AttackerView, name: str) -> Updates:
    """What the attackers themselves learned, [malicious, dim].

    Raises TypeError for what is no view, ValueError for rows of another shape.
    """
    if not hasattr(view, "own"):
        raise TypeError(f"{name} needs an attackers' view with their own updates [malicious, dim]; got {kind(view)}")
    check_updates(view.own, name=f"{name}: view.own")
    return view.own


def honest_rows(view: AttackerView, name: str, *, least: int = 1) -> Updates:
    """The honest messages where the view holds them, else the attackers' own honest updates as a sample of such.

    view       the attackers' view
    name       the attack, for the error message
    least      rows that the attack needs
    returns    [k, dim], all finite: the engine shows finite messages only, and own updates that are not finite, of an
               attacker whose training blew up, are left out here

    Raises ImpossibleAttack if there are fewer than `least`.
    """
    own = own_updates(view, name)
    if view.others is not None:
        rows = view.others
        check_updates(rows, name=f"{name}: view.others", least=0)
        if (rows.shape[1], rows.dtype) != (own.shape[1], own.dtype):
            raise ValueError(
                f"{name} needs view.own and view.others of one width and type; got {kind(own)} and {kind(rows)}"
            )
        source = "honest"
    else:
        rows = own[is_finite_row(own)]
        source = "no honest messages (view.others is None), finite own"
    if len(rows) < least:
        raise ImpossibleAttack(
            f"{name} needs at least {least} honest updates to learn from; got {source} rows={len(rows)}"
        )
    return rows


def clients_in_round(view: AttackerView, total: int | None, name: str) -> int:
    """How many clients send in this round: `total`, or what the view shows.

    Raises ValueError if neither gives the number, or if `total` is less than the number of clients in the view.
    """
    if total is None and view.others is None:
        raise ValueError(f"{name} needs to know the number of clients: give total=…, or let it see view.others")
    if total is not None:
        check_number(name, whole=True, above=0, total=total)
    known = len(view.own) + (0 if view.others is None else len(view.others))
    count = known if total is None else total
    if count < known:
        raise ValueError(f"{name} needs total >= clients in view; got total={total}, clients in view={known}")
    return count


def all_send(view: AttackerView, row: Update) -> Updates:
    """One and the same message from every attacker: [dim] -> [malicious, dim], in the dtype of their own updates.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> all_send(SimpleNamespace(own=torch.zeros(2, 3)), torch.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2., 3.],
            [1., 2., 3.]])
    """
    return row.to(view.own.dtype).expand_as(view.own).clone()
