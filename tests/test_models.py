"""Stacked models: each client's parameters see its own samples, as the torch.nn twins do."""

import pytest
import torch

from labsec import models
from labsec.types import generator

MODELS = [
    models.mlp((1, 8, 8), 10),
    models.mlp((30,), 2, hidden=()),
    models.mlp((5,), 3, hidden=(7, 6), activation=torch.sigmoid),
    models.lenet((3, 32, 32), 10),
    models.lenet((1, 25, 25), 2),
    models.convnet((1, 28, 28), 10),
    models.convnet((2, 9, 12), 4, activation=torch.nn.functional.elu),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.name} {m.shape}")
def test_stack_is_the_modules_side_by_side(model):
    params = torch.stack([model.init(generator(seed)) for seed in range(3)])
    x = torch.rand(3, 4, *model.shape, generator=generator(9))
    stacked = model(params, x)
    assert stacked.shape == (3, 4, model.classes)
    alone = torch.stack([model.twin(p)(sample) for p, sample in zip(params, x, strict=True)])
    assert torch.allclose(stacked, alone, atol=1e-5)


@pytest.mark.parametrize("model", MODELS[:4], ids=lambda m: m.name)
def test_flat_layout_is_that_of_torch(model):
    params = model.init(generator(0))
    assert params.shape == (model.dim,)
    back = torch.nn.utils.parameters_to_vector(model.twin(params).parameters())
    assert torch.equal(back, params)


def test_init_follows_its_generator_and_its_bounds():
    model = models.lenet((3, 32, 32), 10)
    a, b = model.init(generator(0)), model.init(generator(1))
    assert torch.equal(a, model.init(generator(0)))
    assert not torch.equal(a, b)
    assert 0.49 < a.abs().max() <= 0.5
    linear = models.mlp((100,), 2, hidden=())
    assert linear.init(generator(0)).abs().max() <= 0.1


def test_wrong_shapes_are_named():
    model = models.mlp((4,), 2)
    with pytest.raises(ValueError, match=r"needs params \[c, 450\]; got \[2, 449\]"):
        model(torch.zeros(2, 449), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"needs x \[2, b, 4\]; got \[2, 3, 5\]"):
        model(torch.zeros(2, 450), torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match=r"needs images \[channels, height, width\]; got shape \[30\]"):
        models.convnet((30,), 2)
