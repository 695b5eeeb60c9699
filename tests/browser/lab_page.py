"""A notebook in a real JupyterLab, driven through its page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image, ImageChops
from playwright.sync_api import Locator, Page

NUMBERS = """((panel) => [...panel.querySelectorAll('.live-control')].map((control) => {
    const handle = control.querySelector('[role=slider]'), menu = control.querySelector('select');
    const box = control.querySelector('input[type=checkbox]');
    return handle ? Number(handle.getAttribute('aria-valuenow')) : menu ? menu.selectedIndex : Number(box.checked);
  }).join(' '))"""
SETTLED = f"""(panel) => {{
  const numbers = {NUMBERS}(panel);
  const caption = panel.querySelector('.live-caption'), plot = panel.querySelector('.live-plot');
  const boxes = [...panel.querySelectorAll('.live-slider')].every((slider) =>
    slider.querySelector('input').value === slider.querySelector('.widget-readout').textContent);
  return panel.querySelector('.live-error') !== null || (boxes && plot.complete
    && caption.dataset.for === numbers && plot.dataset.for === numbers && caption.dataset.busy === 'false');
}}"""
ERRORS = """() => [
  ...jupyterapp.shell.currentWidget.context.model.toJSON().cells.flatMap((cell, i) => (cell.outputs || [])
    .filter((output) => output.output_type === 'error')
    .map((output) => `cell ${i}: ${output.ename}: ${output.evalue}`)),
  ...kernelErrors.map((error) => 'kernel: ' + error),
  ...[...document.querySelectorAll('.live-error')].map((node) => 'panel: ' + node.textContent)]"""
NOT_RUN = """() => jupyterapp.shell.currentWidget.context.model.toJSON().cells
  .map((cell, i) => [cell, i]).filter(([cell]) => cell.cell_type === 'code' && cell.execution_count === null
    && [cell.source].flat().join('').trim()).map(([, i]) => i)"""
IDLE = """() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'
  && ![...document.querySelectorAll('.jp-InputPrompt')].some((node) => node.textContent.includes('*'))"""

# A widget that is not there after two seconds is given up by anywidget; a machine that tests may be busier than that.
PATIENT = "const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) => timeout.call(AbortSignal, 30 * ms);"


class Notebook:
    """A page that notes every error and every request that leaves the machine."""

    def __init__(self, page: Page, base: str, token: str) -> None:
        self.page, self.base, self.token = page, base, token
        page.add_init_script(PATIENT)
        self.page_errors: list[str] = []
        self.off_machine: list[str] = []
        own = (base, base.replace("http", "ws", 1), "data:", "blob:")
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        for event in ("request", "websocket"):
            page.on(event, lambda sent: None if sent.url.startswith(own) else self.off_machine.append(sent.url))

    def open(self, path: str) -> None:
        """Show a notebook and wait for its kernel."""
        self.page.goto(f"{self.base}/lab/tree/{path}?token={self.token}&reset")
        self.page.wait_for_function(
            """() => { const shown = window.jupyterapp?.shell?.currentWidget;
              return shown?.context?.isReady && shown.sessionContext?.session?.kernel?.status === 'idle'; }""",
            timeout=60_000,
        )
        self.page.evaluate("""() => { window.kernelErrors = [];
          jupyterapp.shell.currentWidget.sessionContext.session.kernel.iopubMessage.connect((_, message) => {
            if (message.header.msg_type === 'error')
              kernelErrors.push(`${message.content.ename}: ${message.content.evalue}`); }); }""")

    def run_all(self) -> None:
        """Run all cells to the end."""
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        self.idle(timeout=300)  # a whole lab, on a busy machine

    def skip_questions(self) -> None:
        """Answer no question that is open, one after the other, so that what waits for the answers opens."""
        skips = self.page.locator(".labsec-question").get_by_role("button", name="Skip")
        while left := skips.count():
            skips.first.press("Enter")
            self.page.wait_for_function(
                "left => document.querySelectorAll('.labsec-question').length < left", arg=left, timeout=20_000
            )
        self.idle()

    def idle(self, timeout: float = 120) -> None:
        """Wait until no cell is running, so many seconds at most."""
        self.page.wait_for_function(IDLE, timeout=1000 * timeout)

    def errors(self) -> list[str]:
        """Every error of cells, observers, workers and the page."""
        return self.page.evaluate(ERRORS) + [f"page: {error}" for error in self.page_errors]

    def not_run(self) -> list[int]:
        """Code cells that have not been run."""
        return self.page.evaluate(NOT_RUN)

    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells with their outputs, as they would be saved."""
        return self.page.evaluate("() => jupyterapp.shell.currentWidget.context.model.toJSON().cells")

    def settled(self, panel: Locator) -> None:
        """Wait until picture, number boxes and reading are those of the controls, and demand that nothing failed."""
        self.page.wait_for_function(SETTLED, arg=panel.element_handle(), timeout=20_000)
        self.idle()
        found = self.errors()
        assert not found, found

    def still(self, panel: Locator) -> tuple[bytes, str]:
        """The settled panel's pixels and reading."""
        self.settled(panel)
        return panel.locator(".live-plot").screenshot(), panel.locator(".live-caption").inner_text()

    def close(self) -> None:
        """End the kernel and the page."""
        self.page.evaluate("() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.shutdown()")
        self.page.context.close()


def answers_of_checks(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """What each check of an executed notebook says, as text; one that says nothing is the empty string."""
    checks = [cell for cell in cells if "check" in cell["metadata"].get("tags", [])]
    return ["".join(output["data"]["text/plain"] for output in cell["outputs"]) for cell in checks]


def changed(before: bytes, after: bytes) -> float:
    """Share of the pixels that differ visibly between two screenshots of one size."""
    first, second = (Image.open(io.BytesIO(data)).convert("L") for data in (before, after))
    assert first.size == second.size, "the picture changed its size"
    visible: Any = ImageChops.difference(first, second).point(lambda value: 255 * (value > 8))
    return visible.histogram()[255] / (first.width * first.height)
