"""labsec: a course in which you attack and defend federated learning, and measure every claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labsec.lazy import lazily

if TYPE_CHECKING:
    from labsec.federation.bind import bind as bind
    from labsec.federation.engine import rounds as rounds
    from labsec.federation.engine import run as run
    from labsec.federation.history import History as History
    from labsec.federation.history import Round as Round
    from labsec.federation.history import json_lines as json_lines
    from labsec.federation.scenario import Scenario as Scenario
    from labsec.study import matrix as matrix

__all__ = ["History", "Round", "Scenario", "bind", "json_lines", "matrix", "rounds", "run"]
__getattr__ = lazily(
    "labsec",
    {
        "Scenario": "labsec.federation.scenario:Scenario",
        "History": "labsec.federation.history:History",
        "Round": "labsec.federation.history:Round",
        "json_lines": "labsec.federation.history:json_lines",
        "bind": "labsec.federation.bind:bind",
        "run": "labsec.federation.engine:run",
        "rounds": "labsec.federation.engine:rounds",
        "matrix": "labsec.study.matrix",
    },
)
