"""How a data set is divided among clients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind


def partition(y: Tensor, clients: int, *, alpha: float | None = None, generator: Generator) -> list[Tensor]:
    """Divide the samples among clients: every index of `y` exactly once, no client left empty.

    y          [n] labels
    clients    how many
    alpha      None: independent and identically distributed (IID) shards of equal size.
               A number: each class is divided by a Dirichlet(alpha) draw; the smaller, the more uneven
    returns    `clients` tensors of indices into y

    >>> shards = partition(torch.tensor([0, 1, 0, 1, 0, 1]), 3, generator=Generator().manual_seed(0))
    >>> sorted(torch.cat(shards).tolist())
    [0, 1, 2, 3, 4, 5]

    Raises ValueError if y is no row of labels, if there are more clients than samples, if alpha <= 0, or if a hundred
    draws in a row leave a client empty. Source: a draw for each class over the clients, as in Yurochkin et al. 2019,
    arXiv:1905.12022. (Hsu, Qi and Brown 2019, arXiv:1909.06335, draw for each client over the classes.)
    """
    check_kind("partition", Tensor, y=y)
    check_kind("partition", Generator, generator=generator)
    check_number("partition", whole=True, clients=clients)
    if y.ndim != 1 or y.dtype != torch.int64:
        raise ValueError(f"partition needs int64 labels y [n]; got {kind(y)}")
    if not 1 <= clients <= len(y):
        raise ValueError(f"partition needs 1 <= clients <= samples; got clients={clients}, samples={len(y)}")
    if alpha is None:
        order = torch.randperm(len(y), generator=generator).to(y.device)
        return list(order.tensor_split(clients))
    check_number("partition", above=0, alpha=alpha)

    # A small alpha may leave a client without samples: draw again, and say so if it is hopeless.
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    for _ in range(100):
        shards = _dirichlet_split(y.cpu().numpy(), clients, alpha, draws)
        sizes = [len(shard) for shard in shards]
        if min(sizes):
            return [torch.from_numpy(shard).to(y.device) for shard in shards]
    raise ValueError(
        f"100 draws of Dirichlet({alpha}) over {len(y)} samples and {clients} clients each left a client empty; "
        f"the last gave {sorted(sizes)}: raise alpha or take fewer clients"
    )


def _dirichlet_split(y: np.ndarray, clients: int, alpha: float, draws: np.random.Generator) -> list[np.ndarray]:
    """Indices into `y` for each client, some perhaps empty."""
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(y):
        members = draws.permutation(np.flatnonzero(y == label))

        # The shares of the class add to one; where their running sum lies, its list of members is cut.
        shares = draws.dirichlet(np.full(clients, alpha))  # [clients]
        cuts = (np.cumsum(shares)[:-1] * len(members)).round().astype(int)
        for own, piece in zip(parts, np.split(members, cuts), strict=True):
            own.append(piece)
    return [np.concatenate(own) for own in parts]
