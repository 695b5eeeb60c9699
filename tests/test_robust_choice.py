"""Rules that choose among the updates, each against a slow, obvious twin, and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN
from torch import Generator, Tensor

from labsec import robust
from labsec.geometry import cosines, cosines_to, rows_and_norms
from labsec.robust.diameter import LARGEST_F
from labsec.robust.flame import majority
from labsec.types import ImpossibleRule


def draw(clients: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(clients, dim, generator=torch.Generator().manual_seed(seed))


def stream(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


HARD = {
    "plain": lambda: draw(21, 60),
    "large common offset": lambda: draw(21, 60) * 0.1 + 1000,
    "one far outlier": lambda: torch.cat([torch.full((1, 60), 1e6), draw(20, 60)]),
    "a square that overflows": lambda: torch.cat([torch.full((1, 60), 1e25), draw(20, 60)]),
    "colluding duplicates": lambda: torch.cat([draw(1, 60).expand(4, 60), draw(17, 60, seed=1)]),
    "two camps": lambda: torch.cat([draw(4, 60) + 50, draw(17, 60)]),
}
hard = pytest.mark.parametrize("updates", [pytest.param(make(), id=name) for name, make in HARD.items()])


def slow_distances(updates: Tensor) -> np.ndarray:
    rows = updates.double().numpy()
    return np.array([[((a - b) ** 2).sum() for b in rows] for a in rows])


def slow_mean_around_median(updates: Tensor, keep: int) -> Tensor:
    """Coordinate by coordinate, the values in the order of their distance to the median."""
    columns = updates.double().numpy().T
    means = [np.mean(sorted(column, key=lambda value: abs(value - np.median(column)))[:keep]) for column in columns]
    return torch.tensor(means)


def slow_bulyan(updates: Tensor, f: int) -> Tensor:
    """The paper's recursion: Krum among those that are left, n - 2f times."""
    n = len(updates)
    distances = slow_distances(updates)
    left = list(range(n))
    chosen = []
    for _ in range(n - 2 * f):

        def score(row: int) -> tuple[float, float]:
            others = sorted(distances[row][other] for other in left if other != row)
            return sum(others[: max(len(left) - f - 2, 1)]), distances[row].sum()

        best = min(left, key=score)
        chosen.append(best)
        left.remove(best)
    return slow_mean_around_median(updates[chosen], n - 4 * f)


def slow_mda(updates: Tensor, f: int) -> Tensor:
    """Every subset of n - f: the smallest diameter, then the smallest sum."""
    distances = slow_distances(updates)

    def size(subset: tuple[int, ...]) -> tuple[float, float]:
        pairs = [distances[a, b] for a, b in combinations(subset, 2)]
        return max(pairs), sum(pairs)

    best = min(combinations(range(len(updates)), len(updates) - f), key=size)
    return updates[list(best)].double().mean(dim=0)


@hard
@pytest.mark.parametrize("f", [1, 2, 4])
def test_bulyan_is_the_papers(updates: Tensor, f: int) -> None:
    torch.testing.assert_close(robust.bulyan(updates, f=f).double(), slow_bulyan(updates, f), rtol=1e-4, atol=1e-4)


def test_bulyan_of_eleven_numbers_by_hand() -> None:
    """Krum takes 7 of 11, all but the two outliers and the two nearest to them; the 3 in the middle are 4, 5 and 6."""
    line = torch.tensor([[float(value)] for value in (1, 2, 3, 4, 5, 6, 7, 8, 9, 500, 900)])
    assert robust.bulyan(line, f=2).item() == pytest.approx(5.0)


def test_what_krum_lets_through_in_one_coordinate_bulyan_does_not() -> None:
    """Copies of an honest row but for one coordinate of 1000: their distances are ordinary, that coordinate is not."""
    updates = 1000 * draw(23, 2000)
    updates[:5] = updates[5:].mean(dim=0)
    updates[:5, 7] = 20_000.0
    assert robust.krum(updates, f=5)[7] == 20_000.0
    assert abs(robust.bulyan(updates, f=5)[7]) < 2000


@hard
@pytest.mark.parametrize("f", [0, 3, 10])
def test_meamed_averages_the_nearest_to_the_median(updates: Tensor, f: int) -> None:
    wanted = slow_mean_around_median(updates, len(updates) - f)
    ordinary = 1.0 if f or updates.abs().max() < 1e5 else float(updates.abs().max())
    torch.testing.assert_close(robust.meamed(updates, f=f).double(), wanted, rtol=1e-4, atol=1e-5 * ordinary)


def test_meamed_drops_where_the_outliers_are_and_the_trimmed_mean_on_both_sides() -> None:
    line = torch.tensor([[1.0], [2.0], [3.0], [4.0], [70.0], [90.0]])
    assert robust.meamed(line, f=2).item() == 2.5
    assert robust.trimmed_mean(line, f=2).item() == 3.5


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("f", [1, 2, 4])
def test_mda_is_the_narrowest_of_all_subsets(name: str, f: int) -> None:
    updates = HARD[name]()[:11]
    torch.testing.assert_close(robust.mda(updates, f=f).double(), slow_mda(updates, f), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_mda_of_few_numbers_on_a_line_where_many_diameters_are_equal(seed: int) -> None:
    updates = (3 * draw(9, 2, seed)).round()
    found = robust.mda(updates, f=3)
    distances = slow_distances(updates)
    narrowest = min(max(distances[a, b] for a, b in combinations(s, 2)) for s in combinations(range(9), 6))
    means = {
        tuple(updates[list(s)].mean(dim=0).tolist())
        for s in combinations(range(9), 6)
        if max(distances[a, b] for a, b in combinations(s, 2)) == narrowest
    }
    assert any(found.tolist() == pytest.approx(mean, abs=1e-5) for mean in means)


def test_mda_answers_where_all_subsets_are_too_many() -> None:
    """593,775 subsets of 30 with f = 6: the crowd of 24 is found."""
    updates = draw(30, 50)
    updates[::5] += 20
    crowd = [row for row in range(30) if row % 5]
    torch.testing.assert_close(robust.mda(updates, f=6), updates[crowd].mean(dim=0))


def test_mda_refuses_what_would_take_too_long_and_says_why() -> None:
    updates = draw(60, 3)
    robust.mda(updates, f=LARGEST_F)
    message = r"mda needs f <= 16, because it looks at up to 2\^f subsets; got f=17, clients=60"
    with pytest.raises(ImpossibleRule, match=message):
        robust.mda(updates, f=17)


@pytest.mark.parametrize("keep", [None, 3])
def test_the_mask_of_multi_krum_says_whom_it_averages(keep: int | None) -> None:
    updates = torch.cat([torch.full((1, 40), torch.nan), draw(10, 40)])
    mask = robust.multi_krum_mask(updates, f=2, keep=keep)
    assert not mask[0]
    assert mask.sum() == (keep or 8)
    torch.testing.assert_close(updates[mask].mean(dim=0), robust.multi_krum(updates, f=2, keep=keep))


def test_a_vote_counts_one_whatever_its_size() -> None:
    updates = torch.tensor([[1e-9, -3.0, 0.0], [2.0, 5.0, 0.0], [-900.0, -1e-9, 0.0]])
    assert robust.sign_majority(updates, step=0.5).tolist() == [0.5, -0.5, 0.0]
    assert robust.sign_majority(updates[:2], step=0.5).tolist() == [0.5, 0.0, 0.0], "one against one is none"


def test_sign_majority_needs_a_step() -> None:
    with pytest.raises(ValueError, match="sign_majority needs a finite step > 0; got step=0"):
        robust.sign_majority(draw(3, 2), step=0)


@pytest.mark.parametrize(("threshold", "signs"), [(0, (1, 1, 1)), (1, (1, 1, 1)), (3, (1, -1, 1)), (5, (1, -1, -1))])
def test_rlr_negates_where_fewer_agree_than_the_threshold(threshold: int, signs: tuple[int, ...]) -> None:
    """Of five clients 5, 3 and 4 move the coordinates up, 0, 2 and 1 down: majorities of 5, 1 and 3."""
    updates = torch.tensor([[1.0, 1.0, 1.0]] * 3 + [[1.0, -1.0, 1.0], [1.0, -1.0, -1.0]])
    mean = updates.mean(dim=0)
    torch.testing.assert_close(robust.rlr(updates, threshold=threshold), mean * torch.tensor(signs))


@pytest.mark.parametrize("threshold", [-1, 6])
def test_rlr_cannot_ask_for_more_votes_than_there_are(threshold: int) -> None:
    with pytest.raises(ImpossibleRule, match=f"0 <= threshold <= clients; got threshold={threshold}, clients=5"):
        robust.rlr(draw(5, 3), threshold=threshold)


@pytest.mark.parametrize("name", sorted(set(HARD) - {"a square that overflows"}))  # beside it all others score alike
def test_dnc_drops_the_highest_scores_of_a_singular_value_decomposition(name: str) -> None:
    updates = HARD[name]()
    centred = updates.double() - updates.double().mean(dim=0)
    first = torch.linalg.svd(centred).Vh[0]
    kept = (centred @ first).square().argsort()[:17]
    wanted = updates[kept].double().mean(dim=0)
    found = robust.dnc(updates, f=4, generator=stream()).double()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_dnc_looks_at_some_columns_only() -> None:
    """The outliers differ in the last 10 of 100 columns: 40 columns drawn see them, the first 40 would not."""
    updates = draw(20, 100)
    updates[:4, 90:] += 30
    for seed in range(5):
        found = robust.dnc(updates, f=4, columns=40, generator=stream(seed))
        torch.testing.assert_close(found, updates[4:].mean(dim=0))


def test_dnc_drops_more_and_in_each_iteration() -> None:
    updates = draw(20, 100)
    updates[:4] += 9
    torch.testing.assert_close(robust.dnc(updates, f=2, drop=0.4, generator=stream()), updates.mean(dim=0))
    found = robust.dnc(updates, f=2, drop=2, generator=stream())
    torch.testing.assert_close(found, updates[4:].mean(dim=0))


def test_dnc_that_drops_all_is_refused() -> None:
    with pytest.raises(
        ImpossibleRule, match=r"a row that no iteration drops; got f=2, clients=5, iterations=1, drop=3"
    ):
        robust.dnc(draw(5, 3), f=2, drop=3, generator=stream())


@pytest.mark.parametrize("clients", [3, 8, 21, 40])
@pytest.mark.parametrize("seed", range(5))
def test_the_majority_is_hdbscans(clients: int, seed: int) -> None:
    """The paper's settings, in scikit-learn's HDBSCAN: clusters of n / 2 + 1, one sample to a core, one cluster."""
    rows = draw(clients, 10, seed)
    rows[: clients // 3] -= 2
    rows[clients // 3 :] += 1
    distances = (1 - cosines(rows)).clamp_min(0)
    labels = HDBSCAN(
        min_cluster_size=clients // 2 + 1, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True
    ).fit(distances.numpy())
    assert majority(distances).tolist() == (labels.labels_ == 0).tolist()


def test_flame_by_hand() -> None:
    """Three of five point one way. The median of the lengths 1, 2, 3, 5 and 9 is 3, so that 9 counts as 3."""
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0], [-3.0, 0.0], [0.0, 5.0]])
    assert robust.flame(rows, generator=stream(), noise=0.0).tolist() == pytest.approx([2.0, 0.0])


def test_flames_noise_is_in_units_of_the_median_norm() -> None:
    rows = torch.zeros(5, 40_000)
    rows[:, 0] = torch.tensor([10.0, 20.0, 20.0, 20.0, 30.0])
    noisy = robust.flame(rows, generator=stream(), noise=0.01)
    assert float(noisy[1:].std()) == pytest.approx(0.2, rel=0.02)


def test_central_noise_has_the_standard_deviation_that_it_says() -> None:
    updates = torch.ones(5, 40_000)
    noisy = robust.central_noise(updates, rule=robust.median, std=0.3, generator=stream())
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("value", [1e3, 1e10, 1e20, 3e38])
@pytest.mark.parametrize("name", ["bulyan", "mda", "meamed", "dnc", "flame"])
def test_a_minority_of_huge_rows_moves_no_robust_rule_far(name: str, value: float) -> None:
    updates = draw(30, 50) + 0.5
    updates[:6] = -value
    own = {
        "dnc": {"f": 6, "generator": stream()},
        "flame": {"generator": stream()},
    }
    result = getattr(robust, name)(updates, **own.get(name, {"f": 6}))
    assert result.norm() < 2 * updates[6:].norm(dim=1).max()
    assert result.mean() > 0


def test_cosines_of_rows_of_very_unlike_sizes() -> None:
    rows = draw(12, 500)
    sizes = torch.tensor([1e-34, 1e-6, 1.0, 1e15, 1e25, 3e37] * 2)[:, None]
    wanted = torch.nn.functional.normalize(rows.double(), dim=1)
    torch.testing.assert_close(cosines(rows * sizes), wanted @ wanted.T, rtol=0, atol=1e-5)
    torch.testing.assert_close(cosines_to(rows * sizes, rows[0] * 1e30), wanted @ wanted[0], rtol=0, atol=1e-5)


def test_only_rows_that_cannot_be_squared_are_shortened() -> None:
    rows = draw(4, 30)
    same, norms = rows_and_norms(rows)
    assert same is rows
    torch.testing.assert_close(norms, rows.double().norm(dim=1))
    rows[1] *= 1e30
    shortened, norms = rows_and_norms(rows)
    assert torch.equal(shortened[[0, 2, 3]], rows[[0, 2, 3]])
    assert float(norms[1]) == pytest.approx(1e18)
    torch.testing.assert_close(shortened[1] / 1e18, rows[1] / rows[1].double().norm())
