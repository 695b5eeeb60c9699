"""The pictures of lab 07: bounds of audits, what is read at which ε, and accuracy by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

from labsec import plots


def bounds(shown: Mapping[str, float], stated: float, *, title: str) -> plots.Picture:
    """What audits show of several mechanisms that all state the same ε: name -> a lower bound.

    >>> bounds({"as written": 3.1, "no clip": 9.0}, 4.0, title="Two mechanisms")
    Bars. Two mechanisms. Stated: ε = 4. The audits show ε of at least: as written 3.1, no clip 9.0.
    """
    fig = plots.figure(7.6, 0.8 + 0.22 * len(shown))
    ax = plots.axes(fig)
    places = range(len(shown))
    colours = [plots.ATTACKER if low > stated else plots.GREY for low in shown.values()]
    ax.barh(places, list(shown.values()), height=0.6, color=colours)
    ax.axvline(stated, color=plots.DEFENDER, linewidth=2)
    with plots.style():
        ax.set_yticks(places, list(shown))
        ax.set(xlabel=f"ε is at least …; blue: stated ε = {stated:g}", ylim=(len(shown) - 0.5, -0.5), xlim=(0, None))
        ax.set_title(title)
    words = ", ".join(f"{name} {low:.1f}" for name, low in shown.items())
    return plots.Picture(fig, f"Bars. {title}. Stated: ε = {stated:g}. The audits show ε of at least: {words}.")


def cliffs(found: Mapping[str, Mapping[float, float]], *, title: str) -> plots.Picture:
    """Shares against ε on a logarithmic scale: what is read -> ε -> share.

    >>> cliffs({"labels": {4.0: 0.2, 100.0: 1.0}}, title="Labels")
    Lines over ε. Labels. labels: ε = 4 20%, ε = 100 100%.
    """
    fig = plots.figure(7.6, 2.1)
    ax = plots.axes(fig)
    ends = []
    words = []
    for (name, line), (colour, dash) in zip(found.items(), plots.looks(found), strict=True):
        ax.plot(list(line), list(line.values()), color=colour, linestyle=dash, marker="o", markersize=4)
        ends.append(([*line.values()][-1], name, colour))
        words.append(f"{name}: " + ", ".join(f"ε = {epsilon:g} {share:.0%}" for epsilon, share in line.items()))
    with plots.style():
        ax.set(xscale="log", ylim=(-0.02, 1.04), xlabel="ε of the message", ylabel="share right", title=title)
    plots.label_ends(ax, ends)
    return plots.Picture(fig, f"Lines over ε. {title}. {'; '.join(words)}.")


def by_class(accuracy: Mapping[str, Sequence[float]], *, rare: int, title: str) -> plots.Picture:
    """Accuracy of every class under several trainings: name -> [classes]; the rare class is marked.

    >>> by_class({"plain": [0.9, 0.8], "private": [0.8, 0.1]}, rare=1, title="Two classes")
    Dots for every class. Two classes. plain: 90% 80%; private: 80% 10%. The rare class is 1.
    """
    fig = plots.figure(7.6, 1.7)
    ax = plots.axes(fig)
    ax.axvspan(rare - 0.5, rare + 0.5, color=plots.BAND)
    words = []
    markers = cycle("osX^")
    for (name, shares), (colour, _) in zip(accuracy.items(), plots.looks(accuracy), strict=True):
        marker = next(markers)
        ax.plot(range(len(shares)), list(shares), color=colour, linestyle="", marker=marker, markersize=8, label=name)
        words.append(f"{name}: " + " ".join(f"{share:.0%}" for share in shares))
    with plots.style():
        ax.set(ylim=(-0.07, 1.07), xlabel="digit; grey band: the rare one", ylabel="accuracy", title=title)
    ax.set_xticks(range(len(next(iter(accuracy.values())))))
    # Beside the axes: next to the last class the names would look like its dots.
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return plots.Picture(fig, f"Dots for every class. {title}. {'; '.join(words)}. The rare class is {rare}.")
