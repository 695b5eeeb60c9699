"""Data sets that are downloaded on request, once, with checksums."""

from __future__ import annotations

from pathlib import Path

import torch

from labsec.data.dataset import Dataset
from labsec.data.files import images

DOWNLOADED = {  # name -> class of torchvision.datasets, folder below root
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}


def downloaded(name: str, root: Path) -> Dataset:
    import torchvision.datasets  # takes a second, and only these data sets need it

    class_name, folder = DOWNLOADED[name]
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
        x=images(train.data),
        y=torch.as_tensor(train.targets),
        x_test=images(test.data),
        y_test=torch.as_tensor(test.targets),
        classes=len(train.classes),
    )
