"""The pictures of lab 05: shares beside a guess, shares by batch, and what bins caught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from labsec import metrics, plots

READ_FROM = 25.0  # dB


def shares(found: Mapping[str, Sequence[float]], *, title: str, xlabel: str) -> plots.Picture:
    """A line of dots for each name, a share in [0, 1] each; the guess is grey.

    >>> shares({"mean": [0.0, 0.5], "guess": [0.1]}, title="Order", xlabel="of notes")
    Dots. Order. Means: mean 25%, guess 10%.
    """
    fig = plots.figure(7.6, 0.9 + 0.32 * len(found))
    ax = plots.axes(fig)
    words = []
    for place, (name, each) in enumerate(found.items()):
        colour = plots.GREY if name == "guess" else plots.ATTACKER
        ax.plot(each, [place] * len(each), "o", color=colour, alpha=0.6, markersize=9)
        words.append(f"{name} {sum(each) / len(each):.0%}")
    with plots.style():
        ax.set_yticks(range(len(found)), list(found))
        ax.set(xlim=(-0.03, 1.03), ylim=(len(found) - 0.5, -0.5), xlabel=f"share {xlabel}")
        ax.set_title(title)
    return plots.Picture(fig, f"Dots. {title}. Means: {', '.join(words)}.")


def by_batch(found: Mapping[str, Mapping[int, float]], *, title: str) -> plots.Picture:
    """Shares against the batch size: name -> batch -> share.

    >>> by_batch({"message": {1: 1.0, 4: 0.5}}, title="Cells")
    Lines over the batch size. Cells. message: 1 100%, 4 50%.
    """
    fig = plots.figure(7.0, 2.8)
    ax = plots.axes(fig)
    looks = {"message": (plots.ATTACKER, "-"), "guess": (plots.INK, ":"), "stranger": (plots.GREY, "--")}
    ends = []
    words = []
    for name, line in found.items():
        colour, dash = looks[name]
        ax.plot(list(line), list(line.values()), color=colour, linestyle=dash, marker="o")
        ends.append(([*line.values()][-1], name, colour))
        words.append(f"{name}: " + ", ".join(f"{batch} {share:.0%}" for batch, share in line.items()))
    with plots.style():
        ax.set(xscale="log", ylim=(0, 1.04), xlabel="rows in the step", ylabel="share right", title=title)
    batches = list(next(iter(found.values())))
    ax.set_xticks(batches, [str(batch) for batch in batches])
    ax.minorticks_off()
    plots.label_ends(ax, ends)
    return plots.Picture(fig, f"Lines over the batch size. {title}. {'; '.join(words)}.")


def caught(truth: Tensor, read: Tensor, *, title: str, most: int = 10) -> plots.Picture:
    """The first samples [n, 1, h, w], and below each the candidate that fits it best.

    >>> import torch
    >>> caught(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4), title="Two")
    Two rows of 2 pictures. Two. 2 of 2 samples were read at 25 dB or more.
    """
    matches, scores = metrics.best_matches(read, truth)
    shown = min(most, len(truth))
    fig = plots.figure(min(8.8, 0.9 * shown), 2.4)
    grid = plots.axes(fig, 2, shown, squeeze=False)
    for i in range(shown):
        for ax, picture in zip(grid[:, i], (truth[i], matches[i]), strict=True):
            ax.imshow(1 - picture[0].numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
        colour = plots.ATTACKER if scores[i] >= READ_FROM else plots.GREY
        grid[1, i].set_title(f"{float(scores[i]):.0f} dB", fontsize=9, color=colour, loc="center")
    with plots.style():
        fig.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    good = int((scores >= READ_FROM).sum())
    words = f"{good} of {len(truth)} samples were read at {READ_FROM:g} dB or more"
    return plots.Picture(fig, f"Two rows of {shown} pictures. {title}. {words}.")
