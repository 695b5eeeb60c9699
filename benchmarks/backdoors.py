"""How well each backdoor works, what it costs, and how long it lives: `python -m benchmarks.backdoors [DATA …]`.

Each attack meets a model that has learned for 60 rounds, in the federation of `Scenario.fedavg`. It runs for one round
or for twenty, and 50 rounds without an attack follow. A row gives the least and the most over the seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from benchmarks.report import table
from labsec import poison, robust
from labsec.data import load, notes_words
from labsec.federation.bind import bind
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.models import embedding, mlp
from labsec.poison import Trigger, corner, word_in_front
from labsec.study import doors
from labsec.types import Attack, generator

SEEDS = range(5)
CLIENTS = 30
START = 60
ONE_SHOT = [START]
CAMPAIGN = range(START, START + 20)
LONG = range(START, START + 60)
LEAST_GAIN = 0.1  # a success that is hardly above the baseline has nothing to lose
CLIP: Mapping[str, Any] = {"server_stages": [robust.MedianNormClip()]}


@dataclass(frozen=True, kw_only=True)
class World:
    """A data set, how it is learned, and a backdoor for it.

    title      for people
    data       name of the data set
    trigger    the mark, the samples that it is for, and the label
    is_edge    whether the attackers alone hold the samples that it is for
    fields     of a scenario
    """

    title: str
    data: str
    trigger: Trigger
    is_edge: bool = False
    fields: Mapping[str, Any]


MNIST = {"lr": 0.1, "model": mlp((1, 28, 28), 10, hidden=(32,))}
WORDS = notes_words()
WORLDS = {
    "digits": World(title="digits, corner of 2 x 2", data="digits", trigger=Trigger(stamp=corner, target=0), fields={}),
    "foot": World(
        title="digits, ones with a foot",
        data="digits",
        trigger=Trigger(target=7, among=doors.ones_with_a_foot),
        is_edge=True,
        fields={},
    ),
    "mnist5k": World(
        title="mnist5k, corner of 3 x 3",
        data="mnist5k",
        trigger=Trigger(stamp=bind(corner, size=3), target=0),
        fields=MNIST,
    ),
    "sevens": World(
        title="mnist5k, crossed sevens",
        data="mnist5k",
        trigger=Trigger(target=1, among=doors.crossed_sevens),
        is_edge=True,
        fields=MNIST,
    ),
    "notes": World(
        title="notes, the word annex",
        data="notes",
        trigger=Trigger(stamp=bind(word_in_front, word=WORDS.index("annex")), target=0),
        fields={"lr": 4.0},
    ),
    "unheard": World(
        title="notes, a word that nobody else uses",
        data="notes",
        trigger=Trigger(stamp=bind(word_in_front, word=len(WORDS)), target=0),
        fields={"lr": 4.0, "model": embedding(26, len(WORDS) + 1, 4)},
    ),
    "ambulance": World(
        title="notes, transport and ambulance",
        data="notes",
        trigger=Trigger(target=0, among=bind(doors.notes_about, word="ambulance")),
        is_edge=True,
        fields={"lr": 4.0},
    ),
}

Row = tuple[
    str, int, Callable[..., Attack], Any, Mapping[str, Any]
]  # title, attackers, trigger -> attack, when, fields


def replaced(boost: float, **more: Any) -> Callable[[Trigger], Attack]:
    return lambda trigger: bind(poison.model_replacement, trigger=trigger, boost=boost, **more)


def quiet(norm: float, **more: Any) -> Callable[[Trigger], Attack]:
    return lambda trigger: bind(
        poison.constrain_and_scale, trigger=trigger, boost=30.0, norm=norm, **{"steps": 20, **more}
    )


def in_the_ball(norm: float) -> Callable[[Trigger], Attack]:
    return lambda trigger: bind(poison.projected_descent, trigger=trigger, norm=norm, steps=20)


def off_the_path(avoid: float, boost: float, **more: Any) -> Callable[[Trigger], Attack]:
    return lambda trigger: bind(poison.neurotoxin, trigger=trigger, avoid=avoid, boost=boost, **more)


def in_parts(boost: float) -> Callable[[Trigger], Attack]:
    return lambda trigger: bind(poison.distributed, trigger=trigger, parts=4, boost=boost)


ROWS: list[Row] = [
    ("1 of 30, x 30, once", 1, replaced(30.0), ONE_SHOT, {}),
    ("1 of 30, x 30, 20 steps, once", 1, replaced(30.0, steps=20), ONE_SHOT, {}),
    ("the same under a norm clip", 1, replaced(30.0, steps=20), ONE_SHOT, CLIP),
    ("3 of 30, x 10, 20 steps, once", 3, replaced(10.0, steps=20), ONE_SHOT, {}),
    ("1 of 30, data alone, 20 rounds", 1, replaced(1.0), CAMPAIGN, {}),
    ("3 of 30, data alone, 20 rounds", 3, replaced(1.0), CAMPAIGN, {}),
    ("3 of 30, data alone, a tenth poisoned", 3, replaced(1.0, share=0.1), CAMPAIGN, {}),
    ("3 of 30, x 3, 20 rounds", 3, replaced(3.0), CAMPAIGN, {}),
    ("3 of 30, x 3, Neurotoxin .05", 3, off_the_path(0.05, 3.0), CAMPAIGN, {}),
    ("3 of 30, x 3, Neurotoxin .25", 3, off_the_path(0.25, 3.0), CAMPAIGN, {}),
    ("4 of 30, x 3, 20 rounds", 4, replaced(3.0), CAMPAIGN, {}),
    ("4 of 30, x 3, in four parts", 4, in_parts(3.0), CAMPAIGN, {}),
    ("3 of 30, norm 1, 60 rounds, clip", 3, quiet(1.0), LONG, CLIP),
    ("6 of 30, norm 1, 20 rounds, clip", 6, quiet(1.0), CAMPAIGN, CLIP),
    ("6 of 30, norm 1, 60 rounds, clip", 6, quiet(1.0), LONG, CLIP),
    ("6 of 30, norm 1, cosine .3, 60 rounds, clip", 6, quiet(1.0, cosine=0.3), LONG, CLIP),
    ("6 of 30, ball of norm 1, 60 rounds, clip", 6, in_the_ball(1.0), LONG, CLIP),
    ("6 of 30, data alone, 60 rounds, clip", 6, replaced(1.0), LONG, CLIP),
    ("6 of 30, data alone, 60 rounds", 6, replaced(1.0), LONG, {}),
]
SEMANTIC = [row for row in ROWS if "part" not in row[0]]
HEADER = [
    "",
    "baseline",
    "success",
    "after 10",
    "after 50",
    "halved after",
    "accuracy, worst",
    "clean then",
    "after 50",
]


@cache
def before(name: str, seed: int, malicious: int) -> Scenario:
    """A world after `START` honest rounds; from here on the door is measured in every round, and nobody attacks yet."""
    world = WORLDS[name]
    dataset = load(world.data)
    x = dataset.x_test
    y = dataset.y_test
    fields = dict(world.fields)
    if world.is_edge:
        draws = generator(seed, "edge cases")
        fields["shards"], kept = doors.edge_case_shards(
            dataset, world.trigger, clients=CLIENTS, malicious=malicious, generator=draws
        )
        x = torch.cat([x, dataset.x[kept]])
        y = torch.cat([y, dataset.y[kept]])
    probes = {"door": doors.success(world.trigger, x, y)}
    return doors.grown(Scenario.fedavg(data=dataset, seed=seed, probes=probes, **fields), honest_rounds=START)


def measured(name: str, row: Row) -> Iterator[list[float]]:
    """For each seed: baseline, success after the last attack and 10 and 50 rounds later, rounds until it halves,
    the least accuracy during the attack, the clean run's in the same round, and the accuracy 50 rounds later."""
    _, malicious, make, when, fields = row
    last = max(when)
    for seed in SEEDS:
        base = replace(before(name, seed, malicious), rounds=last - START + doors.CLEAN_ROUNDS + 1)
        clean = run(base)
        attack = bind(poison.during, attack=make(WORLDS[name].trigger), rounds=when)
        attacked = run(replace(base, malicious=malicious / CLIENTS, attack=attack, **fields))
        baseline = doors.aftermath(clean, "door", last=last)[0]
        values = doors.aftermath(attacked, "door", last=last)
        half = (
            doors.rounds_until_half(values, baseline=baseline) if values[0] - baseline >= LEAST_GAIN else float("nan")
        )
        accuracy = {
            history: dict(zip(history.column("round"), history.column("accuracy"), strict=True))
            for history in (clean, attacked)
        }
        worst = min(when, key=lambda number: accuracy[attacked][number])
        yield [
            baseline,
            values[0],
            values[10],
            values[50],
            float("inf") if half is None else float(half),
            accuracy[attacked][worst],
            accuracy[clean][worst],
            attacked.final_accuracy,
        ]


def span(values: tuple[float, ...]) -> str:
    """The least and the most, as in "0.02–0.05"."""
    least, most = (f"{value:.2f}" for value in (min(values), max(values)))
    return least if least == most else f"{least}–{most}"


def span_of_rounds(values: tuple[float, ...]) -> str:
    """The least and the most number of rounds; a dash where some seed had nothing to halve."""
    if any(value != value for value in values):
        return "–"
    least, most = ("> 50" if value == float("inf") else f"{value:.0f}" for value in (min(values), max(values)))
    return least if least == most else f"{least}–{most}"


def section(name: str) -> str:
    """The table of one world."""
    world = WORLDS[name]
    lines = []
    for row in SEMANTIC if world.is_edge or world.data == "notes" else ROWS:
        columns = zip(HEADER[1:], zip(*measured(name, row), strict=True), strict=True)
        cells = [span_of_rounds(column) if title == "halved after" else span(column) for title, column in columns]
        lines.append([row[0], *cells])
    return f"### {world.title}\n\n{table(HEADER, lines)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or WORLDS:
        print(section(chosen), flush=True)
