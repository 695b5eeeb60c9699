"""Cards read well as HTML and as text; a threat model follows its scenario."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labsec import Scenario, bind, poison, robust
from labsec.course import cards, exercises
from labsec.course.card import Card, blocks
from labsec.course.checking import Verdict, _verdict_card
from labsec.course.claims import MIME


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


def test_what_is_folded_holds_text_and_code():
    text = "Sum by\nmatrices:\n\n    share = w / w.sum()\n\n    return share @ updates\n\nOne product < two loops."
    page = blocks(text)
    assert page.count("<pre") == 1
    assert ">share = w / w.sum()\n\nreturn share @ updates</pre>" in page
    assert page.endswith("One product &lt; two loops.</p>")


def test_another_way_and_a_bonus_are_shown_once_an_answer_has_passed():
    task = replace(exercises.find("01.5"), another="Or:\n\n    return share @ updates", bonus="Try no weights.")
    passed = _verdict_card(task, Verdict("PASS"))
    assert passed.folded == {
        "Another way to write it, and why": "Or:\n\n    return share @ updates",
        "One step further": "Try no weights.",
    }
    assert "return share @ updates</pre>" in passed._repr_html_()
    assert "share" not in repr(passed)
    assert (
        "share @ updates" not in _verdict_card(task, Verdict("NOT YET", {"Got": "1"}))._repr_html_().split("Hint 3")[0]
    )
    assert not _verdict_card(exercises.find("01.5"), Verdict("PASS")).folded


LOUD = Scenario(clients=50, malicious=0.1, attack=bind(poison.sign_flip, scale=3.0))


def test_a_threat_model_follows_the_scenario():
    card = cards.threat_model("02", scenario=LOUD)
    assert card.rows["Share"] == "5 of 50 clients."
    assert "neither the honest clients' messages nor the server's rule" in card.rows["Knowledge"]
    assert card.rows["Goal"] == cards.threat_model("02").rows["Goal"]
    knowing = cards.threat_model(
        "02", scenario=replace(LOUD, omniscient=True, public_rule=True, aggregate=robust.median)
    )
    assert "messages and the server's rule" in knowing.rows["Knowledge"]
    assert "combines them by median" in knowing.rows["Visibility"]


def test_a_threat_model_of_a_scenario_alone_has_no_goal():
    card = cards.threat_model(scenario=LOUD)
    assert list(card.rows) == ["Knowledge", "Capability", "Share", "Visibility"]
    with pytest.raises(ValueError, match="needs a lab"):
        cards.threat_model()


def test_a_card_that_is_not_there_is_not_made_up():
    with pytest.raises(AttributeError, match="no attribute 'clam'"):
        _ = cards.clam


def test_an_author_tries_a_claim_out(capsys):
    def lost(seed):
        "Points lost"
        return {"digits": 40.0}

    def clipped(seed):
        "Points lost behind a clip"
        return {"digits": 1.0}

    cards.claim("draft", statement="It hurts.", measure=lost, baseline=clipped, verdict=lambda *_: "held", rule="r")
    told = capsys.readouterr().out
    assert told.startswith("⚖ Claim draft: held")
    assert told.index("digits: 40 (") < told.index("digits: 1 (")


def test_reading_and_source_checking_leave_records_too():
    book = cards.reading("2", statement="s", says="t", verdict="depends on the word", sources=["A book"])
    assert book._repr_mimebundle_()[MIME]["kind"] == "reading"
    hunt = cards.sources("3", statement="s", asked=["Who?"], found="Nobody.", verdict="cannot be tested, because so")
    assert hunt._repr_mimebundle_()[MIME]["kind"] == "exercise"
