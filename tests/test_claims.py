"""Claims: what is measured and by which rule, the learner's own verdict first, and what the ledger keeps."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from labsec.course import build, cards, claims, ledger, prediction, progress_file
from labsec.course import commit as say
from labsec.course.claims import MIME, Claim, Reading, Sourced, numbers
from labsec.course.claims.base import by_name, measured, record_of
from labsec.course.claims.numbers import numbers_of
from labsec.course.claims.show import SAY, prepared
from labsec.course.guesses import Kept, kept
from labsec.files import COURSE

LEDGER = {record["id"]: record for record in json.loads((COURSE / "docs" / "claims.json").read_text(encoding="utf-8"))}
EVERY = [claim for lab in claims.labs() for claim in claims.of_lab(lab)]
every_claim = pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
every_measured = pytest.mark.parametrize(
    "claim", [claim for claim in EVERY if isinstance(claim, Claim)], ids=lambda claim: claim.id
)


@pytest.fixture(autouse=True)
def nothing_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress_file, "_session", {})
    monkeypatch.setattr(prediction, "_session", {})
    for name in ("LABSEC_STRICT", "LABSEC_BUILD", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


def accuracy(seed):
    """Accuracy after some rounds."""
    return {"clean": 0.9 + 0.01 * seed, "attacked": 0.5}


def chance(seed):
    """A guess."""
    return 0.1


def better(found, compared):
    return "held" if found["clean"]["min"] > compared["chance"]["max"] else "did not hold"


LEARNS = Claim(
    id="1",
    statement="It learns.",
    measure=accuracy,
    baseline=chance,
    verdict=better,
    rule="held if the worst run beats a guess",
)


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A ledger that holds LEARNS with every seed."""

    def commit(**changes):
        record = record_of(LEARNS, measured(accuracy, range(5)), measured(chance, range(5))) | changes
        (tmp_path / "claims.json").write_text(json.dumps([record]), encoding="utf-8")
        monkeypatch.setattr(numbers, "LEDGER", tmp_path / "claims.json")

    return commit


def card_of(claim, said=""):
    return prepared(claim)[1](said)


def test_a_claim_is_measured_for_every_seed_and_its_verdict_computed():
    bundle = card_of(LEARNS)._repr_mimebundle_()
    record = bundle[MIME]
    assert record["verdict"] == "held"
    clean = {"mean": 0.92, "std": 0.0158, "min": 0.9, "max": 0.94, "seeds": [0.9, 0.91, 0.92, 0.93, 0.94]}
    assert record["results"]["clean"] == clean
    assert record["baseline_results"]["chance"]["seeds"] == [0.1] * 5
    assert (record["kind"], record["seeds"], record["measured"]) == ("measured", 5, "Accuracy after some rounds")
    assert "held if the worst run beats a guess" in bundle["text/plain"]
    assert "0.9 … 0.94" in bundle["text/html"]


def test_every_seed_is_a_dot_and_every_number_is_text_as_well():
    page = card_of(LEARNS)._repr_html_()
    assert page.count("#009e73;border-radius") == 10  # two names, five seeds
    assert page.count("1.5px solid #7a7f87;border-radius") == 5
    assert 'role="img" aria-label="Dot plot. Accuracy after some rounds; clean: 0.92 (0.9 … 0.94' in page
    assert "def better(found, compared):" in page


def test_a_card_survives_where_html_is_cleaned():
    page = card_of(LEARNS, "held")._repr_html_()
    assert not re.search(r"<(style|script|svg|link)|https?:|currentColor|transform", page)


def test_a_claim_can_fail():
    def no_better(seed):
        """Chance."""
        return {"clean": 0.05}

    assert "did not hold" in repr(card_of(replace(LEARNS, measure=no_better)))


def test_marks_say_which_rows_support_a_claim():
    claim = replace(LEARNS, supports=lambda name, found, compared: found[name]["mean"] > 0.6)
    page = card_of(claim)._repr_html_()
    assert "0.92 ✓" in page
    assert "0.5 ✗" in page


def test_a_rule_is_said_to_come_before_the_data_only_where_a_commit_shows_it():
    assert "before the data" not in repr(card_of(LEARNS)) + card_of(LEARNS)._repr_html_()
    fixed = card_of(replace(LEARNS, fixed="1a2b3c4"))
    assert fixed.rows()["Rule, fixed before the data (commit 1a2b3c4)"] == LEARNS.rule
    page = ledger.render([fixed.record | {"lab": "01_x"}])
    assert "beats a guess (Fixed before the data, in commit 1a2b3c4.)" in page
    assert "ixed before" not in ledger.render([card_of(LEARNS).record | {"lab": "01_x"}])
    assert not any(claim.fixed for claim in EVERY if isinstance(claim, Claim))  # no commit shows it for these


def seconds(seed):
    """Seconds of a run."""
    return {"clean": 2.0 + seed}


TIMED = replace(LEARNS, beside=seconds, beside_unit="s")


def test_numbers_beside_are_shown_and_change_no_verdict():
    plain = card_of(LEARNS)
    timed = card_of(TIMED)
    assert timed.rows()["Beside, not judged"] == "Seconds of a run\nclean: 4 s (2 … 6, standard deviation 1.58)"
    assert "Beside, not judged: Seconds of a run: clean 4 s." in timed._repr_html_()
    assert "Beside" not in repr(plain) + plain._repr_html_()

    # The record holds the same, and what is judged is what it was.
    assert {name: timed.record[name] for name in plain.record} == plain.record
    assert (timed.record["beside"], timed.record["beside_unit"]) == ("Seconds of a run", "s")
    assert timed.record["beside_results"]["clean"]["seeds"] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert not [name for name in plain.record if name.startswith("beside")]


def test_the_ledger_shows_numbers_beside(tmp_path):
    records = [card_of(claim).record | {"lab": "01_x"} for claim in (TIMED, replace(LEARNS, id="2"))]
    ledger.write(records, tmp_path)
    line = "beside, not judged: Seconds of a run: clean 4 s (2 … 6, standard deviation 1.58)"
    assert (tmp_path / "claims.md").read_text(encoding="utf-8").count(f"<br>{line} |") == 1
    assert ledger.show(tmp_path).count(f"\n   {line}\n") == 1


def test_numbers_beside_are_not_compared_when_a_seed_is_run_again(committed):
    def refuses(seed):
        """Seconds of a run."""
        raise AssertionError("nobody waits for what is not judged")

    claim = replace(TIMED, beside=refuses)
    committed(beside="Seconds of a run", beside_unit="s", beside_results=measured(seconds, range(5)))
    found = numbers_of(claim)
    assert found.origin == "Seed 0 was run here: the committed numbers came out again."
    assert found.beside["clean"]["seeds"] == [2.0, 3.0, 4.0, 5.0, 6.0]
    committed()
    assert numbers_of(claim).beside == {}


def test_a_claim_refuses_what_would_make_it_hollow():
    def undocumented(seed):
        return 0.0

    def sometimes(seed):
        """Breaks."""
        return float("nan") if seed == 3 else 0.0

    def wandering(seed):
        """Another name for each seed."""
        return {str(seed): 0.0}

    with pytest.raises(ValueError, match="at least 5 different seeds"):
        replace(LEARNS, seeds=[0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="undocumented needs a docstring"):
        replace(LEARNS, measure=undocumented)
    with pytest.raises(ValueError, match="undocumented needs a docstring"):
        replace(LEARNS, beside=undocumented)
    with pytest.raises(ValueError, match="sometimes is not finite for every seed"):
        card_of(replace(LEARNS, measure=sometimes))
    with pytest.raises(ValueError, match="every seed must give the same names"):
        card_of(replace(LEARNS, measure=wandering))
    with pytest.raises(ValueError, match="must begin with 'held'"):
        card_of(replace(LEARNS, verdict=lambda found, compared: "plausible"))
    with pytest.raises(ValueError, match="at least one source"):
        Reading(id="2", statement="s", says="t", verdict="held", sources=())
    with pytest.raises(ValueError, match="at least one question"):
        Sourced(id="3", statement="s", asked=(), found="", verdict="held")


def test_a_learner_waits_for_one_seed_only(committed):
    committed()
    calls = []

    def counted(seed):
        """Accuracy after some rounds."""
        calls.append(seed)
        return accuracy(seed)

    found = numbers_of(replace(LEARNS, measure=counted))
    assert calls == [0]
    assert found.results["clean"]["seeds"] == [0.9, 0.91, 0.92, 0.93, 0.94]
    assert found.origin == "Seed 0 was run here: the committed numbers came out again."


def test_committed_numbers_come_in_the_order_in_which_they_are_measured(committed):
    as_saved = measured(accuracy, range(5))
    committed(results={name: as_saved[name] for name in sorted(as_saved)})
    assert list(numbers_of(LEARNS).results) == ["clean", "attacked"]


def test_a_build_measures_with_every_seed(committed, monkeypatch):
    committed()
    monkeypatch.setenv("LABSEC_BUILD", "1")
    assert numbers_of(LEARNS).origin == "All of them were run here."


def test_committed_numbers_that_do_not_come_out_again_are_not_shown(committed):
    committed()

    def other(seed):
        """Accuracy on another machine."""
        return {"clean": 0.8 + 0.01 * seed, "attacked": 0.5}

    found = numbers_of(replace(LEARNS, measure=other))
    assert found.results["clean"]["seeds"][0] == 0.8
    assert "clean is 0.8, and was 0.9. So every seed was run here" in found.origin


@pytest.mark.parametrize("changes", [{"rule": "another rule"}, {"id": "2"}, {"results": {"clean": {"mean": 0.9}}}])
def test_committed_numbers_of_another_claim_are_not_taken(committed, changes):
    committed(**changes)
    assert numbers_of(LEARNS).origin == "All of them were run here."


def test_a_table_is_not_believed_either(monkeypatch):
    def here(seed):
        """The same, by running."""
        return {"clean": 0.7}

    claim = replace(LEARNS, again=here)
    assert numbers_of(claim).origin == "Seed 0 was run here for clean: clean is 0.7, and was 0.9."
    monkeypatch.setenv("LABSEC_STRICT", "1")
    with pytest.raises(AssertionError, match=r"claim 1, seed 0: clean is 0\.7, and was 0\.9"):
        numbers_of(claim)


def test_the_learner_says_first(monkeypatch, capsys):
    monkeypatch.setenv("JPY_SESSION_NAME", "my/01_fedavg.ipynb")
    cards.claim("3")
    waiting = capsys.readouterr().out
    assert "Claim 3: “40 % of enterprises use federated learning" in waiting
    assert "no source for the figures" not in waiting
    say("01.claim3", "cannot be tested")
    told = capsys.readouterr().out
    assert "You said    cannot be tested ✓" in told
    verdict = "cannot be tested, because no source for the figures was found"
    assert kept("01.claim3") == Kept(guess="cannot be tested", measured=verdict, off=0.0, about="claims")
    with pytest.raises(ValueError, match="has been shown"):
        say("01.claim3", "held")


def test_a_verdict_that_differs_is_kept_as_such(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "my/01_fedavg.ipynb")
    cards.claim("2")
    say("01.claim2", "held")
    assert kept("01.claim2").off == 1.0


def test_where_nobody_can_answer_there_is_a_card_and_no_question(capsys):
    cards.claim("3")
    told = capsys.readouterr().out
    assert told.startswith("⚖ Claim 3: cannot be tested")
    assert "What do you say" not in told


def test_an_unknown_claim_is_named():
    with pytest.raises(ValueError, match="there is no claim '99'; known: 1, 2, 3"):
        cards.claim("99")
    with pytest.raises(ValueError, match="lab '99' has no claims; known: 01, 02"):
        cards.claims("99")


@every_claim
def test_every_verdict_can_be_said(claim):
    assert any(LEDGER[claim.id]["verdict"].startswith(said) for said in SAY)


@every_measured
def test_the_package_measures_what_the_ledger_holds(claim):
    """One seed is run, and lies where the ledger's five lie; the same names are measured, by the same rule."""
    record = LEDGER[claim.id]
    assert (record["statement"], record["rule"], record["unit"]) == (claim.statement, claim.rule, claim.unit)
    for function, spreads in ((claim.measure, record["results"]), (claim.baseline, record["baseline_results"])):
        found = by_name(function, claim.seeds[0])
        assert {name.replace("_", " ") for name in found} == {name.replace("_", " ") for name in spreads}
        for name, number in found.items():
            assert spreads[name]["min"] - 0.001 <= number <= spreads[name]["max"] + 0.001


@every_measured
def test_the_ledgers_numbers_lead_to_the_ledgers_verdict(claim):
    record = LEDGER[claim.id]
    assert claim.verdict(record["results"], record["baseline_results"]) == record["verdict"]


def test_what_a_table_holds_can_be_run_again():
    claim = claims.find("7")[1]
    assert numbers_of(claim).origin == "Seed 0 was run here: the numbers of the table came out again."


def test_a_built_notebook_leaves_the_record_for_the_ledger(tmp_path):
    source = "# %%\nimport torch\nfrom labsec.course import cards\ntorch.set_num_threads(1)\n"
    source += '# %%\ncards.claim("3")\n# %%\ncards.claim("4")\n'
    solution, _ = build.execute(build.read(source, "99_x"), tmp_path)
    build.check_outputs(solution)
    (tmp_path / "99_x.ipynb").write_text(json.dumps(solution), encoding="utf-8")
    first, second = ledger.collect(tmp_path)
    assert first["verdict"] == LEDGER["3"]["verdict"]
    assert second["verdict"] == LEDGER["4"]["verdict"]
    assert len(second["results"]["1 in the step"]["seeds"]) == 5
