"""The benchmarks compare like with like, and their page keeps what was not measured again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import __main__ as command
from benchmarks import aggregation, common, contestants, federation, mnist, modalities, regimes
from benchmarks.peers import byzfl_federation, flower, tutorial
from benchmarks.report import replace_section, table
from labsec import data
from labsec.federation.history import Round
from labsec.models import mlp
from labsec.train import local_updates
from labsec.types import generator

CLIENTS, STEPS, BATCH, LR = 4, 3, 5, 0.2


@pytest.fixture(scope="module")
def shared() -> SimpleNamespace:
    """One federation with fixed batches: a loader for each client, and the model that one round must lead to."""
    digits = data.load("digits")
    model = mlp(digits.shape, digits.classes)
    start = model.init(generator(0, "start"))
    batches = torch.randint(len(digits.y), (CLIENTS, STEPS, BATCH), generator=generator(0, "batches"))
    everything = TensorDataset(digits.x, digits.y)
    loaders = [DataLoader(everything, batch_sampler=client.tolist()) for client in batches]
    after = start + local_updates(model, start, digits.x, digits.y, batches, lr=LR).mean(dim=0)
    return SimpleNamespace(network=lambda: model.twin(start), loaders=loaders, after=after, classes=digits.classes)


def test_the_tutorial_does_the_same_round(shared: SimpleNamespace) -> None:
    model = shared.network()
    tutorial.tutorial_round(model, shared.loaders, lr=LR)
    torch.testing.assert_close(parameters_to_vector(model.parameters()).detach(), shared.after, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("default")
def test_byzfl_does_the_same_round(shared: SimpleNamespace) -> None:
    pytest.importorskip("byzfl", reason=byzfl_federation.MISSING)
    one_round = byzfl_federation.byzfl_round(shared.network, shared.loaders, steps=STEPS, lr=LR, classes=shared.classes)
    torch.testing.assert_close(one_round(), shared.after, atol=1e-5, rtol=0)


def test_the_loop_twin_does_the_same_round() -> None:
    ours, twin = contestants.labsec(3)(), contestants.loop_twin(3)()
    assert isinstance(ours, Round)
    torch.testing.assert_close(twin.after, ours.after, atol=1e-5, rtol=0)
    assert not torch.equal(ours.after, ours.before)


def test_a_pass_over_a_loader_is_one_round() -> None:
    x, y = torch.arange(8.0)[:, None], torch.arange(8)
    (loader,) = tutorial.loaders(x, y, [torch.tensor([2, 5])], steps=3, batch_size=4)
    drawn = list(loader)
    assert [len(labels) for _, labels in drawn] == [4, 4, 4]
    assert set(torch.cat([labels for _, labels in drawn]).tolist()) <= {2, 5}


def test_a_section_is_replaced_and_the_others_stay() -> None:
    page = replace_section("", "a", "first of a")
    page = replace_section(page, "b", "first of b")
    page = replace_section(page, "a", "second of a")
    assert "first of a" not in page
    assert page.index("second of a") < page.index("first of b")
    assert replace_section(page, "b", "first of b") == page


def test_a_section_without_its_end_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="no line '<!-- a: end -->'"):
        replace_section("<!-- a: begin -->\ntext\n", "a", "new")


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a row needs 2 cells; got 1"):
        table(["who", "seconds"], [["a"]])


def test_the_command_writes_the_named_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(replace_section("", "panel", "kept"), encoding="utf-8")
    monkeypatch.setattr(
        command, "import_module", lambda name: SimpleNamespace(main=lambda against: f"measured {name} and {against}")
    )
    command.main(["federation", "--against", "v1"], page)
    text = page.read_text(encoding="utf-8")
    assert "measured benchmarks.federation and v1" in text
    assert "kept" in text
    assert "benchmarks.panel" not in text


def test_the_command_refuses_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["federatoin"], tmp_path / "benchmarks.md")
    assert "federatoin" in capsys.readouterr().err


def test_a_commit_to_compare_with_needs_the_federation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["aggregation", "--against", "HEAD"], tmp_path / "benchmarks.md")
    assert "--against compares the federation's rounds" in capsys.readouterr().err


def test_a_worker_runs_rounds_of_the_package_it_is_given(tmp_path: Path) -> None:
    with regimes.worker(regimes.ROOT) as block:
        assert block("20 clients", 2) > 0
        with pytest.raises(RuntimeError, match="ended in the regime 'no such regime'"):
            block("no such regime", 1)
    (tmp_path / "labsec.py").write_text("raise SystemExit")
    with regimes.worker(tmp_path) as block, pytest.raises(RuntimeError, match="ended in the regime"):
        block("20 clients", 1)


def test_a_commit_is_unpacked_beside_the_checkout() -> None:
    if not (regimes.ROOT / ".git").exists():
        pytest.skip("this copy of the course is no git checkout")
    with regimes.checkout("HEAD") as folder:
        assert (folder / "labsec" / "__init__.py").is_file()
        assert regimes.ROOT not in folder.parents
    with pytest.raises(CalledProcessError), regimes.checkout("no-such-commit"):
        pass


def test_the_ratio_is_that_of_neighbouring_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that grows slower block by block hits both alike: 2, 4, 8 … against 1, 2, 4 … is twice as fast."""

    @contextmanager
    def worker(package: Path) -> Iterator[regimes.Block]:
        factor = 1e-3 if package == regimes.ROOT else 2e-3
        slower = iter(range(99))
        yield lambda regime, rounds: factor * rounds * 2 ** next(slower)

    @contextmanager
    def checkout(revision: str) -> Iterator[Path]:
        yield Path(revision)

    monkeypatch.setattr(regimes, "worker", worker)
    monkeypatch.setattr(regimes, "checkout", checkout)
    monkeypatch.setattr(regimes, "REGIMES", {"a regime": None})
    monkeypatch.setattr(regimes, "BLOCKS", 3)
    assert "| a regime | 4 | 8 | 2.00 x |" in regimes.regimes("v1")
    assert regimes.regimes().endswith("|  | ms a round |\n|---|---|\n| a regime | 4 |")


def test_every_way_of_training_starts_from_the_same_work() -> None:
    ways = regimes._ways((1, 8, 8), mlp)
    updates = {name: way() for name, way in ways.items()}
    torch.testing.assert_close(updates["loop"], updates["plain"], atol=1e-5, rtol=0)
    assert updates["clipped"].norm() < updates["noisy"].norm()


def test_huge_rows_are_timed_beside_ordinary_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "SIZES", {(40, 100): 1})
    monkeypatch.setattr(aggregation, "REPEATS_HUGE", 1)
    text = aggregation.huge_rows()
    assert "### 10 of 40 rows near the largest float32, 100 parameters" in text
    assert [line.split("|")[1].strip() for line in text.splitlines()[-3:]] == ["`krum`", "`geometric_median`", "`nnm`"]


def test_flower_without_an_environment_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(flower.Unavailable, match=r"environment could not be made: .*no-python"):
        flower.environment(tmp_path / "flower")


def test_missing_peers_are_named_and_the_others_still_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise flower.Unavailable("its environment could not be made: no network")

    monkeypatch.setattr(flower, "simulate", unavailable)
    monkeypatch.setattr(byzfl_federation, "is_installed", lambda: False)
    monkeypatch.setattr(federation, "REPEATS", 1)
    monkeypatch.setattr(federation, "TURNS", 1)
    monkeypatch.setattr(federation, "MATRIX", 16)
    text = federation.speed([federation.race(2)])
    assert "Flower: its environment could not be made: no network; not measured" in text
    assert byzfl_federation.MISSING in text
    assert "| tutorial loop |" in text


def test_ratios_and_verdicts_are_those_of_the_medians() -> None:
    r = federation.Race(20)
    for name, seconds in {"labsec": [1.0, 2.0, 9.0], "tutorial loop": [60.0, 50.0, 40.0], "product": [1.0]}.items():
        r.add(name, seconds)
    text = federation.speed([r])
    assert "| tutorial loop | 0.0 | 25.0 x |" in text
    assert "Against tutorial loop at 20 clients: 25.0 x (goal 25 x met, moonshot 60 x missed)." in text


def test_flops_are_those_of_the_products() -> None:
    forward = 2 * 16 * (64 * 64 + 64 * 10)
    backward = forward + 2 * 16 * 64 * 10  # the weights' gradients, and the hidden layer's
    assert contestants.flops(3) == 3 * 5 * (forward + backward)


def test_without_the_real_images_the_data_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mnist.FOLDER, raising=False)
    assert "noise" in mnist.images().name


def test_a_gpu_section_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "No GPU was available" in federation.on_gpu()


def test_what_is_found_stands_beside_a_guess_and_a_stranger() -> None:
    """Words are exact in any message, while neither the commonest words nor another text have them."""
    (line,) = modalities.measured(modalities.text_rows()[0], messages=3)
    name, found, guess, stranger, milliseconds = line
    assert name == "mean of embeddings, bag: words"
    assert float(found) == 1.0
    assert max(float(guess), float(stranger)) < 0.5
    assert float(milliseconds) > 0
    assert modalities.mean([1.0, float("nan"), 0.0]) == 0.5


def test_peak_memory_is_that_of_a_process_with_torch() -> None:
    assert 50 < common.peak_megabytes() < 100_000
