"""An installed wheel is whole: every command works from an empty folder, without the clone."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_BUILT = shutil.ignore_patterns(
    ".git", ".venv", "my", "build", "cache", "*.egg-info", ".*_cache", "__pycache__", ".labsec", "artifacts", "wheels"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this clone's source distribution, built in a copy because a build leaves files behind."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "clone", ignore=NOT_BUILT)
    build(["sdist", "--formats=zip"], folder / "clone", folder)
    (distribution,) = folder.glob("*.zip")
    with zipfile.ZipFile(distribution) as archive:
        archive.extractall(folder)
    build(["bdist_wheel"], folder / distribution.stem, folder)
    (built,) = folder.glob("*.whl")
    return built


def build(command: list[str], source: Path, target: Path) -> None:
    """Build with setuptools alone: pip may be missing, and would ask the network for the tools that are here."""
    program = [sys.executable, "setup.py", "--quiet", *command, "--dist-dir", str(target)]
    subprocess.run(program, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the wheel is installed: it holds no programs, so unpacking is all that pip would do."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture
def learner(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def python(code: str, installed: Path, learner: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where nothing but the wheel can be what `import labsec` finds."""
    home = learner.parent / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    environment |= {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "HOME": str(home), "USERPROFILE": str(home)}
    environment |= {"LOCALAPPDATA": str(home / "AppData" / "Local"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=learner, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert str(ROOT) not in done.stdout
    return done


def labsec(command: list[str], installed: Path, learner: Path) -> subprocess.CompletedProcess[str]:
    return python(f"import sys; from labsec.cli import main; sys.exit(main({command!r}))", installed, learner)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_wheel_carries_what_is_read_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"labsec", f"{wheel.name.split('-py3')[0]}.dist-info"}
    carried = {name.removeprefix("labsec/shipped/") for name in names if name.startswith("labsec/shipped/")}
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    tables = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.csv")}
    data = {f"data/{name}.csv" for name in ("notes", "credit", "dna", "snps")}
    assert carried >= {"constraints.txt", "pyproject.toml", "docs/claims.json"} | data | notebooks | tables
    assert {Path(name).suffix for name in carried} == {".txt", ".toml", ".csv", ".json", ".ipynb"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "labsec").rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}
    assert wheel.stat().st_size < 2_000_000


def test_the_package_that_is_tried_is_the_installed_one(installed: Path, learner: Path) -> None:
    code = "import labsec, labsec.files as files; print(labsec.__file__, files.CLONE)"
    assert python(code, installed, learner).stdout.split() == [str(installed / "labsec" / "__init__.py"), "None"]


def test_labs_are_opened_in_the_current_folder(installed: Path, learner: Path) -> None:
    """JupyterLab is replaced by one that says how it was started."""
    code = (
        "import sys, types; fake = types.ModuleType('jupyterlab.labapp'); fake.main = print;"
        "sys.modules['jupyterlab.labapp'] = fake; from labsec.cli import main; sys.exit(main(['open', '01']))"
    )
    done = python(code, installed, learner)
    assert done.returncode == 0, done.stderr
    assert f"--ServerApp.root_dir={learner / 'my'}" in done.stdout
    assert names_in(learner / "my") >= names_in(ROOT / "notebooks")


def test_reset_keeps_a_backup(installed: Path, learner: Path) -> None:
    (learner / "my").mkdir()
    (learner / "my" / "00_start.ipynb").write_text("mine", encoding="utf-8")
    done = labsec(["reset", "0"], installed, learner)
    assert done.returncode == 0, done.stderr
    assert (learner / "my" / "00_start.backup-1.ipynb").read_text(encoding="utf-8") == "mine"
    fresh = ROOT / "notebooks" / "00_start.ipynb"
    assert (learner / "my" / "00_start.ipynb").read_bytes() == fresh.read_bytes()


def test_doctor_finds_the_packages_and_the_labs(installed: Path, learner: Path) -> None:
    done = labsec(["doctor", "--json"], installed, learner)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["labs"]["found"] == str(len(list((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))))
    assert rows["the course"]["state"] == rows["speed"]["state"] == "ok"


def test_the_ledger_is_that_of_the_clone(installed: Path, learner: Path) -> None:
    from labsec.course.ledger import show

    assert labsec(["ledger"], installed, learner).stdout == show() + "\n"


def test_tables_and_data_are_those_of_the_clone_and_runs_are_kept_in_the_users_caches(
    installed: Path, learner: Path
) -> None:
    from labsec import data, matrix

    code = (
        "from labsec import Scenario, data, files, matrix; from labsec.study.sweep import sweep;"
        "print(len(data.load('notes').x), len(matrix.load()), matrix.check_cell(matrix.load().iloc[0]));"
        "print(len(sweep(Scenario, [{'rounds': 1}]))); print(files.CACHE)"
    )
    done = python(code, installed, learner)
    counts, runs, cache = done.stdout.splitlines()
    assert counts.split() == [str(len(data.load("notes").x)), str(len(matrix.load())), "True"]
    assert runs == "1"
    assert Path(cache, "runs.jsonl").is_file()
    assert Path(cache).is_relative_to(learner.parent / "home")
    assert names_in(learner) == set()


@pytest.mark.parametrize("command", [["build", "00"], ["new", "03_backdoors"], ["wheels", "--for=linux", "here"]])
def test_what_writes_into_the_sources_asks_for_a_clone(command: list[str], installed: Path, learner: Path) -> None:
    done = labsec(command, installed, learner)
    assert done.returncode == 1
    assert re.fullmatch(r"`labsec \w+` needs the course's repository: run it in a clone\.\n", done.stderr)
    assert names_in(learner) == set()
