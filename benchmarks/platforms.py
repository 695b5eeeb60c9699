"""Do the pins exist for every machine that the README names? uv resolves them, and installs nothing.

`uv` has to be on the PATH (`python -m pip install uv`), and the package index has to be reachable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.report import table
from lab import unavailable_package

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = {  # a machine that the README names -> what uv calls it
    "Linux x86-64, glibc 2.28": "x86_64-manylinux_2_28",
    "Linux arm64, glibc 2.28": "aarch64-manylinux_2_28",
    "Windows x86-64": "x86_64-pc-windows-msvc",
    "macOS 14 arm64": "aarch64-apple-darwin",
}
MACOS = "14.0"
PYTHONS = ("3.11.2", "3.12.0", "3.13.0")  # the oldest patch releases; a newer one can do with the same wheels
INSTALLATIONS = {"the course": [], "with its tests": ["--extra", "test"]}
NO_UV = "platforms needs uv, which resolves for other machines: `python -m pip install uv`, and put it on the PATH"


def main() -> str:
    """A table as Markdown: machines by Pythons, and what could not be had."""
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit(NO_UV)
    rows = []
    for installation, extras in INSTALLATIONS.items():
        for machine, platform in PLATFORMS.items():
            outcomes = [outcome(resolve(uv, platform, python, extras)) for python in PYTHONS]
            rows.append([machine, installation, *outcomes])
    header = ["machine", "what", *(f"Python {python}" for python in PYTHONS)]
    return f"""## Where the pins can be installed

Resolved by {version(uv)} from `pyproject.toml` under `constraints.txt`, for wheels alone; nothing is installed. Each
cell gives the number of packages, or the package that cannot be had.

{table(header, rows)}"""


def version(uv: str) -> str:
    """What uv calls itself, without the machine that it was built for."""
    said = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:2])


def resolve(uv: str, platform: str, python: str, extras: list[str]) -> subprocess.CompletedProcess[str]:
    """Resolve the course for one machine and one Python; the packages are the lines of its output."""
    command = [uv, "pip", "compile", "--quiet", "--no-config", "--only-binary", ":all:", "--no-header"]
    command += ["--no-annotate", "--python-platform", platform, "--python-version", python, *extras]
    command += ["--constraints", "constraints.txt", "pyproject.toml"]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def outcome(resolved: subprocess.CompletedProcess[str]) -> str:
    """A cell of the table."""
    if resolved.returncode:
        return f"**{unavailable_package(resolved.stderr) or 'no solution'}**"
    return f"ok, {len(resolved.stdout.splitlines())} packages"
