"""Every attack against every rule, in both regimes; and two sweeps beside it.

`matrix` holds every attack and every rule, `breakdown` a growing number of attackers,
`three_percent` a few attackers that boost what they send. `labsec.study.catalogue` holds the settings behind the
names; a row of a table is a scenario that anyone can run again. The committed tables are read with `load`; `labsec
matrix` makes them.
"""

from __future__ import annotations

from labsec.study.catalogue import ATTACKS, REGIMES, RULES
from labsec.study.matrix.cells import BELIEF, CLIENTS, DATA, MALICIOUS, boosted, cell
from labsec.study.matrix.pages import HeatMap, draw_map, heat_map, markdown_page, write
from labsec.study.matrix.tables import TABLES, check_cell, confirm, load, problem, run_table

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
    "confirm",
    "draw_map",
    "heat_map",
    "load",
    "markdown_page",
    "problem",
    "run_table",
    "write",
]
