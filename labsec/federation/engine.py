"""The round. This is the file to read first.

Data goes one way: what the server sends, local training, client stages, attack, wire, server stages, rule. Nothing here
knows an attack or a defence by name: they arrive as values of the scenario.

    rounds     the loop, top to bottom
    Clients    their half of a round: train, protect, attack
    Server     its half: send, then stages and rule
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from labsec import encoding, metrics
from labsec.federation.contract import NOT_FINITE, Messages, Part, Turn, anonymous
from labsec.federation.history import History, Round
from labsec.federation.population import Lessons, Population
from labsec.federation.scenario import Scenario
from labsec.geometry import is_finite_row
from labsec.guards import check_kind, check_number, kind
from labsec.models import Model
from labsec.types import AttackerView, ImpossibleAttack, ImpossibleRule, generator


def run(scenario: Scenario) -> History:
    """Run a federation to the end and keep its numbers.

    >>> history = run(Scenario(rounds=3))
    >>> history.final_accuracy > 0.5, len(history.frame())
    (True, 3)
    """
    check_kind("run", Scenario, scenario=scenario)
    rows = []
    notes: list[Mapping[str, Any]] = []
    for result in rounds(scenario):
        rows.append(result.row())
        notes.extend(result.notes)
    return History(rows, scenario.malicious_count, notes)


def rounds(scenario: Scenario) -> Iterator[Round]:
    """Run a federation round by round; stop whenever you have seen enough.

    >>> first = next(rounds(Scenario()))
    >>> first.messages.shape
    torch.Size([20, 4810])

    Raises ImpossibleRule before the first round if the rule cannot hold for so many clients, and ValueError if a
    stage, an attack or a rule breaks its contract.
    """
    check_kind("rounds", Scenario, scenario=scenario)
    torch.set_num_threads(int(os.environ.get("LABSEC_THREADS", "1")))  # a second one can cost a hundredfold
    s = scenario
    model = s.network()
    population = Population(s)
    clients = Clients(s, model, population)
    wire = Part("wire", s.wire, s.seed)
    server = Server(s, model, population)
    rehearse(s, model, population)
    params = model.init(generator(s.seed, "start")) if s.start is None else s.start
    params = params.to(s.device)
    last = s.first_round + s.rounds - 1

    for number in range(s.first_round, last + 1):
        began = perf_counter()
        turn = Turn(number, params)

        # The server sends its model to whoever was drawn; a malicious server may send each client another one.
        senders = population.participants(number)  # [k], the malicious ones first
        received = server.send(turn, senders)  # [dim], or [k, dim]

        # Everybody trains on what it received, with honest or with poisoned data. An update is what that changes.
        learned = clients.train(turn, senders, received)  # [k, dim]

        # Honest clients send what their stages make of it, malicious ones what the attack does.
        protected = clients.protect(turn, learned)  # [k, dim]
        sent = clients.attack(turn, learned, protected, received, server)  # [k, dim]

        # The wire may merge rows, as a secure sum does. A row with a NaN or an infinity goes no further.
        arrived = wire.stage(turn, sent, expected=s.expected) if len(sent) else sent  # [k, dim], or [1, dim]
        finite = arrived.finite()

        # The server's stages change rows or leave some out; its rule makes one step of what is left.
        step = server.step(turn, finite)  # [dim]
        after = params + s.server_lr * step

        is_due = (number + 1) % s.evaluate_every == 0 or number == last
        yield Round(
            number=number,
            before=params,
            after=after,
            messages=finite.updates,
            clients=finite.clients,
            excluded=() if len(finite) == len(arrived) else arrived.not_finite(),
            participants=len(senders),
            attackers=population.attackers_share(senders),
            bytes_up=bytes_up(sent, arrived),
            bytes_down=4 * model.dim * len(senders),
            metrics=evaluate(s, model, after) if is_due else {},
            seconds=perf_counter() - began,
            notes=turn.notes,
            skipped=turn.skipped,
            resting=turn.resting,
        )
        params = after


class Clients:
    """The clients' half of a round: all train, honest ones follow the stages, malicious ones the attack."""

    def __init__(self, s: Scenario, model: Model, population: Population) -> None:
        self.s = s
        self.model = model
        self.population = population
        self.training = Part("train", s.train, s.seed)
        self.stages = [Part("client stage", stage, s.seed, order=i) for i, stage in enumerate(s.client_stages)]
        self.attacking = None if s.attack is None else Part("attack", s.attack, s.seed)

    def train(self, turn: Turn, senders: Tensor, received: Tensor) -> Messages:
        """What everybody who was drawn learns from the model that it received."""
        if not self.population.has_sybils:
            updates = self._learn(turn, senders, received)
        else:
            # A sybil has nothing to learn from: its honest update is zero.
            has_data = self.population.sizes[senders] > 0  # [k]
            starts = received if received.ndim == 1 else received[has_data]
            updates = turn.params.new_zeros(len(senders), self.model.dim)
            updates[has_data] = self._learn(turn, senders[has_data], starts)
        return Messages(updates, senders, self.population.weights[senders])

    def _learn(self, turn: Turn, senders: Tensor, starts: Tensor) -> Tensor:
        """The updates [k, dim] of clients that hold data."""
        if not len(senders):
            return turn.params.new_zeros(0, self.model.dim)
        return self._fit(self.training, turn, senders, starts, self.population.lessons(turn.number, senders), self.s.lr)

    def _fit(self, training: Part, turn: Turn, clients: Tensor, starts: Tensor, lessons: Lessons, lr: float) -> Tensor:
        """What the scenario's training makes of some clients' lessons: [k, dim]."""
        x, y, batches = lessons
        updates = training.rows(
            turn,
            *(self.model, starts, x, y, batches),
            pool=(x, y),
            lr=lr,
            chunk=self.s.chunk,
            clients=clients,
            weights=self.population.weights[clients],
        )
        if updates.shape != (len(clients), self.model.dim):
            raise ValueError(
                f"{training.name} must return [clients, dim] = {[len(clients), self.model.dim]}; "
                f"got {list(updates.shape)}"
            )
        return updates

    def protect(self, turn: Turn, learned: Messages) -> Messages:
        """What the client stages make of every row. Attackers do not run them; their rows here are never used."""
        if self._malicious(learned) == len(learned):
            return learned
        protected = learned
        for stage in self.stages:
            before = protected
            # A client's row must not depend on who else was drawn. So whoever draws, draws for everybody.
            rows = self._everybody(before) if "generator" in stage.asks else before
            made = stage.stage(turn, rows, drawn=torch.isin(rows.clients, before.clients))
            if len(made) != len(rows):
                raise ValueError(f"{stage.name} must keep one row for each of {len(rows)} clients; got {len(made)}")
            protected = made if rows is before else before.holding(made.updates[before.clients])
            stage.answer_for(turn, before, protected)
        return protected

    def _everybody(self, messages: Messages) -> Messages:
        """Rows for all clients of the federation, zero for those that were not drawn."""
        if len(messages) == self.s.clients:
            return messages
        updates = messages.updates.new_zeros(self.s.clients, self.model.dim)
        updates[messages.clients] = messages.updates
        return Messages(updates, torch.arange(self.s.clients, device=updates.device), self.population.weights)

    def attack(self, turn: Turn, learned: Messages, protected: Messages, received: Tensor, server: Server) -> Messages:
        """What goes on the wire: the attack's rows for the malicious clients, protected rows for the honest ones."""
        malicious = self._malicious(learned)
        if not malicious:
            return protected
        own = learned[:malicious]
        honest = protected[malicious:]
        forged = own.updates
        if self.attacking is not None:
            try:
                forged = self._forge(self.attacking, turn, own, honest, received, server)
            except ImpossibleAttack as error:
                # It can never work if everybody is here and well; where clients are drawn, another round may do.
                if len(learned) == self.s.clients and is_finite_row(learned.updates).all():
                    raise
                turn.resting = str(error)
        return learned.holding(torch.cat([forged, honest.updates]))

    def _malicious(self, messages: Messages) -> int:
        """How many of the rows, from the first, belong to malicious clients."""
        count = self.s.malicious_count
        return int((messages.clients < count).sum()) if count else 0

    def _forge(
        self, attack: Part, turn: Turn, own: Messages, honest: Messages, received: Tensor, server: Server
    ) -> Tensor:
        """The rows [malicious, dim] of an attack that sees what the scenario grants it."""
        s = self.s
        others = honest.finite()  # the server drops the other rows, and so nobody learns from them
        if not len(others) and not is_finite_row(own.updates).any():
            raise ImpossibleAttack("the model has blown up: no honest update is finite any more")
        model_received = received if received.ndim == 1 else received[: len(own)]
        view = AttackerView(
            round=turn.number,
            clients=own.clients,
            params=model_received,
            own=own.updates,
            others=others.updates if s.omniscient else None,
            model=self.model,
            x=self.population.attackers_x,
            y=self.population.attackers_y,
            lr=s.lr,
            local_steps=s.local_steps,
            batch_size=s.batch_size,
            rule=server.as_function(turn, own.followed_by(others)) if s.public_rule else None,
            train=self._training_of_choice(turn, own.clients, model_received),
        )
        forged = attack.rows(turn, view, clients=own.clients, weights=own.weights)
        if forged.shape != own.updates.shape:
            raise ValueError(
                f"{attack.name} must return [malicious, dim] = {list(own.updates.shape)}; got {list(forged.shape)}"
            )
        return forged

    def _training_of_choice(self, turn: Turn, clients: Tensor, received: Tensor) -> Callable[..., Tensor]:
        """The `train` of the attackers' view: the scenario's own training, on data of their choice."""
        s = self.s

        def train(
            x: Tensor, y: Tensor, *, lr: float | None = None, steps: int | None = None, start: Tensor | None = None
        ) -> Tensor:
            count = s.local_steps if steps is None else steps
            check_kind("view.train", Tensor, x=x, y=y)
            check_number("view.train", whole=True, steps=count)
            if not (len(x) == len(y) > 0 and count >= 1):
                raise ValueError(
                    "view.train needs as many labels as samples, at least one of each, and steps >= 1; "
                    f"got {len(x)} samples, {len(y)} labels, steps={count}"
                )
            batches = self._batches_of_choice(turn.number, len(y), count)[clients]  # [malicious, steps, batch]
            rate = s.lr if lr is None else lr
            first = received if start is None else start
            return self._fit(self.training.on_trial(), turn.trial(), clients, first, Lessons(x, y, batches), rate)

        return train

    def _batches_of_choice(self, number: int, samples: int, steps: int) -> Tensor:
        """Batches from `samples` samples for every malicious client, drawn whoever takes part in the round."""
        s = self.s
        if s.batch_size is None:
            return torch.arange(samples, device=s.device).expand(s.malicious_count, steps, samples)
        shape = (s.malicious_count, steps, s.batch_size)
        return torch.randint(samples, shape, generator=generator(s.seed, number, "attackers' batches")).to(s.device)


class Server:
    """The server's half of a round: what it sends, its stages and its rule, with what they remember."""

    def __init__(self, s: Scenario, model: Model, population: Population) -> None:
        self.s = s
        self.model = model
        self.population = population
        self.sending = None if s.broadcast is None else Part("broadcast", s.broadcast, s.seed)
        self.stages = [Part("server stage", stage, s.seed, order=i) for i, stage in enumerate(s.server_stages)]
        self.rule = Part("rule", s.aggregate, s.seed)

    def send(self, turn: Turn, senders: Tensor) -> Tensor:
        """What the clients receive: the model [dim], or [k, dim] from a server that tells each something else."""
        if self.sending is None:
            return turn.params
        counts = self.population.weights[senders]
        sent = self.sending.rows(turn, turn.params, clients=senders, weights=counts)
        if sent.shape not in {(self.model.dim,), (len(senders), self.model.dim)}:
            raise ValueError(f"{self.sending.name} must return [dim] or [{len(senders)}, dim]; got {list(sent.shape)}")
        return sent

    def step(self, turn: Turn, messages: Messages) -> Tensor:
        """What the server makes of a round's messages: [dim], zero in a round that is skipped."""
        if not len(messages) and "expected" in self.rule.asks:
            # A sum over nobody is zero, and a private one still adds its noise: nobody can tell that nobody came.
            messages = anonymous(torch.zeros_like(turn.params)[None])
        if not len(messages):
            turn.skip("no finite message arrived")
        if turn.skipped:
            return torch.zeros_like(turn.params)
        try:
            update = self.aggregate(turn, messages)
        except ImpossibleRule as error:
            turn.skip(str(error))
        return torch.zeros_like(turn.params) if turn.skipped else update

    def aggregate(self, turn: Turn, messages: Messages) -> Tensor:
        """Stages, then the rule: [dim]. Zero if a stage leaves nobody, or rows that are not finite."""
        for stage in self.stages:
            before = messages
            messages = stage.stage_or_mask(turn, before, expected=self.s.expected)
            stage.answer_for(turn, before, messages)
            if not len(messages):
                turn.skip(f"{stage.name} leaves nobody")
            if turn.skipped:
                return torch.zeros_like(turn.params)
        update = self.rule.rows(
            turn,
            messages.updates,
            clients=messages.clients,
            weights=messages.weights,
            expected=self.s.expected,
        )
        if update.ndim != 1:
            raise ValueError(f"{self.rule.name} must return one update [dim]; got shape {list(update.shape)}")
        if not update.isfinite().all():
            turn.skip(f"{self.rule.name} {NOT_FINITE}")
        return update

    def as_function(self, turn: Turn, senders: Messages) -> Callable[[Tensor], Tensor]:
        """Stages and rule as an attacker may try them: [k, dim] -> [dim], on copies of what they remember.

        senders    those whose messages the server will get; as many rows count under their names
        """

        def rule(updates: Tensor) -> Tensor:
            twin = copy.copy(self)
            twin.stages = [stage.on_trial() for stage in self.stages]
            twin.rule = self.rule.on_trial()
            known = len(updates) == len(senders)
            return twin.aggregate(turn.trial(), senders.holding(updates) if known else anonymous(updates))

        return rule


def rehearse(s: Scenario, model: Model, population: Population) -> None:
    """Try wire, server stages and rule on noise from everybody: a rule that can never hold raises here.

    These are copies of their own, so they remember nothing of it, and leave no notes.
    """
    senders = torch.arange(s.cohort or s.clients, device=s.device)
    noise = torch.randn(len(senders), model.dim, generator=generator(s.seed, "rehearsal")).to(s.device)
    turn = Turn(-1, torch.zeros(model.dim, device=s.device))
    messages = Messages(noise, senders, population.weights[senders])
    arrived = Part("wire", s.wire, s.seed).stage(turn, messages, expected=s.expected)
    Server(s, model, population).aggregate(turn, arrived)


def evaluate(s: Scenario, model: Model, params: Tensor) -> dict[str, float]:
    """Accuracy and loss on the test part, and what the scenario's probes say."""
    numbers = metrics.evaluate(model, params, s.data.x_test.to(s.device), s.data.y_test.to(s.device))
    for name, probe in s.probes.items():
        found = probe(model, params)
        try:
            numbers[name] = float(found)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"probe {name!r} must return a number; got {kind(found)}") from None
    return numbers


def bytes_up(sent: Messages, arrived: Messages) -> int:
    """What the clients sent. Messages that the wire merged were dense: masks and ciphertexts have no zeros."""
    if len(arrived) != len(sent):
        return 4 * sent.updates.numel()
    return encoding.wire_bytes(arrived.updates)
