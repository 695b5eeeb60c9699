"""After the installation nothing is asked of any other machine: sockets are blocked, and the course works."""

import subprocess
import sys
import textwrap

GUARD = """
import socket

def refuse(*args, **kwargs):
    raise AssertionError(f"something asked for the network: {args}")

class Blocked(socket.socket):
    connect = connect_ex = sendto = refuse

socket.socket, socket.create_connection, socket.getaddrinfo = Blocked, refuse, refuse
"""

WORK = """
import importlib, pkgutil
import labsec
from labsec import Scenario, data, privacy, run
from labsec.course.panels import lab00

for module in pkgutil.walk_packages(labsec.__path__, "labsec."):
    importlib.import_module(module.name)
for name in ("digits", "faces", "breast_cancer", "retina16", "histology16", "photos", "credit", "dna64", "snps"):
    data.load(name)
run(Scenario(rounds=2))
privacy.Accountant(unit="client", delta=1e-5, relation="zero-out", rate=0.5, rounds=3).epsilon(1.0)
panel = lab00.panel()
panel.set(malicious=0.2)
panel.wait()
panel.close()
print("worked")
"""


def run_blocked(code):
    program = GUARD + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_course_works_with_sockets_blocked():
    result = run_blocked(WORK)
    assert result.stdout.strip().endswith("worked"), result.stderr[-2000:]


def test_the_guard_bites():
    result = run_blocked("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')")
    assert "something asked for the network" in result.stderr
