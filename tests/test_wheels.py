"""A folder of wheels holds what the other machine needs, and not what this one does.

pip is the real one; the packages are small and lie in a folder, so that no network is asked.
"""

import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from labsec import wheels

LAB = 'CPU_INDEX = {index!r}\n\n\ndef unavailable_package(output):\n    return "gears" if "gears" in output else ""\n'
PROJECT = """
[project]
name = "labsec"
dependencies = ["engine[sound]>=1,<3", "torch>=1"]
optional-dependencies = {test = ["probe"]}
"""


def make_wheel(folder: Path, name: str, version: str, tag: str, needs: tuple[str, ...] = ()) -> Path:
    wheel = folder / f"{name}-{version}-{tag}.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{name}/_vendor/paint-9.dist-info/METADATA", "Name: paint\nRequires-Dist: gears\n")
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages for several machines, which pip takes in place of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    engine = ("oil<2", "horn; extra == 'sound'", "paint; sys_platform == 'win32'", "old; python_version < '3.12'")
    for machine in ("win_amd64", "manylinux_2_28_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_arm64"):
        for python in ("cp311", "cp312"):
            make_wheel(folder, "engine", "2.0", f"{python}-{python}-{machine}", engine)
        make_wheel(folder, "torch", "1.5", f"py3-none-{machine}", ("gigabytes; platform_system == 'Linux'",))
    make_wheel(folder, "horn", "1.0", "py3-none-any", ("oil",))
    make_wheel(folder, "engine", "3.0", "py3-none-any")
    for name in ("oil", "paint", "old", "gigabytes", "probe"):
        make_wheel(folder, name, "1.0", "py3-none-any")
    make_wheel(folder, "oil", "1.1", "py3-none-any")
    make_wheel(folder, "setuptools", "80", "py3-none-any")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "no-index").as_uri())
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A clone with little in it; its index for PyTorch holds one wheel that needs nothing."""
    folder = tmp_path / "clone"
    folder.mkdir()
    own = tmp_path / "cpu"
    (own / "torch").mkdir(parents=True)
    wheel = make_wheel(own / "torch", "torch", "1.5+cpu", "py3-none-manylinux_2_28_x86_64")
    link = f'<!DOCTYPE html><html><body><a href="{wheel.as_uri()}">{wheel.name}</a></body></html>'
    (own / "torch" / "index.html").write_text(link, encoding="utf-8")
    (folder / "lab.py").write_text(LAB.format(index=own.as_uri()), encoding="utf-8")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "constraints.txt").write_text("torch==1.5\noil==1.0\nengine==2.0\n", encoding="utf-8")
    return folder


def fill(course: Path, folder: Path, *machines: str, pythons=("3.12",), cpu=False, tests=False) -> set[str]:
    """The names of the wheels that arrive: distribution and version, then tag."""
    found = wheels.fill(folder, course, machines=machines, pythons=pythons, cpu=cpu, tests=tests)
    assert found == sorted(folder.iterdir())
    return {wheel.stem for wheel in found}


PLAIN = {"horn-1.0-py3-none-any", "oil-1.0-py3-none-any", "setuptools-80-py3-none-any"}


def test_conditions_are_those_of_the_other_machines(index: Path, course: Path, tmp_path: Path) -> None:
    assert fill(course, tmp_path / "wheels", "windows", "linux-arm64") == PLAIN | {
        "engine-2.0-cp312-cp312-win_amd64",
        "engine-2.0-cp312-cp312-manylinux_2_17_aarch64",
        "torch-1.5-py3-none-win_amd64",
        "torch-1.5-py3-none-manylinux_2_17_aarch64",
        "paint-1.0-py3-none-any",
        "gigabytes-1.0-py3-none-any",
    }


def test_every_python_of_the_room_gets_its_own_and_tools_for_tests_on_request(
    index: Path, course: Path, tmp_path: Path
) -> None:
    assert fill(course, tmp_path / "wheels", "macos", pythons=("3.11", "3.12"), tests=True) == PLAIN | {
        "engine-2.0-cp311-cp311-macosx_11_0_arm64",
        "engine-2.0-cp312-cp312-macosx_11_0_arm64",
        "torch-1.5-py3-none-macosx_11_0_arm64",
        "old-1.0-py3-none-any",
        "probe-1.0-py3-none-any",
    }


def test_small_wheels_of_pytorch_come_from_their_own_index(index: Path, course: Path, tmp_path: Path) -> None:
    assert fill(course, tmp_path / "wheels", "linux", cpu=True) == PLAIN | {
        "engine-2.0-cp312-cp312-manylinux_2_28_x86_64",
        "torch-1.5+cpu-py3-none-manylinux_2_28_x86_64",
    }


def test_what_cannot_be_had_is_named_and_nothing_stays_half_done(index: Path, course: Path, tmp_path: Path) -> None:
    make_wheel(index, "oil", "1.0", "py3-none-any", ("gears",))
    with pytest.raises(ValueError, match=r"^gears cannot be had for windows and Python 3\.12"):
        fill(course, tmp_path / "wheels", "windows")
    assert list((tmp_path / "wheels").iterdir()) == []


def test_versions_that_two_packages_do_not_share_are_told(index: Path, course: Path, tmp_path: Path) -> None:
    make_wheel(index, "horn", "1.0", "py3-none-any", ("oil>=1.1",))
    with pytest.raises(
        ValueError, match=r"oil-1\.0-py3-none-any\.whl was fetched, and another package needs oil>=1\.1"
    ):
        fill(course, tmp_path / "wheels", "windows")


def test_unknown_machines_and_pythons_are_told(course: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the machine 'amiga'; known: linux, linux-arm64, windows, macos"):
        fill(course, tmp_path / "wheels", "amiga")
    with pytest.raises(ValueError, match=r"the Python '3\.9'; known: 3\.11, 3\.12, 3\.13"):
        fill(course, tmp_path / "wheels", "linux", pythons=("3.9",))


def test_the_needs_of_a_wheel_are_read_from_it(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "engine", "1.0", "py3-none-any", ("oil<2", "paint; sys_platform == 'win32'"))
    assert wheels.needs_of(wheel) == [Requirement("oil<2"), Requirement("paint; sys_platform == 'win32'")]
