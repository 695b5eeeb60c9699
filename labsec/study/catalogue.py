"""Every attack, rule and regime that the course compares, by name: tables, panels and pages are all made from here.

A name is what stands in a table, a title is what people read. `fields` are those of a scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from labsec import poison, robust
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario

Fields = Mapping[str, Any]
Entry = TypeVar("Entry")

NOTHING = "nothing"
OWN = "their own updates"
HONEST = "the honest updates of the round too"
RULE = "the server's rule as well"
KNOWLEDGE = (NOTHING, OWN, HONEST, RULE)  # each includes those before it


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of attack, at any strength.

    title      for people
    knows      one of KNOWLEDGE
    fields     strength -> fields of a scenario
    strength   what the number means; "" for a kind that chooses its own
    """

    title: str
    knows: str
    fields: Callable[[float | None], Fields]
    strength: str = ""

    @property
    def takes_boost(self) -> bool:
        """Whether its strength is how loud it is; other kinds choose their own length."""
        return self.strength.startswith("boost")

    def scenario(self, strength: float | None = None) -> Fields:
        """The fields of a scenario: what the attackers do, and what they see."""
        fields = dict(self.fields(strength))
        if self.knows in (HONEST, RULE):
            fields["omniscient"] = True
        if self.knows == RULE:
            fields["public_rule"] = True
        return fields


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A kind of attack at one strength: a row of the matrix.

    title    for people
    kind     a name in KINDS
    """

    title: str
    kind: str
    strength: float | None = None

    @property
    def knows(self) -> str:
        """One of KNOWLEDGE."""
        return KINDS[self.kind].knows

    def scenario(self) -> Fields:
        """The fields of a scenario; none if nobody attacks."""
        return KINDS[self.kind].scenario(self.strength)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a server does with the messages.

    title       for people
    fields      f, the number of attackers it believes in -> fields of a scenario
    largest_f   clients -> the largest f that the rule can hold; None for a rule without f
    """

    title: str
    fields: Callable[[int], Fields]
    largest_f: Callable[[int], int] | None = None


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How clients train, and how alike their data are.

    title, short    for people
    make            changes -> a scenario
    """

    title: str
    short: str
    make: Callable[..., Scenario]


BOOST = "boost: how many times as long as an honest update"

KINDS: Mapping[str, Kind] = {
    "none": Kind(title="no attack", knows=NOTHING, fields=lambda _: {}),
    "label_flip": Kind(
        title="label flip",
        knows=OWN,
        strength=BOOST,
        fields=lambda boost: {
            "data_attack": poison.label_flip,
            **({} if boost is None else {"attack": bind(poison.scaled, scale=boost)}),
        },
    ),
    "sign_flip": Kind(
        title="sign flip",
        knows=OWN,
        strength=BOOST,
        fields=lambda boost: {"attack": bind(poison.sign_flip, scale=1 if boost is None else boost)},
    ),
    "gaussian": Kind(
        title="noise",
        knows=OWN,
        strength="boost: hundredths of standard deviation in every coordinate",
        fields=lambda boost: {"attack": bind(poison.gaussian, std=0.01 * (1 if boost is None else boost))},
    ),
    "mimic": Kind(title="mimic", knows=HONEST, fields=lambda _: {"attack": poison.mimic}),
    "alie": Kind(
        title="ALIE",
        knows=HONEST,
        strength="z: standard deviations; None for the paper's own choice",
        fields=lambda z: {"attack": poison.alie if z is None else bind(poison.alie, z=z)},
    ),
    "ipm": Kind(
        title="IPM",
        knows=HONEST,
        strength=BOOST,
        fields=lambda scale: {"attack": bind(poison.ipm, scale=1 if scale is None else scale)},
    ),
    "min_max": Kind(title="min-max", knows=HONEST, fields=lambda _: {"attack": poison.min_max}),
    "min_sum": Kind(title="min-sum", knows=HONEST, fields=lambda _: {"attack": poison.min_sum}),
    "adaptive": Kind(
        title="adaptive",
        knows=RULE,
        strength="norm: bound on a message's length, in usual lengths; None for 2",
        fields=lambda norm: {"attack": bind(poison.adaptive, norm=2.0 if norm is None else norm)},
    ),
}

ATTACKS: Mapping[str, Attack] = {
    "none": Attack(title="no attack", kind="none"),
    "label_flip": Attack(title="label flip", kind="label_flip"),
    "label_flip_x10": Attack(title="label flip x 10", kind="label_flip", strength=10),
    "sign_flip": Attack(title="sign flip", kind="sign_flip", strength=1),
    "sign_flip_x10": Attack(title="sign flip x 10", kind="sign_flip", strength=10),
    "gaussian": Attack(title="noise", kind="gaussian", strength=100),
    "mimic": Attack(title="mimic", kind="mimic"),
    "alie": Attack(title="ALIE", kind="alie"),
    "alie_1.5": Attack(title="ALIE, z = 1.5", kind="alie", strength=1.5),
    "ipm_0.5": Attack(title="IPM x 0.5", kind="ipm", strength=0.5),
    "ipm_2": Attack(title="IPM x 2", kind="ipm", strength=2),
    "min_max": Attack(title="min-max", kind="min_max"),
    "min_sum": Attack(title="min-sum", kind="min_sum"),
    "adaptive": Attack(title="adaptive", kind="adaptive", strength=2.0),
}
"""The rows of the matrix; a number in a row's name is its strength."""

RULES: Mapping[str, Rule] = {
    "mean": Rule(title="mean", fields=lambda f: {"aggregate": robust.mean}),
    "median": Rule(title="median", fields=lambda f: {"aggregate": robust.median}),
    "trimmed_mean": Rule(
        title="trimmed mean",
        fields=lambda f: {"aggregate": bind(robust.trimmed_mean, f=f)},
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "krum": Rule(
        title="Krum",
        fields=lambda f: {"aggregate": bind(robust.krum, f=f)},
        largest_f=lambda clients: (clients - 3) // 2,
    ),
    "multi_krum": Rule(
        title="Multi-Krum",
        fields=lambda f: {"aggregate": bind(robust.multi_krum, f=f)},
        largest_f=lambda clients: (clients - 3) // 2,
    ),
    "geometric_median": Rule(title="geometric median", fields=lambda f: {"aggregate": robust.geometric_median}),
    "centred_clip": Rule(title="centred clip", fields=lambda f: {"aggregate": robust.CenteredClip(radius=0.5)}),
    "norm_clip": Rule(title="norm clip + mean", fields=lambda f: {"server_stages": [robust.MedianNormClip()]}),
    "nnm_trimmed": Rule(
        title="mixing + trimmed mean",
        fields=lambda f: {
            "server_stages": [bind(robust.nnm, f=f)],
            "aggregate": bind(robust.trimmed_mean, f=f),
        },
        largest_f=lambda clients: (clients - 1) // 2,
    ),
}

REGIMES: Mapping[str, Regime] = {
    "fedavg": Regime(
        title="FedAvg, IID shards, 5 local steps", short="FedAvg, IID", make=partial(Scenario.fedavg, rounds=50)
    ),
    "fedsgd": Regime(
        title="FedSGD, Dirichlet(0.3) shards, one full-batch step",
        short="FedSGD, Dirichlet 0.3",
        make=Scenario.fedsgd,
    ),
}


def attacks_that_know(knowledge: str) -> tuple[str, ...]:
    """The names of the attacks that need to know no more than that.

    >>> len(attacks_that_know(OWN)) < len(attacks_that_know(HONEST)) < len(attacks_that_know(RULE)) == len(ATTACKS)
    True
    """
    most = KNOWLEDGE.index(knowledge)
    return tuple(name for name, attack in ATTACKS.items() if KNOWLEDGE.index(attack.knows) <= most)


def title_of(name: object) -> str:
    """What a row or a column of a table is called for people: its title, or the name itself if it has none."""
    entry = ATTACKS.get(str(name)) or RULES.get(str(name))
    return str(name) if entry is None else entry.title


def find(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """The entry of a table of settings.

    >>> find(RULES, "rule", "krum").title
    'Krum'

    Raises ValueError that lists the names if there is none.
    """
    if name not in table:
        raise ValueError(f"no {kind} is called {name!r}; known: {', '.join(table)}")
    return table[name]
