"""Stacked models: each client's parameters see its own samples, as the torch.nn twins do."""

import copy
import json
import multiprocessing
import pickle

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
    models.sequence_net((4, 64), 4),
    models.sequence_net((4, 33), 2, activation=torch.relu),
]
TEXTS = [
    models.embedding(12, 30, 4),
    models.transformer(12, 30, 4, width=8),
    models.transformer(12, 30, 4, width=8, learned_positions=False),
    models.gru(12, 30, 4, width=6),
]
JOINT = models.joint((2, 9, 10), 12, 30, 4, width=6)


def texts(c, n, seed=1):
    """Token numbers [c, n, 12] below 30: one text with padding, and one that is nothing else."""
    tokens = torch.randint(1, 30, (c, n, 12), generator=generator(seed, "tokens"))
    tokens[0, 0, 5:] = 0
    tokens[-1, -1] = 0
    return tokens


def samples(model, c, n):
    """Samples [c, n, *shape] that the model can take."""
    if model.vocabulary is not None:
        return texts(c, n)
    if model is not JOINT:
        return torch.rand(c, n, *model.shape, generator=generator(9))
    pictures = torch.rand(c * n, 2, 9, 10, generator=generator(9))
    return models.join(pictures, texts(c, n).flatten(0, 1), words=30).view(c, n, -1)


@pytest.mark.parametrize("model", [*MODELS, *TEXTS, JOINT], ids=lambda m: f"{m.name} {m.shape} {m.dim}")
def test_stack_is_the_modules_side_by_side(model):
    params = torch.stack([model.init(generator(seed)) for seed in range(3)])
    x = samples(model, 3, 4)
    stacked = model(params, x)
    assert stacked.shape == (3, 4, model.classes)
    alone = torch.stack([model.twin(p)(sample) for p, sample in zip(params, x, strict=True)])
    assert torch.allclose(stacked, alone, atol=1e-5)


@pytest.mark.parametrize("model", [*MODELS[:4], *TEXTS, JOINT], ids=lambda m: f"{m.name} {m.dim}")
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
    with pytest.raises(ValueError, match=r"needs params \[c, 450\].*; got .*\[2, 449\]"):
        model(torch.zeros(2, 449), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"needs x \[2, b, 4\]; got .*\[2, 3, 5\]"):
        model(torch.zeros(2, 450), torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match=r"needs images \[channels, height, width\]; got shape \[30\]"):
        models.convnet((30,), 2)


def test_a_token_that_the_model_does_not_know_is_named():
    model = models.embedding(3, 5, 2)
    params = model.init(generator(0))[None]
    with pytest.raises(ValueError, match="needs token numbers in 0 … 4; got 1 … 5: give it a vocabulary"):
        model(params, torch.tensor([[[1, 5, 2]]]))
    with pytest.raises(ValueError, match="got -1 … 2"):
        model(params, torch.tensor([[[1, -1, 2]]]))


ALL = [*MODELS, *TEXTS, JOINT, models.mlp((5,), 3, activation=torch.nn.functional.relu)]


@pytest.mark.parametrize("model", ALL, ids=lambda m: f"{m.name} {m.shape} {m.dim}")
@pytest.mark.parametrize(
    "send",
    [lambda m: models.build(json.loads(json.dumps(m.spec))), lambda m: pickle.loads(pickle.dumps(m))],
    ids=["json", "pickle"],
)
def test_a_model_travels_as_its_spec(model, send):
    arrived = send(model)
    assert arrived is not model
    assert (arrived.name, arrived.shape, arrived.shapes) == (model.name, model.shape, model.shapes)
    assert arrived.spec == model.spec
    params = model.init(generator(0))
    assert torch.equal(arrived.init(generator(0)), params)
    x = texts(1, 4) if model.vocabulary else torch.rand(1, 4, *model.shape)
    assert torch.equal(arrived(params[None], x), model(params[None], x))


def test_a_model_goes_to_another_process():
    model = models.mlp((5,), 3, hidden=(7,), activation=torch.nn.functional.gelu)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_name_and_dim, (model,)) == (model.name, model.dim)


def _name_and_dim(model):
    return model.name, model.dim


def test_every_activation_that_a_spec_can_name():
    draw = torch.linspace(-2, 2, 9)
    for name, activation in models.ACTIVATIONS.items():
        spec = models.mlp((5,), 3, activation=activation).spec
        assert spec["arguments"]["activation"] == name
        assert torch.equal(activation(draw), getattr(torch.nn.functional, name)(draw)), name


def test_a_spec_is_a_copy():
    model = models.mlp((5,), 3, hidden=(7,))
    model.spec["arguments"]["hidden"].append(9)
    assert model.spec["arguments"]["hidden"] == [7]


def test_an_activation_without_a_name_works_but_does_not_travel():
    model = models.mlp((5,), 3, activation=lambda h: h.clamp(-1, 1))
    params = model.init(generator(0))
    assert model(params[None], torch.rand(1, 4, 5)).shape == (1, 4, 3)
    assert copy.deepcopy(model) is model
    assert copy.copy(model) is model
    for saved in (lambda: model.spec, lambda: pickle.dumps(model)):
        with pytest.raises(ValueError, match=r"has no spec, so it cannot be saved .* relu, sigmoid"):
            saved()


GOOD = {"shape": [5], "classes": 3}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mlp", "holds a constructor and its arguments, nothing else; got 'mlp'"),
        ({"constructor": "mlp"}, "holds a constructor and its arguments"),
        ({"constructor": "mlp", "arguments": GOOD, "code": "1"}, "nothing else"),
        ({"constructor": "os.system", "arguments": {"command": "true"}}, "no model is made by 'os.system'; known: mlp"),
        ({"constructor": "_convolutional", "arguments": GOOD}, "no model is made by '_convolutional'"),
        ({"constructor": ["mlp"], "arguments": GOOD}, r"no model is made by \['mlp'\]"),
        ({"constructor": "mlp", "arguments": [[5], 3]}, "must be named"),
        ({"constructor": "mlp", "arguments": {"shape": [5]}}, "do not fit mlp: missing .*'classes'"),
        ({"constructor": "mlp", "arguments": {**GOOD, "depth": 3}}, "do not fit mlp: .*unexpected .*'depth'"),
        ({"constructor": "mlp", "arguments": {**GOOD, 3: 3}}, "do not fit mlp"),
        ({"constructor": "mlp", "arguments": {**GOOD, "activation": "eval"}}, "no activation is called 'eval'; known"),
        ({"constructor": "mlp", "arguments": {**GOOD, "activation": ["relu"]}}, "no activation is called"),
        (
            {"constructor": "mlp", "arguments": {**GOOD, "classes": 2.5}},
            "mlp needs a whole number classes > 0; got classes=2.5",
        ),
        ({"constructor": "mlp", "arguments": {**GOOD, "classes": True}}, "classes > 0; got classes=True"),
        (
            {"constructor": "mlp", "arguments": {**GOOD, "hidden": [8, 0]}},
            r"hidden to hold .* > 0; got 0 in \[8, 0\]",
        ),
        ({"constructor": "mlp", "arguments": {**GOOD, "hidden": 8}}, "hidden to be a list .*; got 8"),
        ({"constructor": "mlp", "arguments": {**GOOD, "shape": "5"}}, "shape to be a list .*; got '5'"),
        ({"constructor": "convnet", "arguments": GOOD}, r"needs images \[channels, height, width\]; got shape \[5\]"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        models.build(spec)


@pytest.mark.parametrize("model", TEXTS, ids=lambda m: f"{m.name} {m.dim}")
def test_only_the_order_that_a_network_can_see_changes_its_answer(model):
    """The mean of embeddings is the same for every order of the words; a transformer and a GRU tell orders apart."""
    params = model.init(generator(0))[None]
    text = texts(1, 2)[:, :1].clone()
    text[0, 0] = torch.arange(1, 13)
    there, back = model(params, text), model(params, text.flip(2))
    assert torch.allclose(there, back, atol=1e-6) == (model.name == TEXTS[0].name)


@pytest.mark.parametrize("model", TEXTS, ids=lambda m: f"{m.name} {m.dim}")
def test_padding_leaves_no_trace_in_the_gradient(model):
    params = model.init(generator(0))[None].requires_grad_()
    text = torch.zeros(1, 1, 12, dtype=torch.int64)
    text[0, 0, :4] = torch.tensor([3, 7, 7, 2])
    (slopes,) = torch.autograd.grad(model(params, text)[0, 0, 0], params)
    rows = model.layers(slopes)[0][0].abs().amax(dim=1)  # [vocabulary]
    assert rows.nonzero()[:, 0].tolist() == [2, 3, 7]


def test_fixed_positions_are_those_of_the_paper():
    """Entry 2i of place p is sin(p / 10000^(2i / width)), the next is its cosine: here p = 3, i = 1, width = 8."""
    table = models.fixed_positions(5, 8)
    assert float(table[3, 2]) == pytest.approx(0.29552020666133955)  # sin(3 / 10)
    assert float(table[3, 3]) == pytest.approx(0.955336489125606)


def test_two_parts_come_back_as_they_were_joined():
    pictures = torch.rand(3, 2, 9, 10, generator=generator(9))
    tokens = texts(1, 3)[0]
    joined = models.join(pictures, tokens, words=30)
    assert joined.shape == (3, 180 + 12 * 30)
    seen, read = models.parts_of(joined, shape=(2, 9, 10), words=30)
    assert torch.equal(seen, pictures)
    assert torch.equal(read, tokens)
    with pytest.raises(ValueError, match=r"join needs token numbers in 0 … 28; got 0 … 29"):
        models.join(pictures, tokens.clamp_min(29) - 29 * (tokens == 0), words=29)
    with pytest.raises(ValueError, match=r"parts_of needs x \[n, 180 \+ length \* 31\]"):
        models.parts_of(joined, shape=(2, 9, 10), words=31)
