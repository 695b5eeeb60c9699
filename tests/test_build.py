"""Source, solution and learner's notebook stay one; what must not be published is refused."""

from __future__ import annotations

import json
import os

import nbformat
import pytest

from labsec.course import build, ledger
from labsec.course.build import BuildError
from labsec.course.claims import MIME

SOURCES = build.sources([])
every_lab = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)

SOURCE = """# %% [markdown]
# # 99 · A lab
# It takes {{runtime}}, and {{minutes}} minutes of exercises.
#
# ## Exercise 99.1 · One (5 minutes)

# %% tags=["exercise"]
def double(x):
    ### BEGIN SOLUTION
    y = x
    return 2 * y
    ### END SOLUTION

# %% [markdown]
# ## Exercise 99.2 · Two (10 minutes)

# %%
print(double(21))
"""


def test_there_are_labs_to_test():
    assert {"00", "01"} <= {path.name[:2] for path in SOURCES}


@every_lab
def test_committed_notebooks_follow_from_their_source(path):
    text = path.read_text(encoding="utf-8")
    solution = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    learner = nbformat.read(build.COURSE / "notebooks" / f"{path.stem}.ipynb", as_version=4)
    fresh = build.filled(build.read(text, path.stem), solution.metadata.labsec.runtime_seconds)
    assert [(c.id, c.source) for c in solution.cells] == [(c.id, c.source) for c in fresh.cells]
    blank = build.learner_notebook(fresh)
    assert [(c.id, c.source) for c in learner.cells] == [(c.id, c.source) for c in blank.cells]
    assert solution.metadata.labsec.source_sha256 == build.source_hash(text)


@every_lab
def test_committed_outputs_are_fit_to_be_published(path):
    solution = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    build.check_outputs(solution)
    assert "widgets" not in solution.metadata
    code = [cell for cell in solution.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


@every_lab
def test_learners_get_no_solution_and_no_output(path):
    learner = nbformat.read(build.COURSE / "notebooks" / f"{path.stem}.ipynb", as_version=4)
    for cell in learner.cells:
        assert build.BEGIN not in cell.source
        assert not cell.get("outputs")
        assert ("raise NotImplementedError" in cell.source) == ("exercise" in cell.metadata.get("tags", []))


def test_the_committed_ledger_is_the_one_of_the_solutions():
    records = ledger.collect(build.COURSE / "solutions")
    docs = build.COURSE / "docs"
    assert json.loads((docs / "claims.json").read_text(encoding="utf-8")) == records
    assert (docs / "claims.md").read_text(encoding="utf-8") == ledger.render(records)
    assert {"1", "2", "3", "4", "5", "6"} <= {record["id"] for record in records}
    assert "4. Data that stay local" in ledger.show()


def test_a_lab_is_executed_filled_and_blanked(tmp_path):
    path = tmp_path / "99_lab.py"
    path.write_text(SOURCE, encoding="utf-8")
    solution, learner = build.build_lab(path)
    assert solution.cells[3].outputs[0].text == "42\n"
    assert "It takes 10 s, and 15 minutes" in solution.cells[0].source
    assert solution.cells[0].source == learner.cells[0].source
    assert solution.metadata.labsec == {"runtime_seconds": 10, "source_sha256": build.source_hash(SOURCE)}
    assert [cell.id for cell in learner.cells] == [f"99_lab-00{i}" for i in range(4)]
    assert learner.cells[1].source.splitlines()[1:] == ["    " + line for line in build.BLANK]
    assert learner.metadata.keys() == {"kernelspec", "language_info"}


def test_building_tells_the_kernel_to_be_strict_and_leaves_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("LABSEC_STRICT", raising=False)
    text = '# %%\nimport os\nprint(os.environ["LABSEC_STRICT"], os.environ["LABSEC_BUILD"])\n'
    solution, _ = build.execute(build.read(text, "99_x"), tmp_path)
    assert solution.cells[0].outputs[0].text == "1 1\n"
    assert "LABSEC_STRICT" not in os.environ


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["### BEGIN SOLUTION", "x"], "has no '### END SOLUTION'"),
        (["x", "### END SOLUTION"], "'### END SOLUTION' does not follow its partner"),
        (["### BEGIN SOLUTION", "### BEGIN SOLUTION"], "'### BEGIN SOLUTION' does not follow its partner"),
    ],
)
def test_markers_come_in_pairs(lines, problem):
    with pytest.raises(BuildError, match=problem):
        build.blanked("\n".join(lines), "here")


def test_markers_and_the_tag_go_together():
    with pytest.raises(BuildError, match="99_x-000 has solution markers and no tag 'exercise'"):
        build.read("# %%\n### BEGIN SOLUTION\n1\n### END SOLUTION\n", "99_x")
    with pytest.raises(BuildError, match="99_x-000 has no solution markers and the tag 'exercise'"):
        build.read('# %% tags=["exercise"]\n1\n', "99_x")


def output(**fields):
    cell = nbformat.v4.new_code_cell("", id="99_x-000", outputs=[nbformat.v4.new_output(**fields)])
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"output_type": "stream", "name": "stderr", "text": "UserWarning"}, "wrote to stderr: UserWarning"),
        ({"output_type": "stream", "name": "stdout", "text": f"{build.COURSE}/x"}, "path of this machine in its text"),
        (
            {"output_type": "display_data", "data": {"text/html": str(build.COURSE)}},
            "path of this machine in its text/html",
        ),
        (
            {"output_type": "display_data", "data": {build.WIDGET: {"model_id": "1"}}},
            "stores a widget without a picture",
        ),
    ],
)
def test_outputs_that_must_not_be_published(fields, problem):
    with pytest.raises(BuildError, match=problem):
        build.check_outputs(output(**fields))


def test_a_harmless_output_passes():
    build.check_outputs(output(output_type="stream", name="stdout", text="fine"))
    build.check_outputs(output(output_type="display_data", data={"image/png": "aGVsbG8="}))


def test_an_unknown_lab_is_named():
    with pytest.raises(BuildError, match=r"there is no lab '98' in solutions/; there are .*01"):
        build.sources(["98"])
    assert [path.name[:2] for path in build.sources(["1"])] == ["01"]


def write_solution(folder, name, *ids):
    outputs = [
        nbformat.v4.new_output("display_data", data={MIME: {"id": i, "kind": "reading", "statement": f"|{i}|"}})
        for i in ids
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)]), folder / name)


def test_records_are_collected_in_the_order_of_their_numbers(tmp_path):
    write_solution(tmp_path, "02_b.ipynb", "10", "8b", "8")
    write_solution(tmp_path, "01_a.ipynb", "2")
    records = ledger.collect(tmp_path)
    assert [(record["id"], record["lab"]) for record in records] == [
        ("2", "01_a"),
        ("8", "02_b"),
        ("8b", "02_b"),
        ("10", "02_b"),
    ]


def test_a_claim_has_one_record(tmp_path):
    write_solution(tmp_path, "01_a.ipynb", "2")
    write_solution(tmp_path, "02_b.ipynb", "2")
    with pytest.raises(ValueError, match="claim 2 has two records: 01_a and 02_b"):
        ledger.collect(tmp_path)


def test_a_missing_ledger_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `labsec build`"):
        ledger.show(tmp_path)


def test_bars_in_a_statement_do_not_break_the_table():
    record = {"id": "1", "kind": "exercise", "statement": "a|b", "verdict": "held", "asked": ["c?"], "found": "d\ne"}
    assert r"| 1 | a\|b | **held** | c? | d e | 01_x |" in ledger.render([{**record, "lab": "01_x"}])
