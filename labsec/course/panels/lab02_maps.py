"""The pictures of lab 02's tables: damage by share and boost, and accuracy by share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labsec import plots
from labsec.study.catalogue import title_of
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
            draw_map(ax, f"{name}, {title_of(rule)}", groups.mean().unstack(), groups.std().unstack())
            ax.set(xlabel="boost", ylabel="share of attackers")
            least: Any = groups.mean().idxmin()
            lowest = f"lowest {groups.mean().min():.2f} at a share of {least[0]:.2f} and boost {least[1]}"
            words.append(f"{name} under the {title_of(rule)}: {lowest}")
    return plots.Picture(fig, f"Four heat maps of accuracy by share of attackers and boost. {'; '.join(words)}.")


def breakdown(frame: pandas.DataFrame, regime: str, attack: str, *, title: str) -> plots.Picture:
    """Accuracy over the share of attackers, a line for each of six rules, the spread of the seeds as a band.

    frame    rows of `matrix.load("breakdown")`
    """
    part = frame[(frame["regime"] == regime) & (frame["attack"] == attack)]
    wide = {
        rule: part[part["rule"] == rule].pivot(index="seed", columns="malicious", values="accuracy") for rule in SHOWN
    }
    return plots.curves(
        [float(share) for share in wide["mean"].columns],
        {title_of(rule): table.to_numpy().tolist() for rule, table in wide.items()},
        title=title,
        xlabel="share of malicious clients",
        ylabel="accuracy after 50 rounds",
    )


def prices(frame: pandas.DataFrame) -> plots.Picture:
    """What each rule costs with no attacker, by regime: points of accuracy lost to the mean, with the seeds' range.

    frame    rows of `matrix.load()`
    """
    part = frame[frame["attack"] == "none"].assign(lost=lambda rows: 100 * (rows["clean"] - rows["accuracy"]))
    groups = part.groupby(["regime", "rule"], sort=False)["lost"]
    mean = groups.mean().unstack(level=0)  # [rules, regimes]
    low = groups.min().unstack(level=0)
    high = groups.max().unstack(level=0)
    order = mean["fedsgd"].sort_values().index
    fig = plots.figure(7.0, 4.0)
    ax = plots.axes(fig)
    looks = {
        "fedavg": (plots.GREY, 0.2, "similar clients (FedAvg, IID)"),
        "fedsgd": (plots.DEFENDER, -0.2, "dissimilar clients (FedSGD, Dirichlet 0.3)"),
    }
    for regime, (colour, shift, label) in looks.items():
        value = mean.loc[order, regime]
        places = [i + shift for i in range(len(order))]
        ax.barh(places, value, height=0.36, color=colour, label=label)
        ax.hlines(places, low.loc[order, regime], high.loc[order, regime], color=plots.INK, linewidth=1)
    dearest = title_of(order[-1])
    points = mean["fedsgd"].max()
    title = f"On dissimilar clients, {dearest} costs {points:.0f} points with nobody attacking"
    with plots.style():
        ax.set(yticks=range(len(order)), yticklabels=[title_of(name) for name in order])
        ax.set(xlabel="points of accuracy lost to the plain mean", title=title)
    ax.legend(frameon=False, loc="lower right")
    words = [f"{title_of(rule)} {mean.loc[rule, 'fedsgd']:.1f}" for rule in order]
    return plots.Picture(fig, f"Bar chart. {title}. On dissimilar clients: {', '.join(words)} points.")
