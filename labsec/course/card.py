"""Quiet cards: a symbol, a title and a few lines, as HTML in a notebook and as plain text everywhere else.

Styles stand in every element, because a notebook that is read elsewhere has no style sheet of ours. JupyterLab cleans
the HTML of a notebook that it does not trust: style sheets, SVG, `role`, `aria-label` and `data-` attributes are taken
out, inline styles stay. What a card says is therefore always text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#767676"


@dataclass(frozen=True, kw_only=True)
class Card:
    """Something to read in a notebook.

    symbol    one character; the colour of the edge never says anything that the symbol and the title do not
    title     one line
    rows      name -> text, shown as a table of two columns
    reason    a sentence below the title, in bold
    body      prose below these
    folded    summary -> text, collapsed in a notebook and left out of the plain text; a block of lines that all begin
              with four spaces is code
    edge      colour of the left edge
    extra     further entries of the MIME bundle

    >>> Card(symbol="✓", title="PASS 01.1", rows={"Got": "3"})
    ✓ PASS 01.1
      Got  3
    """

    symbol: str
    title: str
    reason: str = ""
    body: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)
    edge: str = GREY
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{self.symbol} {self.title}"]
        lines += [f"  {line}" for line in (*self.reason.splitlines(), *self.body.splitlines())]

        # Two columns: the further lines of a text begin below its first one.
        width = max(map(len, self.rows), default=0)
        indented_break = "\n" + " " * (width + 4)
        for name, text in self.rows.items():
            lines.append(f"  {name:<{width}}  {indented_break.join(text.splitlines())}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cell = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;"
        rows = "".join(
            f'<tr><th scope="row" style="{cell}white-space:nowrap;font-weight:600">{escape(name)}</th>'
            f'<td style="{cell}white-space:pre-line">{escape(text)}</td></tr>'
            for name, text in self.rows.items()
        )
        table = f'<table style="margin:4px 0;border-collapse:collapse;background:none">{rows}</table>' if rows else ""
        body = "".join(f'<p style="margin:4px 0">{escape(line)}</p>' for line in self.body.splitlines())
        folded = "".join(fold(name, text) for name, text in self.folded.items())
        title = f'<strong><span aria-hidden="true">{escape(self.symbol)}</span> {escape(self.title)}</strong>'
        reason = f'<p style="margin:4px 0"><strong>{escape(self.reason)}</strong></p>' if self.reason else ""
        return frame(title + reason + body + table + folded, edge=self.edge)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), **self.extra}


def frame(content: str, *, edge: str = GREY) -> str:
    """HTML with the border that all cards have; edge is the colour at the left."""
    return (
        f'<div role="note" style="border:1px solid #8884;border-left:4px solid {edge};border-radius:3px;'
        f'padding:8px 14px;margin:4px 0;max-width:900px;line-height:1.45">{content}</div>'
    )


def fold(name: str, text: str) -> str:
    """Text behind its name, to unfold.

    >>> fold("Why", "Because a < b.")
    '<details ...><summary ...>Why</summary><div ...>...Because a &lt; b.</p></div></details>'
    """
    return (
        f'<details style="margin:2px 0"><summary style="cursor:pointer">{escape(name)}</summary>'
        f'<div style="margin:2px 0 6px 16px">{blocks(text)}</div></details>'
    )


def blocks(text: str) -> str:
    """Paragraphs, and code where every line of a block begins with four spaces. Blocks are separated by empty lines.

    >>> blocks("One way:\\n\\n    a = b\\n")
    '<p ...>One way:</p><pre ...>a = b</pre>'
    """
    # A blank line inside of code belongs to the code: blocks of code that follow each other are one.
    parts: list[tuple[bool, str]] = []
    for part in re.split(r"\n[ \t]*\n", text.strip("\n")):
        is_code = all(line.startswith("    ") for line in part.splitlines())
        if is_code and parts and parts[-1][0]:
            parts[-1] = (True, f"{parts[-1][1]}\n\n{part}")
        else:
            parts.append((is_code, part))
    return "".join(_block(part, is_code=is_code) for is_code, part in parts)


def _block(text: str, *, is_code: bool) -> str:
    if not is_code:
        return f'<p style="margin:2px 0;white-space:pre-wrap">{escape(text)}</p>'
    code = "\n".join(line[4:] for line in text.splitlines())
    return f'<pre style="margin:4px 0;padding:0;overflow-x:auto;background:none;font-size:13px">{escape(code)}</pre>'
