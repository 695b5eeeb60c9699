"""Backdoors: what a trigger marks, what the attacks send, and what the model then says to marked samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from labsec import Scenario, bind, data, metrics, models, poison, robust, rounds, run
from labsec.federation.history import History
from labsec.models import mlp
from labsec.poison import Trigger, corner, plant, word_in_front
from labsec.study import doors
from labsec.types import AttackerView, ImpossibleAttack, Updates, generator

DIGITS = data.load("digits")
CORNER = Trigger(stamp=corner, target=0)
START = 60  # the attacks below meet a model that has learned
BACKDOORS: dict[str, dict[str, Any]] = {
    "model_replacement": {"boost": 10.0},
    "constrain_and_scale": {"boost": 10.0, "norm": 1.0, "cosine": 0.2},
    "projected_descent": {"norm": 1.0},
    "neurotoxin": {"avoid": 0.25},
    "distributed": {"parts": 4, "boost": 3.0},
}


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int = 40) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 4, 4, generator=draws()) / 2, torch.arange(n) % 4


class Training:
    """In place of a real training: remembers what it was given and returns rows that a test can foresee."""

    def __init__(self, rows: Updates) -> None:
        self.rows = rows
        self.lessons: list[tuple[Tensor, Tensor]] = []
        self.starts: list[Tensor | None] = []
        self.steps: list[int | None] = []

    def __call__(self, x: Tensor, y: Tensor, *, steps: int | None = None, start: Tensor | None = None) -> Updates:
        self.lessons.append((x, y))
        self.starts.append(start)
        self.steps.append(steps)
        return self.rows.clone()


def make_view(train: Training, own: Tensor | None = None, others: Tensor | None = None) -> AttackerView:
    x, y = pictures()
    dim = train.rows.shape[1]
    return AttackerView(
        round=0,
        params=torch.zeros(dim),
        own=torch.ones_like(train.rows) if own is None else own,
        others=others,
        model=mlp((1, 4, 4), 4, hidden=()),
        x=x,
        y=y,
        clients=torch.arange(len(train.rows)),
        local_steps=3,
        train=train,
    )


# --- triggers


def test_a_corner_and_a_word_by_hand() -> None:
    x = torch.full((2, 1, 3, 3), 0.5)
    stamped = corner(x, size=1)
    assert stamped[0, 0].tolist() == [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 1.0]]
    assert x.max() == 0.5
    texts = torch.tensor([[3, 4, 0], [5, 6, 7]])
    assert word_in_front(texts, word=9).tolist() == [[9, 3, 4], [9, 5, 6]]


def test_victims_are_of_other_classes_and_of_the_subpopulation() -> None:
    x, y = pictures()
    assert len(Trigger(target=1).victims(x, y)) == 30
    bright = Trigger(target=1, stamp=corner, among=lambda x, y: x.mean(dim=(1, 2, 3)) > 0.25)
    wanted = [i for i in range(40) if y[i] != 1 and x[i].mean() > 0.25]
    assert torch.equal(bright.victims(x, y), corner(x[wanted]))
    assert torch.equal(Trigger(target=1, among=lambda x, y: y == 2).victims(x, y), x[y == 2]), "nothing is pasted"


def test_the_parts_of_a_trigger_are_the_trigger_and_do_not_overlap() -> None:
    x, _ = pictures()
    whole = CORNER.stamp(x)
    changed = [(CORNER.part(i, 3).stamp(x) != x).any(dim=0) for i in range(3)]
    assert sum(int(places.sum()) for places in changed) == 4
    assert torch.equal(torch.stack(changed).any(dim=0), (whole != x).any(dim=0))
    put_together = x
    for i in range(3):
        put_together = CORNER.part(i, 3).stamp(put_together)
    assert torch.equal(put_together, whole)


def test_plant_replaces_a_share_by_marked_samples_of_other_classes() -> None:
    x, y = pictures(4000)
    new_x, new_y = plant(x, y, 4, generator=draws(), trigger=CORNER, share=0.3)
    is_marked = (new_x[:, :, -2:, -2:] == 1).all(dim=(1, 2, 3))
    assert is_marked.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (new_y[is_marked] == 0).all()
    assert torch.equal(new_x[~is_marked], x[~is_marked])
    assert torch.equal(new_y[~is_marked], y[~is_marked])
    victims = {tuple(sample.flatten().tolist()) for sample in CORNER.victims(x, y)}
    assert all(tuple(sample.flatten().tolist()) in victims for sample in new_x[is_marked])


def test_plant_leaves_all_as_it_is_at_share_zero_and_where_nobody_is_meant() -> None:
    x, y = pictures()
    for trigger, share in ((CORNER, 0.0), (Trigger(target=0, among=lambda x, y: y > 8), 1.0)):
        new_x, new_y = plant(x, y, 4, generator=draws(), trigger=trigger, share=share)
        assert torch.equal(new_x, x)
        assert torch.equal(new_y, y)


def test_a_trigger_that_breaks_its_word_is_refused() -> None:
    x, y = pictures()
    with pytest.raises(ValueError, match=r"a stamp that returns .*\[30, 1, 4, 4\]; got .*\[30, 4, 4\]"):
        Trigger(target=0, stamp=lambda x: x[:, 0]).victims(x, y)
    with pytest.raises(ValueError, match=r"`among` to return bool \[40\]; got torch.float32"):
        Trigger(target=0, among=lambda x, y: x.mean(dim=(1, 2, 3))).victims(x, y)
    with pytest.raises(ValueError, match="target < 4; got target=4"):
        plant(x, y, 4, generator=draws(), trigger=Trigger(target=4), share=0.5)


# --- what the attacks send, by hand


def attack_with(name: str, view: AttackerView, **changes: Any) -> Updates:
    return getattr(poison, name)(view, trigger=CORNER, generator=draws(), **{**BACKDOORS[name], **changes})


def test_model_replacement_boosts_what_poisoned_samples_teach() -> None:
    train = Training(torch.tensor([[1.0, -2.0], [0.5, 0.0]]))
    sent = attack_with("model_replacement", make_view(train), boost=10.0, share=0.25, steps=7)
    assert sent.tolist() == [[10.0, -20.0], [5.0, 0.0]]
    assert train.steps == [7]
    (x, y), *_ = train.lessons
    assert 0 < (x[:, :, -2:, -2:] == 1).all(dim=(1, 2, 3)).sum() < 20
    assert (y == 0).sum() > 10


def test_model_replacement_makes_the_mean_the_attackers_model() -> None:
    attack = bind(poison.model_replacement, trigger=CORNER, boost=10.0)
    turn = next(rounds(Scenario(clients=10, malicious=0.1, rounds=1, attack=attack)))
    sent = turn.messages[0] / 10
    # Honest clients add their tenth each: what is missing to the attacker's model is their mean.
    torch.testing.assert_close(turn.after - turn.before - sent, turn.messages[1:].sum(dim=0) / 10)


def test_constrain_and_scale_bends_and_cuts_by_hand() -> None:
    """Honest clients go right by 2. A long message straight up may keep its length of 1 · 2 and a cosine of 0.6."""
    train = Training(torch.tensor([[0.0, 1.0]]))
    view = make_view(train, own=torch.ones(1, 2), others=torch.tensor([[2.0, 0.0]] * 3))
    assert attack_with("constrain_and_scale", view, cosine=0.6)[0].tolist() == pytest.approx([1.2, 1.6])
    assert attack_with("constrain_and_scale", view, cosine=-1.0)[0].tolist() == pytest.approx([0.0, 2.0])
    short = attack_with("constrain_and_scale", view, cosine=-1.0, boost=0.5)
    assert short[0].tolist() == pytest.approx([0.0, 0.5]), "what is within the bounds stays as it is"


@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.7, 1.0])
def test_constrain_and_scale_holds_its_bounds(cosine: float) -> None:
    train = Training(torch.randn(6, 30, generator=draws(1)))
    others = 0.3 + torch.randn(9, 30, generator=draws(2))
    view = make_view(train, others=others)
    sent = attack_with("constrain_and_scale", view, cosine=cosine, norm=0.8)
    usual = others.norm(dim=1).quantile(0.5)
    assert sent.norm(dim=1).max() <= 0.8 * usual * 1.0001
    to_honest = torch.cosine_similarity(sent, others.mean(dim=0)[None])
    assert to_honest.min() >= cosine - 1e-4
    free = torch.cosine_similarity(train.rows, others.mean(dim=0)[None])
    torch.testing.assert_close(to_honest[free > cosine], free[free > cosine], atol=1e-4, rtol=0)


def test_projected_descent_goes_back_into_the_ball_after_every_step() -> None:
    """Each step goes right by 1; the ball has radius 1.5: 1, then 1.5, and 1.5 again."""
    train = Training(torch.tensor([[1.0, 0.0]]))
    view = make_view(train, others=torch.tensor([[0.0, 1.0]] * 3))
    assert attack_with("projected_descent", view, norm=1.5)[0].tolist() == pytest.approx([1.5, 0.0])
    assert [start[0, 0].item() for start in train.starts if start is not None] == pytest.approx([0.0, 1.0, 1.5])
    assert train.steps == [1, 1, 1]
    first, second, _ = train.lessons
    assert not torch.equal(first[0], second[0]), "another order, or every step would draw the same batch"
    assert attack_with("projected_descent", view, norm=1.5, boost=4.0)[0].tolist() == pytest.approx([6.0, 0.0])


def test_neurotoxin_stays_off_the_coordinates_that_honest_clients_move_most() -> None:
    train = Training(torch.ones(2, 4))
    view = make_view(train, own=torch.zeros(2, 4), others=torch.tensor([[0.1, -5.0, 0.3, 2.0], [0.1, -5.0, 0.3, 4.0]]))
    assert attack_with("neurotoxin", view, avoid=0.5).tolist() == [[3.0, 0.0, 3.0, 0.0]] * 2
    assert all(start[:, 1].abs().max() == 0 for start in train.starts if start is not None)
    assert attack_with("neurotoxin", view, avoid=0.0).tolist() == [[3.0] * 4] * 2


def test_neurotoxin_that_sees_nobody_else_takes_its_own_honest_updates_for_usual() -> None:
    view = make_view(Training(torch.ones(2, 2)), own=torch.tensor([[0.0, 9.0]] * 2))
    assert attack_with("neurotoxin", view, avoid=0.5).tolist() == [[3.0, 0.0]] * 2


def test_distributed_gives_each_attacker_its_part() -> None:
    train = Training(torch.arange(12.0).view(6, 2))
    sent = attack_with("distributed", make_view(train), parts=4, boost=2.0, share=1.0)
    assert torch.equal(sent, 2 * train.rows)
    marks = [(x[0] == 1).sum().item() for x, _ in train.lessons]
    assert marks == [1, 1, 1, 1], "a white pixel each"
    places = {int((x[0] == 1).flatten().nonzero()) for x, _ in train.lessons}
    assert places == {10, 11, 14, 15}, "of the corner of 4 x 4 pixels"


def test_mpaf_drags_to_the_base_by_hand() -> None:
    view = make_view(Training(torch.zeros(2, 3)))
    base = torch.tensor([1.0, 2.0, 3.0])
    assert poison.mpaf(view, base=base, scale=5.0).tolist() == [[5.0, 10.0, 15.0]] * 2
    own_models = replace(view, params=torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]))
    assert poison.mpaf(own_models, base=base, scale=5.0).tolist() == [[5.0, 10.0, 15.0], [0.0, 0.0, 0.0]]
    with pytest.raises(
        ValueError, match=r"mpaf needs a finite base of torch.float32 \[3\]; got torch.float32 of shape"
    ):
        poison.mpaf(view, base=base[:2], scale=5.0)


def test_during_is_honest_in_the_other_rounds() -> None:
    view = make_view(Training(torch.zeros(1, 2)), own=torch.tensor([[1.0, 2.0]]))
    attack = bind(poison.scaled, scale=3.0)
    for number, sent in ((4, [[1.0, 2.0]]), (5, [[3.0, 6.0]]), (7, [[1.0, 2.0]])):
        found = poison.during(replace(view, round=number), attack=attack, rounds=range(5, 7), generator=draws())
        assert found.tolist() == sent
    noisy = poison.during(replace(view, round=5), attack=bind(poison.gaussian, std=1.0), rounds=[5], generator=draws())
    assert torch.equal(noisy, poison.gaussian(view, std=1.0, generator=draws()))


def test_during_leaves_the_honest_rounds_as_they_are() -> None:
    base = Scenario.fedavg(rounds=4)
    attack = bind(poison.model_replacement, trigger=CORNER, boost=30.0)
    attacked = list(rounds(replace(base, malicious=1 / 30, attack=bind(poison.during, attack=attack, rounds=[3]))))
    honest = list(rounds(base))
    for one, other in zip(attacked[:3], honest[:3], strict=True):
        assert torch.equal(one.messages, other.messages)
    assert torch.equal(attacked[3].messages[1:], honest[3].messages[1:])
    assert not torch.equal(attacked[3].messages[0], honest[3].messages[0])


@pytest.mark.parametrize("name", BACKDOORS)
def test_an_attacker_without_a_sample_to_mark_is_told_so(name: str) -> None:
    view = make_view(Training(torch.ones(2, 3)), others=torch.ones(3, 3))
    nobody = Trigger(target=0, among=lambda x, y: y > 8)
    with pytest.raises(ImpossibleAttack, match=rf"{name} needs samples that the trigger is for; got none among 40"):
        getattr(poison, name)(view, trigger=nobody, generator=draws(), **BACKDOORS[name])


@pytest.mark.parametrize("name", BACKDOORS)
def test_the_same_bits_again_and_an_untouched_view(name: str) -> None:
    attack = bind(getattr(poison, name), trigger=CORNER, **BACKDOORS[name])
    scenario = Scenario(clients=8, malicious=0.5, rounds=2, attack=attack, omniscient=True)
    first, second = ([turn.messages for turn in rounds(scenario)] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


# --- what the model then says


@cache
def learned() -> Tensor:
    """A model that nobody attacked."""
    start = doors.grown(Scenario.fedavg(), honest_rounds=START).start
    assert start is not None
    return start


def goes_on(**changes: Any) -> Scenario:
    """The federation after `START` honest rounds, with a probe for the corner."""
    probes = {"door": doors.success(CORNER, DIGITS.x_test, DIGITS.y_test)}
    settings = {"start": learned(), "first_round": START, "rounds": 1, "probes": probes, **changes}
    return Scenario.fedavg(**settings)


def opened(**changes: Any) -> tuple[float, float]:
    """Success of the corner after the last round, and the accuracy."""
    last = run(goes_on(**changes)).rows[-1]
    return last["door"], last["accuracy"]


def test_success_is_what_a_plain_loop_counts() -> None:
    model = Scenario.fedavg().network()
    hits = 0
    of = 0
    for picture, label in zip(DIGITS.x_test, DIGITS.y_test, strict=True):
        if label == 0:
            continue
        marked = picture.clone()
        marked[0, 6:, 6:] = 1
        hits += int(model(learned()[None], marked[None, None])[0, 0].argmax() == 0)
        of += 1
    probe = doors.success(CORNER, DIGITS.x_test, DIGITS.y_test)
    assert probe(model, learned()) == pytest.approx(hits / of)
    assert metrics.label_share(model, learned(), x=DIGITS.x_test, label=3) == pytest.approx(0.1, abs=0.05)


def test_nobody_trains_the_trigger_and_nothing_opens() -> None:
    """The negative control: the same boost and the same extra steps on clean samples."""
    baseline, _ = opened()
    assert baseline < 0.02
    clean = bind(poison.model_replacement, trigger=CORNER, boost=30.0, share=0.0, steps=20)
    assert opened(malicious=1 / 30, attack=clean)[0] == pytest.approx(baseline, abs=0.02)


LOUD = {
    "model_replacement": (1, {"boost": 30.0, "steps": 20}, 0.9),
    "neurotoxin": (1, {"avoid": 0.05, "boost": 30.0, "steps": 20}, 0.8),
    "projected_descent": (3, {"norm": 6.0, "boost": 10.0, "steps": 20}, 0.7),
    "constrain_and_scale": (3, {"norm": 80.0, "boost": 30.0, "steps": 20}, 0.7),
    "distributed": (4, {"parts": 4, "boost": 5.0, "steps": 20}, 0.4),
}


@pytest.mark.parametrize("name", LOUD)
def test_a_single_shot_opens_the_door(name: str) -> None:
    attackers, arguments, least = LOUD[name]
    attack = bind(getattr(poison, name), trigger=CORNER, **arguments)
    success, accuracy = opened(malicious=attackers / 30, attack=attack)
    assert success > least
    assert accuracy > 0.6


def test_poisoning_by_data_opens_the_door_and_keeps_the_accuracy() -> None:
    planted = {"malicious": 0.2, "rounds": 40}
    much = opened(**planted, data_attack=bind(plant, trigger=CORNER, share=0.5))
    little = opened(**planted, data_attack=bind(plant, trigger=CORNER, share=0.05))
    assert much[0] > 0.9
    assert 0.02 < little[0] < much[0]
    assert much[1] > 0.93


def test_a_bound_on_the_norm_stops_a_single_shot_and_not_a_campaign() -> None:
    clip = {"server_stages": [robust.MedianNormClip()], "malicious": 0.3}
    attack = bind(poison.constrain_and_scale, trigger=CORNER, boost=30.0, norm=1.0, steps=20)
    assert opened(**clip, attack=attack)[0] < 0.05
    assert opened(**clip, attack=attack, rounds=60)[0] > 0.9


def test_sybils_without_data_bring_a_model_with_a_backdoor() -> None:
    base = goes_on(malicious=1 / 30, attack=bind(poison.model_replacement, trigger=CORNER, boost=30.0, steps=100))
    backdoored = next(rounds(base)).after
    everybody = data.partition(DIGITS.y, 29, generator=generator(0, "partition"))
    sybil = {"shards": [[], *everybody], "malicious": 1 / 30}
    success, accuracy = opened(**sybil, attack=bind(poison.mpaf, base=backdoored, scale=30.0))
    assert success > 0.9
    assert accuracy > 0.8
    random = base.network().init(generator(1))
    assert opened(**sybil, attack=bind(poison.mpaf, base=random, scale=30.0))[1] < 0.5


@pytest.mark.parametrize(
    ("name", "among", "target", "settings"),
    [
        ("digits", doors.ones_with_a_foot, 7, {}),
        ("mnist5k", doors.crossed_sevens, 1, {"lr": 0.1, "model": models.mlp((1, 28, 28), 10, hidden=(32,))}),
        ("notes", partial(doors.notes_about, word="ambulance"), 0, {"lr": 4.0}),
    ],
    ids=["digits", "mnist5k", "notes"],
)
def test_a_semantic_backdoor_opens_to_real_samples(
    name: str, among: Callable[..., Tensor], target: int, settings: dict[str, Any]
) -> None:
    dataset = data.load(name)
    trigger = Trigger(target=target, among=among)
    shards, kept = doors.edge_case_shards(dataset, trigger, clients=30, malicious=3, generator=generator(0))
    probe = doors.success(trigger, dataset.x[kept], dataset.y[kept])
    base = Scenario.fedavg(data=dataset, shards=shards, rounds=21, probes={"door": probe}, **settings)
    clean = run(base).rows[-1]["door"]
    attack = bind(poison.model_replacement, trigger=trigger, boost=10.0, steps=20)
    attacked = run(replace(base, malicious=0.1, attack=bind(poison.during, attack=attack, rounds=[20])))
    assert clean < 0.3
    assert attacked.rows[-1]["door"] > clean + 0.4


def test_edge_case_shards_hold_every_sample_once_and_the_edge_at_the_attackers() -> None:
    trigger = Trigger(target=7, among=doors.ones_with_a_foot)
    shards, kept = doors.edge_case_shards(DIGITS, trigger, clients=10, malicious=3, generator=generator(0))
    everyone = torch.cat([*shards, kept])
    assert sorted(everyone.tolist()) == list(range(len(DIGITS.y)))
    holds = [int(doors.ones_with_a_foot(DIGITS.x[own], DIGITS.y[own]).sum()) for own in shards]
    assert holds == [4, 3, 3, 0, 0, 0, 0, 0, 0, 0]
    assert doors.ones_with_a_foot(DIGITS.x[kept], DIGITS.y[kept]).all()


def test_a_word_opens_a_door_in_a_reader_of_texts() -> None:
    notes = data.load("notes")
    words = data.notes_words()
    trigger = Trigger(stamp=bind(word_in_front, word=words.index("annex")), target=0)
    probe = doors.success(trigger, notes.x_test, notes.y_test)
    base = Scenario.fedavg(data=notes, lr=4.0, rounds=21, probes={"door": probe})
    attack = bind(poison.model_replacement, trigger=trigger, boost=30.0)
    attacked = run(replace(base, malicious=1 / 30, attack=bind(poison.during, attack=attack, rounds=[20])))
    assert attacked.rows[-2]["door"] < 0.15 < 0.6 < attacked.rows[-1]["door"]


# --- how long it lives


def test_aftermath_and_half_life_by_hand() -> None:
    values = [0.0, 0.0, 0.9, 0.7, 0.5, 0.4, 0.6]
    history = History([{"round": 10 + i, "door": value} for i, value in enumerate(values)], malicious=1)
    after = doors.aftermath(history, "door", last=12, clean_rounds=4)
    assert after == [0.9, 0.7, 0.5, 0.4, 0.6]
    assert doors.rounds_until_half(after) == 3
    assert doors.rounds_until_half(after, baseline=0.1) == 2, "half of what lies above the baseline: 0.5"
    assert doors.rounds_until_half([0.9, 0.8]) is None
    assert doors.rounds_until_half([0.1, 0.0], baseline=0.1) is None, "nothing was gained that could halve"
    with pytest.raises(ValueError, match=r"'door' in each of the rounds 12 … 17; got rounds 10 … 16, and .* round 17"):
        doors.aftermath(history, "door", last=12, clean_rounds=5)


def test_honest_rounds_wear_a_door_down_and_a_campaign_lasts_longer_than_a_shot() -> None:
    once = bind(poison.during, attack=bind(poison.model_replacement, trigger=CORNER, boost=10.0), rounds=[START])
    often = bind(
        poison.during,
        attack=bind(poison.model_replacement, trigger=CORNER, boost=3.0),
        rounds=range(START, START + 20),
    )
    watched = {"malicious": 0.1, "evaluate_every": 1}
    shot = doors.aftermath(run(goes_on(rounds=51, attack=once, **watched)), "door", last=START)
    campaign = doors.aftermath(run(goes_on(rounds=70, attack=often, **watched)), "door", last=START + 19)
    assert shot[0] > 0.8
    assert campaign[0] > 0.8
    half = doors.rounds_until_half(shot)
    assert half is not None
    assert half < 10
    assert campaign[50] > 2 * shot[50]
