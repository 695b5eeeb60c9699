"""Lab NN, TOPIC: its federation and threat model, and its exercise with inputs to try, wrong answers and hints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from labsec import poison
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import ThreatModel, threat_model_of
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario

# The card, the panel, the claim and the lesson start from this federation, so that they speak of the same one.
SCENARIO = Scenario.fedavg(rounds=30, malicious=0.2, attack=bind(poison.sign_flip, scale=10.0))


def threat_model(scenario: Scenario) -> ThreatModel:
    """Who attacks in a federation like this one."""
    return threat_model_of(
        scenario,
        goal="Make the common model useless for everyone.",
        out_of_scope="Backdoors, attackers who join under many names, and a server that reads messages.",
    )


THREAT_MODEL = threat_model(SCENARIO)


def clipped_mean(updates: Tensor, *, bound: float) -> Tensor:
    """Exercise NN.1."""
    lengths = updates.norm(dim=1, keepdim=True)  # [clients, 1]
    factors = (bound / lengths).clamp(max=1)  # [clients, 1]
    return (factors * updates).mean(dim=0)


def _shorten_the_mean(updates: Tensor, *, bound: float) -> Tensor:
    mean = updates.mean(dim=0)
    return mean * (bound / mean.norm()).clamp(max=1)


def _stretch_short_rows(updates: Tensor, *, bound: float) -> Tensor:
    return (updates * bound / updates.norm(dim=1, keepdim=True)).mean(dim=0)


def _bound_each_number(updates: Tensor, *, bound: float) -> Tensor:
    return updates.clamp(-bound, bound).mean(dim=0)


def _updates(draw: Generator) -> Sequence[Case]:
    """Rows of which some are shorter than the bound and some longer; they agree so far that their mean is longer."""
    cases = []
    for clients, dim, bound in ((4, 2, 1.0), (7, 5, 2.0), (10, 20, 0.5)):
        directions = torch.nn.functional.normalize(torch.rand(clients, dim, generator=draw), dim=1)
        lengths = bound * torch.linspace(0.3, 4.0, clients)[:, None]  # [clients, 1]
        cases.append(case(lengths * directions, bound=bound))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="NN.1",
        title="The clipped mean",
        reference=clipped_mean,
        cases=_updates,
        wrong=(
            (lambda updates, *, bound: updates.mean(dim=0), "This is the plain mean: no row was shortened."),
            (_shorten_the_mean, "You shortened the mean. By then the long rows have had their say: shorten each row."),
            (_stretch_short_rows, "Every row is as long as the bound now. A row that is shorter stays as it is."),
            (_bound_each_number, "You bounded each number. The bound is on the length of a whole row."),
        ),
        hints=(
            "Which rows change, which stay, and by what is a row multiplied to have the length `bound`?",
            "Multiply each row by bound / length, but by no more than 1. Then take the mean over the clients.",
            "lengths = updates.norm(dim=1, keepdim=True)\nfactors = (bound / lengths).clamp(max=…)\nreturn …",
        ),
    ),
)
