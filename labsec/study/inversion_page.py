"""The page about an inversion: one HTML file that asks for nothing from anywhere."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

NOTICE = "Attack your own data and systems only."
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1c2024; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
img { display: block; min-width: 96px; image-rendering: pixelated; border: 1px solid #8a9099; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid #c5cad1; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
.notice { border-left: 4px solid #b3261e; padding-left: .75rem; }
"""
WIDTH, HEIGHT = 640, 160  # of the curve
LOWEST = 1e-12  # where the curve's scale ends


def page(told: Mapping[str, Any], pictures: Sequence[bytes]) -> str:
    """The page, with everything in it: pictures as data, no script, no address.

    told        as in metrics.json
    pictures    PNGs of the candidates, the one that is believed most first
    """
    share = told["unexplained"]
    explained = "The message explains nothing here." if share is None else f"It leaves {_number(share)} unexplained."
    guess = told["unexplained_by_a_guess"]
    sections = [
        f"<p class='notice'>{NOTICE}</p>",
        f"<h2>What was found</h2><p>{_text(told['method'])}. {explained} A guess without the message leaves "
        f"{_number(guess)}; 0 is a perfect match, and 1 is as bad as no samples at all.</p>",
        "".join(_figure(number, png, told["labels"]) for number, png in enumerate(pictures)),
        "<h2>What was taken for granted</h2><ul>",
        "".join(f"<li>{_text(each)}</li>" for each in told["assumptions"]),
        "</ul><h2>What was tried</h2>",
        _table(
            ["attack", "unexplained", "why there is no result", "seconds"],
            [[r["name"], _number(r["unexplained"]), r["reason"], f"{r['seconds']:.2f}"] for r in told["rungs"]],
        ),
        "<h2>The matching loss by iteration</h2>",
        _curve(told["unexplained_by_iteration"]),
        "<h2>The message</h2>",
        _table(
            ["what", "value"],
            [[name, str(told[name])] for name in ("model", "round", "message", "lr", "local_steps", "batch_size")],
        ),
        f"<p>{told['seconds']:.1f} s of processor time, {told['restarts']} start(s), of which {told['divergences']} "
        f"diverged, {told['evaluations']} evaluations of the matching loss. Nothing on this page was compared with the "
        "truth.</p>",
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width'>"
        f"<title>What the message gave away</title><style>{STYLE}</style></head>"
        f"<body><main><h1>What the message gave away</h1>\n{chr(10).join(sections)}\n</main></body></html>\n"
    )


def _figure(number: int, png: bytes, labels: Sequence[int] | None) -> str:
    said = f"Candidate {number + 1}" + (f", class {labels[number]}" if labels is not None else "")
    data = base64.b64encode(png).decode()
    image = f"<img alt='{_text(said)}' src='data:image/png;base64,{data}'>"
    return f"<figure>{image}<figcaption>{_text(said)}</figcaption></figure>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{_text(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _curve(shares: Sequence[float | None]) -> str:
    """The shares on a logarithmic scale from 1 to 1e-12; a NaN or an infinity stands at the top."""
    if not shares:
        return "<p>There were no iterations.</p>"
    points = []
    for number, share in enumerate(shares):
        depth = 0.0 if share is None else math.log(min(max(share, LOWEST), 1)) / math.log(LOWEST)  # 0 at 1, 1 at 1e-12
        points.append(f"{number * WIDTH / max(len(shares) - 1, 1):.1f},{depth * HEIGHT:.1f}")
    said = f"Unexplained share over {len(shares)} iterations, logarithmic from 1 to 1e-12; the last is "
    return (
        f"<svg role='img' viewBox='-4 -4 {WIDTH + 8} {HEIGHT + 8}' width='{WIDTH}' height='{HEIGHT}'>"
        f"<title>{said}{_number(shares[-1])}</title>"
        f"<polyline fill='none' stroke='#1a5fb4' stroke-width='2' points='{' '.join(points)}'/></svg>"
    )


def _number(share: float | None) -> str:
    return "–" if share is None else f"{share:.3g}"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
