"""One suite for every public score of `labsec.detect`: whatever is listed in `__all__` is held to it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labsec import Scenario, bind, detect, rounds
from labsec.detect.judging import auc
from labsec.models import mlp
from labsec.parts import keywords_asked
from labsec.train import RootUpdate
from labsec.types import ENGINE_FILLS

MODEL = mlp((2,), 2, hidden=(3,))
DIM = MODEL.dim
BOUND = {
    "model": MODEL,
    "x": torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
    "y": torch.tensor([0, 1, 1]),
    "root": lambda params: 0.1 * params,
}
NAMES = sorted(set(detect.__all__) - {"Quarantine"})
THAT_REMEMBER = {"FLDetector", "LossTrajectory", "SybilSimilarity"}
SLACK = {"rtol": 1e-4, "atol": 1e-5}


def configured(name: str) -> Callable[..., Tensor]:
    """A fresh score as a quarantine takes it; a new keyword must be given its value above."""
    score = getattr(detect, name)
    parameters = inspect.signature(score).parameters.values()
    wanted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    lacking = [each for each in wanted if each not in BOUND and each not in ENGINE_FILLS]
    assert not lacking, f"tell this suite a value for {name}'s {lacking}"
    known = {each: BOUND[each] for each in wanted if each in BOUND}
    return score(**known) if inspect.isclass(score) else bind(score, **known)


def ask(score: Callable[..., Tensor], updates: Tensor, **known: Any) -> Tensor:
    """Call a score with what it asks for."""
    offers = {"clients": torch.arange(len(updates)), "params": MODEL.init(stream(9)), **known}
    return score(updates, **{each: offers[each] for each in keywords_asked(score, offers)})


def after_a_round(name: str, clients: int = 7) -> Callable[..., Tensor]:
    """A score that has seen one round of so many clients."""
    score = configured(name)
    ask(score, draw(clients, seed=100))
    return score


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(clients: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Updates around a common direction, as in training."""
    return (0.3 + torch.randn(clients, DIM, generator=stream(seed))).to(dtype)


every_score = pytest.mark.parametrize("name", NAMES)
rounds_of = {"clients": st.integers(3, 12), "seed": st.integers(0, 2**31)}


def test_there_is_something_to_hold_to_the_contract() -> None:
    assert {"norm", "cosine", "cosine_to_root", "root_loss", "spectral"} <= set(NAMES)
    assert {name for name in NAMES if inspect.isclass(getattr(detect, name))} == THAT_REMEMBER


@every_score
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_number_for_every_client(name: str, dtype: torch.dtype) -> None:
    scores = ask(configured(name), draw(7, dtype=dtype))
    assert scores.shape == (7,)
    assert scores.dtype is torch.float64
    assert scores.isfinite().all()


@every_score
@settings(max_examples=25, deadline=None)
@given(**rounds_of)
def test_a_score_goes_with_its_client(name: str, clients: int, seed: int) -> None:
    updates = draw(clients, seed)
    order = torch.randperm(clients, generator=stream(seed))
    straight = ask(after_a_round(name, clients), updates)
    shuffled = ask(after_a_round(name, clients), updates[order], clients=order)
    torch.testing.assert_close(shuffled, straight[order], **SLACK)


@every_score
def test_input_untouched(name: str) -> None:
    updates = draw(7)
    clients = torch.arange(7)
    before = updates.clone()
    version = updates._version
    score = after_a_round(name)
    scores = ask(score, updates, clients=clients)
    scores.fill_(1e6)
    assert torch.equal(updates, before)
    assert updates._version == version
    assert torch.equal(clients, torch.arange(7))


@every_score
def test_what_is_seen_may_change_later(name: str) -> None:
    """A score that remembers keeps numbers of its own: whoever writes into old updates changes nothing."""
    spoilt = configured(name)
    updates = draw(7)
    ask(spoilt, updates)
    updates.fill_(1e6)
    fresh = configured(name)
    ask(fresh, draw(7))
    assert torch.equal(ask(spoilt, draw(7, seed=1)), ask(fresh, draw(7, seed=1)))


@every_score
@settings(max_examples=15, deadline=None)
@given(bad=st.lists(st.sampled_from([torch.nan, torch.inf, -torch.inf]), min_size=1, max_size=9), **rounds_of)
def test_rows_that_are_not_finite_score_highest_and_change_nothing(
    name: str, clients: int, seed: int, bad: list[float]
) -> None:
    updates = draw(clients, seed)
    poison = draw(len(bad), seed + 1)
    poison[:, seed % DIM] = torch.tensor(bad)
    everybody = torch.arange(clients + len(bad))
    spoilt = after_a_round(name, clients)
    scores = ask(spoilt, torch.cat([updates, poison]), clients=everybody)
    fresh = after_a_round(name, clients)
    torch.testing.assert_close(scores[:clients], ask(fresh, updates), **SLACK)
    assert (scores[clients:] == torch.inf).all()

    # Nor in the next round.
    later = draw(clients, seed + 2)
    torch.testing.assert_close(ask(spoilt, later), ask(fresh, later), **SLACK)


@every_score
def test_nobody_finite_and_somebody_alone(name: str) -> None:
    assert (ask(configured(name), torch.full((3, DIM), torch.nan)) == torch.inf).all()
    assert ask(configured(name), draw(1)).isfinite().all()


@every_score
def test_rows_of_zeros_are_answered(name: str) -> None:
    assert ask(configured(name), torch.zeros(5, DIM)).isfinite().all()


@every_score
def test_the_largest_numbers_there_are(name: str) -> None:
    updates = draw(9)
    updates[0] = 3e38 * updates[0].sign()
    scores = ask(configured(name), updates)
    assert not scores.isnan().any()
    assert scores[1:].isfinite().all()


@every_score
@settings(max_examples=15, deadline=None)
@given(**rounds_of)
def test_equal_updates_score_alike(name: str, clients: int, seed: int) -> None:
    row = draw(1, seed)
    scores = ask(
        after_a_round(name, clients=1), row.expand(clients, DIM).contiguous(), clients=10 + torch.arange(clients)
    )
    torch.testing.assert_close(scores, scores[:1].expand(clients), **SLACK)


@every_score
def test_the_same_bits_again(name: str) -> None:
    updates = draw(20)
    assert torch.equal(ask(after_a_round(name, 20), updates), ask(after_a_round(name, 20), updates.clone()))


@every_score
def test_a_copy_remembers_by_itself(name: str) -> None:
    score = configured(name)
    ask(score, draw(7, seed=1))
    twin = copy.deepcopy(score)
    ask(score, 10 * draw(7, seed=2))
    fresh = configured(name)
    ask(fresh, draw(7, seed=1))
    assert torch.equal(ask(twin, draw(7, seed=3)), ask(fresh, draw(7, seed=3)))


@every_score
@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(0, 3), torch.zeros(3, 3, dtype=torch.int64)])
def test_what_is_no_matrix_of_updates_raises(name: str, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="updates must be a floating-point matrix"):
        ask(configured(name), wrong, clients=torch.arange(len(wrong)))


@every_score
def test_it_runs_in_a_federation(name: str) -> None:
    """Over several rounds in which other clients are drawn: a score lives with whoever comes."""
    scenario = Scenario(clients=8, rounds=4, local_steps=1, participation=0.6)
    own = {"model": scenario.network(), "x": scenario.data.x[:20], "y": scenario.data.y[:20]}
    root = RootUpdate(**own, lr=0.1, steps=5)
    score = getattr(detect, name)
    offered = {**own, "root": root}
    known = {each: offered[each] for each in inspect.signature(score).parameters if each in offered}
    part = score(**known) if inspect.isclass(score) else bind(score, **known)
    stage = detect.Quarantine(part, threshold=torch.inf)
    watched = list(rounds(Scenario(**{**vars(scenario), "server_stages": [stage]})))
    plain = list(rounds(scenario))
    assert torch.equal(watched[-1].after, plain[-1].after)
    assert len({result.participants for result in watched}) > 1


@every_score
def test_honest_clients_that_are_alike_are_told_apart_by_chance_only(name: str) -> None:
    """The negative control: without an attack, whoever is called bad scores as the others do."""
    score = configured(name)
    is_bad = torch.arange(20) < 4
    seen = [ask(score, draw(20, seed=number)) for number in range(200)]
    values = torch.stack(seen)  # [rounds, clients]
    area = auc(values.flatten(), is_bad.expand_as(values).flatten())
    assert 0.4 < area < 0.6
