"""What the attackers can know about the honest clients."""

from __future__ import annotations

from torch import Tensor

from labsec.types import AttackerView, ImpossibleAttack


def honest_rows(view: AttackerView, name: str, *, least: int = 1) -> Tensor:
    """The honest messages where the view holds them, else the attackers' own honest updates as a sample of such.

    view       the attackers' view
    name       the attack, for the message
    least      rows that the attack needs
    returns    [k, dim]

    Raises ImpossibleAttack if there are fewer than `least`.
    """
    rows = view.own if view.others is None else view.others
    if len(rows) < least:
        source = "no honest messages (view.others is None), own" if view.others is None else "honest"
        raise ImpossibleAttack(
            f"{name} needs at least {least} honest updates to learn from; got {source} rows={len(rows)}"
        )
    return rows


def clients_in_round(view: AttackerView, total: int | None, name: str) -> int:
    """How many clients send in this round: `total`, or what the view shows.

    Raises ValueError if neither tells it, or if `total` is less than the number of attackers.
    """
    if total is None and view.others is None:
        raise ValueError(f"{name} needs to know the number of clients: give total=…, or let it see view.others")
    known = len(view.own) + (0 if view.others is None else len(view.others))
    count = known if total is None else total
    if count < known:
        raise ValueError(f"{name} needs total >= clients in view; got total={total}, clients in view={known}")
    return count
