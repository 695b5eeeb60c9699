"""Every lab runs from top to bottom, once solved and once with nothing solved.

Solved: here, strictly, and with every warning an error. Unsolved: in the browser (tests/browser), where the panels are
turned as well; where there is no Chromium, here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook

from labsec.course import build
from tests.browser.lab_page import answers_of_checks
from tests.browser.lab_server import chromium_path

SOLUTIONS = sorted((build.COURSE / "solutions").glob("[0-9][0-9]_*.ipynb"))
LEARNERS = sorted((build.COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60", "-p", "no:cacheprovider", "-q")
MOST_BYTES = 600 * 1024  # of a solved notebook: a page of a repository shows none that is much larger
WARNINGS_ARE_ERRORS = "import warnings\nwarnings.simplefilter('error')\n"


def each(paths: Iterable[Path]) -> Any:
    """One test for each lab; what concerns one lab runs in one process."""
    labs = [pytest.param(path, id=path.stem, marks=pytest.mark.xdist_group(f"lab{path.name[:2]}")) for path in paths]
    return pytest.mark.parametrize("path", labs)


def nbval(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook with nbval, checks strict and warnings errors; IPython's start-up files go to a folder."""
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "strict.py").write_text(WARNINGS_ARE_ERRORS, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *NBVAL, "-p", "no:xdist", str(path)],
        env={**os.environ, "LABSEC_STRICT": "1", "IPYTHONDIR": str(folder)},
        cwd=build.COURSE,
        capture_output=True,
        text=True,
        check=False,
    )


@each(SOLUTIONS)
def test_solutions_run_with_strict_checks_and_without_a_warning(path, tmp_path):
    result = nbval(path, tmp_path)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "passed" in result.stdout


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import warnings\nwarnings.warn('careless')", "UserWarning"),
        ("from labsec.course import check\ncheck('01.5', lambda updates, *, weights: updates[0])", "AssertionError"),
    ],
    ids=["warning", "wrong answer"],
)
def test_a_warning_or_a_wrong_answer_would_be_noticed(code, reason, tmp_path):
    path = tmp_path / "fixture.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1", id="good"), new_code_cell(code, id="bad")]), path)
    result = nbval(path, tmp_path / "ipython")
    assert result.returncode == 1
    assert "1 failed, 1 passed" in result.stdout
    assert reason in result.stdout


@each(SOLUTIONS)
def test_sources_are_plain_python(path):
    """No magic and no shell command, which jupytext hides in a comment: what runs in a kernel runs without one."""
    source = path.with_suffix(".py").read_text(encoding="utf-8")
    for cell in build.read(source, path.stem).cells:
        if cell.cell_type == "code":
            compile(cell.source, cell.id, "exec")


def test_a_magic_is_no_plain_python():
    (cell,) = build.read("# %%\n# %matplotlib inline\n", "99_x").cells
    with pytest.raises(SyntaxError):
        compile(cell.source, cell.id, "exec")


@each(SOLUTIONS)
def test_every_exercise_has_a_check_and_the_first_says_how_to_get_a_hint(path):
    cells = build.read(path.with_suffix(".py").read_text(encoding="utf-8"), path.stem).cells
    tags = [tag for cell in cells for tag in cell.metadata.get("tags", [])]
    assert tags.count("exercise") == tags.count("check")
    if "exercise" in tags:
        assert any(f'hint("{path.name[:2]}.1", 1)' in cell.source for cell in cells)


class Page(HTMLParser):
    """What a page says: the alt text of every picture, and all other text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.alts: list[str] = []
        self.words = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append(dict(attrs).get("alt") or "")

    def handle_data(self, data: str) -> None:
        self.words += data


@each(SOLUTIONS)
def test_a_solved_lab_has_one_title_and_stays_small(path):
    notebook = nbformat.read(path, as_version=4)
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", words, re.MULTILINE)) == 1
    assert path.stat().st_size <= MOST_BYTES


@each(SOLUTIONS)
def test_an_exported_lab_shows_every_picture_once_with_its_text(path):
    """What `jupyter nbconvert --to html` makes of it; a panel's picture stands above its reading."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output.data for cell in cells for output in cell.get("outputs", []) if "data" in output]
    pictures = [data for data in outputs if "<img " in data.get("text/html", "")]
    page = Page(HTMLExporter().from_filename(str(path))[0])
    assert pictures
    assert page.alts == [alt for data in pictures for alt in Page(data["text/html"]).alts]
    told = [data for data in pictures if "data-story" not in data["text/html"]]  # a story tells more than its still
    assert [Page(data["text/html"]).alts for data in told] == [[data["text/plain"]] for data in told]
    assert all(page.alts)
    assert not any("image/png" in data for data in outputs), "a second copy that nobody sees"
    readings = [data["text/plain"] for data in told if "<p>" in data["text/html"]]
    assert readings
    assert all(reading in page.words for reading in readings)


# The browser test runs the same cells and looks at the same answers; a second run would prove nothing more.
@pytest.mark.skipif(chromium_path() is not None, reason="the browser runs every lab with nothing solved")
@each(LEARNERS)
def test_with_nothing_solved_a_lab_runs_and_every_check_says_to_do(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=60).execute(cwd=str(tmp_path))
    assert all(answer.startswith("○ TODO · ") for answer in answers_of_checks(notebook.cells))
