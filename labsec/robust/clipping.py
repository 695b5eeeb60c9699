"""Rules that limit one client's influence by limiting the length of its update."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from labsec.geometry import clip_rows, distances_from, finite_rows, row_norms_in_float64
from labsec.guards import check_number
from labsec.types import Update, Updates


def norm_clip(updates: Updates, *, bound: float) -> Updates:
    """Stage: shorten every update that is longer than a fixed bound to it.

    updates    [clients, dim]
    bound      on each row's L2 norm, in parameter units; the neutral setting is infinity
    returns    [clients, dim]

    >>> norm_clip(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), bound=1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Raises ValueError unless bound > 0, or if no row is finite.
    Source: Sun et al. 2019, Can You Really Backdoor Federated Learning?
    """
    check_number("norm_clip", above=0, most=torch.inf, bound=bound)
    return clip_rows(finite_rows(updates), bound)


class MedianNormClip:
    """Stage: shorten every update to `factor` times the median norm of the last `window` rounds, this one included.

    factor     multiple of the median norm; the neutral setting is infinity
    window     rounds that are remembered

    While fewer than half of the clients are bad, the bound stays within the range of the honest norms (times
    `factor`), and nobody has to know it beforehand.

    >>> stage = MedianNormClip()
    >>> stage(torch.tensor([[1.0], [2.0], [900.0]]))
    tensor([[1.],
            [2.],
            [2.]])

    Raises ValueError unless factor > 0 and window >= 1; when called, if no row is finite.
    """

    def __init__(self, *, factor: float = 1.0, window: int = 5) -> None:
        check_number("MedianNormClip", above=0, most=torch.inf, factor=factor)
        check_number("MedianNormClip", whole=True, above=0, window=window)
        self.factor = factor
        self._norms: deque[Tensor] = deque(maxlen=window)

    def __call__(self, updates: Updates) -> Updates:
        rows = finite_rows(updates)
        self._norms.append(row_norms_in_float64(rows))
        typical = torch.cat(list(self._norms)).quantile(0.5)

        # An infinite factor clips nobody, also where half of the rows are zero: infinity times zero is no number.
        bound = typical * self.factor if self.factor < torch.inf else torch.full_like(typical, torch.inf)
        return clip_rows(rows, bound)


class CenteredClip:
    """Rule: move from the last round's result by the mean of the differences to it, each clipped to `radius`.

    radius        bound on the L2 norm of each difference, in parameter units; the neutral setting is infinity
    iterations    how often a call repeats the step

    With one iteration a bad client moves the result by radius / clients at most, whatever it sends; each further one
    starts from where the last has ended, so that the bound holds for it alone. The first round starts from zero.

    >>> rule = CenteredClip(radius=1.0)
    >>> rule(torch.tensor([[0.2], [0.4], [900.0]]))
    tensor([0.5333])
    >>> rule(torch.tensor([[0.2], [0.4], [0.6]]))
    tensor([0.4000])

    Raises ValueError unless radius > 0 and iterations >= 1; when called, if no row is finite or the width changes.
    Source: Karimireddy et al. 2021, arXiv:2012.10333, Algorithm 2, there on worker momenta.
    """

    def __init__(self, *, radius: float, iterations: int = 1) -> None:
        check_number("CenteredClip", above=0, most=torch.inf, radius=radius)
        check_number("CenteredClip", whole=True, above=0, iterations=iterations)
        self.radius = radius
        self.iterations = iterations
        self._centre: Tensor | None = None

    def __call__(self, updates: Updates) -> Update:
        rows = finite_rows(updates)
        centre = torch.zeros_like(rows[0]) if self._centre is None else self._centre
        if centre.shape != rows.shape[1:]:
            raise ValueError(f"CenteredClip remembers {len(centre)} parameters; got updates of {rows.shape[1]}")
        for _ in range(self.iterations):
            centre = centre + self._step(rows, centre)
        self._centre = centre.detach()
        return centre.clone()

    def _step(self, rows: Updates, centre: Update) -> Update:
        """The mean of the clipped differences, [dim], without making them: it is a weighted sum of rows and centre."""
        distances = distances_from(rows, centre)  # [n]
        share = (self.radius / distances).clamp_max(1.0) / len(rows)  # [n], none for a distance that overflows
        step = share.to(rows.dtype) @ rows - share.sum().to(rows.dtype) * centre
        far = distances.isinf()
        if far.any():
            step += clip_rows(rows[far] - centre, self.radius).sum(dim=0) / len(rows)
        return step
