"""Does a client hold data with a property? What its update tells beside what it is for."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.infer.shared import check_messages
from labsec.infer.views import PropertyView
from labsec.train import local_updates

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # in units of the mean squared length of a shadow's update
FEWEST_SHADOWS = 8


def property_scores(view: PropertyView, *, share: float, shadows: int = 200, generator: Generator) -> Tensor:
    """How much every message looks like that of a client whose data have the property: [k] float64.

    The server trains shadow clients on samples of its own, half of them with the property in their data and half
    without, and fits a linear classifier to their updates. About 0 lies between the two; 1 is what shadows with the
    property send on average, and -1 what those without it send.

    view         messages, and the server's own samples
    share        of a shadow's samples that have the property, if it is one that has it, in (0, 1]. The others, and all
                 samples of the other shadows, do not have it
    shadows      number of shadow clients
    generator    draws the shadows' samples, and what the view's stage draws

    >>> from labsec.models import mlp
    >>> draw = torch.Generator().manual_seed(0)
    >>> model, x, y = mlp((4,), 2), torch.rand(40, 4, generator=draw), torch.arange(40) % 2
    >>> params, has = model.init(draw), y == 1
    >>> batches = torch.arange(40).view(20, 2).T[:, None]     # the first client holds label 0, the second label 1
    >>> messages = local_updates(model, params, x, y, batches, lr=0.1)
    >>> seen = {"params": params, "messages": messages, "model": model, "lr": 0.1, "local_steps": 1, "batch_size": 20}
    >>> scores = property_scores(PropertyView(**seen, x=x, y=y, has=has), share=1.0, generator=draw)
    >>> bool(scores[1] > scores[0])
    True

    Raises ValueError unless 0 < share <= 1 and shadows >= 8, if the view does not know the batch size, and for a
    message that is not finite.
    Source: Melis et al. 2019, arXiv:1805.04049, section IV, batch property classifiers. There a logistic regression or
    a random forest looks at the updates of several rounds; here ridge regression looks at one, its penalty chosen by
    leaving one shadow out.
    """
    check_kind("property_scores", PropertyView, view=view)
    check_number("property_scores", above=0, most=1, share=share)
    check_number("property_scores", whole=True, least=FEWEST_SHADOWS, shadows=shadows)
    check_kind("property_scores", Generator, generator=generator)
    check_messages("property_scores", view)
    if view.batch_size is None:
        raise ValueError("property_scores needs a view that knows the batch size; got batch_size=None")

    is_with = torch.arange(shadows) < shadows // 2  # [shadows]
    batches = _batches(view, is_with, share, generator)  # [shadows, steps, batch]
    updates = local_updates(view.model, view.params, view.x, view.y, batches, lr=view.lr)  # [shadows, dim]
    if view.stage is not None:
        updates = view.stage(updates, generator=generator)
        if not isinstance(updates, Tensor) or updates.shape != (shadows, view.model.dim):
            raise ValueError(
                f"property_scores needs a stage that returns [{shadows}, {view.model.dim}]; got {kind(updates)}"
            )
    return _fitted(updates.double(), is_with.to(updates.device), view.messages.double())


def _batches(view: PropertyView, is_with: Tensor, share: float, generator: Generator) -> Tensor:
    """The samples of every shadow, drawn with replacement: [shadows, steps, batch]."""
    assert view.batch_size is not None
    shape = (len(is_with), view.local_steps, view.batch_size)
    has = view.has.nonzero()[:, 0]
    lacks = (~view.has).nonzero()[:, 0]
    with_it = has[torch.randint(len(has), shape, generator=generator).to(has.device)]
    without = lacks[torch.randint(len(lacks), shape, generator=generator).to(has.device)]
    chosen = (torch.rand(shape, generator=generator) < share) & is_with[:, None, None]
    return torch.where(chosen.to(has.device), with_it, without)


def _fitted(rows: Tensor, is_with: Tensor, messages: Tensor) -> Tensor:
    """What ridge regression on rows [n, dim] with targets 1 and -1 says of messages [k, dim]: [k]."""
    targets = 2 * is_with.double() - 1  # [n]
    centre = rows.mean(dim=0)
    middle = targets.mean()
    away = rows - centre
    gram = away @ away.T  # [n, n]: fewer shadows than numbers of an update
    values, vectors = torch.linalg.eigh(gram)
    typical = gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)

    # The penalty that predicts best the shadow that was left out: its error is its weight over the inverse's diagonal.
    best_error = torch.inf
    weights = torch.zeros_like(targets)
    for ridge in RIDGES:
        shrunk = 1 / (values.clamp_min(0) + ridge * typical)  # [n]
        tried = vectors @ (shrunk * (vectors.T @ (targets - middle)))  # [n]
        own = (vectors.square() * shrunk).sum(dim=1)  # [n]
        error = float((tried / own).square().mean())
        if error < best_error:
            best_error = error
            weights = tried
    return middle + (messages - centre) @ (away.T @ weights)
