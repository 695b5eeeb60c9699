"""JupyterLab as `labsec open` starts it, and a Chromium that can reach nothing but this machine."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from labsec import cli

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
NO_CHROMIUM = "no Chromium: install it (Debian and Ubuntu: apt install chromium) or set CHROMIUM to its path"


def chromium_path() -> str | None:
    """The browser: $CHROMIUM, or the first that the system has."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """A browser that is asked for nothing by anybody else."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answers(url: str, server: subprocess.Popen) -> bool:
    """Wait until the server answers or ends."""
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def stop(server: subprocess.Popen) -> None:
    """End the server, which ends its kernels."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@contextmanager
def jupyterlab(course: Path, temporary: Path) -> Iterator[tuple[str, str]]:
    """Address and token of a JupyterLab on course/my, in the environment that learners get."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABSEC_", "JUPYTER"))}
    port, token = free_port(), secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--expose-app-in-browser"),
        *cli.jupyter_arguments(course, "", browser=False, port=port),
        *("--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
    ]
    log, base = temporary / "server.log", f"http://127.0.0.1:{port}"
    with log.open("w") as stream:
        environment = kept | cli.jupyter_environment(course, str(temporary))
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            if not answers(f"{base}/api/status?token={token}", server):
                raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-3000:]}")
            yield base, token
        finally:
            stop(server)
