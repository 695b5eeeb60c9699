"""One JupyterLab and one Chromium for all browser tests, on copies of the notebooks."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_notebooks import write_fixtures
from lab_page import Notebook
from lab_server import NO_CHROMIUM, chromium, chromium_path, jupyterlab
from playwright.sync_api import Browser

from labsec import cli

ROOT = Path(__file__).parents[2]


def copy_course(course: Path) -> None:
    """The learner's folder as `labsec open` makes it, with the tests' own notebooks beside the labs."""
    (course / "notebooks").mkdir()
    (course / "my").mkdir()
    for source in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(source, course / "notebooks")
    cli.copy_missing(course)
    write_fixtures(course / "my")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    with chromium(path) as launched:
        yield launched


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the course and a learner's copies."""
    folder = tmp_path_factory.mktemp("course")
    copy_course(folder)
    return folder


@pytest.fixture(scope="session")
def lab(browser: Browser, course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token of a JupyterLab."""
    with jupyterlab(course, tmp_path_factory.mktemp("temporary")) as started:
        yield started


@pytest.fixture
def notebook(lab: tuple[str, str], browser: Browser, course: Path) -> Iterator[Notebook]:
    """An empty page of a fresh profile at the size of a small laptop, for a learner who has answered nothing yet."""
    (course / "my" / ".progress.json").unlink(missing_ok=True)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    opened = Notebook(context.new_page(), *lab)
    yield opened
    opened.close()
