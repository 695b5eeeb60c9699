"""Aggregation rules, and the stages that a server runs before them: what it makes of the clients' updates.

A rule is [clients, dim] -> [dim], a stage [clients, dim] -> [clients, dim]. Both are plain functions, and classes
only where something is remembered between rounds. Every one of them leaves its input as it is, keeps its dtype, drops
rows with a NaN or an infinity, gives the same bits for the same input, and raises `ImpossibleRule` when the clients
are too few for its `f`. `f` is the number of bad clients that the defender believes in; nobody tells it the true one.
Every rule counts all clients alike, except `weighted_mean`, which counts samples.

Whatever is public here is held to these promises by one suite of tests, from the moment it is listed in `__all__`.
"""

from __future__ import annotations

from labsec.robust.average import mean, weighted_mean
from labsec.robust.bucketing import bucketing
from labsec.robust.bulyan import bulyan
from labsec.robust.clipping import CenteredClip, MedianNormClip, norm_clip
from labsec.robust.coordinates import meamed, median, trimmed_mean
from labsec.robust.diameter import mda
from labsec.robust.dnc import dnc
from labsec.robust.fedshield import FedShield
from labsec.robust.flame import flame
from labsec.robust.foolsgold import FoolsGold
from labsec.robust.geometric import geometric_median
from labsec.robust.neighbours import krum, multi_krum, multi_krum_mask, nnm
from labsec.robust.noise import central_noise
from labsec.robust.reputation import Reputation
from labsec.robust.root import fltrust, monna
from labsec.robust.signs import rlr, sign_majority

__all__ = [
    "CenteredClip",
    "FedShield",
    "FoolsGold",
    "MedianNormClip",
    "Reputation",
    "bucketing",
    "bulyan",
    "central_noise",
    "dnc",
    "flame",
    "fltrust",
    "geometric_median",
    "krum",
    "mda",
    "meamed",
    "mean",
    "median",
    "monna",
    "multi_krum",
    "multi_krum_mask",
    "nnm",
    "norm_clip",
    "rlr",
    "sign_majority",
    "trimmed_mean",
    "weighted_mean",
]
