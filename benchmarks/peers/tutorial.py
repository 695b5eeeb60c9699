"""Federated averaging as most tutorials write it: copy the model, run a data loader, average the state dicts."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, Subset, TensorDataset


def loaders(x: Tensor, y: Tensor, shards: Sequence[Tensor], *, steps: int, batch_size: int) -> list[DataLoader]:
    """One loader per client; a pass over it is one round: `steps` batches drawn with replacement from its shard."""
    everything = TensorDataset(x, y)
    parts = [Subset(everything, shard.tolist()) for shard in shards]
    return [
        DataLoader(part, batch_size, sampler=RandomSampler(part, replacement=True, num_samples=steps * batch_size))
        for part in parts
    ]


def train(model: nn.Module, loader: DataLoader, *, lr: float) -> None:
    """One client's round: plain SGD over its loader, in place."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def average(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, entry by entry."""
    return {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}


def tutorial_round(model: nn.Module, clients: Sequence[DataLoader], *, lr: float) -> None:
    """One round of FedAvg; the model becomes the average of what the clients made of it."""
    states = []
    for loader in clients:
        local = copy.deepcopy(model)
        train(local, loader, lr=lr)
        states.append(local.state_dict())
    model.load_state_dict(average(states))
