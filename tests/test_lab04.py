"""Lab 04: what its panel shows, what its claims measure, and what its text says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from labsec import Scenario, invert, metrics, models, rounds, service
from labsec.course.claims import lab04 as measures
from labsec.course.claims.base import Summary
from labsec.course.panels import lab04, lab04_leak, lab04_pictures
from labsec.data import load
from labsec.study import capture
from labsec.types import ServerView, generator

START: dict[str, Any] = {"batch": 1, "steps": 1, "simulates": True, "noise": 0.0, "trained": False}


def last(**controls: Any) -> tuple[lab04.Emerging, str]:
    values = START | controls
    *_, state = lab04.compute(**values)
    return state, lab04.reading(values, state)


# --- the panel


def test_a_picture_emerges_from_its_own_message_and_not_from_a_strangers() -> None:
    first, *_, state = lab04.compute(**START)
    assert first.scores[0] < 10
    assert state.scores[-1] > 30
    assert state.by_chance[-1] < 15
    assert state.recovered == 1
    assert metrics.psnr(state.found[None], state.truth[None]) == pytest.approx(state.scores[-1])


def test_the_search_never_goes_back_and_its_states_are_numbered_as_they_are_drawn() -> None:
    state, _ = last()
    assert state.losses == sorted(state.losses, reverse=True), "the best pictures are kept"
    assert lab04._iterations(len(state.losses))[-1] == lab04.ITERATIONS - 1


def test_the_search_is_that_of_the_package() -> None:
    """It is written as an iterator over two messages: with one of them, both find the picture about as well."""
    view, x, labels = lab04.messages(batch=1, steps=1, noise=0.0, trained=False)
    package = invert.cosine(view, labels=labels, generator=generator(0, "test"), iterations=lab04.ITERATIONS)
    *_, (_, best, _) = lab04.search(view, labels, simulates=True, draws=generator(0, "test"))
    scores = metrics.psnr(torch.stack([package.estimate[0], best[0, 0]]), x[0].expand(2, -1, -1, -1))
    assert float(scores.min()) > 30


def test_more_pictures_hide_each_other() -> None:
    one, _ = last()
    eight, said = last(batch=8)
    assert eight.scores[-1] < one.scores[-1] - 5
    assert said.startswith("8 pictures, 1 local step, a fresh model; ")
    assert "Median PSNR" in said


def test_several_steps_stop_who_takes_the_message_for_one_gradient() -> None:
    naive, said = last(steps=2, simulates=False)
    patient, _ = last(steps=2)
    assert naive.scores[-1] < 25 < patient.scores[-1]
    assert "taken for one gradient" in said


def test_what_would_be_sent_after_several_steps_is_what_training_sends() -> None:
    view, x, labels = lab04.messages(batch=2, steps=2, noise=0.0, trained=False)
    sent = lab04._sent(view, labels, 2)(x)  # [messages, …] each
    flat = torch.cat([part.flatten(1) for part in sent], dim=1)
    torch.testing.assert_close(flat, -view.messages / view.lr, rtol=1e-3, atol=1e-4)


def test_the_message_of_a_trained_model_is_short_so_that_little_noise_hides_it() -> None:
    fresh, _ = last(noise=1e-4)
    trained, said = last(noise=1e-4, trained=True)
    assert fresh.message[0] > 100 * trained.message[0]
    assert fresh.scores[-1] > 30
    assert trained.scores[-1] < 15
    assert "of it noise" in said


def test_the_stranger_holds_other_pictures_of_the_same_classes() -> None:
    x, _ = lab04._people()
    distances = torch.cdist(x[0].flatten(1), x[1].flatten(1))  # [8, 8]
    assert float(distances.min()) > 1


# --- the truth, and the service


def test_behind_a_message_are_the_samples_that_would_send_it() -> None:
    s = Scenario(rounds=1, local_steps=1, batch_size=1, model=models.mlp((1, 8, 8), 10))
    first = next(rounds(s))
    x, y = lab04_leak.behind(s, first, client=3)
    view = ServerView(
        params=first.before,
        messages=first.messages[first.clients == 3],
        model=s.network(),
        lr=s.lr,
        local_steps=1,
        batch_size=1,
    )
    assert float(metrics.psnr(invert.analytic(view), x)) > 80
    assert invert.label(view) == int(y)
    with pytest.raises(ValueError, match="client 99 took no part in round 0"):
        lab04_leak.behind(s, first, client=99)


def test_a_file_goes_up_and_a_picture_comes_down(tmp_path: Path) -> None:
    s = Scenario(rounds=1, local_steps=1, batch_size=1, model=models.mlp((1, 8, 8), 10))
    captured = capture.from_run(s)
    x, _ = lab04_leak.behind(s, next(rounds(s)), client=0)
    file = capture.save(tmp_path / "update.safetensors", captured.view)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"hello")
    with service.running(seconds=120) as started:
        with pytest.raises(RuntimeError, match="no captured update"):
            lab04_leak.uploaded(started, broken)
        picture, said = lab04_leak.uploaded(started, file)
    assert float(metrics.psnr(picture, x)) > 80
    assert said.startswith("analytic, ")


# --- claims


def spread(ends: dict[str, tuple[float, float]]) -> dict[str, Summary]:
    return {name: Summary(mean=0, std=0, min=low, max=high, seeds=[low, high]) for name, (low, high) in ends.items()}


def test_a_picture_counts_only_beyond_the_mean_picture() -> None:
    truth = torch.full((1, 1, 2, 2), 0.5)
    near = truth + 0.01  # 40 dB
    assert measures.share(near, truth, mean=truth[0] + 0.2) == 100
    assert measures.share(near, truth, mean=truth[0] + 0.02) == 0, "6 dB beyond a mean that is near, too"
    assert measures.share(truth + 0.1, truth, mean=truth[0] + 0.5) == 0, "20 dB"
    assert measures.share(truth * torch.nan, truth, mean=truth[0] + 0.5) == 0


def test_a_strangers_message_is_the_next_clients() -> None:
    pictures = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None, None].expand(3, 1, 1, 2, 2)
    mean = torch.full((1, 2, 2), 0.25)
    right = [(each, each) for each in pictures]
    assert measures.own_share(right, mean) == pytest.approx(100)
    assert measures.strange_share(right, mean) == 0
    shifted = [(pictures[i - 1], pictures[i]) for i in range(3)]
    assert measures.own_share(shifted, mean) == 0
    assert measures.strange_share(shifted, mean) == pytest.approx(100), "the next client's gave this one away"


def test_likeness_asks_who_was_there_and_not_how_sharp_the_picture_is() -> None:
    samples = load("mnist5k")
    truth = samples.x[:4]
    noise = torch.randn(truth.shape, generator=generator(0, "test"))
    noisy = truth + 0.3 * noise  # about 10 dB
    assert float(metrics.psnr(noisy, truth).max()) < 12
    assert measures.likeness(noisy, truth) == 100
    assert measures.likeness(noisy, samples.x[10:14]) == 0


def test_claims_on_shares_ask_for_points_beyond_the_stranger_in_every_seed() -> None:
    clear = spread({"a": (50.0, 90.0), "b": (100.0, 100.0)})
    none = spread({"a": (0.0, 0.0), "b": (0.0, 0.0)})
    lucky = spread({"a": (0.0, 0.0), "b": (0.0, 51.0)})
    assert measures.where_it_leaks(clear, none) == "held"
    assert measures.where_it_leaks(clear, lucky) == "depends on the setting: so for a"
    assert measures.where_it_leaks(none, none) == "did not hold"
    assert measures.where_it_succeeds(clear, none) == "depends on the setting: so for b"


def test_claim_16_asks_what_a_guess_without_a_message_scores() -> None:
    found = spread({"cosine": (99.0, 100.0), "SSIM": (94.0, 99.0)})
    assert measures.by_which_metric(found, spread({"cosine": (94.0, 95.0), "SSIM": (40.0, 50.0)})).endswith(
        "so for SSIM"
    )
    assert measures.by_which_metric(found, spread({"cosine": (94.0, 95.0), "SSIM": (40.0, 84.0)})) == "did not hold"


def test_the_mean_face_is_93_percent_like_any_face_by_the_cosine_and_is_nobody() -> None:
    nothing = measures.fidelity_of_nothing(0)
    assert nothing["cosine"] > 93
    assert nothing["read out"] == 0
    faces = measures.people()
    assert faces.shape == (100, 1, 25, 25)
    guess = measures.mean_face().expand_as(faces)
    assert float(metrics.reidentified(guess, faces, torch.arange(100)).float().mean()) <= 0.01


def test_claim_18_compares_seed_by_seed() -> None:
    read = spread({"16": (30.0, 40.0), "64": (36.0, 26.0)})
    assert measures.at_which_size(read, spread({"16": (20.0, 30.0), "64": (26.0, 16.0)})) == "held"
    assert measures.at_which_size(read, spread({"16": (20.0, 30.1), "64": (26.0, 16.0)})).endswith("so for 64")


def test_a_gradient_is_not_linear_in_the_picture_unless_its_slope_is_held_fixed() -> None:
    bends = dict(measures.bent(0))
    # At the start each place looks at all others alike, and the values pass almost as through a mean.
    assert 1e-3 < bends.pop("self-attention, values") < measures.LINEAR
    assert min(bends.values()) > measures.LINEAR
    assert max(measures.bent_at_a_fixed_slope(0).values()) < 1e-9


def test_the_division_reads_every_single_picture_of_a_dense_network() -> None:
    pairs = measures.read_out(measures.DENSE, 0)
    assert measures.own_share(pairs, measures.mean_picture("mnist5k")) == 100
    assert measures.strange_share(pairs, measures.mean_picture("mnist5k")) == 0


def test_no_two_clients_of_a_seed_hold_the_same_picture() -> None:
    for setting in (measures.FACE, measures.SENSITIVE["faces, ReLUs, 8 faces"]):
        held = torch.cat([measures.message(setting, 11, client)[1] for client in range(setting.clients)])
        assert len(held.flatten(1).unique(dim=0)) == setting.clients * setting.batch


def test_an_attack_that_refuses_a_message_is_left_with_grey() -> None:
    def refuses(view: ServerView, labels: Tensor, seed: int) -> Tensor:
        raise ValueError("nothing in it")

    pairs = measures.read_out(replace(measures.DENSE, attack=refuses), 0)
    assert all(bool((found == 0.5).all()) for found, _ in pairs)
    assert measures.own_share(pairs, measures.mean_picture("mnist5k")) == 0


def test_claim_17_counts_the_seconds_of_the_attack_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by three at every look: each message costs three, however many there are."""
    looks = itertools.count(0, 3)
    monkeypatch.setattr(measures, "process_time", lambda: float(next(looks)))
    four = replace(measures.DENSE, clients=4)
    measures.searched.cache_clear()
    assert measures.searched(four, 0).seconds == 3.0
    monkeypatch.setattr(measures, "BATCHES", {"dense": four})
    monkeypatch.setattr(measures, "searched_fedavg", lambda seed: measures.Searched([], 9.0))
    assert measures.seconds_for_a_batch(0) == {"dense": 3.0, measures.FEDAVG: 9.0}
    measures.searched.cache_clear()


# --- pictures


def test_the_pictures_say_what_they_show() -> None:
    white = torch.ones(1, 4, 4)
    broken = torch.full((1, 4, 4), torch.nan)
    assert "a guess not a picture" in lab04_pictures.strip(white, {"a guess": broken}, title="None").alt
    both: dict[str, Tensor] = {"one": white[None] * 0.9}
    assert "one, median 20.0 dB" in lab04_pictures.rows(white[None], both, title="White").alt
    ran_off = lab04_pictures.descents({"it": [4.0, 2.0, float("inf")]}, title="A search")
    assert "it goes from 4 to numbers that are none" in ran_off.alt
