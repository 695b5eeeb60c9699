"""Where data come from: files of installed packages, and the course's own tables, which are known by a checksum."""

from __future__ import annotations

import csv
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labsec import storage
from labsec.data.dataset import Dataset
from labsec.types import generator as stream


def package_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package, found without the import of the package (which takes a second)."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], *parts)


def read_table(path: Path, sha256: str, what: str) -> list[dict[str, str]]:
    """The rows of a table that came with the course: for each the text of every column.

    sha256    of the rows that the script beside the table writes
    what      the rows' name, for the error

    Raises FileNotFoundError or BrokenFileError for a file that is missing or not the course's: results of other data
    would look like those of the course.
    """
    remedy = storage.how_to_restore(path)
    table = list(csv.reader(storage.read_text(path, remedy).splitlines()))

    # The parsed rows are compared, so that line ends that git turned into those of Windows do no harm.
    if hashlib.sha256(repr(table).encode()).hexdigest() != sha256:
        raise storage.BrokenFileError(path, f"its {len(table)} lines are not the {what} of the course", remedy)
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def split(name: str, x: Tensor, y: Tensor, *, test_share: float = 0.2) -> Dataset:
    """Shuffle once, the same way on every machine, and cut off a test part."""
    order = torch.randperm(len(y), generator=stream(0, "split", name))
    test, train = order.tensor_split([round(test_share * len(y))])
    return Dataset(name=name, x=x[train], y=y[train], x_test=x[test], y_test=y[test], classes=int(y.max()) + 1)


def images(raw: Tensor | np.ndarray) -> Tensor:
    """Bytes [n, h, w] or [n, h, w, channels] -> float32 [n, channels, h, w] in [0, 1]."""
    x = torch.as_tensor(raw).float().div_(255)
    return x[:, None] if x.ndim == 3 else x.movedim(-1, 1).contiguous()
