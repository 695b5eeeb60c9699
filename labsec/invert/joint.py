"""A picture and a text out of one gradient: the words first, for they are exact, and then the picture by matching."""

from __future__ import annotations

import math
from time import process_time

import torch
from torch import Generator, Tensor

from labsec.guards import check_kind, check_number
from labsec.invert.fitting import search
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import gradient
from labsec.invert.tokens import match_rows
from labsec.models import join, joint
from labsec.types import ServerView

ENOUGH = 1e-9  # matching loss, relative
SPREAD = 0.1  # of a start's free numbers around a grey picture


def picture_and_text(
    view: ServerView, *, message: int = 0, restarts: int = 2, iterations: int = 300, generator: Generator
) -> Reconstruction:
    """Read the picture and the text of one sample out of a message of `models.joint`.

    view       `view.messages[message]` must be the update of one step of plain SGD on one sample, as `models.join`
               makes it
    returns    estimate [1, pixels + length * words]; `models.parts_of` takes both parts out of it. k is 0 if the
               words cannot be matched to places

    Each part leaves rows of its own: the words and their order show in the gradients of word and position rows, as for
    `ordered_tokens`. With the text known, the gradient of everything is matched over the picture alone.

    Raises ValueError for another model or a batch, and as `gradient` does.
    Source: matching after Zhu et al. 2019, arXiv:1906.08935; that one message gives away both parts is the claim that
    this course tests.
    """
    begin = process_time()
    check_number("picture_and_text", whole=True, above=0, restarts=restarts, iterations=iterations)
    check_kind("picture_and_text", Generator, generator=generator)
    sent = gradient("picture_and_text", view, message)
    model = view.model
    if model.origin[0] is not joint:
        raise ValueError(f"picture_and_text needs a model of a picture and a text, models.joint; got {model.name}")
    if view.batch_size != 1:
        raise ValueError(f"picture_and_text needs the message of one sample; got batch_size={view.batch_size}")
    shape = model.origin[1]["shape"]
    words = model.origin[1]["words"]
    assumptions = ("One sample, one step.", "Padding stands at the end alone.")

    # The text.
    word_rows, place_rows = (layer[0] for layer in model.layers(sent[None])[4:6])
    tokens = match_rows(word_rows, place_rows)  # [1, length], or none
    if not len(tokens):
        empty = torch.zeros(0, *model.shape, dtype=view.params.dtype)
        why = "Failed: the rows of words and places do not match."
        return Reconstruction(
            method="picture_and_text", estimate=empty, seconds=process_time() - begin, assumptions=(*assumptions, why)
        )

    # The picture.
    text = join(torch.zeros(1, 1, dtype=torch.float64), tokens, words=words)[:, 1:]  # [1, length * words]
    size = (1, math.prod(shape))
    starts = [SPREAD * torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(restarts)]

    def decode(free: Tensor) -> Tensor:
        return torch.cat([free.sigmoid(), text], dim=1)

    found, known = search("picture_and_text", view, message, None, decode, starts, iterations=iterations, enough=ENOUGH)
    return Reconstruction(
        method="picture_and_text",
        estimate=decode(found.best.free).to(view.params.dtype),
        labels=known,
        losses=found.best.losses,
        restarts=len(found.fits),
        divergences=found.divergences,
        evaluations=found.evaluations,
        seconds=process_time() - begin,
        assumptions=assumptions,
    )
