"""The study of what noise costs and hides: its settings, its observers, and that the committed table is whole."""

from __future__ import annotations

from math import inf, isnan, sqrt
from pathlib import Path

import pytest

from labsec import storage
from labsec.study import leakage


def test_every_place_has_the_noise_of_one_relation() -> None:
    noise = {place: leakage.terms(place).noise_for(4.0) for place in ("local", "central", "dp_sgd")}
    assert len(set(noise.values())) == 1
    assert leakage.federation(place="local", epsilon=4.0, seed=0).client_stages[0].keywords["noise"] == noise["local"]  # type: ignore[attr-defined]
    assert leakage.federation(place="central", epsilon=4.0, seed=0).aggregate.keywords["noise"] == noise["central"]  # type: ignore[attr-defined]
    assert leakage.federation(place="dp_sgd", epsilon=4.0, seed=0).train.keywords["noise"] == noise["dp_sgd"]  # type: ignore[attr-defined]
    assert (leakage.terms("local").unit, leakage.terms("dp_sgd").unit) == ("client", "example")


def test_one_class_is_rare_in_training_and_not_in_the_test() -> None:
    counts = leakage.digits().y.bincount()
    assert int(counts[leakage.RARE]) == leakage.RARE_SAMPLES < int(counts[counts != leakage.RARE_SAMPLES].min()) / 2
    assert int((leakage.digits().y_test == leakage.RARE).sum()) > 25


def test_without_noise_all_is_read_and_with_much_nothing() -> None:
    for place in ("local", "dp_sgd"):
        plain = leakage.leakage(place, "server", 0.0, 0)
        assert (plain["plain"], plain["aware"], plain["labels"]) == (1, 1, 1)
        assert plain["membership"] > 0.99
        loud = leakage.leakage(place, "server", 1e4, 0)
        assert loud["plain"] == 0
        assert loud["aware"] <= 0.03
        assert loud["membership"] == pytest.approx(0.5, abs=0.06)
        assert loud["labels"] == pytest.approx(0.1, abs=0.1)


def test_somebody_who_knows_of_the_noise_reads_where_redrawing_shows_nothing() -> None:
    found = leakage.leakage("local", "server", leakage.terms("local").noise_for(1e4), 0)
    assert found["plain"] == 0
    assert found["aware"] > 0.5
    assert found["labels"] > 0.9


def test_a_trusted_server_reads_all_whatever_is_stated_of_its_models() -> None:
    row = leakage.row("central", "server", 1.0, 0)
    assert (row["plain"], row["aware"], row["labels"]) == (1, 1, 1)
    assert row["accuracy"] < 0.5


def test_nobody_reads_labels_of_single_clients_off_a_mean() -> None:
    found = leakage.leakage("central", "public", 0.0, 0)
    assert isnan(found["labels"])
    assert found["plain"] < 0.1
    with pytest.raises(ValueError, match="needs an observer out of"):
        leakage.leakage("local", "public", 0.0, 0)


def test_all_rounds_together_have_the_noise_of_one_over_their_root() -> None:
    row = leakage.row("local", "server", 3000.0, 1)
    assert row["aware_all"] == leakage.leakage("local", "server", row["noise"] / sqrt(50), 1)["aware"]
    assert row["aware_all"] > row["aware"]


def test_the_committed_table_is_whole_and_a_row_comes_back() -> None:
    frame = leakage.load_table()
    counts = frame.groupby(["place", "observer"]).size().to_dict()
    each = len(leakage.EPSILONS) * len(leakage.SEEDS)
    assert counts == {
        ("none", "server"): len(leakage.SEEDS),
        ("local", "server"): each,
        ("central", "public"): each,
        ("central", "server"): each,
        ("dp_sgd", "server"): each,
    }
    chosen = frame[(frame["place"] == "dp_sgd") & (frame["epsilon"] == 300.0) & (frame["seed"] == 2)].iloc[0]
    found = leakage.row("dp_sgd", "server", 300.0, 2)
    for name, number in found.items():
        if isinstance(number, float):
            assert number == pytest.approx(chosen[name], abs=0.03, rel=0.03), name


def test_a_cut_table_is_told(tmp_path: Path) -> None:
    frame = leakage.load_table()
    leakage.save(frame, tmp_path / "table.csv")
    assert leakage.load_table(tmp_path / "table.csv").equals(frame)
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(storage.BrokenFileError, match="rows"):
        leakage.load_table(tmp_path / "cut.csv")


def test_the_picture_speaks_of_every_place_and_leaves_out_what_was_not_read() -> None:
    alt = leakage.picture(leakage.load_table()).alt
    for words in ("read by the server: labels", "read off the models: recognised", "DP-SGD, ε per example"):
        assert words in alt
    assert "read off the models: labels" not in alt


def test_an_infinite_epsilon_clips_and_adds_no_noise() -> None:
    stage = leakage.federation(place="local", epsilon=inf, seed=0).client_stages[0]
    assert (stage.keywords["noise"], stage.keywords["clip"]) == (0.0, leakage.CLIP)  # type: ignore[attr-defined]
