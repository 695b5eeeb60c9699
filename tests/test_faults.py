"""What goes wrong outside the program: disks that are full, files that are broken, processes that are killed."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsec import browser, cli, data, doctor, storage
from labsec.course import build, ledger, skeleton
from labsec.course import progress_file as progress
from labsec.study import sweep
from labsec.study.matrix import pages, tables

CLONE = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CLONE), "LABSEC_THREADS": "1"}
NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def start(program: str, *arguments: object, **options) -> subprocess.Popen[str]:
    """A Python process that runs a program, its output in a pipe."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, **options)


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0


# --- disks that are full or cannot be written


def mounted(folder: Path, options: str) -> None:
    """Mount a small disk of its own on a folder, or skip the test where that is not permitted."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a disk is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A course with one lab, the learner's copy in it, on a disk of its own."""
    folder = tmp_path / "course"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("this system has no `mount`")
    mounted(folder, "size=128k")
    monkeypatch.setattr(cli, "COURSE", folder)
    opened = SimpleNamespace(main=lambda arguments: pytest.fail("JupyterLab was started"))
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", opened)
    try:
        (folder / "notebooks").mkdir()
        (folder / "notebooks" / "00_start.ipynb").write_text(NOTEBOOK, encoding="utf-8")
        (folder / "my").mkdir()
        (folder / "my" / "00_start.ipynb").write_text("mine", encoding="utf-8")
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a test may still be in it


@pytest.fixture
def full(course: Path) -> Path:
    # The lab becomes larger than what is left.
    lab = course / "notebooks" / "00_start.ipynb"
    lab.unlink()
    lab.symlink_to(__file__)
    room = os.statvfs(course)
    (course / "filler").write_bytes(bytes(room.f_bavail * room.f_bsize))
    return course


@pytest.fixture
def read_only(course: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-o", "remount,ro", course], check=True)
    return course


COMMANDS = [["open", "00"], ["reset", "00"], ["matrix", "--folder", "{course}/docs"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_read_only_course_is_one_sentence(command, read_only, capsys):
    assert cli.main([part.format(course=read_only) for part in command]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(rf"{read_only}/\S+: Read-only file system: work in a folder that you can write to.*\.\n", said)


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(command, full, capsys):
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(rf"{full}/my\S*: No space left on device: free some space and run .*\.\n", said)
    assert [path.name for path in (full / "my").iterdir()] == ["00_start.ipynb"]
    assert (full / "my" / "00_start.ipynb").read_text() == "mine"


def test_a_file_that_does_not_fit_leaves_nothing_behind(full):
    before = set(full.rglob("*"))
    with pytest.raises(OSError, match="No space") as caught:
        storage.write_text(full / "my" / "00_start.ipynb", "x" * 9000)
    assert caught.value.filename == str(full / "my" / "00_start.ipynb")
    assert set(full.rglob("*")) == before
    assert (full / "my" / "00_start.ipynb").read_text() == "mine"


def test_progress_in_a_read_only_folder_is_kept_in_memory_without_a_word(read_only, monkeypatch, capfd):
    monkeypatch.chdir(read_only / "my")
    monkeypatch.setattr(progress, "_session", {})
    progress.note("00.1", "PASS")
    assert progress.states() == {"00.1": "PASS"}
    assert progress.read() == {}
    assert capfd.readouterr() == ("", "")


def test_output_that_cannot_be_written_is_one_sentence():
    command = [sys.executable, "-m", "labsec.cli", "ledger"]
    with open("/dev/full", "w") as full_disk:
        done = subprocess.run(command, env=ENVIRONMENT, stdout=full_disk, stderr=subprocess.PIPE, text=True, cwd=CLONE)
    assert done.stderr == "No space left on device: free some space and run the command again.\n"
    assert done.returncode == 1


def test_a_reader_that_has_seen_enough_is_no_fault():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "labsec.cli", "ledger"], env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, cwd=CLONE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_errors_of_the_system_name_the_file_and_a_remedy(number, monkeypatch, capsys):
    def fails(arguments, course):
        raise OSError(number, os.strerror(number), "my/x")

    monkeypatch.setattr(cli, "run_command", fails)
    assert cli.main(["ledger"]) == 1
    assert capsys.readouterr().err == f"my/x: {os.strerror(number)}: {storage.REMEDIES[number]}.\n"


@pytest.mark.parametrize("bug", [OSError(errno.EBADF, "Bad file descriptor"), ValueError("a bug"), KeyError("x")])
def test_a_bug_keeps_its_traceback(bug, monkeypatch):
    def fails(arguments, course):
        raise bug

    monkeypatch.setattr(cli, "run_command", fails)
    with pytest.raises(type(bug)):
        cli.main(["ledger"])


def test_a_worker_that_was_killed_is_one_sentence(monkeypatch, capsys):
    def fails(arguments, course):
        raise cli.BrokenProcessPool

    monkeypatch.setattr(cli, "run_command", fails)
    assert cli.main(["matrix"]) == 1
    assert "again with fewer --jobs" in capsys.readouterr().err


# --- what is asked for


LABS = ", ".join(sorted(path.name[:2] for path in (cli.COURSE / "solutions").glob("[0-9][0-9]_*.py")))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["build", "99"], f"Nothing more was built: there is no lab '99' in solutions/; there are {LABS}.\n"),
        (["build", ""], f"Nothing more was built: there is no lab '' in solutions/; there are {LABS}.\n"),
        (["reset", ""], f"There is no lab ''; there are {LABS}.\n"),
        (["open", "../x"], f"There is no lab '../x'; there are {LABS}.\n"),
        (
            ["matrix", "all"],
            "no table is called 'all'; known: rehearsal, matrix, breakdown, three_percent, defences.\n",
        ),
    ],
)
def test_what_is_not_there_is_named_beside_what_is(command, said, capsys):
    assert cli.main(command) == 1
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8 8", "٨"])
def test_a_port_out_of_range_is_refused(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.parser().parse_args(["open", f"--port={port}"])
    assert f"a port is a whole number from 1 to 65535, such as 8888; got {port!r}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--jobs=0", "--seeds=none"])
def test_numbers_of_a_matrix_are_at_least_one(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.parser().parse_args(["matrix", option])
    assert "a whole number of at least 1" in capsys.readouterr().err


# --- files that are missing or broken

GARBAGE = {
    "missing": None,
    "empty": b"",
    "binary": b"\xff\xfe\x00",
    "other": b'{"a": [1, 2, 3]}\n',
    "cut": b'[{"id": "1',
}


@pytest.fixture(params=GARBAGE)
def garbage(request) -> bytes | None:
    return GARBAGE[request.param]


def put(path: Path, content: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def one_sentence(error: BaseException, path: Path) -> None:
    said = str(error)
    assert said.startswith(f"{path} is ")
    assert said.endswith(".")
    assert "\n" not in said
    assert "labsec" in said or "git checkout" in said, "a remedy"


def test_a_broken_ledger_is_told(garbage, tmp_path):
    put(tmp_path / "claims.json", garbage)
    with pytest.raises((FileNotFoundError, storage.BrokenFileError)) as caught:
        ledger.show(tmp_path)
    one_sentence(caught.value, tmp_path / "claims.json")


def test_a_broken_solution_is_told(tmp_path):
    for content in (garbage for garbage in GARBAGE.values() if garbage is not None):
        put(tmp_path / "01_x.ipynb", content)
        with pytest.raises(storage.BrokenFileError) as caught:
            ledger.collect(tmp_path)
        one_sentence(caught.value, tmp_path / "01_x.ipynb")


def test_a_broken_table_is_told(garbage, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    put(tmp_path / "matrix.csv", garbage)
    with pytest.raises((FileNotFoundError, storage.BrokenFileError)) as caught:
        tables.load("matrix")
    one_sentence(caught.value, tmp_path / "matrix.csv")


def test_broken_notes_are_told(garbage, tmp_path):
    put(tmp_path / "notes.csv", garbage)
    with pytest.raises((FileNotFoundError, storage.BrokenFileError)) as caught:
        data.read_notes(tmp_path / "notes.csv")
    one_sentence(caught.value, tmp_path / "notes.csv")


def test_notes_that_were_cut_or_changed_are_not_taken_for_the_courses(tmp_path):
    whole = (CLONE / "data" / "notes.csv").read_bytes()
    path = tmp_path / "notes.csv"
    for other in (whole[:-1000], whole[:-1] + b"s\n", whole.replace(b"urgent", b"please", 1)):
        path.write_bytes(other)
        with pytest.raises(storage.BrokenFileError, match="not the notes of the course"):
            data.read_notes(path)
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # as git may write it on Windows
    assert len(data.read_notes(path)) == 2400


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_doctor_reports_a_broken_file_as_a_row(name, garbage, tmp_path):
    for each in ("pyproject.toml", "constraints.txt"):
        shutil.copyfile(CLONE / each, tmp_path / each)
    put(tmp_path / name, garbage)
    row = next(row for row in doctor.wanted_rows(tmp_path) if row.name == name)
    assert row.state == "fail"
    assert row.found
    assert row.remedy


def test_a_clone_whose_project_file_is_broken_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "COURSE", tmp_path / "nowhere")
    assert cli.main(["ledger"]) == 1
    assert "pyproject.toml is missing or broken: get it back with `git checkout" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_the_set_up_names_a_broken_file(name, garbage, tmp_path):
    for each in ("lab.py", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(CLONE / each, tmp_path / each)
    put(tmp_path / name, garbage)
    done = subprocess.run([sys.executable, tmp_path / "lab.py", "doctor"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(rf"{tmp_path / name} is (missing|broken \(.*\)): get it back with .*\.\n", done.stderr)
    assert not (tmp_path / ".venv").exists()


# --- letters that a terminal does not know


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("command", [["ledger"], ["--help"], ["matrix", "--help"], ["doctor"], ["open", "λ…"]])
def test_every_command_prints_on_every_terminal(command, encoding):
    program = (
        "import sys; from labsec import cli, doctor;"
        "doctor.examine = lambda course: [doctor.Row('the course', 'ok', '✗ – λ')];"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", program, *command], env=environment, capture_output=True, cwd=CLONE)
    assert done.returncode == (1 if command[0] == "open" else 0), done.stderr.decode()
    said = (done.stdout + done.stderr).decode(encoding)
    assert said
    assert "Traceback" not in said
    if command == ["doctor"]:
        marks = {"ascii": "+ the course  x - ?", "cp1252": "+ the course  x – ?", "utf-8": "✓ the course  ✗ – λ"}
        assert said == f"{marks[encoding]}{os.linesep}"


# --- killed and resumed

WRITER = """
import itertools, sys
from pathlib import Path
from labsec import storage
for number in itertools.count(int(sys.argv[2])):
    storage.write_text(Path(sys.argv[1]), f"{number} " * 20_000)
    print(number, flush=True)
"""


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    draw = random.Random(5)
    reached = 0
    for _ in range(5):
        writer = start(WRITER, tmp_path / "file", reached)
        with writer:
            for _ in range(draw.randint(1, 40)):
                reached = int(writer.stdout.readline())
            writer.kill()
        words = (tmp_path / "file").read_text().split()
        assert len(words) == 20_000
        assert len(set(words)) == 1
        assert int(words[0]) >= reached


APPENDER = """
import json, sys
from pathlib import Path
from labsec import storage
for number in range(int(sys.argv[3])):
    storage.append_line(Path(sys.argv[1]), json.dumps([sys.argv[2], number, "x" * 20_000]))
    print(number, flush=True)
"""


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from labsec import storage
file = Path(sys.argv[1])
with storage.locked(file), file.open("ab", buffering=0) as target:
    target.write(b'["killed", 1')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lines_of_two_processes_do_not_mix_and_a_torn_one_costs_itself_alone(tmp_path):
    file = tmp_path / "runs.jsonl"
    both = [start(APPENDER, file, name, 60) for name in "ab"]
    for _ in range(3):
        killed = start(KILLED_WHILE_WRITING, file)
        killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL
    finish(*both)
    finish(start(APPENDER, file, "after", 1))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert Counter(name for name, *_ in rows) == {"a": 60, "b": 60, "after": 1}


NOTER = """
import sys
from labsec.course import progress_file
for number in range(150):
    progress_file.note(f"{sys.argv[1]}.{number}", "PASS")
"""


def test_two_processes_that_note_progress_lose_nothing(tmp_path):
    finish(*[start(NOTER, lab, cwd=tmp_path) for lab in ("01", "02")])
    assert len(progress.read(tmp_path)) == 300
    progress.forget("01", tmp_path)
    assert {key[:2] for key in progress.read(tmp_path)} == {"02"}


HOLDER = """
import sys
from pathlib import Path
from labsec import storage
with storage.locked(Path(sys.argv[1])):
    print(flush=True)
    input()
"""


def test_who_changes_a_shared_file_waits_for_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LOCK_PATIENCE", 0)
    file = tmp_path / "runs.jsonl"
    holder = start(HOLDER, file, stdin=subprocess.PIPE)
    holder.stdout.readline()
    for change in (lambda: storage.append_line(file, "mine"), lambda: progress._change(file, dict)):
        with pytest.raises(TimeoutError, match=rf"{file} is held by another process: end the other"):
            change()
    holder.kill()
    holder.communicate()
    storage.append_line(file, "mine")  # a lock ends with its process
    assert file.read_text() == "mine\n"


def test_a_line_that_is_no_run_costs_that_line(tmp_path):
    cells = [{"seed": seed, "rounds": 1, "clients": 2} for seed in range(3)]
    cache = tmp_path / "runs.jsonl"
    rows = sweep.sweep(sweep.Scenario, cells, cache=cache)
    first, second, third = cache.read_bytes().splitlines(keepends=True)
    garbage = [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\x00\n",
        b'{"key": 1, "final": {}, "by_round": []}\n',
        second[:-90] + b"\n",
    ]
    cache.write_bytes(b"".join([first, *garbage, third[:-20]]))
    assert sweep.sweep(sweep.Scenario, cells, cache=cache) == rows
    keys = [row["key"] for row in map(sweep._row, cache.read_bytes().splitlines()) if row]
    assert len(keys) == len(set(keys)) == 3


TALKATIVE = """
import os
from labsec import Scenario

def build(**cell):
    print(os.getpid(), flush=True)
    return Scenario(**cell)
"""
SWEEPER = """
import sys
from pathlib import Path
import talkative
from labsec.study.sweep import sweep

if __name__ == "__main__":
    cells = [{"seed": seed, "rounds": int(sys.argv[2]), "clients": 2} for seed in range(6)]
    sweep(talkative.build, cells, cache=Path("runs.jsonl"), jobs=int(sys.argv[1]))
"""


@pytest.fixture
def sweeper(tmp_path):
    """Start a sweep of six cells: its output has a line with the process's number for each cell that is looked at."""
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    (tmp_path / "sweeper.py").write_text(SWEEPER)

    def starts(jobs: int, rounds: int) -> subprocess.Popen[str]:
        environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(CLONE), str(tmp_path)])}
        command = [sys.executable, "sweeper.py", str(jobs), str(rounds)]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # so that a failed test can end all of its processes
        )

    return starts


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a signal of POSIX")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_sweep(how, sweeper):
    parent = sweeper(2, 10**5)  # a cell takes minutes
    while int(parent.stdout.readline()) == parent.pid:
        pass  # the parent looks at each cell first; then a worker has begun
    parent.send_signal(how)
    try:
        parent.communicate(timeout=120)  # a worker that lived on would keep the pipe open
    except subprocess.TimeoutExpired:
        os.killpg(parent.pid, signal.SIGKILL)
        pytest.fail("a worker waits on after its parent is gone")
    assert parent.returncode == -how


def test_a_sweep_that_is_killed_again_and_again_comes_to_its_end(sweeper, tmp_path):
    draw = random.Random(3)
    for _ in range(2):
        parent = sweeper(1, 2)
        with parent:
            for _ in range(6 + draw.randint(1, 3)):  # six are described first, then run one by one
                parent.stdout.readline()
            parent.kill()
    finish(sweeper(1, 2))
    keys = [json.loads(line)["key"] for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 6


# --- written whole or not at all: what each command makes


def breaking(*arguments, **keywords):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_interrupted_build_leaves_the_old_notebook(tmp_path, monkeypatch):
    target = tmp_path / "00_start.ipynb"
    target.write_text("old")
    monkeypatch.setattr(build.nbformat, "write", lambda notebook, partial: partial.write_text("ha") and breaking())
    with pytest.raises(OSError, match="No space") as caught:
        build.write_notebook(None, target)
    assert caught.value.filename == str(target)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"00_start.ipynb": "old"}


def test_a_matrix_is_refused_before_hours_of_work(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "run_table", lambda *_, **__: pytest.fail("measured for nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        pages.write("matrix", tmp_path / "file", seeds=1, jobs=1)


def test_a_skeleton_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    for folder in ("solutions", "labsec/course/exercises", "labsec/course/panels"):
        (tmp_path / folder).mkdir(parents=True)
    readme = (CLONE / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    writing = Path.write_text
    monkeypatch.setattr(
        Path, "write_text", lambda path, *a, **k: breaking() if "panels" in str(path) else writing(path, *a, **k)
    )
    with pytest.raises(OSError, match=r"No space.*panels/lab07\.py"):
        skeleton.new("07_x", tmp_path)
    assert set(tmp_path.rglob("*")) == before
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == readme


# --- the token

RECORDER = """#!{python}
# A browser that writes down how it was started and what it was shown, and stays open as long as its connection.
import os, socket, sys, urllib.parse
page = urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path)
with open(page) as file, open({seen!r}, "w") as seen:
    print(sys.argv[1], oct(os.stat(page).st_mode & 0o777), file.read(), sep="\\n", file=seen)
with socket.create_connection(("127.0.0.1", {port})) as connection:
    connection.recv(1)
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="command lines are read from /proc")
def test_no_command_line_shows_the_token_while_the_browser_is_open(tmp_path):
    course = tmp_path / "course"
    (course / "notebooks").mkdir(parents=True)
    (course / "notebooks" / "00_start.ipynb").write_text(NOTEBOOK)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(120)
    script = tmp_path / "browser"
    seen = tmp_path / "seen"
    script.write_text(RECORDER.format(python=sys.executable, seen=str(seen), port=listening.getsockname()[1]))
    script.chmod(0o700)
    environment = {**ENVIRONMENT, "BROWSER": f"{script} %s", "HOME": str(tmp_path)}
    program = "import sys; from pathlib import Path; from labsec.cli import open_lab; "
    program += "open_lab('00', Path(sys.argv[1]), browser=True, port=None)"
    with (tmp_path / "said").open("w") as said, listening:
        server = subprocess.Popen(
            [sys.executable, "-c", program, str(course)], env=environment, stdout=said, stderr=said
        )
        try:
            connection, _ = listening.accept()  # the browser is open until this is closed
            with connection:
                lines = command_lines()
        finally:
            server.terminate()
            server.wait(timeout=120)
    address, mode, *page = seen.read_text().splitlines()
    token = re.search(r"\?token=(\w{32,})", "".join(page))[1]
    assert [line for line in lines if token in line] == []
    assert any("/browser\0file://" in line for line in lines), "the browser was open"
    assert address.startswith(f"file://{course}/my/open-")
    assert mode == "0o600"
    assert f"?token={token}" in (tmp_path / "said").read_text(), "it is printed for browsers that cannot read the page"
    assert list((course / "my").glob("*.html")) == []


def command_lines() -> list[str]:
    """The command lines of all processes, their words separated by NUL."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_text(errors="replace"))
        except OSError:
            continue  # it has ended
    return lines


class Shown:
    """A browser that remembers what it was asked to show."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.addresses.append(url)
        return True


@pytest.fixture
def shown(monkeypatch) -> Shown:
    real = Shown()
    monkeypatch.setattr(browser.webbrowser, "get", lambda: real)
    return real


ADDRESS = "http://127.0.0.1:8890/lab/tree/00.ipynb?token=secret"


def test_a_folder_that_shows_its_files_to_everybody_is_passed_over(shown, tmp_path, monkeypatch):
    really = browser.os.fstat
    seen = iter([SimpleNamespace(st_mode=0o100777)])
    monkeypatch.setattr(browser.os, "fstat", lambda descriptor: next(seen, None) or really(descriptor))
    folders = [tmp_path / "stick", tmp_path / "temporary"]
    for folder in folders:
        folder.mkdir()
    private = browser.PrivateBrowser(folders)
    assert private.open(ADDRESS)
    assert shown.addresses == [(folders[1] / "open-8890.html").as_uri()]
    private.clean_up()
    assert not list(tmp_path.rglob("*.html"))


def test_without_a_private_place_the_address_is_not_shown_to_everybody(shown, tmp_path, capsys):
    assert not browser.PrivateBrowser([tmp_path / "nowhere"]).open(ADDRESS)
    assert shown.addresses == []
    assert "copy the address above" in capsys.readouterr().err


def test_windows_browsers_of_a_guest_linux_get_the_address(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(browser.platform, "release", lambda: "5.15.153.1-microsoft-standard-WSL2")
    assert browser.PrivateBrowser([tmp_path]).open(ADDRESS)
    assert shown.addresses == [ADDRESS]


def test_nobody_can_put_a_link_where_the_page_goes(tmp_path):
    (tmp_path / "page").symlink_to(tmp_path / "elsewhere")
    assert browser.write_private(tmp_path / "page", "secret")
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "page").read_text() == "secret"
