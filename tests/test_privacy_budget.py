"""The budget: what it refuses, that it adds up rightly, and that no process takes its books away with it."""

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy

import pytest
import torch

from labsec import Scenario, bind, privacy, robust, rounds
from labsec.privacy.accountant import epsilon_of_all

TERMS = {"unit": "client", "delta": 1e-5, "relation": "zero-out", "people": 20}
FOUR = privacy.Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=50).noise_for(4)  # 7.64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "books.sqlite"


def budget(path, **changes):
    return privacy.Budget(path, **{**TERMS, "epsilon": 4.0, **changes})


# what it comes to


def test_fifty_rounds_of_the_exact_multiplier_fit_and_the_next_does_not(path):
    books = budget(path)
    for _ in range(50):
        spent = books.charge(noise=FOUR)
    assert spent == pytest.approx(4.0, rel=1e-6)
    with pytest.raises(privacy.BudgetExceeded, match=r"from 4 to 4\.046, and the budget is 4 in all"):
        books.charge(noise=FOUR)
    assert len(books.rows()) == 50
    assert books.spent() == spent


def test_rounds_with_different_noise_are_one_gaussian(path):
    """1 / 10² + 1 / 5² + 2 / 20² is 0.055, as in one round with noise 4.264."""
    books = budget(path)
    books.charge(noise=10.0)
    books.charge(noise=5.0)
    books.charge(noise=20.0, steps=2)
    one = privacy.Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=1)
    assert books.spent() == pytest.approx(one.epsilon(0.055**-0.5), rel=1e-9)


def test_sampled_rounds_with_different_noise_lie_between_those_with_one():
    """And they are what another accountant's composition says, at most half a percent above and never below."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    mixed = epsilon_of_all({(1.0, 0.02): 100, (2.0, 0.05): 100}, delta=1e-5, relation="zero-out")
    fine = {"value_discretization_interval": 1e-4}
    first = pld.from_gaussian_mechanism(1.0, sampling_prob=0.02, **fine).self_compose(100)
    second = pld.from_gaussian_mechanism(2.0, sampling_prob=0.05, **fine).self_compose(100)
    exact = first.compose(second).get_epsilon_for_delta(1e-5)
    assert exact - 2e-4 * exact <= mixed <= exact * 1.005


def test_a_kind_of_round_may_be_named_in_two_parts():
    """The order and the number of charges say nothing: 60 and 40 rounds of a kind are 100."""
    whole = epsilon_of_all({(1.5, 0.1): 100}, delta=1e-5, relation="replace-one")
    parts = Counter({(1.5, 0.1): 60}) + Counter({(1.5, 0.1): 40})
    assert epsilon_of_all(parts, delta=1e-5, relation="replace-one") == whole


def test_rounds_with_everybody_and_sampled_rounds_are_not_mixed(path):
    books = budget(path)
    books.charge(noise=8.0)
    with pytest.raises(ValueError, match=r"keep a budget for each; got rates \[0.5, 1.0\]"):
        books.charge(noise=8.0, rate=0.5)
    assert len(books.rows()) == 1


def test_sampling_makes_a_round_cheaper(path, tmp_path):
    sampled = budget(path).charge(noise=2.0, rate=0.1)
    assert sampled < budget(tmp_path / "other").charge(noise=2.0) / 3


# for each client


def test_a_client_pays_for_the_rounds_that_it_is_in_and_all_pay_in_all(path):
    books = budget(path, epsilon=10.0, per_client=2.0)
    books.charge(noise=4.0, clients=[0, 1])
    books.charge(noise=4.0, clients=torch.tensor([1, 2]))
    one, two = (
        privacy.Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=n).epsilon(4.0)
        for n in (1, 2)
    )
    assert [books.spent(client) for client in range(4)] == [one, two, one, 0.0]
    assert books.spent() == two


def test_the_client_that_has_too_little_left_is_named_and_nobody_pays(path):
    books = budget(path, per_client=1.5)
    books.charge(noise=4.0, clients=[3])
    books.charge(noise=4.0, clients=[3, 5])
    with pytest.raises(privacy.BudgetExceeded, match=r"client 3 from 1.356 to 1.698, .* is 1.5 for each client"):
        books.charge(noise=4.0, clients=[5, 3])
    assert len(books.rows()) == 2
    assert books.spent(5) == pytest.approx(0.93, abs=0.01)


def test_a_client_pays_for_every_step_of_a_round(path):
    books = budget(path, per_client=1.5)
    with pytest.raises(privacy.BudgetExceeded, match=r"client 3 from 0 to 1\.698"):
        books.charge(noise=4.0, steps=3, clients=[3])
    books.charge(noise=4.0, steps=2, clients=[3])
    assert books.spent(3) == pytest.approx(1.356, abs=1e-3)


def test_a_round_for_everybody_is_refused_for_the_sake_of_one(path):
    books = budget(path, per_client=1.5)
    books.charge(noise=4.0)
    books.charge(noise=4.0, clients=[7])
    with pytest.raises(privacy.BudgetExceeded, match="client 7"):
        books.charge(noise=4.0)
    assert books.charge(noise=4.0, clients=[6]) == pytest.approx(1.7, abs=0.05)


def test_who_is_drawn_in_secret_is_not_named(path):
    with pytest.raises(ValueError, match=r"everybody pays: leave out clients; got rate=0.5 and 1 clients"):
        budget(path).charge(noise=8.0, rate=0.5, clients=[3])
    examples = budget(path.with_name("examples"), unit="example", people=1000, per_client=4.0)
    examples.charge(noise=8.0, rate=0.5, steps=3, clients=[3])  # which examples a client draws stays its secret
    assert examples.spent(3) > 0 == examples.spent(4)


# what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0.0}, "Budget needs a finite epsilon > 0; got epsilon=0.0"),
        ({"epsilon": -1.0}, "epsilon > 0; got epsilon=-1.0"),
        ({"epsilon": float("inf")}, "a finite epsilon > 0; got epsilon=inf"),
        ({"per_client": 0.0}, "per_client > 0; got per_client=0.0"),
        ({"delta": 0.05}, "delta < 1 / people, .*; got delta=0.05, people=20"),
        ({"delta": 0.0}, "0 < delta < 1; got delta=0.0"),
        ({"people": 1}, "people >= 2; got people=1"),
        ({"unit": "row"}, r"a unit out of \('client', 'example'\); got unit='row'"),
        ({"relation": "near"}, "a relation out of .*; got relation='near'"),
    ],
)
def test_a_bad_budget_is_an_error_and_leaves_no_file(path, changes, message):
    with pytest.raises(ValueError, match=message):
        budget(path, **changes)
    assert not path.exists()


@pytest.mark.parametrize("lacking", ["unit", "delta", "relation", "people", "epsilon"])
def test_its_terms_must_be_said(path, lacking):
    terms = {**TERMS, "epsilon": 4.0}
    del terms[lacking]
    with pytest.raises(TypeError, match=lacking):
        privacy.Budget(path, **terms)


@pytest.mark.parametrize(
    ("charge", "message"),
    [
        ({"noise": 0.0}, "noise > 0; got noise=0.0"),
        ({"noise": 8.0, "rate": 1.5}, "0 < rate <= 1; got rate=1.5"),
        ({"noise": 8.0, "steps": 0}, "steps > 0; got steps=0"),
        ({"noise": 8.0, "clients": [20]}, "0 <= client < 20; got client=20"),
        ({"noise": 8.0, "clients": [1, 1]}, "each client once; got clients=list, not all different"),
        ({"noise": 8.0, "clients": 3}, "a list of clients, or None for everybody; got clients=3"),
    ],
)
def test_a_bad_charge_is_an_error_and_costs_nothing(path, charge, message):
    books = budget(path)
    with pytest.raises(ValueError, match=message):
        books.charge(**charge)
    assert books.spent() == 0


def test_a_file_goes_on_with_the_same_terms_and_with_no_others(path):
    budget(path).charge(noise=8.0)
    assert budget(path).spent() > 0
    with pytest.raises(ValueError, match=r"keeps a budget with epsilon=4.0; got epsilon=8.0: name another file"):
        budget(path, epsilon=8.0)
    with pytest.raises(ValueError, match="relation=zero-out; got relation=replace-one"):
        budget(path, relation="replace-one")


def test_another_file_is_left_alone(path):
    path.write_text("not a data base, but longer than a header of one would have to be" * 20)
    with pytest.raises(ValueError, match=r"holds no budget \(.*\): name another file"):
        budget(path)
    assert path.read_text().startswith("not a data base")
    with pytest.raises(OSError, match="cannot be read or written"):
        budget(path.parent / "nowhere" / "books.sqlite")


# the books outlive a process

CHARGE_ON_AND_ON = """
import sys
from labsec import privacy
books = privacy.Budget(sys.argv[1], unit="client", delta=1e-5, relation="zero-out", people=20, epsilon=1e6)
while True:
    books.charge(noise=8.0, clients=[0, 1])
    print(len(books.rows()), flush=True)
"""

KILLED_BEFORE = """
import os, signal, sqlite3, sys
from labsec import privacy

class Killed(sqlite3.Connection):
    def execute(self, statement, *arguments):
        if statement.startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *arguments)

books = privacy.Budget(sys.argv[1], unit="client", delta=1e-5, relation="zero-out", people=20, epsilon=1e6)
connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **keywords: connect(*arguments, factory=Killed, **keywords)
books.charge(noise=8.0, clients=[0, 1])
"""


def kept(path):
    """How many charges the file holds, once it is clear that it is whole."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    rows = budget(path, epsilon=1e6).rows()
    assert all(row["clients"] == [0, 1] for row in rows)
    return len(rows)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_charge_that_was_confirmed_outlives_kill_9(path, after):
    """Killed at whatever it does just then, after so many charges were confirmed; one more may have been made."""
    process = subprocess.Popen([sys.executable, "-c", CHARGE_ON_AND_ON, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(after)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += [int(line) for line in process.stdout.read().split()]
    process.stdout.close()
    process.wait()
    assert confirmed[-1] <= kept(path) <= confirmed[-1] + 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO charges", "COMMIT"])
def test_a_charge_that_is_killed_in_the_middle_was_not_made(path, statement):
    budget(path, epsilon=1e6).charge(noise=8.0, clients=[0, 1])
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE, str(path), statement], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert kept(path) == 1
    budget(path, epsilon=1e6).charge(noise=8.0, clients=[0, 1])  # the lock went with the process
    assert kept(path) == 2


def test_of_two_who_charge_at_once_only_one_gets_the_last_round(path):
    noise = privacy.Accountant(unit="client", delta=1e-5, relation="zero-out", rate=1, rounds=5).noise_for(4)
    books = budget(path)

    def charge(_):
        try:
            return books.charge(noise=noise)
        except privacy.BudgetExceeded:
            return None

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(charge, range(12)))
    assert sum(answer is not None for answer in answers) == 5 == len(books.rows())


def test_while_a_charge_is_reckoned_nobody_else_can_begin_one(path, monkeypatch):
    """Or two could both find enough left, and both take it."""
    books = budget(path)
    refused = []

    def reckon(releases, **terms):
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        refused.append(releases)
        return epsilon_of_all(releases, **terms)

    monkeypatch.setattr("labsec.privacy.budget.epsilon_of_all", reckon)
    books.charge(noise=8.0)
    assert refused


def test_what_is_exported_says_it_all(path):
    books = budget(path, per_client=3.0)
    books.charge(noise=8.0, clients=[4, 2])
    books.charge(noise=10.0, steps=2)
    whole = json.loads(books.as_json())
    assert whole["terms"] == {**TERMS, "epsilon": 4.0, "per_client": 3.0}
    assert whole["spent"] == books.spent()
    assert [(row["number"], row["noise"], row["steps"], row["clients"]) for row in whole["charges"]] == [
        (1, 8.0, 1, [2, 4]),
        (2, 10.0, 2, None),
    ]
    lines = list(csv.DictReader(io.StringIO(books.as_csv())))
    assert [line["clients"] for line in lines] == ["2 4", "everybody"]
    assert float(lines[-1]["spent"]) == books.spent()
    assert {(line["unit"], line["delta"], line["relation"], line["people"]) for line in lines} == {
        ("client", "1e-05", "zero-out", "20")
    }


# in a federation


def private(books, *, noise=4.0, **changes):
    rule = bind(privacy.noisy_mean, clip=1.0, noise=noise)
    charged = bind(privacy.charge_round, budget=books, noise=noise)
    usual = {"clients": 20, "local_steps": 1, "rounds": 20, "aggregate": rule, "broadcast": charged}
    return Scenario(**{**usual, **changes})


def test_a_run_ends_before_the_round_that_the_budget_refuses(path):
    """And that round was not trained: whoever would have trained in it was never asked."""
    trained = []

    def train(model, params, x, y, batches, *, lr, chunk, round):
        trained.append(round)
        return torch.zeros(len(batches), model.dim)

    seen = []
    with pytest.raises(privacy.BudgetExceeded):
        seen.extend(rounds(private(budget(path, epsilon=2.0), train=train)))
    assert [result.number for result in seen] == trained == [0, 1, 2, 3]
    spent = [result.notes[0]["epsilon"] for result in seen]
    assert spent == sorted(spent)
    assert spent[-1] == budget(path, epsilon=2.0).spent() <= 2.0


def test_a_second_run_goes_on_with_what_the_first_one_left(path):
    books = budget(path, epsilon=2.0)
    assert len(list(rounds(private(books, rounds=3)))) == 3
    with pytest.raises(privacy.BudgetExceeded):
        list(rounds(private(books, rounds=3)))
    assert len(books.rows()) == 4


def test_those_who_were_drawn_pay_and_with_a_secret_draw_everybody(path, tmp_path):
    books = budget(path, per_client=3.0)
    (result,) = rounds(private(books, rounds=1, cohort=5))
    assert books.rows()[0]["clients"] == result.clients.tolist()
    secret = budget(tmp_path / "secret", per_client=3.0)
    charged = bind(privacy.charge_round, budget=secret, noise=4.0, rate=0.25)
    list(rounds(private(secret, rounds=2, participation=0.25, broadcast=charged)))
    assert [row["clients"] for row in secret.rows()] == [None, None]


def test_charging_changes_nothing_of_what_is_learned(path):
    charged = next(rounds(private(budget(path))))
    free = next(rounds(private(budget(path), broadcast=None)))
    assert torch.equal(charged.after, free.after)


def test_an_attacker_who_tries_the_rule_is_not_charged(path):
    """Trials copy the rule and the stages; the books are charged by the one broadcast of the round."""

    def tries(view):
        for _ in range(5):
            view.rule(view.own)
        return view.own

    books = budget(path)
    attacked = {"malicious": 0.2, "attack": tries, "public_rule": True, "aggregate": robust.mean}
    list(rounds(private(books, rounds=2, **attacked)))
    assert len(books.rows()) == 2


def test_a_copy_keeps_the_same_books(path):
    books = budget(path)
    deepcopy(books).charge(noise=8.0)
    assert len(books.rows()) == 1
