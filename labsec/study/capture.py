"""One file for one captured update: what a curious server holds of a round, in numbers and names; nothing in it runs.

The file is a safetensors file with two tensors, `params` [dim] and `messages` [k, dim], and these metadata, each of
them JSON: format, model (`Model.spec`), round, lr, local_steps, batch_size. It may come from a stranger, so that every
size is looked at before memory is taken for it, and whatever is not expected is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from labsec import models, storage
from labsec.federation.engine import rounds
from labsec.federation.scenario import Scenario
from labsec.guards import check_kind, check_number, kind
from labsec.models import Model
from labsec.types import ServerView

FORMAT = "labsec capture, format 1"
FIELDS = ("format", "model", "round", "lr", "local_steps", "batch_size")
TENSORS = ("params", "messages")
DTYPES = {"F32": torch.float32, "F64": torch.float64}

MOST_BYTES = 64 * 2**20  # of a file
MOST_HEADER = 2**16  # bytes of its header, which names everything
MOST_BRACKETS = 256  # in the header: nothing that is expected is nested deeply
MOST_SAMPLE = 2**20  # numbers in one sample: a picture of 590 x 590 in colour
MOST_WIDTH = 2**24  # numbers that the layers make of one sample
MOST_LAYERS = 64  # numbers in a list of sizes
MOST_COUNT = 10**6  # steps, samples in a step, rounds


class NoCapture(ValueError):
    """What was read is no captured update. The message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """A captured update that was read.

    view     what the server knew: the model that it sent, the messages, the architecture, what clients were told
    round    number of the round, from 0
    """

    view: ServerView
    round: int


def save(path: str | Path, view: ServerView, *, round: int = 0) -> Path:
    """Write what a server holds of a round into one file, whole or not at all.

    path     of the file; one that is there already is replaced
    view     its params and messages are float32 or float64. Params must be finite. A message may hold a NaN or an
             infinity, for the file says what arrived; it is the attacks that refuse it
    round    number of the round, from 0

    >>> import tempfile
    >>> model = models.mlp((3,), 2, hidden=(4,))
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> view = ServerView(params=params, messages=params[None], model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = load(save(Path(folder, "update.safetensors"), view, round=7))
    >>> found.round, found.view.model.name, bool((found.view.messages == view.messages).all())
    (7, 'MLP 3-4-2', True)

    Raises ValueError for a model without a spec (`Model.spec`) and for a view that `load` would refuse; OSError if the
    file cannot be written.
    """
    check_kind("save", (str, Path), path=path)
    data = encoded(view, round=round)
    try:
        decoded(data)
    except NoCapture as error:
        raise ValueError(f"save needs a view that can be read back: {error}") from None
    target = Path(path)
    with storage.replacing(target) as partial:
        partial.write_bytes(data)
    return target


def encoded(view: ServerView, *, round: int = 0) -> bytes:
    """The bytes of a file of `save`; raises ValueError as that does, but for views that only `decoded` refuses."""
    check_kind("save", ServerView, view=view)
    check_number("save", whole=True, least=0, most=MOST_COUNT, round=round)
    model = view.model
    check_kind("save", Model, model=model)
    check_kind("save", Tensor, params=view.params, messages=view.messages)
    metadata = {
        "format": FORMAT,
        "model": model.spec,
        "round": round,
        "lr": view.lr,
        "local_steps": view.local_steps,
        "batch_size": view.batch_size,
    }
    tensors = {"params": view.params, "messages": view.messages}
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES.values():
            raise ValueError(f"save needs {name} to be float32 or float64; got {kind(tensor)}")
    try:
        texts = {name: json.dumps(value, allow_nan=False) for name, value in metadata.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"save needs a view that holds plain finite numbers: {error}") from None
    # Copies, for safetensors writes no two tensors that share their memory.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return safetensors.save(own, texts)


def load(path: str | Path) -> Capture:
    """Read a file of `save`.

    Raises NoCapture, a ValueError, for everything else; OSError if the file cannot be read.
    """
    check_kind("load", (str, Path), path=path)
    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        return decoded(data)
    except NoCapture as error:
        raise NoCapture(f"{path} is no captured update: {error}") from None


def decoded(data: bytes) -> Capture:
    """The captured update in the bytes of a file. They may come from anybody: nothing in them is run.

    >>> decoded(b"hello")
    Traceback (most recent call last):
    labsec.study.capture.NoCapture: it ends within the first 8 bytes, which hold the length of the header

    Raises NoCapture, a ValueError, for bytes that `save` does not write.
    """
    check_kind("decoded", bytes, data=data)
    if len(data) > MOST_BYTES:
        raise NoCapture(f"it is larger than {MOST_BYTES} bytes")
    header, room = _header(data)
    metadata = header.pop("__metadata__", None)
    fields = _fields(metadata)
    model = _model(fields["model"])
    _check_tensors(header, model, room)
    settings = _settings(fields)
    try:
        tensors = safetensors.load(data)
    except (SafetensorError, ValueError) as error:
        raise NoCapture(f"safetensors cannot read it: {error}") from None
    params = tensors["params"]
    wrong = int((~params.isfinite()).sum())
    if wrong:
        raise NoCapture(f"params must be finite; {wrong} of {len(params)} numbers are NaN or infinite")
    round = settings.pop("round")
    return Capture(view=ServerView(params=params, messages=tensors["messages"], model=model, **settings), round=round)


def from_run(scenario: Scenario, *, round: int = 0, client: int = 0) -> Capture:
    """Run a federation as far as one round, and keep what one client sent in it.

    scenario    its `rounds` do not matter: it runs until the message is there
    round       number of the round, from 0
    client      whose message

    >>> found = from_run(Scenario(local_steps=1, batch_size=1), round=2, client=5)
    >>> found.view.messages.shape, found.view.batch_size, found.round
    (torch.Size([1, 4810]), 1, 2)

    Raises ValueError if there is no such client, or if it sent nothing in this round.
    """
    check_kind("from_run", Scenario, scenario=scenario)
    check_number("from_run", whole=True, least=0, most=MOST_COUNT, round=round)
    check_number("from_run", whole=True, least=0, below=scenario.clients, client=client)

    # A server that sends each client a model of its own has no one set of params for a view.
    if scenario.broadcast is not None:
        raise ValueError("from_run needs a scenario whose server sends everybody its model; this one has a broadcast")
    unmeasured = replace(scenario, rounds=round + 1, evaluate_every=round + 1)
    *_, last = rounds(unmeasured)
    rows = (last.clients == client).nonzero()[:, 0]
    if not len(rows):
        raise ValueError(f"client {client} sent no message in round {round}; these did: {last.clients.tolist()}")
    view = ServerView(
        params=last.before,
        messages=last.messages[rows],
        model=scenario.network(),
        lr=scenario.lr,
        local_steps=scenario.local_steps,
        batch_size=scenario.batch_size,
    )
    return Capture(view=view, round=round)


# --- reading: each step looks at one thing, and none believes a number that it has not seen


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes are left for tensors behind it."""
    if len(data) < 8:
        raise NoCapture("it ends within the first 8 bytes, which hold the length of the header")
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= MOST_HEADER:
        raise NoCapture(f"a header of 2 to {MOST_HEADER} bytes was expected; it announces {size}")
    if len(data) < 8 + size:
        raise NoCapture(f"it ends within its header: {len(data) - 8} of {size} bytes are there")
    text = data[8 : 8 + size]
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        raise NoCapture(f"its header opens more than {MOST_BRACKETS} brackets")
    header = _json("the header", text)
    if not isinstance(header, dict):
        raise NoCapture(f"the header must be an object; got {_short(header)}")
    return header, len(data) - 8 - size


def _json(what: str, text: str | bytes) -> Any:
    """JSON as it is defined: no NaN, no name twice."""
    try:
        return json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    except ValueError as error:
        raise NoCapture(f"{what} is not JSON: {_short(str(error))}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name stands in it twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _fields(metadata: Any) -> dict[str, Any]:
    """The metadata, each text read as JSON."""
    if not isinstance(metadata, dict) or set(metadata) != set(FIELDS):
        found = ", ".join(map(_short, metadata)) if isinstance(metadata, dict) else _short(metadata)
        raise NoCapture(f"its metadata must be {', '.join(FIELDS)}; got {_short(found)}")
    fields = {}
    for name, text in metadata.items():
        if not isinstance(text, str):
            raise NoCapture(f"the {name} in its metadata must be a text; got {_short(text)}")
        fields[name] = _json(f"the {name} in its metadata", text)
    if fields["format"] != FORMAT:
        raise NoCapture(f"its format must be {FORMAT!r}; got {_short(fields['format'])}")
    return fields


def _model(spec: Any) -> Model:
    """The model of a spec, if it is small enough to be worked with."""
    arguments = spec.get("arguments") if isinstance(spec, dict) else None
    for value in arguments.values() if isinstance(arguments, dict) else ():
        _check_size(value)
    try:
        model = models.build(spec)
    except (ValueError, TypeError) as error:
        raise NoCapture(f"no model can be made of its spec: {_short(str(error))}") from None
    sample = math.prod(model.shape)
    if sample > MOST_SAMPLE or model.width > MOST_WIDTH:
        raise NoCapture(
            f"its model must take samples of at most {MOST_SAMPLE} numbers and make at most {MOST_WIDTH} of one; "
            f"got {sample} and {model.width}"
        )
    return model


def _check_size(value: Any) -> None:
    """Refuse sizes whose mere product would be a burden."""
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) > MOST_LAYERS:
        raise NoCapture(f"a list in its model's spec must hold at most {MOST_LAYERS} numbers; got {len(numbers)}")
    for number in numbers:
        if isinstance(number, int | float) and not abs(number) <= MOST_BYTES:
            raise NoCapture(f"a number in its model's spec must lie within ±{MOST_BYTES}; got {_short(number)}")


def _check_tensors(header: Mapping[str, Any], model: Model, room: int) -> None:
    """Refuse tensors that the header announces but that are not this model's, or not there."""
    if set(header) != set(TENSORS):
        raise NoCapture(f"its tensors must be {' and '.join(TENSORS)}; got {_short([*header])}")
    bytes_announced = 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise NoCapture(f"{name} must have dtype, shape and data_offsets; got {_short(entry)}")
        dtype, shape = entry["dtype"], entry["shape"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise NoCapture(f"{name} must be of dtype {' or '.join(DTYPES)}; got {_short(dtype)}")
        is_list = isinstance(shape, list) and all(type(side) is int for side in shape)
        rows = shape[0] if name == "messages" and is_list and len(shape) == 2 else None
        wanted = [model.dim] if name == "params" else [rows, model.dim]
        if not is_list or shape != wanted or not (rows is None or 1 <= rows <= MOST_COUNT):
            said = f"[{model.dim}]" if name == "params" else f"[k, {model.dim}] with k >= 1"
            raise NoCapture(f"{name} must have the shape {said} of {model.name}; got {_short(shape)}")
        bytes_announced += math.prod(shape) * DTYPES[dtype].itemsize
    if bytes_announced != room:
        raise NoCapture(f"its tensors take {bytes_announced} bytes; there are {room}")


def _settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What clients were told, and the number of the round."""
    lr, batch = fields["lr"], fields["batch_size"]
    try:
        check_number("a capture", above=0, lr=lr)
        check_number("a capture", whole=True, least=1, most=MOST_COUNT, local_steps=fields["local_steps"])
        check_number("a capture", whole=True, least=0, most=MOST_COUNT, round=fields["round"])
        if batch is not None:
            check_number("a capture", whole=True, least=1, most=MOST_COUNT, batch_size=batch)
    except (ValueError, OverflowError) as error:
        raise NoCapture(_short(str(error))) from None
    return {"lr": lr, "local_steps": fields["local_steps"], "batch_size": batch, "round": fields["round"]}


def _short(value: Any) -> str:
    """A stranger's value for a message: not longer than a line, and without control characters."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:161])
    return text if len(text) <= 160 else f"{text[:159]}…"
