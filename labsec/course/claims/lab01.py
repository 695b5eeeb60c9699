"""What lab 01 measures for its claims: how close federated averaging comes to pooled data, and what an update holds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from labsec import data, invert, metrics, models, robust, train
from labsec.course.claims.base import Claim, Reading, Sourced, Spread
from labsec.federation.engine import run
from labsec.federation.scenario import Scenario
from labsec.types import ServerView, generator

RECOVERED = 25.0  # dB: from here on a record counts as recovered


# Claim 1: is federated averaging as good as pooled data?
def federated(seed: int) -> Mapping[str, float]:
    """Test accuracy after 40 rounds of FedAvg, 20 clients, 5 steps on 16 digits each, by the shards"""
    kinds = {"IID": None, "Dirichlet 0.3": 0.3}
    return {
        name: run(Scenario(rounds=40, aggregate=robust.weighted_mean, seed=seed, alpha=alpha)).final_accuracy
        for name, alpha in kinds.items()
    }


def without_federation(seed: int) -> Mapping[str, float]:
    """Test accuracy of pooled training on as many samples, and of one client that trains alone (mean of 20)"""
    pooled = run(Scenario(clients=1, rounds=40, batch_size=320, seed=seed)).final_accuracy

    # Each client takes as many steps alone as it takes in 40 rounds.
    digits = data.load("digits")
    model = models.mlp(digits.shape, digits.classes)
    start = model.init(generator(0, "start"))
    shards = data.partition(digits.y, 20, generator=generator(seed, "partition"))
    chance = generator(0, seed, "batches")
    batches = torch.stack([shard[torch.randint(len(shard), (200, 16), generator=chance)] for shard in shards])
    trained = start + train.local_updates(model, start, digits.x, digits.y, batches, lr=0.3)  # [clients, dim]
    scores = [metrics.accuracy(model, params, digits.x_test, digits.y_test) for params in trained]
    return {"pooled": pooled, "one client alone": sum(scores) / len(scores)}


def close_to_pooled(measured: Spread, compared: Spread) -> str:
    gap = {name: compared["pooled"]["mean"] - spread["mean"] for name, spread in measured.items()}
    if gap["IID"] > 0.02 or measured["IID"]["mean"] < compared["one client alone"]["mean"] + 0.02:
        return "did not hold"
    return "held" if gap["Dirichlet 0.3"] <= 0.02 else "depends on how similar the clients' data are"


# Claim 4: does what leaves a client hold a record?
def one_message(seed: int, patients: Tensor) -> ServerView:
    """What an honest but curious server sees of one step on these patients: no row, no label."""
    records = data.load("breast_cancer")
    network = models.mlp(records.shape, records.classes)
    params = network.init(generator(seed, "start"))
    update = train.local_updates(network, params, records.x, records.y, patients[None, None], lr=0.3)  # [1, dim]
    return ServerView(params=params, messages=update, model=network, lr=0.3, local_steps=1, batch_size=len(patients))


def share_recovered(seed: int, batch: int, *, shift: int = 0, messages: int = 32) -> float:
    """Share of the records that are recovered from their own message (shift 0) or from somebody else's (shift 1)."""
    records = data.load("breast_cancer")
    chosen = torch.stack(
        [torch.randperm(len(records.y), generator=generator(seed, i, "patients"))[:batch] for i in range(messages)]
    )
    scores = []
    for sent, own in zip(chosen.roll(shift, 0), chosen, strict=True):
        found = invert.analytic(one_message(seed, sent))
        scores.append(metrics.best_matches(found, records.x[own])[1])
    return float((torch.cat(scores) >= RECOVERED).float().mean())


def records_read(seed: int) -> Mapping[str, float]:
    """Share of records recovered (25 dB or more) from one update of one step, by patients in the step"""
    return {f"{batch} in the step": share_recovered(seed, batch) for batch in (1, 4, 16)}


def without_the_message(seed: int) -> Mapping[str, float]:
    """Share of records matched with 25 dB or more by the average patient, and by what another's message says"""
    x = data.load("breast_cancer").x
    guessed = float((metrics.psnr(x.mean(dim=0).expand_as(x), x) >= RECOVERED).float().mean())
    strangers = {
        f"another's message, {batch} in the step": share_recovered(seed, batch, shift=1) for batch in (1, 4, 16)
    }
    return {"average patient": guessed, **strangers}


def leaks(measured: Spread, compared: Spread) -> str:
    read = measured["1 in the step"]["min"]
    guessed = max(spread["max"] for spread in compared.values())
    return "did not hold" if read > 0.5 > guessed else "depends on the number of records in a step"


CLAIMS = (
    Claim(
        id="1",
        statement="Clients send updates, a server averages them, and the model is as good as one trained on pooled "
        "data.",
        measure=federated,
        baseline=without_federation,
        verdict=close_to_pooled,
        rule="Held if FedAvg's mean is within 0.02 of pooled training, on IID and on Dirichlet(0.3) shards, and at "
        "least 0.02 above a client alone on IID shards; depends if only the skewed shards miss it; else did not hold.",
    ),
    Reading(
        id="2",
        statement="Hospitals, banks and vehicles run federated learning in production.",
        says="A keyboard on phones trained with it at scale. In hospitals, 20 institutes trained EXAM and 71 sites "
        "trained FeTS: real data and real sites, as studies. These three sources show no bank and no vehicle.",
        verdict="depends on what counts as production: phones do, the hospitals of these sources ran studies",
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
        statement="Data that stay local satisfy GDPR and HIPAA (tested: what leaves holds no patient's record).",
        measure=records_read,
        baseline=without_the_message,
        verdict=leaks,
        rule="Did not hold if in every seed more than half of the records are recovered from the update of a single "
        "record, while neither control matches half; else it depends on the number of records in a step.",
        thresholds=((0.5, "● > 0.5 > ○"),),
    ),
    Reading(
        id="5",
        statement="Every node is an entry point, and the server is a single point of failure.",
        says="The survey lists clients, server, engineers and outsiders as possible adversaries, each with what they "
        "can see and do, and devotes a chapter to attacks and failures and one to privacy.",
        verdict="held for the entry points, as a list of who must be considered, not of how likely each is; that one "
        "server is one point of failure is a matter of design and needs no source",
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
