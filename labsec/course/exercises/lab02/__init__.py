"""Lab 02, One bad client: references, inputs to try, and the wrong answers that teach most."""

from __future__ import annotations

from labsec.course.exercises.base import Exercise
from labsec.course.exercises.lab02.attacks import ALIE, IPM, LABEL_FLIP, SIGN_FLIP
from labsec.course.exercises.lab02.rules import KRUM, MEDIAN, NORM_ALARM, TRIMMED_MEAN
from labsec.course.exercises.threat import ThreatModel

THREAT_MODEL = ThreatModel(
    goal="Make the common model useless for everyone: untargeted poisoning.",
    knowledge="The model, and the attackers' own data and updates. In the arrows, the panel, the maps and the "
    "rehearsal some also read the honest updates of the round, and the adaptive attacker knows the server's rule.",
    capability="Send any numbers, train on any labels, and act together. They own the code on their machines.",
    share="Three of a hundred, up to half.",
    visibility="The server sees every update of every client, and does not know who is bad.",
    out_of_scope="Backdoors, breaking in elsewhere, joining under many names, secure aggregation: later labs.",
)

EXERCISES: tuple[Exercise, ...] = (LABEL_FLIP, SIGN_FLIP, MEDIAN, TRIMMED_MEAN, KRUM, ALIE, IPM, NORM_ALARM)
