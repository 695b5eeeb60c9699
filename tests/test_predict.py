"""A prediction is kept, its result waits for it, and the guess stays once it was seen; nobody has to answer."""

from __future__ import annotations

import json

import pytest

from labsec.course import after, build, commit, predict, prediction, progress, progress_file, reveal
from labsec.course.dots import Scale
from labsec.course.guesses import ABOUT_CLAIMS, Kept, calibration, keep, kept
from labsec.course.questions.base import Finding

LOST = [84.0, 86.0, 88.0]
FINDING = Finding("Six loud clients destroy the mean.", seen=(80.0, 90.0))
RULES = ("median", "krum", "mean")


@pytest.fixture(autouse=True)
def nothing_guessed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress_file, "_session", {})
    monkeypatch.setattr(prediction, "_session", {})
    for name in ("LABSEC_STRICT", "LABSEC_BUILD", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def attended(monkeypatch):
    """As in a kernel of Jupyter's server."""
    monkeypatch.setenv("JPY_SESSION_NAME", "my/02_poisoning.ipynb")


def ask(**changes):
    predict("02.a", "How many points?", 0, 100, unit="points", about="attacks", **changes)


def test_the_result_waits_for_the_guess_and_opens_with_it(attended, capsys):
    ask()
    reveal("02.a", LOST, finding=FINDING)
    waiting = capsys.readouterr().out
    assert "The result opens here as soon as you commit your guess" in waiting
    assert "86" not in waiting
    assert "destroy" not in waiting
    commit("02.a", 20)
    told = capsys.readouterr().out
    assert "It came out as 86 points (84 … 88 over 3 seeds). Your guess was 66 points too low." in told
    assert told.index("too low") < told.index("Six loud clients destroy the mean.")
    assert kept("02.a") == Kept(guess=20, measured=86.0, off=-0.66, about="attacks")


def test_a_guess_may_change_until_the_result_is_shown_and_not_afterwards(attended):
    ask()
    commit("02.a", 20)
    commit("02.a", 87)
    reveal("02.a", LOST, finding=FINDING)
    with pytest.raises(ValueError, match=r"the result of question 02\.a has been shown: the guess stays 87"):
        commit("02.a", 86)
    assert kept("02.a").off == 0.0


def test_what_the_page_sends_is_what_is_kept(attended):
    """The widget's message, as the page sends it; then the widget gives way."""
    ask()
    widget = prediction._session["02.a"].widget
    widget._handle_msg({"content": {"data": {"method": "custom", "content": {"guess": 30}}}, "buffers": []})
    assert kept("02.a").guess == 30
    assert (widget.guess, widget.locked) == (30, False)
    reveal("02.a", LOST, finding=FINDING)
    assert widget.locked
    assert prediction._session["02.a"].widget is None


def test_a_skipped_question_is_answered_and_never_counted(attended, capsys):
    ask()
    commit("02.a", None)
    reveal("02.a", LOST, finding=FINDING)
    assert "You skipped the question." in capsys.readouterr().out
    assert kept("02.a") == Kept(guess=None, measured=86.0, off=None, about="attacks")
    assert calibration() == {}


def test_where_nobody_can_answer_everything_is_shown(capsys):
    ask()
    reveal("02.a", LOST, finding=FINDING)
    after("02.a", "a telling plot")
    assert capsys.readouterr().out.splitlines() == [
        "? How many points?",
        "  0 to 100 points.",
        "It came out as 86 points (84 … 88 over 3 seeds).",
        "→ Six loud clients destroy the mean.",
        "a telling plot",
    ]
    assert not progress_file.read()


def test_a_build_has_nobody_who_answers(attended, monkeypatch):
    monkeypatch.setenv("LABSEC_BUILD", "1")
    assert not prediction.attended()


def test_everything_that_waits_opens_once(attended, capsys):
    ask()
    after("02.a", "a telling plot")
    after("02.a", "another")
    assert "telling" not in capsys.readouterr().out
    commit("02.a", 20)
    assert capsys.readouterr().out == "a telling plot\nanother\n"
    commit("02.a", 30)
    assert capsys.readouterr().out == ""


def test_a_cell_that_runs_again_shows_what_was_said(attended, capsys):
    ask()
    commit("02.a", 20)
    reveal("02.a", LOST, finding=FINDING)
    prediction._session.clear()  # a new kernel
    capsys.readouterr()
    ask()
    reveal("02.a", [10.0], finding=FINDING)
    told = capsys.readouterr().out
    assert "? How many points?\n  You said 20 points.\n" in told
    assert kept("02.a").measured == 86.0  # as it was first seen


@pytest.mark.parametrize(
    ("guess", "off", "words"),
    [
        (76.0, 0.0, "10 points too low: near enough."),  # exactly a tenth of the scale
        (75.9, -0.101, "10.1 points too low."),
        (96.1, 0.101, "10.1 points too high."),
        (86.0, 0.0, "You were right."),
    ],
)
def test_near_enough_is_a_tenth_of_the_scale(attended, guess, off, words, capsys):
    ask()
    commit("02.a", guess)
    reveal("02.a", LOST, finding=FINDING)
    assert kept("02.a").off == off
    assert words in capsys.readouterr().out


def test_a_guess_among_the_seeds_is_near_enough(attended):
    ask(near=0.5)
    commit("02.a", 84)  # two points from the mean, and the result of a seed
    reveal("02.a", LOST, finding=FINDING)
    assert kept("02.a").off == 0.0


@pytest.mark.parametrize(("guess", "off", "words"), [("krum", 0.0, "You were right."), ("mean", 1.0, "You said mean.")])
def test_a_choice_is_right_or_wrong(attended, guess, off, words, capsys):
    predict("02.b", "Which rule?", choices=RULES)
    reveal("02.b", "krum", finding=Finding("Krum.", seen="krum"))
    commit("02.b", guess)
    assert kept("02.b").off == off
    assert words in capsys.readouterr().out


def test_a_kept_guess_that_does_not_answer_the_question_is_none(attended, capsys):
    """A lab may ask in another way in its next edition."""
    keep("02.a", Kept(guess="krum"))
    ask()
    reveal("02.a", LOST, finding=FINDING)
    assert "opens here" in capsys.readouterr().out


def test_a_sentence_is_not_said_of_a_result_that_it_does_not_fit(capsys, monkeypatch):
    ask()
    reveal("02.a", 3.0, finding=FINDING)
    told = capsys.readouterr().out
    assert "destroy" not in told
    assert "the course's own runs, which gave 80 … 90" in told
    monkeypatch.setenv("LABSEC_STRICT", "1")
    with pytest.raises(AssertionError, match=r"the finding of 02\.a was written for \(80\.0, 90\.0\); got 3\.0"):
        reveal("02.a", 3.0, finding=FINDING)


def test_findings_lie_in_the_package(capsys):
    ask()
    reveal("02.a", LOST)
    assert "One loud client in thirty destroys the plain mean." in capsys.readouterr().out
    predict("02.z", "How many?", 0, 10)
    with pytest.raises(ValueError, match=r"question '02\.z' has no finding; known: 02\.a, 02\.b"):
        reveal("02.z", 3.0)


def test_what_is_asked_must_make_sense():
    with pytest.raises(ValueError, match=r"a lab and a name, such as .02\.a.; got 'a'"):
        predict("a", "How many?", 0, 1)
    with pytest.raises(ValueError, match=r"needs low < high; got low=1, high=1"):
        predict("02.a", "How many?", 1, 1)
    for choices in (("one",), ("same", "same")):
        with pytest.raises(ValueError, match="needs two different choices or more"):
            predict("02.a", "Which?", choices=choices)
    with pytest.raises(ValueError, match=r'run the cell with predict\("02\.c", …\) first'):
        reveal("02.c", 1.0, finding=FINDING)
    predict("02.b", "Which rule?", choices=RULES)
    with pytest.raises(ValueError, match=r"the result of question 02\.b is one of median / krum / mean; got 'bulyan'"):
        reveal("02.b", "bulyan", finding=FINDING)
    ask()
    with pytest.raises(ValueError, match="one finite number or more"):
        reveal("02.a", [1.0, float("nan")], finding=FINDING)


@pytest.mark.parametrize("guess", [101, -1, "krum", True, [20]])
def test_only_an_answer_is_kept(guess):
    ask()
    with pytest.raises(ValueError, match=r"question 02\.a takes 0 to 100 points"):
        commit("02.a", guess)
    assert kept("02.a") is None


def predictions(*offs, about="attacks"):
    for i, off in enumerate(offs):
        keep(f"02.{about}{i}", Kept(guess=1.0, measured=2.0, off=off, about=about))


def test_progress_says_how_many_guesses_were_near_and_where_they_tend_to():
    predictions(-0.5, -0.2, 0.0, -0.3, 0.0, 0.0, 0.0)
    assert calibration() == {"Predictions": "7, of which 4 within range"}  # three of seven are no two thirds
    predictions(-0.5, -0.2, 0.0, -0.3, -0.2, -0.2, 0.0)
    assert calibration() == {"Predictions": "7, of which 2 within range; you tend to underestimate attacks"}
    predictions(0.2, 0.2, about="rules")  # two are too few
    assert progress().rows["Predictions"] == "9, of which 2 within range; you tend to underestimate attacks"


def test_verdicts_on_claims_are_counted_apart():
    predictions(0.0, 1.0, 1.0, about=ABOUT_CLAIMS)
    assert calibration() == {"Verdicts on claims": "3, of which 1 as measured"}


@pytest.mark.parametrize("text", ["PASS", "", "{", "[]", '{"other": 1}', '"20"', "3"])
def test_what_is_no_prediction_is_none(text):
    progress_file.note("02.a", text)
    assert kept("02.a") is None
    assert calibration() == {}


def test_resetting_a_lab_forgets_its_guesses(tmp_path):
    predictions(0.0)
    assert "02.attacks0" in progress_file.read()
    progress_file.forget("02")
    assert json.loads((tmp_path / ".progress.json").read_text()) == {}


def test_an_axis_has_round_numbers_and_keeps_words_on_the_page():
    assert Scale(0, 100).ticks() == [0, 20, 40, 60, 80, 100]
    assert Scale(-0.03, 0.97).ticks() == [0, 0.2, 0.4, 0.6, 0.8]
    assert [Scale(0, 10).alignment(number) for number in (0, 5, 10)] == ["left", "center", "right"]


def test_a_published_notebook_holds_the_result_and_no_widget(tmp_path, attended):
    source = (
        "# %%\nfrom labsec.course import after, predict, reveal\n"
        '# %%\npredict("02.a", "How many points?", 0, 100, unit="points")\n'
        '# %%\nreveal("02.a", [84.0, 86.0, 88.0])\n'
        '# %%\nafter("02.a", "a telling plot")\n'
    )
    solution, _ = build.execute(build.read(source, "99_x"), tmp_path)
    build.check_outputs(solution)
    outputs = [output for cell in solution.cells for output in cell.outputs]
    assert len(outputs) == 3
    assert all(build.WIDGET not in output.data for output in outputs)
    assert "One loud client in thirty" in outputs[1].data["text/plain"]
