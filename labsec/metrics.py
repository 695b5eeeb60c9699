"""Numbers that judge a model, a message and a reconstruction. Only here may the truth be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labsec.guards import check_function, check_kind, check_number, check_sizes, kind

if TYPE_CHECKING:
    from labsec.models import Model

PSNR_CAP = 120.0
SAMPLES_AT_ONCE = 2000


def evaluate(model: Model, params: Tensor, x: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy (share of samples) and mean cross-entropy (nats) of one model, params [dim], on x [n, *shape], y [n].

    Raises ValueError if a shape or a type does not fit, if there is no sample, or for a label that the model does not
    know. A model that is not finite any more has a loss that is none.
    """
    check_function("evaluate", model=model)
    check_kind("evaluate", Tensor, params=params)
    if params.shape != (model.dim,):
        raise ValueError(f"evaluate needs params [{model.dim}] for {model.name}; got {kind(params)}")
    model.check_data(x, y, params.dtype)
    right = 0
    loss = 0.0
    with torch.no_grad():
        for part, labels in zip(x.split(SAMPLES_AT_ONCE), y.split(SAMPLES_AT_ONCE), strict=True):
            logits = model(params[None], part[None])[0]  # [part, classes], a view of columns [classes, part]
            right += int((logits.contiguous().argmax(dim=1) == labels).sum())  # rows: 5 times faster than columns
            logs = logits.T.log_softmax(dim=0).T  # columns: one sweep for all samples
            loss += float(F.nll_loss(logs, labels, reduction="sum"))
    return {"accuracy": right / len(y), "loss": loss / len(y)}


def accuracy(model: Model, params: Tensor, x: Tensor, y: Tensor) -> float:
    """Share of the samples x [n, *shape] whose label y [n] is the model's first choice.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=())
    >>> accuracy(model, torch.tensor([1.0, 0, 0, 1, 0, 0]), torch.eye(2), torch.tensor([0, 0]))
    0.5
    """
    return evaluate(model, params, x, y)["accuracy"]


def accuracy_by_class(model: Model, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Share of the samples of every class that the model gets right: [classes]; NaN for a class without a sample.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 3, hidden=())
    >>> accuracy_by_class(model, torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0]), torch.eye(2), torch.tensor([0, 0]))
    tensor([0.5000,    nan,    nan])

    Raises ValueError as `evaluate` does.
    """
    check_function("accuracy_by_class", model=model)
    check_kind("accuracy_by_class", Tensor, params=params)
    model.check_data(x, y, params.dtype)
    shares = torch.full((model.classes,), torch.nan)
    for label in y.unique().tolist():
        mine = y == label
        shares[label] = accuracy(model, params, x[mine], y[mine])
    return shares


def label_share(model: Model, params: Tensor, *, x: Tensor, label: int) -> float:
    """Share of the samples x [n, *shape] to which the model gives this label, whatever they are.

    On samples of other classes with a backdoor's mark on them this is how often the backdoor opens. What the clean
    model says to the same samples is the baseline.

    >>> from labsec.models import mlp
    >>> model = mlp((2,), 2, hidden=())
    >>> label_share(model, torch.tensor([1.0, 0, 0, 1, 0, 0]), x=torch.eye(2), label=1)
    0.5

    Raises ValueError as `evaluate` does, and unless label is a class of the model.
    """
    check_function("label_share", model=model)
    check_kind("label_share", Tensor, params=params, x=x)
    check_number("label_share", whole=True, least=0, below=model.classes, label=label)
    wanted = torch.full((len(x),) if x.ndim else (), label, device=params.device)
    return accuracy(model, params, x.to(params.device), wanted)


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for values in [0, 1], image by image: [n, *shape] twice -> [n].

    At most 120 dB (equal images); minus infinity for an image that is not finite.

    >>> psnr(torch.full((1, 4, 4), 0.6), torch.full((1, 4, 4), 0.5))
    tensor([20.0000])
    """
    _check_images("psnr", images, truth, least=2)
    if images.shape != truth.shape:
        raise ValueError(f"psnr needs two tensors of one shape; got {list(images.shape)} and {list(truth.shape)}")
    error = (images.double() - truth.double()).square().flatten(1).mean(dim=1)  # [n]
    ratio = (-10 * error.log10()).clamp_max(PSNR_CAP)
    return torch.where(error.isfinite(), ratio, -torch.inf).float()


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity for values in [0, 1], image by image: [n, channels, h, w] twice -> [n], 1 for equal ones,
    NaN for one that is not finite.

    A window of 7 pixels as in the paper's uniform variant. Source: Wang et al. 2004, IEEE Transactions on Image
    Processing 13(4), by scikit-image.

    >>> image = torch.rand(1, 1, 8, 8)
    >>> ssim(image, image)
    tensor([1.])
    """
    from skimage.metrics import structural_similarity  # half a second, and few need it

    _check_images("ssim", images, truth, least=4)
    if images.shape != truth.shape or images.ndim != 4 or min(images.shape[2:]) < 7:
        raise ValueError(
            "ssim needs two tensors [n, channels, h, w] of one shape with h, w >= 7; "
            f"got {list(images.shape)} and {list(truth.shape)}"
        )
    pairs = zip(images.detach().cpu().numpy(), truth.detach().cpu().numpy(), strict=True)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return torch.tensor([structural_similarity(a, b, data_range=1.0, channel_axis=0) for a, b in pairs])


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
    _check_images("best_matches", candidates, truth, least=2)
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


def _check_images(name: str, images: Tensor, truth: Tensor, *, least: int) -> None:
    """Raise unless both are floating-point tensors [n, …] with at least so many dimensions."""
    check_kind(name, Tensor, images=images, truth=truth)
    for given in (images, truth):
        if given.ndim < least or not given.is_floating_point():
            raise ValueError(f"{name} needs floating-point images of {least} dimensions or more; got {kind(given)}")


# --- many reconstructions together: who was found, how surely, and how much of it is luck


def success_share(scores: Tensor, *, threshold: float, confidence: float = 0.95) -> tuple[float, float, float]:
    """The share of scores [n] that reach a threshold, with its Wilson interval: (share, low, high).

    scores        such as PSNRs in dB; minus infinity and NaN are failures
    confidence    chance that the interval holds the true share, in (0, 1)

    >>> tuple(round(end, 3) for end in success_share(torch.full((24,), 40.0), threshold=25))
    (1.0, 0.862, 1.0)

    24 successes out of 24 say no more than that: at least 86 %. Raises ValueError if there is no score.
    Source: Wilson 1927, Journal of the American Statistical Association 22(158).
    """
    check_kind("success_share", Tensor, scores=scores)
    check_number("success_share", threshold=threshold)
    check_number("success_share", above=0, below=1, confidence=confidence)
    if scores.ndim != 1 or not len(scores) or not scores.is_floating_point():
        raise ValueError(f"success_share needs floating-point scores [n] with n >= 1; got {kind(scores)}")
    n = len(scores)
    share = float((scores >= threshold).double().mean())
    z = float(torch.special.ndtri(torch.tensor((1 + float(confidence)) / 2, dtype=torch.float64)))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return share, max(0.0, middle - half), min(1.0, middle + half)


def success_beyond(scores: Tensor, strangers: Tensor, *, threshold: float) -> float:
    """The share of scores [n] that reach a threshold, less that of the strangers [m]: what the message itself gave.

    strangers    scores of the same attack on somebody else's message, held against the same truth

    An attack that paints an average face finds every face a little; it finds the stranger's as often.

    >>> success_beyond(torch.tensor([30.0, 26.0, 10.0, 28.0]), torch.tensor([9.0, 26.0, 10.0, 11.0]), threshold=25)
    0.5

    Raises ValueError as `success_share` does.
    """
    found = success_share(scores, threshold=threshold)[0]
    by_chance = success_share(strangers, threshold=threshold)[0]
    return found - by_chance


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

    _check_images("assigned", candidates, truth, least=2)
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
    _check_images("reidentified", images, gallery, least=2)
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


# --- texts, tables and genomes


def token_recall(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each text's words, repetitions counted, that its best match holds at whatever place: [n].

    found    [k, length] int64 texts in the attacker's own order, best first, padded with 0; the first n count
    truth    [n, length] int64

    >>> token_recall(torch.tensor([[2, 3, 0]]), torch.tensor([[3, 3, 2]]))
    tensor([0.6667])

    Raises ValueError unless both hold texts of one length.
    """
    _check_texts("token_recall", found, truth)
    shares = torch.zeros(len(truth))
    most = 1 + int(max([0, *(int(part.max()) for part in (found, truth) if part.numel())]))
    for i, text in enumerate(truth):
        wanted = text[text != 0].bincount(minlength=most)  # [words]
        for guess in found[: len(truth)]:
            hit = int(torch.minimum(wanted, guess[guess != 0].bincount(minlength=most)).sum())
            shares[i] = max(float(shares[i]), hit / max(1, int(wanted.sum())))
    return shares


def exact_order(found: Tensor, truth: Tensor) -> Tensor:
    """Whether each text was found word by word, every word at its place: [n] bool.

    found    [k, length] int64, the first n count
    truth    [n, length] int64

    >>> exact_order(torch.tensor([[2, 3, 0], [3, 2, 0]]), torch.tensor([[3, 2, 0], [2, 2, 0]])).tolist()
    [True, False]

    Raises ValueError unless both hold texts of one length.
    """
    _check_texts("exact_order", found, truth)
    return (truth[:, None] == found[None, : len(truth)]).all(dim=2).any(dim=1)


def placed_tokens(found: Tensor, truth: Tensor) -> tuple[float, float]:
    """Precision and recall of pairs (place, word) over a batch, whichever text they were put into.

    found    [k, length] int64, 0 where nothing is claimed
    truth    [n, length] int64

    >>> placed_tokens(torch.tensor([[2, 3, 4]]), torch.tensor([[2, 3, 5], [2, 6, 0]]))
    (0.6666666666666666, 0.5)

    A precision of nothing is 0. Raises ValueError unless both hold texts of one length.
    """
    _check_texts("placed_tokens", found, truth)
    claimed, wanted = (
        {(place, word) for text in part.tolist() for place, word in enumerate(text) if word} for part in (found, truth)
    )
    hits = len(claimed & wanted)
    return hits / max(1, len(claimed)), hits / max(1, len(wanted))


def category_accuracy(found: Tensor, truth: Tensor, *, widths: Sequence[int]) -> float:
    """Share of a batch's category cells that are right, records paired with candidates to the attacker's advantage.

    found     [k, places], the first n count
    truth     [n, places], categories one-hot
    widths    places of each column; those of width 1 are numbers and left out

    >>> table = torch.tensor([[0.3, 1.0, 0.0], [0.9, 0.0, 1.0]])
    >>> category_accuracy(table.flip(0), table, widths=[1, 2])
    1.0

    A record without a candidate counts as wrong. Raises ValueError if the widths do not add up to the places, and if no
    column is a category.
    """
    from scipy.optimize import linear_sum_assignment  # 0.2 seconds, and few scores need it

    _check_images("category_accuracy", found, truth, least=2)
    check_sizes("category_accuracy", widths=widths)
    if found.shape[1:] != truth.shape[1:] or truth.shape[1:] != (sum(widths),) or max(widths, default=1) == 1:
        raise ValueError(
            f"category_accuracy needs found and truth [n, {sum(widths)}] with a category in widths={[*widths]}; "
            f"got {kind(found)} and {kind(truth)}"
        )
    said, meant = (
        torch.stack([group.argmax(dim=1) for group in part.split(list(widths), dim=1) if group.shape[1] > 1], dim=1)
        for part in (found[: len(truth)], truth)
    )  # [k, categories], [n, categories]
    right = (meant[:, None] == said[None]).double().mean(dim=2)  # [n, k]
    right[:, ~found[: len(truth)].isfinite().all(dim=1)] = 0
    pairs = linear_sum_assignment(right.numpy(), maximize=True)
    return float(right[pairs].sum()) / max(1, len(truth))


def base_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each sequence's letters that its best match has at their places: [n].

    found    [k, letters, length], the first n count
    truth    [n, letters, length], one-hot

    >>> base_accuracy(torch.eye(2)[None], torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]))
    tensor([0.5000])

    Raises ValueError unless both hold sequences of one shape.
    """
    _check_images("base_accuracy", found, truth, least=3)
    return _best_share("base_accuracy", found, truth, lambda x: x.argmax(dim=1))


def genotype_accuracy(found: Tensor, truth: Tensor) -> Tensor:
    """Share of each person's genotypes that the best match has, values rounded to 0, 1/2 and 1: [n].

    found    [k, *shape], the first n count
    truth    [n, *shape]

    >>> genotype_accuracy(torch.tensor([[0.0, 0.4, 0.6]]), torch.tensor([[0.0, 0.5, 1.0]]))
    tensor([0.6667])

    Raises ValueError unless both hold genotypes of one shape.
    """
    _check_images("genotype_accuracy", found, truth, least=2)
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
    _check_images("rare_allele_recall", found, truth, least=2)
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


def _check_texts(name: str, found: Tensor, truth: Tensor) -> None:
    """Raise unless both are int64 texts [n, length] of one length, token numbers >= 0."""
    check_kind(name, Tensor, found=found, truth=truth)
    for texts in (found, truth):
        if texts.ndim != 2 or texts.dtype != torch.int64 or not texts.shape[1]:
            raise ValueError(f"{name} needs int64 texts [n, length]; got {kind(texts)}")
        if texts.numel() and int(texts.min()) < 0:
            raise ValueError(f"{name} needs token numbers >= 0; got {int(texts.min())}")
    if found.shape[1] != truth.shape[1]:
        raise ValueError(f"{name} needs texts of one length; got {list(found.shape)} and {list(truth.shape)}")
