"""The committed table of multipliers: never too little noise, hardly more than enough, and whole."""

import math
import random
from dataclasses import replace

import pytest

from labsec.privacy import Accountant
from labsec.storage import BrokenFileError
from labsec.study import noise_table
from labsec.study.noise_table import TABLE

USUAL = Accountant(unit="client", delta=1e-5, relation="zero-out", rate=0.1, rounds=50)


def test_what_is_read_is_enough_and_hardly_more():
    """At epsilons and terms drawn at random, most of them between two rows."""
    draws = random.Random(0)
    for _ in range(25):
        terms = draws.choice(noise_table.all_terms()).accountant()
        epsilon = math.exp(draws.uniform(math.log(1e-3), math.log(1e7)))
        noise = noise_table.noise_for(terms, epsilon)
        assert terms.epsilon(noise) <= epsilon, (terms, epsilon)
        assert noise <= 1.02 * terms.noise_for(epsilon), (terms, epsilon)


def test_it_reaches_from_one_end_to_the_other_for_every_terms():
    for terms in noise_table.all_terms():
        known = terms.accountant()
        noises = [noise_table.noise_for(known, epsilon) for epsilon in (1e-3, 1e-1, 1.0, 10.0, 1e3, 1e7)]
        assert noises == sorted(noises, reverse=True)


def test_a_few_rows_come_back_from_the_accountant():
    curves = noise_table.load()
    assert set(curves) == set(noise_table.all_terms())
    for terms in list(curves)[::17]:
        epsilons, noises = curves[terms]
        for i in (1, len(noises) // 2, -2):
            assert terms.accountant().epsilon(math.exp(noises[i])) == pytest.approx(math.exp(epsilons[i]), rel=1e-4)


def test_at_rate_one_and_for_no_epsilon_at_all_there_is_a_formula():
    everybody = replace(USUAL, rate=1, rounds=7, delta=1e-9)
    assert noise_table.noise_for(everybody, 2.0) == everybody.noise_for(2.0)
    assert noise_table.noise_for(USUAL, math.inf) == 0.0


def test_what_the_table_does_not_hold_is_said():
    for changes in ({"rate": 0.3}, {"rounds": 51}, {"delta": 1e-6}):
        with pytest.raises(
            ValueError, match=r"the table holds delta 1e-05, rates \(0.01, .*: ask Accountant.noise_for"
        ):
            noise_table.noise_for(replace(USUAL, **changes), 1.0)
    with pytest.raises(ValueError, match=r"0.001 <= epsilon <= 1e\+07 below rate 1; got epsilon=0.0001"):
        noise_table.noise_for(USUAL, 1e-4)


def test_the_table_is_whole_and_of_today(tmp_path):
    assert noise_table.problem() == ""
    text = TABLE.read_text(encoding="utf-8")
    other = tmp_path / "noise.csv"
    other.write_text(text.replace("; code ", "; code 0"), encoding="utf-8")
    assert "was made by another accountant" in noise_table.problem(other)
    other.write_text(text[: len(text) // 2], encoding="utf-8")
    assert "rows" in noise_table.problem(other)
    other.write_text(text.replace("zero-out,1e-05,0.1,50", "zero-out,1e-05,0.1", 1), encoding="utf-8")
    with pytest.raises(BrokenFileError, match="a row is not what it should be"):
        noise_table.load(other)
    assert noise_table.problem(tmp_path / "none.csv").endswith(f"make it again with `{noise_table.COMMAND}`.")


def test_the_command_makes_the_table_that_is_committed(tmp_path, monkeypatch):
    one = noise_table.Terms("replace-one", 1e-5, 0.5, 10)
    monkeypatch.setattr(noise_table, "all_terms", lambda: [one])
    noise_table.main(["--to", str(tmp_path / "noise.csv")])
    made = (tmp_path / "noise.csv").read_text(encoding="utf-8").splitlines()[2:]
    kept = [
        line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("replace-one,1e-05,0.5,10,")
    ]
    assert made == kept
