"""The `labsec` command. Only the standard library is imported here, so that `doctor` runs where torch is broken."""

import argparse
import codecs
import io
import itertools
import math
import os
import shutil
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from labsec import browser as browsers
from labsec import storage
from labsec.course import progress_file as progress
from labsec.files import CLONE, COURSE, PACKAGE, learners_folder

MODELS = ("mlp", "convnet", "lenet")  # the networks that `labsec capture` knows


class CourseError(Exception):
    """A sentence for the learner: what is wrong and what to do."""


def notebook_names(course: Path) -> list[str]:
    """Return the file names of the built notebooks, in the order of the labs.

    course    the folder that holds notebooks/
    returns   names such as 00_start_here.ipynb

    Raises CourseError if the folder holds no notebook.
    """
    names = sorted(path.name for path in (course / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not names:
        raise CourseError(f"There are no notebooks in {course / 'notebooks'}: run lab.py in a clone of the course.")
    return names


def notebook_name(number: str, course: Path) -> str:
    """Return the file name of one lab's notebook.

    number    of the lab: "02", or "2" for short

    Raises CourseError if there is no such lab, and names the labs that exist.
    """
    names = notebook_names(course)
    for name in names:
        if name[:2] in (number, f"0{number}"):
            return name
    raise CourseError(f"There is no lab {number!r}; there are {', '.join(name[:2] for name in names)}.")


def copy_missing(course: Path) -> list[str]:
    """Copy into my/ every notebook that is not there yet; a learner's copy is never overwritten.

    returns   the names that were copied
    """
    mine = learners_folder(course)
    mine.mkdir(exist_ok=True)
    missing = [name for name in notebook_names(course) if not (mine / name).exists()]
    for name in missing:
        with storage.replacing(mine / name) as partial:
            shutil.copyfile(course / "notebooks" / name, partial)
    return missing


def free_backup(notebook: Path) -> Path:
    """Return the first name of the form NN_topic.backup-1.ipynb that is not taken."""
    candidates = (notebook.with_name(f"{notebook.stem}.backup-{count}.ipynb") for count in itertools.count(1))
    return next(path for path in candidates if not path.exists())


def reset(number: str, course: Path) -> Path | None:
    """Put a fresh copy of one lab into my/ and keep the learner's own as a numbered backup.

    returns   the backup, or None if the learner had no copy
    """
    name = notebook_name(number, course)
    mine = learners_folder(course) / name
    backup = free_backup(mine) if mine.exists() else None
    mine.parent.mkdir(exist_ok=True)

    # The fresh copy is there before the old one moves: where the disk is full, everything stays as it is.
    with storage.replacing(mine) as partial:
        shutil.copyfile(course / "notebooks" / name, partial)
        if backup:
            mine.rename(backup)
    progress.forget(name[:2], mine.parent)
    return backup


def jupyter_environment(course: Path, temporary: str, inherited: str = "") -> dict[str, str]:
    """Return the environment that gives the learner the course's JupyterLab and leaves their own untouched.

    What should last (layout, settings, the trust in outputs) is kept in my/.jupyter. Tokens and connection files go
    to a temporary folder on the local disk: they must be readable by their owner only, which a shared or foreign
    file system cannot promise, and they are worthless once the server has ended.

    temporary   folder that lives as long as the server
    inherited   JUPYTER_CONFIG_PATH so far; it stays, behind the course's own
    """
    kept = learners_folder(course) / ".jupyter"
    return {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [str(PACKAGE), inherited])),
        "JUPYTER_CONFIG_DIR": str(kept / "config"),
        "JUPYTER_DATA_DIR": str(kept / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(kept / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(kept / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(Path(temporary, "runtime")),
        "IPYTHONDIR": str(Path(temporary, "ipython")),
    }


def jupyter_arguments(course: Path, name: str, *, browser: bool, port: int | None) -> list[str]:
    """Return JupyterLab's command line: this machine only, opened at one notebook of my/."""
    arguments = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={learners_folder(course)}",
        f"--LabApp.default_url=/lab/tree/{name}",
        "--ServerApp.allow_root=True",
        "--ServerApp.use_redirect_file=False",  # the course's own browser writes one that more browsers can read
        f"--ServerApp.browser={browsers.NAME}",
        f"--ContentsManager.hide_globs={['__pycache__', '*.pyc', '*~', browsers.PAGE.format('*')]}",
        "--ServerApp.jpserver_extensions=jupyterlab_jupytext=False",  # adds buttons, and opens scripts as notebooks
        "--ServerApp.jpserver_extensions=jupyter_lsp=False",  # runs npm, which writes into the home folder
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]
    if port is not None:
        arguments.append(f"--ServerApp.port={port}")
    if not browser:
        arguments.append("--no-browser")
    return arguments


def open_lab(number: str, course: Path, *, browser: bool, port: int | None) -> None:
    """Open JupyterLab at the learner's copy of a lab; returns when the server has ended.

    Raises CourseError if there is no such lab or something that JupyterLab needs is missing; OSError if the learner's
    folder cannot be written.
    """
    name = notebook_name(number, course)
    copy_missing(course)
    mine = learners_folder(course)
    storage.check_writable(mine)  # or JupyterLab would start, and fail to save
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise CourseError(f"{error.strerror}: free some space, or let TMPDIR name a folder of yours.") from error
    with tempfile.TemporaryDirectory(prefix="labsec-", ignore_cleanup_errors=True) as temporary:
        os.environ.update(jupyter_environment(course, temporary, os.environ.get("JUPYTER_CONFIG_PATH", "")))
        try:
            from jupyterlab.labapp import main as jupyterlab  # type: ignore[import-untyped]
        except ImportError as error:
            raise CourseError(f"JupyterLab cannot be imported ({error}): run `python3 lab.py doctor`.") from error
        with browsers.private_browser(browsers.page_folders(mine, Path(temporary))) as found:
            jupyterlab(jupyter_arguments(course, name, browser=browser and found, port=port))


def port_number(text: str) -> int:
    """Return the port that an argument names; raises ArgumentTypeError if there is no such port."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a whole number from 1 to 65535, such as 8888; got {text!r}")
    return int(text)


def count(text: str) -> int:
    """Return the whole number that an argument names; raises ArgumentTypeError unless it is at least 1."""
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, such as 2; got {text!r}")
    return int(text)


def whole(text: str) -> int:
    """Return the whole number that an argument names; raises ArgumentTypeError unless it is at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, such as 2; got {text!r}")
    return int(text)


def positive(text: str) -> float:
    """Return the number that an argument names; raises ArgumentTypeError unless it is finite and above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 0.5; got {text!r}")
    return number


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="labsec", description="Attack and defend federated learning.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    opening = commands.add_parser("open", help="open a lab in JupyterLab, on your own copy in my/")
    opening.add_argument("number", nargs="?", default="00", metavar="NN")
    opening.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    opening.add_argument("--port", type=port_number, help="port on 127.0.0.1 (default: the first free one from 8888)")
    building = commands.add_parser("build", help="make the notebooks from solutions/ (for authors)")
    building.add_argument("numbers", nargs="*", metavar="NN")
    starting = commands.add_parser("new", help="write a lab that works, for you to change (for authors)")
    starting.add_argument("name", metavar="NN_topic", help="such as 03_backdoors")
    checking = commands.add_parser("doctor", help="say what works on this machine, and what to do about the rest")
    checking.add_argument("--json", action="store_true", help="the same for programs")
    resetting = commands.add_parser("reset", help="start a lab afresh; your copy is kept as a backup")
    resetting.add_argument("number", metavar="NN")
    _add_wheels(commands.add_parser("wheels", help="fetch all packages for a room without a network (for teachers)"))
    commands.add_parser("ledger", help="print the claims and their verdicts")
    _add_matrix(commands.add_parser("matrix", help="run every attack against every rule, and plot the results"))
    _add_capture(commands.add_parser("capture", help="write down what a curious server holds of one client's round"))
    _add_invert(commands.add_parser("invert", help="read samples out of a captured update (your own data only)"))
    return top


def _add_capture(capturing: argparse.ArgumentParser) -> None:
    capturing.description = "Runs a federation as far as the round, and writes what one client sent in it."
    capturing.add_argument("file", type=Path, metavar="FILE", help="such as update.safetensors; never overwritten")
    capturing.add_argument("--data", default="digits", help="name of a data set (default: digits)")
    capturing.add_argument("--model", choices=MODELS, default="mlp", help="of the clients (default: mlp)")
    capturing.add_argument("--clients", type=count, default=20, metavar="N", help="in the federation (default: 20)")
    capturing.add_argument("--client", type=whole, default=0, metavar="N", help="whose message (default: 0)")
    capturing.add_argument("--round", type=whole, default=0, metavar="N", help="of the message (default: 0, the first)")
    capturing.add_argument("--local-steps", type=count, default=1, metavar="N", help="of a client (default: 1)")
    capturing.add_argument("--batch-size", type=count, default=1, metavar="N", help="samples of a step (default: 1)")
    capturing.add_argument("--lr", type=positive, default=0.1, help="learning rate of the clients (default: 0.1)")
    capturing.add_argument("--seed", type=whole, default=0, metavar="N", help="of every draw (default: 0)")


def _add_invert(inverting: argparse.ArgumentParser) -> None:
    inverting.description = (
        "Use it on your own data and systems only. Writes the reconstruction, pictures, a report and numbers. With a "
        "larger budget, the same command goes on from the best that was kept."
    )
    inverting.add_argument("file", type=Path, metavar="FILE", help="a captured update, as `labsec capture` writes it")
    inverting.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the files go")
    inverting.add_argument(
        "--message", type=whole, default=0, metavar="N", help="which message of the file (default: 0)"
    )
    inverting.add_argument(
        "--seconds",
        type=positive,
        default=60.0,
        metavar="S",
        help="of processor time, with earlier calls (60)",
    )
    inverting.add_argument("--seed", type=whole, default=0, metavar="N", help="of the random starts (default: 0)")


def _add_matrix(measuring: argparse.ArgumentParser) -> None:
    measuring.description = "Finished runs are kept: a command that was stopped resumes where it was."
    measuring.add_argument(
        "tables", nargs="*", metavar="TABLE", help="matrix (default), breakdown, three_percent, defences"
    )
    measuring.add_argument("--seeds", type=count, default=1, metavar="N", help="runs of each cell (default: 1)")
    measuring.add_argument("--jobs", type=count, default=2, metavar="N", help="processes at a time (default: 2)")
    measuring.add_argument("--folder", type=Path, help="where the files go (default: my/; the lab reads docs/)")


def _add_wheels(fetching: argparse.ArgumentParser) -> None:
    here = "{}.{}".format(*sys.version_info)
    fetching.description = "Copy the folder to each machine, and set the course up with LABSEC_WHEELS=FOLDER."
    fetching.add_argument("folder", type=Path, metavar="FOLDER")
    fetching.add_argument(
        "--for", dest="machines", required=True, metavar="M,…", help="linux, linux-arm64, windows, macos"
    )
    fetching.add_argument("--python", default=here, metavar="V,…", help=f"Pythons of the room (default: {here})")
    fetching.add_argument(
        "--cpu", action="store_true", help="leave out what PyTorch brings for graphics cards on Linux"
    )
    fetching.add_argument("--test", action="store_true", help="add the tools for `lab.py test`")


def fetch_wheels(arguments: argparse.Namespace, course: Path) -> None:
    """Fill the folder of a `wheels` command and say how; raises CourseError if a package cannot be had."""
    from labsec import wheels

    machines, pythons = arguments.machines.split(","), arguments.python.split(",")
    try:
        found = wheels.fill(
            arguments.folder, course, machines=machines, pythons=pythons, cpu=arguments.cpu, tests=arguments.test
        )
    except ValueError as error:
        raise CourseError(f"{error}.") from error
    size = sum(wheel.stat().st_size for wheel in found)
    print(f"{len(found)} wheels, {size / 1e9:.1f} GB, are in {arguments.folder}.")
    print(f"On each machine: LABSEC_WHEELS={arguments.folder} python3 lab.py")


def measure_tables(arguments: argparse.Namespace, course: Path) -> None:
    """Measure the tables of a `matrix` command and say which files it wrote; raises CourseError for a wrong one."""
    from labsec import matrix
    from labsec.study.catalogue import find

    tables = arguments.tables or ["matrix"]
    try:
        for table in tables:
            find(matrix.TABLES, "table", table)
    except ValueError as error:
        raise CourseError(f"{error}.") from error
    folder = arguments.folder or learners_folder(course)
    for table in tables:
        files = matrix.write(table, folder, seeds=arguments.seeds, jobs=arguments.jobs)
        print("\n".join(f"Wrote {file}." for file in files))


def capture_update(arguments: argparse.Namespace) -> None:
    """Write the file of a `capture` command; raises CourseError for one that is there, and for what cannot be run."""
    from labsec import Scenario, data, models
    from labsec.study import capture

    if arguments.file.exists():
        raise CourseError(f"{arguments.file} is there already, and is kept: name another file, or move it away.")
    try:
        samples = data.load(arguments.data)
        model = getattr(models, arguments.model)(samples.shape, samples.classes)
        scenario = Scenario(
            data=samples,
            model=model,
            clients=arguments.clients,
            local_steps=arguments.local_steps,
            batch_size=arguments.batch_size,
            lr=arguments.lr,
            seed=arguments.seed,
        )
        captured = capture.from_run(scenario, round=arguments.round, client=arguments.client)
        capture.save(arguments.file, captured.view, round=captured.round)
    except storage.BrokenFileError:
        raise
    except ValueError as error:
        raise CourseError(f"Nothing was captured: {error}.") from error
    print(f"Wrote {arguments.file}: round {captured.round} of client {arguments.client}, {model.name}.")


def invert_update(arguments: argparse.Namespace) -> None:
    """Fill the folder of an `invert` command, and say what was found; raises CourseError for a file that is none."""
    from tqdm import tqdm

    from labsec.study import inversion

    layout = "{l_bar}{bar}| {n:.1f}/{total:.0f} s{postfix}"
    with tqdm(total=arguments.seconds, bar_format=layout, disable=None) as bar:

        def progress(spent: float, least: float) -> None:
            bar.set_postfix_str(f"unexplained {least:.2g}", refresh=False)
            bar.update(min(spent, arguments.seconds) - bar.n)

        try:
            found = inversion.invert_file(
                arguments.file,
                arguments.out,
                message=arguments.message,
                seconds=arguments.seconds,
                seed=arguments.seed,
                progress=progress,
            )
        except storage.BrokenFileError:
            raise
        except ValueError as error:
            raise CourseError(f"Nothing was inverted: {error}.") from error
    if len(found.estimate):
        said = f"{len(found.estimate)} sample(s) by {found.method}, which leave {found.unexplained:.2g} of the message"
        print(f"Found {said} unexplained; a guess without the message leaves {found.baseline:.2g}.")
    else:
        print("No attack applies; the report says why.")
    print(f"Wrote {arguments.out / inversion.PAGE} and what it shows.")


def build_labs(numbers: list[str]) -> None:
    """Build some labs, or all; raises CourseError if there is no such lab, or one cannot be published."""
    from labsec.course.build import BuildError, build

    try:
        build(numbers)
    except BuildError as error:
        raise CourseError(f"Nothing more was built: {error}.") from error


def new_lab(name: str, course: Path) -> None:
    """Write the skeleton of a lab and say which files it wrote; raises CourseError for a name that cannot be had."""
    from labsec.course import skeleton

    try:
        files = skeleton.new(name, course)
    except storage.BrokenFileError:
        raise
    except ValueError as error:
        raise CourseError(f"No lab was made: {error}.") from error
    for file in files:
        done = "Added a row to" if file.name == "README.md" else "Wrote"
        print(f"{done} {file.relative_to(course)}.")
    print(f"Next: python3 lab.py build {name[:2]}. How a lab is made is in CONTRIBUTING.md.")


def run_command(arguments: argparse.Namespace, course: Path) -> int:
    """Carry out one parsed command; returns the exit status."""
    if not course.is_dir() and arguments.command != "doctor":
        project = PACKAGE.parent / "pyproject.toml"  # by which a clone is known
        raise CourseError(f"{project} is missing or broken: {storage.how_to_restore(project)}.")
    if arguments.command in ("build", "new", "wheels") and CLONE is None:
        raise CourseError(f"`labsec {arguments.command}` needs the course's repository: run it in a clone.")
    match arguments.command:
        case "open":
            open_lab(arguments.number, course, browser=not arguments.no_browser, port=arguments.port)
        case "build":
            build_labs(arguments.numbers)
        case "new":
            new_lab(arguments.name, course)
        case "doctor":
            from labsec.doctor import doctor

            return doctor(course if course.is_dir() else PACKAGE.parent, as_json=arguments.json)
        case "reset":
            backup = reset(arguments.number, course)
            print(f"Lab {arguments.number} starts afresh." + (f" Your own copy is {backup}." if backup else ""))
        case "wheels":
            fetch_wheels(arguments, course)
        case "ledger":
            from labsec.course.ledger import show

            print(show())
        case "matrix":
            measure_tables(arguments, course)
        case "capture":
            capture_update(arguments)
        case "invert":
            invert_update(arguments)
    return 0


STAND_INS = {"✓": "+", "–": "-", "✗": "x", "…": "...", "±": "+/-"}  # for terminals that cannot print these


def in_other_letters(error: UnicodeError) -> tuple[str, int]:
    """Return what is printed for letters that the terminal does not know, and where to go on: a handler of `codecs`.

    >>> in_other_letters(UnicodeEncodeError("ascii", "✓ é", 0, 1, ""))
    ('+', 1)
    >>> in_other_letters(UnicodeEncodeError("ascii", "✓ é", 2, 3, ""))
    ('?', 3)
    """
    assert isinstance(error, UnicodeEncodeError), "only output is encoded with this handler"
    unknown = error.object[error.start : error.end]
    return "".join(STAND_INS.get(letter, "?") for letter in unknown), error.end


def print_everywhere() -> None:
    """Let stdout and stderr replace letters that they cannot encode, in place of raising an error."""
    codecs.register_error("labsec", in_other_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # with a closed one, Python has None
            stream.reconfigure(errors="labsec")


def drop_output() -> None:
    """Forget what stdout still holds, where it cannot be written: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: list[str] | None = None) -> int:
    """Run the `labsec` command. Every fault that is no bug is told here, in one sentence.

    arguments   without the program's name; None takes those of the process
    returns     the exit status: 0, or 1 after one sentence on stderr
    """
    print_everywhere()
    parsed = parser().parse_args(arguments)
    try:
        status = run_command(parsed, COURSE)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk behind it is told below
        return status
    except (CourseError, storage.BrokenFileError) as error:
        said = str(error)
    except BrokenProcessPool:
        said = (
            "A process of the sweep was ended from outside, perhaps because the memory was full: run the same command "
            "again with fewer --jobs, and it goes on where it was."
        )
    except BrokenPipeError:  # whoever reads the output has seen enough, as in `labsec ledger | head`
        drop_output()
        return 0
    except OSError as error:
        said = storage.in_one_sentence(error)
        if not said:
            raise
        drop_output()
    except KeyboardInterrupt:
        print("Interrupted; run the same command to resume.", file=sys.stderr)
        return 130
    print(said, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
