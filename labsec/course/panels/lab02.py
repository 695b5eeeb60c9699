"""The panel of lab 02: thirty clients, some of them bad, under one attack and one rule, live.

The rules are those of the matrix, and believe in as many bad clients as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from labsec import matrix, poison
from labsec.course import live
from labsec.course.panels.lab02_figure import Drawing, State
from labsec.federation.bind import bind
from labsec.federation.engine import rounds, run
from labsec.federation.history import Round
from labsec.federation.scenario import Scenario

ATTACKS: dict[str, Callable[[float], dict[str, Any]]] = {
    "sign flip": lambda boost: {"attack": bind(poison.sign_flip, scale=boost)},
    "label flip": lambda boost: {"data_attack": poison.label_flip, "attack": bind(poison.scaled, scale=boost)},
    "noise": lambda boost: {"attack": bind(poison.gaussian, std=0.01 * boost)},
    "IPM": lambda boost: {"attack": bind(poison.ipm, scale=boost)},
    "ALIE": lambda boost: {"attack": bind(poison.alie, z=1.5)},
    "min-max": lambda boost: {"attack": poison.min_max},
    "min-sum": lambda boost: {"attack": poison.min_sum},
    "mimic": lambda boost: {"attack": poison.mimic},
}
OWN_SIZE = ("ALIE", "min-max", "min-sum", "mimic")  # attacks that choose their size; the boost does not count
RULES = {  # how the panel calls the rules of the matrix
    "mean": "mean",
    "median": "median",
    "trimmed mean": "trimmed_mean",
    "Krum": "krum",
    "Multi-Krum": "multi_krum",
    "geometric median": "geometric_median",
    "norm clip + mean": "norm_clip",
    "mixing + trimmed mean": "nnm_trimmed",
}
REGIMES = {"FedAvg, IID": "fedavg", "FedSGD, Dirichlet 0.3": "fedsgd"}


def scenario(*, regime: str, malicious: float, boost: float, attack: str, rule: str) -> Scenario:
    """The federation behind the panel; the attackers see the honest messages.

    >>> scenario(regime="FedAvg, IID", malicious=0.2, boost=3, attack="sign flip", rule="Krum").malicious_count
    6
    """
    base = matrix.cell(REGIMES[regime], "none", RULES[rule], 0)
    return replace(base, malicious=malicious, omniscient=True, **ATTACKS[attack](boost)) if malicious else base


@cache
def _clean(regime: str) -> list[float]:
    return run(matrix.cell(REGIMES[regime], "none", "mean", 0)).accuracy


def compute(**controls: Any) -> Iterator[State]:
    """Run the federation of `scenario(**controls)`; a state after every round."""
    s, accuracy, clean = scenario(**controls), [], _clean(controls["regime"])
    for result in rounds(s):
        accuracy.append(result.metrics["accuracy"])
        yield State(list(accuracy), clean, *_crowd(result, s.malicious_count))


def _crowd(result: Round, malicious: int) -> tuple[Tensor, Tensor, int, tuple[float, float]]:
    """Where the messages of a round stand relative to the honest ones, and where the rule went."""
    honest = result.messages[result.clients >= malicious]
    if not len(honest):  # the model has blown up, and with it all honest updates
        nobody = torch.zeros(0)
        return nobody, nobody, 0, (0.0, 0.0)
    centre, usual = honest.mean(dim=0), honest.norm(dim=1).quantile(0.5)
    everything = torch.cat([result.messages, (result.after - result.before)[None]])
    cosine = torch.cosine_similarity(everything, centre[None], dim=1)
    length = everything.norm(dim=1) / usual
    moved = float(cosine[-1]), float(length[-1])
    return cosine[:-1], length[:-1], int((result.clients < malicious).sum()), moved


def reading(controls: Mapping[str, Any], state: State) -> str:
    """The state in words."""
    count = round(controls["malicious"] * matrix.CLIENTS)
    loud = "" if controls["attack"] in OWN_SIZE else f", boosted {controls['boost']:g} times"
    who = f"{count} of {matrix.CLIENTS} clients ({controls['attack']}{loud})" if count else "Nobody"
    lost = 100 * (state.clean[-1] - state.accuracy[-1])
    return (
        f"Round {len(state.accuracy)} of {len(state.clean)}, {controls['regime']}: {who} against "
        f"{controls['rule']}. Accuracy {state.accuracy[-1]:.2f}, clean mean {state.clean[-1]:.2f}: "
        f"{abs(lost):.0f} points {'lost' if lost >= 0 else 'gained'}. "
        f"The rule's step has cosine {state.moved[0]:.2f} with the honest mean."
    )


def panel() -> live.Panel:
    """The panel: malicious fraction, attack and boost against the rule, in both regimes."""
    for regime in REGIMES:
        _clean(regime)
    return live.Panel(
        name="lab02",
        attacker={
            "malicious": live.slider("Malicious fraction", 0.2, 0.0, 0.5, 1 / matrix.CLIENTS, fmt="{:.0%}"),
            "attack": live.choice("Attack", list(ATTACKS), "sign flip"),
            "boost": live.log_slider("Boost", 3.0, (0.3, 1.0, 3.0, 10.0, 30.0, 100.0), fmt="{:g}"),
        },
        defender={"rule": live.choice("Rule", list(RULES), "mean")},
        setting={"regime": live.choice("Regime", list(REGIMES), "FedAvg, IID")},
        compute=compute,
        draw=Drawing(50),
        reading=reading,
    )
