"""The scenarios behind the tables, each found by the names in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from typing import Any

from labsec.data import Dataset, load
from labsec.federation.scenario import Scenario
from labsec.study.catalogue import ADAPTIVE, ATTACKS, DATA, KINDS, RULES, SKEWS, STRATEGIES, Fields, Learning, find
from labsec.study.matrix.portfolio import strategy

CLIENTS = 30
MALICIOUS = 0.2
BELIEF = 6
"""f of every rule that takes one: what the defender believes. In the matrix it happens to be right: 0.2 of 30."""

MEASURED_EVERY = 5
"""Rounds between two measurements: how finely the tables say when a run arrived."""

REHEARSAL_SEEDS = tuple(range(100, 105))
"""The adaptive attacker rehearses on these; no table shows them."""


def cell(
    data: str, skew: str, attack: str, rule: str, seed: int, *, malicious: float = MALICIOUS, f: int = BELIEF
) -> Scenario:
    """The scenario behind one number of the matrix, of the rehearsal or of the breakdown, ready to run again.

    data, skew, attack, rule    names in the catalogue
    malicious                   share of the clients; with the attack "none" there are none
    f                           what the defender believes

    >>> cell("digits", "dirichlet_0.1", "alie", "krum", 0).malicious_count
    6

    Raises ValueError for an unknown name.
    """
    name = strategy(data, skew, rule) if attack == ADAPTIVE else attack
    attacked = _attacked(find({**ATTACKS, **STRATEGIES}, "attack", name).scenario(), malicious)
    defended = find(RULES, "rule", rule).fields(f)
    learned = find(DATA, "data set", data).fields
    alpha = find(SKEWS, "skew", skew).alpha
    return Scenario.fedavg(
        data=_learned_from(data),
        alpha=alpha,
        clients=CLIENTS,
        evaluate_every=MEASURED_EVERY,
        seed=seed,
        **learned,
        **attacked,
        **defended,
    )


def boosted(data: str, attack: str, rule: str, fraction: float, boost: float, seed: int) -> Scenario:
    """The scenario behind one number of the sweep for few attackers: 100 clients, FedAvg on IID shards, 50 rounds.

    data        a name in DATA
    attack      none, or a kind of attack that takes a boost
    rule        a name in RULES
    fraction    share of attackers

    >>> boosted("notes", "sign_flip", "mean", 0.03, 30, 0).malicious_count
    3

    Raises ValueError for an unknown name.
    """
    attacked = _attacked(find(KINDS, "attack", attack).scenario(boost), fraction)
    learned = {**find(DATA, "data set", data).fields, "rounds": 50}
    defended = find(RULES, "rule", rule).fields(BELIEF)
    return Scenario.fedavg(
        data=_learned_from(data),
        clients=100,
        evaluate_every=MEASURED_EVERY,
        seed=seed,
        **learned,
        **attacked,
        **defended,
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
    return _cells({data: (*learning.attacks, ADAPTIVE) for data, learning in DATA.items()}, range(seeds))


def rehearsal_cells(seeds: int = len(REHEARSAL_SEEDS)) -> list[dict[str, Any]]:
    """Keywords of `cell` for the rehearsal: every strategy against every rule, on seeds that no other table shows.

    What takes long is left out where it takes longest: the one-round search is rehearsed on digits with the most skewed
    shards, and a data set that meets a selection of the rows rehearses these.
    """
    strategies = {data: [n for n in STRATEGIES if _is_rehearsed(n, learning)] for data, learning in DATA.items()}
    cells = _cells(strategies, REHEARSAL_SEEDS[:seeds])
    searched = {"data": "digits", "skew": "dirichlet_0.1"}
    return [each for each in cells if each["attack"] != "search" or searched.items() <= each.items()]


def _is_rehearsed(name: str, learning: Learning) -> bool:
    """Whether a strategy is tried on a data set: all of them where every row is, else the rows that it meets."""
    return name in learning.attacks or learning.attacks == tuple(ATTACKS)


def _cells(attacks: Mapping[str, Iterable[str]], seeds: Iterable[int]) -> list[dict[str, Any]]:
    """Keywords of `cell` for every data set with its attacks, in every skew that it is learned in, and every rule."""
    return [
        {"data": data, "skew": skew, "attack": attack, "rule": rule, "seed": seed}
        for data in attacks
        for skew, attack, rule, seed in product(DATA[data].skews, attacks[data], RULES, seeds)
    ]


def breakdown_cells(seeds: int) -> list[dict[str, Any]]:
    """Keywords of `cell` for ever more attackers, up to one half, against a defender who is told how many they are.

    The attack "none" is the price of that belief: the same f, and nobody attacks.
    """
    attacks = ("none", "sign_flip_x10", "ipm_2", "min_sum", "drift")
    return [
        {
            "data": "digits",
            "skew": skew,
            "attack": attack,
            "rule": rule,
            "seed": seed,
            "malicious": count / CLIENTS,
            "f": _belief(rule, count),
        }
        for skew, attack, count, rule, seed in product(
            ("iid", "dirichlet_0.1"), attacks, range(0, 16, 3), RULES, range(seeds)
        )
        if count or attack == "none"
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
        for data, (attack, fraction, boost), rule, seed in product(
            ("digits", "notes"), attacks, ("mean", "norm_clip"), range(seeds)
        )
    ]
