"""A claim as a learner meets it: the question first, then a card with verdict, rule, and a dot for each seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from labsec.course import dots
from labsec.course.card import BLUE, Card, fold, frame
from labsec.course.claims import find
from labsec.course.claims.base import (
    MIME,
    AnyClaim,
    Claim,
    Reading,
    Sourced,
    Spread,
    headline,
    numbers_in_words,
    record_of,
)
from labsec.course.claims.numbers import Numbers, numbers_of
from labsec.course.guesses import ABOUT_CLAIMS, Kept, keep, kept
from labsec.course.prediction import Asked, ask, hold
from labsec.course.showing import show

SAY = (
    "held",
    "depends",
    "did not hold",
    "cannot be tested",
)  # the same for every claim, so that they give nothing away
BESIDE = "Beside, not judged"


def ask_and_show(id: str) -> None:
    """Ask for the learner's verdict on a claim of the package; the card opens once it is there.

    Everything is measured in any case; only the card waits.
    """
    lab, claim = find(id)
    question = f"{lab}.claim{id}"
    ask(question, Asked(question=f"Claim {id}: “{claim.statement}” What do you say?", choices=SAY, fold=True))
    verdict, card_with = prepared(claim)

    def card() -> Card | ClaimCard:
        known = kept(question)
        said = str(known.guess) if known and known.guess else ""
        if known and known.measured is None:
            off = float(not verdict.startswith(said)) if said else None
            keep(question, Kept(guess=known.guess, measured=verdict, off=off, about=ABOUT_CLAIMS))
        return card_with(said)

    hold(question, card)


def show_at_once(claim: AnyClaim) -> None:
    """Show the card of a claim that an author tries out, without a question."""
    _, card_with = prepared(claim)
    show(card_with(""))


def prepared(claim: AnyClaim) -> tuple[str, Callable[[str], Card | ClaimCard]]:
    """Do everything that takes time.

    returns    the verdict, and (what the learner said, or "") -> the card
    """
    if isinstance(claim, Claim):
        numbers = numbers_of(claim)
        record = record_of(claim, numbers.results, numbers.compared, numbers.beside)
        return record["verdict"], lambda said: ClaimCard(claim=claim, numbers=numbers, record=record, said=said)
    return claim.verdict, lambda said: text_card(claim, said)


@dataclass(frozen=True, kw_only=True)
class ClaimCard:
    """What was measured for a claim.

    record    as the ledger keeps it; it travels in the card's MIME bundle
    said      the learner's own verdict, or ""
    """

    claim: Claim
    numbers: Numbers
    record: dict[str, Any] = field(repr=False)
    said: str = ""

    @property
    def rule_name(self) -> str:
        """What the rule may be called: that it came before the data is said only where a commit shows it."""
        return f"Rule, fixed before the data (commit {self.claim.fixed})" if self.claim.fixed else "Rule"

    def rows(self) -> dict[str, str]:
        """What the card says, as text."""
        rows = {"Statement": self.claim.statement}
        if self.said:
            rows["You said"] = _marked(self.said, self.record["verdict"])
        unit = self.claim.unit
        rows["Measured"] = _table(headline(self.claim.measure), self.numbers.results, unit)
        rows["Baseline"] = _table(headline(self.claim.baseline), self.numbers.compared, unit)
        if self.claim.beside and self.numbers.beside:
            rows[BESIDE] = _table(headline(self.claim.beside), self.numbers.beside, self.claim.beside_unit)
        rows[self.rule_name] = self.claim.rule
        rows["Numbers"] = f"{len(self.claim.seeds)} seeds. {self.numbers.origin}"
        return rows

    def __repr__(self) -> str:
        return repr(Card(symbol="⚖", title=f"Claim {self.claim.id}: {self.record['verdict']}", rows=self.rows()))

    def _repr_html_(self) -> str:
        rows = self.rows()
        said = f"<span>You said: <b>{escape(rows['You said'])}</b></span>" if self.said else ""
        what = dots.key(
            headline(self.claim.measure), headline(self.claim.baseline), marked=self.claim.supports is not None
        )
        folded = fold(self.rule_name, rows[self.rule_name])
        numbers = [rows[name] for name in ("Measured", "Baseline", BESIDE) if name in rows]
        folded += fold("Numbers", "\n\n".join(numbers))
        folded += fold("Code", self._code())
        return frame(
            f"<div>⚖ Claim {escape(self.claim.id)} · <b>{escape(self.claim.statement)}</b></div>"
            '<div style="display:flex;flex-wrap:wrap;gap:2px 20px">'
            f"<span>Verdict: <b>{escape(self.record['verdict'])}</b></span>{said}</div>{what}{self._chart()}"
            f'<div style="font-size:{dots.TEXT_SIZE};margin:2px 0">{escape(rows["Numbers"])}</div>{self._beside()}'
            f'<div style="font-size:13px;display:flex;flex-wrap:wrap;gap:0 20px">{folded}</div>',
            edge=BLUE,
        )

    def _beside(self) -> str:
        """The numbers that are not judged, on a line; "" if there are none."""
        if not (self.claim.beside and self.numbers.beside):
            return ""
        means = [f"{name} {summary['mean']:.3g}" for name, summary in self.numbers.beside.items()]
        unit = f" {self.claim.beside_unit}" if self.claim.beside_unit else ""
        line = f"{BESIDE}: {headline(self.claim.beside)}: {', '.join(means)}{unit}."
        return f'<div style="font-size:{dots.TEXT_SIZE};margin:2px 0">{escape(line)}</div>'

    def _chart(self) -> str:
        """A row for everything that was measured, its baseline in the same row where the two have one name."""
        results = self.numbers.results
        compared = self.numbers.compared
        rows = []
        for name in (*results, *(name for name in compared if name not in results)):
            shown = results.get(name) or compared[name]
            mark = ""
            if self.claim.supports and name in results:
                mark = " ✓" if self.claim.supports(name, results, compared) else " ✗"
            rows.append(
                dots.Row(
                    name=name.replace("_", " "),
                    dots=results[name]["seeds"] if name in results else (),
                    rings=compared[name]["seeds"] if name in compared else (),
                    end=f"{shown['mean']:.3g}{mark}",
                )
            )
        words = self.rows()
        alt = f"Dot plot. {words['Measured']}. Against {words['Baseline']}.".replace("\n", "; ")
        return dots.chart(rows, unit=self.claim.unit, alt=alt, thresholds=self.claim.thresholds)

    def _code(self) -> str:
        """The functions that measure and judge, as a block of code."""
        functions: Sequence[Any] = (self.claim.measure, self.claim.baseline, self.claim.verdict)
        sources = [inspect.cleandoc("\n" + inspect.getsource(function)) for function in functions]
        return "\n".join(f"    {line}" for line in "\n\n".join(sources).splitlines())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), MIME: self.record}


def text_card(claim: Reading | Sourced, said: str = "") -> Card:
    """The card of a claim that is settled by reading or by looking for its source."""
    rows = {"Statement": claim.statement}
    if said:
        rows["You said"] = _marked(said, claim.verdict)
    if isinstance(claim, Reading):
        rows |= {"Says": claim.says, "Sources": "\n".join(claim.sources)}
    else:
        rows |= {f"Question {i}": question for i, question in enumerate(claim.asked, start=1)}
        rows["Found"] = claim.found
    title = f"Claim {claim.id}: {claim.verdict}"
    return Card(symbol="⚖", title=title, rows=rows, edge=BLUE, extra={MIME: record_of(claim)})


def _table(what: str, spread: Spread, unit: str) -> str:
    lines = [f"{name}: {numbers_in_words(summary, unit)}" for name, summary in spread.items()]
    return "\n".join([what, *lines])


def _marked(said: str, verdict: str) -> str:
    return f"{said} ✓" if verdict.startswith(said) else said
