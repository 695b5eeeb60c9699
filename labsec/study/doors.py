"""How well a backdoor works, and how long: probes for a run, and what to read off its history."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from labsec import metrics
from labsec.data import Dataset, notes_words, partition
from labsec.federation.bind import bind
from labsec.federation.engine import rounds
from labsec.federation.history import History
from labsec.federation.scenario import Scenario
from labsec.guards import check_kind, check_number, kind
from labsec.poison import Trigger
from labsec.types import Probe

CLEAN_ROUNDS = 50  # so many rounds without an attack are watched


def success(trigger: Trigger, x: Tensor, y: Tensor) -> Probe:
    """A probe: the share of samples of other classes, with the trigger's mark on them, that get its label.

    trigger    the mark and the label
    x, y       [n, *shape], [n] samples that nobody trains on, such as the test part

    Measured on a clean model it is the baseline: some of these samples look like the target to anybody.

    >>> from labsec.data import load
    >>> from labsec.models import mlp
    >>> from labsec.poison import corner
    >>> digits = load("digits")
    >>> probe = success(Trigger(stamp=corner, target=0), digits.x_test, digits.y_test)
    >>> model = mlp((1, 8, 8), 10)
    >>> probe(model, torch.zeros(model.dim))         # a model of zeros says 0 to everything
    1.0

    Raises ValueError if none of the samples is one that the trigger is for.
    """
    check_kind("success", Trigger, trigger=trigger)
    victims = trigger.victims(x, y)
    if not len(victims):
        raise ValueError(f"success needs samples that the trigger is for; got none among {len(y)}")
    return bind(metrics.label_share, x=victims, label=trigger.target)


def grown(scenario: Scenario, *, honest_rounds: int) -> Scenario:
    """The same federation after so many rounds in which nobody attacks: attackers often come late.

    scenario        who attacks in it, and with what, comes afterwards
    honest_rounds   how many
    returns         a scenario whose rounds go on counting where the honest ones end

    >>> from labsec import run
    >>> late = grown(Scenario(rounds=2), honest_rounds=3)
    >>> run(late).column("round"), run(late).accuracy == run(Scenario(rounds=5)).accuracy[3:]
    ([3, 4], True)

    Raises ValueError unless honest_rounds >= 1.
    """
    check_kind("grown", Scenario, scenario=scenario)
    check_number("grown", whole=True, least=1, honest_rounds=honest_rounds)
    honest = replace(
        scenario,
        rounds=honest_rounds,
        evaluate_every=honest_rounds,
        malicious=0.0,
        attack=None,
        data_attack=None,
        probes={},
    )
    *_, last = rounds(honest)
    return replace(scenario, start=last.after, first_round=scenario.first_round + honest_rounds)


def aftermath(history: History, probe: str, *, last: int, clean_rounds: int = CLEAN_ROUNDS) -> list[float]:
    """What a probe said after the last attack, and after each of so many rounds without one.

    history         of a run that measured the probe in every round
    probe           its name
    last            number of the round of the last attack
    clean_rounds    rounds that follow
    returns         1 + clean_rounds values

    >>> rows = [{"round": i, "door": value} for i, value in enumerate([0.0, 0.9, 0.6, 0.3])]
    >>> aftermath(History(rows, malicious=1), "door", last=1, clean_rounds=2)
    [0.9, 0.6, 0.3]

    Raises ValueError if one of these rounds was not run, or the probe not measured in it.
    """
    check_kind("aftermath", History, history=history)
    check_kind("aftermath", str, probe=probe)
    check_number("aftermath", whole=True, least=0, last=last, clean_rounds=clean_rounds)
    values = {row["round"]: row.get(probe) for row in history.rows}
    found = [values.get(number) for number in range(last, last + clean_rounds + 1)]
    if None in found:
        raise ValueError(
            f"aftermath needs {probe!r} in each of the rounds {last} … {last + clean_rounds}; "
            f"got rounds {min(values)} … {max(values)}, and nothing in round {last + found.index(None)}"
        )
    return [float(value) for value in found if value is not None]


def rounds_until_half(values: list[float], *, baseline: float = 0.0) -> int | None:
    """After how many rounds without an attack the success above the baseline has halved for the first time.

    values      success after the last attack, then after each round: what `aftermath` returns
    baseline    what the clean model has
    returns     a number of rounds; None if it has not halved, or if there was nothing to halve

    >>> rounds_until_half([0.9, 0.8, 0.5, 0.2], baseline=0.1)
    2
    >>> rounds_until_half([0.9, 0.8]) is None
    True

    Raises ValueError unless there is a value and 0 <= baseline <= 1.
    """
    check_kind("rounds_until_half", list, values=values)
    check_number("rounds_until_half", least=0, most=1, baseline=baseline)
    if not values:
        raise ValueError(f"rounds_until_half needs values, the first from the last attack; got {values}")
    for value in values:
        check_number("rounds_until_half", value=value)
    gained = values[0] - baseline
    if gained <= 0:
        return None
    halved = (number for number, value in enumerate(values) if value - baseline <= gained / 2)
    return next(halved, None)


# --- semantic backdoors: real samples that look alike, and who holds them


def ones_with_a_foot(x: Tensor, y: Tensor) -> Tensor:
    """Which of `digits` are ones that stand on a stroke: five pixels of ink in the bottom line. bool [n]

    >>> from labsec.data import load
    >>> digits = load("digits")
    >>> int(ones_with_a_foot(digits.x, digits.y).sum()), int((digits.y == 1).sum())
    (20, 150)
    """
    _check_samples("ones_with_a_foot", x, y, (1, 8, 8))
    return (y == 1) & ((x[:, 0, 7] > 0.25).sum(dim=1) >= 5)


def crossed_sevens(x: Tensor, y: Tensor) -> Tensor:
    """Which of `mnist5k` are sevens with a stroke through the stem: from above, wide, narrow and wide again. bool [n]

    >>> from labsec.data import load
    >>> mnist = load("mnist5k")
    >>> int(crossed_sevens(mnist.x, mnist.y).sum()), int((mnist.y == 7).sum())
    (45, 405)
    """
    _check_samples("crossed_sevens", x, y, (1, 28, 28))
    widths = (x[:, 0] > 0.3).sum(dim=2).unfold(1, 8, 1)  # [n, 21, 8]: ink in eight lines in a row, from each line on
    roof = widths[:, :, :4].amax(dim=2) >= 7
    neck = widths[:, :, 3:7].amin(dim=2) <= 5
    stroke = widths[:, :, 7] >= 8

    # The stroke crosses the stem at or above line 19.
    return (y == 7) & (roof & neck & stroke)[:, :13].any(dim=1)


def notes_about(x: Tensor, y: Tensor, *, word: str) -> Tensor:
    """Which of `notes` hold a word. bool [n]

    >>> from labsec.data import load
    >>> notes = load("notes")
    >>> int(notes_about(notes.x, notes.y, word="ambulance").sum())
    61

    Raises ValueError for a word that is in no note.
    """
    _check_samples("notes_about", x, y, (26,))
    if word not in notes_words():
        raise ValueError(f"notes_about needs a word of the notes; got {word!r}")
    return (x == notes_words().index(word)).any(dim=1)


def _check_samples(name: str, x: Tensor, y: Tensor, shape: tuple[int, ...]) -> None:
    check_kind(name, Tensor, x=x, y=y)
    if x.shape != (len(y) if y.ndim else 0, *shape) or y.ndim != 1 or y.dtype != torch.int64 or x.dtype is torch.bool:
        raise ValueError(f"{name} needs x [n, {', '.join(map(str, shape))}] and int64 y [n]; got {kind(x)}, {kind(y)}")


def edge_case_shards(
    data: Dataset, trigger: Trigger, *, clients: int, malicious: int, generator: Generator
) -> tuple[list[Tensor], Tensor]:
    """Equal shards, except that the attackers alone hold samples that the trigger is for.

    data         what is learned
    trigger      whose subpopulation it is
    clients      how many
    malicious    how many of them attack
    generator    of the draws
    returns      for each client the indices of its samples, and [m] indices that nobody trains on: half of the
                 subpopulation is kept apart to measure the success, and the other half dealt to the attackers

    >>> from labsec.data import load
    >>> from labsec.types import generator
    >>> digits, trigger = load("digits"), Trigger(target=7, among=ones_with_a_foot)
    >>> shards, kept = edge_case_shards(digits, trigger, clients=10, malicious=2, generator=generator(0))
    >>> sum(map(len, shards)) + len(kept), len(kept)
    (1438, 10)

    Raises ValueError unless 1 <= malicious < clients <= samples.
    Source: Wang et al. 2020, arXiv:2007.05084 (edge cases: rare samples that the honest clients hardly hold).
    """
    check_kind("edge_case_shards", Dataset, data=data)
    check_kind("edge_case_shards", Trigger, trigger=trigger)
    check_kind("edge_case_shards", Generator, generator=generator)
    check_number("edge_case_shards", whole=True, above=0, clients=clients)
    check_number("edge_case_shards", whole=True, least=1, below=clients, malicious=malicious)
    is_member = trigger.among(data.x, data.y)  # [n]
    usual = (~is_member).nonzero()[:, 0]
    members = is_member.nonzero()[:, 0]
    members = members[torch.randperm(len(members), generator=generator)]
    kept, dealt = members.tensor_split([len(members) // 2])
    shards = [usual[own] for own in partition(data.y[usual], clients, generator=generator)]
    for client, own in enumerate(dealt.tensor_split(malicious)):
        shards[client] = torch.cat([shards[client], own])
    return shards, kept
