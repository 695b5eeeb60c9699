"""What every inversion asks of the view, in one place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.types import ServerView

Watch = Callable[[int, Tensor, float], bool | None]
"""(iteration, estimate [k, *shape], matching loss) -> True to stop; how a panel looks over an attack's shoulder."""


def one_message(name: str, view: ServerView, message: int) -> Tensor:
    """The message [dim] that an attack looks at, float64, with no way back into whatever made it.

    name    of the attack, for the errors

    Raises ValueError if there is no such message, if it is of another width than the model, or if it is not finite.
    """
    check_kind(name, ServerView, view=view)
    check_kind(name, Tensor, messages=view.messages)
    if view.messages.shape[1:] != (view.model.dim,) or not view.messages.is_floating_point():
        raise ValueError(f"{name} needs floating-point messages [k, {view.model.dim}]; got {kind(view.messages)}")
    check_number(name, whole=True, message=message)
    if not 0 <= message < len(view.messages):
        raise ValueError(f"{name} needs 0 <= message < messages; got message={message}, messages={len(view.messages)}")
    own = view.messages[message].detach().double()
    # A sum that is finite has finite terms, and takes a fraction of the time of a look at each.
    wrong = 0 if own.sum().isfinite() else int((~own.isfinite()).sum())
    if wrong:
        raise ValueError(f"{name} needs a finite message; message {message} holds {wrong} NaN or infinite numbers")
    return own


def check_kept(name: str, kept: Tensor, dim: int) -> None:
    """Raise unless `kept` says of each of a message's entries whether it counts: bool [dim]; name: who needs it."""
    check_kind(name, Tensor, kept=kept)
    if kept.shape != (dim,) or kept.dtype != torch.bool:
        what = kept.dtype if kept.ndim else kept
        raise ValueError(f"{name} needs kept bool [{dim}]; got {what} of shape {list(kept.shape)}")


def gradient(name: str, view: ServerView, message: int) -> Tensor:
    """The gradient [dim], float64, that a client's one step was: minus its message, by the learning rate.

    Raises ValueError as `one_message` does, if the client took several steps, whose gradients a message only adds up,
    and unless lr > 0.
    """
    own = one_message(name, view, message)
    if view.local_steps != 1:
        raise ValueError(
            f"{name} needs the update of one local step, which is a gradient; got local_steps={view.local_steps}: "
            "several steps are matched by simulation"
        )
    check_number(name, above=0, lr=view.lr)
    return -own / view.lr
