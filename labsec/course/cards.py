"""The cards that a lab shows: its threat model, the safety notice, and the claims with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labsec.course import claims as claims_of_labs
from labsec.course import exercises
from labsec.course.card import ORANGE, Card
from labsec.course.claims.base import Claim, Reading, Sourced
from labsec.course.claims.show import ask_and_show, show_at_once, text_card
from labsec.course.exercises.threat import ThreatModel, threat_card, threat_model_of
from labsec.federation.scenario import Scenario

__all__ = ["Card", "claim", "claims", "reading", "safety", "sources", "threat_model"]


def threat_model(lab: str = "", *, scenario: Scenario | None = None) -> Card:
    """The threat model of a lab, or of a scenario of one's own.

    lab         whose goal and whose limits hold; "" for none, and then the card has no row for them
    scenario    whose facts hold: what the attackers know and do, their share, and what the defender sees. In place of
                those that the lab starts with

    >>> from labsec import bind, poison
    >>> print(threat_model("01"))
    ⚑ Threat model of lab 01
      Goal ...
    >>> mine = Scenario(clients=50, malicious=0.1, attack=bind(poison.sign_flip, scale=3.0))
    >>> threat_model("02", scenario=mine).rows["Share"]
    '5 of 50 clients.'

    Raises ValueError for a number that no lab has, or if neither is given.
    """
    if not lab and scenario is None:
        raise ValueError('a threat model needs a lab, such as "02", or a scenario')
    model: ThreatModel | None = exercises.load(lab).THREAT_MODEL if lab else None
    if scenario is not None:
        goal = model.goal if model else ""
        out_of_scope = model.out_of_scope if model else ""
        model = threat_model_of(scenario, goal=goal, out_of_scope=out_of_scope)
    assert model is not None
    whose = "your scenario" if scenario is not None else f"lab {lab}"
    return threat_card(model, title=f"Threat model of {whose}")


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


def claim(id: str, **parts: Any) -> None:
    """Ask what the learner thinks of a claim, then show what was measured, and the verdict.

    id       number of a claim of a lab, which lies in `labsec.course.claims.labNN`
    parts    of a `claims.Claim`, for one that an author tries out; it is shown at once

    One seed is run while the learner waits; the numbers of the others are committed. Where nobody can answer, the card
    is shown at once; a build measures with every seed.

    >>> def heads(seed):
    ...     "Share of heads"
    ...     return 0.5 + 0.01 * seed
    >>> def fair(seed):
    ...     "A fair coin"
    ...     return 0.5
    >>> claim("0", statement="The coin is fair.", measure=heads, baseline=fair, rule="held within .1",
    ...       verdict=lambda got, base: "held" if abs(got["heads"]["mean"] - 0.5) < 0.1 else "did not hold")
    ⚖ Claim 0: held
      Statement  The coin is fair.
      Measured   Share of heads
                 heads: 0.52 (0.5 … 0.54, standard deviation 0.0158)
      Baseline   A fair coin
                 fair: 0.5 (0.5 … 0.5, standard deviation 0)
      Rule       held within .1
      Numbers    5 seeds. All of them were run here.

    Raises ValueError for a number that no claim has, and what `Claim` raises.
    """
    if parts:
        show_at_once(Claim(id=id, **parts))
    else:
        ask_and_show(id)


def claims(lab: str) -> None:
    """Ask and show every claim of a lab, one below the other.

    Raises ValueError for a lab that has none.
    """
    for each in claims_of_labs.of_lab(lab):
        ask_and_show(each.id)


def reading(id: str, *, statement: str, says: str, verdict: str, sources: Sequence[str]) -> Card:
    """The card of a claim that an author settles by reading; see `claims.Reading`.

    >>> reading("0", statement="Water is wet.", says="It is.", verdict="held", sources=["A book"])
    ⚖ Claim 0: held
      Statement  Water is wet.
      Says       It is.
      Sources    A book
    """
    return text_card(Reading(id=id, statement=statement, says=says, verdict=verdict, sources=sources))


def sources(id: str, *, statement: str, asked: Sequence[str], found: str, verdict: str) -> Card:
    """The card of a claim whose source an author looked for; see `claims.Sourced`.

    >>> sources("0", statement="87 % of figures are invented.", asked=["Who counted?"], found="Nothing.",
    ...         verdict="cannot be tested, because no source for the figure was found")
    ⚖ Claim 0: cannot be tested, because no source for the figure was found
      Statement   87 % of figures are invented.
      Question 1  Who counted?
      Found       Nothing.
    """
    return text_card(Sourced(id=id, statement=statement, asked=asked, found=found, verdict=verdict))
