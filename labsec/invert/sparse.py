"""Messages with holes: which entries an attacker may believe where a client left some out or masked them.

A search that takes a zero for the gradient's own value is misled by every entry that was left out. One that knows
better matches the others alone: `gauss_newton(view, kept=…)` and `lbfgs(view, kept=…)` take the answers given here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.observations import views_of
from labsec.invert.shared import check_kept, gradient, one_message
from labsec.models import Model
from labsec.types import ServerMemory, ServerView


def left_in(view: ServerView, *, message: int = 0) -> Tensor:
    """Which entries a client left in its message, [dim] bool: a sparse message shows the pattern by itself.

    An entry of a gradient that is zero by nature counts as left out: that costs an equation and misleads nobody.

    >>> from labsec.models import mlp
    >>> model = mlp((1,), 2, hidden=())
    >>> sent = torch.tensor([[0.0, 2.0, 0.0, -1.0]])
    >>> view = ServerView(params=sent[0], messages=sent, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> left_in(view)
    tensor([False,  True, False,  True])

    Raises ValueError if there is no such message, if it is not finite, or if it has no hole: then there is no pattern,
    and whatever was done to it was done to every entry.
    """
    own = one_message("left_in", view, message)  # [dim]
    found = own != 0
    if bool(found.all()):
        raise ValueError(
            f"left_in needs a message with holes; none of the {len(own)} entries of message {message} is 0"
        )
    return found


def outside(model: Model, *, layers: Sequence[int]) -> Tensor:
    """Every entry but those of some parameters, [dim] bool: for an attacker who knows which layers are masked.

    layers    numbers in `model.shapes`, negative ones from the end: -2 is the last layer's weight, -1 its bias

    >>> from labsec.models import mlp
    >>> outside(mlp((1,), 2, hidden=()), layers=[-2])
    tensor([False, False,  True,  True])

    Raises ValueError unless each number is that of a parameter, and if nothing is left.
    """
    check_kind("outside", Model, model=model)
    check_kind("outside", (list, tuple), layers=layers)
    count = len(model.shapes)
    for number in layers:
        check_number("outside", whole=True, least=-count, below=count, layers=number)
    out = {number % count for number in layers}
    if len(out) == count:
        raise ValueError(f"outside needs a parameter to be left; got all {count} of {model.name}: layers={[*layers]}")
    parts = [torch.full((size,), number not in out) for number, size in enumerate(model.sizes)]
    return torch.cat(parts)


def pooled(memory: ServerMemory, *, client: int) -> tuple[ServerView, Tensor]:
    """One client's sparse messages about one model as one view: of each entry the mean of those that hold it.

    returns    the view, one message; and which entries it holds, [dim] bool

    A pattern that is drawn anew for every message shows another part of the same gradient each time. It needs a server
    that sent the same model again, and a client that answered with the same data. `average` would take every hole for a
    zero; use it for messages without holes.

    >>> from labsec.models import mlp
    >>> model = mlp((1,), 2, hidden=())
    >>> def heard(*row: float) -> ServerView:
    ...     sent = torch.tensor([row])
    ...     start = torch.zeros(model.dim)
    ...     return ServerView(params=start, messages=sent, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> seven = torch.tensor([7])
    >>> memory = ServerMemory(rounds=(heard(1.0, 0.0, 0.0, 3.0), heard(2.0, 5.0, 0.0, 0.0)), clients=(seven, seven))
    >>> view, kept = pooled(memory, client=7)
    >>> view.messages, kept
    (tensor([[1.5000, 5.0000, 0.0000, 3.0000]]), tensor([ True,  True, False,  True]))

    Raises ValueError if the client never took part, if a message is not finite, or if the model changed in between.
    Top-k keeps the same entries each time, so that more messages show no more of it.
    """
    views = views_of("pooled", memory, client, same_model=True)
    rows = torch.stack([one_message("pooled", view, 0) for view in views])  # [k, dim]
    held = (rows != 0).sum(dim=0)  # [dim]
    first = views[0]
    together = (rows.sum(dim=0) / held.clamp_min(1)).to(first.messages.dtype)
    return replace(first, messages=together[None]), held > 0


def label_left_in(view: ServerView, *, kept: Tensor, message: int = 0) -> int:
    """The class of the one sample behind a message with holes, from those entries of the last layer that are left.

    kept    [dim] bool, the entries that are believed

    In a network of ReLUs or sigmoids no feature is negative, so that all gradients of a class's weights have the sign
    of its bias's: below zero for the sample's own class, and for no other. One entry a class is enough.

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model = mlp((4,), 3)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, torch.rand(1, 4), torch.tensor([2]), torch.tensor([[[0]]]), lr=0.1)
    >>> kept = torch.rand(model.dim, generator=torch.Generator().manual_seed(0)) < 0.2
    >>> view = ServerView(params=params, messages=update * kept, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> label_left_in(view, kept=kept)
    2

    Raises ValueError unless it is one step on one sample, and unless exactly one class has a negative sum: then the
    entries that would tell were left out, and an attacker has to try every class.
    Source: Zhao, Mopuri and Bilen 2020, iDLG, arXiv:2001.02610, which reads the sign off the weights.
    """
    slopes = gradient("label_left_in", view, message)  # [dim]
    model = view.model
    if view.batch_size != 1:
        raise ValueError(f"label_left_in needs a message of one sample; got batch_size={view.batch_size}")
    check_kept("label_left_in", kept, model.dim)
    if model.shapes[-1] != (model.classes,) or model.shapes[-2][0] != model.classes:
        raise ValueError(f"label_left_in needs a last layer with a row for each class; {model.name} has none")
    weight, bias = model.layers((slopes * kept)[None])[-2:]  # [1, classes, features], [1, classes]
    sums = weight[0].sum(dim=1) + bias[0]
    negative = int((sums < 0).sum())
    if negative != 1:
        raise ValueError(
            "label_left_in needs entries of the last layer that are negative for exactly one class; they are for "
            f"{negative} of {model.classes}: try every class"
        )
    return int(sums.argmin())
