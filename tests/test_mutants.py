"""The changes that the tests are tried with are what they say, and leave a file that can be read."""

import ast
from pathlib import Path

import pytest

from benchmarks import mutants
from benchmarks.mutants_named import Change

SOURCE = '''"""A text with 1 + 1 in it."""


def f(a: int | None = 3, *, b: float = 0.5) -> int:
    # 2 + 2
    if not (a < b) or a is None:
        raise ValueError(f"{a + 1} < 7")
    return (
        a
        + b * -c  # a comment with > in it
    )
'''


def test_each_operator_constant_and_condition_is_changed_once_and_nothing_else() -> None:
    found = [(change.line, change.was, change.now) for change in mutants.changes_of("a.py", SOURCE)]
    assert sorted(found) == [
        (4, "0.5", "1.5"),
        (4, "3", "4"),
        (6, "a < b", "a <= b"),
        (6, "a is None", "a is not None"),
        (6, "not (a < b)", "(a < b)"),
        (6, "not (a < b) or a is None", "not (a < b) and a is None"),
        (9, "a\n        + b * -c", "a\n        - b * -c"),
        (10, "b * -c", "b / -c"),
    ]
    for change in mutants.changes_of("a.py", SOURCE):
        assert len(change.source) - len(SOURCE) == len(change.now) - len(change.was)
        assert ast.dump(ast.parse(change.source)) != ast.dump(ast.parse(SOURCE))


def test_letters_of_more_than_one_byte_move_no_change() -> None:
    (change,) = mutants.changes_of("a.py", 'x = "δ ≤ ½" if a == "é" else "ü"')
    assert change.source == 'x = "δ ≤ ½" if a != "é" else "ü"'


def test_a_seed_draws_the_same_changes_again_and_each_file_for_itself(tmp_path: Path) -> None:
    (tmp_path / "labsec" / "robust").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "labsec" / "robust" / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    drawn, again = ([str(each) for each in mutants.generated(tmp_path, sample=3, seed=5)] for _ in range(2))
    assert drawn == again
    assert len(drawn) == 6
    (tmp_path / "labsec" / "robust" / "one.py").write_text("x = 1\n", encoding="utf-8")
    assert [str(each) for each in mutants.generated(tmp_path, sample=3, seed=5)][1:] == drawn[3:]


def test_a_written_change_that_no_longer_fits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n", encoding="utf-8")
    changes = [
        Change("a.py", "y = 1", "y = 2", "fits"),
        Change("a.py", "1", "2", "twice"),
        Change("a.py", "z", "", "no"),
    ]
    monkeypatch.setattr(mutants, "NAMED", changes[:1])
    (fitting,) = mutants.named(tmp_path)
    assert (fitting.line, fitting.source) == (2, "x = 1\ny = 2\n")
    monkeypatch.setattr(mutants, "NAMED", changes)
    with pytest.raises(ValueError, match=r"no longer fit.*\n.*twice: found 2 times.*\n.*no: found 0 times"):
        mutants.named(tmp_path)
