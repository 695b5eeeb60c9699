"""Every rule against a slow, obvious twin, and against inputs that break careless ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from labsec import geometry, robust
from labsec.geometry import clip_rows, row_norms, squared_distances
from labsec.types import ImpossibleRule


def draw(clients: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(clients, dim, generator=torch.Generator().manual_seed(seed))


def slow_distances(updates: Tensor) -> Tensor:
    rows = updates.double()
    return torch.stack([(rows - row).square().sum(dim=1) for row in rows])


def slow_krum_order(updates: Tensor, f: int) -> list[int]:
    n = len(updates)
    scores = [float(sum(sorted(row.tolist())[1 : n - f - 1])) for row in slow_distances(updates)]
    return sorted(range(n), key=lambda i: scores[i])


def slow_geometric_median(updates: Tensor) -> Tensor:
    rows, point = updates.double(), updates.double().median(dim=0).values
    for _ in range(300):
        inverse = 1 / (rows - point).norm(dim=1).clamp_min(1e-12)
        point = inverse @ rows / inverse.sum()
    return point


HARD = {
    "plain": lambda: draw(21, 300),
    "large common offset": lambda: draw(21, 300) * 0.1 + 1000,
    "one far outlier": lambda: torch.cat([torch.full((1, 300), 1e6), draw(20, 300)]),
    "a square that overflows": lambda: torch.cat([torch.full((1, 300), 1e25), draw(20, 300)]),
    "the largest numbers there are": lambda: torch.cat([torch.full((4, 300), 3e38), draw(17, 300)]),
    "colluding duplicates": lambda: torch.cat([draw(1, 300).expand(6, 300), draw(15, 300, seed=1)]),
    "two camps": lambda: torch.cat([draw(8, 300) + 50, draw(13, 300)]),
    "the largest numbers beside an offset": lambda: torch.cat([3e38 * draw(4, 300).sign(), draw(17, 300) * 0.1 + 1000]),
    "two far groups beside an offset": lambda: torch.cat([draw(9, 300) * 0.01 - 300, draw(12, 300) * 0.01 + 300]),
    "wide": lambda: draw(9, 9000),
}
hard = pytest.mark.parametrize("updates", [pytest.param(make(), id=name) for name, make in HARD.items()])


@hard
def test_distances_between_ordinary_rows_survive(updates: Tensor) -> None:
    ordinary = updates[:, 0].abs() < 1e5
    found, wanted = squared_distances(updates), slow_distances(updates)
    torch.testing.assert_close(found[ordinary][:, ordinary], wanted[ordinary][:, ordinary], rtol=1e-3, atol=1e-6)
    assert (found[ordinary][:, ~ordinary] > 1e9).all()
    assert torch.equal(found, found.T)


@hard
@pytest.mark.parametrize("f", [1, 3])
def test_krum_is_the_papers(updates: Tensor, f: int) -> None:
    order = slow_krum_order(updates, f)
    assert torch.equal(robust.krum(updates, f=f), updates[order[0]])


@hard
def test_multi_krum_averages_the_best(updates: Tensor) -> None:
    chosen = slow_krum_order(updates, 3)[:5]
    torch.testing.assert_close(robust.multi_krum(updates, f=3, keep=5), updates[chosen].mean(dim=0))


def test_krum_sums_the_papers_number_of_neighbours() -> None:
    updates = torch.tensor([[0.0], [1.0], [2.5], [7.0], [7.1]])  # with one neighbour 7 would win, with three 2.5
    assert robust.krum(updates, f=1).item() == 1.0


def test_krum_of_two_mutual_neighbours_does_not_look_at_the_order() -> None:
    updates = torch.tensor([[0.0], [1.0], [3.0]])  # 0 and 1 have the same score
    picks = {robust.krum(updates[list(order)], f=0).item() for order in [(0, 1, 2), (1, 0, 2), (2, 1, 0)]}
    assert picks == {1.0}


def test_multi_krum_keeps_all_but_f() -> None:
    updates = draw(10, 5)
    kept = robust.multi_krum(updates, f=2, keep=8)
    assert torch.equal(robust.multi_krum(updates, f=2), kept)


@pytest.mark.parametrize("keep", [0, 11])
def test_multi_krum_cannot_keep_none_or_more_than_there_are(keep: int) -> None:
    with pytest.raises(ImpossibleRule, match=f"1 <= keep <= clients; got keep={keep}, clients=10"):
        robust.multi_krum(draw(10, 3), f=1, keep=keep)


@hard
def test_nnm_mixes_the_nearest(updates: Tensor) -> None:
    n, f = len(updates), 3
    nearest = [sorted(range(n), key=lambda j: float(row[j]))[: n - f] for row in slow_distances(updates)]
    wanted = torch.stack([updates[rows].mean(dim=0) for rows in nearest])
    ordinary = updates[:, 0].abs() < 1e5
    torch.testing.assert_close(robust.nnm(updates, f=f)[ordinary], wanted[ordinary], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("clients", [1, 2, 9, 50])
def test_median_is_numpys(clients: int) -> None:
    updates = draw(clients, 5000)  # more columns than are sorted at once
    np.testing.assert_array_equal(robust.median(updates), np.median(updates.numpy(), axis=0))


@pytest.mark.parametrize(("clients", "f"), [(3, 1), (9, 2), (50, 12)])
def test_trimmed_mean_is_the_mean_of_the_middle(clients: int, f: int) -> None:
    updates = draw(clients, 5000)
    wanted = updates.sort(dim=0).values[f : clients - f].mean(dim=0)
    torch.testing.assert_close(robust.trimmed_mean(updates, f=f), wanted)


def test_trimming_all_but_one_is_the_median() -> None:
    updates = draw(9, 40)
    assert torch.equal(robust.trimmed_mean(updates, f=4), robust.median(updates))


@hard
def test_geometric_median_has_converged(updates: Tensor) -> None:
    found = robust.geometric_median(updates)
    torch.testing.assert_close(found.double(), slow_geometric_median(updates), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("outliers", [0, 4, 8, 9])
@pytest.mark.parametrize("distance", [3.0, 1e3, 1e12, 1e30])
def test_pulls_on_the_geometric_median_cancel(outliers: int, distance: float) -> None:
    updates = draw(20, 30)
    updates[:outliers] = distance * (updates[:outliers] + 1)
    point = robust.geometric_median(updates).double()
    pulls = torch.nn.functional.normalize(updates.double() - point, dim=1)  # [20, 30] of length one
    assert pulls.sum(dim=0).norm() < 2e-3


def test_geometric_median_is_a_row_where_a_row_is_best() -> None:
    star = torch.tensor([[0.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -900.0]])
    assert torch.equal(robust.geometric_median(star), star[0])


def test_geometric_median_of_a_triangle_with_a_wide_corner_is_the_corner() -> None:
    """Fermat: it is so from 120 degrees. Here the pulls on the corner add to 0.8, where the angle is 133 degrees."""
    triangle = torch.tensor([[0.0, 0.0], [1.2, 2.75], [2.0, -4.583]])
    assert torch.equal(robust.geometric_median(triangle), triangle[0])

    # Below 120 degrees it is a point inside, from which the corners are seen 120 degrees apart.
    triangle = torch.tensor([[0.0, 0.0], [2.0, 2.0], [2.0, -2.0]])
    inside = 2 - 2 / 3**0.5
    torch.testing.assert_close(robust.geometric_median(triangle), torch.tensor([inside, 0.0]), atol=1e-4, rtol=0)


def test_geometric_median_of_two_is_half_way() -> None:
    torch.testing.assert_close(robust.geometric_median(torch.tensor([[0.0, 0.0], [2.0, 4.0]])), torch.tensor([1.0, 2]))


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "krum", "multi_krum", "geometric_median"])
@pytest.mark.parametrize("value", [1e3, 1e10, 1e20, 3e38])
def test_a_minority_of_huge_rows_moves_no_robust_rule_far(name: str, value: float) -> None:
    updates = draw(20, 50)
    updates[:6] = value
    rule = getattr(robust, name)
    result = rule(updates) if name in {"median", "geometric_median"} else rule(updates, f=6)
    assert result.norm() < 2 * updates[6:].norm(dim=1).max()


def test_the_mean_follows_a_single_huge_row() -> None:
    updates = draw(20, 50)
    updates[0] = 1e10
    assert robust.mean(updates).min() > 1e8


def test_norm_clip_bounds_every_row_and_no_more() -> None:
    updates = torch.cat([draw(5, 30), 1e25 * draw(2, 30), 0.01 * draw(2, 30), torch.zeros(1, 30)])
    clipped = robust.norm_clip(updates, bound=1.0)
    torch.testing.assert_close(row_norms(clipped), row_norms(updates).clamp_max(1.0))
    assert torch.equal(clipped[7:], updates[7:])
    torch.testing.assert_close(torch.cosine_similarity(clipped[:5], updates[:5]), torch.ones(5))


def test_clip_rows_takes_a_bound_for_each_row() -> None:
    clipped = clip_rows(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([1.0, 10.0]))
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [3.0, 4.0]]))


@pytest.mark.parametrize(("window", "last"), [(1, 10.0), (2, 10.0), (4, 6.0)])
def test_median_norm_clip_remembers_its_window_and_forgets_the_rest(window: int, last: float) -> None:
    stage = robust.MedianNormClip(factor=2.0, window=window)
    norms = [float(stage(torch.tensor([[length], [length], [1e6]]))[-1]) for length in (1.0, 1.0, 1.0, 5.0)]
    assert norms == pytest.approx([2.0, 2.0, 2.0, last])


def test_median_norm_clip_left_to_itself_cuts_at_the_median_norm_of_five_rounds() -> None:
    """With one client a round: the sixth round has forgotten the first, so that three norms of five are 9."""
    assert robust.MedianNormClip()(torch.tensor([[1.0], [2.0], [900.0]])).flatten().tolist() == [1.0, 2.0, 2.0]
    stage = robust.MedianNormClip()
    left = [float(stage(torch.tensor([[length]]))) for length in (1.0, 1.0, 1.0, 9.0, 9.0, 9.0)]
    assert left == [1.0, 1.0, 1.0, 1.0, 1.0, 9.0]


def test_median_norm_clip_with_an_infinite_factor_clips_nothing_even_where_the_median_norm_is_zero() -> None:
    rows = torch.tensor([[0.0], [0.0], [7.0]])
    assert torch.equal(robust.MedianNormClip(factor=torch.inf)(rows), rows)


def test_centered_clip_moves_from_where_it_was() -> None:
    rule = robust.CenteredClip(radius=1.0)
    updates = torch.tensor([[5.0], [5.0], [-900.0]])
    assert [float(rule(updates)) for _ in range(3)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_centered_clip_repeats_its_step() -> None:
    updates = draw(7, 5) + 3
    once, twice = robust.CenteredClip(radius=1.0), robust.CenteredClip(radius=1.0, iterations=2)
    once(updates)
    torch.testing.assert_close(twice(updates), once(updates))


def test_centered_clip_refuses_another_model() -> None:
    rule = robust.CenteredClip(radius=1.0)
    rule(draw(4, 5))
    with pytest.raises(ValueError, match="remembers 5 parameters; got updates of 6"):
        rule(draw(4, 6))


@pytest.mark.parametrize(
    "make",
    [
        lambda: robust.norm_clip(draw(3, 2), bound=0.0),
        lambda: robust.MedianNormClip(factor=-1.0),
        lambda: robust.MedianNormClip(window=0),
        lambda: robust.CenteredClip(radius=0.0),
        lambda: robust.CenteredClip(radius=1.0, iterations=0),
        lambda: robust.CenteredClip(radius=float("nan")),
    ],
)
def test_settings_must_be_positive(make) -> None:
    with pytest.raises(ValueError, match="> 0; got"):
        make()


def test_gram_costs_one_pass_over_ordinary_rows_and_more_only_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    gram = geometry._gram

    def counted(rows: Tensor, dtype: torch.dtype, centre: Any = None, shortening: Tensor | None = None) -> Tensor:
        kind = "float64" if dtype == torch.float64 else "shortened" if shortening is not None else "plain"
        passes.append(kind if centre is None else f"{kind}, centred")
        return gram(rows, dtype, centre, shortening)

    monkeypatch.setattr(geometry, "_gram", counted)
    for name, wanted in (
        ("plain", ["plain"]),
        ("colluding duplicates", ["plain"]),
        ("large common offset", ["plain", "plain, centred"]),
        ("a square that overflows", ["plain", "shortened"]),
        ("the largest numbers there are", ["plain", "shortened"]),
        ("the largest numbers beside an offset", ["plain", "shortened", "shortened, centred"]),
        ("two far groups beside an offset", ["plain", "plain, centred", "float64, centred"]),
    ):
        passes.clear()
        geometry.centred_gram(HARD[name]())
        assert passes == wanted, name


def test_an_overflow_is_noticed_in_the_first_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that must be made again costs one chunk of columns, not a pass over the matrix."""
    monkeypatch.setattr(geometry, "COLUMNS_AT_ONCE", 4)
    seen: list[int] = []
    geometry._gram(torch.full((2, 40), 3e38), torch.float32, lambda part: seen.append(1) or torch.zeros(4))
    assert len(seen) == 1


def test_rows_of_very_unlike_sizes_keep_their_distances() -> None:
    """Powers of two shorten the huge rows, so that the distances carry float32's relative error and nothing else."""
    rows = draw(20, 9000)
    rows[:3] *= torch.tensor([[1e12], [1e25], [3e37]])
    torch.testing.assert_close(squared_distances(rows), slow_distances(rows), rtol=1e-4, atol=0)


@pytest.mark.parametrize("bound", [1.0, torch.inf, 1e60])
def test_clip_rows_where_a_norm_overflows(bound: float) -> None:
    rows = torch.cat([3e38 * draw(2, 50).sign(), 1e30 * draw(1, 50), draw(2, 50)])
    clipped = clip_rows(rows, bound)
    if bound == 1.0:
        torch.testing.assert_close(row_norms(clipped), torch.ones(5))
        torch.testing.assert_close(torch.cosine_similarity(clipped[:2], rows[:2] / 3e38), torch.ones(2))
    else:
        assert torch.equal(clipped, rows)


def test_clip_rows_bounds_an_overflowing_row_by_its_own_bound() -> None:
    rows = torch.full((3, 4), 3e38)
    clipped = clip_rows(rows, torch.tensor([2.0, torch.inf, 4.0]))
    torch.testing.assert_close(clipped, torch.tensor([[1.0], [3e38], [2.0]]).expand(3, 4))


@pytest.mark.parametrize("updates", [pytest.param(make(), id=name) for name, make in HARD.items()])
@pytest.mark.parametrize("radius", [0.1, 30.0])
def test_centered_clip_is_the_papers(updates: Tensor, radius: float) -> None:
    """The mean of the clipped differences, as Algorithm 2 writes it, in float64."""
    centre = torch.zeros(updates.shape[1], dtype=torch.float64)
    for _ in range(3):
        away = updates.double() - centre
        centre = centre + (away * (radius / away.norm(dim=1, keepdim=True)).clamp_max(1)).mean(dim=0)
    found = robust.CenteredClip(radius=radius, iterations=3)(updates)
    size = updates.abs()[updates.abs() < 1e5].max()
    torch.testing.assert_close(found.double(), centre, rtol=1e-5, atol=1e-6 * float(size))


def test_centered_clip_moves_no_further_than_its_bound_for_rows_of_any_size() -> None:
    updates = torch.zeros(10, 40)
    rule = robust.CenteredClip(radius=1.0)
    rule(updates)
    updates[0] = 3e38
    assert float(rule(updates).norm()) == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_rows_are_finite_whose_sum_is_not(bad: float) -> None:
    rows = torch.cat([torch.full((1, 5), 3e38), torch.full((1, 5), -3e38), draw(2, 5)])
    rows[3, 2] = bad
    assert geometry.is_finite_row(rows).tolist() == [True, True, True, False]
