"""From one source to two notebooks: the solved and executed one, and the learner's with blanks.

solutions/NN_topic.py (jupytext's percent format) is written by hand. Everything else of a lab is made here, and so is
the claims ledger. A build fails loudly rather than storing a warning, a machine's path or a blank where a picture was.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import jupytext
import nbclient
import nbformat
from nbformat import NotebookNode

from labsec import storage
from labsec.course import ledger, questions, teaching
from labsec.files import COURSE

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
BLANK = ("# Your turn: replace the next line with your own code.", "raise NotImplementedError")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
BUILDING = {"LABSEC_STRICT": "1", "LABSEC_BUILD": "1"}
CELL_TIMEOUT = 600
WIDGET = "application/vnd.jupyter.widget-view+json"


class BuildError(ValueError):
    """A lab's source, or the result of running it, is not fit to be published."""


def build(numbers: list[str]) -> None:
    """Make the notebooks of the named labs (of all, if no number is given), then the ledger.

    numbers    such as ["01"]

    Raises BuildError if there is no such lab, or its source or an output breaks a rule; CellExecutionError if a cell
    raises.
    """
    for path in sources(numbers):
        solution, learner = build_lab(path)
        write_notebook(solution, path.with_suffix(".ipynb"))
        write_notebook(learner, COURSE / "notebooks" / f"{path.stem}.ipynb")
        write_teaching(path, solution)
        print(f"{path.stem}: {solution.metadata.labsec.runtime_seconds} s")
    ledger.write(ledger.collect(COURSE / "solutions"), COURSE / "docs")


def write_notebook(notebook: NotebookNode, target: Path) -> None:
    """Write a notebook whole or not at all; raises OSError as `storage.replacing`."""
    with storage.replacing(target) as partial:
        nbformat.write(notebook, partial)


def write_teaching(path: Path, lesson: NotebookNode) -> None:
    """Write docs/teaching/NN.md of a lab that has questions of its own."""
    lab = path.stem[:2]
    if lab in questions.labs():
        folder = COURSE / "docs" / "teaching"
        folder.mkdir(exist_ok=True)
        storage.write_text(folder / f"{lab}.md", teaching.page(lab, lesson))


def sources(numbers: list[str]) -> list[Path]:
    """The sources of some labs, or of all.

    numbers    such as ["01"], or ["1"] for short

    Raises BuildError for a lab that does not exist, and if there is none at all.
    """
    paths = sorted((COURSE / "solutions").glob("[0-9][0-9]_*.py"))
    if not paths:
        raise BuildError(f"there are no labs in {COURSE / 'solutions'}")
    labs = {path.name[:2]: path for path in paths}
    wanted = set()
    for number in numbers:
        full = number if number in labs else f"0{number}"
        if full not in labs:
            raise BuildError(f"there is no lab {number!r} in solutions/; there are {', '.join(labs)}")
        wanted.add(labs[full])
    return sorted(wanted) or paths


def build_lab(path: Path) -> tuple[NotebookNode, NotebookNode]:
    """Execute one source: (solution with outputs, learner's notebook without)."""
    text = path.read_text(encoding="utf-8")
    executed, seconds = execute(read(text, path.stem), path.parent)
    runtime = 10 * math.ceil(seconds / 10)
    executed = filled(executed, runtime)
    executed.metadata["labsec"] = {"runtime_seconds": runtime, "source_sha256": source_hash(text)}
    check_outputs(executed)
    return executed, learner_notebook(filled(read(text, path.stem), runtime))


def source_hash(text: str) -> str:
    """What ties a solution's outputs to the code that made them."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(text: str, stem: str) -> NotebookNode:
    """A source as a notebook without outputs; cell ids and metadata are the same on every machine.

    >>> notebook = read("# %% [markdown]\\n# # Title\\n\\n# %% tags=[\\"setup\\"]\\n1 + 1\\n", "00_start")
    >>> [(cell.id, cell.cell_type) for cell in notebook.cells]
    [('00_start-000', 'markdown'), ('00_start-001', 'code')]

    Raises BuildError if an exercise has no solution markers, or a cell has markers and is no exercise.
    """
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = NotebookNode({"kernelspec": dict(KERNEL), "language_info": {"name": "python"}})
    notebook.nbformat = 4
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode({"tags": list(tags)} if tags else {})
        cell["id"] = f"{stem}-{number:03d}"
        marked = BEGIN in cell.source or END in cell.source
        if marked != ("exercise" in tags):
            problem = "has solution markers and no tag" if marked else "has no solution markers and the tag"
            raise BuildError(f"{cell.id} {problem} 'exercise'")
    return notebook


def filled(notebook: NotebookNode, runtime: int) -> NotebookNode:
    """The notebook with the placeholders of its header replaced: {{runtime}} in seconds, {{minutes}} of exercises."""
    result = copy.deepcopy(notebook)
    words = {"{{runtime}}": f"{runtime} s", "{{minutes}}": str(exercise_minutes(notebook))}
    for cell in result.cells:
        if cell.cell_type == "markdown":
            for placeholder, value in words.items():
                cell.source = cell.source.replace(placeholder, value)
    return result


def exercise_minutes(notebook: NotebookNode) -> int:
    """The sum of the "(5 minutes)" in the headings of the exercises.

    >>> exercise_minutes(read("# %% [markdown]\\n# ## Exercise 1.1 · Deal (5 minutes)\\n", "01_x"))
    5
    """
    headings = re.compile(r"^#+ .*\((\d+) minutes?\)\s*$", re.MULTILINE)
    return sum(
        int(minutes)
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for minutes in headings.findall(cell.source)
    )


def learner_notebook(notebook: NotebookNode) -> NotebookNode:
    """The notebook with blanks for the solutions, and no outputs."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.source = blanked(cell.source, cell.id)
            cell.outputs = []
            cell.execution_count = None
    return result


def blanked(source: str, place: str) -> str:
    """A cell's code with everything between the markers, and the markers, replaced by a stub.

    >>> print(blanked("def f(x):\\n    ### BEGIN SOLUTION\\n    return x\\n    ### END SOLUTION", "here"))
    def f(x):
        # Your turn: replace the next line with your own code.
        raise NotImplementedError

    Raises BuildError if the markers do not come in pairs.
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines():
        marker = line.strip()
        if marker in (BEGIN, END):
            if inside == (marker == BEGIN):
                raise BuildError(f"{place}: {marker!r} does not follow its partner")
            inside = not inside
            if inside:
                indent = line[: len(line) - len(line.lstrip())]
                kept += [indent + text for text in BLANK]
        elif not inside:
            kept.append(line)
    if inside:
        raise BuildError(f"{place}: {BEGIN!r} has no {END!r}")
    return "\n".join(kept)


def execute(notebook: NotebookNode, folder: Path) -> tuple[NotebookNode, float]:
    """Run a notebook in a folder: (a copy with outputs, seconds). Checks raise, panels are stored as pictures."""
    result = copy.deepcopy(notebook)
    client = nbclient.NotebookClient(
        result,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    start = perf_counter()
    with environment(BUILDING):
        client.execute()
    seconds = perf_counter() - start
    result.metadata = copy.deepcopy(notebook.metadata)
    for cell in result.cells:
        cell.metadata.pop("execution", None)
    return result, seconds


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_outputs(notebook: NotebookNode) -> None:
    """Raise BuildError for an output that must not be published: a warning, an error, a widget, a machine's path."""
    private = [str(COURSE), str(Path.home())]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" or output.get("name") == "stderr":
                raise BuildError(f"{cell.id} wrote to stderr: {output.get('text', output.get('evalue'))}")
            if WIDGET in output.get("data", {}) and "<img " not in output.data.get("text/html", ""):
                raise BuildError(f"{cell.id} stores a widget without a picture: it would be blank when read")
            data = output.get("data", {"text": output.get("text", "")})
            for kind, content in data.items():
                words = re.sub(r"base64,[\w+/=]+", "", str(content))  # where any short path may stand by chance
                found = [path for path in private if not kind.startswith("image/") and path in words]
                if found:
                    raise BuildError(f"{cell.id} holds a path of this machine in its {kind}: {found[0]}")
