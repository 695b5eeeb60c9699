"""How much of a genome was found: its bases, its genotypes, and the rare alleles that name a person."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labsec.guards import check_kind, check_number, kind
from labsec.metrics.shared import check_samples


def base_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each sequence's letters that its best match has at their places: [n].

    found    [k, letters, length], the first n count
    truth    [n, letters, length], one-hot

    >>> base_accuracy(torch.eye(2)[None], torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]))
    tensor([0.5000])

    Raises ValueError unless both hold sequences of one shape.
    """
    check_samples("base_accuracy", found, truth, least=3)
    return _best_share("base_accuracy", found, truth, lambda x: x.argmax(dim=1))


def genotype_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each person's genotypes that the best match has, values rounded to 0, 1/2 and 1: [n].

    found    [k, *shape], the first n count
    truth    [n, *shape]

    >>> genotype_accuracy(torch.tensor([[0.0, 0.4, 0.6]]), torch.tensor([[0.0, 0.5, 1.0]]))
    tensor([0.6667])

    Raises ValueError unless both hold genotypes of one shape.
    """
    check_samples("genotype_accuracy", found, truth, least=2)
    return _best_share("genotype_accuracy", found, truth, lambda x: (2 * x).round().flatten(1))


def rare_allele_recall(found: Tensor, truth: Tensor, *, frequencies: Tensor, rare: float = 0.05) -> float:
    """Share of the rare alleles that a batch carries which the best match of their carrier shows, too.

    found          [k, loci], the first n count
    truth          [n, loci] genotypes by 2
    frequencies    [loci] of the rarer allele in the population
    rare           a frequency under which an allele is rare

    The most frequent genotype of a locus with a rare allele is "none", so a guess without a message recalls nothing.
    NaN if nobody carries a rare allele.

    >>> truth = torch.tensor([[0.5, 0.0, 0.5]])
    >>> rare_allele_recall(torch.tensor([[0.5, 0.5, 0.0]]), truth, frequencies=torch.tensor([0.01, 0.01, 0.4]))
    1.0

    Raises ValueError unless there is one frequency for each locus, and 0 < rare <= 1.
    """
    check_samples("rare_allele_recall", found, truth, least=2)
    check_kind("rare_allele_recall", Tensor, frequencies=frequencies)
    check_number("rare_allele_recall", above=0, most=1, rare=rare)
    if found.shape[1:] != truth.shape[1:] or frequencies.shape != truth.shape[1:]:
        shapes = f"{kind(found)}, {kind(truth)} and {kind(frequencies)}"
        raise ValueError(f"rare_allele_recall needs found and truth [n, loci] and frequencies [loci]; got {shapes}")
    if not frequencies.is_floating_point() or not frequencies.isfinite().all():
        raise ValueError(f"rare_allele_recall needs finite floating-point frequencies; got {kind(frequencies)}")
    is_rare = frequencies < rare  # [loci]
    carried = 0
    recalled = 0
    for person in truth:
        # The match is chosen by all loci, so that no lucky guess at the rare ones counts.
        shares = (found[: len(truth)] - person).abs().nan_to_num(1.0, 1.0, 1.0).mean(dim=1)  # [k]
        has = (person > 0.25) & is_rare
        carried += int(has.sum())
        if len(shares):
            recalled += int((has & (found[shares.argmin()] > 0.25)).sum())
    return recalled / carried if carried else float("nan")


def _best_share(name: str, found: Tensor, truth: Tensor, decide: Callable[[Tensor], Tensor]) -> Tensor:
    """Share of equal decisions between each truth and the best of the first n candidates: [n]."""
    if found.shape[1:] != truth.shape[1:] or 0 in truth.shape[1:]:
        raise ValueError(f"{name} needs samples of one shape; got {list(found.shape)} and {list(truth.shape)}")
    if not len(found) or not len(truth):
        return torch.zeros(len(truth))
    equal = decide(truth)[:, None] == decide(found[: len(truth)])[None]  # [n, k, places]
    finite = found[: len(truth)].flatten(1).isfinite().all(dim=1)  # [k]
    return (equal.flatten(2).float().mean(dim=2) * finite).amax(dim=1)
