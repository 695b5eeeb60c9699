"""Lab 04, The picture in the message: its threat model, and its exercises with inputs to try and hints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import threat_model_of
from labsec.federation.scenario import Scenario
from labsec.models import Model, mlp

# The card is read off this federation: nobody is malicious, and each message is one step on one sample.
THREAT_MODEL = threat_model_of(
    Scenario(local_steps=1, batch_size=1),
    goal="Get the private pictures back from the messages, with nobody noticing.",
    out_of_scope="Texts, tables and genomes, and a server that sends prepared models (lab 05); noise and compression "
    "as defences (later labs).",
)


def rows_over_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """Exercise 04.1."""
    moved = bias != 0  # [neurons]
    return weight[moved] / bias[moved][:, None]


def _rows_with_silent_neurons(weight: Tensor, bias: Tensor) -> Tensor:
    return weight / bias[:, None]


def _rows_times_bias(weight: Tensor, bias: Tensor) -> Tensor:
    moved = bias != 0
    return weight[moved] * bias[moved][:, None]


def _bias_over_rows(weight: Tensor, bias: Tensor) -> Tensor:
    moved = bias != 0
    return bias[moved][:, None] / weight[moved]


def _rows_alone(weight: Tensor, bias: Tensor) -> Tensor:
    return weight[bias != 0]


def _rows_over_size(weight: Tensor, bias: Tensor) -> Tensor:
    moved = bias != 0
    return weight[moved] / bias[moved].abs()[:, None]


def _positive_neurons_alone(weight: Tensor, bias: Tensor) -> Tensor:
    moved = bias > 0
    return weight[moved] / bias[moved][:, None]


def _columns_over_bias(weight: Tensor, bias: Tensor) -> Tensor:
    return weight / bias


def _layers(draw: Generator) -> Sequence[Case]:
    """Updates of a first layer; some neurons saw nothing. The first is square, so that a division of columns runs."""
    cases = []
    for neurons, width in ((5, 5), (6, 3), (8, 20)):
        samples = 0.1 + 0.8 * torch.rand(neurons, width, generator=draw)
        bias = torch.randn(neurons, generator=draw)
        bias[::3] = 0
        cases.append(case(bias[:, None] * samples, bias))
    return cases


def label_of(slopes: Tensor) -> Tensor:
    """Exercise 04.2."""
    return slopes.argmin(dim=1)


def _label_largest(slopes: Tensor) -> Tensor:
    return slopes.argmax(dim=1)


def _label_least_size(slopes: Tensor) -> Tensor:
    return slopes.abs().argmin(dim=1)


def _label_mask(slopes: Tensor) -> Tensor:
    return slopes < 0


def _label_value(slopes: Tensor) -> Tensor:
    return slopes.min(dim=1).values


def _label_of_columns(slopes: Tensor) -> Tensor:
    return slopes.argmin(dim=0)


def _label_of_all(slopes: Tensor) -> Tensor:
    return slopes.argmin()


def _slopes(draw: Generator) -> Sequence[Case]:
    """softmax - one-hot, for messages of one sample each; the number of messages is that of the classes at first."""
    cases = []
    for messages, classes in ((4, 4), (6, 10), (3, 2)):
        shares = torch.randn(messages, classes, generator=draw).softmax(dim=1)
        labels = torch.randint(classes, (messages,), generator=draw)
        cases.append(case(shares - F.one_hot(labels, classes)))
    return cases


def matching(model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Exercise 04.3."""
    x = x.clone().requires_grad_()
    own = _own_gradient(model, params, x, label, create_graph=True)  # [dim]
    loss = (own - target).square().sum()
    (slope,) = torch.autograd.grad(loss, x)
    return loss.detach(), slope


def _own_gradient(model: Model, params: Tensor, x: Tensor, label: Tensor, *, create_graph: bool) -> Tensor:
    """What a client with sample x [1, *shape] would compute: [dim]."""
    params = params.clone().requires_grad_()
    loss = F.cross_entropy(model(params[None], x[None])[0], label)
    (own,) = torch.autograd.grad(loss, params, create_graph=create_graph)
    return own


def _compared(
    model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor, compare: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The matching loss and its slope with another measure of the difference."""
    x = x.clone().requires_grad_()
    loss = compare(_own_gradient(model, params, x, label, create_graph=True), target)
    (slope,) = torch.autograd.grad(loss, x)
    return loss.detach(), slope


def _matching_without_graph(
    model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    loss = (_own_gradient(model, params, x, label, create_graph=False) - target).square().sum()
    (slope,) = torch.autograd.grad(loss, x)
    return loss.detach(), slope


def _matching_mean(model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return _compared(model, params, x, label, target, lambda own, wanted: (own - wanted).square().mean())


def _matching_length(model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return _compared(model, params, x, label, target, lambda own, wanted: (own - wanted).norm())


def _matching_half(model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return _compared(model, params, x, label, target, lambda own, wanted: (own - wanted).square().sum() / 2)


def _matching_sum(model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return _compared(model, params, x, label, target, lambda own, wanted: (own - wanted).sum())


def _matching_the_network(
    model: Model, params: Tensor, x: Tensor, label: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(params[None], x[None])[0], label)
    (slope,) = torch.autograd.grad(loss, x)
    return matching(model, params, x.detach(), label, target)[0], slope


def _guesses(draw: Generator) -> Sequence[Case]:
    """A guess beside the gradient of another sample, for two small networks in double precision."""
    cases = []
    for width, classes, hidden in ((4, 3, (5,)), (6, 2, (4, 3))):
        model = mlp((width,), classes, hidden=hidden, activation=torch.sigmoid)
        params = 3 * model.init(draw).double()
        sample, guess = torch.rand(2, 1, width, generator=draw).double()
        label = torch.randint(classes, (1,), generator=draw)
        target = _own_gradient(model, params, sample, label, create_graph=False)
        cases.append(case(model, params, guess, label, target))
    return cases


Step = Callable[[Tensor], Tensor]
LossOf = Callable[[Tensor], float]


def search(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    """Exercise 04.4."""
    x = start
    began = loss_of(start)
    loss = began
    best = start
    least = began
    for _ in range(iterations):
        x = step(x)
        loss = loss_of(x)
        if not math.isfinite(loss):
            return best, least, True
        if loss < least:
            best = x
            least = loss
    return best, least, loss > began


def _last_of(step: Step, loss_of: LossOf, start: Tensor, iterations: int) -> tuple[Tensor, float]:
    """Where a search ends, and its loss there; it stops where that is not finite."""
    x = start
    for _ in range(iterations):
        x = step(x)
        if not math.isfinite(loss_of(x)):
            break
    return x, loss_of(x)


def _search_last(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    x, loss = _last_of(step, loss_of, start, iterations)
    return x, loss, not loss <= loss_of(start)


def _search_last_picture(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    _, least, diverged = search(step, loss_of, start, iterations=iterations)
    return _last_of(step, loss_of, start, iterations)[0], least, diverged


def _search_blind(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    best, least, _ = search(step, loss_of, start, iterations=iterations)
    return best, least, False


def _search_for_nan_alone(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    best, least, _ = search(step, loss_of, start, iterations=iterations)
    return best, least, not math.isfinite(_last_of(step, loss_of, start, iterations)[1])


def _search_for_rise_alone(
    step: Step, loss_of: LossOf, start: Tensor, *, iterations: int
) -> tuple[Tensor, float, bool]:
    best, least, _ = search(step, loss_of, start, iterations=iterations)
    last = _last_of(step, loss_of, start, iterations)[1]
    return best, least, math.isfinite(last) and last > loss_of(start)


def _search_against_best(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    best, least, _ = search(step, loss_of, start, iterations=iterations)
    return best, least, not _last_of(step, loss_of, start, iterations)[1] <= least


def _search_without_start(step: Step, loss_of: LossOf, start: Tensor, *, iterations: int) -> tuple[Tensor, float, bool]:
    best, least, _ = search(step, loss_of, step(start), iterations=iterations - 1)
    return best, least, search(step, loss_of, start, iterations=iterations)[2]


def _by_length(near: float, far: float) -> Step:
    """From length 1 to length 0.1; from there by the factor `near`, and on from beyond 2 by the factor `far`."""

    def step(x: Tensor) -> Tensor:
        length = float(x.norm())
        if length > 2:
            return x * far
        return x * (near if length < 0.3 else 0.1 if length > 0.7 else 1.0)

    return step


def _searches(draw: Generator) -> Sequence[Case]:
    """Searches for the zero of a square: one that arrives, one that runs off after a good step, one past all numbers,
    one that only gets worse, and one that ends between its best and its start."""

    def squares(x: Tensor) -> float:
        return float(x.square().sum())

    steps = (
        lambda x: x / 2,
        _by_length(30.0, 3.0),
        _by_length(math.inf, 1.0),
        lambda x: 1.5 * x,
        _by_length(5.0, 1.0),
    )
    starts = F.normalize(torch.rand(len(steps), 3, generator=draw) + 0.5, dim=1)
    return [case(step, squares, start, iterations=4) for step, start in zip(steps, starts, strict=True)]


def total_variation(x: Tensor) -> Tensor:
    """Exercise 04.5."""
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(dim=1)
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).mean(dim=1)
    return down + across


def _variation_signed(x: Tensor) -> Tensor:
    down = (x[:, :, 1:] - x[:, :, :-1]).flatten(1).mean(dim=1)
    return down + (x[:, :, :, 1:] - x[:, :, :, :-1]).flatten(1).mean(dim=1)


def _variation_squared(x: Tensor) -> Tensor:
    down = (x[:, :, 1:] - x[:, :, :-1]).square().flatten(1).mean(dim=1)
    return down + (x[:, :, :, 1:] - x[:, :, :, :-1]).square().flatten(1).mean(dim=1)


def _variation_down_alone(x: Tensor) -> Tensor:
    return (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(dim=1)


def _variation_across_alone(x: Tensor) -> Tensor:
    return (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).mean(dim=1)


def _variation_round_the_edge(x: Tensor) -> Tensor:
    down = (x - x.roll(1, dims=2)).abs().flatten(1).mean(dim=1)
    return down + (x - x.roll(1, dims=3)).abs().flatten(1).mean(dim=1)


def _variation_of_colours(x: Tensor) -> Tensor:
    return (x[:, 1:] - x[:, :-1]).abs().flatten(1).mean(dim=1) + _variation_down_alone(x)


def _variation_of_all(x: Tensor) -> Tensor:
    return total_variation(x).mean()


def _variation_summed(x: Tensor) -> Tensor:
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).sum(dim=1)
    return down + (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().flatten(1).sum(dim=1)


def _grainy(draw: Generator) -> Sequence[Case]:
    return [case(torch.rand(n, c, h, w, generator=draw)) for n, c, h, w in ((3, 1, 5, 4), (2, 3, 4, 6), (4, 2, 3, 3))]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="04.1",
        title="The analytic attack",
        reference=rows_over_bias,
        cases=_layers,
        wrong=(
            (_rows_with_silent_neurons, "A neuron that saw nothing has 0 / 0, which is NaN. Leave such neurons out."),
            (_rows_times_bias, "You multiplied. The row is the picture times the bias's number: divide."),
            (_bias_over_rows, "The fraction is upside down: the row by the bias."),
            (_rows_alone, "You returned the rows as they are: each is a picture times the number in `bias`."),
            (_rows_over_size, "You divided by the size alone, so that some pictures come out as negatives."),
            (_positive_neurons_alone, "Neurons whose bias went down saw the picture, too."),
            (_columns_over_bias, "You divided column by column. Each ROW belongs to a neuron: `bias[:, None]`."),
        ),
        hints=(
            "A row is the picture times a number. Where does that very number stand alone?",
            "Keep the neurons whose bias has moved, and divide each row by its own bias.",
            "moved = bias != 0\nreturn weight[moved] / bias[moved][:, …]",
        ),
        another="Without a mask, with the numbers of the neurons:\n\n"
        "    moved = bias.nonzero()[:, 0]\n"
        "    return (weight[moved].T / bias[moved]).T\n\n"
        "Transposed, rows are columns, and a division goes along them by itself.",
    ),
    Exercise(
        id="04.2",
        title="The label rule",
        reference=label_of,
        cases=_slopes,
        wrong=(
            (_label_largest, "That is the class that the model believed in most among the wrong ones."),
            (_label_least_size, "The size alone does not tell: look at the sign."),
            (_label_mask, "You returned which entries are negative. The number of the class is asked for."),
            (_label_value, "You returned the entry itself. Its place is the class: `argmin`."),
            (_label_of_columns, "You looked down the columns. Every ROW is a message: `dim=1`."),
            (_label_of_all, "You looked for one place in all messages together: `dim=1`."),
        ),
        hints=(
            "A share is above 0 and below 1. What is left of it if you take 1 away, and what if you take 0 away?",
            "One entry of each row is negative: return its place.",
            "return slopes.argmin(dim=…)",
        ),
    ),
    Exercise(
        id="04.3",
        title="The matching loss",
        reference=matching,
        cases=_guesses,
        wrong=(
            (
                _matching_without_graph,
                "The gradient was computed without `create_graph=True`, so it does not know that it depends on x.",
            ),
            (_matching_mean, "You took the mean. The loss is the sum of the squares."),
            (_matching_length, "You took the length of the difference. The loss is its square."),
            (_matching_half, "You halved the loss. Here it is the plain sum of the squares."),
            (_matching_sum, "You added the differences up without squaring: they cancel."),
            (_matching_the_network, "The slope is that of the network's loss. That of the matching loss is asked for."),
        ),
        hints=(
            "Which two derivatives are there, and of what with respect to what?",
            "First the gradient of the network's loss with respect to params, with create_graph=True. Then the slope "
            "of the squared distance to the target with respect to x.",
            "(own,) = torch.autograd.grad(loss, params, create_graph=True)\n"
            "distance = (own - target).square().sum()\n"
            "(slope,) = torch.autograd.grad(distance, …)",
        ),
        tolerance=1e-6,
    ),
    Exercise(
        id="04.4",
        title="A search that knows when it fails",
        reference=search,
        cases=_searches,
        wrong=(
            (_search_last, "You returned where the search ended. It has been at a better place: keep the best."),
            (_search_last_picture, "The loss is that of the best picture, and the picture is the last one."),
            (_search_blind, "You never say that a search diverged. Compare where it ended with where it began."),
            (_search_for_nan_alone, "A search may run off to finite numbers: a higher loss than at the start counts."),
            (_search_for_rise_alone, "A loss that is not finite is a divergence, too. `nan > 1` is False."),
            (_search_against_best, "Diverged means worse than the START. Most searches end a little above their best."),
            (_search_without_start, "The start is a picture like any other, and may be the best one."),
        ),
        hints=(
            "What do you have to remember while the search goes on, and what do you compare at its end?",
            "Begin with best = start. After each step: stop if the loss is not finite; keep the picture if lower.",
            "for _ in range(iterations):\n    x = step(x)\n    loss = loss_of(x)\n    if not math.isfinite(loss):\n"
            "        return best, least, True\n    if loss < least:\n        …\nreturn best, least, loss > began",
        ),
    ),
    Exercise(
        id="04.5",
        title="Total variation",
        reference=total_variation,
        cases=_grainy,
        wrong=(
            (_variation_signed, "The differences have signs and cancel. Take their size: `.abs()`."),
            (_variation_squared, "You squared. That punishes an edge more than grain; the size alone is asked for."),
            (_variation_down_alone, "You compared lines only. Columns have neighbours as well."),
            (_variation_across_alone, "You compared columns only. Lines have neighbours as well."),
            (_variation_round_the_edge, "The last line is no neighbour of the first one: do not roll."),
            (_variation_of_colours, "Dimension 1 holds the colours. Lines are dimension 2, columns dimension 3."),
            (_variation_of_all, "You averaged over the pictures. Each has a number of its own."),
            (_variation_summed, "You took sums. The means do not grow with the picture."),
        ),
        hints=(
            "How do you get every pixel's difference to the pixel below, all at once?",
            "Shift by slicing: all lines but the first minus all lines but the last. The same for columns.",
            "down = (x[:, :, 1:] - x[:, :, :-1]).abs().flatten(1).mean(dim=1)\nacross = …\nreturn down + across",
        ),
        another="`torch.diff` slices for you:\n\n"
        "    down = x.diff(dim=2).abs().mean(dim=(1, 2, 3))\n"
        "    across = x.diff(dim=3).abs().mean(dim=(1, 2, 3))\n"
        "    return down + across\n\n"
        "Anything that has a slope can be added to the loss of a search.",
    ),
)
