"""Pictures out of messages: how often, how well and how fast, beside what no message at all would give.

Every pair is a held-out picture and a fresh model, drawn when the benchmark runs; no attack was tuned on them. The time
is that of the processor, on one thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from time import process_time

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.common import machine, versions
from benchmarks.report import table
from labsec import data, invert, metrics
from labsec.invert.kernel import Automatic, kernel
from labsec.models import Model, lenet, mlp
from labsec.train import local_updates
from labsec.types import ServerView, generator

LR = 0.1
THRESHOLDS = (25, 30, 40, 60)  # dB
Attack = Callable[..., Tensor | invert.Reconstruction]  # (view, *, generator) -> candidates [k, *shape], best first


@dataclass(frozen=True)
class Pictures:
    """What is attacked.

    held_out    [n, *shape] float64, to draw from
    mean        [*shape] mean of pictures of the same kind that are not among them: what an attacker without a message
                would answer
    classes     among which labels are drawn
    """

    held_out: Tensor
    mean: Tensor
    classes: int


@cache
def pictures(name: str) -> Pictures:
    """The pictures of one row, by the name of a data set or "32x32x3"."""
    if name == "32x32x3":
        return colour_crops()
    dataset = data.load(name)
    return Pictures(dataset.x_test.double(), dataset.x.double().mean(dim=0), dataset.classes)


def colour_crops(side: int = 32) -> Pictures:
    """Crops of the colour photographs that scikit-image brings, shrunk fourfold; labels among 100, as DLG had."""
    import skimage.data

    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    crops = []
    for photograph in photographs:
        small = F.avg_pool2d(torch.from_numpy(photograph).permute(2, 0, 1).double() / 255, 4)  # [3, height, width]
        # Places a fourth of a crop apart: crops overlap, and no attack learns from one what it uses on another.
        places = small.unfold(1, side, side // 4).unfold(2, side, side // 4)  # [3, rows, columns, side, side]
        crops.append(places.flatten(1, 2).transpose(0, 1))
    every = torch.cat(crops)
    return Pictures(every, every.mean(dim=0), 100)


@dataclass(frozen=True)
class Row:
    """An attack on pictures.

    title     for people
    attack    what is measured
    name      of the pictures
    model     (shape, classes) -> the network behind the message
    dtype     of the client's numbers
    """

    title: str
    attack: Attack
    name: str
    model: Callable[[tuple[int, ...], int], Model] = lenet
    dtype: torch.dtype = torch.float64


def unseeded(attack: Attack) -> Attack:
    """An attack that draws nothing."""

    def without(view: ServerView, *, generator: Generator) -> Tensor | invert.Reconstruction:
        return attack(view)

    return without


analytic = unseeded(invert.analytic)
closed_form = unseeded(invert.closed_form)
gauss_newton = unseeded(invert.gauss_newton)
lbfgs = unseeded(invert.lbfgs)
small_mlp = partial(mlp, hidden=(256,))
KINDS = ("digits", "mnist5k", "faces", "32x32x3")

ROWS = [
    *(Row("first layer, analytic (MLP)", analytic, name, model=small_mlp) for name in KINDS),
    *(Row("R-GAP, closed form", closed_form, name) for name in KINDS),
    *(Row("repaired: Gauss-Newton", gauss_newton, name) for name in KINDS),
    Row("repaired: Gauss-Newton, message in float32", gauss_newton, "32x32x3", dtype=torch.float32),
    *(Row("repaired: L-BFGS-B", lbfgs, name) for name in KINDS),
    *(Row("iDLG as published", invert.idlg, name, dtype=torch.float32) for name in KINDS),
    *(Row("DLG as published", invert.dlg, name, dtype=torch.float32) for name in KINDS),
]
"""One row of the table each; an attack from another file is a line here."""

HEADER = [
    "attack",
    "pictures",
    "CPU ms, median",
    "most",
    "PSNR, median",
    "least",
    *(f"≥ {threshold} dB" for threshold in THRESHOLDS),
    "diverged",
    "mean picture",
    "stranger",
]


def captured(row: Row, picture: Tensor, seed: int) -> ServerView:
    """The message of a client that took one step on one picture, of a random class, from a fresh model."""
    model = row.model(tuple(picture.shape), pictures(row.name).classes)
    params = model.init(generator(seed, "model")).to(row.dtype)
    label = torch.randint(model.classes, (1,), generator=generator(seed, "label"))
    x = picture[None].to(row.dtype)
    message = local_updates(model, params, x, label, torch.tensor([[[0]]]), lr=LR)
    return ServerView(params=params, messages=message, model=model, lr=LR, local_steps=1, batch_size=1)


def measured(row: Row, pairs: int, seed: int) -> list[str]:
    """One line of the table."""
    known = pictures(row.name)
    order = torch.randperm(len(known.held_out), generator=generator(seed, row.name))[:pairs]
    truth = known.held_out[order]  # [pairs, *shape]
    found = torch.full_like(truth, torch.nan)  # an attack without a candidate has failed
    seconds = []
    divergences = 0

    # The first call loads libraries; it does not count.
    row.attack(captured(row, truth[0], seed), generator=generator(seed, "warm-up"))
    for i, picture in enumerate(truth):
        view = captured(row, picture, seed + i)
        draws = generator(seed + i, "attack")
        start = process_time()
        result = row.attack(view, generator=draws)
        seconds.append(process_time() - start)
        candidates = result.estimate if isinstance(result, invert.Reconstruction) else result
        divergences += result.divergences if isinstance(result, invert.Reconstruction) else 0
        if len(candidates):
            found[i] = candidates[0].double().clamp(0, 1)

    # Beside it: what no message would give, and what a stranger's message gives.
    scores = metrics.psnr(found, truth)
    baseline = metrics.psnr(known.mean.expand_as(truth), truth)
    stranger = metrics.psnr(found, truth.roll(1, dims=0))
    return [
        row.title,
        row.name,
        f"{1000 * median(seconds):.3g}",
        f"{1000 * max(seconds):.3g}",
        f"{scores.median():.1f}",
        f"{scores.min():.1f}",
        *(f"{int((scores >= threshold).sum())}/{pairs}" for threshold in THRESHOLDS),
        f"{divergences}",
        f"{baseline.median():.1f}",
        f"{stranger.median():.1f}",
    ]


# --- the kernel


def operations(model: Model) -> int:
    """Floating-point operations of the matrix products that one loss with its slope takes, of one candidate.

    A convolution or a dense layer below the head takes seven products of its own size: the output, the gradient of its
    weights and the slope at its input; then, as the parameters move along the residual, two for its output and two for
    the slope. The first layer's input does not move and nobody needs the slope there at first, so it takes five. The
    head takes seven, as a dense layer does.
    """
    sides = [float(torch.Size(model.shape[1:]).numel())]
    total = 0.0
    strides = (2, 2, 1)
    for number, (shape, stride) in enumerate(zip(model.shapes[:-2:2], strides, strict=True)):
        height = model.shape[1] if number == 0 else int(sides[-1])
        side = (height - 1) // stride + 1
        sides.append(side)
        total += (5 if number == 0 else 7) * torch.Size(shape).numel() * side**2
    return int(2 * (total + 7 * torch.Size(model.shapes[-2]).numel()))


def least_seconds(function: Callable[[], object], calls: int) -> float:
    """Processor time of one call, the least mean of ten turns."""
    function()
    turns = []
    for _ in range(10):
        start = process_time()
        for _ in range(calls):
            function()
        turns.append((process_time() - start) / calls)
    return min(turns)


def kernel_rows() -> list[list[str]]:
    """What one matching loss with its slope takes, alone and in a stack of 8."""
    square = torch.rand(1024, 1024, dtype=torch.float64)
    peak = 2 * 1024**3 / least_seconds(lambda: square @ square, 2)
    lines = []
    for shape, classes in (((1, 8, 8), 10), ((1, 25, 25), 2), ((1, 28, 28), 10), ((3, 32, 32), 100)):
        model = lenet(shape, classes)
        params = model.init(generator(0, "kernel")).double()
        target = torch.zeros(model.dim, dtype=torch.float64)
        cells = [f"{shape[1]}x{shape[2]}x{shape[0]}"]
        for stack in (1, 8):
            x = torch.rand(stack, torch.Size(shape).numel(), dtype=torch.float64, generator=generator(0, "x"))
            for made in (kernel(model, params, target, 0), Automatic(model, params, target, 0)):
                seconds = least_seconds(partial(made.at, x), 20) / stack
                cells.append(f"{1e6 * seconds:.0f} ({operations(model) / seconds / peak:.0%})")
        lines.append(cells)
    return lines


def main(pairs: int = 24) -> str:
    """The section, as Markdown."""
    seed = secrets.randbelow(2**31)
    lines = []
    for row in ROWS:
        lines.append(measured(row, pairs, seed))
        print(" | ".join(lines[-1]), flush=True)
    stacks = ["size", "by hand, µs", "automatic", "by hand, each of 8, µs", "automatic, each of 8"]
    return "\n\n".join(
        [
            "## Gradient inversion",
            f"{machine()}. {versions('torch', 'numpy', 'scipy')}. One picture, one step; LeNet of DLG unless said. "
            f"{pairs} pairs of a held-out picture and a fresh model, drawn with seed {seed}. Processor time on one "
            "thread; messages in float64 unless the attack is single precision as published. Beside each attack, the "
            "median PSNR of the mean picture, and of what the attack makes of somebody else's message.",
            table(HEADER, lines),
            "One matching loss with its slope, and the share of the rate of a 1024 x 1024 product in float64 that its "
            "matrix products reach.",
            table(stacks, kernel_rows()),
        ]
    )
