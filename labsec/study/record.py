"""One file for one run: what it was made of, its seed and versions, and its numbers; to cite, and to run again."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsec import models, storage
from labsec.data import Dataset, load
from labsec.federation.bind import bind
from labsec.federation.history import History
from labsec.federation.scenario import Scenario
from labsec.guards import check_kind
from labsec.models import Model

FORMAT = "labsec run, format 1"
PACKAGES = ("labsec", "torch", "numpy")
ROOMS = ("poison", "robust", "detect", "privacy", "compress", "train", "federation")  # the parts that a file may name


@dataclass(frozen=True, eq=False)
class Record:
    """A run that was read back.

    spec        what the scenario was made of, in names and numbers, field by field
    versions    of Python and of the packages that ran it
    history     its numbers
    """

    spec: Mapping[str, Any]
    versions: Mapping[str, str]
    history: History

    def scenario(self, **changes: Any) -> Scenario:
        """The scenario, ready to run again.

        changes    fields to take in place of the recorded ones: needed for a part that is no part of labsec, because
                   a file is never asked to name code of anybody else's

        Raises ValueError for such a part, and for data that are no longer the same.
        """
        kept = {name: _rebuilt(name, value) for name, value in self.spec.items() if name not in changes}
        return Scenario(**kept, **changes)


def save_run(path: str | Path, scenario: Scenario, history: History) -> Path:
    """Write a scenario and the history of its run into one JSON file, whole or not at all.

    >>> import tempfile
    >>> from labsec import run
    >>> scenario = Scenario(rounds=1, clients=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = load_run(save_run(Path(folder, "run.json"), scenario, run(scenario)))
    >>> run(record.scenario()).accuracy == record.history.accuracy
    True

    Raises ValueError for a model without a spec (`Model.spec`), OSError if the file cannot be written.
    """
    check_kind("save_run", (str, Path), path=path)
    check_kind("save_run", Scenario, scenario=scenario)
    check_kind("save_run", History, history=history)
    target = Path(path)
    content = {
        "format": FORMAT,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "scenario": {item.name: _spec(getattr(scenario, item.name)) for item in fields(scenario)},
        "malicious": history.malicious,
        "rounds": list(history.rows),
        "notes": list(history.notes),
    }
    storage.write_text(target, json.dumps(content, indent=1) + "\n")
    return target


def load_run(path: str | Path) -> Record:
    """Read a file of `save_run`.

    Raises ValueError if it is none, FileNotFoundError if it is not there.
    """
    check_kind("load_run", (str, Path), path=path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no recorded run: it is not JSON ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} is no recorded run: its format is {found!r}; expected {FORMAT!r}")
    history = History(content["rounds"], content["malicious"], content["notes"])
    return Record(content["scenario"], content["versions"], history)


def _spec(value: Any) -> Any:
    """A field of a scenario in names and numbers."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Dataset):
        return {"data": value.name, "sha256": _fingerprint(value), "samples": len(value.y)}
    if isinstance(value, Model):
        return {"model": value.spec}
    if isinstance(value, list | tuple):
        return [_spec(item) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": {str(key): _spec(item) for key, item in value.items()}}
    if isinstance(value, functools.partial):
        return {**_spec(value.func), "bound": {name: _spec(item) for name, item in value.keywords.items()}}
    if hasattr(value, "__qualname__"):
        return {"part": f"{value.__module__}:{value.__qualname__}"}
    kind = type(value)
    arguments = {
        name: _spec(getattr(value, name)) for name in inspect.signature(kind).parameters if hasattr(value, name)
    }
    return {"part": f"{kind.__module__}:{kind.__qualname__}", "made_with": arguments}


def _rebuilt(name: str, spec: Any) -> Any:
    """A field of a scenario from its spec."""
    if isinstance(spec, list):
        return [_rebuilt(name, item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    if "tensor" in spec:
        return torch.tensor(spec["tensor"], dtype=getattr(torch, spec["dtype"]))
    if "data" in spec:
        return _same_data(spec)
    if "model" in spec:
        return models.build(spec["model"])
    if "mapping" in spec:
        return {key: _rebuilt(name, item) for key, item in spec["mapping"].items()}
    part = _own_part(name, spec["part"])
    if "made_with" in spec:
        return part(**{key: _rebuilt(name, item) for key, item in spec["made_with"].items()})
    bound = {key: _rebuilt(name, item) for key, item in spec.get("bound", {}).items()}
    return bind(part, **bound) if bound else part


def _own_part(field: str, path: str) -> Callable[..., Any]:
    """A function or a class of labsec by its path."""
    module, _, qualified = path.partition(":")
    room = module.removeprefix("labsec.").split(".")[0]
    if not module.startswith("labsec.") or room not in ROOMS or not qualified.isidentifier():
        raise ValueError(f"{field} was {path}, which is no part of labsec: give it, as in scenario({field}=…)")
    return getattr(import_module(module), qualified)


def _same_data(spec: Mapping[str, Any]) -> Dataset:
    data = load(spec["data"])
    if _fingerprint(data) != spec["sha256"]:
        raise ValueError(f"the data set {spec['data']!r} is not what it was when the run was recorded")
    return data


def _fingerprint(data: Dataset) -> str:
    parts = (data.x, data.y, data.x_test, data.y_test)
    return hashlib.sha256(b"".join(part.cpu().contiguous().numpy().tobytes() for part in parts)).hexdigest()
