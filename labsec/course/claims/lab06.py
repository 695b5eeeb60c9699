"""What lab 06 measures for its claims: layers, detectors, how many accusations are true, noise, and newcomers.

All runs are on digits with thirty clients of whom six attack, unless a claim says otherwise. Points are of accuracy,
lost to the plain mean that nobody attacks, with the same clients and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labsec import poison, robust
from labsec.course.claims.base import Claim, Spread
from labsec.data import load
from labsec.detect import judging
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.study import detection, matrix
from labsec.study.catalogue import ADAPTIVE, ATTACKS, DEFENCES, DOOR_ADAPTIVE
from labsec.types import generator

if TYPE_CHECKING:
    import pandas

UNSEEN = range(10, 15)  # the rules were written after looking at seeds 0 to 4
POINTS = 5.0  # how far a run may lie from its number on another machine
BEARABLE = 10.0  # points lost under the worst attack
CHEAP = 3.0  # points lost when nobody attacks
LONG = 120  # rounds, of runs whose accuracy counts
HARMFUL = ("sign_flip_x10", "min_sum", "drift")


@cache
def unattacked(skew: str, seed: int) -> float:
    """Accuracy of the plain mean that nobody attacks."""
    return run(detection.federation(skew=skew, attack="none", seed=seed, rounds=LONG)).final_accuracy


def points_lost(skew: str, attack: str, seed: int, server: Mapping[str, Any]) -> float:
    """Points that a server loses to the plain mean that nobody attacks."""
    defended = detection.federation(skew=skew, attack=attack, seed=seed, rounds=LONG, **server)
    return 100 * (unattacked(skew, seed) - run(defended).final_accuracy)


def is_safe(name: str, measured: Spread, compared: Spread) -> bool:
    """Whether in every seed the worst attack is bearable and the peace is cheap."""
    return measured[name]["max"] <= BEARABLE and compared[name]["max"] <= CHEAP


# Claim 35: layers against the worst of three attacks.
LAYERED = {"iid": "alike clients", "dirichlet_0.1": "very unlike clients"}


def layered() -> Mapping[str, Any]:
    return {"aggregate": robust.FedShield(f=6, radius=0.5)}


def lost_behind_layers(seed: int) -> Mapping[str, float]:
    """Points lost behind FedShield (our reading), worst of sign flip x 10, min-sum and drift"""
    return {
        name: max(points_lost(skew, attack, seed, layered()) for attack in HARMFUL) for skew, name in LAYERED.items()
    }


def price_of_layers(seed: int) -> Mapping[str, float]:
    """Points lost behind the same layers when nobody attacks"""
    return {name: points_lost(skew, "none", seed, layered()) for skew, name in LAYERED.items()}


def protects(measured: Spread, compared: Spread) -> str:
    safe = [name for name in LAYERED.values() if is_safe(name, measured, compared)]
    if len(safe) == len(measured):
        return "held"
    return f"depends on how unlike the clients are: only for {', '.join(safe)}" if safe else "did not hold"


# Claims 36 and 37 judge the messages of the same runs.
ROUNDS = 60
SCORES = ("norm", "cosine", "loss trajectory")
WATCHED = ("sign_flip_x10", "alie_1.5", "min_sum")
PAIRS = {f"{score}, {ATTACKS[attack].title}": (score, attack) for score in SCORES for attack in WATCHED}
USUAL_ALARMS = 0.05
RARE_ALARMS = 0.001
FOUND = 80.0  # percent of the attackers' messages
SPARED = 10.0  # percent of the honest messages
SKEW = "dirichlet_0.1"
MANY = 1000
FEW_BAD = 0.01


@cache
def said(skew: str, attack: str, seed: int) -> Mapping[str, Tensor]:
    """What the scores say of every message, while the server averages the honest ones alone: [rounds, clients]."""
    scenario = detection.federation(skew=skew, attack=attack, seed=seed, rounds=ROUNDS)
    truth = bind(detection.only_honest, malicious=scenario.malicious_count)
    scores = {name: score for name, score in detection.scores().items() if name in SCORES}
    return detection.watch(replace(scenario, server_stages=[truth]), scores)


@cache
def threshold(score: str, false_alarms: float) -> float:
    """The threshold that accuses this share of the messages of alike honest clients."""
    seen = [said("iid", "none", seed)[score].flatten() for seed in detection.TUNING_SEEDS]
    return judging.threshold_for(torch.cat(seen), false_alarms=false_alarms)


def accused(score: str, attack: str, seed: int, false_alarms: float) -> tuple[float, float]:
    """Share of the attackers' messages and of the honest ones above the threshold, among very unlike clients."""
    scores = said(SKEW, attack, seed)[score]  # [rounds, clients], the malicious ones first
    malicious = round(detection.MALICIOUS * scores.shape[1])
    limit = threshold(score, false_alarms)
    bad = judging.share_above(scores[:, :malicious].flatten(), limit)
    honest = judging.share_above(scores[:, malicious:].flatten(), limit)
    return bad, honest


def detected(seed: int) -> Mapping[str, float]:
    """Attackers' messages above the threshold that accuses 5 % among alike clients, in percent, by score and attack"""
    return {name: 100 * accused(*pair, seed, USUAL_ALARMS)[0] for name, pair in PAIRS.items()}


def wronged(seed: int) -> Mapping[str, float]:
    """Honest messages above the same threshold in the same runs, in percent"""
    return {name: 100 * accused(*pair, seed, USUAL_ALARMS)[1] for name, pair in PAIRS.items()}


def is_detected(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= FOUND and compared[name]["max"] <= SPARED


def detects(measured: Spread, compared: Spread) -> str:
    found = [name for name in PAIRS if is_detected(name, measured, compared)]
    if len(found) == len(measured):
        return "held"
    return f"depends on score and attack: only {'; '.join(found)}" if found else "did not hold"


def true_accusations(seed: int) -> Mapping[str, float]:
    """True accusations of one score, the norm, at the server, in percent: 1,000 very unlike clients, 1 % of them bad"""
    found = {}
    for attack in WATCHED:
        for false_alarms in (USUAL_ALARMS, RARE_ALARMS):
            bad, honest = accused("norm", attack, seed, false_alarms)
            sums = judging.accusations(clients=MANY, bad=FEW_BAD, false_alarms=honest, detected=bad)
            is_silent = sums.right + sums.wrong == 0
            found[f"{ATTACKS[attack].title}, tuned to {false_alarms:.1%}"] = (
                0.0 if is_silent else 100 * sums.share_right
            )
    return found


def by_lot(seed: int) -> Mapping[str, float]:
    """The same if as many clients are accused by lot"""
    return dict.fromkeys(true_accusations(seed), 100 * FEW_BAD)


def is_useful(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= 50.0


def analytics(measured: Spread, compared: Spread) -> str:
    useful = [name for name in measured if is_useful(name, measured, compared)]
    if len(useful) == len(measured):
        return "held"
    return f"depends on attack and threshold: only {'; '.join(useful)}" if useful else "did not hold"


# Claim 38: robust aggregation and noise, each with and without the other.
NOISE = 0.01
COMBINED = "both"


def combinations() -> Mapping[str, Mapping[str, Any]]:
    """Servers by name: neither, one of the two, both."""
    trimmed = bind(robust.trimmed_mean, f=6)
    clip = [robust.MedianNormClip()]
    return {
        "neither": {},
        "noise alone": {"aggregate": bind(robust.central_noise, rule=robust.mean, std=NOISE)},
        "clip + trimmed mean": {"server_stages": clip, "aggregate": trimmed},
        COMBINED: {"server_stages": clip, "aggregate": bind(robust.central_noise, rule=trimmed, std=NOISE)},
    }


def lost_by_combination(seed: int) -> Mapping[str, float]:
    """Points lost to the worse of sign flip x 10 and min-sum, unlike clients (Dirichlet 0.3)"""
    return {
        name: max(points_lost("dirichlet_0.3", attack, seed, server) for attack in ("sign_flip_x10", "min_sum"))
        for name, server in combinations().items()
    }


def price_of_combination(seed: int) -> Mapping[str, float]:
    """Points lost by the same servers when nobody attacks"""
    return {name: points_lost("dirichlet_0.3", "none", seed, server) for name, server in combinations().items()}


def is_a_baseline(measured: Spread, compared: Spread) -> str:
    safe = [name for name in combinations() if is_safe(name, measured, compared)]
    if COMBINED in safe:
        return "held"
    return f"depends on what is combined: only {', '.join(safe)}" if safe else "did not hold"


# Claim 58: newcomers without data.
MEMBERS = 30
JOINING = (3, 6)
LOUD = 10.0


def federation_of(seed: int, *, compromised: int = 0, joining: int = 0) -> Scenario:
    """Thirty members with alike data; some are compromised, or newcomers without data join. They send the same."""
    digits = load("digits")
    order = torch.randperm(len(digits.y), generator=generator(seed, "members"))
    empty = [torch.zeros(0, dtype=torch.int64)] * joining
    shards = [*empty, *order.tensor_split(MEMBERS)]
    bad = compromised + joining
    attacked: dict[str, Any] = {}
    if bad:
        wish = Scenario().network().init(generator(seed, "wish"))
        attacked = {"malicious": bad / len(shards), "attack": bind(poison.mpaf, base=wish, scale=LOUD)}
    return Scenario.fedavg(seed=seed, clients=len(shards), shards=shards, evaluate_every=1000, **attacked)


def lost_to_newcomers(seed: int) -> Mapping[str, float]:
    """Points that the plain mean loses when clients without data join 30 honest members; nobody is compromised"""
    calm = run(federation_of(seed)).final_accuracy
    left = {n: run(federation_of(seed, joining=n)).final_accuracy for n in JOINING}
    return {f"{n} of {MEMBERS + n}": 100 * (calm - accuracy) for n, accuracy in left.items()}


def lost_to_the_compromised(seed: int) -> Mapping[str, float]:
    """The same if as many of the members are compromised and send that"""
    calm = run(federation_of(seed)).final_accuracy
    left = {n: run(federation_of(seed, compromised=n)).final_accuracy for n in JOINING}
    return {f"{n} of {MEMBERS + n}": 100 * (calm - accuracy) for n, accuracy in left.items()}


def is_poisoned(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] >= BEARABLE


def needs_a_member(measured: Spread, compared: Spread) -> str:
    poisoned = [name for name in measured if is_poisoned(name, measured, compared)]
    if len(poisoned) == len(measured):
        return "did not hold"
    return f"depends on how many may join: {', '.join(poisoned)} are enough" if poisoned else "held"


# Claims 34b and 61b read the table of defences: those that lab 02 did not know.
RUN_AGAIN = ("fltrust", "bulyan", "foolsgold")
read = cache(matrix.load)


def by_defence(number: Callable[[pandas.DataFrame], float], seed: int) -> Mapping[str, float]:
    """A number for each defence, from its rows of one seed."""
    table = read("defences")
    rows = table[table.seed == seed]
    return {defence.title: number(rows[rows.rule == name]) for name, defence in DEFENCES.items()}


def lost_in(rows: pandas.DataFrame, attack: str) -> float:
    """Points of accuracy lost to the mean that nobody attacks, at the worst skew."""
    rows = rows[rows.attack == attack]
    return float(100 * (rows.clean - rows.accuracy).max())


def lost_by_defence(seed: int) -> Mapping[str, float]:
    """Points lost to the worst of thirteen attacks, at the worst of three skews, by defence"""
    return by_defence(lambda rows: lost_in(rows, ADAPTIVE), seed)


def price_of_defence(seed: int) -> Mapping[str, float]:
    """Points lost by the same defence when nobody attacks, at its worst skew"""
    return by_defence(lambda rows: lost_in(rows, "none"), seed)


def opened_by_defence(seed: int) -> Mapping[str, float]:
    """Points of success of the worst of eight backdoors, beyond the same defence that nobody attacks"""

    def opened(rows: pandas.DataFrame) -> float:
        rows = rows[rows.attack == DOOR_ADAPTIVE]
        return float(100 * (rows.success - rows.baseline).max())

    return by_defence(opened, seed)


def lost_by_defence_again(seed: int) -> Mapping[str, float]:
    """The points that three defences lose, run again"""
    table = read("defences")
    worst = table[(table.seed == seed) & (table.attack == ADAPTIVE)]
    found = {}
    for name in RUN_AGAIN:
        rows = worst[worst.rule == name]
        row = rows.iloc[int((rows.clean - rows.accuracy).argmax())]
        scenario = matrix.defence(row.data, row["skew"], row.played, name, seed)
        found[DEFENCES[name].title] = float(100 * (row.clean - run(scenario).final_accuracy))
    return found


def is_replacement(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] <= BEARABLE and compared[name]["mean"] <= CHEAP


def replaces(measured: Spread, compared: Spread) -> str:
    titles = [defence.title for defence in DEFENCES.values()]
    good = [name for name in titles if is_replacement(name, measured, compared)]
    if len(good) == len(measured):
        return "held"
    return f"depends on the defence: only {', '.join(good)}" if good else "did not hold"


OPENED = 50.0  # points of success of a backdoor


def is_broken(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["mean"] >= BEARABLE or compared[name]["mean"] >= OPENED


def none_compensates(measured: Spread, compared: Spread) -> str:
    titles = [defence.title for defence in DEFENCES.values()]
    whole = [name for name in titles if not is_broken(name, measured, compared)]
    if not whole:
        return "held"
    if len(whole) == len(measured):
        return "did not hold"
    broken = len(measured) - len(whole)
    return f"depends on the defence: {broken} of {len(measured)} break; not {', '.join(whole)}"


SAFE_RULE = (
    f"in every seed it loses {BEARABLE:g} points or less under the worst attack, and {CHEAP:g} or less when nobody "
    "attacks"
)
SAFE_LINES = ((CHEAP, "○ ≤ 3"), (BEARABLE, "● ≤ 10"))

CLAIMS = (
    Claim(
        id="34b",
        statement="Robust rules and layered defences replace FedAvg's mean.",
        measure=lost_by_defence,
        baseline=price_of_defence,
        verdict=replaces,
        again=lost_by_defence_again,
        tolerance=POINTS,
        unit="points",
        rule="The bounds are those of claim 34: a defence replaces the mean if on average it costs 3 points or less "
        "when nobody attacks and 10 or less under the worst attack, each at its worst skew. Held if all do; depends "
        "if some do; else did not hold. Points are lost to the mean that nobody attacks. A single seed may be worse.",
        thresholds=SAFE_LINES,
        supports=is_replacement,
    ),
    Claim(
        id="61b",
        statement="If devices are compromised, no rule and no layer fully compensates.",
        measure=lost_by_defence,
        baseline=opened_by_defence,
        verdict=none_compensates,
        again=lost_by_defence_again,
        tolerance=POINTS,
        unit="points",
        rule="A defence breaks if on average six of thirty cost it 10 points or more, or a backdoor opens to 50 points "
        "or more beyond its baseline, each at the worst skew. Held if all break; depends if some do; else did not "
        "hold. Accuracy is lost to the mean that nobody attacks. A single seed may be worse than the average.",
        thresholds=((BEARABLE, "● ≥ 10"), (OPENED, "○ ≥ 50")),
        supports=is_broken,
    ),
    Claim(
        id="35",
        statement="FedShield (our reading; not the named product) protects a federation from poisoning.",
        measure=lost_behind_layers,
        baseline=price_of_layers,
        verdict=protects,
        seeds=UNSEEN,
        tolerance=POINTS,
        unit="points",
        rule=f"It protects clients of a kind if {SAFE_RULE}. Held for both kinds of clients; depends if for one; "
        "else did not hold. The seeds were not looked at when the rule was written.",
        thresholds=SAFE_LINES,
        supports=is_safe,
    ),
    Claim(
        id="36",
        statement="Malicious updates are detected by their norm, their cosine and their loss trajectory.",
        measure=detected,
        baseline=wronged,
        verdict=detects,
        seeds=UNSEEN,
        tolerance=10.0,
        unit="%",
        rule="A score detects an attack among very unlike clients if in every seed the threshold that was tuned on "
        "alike ones accuses 80 % or more of the attackers' messages and 10 % or less of the honest ones. Held if all "
        "nine pairs do; depends if some do; else did not hold. The seeds were not looked at when the rule was written.",
        thresholds=((FOUND, "● ≥ 80"), (SPARED, "○ ≤ 10")),
        supports=is_detected,
    ),
    Claim(
        id="37",
        statement="Analytics in a SIEM on every node find the poisoned updates.",
        measure=true_accusations,
        baseline=by_lot,
        verdict=analytics,
        seeds=UNSEEN,
        tolerance=15.0,
        unit="%",
        rule="An alarm is useful if in every seed half of the accusations or more are true. Held if it is against all "
        "three attacks, at both thresholds, tuned on alike clients; depends if for some; else did not hold. The seeds "
        "were not looked at when the rule was written.",
        thresholds=((50.0, "● ≥ 50"),),
        supports=is_useful,
    ),
    Claim(
        id="38",
        statement="Robust aggregation together with differential privacy is the baseline to deploy.",
        measure=lost_by_combination,
        baseline=price_of_combination,
        verdict=is_a_baseline,
        seeds=UNSEEN,
        tolerance=POINTS,
        unit="points",
        rule=f"A server passes if {SAFE_RULE}. Held if both together pass; depends if another of the four does; else "
        f"did not hold. The noise has a standard deviation of {NOISE:g} on every coordinate, and no ε is claimed: to "
        "be measured again with an accountant. The seeds were not looked at when the rule was written.",
        thresholds=SAFE_LINES,
        supports=is_safe,
    ),
    Claim(
        id="58",
        statement="Poisoning takes a compromised node.",
        measure=lost_to_newcomers,
        baseline=lost_to_the_compromised,
        verdict=needs_a_member,
        seeds=UNSEEN,
        tolerance=POINTS,
        unit="points",
        rule="Held if newcomers without data cost the plain mean less than 10 points in some seed, be they three or "
        "six; did not hold if both cost 10 or more in every seed; else depends. The seeds were not looked at when the "
        "rule was written.",
        thresholds=((BEARABLE, "● ≥ 10"),),
        supports=is_poisoned,
    ),
)
