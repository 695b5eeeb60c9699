"""Five honest clients in two dimensions and a sixth that sends what you like: where does each rule go?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsec import plots
from labsec.course import live
from labsec.models import mlp
from labsec.study import catalogue
from labsec.types import AttackerView

HONEST = torch.tensor([[0.7, 2.0], [2.1, 0.5], [1.0, 1.3], [1.8, 1.4], [0.4, 0.8]])  # [clients, dim]
REACH = 3.0
MARKERS = {"mean": "o", "median": "s", "trimmed_mean": "^", "krum": "P", "geometric_median": "D"}
RULES: dict[str, tuple[Callable[..., Tensor], str]] = {  # title -> (rule that believes in one attacker, marker)
    catalogue.RULES[name].title: (catalogue.RULES[name].fields(1)["aggregate"], marker)
    for name, marker in MARKERS.items()
}
DRAGGED = "your arrow"
CHOSEN = ("alie_1.5", "ipm_0.5", "min_max", "mimic")
ATTACKS: dict[str, Callable[[AttackerView], Tensor] | None] = {
    DRAGGED: None,
    "sign flip x 2": catalogue.KINDS["sign_flip"].scenario(2)["attack"],  # ten times as long would leave the picture
    **{catalogue.ATTACKS[name].title: catalogue.ATTACKS[name].scenario()["attack"] for name in CHOSEN},
}


@dataclass(frozen=True, eq=False)
class WhereRulesGo:
    """The sixth arrow [dim], and where each rule goes with all six: name -> [dim]."""

    sent: Tensor
    results: dict[str, Tensor]


def compute(*, attack: str, x: float, y: float) -> Iterator[WhereRulesGo]:
    """Where each rule goes when the sixth client sends (x, y), or what the attack makes of the honest five.

    >>> state = next(compute(attack="your arrow", x=-2.0, y=-2.0))
    >>> bool(state.results["mean"][0] < state.results["median"][0])
    True
    """
    function = ATTACKS[attack]
    model = mlp((1,), 1, hidden=())
    own = HONEST.mean(dim=0, keepdim=True)  # what the sixth would send if it were honest
    view = AttackerView(
        round=0, params=torch.zeros(2), own=own, others=HONEST, model=model, x=own[:, :1], y=torch.zeros(1).long()
    )
    sent = torch.tensor([[x, y]]) if function is None else function(view)
    rows = torch.cat([HONEST, sent])
    yield WhereRulesGo(sent[0], {name: rule(rows) for name, (rule, _) in RULES.items()})


def reading(controls: Mapping[str, Any], state: WhereRulesGo) -> str:
    """The state in words: who went how far from the honest mean."""
    away = {name: float((place - HONEST.mean(dim=0)).norm()) for name, place in state.results.items()}
    order = sorted(away, key=lambda name: -away[name])
    told = ", ".join(f"{name} {away[name]:.2f}" for name in order)
    return f"The sixth sends ({state.sent[0]:.1f}, {state.sent[1]:.1f}). Distance from the honest mean: {told}."


class ArrowsDrawing:
    """Arrows of the six, a marker for each rule."""

    def __init__(self) -> None:
        self.figure = plots.figure(6.0, 5.2)
        self.axes = plots.axes(self.figure)
        ax = self.axes
        ax.set(
            xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="first weight", ylabel="second weight"
        )
        ax.axhline(0, color=plots.BAND, zorder=0)
        ax.axvline(0, color=plots.BAND, zorder=0)
        for x, y in HONEST.tolist():
            _arrow(ax, x, y, plots.GREY)
        ax.text(1.7, 2.0, "five honest\nclients", color=plots.GREY)
        self.sixth = _arrow(ax, 1.0, 1.0, plots.ATTACKER)
        self.name = ax.text(0, 0, "the sixth", color=plots.ATTACKER, fontweight="bold", ha="center")
        self.marks = {}
        colours = (plots.DEFENDER, *plots.OTHERS)
        for size, ((name, (_, marker)), colour) in enumerate(zip(RULES.items(), colours, strict=False)):
            style = {"linestyle": "none", "markersize": 13 - size, "markeredgecolor": "white", "color": colour}
            (self.marks[name],) = ax.plot([0], [0], marker=marker, label=name, zorder=5, **style)
        ax.legend(loc="lower right", frameon=False, title="where the rule goes")
        self.moving = [self.sixth, self.name, *self.marks.values()]

    def update(self, values: Mapping[str, Any], state: WhereRulesGo) -> None:
        """Show a state."""
        x, y = state.sent.clamp(-REACH, REACH).tolist()
        self.sixth.xy = (x, y)
        self.name.set_position((x, y + (0.12 if y >= 0 else -0.28)))
        for name, place in state.results.items():
            self.marks[name].set_data([float(place[0])], [float(place[1])])


def _arrow(ax: Any, x: float, y: float, colour: str) -> Any:
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    return ax.annotate("", xy=(x, y), xytext=(0, 0), arrowprops=look, zorder=3)


def panel() -> live.Panel:
    """Drag the sixth arrow on the picture, or with the sliders, or let an attack choose it."""
    return live.Panel(
        name="lab02 arrows",
        attacker={
            "attack": live.choice("The sixth sends", list(ATTACKS), DRAGGED),
            "x": live.slider("First weight", -1.0, -REACH, REACH, 0.1, fmt="{:.1f}"),
            "y": live.slider("Second weight", -1.0, -REACH, REACH, 0.1, fmt="{:.1f}", help="or drag the arrow"),
        },
        defender={},
        compute=compute,
        draw=ArrowsDrawing(),
        reading=reading,
        drag=live.Drag(x="x", y="y", sets={"attack": DRAGGED}),
    )
