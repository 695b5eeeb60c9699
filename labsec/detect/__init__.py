"""Who looks suspicious, and what a server does about it: scores, and a quarantine.

A score is (updates [clients, dim], *, …) -> [clients] float64, higher for a more suspicious update. It may ask for what
the engine fills: `params`, `clients`, `round`. Scores that look at one round are plain functions, those that remember
are classes. Every one of them leaves its input as it is, gives an update with a NaN or an infinity the score infinity
and forgets it, and does not depend on the order of the clients. None of them knows who attacks.

A score accuses nobody; a threshold does. `labsec.detect.judging` says what a score and a threshold are worth.

Whatever is public here and is no quarantine is held to these promises by one suite of tests.
"""

from __future__ import annotations

from labsec.detect.directions import SybilSimilarity, cosine, cosine_to_root
from labsec.detect.history import FLDetector
from labsec.detect.lengths import norm
from labsec.detect.losses import LossTrajectory, root_loss
from labsec.detect.quarantine import Quarantine
from labsec.detect.spectral import spectral

__all__ = [
    "FLDetector",
    "LossTrajectory",
    "Quarantine",
    "SybilSimilarity",
    "cosine",
    "cosine_to_root",
    "norm",
    "root_loss",
    "spectral",
]
