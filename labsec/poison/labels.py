"""Attacks on the data: the malicious clients train honestly, on wrong labels."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.guards import check_number
from labsec.poison.shared import check_samples, chosen_samples


def label_flip(
    x: Tensor, y: Tensor, classes: int, *, generator: Generator, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Turn label c into classes - 1 - c.

    x, y         [n, *shape], [n] a malicious client's samples
    classes      number of classes of the data set
    generator    of the choice of samples
    share        chance of each sample to be flipped, in [0, 1]; the neutral setting is 0
    returns      the same x, the new y

    With an odd number of classes the middle one stays what it is.

    >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 2, 9])
    >>> label_flip(x, y, 10, generator=Generator())[1]
    tensor([9, 8, 7, 0])

    Raises ValueError unless classes >= 1, every label is below it, and share is in [0, 1].
    Source: Fang et al. 2020, arXiv:1911.11815, section 4.
    """
    check_samples("label_flip", x, y, classes)
    chosen = chosen_samples("label_flip", y, share, generator)  # [n]
    return x, torch.where(chosen, classes - 1 - y, y)


def targeted_flip(
    x: Tensor, y: Tensor, classes: int, *, generator: Generator, source: int, target: int, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Turn label `source` into `target` and leave the others: the model learns to take one class for another.

    x, y              [n, *shape], [n] a malicious client's samples
    classes           number of classes of the data set
    generator         of the choice of samples
    source, target    classes, in [0, classes)
    share             chance of each sample of the source class to be flipped, in [0, 1]; the neutral setting is 0
    returns           the same x, the new y

    >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 2, 1])
    >>> targeted_flip(x, y, 3, generator=Generator(), source=1, target=2)[1]
    tensor([0, 2, 2, 2])

    Raises ValueError unless source and target are two different classes and share is in [0, 1].
    Source: Tolpegin et al., ESORICS 2020.
    """
    check_samples("targeted_flip", x, y, classes)
    check_number("targeted_flip", whole=True, source=source, target=target)
    if source == target or not (0 <= source < classes and 0 <= target < classes):
        raise ValueError(
            "targeted_flip needs two different classes, 0 <= source, target < classes; "
            f"got source={source}, target={target}, classes={classes}"
        )
    chosen = chosen_samples("targeted_flip", y, share, generator) & (y == source)  # [n]
    return x, torch.where(chosen, target, y)
