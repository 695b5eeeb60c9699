"""What a run leaves: a `Round` with its tensors while it goes on, a `History` of its numbers at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from labsec.guards import check_kind

if TYPE_CHECKING:
    import pandas


def json_lines(notes: Sequence[Mapping[str, Any]]) -> str:
    """Notes as JSON lines, one for each: what log collectors and SIEM systems read.

    notes    of a round or of a history

    JSON has no infinity and no NaN: they become the texts "inf", "-inf" and "nan".

    >>> print(json_lines([{"round": 3, "client": 7, "score": 9.5}, {"round": 4, "score": math.inf}]), end="")
    {"round": 3, "client": 7, "score": 9.5}
    {"round": 4, "score": "inf"}

    Raises TypeError for what is no note.
    """
    check_kind("json_lines", (list, tuple), notes=notes)
    lines = []
    for note in notes:
        check_kind("json_lines", Mapping, note=note)
        lines.append(json.dumps({name: _in_json(value) for name, value in note.items()}, allow_nan=False) + "\n")
    return "".join(lines)


def _in_json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """What happened in one round.

    number           from 0
    before           [dim] the model that the server held, and sent unless the scenario has a `broadcast`
    after            [dim] the model after the round
    messages         [k, dim] what reached the server, rows with a NaN or an infinity left out
    clients          [k] who sent each message; -1 for a sum of several
    excluded         who sent a NaN or an infinity
    participants     how many clients took part
    attackers        the malicious clients' share of those who took part, and of the samples that these report
    bytes_up         what the clients sent
    bytes_down       what was sent to them
    seconds          that the round took, evaluation included
    metrics          accuracy and loss of `after` on the test part, and what the probes say; empty where not measured
    notes            what parts put on record, each with its round and place
    skipped          why the model did not change; "" if it did
    resting          why the attackers sent honest updates; "" if they attacked, or if there are none
    """

    number: int
    before: Tensor
    after: Tensor
    messages: Tensor
    clients: Tensor
    excluded: tuple[int, ...]
    participants: int
    attackers: tuple[float, float]
    bytes_up: int
    bytes_down: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[Mapping[str, Any]] = ()
    skipped: str = ""
    resting: str = ""

    def row(self) -> dict[str, Any]:
        """The numbers of the round, without its tensors; None for what was not measured."""
        measured = {"accuracy": None, "loss": None, **self.metrics}
        return {
            "round": self.number,
            **measured,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "seconds": self.seconds,
            "participants": self.participants,
            "attackers_of_clients": self.attackers[0],
            "attackers_of_samples": self.attackers[1],
            "excluded": len(self.excluded),
            "skipped": self.skipped,
            "resting": self.resting,
        }


@dataclass(frozen=True, eq=False)
class History:
    """The numbers of a run, round by round; tensors are not kept.

    rows         for each round what `Round.row` says: round, accuracy, loss and the probes (None where not measured),
                 bytes_up, bytes_down, seconds, participants, attackers_of_clients and attackers_of_samples (shares),
                 excluded (how many sent a NaN or an infinity), skipped and resting (reasons, or "")
    malicious    number of malicious clients in the federation
    notes        what parts put on record in all rounds
    """

    rows: Sequence[Mapping[str, Any]]
    malicious: int
    notes: Sequence[Mapping[str, Any]] = ()

    def column(self, name: str) -> list[Any]:
        """One number per round."""
        return [row.get(name) for row in self.rows]

    def measured(self, name: str) -> list[float]:
        """A metric or a probe, where it was measured.

        Raises ValueError if the run has measured nothing of that name.
        """
        values = [value for value in self.column(name) if value is not None]
        if not values:
            raise ValueError(f"this run has not measured {name!r}; it has {', '.join(self.rows[-1])}")
        return values

    @property
    def accuracy(self) -> list[float]:
        """Share of the test samples that are right, where it was measured."""
        return self.measured("accuracy")

    @property
    def final_accuracy(self) -> float:
        """Accuracy after the last round."""
        return self.accuracy[-1]

    @property
    def attackers_of_clients(self) -> float:
        """The malicious clients' share of those who took part, on average over the rounds."""
        return self._mean("attackers_of_clients")

    @property
    def attackers_of_samples(self) -> float:
        """The malicious clients' share of the samples that participants report: their weight in a weighted mean."""
        return self._mean("attackers_of_samples")

    def frame(self) -> pandas.DataFrame:
        """The rows as a tidy pandas table."""
        import pandas

        return pandas.DataFrame(list(self.rows))

    def _mean(self, name: str) -> float:
        return sum(self.column(name)) / len(self.rows)

    def __repr__(self) -> str:
        megabytes = sum(self.column("bytes_up")) / 1e6
        return f"History({len(self.rows)} rounds, final accuracy {self.final_accuracy:.3f}, {megabytes:.2f} MB sent)"
