"""What everybody here needs who looks at messages: that there are some, and what one sample alone would have sent."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import is_finite_row, unit_rows
from labsec.guards import check_kind, check_number, kind
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import ServerView


def check_messages(owner: str, view: ServerView) -> None:
    """Raise unless a view holds finite messages that fit its model.

    owner    who needs it, for the message
    """
    check_kind(owner, ServerView, view=view)
    check_kind(owner, Model, model=view.model)
    check_kind(owner, Tensor, messages=view.messages, params=view.params)
    check_number(owner, above=0, lr=view.lr)
    check_number(owner, whole=True, above=0, local_steps=view.local_steps)
    messages = view.messages
    if messages.ndim != 2 or not len(messages) or messages.shape[1] != view.model.dim:
        raise ValueError(f"{owner} needs messages [k, {view.model.dim}] with k >= 1; got {kind(messages)}")
    if messages.dtype != view.params.dtype or not messages.is_floating_point():
        found = f"{kind(messages)} and {view.params.dtype}"
        raise ValueError(f"{owner} needs messages and params of one floating-point type; got {found}")
    spoiled = int((~is_finite_row(messages)).sum())
    if spoiled:
        raise ValueError(f"{owner} needs finite messages; {spoiled} of {len(messages)} hold a NaN or an infinity")


def directions_of(view: ServerView, x: Tensor, y: Tensor) -> Tensor:
    """Where one step on each sample alone would move the model: rows of length 1, [n, dim].

    x, y    [n, *shape], [n]

    Raises ValueError if samples and model do not fit.
    """
    alone = torch.arange(len(y), device=y.device)[:, None, None]  # [n, 1, 1]: a client for each sample
    return unit_rows(local_updates(view.model, view.params, x, y, alone, lr=view.lr))
