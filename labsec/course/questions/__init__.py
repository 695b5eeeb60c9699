"""What each lab asks and must not give away before: `labNN.FINDINGS` of its predictions, and `labNN.QUIZ`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from labsec.course.questions.base import Finding


def labs() -> list[str]:
    """The numbers of the labs that have questions, in order.

    >>> "02" in labs()
    True
    """
    return sorted(path.stem[3:] for path in Path(__file__).parent.iterdir() if re.fullmatch(r"lab\d\d", path.stem))


def load(lab: str) -> ModuleType:
    """The module with the findings and the quiz of a lab.

    Raises ValueError for a lab that has none.
    """
    if lab not in labs():
        raise ValueError(f"lab {lab!r} has no questions; known: {', '.join(labs())}")
    return import_module(f"labsec.course.questions.lab{lab}")


def finding(id: str) -> Finding:
    """What was found where a prediction was asked for.

    Raises ValueError for an id without a finding, and names the known ones of its lab.
    """
    found: dict[str, Finding] = load(id.split(".")[0]).FINDINGS
    if id not in found:
        raise ValueError(f"question {id!r} has no finding; known: {', '.join(found)}")
    return found[id]
