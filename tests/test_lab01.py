"""Lab 01's panel compares like with like."""

from math import inf

import pytest
import torch

from labsec.course.panels import lab01
from labsec.federation.population import Population


@pytest.fixture
def pooled_scenarios(monkeypatch):
    """The scenarios that the pooled baseline is run with."""
    asked = []
    run = lab01.run
    monkeypatch.setattr(lab01, "run", lambda scenario: asked.append(scenario) or run(scenario))
    lab01._pooled.cache_clear()
    yield asked
    lab01._pooled.cache_clear()


@pytest.mark.parametrize(("clients", "steps"), [(5, 2), (20, 1)])
def test_in_every_step_the_pooled_baseline_sees_as_many_samples_as_all_clients_together(
    clients, steps, pooled_scenarios, monkeypatch
):
    federated = []
    rounds = lab01.rounds
    monkeypatch.setattr(lab01, "rounds", lambda scenario: federated.append(scenario) or rounds(scenario))
    next(lab01.compute(clients=clients, steps=steps, alpha=inf, participation=1.0))

    def samples(scenario):
        """What everybody sees in each step of a round: a list with a number for each step."""
        everybody = torch.arange(scenario.clients)
        return (Population(scenario).batches(0, everybody) >= 0).sum(dim=(0, 2)).tolist()

    (pooled,) = pooled_scenarios
    assert samples(pooled) == samples(federated[0]) == [16 * clients] * steps
    assert pooled.clients == 1
