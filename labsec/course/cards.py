"""The cards that a lab shows: its threat model, the safety notice, and the claims with their verdicts."""

from __future__ import annotations

from labsec.course import exercises
from labsec.course.card import ORANGE, Card
from labsec.course.claims import claim, reading, sources
from labsec.course.exercises.threat import ThreatModel, threat_card

__all__ = ["Card", "claim", "reading", "safety", "sources", "threat_model"]


def threat_model(lab: str) -> Card:
    """The threat model of a lab, as a card.

    >>> print(threat_model("01"))
    ⚑ Threat model of lab 01
      Goal ...

    Raises ValueError for a number that no lab has.
    """
    model: ThreatModel = exercises.load(lab).THREAT_MODEL
    return threat_card(model, title=f"Threat model of lab {lab}")


def safety() -> Card:
    """The notice that stands in every lab with an attack.

    >>> print(safety())
    ⚠ Before you attack anything
      ...
    """
    return Card(
        symbol="⚠",
        title="Before you attack anything",
        body="Use what you learn here on systems and data that you own, or whose owner has allowed the attack in "
        "writing.\nReconstructing a stranger's record is harm to that person, also when it is easy.",
        edge=ORANGE,
    )
