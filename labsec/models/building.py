"""A model from its description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from labsec.models.convolutional import convnet, lenet, sequence_net
from labsec.models.dense import mlp
from labsec.models.joint import joint
from labsec.models.model import Model, made_by
from labsec.models.texts import embedding, gru, transformer

_CONSTRUCTORS: dict[str, Callable[..., Model]] = {
    "mlp": mlp,
    "lenet": lenet,
    "convnet": convnet,
    "sequence_net": sequence_net,
    "embedding": embedding,
    "transformer": transformer,
    "gru": gru,
    "joint": joint,
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
    return made_by(make, arguments)
