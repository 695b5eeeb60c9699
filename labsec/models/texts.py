"""Networks that read token numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from labsec.guards import check_number, kind
from labsec.models.layers import fan_in_bounds, linear
from labsec.models.model import Layers, Model


def embedding(length: int, vocabulary: int, classes: int, *, width: int = 32) -> Model:
    """A text as the mean of its words' vectors, then one fully connected layer; the order of the words is lost.

    length        tokens of a text; short texts are padded with 0, which does not count
    vocabulary    token numbers, 0 included; the flat vector holds a row of `width` numbers for each
    width         numbers in a word's vector

    >>> model = embedding(26, 168, 4)
    >>> model.dim                             # 168 * 32 + 4 * 32 + 4
    5508
    >>> model(model.init(torch.Generator().manual_seed(0))[None], torch.ones(1, 5, 26, dtype=torch.int64)).shape
    torch.Size([1, 5, 4])

    Raises ValueError unless all sizes are whole numbers >= 1.
    Source: the classifier of Joulin et al. 2016, arXiv:1607.01759, without its n-grams.
    """
    sizes = {"length": length, "vocabulary": vocabulary, "classes": classes, "width": width}
    check_number("embedding", whole=True, above=0, **sizes)
    shapes = ((vocabulary, width), (classes, width), (classes,))

    def forward(layers: Layers, x: Tensor) -> Tensor:
        return linear(layers[1], layers[2], _text_mean(layers[0], x)).transpose(1, 2)

    def module() -> nn.Module:
        return nn.Sequential(_MeanEmbedding(vocabulary, width), nn.Linear(width, classes))

    return Model(
        name=f"Embedding {vocabulary}-{width}-{classes}",
        shape=(length,),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=module,
        bounds=(1.0, *fan_in_bounds(shapes[1:])),
        width=length + vocabulary + width + classes,
        origin=(embedding, sizes),
    )


def _text_mean(table: Tensor, x: Tensor) -> Tensor:
    """Mean vector of every client's texts, padding left out: table [c, v, w], x [c, b, length] -> [c, w, b].

    A text counts its words, [v] numbers, and one product with the table adds up their vectors for everybody.
    """
    present = (x != 0).to(table.dtype)  # [c, b, length]
    shares = present / present.sum(dim=2, keepdim=True).clamp_min(1)
    counts = table.new_zeros(*x.shape[:2], table.shape[1]).scatter_add_(2, x, shares)  # [c, b, v]
    return torch.bmm(table.transpose(1, 2), counts.transpose(1, 2))


class _MeanEmbedding(nn.Module):
    """The mean of the vectors of all tokens but 0, for the twin."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)

    def forward(self, x: Tensor) -> Tensor:
        present = (x != 0).float()[:, :, None]  # [b, length, 1]
        return (self.words(x) * present).sum(dim=1) / present.sum(dim=1).clamp_min(1)


def transformer(
    length: int, vocabulary: int, classes: int, *, width: int = 64, learned_positions: bool = True
) -> Model:
    """A text by one block of self-attention: word and position vectors, one head, the mean over the words, linear.

    length               tokens of a text; short texts are padded with 0, which is not attended to and does not count
    vocabulary           token numbers, 0 included
    width                numbers in a word's vector, an even number
    learned_positions    whether the position vectors are parameters; otherwise they are fixed sines and cosines

    >>> model = transformer(26, 168, 4)
    >>> model.dim                             # (168 + 26) * 64 + 3 * 64 * 64 + 4 * 64 + 4
    24964
    >>> transformer(26, 168, 4, learned_positions=False).dim
    23300

    Raises ValueError unless all sizes are whole numbers >= 1 and width is even.
    Source: Vaswani et al. 2017, arXiv:1706.03762, without its feed-forward part, normalisation and output projection.
    """
    sizes = {"length": length, "vocabulary": vocabulary, "classes": classes, "width": width}
    check_number("transformer", whole=True, above=0, **sizes)
    if not isinstance(learned_positions, bool):
        raise ValueError(f"transformer needs learned_positions to be True or False; got {kind(learned_positions)}")
    if width % 2:
        raise ValueError(f"transformer needs an even width; got width={width}")
    tables: tuple[tuple[int, ...], ...] = ((vocabulary, width), (length, width))[: 1 + learned_positions]
    shapes = (*tables, *[(width, width)] * 3, (classes, width), (classes,))
    fixed = fixed_positions(length, width)

    def forward(layers: Layers, x: Tensor) -> Tensor:
        words, rest = layers[0], layers[len(tables) :]
        places = layers[1][:, None] if learned_positions else fixed.to(words)  # [c, 1, length, width]
        h = _rows_of(words, x) + places  # [c, b, length, width]
        h = h + attend(h, x != 0, rest[0], rest[1], rest[2])
        return linear(rest[3], rest[4], mean_of_words(h, x != 0).transpose(1, 2)).transpose(1, 2)

    return Model(
        name=f"Transformer {vocabulary}-{width}-{classes}",
        shape=(length,),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=lambda: _Transformer(length, vocabulary, classes, width, learned_positions),
        bounds=(*[1.0] * len(tables), *[width**-0.5] * 5),
        width=length * (6 * width + length) + classes,
        origin=(transformer, {**sizes, "learned_positions": learned_positions}),
    )


def fixed_positions(length: int, width: int) -> Tensor:
    """The position vectors that nobody learns: sines and cosines of falling frequencies, [length, width] float64.

    >>> fixed_positions(2, 2)
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]], dtype=torch.float64)

    Source: Vaswani et al. 2017, arXiv:1706.03762, Section 3.5.
    """
    check_number("fixed_positions", whole=True, above=0, length=length, width=width)
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)  # [width / 2]
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies  # [length, width / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def _rows_of(table: Tensor, x: Tensor) -> Tensor:
    """Every client's own rows: table [c, v, w], x [c, b, length] -> [c, b, length, w]."""
    clients = torch.arange(len(x), device=x.device)[:, None, None]
    return table[clients, x]


def attend(h: Tensor, present: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One head of self-attention, h [c, b, length, w] -> the same shape; present [c, b, length], weights [c, w, w]."""
    asked, known, said = (torch.einsum("cblw,cow->cblo", h, weight) for weight in (query, key, value))
    scores = asked @ known.transpose(2, 3) / math.sqrt(h.shape[3])  # [c, b, length, length]
    # Nobody looks at padding. A finite number, because a text of padding alone would have no softmax otherwise.
    scores = scores.masked_fill(~present[:, :, None], torch.finfo(h.dtype).min)
    return scores.softmax(dim=3) @ said


def mean_of_words(h: Tensor, present: Tensor) -> Tensor:
    """Mean over the places that hold a word: h [c, b, length, w], present [c, b, length] -> [c, b, w]."""
    counted = present[..., None].to(h.dtype)  # [c, b, length, 1]
    return (h * counted).sum(dim=2) / counted.sum(dim=2).clamp_min(1)


class _Transformer(nn.Module):
    """The same with torch.nn's own attention, for the twin."""

    def __init__(self, length: int, vocabulary: int, classes: int, width: int, learned_positions: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(length, width) if learned_positions else None
        self.fixed = fixed_positions(length, width).float()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        places = self.fixed if self.places is None else self.places.weight  # [length, width]
        texts = []
        for text in x:
            # One text at a time, without its padding.
            here = (text != 0).nonzero()[:, 0]
            h = self.words(text[here]) + places[here]  # [words, width]
            seen = nn.functional.scaled_dot_product_attention(*(f(h)[None] for f in (self.query, self.key, self.value)))
            texts.append((h + seen[0]).sum(dim=0) / max(1, len(here)))
        return self.out(torch.stack(texts))


def gru(length: int, vocabulary: int, classes: int, *, width: int = 32) -> Model:
    """A text word by word: a gated recurrent unit reads it, and its last state goes through one linear layer.

    length        tokens of a text; short texts are padded with 0, which the unit skips
    vocabulary    token numbers, 0 included
    width         numbers in a word's vector and in the state

    >>> gru(26, 168, 4).dim                   # 168 * 32 + 2 * 96 * 32 + 2 * 96 + 4 * 32 + 4
    11844

    Raises ValueError unless all sizes are whole numbers >= 1.
    Source: Cho et al. 2014, arXiv:1406.1078, in the variant of torch.nn.GRU.
    """
    sizes = {"length": length, "vocabulary": vocabulary, "classes": classes, "width": width}
    check_number("gru", whole=True, above=0, **sizes)
    shapes = ((vocabulary, width), *[(3 * width, width)] * 2, *[(3 * width,)] * 2, (classes, width), (classes,))

    def forward(layers: Layers, x: Tensor) -> Tensor:
        words, from_word, from_state, word_bias, state_bias, weight, bias = layers
        h = words.new_zeros(len(x), width, x.shape[1])  # [c, width, b]
        for place in range(length):
            word = _rows_of(words, x[:, :, place, None])[:, :, 0].transpose(1, 2)  # [c, width, b]
            reset, update, new = linear(from_word, word_bias, word).chunk(3, dim=1)
            own_reset, own_update, own_new = linear(from_state, state_bias, h).chunk(3, dim=1)
            keep = torch.sigmoid(update + own_update)
            proposed = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            h = torch.where((x[:, :, place] != 0)[:, None], proposed + keep * (h - proposed), h)
        return linear(weight, bias, h).transpose(1, 2)

    return Model(
        name=f"GRU {vocabulary}-{width}-{classes}",
        shape=(length,),
        classes=classes,
        shapes=shapes,
        forward=forward,
        module=lambda: _Gru(vocabulary, classes, width),
        bounds=(1.0, *[width**-0.5] * 6),
        width=12 * length * width + classes,
        origin=(gru, sizes),
    )


class _Gru(nn.Module):
    """The same with torch.nn.GRU, word by word, for the twin."""

    def __init__(self, vocabulary: int, classes: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.unit = nn.GRU(width, width)
        self.out = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(1, len(x), self.unit.hidden_size)
        for tokens in x.T:
            following = self.unit(self.words(tokens)[None], h)[1]
            h = torch.where((tokens != 0)[None, :, None], following, h)
        return self.out(h[0])
