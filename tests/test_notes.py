"""The text corpus and the classifier that reads it: through the same engine, with no special case."""

import importlib.util
from pathlib import Path

import pytest
import torch

from labsec import Scenario, bind, data, models, poison, run
from labsec.train import local_updates, local_updates_loop
from labsec.types import generator

FOLDER = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def make_notes():
    spec = importlib.util.spec_from_file_location("make_notes", FOLDER / "make_notes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notes():
    return data.load("notes")


def test_the_committed_notes_are_those_of_the_grammar(make_notes, tmp_path):
    make_notes.write(tmp_path / "notes.csv")
    assert (tmp_path / "notes.csv").read_bytes() == (FOLDER / "notes.csv").read_bytes()
    assert (FOLDER / "notes.csv").stat().st_size < 300_000


def test_tokens_read_back_as_the_texts(make_notes, notes):
    words = data.notes_words()
    written = {(text, sorted(make_notes.TOPICS).index(desk)) for desk, text in make_notes.rows()}
    pairs = [*zip(notes.x, notes.y, strict=True), *zip(notes.x_test, notes.y_test, strict=True)]
    read = {(" ".join(words[token] for token in x if token), int(y)) for x, y in pairs}
    assert read == written
    assert len(pairs) == 2400


def test_shape_of_the_notes(notes):
    assert notes.x.dtype == torch.int64
    assert notes.vocabulary == len(data.notes_words()) == 168
    assert notes.y.bincount(minlength=4).min() > 400
    assert data.load("digits").vocabulary is None
    ends = (notes.x != 0).long().diff(dim=1)
    assert ends.max() == 0, "padding stands at the end alone"


def test_the_mean_of_embeddings_equals_its_twin():
    model = models.embedding(7, 20, 3, width=5)
    params = torch.stack([model.init(generator(seed)) for seed in range(3)])
    x = torch.randint(20, (3, 6, 7), generator=generator(1, "tokens"))
    x[0, 0, 2:] = 0
    x[1, 1] = 0
    alone = torch.stack([model.twin(p)(part) for p, part in zip(params, x, strict=True)])
    torch.testing.assert_close(model(params, x), alone, atol=1e-5, rtol=0)


def test_padding_does_not_count():
    model = models.embedding(4, 9, 2)
    params = model.init(generator(0))[None]
    short = torch.tensor([[[3, 5, 0, 0]]])
    doubled = torch.tensor([[[3, 5, 3, 5]]])
    torch.testing.assert_close(model(params, short), model(params, doubled))
    assert not torch.allclose(model(params, short), model(params, torch.tensor([[[3, 5, 1, 1]]])))


def test_stacked_training_on_texts_equals_the_loop(notes):
    model = Scenario(data=notes).network()
    params = model.init(generator(0, "start"))
    batches = torch.randint(len(notes.y), (4, 3, 8), generator=generator(1, "batches"))
    batches[1, :, 5:] = -1
    stacked, loop = (f(model, params, notes.x, notes.y, batches, lr=4.0) for f in (local_updates, local_updates_loop))
    assert loop.abs().amax(dim=1).min() > 1e-3
    torch.testing.assert_close(stacked, loop, atol=1e-5, rtol=0)


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_texts_are_learned_at_both_skews_and_not_perfectly(notes, alpha):
    assert 0.88 < run(Scenario.fedavg(data=notes, alpha=alpha, lr=4.0, evaluate_every=160)).final_accuracy < 0.98


def test_texts_are_attacked_like_images(notes):
    attacked = Scenario.fedavg(
        data=notes,
        lr=4.0,
        malicious=0.2,
        attack=bind(poison.sign_flip, scale=10),
        data_attack=poison.label_flip,
        rounds=10,
    )
    assert run(attacked).final_accuracy < 0.5
