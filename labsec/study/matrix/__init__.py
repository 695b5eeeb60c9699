"""Every attack against every rule, in both regimes; and two sweeps beside it.

`matrix` holds every attack and every rule, `breakdown` ever more attackers, `three_percent` few attackers that boost
what they send. ATTACKS and RULES hold the settings behind the names; a row of a table is a scenario that anyone can
run again. The committed tables are read with `load`; `labsec matrix` makes them.
"""

from __future__ import annotations

from labsec.study.matrix.cells import ATTACKS, BELIEF, CLIENTS, DATA, MALICIOUS, REGIMES, RULES, boosted, cell
from labsec.study.matrix.pages import HeatMap, draw_map, heat_map, page, write
from labsec.study.matrix.tables import TABLES, check_cell, load, measure

__all__ = [
    "ATTACKS",
    "BELIEF",
    "CLIENTS",
    "DATA",
    "MALICIOUS",
    "REGIMES",
    "RULES",
    "TABLES",
    "HeatMap",
    "boosted",
    "cell",
    "check_cell",
    "draw_map",
    "heat_map",
    "load",
    "measure",
    "page",
    "write",
]
