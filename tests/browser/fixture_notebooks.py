"""Notebooks that the browser tests bring along: one panel over a real federation, and three that must be caught."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

SETUP = """\
import math
from types import SimpleNamespace
import torch
from labsec import Scenario, bind, plots, poison, robust, rounds
from labsec.course import live
torch.set_num_threads(1)
"""
PANEL = """\
figure = plots.figure(5, 3.5)
axes = plots.axes(figure)
axes.set(xlim=(0, 9), ylim=(0, 1), xlabel="round", ylabel="accuracy")
(line,) = axes.plot([], [])
title = axes.set_title(" ")

def compute(malicious, rule, lr, iid):
    attack = bind(poison.sign_flip, scale=3.0) if malicious else None
    seen = []
    for result in rounds(Scenario(rounds=10, clients=20, malicious=malicious, attack=attack, aggregate=rule, lr=lr,
                                  local_steps=1, alpha=None if iid else 0.3)):
        seen = [*seen, result.metrics["accuracy"]]
        yield seen

def update(values, seen):
    line.set_data(range(len(seen)), seen)
    title.set_text(f"{seen[-1]:.0%} right after {len(seen)} rounds")

panel = live.Panel(
    name="fixture",
    attacker={"malicious": live.slider("Malicious share", 0.2, 0.0, 0.4, 0.05, fmt="{:.0%}", help="They flip signs.")},
    defender={"rule": live.choice("Rule", {"mean": robust.mean, "median": robust.median}, "median")},
    setting={"lr": live.log_slider("Learning rate", 0.1, [0.01, 0.03, 0.1, 0.3, 1.0]),
             "iid": live.switch("Same data everywhere", True)},
    compute=compute,
    draw=SimpleNamespace(figure=figure, update=update, moving=(line, title)),
    reading=lambda values, seen: f"With {values['malicious']:.0%} malicious clients at learning rate {values['lr']} "
                                 f"the model is right in {seen[-1]:.1%} of the test after {len(seen)} rounds.",
)
panel
"""
RAISE = "    if malicious > 0.3: raise ValueError('boom in the worker')\n"
WORKER = PANEL.replace("    seen = []\n", RAISE + "    seen = []\n")
OBSERVER = PANEL + "panel._fields['malicious'].source.observe(lambda change: 1 / 0, 'index')\npanel\n"
FIXTURES = {
    "good": [SETUP, PANEL, "panel.set(malicious=0.4)\nassert len(panel.wait()) == 10\npanel.set(malicious=0.2)"],
    "panel00": ["from labsec.course.panels import lab00\nlab00.panel()"],
    "panel01": ["from labsec.course.panels import lab01\nlab01.panel()"],
    "panel02": ["from labsec.course.panels import lab02\nlab02.panel()"],
    "panel03": ["from labsec.course.panels import lab03\nlab03.panel()"],
    "panel04": ["from labsec.course.panels import lab04\nlab04.panel()"],
    "panel05": ["from labsec.course.panels import lab05\nlab05.panel()"],
    "panel06": ["from labsec.course.panels import lab06\nlab06.panel()"],
    "panel07": ["from labsec.course.panels import lab07\nlab07.panel()"],
    "panel08": ["from labsec.course.panels import lab08\nlab08.panel()"],
    "defences": [
        "from labsec import matrix\nfrom labsec.course.panels import lab06_defences\n"
        "lab06_defences.panel(matrix.load('defences'))"
    ],
    "arrows": ["from labsec.course.panels import lab02_arrows\nlab02_arrows.panel()"],
    "bad_cell": [SETUP, "1 / 0", "print('not reached')"],
    "bad_worker": [SETUP, WORKER],
    "bad_observer": [SETUP, OBSERVER],
}


def write_fixtures(folder: Path) -> None:
    """Write each fixture as fixture_NAME.ipynb."""
    for name, sources in FIXTURES.items():
        cells = [new_code_cell(source, id=f"{name}-{i}") for i, source in enumerate(sources)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / f"fixture_{name}.ipynb")
