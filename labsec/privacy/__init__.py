"""Differential privacy: clip, add noise, and account for what the whole run gives away.

An epsilon here always covers the whole run. Its unit is a client, and it needs a delta and a notion of neighbours:
noise at the server hides whether a client took part (its row is there or zero: sensitivity C, "zero-out"); noise at
the client hides which update it sent (one row is replaced: sensitivity 2 C, "replace-one"). `in_words` prints it all.
"""

from __future__ import annotations

from labsec.privacy.accountant import epsilon, in_words, noise_for
from labsec.privacy.mechanisms import clip, gaussian_noise, noisy_mean

__all__ = ["clip", "epsilon", "gaussian_noise", "in_words", "noise_for", "noisy_mean"]
