"""What an attack brings home: the estimate, and how it came by it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from labsec.guards import check_kind, check_number, kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """Samples that an attack believes in, chosen without the truth, and the work that they took.

    method         the attack's name
    estimate       [k, *shape] candidates, the one that it believes in most first; k may be 0
    labels         [k] int64 class of each candidate, or None where the attack says nothing about them
    losses         matching loss by iteration, of the restart that won; empty for an attack without iterations
    restarts       how often it started anew, the first start included
    divergences    how many of the restarts ended in numbers that are not finite, or further off than they began
    evaluations    gradients of the matching loss that were computed, over all restarts
    seconds        processor time, all threads together
    assumptions    what it took for granted, each a sentence for the report

    >>> import torch
    >>> found = Reconstruction(method="guess", estimate=torch.zeros(1, 2, 2), assumptions=("One sample a message.",))
    >>> len(found.estimate), found.labels is None, found.restarts
    (1, True, 1)

    An estimate that is not finite is a failure: `succeeded` says so, and every score in `metrics` counts it as the
    worst. Raises ValueError if labels and estimate are not equally many, or for a count below 0.
    """

    method: str
    estimate: Tensor
    labels: Tensor | None = None
    losses: tuple[float, ...] = ()
    restarts: int = 1
    divergences: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    assumptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_kind("Reconstruction", str, method=self.method)
        check_kind("Reconstruction", Tensor, estimate=self.estimate)
        check_kind("Reconstruction", tuple, losses=self.losses, assumptions=self.assumptions)
        if self.estimate.ndim < 2:
            raise ValueError(f"Reconstruction needs an estimate [k, *shape]; got {kind(self.estimate)}")
        if self.labels is not None:
            check_kind("Reconstruction", Tensor, labels=self.labels)
        if self.labels is not None and self.labels.shape != (len(self.estimate),):
            raise ValueError(
                f"Reconstruction needs labels [{len(self.estimate)}], one for each candidate; got {kind(self.labels)}"
            )
        counts = {"restarts": self.restarts, "divergences": self.divergences, "evaluations": self.evaluations}
        check_number("Reconstruction", whole=True, least=0, **counts)
        check_number("Reconstruction", least=0, seconds=self.seconds)

    @property
    def succeeded(self) -> bool:
        """Whether there is a candidate and every number of the candidates is finite. It says nothing of likeness."""
        return len(self.estimate) > 0 and bool(self.estimate.isfinite().all())
