"""How the engine calls what others wrote: each part gets the keywords that it asks for, and is held to its contract.

Turn        one round as it goes on: what every part may ask for, and what is put on record
Messages    rows of updates, in step with whose they are
Part        a function of the scenario at its place
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labsec.federation.bind import asked_for
from labsec.geometry import is_finite_row
from labsec.guards import kind
from labsec.parts import part_name
from labsec.types import AttackerView, generator

SUM_OF_SEVERAL = -1  # the identity of a row that stands for several clients
NOT_FINITE = "returned a NaN or an infinity"


@dataclass(eq=False)
class Turn:
    """One round as it goes on.

    number      from 0; -1 in the rehearsal
    params      [dim] the model that the server sends
    notes       what parts put on record with `note`
    skipped     why the model did not change; "" if it did
    resting     why the attackers sent honest updates; "" if they attacked, or if there are none
    """

    number: int
    params: Tensor
    notes: list[dict[str, Any]] = field(default_factory=list)
    skipped: str = ""
    resting: str = ""

    def skip(self, reason: str) -> None:
        """Leave the model as it is in this round; the first reason counts, for the others follow from it."""
        self.skipped = self.skipped or reason

    def trial(self) -> Turn:
        """The same round for whoever tries something out: what is put on record there, nobody reads."""
        return Turn(self.number, self.params)


class Note:
    """The `note` of one part in one round: `note(client=3, score=1.5)` puts a record into `Round.notes`.

    Its values are numbers, texts, booleans or None; a tensor with one element counts as its number. It belongs to the
    call that it was given to: kept for later it raises, and a copy, as a trial makes one, is mute.
    """

    def __init__(self, turn: Turn, place: str) -> None:
        self._turn = turn
        self._place = place
        self._is_over = False

    def __call__(self, **values: Any) -> None:
        if self._is_over:
            raise ValueError(
                f"{self._place}: this note belongs to round {self._turn.number}; ask for `note` in each call"
            )
        taken = sorted(set(values) & {"round", "place"})
        if taken:
            raise ValueError(f"{self._place}: note fills {' and '.join(taken)} itself")
        plain = {name: self._plain(name, value) for name, value in values.items()}
        self._turn.notes.append({"round": self._turn.number, "place": self._place, **plain})

    def close(self) -> None:
        """The call that this was given to has ended."""
        self._is_over = True

    def __deepcopy__(self, memo: object) -> Note:
        return Note(self._turn.trial(), self._place)

    def _plain(self, name: str, value: Any) -> Any:
        is_number = isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1)
        number = value.item() if is_number else value
        if number is not None and not isinstance(number, bool | int | float | str):
            raise ValueError(f"{self._place}: a note holds numbers and texts; got {name}={kind(value)}")
        return number


@dataclass(frozen=True, eq=False)
class Messages:
    """Rows of updates, in step with whose they are.

    updates   [k, dim]
    clients   [k] int64, their identities
    weights   [k] int64, their sample counts
    """

    updates: Tensor
    clients: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.updates)

    def __getitem__(self, rows: slice | Tensor) -> Messages:
        return Messages(self.updates[rows], self.clients[rows], self.weights[rows])

    def holding(self, updates: Tensor) -> Messages:
        """The same senders with other rows."""
        return Messages(updates, self.clients, self.weights)

    def merged(self, updates: Tensor) -> Messages:
        """Fewer rows that stand for all: nobody knows any more whose they are, and they share the samples evenly."""
        return anonymous(updates, samples=int(self.weights.sum()) // len(updates))

    def followed_by(self, others: Messages) -> Messages:
        """These rows, then those."""
        return Messages(
            torch.cat([self.updates, others.updates]),
            torch.cat([self.clients, others.clients]),
            torch.cat([self.weights, others.weights]),
        )

    def finite(self) -> Messages:
        """Without the rows that hold a NaN or an infinity."""
        is_finite = is_finite_row(self.updates)
        return self if is_finite.all() else self[is_finite]

    def not_finite(self) -> tuple[int, ...]:
        """Who sent the rows that hold a NaN or an infinity."""
        return tuple(self.clients[~is_finite_row(self.updates)].tolist())


def anonymous(updates: Tensor, *, samples: int = 1) -> Messages:
    """Rows of which nobody knows whose they are; they count alike."""
    nobody = torch.full((len(updates),), SUM_OF_SEVERAL, device=updates.device)
    return Messages(updates, nobody, torch.full_like(nobody, samples))


class Part:
    """A function of the scenario at its place.

    What it remembers between rounds belongs to one run: the function is copied when the part is made.

    place    as in `bind.PLACES`
    order    its number among the stages of its place, where there are several
    """

    def __init__(self, place: str, function: Callable[..., Any], seed: int, *, order: int | None = None) -> None:
        self.function = copy.deepcopy(function)
        self.asks = asked_for(function, place)
        self.seed = seed
        numbered = place if order is None else f"{place} {order},"
        self.name = f"{numbered} {part_name(function)}"  # in messages, in notes, and for its own stream of draws
        self.was_compared = False

    def __call__(self, turn: Turn, *arguments: Any, pool: Sequence[Tensor] = (), **offers: Any) -> Any:
        """Call the function with what it asks for; raises ValueError if it changes what it was given in place.

        arguments    what stands before the keywords; the tensors in them are watched
        pool         those among them that may be too large to be copied
        offers       what this place fills beside `generator`, `params`, `round` and `note`
        """
        watched = [*_tensors(arguments), turn.params]
        versions = [tensor._version for tensor in watched]

        # Versions miss what goes through numpy or `.data`. A comparison finds that too, but at every call it would
        # cost as much as a rule: it is made in the rehearsal and at the first call.
        kept = () if self.was_compared else {id(tensor) for tensor in watched} - {id(tensor) for tensor in pool}
        copies = [tensor.clone() if id(tensor) in kept else tensor for tensor in watched]
        keywords = self._keywords(turn, offers)
        result = self.function(*arguments, **keywords)
        if "note" in keywords:
            keywords["note"].close()
        spoiled = [tensor._version for tensor in watched] != versions
        if spoiled or not all(map(_same_bits, watched, copies)):
            raise ValueError(f"{self.name} changed its input in place; it must return a new tensor")
        self.was_compared = True
        return result

    def rows(self, turn: Turn, *arguments: Any, **offers: Any) -> Tensor:
        """Call a function that must give rows as wide as the model, or one; they may hold a NaN or an infinity."""
        return self._checked(self(turn, *arguments, **offers), turn.params)

    def stage(self, turn: Turn, messages: Messages, **offers: Any) -> Messages:
        """What a stage makes of the messages: as many rows, or fewer that stand for all."""
        return self._in_step(messages, self._checked(self._of(turn, messages, offers), turn.params))

    def stage_or_mask(self, turn: Turn, messages: Messages, **offers: Any) -> Messages:
        """What a stage makes of the messages, or those that its mask [k] keeps: names and counts stay with them."""
        result = self._of(turn, messages, offers)
        if not (isinstance(result, Tensor) and result.dtype is torch.bool):
            return self._in_step(messages, self._checked(result, turn.params))
        if result.shape != (len(messages),):
            raise ValueError(f"{self.name} must return a mask [{len(messages)}]; got shape {list(result.shape)}")

        # The rehearsal's rows are noise: who a mask keeps there says nothing about a run.
        return messages if turn.number < 0 else messages[result.to(messages.updates.device)]

    def answer_for(self, turn: Turn, before: Messages, after: Messages) -> None:
        """Skip the round, in this part's name, if it made a NaN or an infinity of rows that were finite."""
        well_after = is_finite_row(after.updates)
        if well_after.all():
            return
        well_before = is_finite_row(before.updates)
        same_rows = len(before) == len(after)
        spoiled = (well_before & ~well_after).any() if same_rows else well_before.all() and not well_after.all()
        if spoiled:
            turn.skip(f"{self.name} {NOT_FINITE}")

    def on_trial(self) -> Part:
        """A copy for a trial, with draws of its own: the server's noise is not the attacker's to foresee."""
        twin = copy.deepcopy(self)
        twin.name = f"trial of {self.name}"
        return twin

    def _of(self, turn: Turn, messages: Messages, offers: dict[str, Any]) -> Any:
        return self(turn, messages.updates, clients=messages.clients, weights=messages.weights, **offers)

    def _in_step(self, messages: Messages, updates: Tensor) -> Messages:
        if updates.ndim != 2 or not 1 <= len(updates) <= len(messages):
            raise ValueError(f"{self.name} must return [1 … {len(messages)}, dim]; got shape {list(updates.shape)}")
        return messages.holding(updates) if len(updates) == len(messages) else messages.merged(updates)

    def _checked(self, result: Any, params: Tensor) -> Tensor:
        """The result, if it holds numbers of the model's type, place and width."""
        if not isinstance(result, Tensor) or not result.is_floating_point():
            raise ValueError(f"{self.name} must return a floating-point tensor; got {kind(result)}")
        if result.requires_grad:
            raise ValueError(f"{self.name} must return numbers without a gradient graph: detach() the result")
        if (result.dtype, result.device) != (params.dtype, params.device):
            raise ValueError(
                f"{self.name} must return {params.dtype} on {params.device}; got {result.dtype} on {result.device}"
            )
        if result.shape[-1:] != params.shape:
            raise ValueError(f"{self.name} must return {len(params)} numbers a row; got shape {list(result.shape)}")
        return result

    def _keywords(self, turn: Turn, offers: dict[str, Any]) -> dict[str, Any]:
        everywhere: dict[str, Callable[[], Any]] = {
            "generator": lambda: generator(self.seed, turn.number, self.name, device=turn.params.device),
            "params": lambda: turn.params,
            "round": lambda: turn.number,
            "note": lambda: Note(turn, self.name),
        }
        return {name: _own(offers[name]) if name in offers else everywhere[name]() for name in self.asks}


def _own(value: Any) -> Any:
    """A copy of what a part is offered: it may do with it what it likes."""
    return value.clone() if isinstance(value, Tensor) else value


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among some arguments, those in the fields of an attackers' view included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, AttackerView):
            yield from _tensors(vars(value).values())


def _same_bits(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, a NaN counting as equal to itself."""
    if tensor is other or torch.equal(tensor, other):
        return True
    numbers = torch.equal(tensor.nan_to_num(), other.nan_to_num())
    return numbers and torch.equal(tensor.isnan(), other.isnan())
