"""A score that looks at the one direction in which the updates differ most."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.detect.shared import for_all
from labsec.geometry import centred_gram, check_updates, is_finite_row
from labsec.types import Updates


def spectral(updates: Updates) -> Tensor:
    """How far out every update lies along the direction in which all differ most, in units of the mean square.

    updates    [clients, dim]
    returns    [clients] with mean 1 over the finite rows; 0 for all where the rows are equal

    Colluders who pull in one direction make it the first principal component, and lie at its end. If they are a share p
    and nothing else differs, they score (1 - p) / p and the others p / (1 - p).

    >>> spectral(torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 9.0]])).round(decimals=4)
    tensor([0.3333, 0.3333, 0.3333, 3.0000], dtype=torch.float64)

    Raises ValueError if `updates` is no matrix.
    Source: the outlier score of Tran et al. 2018, arXiv:1811.00636, as Shejwalkar and Houmansadr, NDSS 2021 (DnC), use
    it on updates, without their sampling of coordinates. The unit is our own: it makes one threshold do for all rounds.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    if not finite.any():
        return for_all(finite, updates.new_zeros(0))

    # Which centre `centred_gram` takes is not promised: move it to the mean.
    gram = centred_gram(updates[finite])  # [k, k]
    around_mean = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
    values, vectors = torch.linalg.eigh(around_mean)

    # The rows' parts along the first component are in proportion to the last eigenvector, whose squares add to one.
    is_nothing = values[-1] <= torch.finfo(gram.dtype).eps * gram.diagonal().max()
    squares = vectors[:, -1].square() * len(gram)  # [k]
    return for_all(finite, torch.where(is_nothing, 0, squares))
