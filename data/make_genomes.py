"""Write data/dna.csv and data/snps.csv: invented sequences and genotypes, drawn from seeded recipes.

Run it as `python data/make_genomes.py`; the same seed writes the same files. They are nobody's genome: the bases are
independent draws with one planted motif, and the genotypes are draws by an invented frequency of each allele.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SEED = 2026

SEQUENCES, BASES = 800, 256
MOTIFS = ("TATAAAGGCC", "CCAATCTGAT", "GGGCGGAATT", "TGACTCACGT")
MOTIF_WITHIN = 64  # bases at the beginning of a sequence among which its motif lies
MUTATED = 0.05  # chance that a base of the motif is drawn anew

PERSONS, LOCI = 900, 128
RARE = 0.05  # an allele with a lower frequency is rare
SHIFTED = 16  # loci whose frequency is higher among the cases
SHIFT = 0.25


def sequence(motif: str, draw: random.Random) -> str:
    """Return the bases of one sequence, with the motif in it, perhaps with a mutation."""
    bases = draw.choices("ACGT", k=BASES)
    place = draw.randrange(MOTIF_WITHIN - len(motif) + 1)
    bases[place : place + len(motif)] = [draw.choice("ACGT") if draw.random() < MUTATED else base for base in motif]
    return "".join(bases)


def sequences() -> list[tuple[int, str]]:
    """Return all sequences as (number of the motif, bases), as many of each motif, in random order."""
    draw = random.Random(f"{SEED} dna")
    motifs = [number for number in range(len(MOTIFS)) for _ in range(SEQUENCES // len(MOTIFS))]
    draw.shuffle(motifs)
    return [(number, sequence(MOTIFS[number], draw)) for number in motifs]


def frequencies() -> list[float]:
    """Return the frequency of each locus' rarer allele: one in five is rare, none is above one half."""
    draw = random.Random(f"{SEED} frequencies")
    return [draw.uniform(0.01, RARE) if draw.random() < 0.2 else draw.uniform(RARE, 0.5) for _ in range(LOCI)]


def persons() -> list[tuple[int, str]]:
    """Return all persons as (1 for a case and 0 for a control, copies of the rarer allele at each locus)."""
    draw = random.Random(f"{SEED} snps")
    base = frequencies()
    shifted = set(draw.sample([locus for locus in range(LOCI) if base[locus] > RARE], SHIFTED))
    people = []
    for number in range(PERSONS):
        case = number % 2
        shares = [base[locus] + SHIFT * (case and locus in shifted) for locus in range(LOCI)]
        people.append((case, "".join(str(sum(draw.random() < share for _ in range(2))) for share in shares)))
    return people


def write(file: Path, columns: Sequence[str], rows: Sequence[tuple[int, str]]) -> None:
    """Write rows to a CSV file."""
    with file.open("w", encoding="utf-8", newline="") as target:
        table = csv.writer(target, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def write_all(folder: Path) -> None:
    """Write dna.csv and snps.csv into a folder."""
    write(folder / "dna.csv", ("motif", "bases"), sequences())
    write(folder / "snps.csv", ("case", "genotypes"), persons())


if __name__ == "__main__":
    write_all(FOLDER)
