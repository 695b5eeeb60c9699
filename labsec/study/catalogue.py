"""Every attack, rule, skew and data set that the course compares, by name: tables, panels and pages are made from here.

A name is what stands in a table, a title is what people read. `fields` are those of a scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from labsec import detect, models, poison, robust
from labsec.federation.bind import bind
from labsec.train import RootUpdate

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
class Skew:
    """How unlike the clients' data are; everything else of their training stays the same.

    title, short    for people
    alpha           of the Dirichlet shards; None for IID ones
    """

    title: str
    short: str
    alpha: float | None


@dataclass(frozen=True, kw_only=True)
class Learning:
    """A data set, and how long and with which steps it is learned up to a plateau.

    title     for people
    skews     names in SKEWS; a very skewed draw leaves clients of a small data set empty
    attacks   names in ATTACKS; what takes long to learn meets those that harm most
    fields    of a scenario: what differs from `Scenario.fedavg`
    """

    title: str
    skews: tuple[str, ...]
    attacks: tuple[str, ...]
    fields: Fields


@dataclass(frozen=True, kw_only=True)
class Defence:
    """What a server does with the messages, in one part or in several layers.

    title        for people
    fields       (f, root) -> fields of a scenario; root is what the server learns on samples that no client holds
    needs_root   whether it looks at these samples
    largest_f    clients -> the largest f that it can hold; None for a defence without f
    """

    title: str
    fields: Callable[[int, RootUpdate], Fields]
    needs_root: bool = False
    largest_f: Callable[[int], int] | None = None


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
    "drift": Kind(
        title="drift",
        knows=HONEST,
        strength="norm: length of a message, in usual lengths; None for 1",
        fields=lambda norm: {"attack": poison.Drift(norm=1.0 if norm is None else norm)},
    ),
    "search": Kind(
        title="one-round search",
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
    "drift": Attack(title="drift", kind="drift"),
}
"""The rows of the matrix but the last; a number in a row's name is its strength."""

ADAPTIVE = "adaptive"
"""The last row: for each rule what harmed it most, in a rehearsal or, in hindsight, among the rows above."""

STRATEGIES: Mapping[str, Attack] = {
    **{name: attack for name, attack in ATTACKS.items() if name not in ("none", "gaussian")},
    "sign_flip_x3": Attack(title="sign flip x 3", kind="sign_flip", strength=3),
    "alie_0.5": Attack(title="ALIE, z = 0.5", kind="alie", strength=0.5),
    "alie_3": Attack(title="ALIE, z = 3", kind="alie", strength=3),
    "ipm_1": Attack(title="IPM x 1", kind="ipm", strength=1),
    "ipm_4": Attack(title="IPM x 4", kind="ipm", strength=4),
    "drift_0.5": Attack(title="drift x 0.5", kind="drift", strength=0.5),
    "drift_2": Attack(title="drift x 2", kind="drift", strength=2),
    "search": Attack(title="one-round search", kind="search"),
}
"""What the adaptive attacker chooses from: the rows that harm on purpose, more strengths of them, and the search."""

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

SKEWS: Mapping[str, Skew] = {
    "iid": Skew(title="IID shards", short="alike (IID)", alpha=None),
    "dirichlet_0.3": Skew(title="Dirichlet(0.3) shards", short="unlike (Dirichlet 0.3)", alpha=0.3),
    "dirichlet_0.1": Skew(title="Dirichlet(0.1) shards", short="very unlike (Dirichlet 0.1)", alpha=0.1),
}

STRONGEST = ("none", "sign_flip_x10", "alie_1.5", "ipm_2", "min_max", "min_sum", "drift")

DATA: Mapping[str, Learning] = {
    "digits": Learning(title="digits", skews=tuple(SKEWS), attacks=tuple(ATTACKS), fields={}),
    "mnist5k": Learning(
        title="5,000 MNIST digits",
        skews=tuple(SKEWS),
        attacks=STRONGEST,
        fields={"lr": 0.1, "rounds": 90, "model": models.mlp((1, 28, 28), 10, hidden=(32,))},
    ),
    "notes": Learning(title="hospital notes", skews=("iid", "dirichlet_0.3"), attacks=STRONGEST, fields={"lr": 4.0}),
}


CORNER = poison.Trigger(stamp=poison.corner, target=0)
"""The backdoor of the table of defences: four white pixels in a corner make a zero of any digit."""

LATE = range(100, 160)  # rounds of a campaign against a model that has learned; 160 is the last, exclusive
SHOT = [150]  # the round of a single shot: nine honest ones follow

BACKDOORS: Mapping[str, Kind] = {
    "door_data": Kind(
        title="backdoor: data alone",
        knows=OWN,
        fields=lambda _: {"data_attack": bind(poison.plant, trigger=CORNER, share=0.5)},
    ),
    "door_shot": Kind(
        title="backdoor: model replacement, once",
        knows=OWN,
        # Six of thirty, five times as long: the mean becomes their model.
        fields=lambda _: _in_rounds(SHOT, bind(poison.model_replacement, trigger=CORNER, boost=5.0, steps=20)),
    ),
    "door_x3": Kind(
        title="backdoor: x 3",
        knows=OWN,
        fields=lambda _: _in_rounds(LATE, bind(poison.model_replacement, trigger=CORNER, boost=3.0)),
    ),
    "door_norm": Kind(
        title="backdoor: usual length",
        knows=OWN,
        fields=lambda _: _in_rounds(
            LATE, bind(poison.constrain_and_scale, trigger=CORNER, boost=30.0, norm=1.0, steps=20)
        ),
    ),
    "door_cosine": Kind(
        title="backdoor: usual length and angle",
        knows=OWN,
        fields=lambda _: _in_rounds(
            LATE, bind(poison.constrain_and_scale, trigger=CORNER, boost=30.0, norm=1.0, cosine=0.3, steps=20)
        ),
    ),
    "door_ball": Kind(
        title="backdoor: PGD in a ball",
        knows=OWN,
        fields=lambda _: _in_rounds(LATE, bind(poison.projected_descent, trigger=CORNER, norm=1.0, steps=20)),
    ),
    "door_neurotoxin": Kind(
        title="backdoor: Neurotoxin x 3",
        knows=OWN,
        fields=lambda _: _in_rounds(LATE, bind(poison.neurotoxin, trigger=CORNER, avoid=0.05, boost=3.0)),
    ),
    "door_parts": Kind(
        title="backdoor: in four parts x 3",
        knows=OWN,
        fields=lambda _: _in_rounds(LATE, bind(poison.distributed, trigger=CORNER, parts=4, boost=3.0)),
    ),
}
"""The backdoors of the table of defences. Poisoning by data goes on from the first round; the others come late."""

DOOR_ADAPTIVE = "door_adaptive"
"""For each rule, in hindsight, the backdoor that opened most often."""


def _in_rounds(rounds: Collection[int], attack: Callable[..., Any]) -> Fields:
    """The fields of a scenario whose attackers are honest but for some rounds."""
    return {"attack": bind(poison.during, attack=attack, rounds=rounds)}


THRESHOLDS: Mapping[str, float] = {"norm": 1.8339, "spectral": 0.9198, "cosine to root": 1.3505}
"""Of the quarantines: what accuses 5 % of the messages of alike, honest clients (`detection.tuned_thresholds`)."""


def _layers(f: int) -> list[Any]:
    """The stages of the layered defence: clip to the usual length, then mix with the nearest neighbours."""
    return [robust.MedianNormClip(), bind(robust.nnm, f=f)]


def _quarantine(name: str, score: Callable[..., Any]) -> Fields:
    """Isolate by a score, and let the mean do the rest."""
    return {"server_stages": [detect.Quarantine(score, threshold=THRESHOLDS[name])]}


DEFENCES: Mapping[str, Defence] = {
    "bulyan": Defence(
        title="Bulyan",
        fields=lambda f, root: {"aggregate": bind(robust.bulyan, f=f)},
        largest_f=lambda clients: (clients - 3) // 4,
    ),
    "mda": Defence(
        title="MDA",
        fields=lambda f, root: {"aggregate": bind(robust.mda, f=f)},
        largest_f=lambda clients: min((clients - 1) // 2, 16),
    ),
    "meamed": Defence(
        title="MeaMed",
        fields=lambda f, root: {"aggregate": bind(robust.meamed, f=f)},
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "monna": Defence(
        title="MoNNA (root)",
        fields=lambda f, root: {"aggregate": bind(robust.monna, f=f, root=root)},
        needs_root=True,
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "fltrust": Defence(
        title="FLTrust (root)",
        fields=lambda f, root: {"aggregate": bind(robust.fltrust, root=root)},
        needs_root=True,
    ),
    "foolsgold": Defence(title="FoolsGold", fields=lambda f, root: {"aggregate": robust.FoolsGold()}),
    "flame": Defence(title="FLAME", fields=lambda f, root: {"aggregate": robust.flame}),
    "dnc": Defence(
        title="DnC",
        fields=lambda f, root: {"aggregate": bind(robust.dnc, f=f)},
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "sign_majority": Defence(
        title="sign majority",
        fields=lambda f, root: {"aggregate": bind(robust.sign_majority, step=0.01)},
    ),
    "rlr": Defence(
        title="RLR",
        # f attackers alone can raise a vote of f.
        fields=lambda f, root: {"aggregate": bind(robust.rlr, threshold=f + 1)},
        largest_f=lambda clients: clients - 1,
    ),
    "bucketing_median": Defence(
        title="bucketing + median",
        fields=lambda f, root: {"server_stages": [bind(robust.bucketing, size=2)], "aggregate": robust.median},
    ),
    "bucketing_krum": Defence(
        title="bucketing + Krum",
        fields=lambda f, root: {
            "server_stages": [bind(robust.bucketing, size=2)],
            "aggregate": bind(robust.krum, f=f),
        },
        largest_f=lambda clients: ((clients + 1) // 2 - 3) // 2,
    ),
    "clip_nnm_trimmed": Defence(
        title="clip + mixing + trimmed mean",
        fields=lambda f, root: {"server_stages": _layers(f), "aggregate": bind(robust.trimmed_mean, f=f)},
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "clip_nnm_trimmed_noise": Defence(
        title="clip + mixing + trimmed mean + noise",
        fields=lambda f, root: {
            "server_stages": _layers(f),
            "aggregate": bind(robust.central_noise, rule=bind(robust.trimmed_mean, f=f), std=0.003),
        },
        largest_f=lambda clients: (clients - 1) // 2,
    ),
    "fedshield": Defence(
        title="FedShield",
        fields=lambda f, root: {"aggregate": robust.FedShield(f=f, radius=0.5)},
        largest_f=lambda clients: ((clients + 1) // 2 - 3) // 2,
    ),
    "fedshield_root": Defence(
        title="FedShield (root)",
        fields=lambda f, root: {"aggregate": robust.FedShield(f=f, radius=0.5, root=root)},
        needs_root=True,
        largest_f=lambda clients: ((clients + 1) // 2 - 3) // 2,
    ),
    "quarantine_norm": Defence(
        title="quarantine by norm + mean",
        fields=lambda f, root: _quarantine("norm", detect.norm),
    ),
    "quarantine_spectral": Defence(
        title="quarantine by spectrum + mean",
        fields=lambda f, root: _quarantine("spectral", detect.spectral),
    ),
    "quarantine_root": Defence(
        title="quarantine by cosine (root) + mean",
        fields=lambda f, root: _quarantine("cosine to root", bind(detect.cosine_to_root, root=root)),
        needs_root=True,
    ),
}
"""The columns that the table of defences has beside those of RULES."""


def attacks_that_know(knowledge: str) -> tuple[str, ...]:
    """The names of the attacks that need to know no more than that.

    >>> len(attacks_that_know(OWN)) < len(attacks_that_know(HONEST)) < len(attacks_that_know(RULE))
    True
    """
    most = KNOWLEDGE.index(knowledge)
    names = tuple(name for name, attack in ATTACKS.items() if KNOWLEDGE.index(attack.knows) <= most)
    return (*names, ADAPTIVE) if knowledge == RULE else names


def title_of(name: object) -> str:
    """What a row or a column of a table is called for people: its title, or the name itself if it has none."""
    tables: tuple[Mapping[str, Attack | Kind | Rule | Defence], ...] = (STRATEGIES, ATTACKS, BACKDOORS, RULES, DEFENCES)
    titles = {each: entry.title for table in tables for each, entry in table.items()}
    titles[DOOR_ADAPTIVE] = "adaptive backdoor"
    return titles.get(str(name), str(name))


def find(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """The entry of a table of settings.

    >>> find(RULES, "rule", "krum").title
    'Krum'

    Raises ValueError that lists the names if there is none.
    """
    if name not in table:
        raise ValueError(f"no {kind} is called {name!r}; known: {', '.join(table)}")
    return table[name]
