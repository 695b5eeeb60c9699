"""What noise costs and what it hides, at each place where it can be added: `python -m labsec.study.leakage`.

One federation, with noise at the client, at the server, or in every client's training (DP-SGD). For each epsilon: how
well the model does, also on the rarest class, and what somebody reads out of the first round, who does not know of the
noise and who does. Every epsilon is of the whole run and between neighbours that differ in one row (replace-one).

What is read are messages of clients that take one step on one sample each: nobody is easier to read. Once it is the
message of the first round alone; once it is all rounds together, for a server that sends one model again and again, so
that the mean of the messages carries the noise of a single round. The accuracy is that of a federation in which each
client takes one step on its whole shard.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from math import inf, nan, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labsec import invert, metrics, plots, privacy, storage
from labsec.data import Dataset, load
from labsec.detect.judging import auc
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.guards import check_number
from labsec.infer import alignment, guessed_labels
from labsec.models import Model, mlp
from labsec.privacy import Accountant, Unit
from labsec.study.matrix.stamp import split, stamp_of
from labsec.train import dp_sgd, local_updates
from labsec.types import ServerView, generator

if TYPE_CHECKING:
    import pandas

CLIENTS = 100
ROUNDS = 50
LR = 1.0
DELTA = 1e-5
CLIP = 0.5  # of a client's update; a step on one sample is longer
SAMPLE_CLIP = 2.0  # of a sample's gradient
EPSILONS = (1.0, 2.5, 4.0, 8.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, inf)
SEEDS = range(5)
RARE = 8
RARE_SAMPLES = 60  # of about 140
READ_FROM = 25.0  # dB from which a picture counts as read
STRANGERS = 300  # candidates that are in no message

OBSERVERS: Mapping[str, tuple[str, ...]] = {
    "none": ("server",),
    "local": ("server",),
    "central": ("public", "server"),
    "dp_sgd": ("server",),
}
"""Who looks, by the place of the noise: a server that sees the messages, or the public, which sees the models alone.

"none" is the same federation without a clip and without noise.
"""

FILE = COURSE / "docs" / "privacy_leakage.csv"
PICTURE = COURSE / "docs" / "privacy_leakage.png"
REMEDY = "run `python -m labsec.study.leakage`"


@cache
def digits() -> Dataset:
    """Digits of which one class is rare: who pays for noise is asked of it.

    >>> int((digits().y == RARE).sum())
    60
    """
    whole = load("digits")
    rare = (whole.y == RARE).nonzero()[:, 0]
    kept = torch.ones(len(whole.y), dtype=torch.bool)
    kept[rare[RARE_SAMPLES:]] = False
    return replace(whole, x=whole.x[kept], y=whole.y[kept])


@cache
def network() -> Model:
    """The network of every run."""
    return mlp(digits().shape, digits().classes, hidden=(32,))


def terms(place: str) -> Accountant:
    """What every epsilon of a place is stated for.

    >>> print(terms("dp_sgd").in_words(4))
    ε = 4 per example for the whole run of 50 rounds, δ = 1e-05, replace-one neighbours, everybody in every round

    Raises ValueError for an unknown place.
    """
    _check_place(place)
    unit: Unit = "example" if place == "dp_sgd" else "client"
    return Accountant(unit=unit, delta=DELTA, relation="replace-one", rate=1, rounds=ROUNDS)


def _check_place(place: str) -> None:
    if place not in OBSERVERS:
        raise ValueError(f"noise has a place out of {', '.join(OBSERVERS)}; got place={place!r}")


def federation(*, place: str, epsilon: float, seed: int, **changes: Any) -> Scenario:
    """The federation behind a row.

    place      of the noise: "local", "central" or "dp_sgd"; "none" neither clips nor adds noise
    epsilon    of the whole run, as `terms(place)` says; infinity clips all the same
    changes    any other field of the scenario

    >>> federation(place="local", epsilon=4.0, seed=0).clients
    100

    Raises ValueError for an unknown place.
    """
    return with_noise(place, terms(place).noise_for(epsilon), seed, **changes)


def with_noise(place: str, noise: float, seed: int, **changes: Any) -> Scenario:
    """The same federation by its noise multiplier, for whoever accounts otherwise.

    Raises ValueError for an unknown place.
    """
    _check_place(place)
    places: dict[str, dict[str, Any]] = {
        "none": {},
        "local": {"client_stages": [bind(privacy.local_noise, clip=CLIP, noise=noise)]},
        "central": {"aggregate": bind(privacy.noisy_mean, clip=CLIP, noise=noise)},
        "dp_sgd": {"train": bind(dp_sgd, clip=SAMPLE_CLIP, noise=noise)},
    }
    fixed: dict[str, Any] = {
        "data": digits(),
        "model": network(),
        "clients": CLIENTS,
        "rounds": ROUNDS,
        "local_steps": 1,
        "batch_size": None,
        "lr": LR,
        "evaluate_every": ROUNDS,
        "probes": {"rarest": rarest},
        "seed": seed,
    }
    return Scenario(**{**fixed, **places[place], **changes})


def rarest(model: Model, params: Tensor) -> float:
    """Probe: accuracy on the test samples of the rarest class."""
    return float(metrics.accuracy_by_class(model, params, digits().x_test, digits().y_test)[RARE])


@cache
def utility(place: str, epsilon: float, seed: int) -> tuple[float, float]:
    """Accuracy after the run, over all test samples and over those of the rarest class."""
    history = run(federation(place=place, epsilon=epsilon, seed=seed))
    return history.final_accuracy, history.measured("rarest")[-1]


def messages(place: str, noise: float, seed: int) -> tuple[ServerView, Tensor]:
    """What clients send in the first round that take one step on one sample each, and their samples' numbers.

    noise      multiplier of the noise in a message; noise at the server is not in these messages
    returns    what the server sees; the numbers [CLIENTS], for the score alone

    >>> view, numbers = messages("local", terms("local").noise_for(4.0), 0)
    >>> len(view.messages), len(numbers)
    (100, 100)
    """
    model = network()
    params = model.init(generator(seed, "start"))
    chosen = torch.randperm(len(digits().y), generator=generator(seed, "senders"))[:CLIENTS]
    draw = generator(seed, "noise", place)
    train = partial(dp_sgd, clip=SAMPLE_CLIP, noise=noise, generator=draw) if place == "dp_sgd" else local_updates
    updates = train(model, params, digits().x, digits().y, chosen[:, None, None], lr=LR)
    if place == "local":
        updates = privacy.local_noise(updates, clip=CLIP, noise=noise, generator=draw)
    view = ServerView(params=params, messages=updates, model=model, lr=LR, local_steps=1, batch_size=1)
    return view, chosen


def leakage(place: str, observer: str, noise: float, seed: int) -> dict[str, float]:
    """What an observer reads out of one message of each client.

    noise      multiplier of the noise in a message, or in the mean
    returns    plain, plain_psnr, aware, membership and labels, as the table's columns of these names

    >>> leakage("local", "server", 0.0, 0)["labels"]
    1.0

    Raises ValueError for an unknown place or an observer that is not looked at there.
    """
    _check_place(place)
    if observer not in OBSERVERS[place]:
        raise ValueError(f"{place} needs an observer out of {OBSERVERS[place]}; got observer={observer!r}")
    view, chosen = messages(place, noise, seed)
    if observer == "public":
        # Only the noisy mean comes out. The model that follows from it is all that anybody sees.
        draw = generator(seed, "noise", place)
        mean = privacy.noisy_mean(view.messages, clip=CLIP, noise=noise, generator=draw)
        view = replace(view, messages=mean[None], batch_size=len(chosen))

    found, decibels = _redrawn(view, chosen)
    named, is_member, scores = _recognised(view, chosen, seed)
    return {
        "plain": found,
        "plain_psnr": decibels,
        "aware": named,
        "membership": auc(scores.flatten(), is_member.flatten()),
        "labels": _labelled(view, chosen) if view.batch_size == 1 else nan,
    }


def _behind(view: ServerView, chosen: Tensor) -> Tensor:
    """The truth, for the score alone: the samples behind every message, [k, samples]."""
    return chosen.view(len(view.messages), -1)


def _redrawn(view: ServerView, chosen: Tensor) -> tuple[float, float]:
    """What somebody redraws who knows nothing of the noise: share of the pictures that are read, and median PSNR."""
    scores = []
    for number, samples in enumerate(_behind(view, chosen)):
        guesses = invert.analytic(replace(view, messages=view.messages[number : number + 1]))
        _, found = metrics.best_matches(guesses, digits().x[samples])
        scores.append(found)
    decibels = torch.cat(scores)
    return float((decibels >= READ_FROM).double().mean()), float(decibels.median().clamp_min(0))


def _labelled(view: ServerView, chosen: Tensor) -> float:
    """The share of the labels that are guessed right by somebody with samples of their own, which are nobody's here."""
    guessed = guessed_labels(view, x=digits().x_test, y=digits().y_test)
    return float((guessed == digits().y[chosen]).double().mean())


def _recognised(view: ServerView, chosen: Tensor, seed: int) -> tuple[float, Tensor, Tensor]:
    """What somebody recognises who has a list of suspects and knows that there is noise.

    returns    share of the samples that are named, with every digit a suspect; for some candidates whether each is
               behind each message, and how much it looks so, both [k, candidates]
    """
    alone = torch.arange(len(digits().y))[:, None, None]  # [suspects, 1 step, 1 sample]
    expected = local_updates(view.model, view.params, digits().x, digits().y, alone, lr=view.lr)
    behind = _behind(view, chosen)  # [k, samples]
    picks = invert.gallery(view.messages, expected, samples=behind.shape[1])
    hits = sum(int(torch.isin(truth, named).sum()) for truth, named in zip(behind, picks, strict=True))

    # Of all suspects those behind the messages, and some that are behind none.
    others = torch.ones(len(digits().y), dtype=torch.bool)
    others[chosen] = False
    strangers = others.nonzero()[:, 0]
    some = strangers[torch.randperm(len(strangers), generator=generator(seed, "strangers"))[:STRANGERS]]
    candidates = torch.cat([chosen, some])
    scores = alignment(view, digits().x[candidates], digits().y[candidates])  # [k, candidates]
    is_member = (candidates[None, None] == behind[:, :, None]).any(dim=1)  # [k, candidates]
    return hits / behind.numel(), is_member, scores


def row(place: str, observer: str, epsilon: float, seed: int) -> dict[str, Any]:
    """One row of the table.

    Raises ValueError as `leakage` does.
    """
    stated = terms(place)
    accuracy, accuracy_of_rarest = utility(place, epsilon, seed)

    # What a trusted server sees carries no noise, whatever is stated of the models that it publishes.
    is_trusted = (place, observer) == ("central", "server")
    noise = stated.noise_for(epsilon)
    first = _read(place, observer, 0.0 if is_trusted else noise, seed)
    together = _read(place, observer, 0.0 if is_trusted else noise / sqrt(stated.rounds), seed)
    return {
        "place": place,
        "observer": observer,
        "epsilon": epsilon,
        "unit": stated.unit,
        "relation": stated.relation,
        "delta": stated.delta,
        "rounds": stated.rounds,
        "noise": noise,
        "seed": seed,
        "accuracy": accuracy,
        "rarest": accuracy_of_rarest,
        **first,
        **{f"{name}_all": number for name, number in together.items()},
        "chance": (CLIENTS if observer == "public" else 1) / len(digits().y),
    }


_read = cache(leakage)


def table(*, seeds: Sequence[int] = SEEDS, epsilons: Sequence[float] = EPSILONS) -> pandas.DataFrame:
    """All rows: every place, observer, epsilon and seed."""
    import pandas

    rows = [
        row(place, observer, epsilon, seed)
        for place, observers in OBSERVERS.items()
        for observer in observers
        for epsilon in ((inf,) if place == "none" else epsilons)
        for seed in seeds
    ]
    return pandas.DataFrame(rows)


def save(frame: pandas.DataFrame, path: Path = FILE) -> None:
    """Write the table, with a first line that says what it was made of."""
    build = partial(federation, seed=0)
    cells = [{"place": place, "epsilon": epsilon} for place in OBSERVERS for epsilon in EPSILONS]
    numbers = frame.columns.drop(["place", "observer", "unit", "relation", "delta"])
    text = frame.round(dict.fromkeys(numbers, 4)).to_csv(index=False, lineterminator="\n")
    storage.write_text(path, f"{stamp_of(build, cells, len(frame))}{text}")


def load_table(path: Path = FILE) -> pandas.DataFrame:
    """The committed table: a row for each place, observer, epsilon and seed.

    >>> sorted(load_table()["place"].unique())
    ['central', 'dp_sgd', 'local', 'none']

    Raises FileNotFoundError if there is none, storage.BrokenFileError if it lost rows.
    """
    import pandas

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {REMEDY}")
    _, rows = split(path, storage.read_text(path, ""), REMEDY)
    return pandas.read_csv(io.StringIO(rows))


# --- the picture

SHOWN: Mapping[str, tuple[str, Any, str]] = {
    "accuracy": ("accuracy", plots.DEFENDER, "-"),
    "rarest": ("rarest class", plots.DEFENDER, ":"),
    "plain_all": ("redrawn, plain", plots.ATTACKER, ":"),
    "aware_all": ("recognised, noise-aware", plots.ATTACKER, "-"),
    "membership_all": ("membership (AUC)", plots.OTHERS[1], "--"),
    "labels_all": ("labels", plots.OTHERS[2], "-."),
}
"""The columns that are drawn: their name, colour and dash. What is read is read off all rounds together."""

PANELS: Mapping[tuple[str, str], str] = {
    ("local", "server"): "noise at the client,\nread by the server",
    ("central", "public"): "noise at the server,\nread off the models",
    ("dp_sgd", "server"): "DP-SGD, ε per example,\nread by the server",
}


def picture(frame: pandas.DataFrame) -> plots.Picture:
    """Accuracy and leakage over epsilon, a panel for each place: means of the seeds, thin bars from least to most."""
    fig = plots.figure(11.0, 4.2, dpi=110)
    axes = plots.axes(fig, 1, len(PANELS), sharey=True)
    words = []
    for ax, ((place, observer), title) in zip(axes, PANELS.items(), strict=True):
        rows = frame[(frame["place"] == place) & (frame["observer"] == observer)]
        finite = rows[rows["epsilon"] < inf]
        for column, (name, colour, dash) in SHOWN.items():
            groups = finite.groupby("epsilon")[column]
            mean = groups.mean()
            if mean.isna().all():
                continue
            ax.plot(mean.index, mean, color=colour, linestyle=dash, label=name)
            ax.vlines(mean.index, groups.min(), groups.max(), color=colour, linewidth=0.8, alpha=0.7)
            words.append(f"{title.replace(chr(10), ' ')}: {name} {mean.iloc[0]:.2f} to {mean.iloc[-1]:.2f}")
        with plots.style():
            ax.set(xscale="log", ylim=(-0.02, 1.02))
            ax.set_title(title, fontsize=10)
            ax.set_xlabel(f"ε of the whole run per {terms(place).unit}")
    axes[0].set_ylabel("share")
    with plots.style():
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    what = f"Accuracy and leakage over ε, {ROUNDS} rounds, δ = {DELTA:g}, replace-one neighbours. "
    return plots.Picture(fig, what + "; ".join(words) + ".")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table and the picture."""
    parser = argparse.ArgumentParser(prog="python -m labsec.study.leakage", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of every setting (default: 5)")
    parser.add_argument("--folder", type=Path, default=FILE.parent, help="where to write (default: docs)")
    options = parser.parse_args(arguments)
    check_number("leakage", whole=True, above=0, seeds=options.seeds)
    frame = table(seeds=range(options.seeds))
    save(frame, options.folder / FILE.name)
    with storage.replacing(options.folder / PICTURE.name) as partial_file:
        picture(frame).figure.savefig(partial_file, format="png")
    columns = [*SHOWN, "plain_psnr_all", "aware", "membership", "labels"]
    print(frame.groupby(["place", "observer", "epsilon"], sort=False)[columns].mean().round(3).to_string())


if __name__ == "__main__":
    main()
