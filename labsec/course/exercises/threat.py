"""Who attacks: the shape of a lab's threat model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """Who attacks, what they know and can do, and what this lab leaves out. One sentence each.

    goal           what the attacker wants
    knowledge      what the attacker knows
    capability     what the attacker can do
    share          of the clients that the attacker holds
    visibility     what the defender sees
    out_of_scope   what nobody does in this lab
    """

    goal: str
    knowledge: str
    capability: str
    share: str
    visibility: str
    out_of_scope: str
