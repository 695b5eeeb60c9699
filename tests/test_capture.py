"""A captured update in one file: it comes back as it was, and anything else is refused by one documented error."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as safetensors

from benchmarks import fuzz_service
from labsec import Scenario, data, invert, metrics, models, rounds
from labsec.federation.population import Population
from labsec.study import capture, inversion
from labsec.study.capture import NoCapture, decoded, encoded, from_run, load, save
from labsec.types import ServerView

MODELS = (
    models.mlp((3,), 2, hidden=(4,), activation=torch.tanh),
    models.mlp((1, 2, 2), 3, hidden=()),
    models.convnet((3, 4, 4), 2),
    models.lenet((1, 4, 4), 2),
    models.embedding(5, 7, 2, width=3),
)
NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)


def a_view(**changes):
    model = changes.get("model", MODELS[0])
    params = model.init(torch.Generator().manual_seed(0))
    view = ServerView(params=params, messages=params[None] / 7, model=model, lr=0.1, local_steps=1, batch_size=1)
    return replace(view, **changes)


def same_bits(some, others):
    """Equal in every bit, a NaN included."""
    return some.dtype == others.dtype and some.numpy().tobytes() == others.numpy().tobytes()


def edited(change):
    """The bytes of a valid file with another header."""
    whole = encoded(a_view())
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + size :]


def with_field(name, value):
    return edited(lambda header: header["__metadata__"].update({name: json.dumps(value)}))


def with_spec(**arguments):
    spec = MODELS[0].spec
    return with_field("model", {**spec, "arguments": {**spec["arguments"], **arguments}})


# --- a file comes back


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    rows=st.integers(1, 3),
    dtypes=st.tuples(*[st.sampled_from((torch.float32, torch.float64))] * 2),
    values=st.lists(NUMBERS, min_size=1, max_size=8),
    lr=st.floats(1e-12, 1e12),
    steps=st.integers(1, capture.MOST_COUNT),
    batch=st.none() | st.integers(1, capture.MOST_COUNT),
    number=st.integers(0, capture.MOST_COUNT),
)
def test_a_view_comes_back_bit_by_bit(model, rows, dtypes, values, lr, steps, batch, number):
    params = torch.linspace(-1, 1, model.dim, dtype=dtypes[0])
    messages = torch.tensor(values, dtype=dtypes[1]).repeat(rows * model.dim)[: rows * model.dim].view(rows, -1)
    view = ServerView(params=params, messages=messages, model=model, lr=lr, local_steps=steps, batch_size=batch)
    found = decoded(encoded(view, round=number))
    assert same_bits(found.view.params, params)
    assert same_bits(found.view.messages, messages)
    assert found.view.model.spec == model.spec
    assert (found.view.lr, found.view.local_steps, found.view.batch_size, found.round) == (lr, steps, batch, number)


def test_a_file_is_written_whole_and_without_a_pickle(tmp_path):
    path = save(tmp_path / "update.safetensors", a_view(), round=3)
    assert [each.name for each in tmp_path.iterdir()] == ["update.safetensors"]
    assert b"pickle" not in path.read_bytes()
    assert set(safetensors.load(path.read_bytes())) == {"params", "messages"}
    assert load(path).round == 3


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path / "update.safetensors", a_view(), round=3)
    with pytest.raises(ValueError, match="params must be finite; 1 of 26"):
        save(path, a_view(params=torch.full((26,), 0.5).index_fill(0, torch.tensor([3]), math.nan)))
    assert load(path).round == 3


def test_a_run_is_captured_as_the_server_saw_it():
    scenario = Scenario(clients=5, local_steps=1, batch_size=1, seed=4)
    third = list(rounds(replace(scenario, rounds=3)))[2]
    found = from_run(scenario, round=2, client=3)
    assert torch.equal(found.view.messages[0], third.messages[third.clients == 3][0])
    assert torch.equal(found.view.params, third.before)

    # And what it holds is enough to read the sample out, which the file itself does not have.
    truth = scenario.data.x[Population(scenario).batches(2, torch.tensor([3])).flatten()]
    assert metrics.best_matches(invert.analytic(found.view), truth)[1][0] > 80


def test_a_client_that_sent_nothing_is_told():
    with pytest.raises(ValueError, match="from_run needs a whole number 0 <= client < 5; got client=5"):
        from_run(Scenario(clients=5), client=5)
    alone = Scenario(clients=5, cohort=1)
    sender = int(next(rounds(alone)).clients)
    with pytest.raises(ValueError, match="sent no message in round 0; these did"):
        from_run(alone, client=(sender + 1) % 5)
    with pytest.raises(ValueError, match="this one has a broadcast"):
        from_run(Scenario(broadcast=lambda params: params))


# --- anything else does not


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends within the first 8 bytes"),
        (b"\x80\x04" + b"a pickle by its first bytes", "a header of 2 to 65536 bytes was expected; it announces"),
        ((2**63).to_bytes(8, "little"), "announces 9223372036854775808"),
        ((100).to_bytes(8, "little") + b"{}", "ends within its header: 2 of 100 bytes are there"),
        ((2).to_bytes(8, "little") + b"[]", r"the header must be an object; got \[\]"),
        ((2).to_bytes(8, "little") + b"{}", "its metadata must be format, model, round"),
        ((600).to_bytes(8, "little") + b"[" * 600, "more than 256 brackets"),
        (encoded(a_view())[:-1], "its tensors take 208 bytes; there are 207"),
        (encoded(a_view()) + b"\0", "its tensors take 208 bytes; there are 209"),
        (safetensors.save({"params": torch.zeros(3)}), "its metadata must be"),
        (edited(lambda header: header.pop("messages")), r"its tensors must be params and messages; got \['params'\]"),
        (edited(lambda header: header.update(more=header["params"])), "its tensors must be"),
        (edited(lambda header: header["params"].update(dtype="F16")), "must be of dtype F32 or F64; got F16"),
        (edited(lambda header: header["params"].update(shape=[-26])), r"must have the shape \[26\] of MLP 3-4-2"),
        (edited(lambda header: header["messages"].update(shape=[2**40, 26])), r"\[k, 26\] with k >= 1"),
        (edited(lambda header: header["messages"].update(shape=[0, 26])), r"\[k, 26\] with k >= 1"),
        (edited(lambda header: header["messages"].update(data_offsets=[0, 100])), "safetensors cannot read it"),
        (edited(lambda header: header["__metadata__"].pop("lr")), "its metadata must be"),
        (edited(lambda header: header["__metadata__"].update(lr="NaN")), "NaN is no number"),
        (with_field("format", "labsec capture, format 2"), "its format must be 'labsec capture, format 1'"),
        (with_field("lr", 0), "needs a finite lr > 0; got lr=0"),
        (with_field("lr", True), "needs a finite lr > 0; got lr=True"),
        (with_field("local_steps", 0), "1 <= local_steps <= 1000000; got local_steps=0"),
        (with_field("batch_size", 1.5), "batch_size <= 1000000; got batch_size=1.5"),
        (with_field("round", -1), "0 <= round <= 1000000; got round=-1"),
        (with_field("model", {"constructor": "os.system", "arguments": {}}), "no model is made by 'os.system'"),
        (with_field("model", "mlp"), "no model can be made of its spec"),
        (with_spec(hidden=[5]), r"32\] .*of MLP 3-5-2; got \["),
        (with_spec(hidden=[-4]), "whole numbers > 0; got -4"),
        (with_spec(hidden=[10**400]), "a number in its model's spec must lie within ±"),
        (with_spec(hidden=[1] * 65), "must hold at most 64 numbers; got 65"),
        (with_spec(shape=[2**24], hidden=[]), "samples of at most 1048576 numbers"),
        (with_spec(activation="eval"), "no activation is called 'eval'"),
        (with_field("lr", float("1e300") * 10**9), "is not JSON|Infinity is no number"),
    ],
)
def test_what_is_no_capture_is_refused_in_words(content, said):
    with pytest.raises(NoCapture, match=said):
        decoded(content)


def test_the_refusal_names_the_file(tmp_path):
    path = tmp_path / "update.safetensors"
    path.write_bytes(b"hello")
    with pytest.raises(NoCapture, match=r"update\.safetensors is no captured update: it ends within the first 8"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


def test_a_large_file_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(capture, "MOST_BYTES", 1000)
    path = tmp_path / "update.safetensors"
    path.write_bytes(bytes(10_000))
    with pytest.raises(NoCapture, match="larger than 1000 bytes"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": torch.zeros(1, 26, dtype=torch.float16)}, "float32 or float64; got torch.float16"),
        ({"messages": torch.zeros(1, 25)}, r"messages must have the shape \[k, 26\]"),
        ({"messages": torch.zeros(0, 26)}, r"messages must have the shape \[k, 26\]"),
        ({"lr": math.nan}, "plain finite numbers"),
        ({"lr": -0.1}, "needs a finite lr > 0"),
        ({"model": models.mlp((3,), 2, hidden=(4,), activation=torch.sin)}, "has no spec"),
    ],
)
def test_a_view_that_could_not_be_read_back_is_not_written(changes, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        save(tmp_path / "update.safetensors", a_view(**changes))
    assert not list(tmp_path.iterdir())


def test_malformed_files_raise_the_documented_error_and_no_other():
    """2,000 of them here, 100,000 in `python -m benchmarks fuzz_service`."""
    outcomes = {}
    for name, mutant in fuzz_service.mutants(fuzz_service.valid(), 2000):
        outcomes.setdefault(name, set()).add(fuzz_service.outcome(mutant))
    assert set().union(*outcomes.values()) == {"refused", "read"}
    assert outcomes["cut"] == {"refused"}
    assert len(outcomes) == len(set(fuzz_service.MUTATIONS))


def test_the_fuzzing_counts_what_it_finds(monkeypatch):
    text = fuzz_service.main(cases=60)
    assert "60 malformed files (seed 0): 0 errors other than the documented one" in text

    def broken(_):
        raise KeyError("params")

    monkeypatch.setattr(fuzz_service, "decoded", broken)
    assert "60 malformed files (seed 0): 60 errors" in fuzz_service.main(cases=60)


# --- from a file to a folder


@pytest.fixture
def captured(tmp_path):
    """The file of one sample, and the sample."""
    scenario = Scenario(local_steps=1, batch_size=1)
    found = from_run(scenario)
    path = save(tmp_path / "update.safetensors", found.view)
    return path, scenario.data.x[Population(scenario).batches(0, torch.tensor([0])).flatten()]


def test_a_folder_holds_the_reconstruction_and_a_page_that_asks_for_nothing(captured, tmp_path):
    path, truth = captured
    told = []
    found = inversion.invert_file(path, tmp_path / "out", seconds=20, progress=lambda *now: told.append(now))
    assert metrics.psnr(found.estimate, truth)[0] > 80
    names = {each.name for each in (tmp_path / "out").iterdir()}
    assert names == {"metrics.json", "picture_00.png", "reconstruction.safetensors", "report.html"}
    assert told[-1][1] < 1e-9

    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert numbers["unexplained"] < 1e-9 < numbers["unexplained_by_a_guess"]
    assert numbers["method"] == "analytic"
    assert [rung["name"] for rung in numbers["rungs"] if not rung["reason"]] == ["analytic first layer"]

    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "your own data and systems only" in page
    assert page.count("data:image/png;base64,") == 1


def test_a_second_call_goes_on_from_the_best_that_was_kept(tmp_path):
    model = models.convnet((1, 8, 8), 10, activation=torch.tanh)
    found = from_run(Scenario(data=data.load("digits"), model=model, local_steps=1, batch_size=2))
    path = save(tmp_path / "update.safetensors", found.view)
    first = inversion.invert_file(path, tmp_path / "out", seconds=1)
    second = inversion.invert_file(path, tmp_path / "out", seconds=4)
    assert first.rungs[0].reason.startswith("there is no candidate yet")
    assert second.rungs[0].reason == "" or "explains the message already" in second.rungs[0].reason
    assert second.unexplained <= first.unexplained
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert numbers["seconds"] >= first.seconds

    # A budget that is spent leaves the result as it is.
    third = inversion.invert_file(path, tmp_path / "out", seconds=0.5)
    assert torch.equal(third.estimate, second.estimate)


def test_nothing_is_overwritten(captured, tmp_path):
    path, _ = captured
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(inversion.OtherFolder, match="mine holds other files, which are kept"):
        inversion.invert_file(path, tmp_path / "mine")
    inversion.invert_file(path, tmp_path / "out", seconds=5)
    other = save(tmp_path / "other.safetensors", load(path).view, round=1)
    with pytest.raises(inversion.OtherFolder, match="out holds the result of another message"):
        inversion.invert_file(other, tmp_path / "out")
    (tmp_path / "out" / inversion.RESULT).write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"reconstruction\.safetensors is broken \(no earlier result"):
        inversion.invert_file(path, tmp_path / "out")


def test_a_message_that_cannot_be_attacked_writes_nothing(tmp_path):
    path = save(tmp_path / "update.safetensors", a_view(messages=torch.full((1, 26), math.nan)))
    with pytest.raises(ValueError, match="needs a finite message; message 0 holds 26 NaN"):
        inversion.invert_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_strangers_words_are_escaped_on_the_page(captured, tmp_path):
    path, _ = captured
    inversion.invert_file(path, tmp_path / "out", seconds=5)
    told = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    told["assumptions"] = ["<script>alert('a & b')</script>"]
    told["model"] = '"><img src=x>'
    page = inversion.inversion_page.page(told, [])
    assert "&lt;script&gt;alert(&#x27;a &amp; b&#x27;)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page


def test_every_picture_is_large_enough_to_look_at():
    from io import BytesIO

    from PIL import Image

    for shape in ((1, 8, 8), (3, 64, 64), (1, 28, 28), (30,), (2, 5)):
        width, height = Image.open(BytesIO(inversion.picture(torch.rand(shape)))).size
        assert max(width, height) >= 96
