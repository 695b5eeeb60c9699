"""Was a model trained on this sample? Two attacks on a trained model, and one on the messages of its training.

A score is higher for whom it takes to be a member. What scores are worth is told by `labsec.infer.judging`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labsec.geometry import check_updates, is_finite_row, unit_rows
from labsec.guards import check_function, check_kind, check_number, kind
from labsec.infer.shared import check_messages, directions_of
from labsec.infer.views import MemberView
from labsec.models import Model
from labsec.parts import keywords_asked
from labsec.train import local_updates
from labsec.types import ServerView, Train

SAMPLES_AT_ONCE = 2000
FEWEST_SHADOWS = 4  # two that were trained on a candidate and two that were not have a spread each


def loss_threshold(view: MemberView) -> Tensor:
    """Minus the loss of every candidate: a model knows better what it was trained on.

    returns    [n] float64, at most 0

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=())
    >>> params = torch.tensor([1.0, 0, 0, 1, 0, 0])
    >>> view = MemberView(params=params, model=model, x=torch.eye(2), y=torch.tensor([0, 0]))
    >>> loss_threshold(view)
    tensor([-0.3133, -1.3133], dtype=torch.float64)

    Source: Yeom et al. 2018, arXiv:1709.01604, Adversary 1. It takes for a member whoever has a loss of at most the
    mean over the training data, which it knows; here the threshold is left open, and every one is judged.
    """
    check_kind("loss_threshold", MemberView, view=view)
    logits = _logits(view.model, view.params[None], view.x)[0]  # [n, classes]
    return logits.log_softmax(dim=1).gather(1, view.y[:, None])[:, 0]


def lira(view: MemberView, *, shadows: int = 64, pooled: bool = False, generator: Generator) -> Tensor:
    """How much likelier every candidate's confidence is if it was a member: the log of the likelihood ratio.

    Shadow models are trained on random halves of the candidates, so that half of them know a given candidate. Their
    confidences in it, log(p / (1 - p)) of its label, make two normal distributions; the model in question lies nearer
    to one of them. A sample that every model finds easy says nothing, whatever its loss: that is what a single
    threshold on the loss gets wrong.

    shadows      number of shadow models; every candidate is known to half of them, rounded down
    pooled       take one spread for all candidates, which is steadier with few shadows, in place of one for each
    generator    draws the halves, and then what the recipe draws
    returns      [n] float64

    >>> from labsec.models import mlp
    >>> draw = torch.Generator().manual_seed(0)
    >>> model, x, y = mlp((4,), 2), torch.rand(8, 4, generator=draw), torch.arange(8) % 2
    >>> train = recipe(model, x, y, lr=1.0, steps=50, batch_size=4)
    >>> params = train(torch.arange(8)[None] < 4, generator=draw)[0]
    >>> view = MemberView(params=params, model=model, x=x, y=y, train=train)
    >>> lira(view, shadows=16, generator=draw).shape
    torch.Size([8])

    Raises ValueError for fewer than four shadows, for a view without a recipe, and if the recipe does not return one
    finite model for each shadow.
    Source: Carlini et al. 2022, arXiv:2112.03570, Algorithm 1 (the online attack) with one query for each candidate;
    its shadows know half of a larger pool, which the candidates are part of.
    """
    check_kind("lira", MemberView, view=view)
    check_number("lira", whole=True, least=FEWEST_SHADOWS, shadows=shadows)
    check_kind("lira", bool, pooled=pooled)
    check_kind("lira", Generator, generator=generator)
    members = _halves(int(shadows), len(view.y), generator)  # [shadows, n]
    trained = view.train(members, generator=generator)  # [shadows, dim]
    check_updates(trained, name="what the recipe of lira trained")
    if trained.shape != (shadows, view.model.dim) or not is_finite_row(trained).all():
        raise ValueError(f"lira needs a recipe that returns finite [{shadows}, {view.model.dim}]; got {kind(trained)}")

    known = _confidences(view.model, trained, view.x, view.y)  # [shadows, n]
    seen = _confidences(view.model, view.params[None], view.x, view.y)[0]  # [n]
    inside = _log_density(seen, known, members, pooled)
    outside = _log_density(seen, known, ~members, pooled)
    return inside - outside


def _halves(shadows: int, candidates: int, generator: Generator) -> Tensor:
    """Which shadow knows which candidate, so that each candidate is known to shadows // 2: bool [shadows, n]."""
    order = torch.rand(shadows, candidates, generator=generator, device=generator.device).argsort(dim=0)
    return order < shadows // 2


def _log_density(seen: Tensor, known: Tensor, chosen: Tensor, pooled: bool) -> Tensor:
    """Log density of seen [n] in the normal distributions that the chosen of known [shadows, n] have: [n]."""
    count = chosen.sum(dim=0)  # [n], the same for all
    means = (known * chosen).sum(dim=0) / count  # [n]
    squares = ((known - means).square() * chosen).sum(dim=0) / (count - 1)  # [n]
    variances = squares.mean().expand_as(squares) if pooled else squares
    variances = variances.clamp_min(1e-12)  # shadows that all agree to the last bit
    return -0.5 * ((seen - means).square() / variances + variances.log())


def _confidences(model: Model, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """log(p / (1 - p)) of every sample's label under every model: [c, n] float64.

    It is the label's logit less the log-sum-exp of the others, which no rounding of p spoils.
    """
    logits = _logits(model, params, x)  # [c, n, classes]
    own = torch.nn.functional.one_hot(y, model.classes).bool()  # [n, classes]
    label = logits[:, own]  # [c, n], one of each row
    others = logits.masked_fill(own, -torch.inf).logsumexp(dim=2)  # [c, n]
    return label - others


def _logits(model: Model, params: Tensor, x: Tensor) -> Tensor:
    """Logits [c, n, classes] float64 of all samples under all models [c, dim]."""
    with torch.no_grad():
        parts = [model(params, part.expand(len(params), *part.shape)) for part in x.split(SAMPLES_AT_ONCE)]
    return torch.cat(parts, dim=1).double()


def recipe(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    start: Tensor | None = None,
    lr: float,
    steps: int,
    batch_size: int,
    train: Train = local_updates,
) -> Callable[..., Tensor]:
    """The `train` of a `MemberView`: models trained on some of the samples, all of them at once as stacked clients.

    x, y          [n, *shape], [n] the candidates
    start         [dim] the model that training started from, where it is known; None draws a fresh one for each
    lr            learning rate, no unit
    steps         of SGD
    batch_size    samples of a step, drawn with replacement
    train         (model, params, x, y, batches, *, lr, …) -> [k, dim], as the `train` of a scenario. If it asks for a
                  `generator`, it gets one, so that training with noise has shadows with noise
    returns       (members bool [k, n], *, generator) -> [k, dim]

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((4,), 2), torch.rand(8, 4), torch.arange(8) % 2
    >>> trained = recipe(model, x, y, lr=0.5, steps=3, batch_size=2)
    >>> members = torch.arange(8)[None] < torch.tensor([[4], [6]])
    >>> trained(members, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 450])

    Raises ValueError if samples, model and start do not fit, unless lr > 0, steps >= 1, batch_size >= 1; when called,
    unless every model has a member.
    """
    check_kind("recipe", Model, model=model)
    check_kind("recipe", Tensor, x=x)
    check_number("recipe", above=0, lr=lr)
    check_number("recipe", whole=True, above=0, steps=steps, batch_size=batch_size)
    check_function("recipe", train=train)
    model.check_data(x, y, x.dtype if x.is_floating_point() else torch.float32)
    if start is not None:
        check_kind("recipe", Tensor, start=start)
        if start.shape != (model.dim,) or not start.is_floating_point():
            raise ValueError(f"recipe needs a start [{model.dim}]; got {kind(start)}")

    def trained(members: Tensor, *, generator: Generator) -> Tensor:
        check_kind("recipe", Tensor, members=members)
        if members.ndim != 2 or members.shape[1] != len(y) or members.dtype != torch.bool or not members.any(1).all():
            raise ValueError(f"recipe needs members bool [k, {len(y)}], one or more a row; got {kind(members)}")
        fresh = [model.init(generator) for _ in members] if start is None else [start] * len(members)
        begun = torch.stack(fresh)  # [k, dim]
        drawn = members.float().multinomial(steps * batch_size, replacement=True, generator=generator)
        batches = drawn.view(len(members), steps, batch_size)
        noisy = {"generator": generator} if "generator" in keywords_asked(train, ("generator",)) else {}
        return begun + train(model, begun, x, y, batches, lr=lr, **noisy)

    return trained


def alignment(view: ServerView, x: Tensor, y: Tensor) -> Tensor:
    """How far every message points where a candidate alone would have moved the model: [k, n] float64.

    The server computes what one step on the candidate would have sent, and holds the message against it: a matched
    filter. No test does better on a message that is the sum of a known row and white noise, which is what a client
    sends that clips and adds Gaussian noise. The rows of all other samples count as more noise.

    view       messages of clients; a message of several steps is held against the first step
    x, y       [n, *shape], [n] the candidates with their labels
    returns    [k, n], for each message and candidate the message's part along the candidate's direction, in units of
               the message's own length: a cosine

    >>> from labsec.models import mlp
    >>> model, x, y = mlp((4,), 2), torch.rand(3, 4), torch.tensor([0, 1, 1])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0, 1]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=2)
    >>> alignment(view, x, y).shape
    torch.Size([1, 3])

    Raises ValueError if messages, candidates and model do not fit, and for a message that is not finite.
    Source: the likelihood-ratio test for a known signal in white noise (Neyman and Pearson 1933).
    """
    check_messages("alignment", view)
    view.model.check_data(x, y, view.params.dtype)
    return (unit_rows(view.messages) @ directions_of(view, x, y).T).double()
