"""The panel: controls, worker and picture put together."""

from __future__ import annotations

import html
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ipywidgets as widgets

from labsec import plots
from labsec.course.live.controls import Control, Field
from labsec.course.live.markup import Names, alarm, heading, image_tag, sentence
from labsec.course.live.pointer import Drag, Pointer
from labsec.course.live.rendering import Drawing, Renderer
from labsec.course.live.worker import NOTHING, Worker, check_state

NO_CONTROLS: Mapping[str, Control] = {}

_open: dict[str, Panel] = {}  # by name: whoever runs a panel's cell again replaces the panel


class Panel(widgets.VBox):  # type: ignore[misc]
    """Controls that re-run a real computation, its picture and its reading.

    name       of the panel; a new panel closes the open one of the same name
    attacker   the attacker's controls by argument of `compute`
    defender   the defender's
    setting    the controls that belong to neither
    compute    keyword values of all controls -> iterator of states; the picture follows each, the last is the result
    draw       the figure, and how a state changes it
    drag       controls that follow the pointer on the picture; None if it cannot be dragged
    reading    (values, state) -> one sentence that says what the picture shows; it is the picture's alt text as well

    The first run is finished when the panel is made, so that a run without a browser sees all of it. What the panel
    was made of stays readable as `controls`, `compute`, `draw` and `reading`: a setting can be tried without widgets.

    >>> import matplotlib.figure, types
    >>> from labsec.course.live import slider
    >>> figure = matplotlib.figure.Figure(figsize=(4, 2))
    >>> (line,) = figure.subplots().plot([0, 1], [0, 1])
    >>> panel = Panel(
    ...     name="doubling",
    ...     attacker={"x": slider("Number", 1, 0, 9, 1, fmt="{:d}")},
    ...     defender={},
    ...     compute=lambda x: iter([2 * x]),
    ...     draw=types.SimpleNamespace(figure=figure, update=lambda values, state: line.set_ydata([0, state])),
    ...     reading=lambda values, state: f"Twice {values['x']} is {state}.",
    ... )
    >>> panel.reading_text
    'Twice 1 is 2.'
    >>> panel.set(x=4)
    >>> panel.wait()
    8
    >>> panel.close()

    Raises whatever the first run raises; ValueError if two controls have one name.
    """

    _worker: Worker | None = None

    def __init__(
        self,
        *,
        name: str,
        attacker: Mapping[str, Control],
        defender: Mapping[str, Control],
        setting: Mapping[str, Control] = NO_CONTROLS,
        compute: Callable[..., Iterator[Any]],
        draw: Drawing,
        reading: Callable[[Mapping[str, Any], Any], str],
        drag: Drag | None = None,
    ) -> None:
        if name in _open:
            _open[name].close()

        # The first run comes before any widget, so that one that raises leaves nothing behind.
        groups = {"attacker": attacker, "defender": defender, "setting": setting}
        values = _start_values(groups)
        state = _last(compute(**values), values)

        self.controls = {key: control for group in groups.values() for key, control in group.items()}
        self.compute = compute
        self.draw = draw
        self.reading = reading
        self._name = name
        self._renderer = Renderer(draw)
        self._fields = {key: Field(control) for key, control in self.controls.items()}
        self._quiet = False  # while several controls are turned at once

        # What the page shows: controls beside the picture, the reading below, and an alarm that is seldom there.
        self._view = widgets.HTML().add_class("live-view")
        self._line = widgets.HTML().add_class("live-reading")
        self._alarm = widgets.HTML(layout={"display": "none"}).add_class("live-alarm")
        self._follow()
        self._show(values, state)
        self._settle()
        columns = widgets.Box([self._columns(groups), self._view]).add_class("live-body")
        super().__init__([columns, self._line, self._alarm, Names(), *self._pointers(drag, draw)])
        self.add_class("live-panel")

        # From here on whatever is turned is run in the worker's thread.
        for field in self._fields.values():
            field.source.observe(self._turned, field.trait)
        self._worker = Worker(f"panel {name}", compute, show=self._show, settle=self._settle, fail=self._fail)
        _open[name] = self

    @property
    def reading_text(self) -> str:
        """The sentence below the picture."""
        return self._text

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say, as `compute` gets it."""
        return {key: field.value for key, field in self._fields.items()}

    def set(self, **values: object) -> None:
        """Set controls as a learner would, all at once; a value or its text will do.

        Raises ValueError for an unknown control and for a value that the control does not have; then
        nothing changes.
        """
        strange = sorted(values.keys() - self._fields.keys())
        if strange:
            raise ValueError(f"no control named {', '.join(strange)}; there are {', '.join(self._fields)}")
        numbers = {key: self._fields[key].control.find(value) for key, value in values.items()}
        self._quiet = True
        try:
            for key, number in numbers.items():
                self._fields[key].number = number
        finally:
            self._quiet = False
        self._submit()

    def wait(self, timeout: float = 60.0) -> Any:
        """Wait for the final state for the current values, and return it.

        Raises what compute, the drawing or the reading raised; TimeoutError; RuntimeError if the panel is closed.
        """
        if self._worker is None:
            raise RuntimeError("the panel is closed: run its cell again")
        return self._worker.wait(timeout)

    def close(self) -> None:
        """End the worker's thread and remove the panel from the page; a second call does nothing."""
        worker = self._worker
        if worker is None:
            return
        self._worker = None
        worker.close()
        if _open.get(self._name) is self:
            del _open[self._name]
        _close_all(self)
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live panel, and its picture and reading for when the kernel is gone; in a build these two alone."""
        if not os.environ.get("LABSEC_BUILD"):
            bundle = super()._repr_mimebundle_(**options)
            return bundle and {**bundle, **self._kept("Run this cell to bring it to life.")}
        return self._kept("")

    def _kept(self, after: str) -> dict[str, str]:
        """The picture and its reading, for a page without a kernel: what is saved of it (`labsec.course.saving`)."""
        kept = plots.mimebundle(self._png, self._text)
        words = html.escape(f"{self._text} {after}".strip())
        return {**kept, "text/html": f"{kept['text/html']}<p>{words}</p>"}

    def _columns(self, groups: Mapping[str, Mapping[str, Control]]) -> Any:
        """The controls, one group below the other."""
        boxes = []
        for role, group in groups.items():
            if group:
                rows = [
                    widgets.HTML(heading(role)).add_class("live-heading-box"),
                    *(self._fields[key].view for key in group),
                ]
                boxes.append(widgets.VBox(rows).add_class("live-group").add_class(f"live-{role}"))
        return widgets.VBox(boxes).add_class("live-controls")

    def _pointers(self, drag: Drag | None, draw: Drawing) -> list[Pointer]:
        """The pointer of a panel that can be dragged."""
        if drag is None:
            return []
        axes = draw.axes  # type: ignore[attr-defined]
        width, height = draw.figure.bbox.size
        pointer = Pointer()

        def dragged(change: dict[str, Any]) -> None:
            across, down = change["new"]
            place = axes.transData.inverted().transform((across * width, (1 - down) * height))
            values = {}
            for name, number in zip((drag.x, drag.y), place, strict=True):
                if name:
                    control = self._fields[name].control
                    values[name] = control.options[control.closest(number)][1]
            self.set(**drag.sets, **values)

        pointer.observe(dragged, "place")
        return [pointer]

    def _turned(self, _: object) -> None:
        if not self._quiet:
            self._submit()

    def _follow(self) -> None:
        """Tell every control what the others are set to: it may have no effect."""
        values = self.values
        for field in self._fields.values():
            field.follow(values)

    def _submit(self) -> None:
        self._follow()
        if self._worker is not None:
            self._worker.submit(self.values)

    def _show(self, values: Mapping[str, Any], state: Any) -> None:
        self._text = self.reading(values, state)
        self._png = self._renderer.render(values, state)
        self._shown = " ".join(str(self._fields[key].control.find(value)) for key, value in values.items())
        self._view.value = image_tag(self._png, self._renderer.size, self._text, self._shown)
        self._line.value = sentence(self._text, self._shown, busy=True)

    def _settle(self) -> None:
        self._line.value = sentence(self._text, self._shown, busy=False)
        if self._alarm.value:
            self._alarm.value = ""
            self._alarm.layout.display = "none"

    def _fail(self, error: Exception) -> None:
        self._alarm.value = alarm(error, "".join(traceback.format_exception(error)))
        self._alarm.layout.display = None


def _start_values(groups: Mapping[str, Mapping[str, Control]]) -> dict[str, Any]:
    controls = [(key, control) for group in groups.values() for key, control in group.items()]
    values = {key: control.options[control.start][1] for key, control in controls}
    if len(values) < len(controls):
        names = [key for key, _ in controls]
        raise ValueError(f"each control needs a name of its own; got {', '.join(names)}")
    return values


def _last(states: Iterator[Any], values: Mapping[str, Any]) -> Any:
    kept = deque(states, maxlen=1)
    state = kept.pop() if kept else NOTHING
    check_state(state, values)
    return state


def _close_all(box: Any) -> None:
    """Close the widgets that belong to a box; closing the box alone would leave them in the kernel."""
    for child in box.children:
        if isinstance(child, widgets.Box):
            _close_all(child)
        for part in (getattr(child, "style", None), child.layout, child):
            if isinstance(part, widgets.Widget):
                part.close()
