"""Which exercises a learner has passed: a small file beside the learner's notebooks, sent nowhere.

Only the standard library is used here, so that the command line can clear an entry without loading torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from labsec import storage
from labsec.files import COURSE

FILE = ".progress.json"
_session: dict[str, str] = {}  # so that a folder that keeps nothing still shows what was done in it
GENERATED = [COURSE / name for name in ("notebooks", "solutions")]


def read(folder: Path | None = None) -> dict[str, str]:
    """What is known, exercise id -> "PASS", "NOT YET" or "TODO"; empty where there is no file that can be read."""
    try:
        return _kept((folder or Path.cwd()) / FILE)
    except OSError:
        return {}


def states() -> dict[str, str]:
    """What is kept in the current folder, and what was done since this process started."""
    return {**read(), **_session}


def note(exercise_id: str, state: str) -> None:
    """Keep the state of an exercise in the current folder; a folder of the course or a read-only one keeps nothing."""
    _session[exercise_id] = state
    if Path.cwd().resolve() in GENERATED:
        return
    try:
        _change(Path.cwd() / FILE, lambda known: {**known, exercise_id: state})
    except OSError:
        return  # progress is a convenience: a folder that is read-only or full must not stop a lab


def forget(lab: str, folder: Path | None = None) -> None:
    """Clear the entries of one lab, for a fresh start; raises OSError where the file cannot be changed."""
    file = (folder or Path.cwd()) / FILE
    if any(key.startswith(f"{lab}.") for key in read(folder)):
        _change(file, lambda known: {key: state for key, state in known.items() if not key.startswith(f"{lab}.")})


def _kept(file: Path) -> dict[str, str]:
    """What a file says; a missing one and one that holds something else say nothing. Raises OSError."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(key): str(state) for key, state in known.items()} if isinstance(known, dict) else {}


def _change(file: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    # Two notebooks may be checked at the same moment: each reads what the other has written, or its entries are lost.
    with storage.locked(file):
        states = change(_kept(file))
        storage.write_text(file, json.dumps(dict(sorted(states.items())), indent=1) + "\n")
