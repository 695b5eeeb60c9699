"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.closed_form import closed_form
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.evidence import believed, unexplained
from labsec.invert.gallery import gallery
from labsec.invert.gradinverter import Inversion, Tried, gradinverter
from labsec.invert.labels import label, label_counts
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.polish import polish
from labsec.invert.published import dlg, idlg
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.simulation import simulate

__all__ = [
    "Inversion",
    "Reconstruction",
    "Tried",
    "analytic",
    "believed",
    "closed_form",
    "cosine",
    "dlg",
    "gallery",
    "gauss_newton",
    "gradinverter",
    "idlg",
    "label",
    "label_counts",
    "lbfgs",
    "polish",
    "simulate",
    "smooth_cosine",
    "unexplained",
]
