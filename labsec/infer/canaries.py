"""What an auditor plants to see whether it can be found again: a canary, in a client's data or in its update."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number, kind


def mislabelled(x: Tensor, y: Tensor, *, classes: int, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Samples under wrong labels: nothing but having seen one makes a model give it this label.

    x, y         [n, *shape], [n] samples to choose from
    classes      number of classes; a wrong label is any but its own
    count        number of canaries; no sample is taken twice
    generator    draws samples and labels
    returns      x [count, *shape], y [count]

    >>> x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])
    >>> canary_x, canary_y = mislabelled(x, y, classes=2, count=1, generator=torch.Generator().manual_seed(0))
    >>> own = y[(x == canary_x).all(dim=1)]
    >>> bool(own != canary_y)
    True

    Raises ValueError unless x and y fit, labels lie in 0 … classes - 1, classes >= 2 and 1 <= count <= n.
    Source: Carlini et al. 2019, The Secret Sharer, arXiv:1802.08232, for the idea of a canary; wrong labels as in
    Nasr et al. 2021, arXiv:2101.04535.
    """
    check_kind("mislabelled", Tensor, x=x, y=y)
    check_number("mislabelled", whole=True, least=2, classes=classes)
    check_number("mislabelled", whole=True, above=0, count=count)
    check_kind("mislabelled", Generator, generator=generator)
    if x.ndim < 2 or y.shape != x.shape[:1] or y.dtype != torch.int64:
        raise ValueError(f"mislabelled needs x [n, …] and int64 labels y [n]; got {kind(x)} and {kind(y)}")
    if count > len(y):
        raise ValueError(f"mislabelled needs count <= samples; got count={count}, samples={len(y)}")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"mislabelled needs labels in 0 … {classes - 1}; got {int(y.min())} … {int(y.max())}")
    chosen = torch.randperm(len(y), generator=generator)[:count].to(y.device)
    shift = torch.randint(1, classes, (count,), generator=generator).to(y.device)
    return x[chosen], (y[chosen] + shift) % classes


def direction(dim: int, *, length: float, generator: Generator) -> Tensor:
    """An update in a direction of its own, drawn at random: [dim], of this length.

    In many dimensions no honest update points there, so that whatever a sum shows of the direction came from here.

    dim       numbers of an update
    length    L2 norm, in parameter units. A canary should be longer than a clip allows: whoever forgets to clip is
              found out

    >>> direction(100, length=5.0, generator=torch.Generator().manual_seed(0)).norm()
    tensor(5.0000)

    Raises ValueError unless dim >= 1 and length > 0.
    Source: Andrew et al. 2023, arXiv:2302.03098, for random directions as canaries of clients.
    """
    check_number("direction", whole=True, above=0, dim=dim)
    check_number("direction", above=0, length=length)
    check_kind("direction", Generator, generator=generator)
    row = torch.randn(dim, generator=generator)
    return row * (length / row.norm())
