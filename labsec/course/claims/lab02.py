"""What lab 02 measures for its claims: poisoning against the plain mean and against rules that resist it.

Most numbers are looked up in the committed tables, a row for each run; `again` runs the rows that decide one seed. All
are points of accuracy lost to the plain mean that nobody attacks, with the same data, skew and seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from labsec.course.claims.base import Claim, Measure, Spread
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.study import matrix
from labsec.study.catalogue import DATA, SKEWS, title_of
from labsec.types import AttackerView

if TYPE_CHECKING:
    import pandas

POINTS = 5.0  # how far a run may lie from its row on another machine
read = cache(matrix.load)


def points_lost(rows: pandas.DataFrame) -> pandas.Series:
    """Points of accuracy lost to the clean mean, for each run."""
    return 100 * (rows.clean - rows.accuracy)


def worst_row(rows: pandas.DataFrame) -> pandas.Series:
    """The run that lost most."""
    return rows.iloc[int(points_lost(rows).argmax())]


# Claims 7 and 34 read the table of every attack against every rule.
def rows_of(seed: int, data: str, rule: str) -> pandas.DataFrame:
    """The runs of one rule on one data set: a row for each skew and attack."""
    table = read("matrix")
    return table[(table.seed == seed) & (table.data == data) & (table.rule == rule)]


def lost_again(row: pandas.Series) -> float:
    """Points lost by a row of the matrix that is run again."""
    scenario = matrix.cell(row.data, row["skew"], row.played, row.rule, int(row.seed))
    return float(100 * (row.clean - run(scenario).final_accuracy))


def worst_of_mean(seed: int) -> Mapping[str, float]:
    """Points that the plain mean loses to the worst attack of 6 clients in 30, on digits"""
    rows = rows_of(seed, "digits", "mean")
    return {SKEWS[skew].title: float(points_lost(rows[rows["skew"] == skew]).max()) for skew in SKEWS}


def worst_of_mean_again(seed: int) -> Mapping[str, float]:
    """The same, run again"""
    rows = rows_of(seed, "digits", "mean")
    return {SKEWS[skew].title: lost_again(worst_row(rows[rows["skew"] == skew])) for skew in SKEWS}


def from_seed_to_seed(seed: int) -> Mapping[str, float]:
    """Points by which a seed's clean run falls short of the best seed's: what chance costs"""
    clean = read("matrix")
    clean = clean[(clean.data == "digits") & (clean.attack == "none") & (clean.rule == "mean")]
    found = {}
    for skew in SKEWS:
        reached = clean[clean["skew"] == skew].set_index("seed").accuracy
        found[SKEWS[skew].title] = float(100 * (reached.max() - reached[seed]))
    return found


def is_hurt(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= 10 and measured[name]["mean"] >= 3 * compared[name]["mean"]


def degrade(measured: Spread, compared: Spread) -> str:
    hurt = [is_hurt(name, measured, compared) for name in measured]
    return "held" if all(hurt) else "depends on how unlike the clients are" if any(hurt) else "did not hold"


REPLACEMENTS = ("trimmed_mean", "krum")


def worst_case(seed: int) -> Mapping[str, float]:
    """Points lost under the worst attack of 6 clients in 30, at the worst skew, by rule and data"""
    return {
        f"{title_of(rule)}, {data}": float(points_lost(rows_of(seed, data, rule)).max())
        for rule in REPLACEMENTS
        for data in DATA
    }


def worst_case_again(seed: int) -> Mapping[str, float]:
    """The same on digits, run again"""
    return {f"{title_of(rule)}, digits": lost_again(worst_row(rows_of(seed, "digits", rule))) for rule in REPLACEMENTS}


def price(seed: int) -> Mapping[str, float]:
    """Points lost with nobody attacking, at the worst skew: the price of the rule"""
    found = {}
    for rule in REPLACEMENTS:
        for data in DATA:
            rows = rows_of(seed, data, rule)
            found[f"{title_of(rule)}, {data}"] = float(points_lost(rows[rows.attack == "none"]).max())
    return found


def is_replacement(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] <= 10 and compared[name]["mean"] <= 3


def replaces(measured: Spread, compared: Spread) -> str:
    good = [name for name in measured if is_replacement(name, measured, compared)]
    if len(good) == len(measured):
        return "held"
    return f"depends on rule and data: only {'; '.join(good)}" if good else "did not hold"


# Claim 8 reads the table of a few attackers that boost what they send.
BOOSTS = (1, 3, 10, 30)


def three_percent_lost(rule: str) -> Measure:
    def points(seed: int) -> Mapping[str, float]:
        few = read("three_percent")
        rows = few[(few.fraction == 0.03) & (few.seed == seed) & (few.rule == rule)]
        worst = points_lost(rows).groupby([rows.data, rows.boost]).max()
        pairs = product(("digits", "notes"), BOOSTS)
        return {f"{data}, boost {boost:g}": float(worst[data, boost]) for data, boost in pairs}

    points.__doc__ = f"Points lost to 3 of 100 clients after 50 rounds, by boost; rule: {title_of(rule)}"
    return points


def three_percent_again(seed: int) -> Mapping[str, float]:
    """The points that the mean lost at boost 10, run again"""
    few = read("three_percent")
    found = {}
    for data in ("digits", "notes"):
        rows = few[(few.fraction == 0.03) & (few.seed == seed) & (few.rule == "mean") & (few.data == data)]
        row = worst_row(rows[rows.boost == 10])
        scenario = matrix.boosted(row.data, row.attack, row.rule, float(row.fraction), float(row.boost), seed)
        found[f"{data}, boost 10"] = float(100 * (row.clean - run(scenario).final_accuracy))
    return found


def reaches_22(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] >= 22


def three_percent(measured: Spread, compared: Spread) -> str:
    hurt = [name for name in measured if reaches_22(name, measured, compared)]
    if any(name.endswith("boost 1") for name in hurt):
        return "held"
    if not hurt:
        return "did not hold"
    undone = all(spread["mean"] < 22 for spread in compared.values())
    return "depends on how loud they may be" + (", and a clip undoes it" if undone else "")


# Claim 9 runs one line of attack.
def one_line_flip(view: AttackerView, *, scale: float) -> Tensor:
    return -scale * view.own


def one_line_noise(view: AttackerView, *, scale: float, generator: Generator) -> Tensor:
    noise = torch.randn(view.own.shape, generator=generator)
    return scale * view.own.norm(dim=1, keepdim=True) * torch.nn.functional.normalize(noise, dim=1)


def one_line(seed: int) -> float:
    """Points that the plain mean loses to a one-line sign flip at boost 10, 6 of 30 clients, IID"""
    clean = Scenario.fedavg(seed=seed, evaluate_every=160)
    attacked = replace(clean, malicious=0.2, attack=bind(one_line_flip, scale=10))
    return 100 * (run(clean).final_accuracy - run(attacked).final_accuracy)


def one_noisy_line(seed: int) -> float:
    """The same with one line that sends noise as long as that"""
    clean = Scenario.fedavg(seed=seed, evaluate_every=160)
    noisy = replace(clean, malicious=0.2, attack=bind(one_line_noise, scale=10))
    return 100 * (run(clean).final_accuracy - run(noisy).final_accuracy)


def simple_enough(measured: Spread, compared: Spread) -> str:
    (hit,) = measured.values()
    (control,) = compared.values()
    return "held" if hit["min"] >= 22 and hit["min"] > control["max"] else "did not hold"


# Claim 61 reads the table of a growing number of attackers.
def swept_rows(seed: int, share: float, *, attacked: bool) -> pandas.DataFrame:
    """The runs with this share of malicious clients, told to the rule: at two skews, under four attacks or none."""
    sweep = read("breakdown")
    chosen = sweep[(sweep.seed == seed) & (sweep.malicious.round(2) == share)]
    return chosen[(chosen.attack != "none") == attacked]


def lost_at_40(seed: int) -> Mapping[str, float]:
    """Points lost in the worst of four attacks and two skews, 40 % malicious, by rule"""
    rows = swept_rows(seed, 0.4, attacked=True)
    return {title_of(rule): float(points) for rule, points in points_lost(rows).groupby(rows.rule).max().items()}


def lost_at_40_again(seed: int) -> Mapping[str, float]:
    """The points that three rules lose, run again"""
    found = {}
    for rule in ("mean", "trimmed_mean", "norm_clip"):
        rows = swept_rows(seed, 0.4, attacked=True)
        row = worst_row(rows[rows.rule == rule])
        scenario = matrix.cell(
            row.data, row["skew"], row.attack, rule, seed, malicious=float(row.malicious), f=int(row.f)
        )
        found[title_of(rule)] = float(100 * (row.clean - run(scenario).final_accuracy))
    return found


def believed_40(seed: int) -> Mapping[str, float]:
    """Points lost by the same rules, told that 40 % are malicious, when nobody attacks: the price of the belief"""
    rows = swept_rows(seed, 0.4, attacked=False)
    return {title_of(rule): float(points) for rule, points in points_lost(rows).groupby(rows.rule).max().items()}


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
        baseline=from_seed_to_seed,
        verdict=degrade,
        again=worst_of_mean_again,
        tolerance=POINTS,
        unit="points",
        rule="Held if at every skew some attack costs the plain mean 10 points or more in every seed, and on average "
        "three times what chance costs; depends if at one skew; else did not hold.",
        thresholds=((10, "● ≥ 10"),),
        supports=is_hurt,
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
        rule="Held if three of a hundred cost the mean 22 points with messages of usual length (boost 1), on digits or "
        "notes; depends if only louder ones do; else did not hold.",
        thresholds=((22, "● ≥ 22"),),
        supports=reaches_22,
    ),
    Claim(
        id="9",
        statement="No sophisticated tooling is needed to poison a federation.",
        measure=one_line,
        baseline=one_noisy_line,
        verdict=simple_enough,
        tolerance=POINTS,
        unit="points",
        rule="Held if one line that uses the attackers' own updates alone costs the plain mean 22 points or more in "
        "every seed, and more than noise of the same length in any; else did not hold. It says nothing about a server "
        "that defends itself.",
        thresholds=((22, "● ≥ 22"),),
    ),
    Claim(
        id="34",
        statement="Trimmed Mean and Krum replace FedAvg's mean.",
        measure=worst_case,
        baseline=price,
        verdict=replaces,
        again=worst_case_again,
        tolerance=POINTS,
        unit="points",
        rule="A rule replaces the mean on a data set if at the worst skew it costs 3 points or less without an attack "
        "and 10 or less under the worst. Held if both rules do on every data set; depends if some of the six do; else "
        "did not hold.",
        thresholds=((3, "○ ≤ 3"), (10, "● ≤ 10")),
        supports=is_replacement,
    ),
    Claim(
        id="61",
        statement="If devices are compromised, no aggregation rule fully compensates.",
        measure=lost_at_40,
        baseline=believed_40,
        verdict=none_compensates,
        again=lost_at_40_again,
        tolerance=POINTS,
        unit="points",
        rule="Held if every rule loses 10 points or more in the worst of four attacks and two skews with 40 % "
        "malicious clients, although it is told their number; depends if some do; else did not hold.",
        thresholds=((10, "● ≥ 10"),),
        supports=is_broken,
    ),
)
