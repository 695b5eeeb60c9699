"""Which of many known samples is behind a message, however noisy it is."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number, kind
from labsec.types import Updates


def gallery(messages: Updates, expected: Updates, *, samples: int, groups: Tensor | None = None) -> Tensor:
    """Find out which known samples are behind each message, however noisy it is: a matched filter.

    Noise spoils a picture that is read out of a message long before it spoils a comparison: all numbers of the message
    together are held against what each candidate would have sent. It is the attack of somebody who has a list of
    suspects and asks who was there.

    messages    [k, dim] what was received
    expected    [candidates, dim] what a client with this one sample would send: its update in one step
    samples     how many samples are behind a message: steps * batch size
    groups      [candidates] int64 in 0 … candidates - 1; of candidates with one number at most one is taken, such as
                of those that are one sample under several labels. None for no such bond
    returns     [k, samples] numbers of candidates, the first one found first

    The candidate that explains most of a message is taken, then the one that explains most of what is left, and so on;
    all that were taken share the explanation anew each time (least squares).

    >>> expected = torch.eye(3)
    >>> gallery(torch.tensor([[0.1, 0.5, 0.6], [0.9, 0.0, 0.2]]), expected, samples=2)
    tensor([[2, 1],
            [0, 2]])

    Raises ValueError unless messages and expected are finite rows of one width and type and 1 <= samples <= candidates,
    and unless groups are a number for each candidate, of as many groups as samples at least.
    Source: orthogonal matching pursuit, Pati, Rezaiifar and Krishnaprasad 1993; for one sample the matched filter.
    """
    check_updates(messages, name="messages")
    check_updates(expected, name="expected")
    check_number("gallery", whole=True, samples=samples)
    if messages.shape[1] != expected.shape[1] or messages.dtype != expected.dtype:
        found = f"messages {kind(messages)}, expected {kind(expected)}"
        raise ValueError(f"gallery needs rows of one width and type; got {found}")
    if not 1 <= samples <= len(expected):
        raise ValueError(f"gallery needs 1 <= samples <= candidates; got samples={samples}, candidates={len(expected)}")
    for name, rows in (("messages", messages), ("expected", expected)):
        spoiled = int((~is_finite_row(rows)).sum())
        if spoiled:
            raise ValueError(f"gallery needs finite {name}; {spoiled} of {len(rows)} rows hold a NaN or an infinity")

    if groups is not None:
        check_kind("gallery", Tensor, groups=groups)
        if groups.shape != (len(expected),) or groups.dtype != torch.int64 or len(groups.unique()) < samples:
            raise ValueError(
                f"gallery needs int64 groups [{len(expected)}], {samples} different ones at least; got {kind(groups)}"
            )
        least, most = (int(end) for end in groups.aminmax())
        if least < 0 or most >= len(expected):
            raise ValueError(f"gallery needs groups in 0 … {len(expected) - 1}; got {least} … {most}")

    # Only the candidates' directions count. One that would send nothing explains nothing: zero by any length is zero.
    lengths = expected.norm(dim=1).clamp_min(torch.finfo(expected.dtype).tiny)  # [candidates]
    left = messages
    taken = torch.empty(len(messages), 0, dtype=torch.int64, device=messages.device)
    for _ in range(samples):
        explained = left @ expected.T / lengths  # [k, candidates]
        is_out = torch.zeros_like(explained, dtype=torch.bool).scatter(1, taken, True)
        if groups is not None:
            is_out |= (groups[taken][:, :, None] == groups).any(dim=1)
        best = explained.masked_fill(is_out, -torch.inf).argmax(dim=1, keepdim=True)  # [k, 1]
        taken = torch.cat([taken, best], dim=1)
        parts = (expected[taken] / lengths[taken][:, :, None]).transpose(1, 2)  # [k, dim, taken]
        shares = torch.linalg.lstsq(parts, messages[:, :, None]).solution  # [k, taken, 1]
        left = messages - (parts @ shares)[:, :, 0]
    return taken
