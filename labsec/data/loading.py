"""Every data set by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from labsec.data import genomes, notes, pictures, tables
from labsec.data.dataset import TENSORS, Dataset
from labsec.data.downloads import DOWNLOADED, downloaded
from labsec.files import CACHE
from labsec.guards import check_kind

BUNDLED: dict[str, Callable[[], Dataset]] = {
    "digits": pictures.digits,
    "mnist5k": pictures.mnist5k,
    "faces": pictures.faces,
    "retina16": partial(pictures.retina, 16),
    "retina": partial(pictures.retina, 32),
    "retina64": partial(pictures.retina, 64),
    "histology16": partial(pictures.histology, 16),
    "histology": partial(pictures.histology, 32),
    "histology64": partial(pictures.histology, 64),
    "photos": pictures.photos,
    "breast_cancer": tables.breast_cancer,
    "credit": tables.credit,
    "notes": notes.notes,
    "dna64": partial(genomes.dna, 64),
    "dna": partial(genomes.dna, 128),
    "dna256": partial(genomes.dna, 256),
    "snps": genomes.snps,
}


def load(name: str, *, root: str | Path | None = None) -> Dataset:
    """A data set by name.

    Bundled and offline:

    digits, mnist5k, faces       grey pictures, 8x8, 28x28 and 25x25 (face or not)
    retina, histology            colour crops of one eye and of one slide, 32x32; `retina16`, `retina64`, `histology16`
                                 and `histology64` show the same places in 16x16 and 64x64
    photos                       colour crops of four photographs, 32x32; the label says of which
    breast_cancer, credit        tables; `credit` is synthetic, and `credit_columns` says what its columns are
    notes                        synthetic texts of four hospital desks, as token numbers; `notes_words` reads them back
    dna, snps                    synthetic one-hot sequences of 128 bases (`dna64`, `dna256`: their first 64, all 256),
                                 and genotypes: 0, 0.5 and 1 for none, one and two copies of the rarer allele

    Downloaded once, with checksums, into `root` (default: data/cache in a clone of the course, otherwise labsec in the
    user's folder for caches): `mnist`, `fashion_mnist`, `cifar10`.

    >>> load("digits").x.shape
    torch.Size([1438, 1, 8, 8])

    Raises ValueError for an unknown name, FileNotFoundError if a download is needed and fails.
    """
    known = {**BUNDLED, **dict.fromkeys(DOWNLOADED, None)}
    check_kind("load", str, name=name)
    if name not in known:
        raise ValueError(f"no data set is called {name!r}; known: {', '.join(sorted(known))}")
    if root is not None:
        check_kind("load", (str, Path), root=root)
    if name not in BUNDLED:
        return downloaded(name, Path(root) if root is not None else CACHE)

    # The files are read once; each caller gets a copy, so that nobody's changes reach the next one.
    original = BUNDLED[name]()
    return replace(original, **{part: getattr(original, part).clone() for part in TENSORS})
