"""A wheel also carries the files that are read when the course runs; labsec/files.py finds them there.

Everything else about the package is in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = [
    "notebooks/*.ipynb",
    "docs/*.csv",
    "docs/*.json",
    "data/*.csv",
    "constraints.txt",
    "pyproject.toml",
]


class BuildWithCourse(build_py):
    """Copy the course's files into the package; an editable installation has none, because it reads the clone's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in (path for pattern in SHIPPED for path in sorted(ROOT.glob(pattern))):
            target = Path(self.build_lib, "labsec", "shipped", source.relative_to(ROOT))
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithCourse})
