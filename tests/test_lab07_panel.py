"""The panel of lab 07: its numbers are those of the committed table, and its five messages are what they seem."""

from math import inf

import pytest
import torch

from labsec.course.panels import lab07
from labsec.study import leakage

PLACES = [("local", "server"), ("central", "server"), ("central", "public"), ("dp_sgd", "server")]


def state(**controls):
    values = {"epsilon": lab07.START, "place": "local", "observer": "server", "kept": 50, **controls}
    (found,) = lab07.compute(**values)
    return found, lab07.reading(values, found)


@pytest.mark.parametrize(("place", "observer"), PLACES)
def test_every_epsilon_has_its_row_in_the_table(place, observer):
    table = leakage.load_table()
    first = lab07.curves(place, observer, 1)
    together = lab07.curves(place, observer, 50)
    for at, epsilon in enumerate(lab07.EPSILONS):
        rows = table[(table.place == place) & (table.observer == observer) & (table.epsilon == epsilon)]
        assert len(rows) == len(leakage.SEEDS)
        assert first.mean["accuracy"][at] == together.mean["accuracy"][at] == pytest.approx(100 * rows.accuracy.mean())
        assert first.low["membership"][at] == pytest.approx(100 * rows.membership.min())
        assert together.high["aware"][at] == pytest.approx(100 * rows.aware_all.max())


@pytest.mark.parametrize(("place", "observer"), [each for each in PLACES if each[1] == "server"])
def test_what_is_shown_is_among_what_the_table_counts(place, observer):
    """Five of the hundred messages of the table's first seed: recognised and redrawn like all of them."""
    for epsilon in (4.0, 1e5, inf):
        noise = 0.0 if place == "central" else leakage.terms(place).noise_for(epsilon)
        whole = leakage.leakage(place, observer, noise, lab07.SEED)
        leak = lab07.read(noise=noise, place=place, observer=observer)
        if whole["aware"] in (0.0, 1.0):
            assert leak.right.float().mean() == whole["aware"]
        if whole["plain"] in (0.0, 1.0):
            assert (leak.psnr >= leakage.READ_FROM).float().mean() == whole["plain"]
        same = (leak.recognised == leak.truth).flatten(1).all(dim=1)
        assert torch.equal(same, leak.right)


def test_all_messages_tell_more_than_one():
    """The noise of the mean of 50: what a single message hides at this epsilon, all of them show."""
    together, said = state(epsilon=1e4)
    alone, said_alone = state(epsilon=1e3, kept=1)
    assert int(together.leak.right.sum()) == 5 > int(alone.leak.right.sum())
    assert "Out of all 50 rounds" in said
    assert "Out of the first round" in said_alone
    for name in ("aware", "labels", "membership"):
        assert (together.curves.mean[name] >= alone.curves.mean[name] - 1).all()


def test_without_noise_everything_is_read_and_under_a_small_epsilon_nothing():
    free, _ = state(epsilon=inf)
    assert free.leak.right.all()
    assert free.leak.labels == free.leak.classes
    assert (free.leak.psnr > 60).all()
    hidden, said = state(epsilon=1.0, kept=1)
    assert not hidden.leak.right.any()
    assert (hidden.leak.psnr < 15).all()
    assert "ε = 1 per client for the whole run of 50 rounds, δ = 1e-05, replace-one neighbours" in said


def test_who_sees_only_the_models_sees_no_label_and_a_sum():
    found, said = state(place="central", observer="public")
    assert found.leak.labels is None
    assert "sees no single label" in said
    assert all("label" not in mark for mark in lab07._marks(found.leak))
    assert lab07.guess("aware", "public") == pytest.approx(100 * 100 / len(leakage.digits().y))


def test_a_trusted_server_reads_messages_without_noise_whatever_epsilon_is_promised():
    promised, said = state(place="central", epsilon=1.0)
    assert promised.leak.right.all()
    assert "the server reads messages without noise" in said
    assert state(epsilon=1.0)[1].endswith("against everybody: odds may change by a factor of 2.7.")
    assert "per example" in state(place="dp_sgd", epsilon=1.0)[1]
    assert state(epsilon=inf)[1].endswith("No noise, no guarantee.")
