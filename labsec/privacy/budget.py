"""A privacy budget that outlives the process: books in one SQLite file, and a refusal before it is too late.

Whatever a round gives away cannot be taken back. So a round is charged before it runs: the charge is on disk when
`Budget.charge` returns, and a round that would cost too much is refused with nothing written. A process that is killed
between the two leaves a round that is paid for and was never run, which errs on the safe side.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.privacy.accountant import Relation, Unit, check_terms, epsilon_of_all
from labsec.types import Update

Kind = tuple[float, float]  # (noise, rate) of a release

PATIENCE = 30.0  # seconds that a process waits for another one that is charging
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS terms "
    "(unit TEXT, delta REAL, relation TEXT, people INTEGER, epsilon REAL, per_client REAL)",
    "CREATE TABLE IF NOT EXISTS charges (number INTEGER PRIMARY KEY, noise REAL NOT NULL, rate REAL NOT NULL, "
    "steps INTEGER NOT NULL, everybody INTEGER NOT NULL, spent REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS charged "
    "(client INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (client, number)) WITHOUT ROWID",
)


class BudgetExceeded(ValueError):
    """A round would cost more than what is left of a budget. Nothing was charged, and the round must not run."""


class Budget:
    """What all rounds together may give away, for each client and in all, kept in a file.

    path          of the SQLite file; it is made if there is none, and taken up if its terms are the same
    unit          who is hidden: a "client" with all its data, or one "example"
    delta         the probability that the guarantee may fail, below 1 / people
    relation      "zero-out" or "replace-one", as an `Accountant` knows them
    people        how many clients there are, or examples; clients have the identities 0 … people - 1
    epsilon       what all rounds together may cost somebody who was in each of them
    per_client    what the rounds in which a client took part may cost it; None sets no such limit

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> terms = {"unit": "client", "delta": 1e-5, "relation": "zero-out", "people": 30}
    >>> budget = Budget(Path(folder.name, "books.sqlite"), **terms, epsilon=2)
    >>> round(budget.charge(noise=4.0), 2)
    0.93
    >>> round(budget.charge(noise=4.0), 2)
    1.36
    >>> budget.charge(noise=4.0, steps=3)
    Traceback (most recent call last):
    labsec.privacy.budget.BudgetExceeded: this round would take ε from 1.356 to 2.258, and the budget is 2 in all
    >>> round(budget.spent(), 2)
    1.36
    >>> folder.cleanup()

    A budget is its file: a copy of it, as a run makes one of every part, keeps the same books.
    Raises ValueError for an unknown unit or relation, unless epsilon > 0, 0 < per_client, people >= 2 and
    0 < delta < 1 / people; if the file holds a budget on other terms, or is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        unit: Unit,
        delta: float,
        relation: Relation,
        people: int,
        epsilon: float,
        per_client: float | None = None,
    ) -> None:
        check_kind("Budget", (str, os.PathLike), path=path)
        check_terms("Budget", unit=unit, delta=delta, relation=relation)
        check_number("Budget", above=0, epsilon=epsilon)
        check_number("Budget", whole=True, least=2, people=people)
        if per_client is not None:
            check_number("Budget", above=0, per_client=per_client)
        if delta * people >= 1:
            raise ValueError(
                "Budget needs delta < 1 / people, or it could show one of them to everybody; "
                f"got delta={delta}, people={people}"
            )
        self.path = Path(path)
        self.unit = unit
        self.delta = float(delta)
        self.relation = relation
        self.people = int(people)
        self.epsilon = float(epsilon)
        self.per_client = None if per_client is None else float(per_client)
        self._open_books()

    def charge(
        self, *, noise: float, rate: float = 1.0, steps: int = 1, clients: Sequence[int] | Tensor | None = None
    ) -> float:
        """Pay for a round that is about to run; the charge is on disk when this returns.

        noise      multiplier of the round, over the clip
        rate       chance of each unit to be in it; below 1 only if nobody learns who was
        steps      how many noisy sums it gives away: 1, or the steps of DP-SGD
        clients    who pays, and whose part in the round must not depend on what they hold; None for everybody
        returns    what is spent in all then

        Raises BudgetExceeded, and writes nothing, if too little is left; ValueError for values out of range, for a
        client that there is none of, and if `clients` are named where the secrecy of a draw among clients counts.
        """
        check_number("charge", above=0, noise=noise)
        check_number("charge", above=0, most=1, rate=rate)
        check_number("charge", whole=True, above=0, steps=steps)
        payers = None if clients is None else self._checked(clients)
        if payers is not None and self.unit == "client" and rate < 1:
            raise ValueError(
                "charge needs a secret draw at a rate below 1, so everybody pays: leave out clients; "
                f"got rate={rate} and {len(payers)} clients"
            )
        release: Kind = (float(noise), float(rate))
        with self._transaction() as books:
            spent = self._refuse_too_much(books, release, int(steps), payers)
            row = (*release, int(steps), payers is None, spent)
            number = books.execute(
                "INSERT INTO charges (noise, rate, steps, everybody, spent) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            books.executemany("INSERT INTO charged VALUES (?, ?)", [(client, number) for client in payers or []])
        return spent

    def spent(self, client: int | None = None) -> float:
        """The epsilon of all rounds that were charged; or of those that a client pays for.

        Raises ValueError for a client that there is none of.
        """
        with self._connection() as books:
            if client is None:
                return self._epsilon(_releases(books))
            (known,) = self._checked([client])
            return self._epsilon(_releases(books, known))

    def rows(self) -> list[dict[str, Any]]:
        """The books, a row for each charge: its number from 1, noise, rate, steps, clients (None for everybody), and
        what was spent in all after it."""
        with self._connection() as books:
            charges = books.execute("SELECT number, noise, rate, steps, everybody, spent FROM charges ORDER BY number")
            columns = ("number", "noise", "rate", "steps", "clients", "spent")
            rows = [dict(zip(columns, charge, strict=True)) for charge in charges]
            for row in rows:
                paid = books.execute("SELECT client FROM charged WHERE number = ? ORDER BY client", (row["number"],))
                row["clients"] = None if row["clients"] else [client for (client,) in paid]
        return rows

    def as_json(self) -> str:
        """The terms and the books as JSON."""
        return json.dumps({"terms": self._terms(), "spent": self.spent(), "charges": self.rows()}, indent=1) + "\n"

    def as_csv(self) -> str:
        """The books as CSV; each line carries the terms, without which its epsilon means nothing."""
        text = io.StringIO()
        columns = ["number", "noise", "rate", "steps", "clients", "spent", *self._terms()]
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        for row in self.rows():
            who = "everybody" if row["clients"] is None else " ".join(map(str, row["clients"]))
            table.writerow({**row, **self._terms(), "clients": who})
        return text.getvalue()

    def __deepcopy__(self, memo: dict[int, Any]) -> Budget:
        return self

    def _terms(self) -> dict[str, Any]:
        names = ("unit", "delta", "relation", "people", "epsilon", "per_client")
        return {name: getattr(self, name) for name in names}

    def _checked(self, clients: Sequence[int] | Tensor) -> list[int]:
        """The identities as plain numbers, each once."""
        is_list = clients.ndim == 1 if isinstance(clients, Tensor) else isinstance(clients, list | tuple | range)
        if not is_list:
            raise ValueError(f"charge needs a list of clients, or None for everybody; got clients={kind(clients)}")
        if isinstance(clients, Tensor) and (clients.is_floating_point() or clients.dtype == torch.bool):
            raise ValueError(f"charge needs identities, whole numbers; got clients={kind(clients)}")
        for client in clients:
            check_number("Budget", whole=True, least=0, below=self.people, client=client)
        named = [int(client) for client in clients]
        if len(set(named)) < len(named):
            raise ValueError(f"charge needs each client once; got clients={kind(clients)}, not all different")
        return named

    # --- what it comes to

    def _refuse_too_much(
        self, books: sqlite3.Connection, release: Kind, steps: int, payers: Sequence[int] | None
    ) -> float:
        """What is spent in all if a release is charged; raises BudgetExceeded if that is too much for anybody."""
        releases = _releases(books)
        before = self._epsilon(releases)
        after = self._epsilon(releases + Counter({release: steps}))
        if after > self.epsilon:
            raise BudgetExceeded(
                f"this round would take ε from {before:.4g} to {after:.4g}, and the budget is {self.epsilon:g} in all"
            )
        if self.per_client is None:
            return after
        for client in self._all_kinds(books) if payers is None else payers:
            own = _releases(books, client)
            would = self._epsilon(own + Counter({release: steps}))
            if would > self.per_client:
                raise BudgetExceeded(
                    f"this round would take the ε of client {client} from {self._epsilon(own):.4g} to {would:.4g}, "
                    f"and the budget is {self.per_client:g} for each client"
                )
        return after

    def _all_kinds(self, books: sqlite3.Connection) -> list[int]:
        """Everybody who ever paid alone, and one who never did: all the others are like that one."""
        alone = {client for (client,) in books.execute("SELECT DISTINCT client FROM charged")}
        never = next((client for client in range(self.people) if client not in alone), None)
        return sorted(alone) if never is None else sorted({*alone, never})

    def _epsilon(self, releases: Counter[Kind]) -> float:
        return epsilon_of_all(releases, delta=self.delta, relation=self.relation) if releases else 0.0

    # --- the file

    def _open_books(self) -> None:
        """Make the file, or take it up if it holds a budget on these terms."""
        mine = tuple(self._terms().values())
        with self._transaction() as books:
            for statement in SCHEMA:
                books.execute(statement)
            theirs = books.execute("SELECT * FROM terms").fetchone()
            if theirs is None:
                books.execute("INSERT INTO terms VALUES (?, ?, ?, ?, ?, ?)", mine)
        for name, kept, given in zip(self._terms(), theirs or mine, mine, strict=True):
            if kept != given:
                raise ValueError(
                    f"{self.path} keeps a budget with {name}={kept}; got {name}={given}: name another file"
                )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as books:
                # What is committed is on the disk, its folder's entry included, before the call returns.
                books.execute("PRAGMA synchronous = EXTRA")
                yield books
        except sqlite3.OperationalError as error:
            raise OSError(f"the budget {self.path} cannot be read or written: {error}.") from None
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} holds no budget ({error}): name another file") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done in the block is kept, or nothing; meanwhile no other process can charge."""
        with self._connection() as books:
            books.execute("BEGIN IMMEDIATE")
            try:
                yield books
            except BaseException:
                if books.in_transaction:
                    books.execute("ROLLBACK")
                raise
            books.execute("COMMIT")


def _releases(books: sqlite3.Connection, client: int | None = None) -> Counter[Kind]:
    """How many releases of each kind were charged: all, or those that a client pays for."""
    own = "WHERE everybody OR number IN (SELECT number FROM charged WHERE client = ?)"
    found = books.execute(
        f"SELECT noise, rate, SUM(steps) FROM charges {'' if client is None else own} GROUP BY noise, rate",
        () if client is None else (client,),
    )
    return Counter({(noise, rate): steps for noise, rate, steps in found})


def charge_round(
    params: Update,
    *,
    budget: Budget,
    noise: float,
    rate: float = 1.0,
    steps: int = 1,
    clients: Tensor,
    note: Callable[..., None],
) -> Update:
    """Broadcast: charge a round to a budget, then send the model as it is.

    params     [dim] the server's model
    budget     whose books are kept
    noise      multiplier of the round: that of the rule, or of the stage, that adds it
    rate       chance of each unit to be in the round; below 1 everybody pays, because nobody knows who was drawn, or
               with the unit "example" all examples of those who were drawn
    steps      noisy sums of a round
    clients    [k] who was drawn
    note       puts on record what is spent in all
    returns    [dim] the same model

    The server sends its model before anybody trains: a round that the budget refuses never begins, and `rounds` ends
    with BudgetExceeded after all rounds before it.

    >>> import tempfile
    >>> from labsec import Scenario, bind, rounds
    >>> from labsec.privacy import noisy_mean
    >>> folder = tempfile.TemporaryDirectory()
    >>> terms = {"unit": "client", "delta": 1e-5, "relation": "zero-out", "people": 20}
    >>> budget = Budget(Path(folder.name, "books.sqlite"), **terms, epsilon=2)
    >>> rule = bind(noisy_mean, clip=1.0, noise=4.0)
    >>> private = Scenario(aggregate=rule, broadcast=bind(charge_round, budget=budget, noise=4.0))
    >>> seen = []
    >>> try:
    ...     for each in rounds(private):
    ...         seen.append(each.number)
    ... except BudgetExceeded as refusal:
    ...     print(len(seen), "rounds:", refusal)
    4 rounds: this round would take ε from 1.993 to 2.258, and the budget is 2 in all
    >>> folder.cleanup()

    Raises BudgetExceeded and ValueError as `Budget.charge` does.
    """
    check_kind("charge_round", Budget, budget=budget)
    check_kind("charge_round", Tensor, params=params, clients=clients)
    check_number("charge_round", above=0, most=1, rate=rate)
    secret = budget.unit == "client" and rate < 1
    spent = budget.charge(noise=noise, rate=rate, steps=steps, clients=None if secret else clients)
    note(epsilon=spent, budget=budget.epsilon)
    return params
