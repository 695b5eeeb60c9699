"""`python -m benchmarks NAME … [--against REV]` measures and writes the section into docs/benchmarks.md.

`python -m benchmarks mutants [--jobs N] [--sample N] [--seed N]` changes the source and tells what the tests notice.

`python -m benchmarks inversion [--pairs N]` reconstructs pictures from messages.

`python -m benchmarks peer_setting` needs ByzFL and the files of MNIST, whose folder the variable LABSEC_MNIST names.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.report import replace_section

NAMES = ("federation", "aggregation", "compression", "modalities", "panel", "platforms", "privacy")
LONG = (  # no part of `all`
    "fuzz_encoding",
    "fuzz_service",
    "inversion",
    "inversion_batches",
    "mutants",
    "peer_setting",
)
SETTINGS = {  # of which benchmark an option is
    "federation": ("against",),
    "inversion": ("pairs",),
    "mutants": ("jobs", "sample", "seed"),
}
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main(arguments: list[str] | None = None, page: Path = PAGE) -> None:
    """Run the named benchmarks on one thread and replace their sections in the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="+", choices=[*NAMES, *LONG, "all"], metavar="NAME", help=f"{', '.join(NAMES + LONG)} or all"
    )
    parser.add_argument("--against", metavar="REV", help="a commit to compare the federation's rounds with")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time (default: 2)")
    parser.add_argument("--sample", type=int, default=2, metavar="N", help="generated mutants of a file (default: 2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of mutants (default: 0)")
    parser.add_argument("--pairs", type=int, default=24, metavar="N", help="pictures of each attack (default: 24)")
    options = parser.parse_args(arguments)
    chosen = options.names
    if options.against is not None and not {"federation", "all"} & set(chosen):
        parser.error("--against compares the federation's rounds; name federation, too")
    torch.set_num_threads(1)
    for name in NAMES if "all" in chosen else dict.fromkeys(chosen):
        settings = {option: getattr(options, option) for option in SETTINGS.get(name, ())}
        section = import_module(f"benchmarks.{name}").main(**settings)
        print(section, flush=True)
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        page.write_text(replace_section(text, name, section), encoding="utf-8")


if __name__ == "__main__":
    main()
