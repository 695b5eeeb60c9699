"""Which exercises a learner has passed: a small file beside the learner's notebooks, sent nowhere.

Only the standard library is used here, so that the command line can clear an entry without loading torch.
"""

from __future__ import annotations

import json
from pathlib import Path

from labsec.files import COURSE

FILE = ".progress.json"
_session: dict[str, str] = {}  # so that a folder that keeps nothing still shows what was done in it
GENERATED = [COURSE / name for name in ("notebooks", "solutions")]


def read(folder: Path | None = None) -> dict[str, str]:
    """What is known, exercise id -> "PASS", "NOT YET" or "TODO"; empty where there is no file that can be read."""
    try:
        known = json.loads(((folder or Path.cwd()) / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(state) for key, state in known.items()} if isinstance(known, dict) else {}


def states() -> dict[str, str]:
    """What is kept in the current folder, and what was done since this process started."""
    return {**read(), **_session}


def note(exercise_id: str, state: str) -> None:
    """Keep the state of an exercise in the current folder; a folder of the course or a read-only one keeps nothing."""
    _session[exercise_id] = state
    if Path.cwd().resolve() not in GENERATED:
        _write(Path.cwd(), {**read(), exercise_id: state})


def forget(lab: str, folder: Path | None = None) -> None:
    """Clear the entries of one lab, for a fresh start."""
    known = read(folder)
    left = {key: state for key, state in known.items() if not key.startswith(f"{lab}.")}
    if left != known:
        _write(folder or Path.cwd(), left)


def _write(folder: Path, states: dict[str, str]) -> None:
    # Written beside the file and then renamed, so that an interruption leaves the old file whole.
    partial = folder / f"{FILE}.partial"
    try:
        partial.write_text(json.dumps(dict(sorted(states.items())), indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / FILE)
    except OSError:
        return  # progress is a convenience: a read-only folder must not stop a lab
