"""ByzFL's documented training is the same training in labsec, and the comparison says what its numbers mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import peer_setting
from benchmarks.peer_setting import Effect, Images, Setting, cnn_mnist
from benchmarks.peers import byzfl_federation
from labsec.data import Dataset
from labsec.federation import engine
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.types import generator

SHARDS = [torch.arange(0, 20), torch.arange(20, 30), torch.arange(30, 60)]


def noise() -> Dataset:
    draw = generator(0, "noise")
    x = torch.rand(60, 1, 28, 28, generator=draw)
    y = torch.randint(10, (60,), generator=draw)
    return Dataset(name="noise", x=x, y=y, x_test=x[:10], y_test=y[:10], classes=10)


def training(setting: Setting, rounds: int = peer_setting.SAME_BATCHES) -> Scenario:
    # So large that the clipping shortens some messages and leaves others.
    start = 0.06 * torch.randn(cnn_mnist().dim, generator=generator(0, "start"))
    return peer_setting.scenario(noise(), setting, start=start, shards=SHARDS, seed=0, rounds=rounds)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("row", peer_setting.ROWS)
def test_byzfl_and_labsec_take_the_same_steps(row: str) -> None:
    pytest.importorskip("byzfl", reason=byzfl_federation.MISSING)
    setting = peer_setting.ROWS[row]
    dataset = noise()
    train = Images(dataset.x, dataset.y)
    distance = peer_setting.distance_on_same_batches(
        training(setting), setting, train, train, steps=peer_setting.SAME_BATCHES
    )
    rounding = 1e-3 if row == peer_setting.HELD else 1e-4  # of the way; a model that is held hardly moves
    assert distance < rounding


def test_a_nudge_of_the_start_moves_the_model_by_rounding_at_first() -> None:
    s = training(Setting())
    assert 0 < peer_setting.distance_after_a_nudge(s, steps=3) < 1e-3


def test_honest_clients_follow_momentum_and_weight_decay() -> None:
    """The formulas of the example, one client and one step after the other."""
    setting = Setting(attackers=0, is_defended=False)
    s = training(setting, rounds=3)
    model = cnn_mnist()
    params = s.start
    messages = [torch.zeros_like(params) for _ in SHARDS]
    for number in range(3):
        for client, batch in enumerate(Population(s).batches(number, torch.arange(3))[:, 0]):
            slope = gradient(params, s.data.x[batch], s.data.y[batch])
            messages[client] = 0.9 * messages[client] + 0.1 * slope
        params = params - 0.1 * (torch.stack(messages).mean(dim=0) + 1e-4 * params)
    *_, last = engine.rounds(s)
    torch.testing.assert_close(last.after, params, atol=1e-6, rtol=0)
    assert (params - s.start).norm() > 1e-3
    assert model.dim == 431_080  # as many as ByzFL's network


def gradient(params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Of the mean cross-entropy, by the torch.nn twin."""
    network = cnn_mnist().twin(params)
    F.cross_entropy(network(x), y).backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def test_the_mean_of_three_and_minus_three_times_their_mean_stands_still() -> None:
    held = training(Setting(attackers=1, is_defended=False))
    *_, last = engine.rounds(held)
    shrunk = held.start * (1 - 0.1 * 1e-4) ** peer_setting.SAME_BATCHES
    torch.testing.assert_close(last.after, shrunk, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("theirs", "ours", "direction", "order"),
    [
        ([-0.9, -0.8], [-0.3, -0.3], "yes", "yes"),  # 2.8 times as much
        ([-0.9, -0.8], [-0.2, -0.2], "yes", "no"),  # 4.3 times
        ([0.01, 0.03], [-0.02, -0.02], "no", "–"),
        ([0.01, -0.01], [0.01, 0.01], "the seeds disagree", "–"),
        ([0.0, 0.0], [0.0, 0.0], "the seeds disagree", "–"),  # nothing has no direction
    ],
)
def test_directions_and_sizes(theirs: list[float], ours: list[float], direction: str, order: str) -> None:
    for effect in (Effect(theirs, ours), Effect(ours, theirs)):
        assert effect.same_direction == direction
        assert effect.same_order == order


def test_the_section_computes_its_verdicts() -> None:
    theirs = {
        "no attack, mean": [0.9, 0.9],
        "attack, mean": [0.1, 0.1],
        "no attack, documented rule": [0.8, 0.9],
        "attack, documented rule": [0.7, 0.6],
    }
    ours = {**theirs, "attack, documented rule": [0.1, 0.3]}
    text = peer_setting.compared(theirs, ours)
    assert "| attack, documented rule | 0.650 (0.600 to 0.700) | 0.200 (0.100 to 0.300) | -0.450 |" in text
    assert "| the attack on the mean | -0.800 (-0.800 to -0.800) | -0.800 (-0.800 to -0.800) | yes | yes |" in text
    assert "| the attack on the rule | -0.200 (-0.300 to -0.100) | -0.650 (-0.700 to -0.600) | yes | no |" in text
    assert (
        "Same direction: 2 of 4 (not the rule under attack: the seeds disagree; the rule without an attack: the seeds "
        "disagree). Same order of magnitude: 1 of these 2 (not the attack on the rule)."
    ) in text
    assert "Same direction: 2 of 4" in peer_setting.compared(ours, theirs)


def test_without_byzfl_or_images_the_section_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(peer_setting.FOLDER, raising=False)
    monkeypatch.setattr(byzfl_federation, "is_installed", lambda: True)
    assert peer_setting.NO_IMAGES in peer_setting.main()
    monkeypatch.setattr(byzfl_federation, "is_installed", lambda: False)
    assert byzfl_federation.MISSING in peer_setting.main()
