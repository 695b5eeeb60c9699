"""Where files are: beside the package in a clone, inside the package when pip installed it."""

from pathlib import Path

import pytest

from labsec import files


def test_a_clone_is_told_by_its_projects_name(tmp_path: Path) -> None:
    package = tmp_path / "labsec"
    assert files.clone_around(package) is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n', encoding="utf-8")
    assert files.clone_around(package) is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "labsec"\n', encoding="utf-8")
    assert files.clone_around(package) == tmp_path


def test_the_clone_of_these_tests_is_found() -> None:
    clone = Path(__file__).resolve().parents[1]
    assert clone == files.CLONE == files.COURSE
    assert clone / "data" / "cache" == files.CACHE
    assert clone / "my" == files.learners_folder(files.COURSE)


def test_learners_of_an_installed_course_work_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.learners_folder(files.PACKAGE / "shipped") == tmp_path / "my"


@pytest.mark.parametrize(
    ("system", "variable", "below_home"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", "", "Library/Caches"),
    ],
)
def test_caches_of_an_installed_course_are_the_users(
    system: str, variable: str, below_home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os.path, "expanduser", lambda path: path.replace("~", "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert files.cache_folder(None, system) == Path("home", below_home, "labsec")
    if variable:
        monkeypatch.setenv(variable, "named")
        assert files.cache_folder(None, system) == Path("named", "labsec")
