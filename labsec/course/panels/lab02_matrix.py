"""The matrix of lab 02 to filter: what the attackers may know, on which data, and which rule withstands them best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labsec import matrix, plots
from labsec.course import live
from labsec.study.catalogue import ADAPTIVE, ATTACKS, DATA, HONEST, OWN, RULE, RULES, SKEWS, attacks_that_know, title_of

if TYPE_CHECKING:
    import pandas

ROWS = (*ATTACKS, ADAPTIVE)
WORDS = {OWN: "own updates", HONEST: "honest updates", RULE: "the rule"}  # each includes those before it
KNOWLEDGE = {words: attacks_that_know(knowledge) for knowledge, words in WORDS.items()}
ALPHAS = {name: "IID" if skew.alpha is None else f"α = {skew.alpha:g}" for name, skew in SKEWS.items()}
SETTINGS = {f"{data}, {ALPHAS[skew]}": (data, skew) for data, learning in DATA.items() for skew in learning.skews}
START = f"digits, {ALPHAS['dirichlet_0.1']}"


@dataclass(frozen=True, eq=False)
class FilteredMatrix:
    """Accuracy [attacks, rules] in the order of the matrix; NaN for an attack that is filtered out, or was not run.

    mean, std    over the seeds
    """

    mean: np.ndarray
    std: np.ndarray


def compute(*, table: pandas.DataFrame, setting: tuple[str, str], knows: tuple[str, ...]) -> Iterator[FilteredMatrix]:
    """The part of the matrix that the filters leave."""
    data, skew = setting
    part = table[(table["data"] == data) & (table["skew"] == skew) & table["attack"].isin(knows)]
    groups = part.groupby(["attack", "rule"])["accuracy"]
    mean, std = (
        wide.unstack().reindex(index=list(ROWS), columns=list(RULES)).to_numpy(dtype=float)
        for wide in (groups.mean(), groups.std())
    )
    yield FilteredMatrix(mean, std)


def reading(controls: Mapping[str, Any], state: FilteredMatrix) -> str:
    """Which rules stand best by their worst attack, as far as the seeds can tell, and what they cost without one."""
    worst = np.nanmin(state.mean, axis=0)  # [rules]
    rows = np.nanargmin(state.mean, axis=0)  # [rules] the worst attack of each
    spreads = state.std[rows, range(len(worst))]  # [rules]
    best = int(worst.argmax())

    # Five seeds do not tell rules apart whose worst means lie within one standard deviation of each other.
    level = [rule for rule in worst.argsort()[::-1] if worst[best] - worst[rule] <= max(spreads[best], spreads[rule])]
    said = [
        f"{title_of(list(RULES)[rule])} ({worst[rule]:.2f} ± {spreads[rule]:.2f} under "
        f"{title_of(ROWS[rows[rule]])}; {state.mean[0, rule]:.2f} when nobody attacks)"
        for rule in level
    ]
    lowest = int(worst.argmin())
    verdict = (
        f"stands best: {said[0]}"
        if len(said) == 1
        else f"these are level, within one standard deviation: {', '.join(said)}"
    )
    return (
        f"Judged by its worst attack here, {verdict}. The lowest of all is {title_of(list(RULES)[lowest])} with "
        f"{worst[lowest]:.2f} ± {spreads[lowest]:.2f}."
    )


class MatrixDrawing:
    """A heat map with its values in the cells; a row that is filtered out is blank."""

    def __init__(self) -> None:
        self.figure = plots.figure(5.0, 4.4)
        self.map = matrix.HeatMap(plots.axes(self.figure), "Accuracy; a frame marks the worst", ROWS, RULES)

    def update(self, values: Mapping[str, Any], state: FilteredMatrix) -> None:
        """Show a state."""
        self.map.fill(state.mean)


def panel(table: pandas.DataFrame) -> live.Panel:
    """The filters beside the map. table: rows of `matrix.load()`."""
    knows = "Rows that would have to know more than that are left out; the rule includes the honest updates."
    skew = "The data set, and how unlike the clients' labels are."
    return live.Panel(
        name="lab02 matrix",
        attacker={"knows": live.choice("The attackers know", dict(KNOWLEDGE), WORDS[RULE], help=knows)},
        defender={},
        setting={"setting": live.choice("Data and skew", dict(SETTINGS), START, help=skew)},
        compute=lambda **controls: compute(table=table, **controls),
        draw=MatrixDrawing(),
        reading=reading,
    )
