"""What a run is made of: `Scenario`, the only configuration there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec import robust
from labsec.data import Dataset, load
from labsec.federation.bind import check_part, part_in_words
from labsec.guards import check_device, check_kind, check_number, kind
from labsec.models import Model, embedding, mlp
from labsec.train import local_updates
from labsec.types import Aggregate, Attack, Broadcast, DataAttack, Probe, Stage, Train, Wire

OWN_METRICS = ("accuracy", "loss")
COUNTS = ("clients", "rounds", "local_steps", "evaluate_every")
COUNTS_OR_NONE = ("batch_size", "chunk", "cohort")


def identity(updates: Tensor) -> Tensor:
    """The wire that carries messages unchanged."""
    return updates


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One federation, from its data to its defence: the only configuration there is.

    What is learned, and by whom:

    data           what is learned; default: digits
    model          the network; default: one that fits the data, an MLP with 64 hidden neurons or, for texts, the mean
                   of the words' vectors and a linear layer
    clients        number of clients
    alpha          None for IID shards, a number for Dirichlet(alpha) shards
    shards         in place of alpha: for each client the indices of its samples. A malicious client may hold none: a
                   sybil, which learns nothing and reports the mean sample count of the others
    start          [dim] the model to start from; None for a fresh one
    first_round    number of the first round. A run that goes on from another's model draws what that one would have
                   drawn next; what parts remember does not go on
    seed           of every draw

    How the clients train:

    train          (model, params, x, y, batches, *, lr, chunk) -> [clients, dim]; default: plain SGD
    local_steps    SGD steps of a client in a round
    batch_size     samples per step, drawn with replacement; None for the whole shard (with one step: FedSGD)
    lr             learning rate of the clients
    chunk          clients that are trained together; None lets `train` choose

    How a round goes:

    rounds         number of rounds
    participation  chance of each client to take part in a round, drawn independently (Poisson sampling)
    cohort         exact number of clients drawn for each round instead; claims no amplification by Poisson sampling
    client_stages  run by honest clients on their own updates, each row by itself
    wire           between clients and server; a secure sum returns the mean as [1, dim]
    server_stages  run by the server on every row; one that returns a mask [k] says who stays
    aggregate      the rule: [k, dim] -> [dim]
    server_lr      factor on the rule's result

    Who attacks:

    malicious      share of the clients in [0, 1]; the count is round(malicious * clients)
    attack         (view) -> [malicious, dim], what the malicious clients send; where it cannot work with those who were
                   drawn for a round, they send honest updates, and the history says why
    data_attack    (x, y, classes, *, generator, client) -> (x, y), what they train on
    omniscient     whether the attack sees the honest messages of its round
    public_rule    whether the attack may call the server's own rule
    broadcast      (params) -> [dim] or [k, dim], what a malicious server sends in place of its model

    What is measured:

    probes         name -> (model, params) -> number, measured whenever accuracy is
    evaluate_every measure in every so many rounds, and in the last
    device         of every tensor

    >>> Scenario(clients=10, malicious=1.2)
    Traceback (most recent call last):
    ValueError: Scenario needs 0 <= malicious <= 1; got malicious=1.2

    A sweep is a comprehension of dataclasses.replace:

    >>> from dataclasses import replace
    >>> base = Scenario(rounds=1)
    >>> [replace(base, seed=seed).seed for seed in range(3)]
    [0, 1, 2]

    Raises ValueError for a value out of its range and for two that do not fit, TypeError for what is no function
    or asks for what its place does not offer (`labsec.federation.bind.PLACES`).
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
    shards: Sequence[Any] | None = None
    start: Tensor | None = None
    first_round: int = 0
    participation: float = 1.0
    cohort: int | None = None
    train: Train = local_updates
    attack: Attack | None = None
    data_attack: DataAttack | None = None
    omniscient: bool = False
    public_rule: bool = False
    broadcast: Broadcast | None = None
    client_stages: Sequence[Stage] = ()
    wire: Wire = identity
    server_stages: Sequence[Stage] = ()
    aggregate: Aggregate = robust.mean
    probes: Mapping[str, Probe] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    chunk: int | None = None
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("client_stages", "server_stages"):
            stages = getattr(self, name)
            if callable(stages) or isinstance(stages, str) or not isinstance(stages, Iterable):
                raise TypeError(f"{name} is a list of functions, as in {name}=[…]; got {stages!r}")
            object.__setattr__(self, name, tuple(stages))  # an iterator would be used up by the checks
        check_kind("Scenario", Mapping, probes=self.probes)
        object.__setattr__(self, "probes", dict(self.probes))
        for item in fields(self):
            # A number of numpy or torch becomes one of Python, which is drawn, shown and recorded in one way.
            value = getattr(self, item.name)
            if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
                object.__setattr__(self, item.name, value.item())
        self._check_numbers()
        self._check_data_and_model()
        self._check_attackers()
        self._check_parts()
        if self.shards is not None:
            object.__setattr__(self, "shards", self._own_shards(self.shards))

    def _check_numbers(self) -> None:
        given = {name: getattr(self, name) for name in COUNTS_OR_NONE if getattr(self, name) is not None}
        check_number("Scenario", whole=True, above=0, **{name: getattr(self, name) for name in COUNTS}, **given)
        check_number("Scenario", whole=True, least=0, first_round=self.first_round)
        check_number("Scenario", whole=True, seed=self.seed)
        check_number("Scenario", above=0, lr=self.lr, server_lr=self.server_lr)
        if self.alpha is not None:
            check_number("Scenario", above=0, alpha=self.alpha)
        check_number("Scenario", above=0, most=1, participation=self.participation)
        check_number("Scenario", least=0, most=1, malicious=self.malicious)
        check_kind("Scenario", bool, omniscient=self.omniscient, public_rule=self.public_rule)
        if self.cohort is not None and (self.participation < 1 or self.cohort > self.clients):
            raise ValueError(
                "cohort needs cohort <= clients and participation = 1; "
                f"got cohort={self.cohort}, clients={self.clients}, participation={self.participation}"
            )

    def _check_data_and_model(self) -> None:
        data = self.data
        model = self.model
        if not isinstance(data, Dataset):
            raise TypeError(f"data is a Dataset, as data.load('digits') gives one; got {data!r}")
        if model is not None and not isinstance(model, Model):
            raise TypeError(f"model is a Model, as models.mlp(data.shape, data.classes) gives one; got {model!r}")
        if check_device("Scenario", self.device).type == "mps":
            raise ValueError("device mps has no float64, which the draws and the scores need: take cpu or cuda")
        if model is not None and (model.shape != data.shape or model.classes < data.classes):
            raise ValueError(
                f"model and data must fit; {model.name} takes {list(model.shape)} and knows {model.classes} classes, "
                f"{data.name} has {list(data.shape)} and {data.classes}"
            )
        if model is not None and not _holds_words(model, data):
            raise ValueError(
                f"model and data must fit; {model.name} takes {_tokens(model.vocabulary)}, "
                f"{data.name} holds {_tokens(data.vocabulary)}"
            )
        if self.start is not None:
            _check_start(self.start, self.network())

    def _check_attackers(self) -> None:
        if self.malicious > 0 and self.malicious_count == 0:
            raise ValueError(
                f"malicious={self.malicious} of {self.clients} clients rounds to no client at all; "
                f"the least that counts is {0.5 / self.clients:.3g}, exclusive"
            )
        attacked = self.attack is not None or self.data_attack is not None
        if attacked != (self.malicious > 0):
            raise ValueError(
                "an attack and malicious > 0 go together; "
                f"got malicious={self.malicious} and {'an' if attacked else 'no'} attack"
            )

    def _check_parts(self) -> None:
        check_part(self.train, "train")
        check_part(self.wire, "wire")
        check_part(self.aggregate, "rule")
        for stage in self.client_stages:
            check_part(stage, "client stage")
        for stage in self.server_stages:
            check_part(stage, "server stage")
        for place, part in (
            ("attack", self.attack),
            ("data attack", self.data_attack),
            ("broadcast", self.broadcast),
        ):
            if part is not None:
                check_part(part, place)
        for name, probe in self.probes.items():
            if name in OWN_METRICS:
                raise ValueError(f"a probe cannot be called {name!r}, as what is always measured is")
            check_part(probe, "probe")

    def _own_shards(self, shards: Sequence[Any]) -> tuple[Tensor, ...]:
        """The shards as tensors of indices, checked."""
        if self.alpha is not None:
            raise ValueError(f"shards and alpha exclude each other; got shards and alpha={self.alpha}")
        if isinstance(shards, str) or not isinstance(shards, Sequence | Tensor | np.ndarray):
            raise TypeError(f"shards is a list with a list of indices for each client; got {kind(shards)}")
        if len(shards) != self.clients:
            raise ValueError(f"shards needs one list for each client; got {len(shards)} for clients={self.clients}")
        samples = len(self.data.y)
        checked = [_indices(client, shard) for client, shard in enumerate(shards)]
        for client, shard in enumerate(checked):
            if shard.ndim != 1 or (len(shard) and not 0 <= shard.min() <= shard.max() < samples):
                raise ValueError(f"shard {client} must hold indices in [0, {samples}); got {shard.tolist()[:5]} …")
            if not len(shard) and client >= self.malicious_count:
                raise ValueError(f"an honest client needs a sample; shard {client} of {self.clients} is empty")
        if not any(map(len, checked)):
            raise ValueError("shards needs a client that holds a sample; all are empty")
        return tuple(checked)

    @classmethod
    def fedavg(cls, **changes: Any) -> Scenario:
        """The easy regime: FedAvg of 30 clients with IID shards, 5 steps on 16 samples each, for 50 rounds.

        Similar data and several local steps make the honest updates similar: an attacker who hides among them can do
        little. That regime flatters every rule; set it beside `fedsgd`. Without an attack digits reach 0.96.

        changes    any field of the scenario. Texts need longer steps than images: with lr=4 `notes` reaches 0.92

        >>> Scenario.fedavg(seed=1).local_steps
        5
        """
        return cls(**{"clients": 30, "rounds": 50, "local_steps": 5, "batch_size": 16, "lr": 0.3, **changes})

    @classmethod
    def fedsgd(cls, **changes: Any) -> Scenario:
        """The hard regime: 30 clients with Dirichlet(0.3) shards, one step on the whole shard, for 50 rounds.

        Honest updates differ as much as the data do: an attack finds room between them, and a rule that mistakes
        unusual ones for bad ones pays even without an attack. Without an attack digits reach 0.94.

        changes    any field of the scenario. Texts need longer steps than images: with lr=4 `notes` reaches 0.86

        >>> Scenario.fedsgd(seed=1).alpha
        0.3
        """
        fixed = {"clients": 30, "rounds": 50, "local_steps": 1, "batch_size": None, "lr": 0.5, "alpha": 0.3}
        return cls(**{**fixed, **changes})

    def __repr__(self) -> str:
        """What differs from the default, without tensors."""
        changed = {item.name: getattr(self, item.name) for item in fields(self)}
        changed = {name: value for name, value in changed.items() if not _is_default(name, value)}
        return f"Scenario({', '.join(f'{name}={_in_words(value)}' for name, value in changed.items())})"

    @property
    def expected(self) -> float:
        """How many clients take part in a round on average: what a sum is divided by, whoever came."""
        return float(self.cohort or self.participation * self.clients)

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


def _holds_words(model: Model, data: Dataset) -> bool:
    """Whether the model takes tokens if the data are tokens, and knows all of them."""
    if data.vocabulary is None or model.vocabulary is None:
        return data.vocabulary is model.vocabulary
    return model.vocabulary >= data.vocabulary


def _tokens(vocabulary: int | None) -> str:
    return "no tokens" if vocabulary is None else f"{vocabulary} token numbers"


def _indices(client: int, shard: Any) -> Tensor:
    """A client's samples as a tensor of its own, [n] int64."""
    try:
        indices = torch.as_tensor(shard)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"shard {client} must be a list of indices; got {kind(shard)}") from None
    if indices.numel() and (indices.is_floating_point() or indices.dtype == torch.bool):
        raise ValueError(f"shard {client} must hold whole numbers; got {kind(indices)}")
    return indices.to(torch.int64, copy=True)


def _check_start(start: Tensor, model: Model) -> None:
    if not isinstance(start, Tensor) or start.shape != (model.dim,) or start.dtype != torch.float32:
        raise ValueError(f"start must be float32 [{model.dim}] for {model.name}; got {kind(start)}")
    if start.requires_grad:
        raise ValueError(f"start must hold plain numbers; {kind(start)} requires a gradient: detach() it")
    if not start.isfinite().all():
        raise ValueError(f"start must be finite; {int((~start.isfinite()).sum())} numbers are NaN or infinite")


def _is_default(name: str, value: Any) -> bool:
    (item,) = (item for item in fields(Scenario) if item.name == name)
    if name == "data":
        return value.name == "digits"
    if item.default is MISSING:
        return not value
    return value is item.default or (isinstance(value, bool | int | float | str | tuple) and value == item.default)


def _in_words(value: Any) -> str:
    if isinstance(value, Dataset | Model):
        return value.name
    if isinstance(value, Tensor):
        return f"{list(value.shape)}"
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
        return f"{len(value)} lists"
    if isinstance(value, tuple):
        return f"[{', '.join(map(part_in_words, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(value)}}}"
    return part_in_words(value) if callable(value) else repr(value)
