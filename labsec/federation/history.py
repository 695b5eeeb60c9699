"""What a run leaves: a `Round` with its tensors while it goes on, a `History` of its numbers at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Round:
    """What happened in one round.

    number      from 0
    before      [dim] the model that was sent out; `messages` belong to it
    after       [dim] the model that came of it
    messages    [k, dim] what reached the server, rows with a NaN or an infinity left out
    clients     [k] who sent each message; -1 for a sum of several
    excluded    who sent a NaN or an infinity
    bytes_up    what the clients sent
    bytes_down  what was sent to them
    seconds     that the round took, evaluation included
    metrics     accuracy and loss of `after` on the test part; empty where not measured
    skipped     why the model did not change; "" if it did
    idle        why the attackers sent honest updates; "" if they attacked, or if there are none
    came        how many clients took part
    """

    number: int
    before: Tensor
    after: Tensor
    messages: Tensor
    clients: Tensor
    excluded: tuple[int, ...]
    bytes_up: int
    bytes_down: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    skipped: str = ""
    idle: str = ""
    came: int = 0

    def row(self) -> dict[str, float | int | str | None]:
        """The numbers of the round, without its tensors."""
        return {
            "round": self.number,
            "accuracy": self.metrics.get("accuracy"),
            "loss": self.metrics.get("loss"),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "seconds": self.seconds,
            "clients": self.came,
            "excluded": len(self.excluded),
            "skipped": self.skipped,
            "idle": self.idle,
        }


@dataclass(frozen=True, eq=False)
class History:
    """The numbers of a run, round by round; tensors are not kept.

    rows         for each round: round, accuracy, loss (None where not measured), bytes_up, bytes_down, seconds,
                 clients (that took part), excluded (for a NaN or an infinity), skipped (why the model did not change,
                 or ""), idle (why the attackers sent honest updates, or "")
    malicious    number of malicious clients in the federation
    """

    rows: Sequence[Mapping[str, Any]]
    malicious: int

    def column(self, name: str) -> list[Any]:
        """One number per round."""
        return [row[name] for row in self.rows]

    @property
    def accuracy(self) -> list[float]:
        """Share of the test samples that are right, where it was measured."""
        return [row["accuracy"] for row in self.rows if row["accuracy"] is not None]

    @property
    def final_accuracy(self) -> float:
        """Accuracy after the last round."""
        return self.accuracy[-1]

    def frame(self) -> pandas.DataFrame:
        """The rows as a tidy pandas table."""
        import pandas

        return pandas.DataFrame(list(self.rows))

    def __repr__(self) -> str:
        megabytes = sum(self.column("bytes_up")) / 1e6
        return f"History({len(self.rows)} rounds, final accuracy {self.final_accuracy:.3f}, {megabytes:.2f} MB sent)"
