"""The story in words, and everything that the page needs to play it.

No number is typed: each is one of the run's, or one that the run was made with.

    script    name, title, caption, picture in words and length of each scene
    page      the numbers and pictures behind them, for story.js
"""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from labsec.course.story.run import BOOST, CLIENTS, FILM, HONEST_ROUNDS, OPENED_CLIENT, OPENED_ROUND, ROUNDS, Told
from labsec.plots import ATTACKER, DEFENDER

LEVELS = 16  # greys of a small picture on the page
SIDE = 28  # pixels of a digit's side
SHOWN_NUMBERS = (6, 6)  # rows and columns of the numbers that are shown of a message


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene.

    name       by which story.js knows it
    title      a few words
    caption    what is told, one statement a sentence
    picture    what can be seen, for those who cannot
    seconds    how long it plays
    """

    name: str
    title: str
    caption: str
    picture: str
    seconds: float


def script(told: Told) -> list[Scene]:
    """The story in order."""
    before_turn = percent(told.attacked[HONEST_ROUNDS])
    return [
        Scene(
            name="home",
            title="The data stay at home",
            caption=f"Eight clients hold {told.samples} handwritten digits each. No digit leaves its client.",
            picture="Eight clients, each with a handwritten digit. A line leads from each to a server.",
            seconds=5,
        ),
        Scene(
            name="out",
            title="The model goes out",
            caption=f"The server sends the same model to every client. The model is {told.parameters:,} numbers, "
            f"or {told.bytes_down:,} bytes.",
            picture="One packet travels from the server to each of the eight clients.",
            seconds=5,
        ),
        Scene(
            name="train",
            title="Each client trains",
            caption="Each client trains its copy of the model on one of its own digits. What changes in the "
            f"{told.parameters:,} numbers is its update.",
            picture="A frame closes around each client's digit, and an update appears beside it.",
            seconds=5,
        ),
        Scene(
            name="travel",
            title="Only updates travel",
            caption=f"The clients send their updates and no digit. The updates of round 1 are {told.bytes_up:,} bytes "
            "in all, because zeros are left out.",
            picture="One packet travels from each client to the server. The digits stay where they are.",
            seconds=6,
        ),
        Scene(
            name="average",
            title="The server takes the average",
            caption="The server adds the average of the updates to its model. "
            f"After {HONEST_ROUNDS} such rounds, the model reads {before_turn} of {told.tests:,} new digits correctly.",
            picture=f"A chart of accuracy over the rounds rises to {before_turn} in round {HONEST_ROUNDS}.",
            seconds=10,
        ),
        Scene(
            name="turn",
            title="One client turns",
            caption=f"From round {HONEST_ROUNDS + 1} on, client 1 sends the opposite of what it learned, {BOOST} times "
            f"as large. Accuracy falls from {before_turn} to {percent(told.attacked[-1])}. "
            f"In the same run without the attack, it ends at {percent(told.honest[-1])}.",
            picture=f"Client 1 has a thick frame. In the chart, the attacked run falls to "
            f"{percent(told.attacked[-1])}; a thin line, its honest twin, stays at {percent(told.honest[-1])}.",
            seconds=9,
        ),
        Scene(
            name="open",
            title="The server opens one message",
            caption=f"Back to round {OPENED_ROUND}: all clients are honest, but the server is curious. It opens the "
            f"update of client {OPENED_CLIENT}. It sees {told.parameters:,} numbers and no picture.",
            picture="The message is drawn as a strip of grey dots. Below it stand some of its numbers.",
            seconds=7,
        ),
        Scene(
            name="read",
            title="The handwriting comes out",
            caption="Each row is the digit times a number that the message also holds. The server divides, and "
            f"{told.exact_pixels} of {told.read.numel()} pixels have the right grey value. The reason is that the "
            "client took one step on one digit.",
            picture=f"A handwritten digit, read from the message; its mean error is {percent(told.read_error)}. Beside "
            "it the digit at the client, which looks the same, and the mean of many digits, which is a blur; its mean "
            f"error is {percent(told.mean_error)}.",
            seconds=11,
        ),
    ]


def page(told: Told) -> dict[str, Any]:
    """What story.js is given."""
    neurons, inputs = told.message.shape
    strongest = int(told.message.norm(dim=1).argmax())  # the row that is drawn as it unfolds
    lines = told.message[strongest].view(SIDE, SIDE)
    height, width = SHOWN_NUMBERS
    top = (SIDE - height) // 2
    left = (SIDE - width) // 2
    numbers = lines[top : top + height, left : left + width]  # from the middle of the digit
    return {
        "scenes": [asdict(scene) for scene in script(told)],
        "colours": {"attacker": ATTACKER, "defender": DEFENDER},
        "clients": CLIENTS,
        "rounds": ROUNDS,
        "honestRounds": HONEST_ROUNDS,
        "openedRound": OPENED_ROUND,
        "openedClient": OPENED_CLIENT,
        "attacked": [round(value, 4) for value in told.attacked],
        "honest": [round(value, 4) for value in told.honest],
        "film": list(FILM),
        "strongest": strongest,
        "neurons": neurons,
        "numbers": [[f"{value:+.4f}" for value in row] for row in numbers.tolist()],
        "ledger": [
            ["Digits", "0"],
            ["Model, to each", f"{told.bytes_down:,} bytes"],
            ["Updates, in all", f"{told.bytes_up:,} bytes"],
        ],
        "words": {
            "ledger": "On the wire in round 1",
            "tests": f"Right answers on {told.tests:,} new digits",
            "message": f"The update of client {OPENED_CLIENT}: {neurons} rows of {inputs} numbers",
            "readable": f"{told.exact_messages} of {CLIENTS} can be read",
            "read": ["From the update", f"error {percent(told.read_error)}"],
            "truth": ["True digit", "never sent"],
            "mean": ["Mean digit", f"error {percent(told.mean_error)}", "needs no update"],
        },
        "pictures": {
            "film": picture(_sheet(told.film)),
            "message": picture(_visible(told.message)),
            "truth": picture(told.truth),
            "read": picture(told.read),
            "mean": picture(told.mean),
        },
    }


def percent(share: float) -> str:
    """A share in words. What is not zero is never written as zero.

    >>> percent(0.8214), percent(0.0), percent(1e-9)
    ('82.1%', '0.0%', 'below 0.1%')
    """
    if 0 < share < 0.0005:
        return "below 0.1%"
    return f"{share:.1%}"


def picture(values: Tensor) -> str:
    """Values [height, width] in [0, 1] as a PNG in a data URI: 0 is white paper, 1 is ink."""
    ink = ((LEVELS - 1) * values).round().clamp(0, LEVELS - 1)
    image = Image.fromarray(ink.byte().numpy())
    image.putpalette([255 - 255 * level // (LEVELS - 1) for level in range(LEVELS) for _ in "rgb"])
    file = io.BytesIO()
    image.save(file, "PNG", bits=4, optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _sheet(film: Tensor) -> Tensor:
    """Digits [frames, clients, 28, 28] side by side: a row for each frame, a column for each client."""
    frames, clients = film.shape[:2]
    return film.transpose(1, 2).reshape(frames * SIDE, clients * SIDE)


def _visible(message: Tensor) -> Tensor:
    """The sizes of a message's numbers in [0, 1]; the square root makes small ones visible."""
    sizes = message.abs()
    return (sizes / sizes.max()).sqrt()
