"""How much of a text was found: its words, their places, the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_kind, kind


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
