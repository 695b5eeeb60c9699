"""The scenarios behind the tables, each found by the names in a row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

from labsec.data import Dataset, load
from labsec.federation.scenario import Scenario
from labsec.study.catalogue import ATTACKS, KINDS, REGIMES, RULES, Fields, find

CLIENTS = 30
MALICIOUS = 0.2
BELIEF = 6
"""f of every rule that takes one: what the defender believes. In the matrix it happens to be right: 0.2 of 30."""

DATA: Mapping[str, Fields] = {"digits": {}, "notes": {"lr": 4.0}}
"""Images and text; text needs longer steps than the regime's own."""


def cell(regime: str, attack: str, rule: str, seed: int, *, malicious: float = MALICIOUS, f: int = BELIEF) -> Scenario:
    """The scenario behind one number of the matrix or of the breakdown sweep, ready to run again.

    regime, attack, rule    names in the catalogue
    malicious               share of the clients; with the attack "none" there are none
    f                       what the defender believes

    >>> cell("fedsgd", "alie", "krum", 0).malicious_count
    6

    Raises ValueError for an unknown name.
    """
    attacked = _attacked(find(ATTACKS, "attack", attack).scenario(), malicious)
    defended = find(RULES, "rule", rule).fields(f)
    return find(REGIMES, "regime", regime).make(clients=CLIENTS, seed=seed, **attacked, **defended)


def boosted(data: str, attack: str, rule: str, fraction: float, boost: float, seed: int) -> Scenario:
    """The scenario behind one number of the sweep for few attackers: 100 clients, FedAvg on IID shards, 50 rounds.

    data        digits or notes
    attack      none, or a kind of attack that takes a boost
    rule        a name in RULES
    fraction    share of attackers

    >>> boosted("notes", "sign_flip", "mean", 0.03, 30, 0).malicious_count
    3

    Raises ValueError for an unknown name.
    """
    attacked = _attacked(find(KINDS, "attack", attack).scenario(boost), fraction)
    learned = find(DATA, "data", data)
    defended = find(RULES, "rule", rule).fields(BELIEF)
    return Scenario.fedavg(
        clients=100, rounds=50, seed=seed, data=_learned_from(data), **learned, **attacked, **defended
    )


@cache
def _learned_from(name: str) -> Dataset:
    """A data set, read once for all cells: no run changes it."""
    return load(name)


def _attacked(attack: Fields, share: float) -> dict[str, Any]:
    """The fields of a scenario in which a share of the clients attacks; none if nobody does."""
    return {**attack, "malicious": share} if attack and share else {}


def matrix_cells(seeds: int) -> list[dict[str, Any]]:
    """Keywords of `cell` for the matrix."""
    names = product(REGIMES, ATTACKS, RULES, range(seeds))
    return [dict(zip(("regime", "attack", "rule", "seed"), each, strict=True)) for each in names]


def breakdown_cells(seeds: int) -> list[dict[str, Any]]:
    """Keywords of `cell` for ever more attackers, up to one half, against a defender who is told how many they are."""
    settings = [("fedavg", "sign_flip_x10"), ("fedsgd", "sign_flip_x10"), ("fedsgd", "adaptive")]
    return [
        {
            "regime": regime,
            "attack": attack,
            "rule": rule,
            "seed": seed,
            "malicious": count / CLIENTS,
            "f": _belief(rule, count),
        }
        for (regime, attack), count, rule, seed in product(settings, range(0, 16, 3), RULES, range(seeds))
    ]


def _belief(rule: str, count: int) -> int:
    """The true number of attackers, as far as the rule can hold so many."""
    largest_f = RULES[rule].largest_f
    return count if largest_f is None else min(count, largest_f(CLIENTS))


def boosted_cells(seeds: int) -> list[dict[str, Any]]:
    """Keywords of `boosted`: attack x share x boost, and the runs without an attack."""
    attacks = [("none", 0.0, 0), *product(("sign_flip", "label_flip"), (0.03, 0.1, 0.2), (1, 3, 10, 30, 100))]
    return [
        {"data": data, "attack": attack, "rule": rule, "fraction": fraction, "boost": boost, "seed": seed}
        for data, (attack, fraction, boost), rule, seed in product(DATA, attacks, ("mean", "norm_clip"), range(seeds))
    ]
