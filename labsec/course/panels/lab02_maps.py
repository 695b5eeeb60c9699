"""The pictures of lab 02's tables: damage by share and boost, and accuracy by share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsec import plots
from labsec.study.catalogue import SKEWS, title_of
from labsec.study.matrix import draw_map

if TYPE_CHECKING:
    import pandas

SHOWN = ("mean", "median", "krum", "multi_krum", "norm_clip", "nnm_trimmed")
BOOSTED_AGAINST = ("mean", "norm_clip")


def boost_maps(frame: pandas.DataFrame) -> plots.Picture:
    """Accuracy by share of attackers (rows) and boost (columns): digits and notes, under the mean and a norm clip.

    frame    rows of `matrix.load("three_percent")` of one attack
    """
    fig = plots.figure(9.0, 4.6)
    grid = plots.axes(fig, 2, 2)
    words = []
    for row, rule in zip(grid, BOOSTED_AGAINST, strict=True):
        for ax, name in zip(row, ("digits", "notes"), strict=True):
            part = frame[(frame["rule"] == rule) & (frame["data"] == name)]
            groups = part.groupby(["fraction", "boost"])["accuracy"]
            draw_map(ax, f"{name}, {title_of(rule)}", groups.mean().unstack(), framed=False)
            ax.set(xlabel="boost", ylabel="share of attackers")
            least: Any = groups.mean().idxmin()
            lowest = f"lowest {groups.mean().min():.2f} at a share of {least[0]:.2f} and boost {least[1]}"
            words.append(f"{name} under the {title_of(rule)}: {lowest}")
    return plots.Picture(fig, f"Four heat maps of accuracy by share of attackers and boost. {'; '.join(words)}.")


def breakdown(frame: pandas.DataFrame, skew: str, *attacks: str, title: str) -> plots.Picture:
    """Accuracy over a share of attackers below one half, under the worst of some attacks: a line for each of six rules.

    frame      rows of `matrix.load("breakdown")`
    attacks    for each rule and share the one with the lowest mean counts; the band is the spread of its seeds
    """
    part = frame[(frame["skew"] == skew) & frame["attack"].isin(("none", *attacks)) & frame["rule"].isin(SHOWN)]
    part = part[(part["attack"] == "none") == (part["malicious"] == 0)]
    part = part[part["malicious"] < 0.5]  # at one half every rule guesses, and all lines would end in one point
    shares = sorted(part["malicious"].unique())
    lines = {title_of(rule): _worst_by_share(part[part["rule"] == rule], shares) for rule in SHOWN}
    return plots.curves(
        [float(share) for share in shares],
        lines,
        title=title,
        xlabel="share of malicious clients",
        ylabel="accuracy at the plateau",
    )


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
    fig = plots.figure(7.0, 4.6)
    ax = plots.axes(fig)
    shades = (plots.BAND, plots.GREY, plots.DEFENDER)[-len(mean.columns) :]
    for place, (skew, colour) in enumerate(zip(mean.columns, shades, strict=True)):
        heights = [i + 0.27 * (1 - place) for i in range(len(order))]
        ax.barh(heights, mean.loc[order, skew], height=0.25, color=colour, label=SKEWS[str(skew)].title)
        ax.hlines(heights, low.loc[order, skew], high.loc[order, skew], color=plots.INK, linewidth=1)
    dearest = title_of(order[-1])
    points = mean[most_skewed].max()
    title = f"With nobody attacking, {dearest} costs {points:.0f} points"
    with plots.style():
        ax.set(yticks=range(len(order)), yticklabels=[title_of(name) for name in order])
        ax.set(xlabel="points of accuracy lost to the plain mean", title=title)
    ax.legend(frameon=False, loc="lower right")
    words = [f"{title_of(rule)} {mean.loc[rule, most_skewed]:.1f}" for rule in order]
    return plots.Picture(fig, f"Bar chart. {title}. With the most skewed shards: {', '.join(words)} points.")
