"""The pictures of lab 02's tables: what a boost does, how many attackers are too many, and what rules cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labsec import plots
from labsec.study.catalogue import SKEWS, title_of

if TYPE_CHECKING:
    import pandas

SHOWN = ("mean", "median", "krum", "multi_krum", "norm_clip", "nnm_trimmed")


def dial(frame: pandas.DataFrame) -> plots.Picture:
    """Points lost to 3 of 100 clients over their boost: digits and notes, under the mean and a norm clip.

    frame    rows of `matrix.load("three_percent")` of one attack
    """
    few = frame[frame["fraction"] == 0.03]
    few = few.assign(lost=100 * (few["clean"] - few["accuracy"]))
    boosts = sorted(few["boost"].unique())
    tables = {
        (name, rule): part.pivot(index="seed", columns="boost", values="lost").to_numpy()
        for (name, rule), part in few.groupby(["data", "rule"])
    }
    lines = {f"{name}, mean": tables[name, "mean"] for name in ("digits", "notes")}

    # Behind the clip both lie at the level of zero, one above the other.
    lines["both, norm clip + mean"] = np.concatenate([tables[name, "norm_clip"] for name in ("digits", "notes")])
    picture = plots.curves(
        boosts,
        lines,
        title="Three of a hundred: the damage is a dial",
        xlabel="boost",
        ylabel="points lost",
        log=True,
        height=1.9,
    )
    (ax,) = picture.figure.axes
    with plots.style():
        ax.set_xticks(boosts, [f"{boost:g}" for boost in boosts])
        ax.minorticks_off()
    return picture


def breakdown(frame: pandas.DataFrame, *attacks: str) -> plots.Picture:
    """Accuracy over a share of attackers below one half, under the worst of some attacks: a plot for each skew.

    frame      rows of `matrix.load("breakdown")`
    attacks    for each rule and share the one with the lowest mean counts; the bars are the spread of its seeds
    """
    part = frame[frame["attack"].isin(("none", *attacks)) & frame["rule"].isin(SHOWN)]
    part = part[(part["attack"] == "none") == (part["malicious"] == 0)]
    part = part[part["malicious"] < 0.5]  # at one half every rule guesses, and all lines would end in one point
    shares = [float(share) for share in sorted(part["malicious"].unique())]
    fig = plots.figure(9.0, 2.3)
    words = []
    for ax, skew in zip(plots.axes(fig, 1, 2, sharey=True), part["skew"].unique(), strict=True):
        here = part[part["skew"] == skew]
        ends = []
        for rule, (colour, dash) in zip(SHOWN, plots.looks(SHOWN), strict=True):
            seeds = np.array(_worst_by_share(here[here["rule"] == rule], shares))  # [seeds, shares]
            mean = seeds.mean(axis=0)
            ax.vlines(shares, seeds.min(axis=0), seeds.max(axis=0), color=colour, linewidth=0.8, alpha=0.7)
            ax.plot(shares, mean, color=colour, linestyle=dash)
            ends.append((float(mean[-1]), title_of(rule), colour))
            words.append(f"{title_of(rule)} goes from {mean[0]:.2f} to {mean[-1]:.2f} with {SKEWS[skew].title}")
        with plots.style():
            ax.set(title=SKEWS[skew].title, xlabel="share of malicious clients", xlim=(0, shares[-1]), ylim=(0, 1.02))
        plots.label_ends(ax, ends)
    fig.axes[0].set_ylabel("accuracy at the plateau")
    return plots.Picture(fig, f"Two line plots of accuracy by the share of attackers. {'; '.join(words)}.")


def _worst_by_share(part: pandas.DataFrame, shares: list[float]) -> list[list[float]]:
    """Accuracy under the attack with the lowest mean at each share: [seeds, shares]."""
    columns = []
    for share in shares:
        by_attack = part[part["malicious"] == share].pivot(index="attack", columns="seed", values="accuracy")
        columns.append(by_attack.iloc[int(by_attack.mean(axis=1).argmin())].tolist())
    return [list(row) for row in zip(*columns, strict=True)]


def prices(frame: pandas.DataFrame, data: str = "digits") -> plots.Picture:
    """What each rule costs with no attacker, by skew: points of accuracy lost to the mean, with the seeds' range.

    frame    rows of `matrix.load()`
    """
    part = frame[(frame["attack"] == "none") & (frame["data"] == data)]
    part = part.assign(lost=100 * (part["clean"] - part["accuracy"]))
    groups = part.groupby(["skew", "rule"], sort=False)["lost"]
    mean = groups.mean().unstack(level=0)  # [rules, skews]
    low = groups.min().unstack(level=0)
    high = groups.max().unstack(level=0)
    most_skewed = mean.columns[-1]
    order = mean[most_skewed].sort_values().index
    fig = plots.figure(7.0, 2.5)
    ax = plots.axes(fig)
    shades = (plots.BAND, plots.GREY, plots.DEFENDER)[-len(mean.columns) :]
    for place, (skew, colour) in enumerate(zip(mean.columns, shades, strict=True)):
        heights = [i + 0.27 * (1 - place) for i in range(len(order))]
        ax.barh(heights, mean.loc[order, skew], height=0.25, color=colour, label=SKEWS[str(skew)].title)
        ax.hlines(heights, low.loc[order, skew], high.loc[order, skew], color=plots.INK, linewidth=1)
    dearest = title_of(order[-1])
    points = mean[most_skewed].max()
    title = f"{dearest} costs {points:.0f} points on very unlike clients"
    with plots.style():
        ax.set(yticks=range(len(order)), yticklabels=[title_of(name) for name in order])
        ax.set(xlabel="points of accuracy lost to the plain mean", title=title)
    ax.legend(frameon=False, loc="lower right")
    words = [f"{title_of(rule)} {mean.loc[rule, most_skewed]:.1f}" for rule in order]
    return plots.Picture(fig, f"Bar chart. {title}. With the most skewed shards: {', '.join(words)} points.")
