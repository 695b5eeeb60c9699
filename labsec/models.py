"""Small networks as pure functions of flat parameters, stacked over clients.

A model maps params [c, dim] and x [c, b, *shape] to logits [c, b, classes]: client i's parameters see client i's
samples, in one batched product for everybody. Restarts of an attack are "clients" too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from labsec.guards import check_function, check_kind, check_number, check_sizes, kind

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
    origin    the constructor's name and the arguments that it was called with, from which `spec` is made
    backward  (layers, x, slope) -> [(h, delta), …], for a network whose parameters are weight, bias, weight, bias, …:
              what every layer saw, [c, in, b], and the slope at its output, [c, out, b]. A sample's gradient is the
              outer product of its two columns for the weight, and the second column for the bias. None leaves the
              gradient to automatic differentiation, which is always right and slower

    >>> model = mlp((1, 8, 8), 10, hidden=(32,))
    >>> model.dim
    2410
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> model(params.expand(3, -1), torch.rand(3, 5, 1, 8, 8)).shape
    torch.Size([3, 5, 10])

    A model pickles, and goes to another process, as its `spec`. It never changes, so a copy is the model itself.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    shapes: tuple[tuple[int, ...], ...]
    forward: Callable[[Layers, Tensor], Tensor]
    module: Callable[[], nn.Module]
    bounds: tuple[float, ...]
    width: int
    origin: tuple[str, Mapping[str, Any]]
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

        >>> mlp((30,), 2, hidden=(8,)).spec["arguments"]
        {'shape': [30], 'classes': 2, 'hidden': [8], 'activation': 'relu'}

        Raises ValueError if the activation has no name in ACTIVATIONS.
        """
        constructor, arguments = self.origin
        return {"constructor": constructor, "arguments": {name: _plain(value) for name, value in arguments.items()}}

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[dict[str, Any]]]:
        return build, (self.spec,)

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self


def _plain(value: int | Sequence[int] | Activation) -> int | list[int] | str:
    """An argument of a constructor as JSON knows it: an activation by its name in ACTIVATIONS."""
    if isinstance(value, Sequence):
        return [int(number) for number in value]
    if not callable(value):
        return int(value)
    for name, known in ACTIVATIONS.items():
        if value in (known, getattr(F, name)):  # torch and torch.nn.functional have several of them twice
            return name
    raise ValueError(
        f"a model with the activation {value!r} has no spec, so it cannot be saved or sent to another process; "
        f"these have a name: {', '.join(ACTIVATIONS)}"
    )


def _fan_in_bounds(shapes: Sequence[tuple[int, ...]]) -> tuple[float, ...]:
    """torch.nn's default start: uniform within 1/sqrt(fan in), a bias with the fan of its weight."""
    weights = [shape for shape in shapes if len(shape) > 1]
    return tuple(1 / math.sqrt(math.prod(shape[1:])) for shape in weights for _ in ("weight", "bias"))


def _linear(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """Columns in, columns out: weight [c, out, in], bias [c, out], h [c, in, b] -> [c, out, b].

    Samples are the columns, so that the softmax over the classes is one vectorised pass (9 times faster).
    """
    return torch.baddbmm(bias[:, :, None], weight, h)


_BEND: dict[Activation, Callable[[Tensor], Tensor]] = {
    torch.relu: torch.sign,
    torch.sigmoid: lambda h: h * (1 - h),
    torch.tanh: lambda h: 1 - h * h,
}
"""The derivative of an activation, written in terms of its output h."""


def _backward_mlp(layers: Layers, x: Tensor, slope: Slope, activation: Activation) -> list[tuple[Tensor, Tensor]]:
    """Backpropagation by hand: what every layer saw, [c, in, b], and the slope at its output, [c, out, b]."""
    inputs = [x.flatten(2).transpose(1, 2)]
    for i in range(0, len(layers) - 2, 2):
        inputs.append(activation(_linear(layers[i], layers[i + 1], inputs[-1])))
    # From the last layer to the first: each slope, carried through a layer's weight, is bent by the activation below.
    slopes = [slope(_linear(layers[-2], layers[-1], inputs[-1]))]
    for i in reversed(range(2, len(layers), 2)):
        below = torch.bmm(layers[i].transpose(1, 2), slopes[-1])
        slopes.append(below.mul_(_BEND[activation](inputs[i // 2])))
    return list(zip(inputs, reversed(slopes), strict=True))


def mlp(
    shape: tuple[int, ...],
    classes: int,
    *,
    hidden: Sequence[int] = (64,),
    activation: Activation = torch.relu,
) -> Model:
    """Fully connected layers; every input number is seen by every neuron of the first.

    shape         of one sample
    hidden        neurons of each hidden layer
    activation    elementwise, behind each of them

    >>> mlp((30,), 2, hidden=()).dim          # logistic regression
    62

    Raises ValueError unless all sizes are whole numbers >= 1.
    """
    check_sizes("mlp", shape=shape, hidden=hidden)
    check_number("mlp", whole=True, above=0, classes=classes)
    check_function("mlp", activation=activation)
    widths = [math.prod(shape), *hidden, classes]
    shapes = tuple(s for i, o in pairwise(widths) for s in ((o, i), (o,)))

    def forward(layers: Layers, x: Tensor) -> Tensor:
        h = x.flatten(2).transpose(1, 2)  # [c, in, b]
        for i in range(0, len(layers) - 2, 2):
            h = activation(_linear(layers[i], layers[i + 1], h))
        return _linear(layers[-2], layers[-1], h).transpose(1, 2)

    def module() -> nn.Module:
        linear = [nn.Linear(i, o) for i, o in pairwise(widths)]
        between = [step for layer in linear[:-1] for step in (layer, _Activation(activation))]
        return nn.Sequential(nn.Flatten(), *between, linear[-1])

    return Model(
        name="MLP " + "-".join(map(str, widths)),
        shape=tuple(shape),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=module,
        bounds=_fan_in_bounds(shapes),
        width=sum(widths),
        origin=("mlp", {"shape": tuple(shape), "classes": classes, "hidden": tuple(hidden), "activation": activation}),
        backward=partial(_backward_mlp, activation=activation) if activation in _BEND else None,
    )


class _Activation(nn.Module):
    """A function as a torch.nn layer, for the twins."""

    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(h)


def _conv(weight: Tensor, bias: Tensor, h: Tensor, stride: int, padding: int) -> Tensor:
    """Every client's own convolution: weight [c, out, in, k, k], bias [c, out], h [c, b, in, y, x].

    One convolution in groups, a group for each client, whose channels stand side by side.
    """
    channels = h.transpose(0, 1).flatten(1, 2)  # [b, c * in, y, x]
    result = F.conv2d(channels, weight.flatten(0, 1), bias.flatten(), stride, padding, groups=len(weight))
    return result.unflatten(1, bias.shape).transpose(0, 1)  # [c, b, out, y, x]


def _convolutional(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    layers: Sequence[tuple[int, int, int, int]],
    activation: Activation,
    origin: tuple[str, Mapping[str, Any]],
    start: float | None = None,
) -> Model:
    """Convolutions (out, kernel, stride, padding), then one fully connected layer."""
    check_sizes(name, shape=shape)
    check_number(name, whole=True, above=0, classes=classes)
    check_function(name, activation=activation)
    if len(shape) != 3:
        raise ValueError(f"{name} needs images [channels, height, width]; got shape {list(shape)}")
    channels, *sides = shape
    shapes: list[tuple[int, ...]] = []
    widths = [math.prod(shape)]
    for out, k, stride, padding in layers:
        shapes += [(out, channels, k, k), (out,)]
        channels = out
        sides = [(side + 2 * padding - k) // stride + 1 for side in sides]
        widths.append(channels * math.prod(sides))
    features = widths[-1]
    shapes += [(classes, features), (classes,)]

    def forward(params: Layers, x: Tensor) -> Tensor:
        h = x
        for i, (_, _, stride, padding) in enumerate(layers):
            h = activation(_conv(params[2 * i], params[2 * i + 1], h, stride, padding))
        return _linear(params[-2], params[-1], h.flatten(2).transpose(1, 2)).transpose(1, 2)

    def module() -> nn.Module:
        ins = [shape[0], *(out for out, *_ in layers)]
        convs = [nn.Conv2d(i, *layer) for i, layer in zip(ins, layers, strict=False)]
        between = [step for conv in convs for step in (conv, _Activation(activation))]
        return nn.Sequential(*between, nn.Flatten(), nn.Linear(features, classes))

    return Model(
        name=name,
        shape=tuple(shape),
        classes=classes,
        shapes=tuple(shapes),
        forward=forward,
        module=module,
        bounds=_fan_in_bounds(shapes) if start is None else (start,) * len(shapes),
        width=sum(widths) + classes,
        origin=(origin[0], {**origin[1], "shape": tuple(shape)}),
    )


def lenet(shape: tuple[int, ...], classes: int) -> Model:
    """The network of Deep Leakage from Gradients: three sigmoid convolutions of 12 channels, uniform(-0.5, 0.5) start.

    Source: Zhu, Liu and Han 2019, arXiv:1906.08935, and its published code.

    >>> lenet((3, 32, 32), 100).shapes[-2]
    (100, 768)
    """
    layers = [(12, 5, 2, 2), (12, 5, 2, 2), (12, 5, 1, 2)]
    origin = ("lenet", {"shape": shape, "classes": classes})
    return _convolutional("LeNet (DLG)", shape, classes, layers, torch.sigmoid, origin, start=0.5)


def convnet(shape: tuple[int, ...], classes: int, *, activation: Activation = torch.relu) -> Model:
    """Two convolutions with stride 2 (16, then 32 channels) and a fully connected layer.

    >>> convnet((1, 28, 28), 10).dim
    20490
    """
    origin = ("convnet", {"shape": shape, "classes": classes, "activation": activation})
    return _convolutional("ConvNet", shape, classes, [(16, 3, 2, 1), (32, 3, 2, 1)], activation, origin)


def embedding(length: int, vocabulary: int, classes: int, *, width: int = 32) -> Model:
    """A text as the mean of its words' vectors, then one fully connected layer; the order of the words is lost.

    length        tokens of a text; short texts are padded with 0, which does not count
    vocabulary    token numbers, 0 included; the flat vector holds a row of `width` numbers for each
    width         numbers in a word's vector

    >>> model = embedding(26, 168, 4)
    >>> model.dim                             # 168 * 32 + 4 * 32 + 4
    5508
    >>> model(model.init(torch.Generator().manual_seed(0))[None], torch.ones(1, 5, 26, dtype=torch.int64)).shape
    torch.Size([1, 5, 4])

    Raises ValueError unless all sizes are whole numbers >= 1.
    Source: the classifier of Joulin et al. 2016, arXiv:1607.01759, without its n-grams.
    """
    sizes = {"length": length, "vocabulary": vocabulary, "classes": classes, "width": width}
    check_number("embedding", whole=True, above=0, **sizes)
    shapes = ((vocabulary, width), (classes, width), (classes,))

    def forward(layers: Layers, x: Tensor) -> Tensor:
        return _linear(layers[1], layers[2], _text_mean(layers[0], x)).transpose(1, 2)

    def module() -> nn.Module:
        return nn.Sequential(_MeanEmbedding(vocabulary, width), nn.Linear(width, classes))

    return Model(
        name=f"Embedding {vocabulary}-{width}-{classes}",
        shape=(length,),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=module,
        bounds=(1.0, *_fan_in_bounds(shapes[1:])),
        width=length + vocabulary + width + classes,
        origin=("embedding", sizes),
    )


def _text_mean(table: Tensor, x: Tensor) -> Tensor:
    """Mean vector of every client's texts, padding left out: table [c, v, w], x [c, b, length] -> [c, w, b].

    A text counts its words, [v] numbers, and one product with the table adds up their vectors for everybody.
    """
    present = (x != 0).to(table.dtype)  # [c, b, length]
    shares = present / present.sum(dim=2, keepdim=True).clamp_min(1)
    counts = table.new_zeros(*x.shape[:2], table.shape[1]).scatter_add_(2, x, shares)  # [c, b, v]
    return torch.bmm(table.transpose(1, 2), counts.transpose(1, 2))


class _MeanEmbedding(nn.Module):
    """The mean of the vectors of all tokens but 0, for the twin."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)

    def forward(self, x: Tensor) -> Tensor:
        present = (x != 0).float()[:, :, None]  # [b, length, 1]
        return (self.words(x) * present).sum(dim=1) / present.sum(dim=1).clamp_min(1)


_CONSTRUCTORS: dict[str, Callable[..., Model]] = {
    "mlp": mlp,
    "lenet": lenet,
    "convnet": convnet,
    "embedding": embedding,
}


def build(spec: Mapping[str, Any]) -> Model:
    """The model that a `Model.spec` describes. A spec may come from a stranger's file: nothing in it is run.

    spec    {"constructor": name, "arguments": {name: value}}, as `Model.spec` gives it

    >>> build({"constructor": "mlp", "arguments": {"shape": [30], "classes": 2, "hidden": [8]}}).dim
    266

    Raises ValueError if the constructor, an argument or an activation is unknown, if an argument is missing, or if a
    size is no whole number >= 1.
    """
    if not isinstance(spec, Mapping) or set(spec) != {"constructor", "arguments"}:
        raise ValueError(f"a model's spec holds a constructor and its arguments, nothing else; got {spec!r}")
    constructor = spec["constructor"]
    arguments = spec["arguments"]
    if not isinstance(constructor, str) or constructor not in _CONSTRUCTORS:
        raise ValueError(f"no model is made by {constructor!r}; known: {', '.join(_CONSTRUCTORS)}")
    make = _CONSTRUCTORS[constructor]
    if not isinstance(arguments, Mapping):
        raise ValueError(f"the arguments of {constructor} must be named; got {arguments!r}")
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"the arguments {[*arguments]} do not fit {constructor}: {error}") from error
    if "activation" not in arguments:
        return make(**arguments)
    activation = arguments["activation"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"no activation is called {activation!r}; known: {', '.join(ACTIVATIONS)}")
    return make(**{**arguments, "activation": ACTIVATIONS[activation]})
