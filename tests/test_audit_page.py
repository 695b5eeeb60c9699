"""The study of audits: what is right is not caught, what is broken is, and the committed page says so."""

from __future__ import annotations

import re
from math import sqrt

import pytest

from labsec.files import COURSE
from labsec.privacy import Accountant
from labsec.study import audit


def test_every_case_is_run_with_the_noise_that_it_says() -> None:
    """Right ones with the noise of what is stated; of the broken ones those with too little, by the factor missing."""
    terms = Accountant(unit="client", delta=audit.DELTA, relation="zero-out", rate=1, rounds=1)
    plain = terms.noise_for(4.0)
    for case in audit.cases():
        needed = plain * sqrt(case.rounds) * (2 if case.relation == "replace-one" else 1)
        if case.right:
            assert case.multiplier(4.0) == pytest.approx(needed, rel=1e-6)
        elif case.noise:
            assert case.multiplier(4.0) == pytest.approx(plain, rel=1e-6)
            assert plain < needed


@pytest.mark.parametrize("case", audit.cases(), ids=lambda case: f"{case.name}-{case.relation}-{case.rounds}")
def test_an_audit_tells_right_from_broken(case: audit.Case) -> None:
    found = audit.audited(case, 4.0, trials=1000, seed=1)
    assert found.caught is not case.right, found.in_words()


def test_a_step_of_known_size_tells_that_a_sample_is_missing() -> None:
    assert audit.length_audit(4.0, trials=1000) > 4.0


def test_the_committed_page_holds_every_case_and_none_was_judged_wrongly() -> None:
    text = (COURSE / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = [
        line.strip("| \n").split(" | ") for line in text.splitlines() if re.match(r"\| .* \| (right|broken) \|", line)
    ]
    assert len(rows) == len(audit.STATED) * (len(audit.cases()) + 1)
    names = [row[0] for row in rows]
    for case in audit.cases():
        assert names.count(case.name) >= len(audit.STATED)
    for name, verdict, _, _, _, stated, low, gaussian, found in rows:
        lows = [float(number) for number in (low, gaussian) if number != "–"]
        assert (found == "caught") is (verdict == "broken") is (max(lows) > float(stated)), name


def test_the_page_names_the_command_that_prints_it() -> None:
    first = next(line for line in audit.page(trials=50) if "Printed by" in line)
    assert "`python -m labsec.study.audit --trials 50 --seed 0`" in first
