"""The settings behind the names, and the scenarios that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from labsec import poison, robust
from labsec.data import load
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario

CLIENTS = 30
MALICIOUS = 0.2
BELIEF = 6
"""f of every rule that takes one: what the defender believes. In the matrix it happens to be right: 0.2 of 30."""

FIELDS = dict[str, Any]  # of a scenario


REGIMES: Mapping[str, Callable[..., Scenario]] = {"fedavg": Scenario.fedavg, "fedsgd": Scenario.fedsgd}
ATTACKS: Mapping[str, FIELDS] = {
    "none": {},
    "label_flip": {"data_attack": poison.label_flip},
    "label_flip_x10": {"data_attack": poison.label_flip, "attack": bind(poison.scaled, scale=10)},
    "sign_flip": {"attack": bind(poison.sign_flip, scale=1)},
    "sign_flip_x10": {"attack": bind(poison.sign_flip, scale=10)},
    "gaussian": {"attack": bind(poison.gaussian, std=1.0)},
    "mimic": {"attack": poison.mimic, "omniscient": True},
    "alie": {"attack": poison.alie, "omniscient": True},
    "alie_1.5": {"attack": bind(poison.alie, z=1.5), "omniscient": True},
    "ipm_0.5": {"attack": bind(poison.ipm, scale=0.5), "omniscient": True},
    "ipm_2": {"attack": bind(poison.ipm, scale=2), "omniscient": True},
    "min_max": {"attack": poison.min_max, "omniscient": True},
    "min_sum": {"attack": poison.min_sum, "omniscient": True},
    "adaptive": {"attack": bind(poison.adaptive, norm=2.0), "omniscient": True, "public_rule": True},
}
"""By name; a number behind a name is its scale, its boost, or ALIE's z."""
RULES: Mapping[str, Callable[[int], FIELDS]] = {
    "mean": lambda f: {"aggregate": robust.mean},
    "median": lambda f: {"aggregate": robust.median},
    "trimmed_mean": lambda f: {"aggregate": bind(robust.trimmed_mean, f=f)},
    "krum": lambda f: {"aggregate": bind(robust.krum, f=f)},
    "multi_krum": lambda f: {"aggregate": bind(robust.multi_krum, f=f)},
    "geometric_median": lambda f: {"aggregate": robust.geometric_median},
    "centred_clip": lambda f: {"aggregate": robust.CenteredClip(radius=0.5)},
    "norm_clip": lambda f: {"server_stages": [robust.MedianNormClip()]},
    "nnm_trimmed": lambda f: {
        "server_stages": [bind(robust.nnm, f=f)],
        "aggregate": bind(robust.trimmed_mean, f=f),
    },
}
"""By name, for a defender who believes in f attackers. `norm_clip` shortens to the median norm and takes the mean."""
LARGEST_BELIEF = {"trimmed_mean": 14, "nnm_trimmed": 14, "krum": 13, "multi_krum": 13}
"""The largest f that a rule of 30 clients can hold."""
DATA: Mapping[str, FIELDS] = {"digits": {}, "notes": {"lr": 4.0}}
"""Images and text; text needs longer steps than the regime's own."""


def cell(regime: str, attack: str, rule: str, seed: int, *, malicious: float = MALICIOUS, f: int = BELIEF) -> Scenario:
    """The scenario behind one number of the matrix or of the breakdown sweep, ready to run again.

    regime, attack, rule    names in REGIMES, ATTACKS, RULES
    malicious               share of the clients; with the attack "none" there are none
    f                       what the defender believes

    >>> cell("fedsgd", "alie", "krum", 0).malicious_count
    6

    Raises ValueError for an unknown name.
    """
    attacked = _attacked(named(ATTACKS, "attack", attack), malicious)
    defended = named(RULES, "rule", rule)(f)
    return named(REGIMES, "regime", regime)(clients=CLIENTS, seed=seed, **attacked, **defended)


def boosted(data: str, attack: str, rule: str, fraction: float, boost: float, seed: int) -> Scenario:
    """The scenario behind one number of the sweep for few attackers: 100 clients, FedAvg on alike shards, 50 rounds.

    data        digits or notes
    attack      sign_flip: send the opposite, `boost` times as long; label_flip: train on flipped labels, and send the
                result `boost` times as long; none
    rule        a name in RULES
    fraction    share of attackers

    >>> boosted("notes", "sign_flip", "mean", 0.03, 30, 0).malicious_count
    3

    Raises ValueError for an unknown name.
    """
    attacks: Mapping[str, FIELDS] = {
        "none": {},
        "sign_flip": {"attack": bind(poison.sign_flip, scale=boost)},
        "label_flip": {"data_attack": poison.label_flip, "attack": bind(poison.scaled, scale=boost)},
    }
    attacked = _attacked(named(attacks, "attack", attack), fraction)
    learned, defended = named(DATA, "data", data), named(RULES, "rule", rule)(BELIEF)
    return Scenario.fedavg(clients=100, seed=seed, data=load(data), **learned, **attacked, **defended)


def _attacked(attack: FIELDS, share: float) -> FIELDS:
    return {**attack, "malicious": share} if attack and share else {}


def named(table: Mapping[str, Any], kind: str, name: str) -> Any:
    """The entry of a table of settings; raises ValueError that lists the names if there is none."""
    if name not in table:
        raise ValueError(f"no {kind} is called {name!r}; known: {', '.join(table)}")
    return table[name]


def matrix_cells(seeds: int) -> list[FIELDS]:
    """Keywords of `cell` for the matrix."""
    names = product(REGIMES, ATTACKS, RULES, range(seeds))
    return [dict(zip(("regime", "attack", "rule", "seed"), each, strict=True)) for each in names]


def breakdown_cells(seeds: int) -> list[FIELDS]:
    """Keywords of `cell` for ever more attackers, up to one half, against a defender who is told how many they are."""
    settings = [("fedavg", "sign_flip_x10"), ("fedsgd", "sign_flip_x10"), ("fedsgd", "adaptive")]
    return [
        {"regime": regime, "attack": attack, "rule": rule, "seed": seed, "malicious": count / CLIENTS}
        | {"f": min(count, LARGEST_BELIEF.get(rule, count))}
        for (regime, attack), count, rule, seed in product(settings, range(0, 16, 3), RULES, range(seeds))
    ]


def boosted_cells(seeds: int) -> list[FIELDS]:
    """Keywords of `boosted`: attack x share x boost, and the runs without an attack."""
    attacks = [("none", 0.0, 0), *product(("sign_flip", "label_flip"), (0.03, 0.1, 0.2), (1, 3, 10, 30, 100))]
    return [
        {"data": data, "attack": attack, "rule": rule, "fraction": fraction, "boost": boost, "seed": seed}
        for data, (attack, fraction, boost), rule, seed in product(DATA, attacks, ("mean", "norm_clip"), range(seeds))
    ]
