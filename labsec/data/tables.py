"""Tables: measurements of cell nuclei, and a synthetic credit table with numbers and categories."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from labsec.data.dataset import Dataset
from labsec.data.files import package_file, read_table, split
from labsec.files import COURSE
from labsec.types import generator as stream

CREDIT_SHA256 = "1faa7ef500b804992e20e62590d01773082a5e27e9c2ec1483905bb366b700d6"  # of make_credit.py


@cache
def breast_cancer() -> Dataset:
    file = package_file("sklearn", "datasets", "data", "breast_cancer.csv")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32))  # [569, 31], the label last
    order = torch.randperm(len(table), generator=stream(0, "split", "breast_cancer"))
    test, train = table[order].tensor_split([round(0.2 * len(table))])

    # The range of each measurement is taken from the training part alone: the test part must not tell how to scale.
    low = train[:, :-1].amin(dim=0)
    high = train[:, :-1].amax(dim=0)
    scaled = [((part[:, :-1] - low) / (high - low)).clamp(0, 1) for part in (train, test)]
    labels = [part[:, -1].long() for part in (train, test)]
    return Dataset(name="breast_cancer", x=scaled[0], y=labels[0], x_test=scaled[1], y_test=labels[1], classes=2)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table, and the places that it takes in a sample.

    name          as in the file
    categories    what it may say, in the order of its one-hot places; empty for a number
    low, high     what a number of 0 and of 1 means in the file's units; 0 and 1 for a category
    """

    name: str
    categories: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> int:
        """How many places of a sample it takes."""
        return len(self.categories) or 1


@cache
def credit_columns() -> tuple[Column, ...]:
    """The columns of `credit` in the order of a sample's places: five numbers, then six one-hot categories.

    >>> [(column.name, column.width) for column in credit_columns()][4:7]
    [('credits', 1), ('housing', 3), ('purpose', 6)]
    """
    rows = _credit_rows()
    columns = []
    for name in [name for name in rows[0] if name != "repaid"]:
        said = [row[name] for row in rows]
        if said[0].isdigit():
            # The range that a client could have agreed on with the others: that of the whole table.
            numbers = [int(value) for value in said]
            columns.append(Column(name=name, low=min(numbers), high=max(numbers)))
        else:
            columns.append(Column(name=name, categories=tuple(sorted(set(said)))))
    return tuple(columns)


@cache
def _credit_rows() -> list[dict[str, str]]:
    return read_table(COURSE / "data" / "credit.csv", CREDIT_SHA256, "credit table")


@cache
def credit() -> Dataset:
    """The synthetic credit table: numbers scaled to [0, 1], categories one-hot; class 1 paid back."""
    rows = _credit_rows()
    parts = []
    for column in credit_columns():
        said = [row[column.name] for row in rows]
        if column.categories:
            places = torch.tensor([column.categories.index(value) for value in said])
            parts.append(F.one_hot(places, column.width).float())  # [n, categories]
        else:
            numbers = torch.tensor([float(value) for value in said])
            parts.append(((numbers - column.low) / (column.high - column.low))[:, None])  # [n, 1]
    return split("credit", torch.cat(parts, dim=1), torch.tensor([int(row["repaid"]) for row in rows]))
