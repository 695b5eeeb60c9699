#!/usr/bin/env python3
"""Set the course up and open it. Needs Python and nothing else.

python3 lab.py           make .venv, install into it, open lab 00 in JupyterLab
python3 lab.py test      the same set-up and the tools for tests, then every check; what follows is handed to pytest
python3 lab.py here      install into the Python that runs this, in place of .venv: for Binder, containers and conda
python3 lab.py doctor    anything else is handed to the `labsec` command

LABSEC_WHEELS=FOLDER installs from a folder of wheels, without a network.
"""

import hashlib
import http.client
import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

# The pins of constraints.txt have wheels for these.
OLDEST = (3, 11)
NEWEST = (3, 13)
PYTHONS = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)


def python_problem(version):
    """Return the sentence for a Python that cannot run the course, or "". Old Pythons must be able to read this."""
    found = "{}.{}".format(*version)
    if version < OLDEST:
        return (
            f"The course needs Python {PYTHONS} and this is {found}: install a newer Python and start lab.py with it."
        )
    if version > NEWEST:
        return f"The course needs Python {PYTHONS} and this is {found}, for which its packages do not exist yet."
    return ""


if python_problem(sys.version_info[:2]):
    sys.exit(python_problem(sys.version_info[:2]))

ROOT = Path(__file__).resolve().parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
COURSE = "."  # what to install: the package of this folder
COURSE_AND_TESTS = ".[test]"
PATIENCE = 3.0  # seconds in which the index has to answer
PROGRESS = (
    "Collecting",
    "Processing",
    "Downloading",
    "Downloaded",
    "Building",
    "Built",
    "Installing",
    "Resolved",
    "Prepared",
)
FAILURES = {
    r"No space left|Errno 28|os error 28|not enough space|os error 112|Disk quota exceeded": (
        "The disk is full: free some space (in the course's folder and in the temporary one) and run this again."
    ),
    r"ensurepip is not available|No module named '?(venv|ensurepip)": (
        "This Python comes without its venv module: install it (on Debian and Ubuntu: apt install python3-venv) "
        "and run this again."
    ),
    r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate": (
        "The network's certificate is not trusted: ask its administrator for the certificate, "
        "or install from a folder of wheels with LABSEC_WHEELS."
    ),
    r"name resolution|Name or service not known|getaddrinfo failed|nodename nor servname|dns error|lookup address"
    r"|Network is unreachable|No route to host|NewConnectionError|Connection (refused|reset)|[Tt]imed out"
    r"|error sending request|Could not connect": (
        "The package index cannot be reached: check the network and run this again, "
        "or install from a folder of wheels with LABSEC_WHEELS."
    ),
    r"Permission denied|Read-only file system|Access is denied|os error (5|13|30)\b": (
        "The course's folder cannot be written to: move it to a place that is yours and run this again."
    ),
    r"No matching distribution|ResolutionImpossible|No solution found": (
        "{package} is not available for this machine and this Python: install the newest patch release of a Python "
        f"from {PYTHONS} and start lab.py with it; with LABSEC_WHEELS, fill the folder for this machine and Python."
    ),
}
UNAVAILABLE = (  # how uv and pip say which package they could not find; the first that fits holds
    r"([\w.-]+==[\w.+!]+) (?:depends on Python|has no wheels)",
    r"no versions? of ([\w.-]+(?:==[\w.+!]+)?)",
    r"Because ([\w.-]+) was not found in",
    r"The user requested \(constraint\) (\S+)",
    r"No matching distribution found for ([^\s;]+)",
)


class SetupError(Exception):
    """A sentence for the learner: what is wrong and what to do."""


def explain_failure(output: str) -> str:
    """Return the sentence for what a failed command printed, or "" for a failure that nobody foresaw."""
    sentence = next((sentence for pattern, sentence in FAILURES.items() if re.search(pattern, output)), "")
    return sentence.replace("{package}", unavailable_package(output) or "A package that the course needs")


def unavailable_package(output: str) -> str:
    """Return the package that pip or uv could not find, such as soupsieve==4.1.1, or "" if they do not say."""
    said = " ".join(output.split())  # uv breaks its lines anywhere
    found = (re.search(pattern, said) for pattern in UNAVAILABLE)
    return next((match[1] for match in found if match), "")


def machine_problem(system: str, machine: str) -> str:
    """Return the sentence for a machine that PyTorch no longer supports, or ""."""
    if (system, machine) == ("Darwin", "x86_64"):
        return (
            "PyTorch is no longer made for Intel Macs: use another machine; "
            "if this Mac has an Apple chip, install Python for Apple silicon and start lab.py with it."
        )
    return ""


def check_machine() -> None:
    """Raise SetupError on a machine that PyTorch no longer supports."""
    problem = machine_problem(platform.system(), platform.machine())
    if problem:
        raise SetupError(problem)


def index_answers(url: str) -> bool:
    """Ask whether a package index is there. A thread keeps the time limit, because a name look-up has none."""
    answers: queue.Queue[bool] = queue.Queue()

    def ask() -> None:
        request = urllib.request.Request(url + "/torch/", method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            answers.put(True)
        except (OSError, http.client.HTTPException):
            answers.put(False)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE)
    except queue.Empty:
        return False


def choose_index(system: str, nvidia: bool, answers) -> str:
    """Return the index for PyTorch, or "" for the default one.

    On Linux the default wheels bring gigabytes for a graphics card; without one the CPU index saves them.
    """
    return CPU_INDEX if system == "Linux" and not nvidia and answers(CPU_INDEX) else ""


def torch_pins(constraints: str) -> list[str]:
    """Return the pins of torch and torchvision from the text of constraints.txt."""
    return re.findall(r"^torch(?:vision)?==\S+", constraints, flags=re.MULTILINE)


def check_files(root: Path) -> None:
    """Raise SetupError if a file that says what to install is missing or broken; without pins, anything would be."""
    import tomllib  # which Pythons that are too old lack; they must be able to read this file

    for name in ("constraints.txt", "pyproject.toml"):
        remedy = f"get it back with `git checkout {name}` or from a fresh copy of the course, and run this again"
        try:
            text = (root / name).read_text(encoding="utf-8")
            if name == "pyproject.toml":
                tomllib.loads(text)["project"]
            elif not torch_pins(text):
                raise ValueError("it does not pin torch")
        except FileNotFoundError:
            raise SetupError(f"{root / name} is missing: {remedy}.") from None
        except KeyError as error:
            raise SetupError(f"{root / name} is broken (it lacks {error}): {remedy}.") from None
        except ValueError as error:  # of UTF-8 or TOML, too
            raise SetupError(f"{root / name} is broken ({error}): {remedy}.") from None


def stamp(root: Path, version: tuple[int, int]) -> str:
    """Return a hash of all that an installation depends on: the pins, the package's needs, Python and the folder."""
    parts = [(root / name).read_bytes() for name in ("constraints.txt", "pyproject.toml")]
    return hashlib.sha256(b"\0".join([*parts, repr(version).encode(), str(root).encode()])).hexdigest()


def environment_python(root: Path) -> Path:
    """Return the path of the Python in .venv, whether or not it is there."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment_fits(root: Path, version: tuple[int, int]) -> bool:
    """Say whether .venv is there and was made with this version of Python."""
    settings = root / ".venv" / "pyvenv.cfg"
    if not (settings.is_file() and environment_python(root).exists()):
        return False
    wanted = r"^version(_info)? = {}\.{}\.".format(*version)
    return bool(re.search(wanted, settings.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE))


def environment_command(root: Path, uv: str | None, python: str) -> list[str]:
    """Return the command that makes .venv, or repairs one that an interruption left half made."""
    if uv:
        return [uv, "venv", "--allow-existing", "--python", python, str(root / ".venv")]
    return [python, "-m", "venv", str(root / ".venv")]


def install_commands(
    python: str, uv: str | None, index: str, wheels: str, pins: list[str], what: str
) -> list[list[str]]:
    """Return the commands that install the course for a Python; the last one suffices, one before it saves gigabytes.

    index    where to take torch and torchvision from, "" for no step of their own
    wheels   folder of wheels, "" to ask the package index
    what     COURSE or COURSE_AND_TESTS
    """
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    source = ["--no-index", "--find-links", wheels] if wheels else []
    course = [*install, *source, "-c", "constraints.txt", "-e", what]
    if index and not wheels:
        return [[*install, "--no-deps", "--index-url", index, *pins], course]
    return [course]


def check_commands(python: str, arguments: list[str]) -> list[list[str]]:
    """Return every check there is; pytest comes last, so that its summary ends the output."""
    return [
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy", "labsec"],
        [python, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *arguments],
    ]


def run_quietly(command: list[str]) -> tuple[int, str]:
    """Run a command, show only the lines that report progress, return its status and all that it printed."""
    lines = []
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    )
    with process:
        for line in process.stdout or ():
            lines.append(line)
            if line.lstrip().startswith(PROGRESS):
                print("  " + line.strip()[:110], flush=True)
    return process.returncode, "".join(lines)


def fail(command: list[str], output: str) -> None:
    """Raise SetupError for a failed command; an unforeseen failure shows the end of what was printed."""
    sentence = explain_failure(output)
    if not sentence:
        print("".join(output.splitlines(keepends=True)[-20:]), file=sys.stderr)
        sentence = f"The set-up failed at `{' '.join(command)}`: the lines above say why; run this again to go on."
    raise SetupError(sentence)


def install(root: Path, version: tuple[int, int], what: str) -> None:
    """Make .venv and install COURSE or COURSE_AND_TESTS into it."""
    uv = shutil.which("uv")
    print("Setting up the course in .venv (once; this takes some minutes) ...", flush=True)
    if not environment_fits(root, version) and (root / ".venv").exists():
        shutil.rmtree(root / ".venv")
    making = environment_command(root, uv, getattr(sys, "_base_executable", None) or sys.executable)
    status, output = run_quietly(making)
    if status:
        fail(making, output)
    install_into(str(environment_python(root)), root, uv, what)


def install_into(python: str, root: Path, uv: str | None, what: str) -> None:
    """Install COURSE or COURSE_AND_TESTS for a Python, from LABSEC_WHEELS or from the package index."""
    wheels = os.environ.get("LABSEC_WHEELS", "")
    if wheels and not Path(wheels).is_dir():
        raise SetupError(f"LABSEC_WHEELS names {wheels}, which is not a folder: name the folder with the wheels.")
    nvidia = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    index = "" if wheels else choose_index(platform.system(), nvidia, index_answers)
    pins = torch_pins((root / "constraints.txt").read_text(encoding="utf-8"))
    *saving, course = install_commands(python, uv, index, wheels and os.path.abspath(wheels), pins, what)
    for command in saving:
        if run_quietly(command)[0]:
            print("  PyTorch's smaller CPU wheels cannot be had; the default ones follow.", flush=True)
    status, output = run_quietly(course)
    if status:
        fail(course, output)


def set_up(root: Path, what: str) -> None:
    """Install COURSE or COURSE_AND_TESTS unless the stamp, which is written last, says that it is there already."""
    check_machine()
    version = sys.version_info[:2]
    mark = root / ".venv" / "labsec-stamp"
    wanted = stamp(root, version)
    there = mark.is_file() and environment_python(root).exists()
    written = mark.read_text(encoding="utf-8", errors="replace").split() if there else []
    if written in ([wanted, what], [wanted, COURSE_AND_TESTS]):
        return

    # Tools for tests change nothing that the course needs: if their installation is interrupted, its stamp holds on.
    if written != [wanted, COURSE]:
        mark.unlink(missing_ok=True)
    install(root, version, what)
    mark.write_text(f"{wanted} {what}", encoding="utf-8")


def run_checks(commands: list[list[str]]) -> int:
    """Run all checks even if one fails; returns 0 if every one passed, else 1."""
    failed = []
    for command in commands:
        print("\n$ " + " ".join(command[1:]), flush=True)
        if subprocess.call(command, cwd=ROOT):
            failed.append(" ".join(command[2:4]))
    if failed:
        print("Failed: " + ", ".join(failed), flush=True)
    return 1 if failed else 0


def hand_over(command: list[str]) -> int:
    """Let the `labsec` command take this process's place, so that signals reach it; Windows has to wait for it."""
    if os.name != "nt":
        os.execv(command[0], command)
    return subprocess.call(command)


def main(arguments: list[str]) -> int:
    """Set up, then check or hand over; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pip and paths bring letters that not every terminal can print
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        check_files(ROOT)
        if arguments == ["here"]:
            check_machine()
            install_into(sys.executable, ROOT, None, COURSE)
            return 0
        testing = arguments[:1] == ["test"]
        set_up(ROOT, COURSE_AND_TESTS if testing else COURSE)
        python = str(environment_python(ROOT))
        if testing:
            return run_checks(check_commands(python, arguments[1:]))
        return hand_over([python, "-m", "labsec.cli", *(arguments or ["open", "00"])])
    except SetupError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(explain_failure(str(error)) or f"The set-up failed: {error}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted; run the same command to go on.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
