"""What lab 01 measures for its claims: how close federated averaging comes to pooled data, and what an update holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from labsec import data, invert, metrics, models, robust, train
from labsec.course.claims.base import Claim, Reading, Sourced, Spread
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.types import ServerView, generator

RECOVERED = 25.0  # dB: from here on a record counts as recovered


# Claim 1: is federated averaging as good as pooled data?
#
# Both sides take 64,000 samples (20 clients, 40 rounds, 80 samples a client and round), and for both the batch size and
# the learning rate were chosen in the same way: the best mean accuracy on the seeds 100 and 101, with batches of 2, 4,
# 8 and 16 (pooled: 4 to 320) and rates of 0.1, 0.2, 0.3, 0.5 and 1. Means of the two seeds: IID 0.975, Dirichlet 0.3
# 0.976, Dirichlet 0.1 0.967, pooled 0.988. What the lab takes, batches of 16 at 0.3: 0.960, 0.954, 0.947, 0.980.
WITHIN = 0.01
FEDERATED = {  # alpha, batch size, learning rate
    "IID": (None, 4, 0.5),
    "Dirichlet 0.3": (0.3, 8, 0.5),
    "Dirichlet 0.1": (0.1, 2, 0.3),
}
POOLED = (8, 0.3)  # batch size, learning rate
ROUNDS = 40
SAMPLES = 80  # of a client in a round


def federated(seed: int) -> Mapping[str, float]:
    """Test accuracy after 40 rounds of FedAvg, 20 clients, 80 samples a client and round, tuned; by the shards"""
    found = {}
    for name, (alpha, batch, rate) in FEDERATED.items():
        tuned = Scenario(
            rounds=ROUNDS,
            local_steps=SAMPLES // batch,
            batch_size=batch,
            lr=rate,
            alpha=alpha,
            aggregate=robust.weighted_mean,
            evaluate_every=ROUNDS,
            seed=seed,
        )
        found[name] = run(tuned).final_accuracy
    return found


def without_federation(seed: int) -> Mapping[str, float]:
    """Test accuracy of one computer with all digits, as many samples, tuned alike; and of a client alone"""
    batch, rate = POOLED
    steps = 20 * SAMPLES // batch
    together = Scenario(
        clients=1, rounds=ROUNDS, local_steps=steps, batch_size=batch, lr=rate, evaluate_every=ROUNDS, seed=seed
    )

    # Each client takes as many steps alone as it takes in all rounds, with the settings of the IID shards.
    _, batch, rate = FEDERATED["IID"]
    steps = ROUNDS * SAMPLES // batch
    digits = data.load("digits")
    model = models.mlp(digits.shape, digits.classes)
    start = model.init(generator(seed, "start"))
    shards = data.partition(digits.y, 20, generator=generator(seed, "partition"))
    chance = generator(seed, "batches alone")
    batches = torch.stack([shard[torch.randint(len(shard), (steps, batch), generator=chance)] for shard in shards])
    trained = start + train.local_updates(model, start, digits.x, digits.y, batches, lr=rate)  # [clients, dim]
    scores = [metrics.accuracy(model, params, digits.x_test, digits.y_test) for params in trained]
    return {"pooled": run(together).final_accuracy, "one client alone": sum(scores) / len(scores)}


def is_as_good(name: str, measured: Spread, compared: Spread) -> bool:
    return compared["pooled"]["mean"] - measured[name]["mean"] <= WITHIN


def close_to_pooled(measured: Spread, compared: Spread) -> str:
    good = [name for name in FEDERATED if is_as_good(name, measured, compared)]
    useful = measured["IID"]["mean"] >= compared["one client alone"]["mean"] + WITHIN
    if "IID" not in good or not useful:
        return "did not hold"
    return "held" if len(good) == len(measured) else f"depends on the clients' data: as good for {', '.join(good)}"


# Claim 4: does what leaves a client hold a record?
SENT = {"1 in the step": (1, 1), "4 in the step": (1, 4), "16 in the step": (1, 16), "FedAvg, 5 steps of 16": (5, 16)}
MESSAGES = 32
LEAKS = 0.1  # of the records, beyond what another's message yields


def one_message(seed: int, patients: Tensor) -> ServerView:
    """What an honest but curious server sees of one client's training: no row, no label.

    patients    [steps, batch] places of the records
    """
    records = data.load("breast_cancer")
    network = models.mlp(records.shape, records.classes)
    params = network.init(generator(seed, "start"))
    update = train.local_updates(network, params, records.x, records.y, patients[None], lr=0.3)  # [1, dim]
    steps, batch = patients.shape
    return ServerView(params=params, messages=update, model=network, lr=0.3, local_steps=steps, batch_size=batch)


def shares_recovered(seed: int, steps: int, batch: int) -> tuple[float, float]:
    """Share of the records recovered from the message that they are in, and from somebody else's."""
    x = data.load("breast_cancer").x
    draws = [torch.randperm(len(x), generator=generator(seed, i, "patients")) for i in range(MESSAGES)]
    patients = [draw[: steps * batch] for draw in draws]
    read = [invert.analytic(one_message(seed, own.view(steps, batch))) for own in patients]

    # A stranger may hold some of the same records, and reading those is no chance: it is scored on the others.
    strangers = read[1:] + read[:1]
    held = patients[1:] + patients[:1]
    unknown = [own[~torch.isin(own, theirs)] for own, theirs in zip(patients, held, strict=True)]
    return _recovered(read, patients, x), _recovered(strangers, unknown, x)


def _recovered(read: Sequence[Tensor], patients: Sequence[Tensor], x: Tensor) -> float:
    scores = [metrics.best_matches(found, x[own])[1] for found, own in zip(read, patients, strict=True)]
    return float((torch.cat(scores) >= RECOVERED).float().mean())


def records_read(seed: int) -> Mapping[str, float]:
    """Share of records read from their own message (25 dB or more) beyond what another's message yields"""
    both = {name: shares_recovered(seed, steps, batch) for name, (steps, batch) in SENT.items()}
    return {name: own - strangers for name, (own, strangers) in both.items()}


def read_from_strangers(seed: int) -> Mapping[str, float]:
    """Share of records matched (25 dB or more) by somebody else's message, which was taken off"""
    return {name: shares_recovered(seed, steps, batch)[1] for name, (steps, batch) in SENT.items()}


def is_safe(name: str, measured: Spread, compared: Spread) -> bool:
    return measured[name]["min"] < LEAKS


def holds_no_record(measured: Spread, compared: Spread) -> str:
    leaking = [name for name in SENT if not is_safe(name, measured, compared)]
    if not leaking:
        return "held"
    return (
        "did not hold"
        if len(leaking) == len(measured)
        else f"depends on the training: came back from {', '.join(leaking)}"
    )


CLAIMS = (
    Claim(
        id="1",
        statement="Clients send updates, a server averages them, and the model is as good as one trained on pooled "
        "data.",
        measure=federated,
        baseline=without_federation,
        verdict=close_to_pooled,
        rule="As good means at most 0.01 below pooled training in the mean, both tuned on the same number of samples. "
        "Held if FedAvg is as good on all three kinds of shards; did not hold if it is not on IID shards, or does not "
        "beat a client alone there by 0.01; else it depends on the clients' data.",
        supports=is_as_good,
    ),
    Reading(
        id="2",
        statement="Hospitals, banks and vehicles run federated learning in production.",
        says="A keyboard on phones trained with it at scale. In hospitals, 20 institutes trained EXAM and 71 sites "
        "FeTS: real data, as studies. These three sources show no bank and no vehicle.",
        verdict="depends on what counts as production",
        sources=(
            "Hard et al. 2018, Federated Learning for Mobile Keyboard Prediction, arXiv:1811.03604",
            "Dayan et al. 2021, Federated learning for predicting clinical outcomes in patients with COVID-19, "
            "Nature Medicine",
            "Pati et al. 2022, Federated learning enables big data for rare cancer boundary detection, "
            "Nature Communications 13:7346",
        ),
    ),
    Sourced(
        id="3",
        statement="40 % of enterprises use federated learning, up from 12 % in 2024.",
        asked=(
            "Who asked whom, how many answered, and how were they chosen?",
            "What counts as an enterprise, and what as use: a product, a pilot, an intention?",
            "Were both years measured in the same way?",
        ),
        found="No survey with these two figures, and so none of the three answers.",
        verdict="cannot be tested, because no source for the figures was found",
    ),
    Claim(
        id="4",
        statement="Data that stay local leave no record in what is sent.",
        measure=records_read,
        baseline=read_from_strangers,
        verdict=holds_no_record,
        rule="A kind of message gives records away if in every seed at least 0.10 of its records come back beyond what "
        "a stranger's message yields. Held if none does; did not hold if all do; else it depends on the training. It "
        "speaks of this one attack.",
        thresholds=((LEAKS, "● < 0.10"),),
        supports=is_safe,
    ),
    Reading(
        id="4b",
        statement="Data that stay local satisfy GDPR and HIPAA.",
        says="The GDPR calls data personal if they relate to a person who can be identified by means that are "
        "reasonably likely to be used; where they lie is no part of that. Of trained models the European board says "
        "that they cannot in all cases be taken as anonymous, and are judged case by case. HIPAA's de-identification "
        "looks at the information that is passed on.",
        verdict="depends on what can be learned from what leaves, and by whom, case by case",
        sources=(
            "Regulation (EU) 2016/679 (GDPR), Article 4(1) and Recital 26",
            "European Data Protection Board, Opinion 28/2024 on AI models",
            "45 CFR 164.514 (HIPAA Privacy Rule)",
        ),
    ),
    Reading(
        id="5",
        statement="Every node is an entry point, and the server is a single point of failure.",
        says="The survey lists clients, server, engineers and outsiders as possible adversaries, each with what they "
        "can see and do. That one server is one point of failure is a matter of design and needs no source.",
        verdict="held as a list of who must be considered, not of how likely each is",
        sources=("Kairouz et al. 2021, Advances and Open Problems in Federated Learning, arXiv:1912.04977",),
    ),
    Sourced(
        id="6",
        statement="Poisoning attacks on federated learning are up 87 % year on year.",
        asked=(
            "Who can count attacks that, when they succeed, look like honest updates?",
            "From how many to how many, and in which years?",
            "Did the attacks grow, or the number of people who look?",
        ),
        found="No count for either year, and nobody who says how they would have counted.",
        verdict="cannot be tested, because no source for the figure was found",
    ),
)
