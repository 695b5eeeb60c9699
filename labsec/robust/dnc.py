"""DnC, divide and conquer: drop the updates that reach farthest along the direction in which all differ most."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from labsec.geometry import centred_gram, finite_rows
from labsec.guards import check_kind, check_number
from labsec.types import ImpossibleRule, Update, Updates


def dnc(
    updates: Updates,
    *,
    f: int,
    generator: Generator,
    columns: int = 10_000,
    iterations: int = 1,
    drop: float = 1.0,
) -> Update:
    """The mean without those that reach farthest, from the mean, along the updates' first principal direction.

    Attackers who agree on one direction make it the first principal one, and betray themselves by it.

    updates       [clients, dim]
    f             bad clients to withstand; with f = 0 the plain mean
    generator     draws the coordinates that are looked at
    columns       how many of them; a model with fewer is looked at as a whole
    iterations    how often, on new coordinates; who is dropped once is out
    drop          how many rows an iteration drops, in multiples of f
    returns       [dim]

    >>> rows = torch.tensor([[1.0, 0.0], [1.2, 0.1], [1.1, -0.1], [9.0, 9.0]])
    >>> dnc(rows, f=1, generator=torch.Generator())
    tensor([1.1000, 0.0000])

    Raises ImpossibleRule unless 0 <= 2 f < clients, or if nobody is left; ValueError unless columns >= 1,
    iterations >= 1 and drop >= 0, or if no row is finite.
    Source: Shejwalkar & Houmansadr, NDSS 2021, Algorithm 2. Its scores are squared projections on the first singular
    vector of the centred matrix [clients, columns]; here they come from the rows' inner products [clients, clients].
    """
    rows = finite_rows(updates)
    check_number("dnc", whole=True, f=f)
    check_number("dnc", whole=True, above=0, columns=columns, iterations=iterations)
    check_number("dnc", least=0, drop=drop)
    check_kind("dnc", Generator, generator=generator)
    n, dim = rows.shape
    if not 0 <= 2 * f < n:
        raise ImpossibleRule(f"dnc needs 0 <= 2f < clients; got f={f}, clients={n}")
    stays = torch.ones(n, dtype=torch.bool, device=rows.device)
    for _ in range(iterations):
        seen = rows
        if columns < dim:
            draw = torch.randperm(dim, generator=generator, device=generator.device)[:columns]
            seen = rows[:, draw.to(rows.device)]
        nearest_first = _reach(seen).sort(stable=True).indices
        stays[nearest_first[max(0, n - int(drop * f)) :]] = False
    if not stays.any():
        raise ImpossibleRule(
            f"dnc needs a row that no iteration drops; got f={f}, clients={n}, iterations={iterations}, drop={drop}"
        )
    return stays.to(rows.dtype) / stays.sum() @ rows


def _reach(rows: Updates) -> Tensor:
    """How far every row lies from the mean, squared, along the first principal direction, up to a factor: [n]."""
    gram = centred_gram(rows)  # [n, n], around a centre that is not promised to be the mean
    around_mean = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()

    # The projections of the rows on the first right singular vector are the entries of the first left one.
    return torch.linalg.eigh(around_mean).eigenvectors[:, -1].square()
