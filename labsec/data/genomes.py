"""Synthetic genomes: sequences of bases with planted motifs, and genotypes drawn by allele frequency."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F

from labsec.data.dataset import Dataset
from labsec.data.files import read_table, split
from labsec.files import COURSE

DNA_SHA256 = "dccd119f10e6d698bb5a2207c445d0c01f9c5d578717034a3c5891e6035765e6"  # of make_genomes.py
SNPS_SHA256 = "7e43d8a061cc37d9fef76cf1e1d03ea3795ebb0aa53b281dad0966122790d6a6"
BASES = "ACGT"


@cache
def dna(bases: int) -> Dataset:
    """The first bases of every sequence, one-hot: [n, 4, bases]; the class says which motif was planted."""
    rows = read_table(COURSE / "data" / "dna.csv", DNA_SHA256, "sequences")
    places = torch.tensor([[BASES.index(base) for base in row["bases"][:bases]] for row in rows])  # [n, bases]
    x = F.one_hot(places, len(BASES)).float().transpose(1, 2).contiguous()  # [n, 4, bases]
    return split("dna", x, torch.tensor([int(row["motif"]) for row in rows]))


@cache
def snps() -> Dataset:
    """Genotypes [n, loci]: copies of the rarer allele, 0, 1 or 2, divided by 2; class 1 holds the cases."""
    rows = read_table(COURSE / "data" / "snps.csv", SNPS_SHA256, "genotypes")
    copies = torch.tensor([[int(copy) for copy in row["genotypes"]] for row in rows])  # [n, loci]
    return split("snps", copies / 2, torch.tensor([int(row["case"]) for row in rows]))
