"""What privacy costs: private training beside opacus and plain SGD, the accountant beside opacus' PRV, and audits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from statistics import median, quantiles
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common import interleaved, machine, versions
from benchmarks.compression import packing, selection
from benchmarks.report import table
from labsec import data, infer, privacy
from labsec.federation.bind import bind
from labsec.models import Model, lenet, mlp
from labsec.study import noise_table
from labsec.train import dp_sgd, local_updates
from labsec.types import generator

REPEATS = 7
LR = 0.1
CLIP = 1.0
NOISE = 1.0
CASES = {  # data, model, clients, batch, steps
    "MLP 64-64-10, 20 clients x 5 steps of 16": ("digits", partial(mlp, hidden=(64,)), 20, 16, 5),
    "MLP 784-128-10, 8 clients x 5 steps of 64": ("mnist5k", partial(mlp, hidden=(128,)), 8, 64, 5),
    "LeNet of DLG on 8x8, 4 clients x 5 steps of 16": ("digits", lenet, 4, 16, 5),
}
ACCOUNTED = [  # noise, rate, rounds, where opacus answers in a few seconds
    *product((0.6, 1.5, 8.0), (0.001, 0.02), (1, 100, 10_000)),
    *product((0.6, 1.5, 8.0), (0.5,), (1, 100)),
]
DELTA = 1e-5


# --- training

BESIDE = {"plain": "", "private": "plain", "noise": "plain", "torch": "", "hooks": "torch", "ghost": "torch"}
"""Each contestant, and in multiples of which one it is told."""


def training() -> tuple[list[list[str]], list[float]]:
    """A line for each network, and how many times as long as plain SGD each takes in the engine."""
    lines = []
    ratios = []
    for title, (name, make, clients, batch, steps) in CASES.items():
        known = data.load(name)
        model = make(known.shape, known.classes)
        start = model.init(generator(0))
        x, y = known.x[:1000], known.y[:1000]
        batches = torch.randint(len(y), (clients, steps, batch), generator=generator(1))
        contestants: dict[str, Callable[[], object]] = {
            "plain": partial(local_updates, model, start, x, y, batches, lr=LR),
            "private": lambda model=model, start=start, x=x, y=y, batches=batches: dp_sgd(
                model, start, x, y, batches, lr=LR, clip=CLIP, noise=NOISE, generator=generator(2)
            ),
            "noise": partial(draws, clients, steps, model.dim),
            "torch": partial(one_by_one, _plain, model, start, x, y, batches),
            "hooks": partial(one_by_one, _hooks, model, start, x, y, batches),
            "ghost": partial(one_by_one, _ghost, model, start, x, y, batches),
        }
        milliseconds = {who: 1e3 * median(times) for who, times in interleaved(contestants, REPEATS).items()}
        ratios.append(milliseconds["private"] / milliseconds["plain"])
        line = [title]
        for who, plain in BESIDE.items():
            times = f" ({milliseconds[who] / milliseconds[plain]:.1f}x)" if plain else ""
            line.append(f"{milliseconds[who]:.1f}{times}")
        lines.append(line)
    return lines, ratios


def draws(clients: int, steps: int, dim: int) -> None:
    """As many normal numbers as private training takes."""
    numbers = torch.empty(clients, dim)
    draw = generator(2)
    for _ in range(steps):
        numbers.normal_(generator=draw)


Step = Callable[[Tensor, Tensor], None]


def one_by_one(
    make: Callable[[nn.Module], Step], model: Model, start: Tensor, x: Tensor, y: Tensor, batches: Tensor
) -> None:
    """One torch.nn module for each client in turn, as opacus trains."""
    for client in batches:
        step = make(model.twin(start))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # opacus makes torch wonder at hooks on layers without a slope at the input
            for batch in client:
                step(x[batch], y[batch])


def _plain(module: nn.Module) -> Step:
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimizer.step()

    return step


def _hooks(module: nn.Module) -> Step:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    apart = GradSampleModule(module)
    optimizer = DPOptimizer(
        torch.optim.SGD(apart.parameters(), lr=LR),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=16,
        generator=generator(2),
    )

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(apart(x), y).backward()
        optimizer.step()

    return step


def _ghost(module: nn.Module) -> Step:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    apart = GradSampleModuleFastGradientClipping(module, max_grad_norm=CLIP, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(apart.parameters(), lr=LR),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=16,
        generator=generator(2),
    )
    loss = DPLossFastGradientClipping(apart, optimizer, nn.CrossEntropyLoss())

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss(apart(x), y).backward()
        optimizer.step()

    return step


# --- the accountant


def accounting() -> tuple[list[list[str]], float]:
    """A line for each relation of noise and rounds, and the largest error as a share of what is allowed."""
    from opacus.accountants import PRVAccountant

    lines = []
    errors = []
    for noise, rate, rounds in ACCOUNTED:
        began = perf_counter()
        ours = terms(rate, rounds).epsilon(noise)
        own = perf_counter() - began
        began = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            accountant = PRVAccountant()
            accountant.history = [(noise, rate, rounds)]
            theirs = accountant.get_epsilon(DELTA) - 0.01  # it adds its own tolerance on top
        other = perf_counter() - began
        errors.append(abs(ours - theirs) / max(0.01 * theirs, 0.01))
        cells = [f"{noise:g}", f"{rate:g}", f"{rounds:,}", f"{ours:.4g}", f"{theirs:.4g}"]
        lines.append([*cells, f"{errors[-1]:.2f}", f"{1e3 * own:.0f}", f"{1e3 * other:,.0f}"])
    return lines, max(errors)


def terms(rate: float, rounds: int, relation: privacy.Relation = "zero-out") -> privacy.Accountant:
    return privacy.Accountant(unit="client", delta=DELTA, relation=relation, rate=rate, rounds=rounds)


def multipliers() -> tuple[float, float, int]:
    """Seconds of `noise_for`, the median and the most, and how many were asked; a refusal is an answer."""
    asked = product((1.0, 0.5, 0.1, 0.01, 0.001), (1, 50, 1000, 10_000), ("zero-out", "replace-one"))
    seconds = []
    for rate, rounds, relation in asked:
        known = terms(rate, rounds, relation)
        for power in range(-3, 8):
            began = perf_counter()
            with suppress(ValueError):
                known.noise_for(1.7 * 10**power)
            seconds.append(perf_counter() - began)
    return median(seconds), max(seconds), len(seconds)


def sliders() -> tuple[float, int]:
    """Seconds at the 95th percentile of queries at rates of the table and at rate 1, after the table was read."""
    known = [each.accountant() for each in noise_table.all_terms()]
    known += [terms(1.0, rounds) for rounds in noise_table.ROUNDS]
    noise_table.noise_for(known[0], 1.0)
    seconds = []
    for each, power in product(known, range(-2, 7)):
        began = perf_counter()
        noise_table.noise_for(each, 2.3 * 10**power)
        seconds.append(perf_counter() - began)
    return quantiles(seconds, n=20)[-1], len(seconds)


# --- attacks


def shadows() -> float:
    """Seconds of LiRA with 64 shadows on the digits."""
    digits = data.load("digits")
    model = mlp(digits.shape, digits.classes)
    recipe = infer.recipe(model, digits.x, digits.y, lr=0.3, steps=300, batch_size=32)
    member = torch.rand(1, len(digits.y), generator=generator(0)) < 0.5
    params = recipe(member, generator=generator(1))[0]
    view = infer.MemberView(params=params, model=model, x=digits.x, y=digits.y, train=recipe)
    return median(interleaved({"lira": partial(_lira, view)}, 3)["lira"])


def _lira(view: infer.MemberView) -> Tensor:
    return infer.lira(view, shadows=64, generator=generator(2))


def audited() -> tuple[float, infer.Audit]:
    """Seconds of the audit of one mechanism, 5,000 trials with the canary and as many without; and what it says."""
    stated = terms(1.0, 1).epsilon(1.0)
    began = perf_counter()
    found = infer.audit(
        bind(privacy.noisy_mean, clip=1.0, noise=1.0),
        rows=0.1 * torch.randn(20, 1000, generator=generator(0)),
        canary=infer.direction(1000, length=10.0, generator=generator(1)),
        stated=stated,
        relation="zero-out",
        rounds=1,
        delta=DELTA,
        generator=generator(2),
    )
    return perf_counter() - began, found


def goals(ratios: list[float], error: float) -> list[list[str]]:
    """What was aimed at, and what was measured."""
    usual, longest, asked = multipliers()
    slider, queries = sliders()
    seconds, found = audited()
    slowest = min(float(line[1]) for line in packing())
    ours, torchs = (sum(float(line[i]) for line in selection()) for i in (1, 2))
    return [
        ["DP-SGD in the engine, rows below", "2.5x plain SGD", ", ".join(f"{ratio:.1f}x" for ratio in ratios)],
        ["largest error of epsilon against PRV", "max(1 %, 0.01)", f"{error:.0%} of that"],
        [f"`noise_for`, {asked} questions from 0.0017 to 1.7e7", "2 s", f"median {usual:.3f} s, most {longest:.2f} s"],
        [f"slider query, {queries} of them, rates below 1 included", "50 ms at p95", f"{1e3 * slider:.2f} ms"],
        ["packing a million codes, the slowest width", "1 GB/s", f"{slowest:.1f} GB/s"],
        ["`top_k` of a million, all shares", "as fast as torch's", f"{ours:.1f} ms to {torchs:.1f} ms"],
        ["LiRA, 64 shadows, digits", "10 s", f"{shadows():.1f} s"],
        [
            f"audit, 2 x {len(found.without):,} trials: ε >= {found.low:.2f} of {found.stated:.2f}",
            "20 s",
            f"{seconds:.1f} s",
        ],
    ]


def main() -> str:
    """Measure, and write a section of the page."""
    lines, ratios = training()
    accounts, error = accounting()
    return "\n".join(
        [
            "## Privacy: private training, the accountant, audits",
            "",
            f"`python -m benchmarks privacy` on {machine()}; {versions('torch', 'opacus', 'scipy')}. Contestants take "
            f"turns in one process; medians of {REPEATS}.",
            "",
            table(["what", "goal", "measured"], goals(ratios, error)),
            "",
            "All clients' training, in milliseconds, and in multiples of plain SGD by the same means: the engine "
            "trains the clients at once, torch and opacus one after the other. DP-SGD draws a normal number for each "
            "parameter, client and step, which no way of clipping saves.",
            "",
            table(
                ["network", "engine", "DP-SGD", "drawing its noise", "torch", "opacus, hooks", "opacus, ghost"], lines
            ),
            "",
            f"The accountant beside opacus' PRV accountant, δ = {DELTA:g}, zero-out neighbours. The error is the "
            "difference as a share of max(1 %, 0.01).",
            "",
            table(["noise", "rate", "rounds", "ε", "ε of PRV", "error", "ms", "ms of PRV"], accounts),
        ]
    )
