"""Every notebook runs from top to bottom: solved ones strictly, learners' with nothing done."""

from __future__ import annotations

import os
import subprocess
import sys

import nbclient
import nbformat
import pytest

from labsec.course.build import COURSE

SOLUTIONS = sorted((COURSE / "solutions").glob("[0-9][0-9]_*.ipynb"))
LEARNERS = sorted((COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NBVAL = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60", "-p", "no:cacheprovider", "-q")


def nbval(path, **environment):
    command = [sys.executable, "-m", "pytest", *NBVAL, "-p", "no:xdist", str(path)]
    result = subprocess.run(
        command, env={**os.environ, **environment}, cwd=COURSE, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "passed" in result.stdout


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_solutions_run_with_strict_checks(path):
    nbval(path, LABSEC_STRICT="1")


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_sources_run_as_plain_python_without_a_warning(path, tmp_path):
    command = [sys.executable, "-W", "error", str(path.with_suffix(".py"))]
    environment = {**os.environ, "LABSEC_STRICT": "1"}
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.parametrize("path", LEARNERS, ids=lambda path: path.stem)
def test_notebooks_run_with_nothing_solved(path):
    nbval(path, LABSEC_STRICT="0")


@pytest.mark.parametrize("path", LEARNERS, ids=lambda path: path.stem)
def test_with_nothing_solved_every_check_says_to_do(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", [])]
    exercises = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    assert len(cells) == len(exercises)
    if cells:
        nbclient.NotebookClient(upto_the_last(notebook, cells[-1]), timeout=60).execute(cwd=str(tmp_path))
    for cell in cells:
        (shown,) = [output.data["text/plain"] for output in cell.outputs]
        assert shown.startswith("○ TODO · "), shown


def upto_the_last(notebook, cell):
    """The notebook's cells up to one of them; nbval has run the others."""
    notebook.cells = notebook.cells[: notebook.cells.index(cell) + 1]
    return notebook
