"""Lab 08: its exercises say what the laboratory says, and what its text says comes back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from labsec import Scenario, bind, compress, invert, mask, metrics, models, run, train
from labsec.course import exercises
from labsec.course.exercises import lab08 as answers
from labsec.course.panels import lab08_leak
from labsec.data import load
from labsec.types import ServerView, generator

SMALL = models.mlp((1, 8, 8), 10, hidden=(32,))
FED = Scenario.fedavg(model=SMALL, rounds=40)


class Remembering:
    """The lab's own stage around exercise 8.5."""

    def __init__(self, shorten: answers.Compressor, *, clients: int = 30, dim: int = SMALL.dim) -> None:
        self.shorten = shorten
        self.owed = torch.zeros(clients, dim)

    def __call__(self, updates: Tensor, *, clients: Tensor) -> Tensor:
        sent, self.owed = answers.feedback(updates, self.owed, clients=clients, shorten=self.shorten)
        return sent


def message(i: int = 0) -> tuple[ServerView, Tensor, int]:
    """What a client with one digit sends, and the digit with its label."""
    digits = load("digits")
    model = models.lenet(digits.shape, 10)
    params = model.init(generator(i, "test"))
    x, y = digits.x_test[i : i + 1], digits.y_test[i : i + 1]
    update = train.local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1)
    return view, x, int(y)


# --- exercises


def test_top_k_is_that_of_the_laboratory() -> None:
    for each in exercises.find("08.1").drawn_cases():
        (updates,) = each.args
        said = compress.top_k(updates, keep=each.kwargs["k"] / updates.shape[1])
        assert torch.equal(answers.top_k(updates, **each.kwargs), said)


def test_the_sign_is_that_of_the_laboratory() -> None:
    for each in exercises.find("08.3").drawn_cases():
        torch.testing.assert_close(answers.sign_of(*each.args), compress.sign(*each.args))


def test_no_other_scale_brings_the_signs_nearer() -> None:
    rows = torch.randn(3, 50, generator=generator(0, "test"))
    nearest = (answers.sign_of(rows) - rows).norm(dim=1)
    for factor in (0.9, 1.1):
        assert bool(((factor * answers.sign_of(rows) - rows).norm(dim=1) > nearest).all())


def test_rounding_is_right_on_average_and_only_ever_to_a_neighbour() -> None:
    """Ten thousand copies: the mean is off by less than five of its standard deviations, at most step / 200."""
    draw = generator(0, "test")
    numbers = torch.tensor([[-1.7, -0.4, 0.0, 0.05, 2.5, 3.0]]).expand(10_000, -1)
    rounded = answers.stochastic_round(numbers, torch.rand(numbers.shape, generator=draw), step=0.5)
    assert float((rounded - numbers).abs().max()) < 0.5
    assert torch.equal(rounded / 0.5, (rounded / 0.5).round())
    torch.testing.assert_close(rounded.mean(dim=0), numbers[0], atol=0.5 * 5 / 200, rtol=0)


@pytest.mark.parametrize(("dim", "kept"), [(2410, 7), (2410, 241), (2410, 2410), (13426, 1343)])
def test_the_encoder_needs_at_most_a_header_more_than_the_count(dim: int, kept: int) -> None:
    """A list and a map are two of the ways that it tries."""
    draw = generator(0, "test")
    row = torch.zeros(dim)
    row[torch.randperm(dim, generator=draw)[:kept]] = torch.randn(kept, generator=draw)
    assert len(compress.encode(row)) <= answers.bytes_of(row, bits=32) + 16


def test_feedback_is_that_of_the_laboratory_also_when_clients_are_absent() -> None:
    draw = generator(1, "test")
    mine = Remembering(answers.bind_top(3), clients=6, dim=9)
    theirs = compress.ErrorFeedback(answers.bind_top(3))
    for _ in range(12):
        present = torch.randperm(6, generator=draw)[:4]
        updates = torch.randn(4, 9, generator=draw)
        said = theirs(updates, clients=present, generator=draw)
        torch.testing.assert_close(mine(updates, clients=present), said)


def test_nothing_is_lost_with_feedback() -> None:
    """What was sent and what is owed add up to all that was learned."""
    draw = generator(2, "test")
    stage = Remembering(answers.sign_of, clients=3, dim=5)
    learned = torch.randn(20, 3, 5, generator=draw)
    sent = torch.stack([stage(each, clients=torch.arange(3)) for each in learned])
    torch.testing.assert_close(sent.sum(dim=0) + stage.owed, learned.sum(dim=0), rtol=1e-4, atol=1e-5)


def test_the_gap_has_no_slope_where_nothing_was_sent() -> None:
    own = torch.randn(6, generator=generator(0, "test"), requires_grad=True)
    received = torch.tensor([1.0, 0, 0, -2, 0, 3])
    (slope,) = torch.autograd.grad(answers.gap(own, received), own)
    assert torch.equal(slope != 0, received != 0)


# --- what the text says


def test_seven_numbers_are_enough_with_a_memory_and_not_without() -> None:
    few = answers.bind_top(7)
    assert run(replace(FED, client_stages=[few])).final_accuracy < 0.5
    assert run(replace(FED, client_stages=[Remembering(few)])).final_accuracy > 0.85


def test_a_sign_without_a_scale_learns_nothing() -> None:
    assert run(replace(FED, client_stages=[lambda updates: updates.sign()])).final_accuracy < 0.3
    assert run(replace(FED, client_stages=[answers.sign_of])).final_accuracy > 0.85


def test_a_random_tenth_is_read_by_whoever_knows_that_it_is_one_and_by_nobody_else() -> None:
    view, x, label = message()
    tenth = compress.random_k(view.messages, keep=0.1, unbiased=False, generator=generator(0, "tenth"))
    view = replace(view, messages=tenth)
    plain = invert.gauss_newton(view, label=label).estimate
    knowing = invert.gauss_newton(view, label=label, kept=invert.left_in(view)).estimate
    assert float(metrics.psnr(plain, x)) < 10
    assert float(metrics.psnr(knowing, x)) > 30


def test_soteria_is_read_around() -> None:
    view, x, label = message(1)
    digits = load("digits")
    own = (digits.x_test[1:2], digits.y_test[1:2], torch.tensor([[[0]]]))
    view = replace(view, messages=mask.soteria(view.model, view.params, *own, lr=0.1, share=0.8))
    plain = invert.gauss_newton(view, label=label).estimate
    around = invert.gauss_newton(view, label=label, kept=invert.outside(view.model, layers=[-2])).estimate
    assert float(metrics.psnr(plain, x)) < 10
    assert float(metrics.psnr(around, x)) > 40


def test_one_bit_is_private_and_a_message_is_not() -> None:
    assert math.log(0.75 / 0.25) == pytest.approx(1.1, abs=0.01)
    assert compress.sfsq_epsilon(flip=0.25, coordinates=2410) == pytest.approx(2650, abs=5)
    assert SMALL.dim == 2410


def test_fifty_flipped_messages_name_whom_one_does_not() -> None:
    digits = load("digits")
    params = SMALL.init(generator(0, "test"))
    alone = torch.arange(len(digits.x_test))[:, None, None]
    expected = train.local_updates(SMALL, params, digits.x_test, digits.y_test, alone, lr=0.3)
    stage = bind(compress.sfsq, bound=0.05, flip=0.4)

    def named(copies: int) -> float:
        draw = generator(copies, "test")
        total = sum((stage(expected[:50], generator=draw) for _ in range(copies)), torch.zeros(50, SMALL.dim))
        who = invert.gallery(total / copies, expected.clamp(-0.05, 0.05), samples=1)[:, 0]
        return float((who == torch.arange(50)).double().mean())

    assert named(1) < 0.3
    assert named(50) > 0.9


# --- what the text needs beside the attacks


def test_the_learners_gap_finds_what_the_gap_of_lab_04_does_not() -> None:
    view, x, label = lab08_leak.told(load("digits"), models.lenet((1, 8, 8), 10), 0)
    half = compress.random_k(view.messages, keep=0.5, unbiased=False, generator=generator(0, "half"))
    view = replace(view, messages=half)
    mine = lab08_leak.searched(answers.gap, view, label)
    other = lab08_leak.searched(lambda own, received: (own - received).square().sum(), view, label)
    assert float(metrics.psnr(mine, x.double())) > 30
    assert float(metrics.psnr(other, x.double())) < 10


def test_masks_hide_more_from_the_plain_attacker() -> None:
    x, found = lab08_leak.masked_digits(2)
    scores = {name: float(metrics.psnr(guess, x).min()) for name, guess in found.items()}
    assert scores["PRECODE, plain"] < 10
    assert scores["PRECODE, adaptive"] > 25
    assert scores["perturbed, plain"] < scores["perturbed, adaptive"]


def test_more_pictures_and_steps_hide_pictures_and_not_who_was_there() -> None:
    one = lab08_leak.leaks(FED, batch=1, steps=1, clients=5)
    many = lab08_leak.leaks(FED, batch=16, steps=5, clients=5)
    assert one[0] == one[1] == 100
    assert many[0] < 10
    assert many[1] > 1.5 * many[2]


def test_limits_from_many_federations_catch_bins_and_traps_and_a_server_that_knows_them_stays_below() -> None:
    earlier = [lab08_leak.signs_in(replace(FED, seed=100 + i, rounds=1 + i % 20))[-1] for i in range(120)]
    limits = invert.limits_of(earlier, rate=0.05)
    ten = replace(FED, rounds=10)
    sent = lab08_leak.servers(ten, limits)
    own = load("digits").x[: lab08_leak.OWN]
    rings = {name: bool(invert.alarms(invert.check_up(p, model=SMALL, x=own), limits)) for name, p in sent.items()}
    assert rings["bins"]
    assert rings["traps"]
    read = lab08_leak.read_by(ten, sent)
    assert read["bins"] > read["traps"] > read["honest"]
    (hidden,) = set(sent) - {"honest", "bins", "traps"}
    passed = load("digits").x_test[: lab08_leak.OWN]
    assert not invert.alarms(invert.check_up(sent[hidden], model=SMALL, x=passed), limits)


def test_the_threat_card_names_what_clients_do() -> None:
    assert "Honest clients run top_k before they send." in answers.THREAT_MODEL.visibility
    assert "limits" in answers.SENDS_ITS_OWN.knowledge
