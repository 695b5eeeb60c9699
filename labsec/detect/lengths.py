"""A score that looks at how long an update is."""

from __future__ import annotations

from torch import Tensor

from labsec.detect.shared import for_all
from labsec.geometry import check_updates, is_finite_row, row_norms_in_float64
from labsec.types import Updates


def norm(updates: Updates) -> Tensor:
    """How long every update is, in units of the round's median length.

    updates    [clients, dim]
    returns    [clients]; 1 for the usual length. Where the median is zero, every longer row scores infinity

    The unit makes one threshold do for a whole training, in which updates become shorter and shorter.

    >>> import torch
    >>> norm(torch.tensor([[3.0, 4.0], [0.0, 10.0], [0.0, 50.0]]))
    tensor([0.5000, 1.0000, 5.0000], dtype=torch.float64)

    Raises ValueError if `updates` is no matrix.
    Source: the bound of Sun et al. 2019, Can You Really Backdoor Federated Learning?, read as a score; the unit is our
    own.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    if not finite.any():
        return for_all(finite, updates.new_zeros(0))
    lengths = row_norms_in_float64(updates[finite])  # [finite]
    typical = lengths.quantile(0.5)
    return for_all(finite, (lengths / typical).nan_to_num(nan=1.0, posinf=float("inf")))
