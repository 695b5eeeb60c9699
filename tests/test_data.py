"""Data sets and partitions."""

import gzip
import importlib.util
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labsec import data
from labsec.data.files import read_table
from labsec.data.genomes import DNA_SHA256, SNPS_SHA256
from labsec.data.tables import CREDIT_SHA256
from labsec.storage import BrokenFileError

REAL_MNIST = Path(os.environ.get("LABSEC_MNIST", Path(__file__).parents[2] / "shared" / "data" / "MNIST" / "raw"))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "size"),
    [("digits", (1, 8, 8), 10, 1797), ("faces", (1, 25, 25), 2, 200), ("breast_cancer", (30,), 2, 569)],
)
def test_bundled(name, shape, classes, size):
    d = data.load(name)
    assert d.shape == shape
    assert d.classes == classes
    assert len(d.x) + len(d.x_test) == size
    assert d.x.dtype == torch.float32
    assert d.y.dtype == torch.int64
    assert set(d.y.tolist()) == set(range(classes)) == set(d.y_test.tolist())


@pytest.mark.parametrize(("name", "train", "test"), [("retina", 716, 329), ("histology", 609, 145)])
def test_crops_of_one_picture_show_the_same_places_at_every_size(name, train, test):
    small, middle, large = (data.load(f"{name}{side}") for side in ("16", "", "64"))
    assert [d.shape for d in (small, middle, large)] == [(3, 16, 16), (3, 32, 32), (3, 64, 64)]
    assert (len(large.x), len(large.x_test)) == (train, test)
    assert torch.equal(small.y, large.y)
    shrunk = torch.nn.functional.avg_pool2d(large.x, 4)
    torch.testing.assert_close(small.x, shrunk, atol=1e-6, rtol=0)
    assert abs(float(small.y.float().mean()) - 0.5) < 0.01, "the median region of the training part is the border"
    assert 0.3 < float(small.y_test.float().mean()) < 0.7


@pytest.mark.parametrize("name", ["retina64", "histology64"])
def test_train_and_test_share_no_region(name):
    """A strip of pixels that both held would occur in both, bit for bit."""
    d = data.load(name)
    strips = {part[:, begin : begin + 16].numpy().tobytes() for part in d.x for begin in (0, 48)}
    assert not any(part[:, begin : begin + 16].numpy().tobytes() in strips for part in d.x_test for begin in (0, 48))


def test_photos_tell_four_photographs_apart_by_colour():
    d = data.load("photos")
    assert d.shape == (3, 32, 32)
    assert d.classes == 4
    assert d.y_test.bincount(minlength=4).min() >= 40
    blue = (d.x[:, 2] - d.x[:, 0]).flatten(1).mean(dim=1)  # [n]
    assert blue[d.y == 3].mean() > 0 > blue[d.y == 2].mean(), "the rocket stands before a blue sky, the cup on wood"


def test_credit_columns_describe_every_place():
    d = data.load("credit")
    columns = data.credit_columns()
    groups = d.x.split([column.width for column in columns], dim=1)
    for column, group in zip(columns, groups, strict=True):
        if column.categories:
            assert torch.equal(group.sum(dim=1), torch.ones(len(d.x))), column.name
            assert set(group.unique().tolist()) == {0.0, 1.0}
    ages = groups[0] * (columns[0].high - columns[0].low) + columns[0].low
    assert (columns[0].name, round(float(ages.mean()))) == ("age", 41)
    modes = [group.mean(dim=0).max() for column, group in zip(columns, groups, strict=True) if column.categories]
    assert float(torch.stack(modes).mean()) == pytest.approx(0.44, abs=0.01)  # as the card says


def test_sequences_are_one_hot_and_hold_the_motif_of_their_class(make):
    d = data.load("dna")
    assert d.shape == (4, 128)
    assert torch.equal(d.x.sum(dim=1), torch.ones(len(d.x), 128))
    assert torch.equal(d.x[:, :, :64], data.load("dna64").x)
    assert data.load("dna256").shape == (4, 256)
    texts = ["".join("ACGT"[base] for base in sample.argmax(dim=0)) for sample in d.x]
    motifs = make("genomes").MOTIFS
    whole = [motifs[label] in text[:64] for label, text in zip(d.y.tolist(), texts, strict=True)]
    assert 0.5 < sum(whole) / len(whole) < 0.9, "of ten bases each is drawn anew with probability .05"
    assert not any(motifs[(label + 1) % 4] in text[:64] for label, text in zip(d.y.tolist(), texts, strict=True))


def test_genotypes_follow_their_frequencies(make):
    d = data.load("snps")
    copies = 2 * d.x
    assert set(copies.unique().tolist()) == {0.0, 1.0, 2.0}
    wanted = torch.tensor(make("genomes").frequencies())
    controls = copies[d.y == 0].mean(dim=0) / 2
    assert float((controls - wanted).abs().max()) < 4 * 0.5 / (2 * int((d.y == 0).sum())) ** 0.5
    shifted = copies[d.y == 1].mean(dim=0) / 2 - controls > 0.12
    assert int(shifted.sum()) == make("genomes").SHIFTED
    mode = copies.mode(dim=0).values
    assert float((copies == mode).float().mean()) == pytest.approx(0.67, abs=0.01)  # as the card says
    assert mode[wanted < 0.05].sum() == 0, "the most frequent genotype knows no rare allele"


FOLDER = Path(__file__).parent.parent / "data"


@pytest.fixture
def make():
    """The script data/make_NAME.py as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"make_{name}", FOLDER / f"make_{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_committed_tables_are_those_of_their_scripts(make, tmp_path):
    make("credit").write(tmp_path / "credit.csv")
    make("genomes").write_all(tmp_path)
    for written in sorted(tmp_path.iterdir()):
        committed = (FOLDER / written.name).read_bytes()
        assert written.read_bytes() == committed, written.name
        assert len(committed) < 300_000
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["credit", "dna", "snps"])
def test_a_table_that_is_not_the_courses_is_refused(name, tmp_path):
    path = tmp_path / f"{name}.csv"
    path.write_bytes((FOLDER / f"{name}.csv").read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(BrokenFileError, match=r"lines are not the rows of the course"):
        read_table(path, {"credit": CREDIT_SHA256, "dna": DNA_SHA256, "snps": SNPS_SHA256}[name], "rows")


def test_digits_are_the_ones_of_scikit_learn():
    from sklearn.datasets import load_digits

    reference = load_digits()
    ours = data.load("digits")
    pixels = torch.cat([ours.x_test, ours.x]).flatten(1) * 16
    assert torch.equal(pixels.sum(0).double(), torch.from_numpy(reference.data.sum(axis=0)))
    labels = torch.cat([ours.y_test, ours.y])
    assert torch.equal(labels.bincount(), torch.from_numpy(np.bincount(reference.target)))


def test_scaling_is_fitted_on_the_training_part():
    d = data.load("breast_cancer")
    assert torch.equal(d.x.amax(dim=0), torch.ones(30))
    assert torch.equal(d.x.amin(dim=0), torch.zeros(30))
    assert not torch.equal(d.x_test.amax(dim=0), torch.ones(30))


def test_unknown_name():
    with pytest.raises(ValueError, match=r"no data set is called 'digit'; known: .*digits"):
        data.load("digit")


def valid(**changes):
    x = torch.rand(6, 1, 2, 2)
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    return data.Dataset(**{"name": "mine", "x": x, "y": y, "x_test": x, "y_test": y, "classes": 2, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.rand(6, 1, 2, 2) * 255}, r"x must lie in \[0, 1\]; got values from"),
        ({"x": torch.full((6, 1, 2, 2), float("nan"))}, "24 values are NaN or infinite"),
        ({"x": torch.rand(6, 1, 2, 2).double()}, "must be float32"),
        ({"x": torch.zeros(0, 1, 2, 2)}, "none of them 0"),
        ({"x": torch.rand(6, 1, 2, 3)}, "samples of one shape"),
        ({"x": -torch.ones(6, 4, dtype=torch.int64)}, "token numbers >= 0; got -1"),
        ({"x": torch.zeros(6, 1, 2, 2, dtype=torch.int64)}, r"must be \[n, length\]; got \[6, 1, 2, 2\]; make images"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, r"y must be int64 of shape \[6\]; got torch.int64 of shape \[5\]"),
        ({"y": torch.zeros(6)}, "y must be int64"),
        ({"y": torch.tensor([0, 1, 2, 0, 1, 2])}, r"0 … 1 for 2 classes; got 0 … 2"),
        ({"y_test": torch.tensor([0, 1, -1, 0, 1, 0])}, "y_test must lie in"),
    ],
)
def test_a_dataset_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        valid(**changes)


def test_own_arrays_and_tokens_are_accepted():
    assert valid().shape == (1, 2, 2)
    tokens = torch.randint(0, 50, (6, 12))
    assert valid(x=tokens, x_test=tokens).x.dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(30, 200),
    clients=st.integers(1, 12),
    alpha=st.none() | st.floats(0.5, 100),
    seed=st.integers(0, 2**32),
)
def test_partition_shares_out_every_sample_once(n, clients, alpha, seed):
    y = torch.arange(n) % 3
    try:
        shards = data.partition(y, clients, alpha=alpha, generator=gen(seed))
    except ValueError as error:
        assert re.search(r"100 draws of Dirichlet.*raise alpha", str(error))  # noqa: PT017
        return
    assert len(shards) == clients
    assert min(map(len, shards)) >= 1
    assert sorted(torch.cat(shards).tolist()) == list(range(n))


def test_what_is_loaded_is_the_learners_own():
    data.load("breast_cancer").x.zero_()
    assert data.load("breast_cancer").x.sum() > 0


def test_partition_repeats_with_its_generator():
    y = data.load("digits").y
    first, again, other = (data.partition(y, 10, alpha=0.3, generator=gen(s)) for s in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_small_alpha_is_uneven():
    y = data.load("digits").y

    def largest_share(alpha):
        shards = data.partition(y, 10, alpha=alpha, generator=gen())
        return sum(float(y[s].bincount().max()) / len(s) for s in shards) / 10

    assert largest_share(0.1) > 0.4 > 0.2 > largest_share(100)


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_which_samples_of_a_class_a_client_gets_is_drawn_too(alpha):
    """A file may be sorted by more than its classes: neighbours in it must not stay together."""
    shards = data.partition(torch.zeros(400, dtype=torch.int64), 4, alpha=alpha, generator=gen())
    for shard in shards:
        apart = shard.sort().values.diff()
        assert apart.double().mean() > 1.5, "400 samples over 4 clients lie about 4 apart, and 1 in a block"


def test_a_dirichlet_split_has_the_mean_and_the_spread_of_its_distribution():
    """Of k clients each gets a share of mean 1/k and variance (1/k)(1 - 1/k) / (k alpha + 1)."""
    y = torch.zeros(1000, dtype=torch.int64)
    clients, alpha = 4, 0.8
    draws = [data.partition(y, clients, alpha=alpha, generator=gen(seed)) for seed in range(300)]
    shares = torch.tensor([[len(shard) / 1000 for shard in shards] for shards in draws])  # [300, clients]
    assert shares.mean(dim=0).tolist() == pytest.approx([0.25] * 4, abs=0.04)
    assert float(shares.var(dim=0).mean()) == pytest.approx(0.25 * 0.75 / (4 * 0.8 + 1), rel=0.15)


@pytest.mark.parametrize(
    ("clients", "alpha", "message"),
    [
        (0, None, "1 <= clients <= samples; got clients=0, samples=30"),
        (31, None, "got clients=31, samples=30"),
        (5, 0.0, "alpha > 0; got alpha=0.0"),
        (30, 0.01, r"100 draws of Dirichlet\(0.01\) over 30 samples and 30 clients"),
    ],
)
def test_impossible_partitions(clients, alpha, message):
    with pytest.raises(ValueError, match=message):
        data.partition(torch.arange(30) % 3, clients, alpha=alpha, generator=gen())


def write_idx(path, array):
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def fill_mnist(folder, n=20):
    draws = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", draws.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(n) % 10).astype(np.uint8))


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_files_in_the_real_format_are_read_without_a_network(name, folder, tmp_path):
    fill_mnist(tmp_path / folder / "raw")
    d = data.load(name, root=tmp_path)
    assert d.x.shape == (20, 1, 28, 28)
    assert d.classes == 10
    assert d.x.max() == 1.0
    assert d.y[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("cifar10", "cifar-10-batches-py")],
)
def test_without_files_and_network_the_folder_is_named(name, folder, tmp_path, monkeypatch):
    import urllib.request

    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(FileNotFoundError, match=rf"{name} is not in .*{folder}.* put its original files"):
        data.load(name, root=tmp_path)


@pytest.mark.skipif(
    not REAL_MNIST.is_dir(), reason="the real MNIST files are not here; name their folder in LABSEC_MNIST"
)
def test_real_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in REAL_MNIST.glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    d = data.load("mnist", root=tmp_path)
    assert d.x.shape == (60000, 1, 28, 28)
    assert d.x_test.shape == (10000, 1, 28, 28)
    assert d.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert d.y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
