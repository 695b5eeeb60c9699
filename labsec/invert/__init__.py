"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.closed_form import closed_form
from labsec.invert.gallery import gallery
from labsec.invert.labels import label, label_counts
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.published import dlg, idlg
from labsec.invert.reconstruction import Reconstruction

__all__ = [
    "Reconstruction",
    "analytic",
    "closed_form",
    "dlg",
    "gallery",
    "gauss_newton",
    "idlg",
    "label",
    "label_counts",
    "lbfgs",
]
