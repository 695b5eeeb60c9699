"""The panel of lab 08: what is shown is read live, and agrees with the table beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from labsec import metrics
from labsec.course.panels import lab08
from labsec.study import compression

START: dict[str, Any] = {"method": "random-k", "strength": 3, "feedback": False, "observations": 1, "client": 0}


def last(**controls: Any) -> tuple[lab08.Squeezed, str]:
    values = START | controls
    *_, state = lab08.compute(**values)
    return state, lab08.reading(values, state)


def test_the_pictures_are_scored_as_they_are_shown() -> None:
    state, said = last()
    for picture, score in zip(state.found, state.scores, strict=True):
        assert float(metrics.psnr(picture[None], state.truth[None])) == pytest.approx(score)
    assert f"reads {state.scores[0]:.1f} dB, the adaptive one {state.scores[1]:.1f}." in said


def test_the_live_pictures_are_those_of_the_table() -> None:
    """The median over the three clients of seed 0 is the first row of the table."""
    scores = torch.tensor([last(client=client)[0].scores for client in range(3)])
    table = compression.load()
    chosen = (table["method"] == "random_k(keep=0.1)") & (table["observations"] == 1) & (table["seed"] == 0)
    for place, attacker in enumerate(("plain", "adaptive")):
        row = table[chosen & (table["attacker"] == attacker)]["median_psnr"].item()
        assert float(scores[:, place].median()) == pytest.approx(row, abs=0.6)


def test_more_copies_show_more_of_a_random_pattern_and_nothing_more_of_the_largest() -> None:
    once, _ = last(strength=5)
    often, said = last(strength=5, observations=50)
    assert often.scores[1] > once.scores[1] + 5
    assert "From 50 messages" in said
    assert last(method="top-k")[0].scores == last(method="top-k", observations=50)[0].scores


def test_feedback_is_said_and_counts_where_there_is_one() -> None:
    without, _ = last(method="top-k", strength=5)
    mended, said = last(method="top-k", strength=5, feedback=True)
    assert mended.accuracy > without.accuracy
    assert "with error feedback" in said
    never, said = last(method="SFSQ (our reading)", feedback=True)
    assert "feedback" not in said
    assert never.accuracy == last(method="SFSQ (our reading)")[0].accuracy


def test_harsher_is_shorter_but_for_signs() -> None:
    for method in ("top-k", "random-k", "QSGD"):
        sizes = [last(method=method, strength=strength)[0].bytes for strength in lab08.STRENGTHS]
        assert sizes == sorted(sizes, reverse=True)
    assert len({last(method="SFSQ (our reading)", strength=strength)[0].bytes for strength in (1, 5)}) == 1


def test_every_rate_of_the_panel_is_in_the_table() -> None:
    for family, (_, rates, _) in lab08.METHODS.items():
        assert len(rates) == len(lab08.STRENGTHS)
        for rate in rates:
            assert lab08._numbers(family, rate, 1, "plain")["bytes"] > 0


def test_idle_controls_are_idle_for_a_reason() -> None:
    panel = lab08.panel()
    panel.close()
    values = START | {"method": "sign"}
    assert panel.controls["strength"].idle(values) == "The sign has one rate alone."
    assert panel.controls["observations"].idle(values) == "Another copy is the same."
    assert panel.controls["feedback"].idle(START | {"method": "SFSQ (our reading)"}) == "SFSQ is right on average."
    assert not any(control.idle(START) for control in panel.controls.values() if control.idle)


def test_the_picture_fits_beside_the_controls() -> None:
    drawing = lab08.SqueezeDrawing()
    width, height = drawing.figure.get_size_inches()
    assert width <= 5.0
    assert height <= 4.4
    state, _ = last()
    drawing.update(START, state)
    drawing.figure.draw_without_rendering()
    for image in drawing.shown:
        box = image.get_window_extent()
        assert min(box.width, box.height) >= 96, "a picture must be large enough to be seen"
