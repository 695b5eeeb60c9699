"""What models and messages give away: attacks win where there is something to win, and guess where there is not."""

from dataclasses import replace
from functools import cache, partial
from math import comb, log

import pytest
import torch
from torch import Tensor

from labsec import infer, privacy
from labsec.data import Dataset, load
from labsec.detect.judging import auc
from labsec.geometry import unit_rows
from labsec.infer.membership import _confidences
from labsec.models import mlp
from labsec.train import dp_sgd, local_updates
from labsec.types import ServerView, generator


@cache
def digits() -> Dataset:
    return load("digits")


@cache
def victim(*, noise: float = 0.0) -> tuple[infer.MemberView, Tensor]:
    """A model trained on some of 300 digits, and which: small data and many steps, so that there is much to tell."""
    draw = generator(0, "victim")
    x = digits().x[:300]
    y = digits().y[:300]
    train = partial(dp_sgd, clip=1.0, noise=noise)
    recipe = infer.recipe(mlp(digits().shape, 10), x, y, lr=0.3, steps=300, batch_size=16, train=train)
    members = torch.rand(300, generator=draw) < 0.5
    params = recipe(members[None], generator=draw)[0]
    return infer.MemberView(params=params, model=mlp(digits().shape, 10), x=x, y=y, train=recipe), members


def one_sample_each(count: int, *, model_seed: int = 0) -> tuple[ServerView, Tensor, Tensor]:
    """What clients send that take one step on one sample each, and their samples' numbers and labels."""
    model = mlp(digits().shape, 10)
    params = model.init(generator(model_seed, "start"))
    chosen = torch.randperm(len(digits().y), generator=generator(model_seed, "chosen"))[:count]
    messages = local_updates(model, params, digits().x, digits().y, chosen[:, None, None], lr=0.1)
    view = ServerView(params=params, messages=messages, model=model, lr=0.1, local_steps=1, batch_size=1)
    return view, chosen, digits().y[chosen]


def noised(view: ServerView, *, noise: float) -> ServerView:
    """The same messages, each cut to length 1 and with noise of this multiplier."""
    rows = privacy.clip(view.messages, bound=1e-4) / 1e-4
    return replace(view, messages=privacy.gaussian_noise(rows, std=noise, generator=generator(0, "noise")))


# --- membership


def test_the_loss_is_the_cross_entropy_of_the_models_twin() -> None:
    view, _ = victim()
    logits = view.model.twin(view.params)(view.x)
    losses = torch.nn.functional.cross_entropy(logits, view.y, reduction="none")
    torch.testing.assert_close(infer.loss_threshold(view).float(), -losses, atol=1e-5, rtol=1e-4)


def test_a_confidence_is_the_log_odds_of_the_label_also_where_the_probability_rounds_to_one() -> None:
    model = mlp((1,), 3, hidden=())
    params = torch.tensor([[0.0, 0, 0, 1, 2, 3], [0.0, 0, 0, 100, 0, 0]])  # biases alone
    found = _confidences(model, params, torch.zeros(1, 1), torch.tensor([0]))[:, 0]
    odds = torch.tensor([1.0, 2.0, 3.0]).softmax(dim=0)[0]
    assert found[0] == pytest.approx(float((odds / (1 - odds)).log()), abs=1e-6)
    assert found[1] == pytest.approx(100 - log(2), abs=1e-6)


def test_lira_finds_members_that_the_loss_does_not_tell_from_easy_samples() -> None:
    view, members = victim()
    lira = infer.lira(view, shadows=64, generator=generator(0, "shadows"))
    loss = infer.loss_threshold(view)
    assert infer.area(lira, members).low > 0.6
    assert auc(lira, members) > auc(loss, members) + 0.05

    # At few false alarms it finds more, too.
    few = {"false_alarms": 0.1}
    assert infer.found_at(lira, members, **few).share > 1.5 * infer.found_at(loss, members, **few).share


def test_few_shadows_do_better_with_one_spread_for_all() -> None:
    view, members = victim()
    areas = [
        auc(infer.lira(view, shadows=6, pooled=pooled, generator=generator(1, "shadows")), members)
        for pooled in (False, True)
    ]
    assert areas[1] > areas[0]


def test_lira_tells_nothing_of_a_model_that_saw_none_of_the_candidates() -> None:
    view, members = victim()
    fresh = replace(view, params=view.model.init(generator(0, "fresh")))
    found = infer.area(infer.lira(fresh, generator=generator(0, "shadows")), members)
    assert found.low < 0.5 < found.high


def test_noise_in_the_training_hides_members_from_shadows_with_the_same_noise() -> None:
    view, members = victim(noise=8.0)
    found = infer.area(infer.lira(view, generator=generator(0, "shadows")), members)
    assert found.low < 0.5 < found.high


def test_every_candidate_is_known_to_half_of_the_shadows() -> None:
    view, _ = victim()
    seen: list[Tensor] = []

    def train(members: Tensor, *, generator: torch.Generator) -> Tensor:
        seen.append(members)
        return view.train(members, generator=generator)

    infer.lira(replace(view, train=train), shadows=7, generator=generator(0, "shadows"))
    assert seen[0].sum(dim=0).eq(3).all()
    assert 0.3 < float(seen[0][0].float().mean()) < 0.6


def test_a_recipe_trains_on_members_alone() -> None:
    model = mlp((2,), 2, hidden=())
    x = torch.eye(2)
    train = infer.recipe(model, x, torch.tensor([0, 1]), start=torch.zeros(6), lr=1.0, steps=1, batch_size=3)
    params = train(torch.eye(2).bool(), generator=generator(0, "members"))

    # One step on the sample (1, 0) of class 0 from zero: the slopes are 1/2 and -1/2, for its weight and the biases.
    torch.testing.assert_close(params[0], torch.tensor([0.5, 0, -0.5, 0, 0.5, -0.5]))
    torch.testing.assert_close(params[1], torch.tensor([0, -0.5, 0, 0.5, -0.5, 0.5]))


def test_a_view_without_a_recipe_refuses_shadows() -> None:
    view, _ = victim()
    lone = infer.MemberView(params=view.params, model=view.model, x=view.x, y=view.y)
    with pytest.raises(ValueError, match=r"needs a recipe .* see labsec\.infer\.recipe"):
        infer.lira(lone, generator=generator(0, "shadows"))


def test_a_recipe_that_returns_something_else_is_refused() -> None:
    view, _ = victim()
    for wrong in (torch.zeros(3, view.model.dim), torch.full((64, view.model.dim), torch.nan)):
        with pytest.raises(ValueError, match=r"lira needs a recipe that returns finite \[64, 4810\]"):
            infer.lira(replace(view, train=lambda members, *, generator, rows=wrong: rows), generator=generator(0))


def test_alignment_is_the_cosine_to_what_the_candidate_alone_would_send() -> None:
    view, chosen, _ = one_sample_each(5)
    scores = infer.alignment(view, digits().x[chosen], digits().y[chosen])
    torch.testing.assert_close(scores.diagonal(), torch.ones(5, dtype=torch.float64), atol=1e-5, rtol=0)
    rows = unit_rows(view.messages).double()
    torch.testing.assert_close(scores, rows @ rows.T, atol=1e-5, rtol=0)


def test_alignment_finds_a_member_of_a_batch_in_a_message_that_hides_it_in_noise() -> None:
    """At noise 1 a message is seventy times as long as what it hides, and the members stand out all the same."""
    model = mlp(digits().shape, 10)
    params = model.init(generator(0, "start"))
    batches = torch.randperm(400, generator=generator(0, "batches")).view(50, 1, 8)
    messages = local_updates(model, params, digits().x, digits().y, batches, lr=0.1)
    view = ServerView(params=params, messages=messages, model=model, lr=0.1, local_steps=1, batch_size=8)
    is_member = torch.zeros(50, 400, dtype=torch.bool).scatter_(1, batches[:, 0], True)
    areas = [
        auc(
            infer.alignment(noised(view, noise=noise), digits().x[:400], digits().y[:400]).flatten(),
            is_member.flatten(),
        )
        for noise in (0.0, 0.3, 30.0)
    ]
    assert areas[0] > areas[1] > 0.6
    assert areas[2] == pytest.approx(0.5, abs=0.05)


# --- properties


def halves_with_a_property(count: int, *, noise: float = 0.0, share: float = 0.5) -> tuple[infer.PropertyView, Tensor]:
    """Clients of whom the first half hold a share of zeros and the others none, and whether each does."""
    model = mlp(digits().shape, 10)
    params = model.init(generator(0, "start"))
    has = digits().y == 0
    draw = generator(0, "clients")
    zeros = has[:700].nonzero()[:, 0]
    others = (~has[:700]).nonzero()[:, 0]
    batches = others[torch.randint(len(others), (count, 1, 16), generator=draw)]
    taken = round(16 * share)
    batches[: count // 2, :, :taken] = zeros[torch.randint(len(zeros), (count // 2, 1, taken), generator=draw)]
    stage = partial(noisy_stage, noise=noise) if noise else None
    messages = local_updates(model, params, digits().x, digits().y, batches, lr=0.1)
    messages = messages if stage is None else stage(messages, generator=draw)
    view = infer.PropertyView(
        params=params,
        messages=messages,
        model=model,
        lr=0.1,
        local_steps=1,
        batch_size=16,
        x=digits().x[700:],
        y=digits().y[700:],
        has=has[700:],
        stage=stage,
    )
    return view, torch.arange(count) < count // 2


def noisy_stage(updates: Tensor, *, noise: float, generator: torch.Generator) -> Tensor:
    return privacy.gaussian_noise(privacy.clip(updates, bound=0.01), std=0.01 * noise, generator=generator)


def test_a_message_tells_whether_its_client_holds_a_property_and_noise_hides_it() -> None:
    """The server's own samples are others than the clients'."""
    areas = []
    for noise in (0.0, 0.05, 3.0):
        view, truth = halves_with_a_property(60, noise=noise)
        areas.append(auc(infer.property_scores(view, share=0.5, generator=generator(0, "shadows")), truth))
    assert areas[0] > 0.95
    assert areas[1] > 0.8
    assert areas[2] < 0.7


def test_property_scores_lie_around_one_and_minus_one() -> None:
    view, truth = halves_with_a_property(60)
    scores = infer.property_scores(view, share=0.5, generator=generator(0, "shadows"))
    assert float(scores[truth].mean()) == pytest.approx(1, abs=0.35)
    assert float(scores[~truth].mean()) == pytest.approx(-1, abs=0.35)


def test_a_property_that_no_client_has_is_seen_in_none() -> None:
    view, _ = halves_with_a_property(60, share=0.0)
    scores = infer.property_scores(view, share=0.5, generator=generator(0, "shadows"))
    assert float((scores > 0).float().mean()) < 0.1


def test_a_property_needs_samples_of_both_kinds() -> None:
    view, _ = halves_with_a_property(4)
    with pytest.raises(ValueError, match=r"samples with and without the property; got 0 of 738 with it"):
        replace(view, has=torch.zeros_like(view.has))


# --- labels


def test_every_label_is_read_off_a_plain_message() -> None:
    view, _, labels = one_sample_each(100)
    assert infer.guessed_labels(view).equal(labels)


def test_labels_outlive_pictures_under_noise_and_samples_of_ones_own_help_to_read_them() -> None:
    view, chosen, labels = one_sample_each(600)
    own = torch.ones(len(digits().y), dtype=torch.bool)
    own[chosen] = False
    shares = []
    for noise in (0.5, 2.0, 100.0):
        noisy = noised(view, noise=noise)
        plain = (infer.guessed_labels(noisy) == labels).float().mean()
        helped = (infer.guessed_labels(noisy, x=digits().x[own], y=digits().y[own]) == labels).float().mean()
        shares.append((float(plain), float(helped)))
    assert shares[0][1] > shares[0][0] > 0.3
    assert shares[1][1] > 0.15
    assert shares[2] == pytest.approx((0.1, 0.1), abs=0.05)


def test_only_classes_that_are_known_are_guessed() -> None:
    view, _, _ = one_sample_each(40)
    some = digits().y < 3
    assert set(infer.guessed_labels(view, x=digits().x[some], y=digits().y[some]).tolist()) <= {0, 1, 2}


def test_labels_of_a_batch_are_refused() -> None:
    view, _, _ = one_sample_each(2)
    with pytest.raises(ValueError, match=r"one step on one sample; got batch_size=2, local_steps=1"):
        infer.guessed_labels(replace(view, batch_size=2))
    with pytest.raises(ValueError, match="needs both x and y, or neither"):
        infer.guessed_labels(view, x=digits().x)


# --- canaries


def test_a_mislabelled_canary_has_every_wrong_label_and_never_its_own() -> None:
    x = torch.arange(200.0)[:, None]
    y = torch.full((200,), 2)
    canary_x, canary_y = infer.mislabelled(x, y, classes=4, count=150, generator=generator(0, "canaries"))
    assert len(canary_x.unique()) == 150
    assert sorted(canary_y.unique().tolist()) == [0, 1, 3]


def test_a_canary_in_the_data_is_found_in_the_model_more_surely_than_an_ordinary_sample() -> None:
    """The threshold attack on the loss, which is near to guessing on ordinary digits, is nearly sure of canaries."""
    model = mlp(digits().shape, 10)
    canaries = infer.mislabelled(digits().x[:600], digits().y[:600], classes=10, count=40, generator=generator(3, "c"))
    x = torch.cat([canaries[0], digits().x[600:900]])
    y = torch.cat([canaries[1], digits().y[600:900]])
    members = torch.rand(len(y), generator=generator(0, "members")) < 0.5
    train = infer.recipe(model, x, y, lr=0.3, steps=1000, batch_size=16)
    params = train(members[None], generator=generator(0, "training"))[0]
    scores = infer.loss_threshold(infer.MemberView(params=params, model=model, x=x, y=y))
    assert auc(scores[:40], members[:40]) > 0.95
    assert auc(scores[40:], members[40:]) < 0.65


def test_a_direction_has_its_length_and_points_nowhere_in_particular() -> None:
    rows = torch.stack([infer.direction(2000, length=3.0, generator=generator(i, "direction")) for i in range(20)])
    torch.testing.assert_close(rows.norm(dim=1), torch.full((20,), 3.0))
    cosines = unit_rows(rows) @ unit_rows(rows).T
    assert float((cosines - torch.eye(20)).abs().max()) < 0.1


# --- judging


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Over all outcomes of 30 trials: their chances, added up where the interval holds the true share."""
    for share in (0.02, 0.1, 0.5):
        covered = 0.0
        for hits in range(31):
            found = infer.rate(hits, 30, confidence=0.9)
            covered += comb(30, hits) * share**hits * (1 - share) ** (30 - hits) * (found.low <= share <= found.high)
        assert 0.9 <= covered < 0.99


def test_ends_of_an_interval_are_where_the_outcome_becomes_unlikely() -> None:
    found = infer.rate(3, 20, confidence=0.9)
    at_most = sum(comb(20, k) * found.high**k * (1 - found.high) ** (20 - k) for k in range(4))
    at_least = sum(comb(20, k) * found.low**k * (1 - found.low) ** (20 - k) for k in range(3, 21))
    assert at_most == pytest.approx(0.05)
    assert at_least == pytest.approx(0.05)
    assert (infer.rate(0, 20).low, infer.rate(20, 20).high) == (0, 1)


def test_the_interval_of_an_area_is_as_wide_as_areas_spread() -> None:
    draw = generator(0, "areas")
    is_member = torch.arange(120) < 50
    runs = [infer.area(torch.randn(120, generator=draw) + is_member, is_member) for _ in range(300)]
    true = 0.7602  # the chance that one normal is above another that lies 1 lower: Phi(1 / sqrt(2))
    covered = sum(run.low <= true <= run.high for run in runs)
    assert 270 <= covered <= 298
    spread = torch.tensor([run.share for run in runs]).std()
    half = sum(run.high - run.share for run in runs) / len(runs)
    assert half == pytest.approx(1.96 * float(spread), rel=0.1)


def test_what_is_found_at_a_rate_of_false_alarms_is_counted_by_hand() -> None:
    members = torch.tensor([9.0, 8.0, 7.0, 3.0])
    strangers = torch.tensor([8.5, 5.0, 4.0, 2.0])
    scores = torch.cat([members, strangers])
    is_member = torch.arange(8) < 4
    found = [infer.found_at(scores, is_member, false_alarms=rate).share for rate in (0.0, 0.24, 0.25, 0.5, 0.75)]
    assert found == [0.25, 0.25, 0.75, 0.75, 1.0]
