"""One job at a time, in a process of its own that can be ended at any moment.

Everything here happens in one thread, that of the server's event loop; only `Worker` waits in another one, and hands
what it hears to `hear`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from labsec.files import PACKAGE

Event = Mapping[str, Any]
FINAL = ("done", "refused")  # the kinds of an event that ends a job
MOST_STEPS = 2000  # matching losses that are kept of a job; of a longer one every second, and so on


class Busy(Exception):
    """There is a job already."""


@dataclass(eq=False)
class Job:
    """A captured update that is being inverted, or was.

    state      "running", "done", "refused", "cancelled", "late" or "failed"
    said       the same as a sentence
    look       the last look at the search: iteration, unexplained, picture
    shares     of the message that were unexplained, look by look
    summary    of a job that is done: method, unexplained, baseline, labels, assumptions, rungs
    result     of a job that is done: the bytes of a safetensors file
    """

    began: float
    state: str = "running"
    said: str = "The search is on."
    look: Event = field(default_factory=dict)
    shares: list[float | None] = field(default_factory=list)
    summary: Event = field(default_factory=dict)
    result: str = ""
    ended: float = 0.0

    def end(self, state: str, said: str) -> None:
        """The job's last word."""
        self.state = state
        self.said = said
        self.ended = monotonic()

    def told(self) -> Event:
        """What the page is told."""
        until = self.ended if self.state != "running" else monotonic()
        return {
            "state": self.state,
            "said": self.said,
            "seconds": round(until - self.began, 2),
            "shares": self.shares,
            **self.look,
            **self.summary,
        }


class Worker:
    """A process that inverts, and the thread that listens to it.

    It is started before there is a job, since it takes seconds to load what it needs. The thread calls `hear` with each
    event, and with {"kind": "gone"} after the process has ended.
    """

    def __init__(self, hear: Callable[[Worker, Event], None]) -> None:
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labsec.service.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # so that whoever interrupts a cell does not interrupt the search
        )
        self._hear = hear
        self._orders: SimpleQueue[tuple[Event, bytes] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="labsec service worker", daemon=True)
        self._thread.start()

    def order(self, data: bytes, seconds: float) -> None:
        """Have a captured update inverted."""
        self._orders.put(({"size": len(data), "seconds": seconds}, data))

    def end(self) -> None:
        """End the process, whatever it is doing; `hear` is told when it has gone."""
        self._orders.put(None)
        self.process.kill()

    def wait(self) -> None:
        """Wait until process and thread have ended."""
        self._thread.join()

    def _serve(self) -> None:
        # A process that was killed breaks its pipes, wherever the thread is just then.
        with suppress(OSError), self.process:
            self._listen()
        self._hear(self, {"kind": "gone"})

    def _listen(self) -> None:
        assert self.process.stdin is not None, "asked for above"
        assert self.process.stdout is not None, "asked for above"
        while (order := self._orders.get()) is not None:
            settings, data = order
            self.process.stdin.write(json.dumps(settings).encode() + b"\n" + data)
            self.process.stdin.flush()
            for line in self.process.stdout:
                event = json.loads(line)
                self._hear(self, event)
                if event["kind"] in FINAL:
                    break
            else:
                return  # the process has ended


class Bench:
    """The one place where a job is done.

    seconds    that a job may take; the search itself ends then, with the best that it has
    grace      seconds after which a job that has not ended is cut off
    post       (function, *arguments): call it soon, in the thread of this bench
    later      (seconds, function, *arguments): call it then
    """

    def __init__(
        self,
        *,
        seconds: float,
        grace: float,
        post: Callable[..., object],
        later: Callable[..., object],
    ) -> None:
        self.seconds = seconds
        self.grace = grace
        self.job: Job | None = None
        self._post = post
        self._later = later
        self._is_closed = False
        self._leaving: set[Worker] = set()  # those that were ended, as long as they have not gone
        self._worker = self._new_worker()

    @property
    def is_busy(self) -> bool:
        return self.job is not None and self.job.state == "running"

    def begin(self, data: bytes) -> Job:
        """Invert a captured update that has been looked at; raises Busy if there is a job."""
        if self.is_busy:
            raise Busy("one job at a time: cancel the one that is running, or wait for it")
        self.job = Job(monotonic())
        self._worker.order(data, self.seconds)
        self._later(self.seconds + self.grace, self._cut_off, self.job)
        return self.job

    def cancel(self) -> None:
        """End the job, if there is one that is running."""
        self._stop("cancelled", "The search was cancelled.")

    def close(self) -> tuple[Worker, ...]:
        """End everything; returns the workers that have not gone yet, to be waited for."""
        self._is_closed = True
        self.cancel()
        self._worker.end()
        self.job = None
        return (self._worker, *self._leaving)

    def _stop(self, state: str, said: str) -> None:
        """End the job and the process that does it; the next job gets a fresh one."""
        if self.job is None or not self.is_busy:
            return
        self.job.end(state, said)
        self._worker.end()
        if not self._is_closed:
            self._leaving.add(self._worker)
            self._worker = self._new_worker()

    def _cut_off(self, job: Job) -> None:
        if job is self.job:
            self._stop("late", f"The search took longer than {self.seconds:g} seconds and was ended.")

    def _new_worker(self) -> Worker:
        return Worker(lambda worker, event: self._post(self._heard, worker, event))

    def _heard(self, worker: Worker, event: Event) -> None:
        """Take note of what a worker says about the job; one that was ended has nothing more to say."""
        if event["kind"] == "gone":
            self._leaving.discard(worker)
        if worker is not self._worker or self.job is None or not self.is_busy:
            return
        if event["kind"] == "gone":
            self._stop("failed", "The process that searched has ended, perhaps because the memory was full.")
        elif event["kind"] == "refused":
            self.job.end("refused", f"The message cannot be attacked: {event['reason']}.")
        else:
            self._look(self.job, event)

    def _look(self, job: Job, event: Event) -> None:
        job.look = {name: event.get(name) for name in ("iteration", "unexplained", "picture") if name in event}
        job.shares.append(event["unexplained"])
        if len(job.shares) > MOST_STEPS:
            job.shares = job.shares[::2]
        if event["kind"] == "done":
            job.summary = {name: value for name, value in event.items() if name not in ("kind", "result")}
            job.result = event["result"]
            job.end("done", "The search has ended.")
