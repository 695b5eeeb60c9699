"""The claims of lab 07: what is measured is what is said, and each verdict follows from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch

from labsec.course.claims import lab07 as measures
from labsec.course.claims.base import Spread, Summary
from labsec.study.leakage import with_noise


def summary(numbers: Sequence[float]) -> Summary:
    return {
        "mean": sum(numbers) / len(numbers),
        "std": 0.0,
        "min": min(numbers),
        "max": max(numbers),
        "seeds": [*numbers],
    }


def spread(numbers: Mapping[str, float], **others: Sequence[float]) -> Spread:
    """The same number for every seed, but for some."""
    return {name: summary(others.get(name, [number] * 5)) for name, number in numbers.items()}


# --- claim 38b


def test_claim_38b_is_about_both_together_in_both_ways() -> None:
    names = measures.combinations()
    safe = spread(dict.fromkeys(names, 1.0))
    assert measures.is_a_baseline(safe, safe) == "held"
    dear = spread({**dict.fromkeys(names, 1.0), "noise at the client + robust": 4.0})
    assert measures.is_a_baseline(safe, dear).startswith("depends on what is combined: only neither, robust alone")
    lost = spread(dict.fromkeys(names, 11.0))
    assert measures.is_a_baseline(lost, safe) == "did not hold"


def test_claim_38b_states_ten_for_every_noise() -> None:
    for place, server in measures.combinations().values():
        scenario = with_noise(place, measures.terms(place).noise_for(measures.STATED_38), 0, **server)
        if place == "dp_sgd":
            assert scenario.train.keywords["noise"] == pytest.approx(2 * 3.53, rel=0.01)  # type: ignore[attr-defined]
        if place == "local":
            assert scenario.client_stages[0].keywords["noise"] == pytest.approx(2 * 3.53, rel=0.01)  # type: ignore


# --- claim 39


def test_the_same_four_is_four_or_much_more_by_what_is_meant() -> None:
    found = measures.epsilon_of_readings(0)
    assert found["at the client, for the run"] == pytest.approx(4, abs=1e-6)
    assert found["at the client, for each round"] == pytest.approx(48.5, abs=0.1)
    assert found["at the server, for the run"] == pytest.approx(4, abs=1e-6)
    assert 8 < found["at the server, zero-out"] < 10
    assert found["DP-SGD, for an example"] > 100


def test_nobody_holds_more_samples_than_the_account_of_a_client_counts() -> None:
    scenario = with_noise("none", 0.0, 10, data=measures.digits(), probes={})
    assert -(-len(scenario.data.y) // scenario.clients) == measures.OWN_SAMPLES


def test_claim_39_asks_for_four_and_for_a_price_that_can_be_borne() -> None:
    cheap = spread(dict.fromkeys(measures.readings(), 5.0))
    private = spread(dict.fromkeys(measures.readings(), 4.0))
    assert measures.keeps_four(cheap, private) == "held"
    dear = spread(dict.fromkeys(measures.readings(), 5.0), **{"at the server, zero-out": [5.0, 5, 5, 5, 11]})
    assert "at the server, zero-out" not in measures.keeps_four(dear, private)
    assert measures.keeps_four(dear, private).startswith("depends on what is meant")
    assert measures.keeps_four(cheap, spread(dict.fromkeys(measures.readings(), 4.1))) == "did not hold"


# --- claim 40


def test_a_suspect_is_named_by_lot_where_there_is_much_noise_and_surely_where_there_is_none() -> None:
    hidden = measures.share_named(0, epsilon=0.01, rounds=10, rate=1.0)
    assert hidden < 5
    assert measures.share_named(0, epsilon=1e4, rounds=10, rate=1.0) == 100


def test_many_steps_are_one_step_where_all_are_drawn() -> None:
    """Their sum is one Gaussian with the same epsilon: only chance lies between the two."""
    once = measures.share_named(3, epsilon=20.0, rounds=1, rate=1.0)
    often = measures.share_named(3, epsilon=20.0, rounds=30, rate=1.0)
    assert once == pytest.approx(often, abs=12)


def test_who_is_hardly_ever_drawn_is_hardly_ever_named() -> None:
    """In one step of a hundredth, ninety-nine of a hundred targets were not there to be seen."""
    share = measures.share_named(0, epsilon=30.0, rounds=1, rate=0.01)
    assert share < 6


def test_products_of_suspects_are_those_of_unit_rows() -> None:
    products = measures.products_of_suspects(0)
    torch.testing.assert_close(products.diagonal(), torch.ones(100, dtype=torch.float64), atol=1e-5, rtol=0)
    assert float(torch.linalg.eigvalsh(products).min()) > -1e-6


def test_claim_40_compares_settings_of_one_epsilon_seed_by_seed() -> None:
    alike = spread(dict.fromkeys(measures.SETTINGS, 50.0))
    assert measures.says_the_risk(alike, alike) == "held"
    some = {name: [61.0] * 5 for name in measures.SETTINGS if name.startswith("ε = 10, 1 step")}
    assert measures.says_the_risk(spread(dict.fromkeys(measures.SETTINGS, 50.0), **some), alike) == (
        "depends on ε: only at 2.5, 30"
    )
    once = {name: [61.0, 61, 61, 61, 50] for name in some}
    assert measures.says_the_risk(spread(dict.fromkeys(measures.SETTINGS, 50.0), **once), alike) == "held"
    all_apart = {name: [70.0] * 5 for name in measures.SETTINGS if "1 step" in name}
    assert measures.says_the_risk(spread(dict.fromkeys(measures.SETTINGS, 50.0), **all_apart), alike) == "did not hold"


# --- claim 41


def test_claim_41_holds_both_places_to_one_relation() -> None:
    for place, epsilon in measures.COMPARED.values():
        assert measures.terms(place).relation == "replace-one"
        assert measures.terms(place).epsilon(measures.terms(place).noise_for(epsilon)) == pytest.approx(epsilon)


def test_claim_41_asks_every_seed() -> None:
    free = spread(dict.fromkeys(measures.COMPARED, 0.0))
    assert measures.avoids_the_loss(free, free) == "held"
    once = spread(dict.fromkeys(measures.COMPARED, 0.0), **{"ε = 4, noise at the client": [0.0, 0, 0, 0, 6]})
    assert "ε = 4, noise at the client" not in measures.avoids_the_loss(once, free)
    assert measures.avoids_the_loss(spread(dict.fromkeys(measures.COMPARED, 6.0)), free) == "did not hold"


def test_noise_at_the_client_costs_more_than_at_the_server() -> None:
    noise = measures.terms("local").noise_for(10.0)
    assert measures.points_lost("local", noise, 0) > measures.points_lost("central", noise, 0) + 30
