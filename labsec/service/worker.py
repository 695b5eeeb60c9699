"""The process that inverts: orders come in by stdin, what happens goes out by stdout, and it ends with its parent.

An order is a line of JSON with `size` and `seconds`, followed by so many bytes of a captured update. Each answer is a
line of JSON with a `kind`: step (a look at the search), done (with the result), refused (with the reason).
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, BinaryIO

import torch
from torch import Tensor

from labsec.invert import Inversion, gradinverter
from labsec.study.capture import decoded
from labsec.study.inversion import encoded, pixels
from labsec.types import generator

FREQUENCY = 0.1  # seconds between two looks
MOST_SIDE = 128  # pixels of a picture that is sent to be looked at
MOST_SHOWN = 4  # candidates that are looked at

Orders = SimpleQueue[tuple[Mapping[str, Any], bytes]]


def main() -> None:
    """Carry out orders until stdin ends."""
    # Whatever some library prints must not stand among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    torch.set_num_threads(int(os.environ.get("LABSEC_THREADS", "1")))  # a second one can cost a hundredfold
    orders: Orders = SimpleQueue()
    Thread(target=_receive, args=(sys.stdin.buffer, orders), daemon=True).start()
    while True:
        order, data = orders.get()
        _say(answers, _carried_out(answers, order, data))


def _receive(stream: BinaryIO, orders: Orders) -> None:
    """Queue what arrives. When the parent has gone, so has whoever could want a result."""
    for line in stream:
        order = json.loads(line)
        orders.put((order, stream.read(order["size"])))
    os._exit(0)


def _carried_out(answers: BinaryIO, order: Mapping[str, Any], data: bytes) -> Mapping[str, Any]:
    """Invert a captured update, and show how it goes; the last answer."""
    looker = _Looker(answers, order["seconds"])
    try:
        capture = decoded(data)
        found = gradinverter(capture.view, seconds=order["seconds"], generator=generator(0, "service"), watch=looker)
    except (ValueError, MemoryError) as error:
        return {"kind": "refused", "reason": str(error) or "the memory was full"}
    return {
        "kind": "done",
        "result": base64.b64encode(encoded(found)).decode(),
        **_summary(found),
        "picture": _pictures(found.estimate),
    }


def _summary(found: Inversion) -> Mapping[str, Any]:
    return {
        "method": found.method,
        "unexplained": _finite(found.unexplained),
        "baseline": _finite(found.baseline),
        "labels": None if found.labels is None else found.labels.tolist(),
        "assumptions": list(found.assumptions),
        "rungs": [{**asdict(rung), "unexplained": _finite(rung.unexplained)} for rung in found.rungs],
    }


class _Looker:
    """Shows a search now and then, and ends it in time."""

    def __init__(self, answers: BinaryIO, seconds: float) -> None:
        self.answers = answers
        self.ending = monotonic() + seconds
        self.shown = 0.0

    def __call__(self, iteration: int, samples: Tensor, share: float) -> bool:
        now = monotonic()
        if now - self.shown >= FREQUENCY:
            self.shown = now
            look = {"kind": "step", "iteration": iteration, "unexplained": _finite(share)}
            _say(self.answers, {**look, "picture": _pictures(samples)})
        return now > self.ending


def _pictures(samples: Tensor) -> Mapping[str, Any] | None:
    """The first candidates, coarser where they are large: their width, height and RGB bytes; None without one."""
    if not len(samples):
        return None
    grids = [pixels(sample) for sample in samples[:MOST_SHOWN]]
    stride = -(-max(grids[0].shape[:2]) // MOST_SIDE)
    small = [grid[::stride, ::stride] for grid in grids]
    height, width = small[0].shape[:2]
    data = b"".join(grid.tobytes() for grid in small)
    return {"count": len(small), "width": width, "height": height, "rgb": base64.b64encode(data).decode()}


def _finite(number: float | None) -> float | None:
    return number if number is not None and number < float("inf") else None


def _say(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
