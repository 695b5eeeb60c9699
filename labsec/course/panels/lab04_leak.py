"""What lab 04 needs beside the attacks: the truth for the score, and a visit to the inversion service.

behind      the samples behind a message: only the score may look at them
uploaded    a captured update goes up, a picture comes down
"""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import safetensors.torch
from torch import Tensor

from labsec.federation.history import Round
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.service import Service

PAUSE = 0.1  # seconds between two looks at a job


def behind(s: Scenario, result: Round, *, client: int) -> tuple[Tensor, Tensor]:
    """The samples that a client trained on in a round, step by step: x [steps * batch, *shape], y [steps * batch].

    >>> from labsec.federation.engine import rounds
    >>> s = Scenario(rounds=1, local_steps=2, batch_size=3)
    >>> x, y = behind(s, next(rounds(s)), client=0)
    >>> x.shape, y.shape
    (torch.Size([6, 1, 8, 8]), torch.Size([6]))

    Raises ValueError if the client did not take part in the round.
    """
    rows = (result.clients == client).nonzero()[:, 0]
    if not len(rows):
        raise ValueError(f"client {client} took no part in round {result.number}; {result.clients.tolist()} did")
    population = Population(s)
    places = population.batches(result.number, result.clients[rows])[0].flatten()
    return population.x[places], population.y[places]


def uploaded(service: Service, file: Path) -> tuple[Tensor, str]:
    """Upload a captured update, wait, and download what the service made of it: estimate [k, *shape], and its words.

    Raises RuntimeError with the service's words if it refuses the file or finds nothing.
    """
    answer = json.loads(_asked(service, "POST", "/job", file.read_bytes()))
    while answer.get("state") == "running":
        Event().wait(PAUSE)
        answer = json.loads(_asked(service, "GET", "/job"))
    if answer.get("state") != "done":
        raise RuntimeError(f"the service did not finish: {answer.get('error') or answer.get('said')}")
    result = safetensors.torch.load(_asked(service, "GET", "/result"))
    said = f"{answer['method']}, {answer['seconds']:.1f} s, {answer['unexplained']:.1g} of the message unexplained"
    return result["estimate"], said


def _asked(service: Service, method: str, path: str, body: bytes | None = None) -> bytes:
    """What the service answers."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {service.token}"})
        return connection.getresponse().read()
    finally:
        connection.close()
