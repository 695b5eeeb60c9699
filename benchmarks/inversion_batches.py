"""Batches, several steps and the malicious server: how much comes back, beside a guess and beside a stranger's message.

`python -m benchmarks.inversion_batches [--cases N] [ROW …]` draws its cases anew at every run, prints the seed that it
drew, and one table. Processor seconds on one thread.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import machine, versions
from benchmarks.report import table
from labsec import invert, metrics
from labsec.data import load
from labsec.invert import Reconstruction
from labsec.models import Model, convnet, mlp
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerView, generator

CASES = 24
SIDE = 32
SUCCESS = 25.0  # dB
PICTURES = ("astronaut", "coffee", "chelsea")  # scikit-image ships these, so no network is needed
REDUCED = 4  # a crop of so much smaller a picture shows a thing, not a patch of its skin
HEADER = ["", "cases", "median dB", "lowest", "share ≥ 25 dB [95 %]", "no gradient", "stranger", "CPU s, median"]


def crops(count: int, *, seed: int, place: str) -> Tensor:
    """Colour crops [count, 3, 32, 32] in [0, 1], drawn anew for every seed: the one place where pictures come from."""
    draws = generator(seed, "crops", place)
    found = []
    for number in torch.randint(len(PICTURES), (count,), generator=draws).tolist():
        picture = _picture(PICTURES[number])
        top, left = (int(torch.randint(side - SIDE + 1, (), generator=draws)) for side in picture.shape[1:])
        found.append(picture[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(found)


@cache
def _picture(name: str) -> Tensor:
    import skimage.data

    pixels = torch.as_tensor(getattr(skimage.data, name)())  # [h, w, 3] bytes
    return F.avg_pool2d(pixels.permute(2, 0, 1) / 255, REDUCED)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One case: PSNRs [n] of the attack, of the mean picture and of the attack on a stranger's message, and seconds."""

    scores: Tensor
    guess: Tensor
    stranger: Tensor
    seconds: float


def heard(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor, *, lr: float = 0.1) -> ServerView:
    """The view of a server that got what one client learned from these batches [steps, batch]."""
    update = local_updates(model, params, x, y, batches[None], lr=lr)
    steps, batch = batches.shape
    return ServerView(params=params, messages=update, model=model, lr=lr, local_steps=steps, batch_size=batch)


def pictures(
    seed: int,
    *,
    activation: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    attack: Callable[[ServerView, Tensor, torch.Generator], Reconstruction],
) -> Outcome:
    """The attack on one client's message and on a stranger's, both held against the client's pictures."""
    n = steps * batch
    model = convnet((3, SIDE, SIDE), 10, activation=activation)
    params = model.init(generator(seed, "start"))
    batches = torch.arange(n).view(steps, batch)
    truth = crops(n, seed=seed, place="client")
    found: dict[str, Reconstruction] = {}
    for who in ("client", "stranger"):
        # Labels all differ as long as there are enough classes; an attacker who counts them knows as much.
        labels = torch.randperm(10, generator=generator(seed, "labels", who)).repeat(-(-n // 10))[:n]
        view = heard(model, params, crops(n, seed=seed, place=who), labels, batches)
        found[who] = attack(view, labels, generator(seed, "attack", who))
    mean = crops(200, seed=seed, place="public").mean(dim=0)
    return Outcome(
        scores=metrics.assigned(found["client"].estimate, truth)[1],
        guess=metrics.psnr(mean.expand_as(truth), truth),
        stranger=metrics.assigned(found["stranger"].estimate, truth)[1],
        seconds=found["client"].seconds,
    )


def imprint(seed: int, *, bins: int, batch: int, one_hot: bool, epochs: int = 0) -> Outcome:
    """What the bins give away of a batch of mnist5k, in one step on all or in epochs of steps of 16."""
    digits = load("mnist5k")
    model = mlp(digits.shape, digits.classes, hidden=(bins,), activation=F.hardtanh if one_hot else torch.relu)
    order = torch.randperm(len(digits.y), generator=generator(seed, "batch"))
    public = order[2 * batch :]
    honest = model.init(generator(seed, "start"))
    direction = generator(seed, "direction")
    sent = invert.imprint(honest, model=model, public=digits.x[public], one_hot=one_hot, generator=direction)
    truth = digits.x[order[:batch]]
    found: dict[str, Reconstruction] = {}
    for who, own in {"client": order[:batch], "stranger": order[batch : 2 * batch]}.items():
        passes = [torch.randperm(batch, generator=generator(seed, who, epoch)).view(-1, 16) for epoch in range(epochs)]
        batches = own[torch.cat(passes)] if passes else own[None]
        view = heard(model, sent, digits.x, digits.y, batches)
        found[who] = invert.read_imprint(BroadcastView(**vars(view), honest=honest), one_hot=one_hot)
    mean = digits.x[public].mean(dim=0)
    return Outcome(
        scores=metrics.best_matches(found["client"].estimate, truth)[1],
        guess=metrics.psnr(mean.expand_as(truth), truth),
        stranger=metrics.best_matches(found["stranger"].estimate, truth)[1],
        seconds=found["client"].seconds,
    )


def for_relus(view: ServerView, labels: Tensor, draws: torch.Generator) -> Reconstruction:
    return invert.cosine(view, labels=labels, generator=draws)


def for_smooth(iterations: int) -> Callable[[ServerView, Tensor, torch.Generator], Reconstruction]:
    return lambda view, labels, draws: invert.smooth_cosine(view, labels=labels, generator=draws, iterations=iterations)


def by_simulation(view: ServerView, labels: Tensor, draws: torch.Generator) -> Reconstruction:
    return invert.simulate(view, labels=labels, smooth=True, generator=draws, iterations=100)


def theory(bins: int, batch: int) -> str:
    """The chance of a sample to be alone in its bin, for the name of a row."""
    return f"{(1 - 1 / bins) ** (batch - 1):.3f}"


Case = Callable[[int], Outcome]
ROWS: dict[str, tuple[str, Case]] = {
    "relu1": (
        "ReLU conv net, batch 1, cosine + TV, signed Adam 300",
        lambda seed: pictures(seed, activation=torch.relu, steps=1, batch=1, attack=for_relus),
    ),
    **{
        f"elu{batch}": (
            f"ELU conv net, batch {batch}, layer-wise cosine, L-BFGS {iterations}",
            lambda seed, batch=batch, iterations=iterations: pictures(
                seed, activation=F.elu, steps=1, batch=batch, attack=for_smooth(iterations)
            ),
        )
        for batch, iterations in ((1, 150), (4, 800), (8, 800))
    },
    "fedavg": (
        "ELU conv net, 5 steps of 16, simulation, L-BFGS 100",
        lambda seed: pictures(seed, activation=F.elu, steps=5, batch=16, attack=by_simulation),
    ),
    **{
        f"bins{bins}x{batch}": (
            f"imprint, {bins} bins, batch {batch}; theory {theory(bins, batch)}",
            lambda seed, bins=bins, batch=batch: imprint(seed, bins=bins, batch=batch, one_hot=False),
        )
        for bins, batch in ((256, 16), (256, 64), (1024, 64), (1024, 256))
    },
    **{
        f"onehot{bins}": (
            f"imprint through FedAvg, {bins} one-hot bins, 64 images, 5 epochs of 4 steps; theory {theory(bins, 64)}",
            lambda seed, bins=bins: imprint(seed, bins=bins, batch=64, one_hot=True, epochs=5),
        )
        for bins in (1024, 4096)
    },
}


def lines(chosen: list[str], *, cases: int, seed: int) -> Iterator[list[str]]:
    """A row of the table for each of the attacks; the score counts every picture of every case."""
    for name in chosen:
        title, case = ROWS[name]
        outcomes = [case(seed + number) for number in range(cases)]
        scores = torch.cat([outcome.scores for outcome in outcomes])
        strangers = torch.cat([outcome.stranger for outcome in outcomes])
        share, low, high = metrics.success_share(scores, threshold=SUCCESS)
        by_chance = metrics.success_share(strangers, threshold=SUCCESS)[0]
        seconds = torch.tensor([outcome.seconds for outcome in outcomes]).median()
        yield [
            title,
            str(cases),
            f"{scores.median():.1f}",
            f"{scores.min():.1f}",
            f"{share:.3f} [{low:.3f}, {high:.3f}]",
            f"{torch.cat([outcome.guess for outcome in outcomes]).median():.1f} dB",
            f"{by_chance:.3f}",
            f"{seconds:.2g}",
        ]


def main(chosen: list[str] | None = None, *, cases: int = CASES) -> str:
    """The table, on cases that nobody has seen before."""
    seed = secrets.randbelow(10**6)
    rows = [*lines(chosen or [*ROWS], cases=cases, seed=seed)]
    return f"{machine()}. {versions('torch')}. First seed, drawn at the start: {seed}.\n\n{table(HEADER, rows)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inversion_batches", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--cases", type=int, default=CASES, metavar="N", help=f"of each row (default: {CASES})")
    options = parser.parse_args()
    unknown = sorted({*options.names} - {*ROWS})
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; known: {', '.join(ROWS)}")
    torch.set_num_threads(1)
    print(main(options.names, cases=options.cases))
