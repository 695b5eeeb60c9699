"""The story of lab 00 follows from its run: pictures, captions, still, and what a notebook stores."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from labsec import data, run
from labsec.course import story
from labsec.course.story import scenes, still
from labsec.course.story.run import (
    BOOST,
    CLIENTS,
    FILM,
    HONEST_ROUNDS,
    OPENED_CLIENT,
    OPENED_ROUND,
    ROUNDS,
    Told,
    federation,
    measured,
)
from labsec.federation.population import Population

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?%?")
PARAMETERS = 784 * 64 + 64 + 64 * 10 + 10
STORED = 120 * 1024  # bytes that a notebook may keep of the story, with its state


@pytest.fixture(scope="module")
def told() -> Told:
    return measured()


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """What a notebook keeps."""
    return story.opening()._repr_mimebundle_()


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def pixels(uri: str) -> np.ndarray:
    """A data URI's picture, as greys [height, width] from 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))


# ---- The run ----


def test_the_accuracies_are_those_of_the_engine(told):
    assert told.attacked[1:] == run(federation(attacked=True)).accuracy
    assert len(told.attacked) == len(told.honest) == ROUNDS + 1


def test_the_twin_is_the_same_run_until_the_client_turns(told):
    assert told.attacked[: HONEST_ROUNDS + 1] == told.honest[: HONEST_ROUNDS + 1]
    assert told.attacked[HONEST_ROUNDS + 1] != told.honest[HONEST_ROUNDS + 1]


def test_one_client_of_eight_undoes_the_training(told):
    before = told.attacked[HONEST_ROUNDS]
    assert before > 0.75
    assert told.attacked[-1] < 0.3
    assert told.honest[-1] > before - 0.1


def test_what_travels_is_counted_by_hand(told):
    assert told.parameters == PARAMETERS
    assert told.bytes_down == 4 * PARAMETERS
    assert 0 < told.bytes_up < CLIENTS * told.bytes_down  # zeros are left out
    assert told.samples * CLIENTS == len(data.load("mnist5k").y)


def test_the_digits_shown_are_those_that_the_clients_hold(told):
    population = Population(federation(attacked=True))
    for client in range(CLIENTS):
        own = population.x[population.shards[client]].flatten(1)  # [samples, 784]
        for frame in range(len(FILM)):
            shown = told.film[frame, client].flatten()
            assert (own == shown).all(dim=1).any(), f"client {client + 1} does not hold the digit of frame {frame}"


def test_the_opened_row_alone_is_the_digit(told):
    """An independent reading, without the analytic attack: a row is the digit times a number, so its largest is ink."""
    row = told.message[told.message.norm(dim=1).argmax()]  # [784]
    assert torch.allclose((row / row[row.abs().argmax()]).view(28, 28), told.truth / told.truth.max(), atol=1e-3)


def test_errors_are_measured_against_the_digit_that_the_client_trained_on(told):
    truth = told.film[FILM.index(OPENED_ROUND), OPENED_CLIENT - 1]
    assert torch.equal(told.truth, truth)
    assert told.read_error == pytest.approx(float((told.read - truth).abs().mean()), abs=1e-12)
    assert told.mean_error == pytest.approx(float((told.mean - truth).abs().mean()))
    assert torch.equal(told.mean, data.load("mnist5k").x_test.mean(dim=(0, 1)))
    assert told.read_error < 1e-6 < 0.05 < told.mean_error


def test_the_opened_message_is_no_exception(told):
    assert told.exact_pixels == 28 * 28
    assert told.exact_messages == CLIENTS


# ---- The words ----


def captions(told: Told) -> str:
    return " ".join(scene.caption for scene in scenes.script(told))


def test_every_number_of_the_captions_is_one_of_the_run(told):
    shares = (told.attacked[HONEST_ROUNDS], told.attacked[-1], told.honest[-1])
    counts = (told.samples, told.parameters, told.bytes_down, told.bytes_up, told.tests, told.exact_pixels, 28 * 28, 1)
    chosen = (HONEST_ROUNDS, HONEST_ROUNDS + 1, BOOST, OPENED_ROUND, OPENED_CLIENT)
    known = {f"{share:.1%}" for share in shares} | {f"{count:,}" for count in (*counts, *chosen)}
    assert {number.rstrip(",") for number in NUMBER.findall(captions(told))} == known


def test_other_measurements_give_other_words(told):
    other = replace(
        told,
        attacked=[*told.attacked[:HONEST_ROUNDS], 0.5551, *told.attacked[HONEST_ROUNDS + 1 : -1], 0.4442],
        honest=[*told.honest[:-1], 0.3333],
        bytes_up=12_345,
        exact_pixels=783,
    )
    assert all(new in captions(other) for new in ("55.5%", "44.4%", "33.3%", "12,345 bytes", "783 of 784"))
    assert "44.4%" in still.image_tag(other)
    assert scenes.page(replace(told, exact_messages=3))["words"]["readable"].startswith("3 of 8")


def test_eight_is_written_out_and_true(told):
    assert CLIENTS == 8
    assert "Eight clients" in captions(told)


def test_a_share_that_is_not_zero_is_not_written_as_zero():
    assert scenes.percent(4e-4) == "below 0.1%"
    assert scenes.percent(0.0) == "0.0%"
    assert scenes.percent(6e-4) == "0.1%"


# ---- The page ----


def test_the_page_gets_the_numbers_of_the_run(told):
    page = scenes.page(told)
    assert page["attacked"] == pytest.approx(told.attacked, abs=5e-5)
    assert page["honest"] == pytest.approx(told.honest, abs=5e-5)
    assert page["ledger"][2] == ["Updates, in all", f"{told.bytes_up:,} bytes"]
    assert page["words"]["mean"][1] == f"error {told.mean_error:.1%}"


@pytest.mark.parametrize("name", ["read", "truth", "mean"])
def test_a_picture_on_the_page_is_the_measured_one(told, name):
    shown = pixels(scenes.page(told)["pictures"][name])
    wanted = 255 * (1 - getattr(told, name).numpy())
    assert np.abs(shown - wanted).max() <= 255 / 30 + 1  # sixteen greys: half a step, and rounding


def test_the_film_has_a_row_for_each_frame_and_a_column_for_each_client(told):
    sheet = pixels(scenes.page(told)["pictures"]["film"])
    frame, client = 3, 5
    tile = sheet[28 * frame : 28 * (frame + 1), 28 * client : 28 * (client + 1)]
    assert np.abs(tile - 255 * (1 - told.film[frame, client].numpy())).max() <= 255 / 30 + 1


def test_the_player_knows_every_scene(told):
    player = (story.HERE / "story.js").read_text(encoding="utf-8")
    for table in ("SCENES", "RESTS"):
        body = re.search(rf"const {table} = {{(.*?)}};\n\n", player, flags=re.DOTALL)
        assert body
        for scene in scenes.script(told):
            assert re.search(rf"\b{scene.name}: ", body[1]), f"{table} lacks {scene.name}"


def test_the_player_names_no_host():
    namespace = "http://www.w3.org/2000/svg"
    for name in ("story.js", "story.css"):
        text = (story.HERE / name).read_text(encoding="utf-8").replace(namespace, "")
        assert not re.search(r"https?:|//\w+\.|@import|url\(", text), name


# ---- What a notebook keeps ----


def test_a_notebook_keeps_a_still_with_alt_text_and_no_widget(told, kept):
    assert set(kept) == {"text/html", "text/plain"}
    tags = Tags(kept["text/html"]).found
    assert not {"script", "style", "svg"} & {tag for tag, _ in tags}
    (image,) = [attributes for tag, attributes in tags if tag == "img"]
    for number in (told.honest[-1], told.attacked[-1], told.mean_error):
        assert f"{number:.1%}" in image["alt"]
    assert pixels(image["src"]).shape[1] >= int(image["width"])


def test_the_words_stand_beside_the_still(told, kept):
    for scene in scenes.script(told):
        assert scene.caption in kept["text/html"]
        assert scene.caption in kept["text/plain"]


def test_what_is_kept_is_small(kept):
    state = json.dumps(story.opening().data)
    assert len(json.dumps(kept)) + len(state) <= STORED


def test_the_story_is_measured_once():
    assert story.opening() is story.opening()


def test_another_run_is_another_story(told):
    other = story.Opening(replace(told, bytes_up=told.bytes_up + 1))
    assert other.key != story.opening().key
    assert f'data-story="{other.key}"' in other._repr_mimebundle_()["text/html"]
    other.close()
