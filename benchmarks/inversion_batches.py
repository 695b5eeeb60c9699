"""Batches, several steps and the malicious server: how much comes back, beside a guess and beside a stranger's message.

Cases are drawn anew at every run, from the test parts, on which no attack was tuned. Processor seconds on one thread.
`python -m benchmarks inversion_batches` measures all; `python -m benchmarks.inversion_batches [--cases N] [ROW …]`
prints some rows alone.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import machine, versions
from benchmarks.peers import breaching_attack
from benchmarks.report import table
from labsec import invert, metrics
from labsec.data import load
from labsec.invert import Reconstruction
from labsec.models import Model, convnet, mlp
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerView, generator

CASES = 24
SUCCESS = 25.0  # dB
EXACT = 60.0  # dB, from which a picture was alone in its bin; a faint second one leaves 25 to 60
LR = 0.1
WARM_UP = 200  # steps of training elsewhere, on batches of 16, after which a round counts as a later one
HEADER = [
    "",
    "cases",
    "median dB",
    "lowest",
    "share ≥ 25 dB [95 %]",
    "≥ 60 dB",
    "no gradient",
    "stranger",
    "CPU s, median",
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One case: PSNRs [n] of the attack, of the mean picture and of the attack on a stranger's message, and seconds."""

    scores: Tensor
    guess: Tensor
    stranger: Tensor
    seconds: float


def heard(model: Model, params: Tensor, x: Tensor, y: Tensor, batches: Tensor) -> ServerView:
    """The view of a server that got what one client learned from these batches [steps, batch]."""
    update = local_updates(model, params, x, y, batches[None], lr=LR)
    steps, batch = batches.shape
    return ServerView(params=params, messages=update, model=model, lr=LR, local_steps=steps, batch_size=batch)


def pictures(
    seed: int,
    *,
    activation: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    attack: Callable[[ServerView, Tensor, torch.Generator], Reconstruction],
    warm_up: int = 0,
) -> Outcome:
    """The attack on one client's message and on a stranger's, both held against the client's pictures.

    warm_up    steps that the model has been trained elsewhere, on the training part, before the round
    """
    photos = load("photos")
    model = convnet(photos.shape, 10, activation=activation)
    params = model.init(generator(seed, "start"))
    if warm_up:
        order = torch.randint(len(photos.x), (1, warm_up, 16), generator=generator(seed, "warm-up"))
        params = params + local_updates(model, params, photos.x, photos.y, order, lr=LR)[0]
    n = steps * batch
    batches = torch.arange(n).view(steps, batch)
    drawn = torch.randperm(len(photos.x_test), generator=generator(seed, "pictures"))
    own = {"client": drawn[:n], "stranger": drawn[n : 2 * n]}
    truth = photos.x_test[own["client"]]
    found: dict[str, Reconstruction] = {}
    for who, places in own.items():
        labels = _labels(n, seed, who) if not warm_up else photos.y_test[places]
        view = heard(model, params, photos.x_test[places], labels, batches)
        found[who] = attack(view, labels, generator(seed, "attack", who))
    return Outcome(
        scores=metrics.assigned(found["client"].estimate, truth)[1],
        guess=metrics.psnr(photos.x.mean(dim=0).expand_as(truth), truth),
        stranger=metrics.assigned(found["stranger"].estimate, truth)[1],
        seconds=found["client"].seconds,
    )


def _labels(n: int, seed: int, who: str) -> Tensor:
    """Labels [n] that all differ as long as there are classes enough; an attacker who counts them knows as much."""
    order = torch.randperm(10, generator=generator(seed, "labels", who))
    return order.repeat(-(-n // 10))[:n]


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
        f"breaching{iterations}": (
            f"the same network and messages, breaching's cosine + TV, {iterations:,} iterations",
            lambda seed, iterations=iterations: pictures(
                seed,
                activation=torch.relu,
                steps=1,
                batch=1,
                attack=breaching_attack.cosine_matching(iterations),
            ),
        )
        for iterations in (300, 2400)
    },
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
        "ELU conv net, FedAvg: 5 steps of 16, simulation, L-BFGS 100",
        lambda seed: pictures(seed, activation=F.elu, steps=5, batch=16, attack=by_simulation),
    ),
    "small_fedavg": (
        "ELU conv net, FedAvg: 5 steps of 1, simulation, L-BFGS 100",
        lambda seed: pictures(seed, activation=F.elu, steps=5, batch=1, attack=by_simulation),
    ),
    "later_fedavg": (
        f"the same after {WARM_UP} steps of training",
        lambda seed: pictures(seed, activation=F.elu, steps=5, batch=1, attack=by_simulation, warm_up=WARM_UP),
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
        if name.startswith("breaching") and not breaching_attack.is_installed():
            yield [title, breaching_attack.MISSING, *[""] * (len(HEADER) - 2)]
            continue
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
            f"{metrics.success_share(scores, threshold=EXACT)[0]:.3f}",
            f"{torch.cat([outcome.guess for outcome in outcomes]).median():.1f} dB",
            f"{by_chance:.3f}",
            f"{seconds:.2g}",
        ]


def main(chosen: list[str] | None = None, *, cases: int = CASES) -> str:
    """The section of the page, on cases that nobody has seen before."""
    seed = secrets.randbelow(10**6)
    rows = [*lines(chosen or [*ROWS], cases=cases, seed=seed)]
    text = (
        f"{machine()}. {versions('torch')}. Photos of 32 x 32 pixels in colour, and digits of mnist5k for the bins, "
        f"all from the test part; {cases} cases of a client's batch and a fresh model, drawn with first seed {seed}. "
        "Every picture of every case counts, and takes its best match among as many candidates as there are pictures. "
        "Beside each attack: the mean picture, and what it makes of a stranger's message. The theory of the bins is "
        "the chance to be alone in one, and so it stands beside the share at 60 dB."
    )
    return f"## Batches, several steps, and a malicious server\n\n{text}\n\n{table(HEADER, rows)}"


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
