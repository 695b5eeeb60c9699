"""Data sets, bundled or downloaded on request, and the ways in which they are divided among clients."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from labsec import storage
from labsec.files import CACHE, COURSE
from labsec.guards import check_device, check_kind, check_number, kind
from labsec.types import generator as stream

TENSORS = ("x", "y", "x_test", "y_test")  # the fields of a data set that hold tensors
NOTES_SHA256 = (
    "ae8ef7006270cbb52daf9706bef39f3d22d3092bf1bf4b0699295e75b66c29f4"  # of the rows that data/make_notes.py writes
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples with labels, split into a training and a test part; checked when it is made.

    name         what errors and plots call it
    x, x_test    [n, *shape] float32 in [0, 1] (images are [n, channels, height, width]), or [n, length] int64 token
                 numbers, with 0 behind the end of a text that is shorter than the longest
    y, y_test    [n] int64 in 0 … classes - 1
    classes      number of classes

    >>> x, y = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    >>> Dataset(name="mine", x=x, y=y, x_test=x, y_test=y, classes=2).shape
    (1, 2, 2)
    >>> Dataset(name="mine", x=x * 255, y=y, x_test=x, y_test=y, classes=2)
    Traceback (most recent call last):
    ValueError: mine: x must lie in [0, 1]; got values from ... to ...; divide images by 255

    Raises ValueError if a shape, a type or a value does not fit.
    """

    name: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int

    def __post_init__(self) -> None:
        check_kind("Dataset", str, name=self.name)
        check_kind(self.name, Tensor, x=self.x, y=self.y, x_test=self.x_test, y_test=self.y_test)
        check_number(self.name, whole=True, above=0, classes=self.classes)
        _check_samples(self.name, "x", self.x)
        _check_samples(self.name, "x_test", self.x_test)
        _check_labels(self.name, "y", self.y, len(self.x), self.classes)
        _check_labels(self.name, "y_test", self.y_test, len(self.x_test), self.classes)
        if self.x.shape[1:] != self.x_test.shape[1:] or self.x.dtype != self.x_test.dtype:
            raise ValueError(
                f"{self.name}: x and x_test must hold samples of one shape and type; "
                f"got {list(self.x.shape[1:])} {self.x.dtype} and {list(self.x_test.shape[1:])} {self.x_test.dtype}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def vocabulary(self) -> int | None:
        """How many token numbers there are, the padding 0 included; None where the samples are not tokens."""
        if self.x.dtype != torch.int64:
            return None
        return 1 + int(max(self.x.max(), self.x_test.max()))

    def to(self, device: str | torch.device) -> Dataset:
        """The same data set with its tensors on `device`."""
        check_device(self.name, device)
        return replace(self, **{part: getattr(self, part).to(device) for part in TENSORS})


def _check_samples(name: str, field: str, x: Tensor) -> None:
    if x.ndim < 2 or x.numel() == 0 or x.dtype not in (torch.float32, torch.int64):
        raise ValueError(
            f"{name}: {field} must be float32 (or int64 tokens) of shape [n, …], none of them 0; got {kind(x)}"
        )
    if x.dtype == torch.int64:
        if x.ndim != 2:
            raise ValueError(
                f"{name}: {field} of token numbers must be [n, length]; got {list(x.shape)}; "
                "make images float32 in [0, 1]"
            )
        if x.min() < 0:
            raise ValueError(f"{name}: {field} must hold token numbers >= 0; got {int(x.min())}")
    elif not x.isfinite().all():
        raise ValueError(f"{name}: {field} must be finite; {int((~x.isfinite()).sum())} values are NaN or infinite")
    elif x.min() < 0 or x.max() > 1:
        raise ValueError(
            f"{name}: {field} must lie in [0, 1]; got values from {x.min():.3g} to {x.max():.3g}; divide images by 255"
        )


def _check_labels(name: str, field: str, y: Tensor, n: int, classes: int) -> None:
    if y.shape != (n,) or y.dtype != torch.int64:
        raise ValueError(f"{name}: {field} must be int64 of shape [{n}]; got {kind(y)}")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"{name}: {field} must lie in 0 … {classes - 1} for {classes} classes; got {int(y.min())} … {int(y.max())}"
        )


def load(name: str, *, root: str | Path | None = None) -> Dataset:
    """A data set by name.

    Bundled and offline: `digits` (8x8 grey), `faces` (25x25 grey, face or not), `breast_cancer` (30 numbers), `notes`
    (synthetic texts of four hospital desks, as token numbers; `notes_words` reads them back).
    Downloaded once, with checksums, into `root` (default: data/cache in a clone of the course, otherwise labsec in the
    user's folder for caches): `mnist`, `fashion_mnist`, `cifar10`.

    >>> load("digits").x.shape
    torch.Size([1438, 1, 8, 8])

    Raises ValueError for an unknown name, FileNotFoundError if a download is needed and fails.
    """
    known = {**_BUNDLED, **dict.fromkeys(_DOWNLOADED, None)}
    check_kind("load", str, name=name)
    if name not in known:
        raise ValueError(f"no data set is called {name!r}; known: {', '.join(sorted(known))}")
    if root is not None:
        check_kind("load", (str, Path), root=root)
    if name not in _BUNDLED:
        return _downloaded(name, Path(root) if root is not None else CACHE)

    # The files are read once; each caller gets a copy, so that nobody's changes reach the next one.
    original = _BUNDLED[name]()
    return replace(original, **{part: getattr(original, part).clone() for part in TENSORS})


def _package_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package, found without the import of the package (which takes a second)."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], *parts)


def _split(name: str, x: Tensor, y: Tensor, *, test_share: float = 0.2) -> Dataset:
    """Shuffle once, the same way on every machine, and cut off a test part."""
    order = torch.randperm(len(y), generator=stream(0, "split", name))
    test, train = order.tensor_split([round(test_share * len(y))])
    return Dataset(name=name, x=x[train], y=y[train], x_test=x[test], y_test=y[test], classes=int(y.max()) + 1)


@cache
def _digits() -> Dataset:
    file = _package_file("sklearn", "datasets", "data", "digits.csv.gz")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))  # [1797, 65], the label last
    pixels = table[:, :-1].reshape(-1, 1, 8, 8) / 16  # the file counts from 0 to 16
    labels = table[:, -1].long()
    return _split("digits", pixels, labels)


@cache
def _faces() -> Dataset:
    crops = torch.from_numpy(np.load(_package_file("skimage", "data", "lfw_subset.npy"))).float()  # [200, 25, 25]
    labels = torch.cat([torch.ones(100), torch.zeros(100)]).long()  # the file holds 100 faces, then 100 other crops
    return _split("faces", crops[:, None].clamp(0, 1), labels)


@cache
def _breast_cancer() -> Dataset:
    file = _package_file("sklearn", "datasets", "data", "breast_cancer.csv")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.float32))  # [569, 31], the label last
    order = torch.randperm(len(table), generator=stream(0, "split", "breast_cancer"))
    test, train = table[order].tensor_split([round(0.2 * len(table))])

    # The range of each measurement is taken from the training part alone: the test part must not tell how to scale.
    low = train[:, :-1].amin(dim=0)
    high = train[:, :-1].amax(dim=0)
    scaled = [((part[:, :-1] - low) / (high - low)).clamp(0, 1) for part in (train, test)]
    labels = [part[:, -1].long() for part in (train, test)]
    return Dataset(name="breast_cancer", x=scaled[0], y=labels[0], x_test=scaled[1], y_test=labels[1], classes=2)


@cache
def _notes_table() -> list[dict[str, str]]:
    return read_notes(COURSE / "data" / "notes.csv")


def read_notes(path: Path) -> list[dict[str, str]]:
    """The rows of notes.csv: `desk` and `text` of each note.

    Raises FileNotFoundError or BrokenFileError for a file that is missing or not the course's: results of other notes
    would look like those of the course.
    """
    remedy = storage.how_to_restore(path)
    table = list(csv.reader(storage.read_text(path, remedy).splitlines()))

    # The parsed rows are compared, so that line ends that git turned into those of Windows do no harm.
    if hashlib.sha256(repr(table).encode()).hexdigest() != NOTES_SHA256:
        raise storage.BrokenFileError(path, f"its {len(table)} lines are not the notes of the course", remedy)
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


@cache
def notes_words() -> tuple[str, ...]:
    """The word behind each token number of `notes`, in alphabetical order; number 0 is the padding "".

    >>> words = notes_words()
    >>> " ".join(words[token] for token in load("notes").x[0]).strip()
    'as agreed oxygen cart was sent twice by friday driver informed no change since'
    """
    return ("", *sorted({word for row in _notes_table() for word in row["text"].split()}))


@cache
def _notes() -> Dataset:
    table = _notes_table()
    number = {word: token for token, word in enumerate(notes_words())}
    texts = [torch.tensor([number[word] for word in row["text"].split()]) for row in table]
    desks = sorted({row["desk"] for row in table})
    labels = torch.tensor([desks.index(row["desk"]) for row in table])
    return _split("notes", pad_sequence(texts, batch_first=True), labels)


_BUNDLED: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "faces": _faces,
    "breast_cancer": _breast_cancer,
    "notes": _notes,
}
_DOWNLOADED = {  # name -> class of torchvision.datasets, folder below root
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}


def _downloaded(name: str, root: Path) -> Dataset:
    import torchvision.datasets  # takes a second, and only these data sets need it

    class_name, folder = _DOWNLOADED[name]
    read = getattr(torchvision.datasets, class_name)
    try:
        train = read(str(root), train=True, download=True)
        test = read(str(root), train=False, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"{name} is not in {root / folder} and could not be downloaded ({reason}). "
            f"Without a network, put its original files, unpacked, into {root / folder}"
        ) from error
    return Dataset(
        name=name,
        x=_images(train.data),
        y=torch.as_tensor(train.targets),
        x_test=_images(test.data),
        y_test=torch.as_tensor(test.targets),
        classes=len(train.classes),
    )


def _images(raw: Tensor | np.ndarray) -> Tensor:
    """Bytes [n, h, w] or [n, h, w, channels] -> float32 [n, channels, h, w] in [0, 1]."""
    x = torch.as_tensor(raw).float().div_(255)
    return x[:, None] if x.ndim == 3 else x.movedim(-1, 1).contiguous()


def partition(y: Tensor, clients: int, *, alpha: float | None = None, generator: Generator) -> list[Tensor]:
    """Divide the samples among clients: every index of `y` exactly once, no client left empty.

    y          [n] labels
    clients    how many
    alpha      None: independent and identically distributed (IID) shards of equal size.
               A number: each class is divided by a Dirichlet(alpha) draw; the smaller, the more uneven
    returns    `clients` tensors of indices into y

    >>> shards = partition(torch.tensor([0, 1, 0, 1, 0, 1]), 3, generator=Generator().manual_seed(0))
    >>> sorted(torch.cat(shards).tolist())
    [0, 1, 2, 3, 4, 5]

    Raises ValueError if y is no row of labels, if there are more clients than samples, if alpha <= 0, or if a hundred
    draws in a row leave a client empty. Source of the Dirichlet split: Hsu, Qi and Brown 2019, arXiv:1909.06335.
    """
    check_kind("partition", Tensor, y=y)
    check_kind("partition", Generator, generator=generator)
    check_number("partition", whole=True, clients=clients)
    if y.ndim != 1 or y.dtype != torch.int64:
        raise ValueError(f"partition needs int64 labels y [n]; got {kind(y)}")
    if not 1 <= clients <= len(y):
        raise ValueError(f"partition needs 1 <= clients <= samples; got clients={clients}, samples={len(y)}")
    if alpha is None:
        order = torch.randperm(len(y), generator=generator).to(y.device)
        return list(order.tensor_split(clients))
    check_number("partition", above=0, alpha=alpha)

    # A small alpha may leave a client without samples: draw again, and say so if it is hopeless.
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    for _ in range(100):
        shards = _dirichlet_split(y.cpu().numpy(), clients, alpha, draws)
        sizes = [len(shard) for shard in shards]
        if min(sizes):
            return [torch.from_numpy(shard).to(y.device) for shard in shards]
    raise ValueError(
        f"100 draws of Dirichlet({alpha}) over {len(y)} samples and {clients} clients each left a client empty; "
        f"the last gave {sorted(sizes)}: raise alpha or take fewer clients"
    )


def _dirichlet_split(y: np.ndarray, clients: int, alpha: float, draws: np.random.Generator) -> list[np.ndarray]:
    """Indices into `y` for each client, some perhaps empty."""
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(y):
        members = draws.permutation(np.flatnonzero(y == label))

        # The shares of the class add to one; where their running sum lies, its list of members is cut.
        shares = draws.dirichlet(np.full(clients, alpha))  # [clients]
        cuts = (np.cumsum(shares)[:-1] * len(members)).round().astype(int)
        for own, piece in zip(parts, np.split(members, cuts), strict=True):
            own.append(piece)
    return [np.concatenate(own) for own in parts]
