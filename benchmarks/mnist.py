"""A thousand clients that train a convolutional network on images of MNIST's size, in bounded memory."""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.common import peak_megabytes
from labsec import data
from labsec.federation import engine
from labsec.federation.scenario import Scenario
from labsec.models import convnet
from labsec.types import generator

FOLDER = "LABSEC_MNIST"  # the environment variable that names the folder with MNIST/raw


def images() -> data.Dataset:
    """MNIST where the environment variable LABSEC_MNIST names its folder, else noise of the same shape."""
    if root := os.environ.get(FOLDER):
        return data.load("mnist", root=root)
    draw = generator(0, "noise for MNIST")
    x = torch.rand(60_000, 1, 28, 28, generator=draw)
    y = torch.randint(10, (60_000,), generator=draw)
    return data.Dataset(name="noise of MNIST's shape", x=x, y=y, x_test=x[:10_000], y_test=y[:10_000], classes=10)


def train(clients: int, rounds: int, chunk: int) -> dict[str, Any]:
    """Seconds per round and accuracy after the last of `rounds` rounds, `chunk` clients trained together."""
    dataset = images()
    scenario = Scenario(
        data=dataset,
        model=convnet(dataset.shape, dataset.classes),
        clients=clients,
        rounds=rounds,
        evaluate_every=rounds,
        local_steps=5,
        batch_size=16,
        lr=0.1,
        chunk=chunk,
    )
    before = peak_megabytes()
    begin = perf_counter()
    results = [result.row() for result in engine.rounds(scenario)]
    return {
        "data": dataset.name,
        "total": perf_counter() - begin,
        "round": median(row["seconds"] for row in results),
        "accuracy": results[-1]["accuracy"],
        "before_megabytes": before,
        "updates_megabytes": 4 * clients * scenario.network().dim / 1e6,
    }
