"""The same aggregation rules by ByzFL and by Flower, with conventions aligned, where they can be imported.

Neither is a dependency. Put the folders they are installed in on PYTHONPATH to have them here. `pairs` is used twice:
to time each peer beside labsec, and to check that all compute the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import comb
from typing import Any

import torch
from torch import Tensor

from labsec import robust

Rule = Callable[[Tensor], Tensor]
MOST_SUBSETS = 10_000  # ByzFL's MDA makes a list of them all
MODULES = {"ByzFL": "byzfl", "Flower": "flwr.server.strategy.aggregate"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One rule, twice.

    rule       its name in labsec
    peer       ByzFL or Flower
    ours       labsec's, with the peer's conventions
    theirs     the peer's, on a tensor [clients, dim]
    aligned    what had to be done to make both compute the same; "" for nothing
    """

    rule: str
    peer: str
    ours: Rule
    theirs: Rule
    aligned: str = ""


def missing() -> dict[str, str]:
    """The peers that cannot be imported here, and why."""
    reasons = {}
    for peer in MODULES:
        try:
            _load(peer)
        except ImportError as error:
            reasons[peer] = f"{peer} cannot be imported here ({error})"
    return reasons


def pairs(f: int, clients: int, *, converged: bool = False) -> list[Pair]:
    """Every rule that labsec shares with a peer that is here, for `clients` rows of which `f` are suspected.

    converged    let ByzFL's geometric median run to convergence; else its default of 3 steps
    """
    absent = missing()
    found = [] if "ByzFL" in absent else _byzfl(f, clients, converged)
    return found if "Flower" in absent else found + _flower(f, clients)


def _load(peer: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(MODULES[peer])


def _byzfl(f: int, clients: int, converged: bool) -> list[Pair]:
    byzfl = _load("ByzFL")
    steps = {"nu": 1e-9, "T": 3000} if converged else {}
    krum = "ByzFL sums n-f-1 neighbours, the paper n-f-2: labsec gets f-1"
    found = [
        ("median", robust.median, byzfl.Median(), ""),
        ("trimmed_mean", partial(robust.trimmed_mean, f=f), byzfl.TrMean(f), ""),
        ("krum", partial(robust.krum, f=f - 1), byzfl.Krum(f), krum),
        ("multi_krum", partial(robust.multi_krum, f=f - 1, keep=clients - f), byzfl.MultiKrum(f), krum),
        (
            "geometric_median",
            robust.geometric_median,
            byzfl.GeometricMedian(**steps),
            "ByzFL with nu=1e-9, T=3000" if converged else "ByzFL stops after T=3 steps, labsec when converged",
        ),
        ("nnm", partial(robust.nnm, f=f), byzfl.NNM(f), ""),
        ("norm_clip", partial(robust.norm_clip, bound=2.0), _on_a_copy(byzfl.Clipping(2.0)), "ByzFL's works in place"),
        ("CenteredClip", _first(robust.CenteredClip, radius=2.0), _first(byzfl.CenteredClipping, tau=2.0), ""),
        ("meamed", partial(robust.meamed, f=f), byzfl.Meamed(f), ""),
        ("monna", _monna_around_the_first(f), byzfl.MoNNA(f, idx=0), "ByzFL trusts a client, the first one here"),
    ]
    if comb(clients, f) <= MOST_SUBSETS:
        mda = "of subsets with one diameter ByzFL takes the first, labsec the densest"
        found.append(("mda", partial(robust.mda, f=f), byzfl.MDA(f), mda))
    return [Pair(rule=rule, peer="ByzFL", ours=a, theirs=b, aligned=note) for rule, a, b, note in found]


def _flower(f: int, clients: int) -> list[Pair]:
    flower = _load("Flower")

    def run(function: Callable[..., Any], **arguments: Any) -> Rule:
        def rule(updates: Tensor) -> Tensor:
            results = [([row], 1) for row in updates.numpy()]
            return torch.from_numpy(function(results, **arguments)[0])

        return rule

    keep = clients - f
    share = (f + 0.5) / clients  # Flower rounds the share times clients down
    found = [
        ("median", robust.median, run(flower.aggregate_median)),
        ("trimmed_mean", partial(robust.trimmed_mean, f=f), run(flower.aggregate_trimmed_avg, proportiontocut=share)),
        ("krum", partial(robust.krum, f=f), run(flower.aggregate_krum, num_malicious=f, to_keep=0)),
        (
            "multi_krum",
            partial(robust.multi_krum, f=f, keep=keep),
            run(flower.aggregate_krum, num_malicious=f, to_keep=keep),
        ),
    ]
    if 4 * f + 3 <= clients:
        theirs = run(flower.aggregate_bulyan, num_malicious=f, aggregation_rule=flower.aggregate_krum, to_keep=0)
        found.append(("bulyan", partial(robust.bulyan, f=f), theirs))
    return [Pair(rule=rule, peer="Flower", ours=a, theirs=b) for rule, a, b in found]


def _monna_around_the_first(f: int) -> Rule:
    """MoNNA for a server whose own update is the first client's."""
    return lambda updates: robust.monna(updates, f=f, params=updates[0], root=lambda params: params)


def _on_a_copy(rule: Rule) -> Rule:
    return lambda updates: rule(updates.clone())


def _first(make: Callable[..., Rule], **settings: float) -> Rule:
    """The first call of a rule that remembers."""
    return lambda updates: make(**settings)(updates)
