"""Attacks: what they send, what they may know, and what they do in a federation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from labsec import Scenario, bind, poison, robust, rounds
from labsec.models import mlp
from labsec.poison.statistics import largest_z
from labsec.types import AttackerView, ImpossibleAttack, ImpossibleRule, Updates

DATA_ATTACKS = {"label_flip", "targeted_flip"}
DIRECTIONS = {"against_mean", "against_sign", "against_std"}
AROUND_ANOTHER = {"UnderThreshold"}  # tests/test_detect.py
BACKDOORS = {  # tests/test_backdoors.py
    *("Trigger", "constrain_and_scale", "corner", "distributed", "during", "model_replacement", "mpaf", "neurotoxin"),
    *("plant", "projected_descent", "word_in_front"),
}
UPDATE_ATTACKS = sorted(set(poison.__all__) - DATA_ATTACKS - DIRECTIONS - AROUND_ANOTHER - BACKDOORS)
ORDINARY = {"scale": 2.0, "std": 0.5, "norm": 2.0}


def draw(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=Generator().manual_seed(seed))


def make_view(
    malicious: int = 3, honest: int = 9, dim: int = 40, rule: Callable[[Tensor], Tensor] | None = robust.mean
) -> AttackerView:
    """Honest updates around a common direction, as in training."""
    rows = 1 + draw(malicious + honest, dim)
    return AttackerView(
        round=0,
        params=torch.zeros(dim),
        own=rows[:malicious],
        others=rows[malicious:],
        model=mlp((2,), 2, hidden=()),
        x=torch.zeros(1, 2),
        y=torch.zeros(1, dtype=torch.int64),
        rule=rule,
    )


def make(name: str) -> Callable[[AttackerView], Updates]:
    """The attack with what it needs filled in; a new keyword must be given its value above."""
    attack = getattr(poison, name)
    wanted = inspect.signature(attack).parameters
    known = {key: value for key, value in ORDINARY.items() if key in wanted}

    if inspect.isclass(attack):
        return attack(**known)  # one that remembers something between rounds

    def attacked(view: AttackerView) -> Updates:
        drawn = {"generator": Generator().manual_seed(0)} if "generator" in wanted else {}
        return attack(view, **known, **drawn)

    return attacked


every_attack = pytest.mark.parametrize("name", UPDATE_ATTACKS)


@every_attack
def test_shape_dtype_and_an_untouched_view(name: str) -> None:
    view = make_view()
    own = view.own.clone()
    others = view.others.clone()
    forged = make(name)(view)
    assert forged.shape == view.own.shape
    assert forged.dtype is view.own.dtype
    assert forged.isfinite().all()
    forged.add_(1)
    assert torch.equal(view.own, own)
    assert torch.equal(view.others, others)


@every_attack
def test_the_same_bits_again(name: str) -> None:
    assert torch.equal(make(name)(make_view()), make(name)(make_view()))


@every_attack
def test_it_runs_in_a_federation(name: str) -> None:
    attack = getattr(poison, name)
    known = {key: value for key, value in ORDINARY.items() if key in inspect.signature(attack).parameters}
    scenario = Scenario(
        clients=10,
        malicious=0.3,
        rounds=1,
        local_steps=1,
        attack=attack(**known) if inspect.isclass(attack) else bind(attack, **known),
        omniscient=True,
        public_rule=True,
    )
    attacked = next(rounds(scenario))
    honest = next(rounds(replace(scenario, attack=None, malicious=0.0)))
    assert torch.equal(attacked.messages[3:], honest.messages[3:])
    assert not torch.equal(attacked.messages[:3], honest.messages[:3])


@pytest.mark.parametrize("name", ["alie", "ipm", "min_max", "min_sum"])
def test_without_others_the_attackers_own_updates_are_the_sample(name: str) -> None:
    view = make_view()
    blind = make_view()
    attack = getattr(poison, name)
    known = {"ipm": {"scale": 2.0}, "alie": {"z": 1.0}}.get(name, {})
    blind = replace(blind, others=None)
    assert torch.equal(attack(blind, **known), attack(replace(view, others=view.own), **known))
    assert not torch.equal(attack(blind, **known), attack(view, **known))


@pytest.mark.parametrize("name", ["adaptive", "alie", "ipm", "min_max", "min_sum"])
def test_an_attacker_whose_own_training_blew_up_is_no_part_of_the_sample(name: str) -> None:
    view = replace(make_view(malicious=4), others=None)
    spoilt = view.own.clone()
    spoilt[1, 3] = torch.nan
    known = {"adaptive": {"norm": 2.0, "total": 12}, "ipm": {"scale": 2.0}, "alie": {"z": 1.0}}.get(name, {})
    attack = bind(getattr(poison, name), **known)
    forged = attack(replace(view, own=spoilt))
    sighted = attack(replace(view, own=spoilt, others=spoilt[[0, 2, 3]]))
    assert forged.shape == view.own.shape
    assert torch.equal(forged, sighted) or name == "adaptive"  # which repeats the sample up to the number of clients
    assert forged.isfinite().all()

    with pytest.raises(ImpossibleAttack, match=rf"{name} needs at least . honest updates .*finite own rows=0"):
        attack(replace(view, own=torch.full_like(view.own, torch.nan)))


@pytest.mark.parametrize("name", ["alie", "min_max", "min_sum"])
def test_spread_needs_two_rows(name: str) -> None:
    view = replace(make_view(malicious=1), others=None)
    with pytest.raises(ValueError, match=rf"{name} needs at least 2 honest updates .*own rows=1"):
        getattr(poison, name)(view)


def test_mimic_needs_somebody_to_copy() -> None:
    with pytest.raises(ValueError, match=r"mimic needs the honest messages .*view\.others = None"):
        poison.mimic(replace(make_view(), others=None))


def test_adaptive_needs_the_rule_and_the_number_of_clients() -> None:
    with pytest.raises(ValueError, match=r"adaptive needs the server's rule; got view\.rule = None"):
        poison.adaptive(make_view(rule=None), norm=1.0)
    blind = replace(make_view(), others=None)
    for attack in (bind(poison.adaptive, norm=1.0), poison.alie):
        with pytest.raises(ValueError, match=r"needs to know the number of clients: give total=…"):
            attack(blind)
        with pytest.raises(ValueError, match="got total=2, clients in view=3"):
            attack(blind, total=2)


def test_plain_attacks_are_one_line_each() -> None:
    view = make_view()
    assert torch.equal(poison.sign_flip(view, scale=3.0), -3 * view.own)
    assert torch.equal(poison.scaled(view, scale=3.0), 3 * view.own)
    noise = poison.gaussian(view, std=0.5, generator=Generator().manual_seed(1)) - view.own
    assert noise.std().item() == pytest.approx(0.5, rel=0.2)
    with pytest.raises(ValueError, match="std >= 0; got std=-1"):
        poison.gaussian(view, std=-1, generator=Generator())


def test_alie_shifts_the_mean_by_z_standard_deviations() -> None:
    view = make_view()
    wanted = view.others.mean(dim=0) - 1.5 * view.others.std(dim=0)
    torch.testing.assert_close(poison.alie(view, z=1.5), wanted.expand_as(view.own))


@pytest.mark.parametrize(("clients", "malicious"), [(50, 24), (50, 12), (30, 9), (11, 5)])
def test_alies_z_leaves_enough_honest_clients_farther_out(clients: int, malicious: int) -> None:
    honest = clients - malicious
    farther = honest * torch.special.ndtr(torch.tensor(-largest_z(clients, malicious))).item()
    assert farther + malicious == pytest.approx(clients // 2 + 1)  # a majority together


def test_alies_z_by_hand() -> None:
    """One of three needs one of the two others for a majority: the farther half, which lies beyond the mean."""
    assert largest_z(3, 1) == 0.0

    # One of four needs two of the three others, two of five need one of three: beyond the lower and the upper third.
    assert largest_z(4, 1) == pytest.approx(-0.4307, abs=1e-4)
    assert largest_z(5, 2) == pytest.approx(0.4307, abs=1e-4)


@pytest.mark.parametrize(("clients", "malicious"), [(10, 6), (10, 0), (2, 1)])
def test_alie_refuses_a_majority(clients: int, malicious: int) -> None:
    with pytest.raises(ValueError, match=f"got malicious={malicious}, clients={clients}"):
        largest_z(clients, malicious)


def test_alie_takes_z_from_the_numbers_it_sees_or_is_told() -> None:
    view = make_view(malicious=3, honest=9)
    assert torch.equal(poison.alie(view), poison.alie(view, z=largest_z(12, 3)))
    blind = replace(view, others=None)
    assert torch.equal(poison.alie(blind, total=20), poison.alie(blind, z=largest_z(20, 3)))


def test_ipm_reverses_the_mean_beyond_honest_over_malicious() -> None:
    view = make_view(malicious=3, honest=9)
    direction = view.others.mean(dim=0)
    for scale, reversed_ in ((2.9, False), (3.1, True)):
        result = robust.mean(torch.cat([poison.ipm(view, scale=scale), view.others]))
        assert (result @ direction < 0) == reversed_


def bisected(accepted: Callable[[float], bool]) -> float:
    """The paper's way: the largest accepted step."""
    low = 0.0
    high = 1e6
    for _ in range(200):
        middle = (low + high) / 2
        if accepted(middle):
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize("direction", [poison.against_mean, poison.against_std, poison.against_sign])
@pytest.mark.parametrize("seed", range(3))
def test_min_max_and_min_sum_go_as_far_as_bisection(direction: Callable[[Tensor], Tensor], seed: int) -> None:
    view = replace(make_view(), others=(1 + draw(9, 40, seed)))
    rows = view.others.double()
    centre = rows.mean(dim=0)
    push = torch.nn.functional.normalize(direction(rows), dim=0)
    between = torch.cdist(rows, rows).square()

    def squares(step: float) -> Tensor:
        return (centre + step * push - rows).square().sum(dim=1)

    for attack, step in (
        (poison.min_max, bisected(lambda step: bool(squares(step).max() <= between.max()))),
        (poison.min_sum, bisected(lambda step: bool(squares(step).sum() <= between.sum(dim=1).max()))),
    ):
        wanted = (centre + step * push).float().expand_as(view.own)
        torch.testing.assert_close(attack(view, direction=direction), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attack", [poison.min_max, poison.min_sum])
@pytest.mark.parametrize("direction", [poison.against_mean, poison.against_std, poison.against_sign])
def test_finite_rows_whose_norm_overflows_are_no_obstacle(
    attack: Callable[..., Tensor], direction: Callable[[Tensor], Tensor]
) -> None:
    """A message grows in proportion to the rows, also where the norms, near 1e39, are too large for float32."""
    small = make_view(dim=400)
    large = replace(small, own=2e37 * small.own, others=2e37 * small.others)
    assert large.others.norm(dim=1).isinf().all()
    forged = attack(large, direction=direction)
    assert forged.isfinite().all()
    torch.testing.assert_close(forged / 2e37, attack(small, direction=direction), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["min_max", "min_sum"])
@pytest.mark.parametrize("wrong", [0.0, torch.inf, torch.nan])
def test_a_direction_that_vanishes_or_is_not_finite_is_refused(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs a direction of finite, positive length; got length {wrong}"):
        getattr(poison, name)(make_view(), direction=lambda rows: torch.full(rows.shape[1:], wrong))


def test_the_directions_by_hand() -> None:
    rows = torch.tensor([[1.0, -4.0, 0.0], [3.0, -2.0, 0.0]])
    assert poison.against_mean(rows).tolist() == [-2.0, 3.0, 0.0]
    assert poison.against_sign(rows).tolist() == [-1.0, 1.0, 0.0]
    assert poison.against_std(rows).tolist() == pytest.approx([-(2**0.5), -(2**0.5), 0.0])


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_mimic_looks_for_the_one_farthest_from_the_others_not_for_the_longest(offset: float) -> None:
    """The second row is the longest; but the rows differ most in the second coordinate, where the third stands out."""
    others = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 1.5]]) + torch.tensor([offset, 0.0])
    view = replace(make_view(), own=torch.zeros(1, 2), others=others)
    assert torch.equal(poison.mimic(view), others[2:])


def test_mimic_copies_whom_it_is_told_or_the_farthest_out() -> None:
    view = make_view()
    assert torch.equal(poison.mimic(view, target=4), view.others[4].expand_as(view.own))
    far = view.others.clone()
    far[6] += 100 * draw(1, 40, seed=5)[0]
    assert torch.equal(poison.mimic(replace(view, others=far)), far[6].expand_as(view.own))
    with pytest.raises(ValueError, match="got target=9, honest rows=9"):
        poison.mimic(view, target=9)


def harm(view: AttackerView, forged: Updates) -> float:
    return -float(view.rule(torch.cat([forged, view.others])) @ view.others.mean(dim=0))


@pytest.mark.parametrize(
    "rule",
    [
        robust.mean,
        robust.median,
        robust.geometric_median,
        bind(robust.trimmed_mean, f=3),
        bind(robust.krum, f=3),
        bind(robust.multi_krum, f=3),
        lambda rows: robust.mean(robust.nnm(rows, f=3)),
        lambda rows: robust.mean(robust.norm_clip(rows, bound=8.0)),
    ],
)
def test_adaptive_harms_any_rule_at_least_as_much_as_its_starting_points(rule: Callable[[Tensor], Tensor]) -> None:
    view = make_view(rule=rule)
    honest = harm(view, view.own)
    for norm in (0.5, 2.0):
        forged = poison.adaptive(view, norm=norm)
        bound = norm * float(view.others.norm(dim=1).median())
        assert forged.norm(dim=1).max() <= bound * 1.0001
        reached = harm(view, forged)
        longest = bound * torch.nn.functional.normalize(poison.against_mean(view.others), dim=0)
        assert reached >= harm(view, longest.expand_as(view.own)) - 1e-3
        assert reached > honest


def test_adaptive_gets_past_a_rule_that_throws_long_steps_away() -> None:
    """Krum and its like never take the longest step: the search has to find how far it may go."""
    view = make_view(malicious=4, honest=9, rule=bind(robust.krum, f=4))
    loud = harm(view, poison.ipm(view, scale=10.0))
    assert harm(view, poison.adaptive(view, norm=10.0)) > loud + 1


TARGETS = {
    "one direction": (0.0, 0.25, 0.0),
    "another": (0.0, 0.0, 0.5),
    "one long step, then a small one there and a small one back": (0.5, 0.25, -0.25),
    "back towards the honest mean": (0.375, 0.0, -0.125),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_adaptive_finds_the_one_message_that_a_rule_minds(target: tuple[float, ...]) -> None:
    """A rule that moves the farther against the mean, the nearer the message comes to one point of the span.

    Steps of a half, a quarter and an eighth lead to each of these points, and to nothing nearer.
    """
    view = make_view(dim=60)
    rows = view.others
    mean = rows.mean(dim=0)
    bound = 10 * float(rows.norm(dim=1).quantile(0.5))
    found = [poison.against_mean(rows), poison.against_std(rows), poison.against_sign(rows)]
    span = bound * torch.nn.functional.normalize(torch.stack(found), dim=1)  # [3, dim]

    def place(row: Tensor) -> Tensor:
        """A message in coordinates of the span: [3]."""
        return torch.linalg.lstsq(span.T, row - mean).solution

    def minding(updates: Tensor) -> Tensor:
        return (place(updates[0]) - torch.tensor(target)).square().sum() * mean

    forged = poison.adaptive(replace(view, rule=minding), norm=10.0)
    assert place(forged[0]).tolist() == pytest.approx(target, abs=1e-4)


def test_adaptive_goes_to_its_bound_against_a_rule_that_bounds_nothing() -> None:
    """Its norm counts in the honest rows' median norm: under the mean, the longest message against it harms most."""
    view = make_view(rule=robust.mean)
    usual = float(view.others.norm(dim=1).quantile(0.5))
    for norm in (1.0, 2.0, 20.0):
        forged = poison.adaptive(view, norm=norm)
        assert forged.norm(dim=1).tolist() == pytest.approx([norm * usual] * 3, rel=1e-4)
        longest = norm * usual * torch.nn.functional.normalize(-view.others.mean(dim=0), dim=0)
        assert harm(view, forged) == pytest.approx(harm(view, longest.expand_as(view.own)), rel=0.01)


def test_adaptive_sends_the_honest_mean_where_no_message_harms_more() -> None:
    view = make_view(rule=lambda rows: torch.ones(rows.shape[1]))
    torch.testing.assert_close(poison.adaptive(view, norm=2.0), view.others.mean(dim=0).expand_as(view.own))


def test_adaptive_needs_no_omniscience() -> None:
    sighted = make_view(rule=bind(robust.trimmed_mean, f=3))
    blind = replace(sighted, others=None)
    forged = poison.adaptive(blind, norm=2.0, total=12)
    assert harm(sighted, forged) > harm(sighted, sighted.own)


def test_adaptive_sends_honest_updates_where_the_rule_fails_for_everybody() -> None:
    def impossible(rows: Tensor) -> Tensor:
        raise ImpossibleRule("never")

    view = make_view(rule=impossible)
    assert torch.equal(poison.adaptive(view, norm=1.0), view.own)
    with pytest.raises(ValueError, match="norm > 0; got norm=0"):
        poison.adaptive(view, norm=0)


def test_adaptive_tries_the_rule_on_as_many_rows_as_the_round_has_the_malicious_ones_first() -> None:
    tried: list[Tensor] = []

    def watched(rows: Tensor) -> Tensor:
        tried.append(rows)
        return robust.mean(rows)

    view = make_view(malicious=3, honest=9, rule=watched)
    poison.adaptive(view, norm=2.0)
    assert len(tried) == 13 + 3 * 6
    for rows in tried:
        assert torch.equal(rows[3:], view.others)
        assert torch.equal(rows[:3], rows[0].expand(3, -1))

    # Two rows have a standard deviation. One has none: two directions are left.
    for honest, calls in ((2, 13 + 3 * 6), (1, 9 + 2 * 6)):
        tried.clear()
        poison.adaptive(replace(view, others=view.others[:honest]), norm=2.0)
        assert len(tried) == calls

    tried.clear()
    poison.adaptive(replace(view, own=view.own[:1], others=None), norm=2.0, total=1)
    assert {len(rows) for rows in tried} == {1}, "the attacker may be alone in its round"

    tried.clear()
    poison.adaptive(replace(view, others=None), norm=2.0, total=12)
    assert {len(rows) for rows in tried} == {12}
    assert torch.equal(tried[0][3:6], view.own)


# --- drift


def test_drift_goes_back_the_way_of_all_rounds_at_the_usual_length() -> None:
    """After one step to the right and one up, both of length 1, back is down to the left; the usual length is now 5."""
    attack = poison.Drift(norm=2.0)
    right = replace(make_view(dim=2), own=torch.zeros(3, 2), others=torch.tensor([[1.0, 0.0]] * 4))
    torch.testing.assert_close(attack(right), torch.tensor([[-2.0, 0.0]] * 3))
    up = replace(right, others=torch.tensor([[0.0, 5.0], [0.0, 1.0], [0.0, 5.0], [0.0, -7.0]]))  # their mean is (0, 1)
    back = -torch.tensor([1.0, 1.0]) / 2**0.5
    torch.testing.assert_close(attack(up), (2 * 5 * back).expand(3, 2))


def test_drift_begins_anew_in_every_run() -> None:
    attack = poison.Drift(norm=1.0)
    scenario = Scenario(clients=6, malicious=0.34, rounds=2, attack=attack, omniscient=True)
    first, second = (torch.cat([result.messages for result in rounds(scenario)]) for _ in range(2))
    assert torch.equal(first, second)
