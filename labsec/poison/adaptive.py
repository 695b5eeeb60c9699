"""The attack that knows the defence: it tries the server's own rule and keeps what harms most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.geometry import clip_rows, row_norms
from labsec.guards import check_function, check_number
from labsec.poison.distances import against_mean, against_sign, against_std
from labsec.poison.shared import all_send, clients_in_round, honest_rows, own_updates
from labsec.types import AttackerView, ImpossibleRule, Update, Updates


def adaptive(view: AttackerView, *, norm: float, total: int | None = None, lengths: int = 6) -> Updates:
    """Search the message that moves the rule's result farthest against the honest mean, within a bound on its norm.

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

    Raises ValueError if the view holds no rule, unless norm > 0 and lengths >= 1, or if the number of clients is
    unknown. A rule that is impossible with these rows fails for everybody and needs no attack: the honest updates are
    sent then.
    Source: the goal is the directed deviation of Fang et al. 2020, arXiv:1911.11815; the search is our own.
    """
    own_updates(view, "adaptive")
    if view.rule is None:
        raise ValueError("adaptive needs the server's rule; got view.rule = None (scenario: public_rule)")
    check_number("adaptive", above=0, norm=norm)
    check_number("adaptive", whole=True, above=0, lengths=lengths)
    rule = view.rule
    check_function("adaptive", rule=rule)
    rows = honest_rows(view, "adaptive").detach()  # [k, dim]
    mean = rows.mean(dim=0)  # [dim]

    # For a trial the rule needs as many rows as in the round: those known are repeated for clients out of sight.
    honest = _repeated(rows, clients_in_round(view, total, "adaptive") - len(view.own))  # [honest, dim]

    # A message is a point of the span: the mean plus a step, clipped to the bound.
    bound = norm * row_norms(rows).quantile(0.5).item()
    span = _directions(rows) * bound  # [3, dim]

    def message(point: Tensor) -> Updates:
        """What all send for a point [3] of the span: [malicious, dim]."""
        return all_send(view, clip_rows((mean + point @ span)[None], bound)[0])

    def harm(point: Tensor) -> float:
        """How far the rule's result then moves against the honest mean. The server throws away one that is not
        finite, which harms less than anything."""
        result = rule(torch.cat([message(point), honest]))  # malicious rows first, as in the round
        return -float(result @ mean) if result.isfinite().all() else -float("inf")

    try:
        return message(_search(harm, span, lengths))
    except ImpossibleRule:
        return view.own.clone()


def _directions(rows: Updates) -> Tensor:
    """Unit directions in which to harm: [3, dim], [2, dim] for a single row; a direction that vanishes stays zero."""
    found: list[Update] = [against_mean(rows), against_sign(rows)]
    if len(rows) > 1:
        found.insert(1, against_std(rows))
    return torch.nn.functional.normalize(torch.stack(found), dim=1)


def _search(harm: Callable[[Tensor], float], span: Tensor, lengths: int) -> Tensor:
    """The point of the greatest harm that was found, in coordinates of the span [directions, dim]: [directions]."""
    axes = torch.eye(len(span), dtype=span.dtype, device=span.device)
    steps = [2.0 ** (1 - i) for i in range(lengths)]

    # From the origin, which is the honest mean, one step of every length along every axis.
    best = torch.zeros_like(axes[0])
    best_harm = harm(best)
    reach = steps[-1]
    for step in steps:
        for axis in axes:
            trial = step * axis
            trial_harm = harm(trial)
            if trial_harm > best_harm:
                best = trial
                best_harm = trial_harm
                reach = step

    # From the best of them, smaller steps back and forth along every axis, each taken at once if it harms more.
    for step in (reach / 2, reach / 4):
        for axis in (*axes, *-axes):
            trial = best + step * axis
            trial_harm = harm(trial)
            if trial_harm > best_harm:
                best = trial
                best_harm = trial_harm
    return best


def _repeated(rows: Updates, count: int) -> Updates:
    """The rows over and over until there are `count`: [k, dim] -> [count, dim]."""
    return rows[torch.arange(count, device=rows.device) % len(rows)]
