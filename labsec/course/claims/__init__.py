"""The claims of every lab, and what measures them: `labNN.CLAIMS`.

base      what a claim is, what is measured, and its record
numbers   the numbers of a measured claim: committed, looked up, run again
show      asks for the learner's own verdict, then shows the card
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from labsec.course.claims.base import MIME, AnyClaim, Claim, Reading, Sourced, numbers_in_words

__all__ = ["MIME", "AnyClaim", "Claim", "Reading", "Sourced", "find", "labs", "numbers_in_words", "of_lab"]


def labs() -> list[str]:
    """The numbers of the labs that have claims, in order.

    >>> labs()
    ['01', '02'...]
    """
    return sorted(path.stem[3:] for path in Path(__file__).parent.iterdir() if re.fullmatch(r"lab\d\d", path.stem))


def of_lab(lab: str) -> tuple[AnyClaim, ...]:
    """The claims of one lab.

    >>> [claim.id for claim in of_lab("01")]
    ['1', '2', '3', '4', '4b', '5', '6']

    Raises ValueError for a lab that has none.
    """
    if lab not in labs():
        raise ValueError(f"lab {lab!r} has no claims; known: {', '.join(labs())}")
    return tuple(import_module(f"labsec.course.claims.lab{lab}").CLAIMS)


def find(id: str) -> tuple[str, AnyClaim]:
    """The lab of a claim, and the claim.

    >>> find("34")[1].statement
    "Trimmed Mean and Krum replace FedAvg's mean."

    Raises ValueError for an unknown number, and names the known ones.
    """
    known = {claim.id: (lab, claim) for lab in labs() for claim in of_lab(lab)}
    if id not in known:
        raise ValueError(f"there is no claim {id!r}; known: {', '.join(known)}")
    return known[id]
