"""The matrix of lab 02 to filter: what the attackers may know, in which regime, and which rule withstands them best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labsec import matrix, plots
from labsec.course import live
from labsec.course.panels.lab02 import REGIMES
from labsec.study.catalogue import HONEST, OWN, RULE, attacks_that_know, title_of

if TYPE_CHECKING:
    import pandas

KNOWLEDGE = {knowledge: attacks_that_know(knowledge) for knowledge in (OWN, HONEST, RULE)}
SEEDS = {"all five (mean)": None, **{str(seed): seed for seed in range(5)}}


@dataclass(frozen=True, eq=False)
class FilteredMatrix:
    """Accuracy [attacks, rules] in the order of the matrix; NaN for an attack that is filtered out."""

    values: np.ndarray


def compute(
    *, table: pandas.DataFrame, regime: str, knows: tuple[str, ...], seed: int | None
) -> Iterator[FilteredMatrix]:
    """The part of the matrix that the filters leave."""
    part = table[(table["regime"] == regime) & (table["attack"].isin(knows))]
    if seed is not None:
        part = part[part["seed"] == seed]
    wide = part.pivot_table(index="attack", columns="rule", values="accuracy")
    yield FilteredMatrix(wide.reindex(index=list(matrix.ATTACKS), columns=list(matrix.RULES)).to_numpy(dtype=float))


def reading(controls: Mapping[str, Any], state: FilteredMatrix) -> str:
    """Each rule by its worst attack; which is best then, and what it costs without one."""
    worst = np.nanmin(state.values, axis=0)  # [rules]
    best = int(worst.argmax())
    rule = list(matrix.RULES)[best]
    attack = list(matrix.ATTACKS)[int(np.nanargmin(state.values[:, best]))]
    return (
        f"Judged by its worst attack here, {title_of(rule)} is best: {worst[best]:.2f} under {title_of(attack)}; "
        f"{state.values[0, best]:.2f} when nobody attacks. The lowest of all is "
        f"{title_of(list(matrix.RULES)[int(worst.argmin())])} with {worst.min():.2f}."
    )


class MatrixDrawing:
    """A heat map with its values in the cells; a row that is filtered out is blank."""

    def __init__(self) -> None:
        self.figure = plots.figure(7.2, 5.6)
        self.map = matrix.HeatMap(
            plots.axes(self.figure), "Accuracy after 50 rounds, by attack and rule", matrix.ATTACKS, matrix.RULES
        )

    def update(self, values: Mapping[str, Any], state: FilteredMatrix) -> None:
        """Show a state."""
        self.map.fill(state.values)


def panel(table: pandas.DataFrame) -> live.Panel:
    """The filters beside the map. table: rows of `matrix.load()`."""
    return live.Panel(
        name="lab02 matrix",
        attacker={"knows": live.choice("The attackers know", dict(KNOWLEDGE), OWN)},
        defender={},
        setting={
            "regime": live.choice("Regime", dict(REGIMES), "FedAvg, IID"),
            "seed": live.choice("Seed", dict(SEEDS), "all five (mean)"),
        },
        compute=lambda **controls: compute(table=table, **controls),
        draw=MatrixDrawing(),
        reading=reading,
    )
