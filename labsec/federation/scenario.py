"""What a run is made of (`Scenario`), how its parts get their arguments (`bind`), what it leaves (`History`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch

from labsec import robust
from labsec.data import Dataset, load
from labsec.federation.bind import check_complete, part_name
from labsec.models import Model, embedding, mlp
from labsec.types import Aggregate, Attack, DataAttack, Stage, Wire

if TYPE_CHECKING:
    pass


def identity(updates: Any) -> Any:
    """The wire that carries messages unchanged."""
    return updates


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One federation, from its data to its defence: the only configuration there is.

    data           what is learned; default: digits
    model          the network; default: one that fits the data, an MLP with 64 hidden neurons or, for texts, the mean
                   of the words' vectors and a linear layer
    clients        number of clients
    malicious      share of the clients in [0, 1]; the count is round(malicious * clients)
    rounds         number of rounds
    local_steps    SGD steps of a client in a round
    batch_size     samples per step, drawn with replacement; None for the whole shard (with one step: FedSGD)
    lr, server_lr  learning rate of the clients; factor on the aggregate
    alpha          None for IID shards, a number for Dirichlet(alpha) shards
    participation  chance of each client to take part in a round, drawn independently (Poisson sampling); below 1 the
                   aggregate is scaled so that its divisor is fixed: participation * clients, or samples
    cohort         exact number of clients drawn for each round instead; claims no amplification by Poisson sampling
    attack         (view) -> [malicious, dim], what the malicious clients send; where it cannot work with those who were
                   drawn for a round, they send honest updates, and the history says why
    data_attack    (x, y, *, classes, generator) -> (x, y), what they train on
    omniscient     whether the attack sees the honest messages of its round
    public_rule    whether the attack may call the server's own rule
    client_stages  run by honest clients on their own updates
    wire           between clients and server; a secure sum returns the mean as [1, dim]
    server_stages  run by the server on every row
    aggregate      the rule: [k, dim] -> [dim]
    seed           of every draw
    device         of every tensor
    chunk          clients that are trained together; None for all
    evaluate_every measure accuracy and loss in every so many rounds, and in the last

    >>> Scenario(clients=10, malicious=1.2)
    Traceback (most recent call last):
    ValueError: malicious is a share of the clients in [0, 1]; got 1.2

    A sweep is a comprehension of dataclasses.replace:

    >>> from dataclasses import replace
    >>> base = Scenario(rounds=1)
    >>> [replace(base, seed=seed).seed for seed in range(3)]
    [0, 1, 2]
    """

    data: Dataset = field(default_factory=lambda: load("digits"))
    model: Model | None = None
    clients: int = 20
    malicious: float = 0.0
    rounds: int = 20
    local_steps: int = 5
    batch_size: int | None = 16
    lr: float = 0.3
    server_lr: float = 1.0
    alpha: float | None = None
    participation: float = 1.0
    cohort: int | None = None
    attack: Attack | None = None
    data_attack: DataAttack | None = None
    omniscient: bool = False
    public_rule: bool = False
    client_stages: Sequence[Stage] = ()
    wire: Wire = identity
    server_stages: Sequence[Stage] = ()
    aggregate: Aggregate = robust.mean
    seed: int = 0
    device: str = "cpu"
    chunk: int | None = None
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("client_stages", "server_stages"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # an iterator would be used up by the checks
        for name in ("clients", "rounds", "local_steps", "evaluate_every"):
            _check_count(name, getattr(self, name))
        for name in ("batch_size", "chunk", "cohort"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name))
        for name in ("lr", "server_lr", *(["alpha"] if self.alpha is not None else [])):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite; got {getattr(self, name)}")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool):
            raise ValueError(f"seed must be a whole number; got {self.seed!r}")
        self._check_fit()
        self._check_shares()
        self._check_parts()

    def _check_fit(self) -> None:
        if torch.device(self.device).type == "mps":
            raise ValueError("device mps has no float64, which the draws and the scores need: take cpu or cuda")
        model, data = self.model, self.data
        if model is not None and (model.shape != data.shape or model.classes < data.classes):
            raise ValueError(
                f"model and data must fit; {model.name} takes {list(model.shape)} and tells {model.classes} classes, "
                f"{data.name} has {list(data.shape)} and {data.classes}"
            )

    def _check_shares(self) -> None:
        if not 0 <= self.malicious <= 1:
            raise ValueError(f"malicious is a share of the clients in [0, 1]; got {self.malicious}")
        if not 0 < self.participation <= 1:
            raise ValueError(f"participation is a chance in (0, 1]; got {self.participation}")
        if self.cohort is not None and (self.participation < 1 or self.cohort > self.clients):
            raise ValueError(
                "cohort needs cohort <= clients and participation = 1; "
                f"got cohort={self.cohort}, clients={self.clients}, participation={self.participation}"
            )
        attacked = self.attack is not None or self.data_attack is not None
        if self.malicious > 0 and self.malicious_count == 0:
            raise ValueError(
                f"malicious={self.malicious} of {self.clients} clients rounds to no client at all; "
                f"the least that counts is {0.5 / self.clients:.3g}, exclusive"
            )
        if attacked != (self.malicious > 0):
            raise ValueError(
                "an attack and malicious > 0 go together; "
                f"got malicious={self.malicious} and {'an' if attacked else 'no'} attack"
            )

    def _check_parts(self) -> None:
        stages = [*self.client_stages, self.wire, *self.server_stages, self.aggregate]
        for part in (*stages, *(each for each in (self.attack, self.data_attack) if each is not None)):
            if not callable(part):
                raise TypeError(f"a stage, an attack and a rule are functions; got {part!r}")
            check_complete(part_name(part), part)

    @classmethod
    def fedavg(cls, **changes: Any) -> Scenario:
        """The easy regime: FedAvg of 30 clients with alike shards, 5 steps on 16 samples each, for 50 rounds.

        Alike data and several local steps make the honest updates alike: who hides among them can do little. That
        regime flatters every rule; set it beside `fedsgd`. Without an attack digits come to an accuracy of 0.96.

        changes    any field of the scenario. Texts need longer steps than images: lr=4 brings `notes` to 0.92

        >>> Scenario.fedavg(seed=1).local_steps
        5
        """
        return cls(**{"clients": 30, "rounds": 50, "local_steps": 5, "batch_size": 16, "lr": 0.3, **changes})

    @classmethod
    def fedsgd(cls, **changes: Any) -> Scenario:
        """The hard regime: 30 clients with unlike shards, Dirichlet(0.3), one step on the whole shard, for 50 rounds.

        Honest updates differ as much as the data do: an attack finds room between them, and a rule that takes the odd
        ones for bad pays even without one. Without an attack digits come to an accuracy of 0.94.

        changes    any field of the scenario. Texts need longer steps than images: lr=4 brings `notes` to 0.86

        >>> Scenario.fedsgd(seed=1).alpha
        0.3
        """
        fixed = {"clients": 30, "rounds": 50, "local_steps": 1, "batch_size": None, "lr": 0.5, "alpha": 0.3}
        return cls(**{**fixed, **changes})

    @property
    def malicious_count(self) -> int:
        """Number of malicious clients; they come first."""
        return round(self.malicious * self.clients)

    def network(self) -> Model:
        """The model, or the one that fits the data: an MLP, and for tokens the mean of embeddings."""
        if self.model is not None:
            return self.model
        data = self.data
        if data.vocabulary is not None:
            return embedding(data.shape[0], data.vocabulary, data.classes)
        return mlp(data.shape, data.classes)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1; got {value!r}")
