"""Files that survive: written whole or not at all, changed by one process at a time, and named when they are broken.

Only the standard library is loaded with this module, so that the command line can report a fault without the rest.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labsec.files import CLONE, COURSE, PACKAGE

LOCK_PATIENCE = 30.0  # seconds; whoever holds a lock writes one small file

FULL = "free some space and run the command again"
NOT_WRITABLE = "work in a folder that you can write to, or change its permissions"
NO_SUCH = "check the name, or get the missing file back by cloning or installing the course again"
REMEDIES = {  # what a learner can do about an error of the operating system; any other one is a bug
    errno.ENOSPC: FULL,
    errno.EFBIG: FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): FULL,  # Windows knows no quota
    errno.EROFS: NOT_WRITABLE,
    errno.EACCES: NOT_WRITABLE,
    errno.EPERM: NOT_WRITABLE,
    errno.ENOENT: NO_SUCH,
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or name another folder",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or name another folder",
    errno.EISDIR: "a folder stands where a file is needed: move it away",
    errno.EIO: "the disk or its connection is at fault: check it and run the command again",
    errno.EMFILE: "close other programs, or raise the limit on open files (`ulimit -n`)",
    errno.ENOMEM: "close other programs and run the command again",
}


class BrokenFileError(ValueError):
    """A file is not what it should be. The message is one sentence: which file, what is wrong, what to do."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path} is broken ({problem}): {remedy}.")
        self.problem = problem


def in_one_sentence(error: OSError) -> str:
    """An error of the operating system for a reader: the file, what is wrong, and what to do; "" for an unknown kind.

    >>> in_one_sentence(OSError(errno.ENOSPC, "No space left on device", "my/02.ipynb"))
    'my/02.ipynb: No space left on device: free some space and run the command again.'
    >>> in_one_sentence(OSError("my/02.ipynb is missing: get it back."))
    'my/02.ipynb is missing: get it back.'
    >>> in_one_sentence(OSError(errno.EBADF, "Bad file descriptor"))
    ''
    """
    if error.errno is None:
        return str(error)  # raised by the course itself, with a sentence of its own
    if error.errno not in REMEDIES:
        return ""
    file = error.filename2 or error.filename  # of a copy, the file that was written comes second
    place = f"{file}: " if file is not None else ""
    return f"{place}{error.strerror}: {REMEDIES[error.errno]}."


def how_to_restore(path: Path) -> str:
    """How a reader gets back a file that came with the course, to be said behind a colon."""
    clone = CLONE
    if clone is None and not COURSE.is_dir():
        clone = PACKAGE.parent  # its pyproject.toml, by which a clone is known, is what is missing or broken
    if clone is not None and path.is_relative_to(clone):
        name = path.relative_to(clone).as_posix()
        return f"get it back with `git checkout {name}` or from a fresh copy of the course"
    return "install labsec again (`pip install --force-reinstall labsec`)"


def read_text(path: Path, remedy: str) -> str:
    """The text of a file that the course cannot do without.

    remedy    what to do if it is missing or broken, to follow a colon

    Raises FileNotFoundError or BrokenFileError; each message is one sentence with file and remedy.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {remedy}.") from None
    except UnicodeDecodeError as error:
        raise BrokenFileError(path, f"byte {error.start} is not UTF-8", remedy) from None


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file that the course cannot do without; raises what `read_text` raises."""
    try:
        return json.loads(read_text(path, remedy))
    except json.JSONDecodeError as error:
        raise BrokenFileError(path, f"not JSON: {error}", remedy) from None


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside a target that takes the target's place when the block ends without an error.

    Whatever happens, the target is the old file or the whole new one: also after a `kill -9`, and when two processes
    write it at the same time, because each has a temporary file of its own.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "table.csv")
    ...     with replacing(file) as partial:
    ...         _ = partial.write_text("1,2")
    ...         file.exists()
    ...     file.read_text(), len(list(Path(folder).iterdir()))
    False
    ('1,2', 1)

    Raises OSError, with the name of the target, if it cannot be written.
    """
    target = Path(os.path.realpath(target))  # a link stays one: what it points to is replaced
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with _naming(target, partial):
            yield partial
            partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file whole or not at all, with the same bytes on every system; raises OSError as `replacing`."""
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out while a shared file is read and changed: whoever changes it must take this lock.

    The lock is a hidden file beside it, and it ends with its process.

    Raises TimeoutError if another process holds the lock for half a minute; OSError where no lock can be made.
    """
    from filelock import FileLock, Timeout

    lock = path.with_name(f".{path.name.lstrip('.')}.lock")
    try:
        with _naming(path, lock):
            holding = FileLock(lock).acquire(timeout=LOCK_PATIENCE, poll_interval=0.005)
    except Timeout:
        raise TimeoutError(
            f"{path} is held by another process: end the other `labsec` or notebook that uses it, and try again."
        ) from None
    with holding:
        yield


def append_line(path: Path, line: str) -> None:
    """Add a line to a file to which other processes may be adding, too.

    A last line without its end was left by a process that was killed; it is cut off first, so that it costs no other.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "runs.jsonl")
    ...     _ = file.write_text("whole" + chr(10) + "to")
    ...     append_line(file, "next")
    ...     file.read_text().split()
    ['whole', 'next']

    Raises OSError, with the name of the file, if it cannot be written.
    """
    with _naming(path), locked(path), path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if size and file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")


def check_writable(folder: Path) -> None:
    """Raise OSError, with the folder's name, if nothing can be written there: it is read-only, or its disk is full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        error.filename = str(folder)
        raise


@contextmanager
def _naming(path: Path, *stand_ins: Path) -> Iterator[None]:
    """Make an OSError of the block name the file that a reader knows, where it names a stand-in for it or nothing."""
    try:
        yield
    except OSError as error:
        named = {error.filename, error.filename2} - {None}
        if error.errno is not None and (not named or named & {str(each) for each in stand_ins}):
            error.filename = str(path)
            error.filename2 = None
        raise
