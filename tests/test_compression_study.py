"""What compression is worth: the attackers are what they say, and the committed table comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from labsec import compress, storage
from labsec.data import load as load_data
from labsec.study import compression
from labsec.study.matrix.stamp import split

TABLE = compression.load()


def numbers(family, rate, *, attacker="adaptive", observations=1, column="median_psnr"):
    """One column of the table for one setting, a number for each seed."""
    chosen = (TABLE["family"] == family) & (TABLE["rate"] == rate) & (TABLE["attacker"] == attacker)
    return TABLE[chosen & (TABLE["observations"] == observations)][column]


# --- the attackers


def test_without_compression_both_attackers_read_everything():
    for adaptive in (False, True):
        found = compression.leak(compression.uncompressed(), seed=0, observations=1, adaptive=adaptive)
        assert found.success == found.reidentified == 1
        assert found.median_psnr > 60


def test_what_is_read_is_what_was_sent_and_not_the_update_behind_it():
    """Two clients whose messages are alike are read alike, whatever they held back."""
    method = compression.largest(0.1)
    view = compression.messages(method, seed=0, client=0, place=5, observations=1)
    assert torch.equal(view.messages, compress.top_k(view.messages, keep=0.1)), "nothing but the kept entries"
    digits = load_data("digits")
    label = int(digits.y_test[5])
    one = compression.pictured(method, view, label=label, adaptive=True)
    other = compression.pictured(method, replace(view), label=label, adaptive=True)
    assert torch.equal(one, other)


def test_copies_are_redrawn_where_there_is_chance_and_alike_where_there_is_none():
    for method in compression.METHODS:
        sent = compression.messages(method, seed=0, client=0, place=0, observations=2).messages
        assert torch.equal(sent[0], sent[1]) != method.redraws, method.name


def test_who_knows_the_pattern_reads_what_the_plain_attacker_does_not():
    plain, knowing = (
        compression.leak(compression.drawn(0.2), seed=0, observations=1, adaptive=adaptive)
        for adaptive in (False, True)
    )
    assert knowing.median_psnr > plain.median_psnr + 8


def test_an_adaptive_attacker_fails_where_nothing_is_left():
    """SFSQ with almost every second sign flipped: one message is next to a coin for each entry."""
    found = compression.leak(compression.flipped(0.45), seed=0, observations=1, adaptive=True)
    assert found.success == 0
    assert found.median_psnr < 15


def test_the_bounds_are_fixed_beforehand_and_fit():
    """One entry in a hundred is clipped in the rehearsal; on a seed of the table it is about as many."""
    method = compression.uncompressed()
    sent = compression.messages(method, seed=0, client=0, place=0, observations=1).messages
    assert 0.001 < float((sent.abs() > compression.bound_when_read()).float().mean()) < 0.05
    assert compression.REHEARSAL not in compression.SEEDS


def test_every_part_has_a_name_of_its_own():
    names = [method.name for method in compression.METHODS]
    assert len(set(names)) == len(names)
    assert "sfsq(flip=0.25)" in names
    assert "sign" in names


def test_bad_settings_are_named():
    method = compression.largest(0.1)
    with pytest.raises(ValueError, match="leak needs a whole number observations >= 1; got observations=0"):
        compression.leak(method, seed=0, observations=0, adaptive=False)
    with pytest.raises(TypeError, match="adaptive to be of type bool"):
        compression.leak(method, seed=0, observations=1, adaptive=1)
    with pytest.raises(TypeError, match="method to be of type Method"):
        compression.cost("sign", seed=0)


# --- the table


def test_the_table_is_whole_and_made_of_these_settings():
    methods = len(compression.METHODS)
    assert len(TABLE) == methods * len(compression.SEEDS) * len(compression.OBSERVATIONS) * 2
    stamp, _ = split(compression.TABLE, storage.read_text(compression.TABLE, ""), "")
    assert stamp.settings == compression.settings(), f"run `{compression.COMMAND}`"


@pytest.mark.parametrize(
    ("method", "observations", "adaptive"),
    [
        (compression.largest(0.1), 1, True),
        (compression.drawn(0.1), 10, True),
        (compression.rounded(4), 1, False),
        (compression.flipped(0.25), 10, True),
    ],
    ids=["top-k", "random-k", "QSGD", "SFSQ"],
)
def test_a_row_comes_back(method, observations, adaptive):
    found = compression.leak(method, seed=1, observations=observations, adaptive=adaptive)
    attacker = "adaptive" if adaptive else "plain"
    for column, value in vars(found).items():
        (row,) = (
            value
            for seed, value in zip(
                numbers(method.family, method.rate, attacker=attacker, observations=observations, column="seed"),
                numbers(method.family, method.rate, attacker=attacker, observations=observations, column=column),
                strict=True,
            )
            if seed == 1
        )
        assert row == pytest.approx(value, abs=0.6 if column == "median_psnr" else 0.01)


def test_a_cost_comes_back():
    found = compression.cost(compression.largest(0.02), seed=1)
    for column, value in vars(found).items():
        rows = numbers("top-k", 0.02, column=column)
        assert rows.iloc[1] == pytest.approx(value, abs=0.02 * max(1, abs(value)))


def test_a_cut_table_is_told(tmp_path, monkeypatch):
    short = tmp_path / "short.csv"
    lines = compression.TABLE.read_text().splitlines(keepends=True)
    short.write_text("".join(lines[:-1]))
    monkeypatch.setattr(compression, "TABLE", short)
    compression.load.cache_clear()
    with pytest.raises(storage.BrokenFileError, match=f"holds {len(lines) - 3} of {len(lines) - 2} rows"):
        compression.load()
    compression.load.cache_clear()


# --- what the lab says of it, on five seeds


def test_no_compression_that_keeps_the_accuracy_stops_who_has_suspects():
    """Wherever accuracy is within two points of the plain run, fifty messages name nearly everybody."""
    full = numbers("none", 1.0, column="accuracy").mean()
    for method in compression.METHODS:
        if numbers(method.family, method.rate, column="accuracy").mean() > full - 0.02:
            assert numbers(method.family, method.rate, observations=50, column="reidentified").mean() > 0.7, method.name


def test_feedback_gives_back_what_the_largest_two_percent_cost():
    plain = numbers("top-k", 0.02, column="accuracy")
    mended = numbers("top-k", 0.02, column="accuracy_feedback")
    assert (mended > plain).all()


def test_copies_help_where_there_is_chance_and_nowhere_else():
    for family, rate in (("random-k", 0.05), ("QSGD", 2), ("SFSQ (our reading)", 0.25)):
        one = numbers(family, rate).mean()
        fifty = numbers(family, rate, observations=50).mean()
        assert fifty > one + 3, family
    assert list(numbers("sign", 1)) == list(numbers("sign", 1, observations=50))


def test_the_picture_says_what_it_shows():
    said = repr(compression.draw(TABLE))
    assert said.startswith("Eight plots, two for each of four families of compression. top-k at 0.02, fifty messages: ")
