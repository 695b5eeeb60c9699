"""One thread in which the newest value wins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

FRAME = 0.08  # seconds between the starts of two pictures of one run, at least: each costs the page as much again
NOTHING = object()


class Worker:
    """Runs `compute(**values)` for the newest values, one run at a time.

    A run is an iterator of states. Its first state is always shown, so that a long drag still moves the picture; a
    newer request stops it at the next state; in between, states are shown so rarely that drawing stays below a quarter
    of the time. The last is always shown.

    compute    values -> states
    show       (values, state) -> None, draws one state
    settle     () -> None, after the last state of a run that was not interrupted
    fail       (error) -> None, after whatever compute, show or settle raised
    """

    def __init__(
        self,
        name: str,
        compute: Callable[..., Iterator[Any]],
        *,
        show: Callable[[Mapping[str, Any], Any], None],
        settle: Callable[[], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._compute = compute
        self._show = show
        self._settle = settle
        self._fail = fail
        self._changed = threading.Condition()
        self._asked = 0  # number of the newest request
        self._finished = 0  # number of the last that came to its end
        self._values: Mapping[str, Any] = {}
        self._state: Any = None
        self._error: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, values: Mapping[str, Any]) -> None:
        """Ask for a run; it replaces any that has not started and stops the one that runs."""
        with self._changed:
            self._asked += 1
            self._values = values
            self._changed.notify_all()

    def wait(self, timeout: float) -> Any:
        """The final state of the newest request.

        Raises whatever its run raised, TimeoutError after `timeout` seconds, RuntimeError if the worker is closed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._finished == self._asked, timeout):
                raise TimeoutError(f"the run was not finished after {timeout:g} s")
            if self._closed:
                raise RuntimeError("the panel is closed: run its cell again")
            if self._error is not None:
                raise self._error
            return self._state

    def close(self) -> None:
        """Stop at the next state and end the thread; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._finished != self._asked)
                if self._closed:
                    return
                number = self._asked
                values = self._values
            state, error = self._attempt(number, values)
            with self._changed:
                self._finished = number
                self._state = state
                self._error = error
                self._changed.notify_all()

    def _attempt(self, number: int, values: Mapping[str, Any]) -> tuple[Any, Exception | None]:
        try:
            return self._run(number, values), None
        except Exception as error:  # of any kind: it belongs to whoever waits, and to the page
            self._fail(error)
            return None, error

    def _run(self, number: int, values: Mapping[str, Any]) -> Any:
        state = NOTHING
        shown = False
        due = 0.0  # when the next picture may be drawn
        for state in self._compute(**values):
            shown = perf_counter() >= due
            if shown:
                start = perf_counter()
                self._show(values, state)
                due = start + max(FRAME, 4 * (perf_counter() - start))
            if self._closed or self._asked != number:
                return state
        check_state(state, values)
        if not shown:
            self._show(values, state)
        self._settle()
        return state


def check_state(state: Any, values: Mapping[str, Any]) -> None:
    """Raise RuntimeError if a run has ended without any state."""
    if state is NOTHING:
        raise RuntimeError(f"compute yielded no state for {dict(values)}")
