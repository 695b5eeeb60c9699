"""The names of the things that travel between rooms: tensors, views and callable shapes.

A view is a threat model written as code: it holds exactly what its owner knows. Whatever is not in the view, an
attack cannot use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from labsec.models import Model

Update: TypeAlias = Tensor  # [dim]            new parameters minus old ones
Updates: TypeAlias = Tensor  # [clients, dim]   one row per client

Train: TypeAlias = Callable[..., Tensor]  # (model, params, x, y, batches, *, lr, chunk, ...) -> [clients, dim]
Broadcast: TypeAlias = Callable[..., Tensor]  # (params [dim], *, ...) -> [dim], or [k, dim] with a row for each client
Aggregate: TypeAlias = Callable[..., Tensor]  # (updates [k, dim], *, ...) -> [dim]
Stage: TypeAlias = Callable[
    ..., Tensor
]  # (updates [k, dim], *, ...) -> [k, dim]; a server stage also bool [k], or fewer
Wire: TypeAlias = Callable[..., Tensor]  # (updates [k, dim], *, ...) -> [k, dim], or [1, dim] for a secure sum
Attack: TypeAlias = Callable[..., Tensor]  # (view, *, ...) -> [malicious, dim]
DataAttack: TypeAlias = Callable[..., tuple[Tensor, Tensor]]  # (x, y, classes, *, generator, client, ...) -> (x, y)
Probe: TypeAlias = "Callable[[Model, Tensor], float]"  # (model, params [dim]) -> a number to keep for every round

ENGINE_FILLS = ("generator", "weights", "clients", "params", "round", "note")
"""Keyword-only arguments that the engine fills for any part that asks for them; see `labsec.federation.bind`."""


class ImpossibleAttack(ValueError):
    """An attack cannot work with the clients of this round; honest updates are sent then."""


class ImpossibleRule(ValueError):
    """A rule was asked for something that the number of clients does not allow, such as Krum with f = n / 2."""


def _no_training(*_: Any, **__: Any) -> Tensor:
    raise ValueError("this view was made by hand, outside a run: it holds no training")


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackerView:
    """What the malicious clients of one round know.

    round         number of the round, from 0
    clients       [malicious] their identities
    params        [dim] the model that the server sent, or [malicious, dim] if it sent each client one of its own
    own           [malicious, dim] what these clients learned, before any stage that honest clients run
    others        [honest, dim] the honest clients' messages, as far as they are finite; None unless the scenario says
                  omniscient
    model         the architecture, known to every client
    x, y          [n, *shape], [n] the attackers' own training data, pooled
    lr            learning rate that the clients were told to use
    local_steps   number of local steps that they were told to take
    batch_size    samples per step that they were told to use; None for the whole shard
    rule          the server's stages and rule as a function, messages [k, dim] -> [dim]; None unless the defence is
                  public. Rows for all who send, the malicious ones first, count under the real identities and sample
                  counts; of other rows it knows neither. It draws noise of its own, starts from what the server
                  remembers by now, and leaves no notes
    train         (x, y, *, lr=None, steps=None, start=None) -> [malicious, dim], the scenario's own training on data
                  of the attackers' choice, with draws of its own for each client: new parameters minus `start`, which
                  is `params` unless others are given, [dim] or [malicious, dim]

    A run fills every field. In a view made by hand what was not given is None, and `train` raises.
    """

    round: int
    params: Tensor
    own: Tensor
    model: Model
    x: Tensor
    y: Tensor
    others: Tensor | None = None
    rule: Callable[[Tensor], Tensor] | None = None
    clients: Tensor | None = None
    lr: float | None = None
    local_steps: int | None = None
    batch_size: int | None = None
    train: Callable[..., Tensor] = _no_training


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerView:
    """What a curious server knows when it looks at messages: no data, no labels.

    params       [dim] the model that it sent
    messages     [k, dim] what it received
    model        the architecture
    lr           learning rate that the clients were told to use
    local_steps  number of local steps that they were told to take
    batch_size   samples per step that they were told to use; None for the whole shard
    """

    params: Tensor
    messages: Tensor
    model: Model
    lr: float
    local_steps: int
    batch_size: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerMemory:
    """What a curious server knows that keeps its messages: its views of several rounds, and who sent what.

    Threat model: the server follows the protocol and changes nothing, but throws nothing away. It can hold several
    messages about the same data against each other. No client can tell that it does; one that never sends twice about
    the same data gives it nothing to compare.

    rounds     a view for each round
    clients    for each round the identities [k] behind its messages

    Raises ValueError if there is no round, or unless every message has an identity.
    """

    rounds: tuple[ServerView, ...]
    clients: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        counts = [len(view.messages) for view in self.rounds]
        names = [len(clients) for clients in self.clients]
        if not counts or counts != names:
            raise ValueError(
                f"ServerMemory needs an identity for each message of one or more rounds; got {counts} messages "
                f"and {names} identities"
            )

    def of(self, client: int) -> tuple[ServerView, ...]:
        """The views, one message in each, of the rounds in which this client took part."""
        return tuple(
            replace(view, messages=view.messages[clients == client])
            for view, clients in zip(self.rounds, self.clients, strict=True)
            if bool((clients == client).any())
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class BroadcastView(ServerView):
    """What a malicious server knows: `params` are what it sent in place of its model, made to be read out again.

    Threat model: the server breaks the protocol, and so it can be caught. Whoever looks at the parameters that arrive
    (`invert.suspicion`), or compares them with those of another client or with the last round's result, holds evidence.

    honest    [dim] the model that it should have sent
    """

    honest: Tensor


def generator(seed: int, *place: Any, device: str | torch.device = "cpu") -> torch.Generator:
    """A random stream that depends on the seed and the place it is used in, and on nothing else.

    Two places never share a stream, so that adding an attack does not change what the honest clients draw.

    >>> a, b = generator(0, 3, "batches"), generator(0, 3, "batches")
    >>> bool((torch.rand(4, generator=a) == torch.rand(4, generator=b)).all())
    True
    """
    digest = hashlib.blake2b(repr((int(seed), *place)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest) >> 1)
