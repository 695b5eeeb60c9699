"""Metrics on cases that can be worked out by hand."""

import pytest
import torch

from labsec import metrics
from labsec.metrics import evaluation
from labsec.types import generator


def test_psnr_by_hand():
    truth = torch.zeros(3, 2, 2)
    images = torch.stack([torch.full((2, 2), 0.1), torch.zeros(2, 2), torch.full((2, 2), float("nan"))])
    assert metrics.psnr(images, truth).tolist() == pytest.approx([20.0, 120.0, -torch.inf], abs=1e-4)


def test_psnr_needs_one_shape():
    with pytest.raises(ValueError, match=r"got \[1, 2\] and \[2, 2\]"):
        metrics.psnr(torch.zeros(1, 2), torch.zeros(2, 2))


def test_ssim_falls_with_noise():
    clean = torch.rand(2, 1, 16, 16, generator=generator(0))
    noisy = (clean + 0.2 * torch.randn(clean.shape, generator=generator(1))).clamp(0, 1)
    assert metrics.ssim(clean, clean).tolist() == pytest.approx([1.0, 1.0])
    assert (metrics.ssim(noisy, clean) < 0.95).all()
    with pytest.raises(ValueError, match="h, w >= 7"):
        metrics.ssim(clean[..., :5, :5], clean[..., :5, :5])


def test_matches_count_only_as_many_candidates_as_there_are_truths():
    truth = torch.rand(2, 1, 4, 4, generator=generator(0))
    wrong = torch.zeros(2, 1, 4, 4)
    matches, scores = metrics.best_matches(torch.cat([wrong, truth]), truth)
    assert (scores < 25).all()
    matches, scores = metrics.best_matches(torch.cat([truth.flip(0), wrong]), truth)
    assert torch.equal(matches, truth)
    assert scores.tolist() == [120.0, 120.0]


def test_no_candidate_is_a_failure():
    matches, scores = metrics.best_matches(torch.zeros(0, 1, 4, 4), torch.zeros(2, 1, 4, 4))
    assert matches.isnan().all()
    assert scores.tolist() == [-torch.inf] * 2


def test_evaluation_in_parts_is_evaluation_at_once(monkeypatch):
    from labsec import models

    model = models.mlp((3,), 4)
    params = model.init(generator(0))
    x, y = torch.rand(50, 3, generator=generator(1)), torch.arange(50) % 4
    whole = metrics.evaluate(model, params, x, y)
    monkeypatch.setattr(evaluation, "SAMPLES_AT_ONCE", 7)
    assert metrics.evaluate(model, params, x, y) == pytest.approx(whole)
    logits = model(params[None], x[None])[0]
    assert whole["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-5)
