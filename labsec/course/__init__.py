"""What teaches: exercises and their checks, panels, cards, claims, and how a lab is made.

checking, compare, exercises, progress_file     what a learner builds, and how good an answer is so far
prediction, question, guesses, showing, dots    what a learner predicts, and the result beside it
quizzes, questions                              questions with feedback; what was found, lab by lab
panels, live                                    pictures with sliders that re-run the real thing
card, cards, claims, ledger                     things to read, claims and their verdicts
build, skeleton                                 from one source to two notebooks; a new lab
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labsec.lazy import lazily

if TYPE_CHECKING:
    from labsec.course.checking import check as check
    from labsec.course.checking import exercise as exercise
    from labsec.course.checking import hint as hint
    from labsec.course.checking import progress as progress
    from labsec.course.prediction import after as after
    from labsec.course.prediction import commit as commit
    from labsec.course.prediction import predict as predict
    from labsec.course.prediction import reveal as reveal
    from labsec.course.quizzes import quiz as quiz

__all__ = ["after", "check", "commit", "exercise", "hint", "predict", "progress", "quiz", "reveal"]
_HOMES = {
    "checking": ("check", "exercise", "hint", "progress"),
    "prediction": ("after", "commit", "predict", "reveal"),
    "quizzes": ("quiz",),
}
__getattr__ = lazily(
    "labsec.course",
    {name: f"labsec.course.{module}:{name}" for module, names in _HOMES.items() for name in names},
)
