"""Cards read well as HTML and as text; claims keep their rules."""

from __future__ import annotations

import pytest

from labsec.course import cards, exercises
from labsec.course.card import Card
from labsec.course.claims import MIME


def accuracy(seed):
    """Accuracy after some rounds."""
    return {"clean": 0.9 + 0.01 * seed, "attacked": 0.5}


def chance(seed):
    """A guess."""
    return 0.1


def better(measured, compared):
    return "held" if measured["clean"]["min"] > compared["chance"]["max"] else "did not hold"


def some_claim(**changes):
    arguments = {
        "statement": "It learns.",
        "measure": accuracy,
        "baseline": chance,
        "verdict": better,
        "seeds": range(5),
        "rule": "held if the worst run beats a guess",
    }
    return cards.claim("1", **{**arguments, **changes})


def test_a_card_escapes_what_it_shows():
    html = Card(symbol="!", title="<b>", body="a < b", rows={"<i>": "<u>"}, folded={"<s>": "<q>"})._repr_html_()
    assert not any(tag in html for tag in ("<b>", "<i>", "<u>", "<s>", "<q>"))
    assert "a &lt; b" in html


def test_a_card_is_text_where_there_is_no_html():
    bundle = Card(symbol="✓", title="Done", body="One.\nTwo.", rows={"a": "1", "bcd": "2"})._repr_mimebundle_()
    assert bundle["text/plain"].splitlines() == ["✓ Done", "  One.", "  Two.", "  a    1", "  bcd  2"]
    assert "text/html" in bundle


@pytest.mark.parametrize("lab", exercises.labs())
def test_every_lab_has_a_whole_threat_model(lab):
    card = cards.threat_model(lab)
    assert list(card.rows) == ["Goal", "Knowledge", "Capability", "Share", "Visibility", "Out of scope"]
    assert all(text.endswith(".") for text in card.rows.values())


def test_the_safety_notice_says_whose_systems():
    assert "own" in repr(cards.safety())


def test_a_claim_is_measured_for_every_seed_and_its_verdict_computed():
    bundle = some_claim()._repr_mimebundle_()
    record = bundle[MIME]
    assert record["verdict"] == "held"
    assert record["results"]["clean"] == {"mean": 0.92, "std": 0.0158, "min": 0.9, "max": 0.94}
    assert record["baseline_results"]["chance"]["mean"] == 0.1
    assert (record["kind"], record["seeds"], record["measured"]) == ("measured", 5, "Accuracy after some rounds")
    assert "held if the worst run beats a guess" in bundle["text/plain"]
    assert "0.9 … 0.94" in bundle["text/html"]


def test_a_claim_keeps_what_is_measured_apart_from_its_baseline():
    def damage(seed):
        "Points lost"
        return {"digits": 40.0}

    def clipped(seed):
        "Points lost behind a clip"
        return {"digits": 1.0}

    card = cards.claim(
        "8",
        statement="It hurts.",
        measure=damage,
        baseline=clipped,
        verdict=lambda *_: "held",
        seeds=range(5),
        rule="r",
    )
    assert "digits: 40 (" in card.rows["Measured"]
    assert "digits: 1 (" in card.rows["Baseline"]


def test_a_claim_can_fail():
    def no_better(seed):
        """Chance."""
        return {"clean": 0.05}

    assert "did not hold" in repr(some_claim(measure=no_better))


def test_a_claim_refuses_what_would_make_it_hollow():
    def undocumented(seed):
        return 0.0

    def sometimes(seed):
        """Breaks."""
        return float("nan") if seed == 3 else 0.0

    with pytest.raises(ValueError, match="at least 5 different seeds"):
        some_claim(seeds=[0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="undocumented needs a docstring"):
        some_claim(measure=undocumented)
    with pytest.raises(ValueError, match="sometimes is not finite for every seed"):
        some_claim(measure=sometimes)
    with pytest.raises(ValueError, match="must begin with 'held'"):
        some_claim(verdict=lambda measured, compared: "plausible")


def test_reading_and_source_checking_leave_records_too():
    book = cards.reading("2", statement="s", says="t", verdict="depends on the word", sources=["A book"])
    assert book._repr_mimebundle_()[MIME]["kind"] == "reading"
    hunt = cards.sources("3", statement="s", asked=["Who?"], found="Nobody.", verdict="cannot be tested, because so")
    assert hunt._repr_mimebundle_()[MIME]["kind"] == "exercise"
    with pytest.raises(ValueError, match="at least one source"):
        cards.reading("2", statement="s", says="t", verdict="held", sources=[])
    with pytest.raises(ValueError, match="at least one question"):
        cards.sources("3", statement="s", asked=[], found="", verdict="held")
    with pytest.raises(AttributeError, match="no attribute 'clam'"):
        _ = cards.clam
