"""The web server of the inversion service: this machine alone, a token for everything, and nothing kept.

It runs in a thread of the notebook's process, so that a cell can start, use and stop it; the search has a process of
its own (`labsec.service.bench`).
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from labsec.guards import check_number
from labsec.service.bench import Bench, Busy, Worker
from labsec.study.capture import MOST_BYTES, NoCapture, decoded

ADDRESS = "127.0.0.1"
SIZE = 16 * 2**20  # bytes of an upload
SECONDS = 120.0  # of a job
GRACE = 15.0  # seconds that a job may take longer, for the search looks at the clock only now and then
PATIENCE = 60.0  # seconds for an upload, and for a connection that says nothing
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "base-uri 'none'; form-action 'none'"
)


class Refused(HTTPError):
    """An answer that says why not, in a sentence for the page."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status)
        self.said = said


class Service:
    """An inversion service that is running; `start` makes it.

    url    of its page, with the token; whoever has it can use the service, if they are on this machine
    """

    def __init__(self, *, seconds: float, grace: float, size: int) -> None:
        self._sockets = bind_sockets(0, ADDRESS)
        self.port: int = self._sockets[0].getsockname()[1]
        self.token = secrets.token_urlsafe(32)
        self._limits = (seconds, grace, size)
        self._has_begun = Event()
        self._failure: BaseException | None = None
        self._workers: tuple[Worker, ...] = ()
        self._thread = Thread(target=self._run, name="labsec service", daemon=True)
        self._thread.start()
        self._has_begun.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}/?token={self.token}"

    def stop(self) -> None:
        """End the service, its job and its process, and forget everything. A second call does nothing."""
        if not self._thread.is_alive():
            return
        with suppress(RuntimeError):  # it ends on its own just now
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        for worker in self._workers:
            worker.wait()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._has_begun.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        seconds, grace, size = self._limits
        bench = Bench(seconds=seconds, grace=grace, post=self._post, later=self._loop.call_later)
        server = HTTPServer(
            _application(bench, self.token, self.port, size),
            max_body_size=2 * size,
            body_timeout=PATIENCE,
            idle_connection_timeout=PATIENCE,
        )
        server.add_sockets(self._sockets)
        self._has_begun.set()
        await self._ending.wait()
        server.stop()
        self._workers = bench.close()
        await server.close_all_connections()

    def _post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call something soon in the server's thread; after its end nobody is interested any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def __repr__(self) -> str:
        state = "running" if self._thread.is_alive() else "stopped"
        return f"Service({state}, port {self.port})"


def start(*, seconds: float = SECONDS, grace: float = GRACE, size: int = SIZE) -> Service:
    """Start an inversion service on this machine; `stop()` ends it, and so does the end of the process.

    seconds    that a job may take: then the search ends with the best that it has
    grace      seconds after which a job that has not ended by itself is cut off
    size       bytes that an upload may have

    Raises ValueError for limits out of their range, OSError if there is no port.
    """
    check_number("start", above=0, seconds=seconds)
    check_number("start", least=0, grace=grace)
    check_number("start", whole=True, above=0, most=MOST_BYTES, size=size)
    return Service(seconds=seconds, grace=grace, size=size)


@contextmanager
def running(*, seconds: float = SECONDS, grace: float = GRACE, size: int = SIZE) -> Iterator[Service]:
    """An inversion service for as long as a block lasts; arguments and errors as for `start`.

    >>> with running() as service:
    ...     service.url.startswith("http://127.0.0.1:")
    True
    >>> service
    Service(stopped, port ...)
    """
    service = start(seconds=seconds, grace=grace, size=size)
    try:
        yield service
    finally:
        service.stop()


def _application(bench: Bench, token: str, port: int, size: int) -> Application:
    shared = {"bench": bench, "token": token, "hosts": (f"{ADDRESS}:{port}", f"localhost:{port}"), "size": size}
    routes = [("/", _Page, shared), ("/job", _Job, shared), ("/result", _Result, shared)]
    return Application(routes, default_handler_class=_Nothing, default_handler_args=shared, log_function=_no_log)


def _no_log(_: RequestHandler) -> None:
    """Nothing is kept, and no line of a log either."""


class _Guarded(RequestHandler):
    """What every answer has in common: who may ask, and how a refusal is worded."""

    def initialize(self, *, bench: Bench, token: str, hosts: tuple[str, ...], size: int) -> None:
        self.bench = bench
        self.token = token
        self.hosts = hosts
        self.size = size

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def prepare(self) -> None:
        # A page from elsewhere whose name was made to lead to this machine is told by the name that it asks for.
        if self.request.host not in self.hosts:
            raise Refused(403, "This service is asked under its own address only.")
        origin = self.request.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.hosts]:
            raise Refused(403, "This service is asked by its own page only.")
        if not hmac.compare_digest(self.given_token().encode(), self.token.encode()):
            raise Refused(403, "The token is missing or wrong: take the whole address that the service has.")

    def given_token(self) -> str:
        """The token that came with the request."""
        return self.request.headers.get("Authorization", "").removeprefix("Bearer ")

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details.get("exc_info", (None, None, None))[1]
        said = error.said if isinstance(error, Refused) else self._reason
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": said}))


class _Nothing(_Guarded):
    """Any other address."""

    def prepare(self) -> None:
        super().prepare()
        raise Refused(404, "There is nothing here.")


class _Page(_Guarded):
    """The page; only here is the token a part of the address."""

    def given_token(self) -> str:
        return self.get_query_argument("token", "")

    def get(self) -> None:
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY.format(nonce=nonce))
        self.finish(PAGE.replace("{{nonce}}", nonce))


@stream_request_body
class _Job(_Guarded):
    """The one job: begin it with an upload, ask how it goes, cancel it."""

    def prepare(self) -> None:
        self.received = bytearray()
        self.is_too_large = False
        super().prepare()
        if self.request.method == "POST":
            self._look_at_length()

    def _look_at_length(self) -> None:
        """Refuse an upload before it is read. What is sent all the same is passed over, for PATIENCE seconds."""
        if self.bench.is_busy:
            raise self._busy()
        length = self.request.headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > self.size:
            self._pass_over(int(length))
            raise self._too_large()

    def _pass_over(self, length: int) -> None:
        connection: Any = self.request.connection
        connection.set_max_body_size(length)

    def data_received(self, chunk: bytes) -> None:
        self.is_too_large = self.is_too_large or len(self.received) + len(chunk) > self.size
        if not self.is_too_large:
            self.received += chunk

    def post(self) -> None:
        if self.is_too_large:
            raise self._too_large()
        data = bytes(self.received)
        try:
            decoded(data)
        except NoCapture as error:
            raise Refused(400, f"The file is no captured update: {error}.") from None
        try:
            job = self.bench.begin(data)
        except Busy:
            raise self._busy() from None
        self.set_status(202)
        self.finish(job.told())

    def get(self) -> None:
        self.finish(self.bench.job.told() if self.bench.job else {"state": "idle", "said": "Nothing was uploaded yet."})

    def delete(self) -> None:
        self.bench.cancel()
        self.get()

    def _too_large(self) -> Refused:
        return Refused(413, f"The file is larger than {self.size} bytes.")

    def _busy(self) -> Refused:
        return Refused(409, "One job at a time: cancel the one that is running, or wait for it.")


class _Result(_Guarded):
    """The reconstruction, as a safetensors file."""

    def get(self) -> None:
        job = self.bench.job
        if job is None or job.state != "done":
            raise Refused(404, "There is no result yet.")
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", 'attachment; filename="reconstruction.safetensors"')
        self.finish(base64.b64decode(job.result))
