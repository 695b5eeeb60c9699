"""Rounds on command, by whichever labsec is on the path: `python benchmarks/worker.py`, a line of JSON each way.

In: {"regime": name, "rounds": number}. Out: {"seconds": process time of these rounds}. A regime is set up, and one
round run to warm up, when it is first asked for. It uses nothing but what every version of the package offers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import torch

from labsec import Scenario, rounds
from labsec.data import Dataset, load
from labsec.models import convnet, mlp

ENDLESS = 10**9  # more rounds than any measurement takes, so that nothing is evaluated where it says so
SILENT = {"rounds": ENDLESS, "evaluate_every": ENDLESS}


def noise(shape: tuple[int, ...], samples: int) -> Dataset:
    """Images of noise; their content does not change how long training takes."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(samples, *shape, generator=draw)
    y = torch.randint(10, (samples,), generator=draw)
    return Dataset(name="noise", x=x, y=y, x_test=x[:360], y_test=y[:360], classes=10)


def _convolutional() -> Scenario:
    data = noise((1, 28, 28), 5000)
    return Scenario(data=data, model=convnet(data.shape, 10), clients=50, lr=0.1, **SILENT)


def _lab00() -> Scenario:
    data = load("digits")
    model = mlp(data.shape, 10, hidden=(32,))
    return Scenario(data=data, model=model, clients=100, local_steps=1, batch_size=4, lr=0.5, **SILENT)


REGIMES: dict[str, Callable[[], Scenario]] = {
    "20 clients": lambda: Scenario(**SILENT),
    "20 clients, evaluated": lambda: Scenario(rounds=ENDLESS),
    "100 clients": lambda: Scenario(clients=100, **SILENT),
    "1,000 clients": lambda: Scenario(clients=1000, **SILENT),
    "10,000 clients": lambda: Scenario(data=noise((1, 8, 8), 160_000), clients=10_000, **SILENT),
    "FedSGD, 30 unlike shards": lambda: Scenario.fedsgd(**SILENT),
    "lab 00: 100 clients, one step of 4": _lab00,
    "MLP 3072-64-10, 50 clients": lambda: Scenario(data=noise((3, 32, 32), 5000), clients=50, lr=0.1, **SILENT),
    "ConvNet 28 x 28, 50 clients": _convolutional,
}


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    streams: dict[str, Iterator[Any]] = {}
    for line in sys.stdin:
        order = json.loads(line)
        name = order["regime"]
        if name not in streams:
            streams[name] = rounds(REGIMES[name]())
            next(streams[name])
        begin = process_time()
        for _ in range(order["rounds"]):
            next(streams[name])
        print(json.dumps({"seconds": process_time() - begin}), flush=True)


if __name__ == "__main__":
    main()
