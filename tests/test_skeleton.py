"""`labsec new`: a lab that builds and passes the tests of the course before a word of it has been changed."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labsec import Scenario, bind, poison, privacy, robust
from labsec.course import skeleton
from labsec.course.exercises.threat import threat_model_of

ROOT = Path(__file__).parent.parent
NOT_COPIED = shutil.ignore_patterns(".*", "my", "artifacts", "__pycache__", "*.egg-info")
README = "| lab | question | minutes |\n|---|---|---|\n| [00 Start](solutions/00_start.ipynb) | Who? | 25 |\n\nMore.\n"

pytestmark = pytest.mark.xdist_group("skeleton")


def in_copy(course: Path, *arguments: str) -> str:
    """What `python ARGUMENTS` prints in a copy of the course, which is what it imports; it must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LABSEC_STRICT"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=course,
        env={**kept, "PYTHONPATH": str(course)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def fresh_course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the course with a new lab, number 99."""
    course = tmp_path_factory.mktemp("fresh") / "course"
    shutil.copytree(ROOT, course, ignore=NOT_COPIED)
    said = in_copy(course, "-m", "labsec.cli", "new", "99_fresh_lab")
    assert "Wrote solutions/99_fresh_lab.py." in said
    assert "Added a row to README.md." in said
    return course


def test_a_new_lab_is_clean_and_leaves_no_placeholder(fresh_course: Path) -> None:
    files = [*fresh_course.glob("labsec/course/*/lab99.py"), *fresh_course.glob("solutions/99*.py")]
    assert len(files) == 5
    names = [str(path.relative_to(fresh_course)) for path in files]
    in_copy(fresh_course, "-m", "ruff", "check", "--no-cache", *names)
    in_copy(fresh_course, "-m", "ruff", "format", "--no-cache", "--check", *names)
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not any(placeholder in text for placeholder in ("NN", "TOPIC", "template"))


def test_a_new_lab_builds_and_passes_the_tests_as_it_is(fresh_course: Path) -> None:
    assert "99_fresh_lab: " in in_copy(fresh_course, "-m", "labsec.cli", "build", "99")
    assert "draft99" in (fresh_course / "docs" / "claims.md").read_text(encoding="utf-8")
    files = (
        "exercises",
        "cards",
        "claims",
        "quiz",
        "panels",
        "build",
        "imports",
        "repository",
    )  # the build has run the notebook
    tests = [f"tests/test_{name}.py" for name in files]
    wanted = "99 or test_imports or links or in_the_readme"
    said = in_copy(fresh_course, "-m", "pytest", "-q", "-n", "0", *tests, "-k", wanted)
    assert " passed" in said


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """What a new lab is written into, and nothing else."""
    for folder in ("solutions", *(f"labsec/course/{room}" for room in ("exercises", "panels", "questions", "claims"))):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["3_topic", "03-topic", "03_Topic", "03_", "topic", "03_topic/..", "003_topic", "03_ä"]
)
def test_a_name_of_another_form_is_refused(name: str, bare: Path) -> None:
    with pytest.raises(ValueError, match="two digits, an underscore, and lower-case letters"):
        skeleton.new(name, bare)
    assert list(bare.rglob("*.py")) == []


def test_a_number_that_is_taken_is_refused(bare: Path) -> None:
    skeleton.new("03_first", bare)
    with pytest.raises(ValueError, match=r"the number 03 is taken by solutions/03_first\.py"):
        skeleton.new("03_second", bare)
    (bare / "solutions" / "03_first.py").unlink()
    with pytest.raises(ValueError, match=r"taken by labsec/course/claims/lab03\.py"):
        skeleton.new("03_second", bare)


def test_a_readme_without_the_table_writes_nothing(bare: Path) -> None:
    (bare / "README.md").write_text("No labs.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no table of labs"):
        skeleton.new("03_topic", bare)
    assert list(bare.rglob("*.py")) == []


def test_rows_of_the_readme_are_in_the_order_of_the_labs(bare: Path) -> None:
    for name in ("04_later_lab", "03_topic"):
        skeleton.new(name, bare)
    rows = (bare / "README.md").read_text(encoding="utf-8").splitlines()[2:6]
    assert [row[:14] for row in rows] == ["| [00 Start](s", "| [03 Topic](s", "| [04 Later la", ""]


# --- the card of a scenario


def threat_of(scenario: Scenario) -> dict[str, str]:
    return vars(threat_model_of(scenario, goal="Goal.", out_of_scope="Rest."))


def test_each_fact_of_the_scenario_changes_its_sentence_alone() -> None:
    base = Scenario(clients=30, malicious=0.2, attack=bind(poison.sign_flip, scale=3.0))
    before = threat_of(base)
    changes = {
        "knowledge": [{"omniscient": True}, {"public_rule": True}],
        "capability": [
            {"attack": poison.mimic},
            {"data_attack": poison.label_flip},
            {"broadcast": lambda params: -params},
        ],
        "share": [{"malicious": 0.4}],
        "visibility": [
            {"aggregate": robust.median},
            {"wire": lambda updates: updates.mean(dim=0, keepdim=True)},
            {"server_stages": [bind(robust.norm_clip, bound=1.0)]},
            {"client_stages": [bind(privacy.clip, bound=1.0)]},
        ],
    }
    for field, each in changes.items():
        for change in each:
            after = threat_of(replace(base, **change))
            assert {name for name in after if after[name] != before[name]} == {field}, change


def test_the_card_says_what_the_view_holds() -> None:
    model = threat_of(Scenario(malicious=0.5, attack=poison.mimic, omniscient=True, public_rule=True))
    assert model["knowledge"].endswith("They see the honest clients' messages and the server's rule.")
    assert model["capability"] == "Send what mimic makes of their updates."
    assert model["share"] == "10 of 20 clients."


def test_where_nobody_is_malicious_the_server_is_who_reads() -> None:
    model = threat_of(Scenario())
    assert model["share"] == "None of 20 clients."
    assert model["knowledge"].startswith("The server knows the model that it sent")
    assert model["capability"] == "Read, and follow the protocol."
