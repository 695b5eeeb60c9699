"""Who attacks: the shape of a lab's threat model, and how to read one off a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from labsec.course.card import ORANGE, Card
from labsec.federation.bind import part_name
from labsec.federation.scenario import Scenario, identity


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


def threat_model_of(scenario: Scenario, *, goal: str, out_of_scope: str) -> ThreatModel:
    """The threat model that a scenario stands for: change the scenario, and its facts change with it.

    goal, out_of_scope    what no scenario can say

    >>> from labsec import bind, poison
    >>> shouting = Scenario(malicious=0.3, attack=bind(poison.sign_flip, scale=3.0), omniscient=True)
    >>> model = threat_model_of(shouting, goal="Ruin the model.", out_of_scope="Backdoors.")
    >>> model.share
    '6 of 20 clients.'
    >>> model.knowledge
    "The model, their own data and updates. They see the honest clients' messages, and not the server's rule."
    """
    return ThreatModel(
        goal=goal,
        knowledge=_knowledge(scenario),
        capability=_capability(scenario),
        share=f"{scenario.malicious_count or 'None'} of {scenario.clients} clients.",
        visibility=_visibility(scenario),
        out_of_scope=out_of_scope,
    )


# What the attackers see, by (omniscient, public_rule) of the scenario.
SEEN = {
    (False, False): "They see neither the honest clients' messages nor the server's rule.",
    (True, False): "They see the honest clients' messages, and not the server's rule.",
    (False, True): "They see the server's rule, and not the honest clients' messages.",
    (True, True): "They see the honest clients' messages and the server's rule.",
}


def _knowledge(s: Scenario) -> str:
    if not s.malicious_count:
        return "The server knows the model that it sent, how clients train, and every message that reaches it."
    return f"The model, their own data and updates. {SEEN[s.omniscient, s.public_rule]}"


def _capability(s: Scenario) -> str:
    sent = f"Send what {_names(s.attack)} makes of their updates." if s.attack else "Send what they learned."
    learned = f"Train on what {_names(s.data_attack)} makes of their data." if s.data_attack else ""
    clients = f"{learned} {sent}".strip() if s.malicious_count else "Read, and follow the protocol."
    if s.broadcast is None:
        return clients
    server = f"The server sends out what {_names(s.broadcast)} makes of its model."
    return f"{clients} {server}" if s.malicious_count else server


def _visibility(s: Scenario) -> str:
    """What comes to the server and what it does with it, in the order of a round."""
    protected = f"Honest clients run {_names(*s.client_stages)} before they send." if s.client_stages else ""
    carried = "The server sees every client's message as it was sent"
    if s.wire is not identity:
        carried = f"The server sees what {_names(s.wire)} makes of the messages"
    stages = f", runs {_names(*s.server_stages)} on them" if s.server_stages else ""
    return f"{protected} {carried}{stages} and combines them by {_names(s.aggregate)}.".strip()


def _names(*parts: Callable[..., Any]) -> str:
    """sign_flip, or norm_clip and nnm."""
    return " and ".join(part_name(part) for part in parts)


def threat_card(model: ThreatModel, *, title: str = "Threat model of this lab") -> Card:
    """A threat model to read; what is "" has no row.

    >>> threat_card(threat_model_of(Scenario(), goal="Read.", out_of_scope="Attacks."))
    ⚑ Threat model of this lab
      Goal          Read.
      ...
    """
    texts = {f.name.replace("_", " ").capitalize(): getattr(model, f.name) for f in fields(model)}
    rows = {name: text for name, text in texts.items() if text}
    return Card(symbol="⚑", title=title, rows=rows, edge=ORANGE)
