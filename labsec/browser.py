"""Open a server's page in the learner's browser, without showing its token to the other users of the machine.

Everybody on a machine can read the command line of every process, so the address with the token must not stand there.
A page that only its owner can read, and that leads to the address, is what Jupyter itself uses for this; but it puts
that page into a hidden or a temporary folder, which browsers in a sandbox (snap, flatpak) may not read. The page is
therefore written beside the learner's notebooks, under a name that is not hidden, and goes when the server ends.
An address that works once would need no file, but whoever reads the command line first could use it.
A sandbox that cannot read that folder either is left with the address that JupyterLab prints in the terminal.
"""

from __future__ import annotations

import html
import os
import platform
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

NAME = "labsec"  # by which JupyterLab asks for this browser
PAGE = "open-{}.html"  # with the port, which no two servers of a machine share

TEXT = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={address}">
<title>Opening the lab</title>
<p><a href="{address}">Open the lab</a></p>
</html>
"""


class PrivateBrowser(webbrowser.BaseBrowser):
    """The learner's own browser, handed a page that leads to the address in place of the address.

    folders    where the page may be written; the first that keeps it private is taken

    Raises webbrowser.Error if there is no browser.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(NAME)
        self.browser = webbrowser.get()
        self.folders = folders
        self.pages: list[Path] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Show an address; says on stderr what to do where that cannot be done without showing it to everybody."""
        # A browser of Windows cannot read a file of its guest Linux, and nobody else works in that guest.
        if "microsoft" in platform.release().lower():
            return self.browser.open(url, new, autoraise)
        for folder in self.folders:
            page = folder / PAGE.format(urlsplit(url).port)
            if write_private(page, TEXT.format(address=html.escape(url))):
                self.pages.append(page)
                return self.browser.open(page.absolute().as_uri(), new, autoraise)
        print("The browser is not opened: copy the address above into it.", file=sys.stderr)
        return False

    def clean_up(self) -> None:
        """Remove the pages, which are worthless once the server has ended."""
        for page in self.pages:
            page.unlink(missing_ok=True)


@contextmanager
def private_browser(folders: Sequence[Path]) -> Iterator[bool]:
    """Let `webbrowser` know a PrivateBrowser by its NAME for the time of a server; says whether there is a browser."""
    try:
        private = PrivateBrowser(folders)
    except webbrowser.Error:
        private = None
    if private is None:
        yield False  # JupyterLab prints the address
        return
    webbrowser.register(NAME, None, private)
    try:
        yield True
    finally:
        private.clean_up()


def page_folders(mine: Path, temporary: Path) -> list[Path]:
    """The folders for the page, best first.

    mine         the learner's folder
    temporary    a folder on the local disk that its owner alone can read
    """
    # Windows does not know the bits that make a file private, but its temporary folder is the user's own.
    return [temporary] if os.name == "nt" else [mine, temporary]


def write_private(path: Path, text: str) -> bool:
    """Write a file that nobody but its owner can read; returns False, and leaves none, where that is impossible."""
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # Some file systems (of USB sticks, of virtual machines) show every file to everybody.
            private = os.name == "nt" or not os.fstat(descriptor).st_mode & 0o077
            if private:
                file.write(text)
    except OSError:
        private = False
    if not private:
        path.unlink(missing_ok=True)
    return private
