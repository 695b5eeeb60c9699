"""Who may import whom: the table of the house, read off the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOMS = Path(__file__).parent.parent / "labsec"
FLOOR = {"types", "geometry"}
SIBLINGS = {"data", "models", "train", "poison", "invert", "robust", "privacy", "compress", "metrics"}
ABOVE = {"plots", "live", "check", "cards", "claims", "compare", "progress", "ledger"}
ENGINE_ROOM = {"parts", "federation", "engine"}
ALLOWED = {
    "types": set(),
    "geometry": {"types"},
    **dict.fromkeys(SIBLINGS, FLOOR),
    "train": {*FLOOR, "models"},
    "invert": {*FLOOR, "models"},
    "scenario": {*FLOOR, *SIBLINGS},
    "parts": {*FLOOR, "scenario"},
    "federation": {*FLOOR, "scenario", "data"},
    "engine": {*FLOOR, "scenario", "parts", "federation", "metrics", "models", "train"},
    "plots": {*FLOOR, "scenario"},
}
ATTACKS_AND_DEFENCES = {"poison", "invert", "robust", "privacy", "compress"}


def imports_of(path: Path) -> set[str]:
    """The labsec rooms that a file imports when it is loaded; imports for type checkers alone do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "labsec":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("labsec."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("labsec.")}
    return found


def files_of(room: str) -> list[Path]:
    folder = ROOMS / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [ROOMS / f"{room}.py"]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_room_imports_only_what_it_may(room):
    for path in files_of(room):
        extra = imports_of(path) - ALLOWED[room] - {room}
        assert not extra, f"{path.name} imports {sorted(extra)}; it may import {sorted(ALLOWED[room])}"


@pytest.mark.parametrize("room", sorted(ENGINE_ROOM))
def test_engine_knows_no_attack_and_no_defence(room):
    assert not imports_of(ROOMS / f"{room}.py") & ATTACKS_AND_DEFENCES


def test_rooms_below_the_course_do_not_import_it():
    for room in {*ALLOWED} - {"plots"}:
        for path in files_of(room):
            assert not imports_of(path) & ABOVE, path


def test_the_reader_sees_an_import(tmp_path):
    bad = tmp_path / "engine.py"
    bad.write_text("from labsec import poison\nfrom labsec.robust import mean\nimport labsec.privacy\n")
    assert imports_of(bad) == {"poison", "robust", "privacy"}


def test_every_module_is_small():
    for path in ROOMS.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path


def body_lines(function):
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return function.end_lineno - first.lineno + 1


def test_every_function_is_small():
    for path in ROOMS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert body_lines(node) <= 35, f"{path.name}: {node.name}"
