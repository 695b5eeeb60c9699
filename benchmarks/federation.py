"""`python -m benchmarks federation`: rounds per second against others, the first round, memory, a thousand clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import torch

from benchmarks import contestants, mnist, regimes
from benchmarks.common import interleaved, machine, versions
from benchmarks.fresh import measure
from benchmarks.peers import byzfl_federation, flower
from benchmarks.report import table
from labsec import data
from labsec.federation import engine
from labsec.federation.scenario import Scenario
from labsec.types import generator

CLIENTS = (20, 100)
TURNS = 2  # how often Flower and the others alternate
REPEATS = 7  # calls of each contestant in one turn
FLOWER_ROUNDS = 8  # rounds of one of Flower's simulations, the first of which is not counted
OURS = "labsec"
BLOCKS = {OURS: 20}  # rounds in one call; others take one, because theirs are long enough to time
GOALS = {"tutorial loop": (25, 60), "ByzFL": (15, 35), "Flower": (100, None)}  # at 20 clients: goal and moonshot
FIRST_ROUND_GOAL = 4.0  # seconds
MNIST = {"clients": 1000, "rounds": 10, "chunk": 10}
MATRIX = 1024


@dataclass
class Race:
    """Seconds per round of every contestant, and of one large matrix product, taken in turns."""

    clients: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    flower_first: list[float] = field(default_factory=list)
    flower_version: str = ""

    def add(self, name: str, seconds: list[float]) -> None:
        """More measurements of one contestant."""
        self.seconds.setdefault(name, []).extend(seconds)

    @property
    def medians(self) -> dict[str, float]:
        """Median seconds of a round (of a product), contestant by contestant."""
        return {name: median(seconds) for name, seconds in self.seconds.items()}


def main(against: str | None = None) -> str:
    """The section, as Markdown; `against` names a commit to compare rounds with."""
    races = [race(clients) for clients in CLIENTS]
    flower_version = next((r.flower_version for r in races if r.flower_version), "not measured")
    parts = [
        "## A federation, round by round",
        f"{machine()}. {versions('torch', 'numpy', 'byzfl')}, Flower {flower_version}.",
        speed(races),
        regimes.regimes(against),
        regimes.trainings(),
        first_round(races),
        thousand_clients(),
        on_gpu(),
    ]
    return "\n\n".join(parts)


def race(clients: int) -> Race:
    """Let everybody run the same federation in turns."""
    result = Race(clients)
    functions: dict[str, Callable[[], object]] = {
        OURS: contestants.labsec(clients),
        "labsec, loop twin": contestants.loop_twin(clients),
        "tutorial loop": contestants.tutorial_loop(clients),
    }
    if byzfl_federation.is_installed():
        functions["ByzFL"] = contestants.byzfl(clients)
    else:
        result.missing["ByzFL"] = byzfl_federation.MISSING
    square = torch.rand(MATRIX, MATRIX)
    blocks = {name: _repeated(one_round, BLOCKS.get(name, 1)) for name, one_round in functions.items()}
    blocks["product"] = lambda: square @ square
    for _ in range(TURNS):
        for name, seconds in interleaved(blocks, REPEATS).items():
            result.add(name, [second / BLOCKS.get(name, 1) for second in seconds])
        if "Flower" not in result.missing:
            _flower(result)
    return result


def _repeated(function: Callable[[], object], times: int) -> Callable[[], None]:
    def block() -> None:
        for _ in range(times):
            function()

    return block


def _flower(result: Race) -> None:
    sizes = {"steps": contestants.STEPS, "batch_size": contestants.BATCH, "lr": contestants.LR}
    try:
        seen = flower.simulate(data.load("digits"), clients=result.clients, rounds=FLOWER_ROUNDS, **sizes)
    except flower.Unavailable as error:
        result.missing["Flower"] = f"Flower: {error}; not measured"
        return
    result.add("Flower", seen.rounds)
    result.flower_first.append(seen.first)
    result.flower_version = seen.version


def speed(races: list[Race]) -> str:
    """Rounds per second, the ratios to ours, and how much of the machine's matrix product we use."""
    names = [name for name in {**races[0].seconds, **races[-1].seconds} if name != "product"]
    header = [
        "",
        *(f"{r.clients} clients, rounds/s" for r in races),
        *(f"labsec is faster ({r.clients})" for r in races),
    ]
    rows = [
        [
            name,
            *(_number(1 / r.medians[name]) if name in r.medians else "–" for r in races),
            *(_ratio(r, name) if name in r.medians else "–" for r in races),
        ]
        for name in names
    ]
    lines = [
        f"Digits, MLP 64-{contestants.HIDDEN}-10, {contestants.STEPS} local steps on batches of {contestants.BATCH}, "
        "nothing evaluated; medians. Everybody but Flower takes turns in one process on one thread; Flower's "
        "simulation runs between the turns in a process of its own, with every core and one thread for each client.",
        table(header, rows),
        *(_share_of_peak(r) for r in races),
        *(_verdict(races[0], name) for name in GOALS if name in races[0].medians),
        *dict.fromkeys(reason for r in races for reason in r.missing.values()),
    ]
    return "### Rounds per second\n\n" + "\n\n".join(lines)


def _ratio(r: Race, name: str) -> str:
    return "" if name == OURS else f"{r.medians[name] / r.medians[OURS]:.1f} x"


def _share_of_peak(r: Race) -> str:
    peak = 2 * MATRIX**3 / r.medians["product"]
    used = contestants.flops(r.clients) / r.medians[OURS]
    return (
        f"With {r.clients} clients labsec's matrix products run at {used / 1e9:.0f} GFLOP/s, {used / peak:.0%} of the "
        f"{peak / 1e9:.0f} GFLOP/s of one {MATRIX} x {MATRIX} product in the same run."
    )


def _verdict(r: Race, name: str) -> str:
    goal, moonshot = GOALS[name]
    ratio = r.medians[name] / r.medians[OURS]
    aim = f"goal {goal} x {'met' if ratio >= goal else 'missed'}"
    if moonshot:
        aim += f", moonshot {moonshot} x {'met' if ratio >= moonshot else 'missed'}"
    return f"Against {name} at {r.clients} clients: {ratio:.1f} x ({aim})."


def first_round(races: list[Race]) -> str:
    """Seconds from the start of a process to the end of its first round, and the memory it took."""
    names = {OURS: "labsec", "tutorial loop": "tutorial_loop", "ByzFL": "byzfl"}
    if not byzfl_federation.is_installed():
        del names["ByzFL"]
    seen: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(2 * TURNS + 1):
        for name, function in names.items():
            seen[name].append(measure(function, CLIENTS[0]))
    rows = [
        [name, _seconds([s["seconds"] for s in found]), f"{median(s['megabytes'] for s in found):.0f}"]
        for name, found in seen.items()
    ]
    if races[0].flower_first:
        rows.append(["Flower", _seconds(races[0].flower_first), "–"])
    verdict = "met" if median(s["seconds"] for s in seen[OURS]) <= FIRST_ROUND_GOAL else "missed"
    return (
        "### From the start of the process to the end of the first round\n\n"
        f"{CLIENTS[0]} clients, each time a fresh process, imports and data included; the median (lowest to highest). "
        f"The memory of Flower's processes was not summed.\n\n{table(['', 'seconds', 'peak memory, MB'], rows)}\n\n"
        f"Goal of {FIRST_ROUND_GOAL:.0f} s for labsec: {verdict}."
    )


def _seconds(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def thousand_clients() -> str:
    """The convolutional network with bounded memory."""
    clients = MNIST["clients"]
    rounds = MNIST["rounds"]
    chunk = MNIST["chunk"]
    bounded = measure("mnist", clients, rounds, chunk)
    all_at_once = measure("mnist", clients, 1, clients)
    rows = [
        [
            str(size),
            str(count),
            f"{s['round']:.1f}",
            f"{s['total']:.0f}",
            f"{s['megabytes']:.0f}",
            f"{s['before_megabytes']:.0f}",
        ]
        for size, count, s in ((chunk, rounds, bounded), (clients, 1, all_at_once))
    ]
    remark = "" if bounded["data"] == "mnist" else " (chance: the images are noise)"
    return (
        f"### {clients:,} clients and a convolutional network\n\n"
        f"`models.convnet` on 60,000 images of 28 x 28 ({bounded['data']}; the variable `{mnist.FOLDER}` names the "
        f"folder of the real ones), {contestants.STEPS} local steps on batches of {contestants.BATCH}. The updates of "
        f"all clients take {bounded['updates_megabytes']:.0f} MB whatever the chunk, which bounds activations and "
        f"working parameters. Accuracy after {rounds} rounds: {bounded['accuracy']:.3f}{remark}.\n\n"
        + table(
            [
                "clients trained together",
                "rounds",
                "seconds a round",
                "in all",
                "peak memory, MB",
                "before training, MB",
            ],
            rows,
        )
    )


def on_gpu(clients: int = 10_000, rounds: int = 20) -> str:
    """Ten thousand clients on a GPU, where there is one."""
    title = f"### {clients:,} clients on a GPU\n\n"
    if not torch.cuda.is_available():
        return title + "No GPU was available; not measured."
    draw = generator(0, "synthetic digits")
    x = torch.rand(clients * 16, 1, 8, 8, generator=draw)
    y = torch.randint(10, (clients * 16,), generator=draw)
    synthetic = data.Dataset(name="synthetic", x=x, y=y, x_test=x[:1000], y_test=y[:1000], classes=10)
    stream = engine.rounds(
        Scenario(data=synthetic, clients=clients, rounds=rounds + 3, evaluate_every=rounds + 3, device="cuda")
    )
    seconds = []
    for number in range(rounds + 2):  # the two that warm up are not counted, the last one, evaluated, is not run
        torch.cuda.synchronize()
        begin = perf_counter()
        next(stream)
        torch.cuda.synchronize()
        seconds += [perf_counter() - begin] if number > 1 else []
    return title + (
        f"{torch.cuda.get_device_name()}, synthetic images of 8 x 8, MLP 64-64-10, {contestants.STEPS} local steps: "
        f"{1000 * median(seconds):.1f} ms a round (goal 10 ms), "
        f"{torch.cuda.max_memory_allocated() / 1e6:.0f} MB on the GPU at most."
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
