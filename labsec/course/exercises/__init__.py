"""The exercises of every lab: `labNN.EXERCISES` and `labNN.THREAT_MODEL`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from labsec.course.exercises.base import Exercise


def labs() -> list[str]:
    """The numbers of the labs that have exercises or a threat model, in order.

    >>> "01" in labs()
    True
    """
    return sorted(path.stem[3:] for path in Path(__file__).parent.iterdir() if re.fullmatch(r"lab\d\d", path.stem))


def load(lab: str) -> ModuleType:
    """The module with a lab's exercises and its threat model.

    Raises ValueError for a number that no lab has.
    """
    if lab not in labs():
        raise ValueError(f"there is no lab {lab!r}; known: {', '.join(labs())}")
    return import_module(f"labsec.course.exercises.lab{lab}")


def find(exercise_id: str) -> Exercise:
    """One exercise by its id.

    >>> find("01.5").title
    'The weighted mean'

    Raises ValueError for an unknown id, and names the known ones.
    """
    lab = exercise_id.split(".")[0]
    known: dict[str, Exercise] = {e.id: e for e in load(lab).EXERCISES} if lab in labs() else {}
    if exercise_id not in known:
        every = known or {e.id: e for lab in labs() for e in load(lab).EXERCISES}
        raise ValueError(f"there is no exercise {exercise_id!r}; known: {', '.join(every)}")
    return known[exercise_id]
