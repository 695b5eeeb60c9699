"""Nine honest clients in two dimensions, and three that send what you like: where does each rule go?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from labsec import plots
from labsec.course import live
from labsec.models import mlp
from labsec.study import catalogue
from labsec.types import AttackerView

# Four honest clients have little data of the usual kind, and leave a gap in which a message looks like one of theirs.
HONEST = torch.tensor(
    [[0.3, 0.3], [1.7, 1.9], [1.7, 0.0], [0.9, 2.7], [1.6, 1.1], [1.1, 1.3], [2.3, 2.5], [2.0, 0.5], [1.9, 2.2]]
)  # [clients, dim]
MALICIOUS = 3
REACH = 3.0
LOOKS = {  # rule -> marker, its size, whether it is filled: every mark can be seen where all meet
    "mean": ("o", 11, True),
    "median": ("s", 8, True),
    "trimmed_mean": ("^", 7, True),
    "geometric_median": ("D", 5, True),
    "krum": ("o", 19, False),
}
RULES: dict[str, Callable[..., Tensor]] = {
    catalogue.RULES[name].title: catalogue.RULES[name].fields(MALICIOUS)["aggregate"] for name in LOOKS
}
NOBODY = "nobody attacks"
DRAGGED = "your arrow"
ATTACKS: dict[str, Callable[[AttackerView], Tensor] | None] = {
    NOBODY: None,
    DRAGGED: None,
    "sign flip x 2": catalogue.KINDS["sign_flip"].scenario(2)["attack"],  # ten times as long would leave the picture
    "ALIE, z = 1.5": catalogue.ATTACKS["alie_1.5"].scenario()["attack"],
    "min-max": catalogue.ATTACKS["min_max"].scenario()["attack"],
    "mimic": catalogue.ATTACKS["mimic"].scenario()["attack"],
}


@dataclass(frozen=True, eq=False)
class WhereRulesGo:
    """Where the rules go.

    sent       [dim] what each of the three sends, or None if nobody attacks
    results    rule -> [dim], with the honest rows and the three
    """

    sent: Tensor | None
    results: dict[str, Tensor]


def compute(*, attack: str, x: float, y: float) -> Iterator[WhereRulesGo]:
    """Where each rule goes when three clients send (x, y), or what the attack makes of the honest nine.

    >>> state = next(compute(attack="your arrow", x=-2.0, y=-2.0))
    >>> bool(state.results["mean"][0] < state.results["median"][0])
    True
    """
    if attack == NOBODY:
        yield WhereRulesGo(None, dict(_alone()))
        return
    function = ATTACKS[attack]
    sent = torch.tensor([x, y]) if function is None else function(_view())[0]
    rows = torch.cat([sent.expand(MALICIOUS, 2), HONEST])
    yield WhereRulesGo(sent, {name: rule(rows) for name, rule in RULES.items()})


@cache
def _alone() -> dict[str, Tensor]:
    """Where each rule goes with the honest nine."""
    return {name: rule(HONEST) for name, rule in RULES.items()}


def _view() -> AttackerView:
    """What the three know: the honest rows. If they were honest, they would send the mean."""
    own = HONEST.mean(dim=0).expand(MALICIOUS, 2)
    return AttackerView(
        round=0,
        params=torch.zeros(2),
        own=own,
        others=HONEST,
        model=mlp((1,), 1, hidden=()),
        x=own[:, :1],
        y=torch.zeros(MALICIOUS, dtype=torch.int64),
    )


def away(place: Tensor) -> float:
    """How far a rule went from the honest mean."""
    return float((place - HONEST.mean(dim=0)).norm())


def reading(controls: Mapping[str, Any], state: WhereRulesGo) -> str:
    """The state in words: who went how far from the honest mean, and on whom Krum sits."""
    order = sorted(state.results, key=lambda name: -away(state.results[name]))
    told = ", ".join(f"{name} {away(state.results[name]):.2f}" for name in order)
    if state.sent is None:
        return f"Nobody attacks. Distance from the honest mean: {told}."
    sits = "one of the three" if (state.results["Krum"] - state.sent).norm() < 1e-4 else "an honest client"
    return (
        f"Three of twelve send ({state.sent[0]:.1f}, {state.sent[1]:.1f}). Krum sits on {sits}. "
        f"Distance from the honest mean: {told}."
    )


class ArrowsDrawing:
    """Arrows of the twelve, and a mark for each rule."""

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        ax = self.axes = plots.axes(self.figure)
        ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        ax.set(xlabel="first weight", ylabel="second weight")
        ax.axhline(0, color=plots.BAND, zorder=0)
        ax.axvline(0, color=plots.BAND, zorder=0)
        for x, y in HONEST.tolist():
            _arrow(ax, x, y, plots.GREY)
        ax.text(-0.1, 2.55, "nine honest\nclients", color=plots.INK, ha="right", va="center")
        self.bad = _arrow(ax, 1.0, 1.0, plots.ATTACKER)
        self.name = ax.text(0, 0, "three send this", color=plots.ATTACKER, fontweight="bold", ha="center")
        colours = (plots.DEFENDER, *plots.OTHERS)
        self.marks = {}
        for (name, (marker, size, filled)), colour in zip(LOOKS.items(), colours, strict=False):
            title = catalogue.RULES[name].title
            face = colour if filled else "none"
            edge = "white" if filled else colour
            style = {"linestyle": "none", "markersize": size, "color": colour, "markerfacecolor": face}
            (self.marks[title],) = ax.plot(
                [0], [0], marker=marker, markeredgecolor=edge, markeredgewidth=1 if filled else 3, label=title, **style
            )
            self.marks[title].set_zorder(5)
        ax.legend(
            loc="lower right",
            frameon=False,
            title="where the rule goes",
            fontsize=8,
            title_fontsize=8,
            labelspacing=0.8,
        )
        self.moving = [self.bad, self.name, *self.marks.values()]

    def update(self, values: Mapping[str, Any], state: WhereRulesGo) -> None:
        """Show a state."""
        self.bad.set_visible(state.sent is not None)
        self.name.set_visible(state.sent is not None)
        if state.sent is not None:
            x, y = state.sent.clamp(-REACH, REACH).tolist()
            self.bad.xy = (x, y)
            self.name.set_position((max(min(x, 2.0), -2.0), max(min(y, 2.7), -2.7) + (0.3 if y >= 0 else -0.5)))
        for name, place in state.results.items():
            self.marks[name].set_data([float(place[0])], [float(place[1])])


def _arrow(ax: Any, x: float, y: float, colour: str) -> Any:
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    return ax.annotate("", xy=(x, y), xytext=(0, 0), arrowprops=look, zorder=3)


OR_DRAG = "Where the arrow of the three points; you can also drag it in the picture."


def _not_yours(values: Mapping[str, Any]) -> str:
    return "" if values["attack"] == DRAGGED else f"choose “{DRAGGED}”, or drag in the picture"


def panel() -> live.Panel:
    """Drag the arrow of the three on the picture, or with the sliders, or let an attack choose it."""
    place: Any = {"start": -2.0, "low": -REACH, "high": REACH, "step": 0.1, "fmt": "{:.1f}", "help": OR_DRAG}
    return live.Panel(
        name="lab02 arrows",
        attacker={
            "attack": live.choice("Three clients send", list(ATTACKS), NOBODY, help="All three send one arrow."),
            "x": live.unless(live.slider("First weight", **place), _not_yours),
            "y": live.unless(live.slider("Second weight", **place), _not_yours),
        },
        defender={},
        compute=compute,
        draw=ArrowsDrawing(),
        reading=reading,
        drag=live.Drag(x="x", y="y", sets={"attack": DRAGGED}),
    )
