"""What lab 08 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4:
# 08.a    accuracy of 7 of 2,410 numbers with error feedback, 40 rounds, in percent: 90.8, 89.7, 89.7, 90.3, 88.9;
#         without it 38.4, 27.3, 40.1, 46.0, 30.9
# 08.b    of ten pictures, a random tenth of each message, kept entries alone: 10 in all five; plain 0 in all five; the
#         largest tenth in place of a random one 4, 8, 9, 7, 6
FINDINGS = {
    "08.a": Finding(
        "89 to 91 % in five seeds, where forgetting what was left out gave 27 to 46 %.",
        seen=(85.0, 94.0),
    ),
    "08.b": Finding(
        "Ten of ten in five seeds, and the plain attacker none.",
        seen=(9, 10),
    ),
    "08.c": Finding(
        "x",
        seen=(90.0, 100.0),
    ),
}
QUIZ = ()
TEACHING = Teaching(skip="", discuss=("", "", ""))
FINDINGS |= {f"08.{c}": Finding("x", seen=(0.0, 100.0)) for c in "def"}
