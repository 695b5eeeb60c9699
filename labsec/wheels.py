"""`labsec wheels`: fill a folder from which machines of several kinds set the course up without a network.

pip fetches files for other machines, but it reads "only on Windows" as a statement about the machine on which it runs.
So every package is fetched alone here, and what its own file says that the other machine needs is fetched next.
"""

from __future__ import annotations

import email
import importlib.util
import os
import re
import runpy
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

BUILD = "setuptools>=77"  # what pip needs to install a clone
FROM_CPU_INDEX = ("torch", "torchvision")
OLDEST_PATCH = {
    "3.11": "3.11.2",
    "3.12": "3.12.0",
    "3.13": "3.13.0",
}  # each Python, and its oldest release that will do


@dataclass(frozen=True)
class Machine:
    """A kind of machine.

    tags     what pip calls it: wheels with any of these tags run there
    facts    what a requirement may ask about it (PEP 508), but for its Python
    """

    tags: tuple[str, ...]
    facts: Mapping[str, str]


def _linux(processor: str) -> Machine:
    """Linux with glibc 2.28 or newer, which runs what was built for older ones."""
    tags = [f"manylinux_2_{minor}_{processor}" for minor in range(28, 4, -1)]
    old_names = [f"{name}_{processor}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    facts = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": processor}
    return Machine((*tags, *old_names), facts)


MACHINES = {
    "linux": _linux("x86_64"),
    "linux-arm64": _linux("aarch64"),
    "windows": Machine(
        ("win_amd64",),
        {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
    ),
    "macos": Machine(
        ("macosx_14_0_arm64",),
        {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    ),
}


@dataclass(frozen=True)
class Room:
    """Where the wheels shall be installed, and where they come from.

    name       of the machine, in MACHINES
    python     such as 3.12
    pip        command
    course     the clone
    cpu        take PyTorch without its gigabytes for graphics cards on Linux
    """

    name: str
    python: str
    pip: tuple[str, ...]
    course: Path
    cpu: bool

    def needs(self, requirement: Requirement, extra: str) -> bool:
        """Whether a requirement holds there, for a package that was asked for with an extra ("" for none)."""
        facts = {
            **MACHINES[self.name].facts,
            "python_version": self.python,
            "python_full_version": OLDEST_PATCH[self.python],
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "extra": extra,
        }
        return requirement.marker is None or requirement.marker.evaluate(facts)


def fill(
    folder: Path, course: Path, *, machines: Sequence[str], pythons: Sequence[str], cpu: bool, tests: bool
) -> list[Path]:
    """Fetch everything that the course needs on each of some machines with each of some Pythons.

    folder      is made if it is not there; wheels that it holds already are kept
    course      the clone, whose pyproject.toml and constraints.txt say what is needed
    machines    names in MACHINES
    pythons     such as 3.12
    cpu         take PyTorch without its gigabytes for graphics cards on Linux
    tests       add the tools for `lab.py test`
    returns     the wheels, each once

    Raises ValueError for an unknown machine or Python, and if a package cannot be had.
    """
    _check("machine", machines, MACHINES)
    _check("Python", pythons, OLDEST_PATCH)
    project = tomllib.loads((course / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], BUILD, *(project["optional-dependencies"]["test"] if tests else [])]
    folder.mkdir(parents=True, exist_ok=True)
    wheels = set()
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder, ignore_cleanup_errors=True) as temporary:
        pip = _pip(Path(temporary, "pip"))
        for name in machines:
            for python in pythons:
                print(f"{name}, Python {python} ...", flush=True)
                arriving = Path(temporary, f"{name}-{python}")
                fetched = fetch(list(map(Requirement, needs)), Room(name, python, pip, course, cpu), arriving)
                wheels |= {wheel.replace(folder / wheel.name) for wheel in fetched}
    return sorted(wheels)


def _check(kind: str, names: Sequence[str], known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"wheels cannot be fetched for the {kind} {name!r}; known: {', '.join(known)}")


def _pip(folder: Path) -> tuple[str, ...]:
    """The command pip: this Python's, or that of a new environment (one that uv has made holds no pip)."""
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-m", "pip")
    venv.create(folder, with_pip=True)
    return (str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")), "-m", "pip")


def fetch(needs: list[Requirement], room: Room, folder: Path) -> list[Path]:
    """Download some packages, what they need in that room, what those need there, and so on.

    Raises ValueError if a package cannot be had, or two packages need versions of a third that differ.
    """
    wheels: dict[str, Path] = {}
    asked: set[tuple[str, str]] = set()  # package and extra whose needs are known
    while needs:
        missing = [need for need in needs if canonicalize_name(need.name) not in wheels]
        wheels |= {_name(wheel): wheel for wheel in _download(missing, room, folder)}
        following = []
        for need in needs:
            name = canonicalize_name(need.name)
            _check_version(need, wheels[name])
            for extra in {"", *need.extras}:
                if (name, extra) not in asked:
                    asked.add((name, extra))
                    following += [each for each in needs_of(wheels[name]) if room.needs(each, extra)]
        needs = following
    return list(wheels.values())


def needs_of(wheel: Path) -> list[Requirement]:
    """What a wheel says that its package needs, anywhere and under whatever condition."""
    with zipfile.ZipFile(wheel) as archive:
        # Deeper in the file may lie those of packages that this one carries along; setuptools does so.
        (metadata,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        fields = email.message_from_bytes(archive.read(metadata))
    return [Requirement(need) for need in fields.get_all("Requires-Dist", [])]


def _name(wheel: Path) -> str:
    return parse_wheel_filename(wheel.name)[0]


def _check_version(need: Requirement, wheel: Path) -> None:
    version = parse_wheel_filename(wheel.name)[1]
    if not need.specifier.contains(version, prereleases=True):
        raise ValueError(f"{wheel.name} was fetched, and another package needs {need}")


def _download(needs: list[Requirement], room: Room, folder: Path) -> list[Path]:
    """Download these packages alone; those of PyTorch may have an index of their own."""
    lab = runpy.run_path(str(room.course / "lab.py"))  # which is no part of the package, and names that index
    own_index = room.cpu and MACHINES[room.name].facts["sys_platform"] == "linux"
    pytorch = [need for need in needs if own_index and need.name in FROM_CPU_INDEX]
    others = [need for need in needs if need not in pytorch]
    before = set(folder.glob("*.whl"))
    for group, index in ((pytorch, ["--index-url", lab["CPU_INDEX"]]), (others, [])):
        if group:
            # Whether a requirement holds in that room is decided here; pip would ask this machine.
            plain = [str(need).split(";")[0].strip() for need in group]
            done = subprocess.run(
                [*_command(room, folder), *index, *plain], cwd=room.course, capture_output=True, text=True, check=False
            )
            if done.returncode:
                package = lab["unavailable_package"](done.stdout + done.stderr) or f"one of {', '.join(plain)}"
                raise ValueError(f"{package} cannot be had for {room.name} and Python {room.python}:\n{done.stderr}")
    return sorted(set(folder.glob("*.whl")) - before)


def _command(room: Room, folder: Path) -> list[str]:
    """The command that downloads for a room, without the names of the packages."""
    tags = [part for tag in MACHINES[room.name].tags for part in ("--platform", tag)]
    command = [*room.pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--constraint", "constraints.txt", "--implementation", "cp"]
    return [*command, "--python-version", OLDEST_PATCH[room.python], *tags]
