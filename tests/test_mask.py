"""Masking defences, and the attackers who know them: each reads what the other one cannot, and fails where it must."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from labsec import Scenario, bind, compress, data, invert, mask, metrics, models, run, train
from labsec.invert.kernel import Automatic, kernel
from labsec.types import ServerMemory, ServerView, generator

LR = 0.1
ONE = torch.zeros(1, 1, 1, dtype=torch.int64)


def digit(number=3):
    digits = data.load("digits")
    return digits.x[number : number + 1].double(), digits.y[number : number + 1]


def tanh_net():
    return models.convnet((1, 8, 8), 10, activation=torch.tanh)


def view_of(model, rows, params):
    return ServerView(params=params, messages=rows, model=model, lr=LR, local_steps=1, batch_size=1)


def sent(model=None, *, number=3, seed=0):
    """A view of one honest message, and the digit and label behind it."""
    model = model or tanh_net()
    params = model.init(generator(seed, "model")).double()
    x, y = digit(number)
    return view_of(model, train.local_updates(model, params, x, y, ONE, lr=LR), params), x, y


def decibels(found, x):
    return float(metrics.psnr(found.estimate, x))


# --- matching with holes


@pytest.mark.parametrize("model", [models.lenet((1, 8, 8), 10), tanh_net()])
def test_the_kernel_by_hand_leaves_out_what_automatic_differentiation_leaves_out(model):
    draws = generator(0, "kernel")
    params = model.init(draws).double()
    target = torch.randn(model.dim, generator=draws, dtype=torch.float64)
    kept = torch.rand(model.dim, generator=draws) < 0.3
    x = torch.rand(3, 64, generator=draws, dtype=torch.float64)
    along = torch.randn(3, 64, generator=draws, dtype=torch.float64)
    here = kernel(model, params, target, 3, kept=kept).at(x)
    there = Automatic(model, params, target, 3, kept).at(x)
    for mine, reference in (
        (here.losses, there.losses),
        (here.slopes, there.slopes),
        (here.curved(along), there.curved(along)),
    ):
        assert torch.allclose(mine, reference, rtol=1e-9, atol=1e-12)


def test_entries_that_do_not_count_may_hold_anything():
    view, _, y = sent()
    kept = torch.rand(view.model.dim, generator=generator(0, "kept")) < 0.5
    spoiled = replace(view, messages=torch.where(kept, view.messages, 1e3))
    clean = invert.gauss_newton(view, label=int(y), kept=kept)
    assert torch.equal(invert.gauss_newton(spoiled, label=int(y), kept=kept).estimate, clean.estimate)


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs])
def test_who_knows_the_pattern_reads_what_the_other_cannot(attack):
    view, x, y = sent()
    rows = compress.random_k(view.messages, keep=0.1, unbiased=False, generator=generator(0, "pattern"))
    holed = replace(view, messages=rows)
    kept = invert.left_in(holed)
    assert kept.double().mean() == pytest.approx(0.1, abs=0.01)
    assert decibels(attack(holed, label=int(y)), x) < 12
    assert decibels(attack(holed, label=int(y), kept=kept), x) > 30


def test_with_a_handful_of_entries_the_pattern_does_not_help():
    view, x, y = sent()
    holed = replace(view, messages=compress.top_k(view.messages, keep=0.002))
    assert decibels(invert.gauss_newton(holed, label=int(y), kept=invert.left_in(holed)), x) < 20


def test_a_message_without_holes_shows_no_pattern():
    view, _, _ = sent()
    view = replace(view, messages=view.messages + 1e-9)
    with pytest.raises(ValueError, match="needs a message with holes"):
        invert.left_in(view)


def test_the_label_is_read_off_what_is_left_and_refused_where_nothing_is():
    view, _, y = sent(models.lenet((1, 8, 8), 10))
    kept = torch.rand(view.model.dim, generator=generator(1, "kept")) < 0.3
    assert invert.label_left_in(view, kept=kept) == int(y)
    with pytest.raises(ValueError, match="try every class"):
        invert.label_left_in(view, kept=invert.outside(view.model, layers=[-2, -1]))


def test_layers_are_left_out_by_their_numbers():
    model = models.mlp((3,), 2, hidden=(4,))
    kept = invert.outside(model, layers=[-1, 0])
    names = [bool(part.all()) for part in model.layers(kept.double()[None])]
    assert names == [False, True, True, False]
    with pytest.raises(ValueError, match="needs a parameter to be left"):
        invert.outside(model, layers=[0, 1, 2, 3])


def test_several_sparse_messages_add_up_where_the_pattern_changes():
    view, _, _ = sent()
    rows = [
        compress.random_k(view.messages, keep=0.3, unbiased=False, generator=generator(0, number))
        for number in range(8)
    ]
    names = (torch.tensor([5]),) * 8
    memory = ServerMemory(rounds=tuple(replace(view, messages=row) for row in rows), clients=names)
    together, kept = invert.pooled(memory, client=5)
    assert kept.double().mean() > 0.9  # 1 - .7^8 = .94
    assert torch.allclose(together.messages[0, kept], view.messages[0, kept])

    # Top-k keeps the same entries every time.
    top = replace(view, messages=compress.top_k(view.messages, keep=0.3))
    again = ServerMemory(rounds=(top,) * 8, clients=names)
    assert torch.equal(invert.pooled(again, client=5)[1], invert.left_in(top))


# --- rounding


def test_the_likelihood_of_rounding_is_its_chance():
    """Rounding .25 to steps of 1 gives 1 a quarter of the time; two draws multiply."""
    one = torch.tensor([[1.0], [0.0]])
    value = invert.rounded(one, torch.tensor([[0.25]]), step=1.0)
    assert value.exp().item() == pytest.approx(0.25 * 0.75)


def test_the_likelihood_of_a_flipped_sign_is_its_share_in_many_draws():
    g = torch.full((1, 100_000), 0.03)
    drawn = compress.sfsq(g, bound=0.1, flip=0.2, generator=generator(0, "sfsq"))
    share = (drawn > 0).double().mean().item()
    chance = invert.flipped_signs(torch.ones(1, 1), torch.tensor([[0.03]]), bound=0.1, flip=0.2).exp().item()
    assert share == pytest.approx(chance, abs=0.005)


def suspects(model, params, count=200):
    digits = data.load("digits")
    return train.local_updates(
        model, params, digits.x[:count].double(), digits.y[:count], torch.arange(count)[:, None, None], lr=LR
    )


def test_repeated_messages_name_the_suspect_whom_one_does_not():
    model = models.mlp((1, 8, 8), 10, hidden=(32,))
    params = model.init(generator(0, "model")).double()
    expected = suspects(model, params)
    bound = float(expected.abs().max())
    reading = partial(invert.flipped_signs, bound=bound, flip=0.25)
    hits = {}
    for count in (1, 40):
        rows = [
            torch.cat(
                [compress.sfsq(own[None], bound=bound, flip=0.25, generator=generator(who, n)) for n in range(count)]
            )
            for who, own in enumerate(expected[:20])
        ]
        hits[count] = sum(
            invert.likeliest(messages, expected, likelihood=reading) == who for who, messages in enumerate(rows)
        )
    assert hits[1] <= 8
    assert hits[40] >= 17


def test_another_message_of_the_same_signs_says_nothing_new():
    view, _, _ = sent()
    signs = compress.sign(view.messages)
    expected = torch.cat([view.messages, -view.messages, torch.roll(view.messages, 1, dims=1)])
    assert torch.equal(invert.signs(signs, expected), invert.signs(signs.expand(5, -1), expected))
    assert int(invert.signs(signs, expected).argmax()) == 0


def test_the_likeliest_picture_is_nearer_than_the_one_that_takes_signs_for_a_gradient():
    view, x, y = sent(models.lenet((1, 8, 8), 10))
    signed = replace(view, messages=compress.sign(view.messages))
    plain = invert.gauss_newton(signed, label=int(y))
    knowing = invert.most_likely(signed, label=int(y), likelihood=invert.signs)
    assert decibels(knowing, x) > decibels(plain, x) + 5
    assert knowing.losses[-1] < knowing.losses[0]


def test_signs_flipped_half_the_time_leave_a_grey_picture():
    view, _, y = sent()
    rows = torch.where(torch.rand(view.messages.shape, generator=generator(0, "coin")) < 0.5, 1.0, -1.0).double()
    reading = partial(invert.flipped_signs, bound=1.0, flip=0.49)
    found = invert.most_likely(replace(view, messages=rows), label=int(y), likelihood=reading)
    assert (found.estimate - 0.5).abs().max() < 0.1


# --- masks


def test_soteria_masks_whole_columns_of_the_last_layer_and_nothing_else():
    model = tanh_net()
    view, x, y = sent(model)
    masked = mask.soteria(model, view.params, x, y, ONE, lr=LR, share=0.25)
    plain = model.layers(view.messages)
    for number, (own, before) in enumerate(zip(model.layers(masked), plain, strict=True)):
        assert number == len(plain) - 2 or torch.equal(own, before)
    head = model.layers(masked)[-2][0]
    assert int((head == 0).all(dim=0).sum()) == 32  # of 128 features


def test_soteria_drops_the_features_that_tell_most():
    """Two features of one pixel each: the first is steeper, so the second tells more of the same value."""
    model = models.mlp((2,), 2, hidden=(2,), activation=torch.sigmoid)
    weight = torch.tensor([[4.0, 0.0], [0.0, 0.1]])
    params = torch.cat([weight.flatten(), torch.zeros(2), torch.ones(4), torch.zeros(2)]).double()
    x = torch.full((1, 2), 0.1).double()
    masked = mask.soteria(model, params, x, torch.tensor([0]), ONE, lr=LR, share=0.5)
    assert (model.layers(masked)[-2][0] == 0).all(dim=0).tolist() == [False, True]


def test_masked_features_stop_who_matches_them_and_nobody_else():
    model = tanh_net()
    view, x, y = sent(model)
    masked = replace(view, messages=mask.soteria(model, view.params, x, y, ONE, lr=LR, share=1.0))
    assert decibels(invert.gauss_newton(masked, label=int(y)), x) < 15
    assert decibels(invert.gauss_newton(masked, kept=invert.outside(model, layers=[-2])), x) > 60


def test_a_bottleneck_without_draws_is_its_twin():
    model = mask.precode((1, 8, 8), 10, latent=8)
    params = model.init(generator(0, "model"))
    x = data.load("digits").x[:5]
    assert torch.allclose(model(params[None], x[None])[0], model.twin(params)(x), atol=1e-5)


def test_the_bottleneck_gives_another_gradient_each_time_and_its_ratio_the_same_features():
    """In a dense layer the slope of a sample cancels: weight by bias is what the layer saw, whatever was drawn."""
    model = mask.precode((1, 8, 8), 10, latent=8)
    params = model.init(generator(0, "model")).double()
    x, y = digit()
    _, features = mask.before_bottleneck(model)
    true = features(model.layers(params[None]), x[None])[0, 0]
    seen = []
    for number in range(2):
        row = mask.variational_updates(model, params, x, y, ONE, lr=LR, beta=1e-3, generator=generator(0, number))
        weight, bias = model.layers(row)[4:6]
        assert torch.allclose(weight[0, 0] / bias[0, 0], true, atol=1e-9)
        seen.append(row)
    assert not torch.allclose(seen[0], seen[1], rtol=0.01)


def test_a_random_bottleneck_falls_when_it_is_left_out():
    model = mask.precode((1, 8, 8), 10)
    params = model.init(generator(0, "model")).double()
    x, y = digit()
    row = mask.variational_updates(model, params, x, y, ONE, lr=LR, beta=1e-3, generator=generator(0, "draws"))
    view = view_of(model, row, params)
    count, features = mask.before_bottleneck(model)
    assert decibels(invert.gauss_newton(view, label=int(y), outer=8), x) < 12
    assert decibels(invert.around(view, layers=count, features=features), x) > 25

    # Where the convolutions are masked too, nothing is left to read, and the loss shows it.
    noise = torch.randn(row.shape, generator=generator(0, "noise"), dtype=row.dtype)
    hidden = replace(view, messages=row + noise * row.norm() / row.numel() ** 0.5 * 10)
    assert invert.around(hidden, layers=count, features=features, iterations=50).losses[-1] > 0.5


def test_made_up_samples_change_the_update_less_than_random_ones_and_are_what_is_read():
    model = tanh_net()
    view, x, y = sent(model)
    args = (model, view.params, x, y, ONE)
    learned = mask.learned_perturbation(*args, lr=LR, strength=0.2, steps=20, generator=generator(0, "start"))
    barely = mask.learned_perturbation(*args, lr=LR, strength=0.2, steps=1, generator=generator(0, "start"))
    cost = (learned - view.messages).norm() / view.messages.norm()
    assert cost < (barely - view.messages).norm() / view.messages.norm()
    found = invert.gauss_newton(replace(view, messages=learned))
    assert 12 < decibels(found, x) < 22
    assert torch.equal(
        mask.learned_perturbation(*args, lr=LR, strength=0.0, generator=generator(0, "start")), view.messages
    )


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (models.mlp((1, 8, 8), 10), bind(mask.soteria, share=0.5)),
        (models.mlp((1, 8, 8), 10), bind(mask.learned_perturbation, strength=0.1, steps=2)),
        (mask.precode((1, 8, 8), 10), bind(mask.variational_updates, beta=1e-3)),
    ],
)
def test_every_mask_trains_in_a_federation(model, part):
    history = run(Scenario(model=model, train=part, clients=4, rounds=8, evaluate_every=8))
    assert history.final_accuracy > 0.3


# --- a malicious server


def first_layers(alpha, seeds):
    """`check_up` of honest models over the rounds of several runs, each with a client's own samples."""
    from labsec.federation.engine import rounds
    from labsec.federation.population import Population

    signs = []
    model = models.mlp((1, 8, 8), 10, hidden=(64, 64))
    for seed in seeds:
        scenario = Scenario(model=model, alpha=alpha, clients=8, rounds=10, seed=seed, evaluate_every=10)
        held = Population(scenario)
        for number, turn in enumerate(rounds(scenario)):
            own = held.shards[number % 8]
            signs.append(invert.check_up(turn.before, model=model, x=held.x[own[own >= 0]]))
    return model, signs


def test_the_check_keeps_its_rate_of_false_alarms_and_sees_four_kinds_of_tampering():
    model, known = first_layers(None, range(10))
    limits = invert.limits_of(known, rate=0.1)
    _, fresh = first_layers(None, range(20, 30))
    wrong = sum(bool(invert.alarms(signs, limits)) for signs in fresh) / len(fresh)
    assert wrong <= 0.2

    digits = data.load("digits")
    draws = generator(0, "server")
    honest = model.init(draws)
    bins = invert.imprint(honest, model=model, public=digits.x[:100], one_hot=False, generator=draws)
    traps = invert.trap_weights(honest, model=model, scale=0.5, generator=draws)
    one_alive = honest.clone()
    model.layers(one_alive[None])[1][0, 1:] = -100
    odd = honest.clone()
    model.layers(odd[None])[0][0, 0] *= 50
    for tampered in (bins, traps, one_alive, odd):
        assert invert.alarms(invert.check_up(tampered, model=model, x=digits.x[200:240]), limits)


def test_a_server_that_knows_the_check_hides_below_it():
    model, known = first_layers(None, range(10))
    limits = invert.limits_of(known, rate=0.1)
    digits = data.load("digits")
    draws = generator(1, "server")
    honest = model.init(draws)
    traps = invert.trap_weights(honest, model=model, scale=0.5, generator=draws)

    def accepts(params):
        return not invert.alarms(invert.check_up(params, model=model, x=digits.x[200:240]), limits)

    made, count = invert.hidden(honest, traps, model=model, accepts=accepts, generator=draws)
    assert 0 < count < 64
    assert accepts(made)
    assert not accepts(traps)


def test_limits_are_the_quantile_that_the_rate_asks_for():
    """Two signs share 10 %: of 39 models the largest number is the limit, and 20 models are too few for 5 % each."""
    honest = [{"a": float(n), "b": -float(n)} for n in range(39)]
    assert invert.limits_of(honest, rate=0.05) == {"a": 38.0, "b": 0.0}
    with pytest.raises(ValueError, match="at least 39 honest models"):
        invert.limits_of(honest[:38], rate=0.05)
