"""What a learner can set: sliders with a number box, choices and switches, described before any widget exists."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import ipywidgets as widgets

from labsec.course.live.markup import help_for
from labsec.guards import check_function, check_kind, check_number, kind

Format: TypeAlias = str | Callable[[float], str]

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
MOST_STOPS = 1001


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control: a list of values, each with the text that stands for it.

    kind      slider, choice or switch
    label     its visible name, unit included
    options   (text, value) in order; the value goes to `compute`
    start     number of the option that is chosen at first
    help      one plain sentence behind a "?", or ""
    idle      (values of all controls) -> why this one has no effect at present, or ""
    scale     what the number box shows per unit of value: 100 for a percentage
    """

    kind: Literal["slider", "choice", "switch"]
    label: str
    options: tuple[tuple[str, Any], ...]
    start: int
    help: str = ""
    scale: float = 1.0
    idle: Callable[[Mapping[str, Any]], str] | None = None

    def __post_init__(self) -> None:
        check_kind("a control", str, label=self.label, help=self.help)
        texts = [text for text, _ in self.options]
        if len(texts) < 2 or len(set(texts)) < len(texts):
            raise ValueError(f"{self.label!r} needs two options or more, no two with the same text; got {texts}")

    def find(self, wanted: object) -> int:
        """Number of the option with this value or this text.

        >>> choice("Rule", {"mean": 1, "median": 2}, "mean").find("median")
        1

        Raises ValueError, naming the options, if no option matches.
        """
        for number, (text, value) in enumerate(self.options):
            if wanted is value or wanted == text or (type(wanted) is not str and _same(wanted, value)):
                return number
        raise ValueError(f"{self.label!r} has no {wanted!r}; it has {', '.join(text for text, _ in self.options)}")

    def nearest(self, typed: str) -> int | None:
        """Number of the option closest to what was typed into the number box; None if it is not a number.

        >>> slider("Share", 0.0, 0.0, 0.5, 0.1, fmt="{:.0%}").nearest("28 %")
        3
        """
        number = self._typed_number(typed)
        return None if number is None else self.closest(number)

    def means(self, typed: str, number: int) -> bool:
        """Whether what was typed is this option itself, and not only close to it.

        >>> share = slider("Share", 0.0, 0.0, 0.5, 0.1, fmt="{:.0%}")
        >>> share.means("30 %", 3), share.means("28 %", 3)
        (True, False)
        """
        text, value = self.options[number]
        return typed.strip().lower() == text.lower() or _same(self._typed_number(typed), value)

    def _typed_number(self, typed: str) -> float | None:
        """The value that a text stands for; None if it is no number."""
        check_kind(self.label, str, typed=typed)
        found = NUMBER.search(typed)
        if found is None:
            return math.inf if typed.strip().lower() in ("off", "inf") else None
        return float(found[0]) / self.scale

    def closest(self, number: float) -> int:
        """Number of the option of a slider that is closest to a value, which may be infinite.

        Raises ValueError unless it is a number, and the control a slider.
        """
        if self.kind != "slider":
            raise ValueError(f"only a slider has a closest option; {self.label!r} is a {self.kind}")
        check_number(self.label, least=-math.inf, most=math.inf, number=number)
        distances = [0.0 if value == number else abs(value - number) for _, value in self.options]
        return distances.index(min(distances))


def slider(
    label: str, start: float, low: float, high: float, step: float, *, help: str = "", fmt: Format = "{:.2f}"
) -> Control:
    """Evenly spaced values from low to high, both included.

    fmt    how a value is shown, with its unit if it has one; "{:.0%}" makes the number box show percentages

    >>> [text for text, _ in slider("Clients", 2, 1, 3, 1, fmt="{:d}").options]
    ['1', '2', '3']

    Raises ValueError unless low <= start <= high and start lies on a whole number of steps.
    """
    check_kind(f"{label!r}", (int, float), start=start, low=low, high=high, step=step)
    check_number(f"{label!r}", start=start, low=low, high=high, step=step)
    if not (low < high and 0 < step <= high - low):
        raise ValueError(
            f"{label!r} needs low < high and 0 < step <= high - low; got low={low}, high={high}, step={step}"
        )
    stops = 1 + math.floor((high - low) / step + 1e-9)
    if stops > MOST_STOPS:
        raise ValueError(
            f"{label!r} has {stops} stops, and a slider takes at most {MOST_STOPS}; "
            f"got low={low}, high={high}, step={step}"
        )
    whole = all(isinstance(number, int) for number in (low, step))
    values = [low + i * step if whole else round(low + i * step, 12) for i in range(stops)]
    return log_slider(label, start, values, help=help, fmt=fmt)


def log_slider(label: str, start: float, choices: Sequence[float], *, help: str = "", fmt: Format = "{:g}") -> Control:
    """A slider that steps through the given values, evenly spaced on the track. An infinity is shown as "off".

    >>> [text for text, _ in log_slider("Epsilon", 10.0, [1.0, 10.0, math.inf]).options]
    ['1', '10', 'off']

    Raises ValueError if a choice is no number, or if start is not one of them.
    """
    if isinstance(choices, str) or not isinstance(choices, Sequence):
        raise TypeError(f"{label!r} needs choices to be a list of numbers; got {kind(choices)}")
    for value in (start, *choices):
        check_number(f"{label!r}", least=-math.inf, most=math.inf, choice=value)
    show = _shown_by(label, fmt)
    options = tuple(("off" if value == math.inf else show(value), value) for value in choices)
    percent = isinstance(fmt, str) and re.search(r"%\}", fmt) is not None
    return _starting(Control(kind="slider", label=label, options=options, start=0, help=help), start, percent)


def choice(label: str, options: Mapping[str, object] | Sequence[str], start: object, *, help: str = "") -> Control:
    """One of several, from a menu. `compute` gets the value of a mapping, or the text of a plain list.

    start   the text or the value that is chosen at first

    Raises ValueError if start is neither, TypeError if options is no mapping and no list of texts.
    """
    if isinstance(options, str) or not isinstance(options, Mapping | Sequence):
        raise TypeError(f"{label!r} needs options to be a mapping or a list of texts; got {kind(options)}")
    for text in options:
        check_kind(f"{label!r}", str, option=text)
    pairs = options.items() if isinstance(options, Mapping) else zip(options, options, strict=True)
    return _starting(Control(kind="choice", label=label, options=tuple(pairs), start=0, help=help), start)


def switch(label: str, start: bool, *, help: str = "") -> Control:
    """On or off: `compute` gets True or False."""
    check_kind(f"{label!r}", bool, start=start)
    return Control(kind="switch", label=label, options=(("off", False), ("on", True)), start=int(start), help=help)


def _shown_by(label: str, fmt: Format) -> Callable[[float], str]:
    """From a value to its text."""
    if not isinstance(fmt, str):
        check_function(f"{label!r}", fmt=fmt)
        return fmt

    def show(value: float) -> str:
        try:
            return fmt.format(value)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{label!r} cannot show {value!r} with fmt={fmt!r}: {error}") from None

    return show


def unless(control: Control, idle: Callable[[Mapping[str, Any]], str]) -> Control:
    """The same control, disabled with a reason wherever `idle(values)` gives one.

    >>> unless(switch("Noise", True), lambda values: "no noise at all").idle({})
    'no noise at all'
    """
    check_kind("unless", Control, control=control)
    check_function("unless", idle=idle)
    return replace(control, idle=idle)


def _starting(control: Control, start: object, percent: bool = False) -> Control:
    return Control(**{**vars(control), "start": control.find(start), "scale": 100.0 if percent else 1.0})


def _same(a: object, b: object) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or math.isclose(a, b, abs_tol=1e-12)
    return a == b


class Field:
    """A control's widgets.

    view      the widget that is shown
    source    the widget that the learner moves: its trait named `trait` holds the number of the option
    """

    def __init__(self, control: Control) -> None:
        check_kind("Field", Control, control=control)
        self.control = control
        make = {"slider": self._slider, "choice": self._choice, "switch": self._switch}[control.kind]
        self._note = widgets.HTML().add_class("live-note")
        self._explain("")
        self.source, rows = make()
        self._parts = rows
        self.trait = "value" if control.kind == "switch" else "index"
        ask = [widgets.HTML(help_for(control.label, control.help)).add_class("live-help")] if control.help else []
        self.view = widgets.VBox([*rows, *ask, self._note]).add_class("live-control").add_class(f"live-{control.kind}")

    @property
    def number(self) -> int:
        """Number of the chosen option."""
        return int(getattr(self.source, self.trait))

    @number.setter
    def number(self, number: int) -> None:
        self.source.set_trait(self.trait, bool(number) if self.trait == "value" else number)

    @property
    def value(self) -> Any:
        """What `compute` gets."""
        return self.control.options[self.number][1]

    def follow(self, values: Mapping[str, Any]) -> None:
        """Be idle, and say why, wherever these values leave nothing to turn."""
        why = self.control.idle(values) if self.control.idle else ""
        for part in self._parts:
            part.disabled = bool(why)
        (self.view.add_class if why else self.view.remove_class)("live-idle")
        self._explain(why)

    def _slider(self) -> tuple[Any, list[Any]]:
        texts = self._texts()
        source = widgets.SelectionSlider(options=texts, index=self.control.start)
        box = widgets.Text(value=texts[source.index], description=self.control.label, continuous_update=False)
        box.observe(self._typed, "value")
        source.observe(lambda change: box.set_trait("value", texts[change["new"]]), "index")
        return source, [box, source]

    def _typed(self, change: dict[str, Any]) -> None:
        """The number box was edited: go to the nearest stop, and let the box show where that is."""
        current = self.control.options[self.number][0]
        if change["new"] == current:
            return
        number = self.control.nearest(change["new"])
        if number is not None:
            self.number = number
        taken = self.control.options[self.number][0]
        change["owner"].value = taken

        # Said last, because a panel clears the note when anything is turned.
        if number is None:
            self._explain(f"“{change['new']}” is not a number; still {current}.")
        elif self.control.means(change["new"], number):
            self._explain("")
        else:
            self._explain(f"{change['new']} is no stop of this slider: {taken} is the nearest.")

    def _explain(self, text: str) -> None:
        self._note.value = html.escape(text)
        self._note.layout.display = None if text else "none"

    def _choice(self) -> tuple[Any, list[Any]]:
        source = widgets.Dropdown(options=self._texts(), index=self.control.start, description=self.control.label)
        return source, [source]

    def _texts(self) -> list[str]:
        """What the widget holds: the values stay here, because a widget takes a value of None for no choice at all."""
        return [text for text, _ in self.control.options]

    def _switch(self) -> tuple[Any, list[Any]]:
        source = widgets.Checkbox(value=bool(self.control.start), description=self.control.label, indent=False)
        return source, [source]
