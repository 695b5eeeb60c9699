"""The core of the ladder: labels, the matching kernel, deep leakage as published and repaired, the closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import inversion as benchmark
from labsec import data, invert, metrics, models
from labsec.invert.closed_form import Layer
from labsec.invert.kernel import Automatic, ByHand, kernel, plan_of
from labsec.invert.smooth import Smoother
from labsec.invert.threads import one_thread
from labsec.train import local_updates
from labsec.types import ServerView, generator

SMOOTH = {
    "MLP, tanh": models.mlp((1, 4, 4), 5, hidden=(7,), activation=torch.tanh),
    "MLP, three layers": models.mlp((10,), 3, hidden=(7, 6, 9), activation=torch.sigmoid),
    "LeNet, even": models.lenet((1, 8, 8), 10),
    "LeNet, odd, colour": models.lenet((3, 9, 7), 4),
    "ConvNet, tanh": models.convnet((2, 9, 8), 4, activation=torch.tanh),
}
every_smooth_model = pytest.mark.parametrize("model", SMOOTH.values(), ids=SMOOTH)
LENET = models.lenet((1, 8, 8), 10)


def digit(number):
    digits = data.load("digits")
    return digits.x_test[number : number + 1].double(), digits.y_test[number : number + 1]


def captured(x, y, model=LENET, *, seed=0, steps=1, noise=0.0, dtype=torch.float64):
    """The message of a client that takes its steps on all of x, y."""
    params = model.init(generator(seed, "model")).to(dtype)
    batches = torch.arange(len(y)).expand(1, steps, -1)
    update = local_updates(model, params, x.to(dtype), y, batches, lr=0.1)
    update = update + noise * torch.randn(update.shape, generator=generator(seed, "noise")).to(dtype)
    return ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=steps, batch_size=len(y))


def problem(model):
    """Parameters, a target, three candidates and a direction for each."""
    draws = generator(0, model.name)
    size = torch.Size(model.shape).numel()
    params = model.init(draws).double()
    target = 0.1 * torch.randn(model.dim, generator=draws).double()
    x = torch.rand(3, size, generator=draws).double()
    return params, target, x, torch.randn(3, size, generator=draws).double()


def psnr(found, truth):
    return float(metrics.psnr(found.estimate.double()[:1], truth)[0])


def share_left(found, view):
    """The matching loss as a share of that of an empty gradient: what the attacker can see of its success."""
    wanted = view.messages[0].double() / view.lr
    return found.losses[-1] / float(wanted.square().sum() / 2)


# --- the kernel


@every_smooth_model
def test_the_hand_kernel_is_automatic_differentiation(model):
    params, target, x, along = problem(model)
    by_hand = kernel(model, params, target, 1)
    assert isinstance(by_hand, ByHand)
    here = by_hand.at(x)
    there = Automatic(model, params, target, 1, kept=None).at(x)
    torch.testing.assert_close(here.losses, there.losses, rtol=1e-10, atol=0)
    torch.testing.assert_close(here.slopes, there.slopes, rtol=0, atol=1e-10 * float(there.slopes.abs().max()))
    curved = there.curved(along)
    torch.testing.assert_close(here.curved(along), curved, rtol=0, atol=1e-10 * float(curved.abs().max()))


def test_automatic_differentiation_is_half_the_square_of_the_distance_and_its_slope():
    """By hand: G from the training itself, its Jacobian by central differences."""
    model = models.mlp((4,), 3, hidden=(5,), activation=torch.sigmoid)
    params, target, x, along = problem(model)

    def gradient(at):
        pool = at.detach()
        step = torch.tensor([[[0]]])
        return -local_updates(model, params, pool, torch.tensor([1]), step, lr=1.0)[0]

    columns = []
    for each in torch.eye(4).double() * 1e-6:
        columns.append((gradient(x[:1] + each) - gradient(x[:1] - each)) / 2e-6)
    jacobian = torch.stack(columns, dim=1)  # [dim, 4]
    residual = gradient(x[:1]) - target
    here = Automatic(model, params, target, 1, kept=None).at(x[:1])
    assert float(here.losses[0]) == pytest.approx(float(residual.square().sum() / 2), rel=1e-12)
    torch.testing.assert_close(here.slopes[0], jacobian.T @ residual, atol=1e-7, rtol=0)
    torch.testing.assert_close(here.curved(along[:1])[0], jacobian.T @ jacobian @ along[0], atol=1e-7, rtol=0)


def test_only_what_can_be_computed_by_hand_is():
    relu = models.mlp((10,), 3)
    assert plan_of(relu) is None
    params, target, x, along = problem(relu)
    here = kernel(relu, params, target, 0).at(x)
    assert here.losses.shape == (3,)
    assert here.curved(along).shape == (3, 10)
    linear = models.mlp((10,), 3, hidden=())
    params, target, x, along = problem(linear)
    curved = kernel(linear, params, target, 0).at(x).curved(along)
    assert ((curved * along).sum(dim=1) > 0).all()


def test_the_kernel_refuses_what_is_not_double_precision():
    params, target, _, _ = problem(LENET)
    with pytest.raises(ValueError, match=r"needs params and target float64 \[\d+\]; got torch.float32"):
        kernel(LENET, params.float(), target, 0)
    with pytest.raises(ValueError, match="label=10"):
        kernel(LENET, params, target, 10)


# --- smooth steps


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 5), (2, 4, 4), (7,)])
def test_half_a_smoother_twice_is_a_whole_one_and_it_is_symmetric(shape):
    smoother = Smoother(shape)
    x, y = torch.randn(2, 1, torch.Size(shape).numel(), generator=generator(0, *shape)).double()
    torch.testing.assert_close(smoother.half(smoother.half(x)), smoother.full(x))
    torch.testing.assert_close((smoother.full(x) * y).sum(), (x * smoother.full(y)).sum())
    assert float((x * smoother.full(x)).sum()) > 0


def test_a_smoother_keeps_what_is_flat_and_grey_and_shrinks_what_is_not():
    smoother = Smoother((3, 8, 8))
    flat = torch.ones(1, 192).double()
    torch.testing.assert_close(smoother.full(flat), flat)
    checks = flat * (-1.0) ** torch.arange(192)
    assert smoother.full(checks).norm() < 0.3 * checks.norm()
    red = torch.cat([torch.ones(1, 64), -torch.ones(1, 64), torch.zeros(1, 64)], dim=1).double()
    assert smoother.full(red).norm() < 0.5 * red.norm()


def test_an_attack_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


# --- labels


def test_the_label_is_the_one_negative_entry():
    for number in range(10):
        x, y = digit(number)
        assert invert.label(captured(x, y, seed=number)) == int(y)


def test_a_label_that_cannot_be_read_is_refused():
    x, y = digit(0)
    with pytest.raises(ValueError, match=r"negative for exactly one class; it is for \d of 10"):
        invert.label(captured(x, y, noise=0.1))
    with pytest.raises(ValueError, match="one local step, which is a gradient; got local_steps=3"):
        invert.label(captured(x, y, steps=3))
    digits = data.load("digits")
    with pytest.raises(ValueError, match="needs a message of one sample; got batch_size=4"):
        invert.label(captured(digits.x_test[:4], digits.y_test[:4]))


def test_counts_of_an_untrained_model_are_right_with_class_means_and_wrong_on_a_trained_one():
    digits = data.load("digits")
    means = torch.stack([digits.x[digits.y == k].mean(dim=0) for k in range(10)])
    model = models.mlp(digits.shape, 10)
    fresh = model.init(generator(0, "fresh"))
    everybody = torch.arange(len(digits.y)).expand(1, 300, -1)
    trained = fresh + local_updates(model, fresh, digits.x, digits.y, everybody, lr=0.5)[0]

    def right(params, examples):
        hits = []
        for seed in range(20):
            own = torch.randint(len(digits.y_test), (1, 1, 8), generator=generator(seed, "batch"))
            update = local_updates(model, params, digits.x_test, digits.y_test, own, lr=0.1)
            view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=8)
            counts = invert.label_counts(view, examples=examples)
            truth = digits.y_test[own.flatten()].bincount(minlength=10)
            assert int(counts.sum()) == 8
            hits.append(float(torch.minimum(counts, truth).sum() / 8))
        return sum(hits) / len(hits)

    assert right(fresh, means) == 1.0
    assert right(fresh, None) > 0.95
    assert right(trained, None) < 0.6


def test_counts_need_to_know_the_batch():
    digits = data.load("digits")
    view = captured(digits.x_test[:4], digits.y_test[:4])
    with pytest.raises(ValueError, match="batch of known size; got batch_size=None"):
        invert.label_counts(replace(view, batch_size=None))
    with pytest.raises(ValueError, match=r"examples \[10, 1, 8, 8\], one for each class"):
        invert.label_counts(view, examples=torch.zeros(1, 8, 8))


# --- deep leakage, repaired


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs])
def test_the_repaired_attack_finds_digits_and_faces(attack):
    for number in range(4):
        x, y = digit(number)
        found = attack(captured(x, y, seed=number))
        assert psnr(found, x) >= 40
        assert found.labels.tolist() == y.tolist()
        assert found.divergences == 0
        assert found.losses[-1] == min(found.losses)
    faces = data.load("faces")
    x, y = faces.x_test[:1].double(), faces.y_test[:1]
    assert psnr(attack(captured(x, y, models.lenet(faces.shape, 2))), x) >= 40


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs])
def test_the_loss_tells_when_an_assumption_does_not_hold(attack):
    """Noise, a wrong label, another model, several steps: no picture, and a loss that stays high."""
    x, y = digit(1)
    view = captured(x, y)
    noisy = captured(x, y, noise=0.05)
    elsewhere = replace(view, params=LENET.init(generator(7, "elsewhere")).double())
    several = replace(captured(x, y, steps=20), local_steps=1)
    for wrong in (noisy, elsewhere, several):
        found = attack(wrong, label=int(y))
        assert psnr(found, x) < 20
        assert share_left(found, wrong) > 0.01
    found = attack(view, label=(int(y) + 1) % 10)
    assert psnr(found, x) < 20
    assert share_left(found, view) > 0.01
    assert share_left(attack(view), view) < 1e-7


def test_a_relu_network_can_hold_the_search_up_and_the_loss_says_so():
    x, y = digit(1)
    view = captured(x, y, models.convnet((1, 8, 8), 10), seed=1)
    found = invert.gauss_newton(view)
    assert share_left(found, view) > 1e-4
    assert psnr(found, x) < 25


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs, invert.closed_form])
def test_what_is_no_gradient_of_one_sample_is_refused(attack):
    x, y = digit(0)
    with pytest.raises(ValueError, match="got local_steps=2: several steps are matched by simulation"):
        attack(captured(x, y, steps=2))
    with pytest.raises(ValueError, match="needs a message of one sample; got batch_size=2"):
        attack(captured(x.repeat(2, 1, 1, 1), y.repeat(2)))
    silent = captured(x, y)
    with pytest.raises(ValueError, match=r"not zero|negative for exactly one class"):
        attack(replace(silent, messages=torch.zeros_like(silent.messages)))


def test_restarts_run_side_by_side_and_the_best_one_counts():
    x, y = digit(2)
    view = captured(x, y)
    found = invert.gauss_newton(view, restarts=3, generator=generator(0, "restarts"))
    assert found.restarts == 3
    assert psnr(found, x) >= 40
    assert found.evaluations > invert.gauss_newton(view).evaluations
    with pytest.raises(TypeError, match="generator"):
        invert.gauss_newton(view, restarts=2)


def test_lbfgs_starts_anew_only_while_nothing_is_found():
    x, y = digit(2)
    view = captured(x, y)
    assert invert.lbfgs(view, restarts=3, generator=generator(0, "restarts")).restarts == 1
    assert invert.lbfgs(view, restarts=3, iterations=2, generator=generator(0, "restarts")).restarts == 3


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs, invert.idlg])
def test_whoever_watches_sees_the_picture_emerge_and_may_stop_it(attack):
    x, y = digit(3)
    view = captured(x, y)
    seen = []

    def watch(iteration, estimate, loss):
        seen.append((iteration, float(metrics.psnr(estimate.double(), x)[0]), loss))
        return iteration == 2

    draws = {"generator": generator(0, "start")} if attack is invert.idlg else {}
    attack(view, watch=watch, **draws)
    assert [iteration for iteration, _, _ in seen] == [0, 1, 2]
    assert seen[-1][2] < seen[0][2]


@pytest.mark.parametrize("attack", [invert.gauss_newton, invert.lbfgs])
def test_a_search_that_is_out_of_time_brings_home_the_best_so_far(attack):
    x, y = digit(3)
    found = attack(captured(x, y), seconds=1e-9)
    assert found.succeeded
    assert len(found.losses) == 1


def test_the_best_iterate_is_kept_where_a_search_ends_worse():
    """A watcher sees the least loss so far, whatever the search tries next."""
    x, y = digit(3)
    least = []
    invert.lbfgs(captured(x, y), watch=lambda iteration, estimate, loss: least.append(loss))
    assert least == sorted(least, reverse=True)


# --- deep leakage, as published


def test_the_published_attacks_find_a_digit():
    x, y = digit(1)
    view = captured(x, y, seed=1, dtype=torch.float32)
    for attack in (invert.dlg, invert.idlg):
        found = attack(view, generator=generator(1, "start"))
        assert psnr(found, x) >= 40
        assert found.labels.tolist() == y.tolist()
        assert found.divergences == 0


def test_the_published_attack_runs_off_and_says_so_where_the_repaired_one_does_not():
    x, y = digit(1)
    for seed in (2, 3, 9):
        view = captured(x, y, seed=seed, dtype=torch.float32)
        found = invert.dlg(view, generator=generator(seed, "start"))
        assert found.divergences == 1
        assert not found.losses[-1] <= found.losses[0]
        assert psnr(found, x) < 0
        assert psnr(invert.gauss_newton(view), x) >= 40


def test_numbers_that_are_not_finite_are_a_failure():
    x, y = digit(0)
    view = captured(x, y, dtype=torch.float32)
    found = invert.dlg(replace(view, messages=view.messages * 1e30), generator=generator(0, "start"))
    assert not found.succeeded
    assert found.divergences == 1
    assert psnr(found, x) == -torch.inf


# --- the closed form


def test_a_layer_is_solved_as_a_dense_least_squares_problem_solves_it():
    """Every column of the system by the pictures that hold a single 1."""
    model = models.lenet((3, 8, 8), 10)
    plan = plan_of(model)
    draws = generator(0, "layer")
    for step, shape in zip(plan.steps, model.shapes[::2], strict=False):
        size = torch.Size(step.shape).numel()
        places = step.unfold(torch.zeros(1, size).double()).shape[2]
        weight = torch.randn(shape, generator=draws).double().flatten(1)
        delta = torch.randn(shape[0], places, generator=draws).double()
        layer = Layer(step, weight, delta)
        columns = [torch.cat([part.flatten() for part in layer.forward(row)]) for row in torch.eye(size).double()]
        system = torch.stack(columns, dim=1).numpy()
        given = torch.randn(shape[0], places, generator=draws).double()
        slope = torch.randn(shape[0], weight.shape[1], generator=draws).double()
        right = torch.cat([given.flatten(), layer.share * slope.flatten()]).numpy()
        dense = np.linalg.lstsq(system, right, rcond=None)[0]
        for likely in (None, Smoother(step.shape)):
            found = layer.solve(given, slope, most=5000, likely=likely).numpy()
            np.testing.assert_allclose(found, dense, atol=1e-6 * np.abs(dense).max())


def test_the_closed_form_is_exact_on_digits_and_on_colour():
    for number in range(4):
        x, y = digit(number)
        assert psnr(invert.closed_form(captured(x, y, seed=number)), x) >= 100
    x = benchmark.pictures("photos").held_out[:1]
    assert psnr(invert.closed_form(captured(x, torch.tensor([42]), models.lenet((3, 32, 32), 100))), x) >= 50


def test_the_closed_form_says_when_its_assumptions_do_not_hold():
    x, y = digit(1)
    for activation in (torch.relu, F.elu):
        with pytest.raises(ValueError, match="activation can be undone, sigmoid or tanh; got ConvNet"):
            invert.closed_form(captured(x, y, models.convnet((1, 8, 8), 10, activation=activation)))
    view = captured(x, y)
    elsewhere = replace(view, params=LENET.init(generator(7, "elsewhere")).double())
    found = invert.closed_form(elsewhere)
    assert share_left(found, elsewhere) > 0.1
    assert psnr(found, x) < 20
    noisy = captured(x, y, noise=5e-4)
    assert share_left(invert.closed_form(noisy), noisy) > 1e-3
    assert share_left(invert.closed_form(view), view) < 1e-20


# --- the benchmark


def test_a_row_of_the_benchmark_scores_attack_baseline_and_stranger():
    row = next(row for row in benchmark.ROWS if row.attack is benchmark.gauss_newton and row.name == "digits")
    cells = dict(zip(benchmark.HEADER, benchmark.measured(row, 3, 5), strict=True))
    assert cells["≥ 40 dB"] == "3/3"
    assert float(cells["PSNR, median"]) > 40 > 20 > float(cells["mean picture"])
    assert float(cells["stranger"]) < 20


def test_an_attack_that_finds_nothing_scores_nothing():
    row = benchmark.Row("nothing", lambda view, generator: torch.zeros(0, 1, 8, 8), "digits")
    cells = dict(zip(benchmark.HEADER, benchmark.measured(row, 2, 5), strict=True))
    assert cells["≥ 25 dB"] == "0/2"
    assert cells["PSNR, median"] == "-inf"


def test_operations_by_hand():
    """8x8 grey: places 16, 4, 4; products 5, 7 and 7 times, and the head 7 times; two operations each."""
    convolutions = 5 * 12 * 25 * 16 + 7 * 12 * 300 * 4 + 7 * 12 * 300 * 4
    assert benchmark.operations(LENET) == 2 * (convolutions + 7 * 10 * 48)
