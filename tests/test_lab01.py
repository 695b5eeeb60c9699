"""Lab 01 compares like with like, its rules lead where they should, and its text says what the code does."""

import re
from dataclasses import replace
from math import inf
from statistics import median

import pytest
import torch

from labsec import Scenario, run
from labsec.course import build
from labsec.course.claims import lab01 as measures
from labsec.course.panels import lab01
from labsec.course.questions.lab01 import FINDINGS
from labsec.federation.population import Population
from labsec.files import COURSE


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


# What the lab measures for its claims
def scenarios_of(monkeypatch, function):
    """The scenarios that a function runs, each with one round only."""
    asked = []
    monkeypatch.setattr(measures, "run", lambda scenario: asked.append(scenario) or run(replace(scenario, rounds=1)))
    function(0)
    return asked


def test_both_sides_of_claim_1_take_the_same_number_of_samples(monkeypatch):
    def samples(scenario):
        return scenario.clients * scenario.rounds * scenario.local_steps * scenario.batch_size

    asked = scenarios_of(monkeypatch, measures.federated) + scenarios_of(monkeypatch, measures.without_federation)
    assert [samples(scenario) for scenario in asked] == [64_000] * 4
    assert [scenario.clients for scenario in asked] == [20, 20, 20, 1]


def spread(**means):
    return {name.replace("_", " "): {"mean": mean} for name, mean in means.items()}


@pytest.mark.parametrize(
    ("iid", "skewed", "alone", "verdict"),
    [
        (0.975, 0.975, 0.87, "held"),
        (0.975, 0.960, 0.87, "depends on the clients' data: as good for IID"),
        (0.960, 0.975, 0.87, "did not hold"),
        (0.975, 0.975, 0.974, "did not hold"),
    ],
)
def test_the_rule_of_claim_1(iid, skewed, alone, verdict):
    measured = {"IID": {"mean": iid}, "Dirichlet 0.3": {"mean": skewed}, "Dirichlet 0.1": {"mean": skewed}}
    assert measures.close_to_pooled(measured, spread(pooled=0.98, one_client_alone=alone)) == verdict


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((0.0, 0.05, 0.05, 0.09), "held"),
        ((1.0, 0.5, 0.3, 0.1), "did not hold"),
        ((1.0, 0.05, 0.05, 0.05), "depends on the training: came back from 1 in the step"),
    ],
)
def test_the_rule_of_claim_4(shares, verdict):
    measured = {name: {"min": share} for name, share in zip(measures.SENT, shares, strict=True)}
    assert measures.holds_no_record(measured, {}) == verdict


def test_a_record_is_read_from_its_own_message_and_not_from_a_strangers():
    own, strangers = measures.shares_recovered(0, 1, 1)
    assert own == 1.0
    assert strangers < 0.05


def test_what_a_strangers_message_yields_is_taken_off(monkeypatch):
    monkeypatch.setattr(measures, "shares_recovered", lambda seed, steps, batch: (0.75, 0.5))
    assert set(measures.records_read(0).values()) == {0.25}
    assert set(measures.read_from_strangers(0).values()) == {0.5}


# What the text says
SOURCE = (COURSE / "solutions" / "01_fedavg.py").read_text(encoding="utf-8")
CELLS = [cell for cell in build.read(SOURCE, "01_fedavg").cells if cell.cell_type == "code"]


def test_code_is_short_and_narrow():
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in CELLS]
    assert max(lengths) <= 15
    assert median(lengths) <= 4
    assert max(len(line) for cell in CELLS for line in cell.source.splitlines()) <= 88


@pytest.mark.parametrize("letter", "abcd")
def test_nothing_between_a_question_and_its_answer_gives_it_away(letter):
    """Whatever is drawn below a question waits for the answer, and no sentence there states a finding."""
    asked = SOURCE.index(f'predict("01.{letter}"')
    between = SOURCE[asked : SOURCE.index(f'reveal("01.{letter}"')]
    waiting = re.sub(r"after\(.*\n", "", between)
    assert "title=" not in waiting
    assert "pictures." not in waiting or letter == "a"  # what comes before the run itself shows nothing of it
    assert FINDINGS[f"01.{letter}"].text not in SOURCE


def test_the_bytes_of_the_text():
    (row,) = run(Scenario(rounds=1)).rows
    assert f"{row['bytes_up']:,} bytes a round" in SOURCE
    assert f"{Scenario().network().dim:,} numbers of four bytes" in SOURCE


def test_a_picture_of_long_walks_says_its_numbers():
    said = repr(lab01.walks({1: (0.5, 0.98), 100: (3.5, 0.94)}))
    assert said.endswith("After 1 step, clients end 0.50 from their mean; accuracy 0.98. After 100 steps, 3.50; 0.94.")
