"""One contestant in a process of its own: `python -m benchmarks.fresh NAME [NUMBER …]`; the last line is JSON.

labsec CLIENTS | tutorial_loop CLIENTS | byzfl CLIENTS    the first round
mnist CLIENTS ROUNDS CHUNK                                rounds of models.convnet on 28x28 images
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def measure(*arguments: object) -> dict[str, Any]:
    """Start a fresh process for these arguments: its result, and `seconds` until it was there."""
    begin = perf_counter()
    command = [sys.executable, "-m", "benchmarks.fresh", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        arrived = [(perf_counter() - begin, line) for line in process.stdout if line.startswith("{")]
    if process.returncode or not arrived:
        raise RuntimeError(f"{' '.join(command[1:])} ended with code {process.returncode}")
    seconds, line = arrived[-1]
    return {"seconds": seconds, **json.loads(line)}


def main() -> None:
    """Run what the command line names and print what it took."""
    name, *numbers = sys.argv[1:]
    import torch

    from benchmarks.common import peak_megabytes

    torch.set_num_threads(1)
    if name == "mnist":
        from benchmarks.mnist import train

        result = train(*map(int, numbers))
    else:
        from benchmarks import contestants

        getattr(contestants, name)(int(numbers[0]))()
        result = {}
    print(json.dumps({**result, "megabytes": peak_megabytes()}), flush=True)


if __name__ == "__main__":
    main()
