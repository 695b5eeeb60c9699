"""Lab 07: that its exercises say what the laboratory says, and that its sentences about mistakes and risks are true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from labsec import bind, infer, invert, privacy, run
from labsec.course import exercises
from labsec.course.checking import judge
from labsec.course.exercises import lab07 as answers
from labsec.course.panels import lab07_pictures as pictures
from labsec.infer import broken
from labsec.types import generator

RIGHT_IN_ANOTHER_STYLE: dict[str, Callable[..., Any]] = {
    "07.1": lambda updates, *, bound: torch.renorm(updates, p=2, dim=0, maxnorm=bound),
    "07.2": lambda updates, *, clip, noise, generator: (
        (
            torch.renorm(updates, 2, 0, clip).sum(0)
            + torch.normal(0.0, noise * clip, (updates.shape[1],), generator=generator)
        )
        / updates.shape[0]
    ),
    "07.3": lambda noises, *, relation: torch.rsqrt(((2 if relation == "replace-one" else 1) / noises).square().sum()),
    "07.4": lambda noises, *, least: sum(
        answers.together(noises[: t + 1], relation="zero-out") >= least for t in range(len(noises))
    ),
    "07.5": lambda with_canary, without, *, threshold, delta: max(
        torch.tensor(0.0),
        (infer.rate(int((with_canary > threshold).sum()), len(with_canary)).low - torch.tensor(delta)).log()
        - torch.tensor(infer.rate(int((without > threshold).sum()), len(without)).high).log(),
    ),
    "07.6": lambda messages, expected: torch.stack([(expected - row).norm(dim=1).argmin() for row in messages]),
}
ONE_ROUND = {"unit": "client", "delta": 1e-5, "rate": 1.0, "rounds": 1}


def terms(**changes: Any) -> privacy.Accountant:
    return privacy.Accountant(**{**ONE_ROUND, "relation": "zero-out", **changes})


@pytest.mark.parametrize("number", RIGHT_IN_ANOTHER_STYLE)
def test_a_right_answer_in_another_style_passes(number: str) -> None:
    verdict = judge(exercises.find(number), RIGHT_IN_ANOTHER_STYLE[number])
    assert verdict.state == "PASS", verdict.rows


def test_the_clip_is_that_of_the_laboratory() -> None:
    for each in exercises.find("07.1").drawn_cases():
        torch.testing.assert_close(
            answers.shortened(*each.args, **each.kwargs), privacy.clip(*each.args, **each.kwargs)
        )


def test_the_noisy_mean_is_that_of_the_laboratory() -> None:
    """From the same generator both draw the same noise."""
    for mine, theirs in zip(exercises.find("07.2").drawn_cases(), exercises.find("07.2").drawn_cases(), strict=True):
        said = privacy.noisy_mean(*theirs.args, **theirs.kwargs)
        torch.testing.assert_close(answers.noisy_mean(*mine.args, **mine.kwargs), said)


@pytest.mark.parametrize(
    ("mistake", "factor"),
    [
        (answers.noisy_mean, 1.0),
        (answers._noise_on_every_row, sqrt(25)),
        (answers._noise_on_the_mean, 25.0),
        (answers._noise_divided_twice, 1 / 25),
        (answers._noise_in_no_unit, 2.0),
    ],
)
def test_a_mistake_makes_as_much_noise_as_its_sentence_says(mistake: Callable[..., Tensor], factor: float) -> None:
    """25 clients that send nothing, clip 0.5, multiplier 3: the right noise on the mean is 3 * 0.5 / 25."""
    noise = mistake(torch.zeros(25, 20_000), clip=0.5, noise=3.0, generator=Generator().manual_seed(0))
    assert float(noise.std()) == pytest.approx(factor * 3 * 0.5 / 25, rel=0.03)


def test_one_number_everywhere_and_a_seed_used_again_cancel_in_a_difference() -> None:
    rows = torch.zeros(4, 30)
    draw = Generator().manual_seed(0)
    same = answers._noise_of_one_number(rows, clip=1.0, noise=5.0, generator=draw)
    assert float((same - same[0]).abs().max()) == 0.0
    first, second = (answers._noise_from_a_seed(rows, clip=1.0, noise=5.0, generator=draw) for _ in range(2))
    assert torch.equal(first, second)
    first, second = (answers.noisy_mean(rows, clip=1.0, noise=5.0, generator=draw) for _ in range(2))
    assert float((first - second).abs().max()) > 0.5


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
def test_one_round_of_the_number_for_a_run_gives_away_what_the_accountant_says_of_the_run(relation: str) -> None:
    whole = answers.together(torch.full((50,), 7.64), relation=relation)
    fifty = terms(rounds=50, relation=relation)
    assert terms().epsilon(whole) == pytest.approx(fifty.epsilon(7.64), rel=1e-5)


def test_rounds_of_unlike_noise_cost_what_a_budget_charges(tmp_path: Path) -> None:
    noises = torch.tensor([4.0, 7.0, 5.0, 20.0])
    fixed = {"unit": "client", "delta": 1e-5, "relation": "replace-one", "people": 100}
    budget = privacy.Budget(tmp_path / "books.sqlite", **fixed, epsilon=100.0)
    for noise in noises.tolist():
        budget.charge(noise=noise)
    assert terms().epsilon(answers.together(noises, relation="replace-one")) == pytest.approx(budget.spent(), rel=1e-5)


def test_as_many_rounds_run_as_the_exercise_counts(tmp_path: Path) -> None:
    """A federation whose budget is asked before every round; the round that is refused is not run."""
    noise = 15.0
    fixed = {"unit": "client", "delta": 1e-5, "relation": "replace-one", "people": 100}
    budget = privacy.Budget(tmp_path / "books.sqlite", **fixed, epsilon=1.0)
    charged = bind(privacy.charge_round, budget=budget, noise=noise)
    least = terms().noise_for(1.0)
    count = answers.rounds_that_fit(torch.full((50,), noise / 2), least=least)
    with pytest.raises(privacy.BudgetExceeded):
        run(replace(answers.SCENARIO, broadcast=charged))
    assert len(budget.rows()) == count
    assert 0 < count < 50


def scores(rule: Callable[..., Tensor], canary: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Runs with the canary and without it, beside nine clients that send nothing."""
    draw = generator(seed, "trials")
    both = []
    for first in (canary, torch.zeros_like(canary)):
        rows = torch.cat([first[None], torch.zeros(9, len(canary))])
        both.append(torch.stack([rule(rows, generator=draw) @ canary for _ in range(count)]))
    return both[0], both[1]


def test_the_bound_of_the_exercise_seldom_exceeds_the_truth_and_finds_a_broken_mechanism() -> None:
    """Scores of a Gaussian with ε = 1 by the formula; a bound that holds with 95 % fails in few of 200 draws."""
    noise = terms().noise_for(1.0)
    draw = generator(0, "gauss")
    failed = 0
    for _ in range(200):
        present = 1 + noise * torch.randn(500, generator=draw)
        absent = noise * torch.randn(500, generator=draw)
        failed += answers.lower_bound(present, absent, threshold=0.5 + noise, delta=1e-5) > 1.0
    assert failed <= 10
    canary = torch.full((20,), 10.0)
    twice = bind(broken.divided_twice, clip=1.0, noise=noise)
    present, absent = scores(twice, canary, 500, seed=1)
    assert answers.lower_bound(present, absent, threshold=float(absent.max()), delta=1e-5) > 2.0


def test_an_audit_of_the_exercises_mechanism_stays_below_what_it_states() -> None:
    canary = torch.full((20,), 10.0)
    case = {"rows": torch.zeros(9, 20), "canary": canary, "stated": 4.0, "delta": 1e-5, "trials": 500, "rounds": 1}
    for relation in ("zero-out", "replace-one"):
        mine = bind(answers.noisy_mean, clip=1.0, noise=terms(relation=relation).noise_for(4.0))
        found = infer.audit(mine, **case, relation=relation, generator=generator(0, relation))
        assert 0 < found.low <= 4.0


def test_a_canary_on_one_number_does_not_see_that_numbers_are_clipped_and_one_on_all_does() -> None:
    rule = bind(broken.clipped_by_coordinate, clip=1.0, noise=terms().noise_for(4.0))
    case = {"rows": torch.zeros(9, 50), "stated": 4.0, "relation": "zero-out", "rounds": 1, "delta": 1e-5}
    caught = [
        infer.audit(rule, **case, canary=canary, trials=500, generator=generator(0)).caught
        for canary in (torch.zeros(50).index_fill(0, torch.tensor(0), 100.0), torch.full((50,), 100 / sqrt(50)))
    ]
    assert caught == [False, True]


def test_the_nearest_candidate_is_the_most_likely_one_in_normal_noise() -> None:
    for each in exercises.find("07.6").drawn_cases():
        messages, expected = each.args
        likely = torch.distributions.Normal(expected, 0.5).log_prob(messages[:, None]).sum(dim=2).argmax(dim=1)
        assert torch.equal(answers.suspects(messages, expected), likely)


def test_among_candidates_of_one_length_suspects_are_those_of_the_laboratory() -> None:
    draw = Generator().manual_seed(2)
    expected = torch.nn.functional.normalize(torch.randn(30, 40, generator=draw), dim=1)
    messages = expected[:20] + 0.5 * torch.randn(20, 40, generator=draw)
    named = answers.suspects(messages, expected)
    assert torch.equal(named, invert.gallery(messages, expected, samples=1)[:, 0])
    assert 5 < int((named == torch.arange(20)).sum()) < 20


def test_epsilon_bounds_the_share_that_an_attacker_can_name() -> None:
    """One of ten by replace-one: right in at most e^ε / (e^ε + 9) of the messages, and here the attack is the best."""
    draw = Generator().manual_seed(3)
    noise = terms(relation="replace-one").noise_for(2.0)
    directions = torch.eye(10)
    who = torch.arange(10).repeat(400)
    messages = directions[who] + noise * torch.randn(len(who), 10, generator=draw)
    share = float((answers.suspects(messages, directions) == who).double().mean())
    assert 0.1 < share < exp(2) / (exp(2) + 9)


def test_the_card_is_that_of_clients_who_trust_nobody() -> None:
    assert "local_noise" in answers.THREAT_MODEL.visibility
    assert "Read, and follow the protocol" in answers.THREAT_MODEL.capability


def test_the_pictures_say_what_they_show() -> None:
    shown = pictures.bounds({"as written": 3.1, "no clip": 9.0}, 4.0, title="Two").alt
    assert "Stated: ε = 4" in shown
    assert "no clip 9.0" in shown
    assert "ε = 100 100%" in pictures.cliffs({"labels": {4.0: 0.2, 100.0: 1.0}}, title="One").alt
    assert "The rare class is 1." in pictures.by_class({"plain": [0.9, 0.8]}, rare=1, title="Two").alt
