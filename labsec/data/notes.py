"""Synthetic texts of four hospital desks, as token numbers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from labsec.data.dataset import Dataset
from labsec.data.files import read_table, split
from labsec.files import COURSE

SHA256 = "ae8ef7006270cbb52daf9706bef39f3d22d3092bf1bf4b0699295e75b66c29f4"  # of the rows that make_notes.py writes


@cache
def _notes_table() -> list[dict[str, str]]:
    return read_notes(COURSE / "data" / "notes.csv")


def read_notes(path: Path) -> list[dict[str, str]]:
    """The rows of notes.csv: `desk` and `text` of each note.

    Raises FileNotFoundError or BrokenFileError for a file that is missing or not the course's.
    """
    return read_table(path, SHA256, "notes")


@cache
def notes_words() -> tuple[str, ...]:
    """The word behind each token number of `notes`, in alphabetical order; number 0 is the padding "".

    >>> words = notes_words()
    >>> " ".join(words[token] for token in notes().x[0]).strip()
    'as agreed oxygen cart was sent twice by friday driver informed no change since'
    """
    return ("", *sorted({word for row in _notes_table() for word in row["text"].split()}))


@cache
def notes() -> Dataset:
    table = _notes_table()
    number = {word: token for token, word in enumerate(notes_words())}
    texts = [torch.tensor([number[word] for word in row["text"].split()]) for row in table]
    desks = sorted({row["desk"] for row in table})
    labels = torch.tensor([desks.index(row["desk"]) for row in table])
    return split("notes", pad_sequence(texts, batch_first=True), labels)
