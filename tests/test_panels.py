"""Every panel of every lab, driven: whatever a learner may turn changes what is seen, and the way back is open.

A panel is found by its name: a module in labsec/course/panels with a function `panel`.
"""

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from labsec import matrix
from labsec.course import live, panels
from labsec.course.live.rendering import Renderer

# What a panel's function may ask for, by the name of its parameter.
GIVEN = {"table": matrix.load, "defences": partial(matrix.load, "defences")}

# Controls that change nothing where their panel starts, and a setting in which they do.
ONLY_WITH: dict[tuple[str, str], dict[str, object]] = {
    ("lab00", "noise_at"): {"epsilon": 4},  # without noise, it does not matter who adds it
    ("lab07", "observer"): {"place": "central"},  # elsewhere the noise is in the messages
    ("lab04", "simulates"): {"steps": 2},  # one step is one gradient
    ("lab02_arrows", "x"): {"attack": "your arrow"},  # the other attacks choose their own
    ("lab02_arrows", "y"): {"attack": "your arrow"},
}


def modules() -> list[Any]:
    """Every module with a panel, as a parameter; what concerns one lab runs in one process."""
    found = []
    for entry in pkgutil.iter_modules(panels.__path__):
        module = import_module(f"{panels.__name__}.{entry.name}")
        if hasattr(module, "panel"):
            group = pytest.mark.xdist_group(entry.name[:5])
            found.append(pytest.param(module, id=entry.name, marks=group))
    return found


def made(module: ModuleType) -> live.Panel:
    """The panel of a module, with what its function asks for."""
    return module.panel(**{name: GIVEN[name]() for name in inspect.signature(module.panel).parameters})


def stops(control: live.Control) -> list[Any]:
    """The values to try: both ends and the middle of a slider, and every one of a menu or a switch."""
    last = len(control.options) - 1
    numbers = {0, last // 2, last} if control.kind == "slider" else range(last + 1)
    return [control.options[number][1] for number in sorted(numbers)]


def setting(panel: live.Panel, turned: Mapping[str, object]) -> dict[str, Any]:
    """The values of all controls: as the panel starts, but for those that are turned, by value or by text."""
    values = {key: control.options[control.start][1] for key, control in panel.controls.items()}
    for key, wanted in turned.items():
        control = panel.controls[key]
        values[key] = control.options[control.find(wanted)][1]
    return values


def seen(panel: live.Panel, renderer: Renderer, values: Mapping[str, Any]) -> tuple[str, bytes]:
    """What a learner has before them once the run is finished: the sentence and the picture."""
    *_, state = panel.compute(**values)
    renderer.render(values, state)  # so that the ghost of the run before is this run, whatever was drawn earlier
    return panel.reading(values, state), renderer.render(values, state)


def dead_controls(panel: live.Panel, only_with: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The controls of which two stops cannot be told apart, by their sentences or by their pictures."""
    renderer = Renderer(panel.draw)
    dead = []
    for key, control in panel.controls.items():
        turned = [setting(panel, {**only_with.get(key, {}), key: value}) for value in stops(control)]
        shown = [seen(panel, renderer, values) for values in turned]
        sentences = {sentence for sentence, _ in shown}
        pictures = {picture for _, picture in shown}
        if min(len(sentences), len(pictures)) < len(turned):
            dead.append(key)
    return dead


def picture_of(panel: live.Panel) -> str:
    """What the panel has put on the page, as HTML."""
    return panel.children[0].children[1].value


@pytest.mark.parametrize("module", modules())
def test_every_control_changes_the_reading_and_the_picture(module: ModuleType) -> None:
    panel = made(module)
    panel.close()  # from here on there are no widgets
    name = module.__name__.rpartition(".")[2]
    only_with = {key: needed for (panel_name, key), needed in ONLY_WITH.items() if panel_name == name}
    assert dead_controls(panel, only_with) == []


@pytest.mark.parametrize("module", modules())
def test_the_start_comes_back_whatever_was_turned(module: ModuleType) -> None:
    panel = made(module)
    try:
        start = panel.values
        reading = panel.reading_text
        pictures = []
        for _ in range(2):
            # Every control at its other end, all at once.
            panel.set(**{key: stops(control)[-1] for key, control in panel.controls.items()})
            state = panel.wait()
            assert panel.reading_text == panel.reading(panel.values, state)
            assert panel.reading_text != reading
            other = picture_of(panel)

            # A picture shows the run before as a ghost, so the way back gives the same one only the second time.
            panel.set(**start)
            panel.wait()
            assert panel.reading_text == reading
            pictures.append(picture_of(panel))
            assert pictures[-1] != other
        assert pictures[0] == pictures[1]
    finally:
        panel.close()


@pytest.fixture
def small() -> Iterator[live.Panel]:
    """A panel of which one control does nothing, one matters only where the other is on, and one is well."""
    figure = Figure(figsize=(2, 1))
    (line,) = figure.subplots().plot([0, 1], [0, 1])

    def compute(height: int, doubled: bool, idle: bool) -> Iterator[int]:
        yield 2 * height if doubled else height

    panel = live.Panel(
        name="small",
        attacker={"height": live.slider("Height", 0, 0, 4, 1, fmt="{:d}")},
        defender={"doubled": live.switch("Doubled", False), "idle": live.switch("Idle", False)},
        compute=compute,
        draw=SimpleNamespace(figure=figure, update=lambda values, state: line.set_ydata([0, state])),
        reading=lambda values, state: f"{values} give {state}.",
    )
    yield panel
    panel.close()


def test_a_control_that_does_nothing_is_found_although_the_reading_names_it(small: live.Panel) -> None:
    assert dead_controls(small, {}) == ["doubled", "idle"]
    assert dead_controls(small, {"doubled": {"height": 2}}) == ["idle"]
