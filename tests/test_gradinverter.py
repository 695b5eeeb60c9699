"""GradInverter (our reading): the message decides which rung is believed, and a rung that does not apply says why."""

from dataclasses import replace

import pytest
import torch

from labsec import data, invert, metrics, models
from labsec.invert.gradinverter import RUNGS
from labsec.train import local_updates
from labsec.types import ServerView, generator

DIGITS = data.load("digits")


def captured(batch, *, model=None, steps=1):
    model = model or models.mlp(DIGITS.shape, 10)
    params = model.init(generator(0, "start"))
    samples = torch.randperm(len(DIGITS.y), generator=generator(0, "batch"))[: batch * steps].view(1, steps, batch)
    update = local_updates(model, params, DIGITS.x, DIGITS.y, samples, lr=0.3)
    view = ServerView(params=params, messages=update, model=model, lr=0.3, local_steps=steps, batch_size=batch)
    return view, DIGITS.x[samples.flatten()], DIGITS.y[samples.flatten()]


def test_a_dense_network_needs_no_search():
    view, x, y = captured(1)
    found = invert.gradinverter(view, generator=generator(0), seconds=20)
    assert found.method == "analytic"
    assert metrics.psnr(found.estimate, x)[0] > 80
    assert found.labels.tolist() == y.tolist()
    assert found.unexplained < 1e-9 < found.baseline
    assert [rung.name for rung in found.rungs] == [rung.name for rung in RUNGS]


def test_a_convolution_leaves_the_analytic_rungs_reason_and_is_searched():
    view, x, _ = captured(1, model=models.lenet(DIGITS.shape, 10))
    found = invert.gradinverter(view, generator=generator(0), seconds=20)
    assert metrics.psnr(found.estimate, x)[0] > 40
    reasons = {rung.name: rung.reason for rung in found.rungs}
    assert "needs a fully connected first layer" in reasons["analytic first layer"]


def test_a_batch_is_assigned_to_its_labels():
    view, x, y = captured(2)
    found = invert.gradinverter(view, generator=generator(0), seconds=10)
    assert (metrics.best_matches(found.estimate, x)[1] > 40).all()
    assert sorted(found.labels.tolist()) == sorted(y.tolist())


def test_what_no_rung_can_read_is_an_empty_result_with_reasons_and_the_words():
    model = models.embedding(5, 12, 2, width=3)
    params = model.init(generator(0))
    x = torch.tensor([[1, 4, 0, 0, 0], [4, 7, 1, 0, 0]])
    update = local_updates(model, params, x, torch.tensor([1, 0]), torch.tensor([[[0, 1]]]), lr=0.1)
    view = ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=2)
    found = invert.gradinverter(view, generator=generator(0), seconds=5)
    assert not found.succeeded
    assert len(found.estimate) == 0
    assert all(rung.reason for rung in found.rungs)
    assert found.words.tolist() == [1, 4, 7], "two texts cannot be told apart, and yet their words show"


def test_an_earlier_result_is_kept_unless_a_better_one_is_found():
    view, x, y = captured(1, model=models.lenet(DIGITS.shape, 10))
    earlier = invert.Reconstruction(method="earlier", estimate=x, labels=y)
    found = invert.gradinverter(view, generator=generator(0), seconds=5, known=earlier)
    assert found.method == "earlier"
    assert torch.equal(found.estimate, x)
    worse = replace(earlier, estimate=1 - x)
    assert invert.gradinverter(view, generator=generator(0), seconds=20, known=worse).method != "earlier"


def test_whoever_watches_sees_one_loss_and_can_stop():
    view, _, _ = captured(2, model=models.convnet(DIGITS.shape, 10))
    seen = []

    def watch(iteration, samples, share):
        seen.append((iteration, share))
        assert samples.shape == (2, 1, 8, 8)
        return len(seen) == 2

    found = invert.gradinverter(view, generator=generator(0), seconds=20, watch=watch)
    assert [iteration for iteration, _ in seen[:2]] == [0, 1]
    assert found.rungs[-1].reason == "the search was stopped"


def test_the_share_that_is_unexplained_by_hand():
    """A message three times as long as what the sample would send: (3 - 1)² / 3² is left."""
    view, x, y = captured(1)
    longer = replace(view, messages=3 * view.messages)
    assert invert.unexplained(longer, x, y) == pytest.approx(4 / 9, abs=1e-5)
    assert invert.unexplained(view, x * torch.nan, y) == float("inf")


def test_several_steps_are_played_in_their_order():
    view, x, y = captured(1, steps=3)
    assert invert.unexplained(view, x, y) < 1e-9
    assert invert.unexplained(view, x.flip(0), y.flip(0)) > 1e-6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labels": torch.tensor([10])}, r"needs labels in 0 … 9; got \[10\]"),
        ({"labels": torch.tensor([0.5])}, "needs labels"),
        ({"prior": torch.zeros(3, 2)}, "needs a prior"),
        ({"prior": torch.full((2, 1, 8, 8), torch.nan)}, "needs a finite prior"),
        ({"seconds": 0}, "needs a finite seconds > 0"),
        ({"message": 1}, "needs 0 <= message < messages"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, said):
    view, _, _ = captured(1)
    with pytest.raises(ValueError, match=said):
        invert.gradinverter(view, generator=generator(0), **arguments)


def test_a_silent_message_is_refused():
    view, _, _ = captured(1)
    with pytest.raises(ValueError, match="needs a message that is not zero"):
        invert.gradinverter(replace(view, messages=0 * view.messages), generator=generator(0))


def test_a_search_that_was_cut_short_goes_on():
    view, x, y = captured(2, model=models.convnet(DIGITS.shape, 10, activation=torch.tanh))
    start = (x + 0.1).clamp(0, 1)
    before = invert.unexplained(view, start, y)
    found = invert.polish(view, start, y, iterations=20)
    assert invert.unexplained(view, found.estimate, y) < before / 100
    assert metrics.psnr(found.estimate, x).min() > metrics.psnr(start, x).min()
