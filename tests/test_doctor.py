"""labsec doctor: it says what is broken, even when PyTorch is what is broken."""

import json
from pathlib import Path

import pytest

from labsec import doctor
from labsec.doctor import Row

COURSE = Path(__file__).resolve().parents[1]
SAID = 'print("a warning"); print(\'{"threads": 2, "gpu": false, "rounds_per_second": 99.6}\')'


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what takes seconds by its good outcome."""
    monkeypatch.setattr(doctor, "speed_rows", lambda course: [Row("speed", "ok", "fast")])
    monkeypatch.setattr(doctor, "kernel_row", lambda: Row("kernel", "ok", "answers"))
    monkeypatch.setattr(doctor, "notebooks_row", lambda course: Row("labs", "ok", "2"))


def states(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.state for row in rows}


def test_a_healthy_course_is_called_healthy(healthy: None) -> None:
    rows = doctor.examine(COURSE)
    names = ["Python", "packages", "memory", "cores", "disk", "speed", "kernel", "JupyterLab", "labs", "Chromium"]
    assert [row.name for row in rows if row.name in names] == names
    assert rows[-1].name == "the course"
    assert rows[-1].state == "ok"


@pytest.mark.parametrize("missing", ["torch", "numpy"])
def test_a_missing_package_fails_the_course(missing: str, healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    really = doctor.installed
    monkeypatch.setattr(doctor, "installed", lambda name: "" if name == missing else really(name))
    rows = doctor.examine(COURSE)
    broken = next(row for row in rows if row.name == missing)
    assert broken.state == "fail"
    assert "python3 lab.py" in broken.remedy
    assert rows[-1].state == "fail"
    assert missing in rows[-1].found


def test_packages_are_held_against_the_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": "2.1", "numpy": "2.0"}
    monkeypatch.setattr(doctor, "installed", lambda name: found.get(name, ""))
    rows = doctor.package_rows({"torch": "2.1", "numpy": "2.4", "scipy": "1.0", "wrapt": "1.0"}, ["scipy"])
    assert states(rows) == {"packages": "note", "numpy": "note", "scipy": "fail"}
    assert rows[0].found == "1 of 2 as pinned"
    assert rows[1].found == "2.0, tested with 2.4"


def test_the_mark_of_a_build_is_no_other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.15.0+cpu")
    assert doctor.installed("torch") == "2.15.0"


def test_an_unknown_package_has_no_version() -> None:
    assert doctor.installed("no-such-package-anywhere") == ""


def test_the_engine_itself_is_timed() -> None:
    rows = doctor.speed_rows(COURSE, seconds=0.01)
    assert [row.name for row in rows] == ["threads", "speed", "GPU"]
    assert rows[1].state == "ok", rows[1].found
    assert float(rows[1].found.split()[0]) > 0


def test_the_probes_last_line_is_read() -> None:
    threads, speed, gpu = doctor.speed_rows(COURSE, probe=SAID)
    assert "take 2" in threads.found
    assert speed.found.startswith("100 rounds")
    assert gpu == Row("GPU", "note", "none; no lab needs one")


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ("raise ImportError('libtorch_cpu.so: file too short')", "ImportError: libtorch_cpu.so: file too short"),
        ("import os; os._exit(132)", "its process ended with status 132"),
    ],
)
def test_a_broken_torch_is_a_row_with_a_remedy(probe: str, reason: str) -> None:
    (row,) = doctor.speed_rows(COURSE, probe=probe)
    assert row.state == "fail"
    assert reason in row.found
    assert row.remedy == doctor.SET_UP


def test_a_kernel_really_starts() -> None:
    row = doctor.kernel_row()
    assert row.state == "ok", row.found


def test_a_kernel_that_does_not_start_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    import jupyter_client.manager

    def broken(**options: object) -> None:
        raise RuntimeError("Kernel died before replying")

    monkeypatch.setattr(jupyter_client.manager, "start_new_kernel", broken)
    row = doctor.kernel_row()
    assert row.state == "fail"
    assert "Kernel died" in row.found


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (doctor.python_row((3, 10, 9), ">=3.11,<3.14"), "fail"),
        (doctor.python_row((3, 13, 9), ">=3.11,<3.14"), "ok"),
        (doctor.memory_row(0.2), "note"),
        (doctor.memory_row(8.0), "ok"),
        (doctor.memory_row(None), "note"),
        (doctor.disk_row(0.2), "note"),
        (doctor.disk_row(50.0), "ok"),
    ],
)
def test_rows_are_judged(row: Row, state: str) -> None:
    assert row.state == state


def test_memory_is_known_with_and_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    with_psutil = doctor.free_memory()
    monkeypatch.setitem(__import__("sys").modules, "psutil", None)
    without = doctor.free_memory()
    assert without is None or with_psutil == pytest.approx(without, rel=0.5)


def test_a_missing_browser_is_told_and_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    row = doctor.chromium_row()
    assert row.state == "note"
    assert doctor.summary_row([row]) == Row("the course", "ok", "runs")


def test_labs_are_counted(tmp_path: Path) -> None:
    assert doctor.notebooks_row(tmp_path).state == "fail"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_start_here.ipynb").touch()
    assert doctor.notebooks_row(tmp_path) == Row("labs", "ok", "1")


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("fail", 1)])
def test_the_verdict_is_the_status_and_json_says_the_same(
    state: doctor.State, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda course: [Row("the course", state, "judged", "Do this.")])
    assert doctor.doctor(COURSE) == status
    assert "Do this." in capsys.readouterr().out
    assert doctor.doctor(COURSE, as_json=True) == status
    said = json.loads(capsys.readouterr().out)
    assert said["works"] == (status == 0)
    assert said["rows"] == [{"name": "the course", "state": state, "found": "judged", "remedy": "Do this."}]


def test_a_table_that_is_cut_or_out_of_date_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "docs/matrix.csv is broken (it holds 3 of 4 rows): get it back with `git checkout docs/matrix.csv`"
    monkeypatch.setattr(doctor, "TABLES", f"print({said!r})")
    row = doctor.tables_row(tmp_path)
    assert (row.state, row.found) == ("note", "docs/matrix.csv is broken (it holds 3 of 4 rows)")
    assert row.remedy == "Get it back with `git checkout docs/matrix.csv`"
    monkeypatch.setattr(doctor, "TABLES", "raise SystemExit('no torch here')")
    assert doctor.tables_row(tmp_path) == Row("tables", "fail", "no torch here", doctor.SET_UP)
    monkeypatch.setattr(doctor, "TABLES", "")
    assert doctor.tables_row(tmp_path).state == "ok"


def test_the_program_that_looks_at_the_tables_asks_for_each_of_them() -> None:
    assert "matrix.problem(table)" in doctor.TABLES
    assert "for table in matrix.TABLES" in doctor.TABLES
