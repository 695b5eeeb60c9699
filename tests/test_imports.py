"""Who may import whom: the table of the house, read off the syntax trees, and no circles anywhere."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR = {"guards", "types", "geometry", "parts"}
ATTACKS = {"poison", "invert"}
DEFENCES = {"robust", "privacy", "compress", "mask", "detect"}
LEARNED = {"data", "models", "train", "metrics"}
LABORATORY = {*FLOOR, *LEARNED, *ATTACKS, *DEFENCES, "encoding", "federation"}
ROOMS = {  # each room of labsec, and the rooms that it may import when it is loaded
    "lazy": set(),
    "files": set(),
    "wheels": set(),
    "storage": {"files"},
    "browser": set(),
    "guards": set(),
    "types": set(),
    "geometry": {"guards", "types"},
    "parts": {"guards", "types"},
    "encoding": {"guards", "types"},
    **dict.fromkeys({*LEARNED, *ATTACKS, *DEFENCES}, FLOOR),
    "data": {*FLOOR, "files", "storage"},
    "train": {*FLOOR, "models"},
    "invert": {*FLOOR, "models", "train"},
    "detect": {*FLOOR, "models", "train"},
    "compress": {*FLOOR, "encoding"},
    "mask": {*FLOOR, "models", "train"},
    "federation": {*FLOOR, *LEARNED, "robust", "encoding"},
    "plots": {"federation", "guards"},
    "study": {*LABORATORY, "plots", "files", "storage"},
    "service": {"files", "guards", "invert", "study", "types"},
    "course": {*LABORATORY, "plots", "study", "service", "lazy", "files", "storage"},
    "doctor": {"files", "storage"},
    "cli": {"browser", "course", "data", "doctor", "federation", "files", "models", "storage", "study", "wheels"},
    "__init__": {"lazy"},
}


def tree_of(path: Path, *, types: bool) -> ast.Module:
    """The syntax tree of a file; without `types`, imports that only type checkers follow are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not types and isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            node.body = [] if node.test.id == "TYPE_CHECKING" else node.body
    return tree


def imports_of(path: Path, *, types: bool = False) -> set[str]:
    """The dotted names that a file imports from the course, `from a import b` as a.b."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path, types=types)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("labsec", "benchmarks")}


def rooms_imported(path: Path) -> set[str]:
    """The rooms of labsec that a file imports when it is loaded."""
    public = {"Scenario": "federation", "bind": "federation", "run": "federation", "rounds": "federation"}
    names = (name.split(".")[1] for name in imports_of(path) if name.startswith("labsec."))
    return {public.get(name, "study" if name == "matrix" else name) for name in names}


def files_of(room: str) -> list[Path]:
    folder = ROOT / "labsec" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_room_is_in_the_table():
    entries = {path.stem for path in (ROOT / "labsec").iterdir() if path.suffix == ".py" or list(path.glob("*.py"))}
    assert entries == set(ROOMS), "give a new room a line in ROOMS, and one in CONTRIBUTING.md"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_room_imports_only_what_it_may(room):
    for path in files_of(room):
        extra = rooms_imported(path) - ROOMS[room] - {room}
        assert not extra, f"{module_of(path)} imports {sorted(extra)}; it may import {sorted(ROOMS[room])}"


def test_the_engine_knows_no_attack_and_no_defence():
    """They arrive as values of the scenario, which alone names a default rule."""
    for path in files_of("federation"):
        allowed = {"robust"} if path.stem == "scenario" else set()
        assert not rooms_imported(path) & {*ATTACKS, *DEFENCES} - allowed, path.name


@pytest.mark.parametrize("package", ["labsec", "benchmarks"])
def test_no_module_needs_itself(package):
    """Imports for type checkers count: two files that need each other are one file, or three."""
    modules = {module_of(path): path for path in (ROOT / package).rglob("*.py")}
    graph = {name: needs(path, modules) - {name} for name, path in modules.items() if path.stem != "__init__"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def needs(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules, packages left out, that a file imports."""
    names = imports_of(path, types=True)
    found = {name if name in modules else name.rpartition(".")[0] for name in names}
    return {name for name in found if name in modules and modules[name].stem != "__init__"}


def test_the_reader_sees_an_import(tmp_path):
    bad = tmp_path / "engine.py"
    bad.write_text("from labsec import poison\nfrom labsec.robust import mean\nimport labsec.privacy\n")
    assert rooms_imported(bad) == {"poison", "robust", "privacy"}


def test_contributing_names_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [room for room in ROOMS if room != "__init__" and not re.search(rf"\b{room}(/|\.py)", text)]
    assert not missing, f"CONTRIBUTING.md does not say what lives in {missing}"
