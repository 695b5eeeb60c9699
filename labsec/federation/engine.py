"""The round. Data goes one way: batches, local training, client stages, attack, wire, server stages, rule.

This module knows no attack and no defence: they arrive as values of the scenario.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter

import torch
from torch import Tensor

from labsec import metrics
from labsec.federation.history import History, Round
from labsec.federation.parts import Part, Rows, Server
from labsec.federation.population import Federation
from labsec.federation.scenario import Scenario
from labsec.geometry import is_finite_row
from labsec.models import Model
from labsec.train import local_updates
from labsec.types import AttackerView, ImpossibleAttack, ImpossibleRule, generator


def run(scenario: Scenario) -> History:
    """Run a federation to the end and keep its numbers.

    >>> history = run(Scenario(rounds=3))
    >>> history.final_accuracy > 0.5, len(history.frame())
    (True, 3)
    """
    return History([result.row() for result in rounds(scenario)], scenario.malicious_count)


def rounds(scenario: Scenario) -> Iterator[Round]:
    """Run a federation round by round; stop whenever you have seen enough.

    >>> first = next(rounds(Scenario()))
    >>> first.messages.shape
    torch.Size([20, 4810])

    Raises ImpossibleRule before the first round if the rule cannot hold for so many clients, and ValueError if a
    stage, an attack or a rule breaks its contract.
    """
    torch.set_num_threads(int(os.environ.get("LABSEC_THREADS", "1")))  # a second one can cost a hundredfold
    s, federation, model = scenario, Federation(scenario), scenario.network()
    clients, wire, server = _Clients(s, federation, model), Part(s.wire, "wire", s.seed), Server(s)
    _rehearse(s, federation, model.dim)
    test = s.data.x_test.to(s.device), s.data.y_test.to(s.device)
    params = model.init(generator(s.seed, "start")).to(s.device)
    for number in range(s.rounds):
        start = perf_counter()
        senders = federation.participants(number)
        sent, idle = clients(number, params, senders, server)
        received, rows, excluded = _deliver(wire, sent, number)
        step, reason = _step(s, server, rows, number)
        merged = len(sent) if len(received) != len(sent) else 0
        after = params + s.server_lr * _fixed_divisor(s, federation, server, rows, merged) * step
        due = (number + 1) % s.evaluate_every == 0 or number + 1 == s.rounds
        yield Round(
            number=number,
            before=params,
            after=after,
            messages=rows.values,
            clients=rows.clients,
            excluded=excluded,
            bytes_up=_bytes_up(sent, received),
            bytes_down=4 * model.dim * len(senders),
            metrics=metrics.evaluate(model, after, *test) if due else {},
            seconds=perf_counter() - start,
            skipped=reason,
            idle=idle,
            came=len(senders),
        )
        params = after


def _deliver(wire: Part, sent: Rows, number: int) -> tuple[Rows, Rows, tuple[int, ...]]:
    """What came over the wire, its finite rows, and who sent the others."""
    received = wire.stage(sent, number) if len(sent) else sent
    finite = is_finite_row(received.values)
    return received, received if finite.all() else received[finite], tuple(received.clients[~finite].tolist())


class _Clients:
    """The clients' half of a round: honest ones follow the stages, malicious ones the attack."""

    def __init__(self, s: Scenario, federation: Federation, model: Model) -> None:
        self.s, self.federation, self.model = s, federation, model
        self.stages = [Part(stage, f"client stage {i},", s.seed) for i, stage in enumerate(s.client_stages)]
        self.attack = Part(s.attack, "attack", s.seed) if s.attack else None

    def __call__(self, number: int, params: Tensor, senders: Tensor, server: Server) -> tuple[Rows, str]:
        """What the participants put on the wire, the malicious ones first, and why those did not attack."""
        f, s = self.federation, self.s
        drawn = f.batches(number, senders)
        updates = local_updates(self.model, params, f.x, f.y, drawn, lr=s.lr, chunk=s.chunk)
        rows, m = Rows(updates, senders, f.sizes[senders]), int((senders < s.malicious_count).sum())
        staged = rows
        for stage in self.stages if len(rows) > m else ():  # on all rows, so that draws do not change with an attack
            staged = stage.stage(staged, number)
            if len(staged) != len(rows):
                raise ValueError(f"{stage.place} must keep one row for each of {len(rows)} clients; got {len(staged)}")
        if not m:
            return staged, ""
        forged, idle = rows[:m].values, ""
        try:
            if self.attack is not None:
                forged = self._forge(number, params, rows[:m], staged[m:], server)
        except ImpossibleAttack as error:
            if len(rows) == s.clients:
                raise  # it can never work; where clients are drawn, another round may do
            idle = str(error)
        return rows.replaced(torch.cat([forged, staged[m:].values])), idle

    def _forge(self, number: int, params: Tensor, own: Rows, honest: Rows, server: Server) -> Tensor:
        assert self.attack is not None
        x, y = self.federation.attackers
        view = AttackerView(
            round=number,
            params=params,
            own=own.values,
            others=honest.values if self.s.omniscient else None,
            model=self.model,
            x=x,
            y=y,
            rule=server.as_function(number) if self.s.public_rule else None,
        )
        forged = self.attack(view, own, number, honest.values, params, x, y)
        if forged.shape != own.values.shape:
            raise ValueError(
                f"{self.attack.place} must return [malicious, dim] = {list(own.values.shape)}; got {list(forged.shape)}"
            )
        return forged


def _step(s: Scenario, server: Server, rows: Rows, number: int) -> tuple[Tensor, str]:
    """What the server makes of the messages [dim], and why it is zero where the round is skipped."""
    nothing = torch.zeros(rows.values.shape[1], device=rows.values.device)
    if not len(rows) and s.participation < 1:  # nobody was drawn: the sum is zero, and a private rule adds its noise
        rows = rows.replaced(nothing[None])
    if not len(rows):
        return nothing, "no finite message arrived"
    try:
        update = server(rows, number)
    except ImpossibleRule as error:
        return nothing, str(error)
    if not update.isfinite().all():
        return nothing, f"{server.rule.place} returned a NaN or an infinity"
    return update, ""


def _fixed_divisor(s: Scenario, federation: Federation, server: Server, rows: Rows, merged: int) -> float:
    """The factor that turns an average over those who were drawn into a sum over a divisor that does not depend on it.

    A rule that weighs by sample counts divides by samples, any other by clients.

    merged    how many senders the rows stand for together; 0 if each row has its own
    """
    if s.participation == 1:
        return 1.0
    if "weights" in server.rule.wants and not merged:
        return float(rows.weights.sum() / (s.participation * federation.sizes.sum()))
    return max(merged or len(rows), 1) / (s.participation * s.clients)


def _rehearse(s: Scenario, federation: Federation, dim: int) -> None:
    """Try wire, server stages and rule on noise from everybody: a rule that can never hold raises here."""
    senders = torch.arange(s.cohort or s.clients, device=s.device)
    noise = torch.randn(len(senders), dim, generator=generator(s.seed, "rehearsal")).to(s.device)
    wire, server = Part(s.wire, "wire", s.seed), Server(s)
    server(wire.stage(Rows(noise, senders, federation.sizes[senders]), -1), -1)


def _bytes_up(sent: Rows, received: Rows) -> int:
    """Merged messages were dense when they were sent: masks and ciphertexts have no zeros to leave out."""
    if len(received) != len(sent):
        return 4 * sent.values.numel()
    return metrics.wire_bytes(received.values)
