"""How much of a table was found: the cells that are categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labsec.guards import check_sizes, kind
from labsec.metrics.shared import check_samples


def category_accuracy(found: Tensor, truth: Tensor, *, widths: Sequence[int]) -> float:
    """Share of a batch's category cells that are right, records paired with candidates to the attacker's advantage.

    found     [k, places], the first n count
    truth     [n, places], categories one-hot
    widths    places of each column; those of width 1 are numbers and left out

    >>> table = torch.tensor([[0.3, 1.0, 0.0], [0.9, 0.0, 1.0]])
    >>> category_accuracy(table.flip(0), table, widths=[1, 2])
    1.0

    A record without a candidate counts as wrong. Raises ValueError if the widths do not add up to the places, and if no
    column is a category.
    """
    from scipy.optimize import linear_sum_assignment  # 0.2 seconds, and few scores need it

    check_samples("category_accuracy", found, truth, least=2)
    check_sizes("category_accuracy", widths=widths)
    if found.shape[1:] != truth.shape[1:] or truth.shape[1:] != (sum(widths),) or max(widths, default=1) == 1:
        raise ValueError(
            f"category_accuracy needs found and truth [n, {sum(widths)}] with a category in widths={[*widths]}; "
            f"got {kind(found)} and {kind(truth)}"
        )
    said, meant = (
        torch.stack([group.argmax(dim=1) for group in part.split(list(widths), dim=1) if group.shape[1] > 1], dim=1)
        for part in (found[: len(truth)], truth)
    )  # [k, categories], [n, categories]
    right = (meant[:, None] == said[None]).double().mean(dim=2)  # [n, k]
    right[:, ~found[: len(truth)].isfinite().all(dim=1)] = 0
    pairs = linear_sum_assignment(right.numpy(), maximize=True)
    return float(right[pairs].sum()) / max(1, len(truth))
