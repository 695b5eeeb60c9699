"""The README's code runs, its links lead somewhere, and the repository speaks of the project alone."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXT = {".py", ".md", ".toml", ".yml", ".txt", ".json", ".ipynb", ".csv", ""}
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "docs/teaching.md"]


def tracked():
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("this copy of the course is no git checkout")
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def test_readme_code_runs():
    """Block after block in one session, as a reader would type it."""
    session = {}
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), session)
    assert {note["client"] for note in session["history"].notes} == {0, 1, 2, 3}


def test_the_ten_lines_show_what_they_say(capsys):
    block = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    clean, attacked, defended = (names[name].final_accuracy for name in ("clean", "attacked", "defended"))
    assert attacked < 0.5 < 0.8 < defended <= clean + 0.05


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_no_machine_and_no_registry_is_named():
    machine = re.compile(r"(?<![\w.~])/(?:root|work|tmp|home)/\w")
    registry = re.compile(r"(?:files\.pythonhosted|\bpypi|registry\.npmjs|deb\.debian)\.org")
    own = Path(__file__).resolve()
    for path in tracked():
        if path.suffix not in TEXT or path.resolve() == own:
            continue
        text = path.read_text(encoding="utf-8")
        for pattern in (machine, registry):
            found = pattern.search(text)
            assert not found, f"{path.relative_to(ROOT)} names {found[0]}"


def test_every_lab_is_in_the_readme():
    for source in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py")):
        assert f"solutions/{source.stem}.ipynb" in README, source.name
        assert (ROOT / "notebooks" / f"{source.stem}.ipynb").is_file()
