"""What the studies of masking and of malicious servers measure, and the committed table."""

import math

import pytest
import torch

from labsec.study import alarm, masking

TABLE = masking.PAGE / "masking_leakage.csv"


def test_the_mean_digit_is_nothing_read():
    places = torch.arange(6)
    grey = masking.load("digits").x.mean(dim=0).expand(6, -1, -1, -1)
    found = masking.scored(grey, places)
    assert found.success == 0
    assert 8 < found.median_psnr < 16
    assert found.reidentified < 0.5


def test_the_originals_are_everything():
    places = torch.tensor([3, 7, 11])
    found = masking.scored(masking.load("digits").x[places], places)
    assert found == masking.Leak(success=1.0, median_psnr=120.0, reidentified=1.0)


def test_fresh_messages_of_a_random_mask_differ_and_those_of_a_fixed_one_do_not():
    digits = masking.load("digits")
    for case, is_random in ((masking.random_bottleneck(8), True), (masking.masked_features(0.5), False)):
        model = case.network(digits.shape, digits.classes)
        view = masking.messages(case, model, seed=0, client=0, place=5, observations=2)
        assert (not torch.equal(view.messages[0], view.messages[1])) == is_random


def test_more_pictures_behind_a_message_hide_each_of_them():
    shares = [masking._batch(masking.mlp, 0, batch=batch, steps=1) for batch in (1, 16, 64)]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] >= shares[2]


def test_whose_server_is_noticed():
    shares = alarm.reported(7)
    assert shares[alarm.HONEST] <= 0.2
    for name in ("bins for all samples", "trap weights", "one live neuron"):
        assert shares[name] >= 0.9
    assert shares["trap weights, hidden"] <= 0.2


def test_a_server_that_hides_reads_hardly_more_than_one_that_only_reads():
    shares = alarm.read_by(7)
    assert shares["bins for all samples"] > shares[alarm.HONEST] + 0.3
    assert shares["trap weights, hidden"] < shares[alarm.HONEST] + 0.1


def test_the_committed_table_is_what_a_seed_gives_again():
    import pandas as pd

    frame = pd.read_csv(TABLE)
    row = frame[(frame.method == "soteria(share=0.8)") & (frame.seed == 1) & (frame.observations == 1)]
    for attacker, adaptive in (("plain", False), ("adaptive", True)):
        here = masking.leak(masking.masked_features(0.8), seed=1, observations=1, adaptive=adaptive)
        known = row[row.attacker == attacker].iloc[0]
        assert here.success == pytest.approx(known.success, abs=0.21)
        assert math.isfinite(known.accuracy)
    assert sorted(frame.seed.unique()) == [*masking.SEEDS]
