"""Who holds which data, who takes part in a round, and what each trains on."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from labsec import data
from labsec.federation.contract import Part, Turn
from labsec.federation.scenario import Scenario
from labsec.guards import check_kind, kind
from labsec.types import generator


class Lessons(NamedTuple):
    """What some clients train on.

    x, y       [n, *shape], [n] a pool of samples
    batches    [k, steps, batch] indices into it, -1 for a place left empty
    """

    x: Tensor
    y: Tensor
    batches: Tensor


class Population:
    """The data of all clients in one pool, and the draws over it.

    x, y           [n, *shape], [n] the pool: the training part, then what a data attack made of the malicious shards
    shards         [clients, largest] indices into the pool, -1 behind the end of a shard
    sizes          [clients] samples held; none for a sybil, a malicious client that only joined to vote
    weights        [clients] sample counts as reported; a sybil reports the mean of those who hold data
    attackers_x    [m, *shape] the malicious clients' own samples, before any data attack
    attackers_y    [m]
    """

    def __init__(self, s: Scenario) -> None:
        self.s = s
        dataset = s.data.to(s.device)
        if s.shards is None:
            shards = data.partition(dataset.y, s.clients, alpha=s.alpha, generator=generator(s.seed, "partition"))
        else:
            shards = [shard.to(s.device) for shard in s.shards]
        held = torch.cat([dataset.y[:0], *shards[: s.malicious_count]])  # indices
        self.attackers_x = dataset.x[held]
        self.attackers_y = dataset.y[held]
        self.x = dataset.x
        self.y = dataset.y
        if s.data_attack is not None:
            shards = self._poisoned(shards, Part("data attack", s.data_attack, s.seed))
        self.shards = pad_sequence(shards, batch_first=True, padding_value=-1)
        self.sizes = torch.tensor([len(shard) for shard in shards], device=s.device)
        self.has_sybils = bool((self.sizes == 0).any())
        typical = self.sizes[self.sizes > 0].double().mean().round().long()
        self.weights = self.sizes.where(self.sizes > 0, typical)

    def _poisoned(self, shards: list[Tensor], attack: Part) -> list[Tensor]:
        """Let the data attack rewrite each malicious shard; the results go to the end of the pool."""
        s = self.s
        before = Turn(-1, torch.empty(0, device=s.device))
        poisoned = list(shards)
        xs = [self.x]
        ys = [self.y]
        end = len(self.y)
        for client in range(s.malicious_count):
            own = shards[client]
            if not len(own):
                continue
            draw = generator(s.seed, client, "data attack", device=s.device)
            result = attack(before, self.x[own], self.y[own], s.data.classes, client=client, generator=draw)
            if not (isinstance(result, tuple) and len(result) == 2):
                raise ValueError(f"{attack.name} must return the pair (x, y); got {type(result).__name__}")
            x, y = result
            check_kind(attack.name, Tensor, x=x, y=y)
            if x.shape[1:] != self.x.shape[1:] or x.dtype != self.x.dtype or x.requires_grad or len(x) != len(y):
                raise ValueError(
                    f"{attack.name} must return x {self.x.dtype} [n, {', '.join(map(str, s.data.shape))}] without a "
                    f"gradient graph, and y [n]; got x {kind(x)} and y {kind(y)}"
                )
            poisoned[client] = torch.arange(end, end + len(y), device=s.device)
            end += len(y)
            xs.append(x)
            ys.append(y)
        pool = replace(s.data.to(s.device), x=torch.cat(xs), y=torch.cat(ys))  # checked like any other data set
        self.x = pool.x
        self.y = pool.y
        return poisoned

    def participants(self, number: int) -> Tensor:
        """Who takes part in a round: [k] identities in order, so that the malicious ones come first."""
        s = self.s
        if s.cohort is None and s.participation == 1:
            return torch.arange(s.clients, device=s.device)
        draw = generator(s.seed, number, "participants")
        if s.cohort is not None:
            chosen = torch.randperm(s.clients, generator=draw)[: s.cohort].sort().values
        else:
            chosen = (torch.rand(s.clients, generator=draw) < s.participation).nonzero()[:, 0]
        return chosen.to(s.device)

    def lessons(self, number: int, clients: Tensor) -> Lessons:
        """What each of some clients that hold data trains on in a round."""
        return Lessons(self.x, self.y, self.batches(number, clients))

    def batches(self, number: int, clients: Tensor) -> Tensor:
        """What each of some clients that hold data trains on: [k, steps, batch] indices, -1 for a place left empty."""
        s = self.s
        if s.batch_size is None:
            return self.shards[clients][:, None].expand(-1, s.local_steps, -1)

        # The draw is made for everybody, so that a client's batches do not depend on who else takes part.
        draw = torch.rand(s.clients, s.local_steps * s.batch_size, generator=generator(s.seed, number, "batches"))
        places = (draw.to(s.device, torch.float64) * self.sizes[:, None]).long()
        if len(clients) == s.clients:
            drawn = self.shards.gather(1, places)
        else:
            drawn = self.shards[clients].gather(1, places[clients])
        return drawn.view(-1, s.local_steps, s.batch_size)

    def attackers_share(self, senders: Tensor) -> tuple[float, float]:
        """The malicious clients' share of those who take part in a round, and of the samples that these report."""
        malicious = senders < self.s.malicious_count  # [k]
        if not self.s.malicious_count or not len(senders):
            return 0.0, 0.0
        samples = self.weights[senders].double()  # [k]
        return float(malicious.double().mean()), float(samples[malicious].sum() / samples.sum())
