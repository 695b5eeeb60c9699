"""DP-SGD on a network that a learner brings: what opacus does is what our own DP-SGD does, and the epsilon is ours."""

import copy
import math
import sys

import pytest
import torch
from torch import nn

from labsec import data, models, privacy, train
from labsec.types import generator

pytest.importorskip("opacus", reason="opacus is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Secure RNG turned off")

DIGITS = data.load("digits")


def trained(module, **changes):
    usual = {"rate": 0.1, "steps": 3, "lr": 0.5, "clip": 1.0, "noise": 1.0, "delta": 1e-5, "generator": generator(0)}
    x, y = DIGITS.x[:400], DIGITS.y[:400]
    return privacy.train_own(module, **{"x": x, "y": y, **usual, **changes})


def flat(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


def small():
    torch.nn.init.zeros_((layer := nn.Linear(64, 10)).weight)
    torch.nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer)


def test_without_noise_it_is_our_own_dp_sgd():
    """The same draws, the same clip: one step of `train.dp_sgd` on those who were drawn, but for the divisor."""
    model = models.mlp((1, 8, 8), 10, hidden=(16,))
    start = model.init(generator(3))
    result = trained(model.twin(start), steps=1, noise=0.0, clip=0.3, generator=generator(1))
    draws = generator(1)
    torch.randint(2**62, (), generator=draws)  # what seeds the network's own draws comes first
    drawn = (torch.rand(400, generator=draws) < 0.1).nonzero()[:, 0]
    ours = train.dp_sgd(
        model, start, DIGITS.x, DIGITS.y, drawn[None, None], lr=0.5, clip=0.3, noise=0.0, generator=generator(0)
    )[0]
    theirs = flat(result.module) - start
    assert torch.allclose(theirs * 40, ours * len(drawn), atol=1e-5)  # 40 are expected, so many were drawn


def test_the_noise_has_the_promised_size():
    """One step with next to nothing to learn: the noise * clip * lr over the expected 40 is all that moves."""
    result = trained(small(), steps=1, clip=1e-6, noise=1e6)
    assert float(flat(result.module).std()) == pytest.approx(0.5 * 1.0 / 40, rel=0.1)


def test_the_epsilon_is_that_of_our_accountant():
    result = trained(small(), steps=30, noise=2.0)
    terms = privacy.Accountant(unit="example", delta=1e-5, relation="zero-out", rate=0.1, rounds=30)
    assert result.accountant == terms
    assert result.epsilon == terms.epsilon(2.0)
    assert str(result).startswith("ε = 1.3 per example for the whole run of 30 rounds")
    assert trained(small(), noise=0.0).epsilon == math.inf


def test_it_learns_and_leaves_the_given_network_alone():
    module = small()
    before = copy.deepcopy(module.state_dict())
    result = trained(module, steps=60, noise=0.5, rate=0.2)
    assert all(torch.equal(module.state_dict()[name], kept) for name, kept in before.items())
    right = (result.module(DIGITS.x_test).argmax(dim=1) == DIGITS.y_test).float().mean()
    assert right > 0.75
    assert type(result.module) is nn.Sequential


def test_the_same_generator_gives_the_same_network_also_with_dropout():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
    state = torch.get_rng_state()
    one, two = (flat(trained(module, generator=generator(7)).module) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_step_in_which_nobody_was_drawn_still_gets_its_noise():
    result = trained(small(), rate=1e-4, steps=1, clip=1e-3)
    assert float(flat(result.module).std()) > 0


def test_what_cannot_be_private_is_refused_with_the_reason():
    mixing = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    with pytest.raises(ValueError, match=r"whose samples go apart; .*BatchNorm"):
        trained(mixing)
    with pytest.raises(ValueError, match=r"delta < 1 / n, .*; got delta=0.01, n=400"):
        trained(small(), delta=0.01)
    with pytest.raises(ValueError, match=r"rate=0.0"):
        trained(small(), rate=0.0)
    with pytest.raises(ValueError, match=r"clip > 0; got clip=0.0"):
        trained(small(), clip=0.0)
    with pytest.raises(ValueError, match=r"as many labels as samples"):
        trained(small(), y=DIGITS.y[:3])


def test_without_opacus_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ModuleNotFoundError, match=r"train_own needs opacus, which `pip install opacus` gets"):
        trained(small())
