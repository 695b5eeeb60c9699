"""Differential privacy: clip, add noise, and account for what the whole run gives away.

An epsilon here always covers the whole run. An `Accountant` holds the terms without which it means nothing: its unit
(a client or an example), a delta, and a notion of neighbours. Noise at the server hides whether a client took part (its
row is there or zero: sensitivity C, "zero-out"); noise at the client hides which update it sent (one row is replaced:
sensitivity 2 C, "replace-one"). A `Budget` keeps books over rounds, and refuses the round that would cost too much.
"""

from __future__ import annotations

from labsec.privacy.accountant import Accountant, Relation, Unit
from labsec.privacy.adaptive import AdaptiveClip
from labsec.privacy.budget import Budget, BudgetExceeded, charge_round
from labsec.privacy.mechanisms import clip, distributed_noise, gaussian_noise, local_noise, noisy_mean
from labsec.privacy.own_model import Trained, train_own

__all__ = [
    "Accountant",
    "AdaptiveClip",
    "Budget",
    "BudgetExceeded",
    "Relation",
    "Trained",
    "Unit",
    "charge_round",
    "clip",
    "distributed_noise",
    "gaussian_noise",
    "local_noise",
    "noisy_mean",
    "train_own",
]
