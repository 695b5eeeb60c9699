"""Round every entry to one of a few values: QSGD, the sign, and SFSQ."""

from __future__ import annotations

import math

import torch
from torch import Generator

from labsec.geometry import check_updates, is_finite_row
from labsec.guards import check_kind, check_number
from labsec.types import Updates


def qsgd(updates: Updates, *, bits: int, order: float = math.inf, generator: Generator) -> Updates:
    """Round every entry to one of 2**bits - 1 values, up or down by chance, so that the expectation is the entry.

    updates      [clients, dim]
    bits         2 … 8 for each entry; the values are -s … s steps with s = 2**(bits - 1) - 1
    order        of the norm of the row that s steps cover: inf, its largest entry, or 2, its length
    generator    draws which way each entry is rounded
    returns      [clients, dim]

    An entry between two values goes to the upper one with the chance that makes the mean right: 0.25 of a step above
    the lower one, one time in four.

    >>> row = torch.tensor([[3.0, -1.2, 0.0, 2.0]])
    >>> qsgd(row, bits=3, generator=Generator().manual_seed(0))
    tensor([[ 3., -1.,  0.,  2.]])

    Unbiased; what it costs is variance. With `order=2` most entries of a long row are less than a step and become zero,
    which makes the message short and the variance sqrt(dim) / s times the squared length; with inf few do.
    A row that holds a NaN or an infinity goes on as it is, for the server to see.

    Raises ValueError unless bits is 2 … 8 and order 2 or inf.
    Source: Alistarh et al. 2017, arXiv:1610.02132, with all of a row in one bucket. Its theorems are about order=2.
    """
    check_updates(updates)
    check_number("qsgd", whole=True, least=2, most=8, bits=bits)
    check_number("qsgd", least=2, most=math.inf, order=order)
    if order not in (2, math.inf):
        raise ValueError(f"qsgd needs an order of 2 or inf; got order={order}")
    check_kind("qsgd", Generator, generator=generator)
    levels = 2 ** (int(bits) - 1) - 1
    step = updates.norm(p=float(order), dim=1, keepdim=True) / levels  # [clients, 1]

    # A row of zeros has no step; its entries are zero steps of any length.
    in_steps = updates / step.clamp_min(torch.finfo(updates.dtype).tiny)
    chances = torch.rand(updates.shape, generator=generator, dtype=updates.dtype, device=updates.device)
    codes = (in_steps + chances).floor()  # the upper value if the chance reaches up to it
    return _where_finite(codes.clamp(-levels, levels) * step, updates)


def sign(updates: Updates) -> Updates:
    """Keep the sign of every entry, times the mean size of the row's entries.

    >>> sign(torch.tensor([[3.0, -1.0, 2.0], [0.5, 0.0, -1.0]]))
    tensor([[ 2.0000, -2.0000,  2.0000],
            [ 0.5000,  0.0000, -0.5000]])

    A zero stays a zero. Biased: small entries are blown up and large ones cut, always in the same way, so that a mean
    over rounds does not come right; `ErrorFeedback` mends that. The mean size is that of the closest such row.
    A row that holds a NaN or an infinity goes on as it is, for the server to see.

    Sources: Bernstein et al. 2018, arXiv:1802.04434, who send no size; with it in Karimireddy et al. 2019,
    arXiv:1901.09847.
    """
    check_updates(updates)
    size = updates.abs().mean(dim=1, keepdim=True)  # [clients, 1]
    return _where_finite(updates.sign() * size, updates)


def sfsq(updates: Updates, *, bound: float, flip: float, generator: Generator) -> Updates:
    """SFSQ (our reading; not the named product): the sign of every entry, drawn by its size and then flipped by chance.

    updates      [clients, dim]
    bound        entries are clipped to -bound … bound, in parameter units
    flip         chance in [0, 0.5) that a sign is turned into the other one
    generator    draws signs and flips
    returns      [clients, dim] of -v and v with v = bound / (1 - 2 flip)

    An entry g becomes +1 with chance (1 + g / bound) / 2 and -1 otherwise; flips shrink the expectation by 1 - 2 flip,
    and v undoes that: unbiased for entries within the bound.

    >>> sfsq(torch.tensor([[0.1, -0.1, 0.1]]), bound=0.1, flip=0.0, generator=Generator().manual_seed(0))
    tensor([[ 0.1000, -0.1000,  0.1000]])

    The bound is fixed beforehand: it says nothing about the row. `sfsq_epsilon` is the privacy of one message.
    A row that holds a NaN or an infinity goes on as it is, for the server to see.

    Raises ValueError unless bound > 0 and 0 <= flip < 0.5.
    Sources: no public description of SFSQ is known. This is put together from randomised response (Warner 1965, Journal
    of the American Statistical Association 60(309)) and stochastic rounding to two values (QSGD, arXiv:1610.02132;
    signSGD, arXiv:1802.04434).
    """
    check_updates(updates)
    check_number("sfsq", above=0, bound=bound)
    check_number("sfsq", least=0, below=0.5, flip=flip)
    check_kind("sfsq", Generator, generator=generator)
    value = float(bound) / (1 - 2 * float(flip))

    # Draw and flip in one: a sign drawn with the mean m is flipped into one with the mean (1 - 2 flip) m.
    means = updates.clamp(-bound, bound) / value  # [clients, dim], in -(1 - 2 flip) … 1 - 2 flip
    chances = torch.rand(updates.shape, generator=generator, dtype=updates.dtype, device=updates.device)
    signs = torch.where(2 * chances < 1 + means, value, -value).to(updates.dtype)
    return _where_finite(signs, updates)


def sfsq_epsilon(*, flip: float, coordinates: int) -> float:
    """The pure epsilon of one SFSQ message (our reading) about whether a client sent one row or any other.

    flip           chance of each sign to be flipped, in (0, 0.5]
    coordinates    entries of the row

    Each coordinate is ln((1 - flip) / flip) private by randomised response, and those of a row add up.

    >>> round(sfsq_epsilon(flip=0.25, coordinates=2410))
    2648

    Raises ValueError unless 0 < flip <= 0.5 and coordinates >= 1. Source: Warner 1965, by Dwork and Roth 2014,
    section 3.2; basic composition.
    """
    check_number("sfsq_epsilon", above=0, most=0.5, flip=flip)
    check_number("sfsq_epsilon", whole=True, above=0, coordinates=coordinates)
    return int(coordinates) * math.log((1 - float(flip)) / float(flip))


def _where_finite(rounded: Updates, updates: Updates) -> Updates:
    """The rounded rows, but rows that are not finite as they came."""
    return torch.where(is_finite_row(updates)[:, None], rounded, updates)
