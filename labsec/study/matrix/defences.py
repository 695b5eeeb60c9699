"""The table of defences: every attack and every backdoor against every rule and every layered defence, on digits.

The server holds a few samples back, so that rules which look at data of its own have some. All cells of the table leave
the same samples out, and so its columns can be compared with each other; those of the matrix were made with all.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from labsec.federation.scenario import Scenario
from labsec.study import doors
from labsec.study.catalogue import (
    ADAPTIVE,
    ATTACKS,
    BACKDOORS,
    CORNER,
    DATA,
    DEFENCES,
    DOOR_ADAPTIVE,
    RULES,
    SKEWS,
    Attack,
    Kind,
    find,
)
from labsec.study.detection import held_back
from labsec.study.matrix.cells import BELIEF, CLIENTS, MALICIOUS, MEASURED_EVERY
from labsec.train import RootUpdate

if TYPE_CHECKING:
    import pandas

UNTARGETED = tuple(name for name in ATTACKS if name != "none")
ROWS = ("none", *UNTARGETED, ADAPTIVE, *BACKDOORS, DOOR_ADAPTIVE)
COLUMNS = (*RULES, *DEFENCES)

# Of the two adaptive rows: among which rows they choose, in which column the harm shows, and its sign there.
ADAPTIVE_ROWS = {ADAPTIVE: (UNTARGETED, "accuracy", -1), DOOR_ADAPTIVE: (tuple(BACKDOORS), "success", 1)}


def defence(data: str, skew: str, attack: str, rule: str, seed: int) -> Scenario:
    """The scenario behind one number of the table of defences, ready to run again.

    data      "digits"; 100 of its training samples are the server's own, and drawn for each seed
    skew      a name in SKEWS
    attack    a name in ATTACKS or BACKDOORS. An adaptive row is one of the others in hindsight; until it is known
              which, it is the first
    rule      a name in RULES or DEFENCES

    >>> scenario = defence("digits", "iid", "door_x3", "fltrust", 0)
    >>> scenario.malicious_count, len(scenario.data.y), list(scenario.probes)
    (6, 1338, ['door'])

    Raises ValueError for an unknown name.
    """
    find({"digits": DATA["digits"]}, "data set", data)
    alpha = find(SKEWS, "skew", skew).alpha
    named: dict[str, Attack | Kind] = {**ATTACKS, **BACKDOORS}
    for adaptive, (rows, _, _) in ADAPTIVE_ROWS.items():
        named[adaptive] = named[rows[0]]
    attacked = find(named, "attack", attack).scenario()
    find({**RULES, **DEFENCES}, "rule", rule)
    dataset, x, y = held_back(seed)
    root = RootUpdate(Scenario(data=dataset).network(), x, y, lr=0.3, steps=5)  # trains as a client does
    defended = RULES[rule].fields(BELIEF) if rule in RULES else DEFENCES[rule].fields(BELIEF, root)
    return Scenario.fedavg(
        data=dataset,
        alpha=alpha,
        clients=CLIENTS,
        evaluate_every=MEASURED_EVERY,
        seed=seed,
        probes={"door": doors.success(CORNER, dataset.x_test, dataset.y_test)},
        malicious=MALICIOUS if attacked else 0.0,
        **attacked,
        **defended,
    )


def defence_cells(seeds: int) -> list[dict[str, Any]]:
    """Keywords of `defence` for the whole table."""
    return [
        {"data": "digits", "skew": skew, "attack": attack, "rule": rule, "seed": seed}
        for skew, attack, rule, seed in product(SKEWS, ROWS, COLUMNS, range(seeds))
    ]


def with_doors(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The frame of the table of defences with what its backdoors did, and with its two adaptive rows.

    frame      with a column `door`: how often the stamped test samples of other classes get the backdoor's label
    returns    in its place `success`, the same where the attack is a backdoor and else empty, and `baseline`, the same
               where nobody attacks the same rule with the same skew and seed; and `played`, as in `in_hindsight`.

    The adaptive rows become those of the attack that left the rule the lowest mean accuracy, or that opened the
    backdoor most often on average. They are known in hindsight only, and bounds on what these attacks can do.
    """
    place = ["data", "skew", "rule", "seed"]
    calm = frame.loc[frame["attack"] == "none", [*place, "door"]].rename(columns={"door": "baseline"})
    frame = frame.merge(calm, on=place, how="left", validate="many_to_one")
    is_door = frame["attack"].isin([*BACKDOORS, DOOR_ADAPTIVE])
    place_of_accuracy = list(frame).index("accuracy")
    frame.insert(place_of_accuracy + 1, "success", frame.pop("door").where(is_door))
    frame.insert(place_of_accuracy + 2, "baseline", frame.pop("baseline"))
    frame = frame.assign(played=frame["attack"])

    setting = ["data", "skew", "rule"]
    for adaptive, (rows, column, sign) in ADAPTIVE_ROWS.items():
        harm = sign * frame[frame["attack"].isin(rows)].groupby([*setting, "attack"])[column].mean()
        for data, skew, rule, attack in harm.groupby(level=setting).idxmax():
            here = (frame["data"] == data) & (frame["skew"] == skew) & (frame["rule"] == rule)
            strongest = frame[here & (frame["attack"] == attack)]
            for name in ("played", "accuracy", "success", "skipped", "attackers_of_samples", "arrived"):
                frame.loc[here & (frame["attack"] == adaptive), name] = strongest[name].to_numpy()
    return frame
