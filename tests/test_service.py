"""The inversion service: a result for whoever has the token, words for all others, and nothing left when it stops."""

import http.client
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import torch
from safetensors import torch as safetensors

from benchmarks import fuzz_service
from labsec import Scenario, metrics, models, service
from labsec.federation.population import Population
from labsec.service import server as serving
from labsec.study import capture

PATIENCE = 240.0  # seconds for a process to load torch on a busy machine


@pytest.fixture(scope="module")
def update():
    """The bytes of a captured update, and the sample behind it."""
    scenario = Scenario(model=models.mlp((1, 8, 8), 10), local_steps=1, batch_size=1)
    found = capture.from_run(scenario)
    truth = scenario.data.x[Population(scenario).batches(0, torch.tensor([0])).flatten()]
    return capture.encoded(found.view), truth


@pytest.fixture(scope="module")
def long_update():
    """A captured update that keeps a search busy: four pictures behind a network of ReLUs."""
    scenario = Scenario(model=models.convnet((1, 8, 8), 10), local_steps=1, batch_size=4)
    return capture.encoded(capture.from_run(scenario).view)


@pytest.fixture(scope="module")
def shared():
    with service.running(seconds=PATIENCE) as started:
        yield started


def ask(started, path, method="GET", body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {started.token}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def state(started):
    return json.loads(ask(started, "/job")[2])


def until(started, reached):
    """The first state of the job for which `reached` holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = state(started)
        if reached(job):
            return job
        threading.Event().wait(0.05)
    raise AssertionError(f"the service did not get there: {job}")


def has_ended(job):
    return job["state"] != "running"


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def lives(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


# --- what it is for


def test_an_upload_becomes_a_picture_and_a_file(shared, update):
    data, truth = update
    status, _, body = ask(shared, "/job", "POST", data)
    assert status == 202
    assert json.loads(body)["state"] == "running"
    job = until(shared, has_ended)
    assert job["state"] == "done", job["said"]
    assert job["unexplained"] < 1e-9 < job["baseline"]
    assert (job["picture"]["width"], job["picture"]["height"], job["picture"]["count"]) == (8, 8, 1)
    assert any("plain SGD" in each for each in job["assumptions"])

    status, headers, body = ask(shared, "/result")
    assert status == 200
    assert "reconstruction.safetensors" in headers["Content-Disposition"]
    assert metrics.psnr(safetensors.load(body)["estimate"], truth)[0] > 80


def test_the_page_asks_for_nothing_from_elsewhere(shared):
    status, headers, body = ask(shared, urlsplit(shared.url).path + "?" + urlsplit(shared.url).query)
    page = body.decode()
    assert status == 200
    assert "Your own data and systems only." in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http://" not in page
    assert "https://" not in page
    assert headers["Cache-Control"] == "no-store"
    assert shared.token not in page


# --- who may ask


@pytest.mark.parametrize("path", ["/", "/job", "/result", "/elsewhere"])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Authorization": ""}, "The token is missing or wrong"),
        ({"Authorization": "Bearer wrong"}, "The token is missing or wrong"),
        ({"Authorization": "Bearer \xe9"}, "The token is missing or wrong"),
        ({"Host": "evil.example"}, "under its own address only"),
        ({"Host": "127.0.0.1:1"}, "under its own address only"),
        ({"Origin": "http://evil.example"}, "by its own page only"),
        ({"Origin": "null"}, "by its own page only"),
    ],
)
def test_strangers_are_refused(shared, path, headers, said):
    if path == "/" and "Authorization" not in headers:
        path = f"/?token={shared.token}"
    status, _, body = ask(shared, path, **headers)
    assert status == 403
    assert said in json.loads(body)["error"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_nobody_begins_or_cancels_a_job_without_the_token(shared, method, update):
    before = state(shared)["state"]
    assert ask(shared, "/job", method, update[0], Authorization="Bearer wrong")[0] == 403
    assert state(shared)["state"] == before


def test_every_token_is_another_one_and_only_this_machine_is_listened_to(shared):
    with service.running() as other:
        assert other.token != shared.token
        assert ask(other, "/job", Authorization=f"Bearer {shared.token}")[0] == 403
        addresses = [each.getsockname()[0] for each in other._sockets]
    assert addresses == ["127.0.0.1"]


def test_other_addresses_and_methods_have_nothing(shared):
    assert ask(shared, "/elsewhere")[0] == 404
    assert ask(shared, "/job", "PUT", b"x")[0] == 405


# --- what is uploaded


def test_malformed_uploads_are_refused_in_words_and_survived(shared, update):
    """300 through the handler; the reader behind it is tried with more in tests/test_capture.py."""
    before = state(shared)["state"]
    tried = 0
    for _, mutant in fuzz_service.mutants(update[0], 420, seed=1):
        if fuzz_service.outcome(mutant) != "refused":
            continue
        status, _, body = ask(shared, "/job", "POST", mutant)
        assert status == 400
        assert json.loads(body)["error"].startswith("The file is no captured update: ")
        tried += 1
    assert tried >= 300
    assert state(shared)["state"] == before


def test_requests_that_are_no_http_are_survived(shared):
    for request in (b"\x00\x01\x02\r\n\r\n", b"GET /\r\n\r\n", b"POST /job HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", shared.port), timeout=30) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    assert ask(shared, "/job")[0] == 200


@pytest.mark.parametrize("size", [1001, 100_000])
def test_too_large_an_upload_is_told_so(size):
    with service.running(size=1000) as started:
        status, _, body = ask(started, "/job", "POST", bytes(size))
        assert status == 413
        assert json.loads(body)["error"] == "The file is larger than 1000 bytes."
        assert state(started)["state"] == "idle"


def test_too_large_an_upload_in_pieces_is_told_so():
    with service.running(size=1000) as started:
        assert ask(started, "/job", "POST", iter([bytes(600)] * 3), **{"Transfer-Encoding": "chunked"})[0] == 413


def test_a_message_that_cannot_be_attacked_is_told_so(shared):
    found = capture.from_run(Scenario(local_steps=1, batch_size=1)).view
    silent = capture.encoded(replace(found, messages=found.messages * 0))
    assert ask(shared, "/job", "POST", silent)[0] == 202
    job = until(shared, has_ended)
    assert job["state"] == "refused"
    assert "needs a message that is not zero" in job["said"]
    assert ask(shared, "/result")[0] == 404


# --- one job, and its end


def test_one_job_at_a_time_and_cancelling_ends_it(shared, long_update, update):
    assert ask(shared, "/job", "POST", long_update)[0] == 202
    until(shared, lambda job: job["shares"])
    status, _, body = ask(shared, "/job", "POST", update[0])
    assert status == 409
    assert "One job at a time" in json.loads(body)["error"]

    assert json.loads(ask(shared, "/job", "DELETE")[2])["state"] == "cancelled"
    assert ask(shared, "/result")[0] == 404

    # The next job is served by a fresh process, and hears nothing of the old one.
    assert ask(shared, "/job", "POST", update[0])[0] == 202
    assert until(shared, has_ended)["state"] == "done"


def test_a_job_that_takes_too_long_is_cut_off(update):
    with service.running(seconds=0.01, grace=0) as started:
        assert ask(started, "/job", "POST", update[0])[0] == 202
        job = until(started, has_ended)
        assert job["state"] == "late"
        assert job["said"] == "The search took longer than 0.01 seconds and was ended."


def test_a_process_that_dies_is_told_and_replaced(update):
    original = serving.Bench.begin

    def begin(bench, data):
        bench._worker.process.kill()
        return original(bench, data)

    with service.running(seconds=PATIENCE) as started, pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.Bench, "begin", begin)
        ask(started, "/job", "POST", update[0])
        job = until(started, has_ended)
        assert job["state"] == "failed"
        assert "process that searched has ended" in job["said"]
        patch.undo()
        assert ask(started, "/job", "POST", update[0])[0] == 202
        assert until(started, has_ended)["state"] == "done"


def test_nothing_is_left_after_it_stops(long_update, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    benches = []
    made = serving.Bench
    monkeypatch.setattr(serving, "Bench", lambda **how: benches.append(made(**how)) or benches[-1])
    threads = set(threading.enumerate())
    started = service.start()
    try:
        ask(started, "/job", "POST", long_update)
        pid = benches[0]._worker.process.pid
        assert lives(pid)
    finally:
        started.stop()
    assert not answers(started.port)
    assert not lives(pid)
    assert set(threading.enumerate()) <= threads
    assert benches[0].job is None
    assert not list(tmp_path.iterdir())
    started.stop()  # a second time does nothing
    assert "stopped" in repr(started)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"seconds": 0}, "needs a finite seconds > 0"),
        ({"grace": -1}, "needs a finite grace >= 0"),
        ({"size": 0}, "size"),
        ({"size": 2**40}, "size"),
    ],
)
def test_limits_out_of_range_are_refused(limits, said):
    with pytest.raises(ValueError, match=said):
        service.start(**limits)
