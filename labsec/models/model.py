"""What every network here is: a pure function of flat parameters, stacked over clients.

A model maps params [c, dim] and x [c, b, *shape] to logits [c, b, classes]: client i's parameters see client i's
samples, in one batched product for everybody. Restarts of an attack are "clients" too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from labsec.guards import check_kind, kind

Layers = Sequence[Tensor]  # the parameters of every layer, each [c, *its shape]
Slope = Callable[[Tensor], Tensor]  # logits [c, classes, b] -> the slope of a loss at them, same shape
Activation = Callable[[Tensor], Tensor]  # elementwise

ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "gelu": F.gelu,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "mish": F.mish,
    "selu": torch.selu,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
}
"""The activations that a `spec` can name. A network may use any other function, but then it has no spec."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network as a pure function of flat parameters.

    name      for tables
    shape     of one sample
    classes   number of classes
    shapes    of the parameters, in the order in which the flat vector holds them (torch.nn's own layout)
    forward   (layers, x [c, b, *shape]) -> logits [c, b, classes]
    module    () -> the same network as a torch.nn.Module, the slow twin
    bounds    for each parameter the half-width of its uniform start
    width     numbers that the layers make of one sample, its own included: what training it needs of memory
    origin    the constructor and the arguments that it was called with, from which `spec` is made
    backward  (layers, x, slope) -> [(h, delta), …], for a network whose parameters are weight, bias, weight, bias, …:
              what every layer saw, [c, in, b], and the slope at its output, [c, out, b]. A sample's gradient is the
              outer product of its two columns for the weight, and the second column for the bias. None leaves the
              gradient to automatic differentiation, which is always right and slower

    >>> from labsec.models import mlp
    >>> model = mlp((1, 8, 8), 10, hidden=(32,))
    >>> model.dim
    2410
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> model(params.expand(3, -1), torch.rand(3, 5, 1, 8, 8)).shape
    torch.Size([3, 5, 10])

    A model pickles, and goes to another process, as its constructor and the arguments of its `spec`.
    It never changes, so a copy is the model itself.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    shapes: tuple[tuple[int, ...], ...]
    forward: Callable[[Layers, Tensor], Tensor]
    module: Callable[[], nn.Module]
    bounds: tuple[float, ...]
    width: int
    origin: tuple[Callable[..., Model], Mapping[str, Any]]
    backward: Callable[[Layers, Tensor, Slope], list[tuple[Tensor, Tensor]]] | None = None

    @cached_property
    def sizes(self) -> list[int]:
        """How many numbers each parameter holds."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def dim(self) -> int:
        """How many numbers the flat vector holds."""
        return sum(self.sizes)

    @property
    def vocabulary(self) -> int | None:
        """How many token numbers it knows, the padding 0 included; None where samples are no tokens."""
        return self.origin[1].get("vocabulary")

    def init(self, generator: Generator) -> Tensor:
        """Fresh parameters [dim], uniform within each layer's bound, on the generator's device."""
        check_kind(self.name, Generator, generator=generator)
        draws = [
            torch.empty(size, device=generator.device).uniform_(-bound, bound, generator=generator)
            for size, bound in zip(self.sizes, self.bounds, strict=True)
        ]
        return torch.cat(draws)

    def layers(self, params: Tensor) -> list[Tensor]:
        """Views of flat params [c, dim], one per parameter: [c, *its shape]."""
        self._check_params(params)
        parts = params.split(self.sizes, dim=1)
        return [part.view(len(params), *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def __call__(self, params: Tensor, x: Tensor) -> Tensor:
        """Logits of every client's samples under its own parameters.

        Raises ValueError if the shapes or the types do not fit, or for a token number that the model does not know.
        """
        layers = self.layers(params)
        check_kind(self.name, Tensor, x=x)
        if x.ndim < 2 or x.shape[2:] != self.shape or len(x) != len(params):
            raise ValueError(f"{self.name} needs x [{len(params)}, b, {self._sample}]; got {kind(x)}")
        self._check_values(x, params.dtype)
        return self.forward(layers, x)

    def check_data(self, x: Tensor, y: Tensor, dtype: torch.dtype) -> None:
        """Raise unless the model can learn from samples x [n, *shape] with labels y [n], n >= 1.

        dtype    of the parameters, and so of samples that are no tokens
        """
        check_kind(self.name, Tensor, x=x, y=y)
        if x.ndim < 1 or x.shape[1:] != self.shape or not len(x):
            raise ValueError(f"{self.name} needs x [n, {self._sample}] with n >= 1; got {kind(x)}")
        self._check_values(x, dtype)
        if y.shape != (len(x),) or y.dtype != torch.int64:
            raise ValueError(f"{self.name} needs int64 labels y [{len(x)}], one for each sample; got {kind(y)}")
        least, most = (int(end) for end in y.aminmax())
        if least < 0 or most >= self.classes:
            raise ValueError(f"{self.name} needs labels in 0 … {self.classes - 1}; got {least} … {most}")

    @property
    def _sample(self) -> str:
        return ", ".join(map(str, self.shape))

    def _check_params(self, params: Tensor) -> None:
        check_kind(self.name, Tensor, params=params)
        if params.ndim != 2 or params.shape[1] != self.dim or not params.is_floating_point():
            raise ValueError(f"{self.name} needs params [c, {self.dim}], floating-point numbers; got {kind(params)}")

    def _check_values(self, x: Tensor, dtype: torch.dtype) -> None:
        if self.vocabulary is None:
            if x.dtype != dtype:
                raise ValueError(f"{self.name} needs x of the parameters' type, {dtype}; got {kind(x)}")
            return
        if x.dtype != torch.int64:
            raise ValueError(f"{self.name} needs int64 token numbers; got {kind(x)}")
        if not x.numel():
            return
        least, most = (int(end) for end in x.aminmax())
        if least < 0 or most >= self.vocabulary:
            raise ValueError(
                f"{self.name} needs token numbers in 0 … {self.vocabulary - 1}; got {least} … {most}: "
                "give it a vocabulary as large as that of the data"
            )

    def twin(self, params: Tensor) -> nn.Module:
        """The same network as a torch.nn.Module that holds a copy of params [dim]."""
        check_kind(self.name, Tensor, params=params)
        if params.shape != (self.dim,) or not params.is_floating_point():
            raise ValueError(f"{self.name} needs params [{self.dim}], floating-point numbers; got {kind(params)}")
        module = self.module().to(params.device)
        nn.utils.vector_to_parameters(params.detach().clone(), module.parameters())
        return module

    @property
    def spec(self) -> dict[str, Any]:
        """The constructor's name and arguments, ready for a JSON file; `build` makes the same model of them.

        >>> from labsec.models import mlp
        >>> mlp((30,), 2, hidden=(8,)).spec["arguments"]
        {'shape': [30], 'classes': 2, 'hidden': [8], 'activation': 'relu'}

        Raises ValueError if the activation has no name in ACTIVATIONS.
        """
        constructor, arguments = self.origin
        return {
            "constructor": constructor.__name__,
            "arguments": {name: _plain(value) for name, value in arguments.items()},
        }

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Callable[..., Model], dict[str, Any]]]:
        return made_by, (self.origin[0], self.spec["arguments"])

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self


def _plain(value: int | Sequence[int] | Activation) -> int | list[int] | str:
    """An argument of a constructor as JSON knows it: an activation by its name in ACTIVATIONS."""
    if isinstance(value, Sequence):
        return [int(number) for number in value]
    if isinstance(value, bool):
        return value
    if not callable(value):
        return int(value)
    for name, known in ACTIVATIONS.items():
        if value in (known, getattr(F, name)):  # torch and torch.nn.functional have several of them twice
            return name
    raise ValueError(
        f"a model with the activation {value!r} has no spec, so it cannot be saved or sent to another process; "
        f"these have a name: {', '.join(ACTIVATIONS)}"
    )


def made_by(constructor: Callable[..., Model], arguments: Mapping[str, Any]) -> Model:
    """The model that a constructor makes of arguments as a spec holds them.

    Raises ValueError if an activation is unknown.
    """
    if "activation" not in arguments:
        return constructor(**arguments)
    activation = arguments["activation"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"no activation is called {activation!r}; known: {', '.join(ACTIVATIONS)}")
    return constructor(**{**arguments, "activation": ACTIVATIONS[activation]})
