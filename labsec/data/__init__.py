"""Data sets, bundled or downloaded on request, and the ways in which they are divided among clients."""

from labsec.data.dataset import TENSORS, Dataset
from labsec.data.loading import load
from labsec.data.notes import notes_words, read_notes
from labsec.data.partition import partition
from labsec.data.tables import Column, credit_columns

__all__ = ["TENSORS", "Column", "Dataset", "credit_columns", "load", "notes_words", "partition", "read_notes"]
