"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.categories import categories
from labsec.invert.gallery import gallery
from labsec.invert.genome import bases, genotypes
from labsec.invert.joint import picture_and_text
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.tokens import match_rows, ordered_tokens, searched_order, span_check, tokens, words_used

__all__ = [
    "Reconstruction",
    "analytic",
    "bases",
    "categories",
    "gallery",
    "genotypes",
    "match_rows",
    "ordered_tokens",
    "picture_and_text",
    "searched_order",
    "span_check",
    "tokens",
    "words_used",
]
