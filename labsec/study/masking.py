"""What masking is worth, to an attacker who does not know of it and to one who does: `python -m labsec.study.masking`.

Each defence is tried on single digits, one step on a fresh network of convolutions and tanh, which an attacker reads
exactly where there is no defence. The plain attacker takes the message for the gradient. The adaptive one knows which
defence it is, and nothing else that the plain one does not know; both are told the label. Beside them stands what
costs nothing: more pictures in a step, and more steps in a message.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from labsec import invert, mask, metrics, plots
from labsec.data import load
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.guards import check_kind, check_number
from labsec.models import Model, convnet, mlp
from labsec.train import local_updates
from labsec.types import ServerView, generator

Send = Callable[[Model, Tensor, Tensor, Tensor, Generator], Tensor]  # (model, params, x, y, draws) -> message [1, dim]
Read = Callable[[ServerView, int], Tensor]  # (view of k messages about one sample, label) -> estimate [1, *shape]

SEEDS = range(5)
OBSERVATIONS = (1, 10)
FAMILIES = {  # of the picture, and what a mask's strength is
    "Soteria-like": "share of features masked",
    "PRECODE-like": "latent numbers",
    "learned perturbation": "distance of the sample",
}
SCORES = {"success": "read out at 25 dB, %", "reidentified": "recognised among 1,000 digits, %"}
LR = 0.1
RECOVERED_FROM = 25.0  # dB
BEYOND_MEAN = 10.0  # dB more than the mean digit scores
STEPS = 10  # of Gauss and Newton, at most
SEARCH = 100  # iterations of L-BFGS, at most
DESCENT = 5  # steps in which a made-up sample is learned
GALLERY = 1000  # digits among which an original is looked for
SHORT = {"clients": 6, "rounds": 25, "batch_size": 8, "evaluate_every": 25}  # of the federation that shows the cost
PAGE = COURSE / "docs"


def tanh_net(shape: tuple[int, ...], classes: int) -> Model:
    """The network that is attacked: it bends everywhere, so that a search finds the answer if there is one."""
    return convnet(shape, classes, activation=torch.tanh)


def in_the_clear(model: Model, params: Tensor, x: Tensor, y: Tensor, draws: Generator) -> Tensor:
    """One step of plain SGD on one sample."""
    return local_updates(model, params, x, y, _one(), lr=LR)


def by_newton(view: ServerView, label: int) -> Tensor:
    """The plain attacker: it takes the mean of the messages for the gradient."""
    together = replace(view, messages=view.messages.mean(dim=0, keepdim=True))
    return invert.gauss_newton(together, label=label, outer=STEPS).estimate


def by_lbfgs(view: ServerView, label: int) -> Tensor:
    """The same where the network has no fast Newton step."""
    together = replace(view, messages=view.messages.mean(dim=0, keepdim=True))
    return invert.lbfgs(together, label=label, iterations=SEARCH).estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A defence, and the two attackers that it meets.

    family      what it is a kind of
    method      in words
    rate        its strength, in the family's own unit
    send        what a client sends of one sample
    adaptive    the attacker who knows the defence
    plain       the attacker who does not
    network     (shape, classes) -> model
    changes     fields of a scenario that runs it, for its cost in accuracy
    """

    family: str
    method: str
    rate: float
    send: Send
    adaptive: Read
    plain: Read = by_newton
    network: Callable[[tuple[int, ...], int], Model] = tanh_net
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What an attacker read of several samples.

    success       share of the pictures at 25 dB or more, and 10 dB more than the mean digit
    median_psnr   in dB
    reidentified  share that looks more like its original than like any other of a thousand digits
    """

    success: float
    median_psnr: float
    reidentified: float


# --- the defences and who knows them


def masked_features(share: float) -> Case:
    """Soteria-like holes; the adaptive attacker leaves the last layer's weight out."""

    def send(model: Model, params: Tensor, x: Tensor, y: Tensor, draws: Generator) -> Tensor:
        return mask.soteria(model, params, x, y, _one(), lr=LR, share=share)

    def read(view: ServerView, label: int) -> Tensor:
        kept = invert.outside(view.model, layers=[-2])
        together = replace(view, messages=view.messages.mean(dim=0, keepdim=True))
        return invert.gauss_newton(together, label=label, kept=kept, outer=STEPS).estimate

    train = bind(mask.soteria, share=share)
    return Case(
        family="Soteria-like",
        method=f"soteria(share={share})",
        rate=share,
        send=send,
        adaptive=read,
        changes={"train": train},
    )


def random_bottleneck(latent: int) -> Case:
    """PRECODE-like; the adaptive attacker leaves out the bottleneck and all behind it."""

    def send(model: Model, params: Tensor, x: Tensor, y: Tensor, draws: Generator) -> Tensor:
        return mask.variational_updates(model, params, x, y, _one(), lr=LR, beta=1e-3, generator=draws)

    def read(view: ServerView, label: int) -> Tensor:
        count, features = mask.before_bottleneck(view.model)
        return invert.around(view, layers=count, features=features, iterations=3 * SEARCH).estimate

    network = partial(_precode, latent=latent)
    return Case(
        family="PRECODE-like",
        method=f"precode(latent={latent})",
        rate=latent,
        send=send,
        adaptive=read,
        plain=by_lbfgs,
        network=network,
        changes={"train": bind(mask.variational_updates, beta=1e-3)},
    )


def _precode(shape: tuple[int, ...], classes: int, *, latent: int) -> Model:
    return mask.precode(shape, classes, latent=latent)


def made_up_samples(strength: float) -> Case:
    """Learned perturbation; the adaptive attacker trusts the message a little less, and pictures to be smooth."""

    def send(model: Model, params: Tensor, x: Tensor, y: Tensor, draws: Generator) -> Tensor:
        return mask.learned_perturbation(
            model, params, x, y, _one(), lr=LR, strength=strength, steps=DESCENT, generator=draws
        )

    def read(view: ServerView, label: int) -> Tensor:
        together = replace(view, messages=view.messages.mean(dim=0, keepdim=True))
        near = partial(invert.left_in_only, noise=0.3 / math.sqrt(len(view.messages)))
        return invert.most_likely(together, label=label, likelihood=near).estimate

    return Case(
        family="learned perturbation",
        method=f"learned_perturbation(strength={strength})",
        rate=strength,
        send=send,
        adaptive=read,
        changes={"train": bind(mask.learned_perturbation, strength=strength, steps=DESCENT)},
    )


CLEAR = Case(family="none", method="no defence", rate=0.0, send=in_the_clear, adaptive=by_newton)
CASES = (
    CLEAR,
    *(masked_features(share) for share in (0.2, 0.8, 1.0)),
    *(random_bottleneck(latent) for latent in (16,)),
    *(made_up_samples(strength) for strength in (0.1, 0.2, 0.3)),
)


def _one() -> Tensor:
    """Batches of one client that takes one step on one sample."""
    return torch.zeros(1, 1, 1, dtype=torch.int64)


# --- what is read


def leak(case: Case, *, seed: int, observations: int, adaptive: bool, pictures: int = 5) -> Leak:
    """What one of the two attackers reads of several clients, each with one digit and a fresh network of its own.

    seed            of the pictures, the networks and the defence
    observations    fresh messages of each client about its digit and one model
    adaptive        whether the attacker knows the defence
    pictures        clients

    >>> leak(CLEAR, seed=0, observations=1, adaptive=False, pictures=2).success
    1.0

    Raises ValueError unless observations and pictures are whole numbers >= 1.
    """
    check_kind("leak", Case, case=case)
    check_number("leak", whole=True, seed=seed)
    check_number("leak", whole=True, least=1, observations=observations)
    check_number("leak", whole=True, least=1, most=GALLERY, pictures=pictures)
    check_kind("leak", bool, adaptive=adaptive)
    read = case.adaptive if adaptive else case.plain
    places = _places(seed)[:pictures]
    digits = load("digits")
    model = case.network(digits.shape, digits.classes)
    found = []
    for client, place in enumerate(places.tolist()):
        view = messages(case, model, seed=seed, client=client, place=place, observations=observations)
        found.append(read(view, int(digits.y[place])).float())
    return scored(torch.cat(found), places)


def messages(case: Case, model: Model, *, seed: int, client: int, place: int, observations: int) -> ServerView:
    """What a server holds of a client that sent several messages about one digit and one fresh model.

    place    of the digit in the training part of `digits`
    """
    digits = load("digits")
    params = model.init(generator(seed, "model", client)).double()
    x = digits.x[place : place + 1].double()
    y = digits.y[place : place + 1]
    sent = [
        case.send(model, params, x, y, generator(seed, "defence", client, number)) for number in range(observations)
    ]
    return ServerView(params=params, messages=torch.cat(sent), model=model, lr=LR, local_steps=1, batch_size=1)


def _places(seed: int) -> Tensor:
    """The gallery's digits in an order of the seed, so that no two clients hold the same."""
    return torch.randperm(GALLERY, generator=generator(seed, "pictures"))


def scored(found: Tensor, places: Tensor) -> Leak:
    """The scores of estimates [n, *shape] of the digits at some places [n] of the gallery."""
    gallery = load("digits").x[:GALLERY]
    truth = gallery[places]
    scores = metrics.psnr(found, truth)
    base = metrics.psnr(_mean_digit().expand_as(truth), truth)
    return Leak(
        success=float(((scores >= RECOVERED_FROM) & (scores >= base + BEYOND_MEAN)).double().mean()),
        median_psnr=float(scores.median()),
        reidentified=float(metrics.reidentified(found, gallery, places).double().mean()),
    )


@cache
def _mean_digit() -> Tensor:
    return load("digits").x.mean(dim=0)


def accuracy(case: Case, *, seed: int) -> float:
    """What the defence costs: test accuracy of a short federation that runs it."""
    check_kind("accuracy", Case, case=case)
    check_number("accuracy", whole=True, seed=seed)
    digits = load("digits")
    model = case.network(digits.shape, digits.classes)
    return run(Scenario(data=digits, model=model, seed=seed, **{**SHORT, **case.changes})).final_accuracy


# --- what costs nothing


def honest_defence(seed: int) -> dict[str, float]:
    """Share of the digits that are read out where nothing hides them but how many stand behind one message.

    The dense network is read by division (`analytic`), the convolutions by a search that is told all labels
    (`smooth_cosine`), and several steps by one that takes the same steps (`simulate`).

    >>> honest_defence(0)["dense, 1 picture"]
    1.0
    """
    check_number("honest_defence", whole=True, seed=seed)
    return {
        "dense, 1 picture": _batch(mlp, seed, batch=1, steps=1),
        "dense, 4 pictures": _batch(mlp, seed, batch=4, steps=1),
        "dense, 16 pictures": _batch(mlp, seed, batch=16, steps=1),
        "dense, 5 steps of 16": _batch(mlp, seed, batch=16, steps=5),
        "convolutions, 1 picture": _batch(tanh_net, seed, batch=1, steps=1),
        "convolutions, 4 pictures": _batch(tanh_net, seed, batch=4, steps=1),
        "convolutions, 16 pictures": _batch(tanh_net, seed, batch=16, steps=1),
        "convolutions, 5 steps of 16": _batch(tanh_net, seed, batch=16, steps=5),
    }


def _batch(network: Callable[[tuple[int, ...], int], Model], seed: int, *, batch: int, steps: int) -> float:
    """Share of a client's digits that are read out of one message about all of them."""
    digits = load("digits")
    model = network(digits.shape, digits.classes)
    params = model.init(generator(seed, "model", 0))
    places = _places(seed)[: batch * steps]
    x = digits.x[places]
    y = digits.y[places]
    order = torch.arange(batch * steps).view(1, steps, batch)
    update = local_updates(model, params, x, y, order, lr=LR)
    view = ServerView(params=params, messages=update, model=model, lr=LR, local_steps=steps, batch_size=batch)
    draws = generator(seed, "search")
    if network is mlp:
        found = invert.analytic(view)
    elif steps == 1:
        found = invert.smooth_cosine(view, labels=y, generator=draws, iterations=300 if batch < 16 else 150).estimate
    else:
        found = invert.simulate(view, labels=y, smooth=True, generator=draws, iterations=40).estimate
    _, scores = metrics.assigned(found, x)
    base = metrics.psnr(_mean_digit().expand_as(x), x)
    return float(((scores >= RECOVERED_FROM) & (scores >= base + BEYOND_MEAN)).double().mean())


# --- the table and its picture


def rows(seeds: Sequence[int] = SEEDS, cases: Sequence[Case] = CASES) -> list[dict[str, Any]]:
    """A row for each case, attacker, number of observations and seed, as the csv holds them."""
    table = []
    for case in cases:
        for seed in seeds:
            kept = accuracy(case, seed=seed)
            for observations in OBSERVATIONS:
                for adaptive in (False, True):
                    found = leak(case, seed=seed, observations=observations, adaptive=adaptive)
                    table.append(
                        {
                            "family": case.family,
                            "method": case.method,
                            "rate": case.rate,
                            "attacker": "adaptive" if adaptive else "plain",
                            "observations": observations,
                            "seed": seed,
                            "success": found.success,
                            "median_psnr": round(found.median_psnr, 2),
                            "reidentified": found.reidentified,
                            "accuracy": round(kept, 4),
                        }
                    )
    return table


def honest_rows(seeds: Sequence[int] = SEEDS) -> list[dict[str, Any]]:
    """The rows of what costs nothing, in the same columns."""
    table = []
    for seed in seeds:
        for method, share in honest_defence(seed).items():
            table.append(
                {
                    "family": "batch and steps",
                    "method": method,
                    "rate": 1.0,
                    "attacker": "adaptive",
                    "observations": 1,
                    "seed": seed,
                    "success": share,
                    "median_psnr": math.nan,
                    "reidentified": math.nan,
                    "accuracy": math.nan,
                }
            )
    return table


def draw(frame: Any, path: Path) -> None:
    """A column for each mask, who reads how much with the seeds' range; and what costs nothing: more behind a message.

    frame    a pandas DataFrame of the csv
    """
    figure = plots.figure(12.0, 6.0, dpi=110)
    grid = plots.axes(figure, 2, 4, width_ratios=(3, 1.8, 3, 3))
    for column, (family, what) in enumerate(FAMILIES.items()):
        own = frame[frame.family == family]
        rates = sorted(own.rate.unique())
        kept = own.drop_duplicates(["rate", "seed"]).groupby("rate").accuracy.mean()
        for ax, score in zip(grid[:, column], SCORES, strict=True):
            _lines(ax, own, score)
            ax.set_xlim(-0.4, len(rates) - 0.6)
            ax.set_ylim(-5, 105)
            ax.yaxis.set_tick_params(labelleft=column == 0)
            ax.set_xticks(range(len(rates)), [f"{rate:g}\n({100 * kept[rate]:.0f} %)" for rate in rates])
        grid[0][column].set_title(family, fontsize=11)
        grid[1][column].set_xlabel(f"{what}\n(accuracy left)")
    _batches(grid[0][3], frame[frame.family == "batch and steps"])
    grid[1][3].set_axis_off()
    grid[1][3].legend(*grid[0][0].get_legend_handles_labels(), loc="center", frameon=False)
    for ax, words in zip(grid[:, 0], SCORES.values(), strict=True):
        ax.set_ylabel(words)
    clear = frame[frame.family == "none"].drop_duplicates("seed").accuracy.mean()
    with plots.style():
        title = f"Who reads a masked message, and what the mask costs (accuracy without: {100 * clear:.0f} %)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    path.write_bytes(plots.png(figure))


def _lines(ax: Any, own: Any, score: str) -> None:
    """One line for each attacker and number of messages: the mean over the seeds, and their range."""
    for attacker, (color, size) in {"plain": (plots.GREY, 8), "adaptive": (plots.ATTACKER, 4)}.items():
        for count, dashes in {1: "--", 10: "-"}.items():
            part = own[(own.attacker == attacker) & (own.observations == count)].groupby("rate")[score]
            middle = 100 * part.mean()
            ax.errorbar(
                range(len(middle)),
                middle,
                yerr=[middle - 100 * part.min(), 100 * part.max() - middle],
                color=color,
                linestyle=dashes,
                marker="o",
                markersize=size,
                elinewidth=1,
                label=f"{attacker}, {count} message{'s' * (count > 1)}",
            )


def _batches(ax: Any, own: Any) -> None:
    """Bars for the messages without a mask, from one picture to several steps."""
    part = own.groupby("method", sort=False).success
    middle = 100 * part.mean()
    spread = [middle - 100 * part.min(), 100 * part.max() - middle]
    places = range(len(middle))[::-1]
    ax.barh(places, middle, xerr=spread, color=plots.ATTACKER, height=0.6, error_kw={"elinewidth": 1})
    ax.set_yticks(places, middle.index, fontsize=8)
    ax.set_xlabel("read out at 25 dB, %")
    ax.set_title("no mask", fontsize=11)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, and write docs/masking_leakage.csv and docs/masking_leakage.png."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw-only", action="store_true", help="draw the committed csv again")
    given = parser.parse_args(arguments)
    table = PAGE / "masking_leakage.csv"
    if not given.draw_only:
        pd.DataFrame([*rows(), *honest_rows()]).to_csv(table, index=False)
    draw(pd.read_csv(table), PAGE / "masking_leakage.png")


if __name__ == "__main__":
    main()
