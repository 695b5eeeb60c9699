"""A captured update in, a folder out: the reconstruction, pictures of it, what speaks for it, and a page to read.

Nothing here knows the truth. What is written is what an attacker has: candidates, and how much of the message they
explain. A folder can be returned to: a second call with a larger budget goes on from the best that was kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from labsec import storage
from labsec.guards import check_kind, check_number
from labsec.invert import Inversion, Reconstruction, gradinverter
from labsec.models import Model
from labsec.study import inversion_page
from labsec.study.capture import Capture, load
from labsec.types import generator

FORMAT = "labsec reconstruction, format 1"
RESULT = "reconstruction.safetensors"
METRICS = "metrics.json"
PAGE = "report.html"
LEAST_SIDE = 96  # pixels of a picture that somebody looks at
MOST_PICTURES = 64
KEEPING = 2.0  # seconds between two savings of the best so far

Progress = Callable[[float, float], None]  # (seconds of the budget that are spent, least unexplained share so far)


class OtherFolder(ValueError):
    """A folder holds something that is not the result of this file, and that must not be overwritten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A result that was read back.

    found      the candidates; their labels are those of the attack, or None in one that was cut short
    origin     SHA-256 of the captured file that it belongs to
    message    which of the file's messages
    seconds    of processor time that were spent on it
    """

    found: Reconstruction
    origin: str
    message: int
    seconds: float


def invert_file(
    path: str | Path,
    folder: str | Path,
    *,
    message: int = 0,
    seconds: float = 60.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inversion:
    """Read samples out of a captured update, and write what was found into a folder.

    path        of a file of `capture.save`
    folder      gets reconstruction.safetensors, a PNG for each picture, metrics.json and report.html. It is made if it
                is not there. One with an earlier result of the same file is gone on with; any other must be empty
    seconds     of processor time for this file, those of earlier calls included
    seed        of the random starts; those of a later call differ from those of an earlier one
    progress    told now and then how far it is

    Raises capture.NoCapture for another file; OtherFolder, a ValueError, for a folder with something else in it;
    ValueError if the message cannot be attacked; OSError if something cannot be read or written.
    """
    check_kind("invert_file", (str, Path), folder=folder)
    check_number("invert_file", above=0, seconds=seconds)
    check_number("invert_file", whole=True, seed=seed)
    torch.set_num_threads(int(os.environ.get("LABSEC_THREADS", "1")))  # a second one can cost a hundredfold
    capture = load(path)
    origin = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    target = Path(folder)
    kept = _kept(target, capture, origin, message)
    spent = kept.seconds if kept else 0.0
    watcher = _Watcher(target, origin, message, spent, progress)
    found = gradinverter(
        capture.view,
        message=message,
        seconds=max(seconds - spent, 1e-9),  # with a budget that is spent, the earlier result is looked at once more
        generator=generator(seed, "invert", round(spent * 1000)),
        known=kept.found if kept else None,
        watch=watcher,
    )
    _write(target, found, capture, origin=origin, message=message, spent=spent, curve=watcher.curve)
    return found


def encoded(found: Reconstruction, *, origin: str = "", message: int = 0, seconds: float | None = None) -> bytes:
    """A result as the bytes of a safetensors file: `estimate` [k, *shape], `labels` [k] where there are any.

    >>> data = encoded(Reconstruction(method="guess", estimate=torch.zeros(1, 2, 2)))
    >>> safetensors.load(data)["estimate"].shape
    torch.Size([1, 2, 2])
    """
    check_kind("encoded", Reconstruction, found=found)
    tensors = {"estimate": found.estimate.detach().cpu().contiguous()}
    if found.labels is not None:
        tensors["labels"] = found.labels.cpu().contiguous()
    told = {
        "format": FORMAT,
        "method": found.method,
        "origin": origin,
        "message": message,
        "seconds": found.seconds if seconds is None else seconds,
        "unexplained": found.unexplained if isinstance(found, Inversion) else None,
        "assumptions": list(found.assumptions),
    }
    return safetensors.save(tensors, {name: json.dumps(value) for name, value in told.items()})


def read_back(path: Path, model: Model) -> Kept:
    """Read a file of `encoded` again.

    model    whose samples it must hold

    Raises storage.BrokenFileError if it is none.
    """
    remedy = "move the folder away, or name another one"
    try:
        with safe_open(path, framework="pt") as file:
            told = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']!r}")
        estimate, labels = tensors["estimate"], tensors.get("labels")
        if estimate.shape[1:] != model.shape:
            raise ValueError(f"it holds samples {list(estimate.shape[1:])}; {model.name} takes {list(model.shape)}")
        if labels is not None:
            model.check_data(estimate, labels, estimate.dtype)
        check_number("it", least=0, seconds=told["seconds"])
        found = Reconstruction(method=str(told["method"]), estimate=estimate, labels=labels)
        return Kept(found=found, origin=told["origin"], message=told["message"], seconds=told["seconds"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise storage.BrokenFileError(path, f"no earlier result: {error}", remedy) from None


def pixels(sample: Tensor) -> np.ndarray:
    """A sample as a picture: [height, width, 3] uint8. One that is none becomes a strip of squares, grey by value.

    sample    [channels, height, width] in [0, 1] with one or three channels; or any other shape

    >>> pixels(torch.tensor([[[0.0, 1.0]]])).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    >>> pixels(torch.tensor([3, 6])).shape
    (1, 2, 3)
    """
    check_kind("pixels", Tensor, sample=sample)
    values = sample.detach().cpu().double().nan_to_num()
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        values = values.reshape(1, 1, -1)
        values = values / values.abs().max().clamp_min(1)
    channels = values.expand(3, -1, -1).clamp(0, 1) * 255
    return channels.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def picture(sample: Tensor) -> bytes:
    """The PNG of a sample, each of its pixels a square, 96 pixels high or wide at least."""
    grid = pixels(sample)
    factor = -(-LEAST_SIDE // max(grid.shape[:2]))
    image = Image.fromarray(grid).resize((grid.shape[1] * factor, grid.shape[0] * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _kept(folder: Path, capture: Capture, origin: str, message: int) -> Kept | None:
    """The earlier result in a folder, None if there is nothing in it."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    if not (folder / RESULT).exists():
        raise OtherFolder(f"{folder} holds other files, which are kept: name another folder")
    kept = read_back(folder / RESULT, capture.view.model)
    if (kept.origin, kept.message) != (origin, message):
        raise OtherFolder(
            f"{folder} holds the result of another message, which is not overwritten: name another folder"
        )
    return kept if len(kept.found.estimate) else None


class _Watcher:
    """Keeps the best so far on the disk, and the matching loss by iteration."""

    def __init__(self, folder: Path, origin: str, message: int, spent: float, progress: Progress | None) -> None:
        self.folder = folder
        self.origin = origin
        self.message = message
        self.spent = spent
        self.progress = progress
        self.curve: list[float] = []
        self.least = float("inf")
        self.began = monotonic()
        self.saved = self.began

    def __call__(self, iteration: int, samples: Tensor, share: float) -> None:
        self.curve.append(share)
        is_better = share < self.least
        self.least = min(share, self.least)
        now = monotonic()
        if self.progress is not None:
            self.progress(self.spent + now - self.began, self.least)
        if is_better and now - self.saved >= KEEPING:
            self.saved = now
            found = Reconstruction(method="cut short", estimate=samples)
            data = encoded(found, origin=self.origin, message=self.message, seconds=self.spent + now - self.began)
            _put(self.folder / RESULT, data)


def _put(file: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made with the first one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with storage.replacing(file) as partial:
        partial.write_bytes(data)


def _write(
    folder: Path, found: Inversion, capture: Capture, *, origin: str, message: int, spent: float, curve: list[float]
) -> None:
    """The files of a folder, the result itself last."""
    pictures = [picture(sample) for sample in found.estimate[:MOST_PICTURES]]
    names = [f"picture_{number:02}.png" for number in range(len(pictures))]
    told = _told(found, capture, message=message, seconds=spent + found.seconds, curve=curve)
    for name, data in zip(names, pictures, strict=True):
        _put(folder / name, data)
    _put(folder / METRICS, (json.dumps(told, indent=1) + "\n").encode())
    _put(folder / PAGE, inversion_page.page(told, pictures).encode())
    _put(folder / RESULT, encoded(found, origin=origin, message=message, seconds=spent + found.seconds))


def _told(found: Inversion, capture: Capture, *, message: int, seconds: float, curve: list[float]) -> Mapping[str, Any]:
    """What is known of a result without the truth; None stands for a number that there is not."""
    view = capture.view
    return {
        "format": FORMAT,
        "model": view.model.name,
        "round": capture.round,
        "message": message,
        "lr": view.lr,
        "local_steps": view.local_steps,
        "batch_size": view.batch_size,
        "method": found.method,
        "samples": len(found.estimate),
        "labels": None if found.labels is None else found.labels.tolist(),
        "unexplained": _finite(found.unexplained),
        "unexplained_by_a_guess": _finite(found.baseline),
        "restarts": found.restarts,
        "divergences": found.divergences,
        "evaluations": found.evaluations,
        "seconds": round(seconds, 3),
        "assumptions": list(found.assumptions),
        "rungs": [{**asdict(rung), "unexplained": _finite(rung.unexplained)} for rung in found.rungs],
        "unexplained_by_iteration": [_finite(share) for share in curve],
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and np.isfinite(number) else None
