"""Compression keeps what it says, and no more; on average it says the truth, or it says how it does not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labsec import Scenario, bind, compress, rounds, run
from labsec.compress import ErrorFeedback, qsgd, random_k, sfsq, sfsq_epsilon, sign, top_k
from labsec.types import ImpossibleRule, generator


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 6), dim=st.integers(1, 60), keep=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_the_largest_are_kept_and_counted(rows, dim, keep, seed):
    updates = torch.randn(rows, dim, generator=generator(seed))
    kept = top_k(updates, keep=keep)
    count = max(1, round(keep * dim))
    expected = torch.zeros_like(updates)
    order = updates.abs().topk(count, dim=1).indices
    expected.scatter_(1, order, updates.gather(1, order))
    assert torch.equal(kept, expected)


def test_ties_are_counted_exactly():
    updates = torch.tensor([[2.0, -2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 5.0, 1.0, 1.0]])
    kept = top_k(updates, keep=0.5)
    assert kept.count_nonzero(dim=1).tolist() == [2, 0, 2]
    assert kept.abs().sum(dim=1).tolist() == [4.0, 0.0, 6.0]


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_for_the_server_to_see(worst):
    updates = torch.tensor([[5.0, 5.0, worst, 5.0, worst], [5.0, 4.0, 3.0, 2.0, 1.0]])
    kept = top_k(updates, keep=0.4)
    torch.testing.assert_close(kept, torch.tensor([[0.0, 0, worst, 0, worst], [5.0, 4, 0, 0, 0]]), equal_nan=True)
    assert not top_k(updates, keep=0.2)[0].isfinite().all()


def test_neutral_and_untouched():
    updates = torch.randn(4, 10, generator=generator(0))
    before = updates.clone()
    assert torch.equal(top_k(updates, keep=1.0), updates)
    top_k(updates, keep=0.3)
    assert torch.equal(updates, before)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
def test_bad_shares_are_named(keep):
    with pytest.raises(ValueError, match="top_k needs 0 < keep <= 1; got keep="):
        top_k(torch.ones(2, 3), keep=keep)


# --- random-k, QSGD, sign and SFSQ by hand


def test_random_k_keeps_exactly_so_many_and_makes_up_for_the_others():
    updates = torch.arange(1.0, 41.0).repeat(6, 1)
    kept = random_k(updates, keep=0.25, generator=generator(0))
    assert kept.count_nonzero(dim=1).tolist() == [10] * 6
    filled = kept != 0
    assert torch.equal(kept[filled], 4 * updates[filled])
    assert len({tuple(row) for row in filled.tolist()}) == 6, "each row has a pattern of its own"
    shortened = random_k(updates, keep=0.25, unbiased=False, generator=generator(0))
    assert torch.equal(shortened, kept / 4)


def test_the_pattern_of_random_k_follows_from_the_seed_and_not_from_the_data():
    first = random_k(torch.ones(3, 50), keep=0.2, generator=generator(7)) != 0
    second = random_k(-torch.rand(3, 50) - 1, keep=0.2, generator=generator(7)) != 0
    other = random_k(torch.ones(3, 50), keep=0.2, generator=generator(8)) != 0
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_qsgd_has_so_many_values_and_never_leaves_its_neighbours():
    updates = torch.randn(20, 500, generator=generator(0))
    for bits, levels in ((2, 1), (3, 3), (4, 7), (8, 127)):
        rounded = qsgd(updates, bits=bits, generator=generator(1))
        step = updates.abs().amax(dim=1, keepdim=True) / levels
        codes = rounded / step
        torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
        assert codes.abs().max().round() == levels, "the largest entry is a value itself"
        assert ((rounded - updates).abs() <= step * (1 + 1e-5)).all()


def test_qsgd_by_length_is_the_theorem():
    """Alistarh et al., Lemma 3.1: the variance is at most min(dim / s^2, sqrt(dim) / s) times the squared length."""
    row = torch.randn(1, 400, generator=generator(0))
    draws = qsgd(row.expand(4000, -1), bits=3, order=2, generator=generator(1))
    variance = float((draws - row).square().sum(dim=1).mean() / row.square().sum())
    assert variance <= min(400 / 9, 20 / 3)
    assert variance > 1, "so coarse a rounding costs more than the row is long"
    assert (draws == 0).float().mean() > 0.8, "most entries are less than a step"


UNBIASED = {
    "random_k": bind(random_k, keep=0.3),
    "qsgd, largest": bind(qsgd, bits=3),
    "qsgd, length": bind(qsgd, bits=4, order=2),
    "sfsq": bind(sfsq, bound=2.0, flip=0.2),
}


@pytest.mark.parametrize("stage", UNBIASED.values(), ids=UNBIASED)
def test_unbiased_means_that_the_mean_of_many_is_the_row(stage):
    row = torch.tensor([[1.9, -1.2, 0.0, 0.31, -0.05, 0.7, 1.0, -2.0]])
    draws = stage(row.expand(40_000, -1), generator=generator(3))
    error = draws.mean(dim=0) - row[0]
    assert (error.abs() <= 5 * draws.std(dim=0) / 200 + 1e-6).all(), error


@pytest.mark.parametrize(
    "stage", [bind(top_k, keep=0.4), sign, bind(random_k, keep=0.3, unbiased=False)], ids=["top_k", "sign", "random_k"]
)
def test_the_biased_ones_are_biased(stage):
    row = torch.tensor([[1.9, -1.2, 0.0, 0.31, -0.05, 0.7, 1.0, -2.0]])
    given = {"generator": generator(3)} if "random_k" in repr(stage) else {}
    error = stage(row.expand(10_000, -1), **given).mean(dim=0) - row[0]
    assert error.abs().max() > 0.5


def test_sign_is_the_closest_row_of_its_signs():
    updates = torch.randn(5, 30, generator=generator(0))
    sent = sign(updates)
    assert torch.equal(sent.sign(), updates.sign())
    for factor in (0.9, 1.1):
        assert ((sent - updates).norm(dim=1) < (factor * sent - updates).norm(dim=1)).all()


def test_sfsq_by_hand():
    """At 0.5 of the bound a sign is + three times in four; flipped one time in five it is 0.75 * 0.8 + 0.25 * 0.2."""
    sent = sfsq(torch.full((1, 100_000), 0.5), bound=1.0, flip=0.2, generator=generator(0))
    assert sent.abs().unique().tolist() == pytest.approx([1 / 0.6])
    share = float((sent > 0).float().mean())
    assert share == pytest.approx(0.65, abs=5 * math.sqrt(0.65 * 0.35 / 100_000))
    beyond = sfsq(torch.full((1, 1000), 99.0), bound=1.0, flip=0.0, generator=generator(0))
    assert (beyond == 1).all(), "clipped to the bound"


def test_epsilon_of_sfsq():
    """Warner: the likelihood ratio of one sign is at most 0.75 / 0.25; the logs of 2,410 of them add up."""
    assert sfsq_epsilon(flip=0.25, coordinates=1) == pytest.approx(math.log(3))
    assert sfsq_epsilon(flip=0.25, coordinates=2410) == pytest.approx(2410 * math.log(3))
    assert sfsq_epsilon(flip=0.5, coordinates=10) == 0


DRAWING = {**UNBIASED, "random_k, biased": bind(random_k, keep=0.3, unbiased=False)}


@pytest.mark.parametrize("stage", DRAWING.values(), ids=DRAWING)
@pytest.mark.parametrize("worst", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_is_not_finite_reaches_the_server(stage, worst):
    updates = torch.ones(3, 6)
    updates[1, 4] = worst
    sent = stage(updates, generator=generator(0))
    assert sent.isfinite().all(dim=1).tolist() == [True, False, True]
    assert sign(updates).isfinite().all(dim=1).tolist() == [True, False, True]


@pytest.mark.parametrize("stage", DRAWING.values(), ids=DRAWING)
def test_same_stream_same_rows_and_the_input_stays(stage):
    updates = torch.randn(4, 20, generator=generator(0))
    before = updates.clone()
    assert torch.equal(stage(updates, generator=generator(1)), stage(updates, generator=generator(1)))
    assert not torch.equal(stage(updates, generator=generator(1)), stage(updates, generator=generator(2)))
    assert torch.equal(updates, before)


def test_zero_rows_stay_zero_where_zero_is_a_value():
    zeros = torch.zeros(2, 5)
    for stage in (bind(random_k, keep=0.5), bind(qsgd, bits=2), bind(qsgd, bits=2, order=2)):
        assert not stage(zeros, generator=generator(0)).any()
    assert not sign(zeros).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: qsgd(x, bits=1, generator=generator(0)), "qsgd needs a whole number 2 <= bits <= 8; got bits=1"),
        (lambda x: qsgd(x, bits=3, order=3, generator=generator(0)), "an order of 2 or inf; got order=3"),
        (lambda x: sfsq(x, bound=0.0, flip=0.1, generator=generator(0)), "bound > 0; got bound=0.0"),
        (lambda x: sfsq(x, bound=1.0, flip=0.5, generator=generator(0)), "0 <= flip < 0.5; got flip=0.5"),
        (lambda x: random_k(x, keep=0, generator=generator(0)), "0 < keep <= 1; got keep=0"),
        (lambda x: random_k(x, keep=0.5, unbiased=1, generator=generator(0)), "unbiased to be of type bool; got 1"),
    ],
)
def test_bad_settings_are_named(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(torch.ones(2, 3))


# --- error feedback


def fed(stage, updates, clients=None, **given):
    names = torch.arange(len(updates)) if clients is None else torch.tensor(clients)
    return stage(updates, clients=names, generator=generator(0), **given)


def test_nothing_is_lost_what_was_sent_and_what_is_left_add_up():
    """After any number of rounds: the sum of what was sent differs from the sum of the updates by one memory."""
    stage = ErrorFeedback(bind(top_k, keep=0.1))
    drawn = generator(0)
    total, sent = torch.zeros(3, 40), torch.zeros(3, 40)
    for _ in range(60):
        updates = torch.randn(3, 40, generator=drawn) + 0.5
        total += updates
        sent += fed(stage, updates)
    left = torch.stack([stage._left[client] for client in range(3)])
    torch.testing.assert_close(sent + left, total, atol=1e-3, rtol=0)
    assert left.norm(dim=1).max() < 0.25 * total.norm(dim=1).min(), "the memory does not grow with the rounds"


def test_feedback_on_what_leaves_nothing_out_changes_nothing():
    updates = torch.randn(3, 9, generator=generator(0))
    stage = ErrorFeedback(bind(top_k, keep=1.0))
    for _ in range(3):
        assert torch.equal(fed(stage, updates), updates)


def test_memory_belongs_to_a_client_wherever_its_row_stands():
    first, second = torch.randn(2, 3, 10, generator=generator(0))
    straight, shuffled = ErrorFeedback(sign), ErrorFeedback(sign)
    fed(straight, first, [4, 5, 6])
    fed(shuffled, first, [4, 5, 6])
    order = torch.tensor([2, 0, 1])
    wanted = fed(straight, second, [4, 5, 6])
    assert torch.equal(fed(shuffled, second[order], [6, 4, 5]), wanted[order])
    assert torch.equal(fed(shuffled, second, [7, 8, 9]), sign(second)), "a new name starts with an empty memory"


def test_who_does_not_take_part_keeps_its_memory_as_it_is():
    stage = ErrorFeedback(bind(top_k, keep=0.5))
    fed(stage, torch.tensor([[1.0, 0.75], [1.0, 0.75]]))
    fed(stage, torch.tensor([[0.0, 0.0], [0.0, 0.0]]), drawn=torch.tensor([True, False]))
    found = fed(stage, torch.zeros(2, 2))
    assert found.tolist() == [[0, 0], [0, 0.75]], "client 0 has sent what was left, client 1 has not"


@pytest.mark.parametrize("worst", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_leaves_no_trace(worst):
    stage, calm = ErrorFeedback(sign), ErrorFeedback(sign)
    updates = torch.randn(3, 2, 6, generator=generator(0))
    for number, rows in enumerate(updates):
        wanted = fed(calm, rows) if number != 1 else None
        spoiled = rows.clone()
        spoiled[:, 2] = worst if number == 1 else rows[:, 2]
        found = fed(stage, spoiled)
        assert found.isfinite().all() == (number != 1)
    assert torch.equal(found, wanted)


def test_rows_that_stand_for_several_have_no_memory():
    with pytest.raises(ImpossibleRule, match=r"rows that belong to one client each; got clients=\[-1\]"):
        fed(ErrorFeedback(sign), torch.ones(1, 3), [-1])


def test_a_compression_must_be_complete_and_keep_the_shape():
    with pytest.raises(TypeError, match="top_k lacks keep"):
        ErrorFeedback(top_k)
    with pytest.raises(ValueError, match=r"returns \[2, 3\]; <lambda> returned \[2, 2\]"):
        fed(ErrorFeedback(lambda updates: updates[:, :2]), torch.ones(2, 3))


# --- in a run

SMALL = {"clients": 12, "rounds": 4, "local_steps": 2}
FEEDBACK = {
    "top_k": lambda: ErrorFeedback(bind(top_k, keep=0.05)),
    "sign": lambda: ErrorFeedback(sign),
    "random_k": lambda: ErrorFeedback(bind(random_k, keep=0.1, unbiased=False)),
}


@pytest.mark.parametrize("make", FEEDBACK.values(), ids=FEEDBACK)
def test_a_clients_row_under_feedback_does_not_depend_on_who_else_is_drawn(make):
    """Clients 0 … 3 take part in every round; in one of two federations others do too, now and then."""
    alone, in_company = make(), make()
    names = torch.arange(12)
    always = names < 4
    for number in range(6):
        updates = torch.randn(12, 30, generator=generator(number))
        others = torch.rand(12, generator=generator(number, "others")) < 0.5
        wanted, found = (
            stage(updates * drawn[:, None], clients=names, generator=generator(number, "stage"), drawn=drawn)
            for stage, drawn in ((alone, always), (in_company, always | others))
        )
        assert torch.equal(found[:4], wanted[:4])


@pytest.mark.parametrize("make", FEEDBACK.values(), ids=FEEDBACK)
def test_the_engine_gives_feedback_the_same_rows_whoever_else_is_drawn(make):
    everybody = next(rounds(Scenario(**SMALL, client_stages=[make()])))
    drawn = next(rounds(Scenario(**SMALL, client_stages=[make()], participation=0.5)))
    assert 1 < drawn.participants < 12
    assert torch.equal(drawn.messages, everybody.messages[drawn.clients])


def test_absence_costs_a_client_nothing_of_its_memory():
    """What all of a client's messages and its memory come to is what it learned, also if it is not drawn each time."""
    learned: dict[int, torch.Tensor] = {}

    def watch(updates, *, clients):
        for client, row in zip(clients.tolist(), updates, strict=True):
            learned[client] = learned.get(client, 0) + row
        return updates

    stage = ErrorFeedback(bind(random_k, keep=0.2, unbiased=False))
    stage.__deepcopy__ = lambda memo: stage  # the run would take a copy, which nobody could look into
    sent: dict[int, torch.Tensor] = {}
    s = Scenario(**{**SMALL, "rounds": 8}, participation=0.4, client_stages=[watch, stage])
    for result in rounds(s):
        for client, row in zip(result.clients.tolist(), result.messages, strict=True):
            sent[client] = sent.get(client, 0) + row
    assert 2 < len(sent) <= 12
    assert set(stage._left) == set(sent), "nobody else has a memory"
    for client, row in sent.items():
        torch.testing.assert_close(row + stage._left[client], learned[client], atol=1e-5, rtol=0)


def test_a_run_does_not_go_on_with_the_memory_of_another():
    s = Scenario(**SMALL, client_stages=[ErrorFeedback(bind(top_k, keep=0.02))])
    assert run(s).final_accuracy == run(s).final_accuracy


def test_feedback_mends_what_the_sign_and_few_entries_break():
    """Seeds 0 … 2: sign .93 … .94, mended .96 … .97; largest 0.2 % .66 … .74, mended .94; uncompressed .96 … .97."""
    base = Scenario(rounds=60, evaluate_every=60)
    for compression in (sign, bind(top_k, keep=0.002)):
        plain = run(replace(base, client_stages=[compression])).final_accuracy
        mended = run(replace(base, client_stages=[ErrorFeedback(compression)])).final_accuracy
        assert mended > plain + 0.03


def test_a_chain_of_compressions_is_counted_as_it_is_sent():
    """The largest tenth, and of these the sign: positions and one bit each."""
    s = Scenario(**SMALL, client_stages=[bind(top_k, keep=0.1)], wire=sign)
    result = next(rounds(s))
    assert result.bytes_up == sum(len(compress.encode(row)) for row in result.messages)
    assert result.bytes_up < 12 * 500


STAGES = {**DRAWING, "top_k": bind(top_k, keep=0.1), "sign": sign}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_each_fits_the_wire_and_the_clients(stage):
    for place in ({"wire": stage}, {"client_stages": [stage]}):
        result = next(rounds(Scenario(**{**SMALL, "rounds": 1}, **place)))
        assert result.messages.shape == (12, 4810)
        assert result.bytes_up == sum(len(compress.encode(row)) for row in result.messages)
        assert result.skipped == ""
