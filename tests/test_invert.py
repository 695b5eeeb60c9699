"""The analytic attack: exact where its assumption holds, and honest where it does not."""

from dataclasses import replace

import pytest
import torch

from labsec import Scenario, bind, data, invert, metrics, models, privacy, rounds
from labsec.federation.population import Population
from labsec.train import local_updates
from labsec.types import ServerView, generator


def captured(batch, *, steps=1, seed=0, noise=0.0, model=None, samples=None):
    """A view of one message, and the truth behind it."""
    digits = data.load("digits")
    model = model or models.mlp(digits.shape, 10)
    params = model.init(generator(seed, "start"))
    if samples is None:
        samples = torch.randperm(len(digits.y), generator=generator(seed, "batch"))[: batch * steps].view(steps, batch)
    update = local_updates(model, params, digits.x, digits.y, samples[None], lr=0.3)
    update = update + noise * torch.randn(update.shape, generator=generator(seed, "noise"))
    view = ServerView(params=params, messages=update, model=model, lr=0.3, local_steps=steps, batch_size=batch)
    return view, digits.x[samples.flatten()]


def scores(batch, seeds=6, **how):
    every = []
    for seed in range(seeds):
        view, truth = captured(batch, seed=seed, **how)
        every.append(metrics.best_matches(invert.analytic(view), truth)[1])
    return torch.cat(every)


def test_one_sample_is_exact():
    assert (scores(1) >= 80).all()


def test_one_sample_many_steps_is_exact_too():
    view, truth = captured(1, steps=20, samples=torch.full((20, 1), 7))
    best = metrics.best_matches(invert.analytic(view), truth[:1])[1]
    assert best[0] >= 80


def test_the_leak_fades_with_the_batch():
    shares = [float((scores(batch) >= 25).float().mean()) for batch in (1, 4, 16)]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2] > 0
    assert shares[1] >= 0.6


def test_candidates_are_images_without_duplicates():
    view, _ = captured(8)
    found = invert.analytic(view)
    assert found.shape[1:] == (1, 8, 8)
    assert 0 <= found.min() <= found.max() <= 1
    apart = torch.cdist(found.flatten(1), found.flatten(1)) + torch.eye(len(found))
    assert apart.min() > 0.01


def test_the_singular_vector_beats_single_ratios_under_noise():
    noise = 2e-4
    view, truth = captured(1, noise=noise)
    best = metrics.best_matches(invert.analytic(view), truth)[1]
    weight, bias = (part[0] for part in view.model.layers(view.messages)[:2])
    ratio = (weight / bias[:, None])[bias.abs().argmax()].clamp(0, 1).view(1, 1, 8, 8)
    assert best[0] > metrics.psnr(ratio, truth)[0]
    assert best[0] > 20


def test_noise_at_the_client_hides_the_picture():
    assert (scores(1, noise=0.05) < 25).all()


def test_a_convolution_is_refused():
    digits = data.load("digits")
    view, _ = captured(1, model=models.convnet(digits.shape, 10))
    with pytest.raises(ValueError, match="needs a fully connected first layer"):
        invert.analytic(view)


def test_a_missing_message_is_named():
    view, _ = captured(1)
    with pytest.raises(ValueError, match="needs 0 <= message < messages; got message=1, messages=1"):
        invert.analytic(view, message=1)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_message_that_is_not_finite_is_refused(wrong):
    view, _ = captured(1)
    messages = view.messages.clone()
    messages[0, :3] = wrong
    with pytest.raises(ValueError, match="needs a finite message; message 0 holds 3 NaN or infinite numbers"):
        invert.analytic(replace(view, messages=messages))


def test_a_zero_message_gives_nothing():
    view, truth = captured(1)
    for batch in (1, 4):
        silent = replace(view, messages=torch.zeros_like(view.messages), batch_size=batch)
        assert len(invert.analytic(silent)) == 0
    assert metrics.best_matches(invert.analytic(silent), truth)[1].tolist() == [-torch.inf]


def test_noise_at_the_server_comes_too_late():
    """What the server adds to the sum does not change the message that it read before."""
    s = Scenario(clients=5, rounds=1, local_steps=1, batch_size=1)
    noisy = replace(s, aggregate=bind(privacy.noisy_mean, clip=0.5, noise=10.0))
    truth = Population(s).x[Population(s).batches(0, torch.arange(5))[-1, 0]]
    for scenario in (s, noisy):
        first = next(rounds(scenario))
        view = ServerView(
            params=first.before, messages=first.messages, model=s.network(), lr=s.lr, local_steps=1, batch_size=1
        )
        assert metrics.best_matches(invert.analytic(view, message=4), truth)[1][0] > 80


# --- the gallery


def test_a_gallery_tells_who_was_in_a_batch_and_no_stranger():
    digits = data.load("digits")
    model = models.mlp(digits.shape, digits.classes, hidden=(32,))
    params = model.init(torch.Generator().manual_seed(0))
    batches = torch.tensor([[[3, 40, 500, 1000]], [[7, 8, 900, 1400]]])
    messages = local_updates(model, params, digits.x, digits.y, batches, lr=0.5)
    everybody = torch.arange(len(digits.y))[:, None, None]
    expected = local_updates(model, params, digits.x, digits.y, everybody, lr=0.5)
    found = invert.gallery(messages, expected, samples=4)
    assert found.sort(dim=1).values.tolist() == batches[:, 0].tolist()


def test_a_gallery_sees_through_noise_that_hides_the_picture():
    digits = data.load("digits")
    model = models.mlp(digits.shape, digits.classes, hidden=(32,))
    params = model.init(torch.Generator().manual_seed(0))
    everybody = torch.arange(len(digits.y))[:, None, None]
    expected = local_updates(model, params, digits.x, digits.y, everybody, lr=0.5)
    noise = torch.randn(100, model.dim, generator=torch.Generator().manual_seed(1))
    std = 0.1 * expected[:100].norm(dim=1, keepdim=True)  # the noise is five times as long as the message
    noisy = expected[:100] + std * noise
    assert (std * noise).norm(dim=1).median() > 4 * expected[:100].norm(dim=1).median()
    hits = (invert.gallery(noisy, expected, samples=1)[:, 0] == torch.arange(100)).float().mean()
    assert hits > 0.5  # by chance 1 in 1,438


def test_a_gallery_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"1 <= samples <= candidates; got samples=3, candidates=2"):
        invert.gallery(torch.ones(1, 4), torch.ones(2, 4), samples=3)
    with pytest.raises(ValueError, match=r"rows of one width"):
        invert.gallery(torch.ones(1, 4), torch.ones(2, 3), samples=1)
    with pytest.raises(ValueError, match="finite"):
        invert.gallery(torch.full((1, 4), torch.nan), torch.ones(2, 4), samples=1)


def test_a_reconstruction_refuses_labels_of_another_number_and_knows_that_nan_is_a_failure():
    with pytest.raises(ValueError, match=r"needs labels \[1\]"):
        invert.Reconstruction(method="guess", estimate=torch.zeros(1, 2), labels=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="restarts >= 0; got restarts=-1"):
        invert.Reconstruction(method="guess", estimate=torch.zeros(1, 2), restarts=-1)
    assert invert.Reconstruction(method="guess", estimate=torch.zeros(1, 2)).succeeded
    assert not invert.Reconstruction(method="guess", estimate=torch.full((1, 2), torch.nan)).succeeded
    assert not invert.Reconstruction(method="guess", estimate=torch.zeros(0, 2)).succeeded
