"""`python -m benchmarks peer_setting`: the training that ByzFL documents, run by ByzFL and by labsec.

labsec gets ByzFL's start and ByzFL's shards, so that what is left between the two is the code and the draw of batches.
A short run on the same batches takes the draw away, too.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import mean

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from benchmarks.common import machine, versions
from benchmarks.mnist import FOLDER
from benchmarks.peers import byzfl_example, byzfl_federation
from benchmarks.peers.byzfl_example import PIXELS, Federation, Images, Setting
from benchmarks.report import table
from labsec import data, poison, robust
from labsec.data import Dataset
from labsec.federation import engine
from labsec.federation.bind import bind
from labsec.federation.population import Population
from labsec.federation.scenario import Scenario
from labsec.models import Layers, Model
from labsec.types import Update, Updates, generator

SEEDS = range(3)
STEPS = 300
EVERY = 100  # steps between two measurements of the accuracy
LAST = 2  # measurements whose mean is a run's result: a single one jumps by several points
SAME_BATCHES = 5  # steps on the same batches
GROWN = 200  # steps on the same batches after which rounding may have grown
NUDGE = 1e-7  # relative change of a start, about one rounding of float32
SAME_ORDER = sqrt(10)  # two sizes are of one order of magnitude if neither is more than so many times the other
NO_IMAGES = f"MNIST is not here (the variable {FOLDER} names its folder): not measured"

ROWS = {
    "no attack, mean": Setting(attackers=0, is_defended=False),
    "attack, mean": Setting(attackers=1, is_defended=False),
    "no attack, documented rule": Setting(attackers=0, is_defended=True),
    "attack, documented rule": Setting(attackers=1, is_defended=True),
}
EFFECTS = {
    "the attack on the mean": ("attack, mean", "no attack, mean"),
    "the rule under attack": ("attack, documented rule", "attack, mean"),
    "the attack on the rule": ("attack, documented rule", "no attack, documented rule"),
    "the rule without an attack": ("no attack, documented rule", "no attack, mean"),
}
RULED = "attack, documented rule"
HELD = "attack, mean"  # three honest messages and their mean times -3 add up to nothing

DIFFERENCES = """Where the two differ:

- Batches: ByzFL's clients go through their shards in random order, and shuffle again at the end; labsec's draw with
  replacement in every round. On the same batches rounding alone parts the models, and what becomes of it (above).
- Momentum: ByzFL's client keeps the running mean of its gradients; in labsec it is a client stage with memory.
- What the attacker sees: in both what the honest clients send, momentum included, before the server clips. ByzFL's
  attacker is a function of these messages; labsec's is a client without data, in an omniscient scenario.
- The step: ByzFL's server gives the aggregate to torch's SGD. labsec's clients train with a learning rate of 1, so that
  the bound of the clipping means the same; ByzFL's rate is the server's, and the weight decay a part of the rule.
- Pixels: ByzFL's data loader standardises them; labsec's images lie in [0, 1], and the network standardises them.
- The mean under attack: three honest messages and -3 times their mean add up to nothing, so that only the weight decay
  moves the model. Any program must show this; the rows with the rule say more.
- ByzFL's example does not run as printed with version 0.0.11: its clients want `store_per_client_metrics`, and its
  server's `update_model` is called `update_model_with_gradients`."""

Found = Mapping[str, Sequence[float]]  # row -> an accuracy for each seed


@dataclass(frozen=True)
class Effect:
    """What a change does to the accuracy, seed by seed, in both.

    >>> Effect([-0.9, -0.8], [-0.7, -0.85]).same_direction
    'yes'
    >>> Effect([0.02, -0.01], [0.01, 0.01]).same_direction
    'the seeds disagree'
    """

    theirs: Sequence[float]
    ours: Sequence[float]

    @property
    def same_direction(self) -> str:
        """Yes or no, where each side's seeds agree among themselves."""
        directions = [_direction(self.theirs), _direction(self.ours)]
        if 0 in directions:
            return "the seeds disagree"
        return "yes" if directions[0] == directions[1] else "no"

    @property
    def same_order(self) -> str:
        """Yes or no, of the sizes of the means; a dash where there is no common direction."""
        if self.same_direction != "yes":
            return "–"
        small, large = sorted(abs(mean(values)) for values in (self.theirs, self.ours))
        return "yes" if large <= SAME_ORDER * small else "no"


def _direction(values: Sequence[float]) -> int:
    """1 if every value is above zero, -1 if every one is below, else 0."""
    if min(values) > 0:
        return 1
    return -1 if max(values) < 0 else 0


def main() -> str:
    """The section, as Markdown."""
    title = f"## One attack and one rule beside ByzFL\n\n{machine()}. {versions('torch', 'numpy', 'byzfl')}."
    if not byzfl_federation.is_installed():
        return f"{title}\n\n{byzfl_federation.MISSING}."
    root = os.environ.get(FOLDER)
    if not root:
        return f"{title}\n\n{NO_IMAGES}."
    dataset = data.load("mnist", root=root)
    theirs, ours, distances = measure(dataset)
    agreement = f"{_agreement(distances)} {_growth(*grown(dataset))}"
    return "\n\n".join([title, _setting(), compared(theirs, ours), agreement, DIFFERENCES])


def measure(dataset: Dataset) -> tuple[Found, Found, Mapping[str, float]]:
    """Every row for every seed, by ByzFL and by labsec, and for every row the distance on the same batches."""
    train = Images(dataset.x, dataset.y)
    test = Images(dataset.x_test, dataset.y_test)
    theirs: dict[str, list[float]] = {row: [] for row in ROWS}
    ours: dict[str, list[float]] = {row: [] for row in ROWS}
    distances = {}
    for seed in SEEDS:
        for row, setting in ROWS.items():
            federation, s = both(dataset, train, test, setting, seed)
            theirs[row].append(result(_byzfl_accuracies(federation)))
            ours[row].append(result(engine.run(s).column("accuracy")))
            if seed == SEEDS[0]:
                distances[row] = distance_on_same_batches(s, setting, train, test, steps=SAME_BATCHES)
    return theirs, ours, distances


def grown(dataset: Dataset) -> tuple[float, float]:
    """What became of rounding under attack: the distance to ByzFL on the same batches, and to labsec after a nudge."""
    train = Images(dataset.x, dataset.y)
    test = Images(dataset.x_test, dataset.y_test)
    _, s = both(dataset, train, test, ROWS[RULED], SEEDS[0])
    to_byzfl = distance_on_same_batches(s, ROWS[RULED], train, test, steps=GROWN)
    return to_byzfl, distance_after_a_nudge(s, steps=GROWN)


def both(dataset: Dataset, train: Images, test: Images, setting: Setting, seed: int) -> tuple[Federation, Scenario]:
    """ByzFL's federation, and labsec's scenario with its start and its shards."""
    loaders = byzfl_example.split(train, setting, seed)
    federation = Federation(loaders, test, setting)
    shards = [torch.as_tensor(loader.dataset.indices) for loader in loaders]
    return federation, scenario(dataset, setting, start=federation.params(), shards=shards, seed=seed, rounds=STEPS)


def cnn_mnist() -> Model:
    """ByzFL's network of that name as a model of labsec, whose images lie in [0, 1]: the network prepares them itself.

    It has no start of its own, for both libraries shall have the same one.
    """

    def module() -> nn.Module:
        first = [nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)]
        second = [nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(PIXELS, *first, *second, nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))

    network = module()
    names = [name for name, _ in network.named_parameters()]
    shapes = tuple(tuple(parameter.shape) for parameter in network.parameters())

    def forward(layers: Layers, x: Tensor) -> Tensor:
        logits = []
        for client, images in enumerate(x):
            own = {name: layer[client] for name, layer in zip(names, layers, strict=True)}
            logits.append(functional_call(network, own, images))
        return torch.stack(logits)  # [c, b, classes]

    return Model(
        name=byzfl_example.MODEL,
        shape=(1, 28, 28),
        classes=10,
        shapes=shapes,
        forward=forward,
        module=module,
        bounds=(0.0,) * len(shapes),
        width=28 * 28 + 20 * (24 * 24 + 12 * 12) + 50 * (8 * 8 + 4 * 4) + 500 + 10,
        origin=(byzfl_example.MODEL, {}),
    )


class Momentum:
    """Client stage: every client sends a running mean of its updates. All of them take part in every round.

    decay    weight of the last message in the next one

    >>> stage = Momentum(decay=0.5)
    >>> stage(torch.tensor([[4.0]])), stage(torch.tensor([[4.0]]))
    (tensor([[2.]]), tensor([[3.]]))
    """

    def __init__(self, *, decay: float) -> None:
        self.decay = decay
        self._last: Updates | None = None

    def __call__(self, updates: Updates) -> Updates:
        last = torch.zeros_like(updates) if self._last is None else self._last
        self._last = self.decay * last + (1 - self.decay) * updates
        return self._last.clone()


def with_weight_decay(updates: Updates, *, params: Tensor, rule: Callable[[Updates], Update], decay: float) -> Update:
    """What a rule makes of the updates, and a pull of the model towards zero.

    >>> with_weight_decay(torch.tensor([[1.0]]), params=torch.tensor([10.0]), rule=robust.mean, decay=0.01)
    tensor([0.9000])
    """
    return rule(updates) - decay * params


def scenario(
    dataset: Dataset, setting: Setting, *, start: Tensor, shards: Sequence[Tensor], seed: int, rounds: int
) -> Scenario:
    """The same training in labsec.

    A client's learning rate of 1 makes its update the negative gradient, which is what ByzFL's clients send, negated.
    ByzFL's learning rate becomes the server's. The attackers come first, and hold no data.
    """
    clients = setting.honest + setting.attackers
    nothing = torch.empty(0, dtype=torch.int64)
    trimmed = bind(robust.trimmed_mean, f=setting.f)
    stages = [bind(robust.norm_clip, bound=setting.clip), bind(robust.nnm, f=setting.f)]
    rule = trimmed if setting.is_defended else robust.mean
    return Scenario(
        data=dataset,
        model=cnn_mnist(),
        start=start,
        clients=clients,
        shards=[*[nothing] * setting.attackers, *shards],
        seed=seed,
        rounds=rounds,
        evaluate_every=EVERY,
        local_steps=1,
        batch_size=setting.batch_size,
        lr=1.0,
        server_lr=setting.lr,
        client_stages=[Momentum(decay=setting.momentum)],
        malicious=setting.attackers / clients,
        attack=bind(poison.ipm, scale=setting.tau) if setting.attackers else None,
        omniscient=True,
        server_stages=stages if setting.is_defended else [],
        aggregate=bind(with_weight_decay, rule=rule, decay=setting.decay),
    )


def result(accuracies: Sequence[float | None]) -> float:
    """A run's accuracy: the mean of its last measurements; None stands for a round without one.

    >>> result([None, 0.1, None, 0.7, None, 0.9])
    0.8
    """
    measured = [accuracy for accuracy in accuracies if accuracy is not None]
    return mean(measured[-LAST:])


def _byzfl_accuracies(federation: Federation) -> list[float]:
    found = []
    for step in range(1, STEPS + 1):
        federation.step()
        if step % EVERY == 0:
            found.append(federation.accuracy())
    return found


def distance_on_same_batches(s: Scenario, setting: Setting, train: Images, test: Images, *, steps: int) -> float:
    """How far apart the models are after some steps on labsec's batches, as a share of the way that labsec's has come.

    s    the training in labsec, whose start and batches ByzFL gets
    """
    population = Population(s)
    honest = torch.arange(setting.attackers, s.clients)
    batches = [population.batches(number, honest) for number in range(steps)]  # each [honest, 1, batch]
    loaders = [DataLoader(train, batch_sampler=own.tolist()) for own in torch.cat(batches, dim=1)]
    federation = Federation(loaders, test, setting)
    federation.server.set_parameters(s.start)
    for _ in range(steps):
        federation.step()
    return _apart(federation.params(), _after(s, steps), s)


def distance_after_a_nudge(s: Scenario, *, steps: int) -> float:
    """How far labsec's model is from that of a start which differs by about one rounding, as a share of the way."""
    assert s.start is not None
    draw = generator(s.seed, "nudge")
    nudged = s.start * (1 + NUDGE * torch.randn(s.start.shape, generator=draw))
    return _apart(_after(replace(s, start=nudged), steps), _after(s, steps), s)


def _after(s: Scenario, steps: int) -> Tensor:
    """labsec's model after some rounds: [dim]."""
    # The last round alone is kept: each holds the messages of all clients.
    last = deque(engine.rounds(replace(s, rounds=steps, evaluate_every=steps)), maxlen=1).pop()
    return last.after


def _apart(other: Tensor, ours: Tensor, s: Scenario) -> float:
    return float((other - ours).norm() / (ours - s.start).norm())


def _setting() -> str:
    setting = Setting()
    return (
        f"The training that ByzFL documents (the example in its README): MNIST, its network `{byzfl_example.MODEL}`, "
        f"{setting.honest} honest clients with Dirichlet({setting.alpha}) shards and {setting.attackers} that sends "
        f"-{setting.tau:g} times the honest mean (inner product manipulation); batches of {setting.batch_size}, "
        f"client momentum {setting.momentum}, learning rate {setting.lr}, weight decay {setting.decay:g}. The "
        f"documented rule clips at {setting.clip:g}, mixes nearest neighbours and takes the trimmed mean, both with "
        f"f = {setting.f}. {STEPS} steps, where the example takes {byzfl_example.STEPS:,}: models that are still "
        f"learning. Accuracy on the whole test part, mean of the measurements after "
        f"{' and '.join(str(step) for step in _counted())} steps; the mean of {len(SEEDS)} seeds (lowest to highest). "
        "labsec starts from ByzFL's model on ByzFL's shards, and draws batches of its own. Without an attack the "
        f"{setting.honest} honest clients are alone, and the rule suspects {setting.f} of them."
    )


def _counted() -> list[int]:
    """The steps whose measurements count."""
    return list(range(EVERY, STEPS + 1, EVERY))[-LAST:]


def compared(theirs: Found, ours: Found) -> str:
    """What each side found, and whether every change of the setting does the same in both."""
    accuracies = [
        [row, _span(theirs[row]), _span(ours[row]), f"{mean(ours[row]) - mean(theirs[row]):+.3f}"] for row in theirs
    ]
    effects = {
        name: Effect(_differences(theirs, after, before), _differences(ours, after, before))
        for name, (after, before) in EFFECTS.items()
    }
    verdicts = [
        [name, _span(effect.theirs), _span(effect.ours), effect.same_direction, effect.same_order]
        for name, effect in effects.items()
    ]
    header = ["what it changes", "ByzFL", "labsec", "same direction", "same order of magnitude"]
    return "\n\n".join(
        [
            table(["", "ByzFL", "labsec", "labsec - ByzFL"], accuracies),
            table(header, verdicts),
            _verdict(effects),
            f"Two sizes are of one order of magnitude if neither is more than {SAME_ORDER:.1f} times the other. Where "
            "some seeds of one side go up and others down, there is no direction to compare.",
        ]
    )


def _differences(found: Found, after: str, before: str) -> list[float]:
    """Seed by seed."""
    return [a - b for a, b in zip(found[after], found[before], strict=True)]


def _span(values: Sequence[float]) -> str:
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _verdict(effects: Mapping[str, Effect]) -> str:
    """The verdicts counted, and the names of those that are no yes."""
    alike = {name: effect for name, effect in effects.items() if effect.same_direction == "yes"}
    unlike = [f"{name}: {effect.same_direction}" for name, effect in effects.items() if name not in alike]
    other_size = [name for name, effect in alike.items() if effect.same_order == "no"]
    return (
        f"Same direction: {len(alike)} of {len(effects)}{_listed(unlike)}. "
        f"Same order of magnitude: {len(alike) - len(other_size)} of these {len(alike)}{_listed(other_size)}."
    )


def _listed(exceptions: Sequence[str]) -> str:
    return f" (not {'; '.join(exceptions)})" if exceptions else ""


def _agreement(distances: Mapping[str, float]) -> str:
    """What is left between the two when the batches are the same."""
    moving = max(distance for row, distance in distances.items() if row != HELD)
    return (
        f"On the same batches, {SAME_BATCHES} steps from the same start: the two models are at most {moving:.0e} of "
        f"the way apart that labsec's has come, and {distances[HELD]:.0e} in the row `{HELD}`, where it hardly moves."
    )


def _growth(to_byzfl: float, after_a_nudge: float) -> str:
    """What rounding has become by the end of a long run."""
    return (
        f"Rounding grows: after {GROWN} steps of the row `{RULED}` on the same batches the two are {to_byzfl:.1g} of "
        f"the way apart, and labsec is {after_a_nudge:.1g} of it away from itself if each number of its start is "
        f"changed by about {NUDGE:.0e} of its size. So single runs under attack do not compare; several seeds do."
    )
