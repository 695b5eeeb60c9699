"""One suite for every public rule and stage of `labsec.robust`: whatever is listed in `__all__` is held to it."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from labsec import Scenario, robust, rounds
from labsec.types import ENGINE_FILLS, ImpossibleRule


def one_way(params: Tensor) -> Tensor:
    """What the server learns by itself, for rules that ask for it."""
    return torch.linspace(1, -0.5, len(params), dtype=params.dtype)


LITTLE_NOISE = 1e-7  # so little that a result with it is the same within SLACK
ORDINARY = {  # of what has no default
    "f": 1,
    "bound": 3.0,
    "radius": 3.0,
    "threshold": 3,
    "step": 0.01,
    "size": 2,
    "std": LITTLE_NOISE,
    "rule": robust.mean,
    "root": one_way,
}
ORDINARY_OF = {"flame": {"noise": LITTLE_NOISE}, "FedShield": {"bucket": 1}}  # with buckets it would need more clients
NEUTRAL = {  # of all settings
    "f": 0,
    "bound": torch.inf,
    "radius": torch.inf,
    "factor": torch.inf,
    "threshold": 0,
    "decay": None,
    "size": 1,
    "bucket": 1,
    "std": 0,
    "rule": robust.mean,
    "root": one_way,
}
WITHOUT_NEUTRAL_SETTING = {  # never the mean, whatever their arguments
    "krum",
    "median",
    "geometric_median",
    "sign_majority",
    "fltrust",
    "FoolsGold",
    "flame",
    "Reputation",
}
NO_AVERAGE = {  # rules to which rows that all say the same do not say it, and why
    "sign_majority": "a step has the length that the server chose",
    "fltrust": "every row gets the length of the server's own",
    "FoolsGold": "clients who all send the same are sybils",
}
BY_LOT = {"bucketing": "who comes together is drawn by places, not by names"}
NAMES = sorted(robust.__all__)
WITH_F = [name for name in NAMES if "f" in inspect.signature(getattr(robust, name)).parameters]
WITH_WEIGHTS = [name for name in NAMES if "weights" in inspect.signature(getattr(robust, name)).parameters]
SLACK = {"rtol": 1e-4, "atol": 1e-5}


def configured(name: str, chosen: dict[str, Any] = ORDINARY) -> Callable[..., Tensor]:
    """A fresh rule or stage as a scenario takes it; a new keyword must be given its value above."""
    part = getattr(robust, name)
    parameters = inspect.signature(part).parameters
    required = {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    settings = {key: chosen[key] for key in parameters if key in chosen and (key in required or chosen is NEUTRAL)}
    known = settings if chosen is NEUTRAL else {**settings, **ORDINARY_OF.get(name, {})}
    lacking = required - {*known, *ENGINE_FILLS}
    assert not lacking, f"tell this suite an ordinary and a neutral value for {name}'s {lacking}"
    return part(**known) if inspect.isclass(part) else functools.partial(part, **known)


def make(name: str, chosen: dict[str, Any] = ORDINARY) -> Callable[[Tensor], Tensor]:
    """A fresh rule or stage with all that it needs filled in; every client has the same sample count.

    Where a stage says who stays, these are its rows.
    """
    return functools.partial(call, configured(name, chosen))


def call(part: Callable[..., Tensor], updates: Tensor) -> Tensor:
    """What a part makes of updates, with the keywords that the engine would fill for it."""
    offers = {
        "weights": torch.full((len(updates),), 7),
        "clients": torch.arange(len(updates)),
        "params": torch.zeros(updates.shape[-1], dtype=updates.dtype),
        "generator": torch.Generator().manual_seed(0),
    }
    asked = [name for name in inspect.signature(part).parameters if name in offers]
    result = part(updates, **{name: offers[name] for name in asked})
    return updates[result] if result.dtype is torch.bool else result


def draw(clients: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(clients, dim, generator=torch.Generator().manual_seed(seed)).to(dtype)


def one_update(result: Tensor) -> Tensor:
    return result.mean(dim=0) if result.ndim == 2 else result


every_part = pytest.mark.parametrize("name", NAMES)
matrices = {"clients": st.integers(7, 12), "dim": st.integers(1, 40), "seed": st.integers(0, 2**31)}


def test_there_is_something_to_hold_to_the_contract() -> None:
    assert {"mean", "median", "trimmed_mean", "krum", "multi_krum", "geometric_median", "nnm"} <= set(NAMES)
    assert WITH_WEIGHTS == ["weighted_mean"], "every other rule counts all clients alike"


@every_part
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_dtype(name: str, dtype: torch.dtype) -> None:
    updates = draw(7, 9, dtype=dtype)
    result = make(name)(updates)
    assert result.shape[-1] == 9
    assert result.ndim == 1 or 1 <= len(result) <= 7
    assert result.dtype is dtype
    assert result.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(NO_AVERAGE)))
@settings(max_examples=15, deadline=None)
@given(**matrices)
def test_identical_rows_come_back(name: str, clients: int, dim: int, seed: int) -> None:
    row = draw(1, dim, seed) / dim
    result = make(name)(row.expand(clients, dim).contiguous())
    torch.testing.assert_close(result, row[0].expand_as(result), **SLACK)


@every_part
def test_input_untouched(name: str) -> None:
    updates = draw(7, 9)
    before = updates.clone()
    version = updates._version
    result = make(name)(updates)
    result.add_(1)
    assert torch.equal(updates, before)
    assert updates._version == version


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BY_LOT)))
@settings(max_examples=25, deadline=None)
@given(**matrices)
def test_the_order_of_the_clients_does_not_matter(name: str, clients: int, dim: int, seed: int) -> None:
    assume(name != "geometric_median" or dim > 1 or clients % 2)  # a line's middle between two points is not one point
    updates = draw(clients, dim, seed)
    order = torch.randperm(clients, generator=torch.Generator().manual_seed(seed))
    straight = make(name)(updates)
    shuffled = make(name)(updates[order])
    if len(straight) == clients and straight.ndim == 2:
        torch.testing.assert_close(shuffled, straight[order], **SLACK)
    else:
        torch.testing.assert_close(one_update(shuffled), one_update(straight), **SLACK)


@every_part
@settings(max_examples=15, deadline=None)
@given(bad=st.lists(st.sampled_from([torch.nan, torch.inf, -torch.inf]), min_size=1, max_size=9), **matrices)
def test_rows_that_are_not_finite_count_for_nothing(
    name: str, clients: int, dim: int, seed: int, bad: list[float]
) -> None:
    updates = draw(clients, dim, seed)
    poison = draw(len(bad), dim, seed + 1)
    poison[:, seed % dim] = torch.tensor(bad)
    assert torch.equal(make(name)(torch.cat([poison, updates])), make(name)(updates))


@every_part
def test_no_finite_row_at_all_raises(name: str) -> None:
    with pytest.raises(ValueError, match="no finite row is left of 7"):
        make(name)(torch.full((7, 3), torch.nan))


@every_part
@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(0, 3), torch.zeros(3, 3, dtype=torch.int64)])
def test_what_is_no_matrix_of_updates_raises(name: str, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="updates must be a floating-point matrix"):
        make(name)(wrong)


@every_part
def test_the_same_bits_again(name: str) -> None:
    updates = draw(20, 3000)
    assert torch.equal(make(name)(updates), make(name)(updates.clone()))


@every_part
def test_layout_in_memory_does_not_matter(name: str) -> None:
    updates = draw(7, 9)
    torch.testing.assert_close(make(name)(updates.T.contiguous().T), make(name)(updates), **SLACK)


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_NEUTRAL_SETTING))
@settings(max_examples=15, deadline=None)
@given(**matrices)
def test_neutral_setting_is_the_mean(name: str, clients: int, dim: int, seed: int) -> None:
    updates = draw(clients, dim, seed)
    result = one_update(make(name, NEUTRAL)(updates))
    torch.testing.assert_close(result, updates.mean(dim=0), **SLACK)


@pytest.mark.parametrize("name", WITH_F)
@pytest.mark.parametrize("f", [-1, 4, 8, 100])
def test_impossible_f_raises_with_condition_and_values(name: str, f: int) -> None:
    with pytest.raises(ImpossibleRule, match=rf"{name} needs .*f.* < clients.*; got f={f}, clients=8"):
        make(name, {**ORDINARY, "f": f})(draw(8, 3))


@pytest.mark.parametrize("name", WITH_F)
def test_rows_that_are_not_finite_count_against_f(name: str) -> None:
    updates = draw(8, 3)
    updates[:6] = torch.nan
    with pytest.raises(ImpossibleRule, match="clients=2"):
        make(name)(updates)


@every_part
def test_a_copy_remembers_by_itself(name: str) -> None:
    part = make(name)
    part(draw(7, 9, seed=1))
    twin = copy.deepcopy(part)
    part(10 * draw(7, 9, seed=2))
    fresh = make(name)
    fresh(draw(7, 9, seed=1))
    assert torch.equal(twin(draw(7, 9, seed=3)), fresh(draw(7, 9, seed=3)))


@every_part
def test_what_is_handed_out_is_no_memory(name: str) -> None:
    """Whoever gets a result may write into it: the next one is the same as if nobody had."""
    spoilt = make(name)
    spoilt(draw(7, 9, seed=1)).fill_(1e6)
    fresh = make(name)
    fresh(draw(7, 9, seed=1))
    assert torch.equal(spoilt(draw(7, 9, seed=2)), fresh(draw(7, 9, seed=2)))


def holds(name: str, f: int, clients: int) -> bool:
    """Whether a rule works with this f for so many clients."""
    try:
        make(name, {**ORDINARY, "f": f})(draw(clients, 3))
    except ImpossibleRule:
        return False
    return True


@pytest.mark.parametrize("clients", range(1, 12))
def test_every_f_that_the_papers_allow_and_no_other(clients: int) -> None:
    """Krum: 2f + 3 (Blanchard et al. 2017). Bulyan: 4f + 3 (El Mhamdi et al. 2018). All others: a majority, 2f + 1."""
    krum = dict.fromkeys(["krum", "multi_krum", "multi_krum_mask", "FedShield"], lambda f: 2 * f + 3)
    least = {"bulyan": lambda f: 4 * f + 3, **krum}
    for f in range(clients + 1):
        for name in WITH_F:
            if name == "FedShield" and f == 0:
                continue  # without Multi-Krum, which is left out then, any number will do
            needed = least.get(name, lambda f: 2 * f + 1)(f)
            assert holds(name, f, clients) == (clients >= needed), (name, f)


@every_part
def test_it_runs_in_a_federation(name: str) -> None:
    is_stage = make(name)(draw(7, 9)).ndim == 2
    part = configured(name)
    places = {"server_stages": [part]} if is_stage else {"aggregate": part}
    result = next(rounds(Scenario(clients=8, rounds=1, local_steps=1, **places)))
    assert result.skipped == ""
    assert not torch.equal(result.after, result.before)


def test_a_weight_counts_like_so_many_equal_rows() -> None:
    updates = draw(4, 9)
    weights = torch.tensor([1, 0, 3, 2])
    one_by_one = updates.repeat_interleave(weights, dim=0)  # [6, 9]
    torch.testing.assert_close(robust.weighted_mean(updates, weights=weights), robust.mean(one_by_one))


def test_weights_stay_with_their_rows() -> None:
    updates = draw(5, 9)
    weights = torch.tensor([1, 5, 3, 2, 8])
    straight = robust.weighted_mean(updates, weights=weights)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(robust.weighted_mean(updates[order], weights=weights[order]), straight)

    spoilt = updates.clone()
    spoilt[1] = torch.nan
    finite = [0, 2, 3, 4]
    wanted = robust.weighted_mean(updates[finite], weights=weights[finite])
    assert torch.equal(robust.weighted_mean(spoilt, weights=weights), wanted)


@pytest.mark.parametrize("weights", [[1, 2], [1, -1, 2], [1, float("nan"), 2], [1, float("inf"), 2]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weighted_mean needs one weight >= 0 for each of 3 rows; got"):
        robust.weighted_mean(draw(3, 4), weights=torch.tensor(weights))


def test_finite_rows_without_weight_are_refused() -> None:
    updates = draw(3, 4)
    updates[2] = torch.nan
    with pytest.raises(ValueError, match=r"needs a finite row of positive weight; got weights \[0, 0, 5\]"):
        robust.weighted_mean(updates, weights=torch.tensor([0, 0, 5]))
