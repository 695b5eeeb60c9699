"""A score that looks at the one direction in which the updates differ most."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.detect.shared import for_all
from labsec.geometry import centred_gram, check_updates, is_finite_row
from labsec.types import Updates


def spectral(updates: Updates) -> Tensor:
    """How far out every update lies along the direction in which all differ most, against how far they lie at all.

    updates    [clients, dim]
    returns    [clients] the square of its part along that direction, in units of the median squared distance from the
               mean; 0 for all where the rows are equal. Where the median is zero, every row farther out scores infinity

    The parts are measured from the mean. Honest updates that differ in all directions have a small part in any one.
    Colluders who pull in one direction make it the first principal component, and lie at its end: if they are a share p
    of less than one half and nothing else differs, they score ((1 - p) / p)² and the others 1.

    >>> spectral(torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 9.0]])).round(decimals=4)
    tensor([1., 1., 1., 9.], dtype=torch.float64)

    Raises ValueError if `updates` is no matrix.
    Source: the outlier score of Tran et al. 2018, arXiv:1811.00636, as Shejwalkar and Houmansadr, NDSS 2021 (DnC), use
    it on updates, without their sampling of coordinates. The unit is our own: one threshold does for all rounds.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    if not finite.any():
        return for_all(finite, updates.new_zeros(0))

    # Which centre `centred_gram` takes is not promised: move it to the mean.
    gram = centred_gram(updates[finite])  # [k, k]
    around_mean = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
    values, vectors = torch.linalg.eigh(around_mean)

    # A row's part along the first component is its entry in the last eigenvector times the root of the eigenvalue.
    squares = values[-1].clamp_min(0) * vectors[:, -1].square()  # [k]
    typical = around_mean.diagonal().quantile(0.5).clamp_min(0)

    # What is left of equal rows is rounding.
    if values[-1] <= torch.finfo(gram.dtype).eps * gram.diagonal().max():
        return for_all(finite, torch.zeros_like(squares))
    return for_all(finite, (squares / typical).nan_to_num(nan=0.0, posinf=torch.inf))
