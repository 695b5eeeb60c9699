"""What every score is worth, at every skew: `python -m labsec.study.detection` measures and prints it.

How well a score tells attackers from honest clients (AUC); whom it accuses at a threshold that was tuned on alike
clients, and how many of the accusations would be true where few are bad; what a quarantine with that threshold does to
a run, also when the attackers know score and threshold.

All but the quarantines watch runs in which the server averages the honest updates only, as if somebody had told it:
every score sees the same messages, and no score is blamed for a model that another one failed to protect.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from labsec import detect, metrics, poison
from labsec.data import Dataset, load
from labsec.detect.judging import accusations, auc, first_isolated, rounds_left_out, share_above, threshold_for
from labsec.federation.bind import bind
from labsec.federation.engine import rounds
from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.guards import check_kind, check_number
from labsec.models import Model
from labsec.parts import keywords_asked
from labsec.study.catalogue import ATTACKS, SKEWS, find
from labsec.train import RootUpdate
from labsec.types import generator

Score = Callable[..., Tensor]

ROOT_SAMPLES = 100  # that the server holds itself; no client holds them
MALICIOUS = 0.2
ATTACKED = ("sign_flip_x10", "alie_1.5", "min_sum")
TUNING_SEEDS = (100, 101)  # on which thresholds are chosen; no table shows them
FALSE_ALARMS = 0.05  # of the messages of alike honest clients
PROBATION = 10
EARLY = 10  # rounds


def held_back(seed: int = 0) -> tuple[Dataset, Tensor, Tensor]:
    """Digits without the server's root samples, and these: x [n, 1, 8, 8], y [n].

    seed    of the draw of the root samples

    >>> data, x, y = held_back()
    >>> len(data.y), len(y)
    (1338, 100)

    Raises ValueError unless seed is a whole number.
    """
    check_number("held_back", whole=True, seed=seed)
    return _held_back(seed)


@cache
def _held_back(seed: int) -> tuple[Dataset, Tensor, Tensor]:
    """Drawn once for all cells of a seed: no run changes it."""
    whole = load("digits")
    order = torch.randperm(len(whole.y), generator=generator(seed, "root data"))
    root = order[:ROOT_SAMPLES]
    held = order[ROOT_SAMPLES:].sort().values
    return replace(whole, x=whole.x[held], y=whole.y[held]), whole.x[root], whole.y[root]


@cache
def scores() -> Mapping[str, Score]:
    """Every score of `labsec.detect` by name, with what it needs bound to it; a copy remembers nothing yet."""
    data, x, y = held_back()
    model: Model = Scenario(data=data).network()
    return {
        "norm": detect.norm,
        "cosine": detect.cosine,
        "cosine to root": bind(detect.cosine_to_root, root=RootUpdate(model, x, y, lr=0.3, steps=5)),
        "root loss": bind(detect.root_loss, model=model, x=x, y=y),
        "loss trajectory": detect.LossTrajectory(model=model, x=x, y=y),
        "spectral": detect.spectral,
        "FLDetector": detect.FLDetector(),
        "sybil similarity": detect.SybilSimilarity(),
    }


def federation(*, skew: str, attack: str, seed: int, **changes: Any) -> Scenario:
    """The federation that is watched: digits, 30 clients, a fifth of them malicious unless the attack is "none".

    skew, attack    names in the catalogue
    changes         any other field of the scenario; accuracy is measured at the end only

    >>> federation(skew="iid", attack="min_sum", seed=0).malicious_count
    6

    Raises ValueError for an unknown name.
    """
    fields = find(ATTACKS, "attack", attack).scenario()
    attacked = {"malicious": MALICIOUS, **fields} if fields else {}
    alpha = find(SKEWS, "skew", skew).alpha
    always = {"data": held_back()[0], "alpha": alpha, "seed": seed, "evaluate_every": 1000}
    return Scenario.fedavg(**{**always, **attacked, **changes})


def only_honest(updates: Tensor, *, clients: Tensor, malicious: int) -> Tensor:
    """Stage: the mask [k] that only somebody who knows the truth can make."""
    return clients >= malicious


def watch(scenario: Scenario, named: Mapping[str, Score]) -> dict[str, Tensor]:
    """What scores say of every client in every round of a run: name -> [rounds, clients], float64.

    named    name -> score; what it remembers afterwards is a copy's

    Raises ValueError unless everybody takes part in every round.
    """
    check_kind("watch", Scenario, scenario=scenario)
    check_kind("watch", Mapping, named=named)
    if scenario.participation < 1 or scenario.cohort is not None:
        raise ValueError(
            "watch needs everybody in every round; "
            f"got participation={scenario.participation}, cohort={scenario.cohort}"
        )
    copies = {name: copy.deepcopy(score) for name, score in named.items()}
    said: dict[str, list[Tensor]] = {name: [] for name in named}
    for result in rounds(scenario):
        offers = {"clients": result.clients, "params": result.before, "round": result.number}
        for name, score in copies.items():
            everybody = torch.full((scenario.clients,), torch.inf, dtype=torch.float64)  # NaN or infinity was sent
            asked = {each: offers[each] for each in keywords_asked(score, offers)}
            everybody[result.clients] = score(result.messages, **asked).double()
            said[name].append(everybody)
    return {name: torch.stack(each) for name, each in said.items()}


def tuned_thresholds(seeds: Sequence[int] = TUNING_SEEDS, **changes: Any) -> dict[str, float]:
    """For each score the threshold that accuses a share FALSE_ALARMS of the messages of alike, honest clients.

    seeds      of the runs that are looked at
    changes    fields of the scenario
    """
    seen = [watch(federation(skew="iid", attack="none", seed=seed, **changes), scores()) for seed in seeds]
    return {
        name: threshold_for(torch.cat([each[name].flatten() for each in seen]), false_alarms=FALSE_ALARMS)
        for name in scores()
    }


@dataclass(frozen=True)
class Seen:
    """What one score said in one run in which the server averaged the honest updates only.

    auc              of its messages, all rounds together; NaN where nobody attacks
    early            the same of the first EARLY rounds alone, while the model still learns fast
    false_alarms     share of the honest messages above the threshold
    found            share of the attackers' messages above the threshold; NaN where nobody attacks
    """

    auc: float
    early: float
    false_alarms: float
    found: float


def judge(skew: str, attack: str, seed: int, thresholds: Mapping[str, float], **changes: Any) -> dict[str, Seen]:
    """Run a federation whose server averages the honest updates only, and judge every score by its messages.

    thresholds    name of a score -> threshold
    """
    scenario = federation(skew=skew, attack=attack, seed=seed, **changes)
    truth = bind(only_honest, malicious=scenario.malicious_count)
    said = watch(replace(scenario, server_stages=[truth]), scores())
    is_bad = torch.arange(scenario.clients) < scenario.malicious_count  # [clients]
    judged = {}
    for name, values in said.items():
        honest = values[:, ~is_bad].flatten()
        bad = values[:, is_bad].flatten()
        attacked = bool(is_bad.any())
        judged[name] = Seen(
            auc=_area(values, is_bad) if attacked else math.nan,
            early=_area(values[:EARLY], is_bad) if attacked else math.nan,
            false_alarms=share_above(honest, thresholds[name]),
            found=share_above(bad, thresholds[name]) if attacked else math.nan,
        )
    return judged


def _area(values: Tensor, is_bad: Tensor) -> float:
    """AUC of scores [rounds, clients], all rounds together."""
    return auc(values.flatten(), is_bad.expand_as(values).flatten())


@dataclass(frozen=True)
class Outcome:
    """What a quarantine did to one run.

    accuracy         after the last round
    honest_out       share of the honest clients' rounds that did not count
    bad_out          share of the attackers' rounds that did not count; NaN where nobody attacks
    delay            rounds until an attacker was isolated first, on average over those who ever were; NaN for none
    cost             accuracy on the classes that isolated honest clients hold, minus what a run without attack and
                     quarantine reaches on them; NaN where no honest client was isolated
    """

    accuracy: float
    honest_out: float
    bad_out: float
    delay: float
    cost: float


def defend(scenario: Scenario, stage: detect.Quarantine, clean: Tensor) -> Outcome:
    """Run a federation behind a quarantine and a mean.

    clean    [classes] accuracy that a run without attack and quarantine reaches
    """
    *before, last = rounds(replace(scenario, server_stages=[stage]))
    notes = [note for result in (*before, last) for note in result.notes]
    out = torch.zeros(scenario.clients, dtype=torch.float64)  # of every client, share of its rounds that did not count
    for client, count in rounds_left_out(notes, rounds=scenario.rounds).items():
        out[client] = count / scenario.rounds
    bad = scenario.malicious_count
    caught = [number for client, number in first_isolated(notes).items() if client < bad]

    # Accuracy on what isolated honest clients hold: every class counts by its samples that were left out.
    change = accuracy_by_class(scenario, last) - clean
    held = samples_by_class(scenario)[bad:].double()  # [honest, classes]
    left_out = out[bad:] @ held  # [classes]
    return Outcome(
        accuracy=last.metrics["accuracy"],
        honest_out=float(out[bad:].mean()),
        bad_out=float(out[:bad].mean()),
        delay=fmean(caught) if caught else math.nan,
        cost=float(left_out @ change / left_out.sum()),
    )


def accuracy_by_class(scenario: Scenario, last: Round) -> Tensor:
    """Accuracy after a round on the test part: [classes], float64."""
    data = scenario.data
    return metrics.accuracy_by_class(scenario.network(), last.after, data.x_test, data.y_test).double()


def samples_by_class(scenario: Scenario) -> Tensor:
    """How many samples of every class each client holds: [clients, classes]."""
    population = Population(scenario)
    counts = [population.y[own[own >= 0]].bincount(minlength=scenario.data.classes) for own in population.shards]
    return torch.stack(counts)


# --- the tables


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(map(_line, (header, ["---"] * len(header), *rows)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(values: Iterable[float], digits: int = 2) -> str:
    """The mean of those that are numbers; a dash if none is."""
    known = [value for value in values if not math.isnan(value)]
    return f"{fmean(known):.{digits}f}" if known else "–"


def scores_in_words(seeds: Sequence[int], thresholds: Mapping[str, float], **changes: Any) -> str:
    """How well scores tell attackers from honest clients, and whom they accuse."""
    settings = list(product(SKEWS, ATTACKED))
    attacked = {each: [judge(*each, seed, thresholds, **changes) for seed in seeds] for each in settings}
    calm = {skew: [judge(skew, "none", seed, thresholds, **changes) for seed in seeds] for skew in SKEWS}
    names = [f"{ATTACKS[attack].title}, {skew}" for skew, attack in settings]

    areas = []
    early = []
    accused = []
    sums = []
    for name, threshold in thresholds.items():
        found = {each: [seen[name].found for seen in runs] for each, runs in attacked.items()}
        alarms = {skew: [seen[name].false_alarms for seen in runs] for skew, runs in calm.items()}
        areas.append([name, *(_mean(seen[name].auc for seen in runs) for runs in attacked.values())])
        early.append([name, *(_mean(seen[name].early for seen in runs) for runs in attacked.values())])
        accused.append([name, f"{threshold:.3g}", *map(_mean, alarms.values()), *map(_mean, found.values())])
        made = accusations(
            clients=1000, bad=0.01, false_alarms=fmean(alarms["iid"]), detected=fmean(found["iid", ATTACKED[0]])
        )
        sums.append([name, f"{made.right:.1f}", f"{made.wrong:.1f}", f"{made.share_right:.2f}"])
    return "\n\n".join(
        [
            "AUC of a score, all rounds of a run together; 0.5 is guessing:",
            _table(["score", *names], areas),
            f"The same in the first {EARLY} rounds:",
            _table(["score", *names], early),
            f"Share of messages above the threshold that accuses {FALSE_ALARMS:.0%} of the honest ones on IID shards:",
            _table(["score", "threshold", *(f"honest, {skew}" for skew in SKEWS), *names], accused),
            "Of 1,000 clients 1 % are bad: the accusations of one round that are right and wrong, at the rates above "
            f"for {names[0]}:",
            _table(["score", "right", "wrong", "share right"], sums),
        ]
    )


def quarantines_in_words(seeds: Sequence[int], thresholds: Mapping[str, float], **changes: Any) -> Iterator[str]:
    """What a quarantine with each score does to runs with and without an attack, plain and adaptive: line by line."""
    calm = {
        (skew, seed): federation(skew=skew, attack="none", seed=seed, **changes) for skew in SKEWS for seed in seeds
    }
    clean = {place: accuracy_by_class(scenario, [*rounds(scenario)][-1]) for place, scenario in calm.items()}
    accuracy = ", ".join(f"{skew} {_mean(float(clean[skew, seed].mean()) for seed in seeds)}" for skew in SKEWS)
    yield (
        f"Quarantine at these thresholds, probation {PROBATION}, then the mean; "
        f"without attack and quarantine the accuracy, averaged over classes, is {accuracy}:\n"
    )
    columns = ("accuracy", "honest_out", "bad_out", "delay", "cost")
    header = ["score", "skew", "attack", "accuracy", "honest left out", "bad left out", "delay", "cost to the isolated"]
    yield _table(header, [])
    for skew, (name, score) in product(SKEWS, scores().items()):
        stage = detect.Quarantine(score, threshold=thresholds[name], probation=PROBATION)
        for title, attacked in _attacks(name, thresholds[name]).items():
            runs = [defend(replace(calm[skew, seed], **attacked), stage, clean[skew, seed]) for seed in seeds]
            yield _line([name, skew, title, *(_mean(getattr(run, field) for run in runs) for field in columns)])


def _attacks(name: str, threshold: float) -> dict[str, dict[str, Any]]:
    """Fields of a scenario: nobody, the plain attacks, and one that knows score and threshold."""
    loud = bind(poison.sign_flip, scale=10)
    hidden = poison.UnderThreshold(loud, scores()[name], threshold=threshold)
    return {
        "no attack": {},
        **{ATTACKS[attack].title: {"malicious": MALICIOUS, **ATTACKS[attack].scenario()} for attack in ATTACKED},
        "sign flip x 10 under the threshold": {"malicious": MALICIOUS, "omniscient": True, "attack": hidden},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m labsec.study.detection", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of every setting (default: 5)")
    parser.add_argument("--rounds", type=int, default=160, metavar="N", help="of every run (default: 160)")
    parser.add_argument(
        "--quarantines", type=int, default=0, metavar="N", help="runs of every setting behind a quarantine (default: 0)"
    )
    options = parser.parse_args(arguments)
    seeds = range(options.seeds)
    changes = {"rounds": options.rounds}
    thresholds = tuned_thresholds(**changes)
    given = f"--seeds {options.seeds} --rounds {options.rounds} --quarantines {options.quarantines}"
    print(f"# What every score is worth\n\nPrinted by `python -m labsec.study.detection {given}`.\n")
    print(scores_in_words(seeds, thresholds, **changes), flush=True)
    if options.quarantines:
        for line in quarantines_in_words(range(options.quarantines), thresholds, **changes):
            print(line, flush=True)


if __name__ == "__main__":
    main()
