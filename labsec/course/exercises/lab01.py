"""Lab 01, FedAvg from scratch: its threat model, and its exercises with the inputs to try and the hints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from labsec import robust
from labsec.course.exercises import lab01_answers as answers
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import threat_model_of
from labsec.federation.scenario import Scenario
from labsec.models import Model, mlp

# The federation of this lab. The card is read off it.
SCENARIO = Scenario(aggregate=robust.weighted_mean)
THREAT_MODEL = threat_model_of(
    SCENARIO,
    goal="The server wants to learn something about one client's records from what that client sends.",
    out_of_scope="Clients that lie (lab 02 on), a server that sends a crafted model, eavesdroppers on the line.",
)


def _decks(draw: Generator) -> Sequence[Case]:
    return [case(torch.randperm(n, generator=draw) + 100, clients) for n, clients in ((10, 3), (12, 4), (41, 7))]


def _skewed_federations(draw: Generator) -> Sequence[Case]:
    cases = []
    for n, clients in ((24, 3), (40, 4), (60, 5)):
        y = torch.randint(3, (n,), generator=draw)
        shares = torch.rand(3, clients, generator=draw).square() + 0.01
        cases.append(case(y, shares / shares.sum(dim=1, keepdim=True)))
    return cases


def _sorted_shards(shards: list[Tensor]) -> list[Tensor]:
    """Each item was sorted before: the order within it does not matter."""
    return [shard.sort().values for shard in shards]


def _samples(draw: Generator, n: int) -> tuple[Model, Tensor, Tensor, Tensor]:
    """A small network, its parameters, and n samples of two numbers."""
    model = mlp((2,), 3, hidden=(4,))
    params = 2 * torch.randn(model.dim, generator=draw)
    x = torch.rand(n, 2, generator=draw)
    y = torch.randint(3, (n,), generator=draw)
    return model, params, x, y


def _steps(draw: Generator) -> Sequence[Case]:
    return [case(*_samples(draw, n), lr=lr) for n, lr in ((4, 0.5), (7, 0.1), (3, 1.0))]


def _local_trainings(draw: Generator) -> Sequence[Case]:
    return [
        case(*_samples(draw, 12), torch.randint(12, (steps, 4), generator=draw), lr=lr)
        for steps, lr in ((3, 0.5), (5, 0.8), (2, 1.0))
    ]


def _weighted_updates(draw: Generator) -> Sequence[Case]:
    sizes = ((2, 2), (5, 3), (8, 20))
    return [
        case(torch.randn(n, dim, generator=draw), weights=torch.randint(1, 90, (n,), generator=draw))
        for n, dim in sizes
    ]


def _rounds(draw: Generator) -> Sequence[Case]:
    return [
        case(
            *_samples(draw, 20),
            torch.randint(20, (clients, steps, 4), generator=draw),
            weights=torch.randint(1, 60, (clients,), generator=draw),
            lr=lr,
        )
        for clients, steps, lr in ((2, 2, 0.5), (4, 3, 0.8), (3, 1, 1.0))
    ]


SIZES_ROUNDED = "You rounded each part, and rounded parts need not add up. Round the cuts: the running sum."

EXERCISES = (
    Exercise(
        id="01.1",
        title="Deal the samples",
        reference=answers.deal,
        cases=_decks,
        essence=_sorted_shards,
        wrong=(
            (
                answers.deal_positions,
                "You dealt the positions 0, 1, 2 … and not what lies at them: the shuffle is lost.",
            ),
            (
                answers.deal_whole_hands,
                "You cut blocks off the pack. The samples left over at its end belong to nobody.",
            ),
            (
                answers.deal_even,
                "You stopped when the pack could no longer be dealt evenly. The last few samples count, too.",
            ),
            (
                answers.deal_chunks,
                "You cut the pack into blocks, as `chunk` does. Dealt one at a time, client i gets every n-th card.",
            ),
            (
                answers.deal_split,
                "You cut the pack into blocks. Dealt one at a time, client i gets every n-th card.",
            ),
        ),
        hints=(
            "How are cards dealt? The first player gets cards 0, n, 2n … What does the second get?",
            "A slice has a step: order[start::step]. Build one slice for every client.",
            "[order[i::clients] for i in range(…)]",
        ),
        another="With an index, for those who do not know slices with a step:\n\n"
        "    places = torch.arange(len(order))\n"
        "    return [order[places % clients == i] for i in range(clients)]\n\n"
        "The slice shows a client's part without copying it; here each part is a new tensor.",
    ),
    Exercise(
        id="01.2",
        title="Skew the labels",
        reference=answers.skew,
        cases=_skewed_federations,
        essence=_sorted_shards,
        wrong=(
            (
                answers.skew_positions,
                "You dealt positions within a label, not positions in y. Start from (y == label).nonzero().",
            ),
            (
                answers.skew_without_sum,
                "You cut at each share on its own. A cut lies where the shares up to it end: take their running sum.",
            ),
            (answers.skew_in_one, "You cut the whole data set once. Each label has a row of its own in shares."),
            (
                answers.skew_floor,
                "You cut off the fractions: `.long()` and `int` always round down. Round to the nearest place first.",
            ),
            (answers.skew_rounded_parts, SIZES_ROUNDED),
            (answers.skew_rounded_slices, f"{SIZES_ROUNDED} Some samples belong to nobody here."),
            (answers.skew_rounded_sizes, f"{SIZES_ROUNDED} That is why `split` refuses."),
        ),
        hints=(
            "Take one label. Where do its samples lie in y, and where would you cut that list for the clients?",
            "The cuts are the running sum of the label's shares, times the number of its samples, rounded. The last "
            "one is the end of the list and not a cut.",
            "members = (y == label).nonzero()[:, 0]\n"
            "cuts = (shares[label].cumsum(0) * len(members)).round().long()[:-1]\n"
            "pieces = members.tensor_split(cuts.tolist())\n"
            "then give piece i to client i, and join each client's pieces with torch.cat",
        ),
        another="Without a loop over the pieces: say of each sample who owns it.\n\n"
        "    owner = torch.empty_like(y)\n"
        "    for label, share in enumerate(shares):\n"
        "        members = (y == label).nonzero()[:, 0]\n"
        "        cuts = (share.cumsum(0) * len(members)).round()[:-1]\n"
        "        places = torch.arange(len(members)).float()\n"
        "        owner[members] = torch.bucketize(places, cuts, right=True)\n"
        "    return [(owner == i).nonzero()[:, 0] for i in range(shares.shape[1])]\n\n"
        "Each sample has one owner by construction, so none can be lost or dealt twice.",
    ),
    Exercise(
        id="01.3",
        title="One local step",
        reference=answers.local_step,
        cases=_steps,
        wrong=(
            (answers.step_uphill, "You climbed: the gradient points to where the loss grows. Subtract it."),
            (
                answers.step_by_sum,
                "Your step grows with the batch: the loss is summed over the samples. Take their mean.",
            ),
            (answers.step_alone, "This is the step alone. Return where it leads: the parameters after it."),
            (answers.step_gradient, "This is the gradient. Take the step as well: params - lr * gradient."),
            (answers.step_without_lr, "You took the whole gradient as the step. Multiply it by `lr`."),
            (
                answers.step_of_shared,
                "Right number, but `params` now carries a gradient, and the server and the other clients still need "
                "`params`. Differentiate a copy: params.detach().clone().requires_grad_().",
            ),
        ),
        hints=(
            "PyTorch differentiates a loss with respect to any tensor that requires a gradient. Which one is it here?",
            "Make a detached copy of params that requires a gradient, compute the mean cross-entropy of "
            "model(copy[None], x[None])[0] with y, then ask torch.autograd.grad.",
            "copy = params.detach().requires_grad_()\n"
            "loss = F.cross_entropy(model(copy[None], x[None])[0], y)\n"
            "(gradient,) = torch.autograd.grad(loss, copy)\n"
            "return params - …",
        ),
        another="With `backward`, as in most tutorials. It leaves the gradient on the tensor, so that has to be a "
        "copy:\n\n"
        "    copy = params.detach().clone().requires_grad_()\n"
        "    F.cross_entropy(model(copy[None], x[None])[0], y).backward()\n"
        "    return params - lr * copy.grad\n\n"
        "`torch.autograd.grad` returns the gradient and leaves nothing behind, so nobody can forget to clear it.",
    ),
    Exercise(
        id="01.4",
        title="The local update",
        reference=answers.local_update,
        cases=_local_trainings,
        wrong=(
            (answers.update_whole_model, "You sent the whole model. An update is the change: new minus old."),
            (answers.update_backwards, "Old minus new: the server would walk away from what the client learned."),
            (
                answers.update_from_start,
                "Only the last batch counts here: each step must start where the one before it ended.",
            ),
            (answers.update_summed, "Every step started from the server's model. Carry the local parameters along."),
            (
                answers.update_last_step,
                "You sent the last step alone. The update is the whole way: where you end minus what the server sent.",
            ),
        ),
        hints=(
            "Two sets of parameters matter: what the server sent, which stays, and what you have now, which moves.",
            "Loop over the batches; put local_step's answer into a local variable; subtract the server's at the end.",
            "local = params\nfor batch in batches:\n    local = local_step(model, local, x[batch], y[batch], lr=lr)\n"
            "return …",
        ),
    ),
    Exercise(
        id="01.5",
        title="The weighted mean",
        reference=answers.weighted_mean,
        cases=_weighted_updates,
        wrong=(
            (
                answers.mean_of_equals,
                "Every client counts alike here. A client with ten times the samples should count ten times.",
            ),
            (answers.mean_by_count, "You divided by the number of clients. Divide by the sum of the weights."),
            (answers.sum_of_weighted, "The weights do not add up to 1: the model would take a giant step."),
            (
                answers.product_of_kinds,
                "`weights` holds whole numbers, and PyTorch multiplies matrices of one type only. Divide first: shares "
                "that add up to 1 are floats.",
            ),
        ),
        hints=(
            "If every client had the same number of samples, this would be the plain mean. Who counts more otherwise?",
            "Turn the counts into shares that add up to 1, then sum the rows, each times its share.",
            "share = weights / …\nreturn share @ updates        # [clients] @ [clients, dim] -> [dim]",
        ),
    ),
    Exercise(
        id="01.6",
        title="The round",
        reference=answers.fedavg_round,
        cases=_rounds,
        wrong=(
            (answers.round_of_change, "This is the mean change alone. The new model is the old one plus the change."),
            (
                answers.round_as_relay,
                "Your clients ran a relay: each started from the last one's model. All start from the server's.",
            ),
            (answers.round_of_equals, "You averaged without the weights: pass them on to weighted_mean."),
            (
                answers.round_backwards,
                "You subtracted the mean update. It already points to where the clients went: add it.",
            ),
            (
                answers.round_with_two_rates,
                "You multiplied by `lr` twice: each client has done it in every one of its steps.",
            ),
            (
                answers.round_against_the_mean,
                "An update is no gradient: it already points downhill, and `lr` is in it. Add it as it is.",
            ),
        ),
        hints=(
            "You have every part already. What goes out, what comes back, and what becomes of it?",
            "Stack one local_update for every client's batches, take the weighted mean, add it to the model.",
            "updates = torch.stack([local_update(model, params, x, y, own, lr=lr) for own in batches])\n"
            "return params + weighted_mean(…)",
        ),
        bonus="FedAvg with momentum (Hsu et al. 2019, arXiv:1909.06335): the server keeps a velocity v, sets v to "
        "0.9 v plus the mean update, and moves by v. Write it as a rule that remembers v, a class with `__call__`, and "
        "give it to Scenario(aggregate=…, alpha=0.1). Does the model arrive earlier? And with server_lr=0.1?",
    ),
)
