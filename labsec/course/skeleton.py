"""A new lab: the template under the lab's own number, and a row for it in the README.

The template (labsec/course/lab_template) is a small lab that works, so that a new one builds and passes every test
before a word of it has been changed. Only the standard library is used here.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from labsec import storage

TEMPLATE = Path(__file__).parent / "lab_template"
NAME = re.compile(r"(\d\d)_([a-z][a-z0-9_]*)")
LAB_ROW = re.compile(r"^\| \[(\d\d) .*\]\(solutions/.*\n", re.MULTILINE)


def new(name: str, course: Path) -> list[Path]:
    """Write the files of a new lab and add it to the README.

    name       such as "03_backdoors"
    course     the folder that holds solutions/ and labsec/
    returns    the files that were written

    Raises ValueError for a name of another form, a number that is taken, or a README without a table of labs, and
    OSError if a file cannot be written; then nothing is written.
    """
    form = NAME.fullmatch(name)
    if not form:
        raise ValueError(
            "a lab's name is two digits, an underscore, and lower-case letters, digits or underscores, "
            f"such as 03_backdoors; got {name!r}"
        )
    number, topic = form.groups()
    taken = sorted((course / "solutions").glob(f"{number}_*.py"))
    taken += sorted((course / "labsec/course").glob(f"*/lab{number}*"))
    if taken:
        raise ValueError(f"the number {number} is taken by {taken[0].relative_to(course)}")
    title = topic.replace("_", " ").capitalize()
    readme = course / "README.md"
    texts = {
        course / f"solutions/{name}.py": _filled("solution.py.txt", number, title),
        course / f"labsec/course/exercises/lab{number}.py": _filled("exercises.py", number, title),
        course / f"labsec/course/panels/lab{number}.py": _filled("panel.py", number, title),
        course / f"labsec/course/questions/lab{number}.py": _filled("questions.py", number, title),
        course / f"labsec/course/claims/lab{number}.py": _filled("claims.py", number, title),
        readme: with_row(storage.read_text(readme, storage.how_to_restore(readme)), name, title),
    }

    # All are written before the first takes its place: where the disk is full, no lab is left half made.
    with ExitStack() as all_or_none:
        for path, text in texts.items():
            partial = all_or_none.enter_context(storage.replacing(path))
            partial.write_text(text, encoding="utf-8", newline="\n")
    return list(texts)


def _filled(part: str, number: str, title: str) -> str:
    """A file of the template with its placeholders filled in."""
    text = (TEMPLATE / part).read_text(encoding="utf-8")
    text = text.replace("labsec.course.lab_template.exercises", f"labsec.course.exercises.lab{number}")
    text = text.replace("## Exercise NN.", f"## Exercise {int(number)}.")  # as a heading: 3.1; as an id: 03.1
    return text.replace("NN", number).replace("TOPIC", title)


def with_row(readme: str, name: str, title: str) -> str:
    """The README with a row for a lab, behind those with smaller numbers.

    >>> table = "| lab | question | minutes |\\n|---|---|---|\\n| [00 Start](solutions/00_start.ipynb) | Who? | 25 |\\n"
    >>> print(with_row(table, "03_backdoors", "Backdoors").splitlines()[-1])
    | [03 Backdoors](solutions/03_backdoors.ipynb) | What does a bound on the length of every message stop? | 20 |

    Raises ValueError if there is no table of labs.
    """
    before = [row for row in LAB_ROW.finditer(readme) if row[1] < name[:2]]
    if not before:
        raise ValueError(
            "README.md has no table of labs with a row such as | [00 Start here](solutions/00_start.ipynb) …"
        )
    question = "What does a bound on the length of every message stop?"  # the template's
    row = f"| [{name[:2]} {title}](solutions/{name}.ipynb) | {question} | 20 |\n"
    place = before[-1].end()
    return readme[:place] + row + readme[place:]
