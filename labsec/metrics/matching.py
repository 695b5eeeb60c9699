"""Which candidate is for which true sample, and whose picture it is among many: likeness is the PSNR."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_kind, kind
from labsec.metrics.pictures import psnr
from labsec.metrics.shared import check_samples


def best_matches(candidates: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """How well ranked candidates recover a batch: each true sample's best match [n, *shape] and its PSNR [n].

    candidates    [k, *shape] in the attacker's own order, best first; chosen without the truth
    truth         [n, *shape]

    Only the first n candidates count: an attacker who shows a hundred guesses for one sample has found nothing.
    Without any candidate the matches are NaN and score minus infinity.

    >>> truth = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> best_matches(torch.tensor([[1.0, 1.0], [0.9, 0.9], [0.0, 0.0]]), truth)[1]
    tensor([  0.9152, 120.0000])
    """
    check_samples("best_matches", candidates, truth, least=2)
    if candidates.shape[1:] != truth.shape[1:]:
        raise ValueError(
            f"best_matches needs samples of one shape; got {list(candidates.shape)} and {list(truth.shape)}"
        )
    first = candidates[: len(truth)]
    if len(first) == 0:
        return torch.full_like(truth, torch.nan), torch.full((len(truth),), -torch.inf)
    scores = torch.stack([psnr(first, sample.expand_as(first)) for sample in truth])  # [n, k]
    best, place = scores.max(dim=1)
    return first[place], best


def assigned(candidates: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """How well ranked candidates recover a batch, each counted for one sample only: [n, *shape] and PSNRs [n].

    candidates, truth    as for `best_matches`, which lets one candidate stand for two samples

    The candidates are dealt out so that the sum of the PSNRs is largest. A sample that gets none has a match of NaN
    and scores minus infinity, as does one whose candidate is not finite.

    >>> truth = torch.tensor([[0.0, 0.0], [0.1, 0.1]])
    >>> assigned(torch.tensor([[0.0, 0.0], [0.9, 0.9]]), truth)[1]
    tensor([120.0000,   1.9382])

    Raises ValueError unless all are floating-point samples of one shape.
    Source: the Hungarian method, Kuhn 1955, by scipy.
    """
    from scipy.optimize import linear_sum_assignment  # a tenth of a second, and few need it

    check_samples("assigned", candidates, truth, least=2)
    if candidates.shape[1:] != truth.shape[1:]:
        raise ValueError(f"assigned needs samples of one shape; got {list(candidates.shape)} and {list(truth.shape)}")
    first = candidates[: len(truth)]
    matches = torch.full_like(truth, torch.nan)
    scores = torch.full((len(truth),), -torch.inf)
    if len(first) == 0:
        return matches, scores
    table = torch.stack([psnr(first, sample.expand_as(first)) for sample in truth]).detach()  # [n, k]
    # A candidate that is not finite is worth less than any other, and can still be dealt to whoever gets no better.
    worth = table.nan_to_num(neginf=-1e6).double()
    samples, places = linear_sum_assignment(worth.numpy(), maximize=True)
    matches[samples] = first[places].to(truth.dtype)
    scores[samples] = table[samples, places]
    return matches, scores


def reidentified(images: Tensor, gallery: Tensor, places: Tensor) -> Tensor:
    """Whether each image looks more like its own original than like any other in a gallery: bool [n].

    images     [n, *shape] reconstructions; one that is not finite is like nothing
    gallery    [m, *shape] originals, the right ones among them
    places     [n] int64, where in the gallery each image's original is

    Likeness is the PSNR. The mean of the result is the re-identification@1; by chance it is 1 / m. A grey picture may
    score many dB and is nobody.

    >>> gallery = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> reidentified(torch.tensor([[0.2, 0.9], [0.6, 0.7]]), gallery, torch.tensor([2, 0]))
    tensor([ True, False])

    Raises ValueError unless all are floating-point samples of one shape, and every place is one of the gallery.
    """
    check_samples("reidentified", images, gallery, least=2)
    check_kind("reidentified", Tensor, places=places)
    if images.shape[1:] != gallery.shape[1:] or not len(gallery):
        raise ValueError(
            f"reidentified needs samples of one shape and a gallery; got {list(images.shape)} and {list(gallery.shape)}"
        )
    if places.shape != (len(images),) or places.dtype != torch.int64:
        raise ValueError(f"reidentified needs int64 places [{len(images)}]; got {kind(places)}")
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(gallery):
        raise ValueError(
            f"reidentified needs places in 0 … {len(gallery) - 1}; got {int(places.min())} … {int(places.max())}"
        )
    known = gallery.flatten(1).double()
    distances = torch.cdist(images.flatten(1).double().nan_to_num(), known)  # [n, m]
    return (distances.argmin(dim=1) == places) & images.flatten(1).isfinite().all(dim=1)
