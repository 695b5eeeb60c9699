"""The page of the inversion service in Chromium: an update goes in, the picture emerges, the result comes out."""

from collections.abc import Iterator
from pathlib import Path

import axe_playwright_python
import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from safetensors import torch as safetensors

from labsec import Scenario, metrics, models, service
from labsec.federation.population import Population
from labsec.study import capture

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "artifacts" / "browser"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PATIENCE = 900_000  # milliseconds for a process to load torch on a busy machine
LEAST_SIDE = 96  # pixels of the picture

# Whether anything but the background is drawn on the canvas.
IS_DRAWN = """(canvas) => {
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return bytes.some((value, i) => i % 4 === 3 && value === 255);
}"""

pytestmark = pytest.mark.xdist_group("fixtures of the browser")


@pytest.fixture(scope="module")
def started() -> Iterator[service.Service]:
    with service.running(seconds=PATIENCE / 1000) as shared:
        yield shared


@pytest.fixture
def page(browser: Browser, started: service.Service) -> Iterator[Page]:
    """The page at the size of a small laptop; it must ask for nothing elsewhere, and its script must have no fault."""
    context = browser.new_context(viewport={"width": 1024, "height": 640}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    asked: list[str] = []
    faults: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda fault: faults.append(str(fault)))
    opened.goto(started.url)
    yield opened
    context.close()
    own = f"http://127.0.0.1:{started.port}/"
    assert [url for url in asked if not url.startswith((own, f"blob:{own}"))] == []
    assert faults == []


def captured(folder: Path, model: models.Model, batch: int) -> tuple[Path, torch.Tensor]:
    """The file of an update, and the samples behind it."""
    scenario = Scenario(model=model, local_steps=1, batch_size=batch)
    path = capture.save(folder / "update.safetensors", capture.from_run(scenario).view)
    return path, scenario.data.x[Population(scenario).batches(0, torch.tensor([0])).flatten()]


def upload(page: Page, path: Path) -> None:
    page.get_by_label("A captured update").set_input_files(path)
    page.get_by_role("button", name="Invert it").click()


def test_a_captured_update_becomes_a_picture_that_is_downloaded(page: Page, tmp_path: Path) -> None:
    path, truth = captured(tmp_path, models.lenet((1, 8, 8), 10), 1)
    expect(page.get_by_role("status")).to_have_text("Nothing was uploaded yet.")
    upload(page, path)
    expect(page.get_by_role("status")).to_have_text("The search has ended.", timeout=PATIENCE)

    # What is seen: a picture that is large enough, what it was judged by, and what was taken for granted.
    canvas = page.locator("#picture")
    box = canvas.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= LEAST_SIDE
    assert canvas.evaluate(IS_DRAWN)
    assert "of the message is unexplained" in (canvas.get_attribute("aria-label") or "")
    assert float(page.locator("#share").inner_text()) < 1e-6 < float(page.locator("#baseline").inner_text())
    expect(page.locator("#assumptions li").first).to_contain_text("plain SGD")
    expect(page.locator("#rungs")).to_contain_text("needs a fully connected first layer")

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the result").click()
    saved = Path(waiting.value.path())
    assert waiting.value.suggested_filename == "reconstruction.safetensors"
    assert metrics.psnr(safetensors.load_file(saved)["estimate"], truth)[0] > 40

    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / "service.png", full_page=True)


def test_a_search_is_cancelled_from_the_page(page: Page, tmp_path: Path) -> None:
    path, _ = captured(tmp_path, models.convnet((1, 8, 8), 10), 4)
    upload(page, path)
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_enabled()
    expect(page.get_by_role("button", name="Invert it")).to_be_disabled()
    cancel.click()
    expect(page.get_by_role("status")).to_have_text("The search was cancelled.")
    expect(page.get_by_role("button", name="Invert it")).to_be_enabled()
    expect(page.get_by_role("button", name="Download the result")).to_be_disabled()


def test_a_file_that_is_none_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "update.safetensors"
    path.write_bytes(b"hello")
    upload(page, path)
    expect(page.get_by_role("status")).to_contain_text(
        "The file is no captured update: it ends within the first 8 bytes"
    )


def test_the_page_is_usable_without_a_mouse_and_by_name(page: Page) -> None:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")
    assert [each["id"] for each in found["violations"]] == []
    page.get_by_label("A captured update").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "begin"
