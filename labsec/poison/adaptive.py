"""The attack that knows the defence: it tries the server's own rule and keeps what harms most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.geometry import clip_rows, row_norms
from labsec.poison.distances import against_mean, against_sign, against_std
from labsec.poison.knowledge import clients_in_round, honest_rows
from labsec.types import AttackerView, ImpossibleRule, Update, Updates


def adaptive(view: AttackerView, *, norm: float, total: int | None = None, lengths: int = 6) -> Updates:
    """Search the message that turns the rule's result farthest against the honest mean, within a bound on its norm.

    view        the attackers' view, with the server's rule; `others` if it holds them, else `own`
    norm        bound on the message's norm, in multiples of the honest rows' median norm
    total       clients in the round, where the view does not show it; the attackers' own honest updates, repeated,
                stand for the clients that they cannot see
    lengths     how many lengths of step the search tries, each half the one before
    returns     [malicious, dim], all rows equal

    The search runs in the span of three directions (against the mean, the standard deviation, the mean's signs). It
    starts from the honest mean, which every sensible rule lets pass, tries long and short steps in each direction,
    because a rule may throw the long ones away, and improves the best of them by smaller steps in all directions.
    Nothing is assumed about the rule but that it can be called: 13 + 3 * lengths times.

    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0, 0.1], [1.0, -0.1], [1.0, 0.0]])
    >>> view = SimpleNamespace(own=torch.ones(1, 2), others=others, rule=lambda rows: rows.mean(dim=0))
    >>> adaptive(view, norm=2.0).round(decimals=1)
    tensor([[-2., 0.]])

    Raises ValueError if the view holds no rule, if norm <= 0, or if the number of clients is unknown. A rule that is
    impossible with these rows fails for everybody, and a model that has blown up needs no attack; the honest updates
    are sent then.
    Source: the goal is the directed deviation of Fang et al. 2020, arXiv:1911.11815; the search is our own.
    """
    if view.rule is None:
        raise ValueError("adaptive needs the server's rule; got view.rule = None (scenario: public_rule)")
    if not norm > 0:
        raise ValueError(f"adaptive needs norm > 0; got norm={norm}")
    rows = honest_rows(view, "adaptive")
    if not rows.isfinite().all():
        return view.own.clone()  # the model has blown up already
    stand_ins = _repeated(rows, clients_in_round(view, total, "adaptive") - len(view.own))
    bound = norm * float(row_norms(rows).quantile(0.5))
    span = _directions(rows) * bound  # [3, dim]
    mean, rule = rows.mean(dim=0), view.rule

    def message(place: Tensor) -> Updates:
        row = clip_rows((mean + place @ span)[None], bound)
        return row.expand_as(view.own).clone()

    def harm(place: Tensor) -> float:
        result = rule(torch.cat([message(place), stand_ins]))
        return -float(result @ mean) if result.isfinite().all() else -float("inf")

    try:
        return message(_search(harm, len(span), span, lengths))
    except ImpossibleRule:
        return view.own.clone()


def _directions(rows: Updates) -> Tensor:
    """Unit directions in which to harm: [3, dim]; a direction that vanishes stays zero."""
    found: list[Update] = [against_mean(rows), against_sign(rows)]
    if len(rows) > 1:
        found.insert(1, against_std(rows))
    return torch.nn.functional.normalize(torch.stack(found), dim=1)


def _search(harm: Callable[[Tensor], float], size: int, like: Tensor, lengths: int) -> Tensor:
    """The place [size] of the greatest harm that was found: the best step from the origin along an axis, refined."""
    axes = torch.eye(size, dtype=like.dtype, device=like.device)
    steps = [2.0 ** (1 - i) for i in range(lengths)]
    worst, here, reach = harm(torch.zeros_like(axes[0])), torch.zeros_like(axes[0]), steps[-1]
    for step in steps:
        for axis in axes:
            if (value := harm(step * axis)) > worst:
                worst, here, reach = value, step * axis, step
    for step in (reach / 2, reach / 4):
        for axis in (*axes, *-axes):
            if (value := harm(here + step * axis)) > worst:
                worst, here = value, here + step * axis
    return here


def _repeated(rows: Updates, count: int) -> Updates:
    """The rows over and over until there are `count`: [k, dim] -> [count, dim]."""
    return rows[torch.arange(count, device=rows.device) % len(rows)]
