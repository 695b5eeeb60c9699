"""What teaches: exercises and their checks, panels, cards, claims, and how a lab is made.

checking, compare, exercises, progress_file   what a learner builds, and how good an answer is so far
panels, live                                  pictures with sliders that re-run the real thing
card, cards, claims, ledger                   things to read, claims and their verdicts
build, skeleton                               from one source to two notebooks; a new lab
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labsec.lazy import lazily

if TYPE_CHECKING:
    from labsec.course.checking import check as check
    from labsec.course.checking import exercise as exercise
    from labsec.course.checking import hint as hint
    from labsec.course.checking import progress as progress

__all__ = ["check", "exercise", "hint", "progress"]
__getattr__ = lazily(
    "labsec.course", {name: f"labsec.course.checking:{name}" for name in ("check", "exercise", "hint", "progress")}
)
