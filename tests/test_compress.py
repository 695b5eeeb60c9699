"""Compression keeps what it says, and no more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labsec.compress import top_k
from labsec.types import generator


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 6), dim=st.integers(1, 60), keep=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_the_largest_are_kept_and_counted(rows, dim, keep, seed):
    updates = torch.randn(rows, dim, generator=generator(seed))
    kept = top_k(updates, keep=keep)
    count = max(1, round(keep * dim))
    expected = torch.zeros_like(updates)
    order = updates.abs().topk(count, dim=1).indices
    expected.scatter_(1, order, updates.gather(1, order))
    assert torch.equal(kept, expected)


def test_ties_are_counted_exactly():
    updates = torch.tensor([[2.0, -2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 5.0, 1.0, 1.0]])
    kept = top_k(updates, keep=0.5)
    assert kept.count_nonzero(dim=1).tolist() == [2, 0, 2]
    assert kept.abs().sum(dim=1).tolist() == [4.0, 0.0, 6.0]


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_for_the_server_to_see(worst):
    updates = torch.tensor([[5.0, 5.0, worst, 5.0, worst], [5.0, 4.0, 3.0, 2.0, 1.0]])
    kept = top_k(updates, keep=0.4)
    torch.testing.assert_close(kept, torch.tensor([[0.0, 0, worst, 0, worst], [5.0, 4, 0, 0, 0]]), equal_nan=True)
    assert not top_k(updates, keep=0.2)[0].isfinite().all()


def test_neutral_and_untouched():
    updates = torch.randn(4, 10, generator=generator(0))
    before = updates.clone()
    assert torch.equal(top_k(updates, keep=1.0), updates)
    top_k(updates, keep=0.3)
    assert torch.equal(updates, before)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
def test_bad_shares_are_named(keep):
    with pytest.raises(ValueError, match="top_k needs 0 < keep <= 1; got keep="):
        top_k(torch.ones(2, 3), keep=keep)
