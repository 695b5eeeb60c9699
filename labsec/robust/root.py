"""Rules that trust an update of the server's own: FLTrust, and MoNNA.

`root` is a function, params [dim] -> [dim]: what the server itself learns from the model that it sent.
`labsec.train.RootUpdate` is one, on samples that the server holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.geometry import cosines_to, distances_from, finite_rows, row_norms_in_float64, rows_and_norms
from labsec.guards import check_function, check_kind, check_number, kind
from labsec.types import ImpossibleRule, Update, Updates

Root = Callable[[Tensor], Tensor]  # params [dim] -> [dim]


def fltrust(updates: Updates, *, params: Tensor, root: Root) -> Update:
    """Weigh every update by its cosine to the server's own, none below zero, and give each the length of that one.

    updates    [clients, dim]
    params     [dim] the model that was sent, which the engine fills in
    root       what the server learns from it: params [dim] -> [dim]
    returns    [dim]; zero where no update goes the server's way

    >>> own = torch.tensor([0.0, 1.0])
    >>> fltrust(torch.tensor([[0.0, 5.0], [3.0, 4.0], [0.0, -9.0]]), params=torch.zeros(2), root=lambda params: own)
    tensor([0.2667, 0.9111])

    Raises ImpossibleRule if the server's own update is not finite, ValueError if it is not [dim] or no row is finite.
    Source: Cao et al. 2021, arXiv:2012.13995, Algorithm 2. Where all cosines are negative the paper divides by zero.
    """
    rows, norms = rows_and_norms(finite_rows(updates))
    own = own_update(root, params, rows, "fltrust")
    trust = cosines_to(rows, own).clamp_min(0)  # [n]
    length = row_norms_in_float64(own[None])
    tiny = torch.finfo(torch.float64).tiny
    share = trust / trust.sum().clamp_min(tiny) * length / norms.clamp_min(tiny)  # [n]
    return share.to(rows.dtype) @ rows


def monna(updates: Updates, *, f: int, params: Tensor, root: Root) -> Update:
    """The mean of the n - f updates that are nearest to the server's own.

    updates    [clients, dim]
    f          bad clients to withstand; with f = 0 the plain mean
    params     [dim] the model that was sent, which the engine fills in
    root       what the server learns from it: params [dim] -> [dim]
    returns    [dim]

    >>> rows = torch.tensor([[1.0], [1.1], [1.3], [900.0]])
    >>> monna(rows, f=1, params=torch.zeros(1), root=lambda params: params + 1)
    tensor([1.1333])

    Raises ImpossibleRule unless 0 <= 2 f < clients, or if the server's own update is not finite; ValueError if that is
    not [dim], or if no row is finite.
    Source: Farhadkhani et al. 2023, arXiv:2209.10931. There are no servers there: every client averages what is nearest
    to its own momentum, and counts that in. Here the server's own update only says what is near.
    """
    rows = finite_rows(updates)
    check_number("monna", whole=True, f=f)
    n = len(rows)
    if not 0 <= 2 * f < n:
        raise ImpossibleRule(f"monna needs 0 <= 2f < clients; got f={f}, clients={n}")
    nearest = distances_from(rows, own_update(root, params, rows, "monna")).sort(stable=True).indices[: n - f]
    weights = rows.new_zeros(n)
    weights[nearest] = 1 / (n - f)
    return weights @ rows


def own_update(root: Root, params: Tensor, rows: Updates, owner: str) -> Update:
    """What the server learns by itself, if it fits to the clients' rows; `owner` is who asks, for the message."""
    check_function(owner, root=root)
    check_kind(owner, Tensor, params=params)
    if params.shape != rows.shape[1:] or not params.is_floating_point():
        raise ValueError(f"{owner} needs floating-point params [{rows.shape[1]}]; got {kind(params)}")
    own = root(params)
    if not isinstance(own, Tensor) or own.shape != rows.shape[1:] or not own.is_floating_point():
        raise ValueError(f"{owner} needs root to return floating-point numbers [{rows.shape[1]}]; got {kind(own)}")
    if not own.isfinite().all():
        raise ImpossibleRule(f"{owner} needs a finite update of the server's own; got NaN or infinity from root")
    return own.to(rows.dtype)
