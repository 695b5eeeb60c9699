"""Gradient inversion: what a message gives away about the data behind it. Use it on your own data and systems only."""

from labsec.invert.analytic import analytic
from labsec.invert.cosine import cosine, smooth_cosine
from labsec.invert.gallery import gallery
from labsec.invert.reconstruction import Reconstruction

__all__ = ["Reconstruction", "analytic", "cosine", "gallery", "smooth_cosine"]
