"""Masking: what a client changes about its update so that its data shall be harder to read. None of it is a proof.

soteria                 holes where the last layer reads the representation (a training)
precode                 a network with a random bottleneck, and its training `variational_updates`
learned_perturbation    the update of other samples, learned to be far from the client's own (a training)
"""

from labsec.mask.perturbation import learned_perturbation
from labsec.mask.precode import before_bottleneck, precode, variational_updates
from labsec.mask.soteria import representation, soteria

__all__ = [
    "before_bottleneck",
    "learned_perturbation",
    "precode",
    "representation",
    "soteria",
    "variational_updates",
]
