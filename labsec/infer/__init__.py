"""What models and messages tell about who or what was behind them, and what that says of a stated epsilon.

membership   was a model trained on this sample?
properties   do a client's data have a property?
labels       which class is behind a noisy message?
canaries     what an auditor plants, to see whether it can be found again
audit        a lower bound on epsilon, with confidence, beside what is stated; bounds: its arithmetic
judging      what scores are worth, held against the truth, which nothing else here can reach
broken       mechanisms that an audit must catch

Use it on your own data and systems only.
"""

from __future__ import annotations

from labsec.infer.audit import Audit, audit, audit_training
from labsec.infer.bounds import Bound, lower_bound
from labsec.infer.canaries import direction, mislabelled
from labsec.infer.judging import Rate, area, found_at, rate
from labsec.infer.labels import guessed_labels
from labsec.infer.membership import alignment, lira, loss_threshold, recipe
from labsec.infer.properties import property_scores
from labsec.infer.views import MemberView, PropertyView

__all__ = [
    "Audit",
    "Bound",
    "MemberView",
    "PropertyView",
    "Rate",
    "alignment",
    "area",
    "audit",
    "audit_training",
    "direction",
    "found_at",
    "guessed_labels",
    "lira",
    "loss_threshold",
    "lower_bound",
    "mislabelled",
    "property_scores",
    "rate",
    "recipe",
]
