"""Live panels without a browser: controls, the worker, the picture, and the panel that holds them."""

import base64
import io
import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import ipywidgets
import nbformat
import numpy as np
import pytest
from jupyter_server.services.contents.filemanager import FileContentsManager
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from traitlets.utils.importstring import import_item

from labsec import cli
from labsec.course import live, saving
from labsec.course.live import worker as worker_module
from labsec.course.live.controls import Field
from labsec.course.live.rendering import Renderer, encode_png
from labsec.course.live.worker import Worker

WAIT = 20.0  # seconds before a test gives up; none takes that long


def drawing(*, moving: bool = True, width: float = 3.0) -> Any:
    figure = Figure(figsize=(width, 2))
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [0, 1], zorder=3)
    name = axes.text(0.5, 0.5, "", zorder=4)

    def update(values: Any, state: float) -> None:
        line.set_ydata([0, state])
        name.set_text(f"state {state:.1f}")

    made = SimpleNamespace(figure=figure, update=update)
    return SimpleNamespace(**vars(made), moving=[name, line]) if moving else made


def thirds(share: float, loud: bool) -> Iterator[float]:
    """Three states that lead to the share."""
    for step in (1, 2, 3):
        yield share * step / 3 * (2 if loud else 1)


@pytest.fixture
def make() -> Iterator[Callable[..., live.Panel]]:
    """Panels of two controls that are closed after the test."""
    made = []

    def panel(compute: Callable[..., Iterator[Any]] = thirds, **other: Any) -> live.Panel:
        settings = {
            "name": "test",
            "attacker": {"share": live.slider("Share", 0.3, 0.0, 0.5, 0.1, fmt="{:.0%}")},
            "defender": {"loud": live.switch("Loud", False)},
            "draw": drawing(),
            "reading": lambda values, state: f"{values['share']} gives {state:.2f}.",
        }
        made.append(live.Panel(compute=compute, **{**settings, **other}))
        return made[-1]

    yield panel
    for panel in made:
        panel.close()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("panel ")]


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# controls


def test_a_slider_offers_exactly_the_values_of_its_steps() -> None:
    assert [value for _, value in live.slider("Share", 0.0, 0.0, 0.7, 0.1).options] == [
        0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7
    ]  # fmt: skip
    assert all(type(value) is int for _, value in live.slider("Clients", 4, 2, 10, 2, fmt="{:d}").options)


def test_a_log_slider_shows_infinity_as_off() -> None:
    control = live.log_slider("Epsilon", math.inf, [1.0, 10.0, math.inf])
    assert control.options[control.start] == ("off", math.inf)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: live.slider("Share", 0.25, 0.0, 0.5, 0.1), r"'Share' has no 0.25"),
        (lambda: live.slider("Share", 0.0, 0.5, 0.1, 0.1), "low < high.*low=0.5, high=0.1"),
        (lambda: live.slider("Share", 0.0, 0.0, 1.0, 0.0), "step=0.0"),
        (lambda: live.slider("Share", 0.0, 0.0, 1.0, 1e-4), "10001 stops"),
        (lambda: live.slider("Share", 0.0, 0.0, 1.0, 0.01, fmt="{:.1f}"), "no two with the same text"),
        (lambda: live.choice("Rule", ["mean", "median"], "krum"), "'Rule' has no 'krum'; it has mean, median"),
    ],
)
def test_an_impossible_control_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("typed", "value"), [("30", 0.3), ("28 %", 0.3), ("-5", 0.0), ("1e3", 0.5)])
def test_the_number_box_goes_to_the_nearest_stop(typed: str, value: float) -> None:
    field = Field(live.slider("Share", 0.1, 0.0, 0.5, 0.1, fmt="{:.0%}"))
    box = field.view.children[0]
    box.value = typed
    assert field.value == value
    assert box.value == f"{value:.0%}"


def test_the_number_box_understands_off_and_follows_the_slider() -> None:
    field = Field(live.log_slider("Epsilon", 1.0, [1.0, 10.0, math.inf]))
    box = field.view.children[0]
    box.value = "OFF"
    assert field.value == math.inf
    field.number = 1
    assert box.value == "10"


def test_what_is_no_number_changes_nothing_and_says_so() -> None:
    field = Field(live.slider("Share", 0.1, 0.0, 0.5, 0.1))
    box, note = field.view.children[0], field.view.children[-1]
    box.value = "<many>"
    assert (field.value, box.value) == (0.1, "0.10")
    assert "“&lt;many&gt;” is not a number" in note.value
    box.value = "0.2"
    assert (field.value, note.value) == (0.2, "")


def test_the_box_says_which_stop_was_taken_for_a_number_between_two() -> None:
    field = Field(live.slider("Share", 0.1, 0.0, 0.5, 0.1, fmt="{:.0%}"))
    box, note = field.view.children[0], field.view.children[-1]
    box.value = "28 %"
    assert (field.value, note.value) == (0.3, "28 % is no stop of this slider: 30% is the nearest.")
    box.value = "20"
    assert (field.value, note.value) == (0.2, "")


def test_help_is_one_sentence_behind_a_question_mark() -> None:
    helped = Field(live.switch("Loud", False, help="Twice < thrice.")).view.children[1].value
    assert helped.startswith("<details><summary ")
    assert 'aria-label="Help: Loud">?</summary><p>Twice &lt; thrice.</p>' in helped
    assert len(Field(live.switch("Loud", False)).view.children) == 2, "no question mark without an answer"


def test_a_control_without_effect_is_disabled_and_says_why(make: Callable[..., live.Panel]) -> None:
    def why(values: dict[str, Any]) -> str:
        return "" if values["loud"] else "Nobody is loud."

    panel = make(attacker={"share": live.unless(live.slider("Share", 0.3, 0.0, 0.5, 0.1), why)})
    view = panel._fields["share"].view
    box, track, note = view.children
    assert (box.disabled, track.disabled, note.value) == (True, True, "Nobody is loud.")
    assert "live-idle" in view._dom_classes
    panel.set(loud=True)
    assert (box.disabled, track.disabled, note.value) == (False, False, "")
    assert "live-idle" not in view._dom_classes


# the worker


def started(compute: Callable[..., Iterator[Any]], shown: list[Any], **callbacks: Any) -> Worker:
    calls = {"settle": lambda: shown.append("settled"), "fail": lambda error: shown.append(error), **callbacks}
    return Worker("panel worker", compute, show=lambda values, state: shown.append(state), **calls)


def test_the_newest_value_stops_the_run_and_skips_those_between() -> None:
    begun, go, ran = threading.Event(), threading.Event(), []

    def compute(x: int) -> Iterator[int]:
        ran.append(x)
        yield x
        begun.set()
        go.wait(WAIT)
        yield 10 * x
        ran.append("stopped too late" if x == 1 else "end")

    shown: list[Any] = []
    worker = started(compute, shown)
    worker.submit({"x": 1})
    assert begun.wait(WAIT)
    for x in (2, 3, 4):
        worker.submit({"x": x})
    go.set()
    assert worker.wait(WAIT) == 40
    worker.close()
    assert ran == [1, 4, "end"]
    assert shown[0] == 1
    assert shown[-2:] == [40, "settled"]


def test_drawing_is_rationed_but_the_first_and_the_last_state_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(worker_module, "perf_counter", lambda: clock.now)

    def compute() -> Iterator[int]:
        for state in range(12):
            clock.now += 0.0101
            yield state

    shown: list[Any] = []
    worker = started(compute, shown)
    worker.submit({})
    worker.wait(WAIT)
    worker.close()
    assert shown == [0, 8, 11, "settled"]


def test_slow_drawing_leaves_three_quarters_of_the_time_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(worker_module, "perf_counter", lambda: clock.now)

    def compute() -> Iterator[int]:
        for state in range(70):
            clock.now += 0.01
            yield state

    shown: list[int] = []

    def show(values: Any, state: int) -> None:
        clock.now += 0.0999
        shown.append(state)

    worker = Worker("panel worker", compute, show=show, settle=lambda: None, fail=lambda error: None)
    worker.submit({})
    worker.wait(WAIT)
    worker.close()
    assert shown == [0, 30, 60, 69]


def test_a_choice_may_stand_for_nothing() -> None:
    field = Field(live.choice("Seed", {"all": None, "first": 0}, "all"))
    assert (field.number, field.value) == (0, None)
    field.number = 1
    assert field.value == 0


def test_a_run_without_states_is_an_error() -> None:
    worker = started(lambda: iter(()), [])
    worker.submit({})
    with pytest.raises(RuntimeError, match="yielded no state"):
        worker.wait(WAIT)
    worker.close()


def test_waiting_too_long_and_waiting_for_a_closed_worker_raise() -> None:
    go = threading.Event()
    worker = started(lambda: iter([go.wait(WAIT)]), [])
    worker.submit({})
    with pytest.raises(TimeoutError, match=r"after 0\.01 s"):
        worker.wait(0.01)
    go.set()
    worker.close()
    worker.close()
    assert threads() == []
    with pytest.raises(RuntimeError, match="closed"):
        worker.wait(WAIT)


# the picture


def test_moving_artists_give_the_same_pixels_as_drawing_everything() -> None:
    quick, slow = Renderer(drawing()), Renderer(drawing(moving=False))
    for state in (0.2, 0.9, 0.4):
        np.testing.assert_array_equal(decoded(quick.render({}, state)), decoded(slow.render({}, state)))


def test_what_was_left_alone_is_not_drawn_again_and_the_pixels_are_the_same() -> None:
    """Three squares, one on the other: whichever of them changes, those below it are kept, those above are redrawn."""

    def squares(*, moving: bool) -> tuple[Any, list[Any]]:
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        patches = [axes.bar([0.1 * i], [1.0], color=f"C{i}", zorder=3 + i)[0] for i in range(3)]
        made = SimpleNamespace(figure=figure, update=lambda values, state: patches[state[0]].set_height(state[1]))
        return (SimpleNamespace(**vars(made), moving=patches[::-1]) if moving else made), patches

    quick, patches = squares(moving=True)
    slow, _ = squares(moving=False)
    fast, whole = Renderer(quick), Renderer(slow)
    drawn: list[int] = []
    states = [(0, 0.9), (2, 0.8), (2, 0.7), (1, 0.6), (2, 0.5), (0, 0.4)]
    counts = []
    for number, state in enumerate(states):
        if number == 1:
            for i, patch in enumerate(patches):
                patch.draw = lambda renderer, i=i, draw=patch.draw: (drawn.append(i), draw(renderer))
        drawn.clear()
        np.testing.assert_array_equal(decoded(fast.render({}, state)), decoded(whole.render({}, state)))
        counts.append("".join(map(str, drawn)))
    assert counts == ["", "012", "2", "012", "12", "012"]


def test_the_picture_shows_the_state() -> None:
    picture = Renderer(drawing())
    low, high, again = (picture.render({}, state) for state in (0.1, 0.9, 0.1))
    assert low == again
    assert low != high


def test_a_figure_too_wide_for_the_panel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 5.0 inches wide; got 9"):
        Renderer(drawing(width=9))


def test_the_encoder_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(encode_png(pixels)), pixels)


# the panel


def test_a_panel_is_finished_when_it_is_made(make: Callable[..., live.Panel]) -> None:
    assert make().reading_text == "0.3 gives 0.30."


def test_turning_several_controls_is_one_run(make: Callable[..., live.Panel], monkeypatch: pytest.MonkeyPatch) -> None:
    panel, asked = make(), []
    submit = panel._worker.submit
    monkeypatch.setattr(panel._worker, "submit", lambda values: (asked.append(values), submit(values)))
    panel.set(share=0.5, loud=True)
    assert panel.wait(WAIT) == pytest.approx(1.0)
    assert asked == [{"share": 0.5, "loud": True}]
    assert panel.reading_text == "0.5 gives 1.00."


def test_a_turned_widget_starts_a_run(make: Callable[..., live.Panel]) -> None:
    panel = make()
    panel._fields["share"].source.index = 5
    assert panel.wait(WAIT) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"loud": True, "shares": 0.1}, "no control named shares; there are share, loud"),
     ({"loud": True, "share": 0.25}, "'Share' has no 0.25")],
)  # fmt: skip
def test_a_wrong_setting_turns_nothing(make: Callable[..., live.Panel], values: dict[str, Any], message: str) -> None:
    panel = make()
    with pytest.raises(ValueError, match=message):
        panel.set(**values)
    assert panel.values == {"share": 0.3, "loud": False}


def fail_in_compute(share: float, loud: bool) -> Iterator[float]:
    if loud:
        raise ZeroDivisionError("too <loud>")
    yield share


def fail_in_draw(values: Any, state: float) -> None:
    if values["loud"]:
        raise ZeroDivisionError("too <loud>")


@pytest.mark.parametrize(
    "broken",
    [
        {"compute": fail_in_compute},
        {"draw": SimpleNamespace(figure=Figure(figsize=(2, 2)), update=fail_in_draw)},
        {"reading": lambda values, state: fail_in_draw(values, state) or "fine"},
    ],
    ids=["compute", "draw", "reading"],
)
def test_an_error_is_shown_raised_and_gone_after_the_next_run(
    make: Callable[..., live.Panel], broken: dict[str, Any]
) -> None:
    panel = make(**broken)
    panel.set(loud=True)
    with pytest.raises(ZeroDivisionError, match="too <loud>"):
        panel.wait(WAIT)
    alarm = panel.children[2]
    assert 'role="alert"' in alarm.value
    assert "The run stopped. ZeroDivisionError: too &lt;loud&gt;<" in alarm.value
    assert "<loud>" not in alarm.value, "neither the message nor the trace may bring an element into the page"
    panel.set(loud=False)
    panel.wait(WAIT)
    assert alarm.value == ""


def test_running_the_cell_again_leaves_one_thread_and_no_widget_behind(make: Callable[..., live.Panel]) -> None:
    first = make()
    left = len(ipywidgets.widget._instances)
    second = make()
    assert threads() == ["panel test"]
    assert len(ipywidgets.widget._instances) == left
    with pytest.raises(RuntimeError, match="closed"):
        first.wait(WAIT)
    second.close()
    second.close()
    assert threads() == []


def test_a_panel_that_cannot_start_raises_in_its_cell_and_leaves_no_thread(make: Callable[..., live.Panel]) -> None:
    make()
    with pytest.raises(ZeroDivisionError):
        make(fail_in_compute, defender={"loud": live.switch("Loud", True)})
    assert threads() == []


def test_two_controls_of_one_name_are_refused(make: Callable[..., live.Panel]) -> None:
    with pytest.raises(ValueError, match="a name of its own; got share, share"):
        make(defender={"share": live.switch("Share", True)})


def test_the_page_tells_what_the_picture_shows_and_for_which_settings(make: Callable[..., live.Panel]) -> None:
    panel = make(reading=lambda values, state: f'"{state:.1f}" < 1')
    panel.set(share="50%")
    panel.wait(WAIT)
    view, line = panel.children[0].children[1], panel.children[1]
    assert 'alt="&quot;0.5&quot; &lt; 1" data-for="5 0"' in view.value
    assert 'data-for="5 0" data-busy="false">&quot;0.5&quot; &lt; 1<' in line.value


def test_a_build_keeps_a_picture_with_alt_text(
    make: Callable[..., live.Panel], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make()
    live_one = panel._repr_mimebundle_()
    assert live_one.keys() == {saving.WIDGET, "text/html", "text/plain"}
    assert live_one["text/html"].endswith("<p>0.3 gives 0.30. Run this cell to bring it to life.</p>")
    monkeypatch.setenv("LABSEC_BUILD", "1")
    data = panel._repr_mimebundle_()
    assert data.keys() == {"text/html", "text/plain"}
    assert data["text/plain"] == "0.3 gives 0.30."
    before, _, rest = data["text/html"].partition("base64,")
    code, _, after = rest.partition('"')
    assert before == '<img alt="0.3 gives 0.30." src="data:image/png;'
    assert decoded(base64.b64decode(code)).shape == (200, 300, 3)
    assert after.endswith("<p>0.3 gives 0.30.</p>")


# the way to the page


def test_a_notebook_is_saved_without_widgets_that_leave_nothing_behind(tmp_path: Path) -> None:
    """By Jupyter's own manager of files, with the settings that `labsec open` brings along."""
    settings = json.loads((cli.PACKAGE / "jupyter_server_config.json").read_text(encoding="utf-8"))
    files = FileContentsManager(root_dir=str(tmp_path), **settings["FileContentsManager"])
    outputs = [
        new_output("display_data", {saving.WIDGET: {"model_id": "1"}, "text/html": "<img>"}),
        new_output("display_data", {saving.WIDGET: {"model_id": "2"}, "text/plain": "a question"}),
    ]
    open_page = new_notebook(cells=[new_markdown_cell("words"), new_code_cell("panel", outputs=outputs)])
    files.save({"type": "notebook", "content": open_page, "format": "json"}, "lab.ipynb")
    files.save({"type": "file", "content": "words", "format": "text"}, "notes.txt")
    saved = nbformat.read(tmp_path / "lab.ipynb", as_version=4).cells[1].outputs
    assert [sorted(output.data) for output in saved] == [["text/html"], [saving.WIDGET, "text/plain"]]


def test_the_course_has_small_messages_passed_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Jupyter looks for the settings that `labsec open` brings along."""
    settings = json.loads((cli.PACKAGE / "jupyter_server_config.json").read_text(encoding="utf-8"))
    connection = import_item(settings["ServerApp"]["kernel_websocket_connection_class"])
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: "connected")
    handler = Mock(spec=KernelWebsocketHandler)
    assert connection(websocket_handler=handler).connect() == "connected"
    handler.set_nodelay.assert_called_once_with(True)
