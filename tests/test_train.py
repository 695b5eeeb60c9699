"""The stacked training equals its slow twin, whatever the model, the padding and the chunk."""

import pytest
import torch

from labsec import models
from labsec.geometry import clip_rows
from labsec.models import Model
from labsec.train import dp_sgd, local_updates, local_updates_loop
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


@pytest.mark.parametrize("name", ["mlp", "deep mlp", "sigmoid mlp", "logistic regression"])
def test_a_gradient_by_hand_equals_the_automatic_one(name: str, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS[name]
    assert model.backward is not None
    params = torch.stack([model.init(generator(seed, "start")) for seed in range(2)])
    layers = [layer.clone().requires_grad_() for layer in model.layers(params)]
    x = pool[0][:10].view(2, 5, *IMAGES)
    wanted = torch.autograd.grad(model.forward(layers, x).cos().sum(), layers)

    with torch.no_grad():
        seen = model.backward(layers, x, lambda logits: -logits.sin())
    for i, (h, delta) in enumerate(seen):
        torch.testing.assert_close(delta @ h.transpose(1, 2), wanted[2 * i], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(delta.sum(dim=2), wanted[2 * i + 1], atol=1e-6, rtol=1e-5)


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


def test_each_client_may_start_elsewhere(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    for name in ("mlp", "convnet"):
        model = MODELS[name]
        starts = torch.stack([model.init(generator(seed, "start")) for seed in range(3)])
        batches = torch.tensor(PADDED)
        stacked = local_updates(model, starts, *pool, batches, lr=0.2)
        torch.testing.assert_close(
            stacked, local_updates_loop(model, starts, *pool, batches, lr=0.2), atol=1e-5, rtol=0
        )
        alone = local_updates(model, starts[1], *pool, batches[1:2], lr=0.2)
        torch.testing.assert_close(stacked[1:2], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 600), (4, 600), (3, 599), (599,), (3, 1, 600)])
def test_params_that_fit_neither_way_are_refused(shape: tuple[int, ...], pool: tuple[torch.Tensor, ...]) -> None:
    model = models.mlp(IMAGES, 4, hidden=(4,))
    assert model.dim == 600
    with pytest.raises(ValueError, match=r"3 clients need params \[600\] or \[3, 600\].*; got .*\["):
        local_updates(model, torch.zeros(shape), *pool, torch.tensor(PADDED), lr=0.2)


def private(model: Model, pool: tuple[torch.Tensor, torch.Tensor], batches: torch.Tensor, **changes) -> torch.Tensor:
    settings = {"lr": 0.2, "clip": 1e9, "noise": 0.0, "chunk": None, "generator": generator(0, "noise"), **changes}
    return dp_sgd(model, model.init(generator(0, "start")), *pool, batches, **settings)


def slow_dp_sgd(
    model: Model, pool: tuple[torch.Tensor, torch.Tensor], batches: torch.Tensor, *, lr: float, clip: float
) -> torch.Tensor:
    """DP-SGD without noise, one sample's gradient at a time."""
    start = model.init(generator(0, "start"))
    updates = []
    for client in batches:
        params = start
        for batch in client:
            samples = batch[batch >= 0]
            alone = local_updates_loop(model, params, *pool, samples[:, None, None], lr=1.0)  # [samples, dim]
            params = params + lr * clip_rows(alone, clip).mean(dim=0)
        updates.append(params - start)
    return torch.stack(updates)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_private_training_clips_every_sample(model: Model, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    batches = torch.tensor(PADDED)
    clip = 2.0 if "LeNet" in model.name else 1.0  # between the shortest and the longest of the samples' gradients
    wanted = slow_dp_sgd(model, pool, batches, lr=0.2, clip=clip)
    assert (wanted - slow_dp_sgd(model, pool, batches, lr=0.2, clip=1e9)).abs().max() > 1e-3, "nothing was clipped"
    torch.testing.assert_close(private(model, pool, batches, clip=clip), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("clip", [1e9, torch.inf])
def test_private_training_without_clip_and_noise_is_plain(
    model: Model, clip: float, pool: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain = local_updates(model, model.init(generator(0, "start")), *pool, torch.tensor(PADDED), lr=0.2)
    torch.testing.assert_close(private(model, pool, torch.tensor(PADDED), clip=clip), plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["logistic regression", "convnet"])
def test_the_noise_is_as_large_as_it_says(name: str, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS[name]
    batches = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7]], [[0, 1, -1, -1], [2, 3, -1, -1]]])
    settings = {"clip": 1e-6, "noise": 1e6}  # a gradient of length 1e-6 under noise of standard deviation 1
    update = private(model, pool, batches, **settings)
    assert update.std(dim=1).tolist() == pytest.approx([0.2 / 4 * 2**0.5, 0.2 / 2 * 2**0.5], rel=0.1)
    assert torch.corrcoef(update)[0, 1].abs() < 0.2, "two clients got the same noise"
    assert not torch.equal(private(model, pool, batches, **settings, generator=generator(1, "noise")), update)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_the_chunk_changes_nothing_in_private_training(
    name: str, noise: float, pool: tuple[torch.Tensor, torch.Tensor]
) -> None:
    whole = private(MODELS[name], pool, drawn(5, 2, 3), clip=1.0, noise=noise, chunk=5)
    for chunk in (None, 1, 2):
        parts = private(MODELS[name], pool, drawn(5, 2, 3), clip=1.0, noise=noise, chunk=chunk)
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("clip", "noise"), [(0.0, 1.0), (-1.0, 0.0), (1.0, -1.0), (torch.inf, 1.0), (1.0, torch.nan)])
def test_private_training_needs_a_bound(clip: float, noise: float, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"dp_sgd needs .*(clip|noise).*; got (clip|noise)="):
        private(MODELS["mlp"], pool, drawn(2, 1, 3), clip=clip, noise=noise)


def test_a_client_that_diverges_says_so(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model, x = MODELS["mlp"], pool[0].clone()
    x[0] = float("nan")
    updates = local_updates(model, model.init(generator(0)), x, pool[1], torch.tensor([[[0, 1]], [[2, 3]]]), lr=0.2)
    assert updates.isfinite().all(dim=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.int64), r"batches must be int64 \[clients, steps, batch\] .*; got .* \[3, 2\]"),
        (torch.zeros(3, 2, 1), r"got torch.float32"),
        (torch.tensor([[[0, 1]], [[-1, -1]]]), "every step of every client needs a sample"),
        (torch.tensor([[[0, 1]], [[2, -2]]]), "indices below 30, or -1; got -2 … 2"),
        (torch.tensor([[[0, 1]], [[2, 30]]]), "indices below 30, or -1; got 0 … 30"),
    ],
)
def test_bad_batches_are_refused(batches: torch.Tensor, message: str, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    with pytest.raises(ValueError, match=message):
        local_updates(model, model.init(generator(0)), *pool, batches, lr=0.2)


@pytest.mark.parametrize("chunk", [0, -1, 0.5])
def test_a_chunk_is_a_number_of_clients(chunk: float, pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = MODELS["mlp"]
    with pytest.raises(ValueError, match=f"local_updates needs a whole number chunk > 0; got chunk={chunk}"):
        local_updates(model, model.init(generator(0)), *pool, drawn(2, 1, 3), lr=0.2, chunk=chunk)


def test_labels_that_the_model_does_not_know_are_refused(pool: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = pool
    model = MODELS["mlp"]
    for label in (-1, model.classes):
        wrong = y.clone()
        wrong[-1] = label
        with pytest.raises(ValueError, match=rf"needs labels in 0 … {model.classes - 1}; got .*{label}"):
            local_updates(model, model.init(generator(0)), x, wrong, drawn(2, 1, 3), lr=0.2)


def test_a_text_is_the_mean_of_its_words_by_hand() -> None:
    """Padding counts for nothing, a word that comes twice counts twice, and a text without words is zero."""
    model = models.embedding(3, 4, 2, width=2)
    words = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 3.0], [5.0, 5.0]])
    layers = [words[None], torch.eye(2)[None], torch.zeros(1, 2)]  # the last layer shows the mean as it is
    texts = torch.tensor([[[1, 0, 0], [1, 2, 0], [2, 2, 1], [0, 0, 0]]])
    shown = model.forward(layers, texts)[0]
    torch.testing.assert_close(shown, torch.tensor([[1.0, 0.0], [0.5, 1.5], [1 / 3, 2.0], [0.0, 0.0]]))
