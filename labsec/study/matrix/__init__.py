"""Every attack against every rule, on clients ever more unlike; a rehearsal, and more sweeps beside it.

`matrix` holds every attack and every rule, `rehearsal` what the adaptive attacker chose from, `breakdown` a growing
number of attackers, `three_percent` a few attackers that boost what they send, `defences` the backdoors and the layered
defences too. `labsec.study.catalogue` holds the settings behind the names; a row of a table is a scenario that anyone
can run again. The committed tables are read with `load`; `labsec matrix` makes them.
"""

from __future__ import annotations

from labsec.study.catalogue import (
    ADAPTIVE,
    ATTACKS,
    BACKDOORS,
    DATA,
    DEFENCES,
    DOOR_ADAPTIVE,
    RULES,
    SKEWS,
    STRATEGIES,
)
from labsec.study.matrix.cells import BELIEF, CLIENTS, MALICIOUS, boosted, cell
from labsec.study.matrix.defence_pages import defence_map, defence_page
from labsec.study.matrix.defences import defence
from labsec.study.matrix.maps import HeatMap, draw_map, means
from labsec.study.matrix.pages import heat_map, markdown_page, write
from labsec.study.matrix.portfolio import rehearse
from labsec.study.matrix.tables import TABLES, arrival, check_cell, confirm, load, problem, run_table

__all__ = [
    "ADAPTIVE",
    "ATTACKS",
    "BACKDOORS",
    "BELIEF",
    "CLIENTS",
    "DATA",
    "DEFENCES",
    "DOOR_ADAPTIVE",
    "MALICIOUS",
    "RULES",
    "SKEWS",
    "STRATEGIES",
    "TABLES",
    "HeatMap",
    "arrival",
    "boosted",
    "cell",
    "check_cell",
    "confirm",
    "defence",
    "defence_map",
    "defence_page",
    "draw_map",
    "heat_map",
    "load",
    "markdown_page",
    "means",
    "problem",
    "rehearse",
    "run_table",
    "write",
]
