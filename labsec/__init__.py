"""labsec: a course in which you attack and defend federated learning, and measure every claim.

Names are loaded when they are first used, so that `labsec doctor` works where torch does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labsec.engine import Round as Round
    from labsec.engine import rounds as rounds
    from labsec.engine import run as run
    from labsec.scenario import History as History
    from labsec.scenario import Scenario as Scenario
    from labsec.scenario import bind as bind

_HOME = {
    "Scenario": "scenario",
    "History": "scenario",
    "bind": "scenario",
    "Round": "engine",
    "run": "engine",
    "rounds": "engine",
}
__all__ = ["History", "Round", "Scenario", "bind", "rounds", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'labsec' has no attribute {name!r}")
    return getattr(import_module(f"labsec.{_HOME[name]}"), name)
