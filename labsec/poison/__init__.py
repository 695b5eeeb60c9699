"""Attacks on a federation by some of its own clients. Only for systems and data that you own or may attack.

A data attack changes what a malicious client trains on: (x, y, classes, *, generator, ...) -> (x, y); it may also ask
for `client`, the identity of that client. An update attack changes what the malicious clients send: (view, ...) ->
[malicious, dim]. The view is all that an attack knows. Attacks that need the honest clients' statistics take
`view.others` where the scenario is omniscient, and make do with the attackers' own honest updates elsewhere; where
that cannot work they say what is missing.

A backdoor is a `Trigger`, a mark and the label that marked samples should get, and an attack that plants it.

When no honest update is finite any more, the model has blown up and the engine lets every attack rest.
"""

from __future__ import annotations

from labsec.poison.adaptive import adaptive
from labsec.poison.backdoors import (
    constrain_and_scale,
    distributed,
    during,
    model_replacement,
    mpaf,
    neurotoxin,
    projected_descent,
)
from labsec.poison.distances import against_mean, against_sign, against_std, min_max, min_sum
from labsec.poison.drift import Drift
from labsec.poison.labels import label_flip, targeted_flip
from labsec.poison.plain import gaussian, scaled, sign_flip
from labsec.poison.statistics import alie, ipm, mimic
from labsec.poison.triggers import Trigger, corner, plant, word_in_front
from labsec.poison.under_threshold import UnderThreshold

__all__ = [
    "Drift",
    "Trigger",
    "UnderThreshold",
    "adaptive",
    "against_mean",
    "against_sign",
    "against_std",
    "alie",
    "constrain_and_scale",
    "corner",
    "distributed",
    "during",
    "gaussian",
    "ipm",
    "label_flip",
    "mimic",
    "min_max",
    "min_sum",
    "model_replacement",
    "mpaf",
    "neurotoxin",
    "plant",
    "projected_descent",
    "scaled",
    "sign_flip",
    "targeted_flip",
    "word_in_front",
]
