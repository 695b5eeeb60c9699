"""`python -m benchmarks.ladder` draws docs/inversion_ladder.png: a held-out picture, and what each rung makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from labsec import data, invert, metrics, plots
from labsec.models import Model, convnet, lenet, mlp
from labsec.train import local_updates
from labsec.types import ServerView, generator

TARGET = Path(__file__).resolve().parent.parent / "docs" / "inversion_ladder.png"
KINDS = {"mnist5k": 7, "faces": 2, "retina": 5, "photos": 40}  # name -> which held-out picture
LR = 0.1
CLASSES = 10
READ = 25.0  # dB

Read = Callable[[ServerView, Tensor], Tensor | invert.Reconstruction]  # (view, labels [b]) -> candidates, best first


@dataclass(frozen=True)
class Rung:
    """An attack, and the message that it gets.

    model    (shape, classes) -> the network behind the message
    batch    pictures in a step; the one that is shown is the first
    steps    local steps, each on pictures of its own
    dtype    of the client's numbers
    """

    title: str
    model: Callable[[tuple[int, ...], int], Model]
    read: Read
    batch: int = 1
    steps: int = 1
    dtype: torch.dtype = torch.float64


def draws() -> torch.Generator:
    """The random starts of an attack."""
    return generator(0, "ladder", "attack")


def in_relus(view: ServerView, labels: Tensor) -> invert.Reconstruction:
    return invert.cosine(view, labels=labels, generator=draws(), iterations=600)


def in_waves(view: ServerView, labels: Tensor) -> invert.Reconstruction:
    return invert.smooth_cosine(view, labels=labels, generator=draws())


def by_simulation(view: ServerView, labels: Tensor) -> invert.Reconstruction:
    return invert.simulate(view, labels=labels, smooth=True, generator=draws(), iterations=300)


small_mlp = partial(mlp, hidden=(256,))
smooth_net = partial(convnet, activation=F.elu)
RUNGS = (
    Rung("first layer\nread (MLP)", small_mlp, lambda view, labels: invert.analytic(view)),
    Rung("R-GAP\n(LeNet)", lenet, lambda view, labels: invert.closed_form(view)),
    Rung("DLG as\npublished", lenet, lambda view, labels: invert.dlg(view, generator=draws()), dtype=torch.float32),
    Rung("DLG\nrepaired", lenet, lambda view, labels: invert.gauss_newton(view, generator=draws())),
    Rung("cosine + TV\n(ReLU net)", convnet, in_relus, dtype=torch.float32),
    Rung("cosine, batch 4\n(ELU net)", smooth_net, in_waves, batch=4),
    Rung("FedAvg, 5 steps\nof 1 (ELU net)", smooth_net, by_simulation, steps=5),
    Rung("the same,\n5 steps of 8", smooth_net, by_simulation, batch=8, steps=5),
)


def reached(rung: Rung, pictures: Tensor) -> Tensor:
    """What the rung makes of the first of pictures [n, *shape], out of as many candidates as the message has behind it.

    The best match is shown, for an attacker does not know which picture of a batch somebody will ask about.
    """
    count = rung.batch * rung.steps
    x = pictures[:count].to(rung.dtype)
    labels = torch.arange(count) % CLASSES
    model = rung.model(tuple(x.shape[1:]), CLASSES)
    params = model.init(generator(0, "ladder", "model")).to(rung.dtype)
    batches = torch.arange(count).view(1, rung.steps, rung.batch)
    message = local_updates(model, params, x, labels, batches, lr=LR)
    view = ServerView(
        params=params, messages=message, model=model, lr=LR, local_steps=rung.steps, batch_size=rung.batch
    )
    found = rung.read(view, labels)
    candidates = found.estimate if isinstance(found, invert.Reconstruction) else found
    return metrics.best_matches(candidates.to(x.dtype), x[:1])[0][0]


def columns(name: str) -> Iterator[tuple[str, Tensor, float]]:
    """Title, picture and PSNR of everything that is shown of one kind of picture."""
    dataset = data.load(name)
    chosen = KINDS[name]
    order = torch.randperm(len(dataset.x_test), generator=generator(0, "ladder", name))

    # Neighbours in a data set can be neighbours in one photograph; whoever else is in the batch is drawn.
    pictures = dataset.x_test[torch.cat([torch.tensor([chosen]), order[order != chosen]])]  # [n, *shape]
    truth = pictures[0]
    mean = dataset.x.mean(dim=0)
    yield "the truth", truth, float("inf")
    shown = {"mean picture:\nno message": mean}
    for rung in RUNGS:
        shown[rung.title] = reached(rung, pictures).nan_to_num(0.5)
    shown["a stranger's\nmessage"] = reached(RUNGS[3], pictures[1:])
    for title, picture in shown.items():
        yield title, picture, float(metrics.psnr(picture[None].to(truth.dtype), truth[None]))


def drawn() -> plots.Picture:
    """All kinds, one below the other."""
    kinds = {name: [*columns(name)] for name in KINDS}
    across = len(next(iter(kinds.values())))
    fig = plots.figure(1.25 * across, 1.62 * len(kinds) + 0.4)
    grid = plots.axes(fig, len(kinds), across)
    for first, (line, (name, cells)) in enumerate(zip(grid, kinds.items(), strict=True)):
        for ax, (title, picture, score) in zip(line, cells, strict=True):
            _show(ax, picture, score)
            if first == 0:
                ax.set_title(title, fontsize=8.5, fontweight="normal", loc="center")
        line[0].set_ylabel(name, fontsize=9)
    return plots.Picture(fig, f"What each attack makes of one held-out picture of {', '.join(KINDS)}.")


def _show(ax: Axes, picture: Tensor, score: float) -> None:
    pixels = picture.detach().float().clamp(0, 1).movedim(0, -1)
    ax.imshow(pixels.squeeze(-1), cmap="gray", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if score < float("inf"):
        color = plots.ATTACKER if score >= READ else plots.INK
        words = "exact" if score >= 100 else f"{score:.0f} dB" if score > 0 else "diverged"
        ax.set_xlabel(words, fontsize=9, color=color)


if __name__ == "__main__":
    torch.set_num_threads(1)
    TARGET.write_bytes(plots.png(drawn().figure))
