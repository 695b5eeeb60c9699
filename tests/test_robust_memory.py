"""Rules and stages that know whose rows these are, or what the server learned by itself; FedShield is made of them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from labsec import Scenario, bind, data, poison, robust, rounds, run
from labsec.robust.foolsgold import _weights
from labsec.train import RootUpdate, local_updates_loop
from labsec.types import ImpossibleRule


def draw(clients: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(clients, dim, generator=torch.Generator().manual_seed(seed))


def stream(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def names(*clients: int) -> Tensor:
    return torch.tensor(clients)


REMEMBERING = {
    "FoolsGold": robust.FoolsGold,
    "Reputation": robust.Reputation,
    "FedShield": lambda: robust.FedShield(f=1, radius=1e9, bucket=1),
}
remembering = pytest.mark.parametrize("make", REMEMBERING.values(), ids=REMEMBERING)


def call(part: Any, updates: Tensor, clients: Tensor) -> Tensor:
    """A remembering part in one round, with a model of zeros."""
    if isinstance(part, robust.FoolsGold):
        return part(updates, clients=clients)
    here = {"clients": clients, "params": torch.zeros(updates.shape[1])}
    return part(updates, **here, **({"generator": stream()} if isinstance(part, robust.FedShield) else {}))


# --- memory by identity


@remembering
def test_memory_goes_by_name_and_not_by_place(make: Any) -> None:
    order = torch.tensor([4, 2, 0, 1, 3, 6, 5])
    first, second = draw(7, 9, seed=1), draw(7, 9, seed=2)
    straight, shuffled = make(), make()
    call(straight, first, torch.arange(7))
    call(shuffled, first, torch.arange(7))
    wanted = call(straight, second, torch.arange(7))
    found = call(shuffled, second[order], torch.arange(7)[order])
    torch.testing.assert_close(found, wanted[order] if wanted.ndim == 2 else wanted)


@remembering
def test_a_new_name_starts_anew(make: Any) -> None:
    """Whoever was here before is judged by it, under another name by this round alone."""
    first, second = draw(7, 9, seed=1), draw(7, 9, seed=2)
    known, renamed, fresh = make(), make(), make()
    call(known, first, torch.arange(7))
    call(renamed, first, torch.arange(7) + 100)
    if isinstance(fresh, robust.FedShield):
        fresh.clip(first)  # the median norm and the last result are nobody's
        renamed.centre = fresh.centre
    wanted = call(fresh, second, torch.arange(7))
    torch.testing.assert_close(call(renamed, second, torch.arange(7)), wanted)
    assert not torch.allclose(call(known, second, torch.arange(7)), wanted)


@remembering
@pytest.mark.parametrize("who", [[0, 1, 2, 3, 4, 5, -1], [-1] * 7])
def test_rows_that_stand_for_several_are_refused(make: Any, who: list[int]) -> None:
    with pytest.raises(ImpossibleRule, match=r"needs rows that belong to one client each; got clients=\[.*-1\]"):
        call(make(), draw(7, 9), torch.tensor(who))


@remembering
def test_who_sent_a_row_that_is_not_finite_keeps_its_past(make: Any) -> None:
    first, second = draw(7, 9, seed=1), draw(7, 9, seed=2)
    spoilt = second.clone()
    spoilt[3] = torch.nan
    others = torch.tensor([0, 1, 2, 4, 5, 6])
    some, all_seven = make(), make()
    for part in (some, all_seven):
        call(part, first, torch.arange(7))
    assert torch.equal(call(all_seven, spoilt, torch.arange(7)), call(some, second[others], others))


@remembering
def test_a_run_whose_wire_merges_the_rows_is_refused_before_the_first_round(make: Any) -> None:
    with pytest.raises(ImpossibleRule, match="needs rows that belong to one client each"):
        run(Scenario(clients=8, rounds=1, wire=lambda updates: updates.mean(dim=0, keepdim=True), **place(make())))


def place(part: Any) -> dict[str, Any]:
    return {"server_stages": [part]} if isinstance(part, robust.Reputation) else {"aggregate": part}


# --- FoolsGold


def slow_foolsgold(history: Tensor) -> list[float]:
    """Algorithm 1 as the paper writes it, loop by loop."""
    rows = history.double()
    n = len(rows)
    likeness = [[float(torch.cosine_similarity(a, b, dim=0)) for b in rows] for a in rows]
    most = [max(0.0, *(likeness[i][j] for j in range(n) if j != i)) for i in range(n)]
    weights = []
    for i in range(n):
        pardoned = [likeness[i][j] * (most[i] / most[j] if most[j] > most[i] else 1) for j in range(n) if j != i]
        weights.append(1 - max(0.0, *pardoned))
    largest = max(weights)
    shares = [weight / largest for weight in weights]
    logits = [math.inf if share >= 1 else math.log(share / (1 - share)) + 0.5 if share > 0 else -1 for share in shares]
    return [min(1.0, max(0.0, logit)) for logit in logits]


@pytest.mark.parametrize("seed", range(5))
def test_foolsgold_is_the_papers_over_rounds(seed: int) -> None:
    rule = robust.FoolsGold()
    history = torch.zeros(8, 12)
    for number in range(4):
        updates = draw(8, 12, 10 * seed + number)
        updates[:3] = updates[0] + 0.3 * updates[:3]  # sybils, not quite alike
        history += updates
        weights = torch.tensor(slow_foolsgold(history))
        wanted = (weights / weights.sum()).float() @ updates
        torch.testing.assert_close(rule(updates, clients=torch.arange(8)), wanted, rtol=1e-4, atol=1e-5)


def test_foolsgold_weights_by_hand() -> None:
    """Two that are alike by 0.9 get 0.1, the logit of which lies below zero; the third is like nobody."""
    likeness = torch.tensor([[1.0, 0.9, 0.2], [0.9, 1.0, 0.2], [0.2, 0.2, 1.0]], dtype=torch.float64)
    assert _weights(likeness).tolist() == [0.0, 0.0, 1.0]

    # 0.6 and 0.4: against the least suspect, whose likeness is pardoned to 0.2 * 0.2 / 0.6, the others get 0.43.
    likeness = torch.tensor([[1.0, 0.6, 0.2], [0.6, 1.0, 0.2], [0.2, 0.2, 1.0]], dtype=torch.float64)
    share = 0.4 / (1 - 0.2 * 0.2 / 0.6)
    assert _weights(likeness).tolist() == pytest.approx([math.log(share / (1 - share)) + 0.5] * 2 + [1.0])


def test_foolsgold_tells_sybils_by_what_they_sent_together_over_the_rounds() -> None:
    """In each round their noise is as large as their goal: one round does not tell, the sum of thirty does."""
    rule = robust.FoolsGold()
    goal = 3 * torch.nn.functional.normalize(draw(1, 400, 99), dim=1)
    along = []
    for number in range(30):
        updates = torch.nn.functional.normalize(draw(10, 400, number), dim=1)
        updates[:4] += goal / 3
        along.append(float(rule(updates, clients=torch.arange(10)) @ goal[0]) / 3)
    assert along[0] > 0.3 * sum(along[:3]) > 0
    assert abs(along[-1]) < 0.2 * along[0]


def test_foolsgold_remembers_the_absent_and_one_width() -> None:
    rule = robust.FoolsGold()
    rows = torch.eye(3)
    rule(rows, clients=names(5, 6, 7))
    assert rule(rows[:1], clients=names(6)).tolist() == [1.0, 0.0, 0.0]

    # Two newcomers are copies of each other. 7, who was absent for a round, still is like nobody.
    assert rule(rows[[0, 0, 2]], clients=names(8, 9, 7)).tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="FoolsGold remembers 3 parameters; got updates of 4"):
        rule(draw(3, 4), clients=names(5, 6, 7))


def test_copies_all_round_move_foolsgold_nowhere() -> None:
    for dim in (3, 1000):
        assert not robust.FoolsGold()(draw(1, dim).expand(4, dim), clients=torch.arange(4)).any()


@pytest.mark.parametrize("value", [1e20, 3e38])
def test_a_huge_row_does_not_blind_foolsgold(value: float) -> None:
    rule = robust.FoolsGold()
    updates = draw(8, 50)
    updates[:3] = value
    for _ in range(3):
        found = rule(updates, clients=torch.arange(8))
    assert found.norm() < 10


# --- reputation


def test_reputation_is_a_moving_average_by_hand() -> None:
    """Trust 1, 1, 0.6; then 1, 0, 1. With half of the past: 1, 0.5, 0.8, of which the mean is 2.3 / 3."""
    stage = robust.Reputation(decay=0.5, root=lambda params: torch.tensor([1.0, 0.0]))
    who = {"clients": names(0, 1, 2), "params": torch.zeros(2)}
    stage(torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 4.0]]), **who)
    found = stage(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0]]), **who)
    wanted = torch.tensor([[1.0, 0.0], [-0.5, 0.0], [1.6, 0.0]]) / (2.3 / 3)
    torch.testing.assert_close(found, wanted)


def test_without_decay_a_mean_behind_reputation_is_fltrusts_but_for_the_lengths() -> None:
    updates = torch.nn.functional.normalize(draw(9, 30) + 0.3, dim=1)
    root = bind(lambda params, *, own: own, own=torch.nn.functional.normalize(draw(1, 30, 5) + 1, dim=1)[0])
    who = {"clients": torch.arange(9), "params": torch.zeros(30)}
    staged = robust.Reputation(decay=0.0, root=root)(updates, **who)
    torch.testing.assert_close(staged.mean(dim=0), robust.fltrust(updates, params=who["params"], root=root))


def test_who_was_bad_stays_suspect_for_a_while_and_a_newcomer_does_not() -> None:
    stage = robust.Reputation(decay=0.9)
    good, bad = draw(6, 20) * 0.1 + 1, -torch.ones(1, 20)
    for _ in range(5):
        stage(torch.cat([good, bad]), clients=torch.arange(7), params=torch.zeros(20))
    found = stage(torch.cat([good, good[:2]]), clients=names(0, 1, 2, 3, 4, 5, 6, 77), params=torch.zeros(20))
    assert found[6].norm() < 0.2 * found[0].norm()
    torch.testing.assert_close(found[7], found[1], rtol=0.01, atol=0)


def test_where_nobody_has_a_reputation_nothing_moves() -> None:
    stage = robust.Reputation(root=lambda params: -torch.ones(20))
    assert not stage(draw(6, 20).abs(), clients=torch.arange(6), params=torch.zeros(20)).any()


# --- the server's own update


def test_a_root_update_is_the_servers_own_training() -> None:
    digits = data.load("digits")
    scenario = Scenario(data=digits)
    model = scenario.network()
    start = model.init(stream())
    root = RootUpdate(model, digits.x[:50], digits.y[:50], lr=0.2, steps=3)
    everything = torch.arange(50).expand(1, 3, -1)
    wanted = local_updates_loop(model, start, digits.x, digits.y, everything, lr=0.2)[0]
    torch.testing.assert_close(root(start), wanted, atol=1e-5, rtol=0)


def test_fltrust_withstands_a_majority_that_sends_the_opposite() -> None:
    digits = data.load("digits")
    base = Scenario(data=digits, clients=10, rounds=8, malicious=0.6, attack=bind(poison.sign_flip, scale=10))
    root = RootUpdate(base.network(), digits.x[:100], digits.y[:100], lr=0.3, steps=5)
    defended = run(Scenario(**{**vars(base), "aggregate": bind(robust.fltrust, root=root)}))
    assert defended.final_accuracy > 0.8
    assert run(base).final_accuracy < 0.3


def test_fltrust_by_hand() -> None:
    """Cosines 1, 0.6 and -1 to (0, 2); rows of length 2 under shares 1 / 1.6 and 0.6 / 1.6."""
    updates = torch.tensor([[0.0, 9.0], [4.0, 3.0], [0.0, -1.0]])
    found = robust.fltrust(updates, params=torch.zeros(2), root=lambda params: torch.tensor([0.0, 2.0]))
    assert found.tolist() == pytest.approx([0.6 / 1.6 * 1.6, 1 / 1.6 * 2 + 0.6 / 1.6 * 1.2])


def test_the_root_is_asked_with_the_model_that_was_sent() -> None:
    updates = torch.tensor([[1.0], [2.0], [9.0]])
    found = robust.monna(updates, f=1, params=torch.tensor([8.0]), root=lambda params: params)
    assert found.item() == 5.5


@pytest.mark.parametrize("value", [1e3, 1e20, 3e38])
@pytest.mark.parametrize("name", ["fltrust", "monna"])
def test_a_huge_majority_moves_no_rule_with_a_root_far(name: str, value: float) -> None:
    updates = draw(9, 50) * 0.1 + 1
    updates[:4] = -value
    arguments = {"f": 4} if name == "monna" else {}
    found = getattr(robust, name)(updates, params=torch.zeros(50), root=lambda params: params + 1, **arguments)
    torch.testing.assert_close(found, torch.ones(50), atol=0.3, rtol=0)


def test_fltrust_with_nobody_on_the_servers_side_stays_where_it_is() -> None:
    found = robust.fltrust(-torch.ones(3, 4), params=torch.zeros(4), root=lambda params: params + 1)
    assert found.tolist() == [0.0] * 4


@pytest.mark.parametrize("rule", [robust.fltrust, partial(robust.monna, f=1)])
def test_an_own_update_that_does_not_fit_is_named(rule: Any) -> None:
    def call(own: Any) -> Tensor:
        return rule(draw(5, 4), params=torch.zeros(4), root=lambda params: own)

    with pytest.raises(ValueError, match=r"needs root to return floating-point numbers \[4\]; got .* shape \[3\]"):
        call(torch.zeros(3))
    with pytest.raises(ValueError, match=r"needs root to return floating-point numbers \[4\]; got list"):
        call([0.0] * 4)
    with pytest.raises(ImpossibleRule, match="needs a finite update of the server's own; got NaN or infinity"):
        call(torch.full((4,), torch.nan))


# --- bucketing


def test_each_row_lies_in_one_bucket() -> None:
    """Rows 1, 2, 4, 8 … : the sum of a bucket tells who lies in it."""
    updates = torch.tensor([[2.0**place] for place in range(11)])
    buckets = robust.bucketing(updates, size=3, generator=stream())
    sizes = torch.tensor([[3.0], [3.0], [3.0], [2.0]])
    members = [f"{round(float(total)):011b}" for total in (buckets * sizes).flatten()]
    assert [text.count("1") for text in members] == [3, 3, 3, 2]
    assert sum(int(text, 2) for text in members) == 2**11 - 1
    assert not torch.equal(buckets, robust.bucketing(updates, size=3, generator=stream(1)))


def test_one_bucket_is_the_mean_and_a_bucket_each_leaves_the_order() -> None:
    updates = draw(7, 9)
    torch.testing.assert_close(robust.bucketing(updates, size=9, generator=stream())[0], updates.mean(dim=0))
    assert torch.equal(robust.bucketing(updates, size=1, generator=stream()), updates)


def test_a_bucket_of_the_largest_numbers_does_not_overflow() -> None:
    assert robust.bucketing(torch.full((6, 3), 3e38), size=3, generator=stream()).isfinite().all()


def test_bucketing_loses_identities_on_purpose_and_deals_anew_each_round() -> None:
    seen: list[Tensor] = []
    rows: list[Tensor] = []

    def watch(updates: Tensor, *, clients: Tensor) -> Tensor:
        seen.append(clients)
        rows.append(updates)
        return updates

    stage = bind(robust.bucketing, size=2)
    same = Scenario(clients=6, rounds=2, server_lr=1e-9, local_steps=1, batch_size=None, server_stages=[stage, watch])
    list(rounds(same))
    assert [who.tolist() for who in seen[-2:]] == [[-1, -1, -1]] * 2
    assert not torch.allclose(rows[-1], rows[-2], rtol=1e-2), "the clients learned the same, the buckets differ"


# --- FedShield


def layers(f: int, radius: float) -> list[Any]:
    return [robust.MedianNormClip(), robust.Reputation(), bind(robust.multi_krum_mask, f=f)]


def test_fedshield_is_its_layers_in_a_row() -> None:
    """The parts as stages of the scenario do the same, without buckets: the engine has other draws for each part."""
    base = Scenario(clients=9, rounds=4, malicious=0.2, attack=bind(poison.sign_flip, scale=5))
    whole = [
        r.after for r in rounds(Scenario(**{**vars(base), "aggregate": robust.FedShield(f=2, radius=0.5, bucket=1)}))
    ]
    parts = {"server_stages": layers(2, 0.5), "aggregate": robust.CenteredClip(radius=0.5)}
    for after, wanted in zip(whole, rounds(Scenario(**{**vars(base), **parts})), strict=True):
        torch.testing.assert_close(after, wanted.after)


ALONE = {"f": 0, "radius": torch.inf, "factor": torch.inf, "decay": None, "bucket": 1, "noise": 0.0}


@pytest.mark.parametrize(
    ("setting", "alone"),
    [
        ({"factor": 1.0}, lambda u: robust.mean(robust.MedianNormClip()(u))),
        ({"decay": 0.9}, lambda u: robust.mean(call(robust.Reputation(), u, torch.arange(9)))),
        ({"f": 2}, lambda u: robust.multi_krum(u, f=2)),
        ({"bucket": 2}, lambda u: robust.mean(robust.bucketing(u, size=2, generator=stream()))),
        ({"radius": 0.5}, lambda u: robust.CenteredClip(radius=0.5)(u)),
        ({"noise": 0.1}, lambda u: robust.central_noise(u, rule=robust.mean, std=0.1, generator=stream())),
    ],
)
def test_each_layer_of_fedshield_is_left_out_by_itself(setting: dict[str, Any], alone: Any) -> None:
    updates = draw(9, 30) * torch.arange(1.0, 10.0)[:, None]
    found = call(robust.FedShield(**{**ALONE, **setting}), updates, torch.arange(9))
    torch.testing.assert_close(found, alone(updates))
    assert not torch.allclose(found, updates.mean(dim=0))


def test_fedshield_counts_f_in_buckets() -> None:
    """Nine rows in buckets of two are five, which hold f = 1 and not f = 2."""
    here = {"clients": torch.arange(9), "params": torch.zeros(3), "generator": stream()}
    robust.FedShield(f=1, radius=1.0)(draw(9, 3), **here)
    with pytest.raises(ImpossibleRule, match=r"2f \+ 2 < clients / bucket, rounded up; got f=2, clients=9, bucket=2"):
        robust.FedShield(f=2, radius=1.0)(draw(9, 3), **here)


@pytest.mark.parametrize("setting", [{"radius": 0}, {"factor": 0}, {"decay": 1.5}, {"bucket": 0}, {"noise": -1}])
def test_fedshields_settings_are_looked_at_when_it_is_made(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"needs .*{next(iter(setting))}.*; got"):
        robust.FedShield(**{**ALONE, **setting})


def test_fedshield_withstands_what_the_mean_does_not() -> None:
    base = Scenario.fedavg(rounds=15, clients=30, malicious=0.2, attack=bind(poison.sign_flip, scale=10))
    shield = robust.FedShield(f=6, radius=1.0)
    assert run(Scenario(**{**vars(base), "aggregate": shield})).final_accuracy > run(base).final_accuracy + 0.3
