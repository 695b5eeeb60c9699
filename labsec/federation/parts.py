"""A stage, an attack or a rule in its place: it gets the keywords that it asks for, and is held to its contract."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsec.federation.bind import part_name
from labsec.federation.scenario import Scenario
from labsec.types import ENGINE_FILLS, generator

SUM_OF_SEVERAL = -1  # the identity of a row that stands for several clients


@dataclass(frozen=True, eq=False)
class Rows:
    """Messages with their senders and sample counts, kept in step.

    values    [k, dim]
    clients   [k] int64
    weights   [k] sample counts
    """

    values: Tensor
    clients: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Tensor) -> Rows:
        return Rows(self.values[rows], self.clients[rows], self.weights[rows])

    def replaced(self, values: Tensor) -> Rows:
        """The same senders with other values; merged rows have lost who sent them, and count alike."""
        if len(values) == len(self):
            return Rows(values, self.clients, self.weights)
        nobody = torch.full((len(values),), SUM_OF_SEVERAL, device=values.device)
        return Rows(values, nobody, torch.ones_like(nobody))


class Part:
    """A function of the scenario, called as `part(argument, rows, number)`.

    What it remembers between rounds belongs to one run: the function is copied when the part is made.
    """

    def __init__(self, function: Callable[..., Any], place: str, seed: int) -> None:
        self.function = copy.deepcopy(function)
        self.place = f"{place} {part_name(function)}"
        self.seed = seed
        self.wants = [name for name in ENGINE_FILLS if name in inspect.signature(function).parameters]

    def __call__(self, argument: Any, rows: Rows, number: int, *untouchable: Tensor) -> Tensor:
        """The function's result; raises ValueError if it is no tensor of rows of the right width, or if the function
        changed the rows or another `untouchable` tensor in place."""
        guarded = (rows.values, *untouchable)
        before = [tensor._version for tensor in guarded]
        result = self.function(argument, **self._keywords(rows, number))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            raise ValueError(f"{self.place} must return a floating-point tensor; got {_kind(result)}")
        if (result.dtype, result.device) != (rows.values.dtype, rows.values.device):
            raise ValueError(
                f"{self.place} must return {rows.values.dtype} on {rows.values.device}; "
                f"got {result.dtype} on {result.device}"
            )
        if [tensor._version for tensor in guarded] != before:
            raise ValueError(f"{self.place} changed its input in place; it must return a new tensor")
        if result.shape[-1:] != rows.values.shape[1:]:
            raise ValueError(
                f"{self.place} must return {rows.values.shape[1]} numbers a row; got shape {list(result.shape)}"
            )
        return result

    def stage(self, rows: Rows, number: int) -> Rows:
        """The rows that a stage makes of these."""
        values = self(rows.values, rows, number)
        if values.ndim != 2 or not 1 <= len(values) <= len(rows):
            raise ValueError(f"{self.place} must return [1 … {len(rows)}, dim]; got shape {list(values.shape)}")
        return rows.replaced(values)

    def _keywords(self, rows: Rows, number: int) -> dict[str, Any]:
        offers: dict[str, Callable[[], Any]] = {
            "generator": lambda: generator(self.seed, number, self.place, device=rows.values.device),
            "weights": lambda: rows.weights.clone(),
            "clients": lambda: rows.clients.clone(),
        }
        return {name: offers[name]() for name in self.wants}


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


class Server:
    """The server's stages and its rule, with what they remember."""

    def __init__(self, s: Scenario) -> None:
        self.stages = [Part(stage, f"server stage {i},", s.seed) for i, stage in enumerate(s.server_stages)]
        self.rule = Part(s.aggregate, "rule", s.seed)

    def __call__(self, rows: Rows, number: int) -> Tensor:
        """One update [dim] from the messages of a round."""
        for stage in self.stages:
            rows = stage.stage(rows, number)
        update = self.rule(rows.values, rows, number)
        if update.ndim != 1:
            raise ValueError(f"{self.rule.place} must return one update [dim]; got shape {list(update.shape)}")
        return update

    def as_function(self, number: int) -> Callable[[Tensor], Tensor]:
        """Stages and rule as an attacker may try them: [k, dim] -> [dim], on copies of what they remember."""

        def rule(values: Tensor) -> Tensor:
            trial, senders = copy.deepcopy(self), torch.arange(len(values), device=values.device)
            for part in (*trial.stages, trial.rule):
                part.place = f"trial of {part.place}"  # draws of its own: the server's noise is not the attacker's
            return trial(Rows(values, senders, torch.ones_like(senders)), number)

        return rule
