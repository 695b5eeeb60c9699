"""Quiet cards: a symbol, a title and a few lines, as HTML in a notebook and as plain text everywhere else."""

from __future__ import annotations

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
    body      prose below the title
    folded    summary -> text, collapsed in a notebook and left out of the plain text
    edge      colour of the left edge
    extra     further entries of the MIME bundle

    >>> Card(symbol="✓", title="PASS 01.1", rows={"Got": "3"})
    ✓ PASS 01.1
      Got  3
    """

    symbol: str
    title: str
    body: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)
    edge: str = GREY
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{self.symbol} {self.title}"]
        lines += [f"  {line}" for line in self.body.splitlines()]

        # Two columns: the further lines of a text begin below its first one.
        width = max(map(len, self.rows), default=0)
        indented_break = "\n" + " " * (width + 4)
        for name, text in self.rows.items():
            lines.append(f"  {name:<{width}}  {indented_break.join(text.splitlines())}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        # Styles stand in every element, because a notebook that is read elsewhere has no style sheet of ours.
        cell = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;"
        rows = "".join(
            f'<tr><th scope="row" style="{cell}white-space:nowrap;font-weight:600">{escape(name)}</th>'
            f'<td style="{cell}white-space:pre-line">{escape(text)}</td></tr>'
            for name, text in self.rows.items()
        )
        table = f'<table style="margin:4px 0;border-collapse:collapse;background:none">{rows}</table>' if rows else ""
        body = "".join(f'<p style="margin:4px 0">{escape(line)}</p>' for line in self.body.splitlines())
        folded = "".join(
            f'<details style="margin:2px 0"><summary style="cursor:pointer">{escape(name)}</summary>'
            f'<p style="margin:2px 0 6px 16px;white-space:pre-wrap">{escape(text)}</p></details>'
            for name, text in self.folded.items()
        )
        title = f'<strong><span aria-hidden="true">{escape(self.symbol)}</span> {escape(self.title)}</strong>'
        return (
            f'<div role="note" style="border:1px solid #8884;border-left:4px solid {self.edge};border-radius:3px;'
            f'padding:8px 14px;margin:4px 0;max-width:900px;line-height:1.45">{title}{body}{table}{folded}</div>'
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), **self.extra}
