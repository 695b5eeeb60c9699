"""The table of defences to filter: every attack and every backdoor against rules, layers and detectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labsec import plots
from labsec.course import live
from labsec.study.catalogue import (
    ADAPTIVE,
    ATTACKS,
    BACKDOORS,
    DEFENCES,
    DOOR_ADAPTIVE,
    HONEST,
    KNOWLEDGE,
    OWN,
    RULE,
    RULES,
    SKEWS,
    title_of,
)
from labsec.study.matrix.maps import COLOURS, ink

if TYPE_CHECKING:
    import pandas

ACCURACY = "accuracy"
SUCCESS = "success"
ROWS = {ACCURACY: (*ATTACKS, ADAPTIVE), SUCCESS: (*BACKDOORS, DOOR_ADAPTIVE)}
SHOWN = {"accuracy": ACCURACY, "success of backdoors": SUCCESS}
LAYERED = ("bucketing", "clip_", "fedshield", "quarantine")
GROUPS = {
    "the rules of lab 02": tuple(RULES),
    "other rules": tuple(name for name in DEFENCES if not name.startswith(LAYERED)),
    "layers and detectors": ("mean", *(name for name in DEFENCES if name.startswith(LAYERED))),
}
SHORT = {
    "nnm_trimmed": "mixing + trim",
    "clip_nnm_trimmed": "clip + mix + trim",
    "clip_nnm_trimmed_noise": "clip + mix + trim + noise",
    "geometric_median": "geom. median",
    "quarantine_norm": "quarantine, norm",
    "quarantine_spectral": "quarantine, spectrum",
    "quarantine_root": "quarantine, root",
}


@dataclass(frozen=True, eq=False)
class Filtered:
    """Numbers [rows, columns] over the seeds: accuracy, or the success of a backdoor; NaN where nothing was run.

    mean, std      over the seeds
    calm           accuracy when nobody attacks, or the success of the same mark when nobody attacks: [columns]
    is_success     whether a high number is the worst
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    calm: np.ndarray
    is_success: bool

    @property
    def worst(self) -> np.ndarray:
        """The row of the worst number of each column."""
        found: np.ndarray = (np.nanargmax if self.is_success else np.nanargmin)(self.mean, axis=0)
        return found


def knows(attack: str) -> int:
    """How much the attackers of a row know, as a place in KNOWLEDGE."""
    if attack in (ADAPTIVE, DOOR_ADAPTIVE):
        return KNOWLEDGE.index(RULE)
    entry = ATTACKS[attack] if attack in ATTACKS else BACKDOORS[attack]
    return KNOWLEDGE.index(entry.knows)


def compute(*, table: pandas.DataFrame, shows: str, skew: str, rules: tuple[str, ...], most: str) -> Iterator[Filtered]:
    """The part of the table that the filters leave.

    shows    accuracy or success
    rules    the columns
    most     in KNOWLEDGE: rows that would have to know more are left out
    """
    rows = tuple(name for name in ROWS[shows] if knows(name) <= KNOWLEDGE.index(most))
    here = table[(table["skew"] == skew) & table["rule"].isin(rules)]
    groups = here[here["attack"].isin(rows)].groupby(["attack", "rule"])[shows]
    mean, std = (
        wide.unstack().reindex(index=list(rows), columns=list(rules)).to_numpy(dtype=float)
        for wide in (groups.mean(), groups.std())
    )
    nobody = here[here["attack"] == "none"].groupby("rule")[ACCURACY if shows == ACCURACY else "baseline"].mean()
    calm = nobody.reindex(list(rules)).to_numpy(dtype=float)
    yield Filtered(rows, rules, mean, std, calm, is_success=shows == SUCCESS)


def reading(controls: Mapping[str, Any], state: Filtered) -> str:
    """Which defences stand best by their worst row, as far as the seeds can tell."""
    places = range(len(state.columns))
    worst = state.mean[state.worst, places]  # [columns]
    spreads = np.nan_to_num(state.std[state.worst, places])  # [columns], none for a single seed
    harm = worst if state.is_success else -worst
    best = int(harm.argmin())

    # Five seeds do not tell defences apart whose worst means lie within one standard deviation of each other.
    level = [place for place in harm.argsort() if harm[place] - harm[best] <= max(spreads[best], spreads[place])]
    said = [
        f"{title_of(state.columns[place])} ({worst[place]:.2f} ± {spreads[place]:.2f} under "
        f"{title_of(state.rows[state.worst[place]])}, {state.calm[place]:.2f} when nobody attacks)"
        for place in level[:3]
    ]
    more = f", and {len(level) - 3} more" if len(level) > 3 else ""
    what = "success of its best backdoor" if state.is_success else "accuracy under its worst attack"
    verdict = f"stands best: {said[0]}" if len(said) == 1 else f"these are level: {', '.join(said)}{more}"
    knowing = (
        "the worst row in hindsight included" if controls["most"] == RULE else f"rows that know {controls['most']}"
    )
    return f"{SKEWS[controls['skew']].short}, {knowing}. Of these {len(state.columns)} by the {what}, {verdict}."


class DefencesDrawing:
    """A map with its numbers in the cells, and the worst row of each column in a frame."""

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        self.figure.set_layout_engine("none")
        with plots.style():
            self.ax = self.figure.add_axes((0.31, 0.24, 0.68, 0.69))
            self.title = self.ax.set_title("", fontsize=11)
        most_rows = max(map(len, ROWS.values()))
        most_columns = max(map(len, GROUPS.values()))
        self.blank = np.full((most_rows, most_columns), np.nan)
        self.image = self.ax.imshow(self.blank, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
        middle: Any = {"ha": "center", "va": "center", "fontsize": 8}
        self.texts = {(i, j): self.ax.text(j, i, "", clip_on=True, **middle) for i, j in np.ndindex(self.blank.shape)}
        self.frames = [
            self.ax.plot([], [], color=plots.ATTACKER, linewidth=2.2, solid_joinstyle="miter")[0]
            for _ in range(most_columns)
        ]
        self.ax.tick_params(length=0)
        self.ax.spines[:].set_visible(False)

    def update(self, values: Mapping[str, Any], state: Filtered) -> None:
        """Show a state."""
        rows = len(state.rows)
        columns = len(state.columns)
        shown = self.blank.copy()
        shown[:rows, :columns] = state.mean
        self.image.set_data(shown)
        for (i, j), text in self.texts.items():
            number = float(shown[i, j])
            text.set_text("" if np.isnan(number) else f"{number:.2f}")
            text.set_color("black" if np.isnan(number) else ink(number))
        for column, frame in enumerate(self.frames):
            is_there = column < columns
            frame.set_visible(is_there)
            if is_there:
                row = int(state.worst[column])
                frame.set_data(
                    column + np.array([-0.5, 0.5, 0.5, -0.5, -0.5]), row + np.array([-0.5, -0.5, 0.5, 0.5, -0.5])
                )
        self.ax.set(xlim=(-0.52, columns - 0.48), ylim=(rows - 0.45, -0.55))
        names = [SHORT.get(name, title_of(name)) for name in state.columns]
        self.ax.set_xticks(range(columns), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=7.5)
        self.ax.set_yticks(
            range(rows), [title_of(name).removeprefix("backdoor: ") for name in state.rows], fontsize=7.5
        )
        self.title.set_text("Success of backdoors" if state.is_success else "Accuracy at the plateau")


def panel(defences: pandas.DataFrame) -> live.Panel:
    """The filters beside the map. defences: rows of `matrix.load("defences")`."""
    skews = {SKEWS[name].short: name for name in SKEWS}
    granted = {knowledge: knowledge for knowledge in (OWN, HONEST, RULE)}
    knows_help = "Rows that would have to know more are left out."
    shows_help = "Test accuracy, or the share of marked samples that get the attackers' label."
    return live.Panel(
        name="lab06 defences",
        attacker={"most": live.choice("The attackers know", granted, RULE, help=knows_help)},
        defender={"rules": live.choice("Defences", GROUPS, "layers and detectors", help="Which columns are shown.")},
        setting={
            "shows": live.choice("Numbers", SHOWN, "accuracy", help=shows_help),
            "skew": live.choice("Clients", skews, SKEWS["dirichlet_0.1"].short, help="How unlike their labels are."),
        },
        compute=lambda **controls: compute(table=defences, **controls),
        draw=DefencesDrawing(),
        reading=reading,
    )
