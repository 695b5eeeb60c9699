"""The labsec command: learners' copies are safe, and JupyterLab is the course's own."""

import ast
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsec import cli

STANDARD_LIBRARY_ALONE = {"labsec.course.progress_file", "labsec.storage", "labsec.browser"}
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def course(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start_here.ipynb", "02_poisoning.ipynb", "notes.ipynb"):
        (tmp_path / "notebooks" / name).write_text(NOTEBOOK, encoding="utf-8")
    return tmp_path


@pytest.fixture
def surroundings(course: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of `labsec open`, undone after the test."""
    monkeypatch.delenv("JUPYTER_NO_CONFIG", raising=False)
    (course / "temporary").mkdir()
    settings = cli.jupyter_environment(course, str(course / "temporary"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- notebooks


def test_missing_notebooks_are_copied_and_nothing_else(course: Path) -> None:
    assert cli.copy_missing(course) == ["00_start_here.ipynb", "02_poisoning.ipynb"]
    assert files_of(course / "my") == {"00_start_here.ipynb", "02_poisoning.ipynb"}


def test_a_learners_copy_is_never_overwritten(course: Path) -> None:
    cli.copy_missing(course)
    (course / "my" / "02_poisoning.ipynb").write_text("mine", encoding="utf-8")
    (course / "my" / "00_start_here.ipynb").unlink()
    assert cli.copy_missing(course) == ["00_start_here.ipynb"]
    assert (course / "my" / "02_poisoning.ipynb").read_text(encoding="utf-8") == "mine"


def test_reset_keeps_every_backup(course: Path) -> None:
    cli.copy_missing(course)
    mine = course / "my" / "02_poisoning.ipynb"
    for count in (1, 2):
        mine.write_text(f"attempt {count}", encoding="utf-8")
        backup = cli.reset("2", course)
        assert backup == course / "my" / f"02_poisoning.backup-{count}.ipynb"
        assert backup.read_text(encoding="utf-8") == f"attempt {count}"
        assert mine.read_text(encoding="utf-8") == NOTEBOOK
    assert (course / "my" / "02_poisoning.backup-1.ipynb").read_text(encoding="utf-8") == "attempt 1"


def test_reset_works_before_the_first_open(course: Path) -> None:
    assert cli.reset("00", course) is None
    assert (course / "my" / "00_start_here.ipynb").exists()


def test_an_unknown_lab_is_told_in_one_sentence(
    course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COURSE", course)
    assert cli.main(["open", "07"]) == 1
    assert capsys.readouterr().err == "There is no lab '07'; there are 00, 02.\n"
    assert not (course / "my").exists()


def test_a_course_without_notebooks_is_told(tmp_path: Path) -> None:
    with pytest.raises(cli.CourseError, match="no notebooks"):
        cli.copy_missing(tmp_path)


# --- commands


def test_build_and_ledger_are_handed_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    built: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "labsec.course.build", SimpleNamespace(build=built.append, BuildError=ValueError))
    monkeypatch.setitem(sys.modules, "labsec.course.ledger", SimpleNamespace(show=lambda: "claim 1 holds"))
    assert cli.main(["build", "00", "01"]) == 0
    assert cli.main(["ledger"]) == 0
    assert built == [["00", "01"]]
    assert capsys.readouterr().out == "claim 1 holds\n"


def test_a_lab_that_cannot_be_made_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["new", "00_again"]) == 1
    assert capsys.readouterr().err == "No lab was made: the number 00 is taken by solutions/00_start.py.\n"


@pytest.mark.parametrize("command", [["build"], ["new", "03_backdoors"], ["wheels", "--for", "linux", "here"]])
def test_an_installed_package_writes_no_sources(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "CLONE", None)
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert "run it in a clone" in said
    assert said.count("\n") == 1


def test_doctors_verdict_is_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setitem(
        sys.modules, "labsec.doctor", SimpleNamespace(doctor=lambda course, as_json: asked.append(as_json) or 1)
    )
    assert cli.main(["doctor", "--json"]) == 1
    assert asked == [True]


@pytest.mark.parametrize(
    "name", ["cli.py", "doctor.py", "files.py", "storage.py", "browser.py", "course/progress_file.py", "lazy.py"]
)
def test_only_the_standard_library_is_imported_at_the_top(name: str) -> None:
    imported = set()
    for node in ast.parse((cli.PACKAGE / name).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            own = node.module == "labsec.files" or names <= STANDARD_LIBRARY_ALONE
            imported |= set() if own else {(node.module or "").split(".")[0]}
    assert imported - set(sys.stdlib_module_names) == set()


def test_the_command_starts_without_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; from labsec.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=cli.COURSE, capture_output=True, text=True)
    assert done.returncode == 0
    assert "doctor" in done.stdout


# --- JupyterLab


def test_jupyter_keeps_its_files_in_my_and_in_a_temporary_folder(course: Path, surroundings: dict[str, str]) -> None:
    from IPython.paths import get_ipython_dir
    from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir
    from jupyterlab.commands import get_user_settings_dir, get_workspaces_dir

    for lasting in (jupyter_config_dir, jupyter_data_dir, get_user_settings_dir, get_workspaces_dir):
        assert Path(lasting()).is_relative_to(course / "my" / ".jupyter")
    for passing in (jupyter_runtime_dir, get_ipython_dir):
        assert Path(passing()).is_relative_to(course / "temporary")


def test_the_courses_settings_come_before_inherited_ones(course: Path) -> None:
    settings = cli.jupyter_environment(course, "temporary", "elsewhere")
    assert settings["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(cli.PACKAGE), "elsewhere"]


def test_jupyterlab_takes_the_courses_settings(surroundings: dict[str, str]) -> None:
    from jupyterlab_server.config import get_page_config
    from jupyterlab_server.settings_utils import _get_overrides

    overrides, _ = _get_overrides("")
    assert overrides["@jupyterlab/apputils-extension:kernels-settings"]["commsOverSubshells"] == "disabled"
    assert overrides["@jupyterlab/apputils-extension:notification"] == {"fetchNews": "false", "checkForUpdates": False}
    assert "jupyterlab-jupytext" in get_page_config([])["disabledExtensions"]


def test_every_setting_is_one_that_this_jupyterlab_knows() -> None:
    schemas = Path(sys.prefix, "share", "jupyter", "lab", "schemas")
    overrides = json.loads((cli.PACKAGE / "labconfig" / "default_setting_overrides.json").read_text(encoding="utf-8"))
    for plugin, settings in overrides.items():
        folder, name = plugin.split(":")
        known = json.loads((schemas / folder / f"{name}.json").read_text(encoding="utf-8"))["properties"]
        for setting, value in settings.items():
            choices = [choice["const"] for choice in known[setting].get("oneOf", [])]
            assert value in (choices or [True, False])


def test_open_hands_jupyterlab_the_learners_copy(course: Path, surroundings: dict[str, str], monkeypatch) -> None:
    calls: list[tuple[list[str], str]] = []
    main = SimpleNamespace(main=lambda arguments: calls.append((arguments, os.environ["JUPYTER_RUNTIME_DIR"])))
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", main)
    cli.open_lab("2", course, browser=False, port=9999)
    ((arguments, runtime),) = calls
    wanted = {"--ServerApp.ip=127.0.0.1", "--LabApp.default_url=/lab/tree/02_poisoning.ipynb", "--no-browser"}
    assert wanted | {"--ServerApp.port=9999", f"--ServerApp.root_dir={course / 'my'}"} <= set(arguments)
    assert not Path(runtime).parent.exists()


@pytest.fixture
def server(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A real JupyterLab, started as learners start it, with a home of its own to see what it leaves there."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    program = f"from pathlib import Path; from labsec.cli import open_lab; open_lab('00', Path({str(course)!r}), "
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program + "browser=False, port=None)"],
        cwd=cli.COURSE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = ""
    with process:
        for line in process.stdout or ():
            said += line
            if address := re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree/00_start_here\.ipynb\?token=(\w+)", line):
                yield SimpleNamespace(
                    base=address[1], token=address[2], home=home, temporary=temporary, process=process
                )
                break
        else:
            pytest.fail("JupyterLab did not start:\n" + said)
        process.terminate()


def ask(server: SimpleNamespace, path: str) -> str:
    """Get a page; the server prints its address a moment before it listens."""
    while True:
        try:
            with urllib.request.urlopen(f"{server.base}{path}?token={server.token}", timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.URLError as error:
            if server.process.poll() is not None or not isinstance(error.reason, ConnectionRefusedError):
                raise


def test_a_real_jupyterlab_serves_the_settings_and_leaves_nothing_behind(course: Path, server: SimpleNamespace) -> None:
    schema = json.loads(ask(server, "/lab/api/settings/@jupyterlab/apputils-extension:kernels-settings"))["schema"]
    assert schema["properties"]["commsOverSubshells"]["default"] == "disabled"
    assert '"jupyterlab-jupytext"' in ask(server, "/lab").split('"disabledExtensions"')[1].split("]")[0]
    server.process.terminate()
    server.process.communicate(timeout=30)
    assert files_of(server.home) == set()
    assert files_of(server.temporary) == set()
    assert {name for name in files_of(course) if not name.startswith(("my/", "notebooks/"))} == set()


# --- a captured update


def test_an_update_is_captured_and_inverted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "update.safetensors", tmp_path / "out"
    assert cli.main(["capture", str(file), "--round", "1", "--client", "2", "--seed", "5"]) == 0
    assert capsys.readouterr().out == f"Wrote {file}: round 1 of client 2, MLP 64-64-10.\n"
    assert cli.main(["invert", str(file), "--out", str(out), "--seconds", "20"]) == 0
    said = capsys.readouterr().out
    assert "Found 1 sample(s) by analytic, which leave" in said
    assert f"Wrote {out / 'report.html'}" in said
    assert files_of(out) == {"metrics.json", "picture_00.png", "reconstruction.safetensors", "report.html"}


def test_a_capture_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "update.safetensors"
    file.write_text("mine", encoding="utf-8")
    assert cli.main(["capture", str(file)]) == 1
    assert capsys.readouterr().err == f"{file} is there already, and is kept: name another file, or move it away.\n"
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["capture", "u", "--client", "20"], "Nothing was captured: from_run needs a whole number 0 <= client < 20"),
        (["capture", "u", "--data", "birds"], "Nothing was captured: no data set is called 'birds'"),
        (["invert", "hello", "--out", "out"], "Nothing was inverted: hello is no captured update: it ends within"),
        (["invert", "missing", "--out", "out"], "missing: No such file or directory"),
    ],
)
def test_what_cannot_be_captured_or_inverted_is_told_in_one_sentence(
    command: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hello").write_bytes(b"hello")
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert files_of(tmp_path) == {"hello"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", "u", "--lr", "nan"],
        ["capture", "u", "--round", "-1"],
        ["capture", "u", "--model", "transformer"],
        ["invert", "u", "--out", "o", "--seconds", "0"],
        ["invert", "u"],
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_loaded(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments)
