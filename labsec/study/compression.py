"""What compression is worth against a reader, and what it costs: `python -m labsec.study.compression`.

Each method is tried on single digits, one step on a fresh dense network of 2,410 numbers. The plain attacker takes the
message, or the mean of several, for the gradient. The adaptive one knows the method, as whoever must decode the message
does: it believes the entries that were kept, pools what several patterns have kept, or asks which picture makes the
rounded numbers likeliest. Both are told the label. Beside them stands the accuracy of a federation that sends its
updates that way, with and without error feedback, and the bytes of a message.

    METHODS     every method at every rate, with the attacker who knows it
    leak        what an attacker reads
    cost        what the method costs, and saves
    load        the committed table
    draw        its picture
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from labsec import compress, invert, metrics, plots, storage
from labsec.data import load as load_data
from labsec.federation.bind import bind, part_in_words
from labsec.federation.engine import rounds
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.guards import check_kind, check_number
from labsec.models import Model, mlp
from labsec.parts import keywords_asked
from labsec.study.matrix.stamp import Stamp, split
from labsec.study.sweep import fingerprint, fingerprint_of_code
from labsec.train import local_updates
from labsec.types import ServerView, Stage, generator

if TYPE_CHECKING:
    import pandas

DOCS = COURSE / "docs"
TABLE = DOCS / "compression_leakage.csv"
PICTURE = DOCS / "compression_leakage.png"
COMMAND = "python -m labsec.study.compression"

SEEDS = range(5)
REHEARSAL = 100  # a seed of no row: what is fixed beforehand is fixed there
OBSERVATIONS = (1, 10, 50)
PICTURES = 3  # clients of each seed, each with a digit and a model of its own
LR = 0.1  # of the step that is read
ROUNDS = 40  # of the federation that shows the cost
ITERATIONS = 60  # of the search for the likeliest picture
RECOVERED_FROM = 25.0  # dB
CLIPPED = 0.01  # share of the entries that lie beyond the bound of SFSQ, in the rehearsal

SMALL = 1.0  # of a typical entry: an error of rounding that a mean may have to be taken for the update
Read = Callable[[ServerView, int, float], Tensor]  # (view of k messages, label, bound) -> estimate [1, *shape]
Recognise = Callable[[Tensor, Tensor, float], int]  # (messages [k, dim], expected [c, dim], bound) -> candidate


# --- the methods, and who knows them


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """A way to compress at one rate, and the attacker who knows it.

    family     its title
    rate       share of the entries that are kept, bits, or the chance of a flip
    stage      bound of SFSQ -> what clients do with their updates
    feedback   the same as it is put under error feedback; None where that makes no sense
    redraws    whether another copy of the same update is another message
    read       the adaptive attack on pictures
    recognise  the adaptive attack of somebody who has suspects
    """

    family: str
    rate: float
    stage: Callable[[float], Stage]
    feedback: Callable[[float], Stage] | None
    redraws: bool
    read: Read
    recognise: Recognise

    @property
    def name(self) -> str:
        """The part as its author would write it; the bound of SFSQ depends on the federation."""
        return part_in_words(self.stage(1.0)).replace("bound=1.0, ", "")


def _take_for_the_gradient(view: ServerView, label: int, bound: float) -> Tensor:
    """The plain attacker: the picture whose gradient is the mean of the messages."""
    together = replace(view, messages=view.messages.mean(dim=0, keepdim=True))
    return invert.gauss_newton(together, label=label).estimate


def _recognise_by_angle(messages: Tensor, expected: Tensor, bound: float) -> int:
    """The plain attacker with suspects: a matched filter on the mean of the messages."""
    return int(invert.gallery(messages.mean(dim=0, keepdim=True), expected, samples=1)[0, 0])


def uncompressed() -> Method:
    """Nothing is left out: both attackers are the same."""
    return Method(
        family="none",
        rate=1.0,
        stage=lambda bound: bind(compress.top_k, keep=1.0),
        feedback=None,
        redraws=False,
        read=_take_for_the_gradient,
        recognise=_recognise_by_angle,
    )


def largest(keep: float) -> Method:
    """Top-k: the attacker believes the entries that were kept, and nothing about the others.

    Where little is left out, taking it for zero leads to the picture sooner. So it is tried, too, and the attacker
    keeps what explains the kept entries better.
    """

    def recognise(messages: Tensor, expected: Tensor, bound: float) -> int:
        return invert.likeliest(messages[:1], expected, likelihood=invert.left_in_only)

    def read(view: ServerView, label: int, bound: float) -> Tensor:
        own = invert.gauss_newton(view, label=label, kept=invert.left_in(view)).estimate
        pictures = torch.cat([own, _take_for_the_gradient(view, label, bound)])
        labels = torch.tensor([label, label])
        one_each = torch.tensor([[[0]], [[1]]])  # [pictures, step, sample]
        expected = local_updates(view.model, view.params, pictures, labels, one_each, lr=view.lr)
        better = recognise(view.messages, expected, bound)
        return pictures[better : better + 1]

    stage = bind(compress.top_k, keep=keep)
    return Method(
        family="top-k",
        rate=keep,
        stage=lambda bound: stage,
        feedback=lambda bound: stage,
        redraws=False,
        read=read,
        recognise=recognise,
    )


def drawn(keep: float) -> Method:
    """Random-k: the attacker undoes the factor, and puts together what the patterns of several messages show."""

    def pooled(messages: Tensor) -> Tensor:
        count = max(1, round(keep * messages.shape[1]))
        shrunk = messages * (count / messages.shape[1])
        return shrunk.sum(dim=0, keepdim=True) / (messages != 0).sum(dim=0).clamp_min(1)  # [1, dim]

    def read(view: ServerView, label: int, bound: float) -> Tensor:
        together = replace(view, messages=pooled(view.messages))
        return invert.gauss_newton(together, label=label, kept=together.messages[0] != 0).estimate

    def recognise(messages: Tensor, expected: Tensor, bound: float) -> int:
        return invert.likeliest(pooled(messages), expected, likelihood=invert.left_in_only)

    return Method(
        family="random-k",
        rate=keep,
        stage=lambda bound: bind(compress.random_k, keep=keep),
        feedback=lambda bound: bind(compress.random_k, keep=keep, unbiased=False),
        redraws=True,
        read=read,
        recognise=recognise,
    )


def rounded(bits: int) -> Method:
    """QSGD: the attacker knows how likely every rounding is, and that the mean of many is nearly the update itself."""
    by_likelihood = _read_by_likelihood(lambda bound: invert.rounded)

    def read(view: ServerView, label: int, bound: float) -> Tensor:
        mean = view.messages.mean(dim=0)
        filled = view.messages[view.messages != 0]
        error = float(filled.abs().min()) / math.sqrt(len(view.messages))
        if error < SMALL * float(mean.norm()) / math.sqrt(len(mean)):
            return _take_for_the_gradient(view, label, bound)
        return by_likelihood(view, label, bound)

    stage = bind(compress.qsgd, bits=bits)
    return Method(
        family="QSGD",
        rate=bits,
        stage=lambda bound: stage,
        feedback=lambda bound: stage,
        redraws=True,
        read=read,
        recognise=_recognise_by_likelihood(lambda bound: invert.rounded),
    )


def signs() -> Method:
    """The sign of every entry and their mean size: no chance in it, and so another copy says nothing new."""
    return Method(
        family="sign",
        rate=1,
        stage=lambda bound: compress.sign,
        feedback=lambda bound: compress.sign,
        redraws=False,
        read=_read_by_likelihood(lambda bound: invert.signs),
        recognise=_recognise_by_likelihood(lambda bound: invert.signs),
    )


def flipped(flip: float) -> Method:
    """SFSQ (our reading; not the named product): the attacker knows the bound and the chance of a flip."""

    def likelihood(bound: float) -> invert.Likelihood:
        return partial(invert.flipped_signs, bound=bound, flip=flip)

    return Method(
        family="SFSQ (our reading)",
        rate=flip,
        stage=lambda bound: bind(compress.sfsq, bound=bound, flip=flip),
        feedback=None,
        redraws=True,
        read=_read_by_likelihood(likelihood),
        recognise=_recognise_by_likelihood(likelihood),
    )


def _read_by_likelihood(likelihood: Callable[[float], invert.Likelihood]) -> Read:
    """Who looks for the picture that makes the messages likeliest; `likelihood` takes the bound of SFSQ."""

    def read(view: ServerView, label: int, bound: float) -> Tensor:
        return invert.most_likely(view, label=label, likelihood=likelihood(bound), iterations=ITERATIONS).estimate

    return read


def _recognise_by_likelihood(likelihood: Callable[[float], invert.Likelihood]) -> Recognise:
    """The attacker who asks which suspect makes the messages likeliest."""

    def recognise(messages: Tensor, expected: Tensor, bound: float) -> int:
        return invert.likeliest(messages, expected, likelihood=likelihood(bound))

    return recognise


KEPT = (0.5, 0.2, 0.1, 0.05, 0.02)
BITS = (8, 6, 4, 3, 2)
FLIPS = (0.0, 0.1, 0.25, 0.4, 0.45)
METHODS = (
    uncompressed(),
    *(largest(keep) for keep in KEPT),
    *(drawn(keep) for keep in KEPT),
    *(rounded(bits) for bits in BITS),
    signs(),
    *(flipped(flip) for flip in FLIPS),
)


# --- what is read


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What an attacker read of several clients.

    success       share of the pictures at 25 dB or more
    median_psnr   in dB
    reidentified  share for whom the right one of all test digits was named, among 359; by chance .0028
    """

    success: float
    median_psnr: float
    reidentified: float


@cache
def network() -> Model:
    """The network of 2,410 numbers that is trained and read: it bends everywhere, so that a search finds its way."""
    digits = load_data("digits")
    return mlp(digits.shape, digits.classes, hidden=(32,), activation=torch.tanh)


@cache
def _expected(seed: int, client: int) -> tuple[Tensor, Tensor]:
    """A fresh model [dim], and what a client with each of the test digits would send of it: [digits, dim]."""
    digits = load_data("digits")
    params = network().init(generator(seed, "compression", "model", client))
    one_each = torch.arange(len(digits.x_test))[:, None, None]  # [digits, step, sample]
    return params, local_updates(network(), params, digits.x_test, digits.y_test, one_each, lr=LR)


@cache
def bound_when_read() -> float:
    """The bound of SFSQ for single steps: in the rehearsal, one entry in a hundred is larger in size."""
    _, updates = _expected(REHEARSAL, 0)
    return _quantile(updates)


def _quantile(updates: Tensor) -> float:
    sizes = updates.abs().flatten()
    return float(sizes.kthvalue(round((1 - CLIPPED) * len(sizes))).values)


def places(seed: int) -> list[int]:
    """Which test digits the clients of a seed hold."""
    order = torch.randperm(len(load_data("digits").y_test), generator=generator(seed, "compression", "digits"))
    return order[:PICTURES].tolist()


def messages(method: Method, *, seed: int, client: int, place: int, observations: int) -> ServerView:
    """What a server holds of a client that sent several copies of one update, compressed anew each time.

    client    tells its model and its draws from those of others
    place     of its digit in the test part
    """
    params, expected = _expected(seed, client)
    draws = generator(seed, "compression", "draws", client)
    copies = expected[place].expand(observations, -1)
    return ServerView(
        params=params,
        messages=_compressed(method.stage(bound_when_read()), copies, draws),
        model=network(),
        lr=LR,
        local_steps=1,
        batch_size=1,
    )


def _compressed(stage: Stage, updates: Tensor, draws: Generator) -> Tensor:
    """The updates as a stage makes them; it is given what it asks for."""
    return stage(updates, **dict.fromkeys(keywords_asked(stage, ("generator",)), draws))


def pictured(method: Method, view: ServerView, *, label: int, adaptive: bool) -> Tensor:
    """What one of the two attackers takes for the picture behind the view's messages: [1, *shape]."""
    read = method.read if adaptive else _take_for_the_gradient
    return read(view, label, bound_when_read()).float()


def leak(method: Method, *, seed: int, observations: int, adaptive: bool) -> Leak:
    """What one of the two attackers reads of the clients of a seed.

    observations    messages of each client about its digit and one model
    adaptive        whether the attacker knows the method

    >>> leak(uncompressed(), seed=0, observations=1, adaptive=False).success
    1.0

    Raises ValueError unless observations is a whole number >= 1.
    """
    check_kind("leak", Method, method=method)
    check_number("leak", whole=True, seed=seed)
    check_number("leak", whole=True, least=1, observations=observations)
    check_kind("leak", bool, adaptive=adaptive)
    digits = load_data("digits")
    recognise = method.recognise if adaptive else _recognise_by_angle
    found = []
    named = []
    for client, place in enumerate(places(seed)):
        view = messages(method, seed=seed, client=client, place=place, observations=observations)
        found.append(pictured(method, view, label=int(digits.y_test[place]), adaptive=adaptive))
        _, expected = _expected(seed, client)
        named.append(recognise(view.messages, expected, bound_when_read()) == place)
    scores = metrics.psnr(torch.cat(found), digits.x_test[places(seed)])
    return Leak(
        success=metrics.success_share(scores, threshold=RECOVERED_FROM)[0],
        median_psnr=float(scores.quantile(0.5)),
        reidentified=sum(named) / len(named),
    )


# --- what it costs


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method costs a federation, and what it saves.

    accuracy            after the last round
    accuracy_feedback   the same with error feedback; NaN where that makes no sense
    bytes               of a message, on average
    """

    accuracy: float
    accuracy_feedback: float
    bytes: float


def federation(seed: int) -> Scenario:
    """The federation that shows the cost: thirty clients, up to a plateau."""
    return Scenario.fedavg(model=network(), rounds=ROUNDS, evaluate_every=ROUNDS, seed=seed)


@cache
def bound_when_trained() -> float:
    """The bound of SFSQ for the updates of the federation, from the first round of the rehearsal."""
    return _quantile(next(rounds(federation(REHEARSAL))).messages)


def cost(method: Method, *, seed: int) -> Cost:
    """Run the federation with the method at every client, and once more under error feedback.

    >>> result = cost(largest(0.1), seed=0)
    >>> result.accuracy_feedback > 0.9, round(result.bytes)
    (True, 1135)
    """
    check_kind("cost", Method, method=method)
    check_number("cost", whole=True, seed=seed)
    base = federation(seed)
    bound = bound_when_trained()
    plain = [each.row() for each in rounds(replace(base, client_stages=[method.stage(bound)]))]
    with_feedback = math.nan
    if method.feedback is not None:
        stage = compress.ErrorFeedback(method.feedback(bound))
        *_, last = rounds(replace(base, client_stages=[stage]))
        with_feedback = last.metrics["accuracy"]
    sent = sum(row["bytes_up"] for row in plain)
    return Cost(
        accuracy=plain[-1]["accuracy"],
        accuracy_feedback=with_feedback,
        bytes=sent / sum(row["participants"] for row in plain),
    )


# --- the table and its picture


def rows(methods: Sequence[Method] = METHODS, seeds: Sequence[int] = SEEDS) -> list[dict[str, Any]]:
    """A row for each method, attacker, number of observations and seed."""
    table = []
    for method in methods:
        for seed in seeds:
            costs = vars(cost(method, seed=seed))
            for adaptive in (False, True):
                found = vars(leak(method, seed=seed, observations=1, adaptive=adaptive))
                for observations in OBSERVATIONS:
                    # Copies that are all alike hold what one of them holds.
                    if observations > 1 and method.redraws:
                        found = vars(leak(method, seed=seed, observations=observations, adaptive=adaptive))
                    table.append(
                        {
                            "family": method.family,
                            "method": method.name,
                            "rate": method.rate,
                            "attacker": "adaptive" if adaptive else "plain",
                            "observations": observations,
                            "seed": seed,
                            **found,
                            **costs,
                        }
                    )
        print(f"{method.name}: {len(table)} rows so far", flush=True)
    return table


def settings() -> str:
    """A fingerprint of what the rows of the table are about."""
    numbers = (LR, ROUNDS, ITERATIONS, SMALL, RECOVERED_FROM, CLIPPED, PICTURES, OBSERVATIONS)
    return fingerprint([method.name for method in METHODS], *numbers)


def write(frame: pandas.DataFrame) -> None:
    """Write the table, with a first line that says how many rows it has and what made them."""
    text = frame.round(4).to_csv(index=False, lineterminator="\n")
    storage.write_text(TABLE, f"{Stamp(len(frame), settings(), fingerprint_of_code())}{text}")


@cache
def load() -> pandas.DataFrame:
    """The committed table: a row for each method, rate, attacker, number of observations and seed.

    >>> sorted(load()["family"].unique())
    ['QSGD', 'SFSQ (our reading)', 'none', 'random-k', 'sign', 'top-k']

    Raises FileNotFoundError or BrokenFileError for a file that is missing or that has lost rows.
    """
    import pandas

    remedy = f"{storage.how_to_restore(TABLE)}, or measure it again with `{COMMAND}`"
    _, text = split(TABLE, storage.read_text(TABLE, remedy), remedy)
    return pandas.read_csv(io.StringIO(text))


PANELS: Mapping[str, tuple[str, str]] = {  # family -> title, what its rate is
    "top-k": ("top-k: the largest entries", "share kept"),
    "random-k": ("random-k: any entries", "share kept"),
    "QSGD": ("QSGD: rounded at random; × sign", "bits for an entry"),
    "SFSQ (our reading)": ("SFSQ (our reading): random signs", "chance of a flip"),
}


def draw(frame: pandas.DataFrame) -> plots.Picture:
    """One panel for each family: how well both attackers read one message and fifty, beside the accuracy.

    frame    rows of `load()`
    """
    fig = plots.figure(11.0, 6.4)
    grid = plots.axes(fig, 2, len(PANELS), sharey="row")
    words = []
    for column, (family, (title, unit)) in enumerate(PANELS.items()):
        own = frame[frame["family"] == family]
        rates = list(own["rate"].unique())  # in the order of the methods: the mildest first
        for line, score in enumerate(("median_psnr", "reidentified")):
            ax = grid[line][column]
            for adaptive, observations in ((False, 1), (False, 50), (True, 1), (True, 50)):
                _line(ax, own, rates, score, adaptive=adaptive, observations=observations)
            ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates], fontsize=8)
        if family == "QSGD":
            _sign_alone(grid[:, column], frame, len(rates))
        accuracy = grid[1][column]
        accuracy.plot(range(len(rates)), _mean(own, rates, "accuracy"), color=plots.CLEAN, linewidth=1.2)
        accuracy.plot(range(len(rates)), _mean(own, rates, "accuracy_feedback"), ":", color=plots.CLEAN, linewidth=1.6)
        accuracy.set(xlabel=unit, ylim=(-0.03, 1.03))
        top = grid[0][column]
        top.axhline(RECOVERED_FROM, color=plots.GREY, linewidth=1, linestyle="--")
        top.set_title(title, fontsize=10)
        harshest = own[(own["rate"] == rates[-1]) & (own["observations"] == 50) & (own["attacker"] == "adaptive")]
        words.append(
            f"{family} at {rates[-1]:g}, fifty messages: the adaptive attacker has "
            f"{harshest['median_psnr'].mean():.0f} dB and names {harshest['reidentified'].mean():.0%}"
        )
    grid[0][0].set(ylabel="median PSNR in dB", ylim=(0, 60))
    grid[1][0].set(ylabel="share named among 359;\naccuracy (dark)")
    handles, names = grid[0][0].get_legend_handles_labels()
    dark = grid[1][0].get_lines()[-2:]
    with plots.style():
        fig.legend(
            [*handles, *dark], [*names, "accuracy", "with feedback"], loc="outside lower center", ncols=3, frameon=False
        )
        fig.suptitle(
            "Who reads a compressed message, and what the compression costs", x=0.01, ha="left", fontweight="bold"
        )
    return plots.Picture(fig, f"Eight plots, two for each of four families of compression. {'; '.join(words)}.")


def _line(ax: Any, own: pandas.DataFrame, rates: list[float], score: str, *, adaptive: bool, observations: int) -> None:
    """The mean over the seeds of one attacker's score, and the range of the seeds."""
    attacker = "adaptive" if adaptive else "plain"
    part = own[(own["attacker"] == attacker) & (own["observations"] == observations)]
    middle = _mean(part, rates, score)
    by_rate = part.groupby("rate")[score]
    low, high = by_rate.min().loc[rates], by_rate.max().loc[rates]
    colour = plots.ATTACKER if adaptive else plots.GREY
    many = f"{observations} messages" if observations > 1 else "1 message"
    dash = "-" if observations > 1 else "--"
    ax.plot(range(len(rates)), middle, dash, color=colour, marker="o", markersize=4, label=f"{attacker}, {many}")
    ax.fill_between(range(len(rates)), low, high, color=colour, alpha=0.12, linewidth=0)


def _mean(own: pandas.DataFrame, rates: list[float], score: str) -> list[float]:
    return list(own.groupby("rate")[score].mean().loc[rates])


def _sign_alone(column: Any, frame: pandas.DataFrame, place: int) -> None:
    """The sign beside the bits of QSGD: a cross for each attacker, and one for the accuracy."""
    own = frame[(frame["family"] == "sign") & (frame["observations"] == 1)]
    for ax, score in zip(column, ("median_psnr", "reidentified"), strict=True):
        for attacker, colour in (("plain", plots.GREY), ("adaptive", plots.ATTACKER)):
            ax.plot([place], [own[own["attacker"] == attacker][score].mean()], "x", color=colour, markersize=8)
    column[1].plot([place], [own["accuracy"].mean()], "x", color=plots.CLEAN, markersize=8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything into docs/compression_leakage.csv, and draw docs/compression_leakage.png."""
    import pandas

    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--draw", action="store_true", help="draw the committed table again, and measure nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.draw:
        write(pandas.DataFrame(rows()))
        load.cache_clear()
    with storage.replacing(PICTURE) as half_way:
        half_way.write_bytes(plots.png(draw(load()).figure))


if __name__ == "__main__":
    main()
