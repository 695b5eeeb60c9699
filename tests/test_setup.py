"""lab.py decides what to install and explains what goes wrong; the files that pin versions agree."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from benchmarks import platforms

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = dict(line.split("==") for line in CONSTRAINTS.splitlines() if line and not line.startswith("#"))


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab", ROOT / "lab.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lab = load()


@pytest.fixture
def course(tmp_path: Path) -> Path:
    for name in ("constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


@pytest.fixture
def installations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the installation by one that only makes the folders, and record what each would have installed."""
    made: list[str] = []

    def install(root: Path, version: tuple[int, int], what: str) -> None:
        lab.environment_python(root).parent.mkdir(parents=True, exist_ok=True)
        lab.environment_python(root).touch()
        made.append(what)

    monkeypatch.setattr(lab, "install", install)
    monkeypatch.setattr(lab.platform, "system", lambda: "Linux")
    return made


# --- the files agree


def test_every_dependency_is_pinned_under_its_own_name_and_to_a_version_that_is_supported() -> None:
    project = PROJECT["project"]
    for need in map(Requirement, project["dependencies"] + project["optional-dependencies"]["test"]):
        assert PINS[need.name] in need.specifier, need


def test_supported_versions_are_intervals() -> None:
    for need in map(Requirement, PROJECT["project"]["dependencies"]):
        assert sorted(part.operator for part in need.specifier) == ["<", ">="], need


def test_learners_install_no_tools_for_tests() -> None:
    """What only tests import is in their extra, and what the package imports is not."""
    project = PROJECT["project"]
    course, tests = (
        {Requirement(need).name for need in needs}
        for needs in (project["dependencies"], project["optional-dependencies"]["test"])
    )
    assert course & tests == set()
    assert tests >= {"dp-accounting", "pytest", "playwright", "mypy", "ruff"}
    imported = set()
    for path in (ROOT / "labsec").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    homes = importlib.metadata.packages_distributions()
    assert {module for module in imported if tests & set(homes.get(module, []))} == set()


def test_pins_are_exact_and_none_is_said_twice() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert len(PINS) == len(lines)


def test_environment_yml_takes_its_versions_from_the_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert environment["name"] == PROJECT["project"]["name"]
    assert pip == {"pip": ["-c constraints.txt", "-e ."]}
    python = next(line.removeprefix("python=") for line in conda if line.startswith("python="))
    assert lab.python_problem(tuple(map(int, python.split(".")))) == ""


def test_all_files_name_the_same_pythons() -> None:
    (oldest_major, oldest), (newest_major, newest) = lab.OLDEST, lab.NEWEST
    assert PROJECT["project"]["requires-python"] == f">={oldest_major}.{oldest},<{newest_major}.{newest + 1}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest_major}{oldest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == f"{oldest_major}.{oldest}"


def test_the_tests_of_ci_are_the_tests_of_learners() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec python3 lab.py test"
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_containers_and_binder_take_a_python_that_the_course_supports() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    image = re.fullmatch(r"python:(\d+)\.(\d+)-\w+", container["image"])
    runtime = re.fullmatch(r"python-(\d+)\.(\d+)\n", (ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8"))
    for found in (image, runtime):
        assert found is not None
        assert lab.python_problem((int(found[1]), int(found[2]))) == ""


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binders_programs_can_be_run(name: str) -> None:
    script = ROOT / "binder" / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_binder_hands_on_its_command_with_the_courses_settings() -> None:
    asked = [
        str(ROOT / "binder" / "start"),
        sys.executable,
        "-c",
        "import os; print(os.environ['JUPYTER_CONFIG_PATH'])",
    ]
    for before, after in (("", ""), ("/elsewhere", ":/elsewhere")):
        environment = {**os.environ, "JUPYTER_CONFIG_PATH": before}
        done = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == f"{ROOT / 'labsec'}{after}\n"


def test_containers_and_binder_call_commands_that_exist() -> None:
    from labsec.cli import parser

    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    for hook in ("postCreateCommand", "postAttachCommand"):
        program, script, *arguments = container[hook].split()
        assert (program, script) == ("python3", "lab.py")
        parser().parse_args(arguments)
    assert "python lab.py here" in (ROOT / "binder" / "postBuild").read_text(encoding="utf-8").splitlines()


# --- the machines that the README names


@pytest.mark.parametrize(
    ("status", "output", "error", "cell"),
    [
        (0, "numpy==2.4.6\ntorch==2.15.0\n", "", "ok, 2 packages"),
        (1, "", "Because torch==2.15.0 has no wheels with a matching platform tag", "**torch==2.15.0**"),
        (1, "", "error: the moon is full", "**no solution**"),
    ],
)
def test_a_cell_counts_packages_or_names_the_one_that_is_missing(
    status: int, output: str, error: str, cell: str
) -> None:
    assert platforms.outcome(subprocess.CompletedProcess([], status, output, error)) == cell


def test_platforms_asks_for_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="pip install uv"):
        platforms.main()


def test_uv_is_asked_for_each_machine_and_python(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "uv 1.2.3 (here)\n", "")

    monkeypatch.setattr(platforms.shutil, "which", lambda name: "/bin/uv")
    monkeypatch.setattr(platforms.subprocess, "run", run)
    assert "Resolved by uv 1.2.3 from" in platforms.main()
    resolved = {(command[command.index("--python-platform") + 1], command[command.index("--python-version") + 1])
                for command in asked if "compile" in command}  # fmt: skip
    assert resolved == {(name, python) for name in platforms.PLATFORMS.values() for python in platforms.PYTHONS}


def test_readme_page_and_commands_name_the_same_machines() -> None:
    from labsec.wheels import OLDEST_PATCH

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert tuple(OLDEST_PATCH.values()) == platforms.PYTHONS
    for said in (f"release {platforms.PYTHONS[0]} or newer", "glibc 2.28", f"macOS {float(platforms.MACOS):.0f}"):
        assert said in readme
    for machine in platforms.PLATFORMS:
        assert page.count(f"| {machine} |") == len(platforms.INSTALLATIONS)


# --- Python and machine


def test_old_pythons_can_read_lab_far_enough_to_print_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ast.parse((ROOT / "lab.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 to 3\.13 and this is 3\.8"):
        load()


def test_nothing_before_the_check_of_the_version_needs_a_new_python() -> None:
    before = []
    for node in ast.parse((ROOT / "lab.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If):
            break
        before.append(node)
    functions = [node for node in before if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions] == ["python_problem"]
    assert functions[0].returns is None
    assert all(argument.annotation is None for argument in functions[0].args.args)


@pytest.mark.parametrize(
    ("version", "said"), [((3, 10), "newer"), ((3, 11), ""), ((3, 13), ""), ((3, 14), "do not exist yet")]
)
def test_python_has_to_be_of_the_pins(version: tuple[int, int], said: str) -> None:
    problem = lab.python_problem(version)
    assert bool(problem) == bool(said)
    assert said in problem


def test_intel_macs_are_told() -> None:
    assert "Intel Mac" in lab.machine_problem("Darwin", "x86_64")
    assert lab.machine_problem("Darwin", "arm64") == ""
    assert lab.machine_problem("Linux", "x86_64") == ""


# --- which index


@pytest.mark.parametrize(
    ("system", "nvidia", "answers", "index"),
    [
        ("Linux", False, True, lab.CPU_INDEX),
        ("Linux", False, False, ""),
        ("Linux", True, True, ""),
        ("Darwin", False, True, ""),
        ("Windows", False, True, ""),
    ],
)
def test_cpu_wheels_are_for_linux_without_a_graphics_card(system: str, nvidia: bool, answers: bool, index: str) -> None:
    assert lab.choose_index(system, nvidia, lambda url: answers) == index


def test_an_index_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not lab.index_answers(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_an_index_that_refuses_is_given_up_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not lab.index_answers(f"http://127.0.0.1:{port}")


# --- commands


def test_torch_comes_first_from_its_own_index_and_keeps_the_pins() -> None:
    pins = lab.torch_pins(CONSTRAINTS)
    assert pins == [f"torch=={PINS['torch']}", f"torchvision=={PINS['torchvision']}"]
    torch, course = lab.install_commands("python", None, lab.CPU_INDEX, "", pins, lab.COURSE)
    assert torch == ["python", "-m", "pip", "install", "--no-deps", "--index-url", lab.CPU_INDEX, *pins]
    assert course == ["python", "-m", "pip", "install", "-c", "constraints.txt", "-e", "."]


def test_uv_installs_into_the_environment() -> None:
    assert lab.environment_command(Path("course"), "/bin/uv", "python")[:2] == ["/bin/uv", "venv"]
    (course,) = lab.install_commands("python", "/bin/uv", "", "", [], lab.COURSE_AND_TESTS)
    assert course[:5] == ["/bin/uv", "pip", "install", "--python", "python"]
    assert course[-1] == ".[test]"


def test_a_folder_of_wheels_needs_no_index() -> None:
    (course,) = lab.install_commands("python", None, lab.CPU_INDEX, "/wheels", ["torch==1"], lab.COURSE)
    assert course[4:7] == ["--no-index", "--find-links", "/wheels"]


def test_a_folder_of_wheels_that_is_none_is_told(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABSEC_WHEELS", str(course / "nowhere"))
    with pytest.raises(lab.SetupError, match="is not a folder"):
        lab.install_into("python", course, None, lab.COURSE)


def test_every_check_runs_and_pytest_comes_last() -> None:
    checks = lab.check_commands("python", ["-k", "setup"])
    assert [command[2] for command in checks] == ["ruff", "ruff", "mypy", "pytest"]
    assert checks[-1][-2:] == ["-k", "setup"]


def test_one_failed_check_fails_them_all_and_stops_none(capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = [sys.executable, "-c", "print('ran')"], [sys.executable, "-c", "raise SystemExit(3)"]
    assert lab.run_checks([bad, good]) == 1
    assert "ran" in capfd.readouterr().out
    assert lab.run_checks([good]) == 0


# --- idempotent, resumable


def test_the_second_run_installs_nothing(course: Path, installations: list[str]) -> None:
    lab.set_up(course, lab.COURSE)
    lab.set_up(course, lab.COURSE)
    assert installations == [lab.COURSE]


def test_tests_add_their_tools_once_and_the_course_is_content_with_them(course: Path, installations: list[str]) -> None:
    lab.set_up(course, lab.COURSE)
    for what in (lab.COURSE_AND_TESTS, lab.COURSE, lab.COURSE_AND_TESTS):
        lab.set_up(course, what)
    assert installations == [lab.COURSE, lab.COURSE_AND_TESTS]


def test_the_course_stays_set_up_when_its_tests_cannot_be(
    course: Path, installations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.set_up(course, lab.COURSE)
    monkeypatch.setattr(lab, "install", lambda root, version, what: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lab.set_up(course, lab.COURSE_AND_TESTS)
    lab.set_up(course, lab.COURSE)


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_needs_are_installed(name: str, course: Path, installations: list[str]) -> None:
    lab.set_up(course, lab.COURSE)
    (course / name).write_text("new", encoding="utf-8")
    lab.set_up(course, lab.COURSE)
    assert len(installations) == 2


def test_an_interrupted_installation_is_taken_up(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def interrupted(root: Path, version: tuple[int, int], what: str) -> None:
        lab.environment_python(root).parent.mkdir(parents=True, exist_ok=True)
        lab.environment_python(root).touch()
        made.append(root)
        if len(made) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(lab, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.set_up(course, lab.COURSE)
    lab.set_up(course, lab.COURSE)
    assert len(made) == 2


def test_an_update_that_is_interrupted_leaves_no_stamp(
    course: Path, installations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.set_up(course, lab.COURSE)
    old = (course / "constraints.txt").read_text(encoding="utf-8")
    (course / "constraints.txt").write_text("new", encoding="utf-8")
    monkeypatch.setattr(lab, "install", lambda root, version, what: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lab.set_up(course, lab.COURSE)
    (course / "constraints.txt").write_text(old, encoding="utf-8")
    with pytest.raises(ZeroDivisionError):  # half updated, so the old stamp no longer holds
        lab.set_up(course, lab.COURSE)


def test_stamp_knows_python_and_folder(course: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    moved = tmp_path_factory.mktemp("moved")
    for name in ("constraints.txt", "pyproject.toml"):
        (moved / name).write_bytes((course / name).read_bytes())
    stamps = {lab.stamp(course, (3, 11)), lab.stamp(course, (3, 12)), lab.stamp(moved, (3, 11))}
    assert len(stamps) == 3


@pytest.mark.parametrize("line", ["version = 3.12.1", "version_info = 3.12.1"])
def test_an_environment_of_another_python_does_not_fit(line: str, course: Path, installations: list[str]) -> None:
    assert not lab.environment_fits(course, (3, 12))
    lab.set_up(course, lab.COURSE)
    (course / ".venv" / "pyvenv.cfg").write_text(f"home = here\n{line}\n", encoding="utf-8")
    assert lab.environment_fits(course, (3, 12))
    assert not lab.environment_fits(course, (3, 1))
    assert not lab.environment_fits(course, (3, 13))


# --- failures

OUTPUTS = {
    "disk is full": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "apt install python3-venv": "The virtual environment was not created because ensurepip is not available.",
    "certificate": "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'",
    "cannot be reached": "NewConnectionError('Failed to establish a new connection: Temporary failure in name "
    "resolution')\nERROR: No matching distribution found for setuptools>=77",
    "cannot be written": "error: [Errno 13] Permission denied: '.venv'",
    "torch==2.15.0 is not available": "ERROR: No matching distribution found for torch==2.15.0",
    "fill the folder": "The user requested (constraint) numpy==2.4.6\nERROR: ResolutionImpossible: for help visit",
    "A package that the course needs is not available": "error: No solution found when resolving dependencies",
}
UNAVAILABLE = {  # what uv 0.13.9 and pip 23.0.1 printed -> the package that could not be had
    "Because the current Python version (3.11.2) does not satisfy\n      Python>=3.11.5 and soupsieve==4.1.1 depends\n"
    "      on Python>=3.11.5, we can conclude that soupsieve==4.1.1 cannot be used.\nAnd because beautifulsoup4>=4.15 "
    "depends on soupsieve==4.1.1, we can": "soupsieve==4.1.1",
    "Because there is no version of torch==9.9 and you require torch==9.9": "torch==9.9",
    "Because no-such-package was not found in the package registry and you require": "no-such-package",
    "Because numpy was not found in the provided package locations and you require numpy==2.4.6": "numpy",
    "Because pywin32==311 has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`)": "pywin32==311",
    "    beautifulsoup4 4.15.0 depends on soupsieve>=1.6.1\n    The user requested (constraint) soupsieve==4.1.1\n\n"
    "ERROR: ResolutionImpossible: for help visit": "soupsieve==4.1.1",
    "ERROR: No matching distribution found for setuptools>=77": "setuptools>=77",
    "the moon is full": "",
}


@pytest.mark.parametrize("said", OUTPUTS)
def test_known_failures_have_one_sentence(said: str) -> None:
    sentence = lab.explain_failure(OUTPUTS[said])
    assert said in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("printed", "package"), UNAVAILABLE.items())
def test_the_package_that_could_not_be_had_is_named(printed: str, package: str) -> None:
    assert lab.unavailable_package(printed) == package


def test_an_unforeseen_failure_shows_what_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.explain_failure("the moon is full") == ""
    with pytest.raises(lab.SetupError, match="the lines above say why"):
        lab.fail(["pip", "install"], "the moon is full")
    assert "the moon is full" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [lab.SetupError("No luck."), OSError(28, "No space left"), KeyboardInterrupt()])
def test_failures_end_in_one_line_and_no_traceback(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def set_up(root: Path, what: str) -> None:
        raise failure

    monkeypatch.setattr(lab, "set_up", set_up)
    assert lab.main([]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "handed"), [([], ["open", "00"]), (["doctor", "--json"], ["doctor", "--json"]), (["open"], ["open"])]
)
def test_the_rest_is_handed_to_labsec(arguments: list[str], handed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(lab, "set_up", lambda root, what: None)
    monkeypatch.setattr(lab, "hand_over", lambda command: commands.append(command) or 0)
    assert lab.main(arguments) == 0
    assert commands == [[str(lab.environment_python(ROOT)), "-m", "labsec.cli", *handed]]


@pytest.mark.parametrize(("arguments", "what"), [(["test"], ".[test]"), (["doctor"], "."), ([], ".")])
def test_only_tests_need_their_tools(arguments: list[str], what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(lab, "set_up", lambda root, what: wanted.append(what))
    monkeypatch.setattr(lab, "hand_over", lambda command: 0)
    monkeypatch.setattr(lab, "run_checks", lambda commands: 0)
    assert lab.main(arguments) == 0
    assert wanted == [what]


def test_here_installs_into_this_python_and_makes_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Path, str | None, str]] = []
    monkeypatch.setattr(lab, "install_into", lambda *given: calls.append(given))
    monkeypatch.setattr(lab, "set_up", lambda root, what: pytest.fail("nothing may be set up"))
    assert lab.main(["here"]) == 0
    assert calls == [(sys.executable, ROOT, None, lab.COURSE)]


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_is_given_before_anything_is_installed(
    asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "set_up", lambda root, what: pytest.fail("help must not install"))
    assert lab.main([asked]) == 0
    assert "python3 lab.py test" in capsys.readouterr().out
