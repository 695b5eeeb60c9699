"""The page of results: one section for each benchmark, replaced when it is measured again."""

from __future__ import annotations

from collections.abc import Sequence

TITLE = """# Benchmarks

Written by `python -m benchmarks all`; each section names its machine and versions. Contestants take turns in one
process wherever they can, so that a slow moment affects all equally; medians are shown.
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(table(["who", "s"], [["a", "1"]]))
    | who | s |
    |---|---|
    | a | 1 |

    Raises ValueError if a row does not have one cell for each column.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row needs {len(header)} cells; got {len(row)}: {list(row)}")
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, *rows]).replace(
        " |\n", " |\n|" + "---|" * len(header) + "\n", 1
    )


def replace_section(page: str, name: str, section: str) -> str:
    """The page with the section of that name replaced, or added at its end; the other sections stay as they are.

    >>> page = replace_section("", "speed", "## Speed: slow")
    >>> page = replace_section(replace_section(page, "size", "## Size"), "speed", "## Speed: fast")
    >>> [line for line in page.splitlines() if line.startswith("##")]
    ['## Speed: fast', '## Size']
    """
    begin = f"<!-- {name}: begin -->"
    end = f"<!-- {name}: end -->"
    block = f"{begin}\n{section.strip()}\n{end}\n"
    page = page or TITLE
    if begin not in page:
        return f"{page.rstrip()}\n\n{block}"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end + "\n")
    if not found:
        raise ValueError(f"section {name} has a beginning but no line {end!r}; repair the page by hand")
    return before + block + after
