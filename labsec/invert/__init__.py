"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.around import around
from labsec.invert.categories import categories
from labsec.invert.checkup import alarms, check_up, hidden, limits_of
from labsec.invert.closed_form import closed_form
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.evidence import believed, unexplained
from labsec.invert.gallery import gallery
from labsec.invert.genome import bases, genotypes
from labsec.invert.gradinverter import gradinverter
from labsec.invert.joint import picture_and_text
from labsec.invert.labels import label, label_counts
from labsec.invert.ladder import Inversion, Tried
from labsec.invert.likelihood import (
    Likelihood,
    copies,
    flipped_signs,
    left_in_only,
    likeliest,
    most_likely,
    rounded,
    signs,
)
from labsec.invert.malicious import Suspicion, imprint, read_imprint, suspicion, trap_weights
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.observations import average, joint_cosine, rank_one
from labsec.invert.own_model import module_gradient, obstacles, own_model
from labsec.invert.polish import polish
from labsec.invert.published import dlg, idlg
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.simulation import simulate
from labsec.invert.sparse import label_left_in, left_in, outside, pooled
from labsec.invert.tokens import match_rows, ordered_tokens, searched_order, span_check, tokens, words_used

__all__ = [
    "Inversion",
    "Likelihood",
    "Reconstruction",
    "Suspicion",
    "Tried",
    "alarms",
    "analytic",
    "around",
    "average",
    "bases",
    "believed",
    "categories",
    "check_up",
    "closed_form",
    "copies",
    "cosine",
    "dlg",
    "flipped_signs",
    "gallery",
    "gauss_newton",
    "genotypes",
    "gradinverter",
    "hidden",
    "idlg",
    "imprint",
    "joint_cosine",
    "label",
    "label_counts",
    "label_left_in",
    "lbfgs",
    "left_in",
    "left_in_only",
    "likeliest",
    "limits_of",
    "match_rows",
    "module_gradient",
    "most_likely",
    "obstacles",
    "ordered_tokens",
    "outside",
    "own_model",
    "picture_and_text",
    "polish",
    "pooled",
    "rank_one",
    "read_imprint",
    "rounded",
    "searched_order",
    "signs",
    "simulate",
    "smooth_cosine",
    "span_check",
    "suspicion",
    "tokens",
    "trap_weights",
    "unexplained",
    "words_used",
]
