"""The attack with a memory: against the way that the honest clients have come so far."""

from __future__ import annotations

import torch

from labsec.geometry import row_norms
from labsec.guards import check_number
from labsec.poison.shared import all_send, honest_rows
from labsec.types import AttackerView, Update, Updates


class Drift:
    """Send the usual length, straight back along the sum of all honest means so far.

    norm    length of the message, in multiples of the honest rows' median norm

    One round's honest mean is noisy, and what is sent against it points somewhere else in the next round. The sum over
    the rounds keeps what the rounds have in common, so that the harm adds up. Nothing in the message looks odd: its
    length is usual, and the attackers send equal rows.

    >>> from types import SimpleNamespace
    >>> attack = Drift(norm=1.0)
    >>> for honest in ([[3.0, 4.0]], [[5.0, -12.0]]):
    ...     view = SimpleNamespace(own=torch.zeros(1, 2), others=torch.tensor(honest))
    ...     print(attack(view))
    tensor([[-3., -4.]])
    tensor([[-9.1924,  9.1924]])

    Raises ValueError unless norm > 0; when called, if there is no honest row.
    Source: our own; the goal is the directed deviation of Fang et al. 2020, arXiv:1911.11815, over a whole run.
    """

    def __init__(self, *, norm: float) -> None:
        check_number("Drift", above=0, norm=norm)
        self.norm = norm
        self._way: Update | None = None

    def __call__(self, view: AttackerView) -> Updates:
        rows = honest_rows(view, "Drift")  # [k, dim]
        mean = rows.mean(dim=0)  # [dim]
        self._way = mean if self._way is None else self._way + mean

        # A way of length zero has no opposite: then nothing but zeros is sent.
        back = -torch.nn.functional.normalize(self._way, dim=0)  # [dim]
        length = self.norm * row_norms(rows).quantile(0.5)
        return all_send(view, length * back)
