"""What lab 02 measures for its claims: poisoning against the plain mean and against rules that resist it.

The numbers are looked up in the committed tables, a row for each run. `again` runs the rows that decide some of them:
an attacker who searches takes up to ten seconds a run, so the rows of such an attacker are mostly left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from torch import Tensor

from labsec.course.claims.base import Claim, Measure, Spread
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.study import matrix
from labsec.types import AttackerView

if TYPE_CHECKING:
    import pandas

POINTS = 5.0  # how far a run may lie from its row on another machine
PAIRS = [(rule, regime) for rule in ("trimmed_mean", "krum") for regime in matrix.REGIMES]
read = cache(matrix.load)


def points_lost(rows: pandas.DataFrame) -> pandas.Series:
    """Points of accuracy lost to the clean mean, for each run."""
    return 100 * (rows.clean - rows.accuracy)


def worst_row(rows: pandas.DataFrame) -> pandas.Series:
    """The run that lost most."""
    return rows.iloc[int(points_lost(rows).argmax())]


def most_lost(rows: pandas.DataFrame, column: str) -> dict[str, float]:
    """Points lost in the worst run, by what a column says."""
    worst = points_lost(rows).groupby(rows[column]).max()
    return {str(name): float(points) for name, points in worst.items()}


# Claims 7 and 34 read the table of every attack against every rule.
def rows_of(seed: int, regime: str, rule: str) -> pandas.DataFrame:
    """The runs of one rule in one regime, a row for each attack."""
    table = read("matrix")
    return table[(table.seed == seed) & (table.regime == regime) & (table.rule == rule)]


def lost(seed: int, regime: str, rule: str) -> dict[str, float]:
    """Points lost to the clean mean, by attack."""
    rows = rows_of(seed, regime, rule)
    return dict(zip(rows.attack, points_lost(rows), strict=True))


def worst_again(seed: int, regime: str, rule: str) -> float:
    """Points lost to the worst attack of the table, which is run again."""
    row = worst_row(rows_of(seed, regime, rule))
    return float(100 * (row.clean - run(matrix.cell(regime, row.attack, rule, seed)).final_accuracy))


def worst_of_mean(seed: int) -> Mapping[str, float]:
    """Points of accuracy that the plain mean loses to the worst attack of 6 clients in 30, by regime"""
    return {regime: max(lost(seed, regime, "mean").values()) for regime in matrix.REGIMES}


def worst_of_mean_again(seed: int) -> Mapping[str, float]:
    """The same, run again"""
    return {regime: worst_again(seed, regime, "mean") for regime in matrix.REGIMES}


def mean_unattacked(seed: int) -> Mapping[str, float]:
    """Points lost by the plain mean with no attack (zero by definition), and to six that copy an honest one (mimic)"""
    return {"no attack": lost(seed, "fedsgd", "mean")["none"], "mimic, FedAvg": lost(seed, "fedavg", "mean")["mimic"]}


def degrade(measured: Spread, compared: Spread) -> str:
    hurt = [spread["min"] >= 10 for spread in measured.values()]
    return "held" if all(hurt) else "depends on the regime" if any(hurt) else "did not hold"


def worst_case(seed: int) -> Mapping[str, float]:
    """Points lost to the clean mean under the worst attack of 6 clients in 30, by rule and regime"""
    return {f"{rule}, {regime}": max(lost(seed, regime, rule).values()) for rule, regime in PAIRS}


def trimmed_mean_again(seed: int) -> Mapping[str, float]:
    """The same for the trimmed mean, run again"""
    rule = "trimmed_mean"
    return {f"{rule}, {regime}": worst_again(seed, regime, rule) for regime in matrix.REGIMES}


def price(seed: int) -> Mapping[str, float]:
    """Points lost to the clean mean with no attack: the price of the rule"""
    return {f"{rule}, {regime}": lost(seed, regime, rule)["none"] for rule, regime in PAIRS}


def is_replacement(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] <= 10 and compared[name]["mean"] <= 3


def replaces(measured: Spread, compared: Spread) -> str:
    good = [name for name in measured if is_replacement(name, measured, compared)]
    if len(good) == len(measured):
        return "held"
    return f"depends on rule and regime: only {'; '.join(good)}" if good else "did not hold"


# Claim 8 reads the table of a few attackers that boost what they send.
def boosted_rows(seed: int, rule: str) -> pandas.DataFrame:
    """The runs with 3 of 100 clients and a boost of 10 or less."""
    few = read("three_percent")
    return few[(few.fraction == 0.03) & (few.boost <= 10) & (few.seed == seed) & (few.rule == rule)]


def three_percent_lost(rule: str) -> Measure:
    def points(seed: int) -> Mapping[str, float]:
        return most_lost(boosted_rows(seed, rule), "data")

    points.__doc__ = f"Points lost to 3 of 100 clients at the worst boost up to 10, rule {rule}, digits and notes"
    return points


def three_percent_again(seed: int) -> Mapping[str, float]:
    """The points that the mean lost, run again"""
    found = {}
    for name, rows in boosted_rows(seed, "mean").groupby("data"):
        row = worst_row(rows)
        scenario = matrix.boosted(row.data, row.attack, row.rule, float(row.fraction), float(row.boost), seed)
        found[str(name)] = float(100 * (row.clean - run(scenario).final_accuracy))
    return found


def three_percent(measured: Spread, compared: Spread) -> str:
    hurt = any(spread["mean"] >= 22 for spread in measured.values())
    undone = all(spread["mean"] < 22 for spread in compared.values())
    if not hurt:
        return "did not hold"
    return "depends on a server that does not even clip" if undone else "held"


# Claim 9 runs one line of attack.
def one_line_flip(view: AttackerView, *, scale: float) -> Tensor:
    return -scale * view.own


def honest(view: AttackerView) -> Tensor:
    return view.own


def one_line(seed: int) -> float:
    """Points that the plain mean loses to a one-line sign flip at boost 10, 6 of 30 clients, FedAvg"""
    clean = Scenario.fedavg(rounds=50, seed=seed)
    attacked = replace(clean, malicious=0.2, attack=bind(one_line_flip, scale=10))
    return 100 * (run(clean).final_accuracy - run(attacked).final_accuracy)


def one_honest_line(seed: int) -> float:
    """The same with one line that sends the honest update"""
    clean = Scenario.fedavg(rounds=50, seed=seed)
    behaving = replace(clean, malicious=0.2, attack=honest)
    return 100 * (run(clean).final_accuracy - run(behaving).final_accuracy)


def simple_enough(measured: Spread, compared: Spread) -> str:
    (hit,) = measured.values()
    (control,) = compared.values()
    return "held" if hit["min"] >= 22 and control["max"] == 0 else "did not hold"


# Claim 61 reads the table of a growing number of attackers.
def swept_rows(seed: int, share: float) -> pandas.DataFrame:
    """The runs with this share of malicious clients: three settings for each rule."""
    sweep = read("breakdown")
    return sweep[(sweep.seed == seed) & (sweep.malicious.round(2) == share)]


def lost_at(share: float) -> Measure:
    def points(seed: int) -> Mapping[str, float]:
        return most_lost(swept_rows(seed, share), "rule")

    points.__doc__ = f"Points lost to the clean mean in the worst of three settings, {share:.0%} malicious, by rule"
    return points


def lost_at_40_again(seed: int) -> Mapping[str, float]:
    """The points that three rules lose with 40 % malicious, run again"""
    found = {}
    for rule in ("mean", "trimmed_mean", "centred_clip"):
        rows = swept_rows(seed, 0.4)
        row = worst_row(rows[rows.rule == rule])
        scenario = matrix.cell(row.regime, row.attack, rule, seed, malicious=float(row.malicious), f=int(row.f))
        found[rule] = float(100 * (row.clean - run(scenario).final_accuracy))
    return found


def is_broken(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] >= 10


def none_compensates(measured: Spread, compared: Spread) -> str:
    broken = [name for name in measured if is_broken(name, measured, compared)]
    if len(broken) == len(measured):
        return "held"
    return f"depends on the rule: {len(broken)} of {len(measured)} break" if broken else "did not hold"


CLAIMS = (
    Claim(
        id="7",
        statement="Malicious updates degrade the accuracy of the common model.",
        measure=worst_of_mean,
        baseline=mean_unattacked,
        verdict=degrade,
        again=worst_of_mean_again,
        tolerance=POINTS,
        unit="points",
        rule="Held if in both regimes some attack costs the plain mean 10 points or more in every seed; depends if in "
        "one of them; else did not hold.",
        thresholds=((10, "● ≥ 10"),),
        supports=lambda name, measured, compared: measured[name]["min"] >= 10,
    ),
    Claim(
        id="8",
        statement="3 % of the nodes cost 22 points of accuracy within 50 rounds.",
        measure=three_percent_lost("mean"),
        baseline=three_percent_lost("norm_clip"),
        verdict=three_percent,
        again=three_percent_again,
        tolerance=POINTS,
        unit="points",
        rule="Held if a boost of 10 or less costs the mean 22 points on digits or notes and a norm clip does not undo "
        "it; depends if only the undefended mean loses; else did not hold.",
        thresholds=((22, "● ≥ 22, ○ < 22"),),
    ),
    Claim(
        id="9",
        statement="No sophisticated tooling is needed to poison a federation.",
        measure=one_line,
        baseline=one_honest_line,
        verdict=simple_enough,
        tolerance=POINTS,
        unit="points",
        rule="Held if one line that uses the attackers' own updates alone costs the plain mean 22 points or more in "
        "every seed, and the control nothing; else did not hold. It says nothing about a server that defends itself.",
        thresholds=((22, "● ≥ 22"),),
    ),
    Claim(
        id="34",
        statement="Trimmed Mean and Krum replace FedAvg's mean.",
        measure=worst_case,
        baseline=price,
        verdict=replaces,
        again=trimmed_mean_again,
        tolerance=POINTS,
        unit="points",
        rule="A rule replaces the mean in a regime if it costs 3 points or less without an attack and 10 or less under "
        "the worst. Held if both rules do in both regimes; depends if some of the four do; else did not hold.",
        thresholds=((3, "○ ≤ 3"), (10, "● ≤ 10")),
        supports=is_replacement,
    ),
    Claim(
        id="61",
        statement="If devices are compromised, no aggregation rule fully compensates.",
        measure=lost_at(0.4),
        baseline=lost_at(0.0),
        verdict=none_compensates,
        again=lost_at_40_again,
        tolerance=POINTS,
        unit="points",
        rule="Held if every rule loses 10 points or more to the clean mean in the worst of three settings with 40 % "
        "malicious clients, although it is told their number; depends if some do; else did not hold.",
        thresholds=((10, "● ≥ 10"),),
        supports=is_broken,
    ),
)
