"""Data attacks: wrong labels on the malicious clients' own samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from labsec import Scenario, bind, poison, run


def flip(name: str, y: Tensor, **arguments: float) -> Tensor:
    x = torch.rand(len(y), 2)
    new_x, new_y = getattr(poison, name)(x, y, 10, generator=Generator().manual_seed(0), **arguments)
    assert torch.equal(new_x, x)
    return new_y


def test_label_flip() -> None:
    y = torch.arange(10)
    assert torch.equal(flip("label_flip", y), y.flip(0))
    assert torch.equal(flip("label_flip", y, share=0.0), y)
    many = torch.zeros(2000, dtype=torch.int64)
    assert (flip("label_flip", many, share=0.3) == 9).float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(y, torch.arange(10))


def test_targeted_flip() -> None:
    y = torch.tensor([3, 8, 3, 1])
    assert flip("targeted_flip", y, source=3, target=8).tolist() == [8, 8, 8, 1]
    assert torch.equal(flip("targeted_flip", y, source=3, target=8, share=0.0), y)


@pytest.mark.parametrize(
    "classes",
    [
        {"source": 3, "target": 3},
        {"source": -1, "target": 3},
        {"source": 3, "target": -1},
        {"source": 10, "target": 3},
        {"source": 3, "target": 10},
    ],
)
def test_targeted_flip_refuses_wrong_classes(classes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"got source={classes['source']}, target={classes['target']}, classes=10"):
        flip("targeted_flip", torch.tensor([1]), **classes)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_flips_refuse_a_wrong_share(share: float) -> None:
    with pytest.raises(ValueError, match=f"label_flip needs 0 <= share <= 1; got share={share}"):
        flip("label_flip", torch.tensor([1]), share=share)


def test_a_targeted_flip_confuses_the_two_classes_alone() -> None:
    base = Scenario(clients=6, rounds=15, malicious=0.5, data_attack=bind(poison.targeted_flip, source=1, target=7))
    attacked = run(base)
    clean = run(replace(base, malicious=0.0, data_attack=None))
    assert clean.final_accuracy > attacked.final_accuracy > clean.final_accuracy - 0.15
