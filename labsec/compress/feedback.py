"""Error feedback: what a compression left out is sent later."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labsec.geometry import check_clients, check_updates, is_finite_row
from labsec.guards import check_kind, kind
from labsec.parts import check_inner, keywords_asked, part_name
from labsec.types import Updates

OFFERED = ("clients", "generator")


class ErrorFeedback:
    """Client stage with a memory: every client adds what its last messages left out to its update, and compresses that.

    compress    (updates [k, dim], *, …) -> [k, dim], such as a bound `top_k`, or `sign`; it may ask for a generator

    What is not sent now is kept for the next round, in a memory for each client. So nothing is lost for ever, and a
    biased compression comes right in the long run. An unbiased one that multiplies what it keeps, as `random_k` does by
    default, makes its own errors grow under feedback: bind it with unbiased=False.

    >>> import functools
    >>> from labsec.compress import top_k
    >>> stage = ErrorFeedback(functools.partial(top_k, keep=0.5))
    >>> for _ in range(3):
    ...     print(stage(torch.tensor([[1.0, 0.4]]), clients=torch.tensor([7]), generator=Generator()))
    tensor([[1., 0.]])
    tensor([[1., 0.]])
    tensor([[0.0000, 1.2000]])

    A client that does not take part in a round keeps its memory as it is. A row that holds a NaN or an infinity goes on
    as it is, and leaves no trace.

    Raises TypeError for a compression that lacks an argument; when called, ImpossibleRule for rows that stand for
    several clients, as a secure sum does, and ValueError if the compression changes the shape of the rows.
    Sources: Seide et al. 2014, "1-bit stochastic gradient descent", Interspeech; Karimireddy et al. 2019,
    arXiv:1901.09847, Algorithm 1. An update here is already multiplied by the learning rate.
    """

    def __init__(self, compress: Callable[..., Tensor]) -> None:
        check_inner("ErrorFeedback", compress, OFFERED)
        self.compress = compress
        self._asked = keywords_asked(compress, OFFERED)
        self._left: dict[int, Tensor] = {}  # client -> [dim], what its messages have left out so far

    def __call__(
        self, updates: Updates, *, clients: Tensor, generator: Generator, drawn: Tensor | None = None
    ) -> Updates:
        """Rows to send; `drawn` [k] tells who takes part, where the rows of others stand among them (None: all)."""
        check_updates(updates)
        check_clients("ErrorFeedback", clients, len(updates))
        check_kind("ErrorFeedback", Generator, generator=generator)
        takes_part = torch.ones_like(clients, dtype=torch.bool) if drawn is None else drawn
        check_kind("ErrorFeedback", Tensor, drawn=takes_part)
        if takes_part.shape != clients.shape or takes_part.dtype != torch.bool:
            raise ValueError(
                f"ErrorFeedback needs drawn to be bool [{len(clients)}]; "
                f"got shape {list(takes_part.shape)}: {kind(drawn)}"
            )

        nothing = updates.new_zeros(updates.shape[1])
        memory = torch.stack([self._left.get(client, nothing) for client in clients.tolist()])  # [k, dim]
        wanted = updates + memory
        offers = {"clients": clients, "generator": generator}
        sent = self.compress(wanted, **{name: offers[name] for name in self._asked})
        if sent.shape != updates.shape:
            raise ValueError(
                f"ErrorFeedback needs a compression that returns {list(updates.shape)}; "
                f"{part_name(self.compress)} returned {list(sent.shape)}"
            )

        remembers = takes_part & is_finite_row(updates)  # [k]
        for client, row in zip(clients[remembers].tolist(), (wanted - sent)[remembers], strict=True):
            self._left[client] = row
        return sent
