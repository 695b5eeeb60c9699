"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.closed_form import closed_form
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.evidence import believed, unexplained
from labsec.invert.gallery import gallery
from labsec.invert.gradinverter import Inversion, Tried, gradinverter
from labsec.invert.labels import label, label_counts
from labsec.invert.malicious import Suspicion, imprint, read_imprint, suspicion, trap_weights
from labsec.invert.matching import gauss_newton, lbfgs
from labsec.invert.observations import average, joint_cosine, rank_one
from labsec.invert.own_model import module_gradient, obstacles, own_model
from labsec.invert.polish import polish
from labsec.invert.published import dlg, idlg
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.simulation import simulate

__all__ = [
    "Inversion",
    "Reconstruction",
    "Suspicion",
    "Tried",
    "analytic",
    "average",
    "believed",
    "closed_form",
    "cosine",
    "dlg",
    "gallery",
    "gauss_newton",
    "gradinverter",
    "idlg",
    "imprint",
    "joint_cosine",
    "label",
    "label_counts",
    "lbfgs",
    "module_gradient",
    "obstacles",
    "own_model",
    "polish",
    "rank_one",
    "read_imprint",
    "simulate",
    "smooth_cosine",
    "suspicion",
    "trap_weights",
    "unexplained",
]
