"""Who holds which data, who takes part in a round, and what each trains on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from labsec import data
from labsec.federation.scenario import Scenario
from labsec.types import generator


class Federation:
    """The data of all clients in one pool, and the draws over it.

    x, y         [n, *shape], [n] the pool: the training part, then what a data attack made of the malicious shards
    shards       [clients, largest] indices into the pool, -1 behind the end of a shard
    sizes        [clients] sample counts
    attackers    (x, y) the malicious clients' own data, before any data attack
    """

    def __init__(self, s: Scenario) -> None:
        self.s = s
        dataset = s.data.to(s.device)
        shards = data.partition(dataset.y, s.clients, alpha=s.alpha, generator=generator(s.seed, "partition"))
        held = torch.cat([dataset.y[:0], *shards[: s.malicious_count]])
        self.attackers = dataset.x[held], dataset.y[held]
        self.x, self.y = dataset.x, dataset.y
        if s.data_attack is not None:
            shards = self._poisoned(shards)
        self.shards = pad_sequence(shards, batch_first=True, padding_value=-1)
        self.sizes = torch.tensor([len(shard) for shard in shards], device=s.device)

    def _poisoned(self, shards: list[Tensor]) -> list[Tensor]:
        """Let the data attack rewrite each malicious shard; the results go to the end of the pool."""
        s = self.s
        assert s.data_attack is not None
        x, y, moved = [self.x], [self.y], list(shards)
        for client in range(s.malicious_count):
            draw = generator(s.seed, client, "data attack", device=s.device)
            own = shards[client]
            forged_x, forged_y = s.data_attack(self.x[own], self.y[own], classes=s.data.classes, generator=draw)
            start = sum(map(len, y))
            moved[client] = torch.arange(start, start + len(forged_y), device=s.device)
            x, y = [*x, forged_x], [*y, forged_y]
        pool = replace(s.data.to(s.device), x=torch.cat(x), y=torch.cat(y))  # checked like any other data set
        self.x, self.y = pool.x, pool.y
        return moved

    def participants(self, number: int) -> Tensor:
        """Who takes part in a round: [k] numbers of clients in order, so that the malicious ones come first."""
        s, draw = self.s, generator(self.s.seed, number, "participants")
        if s.cohort is not None:
            chosen = torch.randperm(s.clients, generator=draw)[: s.cohort].sort().values
        else:
            chosen = (torch.rand(s.clients, generator=draw) < s.participation).nonzero()[:, 0]
        return chosen.to(s.device)

    def batches(self, number: int, clients: Tensor) -> Tensor:
        """What each participant trains on: [k, steps, batch] indices into the pool, -1 for a place left empty."""
        s = self.s
        if s.batch_size is None:
            return self.shards[clients][:, None].expand(-1, s.local_steps, -1)
        draw = torch.rand(s.clients, s.local_steps * s.batch_size, generator=generator(s.seed, number, "batches"))
        places = (draw.to(s.device, torch.float64)[clients] * self.sizes[clients, None]).long()
        return self.shards[clients].gather(1, places).view(-1, s.local_steps, s.batch_size)
