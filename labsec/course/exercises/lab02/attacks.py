"""The attacks that learners of lab 02 build."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from labsec.course.exercises.base import Case, Exercise, case
from labsec.models import mlp
from labsec.poison.shared import all_send
from labsec.types import AttackerView


def label_flip(y: Tensor, classes: int) -> Tensor:
    """Exercise 02.1."""
    return classes - 1 - y


def _labels(draw: Generator) -> Sequence[Case]:
    return [case(torch.randint(classes, (n,), generator=draw), classes) for n, classes in ((9, 10), (12, 4), (7, 3))]


LABEL_FLIP = Exercise(
    id="02.1",
    title="Label flip",
    reference=label_flip,
    cases=_labels,
    wrong=(
        (lambda y, classes: classes - y, "Labels start at 0: label 0 became `classes`, a class that does not exist."),
        (lambda y, classes: (y + 1) % classes, "You moved every label up by one; the task reverses the scale."),
        (
            lambda y, classes: y.flip(0),
            "You reversed the order of the samples. Each sample keeps its place, its label changes.",
        ),
        (lambda y, classes: 9 - y, "9 is right for ten classes only. How do you say it with `classes`?"),
    ),
    another="As a table: the new label of each old one.\n\n"
    "    return torch.arange(classes).flip(0)[y]\n\n"
    "Longer, but any other exchange of labels is only another table.",
    hints=(
        "Write down what 0, 1 and 9 become when there are ten classes.",
        "Each pair adds up to the same number. Which one, for `classes` classes?",
        "return (classes - 1) - …",
    ),
)


def _views(draw: Generator) -> Sequence[AttackerView]:
    model = mlp((2,), 2, hidden=())
    return [
        AttackerView(
            round=0,
            params=torch.randn(model.dim, generator=draw),
            own=torch.randn(malicious, model.dim, generator=draw) + 0.5,
            others=torch.randn(7, model.dim, generator=draw) + 1.0,
            model=model,
            x=torch.rand(4, 2, generator=draw),
            y=torch.randint(2, (4,), generator=draw),
        )
        for malicious in (3, 2, 5)
    ]


def _scaled_views(draw: Generator) -> Sequence[Case]:
    return [case(view, scale=scale) for view, scale in zip(_views(draw), (3.0, 0.5, 10.0), strict=True)]


def sign_flip(view: AttackerView, *, scale: float) -> Tensor:
    """Exercise 02.2."""
    return -scale * view.own


def _flip_everybody(view: AttackerView, *, scale: float) -> Tensor:
    assert view.others is not None
    return -scale * torch.cat([view.own, view.others])


SIGN_FLIP = Exercise(
    id="02.2",
    title="Sign flip",
    reference=sign_flip,
    cases=_scaled_views,
    wrong=(
        (_flip_everybody, "It looks as if you flipped every client. Only `view.own` is yours to send."),
        (lambda view, *, scale: -view.own, "The direction is right. How loud is it? `scale` is not used."),
        (lambda view, *, scale: scale * view.own, "That is louder, and still helpful: the sign is missing."),
        (lambda view, *, scale: -scale * view.params, "You sent the negated model. An update is what *changed*."),
    ),
    hints=(
        "You may not change what the others send. What in `view` is yours?",
        "Take the honest update, negate it, make it longer.",
        "return -… * view.own",
    ),
)


def alie(view: AttackerView, *, z: float) -> Tensor:
    """Exercise 02.6."""
    return all_send(view, view.own.mean(dim=0) - z * view.own.std(dim=0))


def _alie_with_all(view: AttackerView, *, z: float) -> Tensor:
    assert view.others is not None
    return all_send(view, view.others.mean(dim=0) - z * view.others.std(dim=0))


def _alie_by_row(view: AttackerView, *, z: float) -> Tensor:
    return view.own - z * view.own.std(dim=0)


def _alie_one_number(view: AttackerView, *, z: float) -> Tensor:
    return all_send(view, view.own.mean(dim=0) - z * view.own.std())


def _deviations(draw: Generator) -> Sequence[Case]:
    return [case(view, z=z) for view, z in zip(_views(draw), (1.0, 0.3, 2.5), strict=True)]


ALIE = Exercise(
    id="02.6",
    title="A little is enough",
    reference=alie,
    cases=_deviations,
    wrong=(
        (_alie_by_row, "You shifted each update on its own. All attackers send the *same* row: the shifted mean."),
        (
            lambda view, *, z: all_send(view, view.own.mean(dim=0) + z * view.own.std(dim=0)),
            "You added the deviations. The task subtracts them.",
        ),
        (
            lambda view, *, z: all_send(view, view.own.mean(dim=0) - z * view.own.std(dim=0, correction=0)),
            "Your standard deviation divides by m. This one divides by m - 1, as `std` does by default.",
        ),
        (_alie_one_number, "You took one standard deviation over all numbers. Each coordinate has its own."),
        (_alie_with_all, "You read the honest clients' messages. Here the attackers know `view.own` alone."),
    ),
    another="With the number of malicious clients in sight:\n\n"
    "    row = view.own.mean(dim=0) - z * view.own.std(dim=0)\n"
    "    return row.repeat(len(view.own), 1)\n\n"
    "`repeat` writes the row once for each sender; `expand` shows one row many times, and needs `clone` before "
    "anybody changes it.",
    hints=(
        "How far may a value lie from the mean before it looks odd? That is measured for each coordinate.",
        "Mean over your clients minus z standard deviations over your clients, once for every coordinate.",
        "row = view.own.mean(dim=0) - z * view.own.std(dim=0)\nreturn row.expand_as(…).clone()",
    ),
)


def ipm(view: AttackerView, *, scale: float) -> Tensor:
    """Exercise 02.7."""
    return all_send(view, -scale * view.own.mean(dim=0))


def _ipm_unit(view: AttackerView, *, scale: float) -> Tensor:
    mean = view.own.mean(dim=0)
    return all_send(view, -scale * mean / mean.norm())


IPM = Exercise(
    id="02.7",
    title="Inner product manipulation",
    reference=ipm,
    cases=_scaled_views,
    wrong=(
        (sign_flip, "That is sign flip again: each client its own. Here all send the same row, made of the mean."),
        (_ipm_unit, "You set the length to `scale`. The length is `scale` times that of the mean."),
        (
            lambda view, *, scale: all_send(view, scale * view.own.mean(dim=0)),
            "Your row points where the honest mean points. Its inner product with it must be negative.",
        ),
    ),
    hints=(
        "Which direction has the most negative inner product with the mean of the honest updates?",
        "Estimate that mean by the mean of your own honest updates, negate it, scale it.",
        "row = -scale * view.own.mean(dim=0)\nreturn row.expand_as(…).clone()",
    ),
)
