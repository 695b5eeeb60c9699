"""What the scores of pictures, tables and genomes ask of their arguments."""

from __future__ import annotations

from torch import Tensor

from labsec.guards import check_kind, kind


def check_samples(name: str, images: Tensor, truth: Tensor, *, least: int) -> None:
    """Raise unless both are floating-point tensors [n, …] with at least so many dimensions."""
    check_kind(name, Tensor, images=images, truth=truth)
    for given in (images, truth):
        if given.ndim < least or not given.is_floating_point():
            raise ValueError(f"{name} needs floating-point images of {least} dimensions or more; got {kind(given)}")
