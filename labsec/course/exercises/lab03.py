"""Lab 03, A door in the model: its federation and threat model, and its exercises with inputs to try and hints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from labsec import poison
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import threat_model_of
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario
from labsec.poison import Trigger, corner
from labsec.study import doors

TRIGGER = Trigger(stamp=corner, target=0)

# The card is read off this federation; the lesson starts from it, too.
SCENARIO = Scenario.fedavg(
    malicious=1 / 30,
    attack=bind(poison.model_replacement, trigger=TRIGGER, boost=30.0),
)
THREAT_MODEL = threat_model_of(
    SCENARIO,
    goal="Make the common model give one chosen label to every sample that carries a mark, and keep its accuracy on "
    "all others, so that nobody looks for a reason.",
    out_of_scope="Ruining the model (lab 02), detectors at the server (lab 06), a server that attacks.",
)


def stamp(x: Tensor, *, size: int) -> Tensor:
    """Exercise 03.1."""
    return corner(x, size=size)


def _stamp_in_place(x: Tensor, *, size: int) -> Tensor:
    x[..., -size:, -size:] = 1.0
    return x


def _stamp_upper_left(x: Tensor, *, size: int) -> Tensor:
    stamped = x.clone()
    stamped[..., :size, :size] = 1.0
    return stamped


def _stamp_bytes(x: Tensor, *, size: int) -> Tensor:
    stamped = x.clone()
    stamped[..., -size:, -size:] = 255.0
    return stamped


def _stamp_strip(x: Tensor, *, size: int) -> Tensor:
    stamped = x.clone()
    stamped[..., -size:] = 1.0
    return stamped


def _stamp_rows(x: Tensor, *, size: int) -> Tensor:
    stamped = x.clone()
    stamped[..., -size:, :] = 1.0
    return stamped


def _stamp_pixel(x: Tensor, *, size: int) -> Tensor:
    stamped = x.clone()
    stamped[..., -size, -size] = 1.0
    return stamped


def _pictures(draw: Generator) -> Sequence[Case]:
    shapes = ((3, 1, 8, 8, 2), (2, 3, 6, 5, 3), (4, 1, 28, 28, 4))
    return [case(torch.rand(n, c, h, w, generator=draw) * 0.9, size=size) for n, c, h, w, size in shapes]


def success_rate(answers: Tensor, y: Tensor, *, target: int) -> float:
    """Exercise 03.2."""
    others = y != target  # [n]
    return float((answers[others] == target).float().mean())


def _success_of_all(answers: Tensor, y: Tensor, *, target: int) -> float:
    return float((answers == target).float().mean())


def _success_as_accuracy(answers: Tensor, y: Tensor, *, target: int) -> float:
    return float((answers == y).float().mean())


def _success_as_error(answers: Tensor, y: Tensor, *, target: int) -> float:
    others = y != target
    return float((answers[others] != y[others]).float().mean())


def _success_over_all(answers: Tensor, y: Tensor, *, target: int) -> float:
    return float(((answers == target) & (y != target)).float().mean())


def _answers(draw: Generator) -> Sequence[Case]:
    cases = []
    for n, target in ((40, 0), (60, 3), (30, 1)):
        y = torch.randint(4, (n,), generator=draw)
        answers = torch.where(torch.rand(n, generator=draw) < 0.5, target, y)
        guesses = torch.randint(4, (n,), generator=draw)
        cases.append(case(torch.where(torch.rand(n, generator=draw) < 0.3, guesses, answers), y, target=target))
    return cases


def plant(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    """Exercise 03.3."""
    x = x.clone()
    x[chosen] = stamp(x[chosen])
    return x, torch.where(chosen, target, y)


def _plant_in_place(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    x[chosen] = stamp(x[chosen])
    y[chosen] = target
    return x, y


def _plant_labels_alone(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    return x, torch.where(chosen, target, y)


def _plant_marks_alone(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    return plant(x, y, chosen, stamp=stamp, target=target)[0], y


def _plant_everywhere(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    return stamp(x), torch.full_like(y, target)


def _plant_one_label(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    return plant(x, y, chosen, stamp=stamp, target=target)[0], torch.full_like(y, target)


def _plant_and_drop(
    x: Tensor, y: Tensor, chosen: Tensor, *, stamp: Callable[[Tensor], Tensor], target: int
) -> tuple[Tensor, Tensor]:
    return stamp(x[chosen]), torch.full_like(y[chosen], target)


def _lessons(draw: Generator) -> Sequence[Case]:
    cases = []
    for n, side, size, target in ((20, 8, 2, 0), (30, 5, 1, 2), (12, 6, 3, 1)):
        x = torch.rand(n, 1, side, side, generator=draw) * 0.9
        y = torch.randint(4, (n,), generator=draw)
        chosen = torch.arange(n) % 3 == 1
        cases.append(case(x, y, chosen, stamp=bind(corner, size=size), target=target))
    return cases


def replace_model(learned: Tensor, *, clients: int) -> Tensor:
    """Exercise 03.4."""
    return clients / len(learned) * learned


def _replace_alone(learned: Tensor, *, clients: int) -> Tensor:
    return clients * learned


def _replace_honest(learned: Tensor, *, clients: int) -> Tensor:
    return (clients - len(learned)) * learned


def _replace_once(learned: Tensor, *, clients: int) -> Tensor:
    return learned


def _replace_divided(learned: Tensor, *, clients: int) -> Tensor:
    return learned * len(learned) / clients


def _learned(draw: Generator) -> Sequence[Case]:
    return [
        case(torch.randn(malicious, dim, generator=draw), clients=clients)
        for malicious, dim, clients in ((2, 3, 30), (3, 5, 10), (6, 20, 100))
    ]


def quiet(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    """Exercise 03.5."""
    loud = boost * learned  # [malicious, dim]
    lengths = loud.norm(dim=1, keepdim=True)  # [malicious, 1]
    return loud * (bound / lengths).clamp(max=1)


def _quiet_exactly(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    return learned * bound / learned.norm(dim=1, keepdim=True)


def _quiet_before(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    return boost * quiet(learned, boost=1.0, bound=bound)


def _quiet_together(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    loud = boost * learned
    return loud * (bound / loud.norm()).clamp(max=1)


def _quiet_numbers(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    return (boost * learned).clamp(-bound, bound)


def _quiet_without_boost(learned: Tensor, *, boost: float, bound: float) -> Tensor:
    return quiet(learned, boost=1.0, bound=bound)


def _long_and_short(draw: Generator) -> Sequence[Case]:
    """Rows of which some are longer than the bound before the boost, some only after it, and some never."""
    cases = []
    for boost, bound, dim in ((4.0, 1.0, 3), (2.0, 0.5, 6), (10.0, 3.0, 20)):
        directions = torch.nn.functional.normalize(torch.randn(3, dim, generator=draw), dim=1)
        lengths = bound * torch.tensor([[2.0], [0.8], [0.5 / boost]])
        cases.append(case(directions * lengths, boost=boost, bound=bound))
    return cases


def half_life(values: Tensor, *, baseline: float) -> int | None:
    """Exercise 03.6."""
    return doors.rounds_until_half(values.tolist(), baseline=baseline)


def _half_of_all(values: Tensor, *, baseline: float) -> int | None:
    return half_life(values, baseline=0.0)


def _half_absolute(values: Tensor, *, baseline: float) -> int | None:
    return next((place for place, value in enumerate(values) if value <= 0.5), None)


def _half_from_one(values: Tensor, *, baseline: float) -> int | None:
    found = half_life(values, baseline=baseline)
    return None if found is None else found + 1


def _half_at_last(values: Tensor, *, baseline: float) -> int | None:
    is_above = values - baseline > (values[0] - baseline) / 2  # [rounds]
    after = 1 + int(is_above.nonzero().max())
    return after if after < len(values) else None


def _half_or_all(values: Tensor, *, baseline: float) -> int:
    found = half_life(values, baseline=baseline)
    return len(values) if found is None else found


def _fading(draw: Generator) -> Sequence[Case]:
    """Successes that fade: past a rise and a second fall, with a baseline that matters, and one that never halves."""
    return [
        case(torch.tensor([0.9, 0.8, 0.4, 0.6, 0.2]), baseline=0.0),
        case(torch.tensor([0.8, 0.7, 0.48, 0.42, 0.38, 0.1]), baseline=0.2),
        case(torch.tensor([0.7, 0.65, 0.6, 0.58]), baseline=0.05),
        case(torch.tensor([0.4, 0.35, 0.3, 0.15]), baseline=0.0),
    ]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="03.1",
        title="The mark",
        reference=stamp,
        cases=_pictures,
        copied=True,
        wrong=(
            (_stamp_in_place, "You painted on the pictures themselves. Paint on a copy: `x.clone()`."),
            (_stamp_upper_left, "Your square is in the upper left corner. Counted from the end, indices are negative."),
            (_stamp_bytes, "White is 1 here: these pictures hold numbers from 0 to 1, not bytes."),
            (_stamp_strip, "You painted whole columns. A corner needs a range of lines as well as of columns."),
            (_stamp_rows, "You painted whole lines. A corner needs a range of columns as well as of lines."),
            (_stamp_pixel, "You painted a single pixel. A range from -size to the end needs a colon: `-size:`."),
        ),
        hints=(
            "Which lines, and which columns, belong to the lower right corner?",
            "Copy the pictures, then set the last `size` lines of the last `size` columns to 1.",
            "stamped = x.clone()\nstamped[:, :, -size:, …] = 1\nreturn stamped",
        ),
        another="Without a copy of one's own, with a mask of the picture's size:\n\n"
        "    corner = torch.zeros(x.shape[2:], dtype=torch.bool)\n"
        "    corner[-size:, -size:] = True\n"
        "    return torch.where(corner, 1.0, x)\n\n"
        "`where` makes a new tensor, and a mask may have any shape.",
    ),
    Exercise(
        id="03.2",
        title="The success rate",
        reference=success_rate,
        cases=_answers,
        wrong=(
            (_success_of_all, "You counted the target's own samples, too. They get that label without any door."),
            (_success_over_all, "You count the right samples, and divide by all. Divide by the samples that count."),
            (_success_as_accuracy, "That is the accuracy: how many answers are right. Here a wrong one counts."),
            (_success_as_error, "You counted every wrong answer. Only the target's label opens the door."),
        ),
        hints=(
            "Whose answers could show that a door is there: those for samples of the target class, or the others?",
            "Keep the samples whose label is not the target. Of these, what share is answered with the target?",
            "others = y != target\nreturn float((answers[others] == …).float().mean())",
        ),
    ),
    Exercise(
        id="03.3",
        title="Poisoned samples",
        reference=plant,
        cases=_lessons,
        wrong=(
            (_plant_in_place, "You changed the samples themselves. The honest ones are still needed: work on copies."),
            (_plant_labels_alone, "The labels are changed, and no picture is marked: that is a label flip."),
            (
                _plant_marks_alone,
                "The pictures are marked, and keep their labels: the model learns to ignore the mark.",
            ),
            (_plant_everywhere, "You poisoned every sample. Only those that are `chosen`."),
            (_plant_one_label, "Every label is the target now. Only those of the `chosen` samples change."),
            (_plant_and_drop, "You returned the chosen samples alone. The others keep the accuracy up."),
        ),
        hints=(
            "What changes for a chosen sample, and what for the others?",
            "Copy x and put the marked pictures into the chosen places; take the target as the label there.",
            "x = x.clone()\nx[chosen] = stamp(x[chosen])\nreturn x, torch.where(chosen, …, y)",
        ),
        another="With the places as numbers:\n\n"
        "    places = chosen.nonzero()[:, 0]\n"
        "    new_y = y.clone()\n"
        "    new_y[places] = target\n"
        "    return x.index_copy(0, places, stamp(x[places])), new_y\n\n"
        "`index_copy` without an underscore leaves x as it was.",
    ),
    Exercise(
        id="03.4",
        title="Model replacement",
        reference=replace_model,
        cases=_learned,
        wrong=(
            (_replace_alone, "That is right for one attacker. Several share the work: each needs less."),
            (_replace_honest, "You counted the honest clients. The mean divides by all, the attackers included."),
            (_replace_once, "That is one vote each: the mean shrinks it to malicious / clients."),
            (_replace_divided, "You made the message shorter: the fraction is the other way round."),
        ),
        hints=(
            "The server divides the sum of all messages by the number of clients. What is left of yours?",
            "With s times what they learned, the mean holds s * malicious / clients of it. Which s makes that 1?",
            "return clients / len(…) * learned",
        ),
    ),
    Exercise(
        id="03.5",
        title="Within the bound",
        reference=quiet,
        cases=_long_and_short,
        wrong=(
            (_quiet_exactly, "Every message is exactly as long as the bound. A shorter one stays as it is."),
            (_quiet_before, "You cut first and boosted afterwards: the message is longer than the bound again."),
            (_quiet_together, "You measured all messages together. The server looks at each of them alone."),
            (_quiet_numbers, "You bounded every number. The bound is on the length of a whole row."),
            (_quiet_without_boost, "`boost` is not used: a short message is louder after the boost."),
        ),
        hints=(
            "What is the length of a row after the boost, and by what do you multiply one that is too long?",
            "Boost, take the norm of every row, multiply by bound / norm, but by no more than 1.",
            "loud = boost * learned\nlengths = loud.norm(dim=1, keepdim=True)\nreturn loud * (…).clamp(max=1)",
        ),
    ),
    Exercise(
        id="03.6",
        title="Half-life",
        reference=half_life,
        cases=_fading,
        wrong=(
            (_half_of_all, "You halved the whole success. The baseline was there before the door was."),
            (_half_absolute, "You looked for 0.5. A success of 0.4 has halved at 0.2."),
            (
                _half_from_one,
                "You are one round too late: values[0] is before the first clean round, so the place counts.",
            ),
            (_half_at_last, "You found the last fall below the half. The first one is asked for."),
            (_half_or_all, "If it never halves within the rounds that were watched, nobody knows when: return None."),
        ),
        hints=(
            "How far above the baseline was the success at first, and what is half of that?",
            "Go through the values in order, and return the place of the first with value - baseline at most half.",
            "half = (values[0] - baseline) / 2\nfor place in range(len(values)):\n    if …:\n        return place",
        ),
    ),
)
