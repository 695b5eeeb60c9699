"""The story of lab 00 in JupyterLab: it plays, it is stepped through by hand, and what is saved is a still."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import nbformat
import pytest
from lab_page import Notebook
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator

from labsec.course.story import scenes
from labsec.course.story.run import measured

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts" / "browser"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
CODE = "from labsec.course import story\nstory.opening()"
SCENES = scenes.script(measured())
STORED = 120 * 1024  # bytes of the saved notebook
VIEWPORTS = ((1280, 800), (1024, 640))  # the second is the first at a zoom of 125 %
THEMES = ("JupyterLab Light", "JupyterLab Dark")
DEAD = ("Loading widget", "Error displaying widget")

TRUSTED = "() => jupyterapp.shell.currentWidget.content.widgets[0].model.trusted"

# The visible texts of the drawing: [words, left, top, right, bottom, size], in pixels of the page.
TEXTS = """(story) => [...story.querySelectorAll('text')]
  .filter((text) => text.textContent && text.checkVisibility({ opacityProperty: true }))
  .map((text) => { const box = text.getBoundingClientRect(), scale = text.getScreenCTM().a;
    return [text.textContent, box.left, box.top, box.right, box.bottom,
            scale * parseFloat(getComputedStyle(text).fontSize)]; })"""

LOOK = "(story) => story.querySelector('svg').outerHTML"
CHANGED = "([story, before]) => story.querySelector('svg').outerHTML !== before"

# Whether the drawing changes within some frames.
MOVES = """async (story) => {
  const look = () => story.querySelector('svg').outerHTML;
  const before = look();
  for (let i = 0; i < 10; i++) await new Promise((done) => requestAnimationFrame(done));
  return look() !== before; }"""

pytestmark = pytest.mark.xdist_group("fixtures of the browser")


def put(notebook: Notebook, name: str, outputs: list[Any]) -> None:
    """Write a notebook with the story's cell into the learner's folder."""
    cell = new_code_cell(CODE, id="story", outputs=outputs)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    model = {"type": "notebook", "format": "json", "content": new_notebook(cells=[cell], metadata=kernel)}
    address = f"{notebook.base}/api/contents/{name}?token={notebook.token}"
    assert notebook.page.request.put(address, data=model).ok


def saved(notebook: Notebook, name: str) -> str:
    """A notebook as it lies on the disk."""
    answer = notebook.page.request.get(f"{notebook.base}/files/{name}?token={notebook.token}")
    assert answer.ok
    return answer.text()


def page_of(lab: tuple[str, str], browser: Browser) -> Notebook:
    """A page of a fresh profile whose reader has asked for less motion."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    return Notebook(context.new_page(), *lab)


@pytest.fixture(scope="module")
def shared(lab: tuple[str, str], browser: Browser) -> Iterator[Notebook]:
    """A notebook whose only cell has shown the story; its kernel takes some seconds to start, so it is kept."""
    opened = page_of(lab, browser)
    put(opened, "story.ipynb", [])
    opened.open("story.ipynb")
    opened.run_all()
    opened.page.locator(".story").wait_for()
    yield opened
    opened.close()


@pytest.fixture
def playing(shared: Notebook) -> Iterator[Notebook]:
    """The shared notebook, still and at the beginning; afterwards nothing has failed, and no host was asked."""
    shared.page.emulate_media(reduced_motion="reduce")
    shared.page.set_viewport_size({"width": 1280, "height": 800})
    wait_for(shared, playing="false")
    slider(shared).press("Home")
    yield shared
    assert shared.errors() == []
    assert shared.off_machine == []


@pytest.fixture
def again(lab: tuple[str, str], browser: Browser) -> Iterator[Notebook]:
    """A second page, which has seen nothing of the first, with a kernel that has no story."""
    opened = page_of(lab, browser)
    yield opened
    opened.close()


def story(notebook: Notebook) -> Locator:
    return notebook.page.locator(".story")


def slider(notebook: Notebook) -> Locator:
    return notebook.page.get_by_role("slider", name="Place in the story")


def caption(notebook: Notebook) -> str:
    return notebook.page.locator(".story-caption").inner_text()


def told(number: int) -> str:
    """The caption of a scene, counted from 0."""
    return f"{SCENES[number].title}. {SCENES[number].caption}"


def move(notebook: Notebook) -> None:
    """Let the page move, as it may for those who have not asked for less motion."""
    notebook.page.emulate_media(reduced_motion="no-preference")
    notebook.page.get_by_role("button", name="Play").wait_for()


def go_to(notebook: Notebook, seconds: float) -> None:
    """Drag to a moment of the story."""
    slider(notebook).evaluate(
        "(slider, seconds) => { slider.value = seconds; slider.dispatchEvent(new Event('input')); }", seconds
    )


def wait_for(notebook: Notebook, **data: str) -> None:
    """Wait until the story says of itself that it is in this state."""
    for name, value in data.items():
        notebook.page.locator(f'.story[data-{name}="{value}"]').wait_for(timeout=10_000)


def check_still(notebook: Notebook) -> None:
    """The still is seen, with its alt text, and nothing dead beside it."""
    image = notebook.page.locator(".jp-OutputArea-output img")
    image.wait_for()
    assert image.evaluate("image => image.complete && image.naturalWidth > 0 && image.alt.length > 100")
    area = notebook.page.locator(".jp-OutputArea").first
    assert not any(words in area.inner_text() for words in DEAD)
    assert "Run this cell" in area.inner_text()
    assert story(notebook).count() == 0


def overlapping(texts: list[Any]) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other by more than a pixel."""
    found = []
    for i, (first, left, top, right, bottom, _) in enumerate(texts):
        for second, *box, _ in texts[i + 1 :]:
            across = min(right, box[2]) - max(left, box[0])
            down = min(bottom, box[3]) - max(top, box[1])
            if across > 1 and down > 4:  # a line's box is higher than its letters
                found.append((first, second))
    return found


# ---- Playing ----


def test_it_plays_from_scene_to_scene_and_pauses(playing: Notebook) -> None:
    move(playing)
    go_to(playing, SCENES[0].seconds - 0.2)
    playing.page.get_by_role("button", name="Play").press("Enter")
    wait_for(playing, scene="out", playing="true")
    assert caption(playing) == told(1)
    before = story(playing).evaluate(LOOK)
    playing.page.wait_for_function(CHANGED, arg=[story(playing).element_handle(), before])
    playing.page.get_by_role("button", name="Pause").press("Space")
    wait_for(playing, playing="false")
    assert not story(playing).evaluate(MOVES)


def test_it_stops_by_itself_at_the_end_and_starts_again(playing: Notebook) -> None:
    move(playing)
    go_to(playing, sum(scene.seconds for scene in SCENES) - 0.3)
    playing.page.get_by_role("button", name="Play").click()
    wait_for(playing, scene="read", playing="false")
    playing.page.get_by_role("button", name="Play").click()
    wait_for(playing, scene="home", playing="true")


def test_nothing_moves_before_somebody_asks(playing: Notebook) -> None:
    move(playing)
    wait_for(playing, scene="home", playing="false")
    assert not story(playing).evaluate(MOVES)


def test_with_reduced_motion_it_is_still_and_goes_by_hand(playing: Notebook) -> None:
    assert playing.page.get_by_role("button", name="Play").count() == 0
    for number in range(1, len(SCENES)):
        playing.page.get_by_role("button", name="Next scene").click()
        wait_for(playing, scene=SCENES[number].name, playing="false")
        assert not story(playing).evaluate(MOVES)


def test_it_stops_when_less_motion_is_asked_for(playing: Notebook) -> None:
    move(playing)
    playing.page.get_by_role("button", name="Play").click()
    wait_for(playing, playing="true")
    playing.page.emulate_media(reduced_motion="reduce")
    wait_for(playing, playing="false")
    assert not story(playing).evaluate(MOVES)


# ---- By hand ----


def test_every_scene_is_reached_by_key_and_tells_its_caption(playing: Notebook) -> None:
    for number, scene in enumerate(SCENES):
        assert caption(playing) == told(number)
        assert slider(playing).get_attribute("aria-valuetext") == f"Scene {number + 1} of {len(SCENES)}: {scene.title}"
        assert playing.page.get_by_role("img", name=scene.picture).count() == 1
        slider(playing).press("ArrowRight")
    slider(playing).press("ArrowLeft")
    assert caption(playing) == told(len(SCENES) - 2)
    slider(playing).press("Home")
    assert caption(playing) == told(0)
    playing.page.get_by_role("button", name="Next scene").press("End")
    assert caption(playing) == told(len(SCENES) - 1)


def test_buttons_step_by_key_and_by_mouse(playing: Notebook) -> None:
    following = playing.page.get_by_role("button", name="Next scene")
    previous = playing.page.get_by_role("button", name="Previous scene")
    assert previous.is_disabled()
    following.press("Enter")
    following.press("ArrowRight")
    assert caption(playing) == told(2)
    previous.click()
    assert caption(playing) == told(1)
    for key in ("b", "Enter", "x"):  # in JupyterLab, these insert, open and delete a cell
        slider(playing).press(key)
    assert [cell["source"] for cell in playing.cells()] == [CODE]
    assert caption(playing) == told(1)


def test_the_caption_is_announced(playing: Notebook) -> None:
    text = playing.page.locator(".story-caption")
    assert text.get_attribute("aria-live") == "polite"
    assert text.get_attribute("aria-atomic") == "true"


# ---- The look ----


@pytest.mark.parametrize("theme", THEMES)
def test_every_scene_fits_and_can_be_read(playing: Notebook, theme: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    playing.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    playing.page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")
    playing.page.evaluate(AXE.read_text())
    for width, height in VIEWPORTS:
        playing.page.set_viewport_size({"width": width, "height": height})
        slider(playing).press("Home")
        for number, scene in enumerate(SCENES):
            wait_for(playing, scene=scene.name)
            check_scene(playing)
            name = f"story-{theme.split()[1].lower()}-{width}-{number + 1}-{scene.name}.png"
            story(playing).screenshot(path=ARTIFACTS / name)
            slider(playing).press("ArrowRight")
    read = story(playing).locator("rect.read").bounding_box()
    assert read is not None
    assert read["width"] >= 96


def check_scene(notebook: Notebook) -> None:
    """It fits, its texts are large enough and clear of each other, and axe has nothing to say."""
    box = story(notebook).bounding_box()
    stage = story(notebook).locator("> svg").bounding_box()
    assert box is not None
    assert stage is not None
    assert box["height"] <= 480
    assert box["width"] <= 1000
    texts = story(notebook).evaluate(TEXTS)
    assert texts
    assert overlapping(texts) == []
    for words, left, top, right, bottom, size in texts:
        assert size >= 12, f"{words} is {size:.1f} pixels high"
        assert stage["x"] - 1 <= left, words
        assert right <= stage["x"] + stage["width"] + 1, words
        assert stage["y"] - 1 <= top, words
        assert bottom <= stage["y"] + stage["height"] + 1, words
    found = notebook.page.evaluate("""async () => (await axe.run('.story',
        { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }))
        .violations.map((found) => found.id + ': ' + found.nodes.map((node) => node.html.slice(0, 200)))""")
    assert found == []


def test_texts_that_overlap_are_found() -> None:
    assert overlapping([["a", 0, 0, 20, 20, 16], ["b", 10, 5, 30, 25, 16]]) == [("a", "b")]
    assert overlapping([["a", 0, 0, 20, 20, 16], ["b", 21, 0, 40, 20, 16]]) == []


# ---- What is saved ----


def test_a_saved_notebook_opens_with_the_still(playing: Notebook, again: Notebook) -> None:
    """The learner's own notebook, opened the next day: the page would run what is in it, and finds a still."""
    playing.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    text = saved(playing, "story.ipynb")
    assert len(text) <= STORED
    address = f"{playing.base}/api/contents?token={playing.token}"
    copied = playing.page.request.post(address, data={"copy_from": "story.ipynb"})
    assert copied.ok
    again.open(copied.json()["path"])
    assert again.page.evaluate(TRUSTED)
    check_still(again)
    assert again.off_machine == []

    page, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.reads(text, as_version=4))
    assert SCENES[-1].caption in page
    assert 'alt="Three pictures.' in page


def test_a_notebook_that_is_not_trusted_shows_the_still(playing: Notebook, again: Notebook) -> None:
    """One of a fresh clone: JupyterLab takes scripts, styles and SVG out of it."""
    put(again, "foreign.ipynb", [nbformat.from_dict(output) for output in playing.cells()[0]["outputs"]])
    again.open("foreign.ipynb")
    assert not again.page.evaluate(TRUSTED)
    check_still(again)


def test_run_again_it_plays_again(playing: Notebook) -> None:
    slider(playing).press("End")
    playing.run_all()
    wait_for(playing, scene="home")
    assert story(playing).count() == 1
    slider(playing).press("ArrowRight")
    assert caption(playing) == told(1)


def test_a_page_that_is_loaded_again_finds_its_kernel_s_story(playing: Notebook) -> None:
    playing.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    playing.open("story.ipynb")
    story(playing).wait_for()
    assert caption(playing) == told(0)
