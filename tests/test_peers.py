"""labsec's rules against ByzFL's and Flower's, where these can be imported; the benchmark times the same pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.robust_peers import MODULES, Pair, missing, pairs

CLIENTS, F, DIM = 31, 6, 500  # above 25 rows torch.cdist goes by way of a matrix product
PAIRS = pairs(F, CLIENTS, converged=True)


def draw(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))


HARD = {
    "random": draw(CLIENTS),
    "another random": draw(CLIENTS, seed=1) + 0.3,
    "large common offset": 0.1 * draw(CLIENTS) + 1000,
    "ties": (2 * draw(CLIENTS)).round(),
    "duplicates": torch.cat([draw(1).expand(3, DIM), draw(CLIENTS - 3, seed=1)]),
    "one far outlier": torch.cat([torch.full((1, DIM), 1e6), draw(CLIENTS - 1)]),
}
CDIST = "torch.cdist goes by way of squares as large as the offset's, in which small distances drown"
EITHER = "of two values that are equally far from the median labsec takes the smaller one, the peer either"
KNOWN = {
    **{("ByzFL", rule, "large common offset"): CDIST for rule in ("krum", "multi_krum", "nnm", "monna")},
    ("ByzFL", "meamed", "ties"): EITHER,
    ("Flower", "bulyan", "ties"): EITHER,
}


@pytest.mark.parametrize("peer", MODULES)
def test_the_peer_is_here(peer: str) -> None:
    if peer in missing():
        pytest.skip(f"{missing()[peer]}; the comparison needs it on PYTHONPATH")
    assert [pair for pair in PAIRS if pair.peer == peer]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.peer}-{pair.rule}")
@pytest.mark.parametrize("name", HARD)
def test_same_result_or_a_known_difference(pair: Pair, name: str) -> None:
    updates = HARD[name]
    ours, theirs, exact = pair.ours(updates), pair.theirs(updates), pair.ours(updates.double())
    assert is_same(ours, exact, updates), "float32 is not good enough for labsec here"
    known = KNOWN.get((pair.peer, pair.rule, name))
    if known is None:
        assert is_same(ours, theirs, updates)
    else:
        assert not is_same(theirs, exact, updates), f"a difference is gone, take it off the list: {known}"


@pytest.mark.parametrize("name", HARD)
def test_mda_is_byzfls_where_one_subset_is_the_narrowest(name: str) -> None:
    found = [pair for pair in pairs(3, 12) if pair.rule == "mda"]
    if not found:
        pytest.skip("ByzFL cannot be imported here")
    updates = HARD[name][-12:].clone()
    updates[:3] += torch.tensor([[100.0], [300.0], [-200.0]])  # whatever is kept, it is none of these
    ours, theirs = found[0].ours(updates), found[0].theirs(updates)
    torch.testing.assert_close(ours, updates[3:].mean(dim=0))
    assert is_same(ours, theirs, updates)


def is_same(a: Tensor, b: Tensor, updates: Tensor) -> bool:
    """Equal up to float32 rounding of numbers of the inputs' size, row by row where there are rows."""
    a, b = a.double().reshape(-1, DIM), b.double().reshape(-1, DIM)
    size = b.norm(dim=1).clamp_min(updates.abs().median() * DIM**0.5)
    return bool(((a - b).norm(dim=1) <= 5e-6 * size).all())
