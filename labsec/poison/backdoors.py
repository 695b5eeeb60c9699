"""Attacks that put a backdoor into the model: train on poisoned samples, then shape the message.

Most of them mix marked samples into the attackers' pooled data and train with the scenario's own training. They differ
in what keeps the message from looking odd, or the backdoor from being forgotten.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from labsec.geometry import clip_rows, row_norms
from labsec.guards import check_function, check_kind, check_number, kind
from labsec.poison.shared import all_send, honest_rows, own_updates
from labsec.poison.triggers import Trigger, plant
from labsec.types import AttackerView, ImpossibleAttack, Update, Updates


def model_replacement(
    view: AttackerView,
    *,
    trigger: Trigger,
    boost: float,
    generator: Generator,
    share: float = 0.5,
    steps: int | None = None,
) -> Updates:
    """Train on poisoned samples and send the result `boost` times as long.

    view         the attackers' view: their data and their training
    trigger      the mark and the label
    boost        factor, no unit; with clients / malicious the mean becomes the attackers' model. With 1 this is plain
                 poisoning by data
    generator    of the choice of samples
    share        share of poisoned samples in what they train on
    steps        local steps; None for as many as the clients were told to take
    returns      [malicious, dim]

    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.poison.triggers import corner
    >>> attack = bind(model_replacement, trigger=Trigger(stamp=corner, target=0), boost=10.0)
    >>> scenario = Scenario(clients=10, malicious=0.1, rounds=1, attack=attack)
    >>> norms = next(rounds(scenario)).messages.norm(dim=1)
    >>> bool(norms[0] > 5 * norms[1:].max())
    True

    Raises ValueError unless boost is finite and share is in [0, 1]; ImpossibleAttack if the attackers hold no sample
    that the trigger is for. Source: Bagdasaryan et al. 2020, arXiv:1807.00459, equation 3.
    """
    check_number("model_replacement", boost=boost)
    lesson = _lesson(view, "model_replacement", trigger, share, steps, generator)
    return boost * view.train(*lesson, steps=steps)


def constrain_and_scale(
    view: AttackerView,
    *,
    trigger: Trigger,
    boost: float,
    norm: float,
    generator: Generator,
    cosine: float = -1.0,
    share: float = 0.5,
    steps: int | None = None,
) -> Updates:
    """Model replacement that keeps within a norm and an angle.

    view         the attackers' view; `others` if it holds them, else `own`, tells what is usual
    trigger      the mark and the label
    boost        factor, no unit, before the bounds
    norm         bound on the message's norm, in multiples of the honest rows' median norm
    generator    of the choice of samples
    cosine       bound from below on the cosine to the honest mean, in [-1, 1]; -1 bounds nothing
    share        share of poisoned samples in what they train on
    steps        local steps; None for as many as the clients were told to take
    returns      [malicious, dim]

    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.poison.triggers import corner
    >>> attack = bind(constrain_and_scale, trigger=Trigger(stamp=corner, target=0), boost=10.0, norm=1.0, cosine=0.5)
    >>> scenario = Scenario(clients=10, malicious=0.1, rounds=1, attack=attack, omniscient=True)
    >>> messages = next(rounds(scenario)).messages
    >>> norms = messages.norm(dim=1)
    >>> bool(norms[0] <= norms[1:].quantile(0.5) * 1.0001)
    True
    >>> bool(torch.cosine_similarity(messages[0], messages[1:].mean(dim=0), dim=0) > 0.4999)
    True

    Raises ValueError unless boost is finite, norm > 0, cosine in [-1, 1] and share in [0, 1]; ImpossibleAttack if the
    attackers hold no sample that the trigger is for, or know no honest update.
    Source: Bagdasaryan et al. 2020, arXiv:1807.00459, section 4.3. There the bounds are a term of the loss; here the
    training is the scenario's own, and the message is bent and cut afterwards.
    """
    check_number("constrain_and_scale", boost=boost)
    check_number("constrain_and_scale", above=0, norm=norm)
    check_number("constrain_and_scale", least=-1, most=1, cosine=cosine)
    honest = honest_rows(view, "constrain_and_scale")  # [k, dim]
    lesson = _lesson(view, "constrain_and_scale", trigger, share, steps, generator)
    learned = view.train(*lesson, steps=steps)  # [malicious, dim]
    bent = _turned(boost * learned, honest.mean(dim=0), cosine)  # [malicious, dim]
    return clip_rows(bent, norm * _usual_norm(honest))


def projected_descent(
    view: AttackerView,
    *,
    trigger: Trigger,
    norm: float,
    generator: Generator,
    boost: float = 1.0,
    share: float = 0.5,
    steps: int | None = None,
) -> Updates:
    """Train on poisoned samples inside a ball around the model that was sent: after each step, back into the ball.

    view         the attackers' view; `others` if it holds them, else `own`, tells what is usual
    trigger      the mark and the label
    norm         radius of the ball, in multiples of the honest rows' median norm
    generator    of the choice of samples
    boost        factor on the result, no unit; above 1 the message leaves the ball
    share        share of poisoned samples in what they train on
    steps        local steps; None for as many as the clients were told to take
    returns      [malicious, dim]

    Cutting once at the end shortens everything alike; in the ball, later steps may still improve the direction.

    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.poison.triggers import corner
    >>> attack = bind(projected_descent, trigger=Trigger(stamp=corner, target=0), norm=0.5, steps=20)
    >>> scenario = Scenario(clients=10, malicious=0.1, rounds=1, attack=attack, omniscient=True)
    >>> norms = next(rounds(scenario)).messages.norm(dim=1)
    >>> bool(norms[0] <= 0.5 * norms[1:].quantile(0.5) * 1.0001)
    True

    Raises ValueError unless norm > 0, boost is finite and share in [0, 1]; ImpossibleAttack if the attackers hold no
    sample that the trigger is for, or know no honest update.
    Source: Wang et al. 2020, arXiv:2007.05084, section 3 (PGD, with boost: PGD with model replacement).
    """
    check_number("projected_descent", boost=boost)
    check_number("projected_descent", above=0, norm=norm)
    radius = norm * _usual_norm(honest_rows(view, "projected_descent"))
    lesson = _lesson(view, "projected_descent", trigger, share, steps, generator)
    return boost * _projected(view, lesson, steps, lambda rows: clip_rows(rows, radius), generator)


def neurotoxin(
    view: AttackerView,
    *,
    trigger: Trigger,
    avoid: float,
    generator: Generator,
    boost: float = 1.0,
    share: float = 0.5,
    steps: int | None = None,
) -> Updates:
    """Train on poisoned samples, and never move the coordinates that honest clients move most.

    view         the attackers' view; `others` if it holds them, else `own`, tells what honest clients move
    trigger      the mark and the label
    avoid        share of the coordinates that stay where they are, in [0, 1): those of the largest honest mean
    generator    of the choice of samples
    boost        factor on the result, no unit
    share        share of poisoned samples in what they train on
    steps        local steps; None for as many as the clients were told to take
    returns      [malicious, dim]

    What honest clients seldom write over should last longer.

    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.poison.triggers import corner
    >>> attack = bind(neurotoxin, trigger=Trigger(stamp=corner, target=0), avoid=0.25)
    >>> scenario = Scenario(clients=10, malicious=0.1, rounds=1, attack=attack, omniscient=True)
    >>> messages = next(rounds(scenario)).messages
    >>> largest = messages[1:].mean(dim=0).abs().topk(1000).indices
    >>> messages[0, largest].abs().max()
    tensor(0.)

    Raises ValueError unless 0 <= avoid < 1, boost is finite and share in [0, 1]; ImpossibleAttack if the attackers hold
    no sample that the trigger is for, or know no honest update.
    Source: Zhang et al. 2022, arXiv:2206.10341, Algorithm 1. There the coordinates come from the aggregate of the round
    before; here from the honest updates of the round, as far as the attackers know any.
    """
    check_number("neurotoxin", boost=boost)
    check_number("neurotoxin", least=0, below=1, avoid=avoid)
    mean = honest_rows(view, "neurotoxin").mean(dim=0)  # [dim]
    is_free = torch.ones_like(mean)
    is_free[mean.abs().topk(int(avoid * len(mean))).indices] = 0.0
    lesson = _lesson(view, "neurotoxin", trigger, share, steps, generator)
    return boost * _projected(view, lesson, steps, lambda rows: rows * is_free, generator)


def distributed(
    view: AttackerView,
    *,
    trigger: Trigger,
    parts: int,
    boost: float,
    generator: Generator,
    share: float = 0.5,
    steps: int | None = None,
) -> Updates:
    """Cut the trigger in parts, and let each attacker train on one of them; together they plant the whole.

    view         the attackers' view: their data, their training and their identities
    trigger      the mark, at fixed places, and the label
    parts        how many; client i takes part i modulo parts
    boost        factor, no unit
    generator    of the choice of samples
    share        share of poisoned samples in what they train on
    steps        local steps; None for as many as the clients were told to take
    returns      [malicious, dim]

    No attacker ever uses the whole mark.

    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.poison.triggers import corner
    >>> attack = bind(distributed, trigger=Trigger(stamp=corner, target=0), parts=4, boost=5.0)
    >>> scenario = Scenario(clients=10, malicious=0.4, rounds=1, attack=attack)
    >>> next(rounds(scenario)).messages.shape
    torch.Size([10, 4810])

    Raises ValueError unless parts is a whole number > 0, boost is finite and share in [0, 1]; ImpossibleAttack if the
    attackers hold no sample that the trigger is for.
    Source: Xie et al. 2020, ICLR (DBA: Distributed Backdoor Attacks against Federated Learning).
    """
    check_number("distributed", boost=boost)
    check_number("distributed", whole=True, above=0, parts=parts)
    check_kind("distributed", Trigger, trigger=trigger)
    own = own_updates(view, "distributed")
    clients = torch.arange(len(own), device=own.device) if view.clients is None else view.clients  # [malicious]
    numbers, place = clients.remainder(parts).unique(return_inverse=True)
    learned = []
    for number in numbers.tolist():
        lesson = _lesson(view, "distributed", trigger.part(number, parts), share, steps, generator)
        learned.append(view.train(*lesson, steps=steps))  # [malicious, dim]

    # Everybody was trained on every part; of that each attacker sends what its own part taught it.
    return boost * torch.stack(learned)[place, torch.arange(len(place), device=place.device)]


def mpaf(view: AttackerView, *, base: Update, scale: float) -> Updates:
    """Drag the model towards another one, without any data.

    view       the attackers' view; they may be sybils, who hold no samples
    base       [dim] the model to drag to: a random one ruins the accuracy, one with a backdoor brings the backdoor
    scale      factor, no unit; with clients / malicious the honest updates apart, the mean is `base` at once
    returns    [malicious, dim], equal rows if all were sent the same model

    >>> from types import SimpleNamespace
    >>> view = SimpleNamespace(own=torch.zeros(2, 2), params=torch.tensor([1.0, 1.0]))
    >>> mpaf(view, base=torch.tensor([1.0, 2.0]), scale=10.0)
    tensor([[ 0., 10.],
            [ 0., 10.]])

    Raises ValueError unless scale is finite and base has a number for each parameter, all finite.
    Source: Cao and Gong 2022, arXiv:2203.08669, where the base is a random model.
    """
    check_number("mpaf", scale=scale)
    check_kind("mpaf", Tensor, base=base)
    own = own_updates(view, "mpaf")
    if base.shape != own.shape[1:] or base.dtype != own.dtype or not base.isfinite().all():
        raise ValueError(f"mpaf needs a finite base of {own.dtype} [{own.shape[1]}]; got {_seen(base)}")
    if view.params.ndim == 1:
        return all_send(view, scale * (base.to(own.device) - view.params))
    return scale * (base.to(own.device) - view.params)


def during(
    view: AttackerView, *, attack: Callable[..., Updates], rounds: Collection[int], generator: Generator
) -> Updates:
    """Let an attack run in some rounds and be honest in the others: a single shot, a campaign that ends, a sleeper.

    view         the attackers' view
    attack       (view) or (view, *, generator) -> [malicious, dim]
    rounds       the numbers of the rounds, such as `[40]` or `range(40, 60)`
    generator    handed on
    returns      [malicious, dim]

    >>> from types import SimpleNamespace
    >>> def louder(view):
    ...     return 10 * view.own
    >>> for round in (3, 4):
    ...     view = SimpleNamespace(own=torch.ones(1, 1), round=round)
    ...     print(during(view, attack=louder, rounds=[4], generator=Generator()))
    tensor([[1.]])
    tensor([[10.]])

    With a data attack beside it, the attackers' own updates are poisoned in every round.

    Raises TypeError for an attack that is no function and for rounds that are no collection, ValueError unless these
    are whole numbers.
    """
    check_function("during", attack=attack)
    check_kind("during", (range, list, tuple, set, frozenset), rounds=rounds)
    check_kind("during", Generator, generator=generator)
    if not isinstance(rounds, range):
        for number in rounds:
            check_number("during", whole=True, rounds=number)
    own = own_updates(view, "during")
    if view.round not in rounds:
        return own.clone()
    return attack(view, generator=generator) if "generator" in inspect.signature(attack).parameters else attack(view)


def _lesson(
    view: AttackerView, name: str, trigger: Trigger, share: float, steps: int | None, generator: Generator
) -> tuple[Tensor, Tensor]:
    """The attackers' samples with a share of poisoned ones among them: x [n, *shape], y [n].

    Raises ImpossibleAttack if none of their samples is one that the trigger is for.
    """
    own_updates(view, name)
    check_kind(name, Trigger, trigger=trigger)
    if steps is not None:
        check_number(name, whole=True, above=0, steps=steps)
    if not len(trigger.victims(view.x, view.y)):
        raise ImpossibleAttack(f"{name} needs samples that the trigger is for; got none among {len(view.y)}")
    return plant(view.x, view.y, view.model.classes, generator=generator, trigger=trigger, share=share)


def _projected(
    view: AttackerView,
    lesson: tuple[Tensor, Tensor],
    steps: int | None,
    project: Callable[[Updates], Updates],
    generator: Generator,
) -> Updates:
    """Train step by step; after each, `project` corrects what was learned so far, [malicious, dim] twice."""
    x, y = lesson
    count = view.local_steps if steps is None else steps
    assert count is not None
    update = torch.zeros_like(view.own)
    for _ in range(count):
        # Each call of the training draws the same places: another order of the samples makes them another batch.
        order = torch.randperm(len(y), generator=generator, device=y.device)
        update = project(update + view.train(x[order], y[order], steps=1, start=view.params + update))
    return update


def _turned(rows: Updates, towards: Update, cosine: float) -> Updates:
    """Rows [k, dim] of the same lengths, turned towards a direction [dim] until their cosine to it is large enough."""
    direction = normalize(towards, dim=0)  # [dim]
    lengths = row_norms(rows)[:, None]  # [k, 1]
    along = rows @ direction  # [k]
    across = normalize(rows - along[:, None] * direction, dim=1)  # [k, dim]
    bent = lengths * (cosine * direction + (1 - cosine**2) ** 0.5 * across)
    return torch.where(along[:, None] < cosine * lengths, bent, rows)


def _usual_norm(rows: Updates) -> float:
    """The median norm of rows [k, dim]."""
    return row_norms(rows).quantile(0.5).item()


def _seen(base: Tensor) -> str:
    finite = int(base.isfinite().sum()) if base.is_floating_point() else base.numel()
    return f"{kind(base)}, {finite} of {base.numel()} numbers finite (the rest NaN or inf)"
