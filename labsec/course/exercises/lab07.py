"""Lab 07, How much is ε?: its federation and threat model, and its exercises with inputs to try and hints."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec import privacy
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import threat_model_of
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario
from labsec.infer import rate

# The card, the panel and the lesson start from this federation, so that they speak of the same one. A hundred clients:
# noise at the server is shared among all of them.
CLIP = 0.5
SCENARIO = Scenario(clients=100, rounds=50, batch_size=13, evaluate_every=50)
THREAT_MODEL = threat_model_of(
    Scenario(clients=100, rounds=50, client_stages=(bind(privacy.local_noise, clip=CLIP, noise=1.0),)),
    goal="Find out what a client holds: its pictures, their labels, or whether one record was in the training at all. "
    "Whoever reads knows the clip, the noise and how both were chosen: everything but the numbers that were drawn.",
    out_of_scope="Clients and servers that break the protocol, and sums that nobody can look into (lab 09).",
)


def shortened(updates: Tensor, *, bound: float) -> Tensor:
    """Exercise 07.1."""
    lengths = updates.norm(dim=1, keepdim=True)  # [clients, 1]
    return updates * (bound / lengths).clamp(max=1)


def _shortened_by_number(updates: Tensor, *, bound: float) -> Tensor:
    return updates.clamp(-bound, bound)


def _shortened_and_stretched(updates: Tensor, *, bound: float) -> Tensor:
    return bound * F.normalize(updates, dim=1)


def _shortened_columns(updates: Tensor, *, bound: float) -> Tensor:
    return shortened(updates.T, bound=bound).T


def _shortened_together(updates: Tensor, *, bound: float) -> Tensor:
    return updates * (bound / updates.norm()).clamp(max=1)


def _shortened_by_square(updates: Tensor, *, bound: float) -> Tensor:
    return updates * (bound / updates.square().sum(dim=1, keepdim=True)).clamp(max=1)


def _shortened_by_sizes(updates: Tensor, *, bound: float) -> Tensor:
    return updates * (bound / updates.abs().sum(dim=1, keepdim=True)).clamp(max=1)


def _only_the_short(updates: Tensor, *, bound: float) -> Tensor:
    return updates * (updates.norm(dim=1, keepdim=True) <= bound)


def _long_and_short(draw: Generator) -> Sequence[Case]:
    """Rows of which some are shorter than the bound and some longer."""
    cases = []
    for clients, dim, bound in ((4, 3, 1.0), (5, 5, 0.5), (8, 20, 2.0)):
        directions = F.normalize(torch.randn(clients, dim, generator=draw), dim=1)
        lengths = bound * torch.linspace(0.3, 4.0, clients)[:, None]  # [clients, 1]
        cases.append(case(lengths * directions, bound=bound))
    return cases


def noisy_mean(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    """Exercise 07.2."""
    total = shortened(updates, bound=clip).sum(dim=0)  # [dim]
    drawn = torch.randn(total.shape, generator=generator)
    return (total + noise * clip * drawn) / len(updates)


def _noise_on_every_row(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    drawn = torch.randn(updates.shape, generator=generator)
    return (shortened(updates, bound=clip) + noise * clip * drawn).mean(dim=0)


def _noise_on_the_mean(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    mean = shortened(updates, bound=clip).mean(dim=0)
    return mean + noise * clip * torch.randn(mean.shape, generator=generator)


def _noise_divided_twice(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = shortened(updates, bound=clip).sum(dim=0)
    drawn = torch.randn(total.shape, generator=generator) / len(updates)
    return (total + noise * clip * drawn) / len(updates)


def _noise_without_a_clip(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = updates.sum(dim=0)
    return (total + noise * clip * torch.randn(total.shape, generator=generator)) / len(updates)


def _clip_of_the_sum(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = shortened(updates.sum(dim=0, keepdim=True), bound=clip)[0]
    return (total + noise * clip * torch.randn(total.shape, generator=generator)) / len(updates)


def _noise_in_no_unit(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = shortened(updates, bound=clip).sum(dim=0)
    return (total + noise * torch.randn(total.shape, generator=generator)) / len(updates)


def _noise_of_one_number(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = shortened(updates, bound=clip).sum(dim=0)
    return (total + noise * clip * torch.randn(1, generator=generator)) / len(updates)


def _noise_from_a_seed(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    total = shortened(updates, bound=clip).sum(dim=0)
    again = Generator().manual_seed(generator.initial_seed())
    return (total + noise * clip * torch.randn(total.shape, generator=again)) / len(updates)


def _noisy_sum(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    return len(updates) * noisy_mean(updates, clip=clip, noise=noise, generator=generator)


def _no_noise(updates: Tensor, *, clip: float, noise: float, generator: Generator) -> Tensor:
    return shortened(updates, bound=clip).mean(dim=0)


def _noisy_rounds(draw: Generator) -> Sequence[Case]:
    """Rows as for the clip, and a generator that has been drawn from before: a fresh one from its seed gives others."""
    cases = []
    for number, (each, noise) in enumerate(zip(_long_and_short(draw), (0.5, 1.5, 3.0), strict=True)):
        used = Generator().manual_seed(number)
        torch.randn(5, generator=used)
        cases.append(case(*each.args, clip=each.kwargs["bound"], noise=noise, generator=used))
    return cases


def together(noises: Tensor, *, relation: str) -> float:
    """Exercise 07.3."""
    whole = float(noises.square().reciprocal().sum().rsqrt())
    return whole / 2 if relation == "replace-one" else whole


def _together_added(noises: Tensor, *, relation: str) -> float:
    whole = float(1 / noises.reciprocal().sum())
    return whole / 2 if relation == "replace-one" else whole


def _together_one_relation(noises: Tensor, *, relation: str) -> float:
    return together(noises, relation="zero-out")


def _together_doubled(noises: Tensor, *, relation: str) -> float:
    whole = together(noises, relation="zero-out")
    return whole * 2 if relation == "replace-one" else whole


def _together_least(noises: Tensor, *, relation: str) -> float:
    whole = float(noises.min())
    return whole / 2 if relation == "replace-one" else whole


def _together_mean(noises: Tensor, *, relation: str) -> float:
    whole = float(noises.mean() / len(noises) ** 0.5)
    return whole / 2 if relation == "replace-one" else whole


def _together_grown(noises: Tensor, *, relation: str) -> float:
    whole = float(noises.square().sum().sqrt())
    return whole / 2 if relation == "replace-one" else whole


def _together_upside_down(noises: Tensor, *, relation: str) -> float:
    return 1 / together(noises, relation=relation)


def _together_squared(noises: Tensor, *, relation: str) -> float:
    whole = float(1 / noises.square().reciprocal().sum())
    return whole / 2 if relation == "replace-one" else whole


def _runs(draw: Generator) -> Sequence[Case]:
    """Runs of rounds with unlike noise, by both relations."""
    return [
        case(0.8 + 9 * torch.rand(rounds, generator=draw), relation=relation)
        for rounds, relation in ((3, "zero-out"), (5, "replace-one"), (50, "zero-out"), (20, "replace-one"))
    ]


def rounds_that_fit(noises: Tensor, *, least: float) -> int:
    """Exercise 07.4."""
    spent = noises.square().reciprocal().cumsum(dim=0)  # [rounds], after each
    return int((spent <= 1 / least**2).sum())


def _one_round_too_many(noises: Tensor, *, least: float) -> int:
    return min(rounds_that_fit(noises, least=least) + 1, len(noises))


def _each_round_by_itself(noises: Tensor, *, least: float) -> int:
    return int((noises >= least).sum())


def _rounds_added(noises: Tensor, *, least: float) -> int:
    return int((noises.reciprocal().cumsum(dim=0) <= 1 / least).sum())


def _all_or_none(noises: Tensor, *, least: float) -> int:
    return len(noises) if rounds_that_fit(noises, least=least) == len(noises) else 0


def _never_refused(noises: Tensor, *, least: float) -> int:
    return len(noises)


def _refused_rounds(noises: Tensor, *, least: float) -> int:
    return len(noises) - rounds_that_fit(noises, least=least)


def _plans(draw: Generator) -> Sequence[Case]:
    """Planned rounds with more and with less noise; a whole plan that fits is among them."""
    cases = []
    for rounds, least in ((6, 2.0), (20, 1.5), (8, 1.0), (40, 1.0)):
        noises = 3.0 + 4 * torch.rand(rounds, generator=draw)
        noises[rounds - 2] = 0.9 * least  # more than the whole budget, in one round
        cases.append(case(noises, least=least))
    noises = 10 + torch.rand(5, generator=draw)
    cases.append(case(noises, least=2.0))
    return cases


def lower_bound(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    """Exercise 07.5."""
    found = rate(int((with_canary > threshold).sum()), len(with_canary))
    alarms = rate(int((without > threshold).sum()), len(without))
    if found.low <= delta:
        return 0.0
    return max(0.0, log((found.low - delta) / alarms.high))


def _bound_of_shares(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    found = float((with_canary > threshold).double().mean())
    alarms = float((without > threshold).double().mean())
    return max(0.0, log((found - delta) / alarms))


def _bound_without_delta(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    return lower_bound(with_canary, without, threshold=threshold, delta=0.0)


def _bound_at_its_best(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    found = rate(int((with_canary > threshold).sum()), len(with_canary))
    alarms = rate(int((without > threshold).sum()), len(without))
    return max(0.0, log((found.high - delta) / alarms.low))


def _bound_upside_down(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    return lower_bound(without, with_canary, threshold=threshold, delta=delta)


def _bound_below_zero(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    found = rate(int((with_canary > threshold).sum()), len(with_canary))
    alarms = rate(int((without > threshold).sum()), len(without))
    return log((found.low - delta) / alarms.high)


def _bound_as_a_ratio(with_canary: Tensor, without: Tensor, *, threshold: float, delta: float) -> float:
    found = rate(int((with_canary > threshold).sum()), len(with_canary))
    alarms = rate(int((without > threshold).sum()), len(without))
    return max(0.0, (found.low - delta) / alarms.high)


def _trials(draw: Generator) -> Sequence[Case]:
    """Scores of runs with and without a canary: well apart, less so, and the same; some δ are large."""
    cases = []
    for trials, apart, threshold, delta in ((1000, 2.0, 1.5, 0.05), (400, 1.0, 1.0, 0.01), (300, 0.0, 0.5, 0.1)):
        with_canary = apart + torch.randn(trials, generator=draw)
        without = torch.randn(trials, generator=draw)
        cases.append(case(with_canary, without, threshold=threshold, delta=delta))
    return cases


def suspects(messages: Tensor, expected: Tensor) -> Tensor:
    """Exercise 07.6."""
    return torch.cdist(messages, expected).argmin(dim=1)


def _suspects_by_product(messages: Tensor, expected: Tensor) -> Tensor:
    return (messages @ expected.T).argmax(dim=1)


def _suspects_by_direction(messages: Tensor, expected: Tensor) -> Tensor:
    return (messages @ F.normalize(expected, dim=1).T).argmax(dim=1)


def _suspects_by_largest_gap(messages: Tensor, expected: Tensor) -> Tensor:
    return (messages[:, None] - expected).abs().amax(dim=2).argmin(dim=1)


def _suspects_farthest(messages: Tensor, expected: Tensor) -> Tensor:
    return torch.cdist(messages, expected).argmax(dim=1)


def _suspects_distances(messages: Tensor, expected: Tensor) -> Tensor:
    return torch.cdist(messages, expected).amin(dim=1)


def _messages_of_suspects(messages: Tensor, expected: Tensor) -> Tensor:
    return torch.cdist(messages, expected).argmin(dim=0)


def _noisy_messages(draw: Generator) -> Sequence[Case]:
    """Messages of some of the candidates, in noise; candidates are not equally long, and some lie along one line."""
    cases = []
    for messages, candidates, dim in ((6, 6, 12), (12, 20, 30), (30, 12, 40)):
        expected = F.normalize(torch.randn(candidates, dim, generator=draw), dim=1)
        expected *= torch.linspace(0.4, 3.0, candidates)[:, None]
        expected[0] = 0.5 * expected[-1]
        who = torch.randint(candidates, (messages,), generator=draw)
        who[0] = 0
        cases.append(case(expected[who] + 0.5 * torch.randn(messages, dim, generator=draw), expected))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="07.1",
        title="A bound on every client",
        reference=shortened,
        cases=_long_and_short,
        wrong=(
            (
                _shortened_by_number,
                "You bounded each number. A row of many numbers may still be long: bound its length.",
            ),
            (_shortened_and_stretched, "Every row is as long as the bound now. A shorter one stays as it is."),
            (_shortened_columns, "You shortened columns. A client is a row: `dim=1`."),
            (_shortened_together, "You measured all rows together. Each row has a length and a bound of its own."),
            (_shortened_by_square, "You divided by the squared length. A root is missing."),
            (_shortened_by_sizes, "That is the sum of the sizes (L1). The bound is on the length (L2): `norm`."),
            (_only_the_short, "A long row is not left out, it is made shorter."),
        ),
        hints=(
            "Which rows change, and by what is a row multiplied to be as long as the bound?",
            "Multiply every row by bound / length, but by 1 at most.",
            "lengths = updates.norm(dim=1, keepdim=True)\nreturn updates * (bound / lengths).clamp(max=…)",
        ),
        another="Row by row:\n\n"
        "    rows = []\n"
        "    for row in updates:\n"
        "        length = row.norm()\n"
        "        rows.append(row * bound / length if length > bound else row)\n"
        "    return torch.stack(rows)\n\n"
        "Slower, and closer to the sentence.",
    ),
    Exercise(
        id="07.2",
        title="The noise",
        reference=noisy_mean,
        cases=_noisy_rounds,
        wrong=(
            (
                _noise_on_every_row,
                "Every row got noise of its own, so the sum holds √n times as much. The server adds it once, to the "
                "sum.",
            ),
            (
                _noise_on_the_mean,
                "Noise came after the division: n times too much. `noise * clip` belongs to the sum.",
            ),
            (
                _noise_divided_twice,
                "The noise was divided twice: n times too little. No accuracy would ever tell you; an audit does.",
            ),
            (
                _noise_without_a_clip,
                "No row was shortened. Then one client may move the sum by any length, and no noise is enough.",
            ),
            (
                _clip_of_the_sum,
                "You shortened the sum. One client may still decide where it points: shorten each row.",
            ),
            (_noise_in_no_unit, "`noise` has no unit: it counts clips. The standard deviation is `noise * clip`."),
            (
                _noise_of_one_number,
                "One number was drawn and added everywhere. A difference of two coordinates is without noise: draw "
                "one for each.",
            ),
            (
                _noise_from_a_seed,
                "A fresh generator from the same seed draws the same noise in every round: a difference of two rounds "
                "is without noise. Go on with the generator that you got.",
            ),
            (_noisy_sum, "That is the sum. The mean is asked for."),
            (_no_noise, "There is no noise in it."),
        ),
        hints=(
            "By how much can one client change the sum once all rows are shortened? In what unit is `noise` then?",
            "Shorten the rows, add them up, add normal noise with a standard deviation of noise * clip, divide by n.",
            "total = shortened(updates, bound=clip).sum(dim=0)\ndrawn = torch.randn(total.shape, generator=generator)\n"
            "return (total + … * drawn) / len(updates)",
        ),
        another="With the noise drawn in place:\n\n"
        "    lengths = updates.norm(dim=1, keepdim=True)\n"
        "    rows = updates * (clip / lengths).clamp(max=1)\n"
        "    drawn = torch.empty(updates.shape[1]).normal_(0, noise * clip, generator=generator)\n"
        "    return rows.mean(dim=0) + drawn / len(updates)\n\n"
        "The noise is drawn for the sum, and then divided like the sum.",
    ),
    Exercise(
        id="07.3",
        title="One number for a run",
        reference=together,
        cases=_runs,
        wrong=(
            (
                _together_added,
                "You added the reciprocals. Noises of different rounds are independent, and averaging cancels only "
                "part of them: the *squares* add up, and T equal rounds leave 1/√T of the noise, not 1/T.",
            ),
            (
                _together_one_relation,
                "The relation changes nothing here. One row replaced by another moves the sum by two clips, not one.",
            ),
            (_together_doubled, "Twice the move is *half* the noise in units of the move, not twice."),
            (_together_least, "Only the worst round counts here. The others give something away as well."),
            (_together_mean, "That holds if all rounds have the same noise. Here they differ: add up, do not average."),
            (_together_grown, "More rounds give *more* noise here. An attacker who averages rounds sees through it."),
            (_together_upside_down, "That is the reciprocal: what was given away, not the noise that is left."),
            (_together_squared, "A root is missing."),
        ),
        hints=(
            "A round with noise z tells the attacker how far the mean moved, give or take z. How does one average "
            "measurements of different precision?",
            "Precisions add up: 1/z² of the whole is the sum of all 1/z². For replace-one, divide the noise by two.",
            "whole = (1 / noises**2).sum() ** …\nreturn whole / 2 if relation == … else whole",
        ),
        another="Round by round:\n\n"
        "    precision = 0.0\n"
        "    for noise in noises.tolist():\n"
        "        precision += 1 / noise**2\n"
        '    moved = 2 if relation == "replace-one" else 1\n'
        "    return 1 / (moved * precision**0.5)\n\n"
        "`precision` is what a budget would keep on file.",
    ),
    Exercise(
        id="07.4",
        title="A budget that refuses",
        reference=rounds_that_fit,
        cases=_plans,
        wrong=(
            (
                _one_round_too_many,
                "The round that breaks the budget ran, and was refused afterwards. What is sent cannot be called "
                "back: count it *before* it runs.",
            ),
            (
                _each_round_by_itself,
                "Every round was held against the whole budget by itself. Rounds add up.",
            ),
            (_rounds_added, "You added 1/z. The squares add up, so more rounds fit than this."),
            (_all_or_none, "The plan was refused as a whole. The rounds that fit may run."),
            (_never_refused, "Nothing was refused."),
            (_refused_rounds, "That is how many are refused. How many run?"),
        ),
        hints=(
            "What has the run given away after the first round, after the second, after the third?",
            "Take the running sum of 1/z² (`cumsum`), and count the rounds after which it is still at most 1/least².",
            "spent = (1 / noises**2).cumsum(dim=0)\nreturn int((spent <= …).sum())",
        ),
        another="As a budget does it, asked before every round:\n\n"
        "    spent = 0.0\n"
        "    for number, noise in enumerate(noises.tolist()):\n"
        "        if spent + 1 / noise**2 > 1 / least**2:\n"
        "            return number\n"
        "        spent += 1 / noise**2\n"
        "    return len(noises)\n\n"
        "It needs to remember one number between two rounds, and that has to survive a crash.",
    ),
    Exercise(
        id="07.5",
        title="The audit",
        reference=lower_bound,
        cases=_trials,
        wrong=(
            (
                _bound_of_shares,
                "These are the shares that you happened to see. With luck they prove anything: take `low` of the one "
                "and `high` of the other.",
            ),
            (
                _bound_without_delta,
                "δ is forgotten. The guarantee may fail with that chance, and what it explains proves nothing.",
            ),
            (
                _bound_at_its_best,
                "Both ends are on the wrong side: this is the most that luck allows. A bound has to hold in spite of "
                "luck.",
            ),
            (_bound_upside_down, "The ratio is upside down: divide found by false alarms."),
            (_bound_below_zero, "An ε below zero says nothing: then nothing is proven, and the bound is 0."),
            (_bound_as_a_ratio, "That is e to the ε. Take its logarithm."),
        ),
        hints=(
            "(ε, δ) promises: found ≤ e^ε · false alarms + δ. Solve it for ε.",
            "ε ≥ ln((found − δ) / false alarms). Take found as low and false alarms as high as luck allows, and 0 if "
            "that is below zero.",
            "found = rate(int((with_canary > threshold).sum()), len(with_canary)).low\nalarms = rate(…).high\n"
            "return max(0.0, math.log(…)) if found > delta else 0.0",
        ),
    ),
    Exercise(
        id="07.6",
        title="An attacker who knows about the noise",
        reference=suspects,
        cases=_noisy_messages,
        wrong=(
            (
                _suspects_by_product,
                "These are plain products: candidates with long messages win every time. Compare distances.",
            ),
            (
                _suspects_by_direction,
                "You compared directions. Two candidates may point the same way and differ in length: you know both.",
            ),
            (
                _suspects_by_largest_gap,
                "One number decided, the one that differs most, and that is where the noise is largest. Use all "
                "numbers.",
            ),
            (_suspects_farthest, "That is the candidate who is least likely."),
            (_suspects_distances, "These are distances. Which candidate is nearest?"),
            (_messages_of_suspects, "You asked for each candidate. Each *message* needs a suspect: `dim=1`."),
        ),
        hints=(
            "Noise is equally likely in every direction, and rarely long. Which candidate leaves the shortest rest?",
            "Compute all distances between messages and candidates, and take the nearest candidate of every message.",
            "return torch.cdist(messages, expected).arg…(dim=1)",
        ),
        another="With products, as a matched filter:\n\n"
        "    fit = messages @ expected.T - expected.square().sum(dim=1) / 2\n"
        "    return fit.argmax(dim=1)\n\n"
        "The squared distance without the part that is the same for all candidates.",
        bonus="Let several candidates be behind one message: what is left of it, once the best one is taken off? "
        "`invert.gallery` does it.",
    ),
)
