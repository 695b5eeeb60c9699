"""The adaptive attacker of the tables: rehearses whole runs against each rule, and keeps the strategy that harms most.

An attack that searches one round at a time can be weaker than one that never heard of the rule, because what harms most
now need not harm most in the end. So the last row of the matrix is no single attack. Its attacker knows the rule, the
data and the training, tries every strategy of the catalogue on federations with other seeds, and takes the best one
along. Where a row of the matrix harms even more, it takes that (`tables.in_hindsight`): none stands below it.
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING

from labsec import storage
from labsec.data import load
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.files import COURSE
from labsec.study.catalogue import DATA, RULES, SKEWS, STRATEGIES, Fields, find
from labsec.study.matrix.stamp import split

if TYPE_CHECKING:
    import pandas

REHEARSAL = COURSE / "docs" / "rehearsal.csv"
REMEDY = "measure it again with `python3 lab.py matrix rehearsal --folder docs`"


def strategy(data: str, skew: str, rule: str) -> str:
    """The name in STRATEGIES that left the rule the lowest mean accuracy in the rehearsal.

    data, skew, rule    names in the catalogue

    Raises ValueError for an unknown name, or for a setting that was not rehearsed.
    """
    find(DATA, "data set", data)
    find(SKEWS, "skew", skew)
    find(RULES, "rule", rule)
    setting = (data, skew, rule)
    if setting not in _choices():
        raise ValueError(f"the attacker did not rehearse {rule} on {data} with {skew} shards; known: {len(_choices())}")
    return _choices()[setting]


@cache
def _choices() -> dict[tuple[str, str, str], str]:
    """(data, skew, rule) -> the strategy that harmed most."""
    import pandas

    _, rows = split(REHEARSAL, storage.read_text(REHEARSAL, REMEDY), REMEDY)
    means = pandas.read_csv(io.StringIO(rows)).groupby(["data", "skew", "rule", "attack"])["accuracy"].mean()
    worst = means.groupby(level=["data", "skew", "rule"]).idxmin()
    return {(data, skew, rule): attack for data, skew, rule, attack in worst}


def rehearse(
    server: Fields, *, data: str = "digits", skew: str = "dirichlet_0.1", malicious: float = 0.2, seed: int = 100
) -> pandas.DataFrame:
    """Try every strategy but the search against a server of one's own, in whole runs.

    server       fields of a scenario: `aggregate`, `server_stages`, or both
    data, skew   names in the catalogue
    malicious    share of the clients
    seed         one that no table shows
    returns      a row for each strategy, the most harmful last: title, accuracy, and what its attackers know

    Raises ValueError for an unknown name, and what a scenario with these fields raises.
    """
    import pandas

    learned = find(DATA, "data set", data).fields
    alpha = find(SKEWS, "skew", skew).alpha
    rows = []
    for strategy in STRATEGIES.values():
        if strategy.kind == "search":
            continue
        attacked = Scenario.fedavg(
            data=load(data),
            alpha=alpha,
            seed=seed,
            evaluate_every=1000,
            malicious=malicious,
            **learned,
            **strategy.scenario(),
            **server,
        )
        found = run(attacked).final_accuracy
        rows.append({"attack": strategy.title, "accuracy": round(found, 3), "knows": strategy.knows})
    return pandas.DataFrame(rows).sort_values("accuracy", ascending=False, ignore_index=True)
