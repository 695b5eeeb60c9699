"""Where the files of the course are, in a clone of its repository and in an installed package.

In a clone they lie beside the package. A package that pip installed carries copies of those that are read when the
course runs; learners then work in the folder in which they start the command. Only the standard library is used here.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import resources
from pathlib import Path

PACKAGE = Path(str(resources.files("labsec"))).resolve()


def clone_around(package: Path) -> Path | None:
    """The clone that holds a package, or None if the package stands alone.

    package    the folder of labsec
    returns    the folder whose pyproject.toml says that it is the project's own
    """
    project = package.parent / "pyproject.toml"
    if not project.is_file():
        return None

    # The file is not parsed: where it is broken, `labsec doctor` must still start in order to say so.
    text = project.read_text(encoding="utf-8", errors="replace")
    return package.parent if re.search(r'^name = "labsec"$', text, flags=re.MULTILINE) else None


def cache_folder(clone: Path | None, system: str = sys.platform) -> Path:
    """The folder for what can be had again: downloaded data sets and finished runs.

    clone      the clone, or None for an installed package, which shares one folder among all of a user's folders
    system     what Python calls the system in sys.platform
    """
    if clone:
        return clone / "data" / "cache"
    home = Path(os.path.expanduser("~"))
    if system == "win32":
        users = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif system == "darwin":
        users = home / "Library" / "Caches"
    else:
        users = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(users, "labsec")


CLONE = clone_around(PACKAGE)
COURSE = CLONE or PACKAGE / "shipped"  # holds notebooks/, docs/, data/, pyproject.toml and constraints.txt
CACHE = cache_folder(CLONE)


def learners_folder(course: Path) -> Path:
    """The folder with the learner's copies: my/ of a clone; of an installed course, my/ in the current folder.

    course     the folder that holds notebooks/
    """
    return (Path.cwd() if course == PACKAGE / "shipped" else course) / "my"
