"""A network that looks at a picture and reads a text at once, and what its samples are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsec.guards import check_kind, check_number, check_sizes, kind
from labsec.models.layers import conv, linear
from labsec.models.model import Layers, Model
from labsec.models.texts import attend, mean_of_words

CHANNELS = 12


def join(pictures: Tensor, tokens: Tensor, *, words: int) -> Tensor:
    """Samples of two parts as rows of numbers: the pixels, then a one-hot group for each place of the text.

    pictures    [n, *shape] floating-point
    tokens      [n, length] int64; 0 is the padding
    words       token numbers, 0 included
    returns     [n, pixels + length * words], of the pictures' type

    A data set holds one tensor of one type, and so does a message's reconstruction; one-hot words fit beside pixels.

    >>> join(torch.tensor([[0.5, 0.25]]), torch.tensor([[2, 0]]), words=3)
    tensor([[0.5000, 0.2500, 0.0000, 0.0000, 1.0000, 1.0000, 0.0000, 0.0000]])

    Raises ValueError unless there are as many texts as pictures and every token is below words.
    """
    check_kind("join", Tensor, pictures=pictures, tokens=tokens)
    check_number("join", whole=True, above=0, words=words)
    if pictures.ndim < 2 or not pictures.is_floating_point() or 0 in pictures.shape[1:]:
        raise ValueError(f"join needs floating-point pictures [n, *shape]; got {kind(pictures)}")
    if tokens.ndim != 2 or len(tokens) != len(pictures) or tokens.dtype != torch.int64 or not tokens.shape[1]:
        raise ValueError(
            f"join needs int64 tokens [{len(pictures)}, length], a text for each picture; "
            f"got {kind(tokens)} for {kind(pictures)}"
        )
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < words:
        found = f"{int(tokens.min())} … {int(tokens.max())}"
        raise ValueError(f"join needs token numbers in 0 … {words - 1}; got {found}")
    text = F.one_hot(tokens, words).to(pictures.dtype)  # [n, length, words]
    return torch.cat([pictures.flatten(1), text.flatten(1)], dim=1)


def parts_of(x: Tensor, *, shape: tuple[int, ...], words: int) -> tuple[Tensor, Tensor]:
    """The pictures [n, *shape] and the tokens [n, length] of samples [n, pixels + length * words].

    >>> parts_of(torch.tensor([[0.5, 0.25, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]), shape=(2,), words=3)
    (tensor([[0.5000, 0.2500]]), tensor([[2, 0]]))

    Raises ValueError if a sample does not hold the pixels and a whole number of words.
    """
    check_kind("parts_of", Tensor, x=x)
    check_sizes("parts_of", shape=shape)
    check_number("parts_of", whole=True, above=0, words=words)
    if not shape:
        raise ValueError(f"parts_of needs the shape of a picture, one size at least; got shape={shape}")
    pixels = math.prod(shape)
    if x.ndim != 2 or not x.is_floating_point() or x.shape[1] <= pixels or (x.shape[1] - pixels) % words:
        raise ValueError(f"parts_of needs x [n, {pixels} + length * {words}], floating-point numbers; got {kind(x)}")
    text = x[:, pixels:].unflatten(1, (-1, words))  # [n, length, words]
    return x[:, :pixels].unflatten(1, tuple(shape)), text.argmax(dim=2)


def joint(shape: tuple[int, ...], length: int, words: int, classes: int, *, width: int = 32) -> Model:
    """A picture through two sigmoid convolutions, a text through one block of self-attention, a linear layer for both.

    shape     of a picture, [channels, height, width]
    length    tokens of a text
    words     token numbers, 0 included
    width     numbers in a word's vector

    Samples are rows as `join` makes them: the pixels, then one-hot words. Positions are learned.

    >>> model = joint((3, 16, 16), 12, 168, 4)
    >>> model.shape, model.shapes[4:6]
    ((2784,), ((168, 32), (12, 32)))

    Raises ValueError unless all sizes are whole numbers >= 1 and shape has three of them.
    The convolutions are those of `lenet` with its start, without the last.
    """
    check_sizes("joint", shape=shape)
    sizes = {"length": length, "words": words, "classes": classes, "width": width}
    check_number("joint", whole=True, above=0, **sizes)
    if len(shape) != 3:
        raise ValueError(f"joint needs images [channels, height, width]; got shape {list(shape)}")
    pixels = math.prod(shape)
    sides = [(side + 3) // 4 for side in shape[1:]]  # two strides of two, rounded up
    features = CHANNELS * math.prod(sides)
    shapes = (
        (CHANNELS, shape[0], 5, 5),
        (CHANNELS,),
        (CHANNELS, CHANNELS, 5, 5),
        (CHANNELS,),
        (words, width),
        (length, width),
        *[(width, width)] * 3,
        (classes, features + width),
        (classes,),
    )

    def forward(layers: Layers, x: Tensor) -> Tensor:
        # The picture.
        h = x[:, :, :pixels].unflatten(2, tuple(shape))  # [c, b, channels, height, width]
        h = torch.sigmoid(conv(layers[0], layers[1], h, 2, 2))
        h = torch.sigmoid(conv(layers[2], layers[3], h, 2, 2)).flatten(2)  # [c, b, features]

        # The text. A one-hot row times the table is the word's vector.
        text = x[:, :, pixels:].unflatten(2, (length, words))  # [c, b, length, words]
        present = text[..., 0] < 0.5  # [c, b, length]
        read = torch.einsum("cblv,cvw->cblw", text, layers[4]) + layers[5][:, None]
        read = read + attend(read, present, layers[6], layers[7], layers[8])

        both = torch.cat([h, mean_of_words(read, present)], dim=2)  # [c, b, features + width]
        return linear(layers[9], layers[10], both.transpose(1, 2)).transpose(1, 2)

    return Model(
        name="Picture and text",
        shape=(pixels + length * words,),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=lambda: _Joint(shape, length, words, classes, width),
        bounds=(*[0.5] * 4, 1.0, 1.0, *[width**-0.5] * 3, 0.5, 0.5),
        width=pixels + length * words + 5 * features + length * (6 * width + length) + classes,
        origin=(joint, {"shape": tuple(shape), **sizes}),
    )


class _Joint(nn.Module):
    """The same in torch.nn's layers, one text at a time, for the twin."""

    def __init__(self, shape: tuple[int, ...], length: int, words: int, classes: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Conv2d(shape[0], CHANNELS, 5, 2, 2)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 5, 2, 2)
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(length, width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        features = CHANNELS * math.prod((side + 3) // 4 for side in shape[1:])
        self.out = nn.Linear(features + width, classes)

    def forward(self, x: Tensor) -> Tensor:
        pictures, tokens = parts_of(x, shape=self.shape, words=self.words.num_embeddings)
        seen = torch.sigmoid(self.second(torch.sigmoid(self.first(pictures)))).flatten(1)
        read = []
        for text in tokens:
            here = (text != 0).nonzero()[:, 0]
            h = self.words(text[here]) + self.places(here)
            known = F.scaled_dot_product_attention(*(f(h)[None] for f in (self.query, self.key, self.value)))
            read.append((h + known[0]).sum(dim=0) / max(1, len(here)))
        return self.out(torch.cat([seen, torch.stack(read)], dim=1))
