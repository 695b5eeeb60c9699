"""Lab 03: what its panel shows, what its claims measure, and what its text says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from labsec.course.claims import lab03 as measures
from labsec.course.claims.base import Summary
from labsec.course.panels import lab03, lab03_pictures
from labsec.federation.history import History

START = {"malicious": 0.1, "boost": 3.0, "share": 0.5, "attacked": 15, "clip": False}


def last(**controls: Any) -> tuple[lab03.RunAndDoor, str]:
    values = START | controls
    *_, state = lab03.compute(**values)
    return state, lab03.reading(values, state)


def test_the_door_opens_while_the_accuracy_stays_and_outlives_the_attack() -> None:
    state, said = last()
    assert state.success[lab03.BEGINS - 1] < 0.02
    assert state.success[state.stops - 1] > 0.7
    assert state.success[-1] > 0.3
    assert min(state.accuracy) > min(state.clean) - 0.03
    assert "3 of 30 clients poison 50% and send 3 times, 15 rounds" in said


def test_nobody_sees_an_attack_before_it_begins_and_nobody_attacks_after_it_stops() -> None:
    quiet, _ = last(malicious=0.0)
    loud, _ = last(malicious=1 / 30, boost=30.0, attacked=1)
    assert loud.accuracy[: lab03.BEGINS] == quiet.accuracy[: lab03.BEGINS] == quiet.clean[: lab03.BEGINS]
    assert loud.stops == lab03.BEGINS + 1
    assert loud.success[lab03.BEGINS] > 0.8 > 0.3 > loud.success[lab03.BEGINS + 5]


def test_the_baseline_is_what_a_clean_model_says_to_the_mark() -> None:
    state, said = last(malicious=0.0)
    assert state.accuracy == state.clean
    assert said.startswith("Nobody attacks")
    assert f"in {state.success[-1]:.0%} of the cases: that is the baseline" in said
    nothing, _ = last(share=0.0)
    assert max(nothing.success) < 0.03, "the negative control: nothing is marked"


def test_a_clip_takes_the_volume_knob_away() -> None:
    loud, _ = last(malicious=1 / 30, boost=30.0, attacked=1, clip=True)
    assert max(loud.success) < 0.05
    assert loud.length > 50, "as it was sent, before the server cut it"


def test_the_answers_are_those_of_the_model_after_the_last_round() -> None:
    state, _ = last(malicious=0.0)
    plain, marked = state.answers
    assert plain == marked == list(lab03.SHOWN)
    poisoned, _ = last(malicious=0.3, boost=3.0)
    assert poisoned.answers[0] == list(lab03.SHOWN)
    assert poisoned.answers[1].count(0) >= 4


def test_names_at_the_ends_of_the_lines_do_not_touch() -> None:
    for one, other in ((0.96, 0.95), (0.1, 0.12), (1.0, 1.0)):
        heights = lab03._apart(one, other)
        assert abs(heights[0] - heights[1]) == pytest.approx(lab03.APART)
        assert max(heights) <= 1.0


# --- claims


def spread(ends: dict[str, tuple[float, float]]) -> dict[str, Summary]:
    return {name: Summary(mean=0, std=0, min=low, max=high, seeds=[low, high]) for name, (low, high) in ends.items()}


def test_claim_10_needs_a_success_and_an_accuracy_that_stays_in_every_seed() -> None:
    one, other, third = measures.OPENING
    works = spread({one: (50.0, 90.0), other: (70.0, 99.0), third: (70.0, 99.0)})
    cheap = {one: (0.0, 3.0), other: (1.0, 2.0), third: (0.0, 0.0)}
    assert measures.stays_and_works(works, spread(cheap)) == "held"
    dear = spread({**cheap, one: (0.0, 3.1)})
    assert measures.stays_and_works(works, dear) == f"depends on the attack: so for {other}; {third}"
    weak = spread(dict.fromkeys(measures.OPENING, (49.0, 90.0)))
    assert measures.stays_and_works(weak, spread(cheap)) == "did not hold"


def test_claim_11_asks_what_is_left_in_every_seed() -> None:
    first, *others = measures.LASTING
    lasts = dict.fromkeys(measures.LASTING, (50.0, 60.0))
    assert measures.persists(spread(lasts), {}) == "held"
    fades = {**lasts, **dict.fromkeys(others, (49.0, 99.0))}
    assert measures.persists(spread(fades), {}).endswith(f"persistent only for {first}")
    assert measures.persists(spread(dict.fromkeys(measures.LASTING, (0.0, 99.0))), {}) == "did not hold"


def test_a_gain_is_counted_beyond_the_clean_model_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def history(values: list[float]) -> History:
        return History([{"round": 60 + i, "door": value} for i, value in enumerate(values)], malicious=1)

    monkeypatch.setattr(measures, "clean", lambda seed: history([0.1, 0.2, 0.3]))
    monkeypatch.setattr(measures, "attacked", lambda seed, campaign, clean_rounds: history([0.0, 0.9, 0.7]))
    campaign = measures.Campaign(malicious=1, attack=lambda view: view.own, rounds=2, fields={})
    assert measures.gained(0, campaign, clean_rounds=0) == pytest.approx(70)
    assert measures.gained(0, campaign, clean_rounds=1) == pytest.approx(40)


def test_one_seed_of_claim_10_comes_out_as_the_lab_says() -> None:
    opened = measures.opened(10)
    paid = measures.paid(10)
    assert min(opened.values()) > 50
    assert paid["1 of 30, one round"] > 3 > max(paid["6 of 30, data alone"], paid["6 of 30, below a clip"])


# --- pictures


def test_the_pictures_say_what_they_show() -> None:
    rows = [{"round": i, "accuracy": 0.9, "door": value} for i, value in enumerate([0.0, 0.8, 0.4])]
    picture = lab03_pictures.lives(
        {"clean": History(rows[:1], malicious=0), "mine": History(rows, malicious=1)}, {"mine": 1}, title="A life"
    )
    assert "mine ends at 0.40, after 0.80 in its last round with an attack, 1" in picture.alt
    assert "clean ends at 0.00;" in picture.alt
    black = torch.zeros(2, 1, 4, 4)
    assert "0 of 16 pixels" in lab03_pictures.pairs(black, black, title="Nothing").alt
