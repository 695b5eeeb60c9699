"""Batches, several steps, several rounds, a malicious server and a learner's own module: what comes back, and when not.

Every attack has a case in which it works and one in which it must fail, and says so or scores like a guess.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsec import Scenario, bind, data, invert, metrics, models, rounds
from labsec.invert import search
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerMemory, ServerView, generator

SUCCESS = 25.0  # dB


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small products on two threads wait for each other more than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def waves(count, channels=3, side=16, seed=0):
    """Smooth colour pictures in [0, 1]: low waves of random strength, as photographs are made of them."""
    coordinates = torch.randn(count, channels, side, side, generator=draws(seed), dtype=torch.float64)
    return search.natural((channels, side, side))(1.5 * coordinates).clamp(0, 1).float()


def sent(model, params, x, y, batches=None, lr=0.1):
    """The view of a server that got one client's update, by default of one step on everything."""
    batches = torch.arange(len(x))[None] if batches is None else batches
    update = local_updates(model, params, x, y, batches[None], lr=lr)
    steps, batch = batches.shape
    return ServerView(params=params, messages=update, model=model, lr=lr, local_steps=steps, batch_size=batch)


def case(activation, batch, *, seed=0):
    x = waves(batch, seed=100 + seed)
    y = torch.randperm(10, generator=draws(seed))[:batch]
    model = models.convnet(x.shape[1:], 10, activation=activation)
    return sent(model, model.init(draws(seed)), x, y), x, y


# --- what is compared


def test_the_distance_is_one_minus_the_cosine_by_hand():
    own = [torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0]])]
    wanted = [torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0]])]
    # Together: (3, 0, 1) and (0, 4, 1); one layer at a time: a right angle and a match.
    together = 1 - 1 / (10**0.5 * 17**0.5)
    assert search.distance(own, wanted, by_layer=False)[0] == pytest.approx(together)
    assert search.distance(own, wanted, by_layer=True)[0] == pytest.approx(0.5)


def test_a_layer_that_was_not_moved_does_not_count():
    own = [torch.tensor([[3.0, 0.0]]), torch.tensor([[-1e-9]])]
    wanted = [torch.tensor([[3.0, 0.0]]), torch.tensor([[1e-9]])]
    assert search.distance(own, wanted, by_layer=True)[0] == 0


def test_natural_coordinates_reach_every_picture_and_prefer_slow_waves():
    to_samples = search.natural((3, 8, 8))
    z = torch.zeros(192, 3, 8, 8, dtype=torch.float64)
    z.view(192, 192).fill_diagonal_(1.0)
    table = (to_samples(z) - 0.5).flatten(1)  # [192, 192] the picture of each coordinate
    assert torch.linalg.matrix_rank(table) == 192
    lengths = table.norm(dim=1).view(3, 8, 8)
    assert lengths[0, 0, 0] == pytest.approx(1.0)
    assert lengths[0, 0, 0] > lengths[0, 0, 1] > lengths[0, 7, 7]
    assert lengths[1, 0, 0] == pytest.approx(search.COLOUR)
    torch.testing.assert_close(table @ table.T, torch.diag(table.norm(dim=1) ** 2))  # waves at right angles


def test_the_total_variation_of_a_step_by_hand():
    x = torch.zeros(1, 1, 1, 2, 2)
    x[..., 1] = 1.0  # two pairs of neighbours across, both one apart; two pairs down, alike
    assert search.total_variation(x)[0] == 1.0
    assert search.total_variation(torch.rand(2, 3, 5)).tolist() == [0.0, 0.0]


# --- cosine


def test_a_picture_behind_relus_is_nearer_than_a_guess_and_a_stranger():
    scores = {"found": [], "guess": [], "stranger": []}
    for seed in range(3):
        view, x, y = case(torch.relu, 1, seed=seed)
        found = invert.cosine(view, labels=y, generator=draws())
        assert found.succeeded
        assert len(found.losses) == found.evaluations == 300
        scores["found"].append(metrics.psnr(found.estimate, x))
        scores["guess"].append(metrics.psnr(waves(50).mean(dim=0, keepdim=True), x))
        scores["stranger"].append(metrics.psnr(found.estimate, waves(1, seed=999 + seed)))
    median = {name: float(torch.cat(values).median()) for name, values in scores.items()}
    assert median["found"] > median["guess"] + 3
    assert median["found"] > median["stranger"] + 5


def test_restarts_stand_side_by_side_and_the_least_loss_wins():
    view, _, y = case(torch.relu, 1)
    alone = invert.cosine(view, labels=y, generator=draws(), iterations=30)
    three = invert.cosine(view, labels=y, generator=draws(), iterations=30, restarts=3)
    assert three.restarts == 3
    assert three.evaluations == 90
    assert min(three.losses) <= min(alone.losses) + 1e-6


@pytest.mark.parametrize("attack", [invert.cosine, invert.smooth_cosine])
def test_a_wrong_label_leaves_the_loss_high(attack):
    view, x, y = case(F.elu, 1)
    right = attack(view, labels=y, generator=draws(), iterations=150)
    wrong = attack(view, labels=(y + 1) % 10, generator=draws(), iterations=150)
    assert min(wrong.losses) > 20 * min(right.losses)
    assert metrics.psnr(wrong.estimate, x)[0] < SUCCESS


def test_a_batch_of_four_behind_a_smooth_network():
    view, x, y = case(F.elu, 4)
    found = invert.smooth_cosine(view, labels=y, generator=draws(), iterations=400)
    assert (metrics.assigned(found.estimate, x)[1] >= 35).all()
    assert found.labels.tolist() == y.tolist()


def test_noise_on_the_message_ends_the_search_at_a_guess():
    view, x, y = case(F.elu, 1)
    noise = torch.randn(view.messages.shape, generator=draws(1)) * view.messages.std() * 3
    found = invert.smooth_cosine(
        replace(view, messages=view.messages + noise), labels=y, generator=draws(), iterations=100
    )
    assert min(found.losses) > 0.1  # it says that nothing matches
    assert metrics.psnr(found.estimate, x)[0] < 18


def test_a_watcher_sees_every_iteration_and_stops_the_search():
    view, _, y = case(F.elu, 1)
    for attack in (invert.cosine, invert.smooth_cosine):
        seen = []

        def watch(iteration, estimate, loss, seen=seen):
            seen.append((iteration, tuple(estimate.shape), loss))
            return iteration == 4

        found = attack(view, labels=y, generator=draws(), watch=watch)
        assert [iteration for iteration, _, _ in seen] == [0, 1, 2, 3, 4]
        assert {shape for _, shape, _ in seen} == {(1, 3, 16, 16)}
        assert len(found.losses) == 5
        assert seen[-1][2] == min(found.losses)  # what is shown is the best so far


def test_a_budget_of_seconds_is_kept():
    view, _, y = case(F.elu, 1)
    found = invert.cosine(view, labels=y, generator=draws(), iterations=10**6, seconds=0.05)
    assert 1 <= len(found.losses) < 10**4


def test_a_search_that_blows_up_counts_as_diverged():
    target = [torch.ones(1, 2)]
    budget = search.Budget(name="test", iterations=3, seconds=9.0, watch=None)

    def spoilt(x):
        return [x.flatten(1)[:, :2] / 0.0]

    found = search.signed_adam(spoilt, target, torch.rand(2, 1, 2), tv=0.0, lr=0.1, budget=budget)
    assert found.divergences == 2


@pytest.mark.parametrize("attack", [invert.cosine, invert.smooth_cosine])
def test_what_cannot_be_matched_is_refused(attack):
    view, _, y = case(F.elu, 2)
    with pytest.raises(ValueError, match="several steps are matched by simulation"):
        attack(replace(view, local_steps=5), labels=y, generator=draws())
    with pytest.raises(ValueError, match=r"needs int64 labels \[2\], one for each sample"):
        attack(view, labels=y[:1], generator=draws())
    with pytest.raises(ValueError, match="points somewhere; message 0 is zero"):
        attack(replace(view, messages=torch.zeros_like(view.messages)), labels=y, generator=draws())
    reader = models.embedding(5, 12, 2)
    words = sent(reader, reader.init(draws()), torch.ones(1, 5, dtype=torch.int64), torch.tensor([1]))
    with pytest.raises(ValueError, match="takes tokens"):
        attack(words, labels=torch.tensor([1]), generator=draws())


# --- several steps


def test_two_steps_are_found_by_taking_them_and_not_by_one_gradient():
    x = waves(2, seed=5)
    y = torch.tensor([3, 7])
    model = models.convnet(x.shape[1:], 10, activation=F.elu)
    view = sent(model, model.init(draws()), x, y, torch.tensor([[0], [1]]), lr=0.5)
    found = invert.simulate(view, labels=y, smooth=True, generator=draws(), iterations=300)
    assert (metrics.psnr(found.estimate, x) >= SUCCESS).all()

    # The same update taken for one gradient of both samples.
    mistaken = invert.smooth_cosine(
        replace(view, local_steps=1, batch_size=2), labels=y, generator=draws(), iterations=300
    )
    assert min(mistaken.losses) > 100 * min(found.losses)
    assert metrics.psnr(mistaken.estimate, x).mean() < metrics.psnr(found.estimate, x).mean() - 5


def test_epochs_over_the_same_samples_are_named_by_the_batches():
    x = waves(2, seed=6)
    y = torch.tensor([3, 7])
    epochs = torch.tensor([[0, 1], [0, 1], [0, 1]])
    model = models.convnet(x.shape[1:], 10, activation=F.elu)
    view = sent(model, model.init(draws()), x, y, epochs)
    found = invert.simulate(view, labels=y, batches=epochs, smooth=True, generator=draws(), iterations=300)
    assert (metrics.psnr(found.estimate, x) >= SUCCESS).all()


def test_five_steps_of_sixteen_hide_their_samples():
    x = waves(80, side=8, seed=7)
    y = torch.randint(10, (80,), generator=draws())
    model = models.convnet(x.shape[1:], 10, activation=F.elu)
    view = sent(model, model.init(draws()), x, y, torch.arange(80).view(5, 16))
    found = invert.simulate(view, labels=y, smooth=True, generator=draws(), iterations=30)
    scores = metrics.assigned(found.estimate, x)[1]
    assert metrics.success_share(scores, threshold=SUCCESS)[0] < 0.1


def test_the_analytic_attack_goes_through_several_steps_where_a_neuron_saw_one_sample():
    digits = data.load("digits")
    model = models.mlp(digits.shape, 10, hidden=(256,))
    batches = torch.randperm(len(digits.y), generator=draws())[:6].view(3, 2)
    view = sent(model, model.init(draws()), digits.x, digits.y, batches)
    best = metrics.best_matches(invert.analytic(view), digits.x[batches.flatten()])[1]
    assert (best >= SUCCESS).any()


def test_simulation_says_what_does_not_fit():
    view, _, y = case(F.elu, 2)
    with pytest.raises(ValueError, match="equally many labels for every step; got 2 labels, local_steps=3"):
        invert.simulate(replace(view, local_steps=3), labels=y, smooth=True, generator=draws())
    with pytest.raises(ValueError, match="numbers in 0 … 1; got 0 … 2"):
        invert.simulate(view, labels=y, batches=torch.tensor([[0, 2]]), smooth=True, generator=draws())


# --- several rounds


def noisy_memory(x, y, count, *, noise, same_model=False):
    """`count` messages of client 3 about the same sample, beside those of another client."""
    model = models.mlp(x.shape[1:], 10)
    views = []
    for number in range(count):
        view = sent(model, model.init(draws(0 if same_model else number)), x, y, lr=0.3)
        both = torch.cat([torch.zeros_like(view.messages), view.messages])
        both += noise * torch.randn(both.shape, generator=generator(number, "noise"))
        views.append(replace(view, messages=both))
    return ServerMemory(rounds=tuple(views), clients=(torch.tensor([1, 3]),) * count)


def test_the_noise_of_sixteen_messages_shrinks_by_four():
    digits = data.load("digits")
    memory = noisy_memory(digits.x[:1], digits.y[:1], 16, noise=0.01, same_model=True)
    clean = noisy_memory(digits.x[:1], digits.y[:1], 1, noise=0.0, same_model=True).rounds[0].messages[1]
    one = (memory.rounds[0].messages[1] - clean).std()
    mean = (invert.average(memory, client=3).messages[0] - clean).std()
    assert float(one / mean) == pytest.approx(4, rel=0.1)


def test_messages_about_moving_models_have_no_mean():
    digits = data.load("digits")
    memory = noisy_memory(digits.x[:1], digits.y[:1], 2, noise=0.0)
    with pytest.raises(ValueError, match="model of message 1 of client 3 differs"):
        invert.average(memory, client=3)


def test_first_layers_below_one_another_show_the_sample_through_noise():
    digits = data.load("digits")
    scores = []
    for count in (1, 16):
        memory = noisy_memory(digits.x[:1], digits.y[:1], count, noise=0.01)
        found = invert.rank_one(memory, client=3)
        scores.append(float(metrics.psnr(found.estimate, digits.x[:1])[0]))
    assert scores[1] > scores[0] + 6  # sixteen messages: up to 12 dB


def test_noise_alone_shows_nothing_and_says_so():
    digits = data.load("digits")
    memory = noisy_memory(digits.x[:1], digits.y[:1], 4, noise=0.01)
    found = invert.rank_one(memory, client=1)  # this client's messages are noise
    assert len(found.estimate) == 0
    assert not found.succeeded


def test_three_rounds_close_what_one_leaves_open():
    x = waves(8, seed=8)
    y = torch.randperm(10, generator=draws())[:8]
    model = models.convnet(x.shape[1:], 10, activation=F.elu)
    views = [sent(model, model.init(draws(number)), x, y) for number in range(3)]
    scores = []
    for count in (1, 3):
        memory = ServerMemory(rounds=tuple(views[:count]), clients=(torch.tensor([3]),) * count)
        found = invert.joint_cosine(memory, client=3, labels=y, generator=draws(), iterations=150)
        scores.append(float(metrics.psnr(found.estimate, x).median()))
    assert scores[1] > scores[0] + 5


def test_a_memory_names_who_sent_what():
    digits = data.load("digits")
    memory = noisy_memory(digits.x[:1], digits.y[:1], 2, noise=0.0)
    (first, _) = memory.of(3)
    torch.testing.assert_close(first.messages, memory.rounds[0].messages[1:])
    assert memory.of(8) == ()
    with pytest.raises(ValueError, match="a client that took part; got client=8"):
        invert.rank_one(memory, client=8)
    with pytest.raises(ValueError, match=r"an identity for each message .* got \[2\] messages and \[1\] identities"):
        ServerMemory(rounds=memory.rounds[:1], clients=(torch.tensor([1]),))
    view, _, _ = case(F.elu, 1)
    with pytest.raises(ValueError, match="needs a fully connected first layer"):
        invert.rank_one(ServerMemory(rounds=(view,), clients=(torch.tensor([3]),)), client=3)


# --- the malicious server


def imprinted(bins, batch, seed, *, one_hot, steps=None):
    """The share of a batch of digits that a malicious server reads out, and the view."""
    digits = data.load("mnist5k")
    activation = F.hardtanh if one_hot else torch.relu
    model = models.mlp(digits.shape, 10, hidden=(bins,), activation=activation)
    order = torch.randperm(len(digits.y), generator=generator(seed, "batch"))
    own = order[:batch]
    honest = model.init(generator(seed, "start"))
    broadcast = bind(invert.imprint, model=model, public=digits.x[order[batch:]], one_hot=one_hot)
    params = broadcast(honest, generator=generator(seed, "direction"))
    batches = own[None] if steps is None else own[steps]
    view = BroadcastView(**vars(sent(model, params, digits.x, digits.y, batches)), honest=honest)
    scores = metrics.best_matches(invert.read_imprint(view, one_hot=one_hot).estimate, digits.x[own])[1]
    return metrics.success_share(scores, threshold=SUCCESS)[0], view


def test_bins_give_away_as_many_samples_as_fall_into_one_alone():
    shares = [imprinted(256, 64, seed, one_hot=False)[0] for seed in range(12)]
    assert sum(shares) / 12 == pytest.approx((1 - 1 / 256) ** 63, abs=0.05)


def test_one_hot_bins_survive_several_epochs_where_relu_bins_do_not():
    epochs = torch.cat([torch.randperm(64, generator=draws(epoch)).view(4, 16) for epoch in range(5)])
    one_hot = [imprinted(1024, 64, seed, one_hot=True, steps=epochs)[0] for seed in range(3)]
    relu = [imprinted(1024, 64, seed, one_hot=False, steps=epochs)[0] for seed in range(3)]
    assert min(one_hot) >= 0.85
    assert max(relu) < min(one_hot)


def test_a_batch_larger_than_the_bins_comes_out_mixed():
    assert imprinted(16, 64, 0, one_hot=False)[0] < 0.2  # theory: 0.02


def test_the_broadcast_runs_in_a_scenario_and_reads_its_messages():
    digits = data.load("digits")
    model = models.mlp(digits.shape, 10, hidden=(512,))
    broadcast = bind(invert.imprint, model=model, public=digits.x_test, one_hot=False)
    s = Scenario(model=model, clients=3, rounds=1, local_steps=1, batch_size=8, broadcast=broadcast)
    first = next(rounds(s))
    kept = []
    s = replace(
        s, broadcast=lambda params, *, generator: kept.append(broadcast(params, generator=generator)) or kept[-1]
    )
    next(rounds(s))
    view = BroadcastView(
        params=kept[-1],
        honest=first.before,
        messages=first.messages,
        model=model,
        lr=s.lr,
        local_steps=1,
        batch_size=8,
    )
    found = invert.read_imprint(view, message=1, one_hot=False).estimate
    nearest = torch.cdist(found.flatten(1), digits.x.flatten(1)).min(dim=1).values / 8
    assert (nearest < 0.01).double().mean() > 0.6  # candidates that are samples of the pool


def test_only_the_view_of_a_broadcast_is_read():
    view, _, _ = case(torch.relu, 1)
    with pytest.raises(TypeError, match="needs view to be of type BroadcastView; got ServerView"):
        invert.read_imprint(view, one_hot=False)
    with pytest.raises(ValueError, match="starts with two fully connected layers"):
        invert.suspicion(view.params, model=view.model)


def test_a_silent_client_gives_no_candidate():
    _, view = imprinted(64, 8, 0, one_hot=False)
    silent = replace(view, messages=torch.zeros_like(view.messages))
    assert not invert.read_imprint(silent, one_hot=False).succeeded


@pytest.mark.parametrize("one_hot", [True, False])
def test_the_client_sees_bins_and_no_honest_model(one_hot):
    _, view = imprinted(64, 8, 0, one_hot=one_hot)
    caught = invert.suspicion(view.params, model=view.model)
    assert caught.score == pytest.approx(1.0)
    assert len(caught.reasons) == 1


def test_the_check_accuses_no_honest_model_fresh_or_trained():
    """Over data sets, widths and seeds, before the first round and after ten: 0 of 36 honest models."""
    scores = []
    for name in ("digits", "breast_cancer", "mnist5k"):
        dataset = data.load(name)
        for hidden in ((64,), (8,), (64, 32)):
            model = models.mlp(dataset.shape, dataset.classes, hidden=hidden)
            for seed in range(2):
                s = Scenario(data=dataset, model=model, clients=5, rounds=10, seed=seed, evaluate_every=10)
                trained = list(rounds(s))
                for params in (trained[0].before, trained[-1].after):
                    verdict = invert.suspicion(params, model=model)
                    assert verdict.reasons == ()
                    scores.append(verdict.score)
    assert len(scores) == 36
    assert max(scores) < 0.9


def test_trap_weights_read_more_than_a_fresh_model_and_the_check_misses_them():
    digits = data.load("mnist5k")
    model = models.mlp(digits.shape, 10, hidden=(512,))
    shares = {"fresh": [], "trap": []}
    for seed in range(4):
        own = torch.randperm(len(digits.y), generator=generator(seed, "batch"))[:32]
        honest = model.init(generator(seed, "start"))
        trap = invert.trap_weights(honest, model=model, scale=0.95, generator=generator(seed, "trap"))
        for name, params in (("fresh", honest), ("trap", trap)):
            view = sent(model, params, digits.x, digits.y, own[None])
            scores = metrics.best_matches(invert.analytic(view), digits.x[own])[1]
            shares[name].append(metrics.success_share(scores, threshold=SUCCESS)[0])
        assert invert.suspicion(trap, model=model).reasons == ()
    assert sum(shares["trap"]) > sum(shares["fresh"])


# --- a module of the learner's own


def normed(seed=0):
    """A small convolutional network with batch norm whose running statistics have seen pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        convolutions = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ELU()]
        module = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(1024, 10))
    with torch.no_grad():
        for number in range(20):
            module.train()(waves(16, seed=number))
    return module


def own_attack(module, x, y, *, victim, attacker):
    """The median PSNR where client and attacker have batch norm in these modes (True: train)."""
    gradients = invert.module_gradient(module.train(victim), x, y)
    module.train(attacker)
    found = invert.own_model(
        module, gradients, shape=x.shape[1:], labels=y, smooth=True, generator=draws(), iterations=250
    )
    return float(metrics.psnr(found.estimate, x).median()), found


def test_batch_norm_in_train_mode_hides_what_eval_mode_shows():
    x = waves(2, seed=9)
    y = torch.tensor([3, 7])
    module = normed()
    shown, found = own_attack(module, x, y, victim=False, attacker=False)
    hidden, accused = own_attack(module, x, y, victim=True, attacker=True)
    mistaken, _ = own_attack(module, x, y, victim=True, attacker=False)
    assert shown >= 30
    assert hidden < shown - 5
    assert mistaken < 20
    assert not any("In the way" in sentence for sentence in found.assumptions)
    assert any("BatchNorm2d in train mode" in sentence for sentence in accused.assumptions)


def test_a_module_is_left_as_it_was():
    module = normed()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    own_attack(module, waves(2, seed=9), torch.tensor([3, 7]), victim=True, attacker=True)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_the_twin_of_a_model_sends_what_the_model_sends():
    view, x, y = case(torch.tanh, 2)
    module = view.model.twin(view.params)
    parts = invert.module_gradient(module, x, y)
    flat = torch.cat([part.flatten() for part in parts])
    torch.testing.assert_close(flat, -view.messages[0] / view.lr, atol=1e-5, rtol=1e-4)


def test_a_module_of_relus_is_searched_by_signs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
    x = waves(1, seed=3)
    y = torch.tensor([4])
    gradients = invert.module_gradient(module, x, y)
    found = invert.own_model(module, gradients, shape=(3, 16, 16), labels=y, smooth=False, generator=draws(), tv=1e-2)
    grey = x.mean().expand_as(x)
    assert metrics.psnr(found.estimate, x)[0] >= metrics.psnr(grey, x)[0] + 3


@pytest.mark.parametrize(
    ("module", "rung", "reason"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), "analytic", "the first layer with weights is Conv2d, not fully connected"),
        (nn.Sequential(nn.Linear(4, 2, bias=False)), "analytic", "the first layer has no bias"),
        (nn.Sequential(nn.Linear(4, 2), nn.ReLU()), "smooth_cosine", "ReLU does not bend"),
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), "cosine", "BatchNorm1d in train mode"),
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout()), "cosine", "Dropout in train mode"),
    ],
)
def test_each_obstacle_has_its_reason(module, rung, reason):
    assert reason in invert.obstacles(module)[rung]


def test_eval_mode_clears_what_only_training_blocks():
    module = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.Sigmoid())
    assert set(invert.obstacles(module.train())) == {"smooth_cosine", "cosine"}
    assert invert.obstacles(module.eval()) == {}


# --- the scores


def test_wilson_by_hand():
    # 8 of 10 at 95 %: (0.8 + 1.92 / 10 ± 1.96 sqrt(0.016 + 0.0096)) / 1.384
    share, low, high = metrics.success_share(torch.tensor([30.0] * 8 + [-torch.inf, torch.nan]), threshold=SUCCESS)
    assert (share, low, high) == pytest.approx((0.8, 0.490, 0.943), abs=1e-3)
    assert metrics.success_share(torch.zeros(5), threshold=1.0)[:2] == (0.0, 0.0)


def test_one_candidate_cannot_stand_for_two_samples():
    truth = torch.tensor([[0.0, 0.0], [0.1, 0.1]])
    candidates = torch.tensor([[0.05, 0.05], [0.9, 0.9]])
    shared = metrics.best_matches(candidates, truth)[1]
    dealt = metrics.assigned(candidates, truth)[1]
    assert (shared > SUCCESS).all()
    assert sorted((dealt > SUCCESS).tolist()) == [False, True]


def test_a_candidate_that_is_not_finite_helps_nobody():
    truth = torch.rand(2, 3, generator=draws())
    matches, scores = metrics.assigned(torch.stack([truth[1], torch.full((3,), torch.nan)]), truth)
    assert scores.tolist() == [-torch.inf, 120.0]
    torch.testing.assert_close(matches[1], truth[1])
    assert metrics.assigned(truth[:0], truth)[1].tolist() == [-torch.inf, -torch.inf]


def test_a_grey_picture_is_nobody_and_nan_is_nobody():
    gallery = waves(20, channels=1, side=8)
    places = torch.arange(20)
    assert metrics.reidentified(gallery, gallery, places).all()
    assert metrics.reidentified(torch.full_like(gallery, 0.5), gallery, places).sum() <= 1
    assert not metrics.reidentified(torch.full_like(gallery, torch.nan), gallery, places).any()
