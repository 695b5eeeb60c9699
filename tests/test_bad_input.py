"""Every public function with one argument spoiled: it answers with numbers, or refuses in words of its own.

A refusal is a ValueError or a TypeError that a `raise` in labsec raised, not something deep inside torch, and its
message holds the condition and what was given. `CALLS` has a valid call of each public function, `spoiled` says what
may be wrong with an argument by the type of its valid value, and `ACCEPTED` says which of these are meant to be taken.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

import labsec
from labsec import (
    compress,
    data,
    detect,
    encoding,
    geometry,
    infer,
    invert,
    mask,
    metrics,
    models,
    parts,
    plots,
    poison,
    privacy,
    robust,
    train,
)
from labsec.course.live import controls
from labsec.detect import judging
from labsec.federation import bind as binding
from labsec.federation.engine import rounds, run
from labsec.federation.history import History
from labsec.federation.scenario import Scenario
from labsec.infer import broken
from labsec.study import capture, detection, doors, inversion, matrix, noise_table, record, sweep
from labsec.types import AttackerView, BroadcastView, ServerMemory, ServerView

PACKAGE = Path(labsec.__file__).parent
MODULES: dict[str, ModuleType] = {
    "": labsec,
    "bind.": binding,
    "broken.": broken,
    "capture.": capture,
    "compress.": compress,
    "controls.": controls,
    "data.": data,
    "detect.": detect,
    "detection.": detection,
    "doors.": doors,
    "encoding.": encoding,
    "geometry.": geometry,
    "infer.": infer,
    "inversion.": inversion,
    "invert.": invert,
    "judging.": judging,
    "mask.": mask,
    "matrix.": matrix,
    "metrics.": metrics,
    "models.": models,
    "parts.": parts,
    "noise_table.": noise_table,
    "plots.": plots,
    "poison.": poison,
    "privacy.": privacy,
    "record.": record,
    "robust.": robust,
    "sweep.": sweep,
    "train.": train,
}
WITHOUT_A_ROW = {
    "History": "made by a run",
    "Round": "made by a run",
    "bind": "has a row as bind.bind",
    "capture.Capture": "made by load",
    "capture.NoCapture": "an error",
    "capture.decoded": "reads bytes: tests/test_capture.py",
    "capture.encoded": "makes bytes: tests/test_capture.py",
    "capture.from_run": "runs a scenario: tests/test_capture.py",
    "capture.load": "reads a file: tests/test_capture.py",
    "capture.save": "writes a file: tests/test_capture.py",
    **{f"compress.{name}": f"has a row as encoding.{name}" for name in ("decode", "encode", "wire_bytes")},
    "controls.Field.follow": "called by the panel",
    "controls.Control": "made by slider, log_slider, choice and switch",
    "detection.Outcome": "made by defend",
    "detection.Seen": "made by judge",
    "detection.accuracy_by_class": "takes a round of a run",
    "detection.defend": "runs a scenario: tests/test_detection.py",
    "detection.judge": "runs a scenario: tests/test_detection.py",
    "detection.main": "reads a command line: tests/test_detection.py",
    "detection.only_honest": "a stage of watch, bound there",
    "detection.quarantines_in_words": "runs many scenarios: tests/test_detection.py",
    "detection.samples_by_class": "takes a scenario",
    "detection.scores": "takes nothing",
    "detection.scores_in_words": "runs many scenarios: tests/test_detection.py",
    "detection.tuned_thresholds": "runs many scenarios: tests/test_detection.py",
    "geometry.check_clients": "takes any whole number: tests/test_robust_memory.py",
    "infer.Audit": "made by audit",
    "infer.Bound": "made by lower_bound",
    "infer.Rate": "made by rate",
    "infer.MemberView.train": "a field that holds a function",
    "infer.PropertyView.stage": "a field that holds a function",
    "invert.Likelihood": "a type",
    "invert.Suspicion": "made by suspicion",
    "inversion.Kept": "made by read_back",
    "inversion.OtherFolder": "an error",
    "inversion.encoded": "makes bytes: tests/test_capture.py",
    "inversion.invert_file": "reads and writes files: tests/test_capture.py",
    "inversion.picture": "makes bytes: tests/test_capture.py",
    "inversion.pixels": "takes any sample: tests/test_capture.py",
    "inversion.read_back": "reads a file: tests/test_capture.py",
    "invert.Inversion": "made by gradinverter",
    "invert.Tried": "made by gradinverter",
    "invert.Reconstruction": "made by an attack; its refusals: tests/test_invert.py",
    "judging.Accusations": "made by accusations",
    "matrix": "a module",
    "matrix.HeatMap": "draws a frame of matrix.load",
    "matrix.defence_map": "draws a frame of matrix.load",
    "matrix.defence_page": "writes a frame of matrix.load",
    "matrix.draw_map": "draws a frame of matrix.load",
    "matrix.heat_map": "draws a frame of matrix.load",
    "matrix.markdown_page": "writes a frame of matrix.load",
    "matrix.write": "writes files",
    "matrix.check_cell": "runs a row of matrix.load",
    "models.Activation": "a type",
    "models.Layers": "a type",
    "models.Slope": "a type",
    "models.Model": "made by mlp, lenet, convnet, embedding and build",
    "parts.check_inner": "called by parts that call another one",
    "parts.keywords_asked": "called by the engine, and by parts that call another one",
    "poison.Trigger.among": "a field that holds a function",
    "noise_table.Terms": "made by all_terms",
    "noise_table.all_terms": "takes nothing",
    "noise_table.load": "reads a file: tests/test_privacy_table.py",
    "noise_table.main": "reads a command line: tests/test_privacy_table.py",
    "noise_table.problem": "reads a file: tests/test_privacy_table.py",
    "noise_table.rows_of": "asks the accountant for hundreds of epsilons: tests/test_privacy_table.py",
    "privacy.BudgetExceeded": "an error",
    "privacy.Relation": "a type",
    "privacy.Trained": "made by train_own",
    "privacy.train_own": "takes any network, and what that takes: tests/test_privacy_own_model.py",
    "privacy.Unit": "a type",
    "record.Record": "made by load_run",
    "matrix.run_table": "runs a whole table",
    "record.load_run": "reads a file: tests/test_record.py",
    "record.save_run": "writes a file: tests/test_record.py",
    "data.Column": "made by credit_columns",
    "data.credit_columns": "takes nothing",
    "data.notes_words": "takes nothing",
    "data.read_notes": "reads a file: tests/test_faults.py",
    "sweep.code_of": "takes any source of Python",
    "sweep.describe": "takes anything",
    "sweep.fingerprint": "takes anything",
    "sweep.run_cell": "called by sweep alone",
    "sweep.sweep": "runs many scenarios: tests/test_matrix.py",
}


# --- valid arguments


def stream() -> Generator:
    return Generator().manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream())


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=stream())


def labels(n: int = 6) -> Tensor:
    return torch.arange(n) % 2


@functools.cache
def network() -> models.Model:
    return models.mlp((3,), 2, hidden=(4,))


@functools.cache
def reader() -> models.Model:
    return models.embedding(5, 12, 2, width=3)


def view() -> AttackerView:
    return AttackerView(
        round=0,
        params=torch.zeros(9),
        own=draw(2, 9),
        others=draw(6, 9) + 1,
        model=network(),
        x=images(4, 3),
        y=labels(4),
        rule=robust.mean,
    )


def poisoner() -> AttackerView:
    """A view with a training, which learns the same rows from whatever it is given."""
    return replace(view(), local_steps=2, clients=torch.arange(2), train=lambda x, y, **_: draw(2, 9))


def lonely_poisoner() -> AttackerView:
    """The same for attacks that do not look at the honest messages."""
    return replace(poisoner(), others=None)


def trigger() -> poison.Trigger:
    """No mark, so that it fits any samples."""
    return poison.Trigger(target=1)


def lonely_view() -> AttackerView:
    """A view that holds the attackers' own updates alone."""
    return replace(view(), others=None, rule=None)


def server_view() -> ServerView:
    params = network().init(stream())
    message = train.local_updates(network(), params, images(6, 3), labels(), torch.tensor([[[0]]]), lr=0.1)
    return ServerView(params=params, messages=message, model=network(), lr=0.1, local_steps=1, batch_size=1)


def smooth_view() -> ServerView:
    """The message of one sample from a network without a kink."""
    model = models.mlp((3,), 2, hidden=(8,), activation=torch.sigmoid)
    params = model.init(stream())
    message = train.local_updates(model, params, images(6, 3), labels(), torch.tensor([[[0]]]), lr=0.1)
    return ServerView(params=params, messages=message, model=model, lr=0.1, local_steps=1, batch_size=1)


def some(count: int) -> Tensor:
    """All of so many entries but the first."""
    return torch.arange(count) > 0


def heard() -> dict[str, Any]:
    """Messages, and what two candidates would have sent."""
    return {"messages": draw(3, 5), "expected": draw(2, 5)}


def holed_view() -> ServerView:
    return replace(server_view(), messages=server_view().messages * some(26))


@functools.cache
def bottleneck() -> models.Model:
    return mask.precode((1, 8, 8), 2, latent=4)


def bottleneck_view() -> ServerView:
    return one_step(bottleneck(), images(1, 1, 8, 8), labels(1))


def a_search() -> dict[str, Any]:
    return {"view": smooth_view(), "message": 0, "generator": stream(), "seconds": 60.0, "watch": no_stop}


def held() -> dict[str, Any]:
    """A trained model and candidates."""
    params = network().init(stream())
    return {"params": params, "model": network(), "x": images(6, 3), "y": labels(), "train": halves}


def halves(members: Tensor, *, generator: Generator) -> Tensor:
    """A recipe that learns something from every member."""
    return network().init(stream()) + members.float().sum(dim=1, keepdim=True) + torch.randn(len(members), 1)


def looked_into() -> dict[str, Any]:
    """A message, and samples of the server's own, half of them with a property."""
    return {**vars(server_view()), "x": images(6, 3), "y": labels(), "has": labels() == 1, "stage": None}


def audited() -> dict[str, Any]:
    """What every audit takes."""
    return {"stated": 1.0, "delta": 1e-5, "trials": 10, "confidence": 0.9, "generator": stream()}


def planted() -> dict[str, Any]:
    """A canary among the samples of a lesson."""
    learned = {name: lesson()[name] for name in ("model", "params", "x", "y", "lr")}
    return {**learned, "train": functools.partial(train.dp_sgd, clip=1.0, noise=1.0), "canary": 0, "instead": 1}


def no_stop(iteration: int, estimate: Tensor, loss: float) -> None:
    """Look over an attack's shoulder and let it go on."""


def estimate_of(attack: Callable[..., invert.Reconstruction]) -> Callable[..., Tensor]:
    """The attack, with its estimate as the result."""

    @functools.wraps(attack)
    def found(**given: Any) -> Tensor:
        return attack(**given).estimate

    return found


def broadcast_view() -> BroadcastView:
    return BroadcastView(**vars(server_view()), honest=server_view().params)


def memory() -> ServerMemory:
    """The same message twice."""
    return ServerMemory(rounds=(server_view(), server_view()), clients=(torch.tensor([3]), torch.tensor([3])))


def search() -> dict[str, Any]:
    """What a search of two steps takes beside what it looks at."""
    return {"labels": torch.tensor([1]), "generator": stream(), "tv": 0.0, "iterations": 2, "seconds": 9.0}


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 2))


def broadcast() -> dict[str, Any]:
    return {"params": network().init(stream()), "model": network(), "generator": stream()}


def two_texts() -> dict[str, Any]:
    return {"found": torch.tensor([[3, 7, 4], [2, 2, 0]]), "truth": torch.tensor([[3, 4, 7], [2, 0, 0]])}


def one_step(model: models.Model, x: Tensor, y: Tensor) -> ServerView:
    params = model.init(stream())
    message = train.local_updates(model, params, x, y, torch.tensor([[[0]]]), lr=0.1)
    return ServerView(params=params, messages=message, model=model, lr=0.1, local_steps=1, batch_size=1)


def text_view(model: models.Model) -> ServerView:
    return one_step(model, torch.tensor([[3, 7, 4, 0, 0]]), labels(1))


def sequence_view() -> ServerView:
    return one_step(models.sequence_net((4, 16), 2), torch.eye(4)[:, torch.arange(16) % 4][None], labels(1))


def joint_view() -> ServerView:
    x = models.join(images(1, 1, 8, 8), torch.tensor([[3, 7, 4, 0, 0]]), words=12)
    return one_step(models.joint((1, 8, 8), 5, 12, 2, width=4), x, labels(1))


def quick() -> dict[str, Any]:
    return {"restarts": 1, "iterations": 3}


def lesson() -> dict[str, Any]:
    batches = torch.tensor([[[0, 1]], [[2, -1]]])
    return {
        "model": network(),
        "params": network().init(stream()),
        "x": images(6, 3),
        "y": labels(),
        "batches": batches,
        "lr": 0.1,
    }


def samples() -> dict[str, Any]:
    return {
        "name": "mine",
        "x": images(6, 3),
        "y": labels(),
        "x_test": images(6, 3),
        "y_test": labels(),
        "classes": 2,
    }


@functools.cache
def digits() -> data.Dataset:
    return data.load("digits")


def send_honest(view: AttackerView) -> Tensor:
    return view.own


def count(model: models.Model, params: Tensor) -> float:
    return float(len(params))


def scenario() -> dict[str, Any]:
    return {
        "data": digits(),
        "model": models.mlp((1, 8, 8), 10, hidden=()),
        "clients": 4,
        "malicious": 0.5,
        "rounds": 1,
        "local_steps": 1,
        "batch_size": 4,
        "lr": 0.1,
        "server_lr": 1.0,
        "alpha": 0.5,
        "start": torch.zeros(650),
        "first_round": 0,
        "participation": 1.0,
        "cohort": 3,
        "train": train.local_updates,
        "attack": send_honest,
        "data_attack": poison.label_flip,
        "omniscient": True,
        "public_rule": True,
        "broadcast": lambda params: params,
        "client_stages": [functools.partial(privacy.clip, bound=1.0)],
        "wire": lambda updates: updates,
        "server_stages": [functools.partial(robust.norm_clip, bound=1.0)],
        "aggregate": robust.median,
        "probes": {"count": count},
        "seed": 0,
        "device": "cpu",
        "chunk": 2,
        "evaluate_every": 1,
    }


def shards() -> dict[str, Any]:
    return {"clients": 2, "shards": [[0, 1], [2, 3]]}


def short() -> Scenario:
    return Scenario(rounds=1, clients=2, local_steps=1, data=digits())


def text_of(maker: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(maker)(lambda **arguments: repr(maker(**arguments)))


def first_of(maker: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    return functools.wraps(maker)(lambda **arguments: next(maker(**arguments)).after)


def rows() -> dict[str, Any]:
    return {"updates": draw(7, 5)}


def random() -> dict[str, Any]:
    return {"generator": stream()}


def remembered() -> dict[str, Any]:
    return {**rows(), "clients": torch.arange(7), "params": torch.zeros(5)}


def downwards(params: Tensor) -> Tensor:
    return params - 1


def control() -> dict[str, Any]:
    return {"label": "Share", "start": 0.1, "low": 0.0, "high": 0.5, "step": 0.1}


def everyone(x: Tensor, y: Tensor) -> Tensor:
    return y >= 0


def door() -> dict[str, Any]:
    return {"view": poisoner(), "trigger": trigger(), "generator": stream()}


def a_history() -> History:
    return History([{"round": 0, "accuracy": 0.5}, {"round": 1, "accuracy": 0.6}], 0)


def protected() -> dict[str, Any]:
    return {**rows(), "clip": 1.0, "noise": 1.0, "generator": stream()}


def root() -> dict[str, Any]:
    """What a score needs that tries updates on the server's own data."""
    return {"updates": draw(7, network().dim), **{name: lesson()[name] for name in ("params", "model", "x", "y")}}


def named_rows() -> dict[str, Any]:
    return {**rows(), "clients": torch.arange(7)}


def judged() -> dict[str, Any]:
    return {"scores": draw(7), "is_bad": torch.arange(7) < 2}


def a_note() -> dict[str, Any]:
    return {"round": 3, "client": 1, "score": 2.0, "action": "isolated"}


def length(updates: Tensor) -> Tensor:
    return updates.norm(dim=1)


def twice_under_threshold(view: AttackerView) -> Tensor:
    attack = poison.UnderThreshold(functools.partial(poison.sign_flip, scale=3.0), length, threshold=4.0)
    attack(view)
    return attack(view)


def guarded(updates: Tensor, clients: Tensor) -> Tensor:
    def note(**values: Any) -> None:
        pass

    return detect.Quarantine(detect.norm, threshold=2.0)(updates, clients=clients, note=note)


books: dict[str, Any] = {"unit": "client", "delta": 1e-5, "relation": "zero-out", "people": 20}


@functools.wraps(privacy.Budget)
def without_a_file(**terms: Any) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return privacy.Budget(Path(folder, "books.sqlite"), **terms).spent()


def with_a_budget(method: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a budget, which gets a new one for each call."""

    @functools.wraps(method)
    def called(**arguments: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            budget = privacy.Budget(Path(folder, "books.sqlite"), **books, epsilon=1e6)
            return method(budget, **arguments)

    return called


def charged_round(budget: privacy.Budget, **arguments: Any) -> Tensor:
    return privacy.charge_round(budget=budget, note=lambda **values: None, **arguments)


def clipped_adaptively(updates: Tensor, generator: Generator, expected: float | None = None) -> Tensor:
    rule = privacy.AdaptiveClip(noise=1.0, count_noise=2.0, start=1.0)
    return rule(updates, generator=generator, expected=expected)


def fed_back(updates: Tensor, clients: Tensor, generator: Generator, drawn: Tensor | None = None) -> Tensor:
    return compress.ErrorFeedback(compress.sign)(updates, clients=clients, generator=generator, drawn=drawn)


Call = tuple[Callable[..., Any], Callable[[], dict[str, Any]]]
accountant = {"unit": "client", "rate": 1.0, "rounds": 5, "delta": 1e-5, "relation": "zero-out"}

CALLS: dict[str, Call] = {
    "Scenario": (Scenario, scenario),
    "Scenario of shards": (Scenario, shards),
    "run": (run, lambda: {"scenario": short()}),
    "rounds": (first_of(rounds), lambda: {"scenario": short()}),
    "bind.bind": (lambda function: binding.bind(function, f=1), lambda: {"function": robust.krum}),
    "bind.part_in_words": (binding.part_in_words, lambda: {"function": robust.krum}),
    "bind.asked_for": (binding.asked_for, lambda: {"function": robust.krum, "place": "rule"}),
    "bind.check_part": (binding.check_part, lambda: {"function": robust.median, "place": "rule"}),
    "compress.ErrorFeedback": (compress.ErrorFeedback, lambda: {"compress": compress.sign}),
    "compress.ErrorFeedback.__call__": (
        fed_back,
        lambda: {**named_rows(), **random(), "drawn": torch.arange(7) > 2},
    ),
    "compress.qsgd": (compress.qsgd, lambda: {**rows(), "bits": 3, "order": 2, **random()}),
    "compress.random_k": (compress.random_k, lambda: {**rows(), "keep": 0.5, "unbiased": True, **random()}),
    "compress.sfsq": (compress.sfsq, lambda: {**rows(), "bound": 0.1, "flip": 0.25, **random()}),
    "compress.sfsq_epsilon": (compress.sfsq_epsilon, lambda: {"flip": 0.25, "coordinates": 10}),
    "compress.sign": (compress.sign, rows),
    "compress.top_k": (compress.top_k, lambda: {**rows(), "keep": 0.5}),
    "controls.slider": (controls.slider, lambda: {**control(), "help": "", "fmt": "{:.2f}"}),
    "controls.log_slider": (
        controls.log_slider,
        lambda: {"label": "ε", "start": 1.0, "choices": [1.0, math.inf], "help": "", "fmt": "{:g}"},
    ),
    "controls.choice": (
        controls.choice,
        lambda: {"label": "Rule", "options": ["mean", "median"], "start": "mean", "help": ""},
    ),
    "controls.switch": (controls.switch, lambda: {"label": "Clip", "start": True, "help": ""}),
    "controls.unless": (
        controls.unless,
        lambda: {"control": controls.slider(**control()), "idle": lambda values: ""},
    ),
    "controls.Field": (controls.Field, lambda: {"control": controls.slider(**control())}),
    "controls.Control.find": (controls.slider(**control()).find, lambda: {"wanted": 0.2}),
    "controls.Control.nearest": (controls.slider(**control()).nearest, lambda: {"typed": "0.2"}),
    "controls.Control.closest": (controls.slider(**control()).closest, lambda: {"number": 0.2}),
    "data.Dataset": (data.Dataset, samples),
    "data.Dataset.to": (digits().to, lambda: {"device": "cpu"}),
    "data.load": (data.load, lambda: {"name": "faces", "root": Path("here")}),
    "data.partition": (
        data.partition,
        lambda: {"y": labels(40), "clients": 3, "alpha": 1.0, "generator": stream()},
    ),
    "detect.FLDetector": (detect.FLDetector, lambda: {"window": 3}),
    "detect.FLDetector.__call__": (
        lambda updates, clients, params: detect.FLDetector()(updates, clients=clients, params=params),
        lambda: {**named_rows(), "params": draw(5)},
    ),
    "detect.LossTrajectory": (
        detect.LossTrajectory,
        lambda: {"model": network(), "x": images(6, 3), "y": labels(), "window": 3},
    ),
    "detect.LossTrajectory.__call__": (
        lambda updates, clients, params: detect.LossTrajectory(model=network(), x=images(6, 3), y=labels())(
            updates, clients=clients, params=params
        ),
        lambda: {"updates": root()["updates"], "params": root()["params"], "clients": torch.arange(7)},
    ),
    "detect.Quarantine": (
        detect.Quarantine,
        lambda: {"score": detect.norm, "threshold": 2.0, "probation": 3},
    ),
    "detect.Quarantine.__call__": (guarded, named_rows),
    "detect.SybilSimilarity": (detect.SybilSimilarity, dict),
    "detect.SybilSimilarity.__call__": (
        lambda updates, clients: detect.SybilSimilarity()(updates, clients=clients),
        named_rows,
    ),
    "detect.cosine": (detect.cosine, rows),
    "detect.cosine_to_root": (
        detect.cosine_to_root,
        lambda: {**rows(), "params": draw(5), "root": lambda params: params},
    ),
    "detect.norm": (detect.norm, rows),
    "detect.root_loss": (detect.root_loss, root),
    "detect.spectral": (detect.spectral, rows),
    "detection.federation": (
        text_of(detection.federation),
        lambda: {"skew": "iid", "attack": "min_sum", "seed": 0},
    ),
    "detection.held_back": (lambda seed: detection.held_back(seed)[1], lambda: {"seed": 3}),
    "detection.watch": (detection.watch, lambda: {"scenario": short(), "named": {"norm": detect.norm}}),
    "doors.success": (doors.success, lambda: {"trigger": trigger(), "x": images(6, 3), "y": labels()}),
    "doors.grown": (
        lambda scenario, honest_rounds: doors.grown(scenario, honest_rounds=honest_rounds).start,
        lambda: {"scenario": short(), "honest_rounds": 1},
    ),
    "doors.aftermath": (
        doors.aftermath,
        lambda: {"history": a_history(), "probe": "accuracy", "last": 0, "clean_rounds": 1},
    ),
    "doors.rounds_until_half": (doors.rounds_until_half, lambda: {"values": [0.9, 0.2], "baseline": 0.1}),
    "doors.ones_with_a_foot": (doors.ones_with_a_foot, lambda: {"x": images(6, 1, 8, 8), "y": labels()}),
    "doors.crossed_sevens": (doors.crossed_sevens, lambda: {"x": images(6, 1, 28, 28), "y": labels()}),
    "doors.notes_about": (
        doors.notes_about,
        lambda: {"x": torch.ones(6, 26, dtype=torch.int64), "y": labels(), "word": "ambulance"},
    ),
    "doors.edge_case_shards": (
        lambda **arguments: doors.edge_case_shards(**arguments)[0],
        lambda: {
            "data": digits(),
            "trigger": poison.Trigger(target=7, among=doors.ones_with_a_foot),
            "clients": 5,
            "malicious": 2,
            "generator": stream(),
        },
    ),
    "encoding.decode": (encoding.decode, lambda: {"message": encoding.encode(draw(5)), "longest": 9}),
    "encoding.encode": (encoding.encode, lambda: {"row": draw(5)}),
    "encoding.wire_bytes": (encoding.wire_bytes, lambda: {"rows": draw(3, 5)}),
    "geometry.check_updates": (geometry.check_updates, rows),
    "geometry.is_finite_row": (geometry.is_finite_row, rows),
    "geometry.finite_rows": (geometry.finite_rows, rows),
    "geometry.row_norms": (geometry.row_norms, rows),
    "geometry.row_norms_in_float64": (geometry.row_norms_in_float64, rows),
    "geometry.clip_rows": (geometry.clip_rows, lambda: {**rows(), "bound": 1.0}),
    "geometry.clip_rows, a bound each": (geometry.clip_rows, lambda: {**rows(), "bound": torch.ones(7)}),
    "geometry.distances_from": (geometry.distances_from, lambda: {**rows(), "point": draw(5)}),
    "geometry.cosines": (geometry.cosines, rows),
    "geometry.cosines_to": (geometry.cosines_to, lambda: {**rows(), "point": draw(5)}),
    "geometry.rows_and_norms": (geometry.rows_and_norms, rows),
    "geometry.unit_rows": (geometry.unit_rows, rows),
    "geometry.centred_gram": (geometry.centred_gram, rows),
    "geometry.gram_distances": (geometry.gram_distances, lambda: {"gram": torch.eye(3)}),
    "geometry.squared_distances": (geometry.squared_distances, rows),
    "invert.gallery": (
        invert.gallery,
        lambda: {
            "messages": rows()["updates"],
            "expected": torch.eye(9, 5),
            "samples": 2,
            "groups": torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4]),
        },
    ),
    "invert.average": (
        lambda **given: invert.average(**given).messages,
        lambda: {"memory": memory(), "client": 3},
    ),
    "invert.cosine": (
        estimate_of(invert.cosine),
        lambda: {"view": server_view(), "message": 0, **search(), "lr": 0.1, "restarts": 2},
    ),
    "invert.imprint": (
        invert.imprint,
        lambda: {**broadcast(), "public": images(40, 3), "one_hot": False},
    ),
    "invert.joint_cosine": (
        estimate_of(invert.joint_cosine),
        lambda: {"memory": memory(), "client": 3, **search()},
    ),
    "invert.module_gradient": (
        invert.module_gradient,
        lambda: {"module": module(), "x": images(2, 3), "y": labels(2)},
    ),
    "invert.obstacles": (invert.obstacles, lambda: {"module": module()}),
    "invert.own_model": (
        estimate_of(invert.own_model),
        lambda: {
            "module": module(),
            "gradients": invert.module_gradient(module(), images(1, 3), torch.tensor([1])),
            "shape": (3,),
            "smooth": True,
            **search(),
        },
    ),
    "invert.rank_one": (estimate_of(invert.rank_one), lambda: {"memory": memory(), "client": 3}),
    "invert.read_imprint": (
        estimate_of(invert.read_imprint),
        lambda: {"view": broadcast_view(), "message": 0, "one_hot": False},
    ),
    "invert.simulate": (
        estimate_of(invert.simulate),
        lambda: {"view": server_view(), "message": 0, "smooth": True, "batches": torch.tensor([[0]]), **search()},
    ),
    "invert.smooth_cosine": (
        estimate_of(invert.smooth_cosine),
        lambda: {"view": server_view(), "message": 0, **search(), "restarts": 2, "stop_at": 0.0},
    ),
    "invert.suspicion": (
        lambda **given: invert.suspicion(**given).score,
        lambda: {"params": network().init(stream()), "model": network()},
    ),
    "invert.trap_weights": (invert.trap_weights, lambda: {**broadcast(), "scale": 0.9}),
    "invert.bases": (
        estimate_of(invert.bases),
        lambda: {"view": sequence_view(), "message": 0, "labels": labels(1), **quick(), **random()},
    ),
    "invert.categories": (
        estimate_of(invert.categories),
        lambda: {
            "view": server_view(),
            "widths": [1, 2],
            "message": 0,
            "labels": labels(1),
            **quick(),
            **random(),
        },
    ),
    "invert.genotypes": (
        estimate_of(invert.genotypes),
        lambda: {"view": server_view(), "message": 0, "labels": labels(1), **quick(), **random()},
    ),
    "invert.match_rows": (
        invert.match_rows,
        lambda: {"words": torch.eye(3), "places": torch.eye(3)},
    ),
    "invert.ordered_tokens": (
        estimate_of(invert.ordered_tokens),
        lambda: {"view": text_view(models.transformer(5, 12, 2, width=8)), "message": 0},
    ),
    "invert.picture_and_text": (
        estimate_of(invert.picture_and_text),
        lambda: {"view": joint_view(), "message": 0, **quick(), **random()},
    ),
    "invert.searched_order": (
        estimate_of(invert.searched_order),
        lambda: {
            "view": text_view(models.gru(5, 12, 2, width=3)),
            "message": 0,
            "bag": torch.tensor([3, 4, 7]),
        },
    ),
    "invert.span_check": (
        estimate_of(invert.span_check),
        lambda: {"view": text_view(models.transformer(5, 12, 2, width=8, learned_positions=False)), "message": 0},
    ),
    "invert.tokens": (estimate_of(invert.tokens), lambda: {"view": text_view(reader()), "message": 0}),
    "invert.words_used": (invert.words_used, lambda: {"view": text_view(reader()), "message": 0}),
    "invert.analytic": (invert.analytic, lambda: {"view": server_view(), "message": 0}),
    "invert.believed": (invert.believed, lambda: {"view": server_view(), "candidates": images(4, 3), "message": 0}),
    "invert.closed_form": (
        estimate_of(invert.closed_form),
        lambda: {"view": smooth_view(), "message": 0, "iterations": [5, 5]},
    ),
    "invert.dlg": (estimate_of(invert.dlg), lambda: {**a_search(), "iterations": 2}),
    "invert.gauss_newton": (
        estimate_of(invert.gauss_newton),
        lambda: {**a_search(), "label": 0, "kept": some(50), "restarts": 2, "outer": 2, "inner": 3, "target": 1e-3},
    ),
    "invert.gradinverter": (
        estimate_of(invert.gradinverter),
        lambda: {
            "view": server_view(),
            "message": 0,
            "seconds": 0.5,
            "generator": stream(),
            "prior": images(4, 3),
            "widths": [1, 2],
            "earlier": (),
        },
    ),
    "invert.idlg": (estimate_of(invert.idlg), lambda: {**a_search(), "iterations": 2}),
    "invert.label": (invert.label, lambda: {"view": smooth_view(), "message": 0}),
    "invert.label_counts": (
        invert.label_counts,
        lambda: {"view": smooth_view(), "message": 0, "examples": images(2, 3)},
    ),
    "invert.polish": (
        estimate_of(invert.polish),
        lambda: {
            "view": smooth_view(),
            "samples": images(1, 3),
            "labels": labels(1),
            "message": 0,
            "iterations": 2,
            "target": 1e-12,
            "seconds": 5.0,
        },
    ),
    "invert.unexplained": (
        invert.unexplained,
        lambda: {"view": server_view(), "samples": images(1, 3), "labels": labels(1), "message": 0},
    ),
    "invert.lbfgs": (
        estimate_of(invert.lbfgs),
        lambda: {
            **a_search(),
            "label": 0,
            "kept": some(50),
            "restarts": 2,
            "iterations": 3,
            "memory": 2,
            "target": 1e-3,
        },
    ),
    "invert.alarms": (invert.alarms, lambda: {"signs": {"odd": 1.0}, "limits": {"odd": 0.5}}),
    "invert.around": (
        estimate_of(invert.around),
        lambda: {
            "view": bottleneck_view(),
            "layers": 4,
            "features": mask.before_bottleneck(bottleneck())[1],
            "message": 0,
            "iterations": 2,
            "seconds": 5.0,
            "watch": no_stop,
        },
    ),
    "invert.check_up": (
        lambda **given: [*invert.check_up(**given).values()],
        lambda: {"params": network().init(stream()), "model": network(), "x": images(8, 3)},
    ),
    "invert.copies": (lambda **given: invert.copies(**given).messages, lambda: {"memory": memory(), "client": 3}),
    "invert.flipped_signs": (invert.flipped_signs, lambda: {**heard(), "bound": 1.0, "flip": 0.25}),
    "invert.hidden": (
        lambda **given: invert.hidden(**given)[0],
        lambda: {
            "honest": network().init(stream()),
            "sent": torch.zeros(26),
            "model": network(),
            "accepts": lambda params: True,
            "generator": stream(),
        },
    ),
    "invert.label_left_in": (invert.label_left_in, lambda: {"view": server_view(), "kept": some(26), "message": 0}),
    "invert.left_in": (invert.left_in, lambda: {"view": holed_view(), "message": 0}),
    "invert.left_in_only": (invert.left_in_only, lambda: {**heard(), "noise": 0.1}),
    "invert.likeliest": (invert.likeliest, lambda: {**heard(), "likelihood": invert.signs}),
    "invert.limits_of": (
        lambda **given: [*invert.limits_of(**given).values()],
        lambda: {"honest": [{"odd": 0.1}, {"odd": 0.2}, {"odd": 0.3}], "rate": 0.5},
    ),
    "invert.most_likely": (
        estimate_of(invert.most_likely),
        lambda: {
            "view": smooth_view(),
            "label": 0,
            "likelihood": invert.signs,
            "contrast": 0.6,
            "iterations": 2,
            "seconds": 5.0,
            "watch": no_stop,
        },
    ),
    "invert.outside": (invert.outside, lambda: {"model": network(), "layers": [-1, 0]}),
    "invert.pooled": (lambda **given: invert.pooled(**given)[0].messages, lambda: {"memory": memory(), "client": 3}),
    "invert.rounded": (invert.rounded, lambda: {**heard(), "step": 0.1}),
    "invert.signs": (invert.signs, heard),
    "json_lines": (labsec.json_lines, lambda: {"notes": [a_note()]}),
    "judging.accusations": (
        lambda **given: judging.accusations(**given).wrong,
        lambda: {"clients": 1000, "bad": 0.01, "false_alarms": 0.05, "detected": 0.9},
    ),
    "judging.auc": (judging.auc, judged),
    "judging.first_isolated": (judging.first_isolated, lambda: {"notes": [a_note()]}),
    "judging.roc": (lambda **given: judging.roc(**given)[:2], judged),
    "judging.rounds_left_out": (judging.rounds_left_out, lambda: {"notes": [a_note()], "rounds": 9}),
    "judging.share_above": (judging.share_above, lambda: {"scores": draw(7), "threshold": 0.5}),
    "judging.threshold_for": (judging.threshold_for, lambda: {"honest": draw(7), "false_alarms": 0.2}),
    "mask.before_bottleneck": (
        lambda **given: mask.before_bottleneck(**given)[0],
        lambda: {"model": bottleneck()},
    ),
    "mask.learned_perturbation": (
        mask.learned_perturbation,
        lambda: {**lesson(), "strength": 0.1, "generator": stream(), "steps": 2, "chunk": 1},
    ),
    "mask.precode": (
        lambda **given: text_of(models.Model)(**vars(mask.precode(**given))),
        lambda: {"shape": (1, 8, 8), "classes": 2, "latent": 4, "activation": torch.tanh},
    ),
    "mask.representation": (
        mask.representation,
        lambda: {"model": network(), "params": network().init(stream())[None], "x": images(1, 2, 3)},
    ),
    "mask.soteria": (mask.soteria, lambda: {**lesson(), "share": 0.5, "chunk": 1}),
    "mask.variational_updates": (
        mask.variational_updates,
        lambda: {
            **lesson(),
            "model": bottleneck(),
            "params": bottleneck().init(stream()),
            "x": images(6, 1, 8, 8),
            "beta": 0.1,
            "generator": stream(),
            "chunk": 1,
        },
    ),
    "matrix.cell": (
        matrix.cell,
        lambda: {
            "data": "digits",
            "skew": "iid",
            "attack": "ipm_2",
            "rule": "krum",
            "seed": 0,
            "malicious": 0.2,
            "f": 6,
        },
    ),
    "matrix.defence": (
        matrix.defence,
        lambda: {"data": "digits", "skew": "iid", "attack": "door_x3", "rule": "fltrust", "seed": 0},
    ),
    "matrix.boosted": (
        matrix.boosted,
        lambda: {
            "data": "digits",
            "attack": "sign_flip",
            "rule": "mean",
            "fraction": 0.1,
            "boost": 3.0,
            "seed": 0,
        },
    ),
    "matrix.load": (matrix.load, lambda: {"table": "matrix"}),
    "metrics.evaluate": (metrics.evaluate, lambda: {k: lesson()[k] for k in ("model", "params", "x", "y")}),
    "metrics.accuracy": (metrics.accuracy, lambda: {k: lesson()[k] for k in ("model", "params", "x", "y")}),
    "metrics.accuracy_by_class": (
        metrics.accuracy_by_class,
        lambda: {k: lesson()[k] for k in ("model", "params", "x", "y")},
    ),
    "metrics.label_share": (
        metrics.label_share,
        lambda: {**{k: lesson()[k] for k in ("model", "params", "x")}, "label": 1},
    ),
    "metrics.psnr": (metrics.psnr, lambda: {"images": images(2, 1, 8, 8), "truth": images(2, 1, 8, 8) / 2}),
    "metrics.ssim": (metrics.ssim, lambda: {"images": images(2, 1, 8, 8), "truth": images(2, 1, 8, 8) / 2}),
    "metrics.assigned": (
        lambda **given: metrics.assigned(**given)[1],
        lambda: {"candidates": images(2, 5), "truth": images(2, 5) / 2},
    ),
    "metrics.reidentified": (
        lambda **given: metrics.reidentified(**given).float(),
        lambda: {"images": images(2, 5), "gallery": images(4, 5), "places": torch.tensor([0, 1])},
    ),
    "metrics.success_beyond": (
        metrics.success_beyond,
        lambda: {"scores": draw(7), "strangers": draw(6), "threshold": 0.5},
    ),
    "metrics.success_share": (
        metrics.success_share,
        lambda: {"scores": draw(7), "threshold": 0.5, "confidence": 0.9},
    ),
    "metrics.best_matches": (
        metrics.best_matches,
        lambda: {"candidates": images(3, 4), "truth": images(2, 4) / 2},
    ),
    "metrics.base_accuracy": (
        metrics.base_accuracy,
        lambda: {"found": images(2, 4, 5), "truth": images(2, 4, 5)},
    ),
    "metrics.category_accuracy": (
        metrics.category_accuracy,
        lambda: {"found": images(2, 5), "truth": images(2, 5), "widths": [1, 4]},
    ),
    "metrics.exact_order": (metrics.exact_order, two_texts),
    "metrics.genotype_accuracy": (
        metrics.genotype_accuracy,
        lambda: {"found": images(2, 5), "truth": images(2, 5)},
    ),
    "metrics.placed_tokens": (metrics.placed_tokens, two_texts),
    "metrics.rare_allele_recall": (
        metrics.rare_allele_recall,
        lambda: {
            "found": images(2, 5),
            "truth": images(2, 5),
            "frequencies": torch.full((5,), 0.1),
            "rare": 0.5,
        },
    ),
    "metrics.token_recall": (metrics.token_recall, two_texts),
    "models.mlp": (
        text_of(models.mlp),
        lambda: {"shape": (3,), "classes": 2, "hidden": (4,), "activation": torch.tanh},
    ),
    "models.lenet": (text_of(models.lenet), lambda: {"shape": (1, 8, 8), "classes": 2}),
    "models.convnet": (
        text_of(models.convnet),
        lambda: {"shape": (1, 8, 8), "classes": 2, "activation": torch.tanh},
    ),
    "models.embedding": (
        text_of(models.embedding),
        lambda: {"length": 5, "vocabulary": 12, "classes": 2, "width": 3},
    ),
    "models.fixed_positions": (models.fixed_positions, lambda: {"length": 3, "width": 4}),
    "models.gru": (text_of(models.gru), lambda: {"length": 5, "vocabulary": 12, "classes": 2, "width": 3}),
    "models.join": (
        models.join,
        lambda: {"pictures": images(2, 1, 3, 3), "tokens": torch.tensor([[1, 2], [3, 0]]), "words": 4},
    ),
    "models.joint": (
        text_of(models.joint),
        lambda: {"shape": (1, 8, 8), "length": 5, "words": 12, "classes": 2, "width": 3},
    ),
    "models.parts_of": (models.parts_of, lambda: {"x": images(2, 9 + 8), "shape": (1, 3, 3), "words": 4}),
    "models.sequence_net": (
        text_of(models.sequence_net),
        lambda: {"shape": (4, 16), "classes": 2, "activation": torch.tanh},
    ),
    "models.transformer": (
        text_of(models.transformer),
        lambda: {"length": 5, "vocabulary": 12, "classes": 2, "width": 4, "learned_positions": True},
    ),
    "models.build": (text_of(models.build), lambda: {"spec": network().spec}),
    "models.Model.init": (network().init, lambda: {"generator": stream()}),
    "models.Model.layers": (network().layers, lambda: {"params": draw(2, network().dim)}),
    "models.Model.twin": (text_of(network().twin), lambda: {"params": draw(network().dim)}),
    "models.Model.check_data": (
        network().check_data,
        lambda: {"x": images(6, 3), "y": labels(), "dtype": torch.float32},
    ),
    "models.Model.__call__": (
        network().__call__,
        lambda: {"params": draw(2, network().dim), "x": images(2, 4, 3)},
    ),
    "models.Model.__call__ on texts": (
        reader().__call__,
        lambda: {"params": draw(2, reader().dim), "x": torch.ones(2, 4, 5, dtype=torch.int64)},
    ),
    "parts.part_name": (parts.part_name, lambda: {"function": robust.krum}),
    "plots.figure": (text_of(plots.figure), lambda: {"width": 2.0, "height": 1.0, "dpi": 50}),
    "plots.style": (text_of(plots.style), dict),
    "plots.axes": (text_of(plots.axes), lambda: {"fig": plots.figure()}),
    "plots.png": (plots.png, lambda: {"fig": plots.figure(1.0, 1.0)}),
    "plots.Picture": (plots.Picture, lambda: {"fig": plots.figure(), "alt": "Nothing."}),
    "plots.mimebundle": (plots.mimebundle, lambda: {"image": plots.png(plots.figure(1.0, 1.0)), "alt": "Nothing."}),
    "plots.accuracy": (plots.accuracy, lambda: {"title": "Two runs", "clean": a_history(), "attacked": [a_history()]}),
    "plots.curves": (
        plots.curves,
        lambda: {
            "x": [1.0, 2.0],
            "runs": {"clean": [[0.1, 0.2]]},
            "title": "A run",
            "xlabel": "x",
            "ylabel": "y",
            "log": False,
        },
    ),
    "plots.looks": (text_of(plots.looks), lambda: {"names": ["clean", "mine"]}),
    "plots.label_ends": (plots.label_ends, lambda: {"ax": plots.axes(plots.figure()), "ends": [(0.5, "a", "red")]}),
    "poison.UnderThreshold": (
        poison.UnderThreshold,
        lambda: {"attack": send_honest, "score": length, "threshold": 2.0, "tries": 3},
    ),
    "poison.UnderThreshold.__call__": (twice_under_threshold, lambda: {"view": view()}),
    "poison.adaptive": (poison.adaptive, lambda: {"view": view(), "norm": 2.0, "total": 9, "lengths": 2}),
    "poison.against_mean": (poison.against_mean, lambda: {"rows": draw(5, 3)}),
    "poison.against_sign": (poison.against_sign, lambda: {"rows": draw(5, 3)}),
    "poison.against_std": (poison.against_std, lambda: {"rows": draw(5, 3)}),
    "poison.alie": (poison.alie, lambda: {"view": view(), "z": 1.0}),
    "poison.alie, z by itself": (poison.alie, lambda: {"view": view(), "total": 9}),
    "poison.Trigger": (poison.Trigger, lambda: {"target": 1, "stamp": poison.corner, "among": everyone}),
    "poison.Trigger.victims": (trigger().victims, lambda: {"x": images(6, 3), "y": labels()}),
    "poison.Trigger.part": (trigger().part, lambda: {"number": 1, "parts": 2}),
    "poison.constrain_and_scale": (
        poison.constrain_and_scale,
        lambda: {**door(), "boost": 2.0, "norm": 1.0, "cosine": 0.5, "share": 0.5, "steps": 2},
    ),
    "broken.divided_twice": (broken.divided_twice, protected),
    "broken.unclipped": (broken.unclipped, protected),
    "broken.clipped_by_coordinate": (broken.clipped_by_coordinate, protected),
    "broken.SameNoise": (text_of(broken.SameNoise), lambda: {"clip": 1.0, "noise": 1.0}),
    "broken.SameNoise.__call__": (
        lambda updates, generator: broken.SameNoise(clip=1.0, noise=1.0)(updates, generator=generator),
        lambda: {**rows(), "generator": stream()},
    ),
    "infer.MemberView": (text_of(infer.MemberView), held),
    "infer.PropertyView": (
        lambda **own: repr(infer.PropertyView(**vars(server_view()), **own)),
        lambda: {"x": images(6, 3), "y": labels(), "has": labels() == 1, "stage": guarded},
    ),
    "infer.loss_threshold": (infer.loss_threshold, lambda: {"view": infer.MemberView(**held())}),
    "infer.lira": (
        infer.lira,
        lambda: {"view": infer.MemberView(**held()), "shadows": 8, "pooled": True, "generator": stream()},
    ),
    "infer.recipe": (
        text_of(infer.recipe),
        lambda: {
            **{name: lesson()[name] for name in ("model", "x", "y", "lr")},
            "start": network().init(stream()),
            "steps": 2,
            "batch_size": 2,
            "train": train.local_updates,
        },
    ),
    "infer.alignment": (infer.alignment, lambda: {"view": server_view(), "x": images(6, 3), "y": labels()}),
    "infer.property_scores": (
        infer.property_scores,
        lambda: {"view": infer.PropertyView(**looked_into()), "share": 0.5, "shadows": 8, "generator": stream()},
    ),
    "infer.guessed_labels": (infer.guessed_labels, lambda: {"view": server_view(), "x": images(6, 3), "y": labels()}),
    "infer.mislabelled": (
        infer.mislabelled,
        lambda: {"x": images(6, 3), "y": labels(), "classes": 2, "count": 2, "generator": stream()},
    ),
    "infer.direction": (infer.direction, lambda: {"dim": 5, "length": 2.0, "generator": stream()}),
    "infer.rate": (text_of(infer.rate), lambda: {"hits": 3, "trials": 9, "confidence": 0.9}),
    "infer.area": (
        text_of(infer.area),
        lambda: {"scores": draw(7), "is_member": torch.arange(7) < 3, "confidence": 0.9},
    ),
    "infer.found_at": (
        text_of(infer.found_at),
        lambda: {"scores": draw(7), "is_member": torch.arange(7) < 3, "false_alarms": 0.1, "confidence": 0.9},
    ),
    "infer.lower_bound": (
        text_of(infer.lower_bound),
        lambda: {
            "with_canary": draw(20) + 1,
            "without": draw(20),
            "delta": 1e-5,
            "gaussian": True,
            "confidence": 0.9,
        },
    ),
    "infer.audit": (
        text_of(infer.audit),
        lambda: {
            **audited(),
            "mechanism": functools.partial(privacy.noisy_mean, clip=1.0, noise=1.0),
            "rows": draw(3, 5),
            "canary": draw(5),
            "relation": "zero-out",
            "rounds": 2,
        },
    ),
    "infer.audit_training": (text_of(infer.audit_training), lambda: {**audited(), **planted(), "steps": 2}),
    "poison.corner": (poison.corner, lambda: {"x": images(2, 1, 4, 4), "size": 2}),
    "poison.distributed": (
        poison.distributed,
        lambda: {**door(), "view": lonely_poisoner(), "parts": 2, "boost": 2.0, "share": 0.5, "steps": 2},
    ),
    "poison.during": (
        poison.during,
        lambda: {"view": lonely_view(), "attack": send_honest, "rounds": [0], "generator": stream()},
    ),
    "poison.gaussian": (poison.gaussian, lambda: {"view": lonely_view(), "std": 1.0, "generator": stream()}),
    "poison.Drift": (poison.Drift, lambda: {"norm": 1.0}),
    "poison.Drift.__call__": (lambda view: poison.Drift(norm=1.0)(view), lambda: {"view": view()}),
    "poison.ipm": (poison.ipm, lambda: {"view": view(), "scale": 2.0}),
    "poison.label_flip": (
        poison.label_flip,
        lambda: {"x": images(6, 3), "y": labels(), "classes": 2, "generator": stream(), "share": 0.5},
    ),
    "poison.mimic": (poison.mimic, lambda: {"view": view(), "target": 2}),
    "poison.min_max": (poison.min_max, lambda: {"view": view(), "direction": poison.against_std}),
    "poison.min_sum": (poison.min_sum, lambda: {"view": view(), "direction": poison.against_std}),
    "poison.model_replacement": (
        poison.model_replacement,
        lambda: {**door(), "view": lonely_poisoner(), "boost": 2.0, "share": 0.5, "steps": 2},
    ),
    "poison.mpaf": (poison.mpaf, lambda: {"view": lonely_view(), "base": draw(9), "scale": 2.0}),
    "poison.neurotoxin": (
        poison.neurotoxin,
        lambda: {**door(), "avoid": 0.5, "boost": 2.0, "share": 0.5, "steps": 2},
    ),
    "poison.plant": (
        poison.plant,
        lambda: {
            "x": images(6, 3),
            "y": labels(),
            "classes": 2,
            "generator": stream(),
            "trigger": trigger(),
            "share": 0.5,
        },
    ),
    "poison.projected_descent": (
        poison.projected_descent,
        lambda: {**door(), "norm": 1.0, "boost": 2.0, "share": 0.5, "steps": 2},
    ),
    "poison.word_in_front": (poison.word_in_front, lambda: {"x": torch.ones(2, 3, dtype=torch.int64), "word": 4}),
    "poison.scaled": (poison.scaled, lambda: {"view": lonely_view(), "scale": 2.0}),
    "poison.sign_flip": (poison.sign_flip, lambda: {"view": lonely_view(), "scale": 2.0}),
    "poison.targeted_flip": (
        poison.targeted_flip,
        lambda: {
            "x": images(6, 3),
            "y": labels(),
            "classes": 3,
            "generator": stream(),
            "source": 0,
            "target": 2,
            "share": 0.5,
        },
    ),
    "privacy.clip": (privacy.clip, lambda: {**rows(), "bound": 1.0}),
    "privacy.gaussian_noise": (privacy.gaussian_noise, lambda: {**rows(), "std": 1.0, "generator": stream()}),
    "privacy.noisy_mean": (
        privacy.noisy_mean,
        lambda: {**rows(), "clip": 1.0, "noise": 1.0, "generator": stream(), "expected": 8.0},
    ),
    "privacy.Accountant": (text_of(privacy.Accountant), lambda: dict(accountant)),
    "privacy.Accountant.epsilon": (privacy.Accountant(**accountant).epsilon, lambda: {"noise": 5.0}),
    "privacy.Accountant.noise_for": (privacy.Accountant(**accountant).noise_for, lambda: {"epsilon": 5.0}),
    "privacy.Accountant.in_words": (privacy.Accountant(**accountant).in_words, lambda: {"epsilon": 5.0}),
    "privacy.AdaptiveClip": (
        privacy.AdaptiveClip,
        lambda: {"noise": 1.0, "count_noise": 2.0, "start": 1.0, "quantile": 0.5, "speed": 0.2},
    ),
    "privacy.AdaptiveClip.__call__": (
        clipped_adaptively,
        lambda: {**rows(), "generator": stream(), "expected": 8.0},
    ),
    "privacy.Budget": (
        without_a_file,
        lambda: {**books, "epsilon": 4.0, "per_client": 2.0},
    ),
    "privacy.Budget.charge": (
        with_a_budget(privacy.Budget.charge),
        lambda: {"noise": 9.0, "rate": 1.0, "steps": 2, "clients": torch.arange(3)},
    ),
    "privacy.Budget.spent": (with_a_budget(privacy.Budget.spent), lambda: {"client": 1}),
    "privacy.charge_round": (
        with_a_budget(charged_round),
        lambda: {"params": torch.zeros(3), "noise": 9.0, "rate": 1.0, "steps": 2, "clients": torch.arange(3)},
    ),
    "noise_table.noise_for": (
        noise_table.noise_for,
        lambda: {"terms": replace(privacy.Accountant(**accountant), rate=0.5, rounds=10), "epsilon": 5.0},
    ),
    "privacy.distributed_noise": (
        privacy.distributed_noise,
        lambda: {**rows(), "clip": 1.0, "noise": 1.0, "senders": 7.0, "generator": stream()},
    ),
    "privacy.local_noise": (
        privacy.local_noise,
        lambda: {**rows(), "clip": 1.0, "noise": 1.0, "generator": stream()},
    ),
    "robust.FedShield": (
        robust.FedShield,
        lambda: {
            "f": 1,
            "radius": 1.0,
            "factor": 1.0,
            "decay": 0.9,
            "root": downwards,
            "bucket": 2,
            "noise": 0.1,
        },
    ),
    "robust.FedShield.__call__": (
        lambda **arguments: robust.FedShield(f=1, radius=1.0, bucket=1, root=downwards)(**arguments),
        lambda: {**remembered(), **random()},
    ),
    "robust.FoolsGold": (robust.FoolsGold, dict),
    "robust.FoolsGold.__call__": (
        lambda updates, clients: robust.FoolsGold()(updates, clients=clients),
        lambda: {**rows(), "clients": torch.arange(7)},
    ),
    "robust.Reputation": (robust.Reputation, lambda: {"decay": 0.9, "root": downwards}),
    "robust.Reputation.__call__": (
        lambda updates, clients, params: robust.Reputation(root=downwards)(updates, clients=clients, params=params),
        remembered,
    ),
    "robust.bucketing": (robust.bucketing, lambda: {**rows(), **random(), "size": 2}),
    "robust.bulyan": (robust.bulyan, lambda: {"updates": draw(8, 5), "f": 1}),
    "robust.central_noise": (
        robust.central_noise,
        lambda: {**rows(), **random(), "rule": robust.median, "std": 1.0},
    ),
    "robust.dnc": (
        robust.dnc,
        lambda: {**rows(), **random(), "f": 1, "columns": 3, "iterations": 2, "drop": 1.0},
    ),
    "robust.flame": (robust.flame, lambda: {**rows(), **random(), "noise": 0.1}),
    "robust.fltrust": (robust.fltrust, lambda: {**rows(), "params": torch.zeros(5), "root": downwards}),
    "robust.mda": (robust.mda, lambda: {**rows(), "f": 1}),
    "robust.meamed": (robust.meamed, lambda: {**rows(), "f": 1}),
    "robust.monna": (robust.monna, lambda: {**rows(), "f": 1, "params": torch.zeros(5), "root": downwards}),
    "robust.multi_krum_mask": (robust.multi_krum_mask, lambda: {**rows(), "f": 1, "keep": 3}),
    "robust.rlr": (robust.rlr, lambda: {**rows(), "threshold": 3}),
    "robust.sign_majority": (robust.sign_majority, lambda: {**rows(), "step": 0.1}),
    "robust.CenteredClip": (robust.CenteredClip, lambda: {"radius": 1.0, "iterations": 2}),
    "robust.CenteredClip.__call__": (lambda updates: robust.CenteredClip(radius=1.0)(updates), rows),
    "robust.MedianNormClip": (robust.MedianNormClip, lambda: {"factor": 1.0, "window": 2}),
    "robust.MedianNormClip.__call__": (lambda updates: robust.MedianNormClip()(updates), rows),
    "robust.geometric_median": (
        robust.geometric_median,
        lambda: {**rows(), "tolerance": 1e-6, "iterations": 10},
    ),
    "robust.krum": (robust.krum, lambda: {**rows(), "f": 1}),
    "robust.mean": (robust.mean, rows),
    "robust.median": (robust.median, rows),
    "robust.multi_krum": (robust.multi_krum, lambda: {**rows(), "f": 1, "keep": 3}),
    "robust.nnm": (robust.nnm, lambda: {**rows(), "f": 1}),
    "robust.norm_clip": (robust.norm_clip, lambda: {**rows(), "bound": 1.0}),
    "robust.trimmed_mean": (robust.trimmed_mean, lambda: {**rows(), "f": 1}),
    "robust.weighted_mean": (robust.weighted_mean, lambda: {**rows(), "weights": torch.arange(7)}),
    "sweep.fingerprint_of_code": (sweep.fingerprint_of_code, dict),
    "sweep.fingerprint_of_sources": (sweep.fingerprint_of_sources, dict),
    "train.RootUpdate": (
        text_of(train.RootUpdate),
        lambda: {"model": network(), "x": images(6, 3), "y": labels(), "lr": 0.1, "steps": 2},
    ),
    "train.RootUpdate.__call__": (
        train.RootUpdate(network(), images(6, 3), labels(), lr=0.1, steps=2).__call__,
        lambda: {"params": network().init(stream())},
    ),
    "train.local_updates": (train.local_updates, lambda: {**lesson(), "chunk": 1}),
    "train.dp_sgd": (
        train.dp_sgd,
        lambda: {**lesson(), "clip": 1.0, "noise": 1.0, "generator": stream(), "chunk": 1},
    ),
    "train.local_updates_loop": (train.local_updates_loop, lesson),
}


# --- what may be wrong with them


@dataclass(frozen=True)
class Spoiled:
    """A value that may be wrong.

    label     what was done to the valid value
    value     what is given in its place
    never     whether it must be refused; else an answer in finite numbers will do
    said      texts of which a refusal must hold one; by default the value's
    """

    label: str
    value: Any
    never: bool
    said: tuple[str, ...] = ()

    @property
    def passes_on(self) -> bool:
        """Whether it holds a NaN or an infinity, which the answer may hold too."""
        return self.label.endswith(("nan", "inf"))


OTHER_KINDS = (("None", None), ("a text", "word"), ("a number", 3))


def spoiled(value: Any) -> list[Spoiled]:
    """What may stand in the place of a valid argument, by its type."""
    if isinstance(value, Tensor):
        return [*_spoiled_tensors(value)]
    if isinstance(value, AttackerView | ServerView):
        return [*_other_kinds(value), *_spoiled_views(value)]
    if isinstance(value, bool):
        return [Spoiled("None", None, True), Spoiled("a text", "yes", True), Spoiled("a number", 3, True)]
    if isinstance(value, int | float):
        return [*_spoiled_numbers(value)]
    if isinstance(value, Path):
        return [Spoiled("another text", "word", False), Spoiled("None", None, True), Spoiled("a number", 3, True)]
    if isinstance(value, str):
        return [Spoiled("another text", "word", True), Spoiled("None", None, True), Spoiled("a number", 3, True)]
    if isinstance(value, list | tuple):
        return [
            *_other_kinds(value),
            Spoiled("texts in it", ["word"], True),
            Spoiled("a NaN in it", [math.nan], True),
            Spoiled("empty", [], False),
        ]
    if isinstance(value, Mapping):
        return [*_other_kinds(value), Spoiled("empty", {}, False)]
    return [*_other_kinds(value)]


def _other_kinds(value: Any) -> Iterator[Spoiled]:
    yield from (Spoiled(label, other, True) for label, other in OTHER_KINDS)


def _spoiled_numbers(value: float) -> Iterator[Spoiled]:
    yield from (Spoiled(label, other, True) for label, other in (("None", None), ("a text", "3"), ("a list", [1.0])))
    yield from (Spoiled(repr(other), other, True) for other in (math.nan, True))
    is_whole = isinstance(value, int)
    yield from (Spoiled(repr(other), other, is_whole) for other in (math.inf, 0.5))
    yield from (Spoiled(repr(other), other, False) for other in (-math.inf, -1, 0, 1000))
    if not is_whole:
        yield from (Spoiled(repr(other), other, False) for other in (1e30, np.float32(0.25), torch.tensor(0.25)))


def _spoiled_tensors(value: Tensor) -> Iterator[Spoiled]:
    yield from (Spoiled(label, other, True) for label, other in OTHER_KINDS)
    yield Spoiled("a list", value.tolist(), True)
    yield Spoiled("an array", value.numpy(), True)
    yield Spoiled("no dimension", torch.tensor(1).to(value.dtype), True, ("[]", "1"))
    yield Spoiled("a dimension less", value[0], True)
    yield Spoiled("a dimension more", value[None], True)
    yield Spoiled("a column more", torch.cat([value, value[..., :1]], dim=-1), False)
    yield Spoiled("no columns", value[..., :0], True, (", 0]", "[0]", "=0"))
    yield Spoiled("no rows", value[:0], False, ("[0", "=0", " 0 rows"))
    yield Spoiled("booleans", value > 0, True)
    if value.is_floating_point():
        yield Spoiled("integers", value.long(), True)
        for number in (math.nan, math.inf):
            yield Spoiled(repr(number), _with(value, number), False, ("NaN", "finite", "nan", "inf"))
        yield Spoiled("float64", value.double(), False)
        yield Spoiled("a gradient", value.clone().requires_grad_(), False)
    else:
        yield Spoiled("floats", value.float(), True)
        yield Spoiled("-2", _with(value, -2), True, ("-2",))
        yield Spoiled("a million", _with(value, 10**6), True, ("1000000",))


def _with(value: Tensor, first: float) -> Tensor:
    """A copy that begins with another number."""
    copy = value.clone()
    copy.view(-1)[0] = first
    return copy


def _spoiled_views(view: AttackerView | ServerView) -> Iterator[Spoiled]:
    """The same view with one of its tensors spoiled."""
    for name in ("own", "others", "messages"):
        if getattr(view, name, None) is not None:
            for each in _spoiled_tensors(getattr(view, name)):
                said = each.said or tuple(_texts(each.value))
                if each.value is not None or name != "others":
                    never = each.never or (name == "messages" and each.label == "no rows")
                    yield Spoiled(f"{name}: {each.label}", replace(view, **{name: each.value}), never, said)


# --- what comes of it


def _texts(value: Any) -> Iterator[str]:
    """How a message may call a value."""
    yield type(value).__name__
    if isinstance(value, Tensor) and value.ndim == 0:
        yield str(value)
        yield f"{value.item():g}"
    elif isinstance(value, Tensor | np.ndarray):
        yield str(list(value.shape))
        yield f"[{len(value)}]"
        yield str(value.dtype)
    else:
        yield repr(value)
        yield str(value)
    if isinstance(value, list | tuple):
        yield from map(repr, value)
        yield f"{len(value)}"
    if isinstance(value, Mapping):
        yield "none"
        yield f"{len(value)} lines"
    if isinstance(value, int | float):
        yield f"{value:.1f}"


CONDITION = re.compile(r"\b(must|needs?|takes|holds?|known|has no|is an?|asks|lacks|fit|go together|suits)\b")


@functools.cache
def _lines_that_raise(path: str) -> frozenset[int]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    lines = [range(n.lineno, n.end_lineno + 1) for n in ast.walk(tree) if isinstance(n, ast.Raise)]  # type: ignore
    return frozenset(line for each in lines for line in each)


def complaint(error: Exception, given: Spoiled) -> str:
    """What is wrong with a refusal; "" if it is clear."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    path = trace.tb_frame.f_code.co_filename
    place = f"{Path(path).name}:{trace.tb_lineno}"
    message = str(error)
    if isinstance(error, FileNotFoundError):
        return "" if str(given.value) in message else f"does not name the file: {message}"
    if not isinstance(error, ValueError | TypeError):
        return f"{type(error).__name__} at {place}: {message}"
    if not Path(path).is_relative_to(PACKAGE) or trace.tb_lineno not in _lines_that_raise(path):
        return f"not raised by labsec but at {place}: {message}"
    if not CONDITION.search(message):
        return f"no condition in: {message}"
    if not any(text in message for text in given.said or _texts(given.value)):
        return f"does not say what was given: {message}"
    return ""


def outcome(name: str, argument: str, given: Spoiled) -> tuple[str, str]:
    """Call a function with one argument spoiled: what comes of it in words, and what is wrong with that, or ""."""
    function, make = CALLS[name]
    arguments = {**make(), argument: given.value}
    before = _numbers(arguments)
    try:
        result = function(**arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}", complaint(error, given)
    said = f"answers {type(result).__name__}"
    if not _are_same(before, _numbers(arguments)):
        return said, "changed its input"
    is_any_text = argument in FREE_TEXTS and given.label == "another text"
    if is_any_text or (name.split(",")[0], argument, given.label) in ACCEPTED:
        return said, ""
    if given.never:
        return said, "took it"
    is_finite = all(number.isfinite().all() for number in _numbers(result))
    may_pass_on = given.passes_on and not name.startswith(DROPS)
    return said, "" if is_finite or may_pass_on else "returned a NaN or an infinity"


def _numbers(value: Any) -> list[Tensor]:
    """Copies of the tensors and numbers in a value."""
    if isinstance(value, Tensor):
        return [value.detach().double().clone()]
    if isinstance(value, float | int):
        return [torch.tensor(float(value))]
    if isinstance(value, AttackerView | ServerView):
        return _numbers(vars(value))
    if isinstance(value, Mapping):
        return _numbers([*value.values()])
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return []


def _are_same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(some, others, strict=True))


def optional(name: str, argument: str) -> bool:
    """Whether None is a value of its own for this argument."""
    parameter = inspect.signature(CALLS[name][0]).parameters.get(argument)
    return parameter is not None and parameter.default is None


def cases(name: str) -> list[tuple[str, Spoiled]]:
    """All that is tried with a function: an argument, and what is given for it."""
    return [
        (argument, given)
        for argument, value in CALLS[name][1]().items()
        for given in spoiled(value)
        if not (given.value is None and optional(name, argument))
    ]


ANY = ("None", "a text", "a list", "nan", "True", "inf", "0.5")
FREE_TEXTS = {"label", "help", "title", "alt", "xlabel", "ylabel", "typed", "fmt"}
DROPS = ("robust.", "privacy.noisy_mean", "geometry.finite_rows")  # rows that are not finite never reach the answer

ACCEPTED: dict[tuple[str, str, str], str] = {
    ("Scenario", "batch_size", "None"): "the whole shard",
    ("compress.ErrorFeedback.__call__", "clients", "a million"): "any number is a name",
    **{
        ("compress.ErrorFeedback.__call__", "drawn", label): "others take part"
        for label in ("booleans", "-2", "a million")
    },
    ("compress.qsgd", "order", "inf"): "the order of the largest entry",
    ("data.Dataset", "name", "another text"): "any name will do",
    **{("data.partition", "y", label): "labels are only told apart" for label in ("-2", "a million")},
    **{
        ("geometry.clip_rows", "bound", label): "one bound for all rows"
        for label in ("a number", "no dimension", "a dimension less")
    },
    ("geometry.clip_rows", "bound", "integers"): "whole numbers are numbers",
    ("detect.Quarantine", "probation", "None"): "nobody comes back",
    **{
        (f"detect.{name}.__call__", "clients", "a million"): "any number may be somebody's"
        for name in ("FLDetector", "LossTrajectory", "Quarantine", "SybilSimilarity")
    },
    **{
        (f"judging.{name}", "is_bad", label): "another truth"
        for name in ("auc", "roc")
        for label in ("booleans", "-2", "a million")
    },
    **{("matrix.cell", "f", label): "bound to the rule, which looks at it before the first round" for label in ANY},
    **{("matrix.boosted", "boost", label): "bound to the attack, which looks at it" for label in ANY},
    **{
        (f"infer.{name}", "is_member", label): "another truth"
        for name in ("area", "found_at")
        for label in ("booleans", "-2", "a million")
    },
    ("infer.PropertyView", "stage", "None"): "clients do nothing to their messages",
    ("infer.audit_training", "instead", "None"): "the canary's place is left empty",
    **{("infer.PropertyView", "has", label): "others have it" for label in ("booleans", "-2", "a million")},
    **{
        ("infer.mislabelled", "x", label): "samples are handed on unseen"
        for label in ("no columns", "booleans", "integers")
    },
    ("matrix.cell", "malicious", "None"): "nobody attacks",
    ("matrix.boosted", "fraction", "None"): "nobody attacks",
    **{
        (f"invert.{name}", "kept", label): "another choice of entries"
        for name in ("gauss_newton", "label_left_in", "lbfgs")
        for label in ("booleans", "-2", "a million")
    },
    ("metrics.assigned", "candidates", "no rows"): "no candidate scores minus infinity",
    ("metrics.best_matches", "candidates", "no rows"): "no candidate scores minus infinity",
    ("metrics.rare_allele_recall", "truth", "no rows"): "nobody carries a rare allele",
    **{
        (f"metrics.{name}", part, "a million"): "any number may be a word"
        for name in ("exact_order", "placed_tokens", "token_recall")
        for part in ("found", "truth")
    },
    ("plots.looks", "names", "texts in it"): "any name will do",
    **{
        (f"poison.{name}", "x", label): "samples are handed on unseen"
        for name in ("label_flip", "targeted_flip", "plant", "Trigger.victims")
        for label in ("no columns", "booleans", "integers")
    },
    **{("doors.success", "x", label): "a stamp looks at them" for label in ("no columns", "booleans", "integers")},
    **{
        (name, "y", label): "labels are only compared"
        for name in ("doors.success", "poison.Trigger.victims")
        for label in ("-2", "a million")
    },
    **{
        (f"doors.{name}", "y", label): "labels are only compared"
        for name in ("ones_with_a_foot", "crossed_sevens", "notes_about")
        for label in ("-2", "a million")
    },
    **{(f"doors.{name}", "x", "integers"): "ink is counted" for name in ("ones_with_a_foot", "crossed_sevens")},
    **{("poison.word_in_front", "x", label): "words are handed on unseen" for label in ("-2", "a million")},
    **{("doors.notes_about", "x", label): "words are only compared" for label in ("floats", "-2", "a million")},
    **{
        (name, "clients", label): "nobody need come, and a list will do"
        for name in ("privacy.Budget.charge", "privacy.charge_round")
        for label in ("a list", "no columns")
    },
    **{
        ("privacy.charge_round", "params", label): "the model is handed on unseen"
        for label in ("no dimension", "a dimension less", "a dimension more", "no columns", "booleans", "integers")
    },
    ("privacy.Accountant.epsilon", "noise", "0"): "without noise nothing is private",
    ("robust.FedShield", "decay", "None"): "leaves reputation out",
    **{
        (f"robust.{name}.__call__", "clients", "a million"): "any number is a name"
        for name in ("FedShield", "FoolsGold", "Reputation")
    },
    ("robust.weighted_mean", "weights", "floats"): "shares weigh as counts do",
    ("robust.weighted_mean", "weights", "a million"): "a client may hold so many samples",
}
"""Function, argument and what was done to it, where that is meant to be taken: why."""


def public_names() -> Iterator[str]:
    for prefix, module in MODULES.items():
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__
        ]
        for name in names:
            value = getattr(module, name)
            if callable(value) and not name.startswith("_"):
                yield f"{prefix}{name}"
                if inspect.isclass(value) and prefix:
                    yield from (f"{prefix}{name}.{method}" for method in _methods(value))


def _methods(kind: type) -> Iterator[str]:
    """Its public methods that take an argument."""
    for name, value in vars(kind).items():
        is_public = not name.startswith("_") or name == "__call__"
        if is_public and inspect.isfunction(value) and len(inspect.signature(value).parameters) > 1:
            yield name


def test_every_public_function_has_a_row() -> None:
    lacking = [
        name
        for name in public_names()
        if name not in CALLS and name not in WITHOUT_A_ROW and name.rpartition(".")[0] not in WITHOUT_A_ROW
    ]
    assert not lacking, f"give these a valid call in CALLS: {lacking}"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_a_valid_call_is_answered(name: str) -> None:
    function, make = CALLS[name]
    arguments = make()
    before = _numbers(arguments)
    function(**arguments)
    assert _are_same(before, _numbers(arguments))


@pytest.mark.parametrize("name", CALLS)
def test_a_spoiled_argument_is_answered_in_numbers_or_refused_in_words(name: str) -> None:
    wrong = []
    for argument, given in cases(name):
        _, problem = outcome(name, argument, given)
        if problem:
            wrong.append(f"{argument}, {given.label}: {problem}")
    assert not wrong, "\n".join([f"{name}:", *wrong])


def learner(params: Tensor) -> Tensor:
    return params.clone().requires_grad_()


def trains_with(**arguments: Any) -> Callable[..., Tensor]:
    """An attack that trains on its own samples, but for some arguments."""

    def attack(view: AttackerView) -> Tensor:
        return view.train(**{"x": view.x, "y": view.y, **arguments})

    return attack


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"aggregate": lambda u: learner(u.mean(dim=0))}, r"rule <lambda> must return .* gradient graph: detach\(\)"),
        ({"server_stages": [learner]}, r"server stage 0, learner must return numbers without a gradient graph"),
        ({"wire": learner}, "wire learner must return numbers without a gradient graph"),
        ({"broadcast": learner}, "broadcast learner must return numbers without a gradient graph"),
        (
            {"aggregate": lambda u: u.mean(dim=0).tolist()},
            "rule <lambda> must return a floating-point tensor; got list",
        ),
        ({"aggregate": functools.partial(robust.krum, f="1")}, "krum needs a whole number f; got f='1'"),
        ({"probes": {"door": lambda model, params: [1.0]}}, "probe 'door' must return a number; got list"),
        ({"probes": {"door": lambda model, params: params}}, r"'door' must return a number; got .* shape \[4810\]"),
        ({"data_attack": lambda x, y, classes: x}, r"must return the pair \(x, y\); got Tensor"),
        ({"data_attack": lambda x, y, classes: (x, y.tolist())}, "needs y to be of type Tensor; got list"),
        ({"data_attack": lambda x, y, classes: (x[0], y)}, r"must return x torch.float32 \[n, 1, 8, 8\] .*; got x"),
        ({"data_attack": lambda x, y, classes: (learner(x), y)}, "without a gradient graph, and y"),
        ({"data_attack": lambda x, y, classes: (x, y + 10)}, "y must lie in 0 … 9 for 10 classes"),
        ({"data_attack": lambda x, y, classes: (x * torch.nan, y)}, "x must be finite"),
        ({"attack": trains_with(x=[[0.0]])}, "view.train needs x to be of type Tensor; got list"),
        ({"attack": trains_with(steps=0.5)}, "view.train needs a whole number steps; got steps=0.5"),
        ({"attack": trains_with(lr=math.nan)}, "local_updates needs a finite lr; got lr=nan"),
        (
            {"attack": trains_with(start=torch.zeros(3))},
            r"need params \[4810\] or .*; got torch.float32 of shape \[3\]",
        ),
    ],
)
def test_what_a_part_gives_back_is_looked_at(parts: dict[str, Any], message: str) -> None:
    attacked = {"malicious": 0.5} if {"attack", "data_attack"} & set(parts) else {}
    with pytest.raises((ValueError, TypeError), match=message):
        run(Scenario(data=digits(), clients=4, rounds=1, local_steps=1, **attacked, **parts))
