"""Lab 00 has a panel in place of exercises; its threat model is the map of the whole course."""

from __future__ import annotations

from labsec.course.exercises.base import Exercise
from labsec.course.exercises.threat import ThreatModel

EXERCISES: tuple[Exercise, ...] = ()

THREAT_MODEL = ThreatModel(
    goal="Malicious clients want the common model to fail. A curious server wants the clients' private digits.",
    knowledge="Clients know the model and their own data. The server knows the model, the rules and every message, "
    "and in one attack a list of suspects.",
    capability="Clients send what they like. The server follows the protocol, and reads.",
    share="From none to half of the clients, as you set it. There is one server.",
    visibility="The server sees messages, never which digits a client holds. Nobody sees that a message was read.",
    out_of_scope="Backdoors, a server that sends prepared models, colluding servers, an open wire: later labs.",
)
