"""Messages that were rounded at random or reduced to signs: read by how likely they are, not by how near.

An attacker who knows how a client rounds knows how likely every message is, for each picture that might be behind it.
That is all there is to know: the likeliest of a list of suspects, or the likeliest picture of all, is what no attack
on the same message can do better than. Several fresh messages about the same data multiply their likelihoods.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_function, check_kind, check_number, kind
from labsec.invert.kernel import kernel
from labsec.invert.observations import views_of
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.search import Budget
from labsec.invert.shared import Watch, one_message
from labsec.invert.smooth import Smoother
from labsec.invert.threads import one_thread
from labsec.train import local_updates
from labsec.types import ServerMemory, ServerView, Updates

Likelihood = Callable[[Tensor, Tensor], Tensor]
"""(messages [k, dim], expected [c, dim]) -> [c] log-likelihood of the k messages together, for each of c updates that a
client may have had before it rounded; up to a constant. It can be differentiated with respect to `expected`."""

UNLIKELY = 0.02  # chance below which the logarithm of a chance goes on as a straight line
SHARPNESS = 4.0  # how sure a sign is for an entry as large as the mean one
ASSUMPTIONS = (
    "The messages are about one and the same sample, one step of plain SGD on one model.",
    "The label is known, and how the client rounds.",
    "Neighbouring pixels are alike.",
)


# --- what the attacker knows of the rounding


def rounded(messages: Updates, expected: Updates, *, step: float | None = None) -> Tensor:
    """How likely messages are that were rounded at random to multiples of a step, without bias (QSGD).

    messages    [k, dim] what was received
    expected    [c, dim] updates that may have been rounded
    step        distance of two levels, in parameter units; None takes each message's smallest entry that is not zero
    returns     [c] log-likelihood of all messages together

    An entry between two levels goes to either, to the nearer one more often: the chance of a level falls from 1 to 0
    over one step.

    >>> expected = torch.tensor([[0.25, -1.0], [0.75, -1.0]])
    >>> rounded(torch.tensor([[0.0, -1.0]]), expected, step=1.0).exp()
    tensor([0.7500, 0.2500])

    Raises ValueError unless both are finite rows of one width and type, and step > 0.
    Source: the rounding is Alistarh et al. 2017, QSGD, arXiv:1610.02132; below a chance of .02 the logarithm goes on
    as a straight line, so that a search far from the answer has a slope.
    """
    _check("rounded", messages, expected)
    if step is not None:
        check_number("rounded", above=0, step=step)
    total = expected.new_zeros(len(expected))
    for own in messages:
        sizes = own[own != 0].abs()
        if step is None and not len(sizes):
            continue  # a message of zeros alone has no step of its own, and says nothing
        unit = sizes.min() if step is None else step
        total = total + _log_chance(1 - ((expected - own) / unit).abs()).sum(dim=1)
    return total


def _log_chance(chance: Tensor) -> Tensor:
    """The logarithm, straight on below UNLIKELY."""
    below = math.log(UNLIKELY) + (chance - UNLIKELY) / UNLIKELY
    return torch.where(chance > UNLIKELY, chance.clamp_min(UNLIKELY).log(), below)


def flipped_signs(messages: Updates, expected: Updates, *, bound: float, flip: float) -> Tensor:
    """How likely messages are that hold one random sign for each entry, some of them flipped (SFSQ, our reading).

    bound    entries were clipped to it, in parameter units
    flip     chance in [0, 1/2) with which a sign was flipped
    messages, expected, returns    as for `rounded`; of a message only the signs count

    The sign of an entry g is plus with chance (1 + g / bound) / 2, and flipped or not it is plus with chance
    (1 + (1 - 2 flip) g / bound) / 2.

    >>> expected = torch.tensor([[0.5], [-1.0]])
    >>> flipped_signs(torch.tensor([[2.0]]), expected, bound=1.0, flip=0.25).exp()
    tensor([0.6250, 0.2500])

    Raises ValueError as `rounded` does, and unless bound > 0 and 0 <= flip < 1/2.
    """
    _check("flipped_signs", messages, expected)
    check_number("flipped_signs", above=0, bound=bound)
    check_number("flipped_signs", least=0, below=0.5, flip=flip)
    pull = (1 - 2 * flip) * (expected / bound).clamp(-1, 1)  # [c, dim]
    plus = (messages > 0).sum(dim=0).to(pull.dtype)  # [dim] how many of the messages say plus
    minus = (messages < 0).sum(dim=0).to(pull.dtype)
    return _log_chance((1 + pull) / 2) @ plus + _log_chance((1 - pull) / 2) @ minus


def signs(messages: Updates, expected: Updates) -> Tensor:
    """How well the signs of messages agree with those expected, large entries first; there is no chance in a sign.

    messages, expected, returns    as for `rounded`; of a message only the signs count

    Every entry is a vote: a logistic curve in its size, relative to the mean size of what was expected. Another message
    of the same signs says nothing new.

    >>> expected = torch.tensor([[1.0, -2.0], [-1.0, -2.0]])
    >>> signs(torch.tensor([[0.5, -0.5]]), expected).argmax()
    tensor(0)

    Raises ValueError as `rounded` does. Source: the logistic curve is this course's own.
    """
    _check("signs", messages, expected)
    sizes = expected.abs().mean(dim=1, keepdim=True).clamp_min(torch.finfo(expected.dtype).tiny)  # [c, 1]
    votes = SHARPNESS * expected / sizes  # [c, dim]
    seen = messages.sign().unique(dim=0)  # [distinct, dim]
    return torch.stack([F.logsigmoid(own * votes).sum(dim=1) for own in seen]).sum(dim=0)


def left_in_only(messages: Updates, expected: Updates, *, noise: float = 1e-3) -> Tensor:
    """How likely messages with holes are: normal noise on the entries that were left in, nothing at the others.

    messages, expected, returns    as for `rounded`; a zero is a hole
    noise    standard deviation, as a share of a message's mean entry

    >>> left_in_only(torch.tensor([[0.0, 2.0]]), torch.tensor([[9.0, 2.0], [0.0, 1.0]]), noise=1.0)
    tensor([ 0.0000, -0.1250])

    Raises ValueError as `rounded` does, and unless noise > 0.
    """
    _check("left_in_only", messages, expected)
    check_number("left_in_only", above=0, noise=noise)
    total = expected.new_zeros(len(expected))
    for own in messages:
        held = own != 0
        if not held.any():
            continue
        unit = noise * own[held].abs().mean()
        total = total - ((expected[:, held] - own[held]) / unit).square().sum(dim=1) / 2
    return total


# --- the attacks


def likeliest(messages: Updates, expected: Updates, *, likelihood: Likelihood) -> int:
    """Which of many known samples is behind messages that were rounded or have holes: the likeliest of the suspects.

    messages      [k, dim] of one client, about one model and the same data
    expected      [candidates, dim] what a client with this one sample would have sent, before it rounded
    likelihood    `rounded`, `flipped_signs`, `signs` or `left_in_only`, with its arguments bound
    returns       the number of the candidate

    >>> expected = torch.tensor([[0.25, -1.0], [0.75, -1.0]])
    >>> messages = torch.tensor([[1.0, -1.0], [1.0, -1.0], [0.0, -1.0]])
    >>> likeliest(messages, expected, likelihood=lambda own, all: rounded(own, all, step=1.0))
    1

    It must fail where nothing is left: as many candidates as agree with the messages are equally likely, and the first
    of them is named. Raises ValueError as `rounded` does.
    Source: Neyman and Pearson 1933 for two candidates.
    """
    _check("likeliest", messages, expected)
    check_function("likeliest", likelihood=likelihood)
    return int(likelihood(messages, expected).argmax())


def copies(memory: ServerMemory, *, client: int) -> ServerView:
    """All messages of one client about one model in one view, as `most_likely` and `likeliest` take them.

    >>> from labsec.models import mlp
    >>> model = mlp((1,), 2, hidden=())
    >>> view = ServerView(
    ...     params=torch.zeros(4), messages=torch.ones(1, 4), model=model, lr=0.1, local_steps=1, batch_size=1
    ... )
    >>> memory = ServerMemory(rounds=(view, view), clients=(torch.tensor([7]), torch.tensor([7])))
    >>> copies(memory, client=7).messages.shape
    torch.Size([2, 4])

    Raises ValueError if the client never took part, if a message is not finite, or if the model changed in between.
    """
    views = views_of("copies", memory, client, same_model=True)
    rows = torch.stack([one_message("copies", view, 0) for view in views])  # [k, dim]
    first = views[0]
    return ServerView(
        params=first.params,
        messages=rows.to(first.messages.dtype),
        model=first.model,
        lr=first.lr,
        local_steps=first.local_steps,
        batch_size=first.batch_size,
    )


@one_thread()
def most_likely(
    view: ServerView,
    *,
    label: int,
    likelihood: Likelihood,
    contrast: float = 0.6,
    iterations: int = 200,
    seconds: float | None = None,
    watch: Watch | None = None,
) -> Reconstruction:
    """The picture that makes rounded messages likeliest: the attack of somebody who knows the rounding but no suspects.

    view          `view.messages` are all of one client about one sample, one or more: see `copies`
    label         class of the sample
    likelihood    as for `likeliest`
    contrast      how much pictures are expected to vary around mid-grey; more believes the messages more
    iterations    of L-BFGS at most
    seconds       of processor time after which it stops; None for no bound
    watch         called after each evaluation with the best picture so far
    returns       one candidate; `losses` are negative log-likelihoods, the prior's share included

    Where the messages say little, the prior says the rest: smooth and grey. A failure therefore looks like a grey
    picture, not like noise, and `losses` hardly fall.

    >>> from labsec.models import lenet
    >>> from labsec.train import local_updates
    >>> model, x, y = lenet((1, 8, 8), 4), torch.rand(1, 1, 8, 8), torch.tensor([1])
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    >>> view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> found = most_likely(view, label=1, likelihood=signs, iterations=30)
    >>> found.estimate.shape, found.losses[-1] < found.losses[0]
    (torch.Size([1, 1, 8, 8]), True)

    Raises ValueError unless it is one step on one sample of numbers, if a message is not finite, and for settings out
    of range.
    Source: the Bayes optimal adversary of Balunović et al. 2022, arXiv:2111.04706, with the prior of `Smoother` and a
    normal distribution of its patterns.
    """
    from scipy.optimize import minimize  # takes a while to import

    since = process_time()
    check_kind("most_likely", ServerView, view=view)
    model = view.model
    check_number("most_likely", whole=True, least=0, below=model.classes, label=label)
    check_function("most_likely", likelihood=likelihood)
    if watch is not None:
        check_function("most_likely", watch=watch)
    check_number("most_likely", above=0, contrast=contrast)
    budget = Budget(
        name="most_likely", iterations=iterations, seconds=math.inf if seconds is None else seconds, watch=watch
    )
    if view.batch_size != 1 or view.local_steps != 1 or model.vocabulary is not None:
        raise ValueError(
            "most_likely needs messages of one step on one sample of numbers; got "
            f"batch_size={view.batch_size}, local_steps={view.local_steps}, model {model.name}"
        )
    check_number("most_likely", above=0, lr=view.lr)
    one_message("most_likely", view, 0)  # says in words what is wrong with messages of another kind
    rows = [one_message("most_likely", view, number) for number in range(len(view.messages))]
    messages = torch.stack(rows)  # [k, dim]
    params = view.params.detach().double()
    smoother = Smoother(model.shape)
    losses: list[float] = []
    best = math.inf
    kept = torch.full((1, *model.shape), 0.5, dtype=torch.float64)

    def loss_at(step: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log-likelihood at a step [in] from mid-grey, in coordinates of equally likely patterns."""
        nonlocal best, kept
        z = torch.from_numpy(step)[None]  # [1, in]
        x = 0.5 + contrast * smoother.half(z)
        picture = x.view(1, *model.shape)
        update = local_updates(
            model, params, picture, torch.tensor([label]), torch.zeros(1, 1, 1, dtype=torch.int64), lr=view.lr
        ).requires_grad_()  # [1, dim]
        fits = -likelihood(messages, update)[0]
        (pull,) = torch.autograd.grad(fits, update)

        # The kernel's slope is that of half a squared residual: with this target the residual is the pull itself.
        residual = -view.lr * pull[0]
        target = -update.detach()[0] / view.lr - residual
        slope = kernel(model, params, target, label).at(x).slopes  # [1, in]
        losses.append(float(fits.detach() + z.square().sum() / 2))
        if losses[-1] < best:
            best = losses[-1]
            kept = picture
        if budget.is_spent(len(losses) - 1, kept, best, since):
            raise _Spent
        return losses[-1], (contrast * smoother.half(slope) + z)[0].numpy()

    start = np.zeros(math.prod(model.shape))
    with suppress(_Spent):
        minimize(loss_at, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 20})
    return Reconstruction(
        method="most likely",
        estimate=kept.clamp(0, 1).to(view.params.dtype),
        labels=torch.tensor([label]),
        losses=tuple(losses),
        divergences=int(not losses[-1] <= losses[0]),
        evaluations=len(losses),
        seconds=process_time() - since,
        assumptions=ASSUMPTIONS,
    )


class _Spent(Exception):
    """The watcher or the clock ends a search inside scipy."""


def _check(name: str, messages: Tensor, expected: Tensor) -> None:
    """Raise unless both are finite rows of one width and type, one of each at least."""
    check_updates(messages, name="messages")
    check_updates(expected.detach() if isinstance(expected, Tensor) else expected, name="expected")
    if messages.shape[1] != expected.shape[1] or messages.dtype != expected.dtype or not len(expected):
        found = f"messages {kind(messages)}, expected {kind(expected)}"
        raise ValueError(f"{name} needs rows of one width and type, and a candidate at least; got {found}")
    for what, rows in (("messages", messages), ("expected", expected.detach())):
        spoiled = int((~is_finite_row(rows)).sum())
        if spoiled:
            raise ValueError(f"{name} needs finite {what}; {spoiled} of {len(rows)} rows hold a NaN or an infinity")
