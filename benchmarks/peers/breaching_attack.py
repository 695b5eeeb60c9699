"""The same message read by `breaching`, the framework of the authors of cosine matching, with its own settings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from time import process_time
from types import SimpleNamespace
from typing import Any

import torch
from torch import Generator, Tensor

from labsec.invert import Reconstruction
from labsec.types import ServerView

MISSING = "breaching is not installed (`pip install breaching` adds it): not measured"
SETTING = "invertinggradients"  # its name for Geiping et al. 2020, arXiv:2003.14053


def is_installed() -> bool:
    """Whether breaching can be measured here."""
    return find_spec("breaching") is not None


def cosine_matching(iterations: int) -> Callable[[ServerView, Tensor, Generator], Reconstruction]:
    """Its attack by cosine and total variation, so many iterations of signed Adam, as (view, labels, generator).

    Only the number of iterations differs from its setting. Raises ImportError without breaching.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of what it will have to change some day
        import breaching

    setting = breaching.get_config(overrides=["case=1_single_image_small", f"attack={SETTING}"]).attack
    setting.optim.max_iterations = iterations
    setting.optim.callback = iterations
    logging.getLogger("breaching").setLevel(logging.ERROR)

    def attack(view: ServerView, labels: Tensor, generator: Generator) -> Reconstruction:
        since = process_time()
        attacker = breaching.attacks.prepare_attack(view.model.twin(view.params), torch.nn.CrossEntropyLoss(), setting)
        gradient = -view.messages[0] / view.lr  # [dim]
        with torch.random.fork_rng():  # it draws from the global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            found, _ = attacker.reconstruct([_sent(view)], [_received(view, gradient, labels)], {})
        return Reconstruction(
            method="breaching", estimate=found["data"].detach(), labels=labels, seconds=process_time() - since
        )

    return attack


def _sent(view: ServerView) -> dict[str, Any]:
    """What the server sent, as it calls it; pictures are in [0, 1] already."""
    channels = view.model.shape[0]
    unscaled = {"mean": [0.0] * channels, "std": [1.0] * channels}
    metadata = SimpleNamespace(shape=view.model.shape, classes=view.model.classes, modality="vision", **unscaled)
    return {"parameters": _by_layer(view, view.params), "buffers": [], "metadata": metadata}


def _received(view: ServerView, gradient: Tensor, labels: Tensor) -> dict[str, Any]:
    """What the client sent, as it calls it; the order of the labels is known to both attacks."""
    metadata = {"num_data_points": len(labels), "labels": labels, "local_hyperparams": None}
    return {"gradients": _by_layer(view, gradient), "buffers": None, "metadata": metadata}


def _by_layer(view: ServerView, flat: Tensor) -> list[Tensor]:
    """The tensors of a torch.nn module that has these parameters."""
    parts = flat.split([parameter.numel() for parameter in view.model.twin(view.params).parameters()])
    shapes = [parameter.shape for parameter in view.model.twin(view.params).parameters()]
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
