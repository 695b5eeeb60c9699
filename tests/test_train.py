"""The stacked training equals its slow twin, whatever the model, the padding and the chunk."""

import pytest
import torch

from labsec import models, train
from labsec.models import Model
from labsec.train import local_updates, local_updates_loop
from labsec.types import generator

IMAGES = (2, 9, 8)
MODELS = {
    "mlp": models.mlp(IMAGES, 4),
    "deep mlp": models.mlp(IMAGES, 4, hidden=(11, 7), activation=torch.tanh),
    "sigmoid mlp": models.mlp(IMAGES, 4, activation=torch.sigmoid),
    "unknown activation": models.mlp(IMAGES, 4, activation=torch.nn.functional.silu),
    "logistic regression": models.mlp(IMAGES, 4, hidden=()),
    "lenet": models.lenet(IMAGES, 4),
    "convnet": models.convnet(IMAGES, 4),
}
PADDED = [[[0, 3, 3, -1], [5, -1, -1, -1]], [[-1, 7, 8, 9], [1, 2, 3, 4]], [[9, 9, 9, 9], [-1, 0, -1, 0]]]


@pytest.fixture
def pool() -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(0, "training tests")
    return torch.rand(30, *IMAGES, generator=draw), torch.randint(4, (30,), generator=draw)


def drawn(clients: int, steps: int, batch: int) -> torch.Tensor:
    return torch.randint(30, (clients, steps, batch), generator=generator(1, "batches"))


def both(model: Model, pool: tuple[torch.Tensor, torch.Tensor], batches: torch.Tensor) -> list[torch.Tensor]:
    params = model.init(generator(0, "start"))
    return [update(model, params, *pool, batches, lr=0.2) for update in (local_updates, local_updates_loop)]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    "batches", [drawn(3, 4, 5), drawn(1, 1, 1), torch.tensor(PADDED)], ids=["full", "one", "padded"]
)
def test_stacked_training_equals_the_loop(
    model: Model, pool: tuple[torch.Tensor, torch.Tensor], batches: torch.Tensor
) -> None:
    stacked, loop = both(model, pool, batches)
    assert loop.abs().amax(dim=1).min() > 1e-4, "every client has to learn something for this to mean anything"
    torch.testing.assert_close(stacked, loop, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["mlp", "deep mlp", "sigmoid mlp"])
def test_a_gradient_by_hand_equals_the_automatic_one(name: str, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS[name]
    assert model.descend is not None
    slopes = [torch.zeros(2, model.dim) for _ in range(2)]
    for descend, params in zip((model.descend, lambda *rest: train._descend(model, *rest)), slopes, strict=True):
        params += model.init(generator(0, "start"))
        descend(model.layers(params), pool[0][:10].view(2, 5, *IMAGES), lambda logits: logits.sin())
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=0)


@pytest.mark.parametrize("chunk", [1, 2, 5, 99])
@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_the_chunk_changes_nothing(name: str, chunk: int, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model, batches = MODELS[name], drawn(5, 2, 3)
    params = model.init(generator(0, "start"))
    whole = local_updates(model, params, *pool, batches, lr=0.2)
    parts = local_updates(model, params, *pool, batches, lr=0.2, chunk=chunk)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


def test_the_inputs_stay_as_they_are(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    given = [model.init(generator(0, "start")), *pool, torch.tensor(PADDED)]
    before = [tensor.clone() for tensor in given]
    for clients in (3, 1):
        local_updates(model, *given[:3], given[3][:clients], lr=0.2)
    assert all(torch.equal(tensor, old) for tensor, old in zip(given, before, strict=True))


def test_a_padded_place_weighs_nothing(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    params = model.init(generator(0, "start"))
    padded = local_updates(model, params, *pool, torch.tensor([[[4, -1, 6, -1]]]), lr=0.2)
    plain = local_updates(model, params, *pool, torch.tensor([[[4, 6]]]), lr=0.2)
    torch.testing.assert_close(padded, plain, atol=1e-6, rtol=0)


def test_the_updates_keep_the_parameters_type(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    params = model.init(generator(0, "start")).double()
    wide = local_updates(model, params, pool[0].double(), pool[1], drawn(2, 3, 4), lr=0.2)
    assert wide.dtype == torch.float64
    narrow = local_updates(model, params.float(), *pool, drawn(2, 3, 4), lr=0.2)
    torch.testing.assert_close(wide.float(), narrow, atol=1e-5, rtol=0)


def test_nobody_takes_part(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    assert local_updates(model, model.init(generator(0)), *pool, drawn(0, 2, 3), lr=0.2).shape == (0, model.dim)


def test_a_client_that_diverges_says_so(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model, x = MODELS["mlp"], pool[0].clone()
    x[0] = float("nan")
    updates = local_updates(model, model.init(generator(0)), x, pool[1], torch.tensor([[[0, 1]], [[2, 3]]]), lr=0.2)
    assert updates.isfinite().all(dim=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), r"batches must be int64 \[clients, steps, batch\]; got .* \[3, 2\]"),
        (torch.zeros(3, 2, 1), r"got torch.float32"),
        (torch.tensor([[[0, 1]], [[-1, -1]]]), "every step of every client needs a sample"),
    ],
)
def test_bad_batches_are_refused(batches: torch.Tensor, message: str, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    with pytest.raises(ValueError, match=message):
        local_updates(model, model.init(generator(0)), *pool, batches, lr=0.2)
