"""Lab 08, Less to read?: its threat model, and its exercises with inputs to try and hints."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from labsec import compress
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import ThreatModel, threat_model_of
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario

# The card is read off this federation: nobody is malicious, and each message is one step on one sample, compressed.
THREAT_MODEL = threat_model_of(
    Scenario.fedavg(local_steps=1, batch_size=1, client_stages=(bind(compress.top_k, keep=0.1),)),
    goal="Get the private pictures back from messages that clients have compressed or masked. The attacker knows the "
    "method, because the server has to decode it.",
    out_of_scope="Calibrated noise with a guarantee (lab 07); messages that nobody can read one by one (lab 09). A "
    "server that sends prepared models comes in part seven alone.",
)
SENDS_ITS_OWN: ThreatModel = replace(
    THREAT_MODEL,
    goal="Get the private pictures back by sending a model that makes clients' messages easy to read.",
    knowledge="The server knows the model that it chose to send, the clients' check with its limits, public data of "
    "the same kind, and every message.",
    capability="Break the protocol: send a model of its own making, and read what comes back.",
    visibility="The clients see the model that arrives, and their own data. They can look before they train.",
    out_of_scope="Messages that are compressed or masked (the parts before); a server that no client can tell from an "
    "honest one because it only reads.",
)


def top_k(updates: Tensor, *, k: int) -> Tensor:
    """Exercise 08.1."""
    largest = updates.abs().topk(k, dim=1).indices  # [clients, k]
    return torch.zeros_like(updates).scatter(1, largest, updates.gather(1, largest))


def _top_by_value(updates: Tensor, *, k: int) -> Tensor:
    largest = updates.topk(k, dim=1).indices
    return torch.zeros_like(updates).scatter(1, largest, updates.gather(1, largest))


def _top_smallest(updates: Tensor, *, k: int) -> Tensor:
    smallest = updates.abs().topk(k, dim=1, largest=False).indices
    return torch.zeros_like(updates).scatter(1, smallest, updates.gather(1, smallest))


def _top_left_out(updates: Tensor, *, k: int) -> Tensor:
    return updates - top_k(updates, k=k)


def _top_sizes(updates: Tensor, *, k: int) -> Tensor:
    return top_k(updates, k=k).abs()


def _top_of_all(updates: Tensor, *, k: int) -> Tensor:
    return top_k(updates.flatten()[None], k=k * len(updates)).view_as(updates)


def _top_numbers_alone(updates: Tensor, *, k: int) -> Tensor:
    return updates.gather(1, updates.abs().topk(k, dim=1).indices)


def _top_mask(updates: Tensor, *, k: int) -> Tensor:
    return (top_k(updates, k=k) != 0).to(updates.dtype)


def _top_of_columns(updates: Tensor, *, k: int) -> Tensor:
    return top_k(updates.T, k=k).T


def _messages(draw: Generator) -> Sequence[Case]:
    """Updates with as many negative numbers as positive ones, and of ever more unlike lengths."""
    cases = []
    for clients, dim, k in ((4, 6, 2), (5, 9, 4), (6, 20, 5)):
        rows = torch.randn(clients, dim, generator=draw) * torch.linspace(0.2, 3.0, clients)[:, None]
        cases.append(case(rows, k=k))
    return cases


def stochastic_round(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    """Exercise 08.2."""
    places = updates / step
    below = places.floor()
    goes_up = draws < places - below  # with a chance of the fraction that is left
    return (below + goes_up) * step


def _round_nearest(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return (updates / step).round() * step


def _round_by_coin(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return ((updates / step).floor() + (draws < 0.5)) * step


def _round_down(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return (updates / step).floor() * step


def _round_up(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return (updates / step).ceil() * step


def _round_the_wrong_way(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    places = updates / step
    below = places.floor()
    return (below + (draws > places - below)) * step


def _round_from_zero(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    places = updates / step
    nearer = places.trunc()
    return (nearer + (draws < places - nearer)) * step


def _round_without_step(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return stochastic_round(updates, draws, step=step) / step


def _round_with_noise(updates: Tensor, draws: Tensor, *, step: float) -> Tensor:
    return updates + (draws - 0.5) * step


def _how_often(result: Tensor) -> Tensor:
    """In each column, compare how often every number came up; in which message it did does not matter."""
    return result.sort(dim=0).values


def _copies(draw: Generator) -> Sequence[Case]:
    """One update many times over, with draws that are spread evenly: frequencies are chances, exactly.

    Chances are multiples of 1 / copies, away from the ends, so that right answers with either end of a draw agree.
    """
    cases = []
    for copies, dim, step in ((10, 3, 0.5), (20, 8, 0.1), (40, 5, 2.0)):
        fractions = torch.randint(1, copies, (dim,), generator=draw, dtype=torch.float64) / copies
        wholes = torch.randint(-3, 3, (dim,), generator=draw)
        even = (torch.arange(copies, dtype=torch.float64) + 0.5) / copies  # [copies]
        orders = torch.rand(copies, dim, generator=draw).argsort(dim=0)
        updates = ((wholes + fractions) * step).expand(copies, dim).clone()
        cases.append(case(updates, even[orders], step=step))
    return cases


def sign_of(updates: Tensor) -> Tensor:
    """Exercise 08.3."""
    return updates.sign() * updates.abs().mean(dim=1, keepdim=True)


def _sign_alone(updates: Tensor) -> Tensor:
    return updates.sign()


def _sign_by_length(updates: Tensor) -> Tensor:
    return updates.sign() * updates.norm(dim=1, keepdim=True)


def _sign_of_equal_length(updates: Tensor) -> Tensor:
    return updates.sign() * updates.square().mean(dim=1, keepdim=True).sqrt()


def _sign_by_largest(updates: Tensor) -> Tensor:
    return updates.sign() * updates.abs().amax(dim=1, keepdim=True)


def _sign_by_mean(updates: Tensor) -> Tensor:
    return updates.sign() * updates.mean(dim=1, keepdim=True)


def _sign_by_all(updates: Tensor) -> Tensor:
    return updates.sign() * updates.abs().mean()


def _sign_by_column(updates: Tensor) -> Tensor:
    return updates.sign() * updates.abs().mean(dim=0)


def _sign_by_sum(updates: Tensor) -> Tensor:
    return updates.sign() * updates.abs().sum(dim=1, keepdim=True)


def _rows(draw: Generator) -> Sequence[Case]:
    cases = []
    for clients, dim in ((3, 4), (5, 5), (4, 12)):
        rows = torch.randn(clients, dim, generator=draw) + 0.3
        cases.append(case(rows * torch.linspace(0.1, 2.0, clients)[:, None]))
    return cases


def bytes_of(message: Tensor, *, bits: int) -> int:
    """Exercise 08.4."""
    dim = len(message)
    kept = int(message.count_nonzero())
    a_list = kept * math.ceil(math.log2(dim))
    a_map = dim
    return math.ceil((kept * bits + min(a_list, a_map)) / 8)


def _bytes_without_places(message: Tensor, *, bits: int) -> int:
    return math.ceil(int(message.count_nonzero()) * bits / 8)


def _bytes_of_everything(message: Tensor, *, bits: int) -> int:
    return math.ceil(len(message) * bits / 8)


def _bytes_with_list(message: Tensor, *, bits: int) -> int:
    kept = int(message.count_nonzero())
    return math.ceil(kept * (bits + math.ceil(math.log2(len(message)))) / 8)


def _bytes_with_map(message: Tensor, *, bits: int) -> int:
    return math.ceil((int(message.count_nonzero()) * bits + len(message)) / 8)


def _bytes_in_bits(message: Tensor, *, bits: int) -> int:
    kept = int(message.count_nonzero())
    return kept * bits + min(kept * math.ceil(math.log2(len(message))), len(message))


def _bytes_rounded_down(message: Tensor, *, bits: int) -> int:
    return _bytes_in_bits(message, bits=bits) // 8


def _bytes_of_wide_places(message: Tensor, *, bits: int) -> int:
    kept = int(message.count_nonzero())
    return math.ceil((kept * bits + min(kept * 32, len(message))) / 8)


def _bytes_both(message: Tensor, *, bits: int) -> int:
    kept = int(message.count_nonzero())
    return math.ceil((kept * bits + kept * math.ceil(math.log2(len(message))) + len(message)) / 8)


def _sparse(draw: Generator) -> Sequence[Case]:
    """Messages of which much or little was kept: for some of them a list of places is shorter, for others a map."""
    cases = []
    for dim, kept, bits in ((100, 3, 32), (100, 61, 32), (1000, 11, 5), (1000, 701, 3), (77, 5, 8), (4096, 9, 32)):
        message = torch.zeros(dim)
        places = torch.randperm(dim, generator=draw)[:kept]
        message[places] = torch.rand(kept, generator=draw) + 0.5
        cases.append(case(message, bits=bits))
    return cases


Compressor = Callable[[Tensor], Tensor]
Sent = tuple[Tensor, Tensor]


def feedback(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    """Exercise 08.5."""
    wanted = updates + owed[clients]  # [k, dim]
    sent = shorten(wanted)
    left = owed.clone()
    left[clients] = wanted - sent
    return sent, left


def _feedback_never_paid(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    sent = shorten(updates)
    left = owed.clone()
    left[clients] = updates - sent
    return sent, left


def _feedback_never_kept(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    return shorten(updates + owed[clients]), owed


def _feedback_forgets_old_debt(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    sent = shorten(updates + owed[clients])
    left = owed.clone()
    left[clients] = updates - sent
    return sent, left


def _feedback_keeps_what_was_sent(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    sent = shorten(updates + owed[clients])
    left = owed.clone()
    left[clients] = sent
    return sent, left


def _feedback_pays_twice(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    wanted = updates + owed[clients]
    sent = shorten(wanted)
    left = owed.clone()
    left[clients] += wanted - sent
    return sent, left


def _feedback_by_row(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    rows = torch.arange(len(updates))
    return feedback(updates, owed, clients=rows, shorten=shorten)


def _feedback_shared(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    wanted = updates + owed[clients].mean(dim=0)
    sent = shorten(wanted)
    left = owed.clone()
    left[clients] = (wanted - sent).mean(dim=0)
    return sent, left


def _feedback_shared_by_all(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    wanted = updates + owed.mean(dim=0)
    sent = shorten(wanted)
    return sent, (wanted - sent).mean(dim=0).expand_as(owed).clone()


def _feedback_clears_the_absent(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    sent, left = feedback(updates, owed, clients=clients, shorten=shorten)
    kept = torch.zeros_like(left)
    kept[clients] = left[clients]
    return sent, kept


def _feedback_not_shortened(updates: Tensor, owed: Tensor, *, clients: Tensor, shorten: Compressor) -> Sent:
    sent = shorten(updates) + owed[clients]
    left = owed.clone()
    left[clients] = updates - shorten(updates)
    return sent, left


def _indebted(draw: Generator) -> Sequence[Case]:
    """Some of the clients take part, not in the order of their numbers; all of them have a debt."""
    cases = []
    for everybody, present, dim, k in ((5, 3, 6, 2), (6, 2, 9, 3), (4, 3, 12, 4)):
        clients = torch.randperm(everybody, generator=draw)[:present].flip(0)
        updates = torch.randn(present, dim, generator=draw)
        owed = torch.randn(everybody, dim, generator=draw)
        cases.append(case(updates, owed, clients=clients, shorten=bind_top(k)))
    return cases


def bind_top(k: int) -> Compressor:
    """Top-k as a function of rows alone."""
    return lambda updates: top_k(updates, k=k)


def gap(own: Tensor, received: Tensor) -> Tensor:
    """Exercise 08.6."""
    kept = received != 0
    return (own - received)[kept].square().sum()


def _gap_everywhere(own: Tensor, received: Tensor) -> Tensor:
    return (own - received).square().sum()


def _gap_where_own(own: Tensor, received: Tensor) -> Tensor:
    return (own - received)[own != 0].square().sum()


def _gap_mean(own: Tensor, received: Tensor) -> Tensor:
    return (own - received)[received != 0].square().mean()


def _gap_of_the_rest(own: Tensor, received: Tensor) -> Tensor:
    return (own - received)[received == 0].square().sum()


def _gap_signed(own: Tensor, received: Tensor) -> Tensor:
    return (own - received)[received != 0].sum()


def _gap_length(own: Tensor, received: Tensor) -> Tensor:
    return gap(own, received).sqrt()


def _gap_positive_alone(own: Tensor, received: Tensor) -> Tensor:
    return (own - received)[received > 0].square().sum()


def _gradients(draw: Generator) -> Sequence[Case]:
    """What a guess would send, some of it zero, beside a received message of which a part was kept."""
    cases = []
    for dim, kept in ((6, 3), (12, 4), (40, 10)):
        own = torch.randn(dim, generator=draw, dtype=torch.float64)
        own[torch.randperm(dim, generator=draw)[: dim // 4]] = 0
        received = torch.zeros(dim, dtype=torch.float64)
        places = torch.randperm(dim, generator=draw)[:kept]
        received[places] = torch.randn(kept, generator=draw, dtype=torch.float64)
        cases.append(case(own, received))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="08.1",
        title="Top-k",
        reference=top_k,
        cases=_messages,
        wrong=(
            (_top_by_value, "You took the largest VALUES. A large negative number says as much: compare sizes."),
            (_top_smallest, "You kept the smallest ones, which say least."),
            (_top_left_out, "You set the largest ones to zero. They are the ones to keep."),
            (_top_sizes, "The signs are lost: `abs` chooses the places, but the numbers themselves are sent."),
            (_top_of_all, "You chose among all clients together, so that loud ones send more. Each row sends k."),
            (_top_numbers_alone, "The numbers are right and have lost their places: put them into a row of zeros."),
            (_top_mask, "You returned which places are kept. The numbers in them are asked for."),
            (_top_of_columns, "You looked down the columns. A client is a row: `dim=1`."),
        ),
        hints=(
            "Which number of [1, -4, 2] tells most about where the model should go?",
            "`topk` of the sizes gives places. Fetch the numbers that stand there, and put them into rows of zeros.",
            "largest = updates.abs().topk(k, dim=1).indices\n"
            "return torch.zeros_like(updates).scatter(1, largest, updates.gather(1, …))",
        ),
        another="With the k-th largest size as a bar that each number must reach:\n\n"
        "    sizes = updates.abs()\n"
        "    bar = sizes.topk(k, dim=1).values[:, -1:]\n"
        "    return torch.where(sizes >= bar, updates, 0)\n\n"
        "It reads well, and keeps more than k numbers where several have the size of the bar.",
    ),
    Exercise(
        id="08.2",
        title="Stochastic rounding",
        reference=stochastic_round,
        cases=_copies,
        essence=_how_often,
        wrong=(
            (_round_nearest, "You rounded to the nearest step. That errs the same way every time: it is biased."),
            (_round_by_coin, "Half of all numbers go up, whichever is nearer. The mean is right only half-way."),
            (_round_down, "You always rounded down. On average, the result must be the number itself."),
            (_round_up, "You always rounded up. On average, the result must be the number itself."),
            (_round_the_wrong_way, "The chance is the wrong way round: a number just above a step mostly went up."),
            (_round_from_zero, "Negative numbers went towards zero first. `floor` goes down for them as well."),
            (_round_without_step, "You returned how many steps. Multiply by the step."),
            (_round_with_noise, "You added noise and did not round: such a number takes 32 bits as before."),
        ),
        hints=(
            "0.3 steps must become 1 or 0. How often must it be 1, so that the mean is 0.3?",
            "Divide by the step and split: the `floor`, and a fraction below 1. Up if the draw is below the fraction.",
            "places = updates / step\nbelow = places.floor()\nreturn (below + (draws < …)) * step",
        ),
        another="Add the draw first, then round down:\n\n"
        "    return (updates / step + draws).floor() * step\n\n"
        "0.3 + draw reaches 1 for three draws of ten. Signal engineers call the added draw a dither.",
    ),
    Exercise(
        id="08.3",
        title="The sign and its scale",
        reference=sign_of,
        cases=_rows,
        wrong=(
            (_sign_alone, "A sign without a scale: every message has the same length, however little was learned."),
            (_sign_by_length, "The length of the row in EVERY entry makes a row that is far too long."),
            (_sign_of_equal_length, "That keeps the length. The nearest row to the update has the MEAN of the sizes."),
            (_sign_by_largest, "The largest size is an exception. Which one number stands for all sizes best?"),
            (_sign_by_mean, "In the mean of the numbers signs cancel. Take the mean of their SIZES."),
            (_sign_by_all, "One scale for all clients. Each message has its own: `dim=1`."),
            (_sign_by_column, "That is a scale for each coordinate. Each CLIENT sends one number: `dim=1`."),
            (_sign_by_sum, "That is the sum of the sizes. Divide by how many there are."),
        ),
        hints=(
            "After the signs, one number may be sent. Which one brings s · sign(u) nearest to u?",
            "The best s is the mean of the sizes of the row: set the slope of Σ (|u| - s)² to zero.",
            "return updates.sign() * updates.abs().mean(dim=1, …)",
        ),
    ),
    Exercise(
        id="08.4",
        title="Bytes",
        reference=bytes_of,
        cases=_sparse,
        wrong=(
            (_bytes_without_places, "The places are missing: the server cannot tell which numbers these are."),
            (_bytes_of_everything, "You counted the zeros as well. They are not sent."),
            (_bytes_with_list, "Where much is kept, a map of one bit for each entry is shorter than a list."),
            (_bytes_with_map, "Where little is kept, a list of places is shorter than a map."),
            (_bytes_in_bits, "These are bits. Eight of them are a byte."),
            (_bytes_rounded_down, "A part of a byte takes a whole one: round up."),
            (_bytes_of_wide_places, "A place among `dim` needs log2(dim) bits, rounded up, and not 32."),
            (_bytes_both, "You sent a list AND a map. The shorter one is enough."),
        ),
        hints=(
            "Besides the numbers, what must the server be told?",
            "kept · bits for the numbers; for the places the smaller of kept · ceil(log2(dim)) and dim. In bytes.",
            "places = min(kept * math.ceil(math.log2(dim)), dim)\nreturn math.ceil((kept * bits + …) / 8)",
        ),
    ),
    Exercise(
        id="08.5",
        title="Error feedback",
        reference=feedback,
        cases=_indebted,
        wrong=(
            (_feedback_never_paid, "What is owed is noted and never sent: add it to the update first."),
            (_feedback_never_kept, "What was left out now is forgotten: it must be owed from here on."),
            (_feedback_forgets_old_debt, "An old debt that was not sent is lost: what is left is `wanted - sent`."),
            (_feedback_keeps_what_was_sent, "You noted what WAS sent. What was not is owed."),
            (_feedback_pays_twice, "The old debt is part of what is left already, and you added it once more."),
            (_feedback_by_row, "Row i is not client i: today's identities are in `clients`."),
            (_feedback_shared, "The clients share one memory: one pays another one's debt. Each has its own row."),
            (_feedback_shared_by_all, "One memory for everybody: debts of clients mix. Each has its own row."),
            (_feedback_clears_the_absent, "Who is absent today still owes what it owed. Leave those rows alone."),
            (_feedback_not_shortened, "The debt went out in full, uncompressed. Add it BEFORE you shorten."),
        ),
        hints=(
            "What would the client like to send today, and what does it still owe tomorrow?",
            "wanted = update + debt; send the shortened one; the difference is the new debt, in the client's own row.",
            "wanted = updates + owed[clients]\nsent = shorten(wanted)\nleft = owed.clone()\nleft[clients] = …\n"
            "return sent, left",
        ),
    ),
    Exercise(
        id="08.6",
        title="An attacker who knows what is missing",
        reference=gap,
        cases=_gradients,
        tolerance=1e-9,
        wrong=(
            (_gap_everywhere, "You took the zeros for gradients. They only say that nothing was sent there."),
            (_gap_where_own, "That leaves out where the GUESS is zero. What was sent decides: `received != 0`."),
            (_gap_mean, "You took the mean. The loss is the sum of the squares."),
            (_gap_of_the_rest, "That compares exactly the entries that were not sent."),
            (_gap_signed, "You added the differences up without squaring: they cancel."),
            (_gap_length, "You took the length of the difference. The loss is its square."),
            (_gap_positive_alone, "Negative numbers were sent, too: `!= 0`."),
        ),
        hints=(
            "In which entries does the message say what the gradient is?",
            "Build a mask of the received entries that are not zero, and add up squares there alone.",
            "kept = received != 0\nreturn (own - received)[…].square().sum()",
        ),
        another="With a product in place of a choice:\n\n"
        "    return ((own - received) * (received != 0)).square().sum()\n\n"
        "A factor of zero takes an entry out of the loss, and out of its slope.",
        bonus="Top-k tells more than the entries that it kept: every other one is smaller in size than the smallest of "
        "these. Add a price for a guess that breaks this: `(own.abs() - bar).clamp(min=0).square()`, summed over the "
        "entries that were left out, with `bar = received[received != 0].abs().min()`. How much less may a client "
        "keep before you lose the picture?",
    ),
)
