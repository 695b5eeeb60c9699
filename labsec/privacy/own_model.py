"""DP-SGD on any network of torch.nn: opacus clips and adds the noise, and the accountant here states the epsilon.

The networks of `labsec.models` are trained privately by `labsec.train.dp_sgd`, all clients at once. This is for a
network that somebody brings along.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from labsec.guards import check_kind, check_number, kind
from labsec.privacy.accountant import Accountant

if TYPE_CHECKING:
    from types import ModuleType

Loss = Callable[..., Tensor]  # (outputs, y, *, reduction) -> the sum of the samples' losses, for reduction="sum"


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that was trained privately, and what that guarantees.

    module        the trained network, a copy of the one that was given
    epsilon       what training it gives away on the terms of `accountant`; infinite without noise
    accountant    the terms: per example, zero-out neighbours, the rate of the draws and the number of steps

    >>> terms = Accountant(unit="example", delta=1e-5, relation="zero-out", rate=0.01, rounds=100)
    >>> print(Trained(nn.Linear(2, 2), terms.epsilon(1.0), terms))
    ε = 0.718 per example for the whole run of 100 rounds, δ = 1e-05, zero-out neighbours, each drawn with chance 0.01
    """

    module: nn.Module
    epsilon: float
    accountant: Accountant

    def __str__(self) -> str:
        return self.accountant.in_words(self.epsilon)


def train_own(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    rate: float,
    steps: int,
    lr: float,
    clip: float,
    noise: float,
    delta: float,
    generator: Generator,
    loss: Loss = F.cross_entropy,
) -> Trained:
    """Train any torch.nn.Module by differentially private SGD, and say what that guarantees.

    module       the network; it is copied, and stays as it is. Layers that mix samples (batch norm) are refused
    x, y         [n, …], [n, …] what it learns from; every example is a unit of its own
    rate         chance of each example to be in a step (Poisson sampling), so rate * n are expected
    steps        number of steps
    lr           learning rate on the sum over rate * n, no unit
    clip         bound on the L2 norm of an example's gradient, over all layers together
    noise        multiplier, no unit: the noise on the SUM of a step's gradients has standard deviation noise * clip
    delta        below 1 / n
    generator    of the draws, of the noise and of whatever the network itself draws (dropout)
    loss         (outputs, y, reduction="sum") -> a number

    >>> x = torch.rand(200, 3)
    >>> draws = Generator().manual_seed(0)
    >>> private = {"rate": 0.1, "steps": 20, "lr": 0.1, "clip": 1.0, "noise": 2.0, "delta": 1e-3, "generator": draws}
    >>> print(train_own(nn.Linear(3, 2), x, (x[:, 0] > 0.5).long(), **private))
    ε = 0.636 per example for the whole run of 20 rounds, δ = 0.001, zero-out neighbours, each drawn with chance 0.1

    Opacus finds the examples' gradients and clips them; its own accountant is not asked.
    Raises ValueError for values out of range, unless delta < 1 / n, and for a network that opacus cannot clip;
    ModuleNotFoundError where opacus is not installed.
    Source: Abadi et al. 2016, arXiv:1607.00133, Algorithm 1; Yousefpour et al. 2021, arXiv:2109.12298, for opacus.
    """
    check_kind("train_own", nn.Module, module=module)
    check_kind("train_own", Tensor, x=x, y=y)
    check_kind("train_own", Generator, generator=generator)
    check_number("train_own", above=0, lr=lr, clip=clip)
    check_number("train_own", least=0, noise=noise)
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(f"train_own needs as many labels as samples, at least one; got {kind(x)} and {kind(y)}")
    terms = Accountant(unit="example", delta=delta, relation="zero-out", rate=rate, rounds=steps)
    if delta * len(x) >= 1:
        raise ValueError(
            f"train_own needs delta < 1 / n, or it could show an example to everybody; got delta={delta}, n={len(x)}"
        )

    # What dropout and the like draw from the global state is drawn from the generator, and the state put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        trained = _train(copy.deepcopy(module), x, y, terms, lr, clip, noise, generator, loss)
    return Trained(trained, terms.epsilon(noise), terms)


def _train(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    terms: Accountant,
    lr: float,
    clip: float,
    noise: float,
    generator: Generator,
    loss: Loss,
) -> nn.Module:
    opacus, optimizers = _opacus()
    problems = opacus.GradSampleModule.validate(module, strict=False)
    if problems:
        raise ValueError(f"train_own needs a network whose samples go apart; {problems[0]}")
    module.train()
    apart: Any = opacus.GradSampleModule(module, loss_reduction="sum")
    plain = torch.optim.SGD([each for each in apart.parameters() if each.requires_grad], lr=lr)
    private = optimizers.DPOptimizer(
        plain,
        noise_multiplier=noise,
        max_grad_norm=clip,
        expected_batch_size=terms.rate * len(x),
        loss_reduction="mean",  # divides the noisy sum by the expected size, whoever was drawn
        generator=generator,
    )
    with warnings.catch_warnings():
        # Opacus watches the outputs of a layer whose input needs no gradient, as it should; torch wonders at it.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        for _ in range(terms.rounds):
            drawn = torch.rand(len(x), generator=generator) < terms.rate  # [n]; it may be that nobody is drawn
            private.zero_grad()
            loss(apart(x[drawn]), y[drawn], reduction="sum").backward()
            private.step()
    trained: nn.Module = apart.to_standard_module()
    return trained


def _opacus() -> tuple[ModuleType, ModuleType]:
    """Opacus and its optimizers, which take a second to load."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what it does not need here
            import opacus
            from opacus import optimizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"train_own needs opacus, which `pip install opacus` gets; {error}") from None
    return opacus, optimizers
