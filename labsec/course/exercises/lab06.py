"""Lab 06, The server that looks: its federation and threat model, and its exercises with inputs to try and hints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsec import detect, poison
from labsec.course.exercises.base import Case, Exercise, case
from labsec.course.exercises.threat import threat_model_of
from labsec.federation.bind import bind
from labsec.federation.scenario import Scenario

# The card is read off this federation.
SCENARIO = Scenario.fedavg(
    alpha=0.1,
    malicious=0.2,
    omniscient=True,
    attack=poison.UnderThreshold(bind(poison.sign_flip, scale=10), detect.norm, threshold=2.0),
    server_stages=(detect.Quarantine(detect.norm, threshold=2.0),),
)
THREAT_MODEL = threat_model_of(
    SCENARIO,
    goal="Make the common model useless, or plant a backdoor in it, and never be accused. The attackers know the "
    "detector with its threshold, because whatever is sold is public, and no other part of the server.",
    out_of_scope="A server that attacks, messages that nobody can read one by one (lab 09).",
)


def norm_score(updates: Tensor) -> Tensor:
    """Exercise 06.1."""
    lengths = updates.norm(dim=1)  # [clients]
    return lengths / lengths.quantile(0.5)


def _norm_without_unit(updates: Tensor) -> Tensor:
    return updates.norm(dim=1)


def _norm_by_mean(updates: Tensor) -> Tensor:
    lengths = updates.norm(dim=1)
    return lengths / lengths.mean()


def _norm_squared(updates: Tensor) -> Tensor:
    return norm_score(updates).square()


def _norm_by_lower_median(updates: Tensor) -> Tensor:
    lengths = updates.norm(dim=1)
    return lengths / lengths.median()


def _norm_of_columns(updates: Tensor) -> Tensor:
    return norm_score(updates.T)


def _norm_of_all(updates: Tensor) -> Tensor:
    return updates.norm(dim=1) / updates.norm()


def _rows(draw: Generator) -> Sequence[Case]:
    """Updates of ever more unlike lengths, for even and odd numbers of clients; some point against the others."""
    cases = []
    for clients, dim in ((4, 3), (7, 5), (10, 20)):
        common = torch.randn(dim, generator=draw)
        rows = common + 0.7 * torch.randn(clients, dim, generator=draw)  # [clients, dim]
        rows[-1] *= -1
        cases.append(case(rows * torch.linspace(0.5, 4.0, clients)[:, None]))
    return cases


def cosine_score(updates: Tensor) -> Tensor:
    """Exercise 06.2."""
    directions = F.normalize(updates, dim=1)  # [clients, dim]
    cosines = directions @ directions.T  # [clients, clients]
    n = len(updates)
    others = cosines[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    return 1 - others.quantile(0.5, dim=1)


def _cosine_with_self(updates: Tensor) -> Tensor:
    directions = F.normalize(updates, dim=1)
    return 1 - (directions @ directions.T).quantile(0.5, dim=1)


def _cosine_itself(updates: Tensor) -> Tensor:
    return 1 - cosine_score(updates)


def _cosine_mean(updates: Tensor) -> Tensor:
    directions = F.normalize(updates, dim=1)
    n = len(updates)
    return 1 - ((directions @ directions.T).sum(dim=1) - 1) / (n - 1)


def _cosine_of_long_rows(updates: Tensor) -> Tensor:
    n = len(updates)
    products = updates @ updates.T
    return 1 - products[~torch.eye(n, dtype=torch.bool)].view(n, n - 1).quantile(0.5, dim=1)


def _cosine_nearest(updates: Tensor) -> Tensor:
    directions = F.normalize(updates, dim=1)
    cosines = directions @ directions.T
    return 1 - cosines.fill_diagonal_(-1).amax(dim=1)


def _cosine_lower_median(updates: Tensor) -> Tensor:
    directions = F.normalize(updates, dim=1)
    n = len(updates)
    others = (directions @ directions.T)[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    return 1 - others.median(dim=1).values


def threshold_for(honest: Tensor, *, false_alarms: float) -> Tensor:
    """Exercise 06.3."""
    return honest.quantile(1 - false_alarms)


def _threshold_other_end(honest: Tensor, *, false_alarms: float) -> Tensor:
    return honest.quantile(false_alarms)


def _threshold_of_a_bell(honest: Tensor, *, false_alarms: float) -> Tensor:
    return honest.mean() + 2 * honest.std()


def _threshold_at_the_top(honest: Tensor, *, false_alarms: float) -> Tensor:
    return honest.max()


def _threshold_share_of_the_top(honest: Tensor, *, false_alarms: float) -> Tensor:
    return (1 - false_alarms) * honest.max()


def _threshold_percent(honest: Tensor, *, false_alarms: float) -> Tensor:
    return honest.quantile(1 - false_alarms / 100)


def _scores(draw: Generator) -> Sequence[Case]:
    """Scores with a long tail, as lengths have, and shares that are not all the same."""
    return [
        case(torch.randn(n, generator=draw).exp(), false_alarms=share)
        for n, share in ((100, 0.05), (40, 0.2), (300, 0.01))
    ]


def quarantine(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    """Exercise 06.4."""
    alarm = scores > threshold  # [clients]
    counted = (waits == 0) & ~alarm
    return counted, torch.where(alarm, probation, (waits - 1).clamp(min=0))


def _quarantine_of_a_round(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    return scores <= threshold, quarantine(scores, waits, threshold=threshold, probation=probation)[1]


def _quarantine_once(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    alarm = scores > threshold
    return (waits == 0) & ~alarm, torch.where(alarm & (waits == 0), probation, (waits - 1).clamp(min=0))


def _quarantine_below_zero(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    alarm = scores > threshold
    return (waits == 0) & ~alarm, torch.where(alarm, probation, waits - 1)


def _quarantine_early(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    after = quarantine(scores, waits, threshold=threshold, probation=probation)[1]
    return (after == 0) & (scores <= threshold), after


def _quarantine_added(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    alarm = scores > threshold
    return (waits == 0) & ~alarm, torch.where(alarm, waits + probation, (waits - 1).clamp(min=0))


def _quarantine_at(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    alarm = scores >= threshold
    return (waits == 0) & ~alarm, torch.where(alarm, probation, (waits - 1).clamp(min=0))


def _quarantine_late(scores: Tensor, waits: Tensor, *, threshold: float, probation: int) -> tuple[Tensor, Tensor]:
    return waits == 0, quarantine(scores, waits, threshold=threshold, probation=probation)[1]


def _quarantine_upside_down(
    scores: Tensor, waits: Tensor, *, threshold: float, probation: int
) -> tuple[Tensor, Tensor]:
    counted, after = quarantine(scores, waits, threshold=threshold, probation=probation)
    return ~counted, after


def _alarms(draw: Generator) -> Sequence[Case]:
    """Calm and loud clients, some at large, some who wait one more round and some who wait longer; one at the line."""
    cases = []
    for threshold, probation in ((2.0, 5), (1.5, 3), (0.5, 10)):
        waits = torch.tensor([0, 0, 1, 1, 2, 2, 0, 4])
        loud = torch.tensor([False, True, False, True, False, True, False, False])
        part = torch.rand(8, generator=draw) * 0.9  # of the threshold
        scores = torch.where(loud, threshold * (1.2 + part), threshold * part)
        scores[6] = threshold
        cases.append(case(scores, waits, threshold=threshold, probation=probation))
    return cases


def fltrust(updates: Tensor, own: Tensor) -> Tensor:
    """Exercise 06.5."""
    trust = F.cosine_similarity(updates, own[None]).clamp(min=0)  # [clients]
    directions = F.normalize(updates, dim=1)
    return own.norm() * (trust @ directions) / trust.sum()


def _fltrust_against(updates: Tensor, own: Tensor) -> Tensor:
    trust = F.cosine_similarity(updates, own[None])
    return own.norm() * (trust @ F.normalize(updates, dim=1)) / trust.sum()


def _fltrust_lengths(updates: Tensor, own: Tensor) -> Tensor:
    trust = F.cosine_similarity(updates, own[None]).clamp(min=0)
    return trust @ updates / trust.sum()


def _fltrust_unit(updates: Tensor, own: Tensor) -> Tensor:
    trust = F.cosine_similarity(updates, own[None]).clamp(min=0)
    return trust @ F.normalize(updates, dim=1) / trust.sum()


def _fltrust_by_number(updates: Tensor, own: Tensor) -> Tensor:
    trust = F.cosine_similarity(updates, own[None]).clamp(min=0)
    return own.norm() * (trust @ F.normalize(updates, dim=1)) / len(updates)


def _fltrust_votes(updates: Tensor, own: Tensor) -> Tensor:
    goes = F.cosine_similarity(updates, own[None]) > 0
    return own.norm() * F.normalize(updates[goes], dim=1).mean(dim=0)


def _fltrust_alone(updates: Tensor, own: Tensor) -> Tensor:
    return own.clone()


def _with_own(draw: Generator) -> Sequence[Case]:
    return [case(*each.args, each.args[0][:-1].mean(dim=0) * 0.6) for each in _rows(draw)]


def weigh(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    """Exercise 06.6."""
    after = decay * before + (1 - decay) * trust  # [clients]
    return updates * (after / after.mean())[:, None], after


def _weigh_the_other_way(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    return weigh(updates, trust, before, decay=1 - decay)


def _weigh_to_one(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    after = decay * before + (1 - decay) * trust
    return updates * (after / after.sum())[:, None], after


def _weigh_bare(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    after = decay * before + (1 - decay) * trust
    return updates * after[:, None], after


def _weigh_by_the_past(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    after = decay * before + (1 - decay) * trust
    return updates * (before / before.mean())[:, None], after


def _weigh_by_today(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    after = decay * before + (1 - decay) * trust
    return updates * (trust / trust.mean())[:, None], after


def _weigh_forgetting(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    return updates * (trust / trust.mean())[:, None], trust.clone()


def _weigh_growing(updates: Tensor, trust: Tensor, before: Tensor, *, decay: float) -> tuple[Tensor, Tensor]:
    after = decay * before + trust
    return updates * (after / after.mean())[:, None], after


def _trusts(draw: Generator) -> Sequence[Case]:
    """Clients of long standing who go astray, and others who have come back; some trust is zero."""
    cases = []
    for clients, dim, decay in ((3, 2, 0.5), (5, 4, 0.9), (8, 20, 0.7)):
        updates = torch.randn(clients, dim, generator=draw)
        trust = torch.rand(clients, generator=draw)
        trust[0] = 0
        before = torch.rand(clients, generator=draw)
        cases.append(case(updates, trust, before, decay=decay))
    return cases


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="06.1",
        title="A score of lengths",
        reference=norm_score,
        cases=_rows,
        wrong=(
            (
                _norm_without_unit,
                "These are plain lengths. They shrink as the model learns: a unit is missing.",
            ),
            (
                _norm_by_mean,
                "The unit is the mean length, which one loud client raises at will: take the median.",
            ),
            (_norm_squared, "These are squared lengths. A root is missing."),
            (
                _norm_by_lower_median,
                "`median` takes the lower of two middle values. The mean of both is `quantile(0.5)`.",
            ),
            (_norm_of_columns, "You measured columns. A client is a row: `dim=1`."),
            (_norm_of_all, "The unit is the length of all rows together. The usual length of one row is asked for."),
        ),
        hints=(
            "How long is each row, and how long is a usual one?",
            "Take the norm of every row, and divide by the median of these norms.",
            "lengths = updates.norm(dim=…)\nreturn lengths / lengths.quantile(…)",
        ),
        another="By hand, without `norm` and `quantile`:\n\n"
        "    lengths = updates.square().sum(dim=1).sqrt()\n"
        "    ordered = lengths.sort().values\n"
        "    n = len(ordered)\n"
        "    return lengths / ((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)\n\n"
        "It shows what the median does with an even number of clients.",
    ),
    Exercise(
        id="06.2",
        title="A score of directions",
        reference=cosine_score,
        cases=_rows,
        wrong=(
            (_cosine_with_self, "You counted the cosine of each row to itself, which is always 1. Leave it out."),
            (_cosine_itself, "That is the cosine. A score is high for a suspicious row: one minus it."),
            (_cosine_mean, "You took the mean cosine. A few colluders move a mean; a median asks for a majority."),
            (_cosine_of_long_rows, "These are products of whole rows. A cosine needs rows of length one."),
            (_cosine_nearest, "You took the nearest other row. Two attackers who send the same vouch for each other."),
            (
                _cosine_lower_median,
                "`median` takes the lower of two middle values. The mean of both is `quantile(0.5)`.",
            ),
        ),
        hints=(
            "The cosine of two rows is the product of what, and which of the n cosines of a row says nothing?",
            "Normalise the rows, multiply them with each other, leave out the diagonal, take the median of each row.",
            "directions = F.normalize(updates, dim=1)\ncosines = directions @ directions.T\n"
            "others = cosines[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)\nreturn 1 - …",
        ),
        another="Row by row:\n\n"
        "    scores = []\n"
        "    for i, row in enumerate(updates):\n"
        "        others = torch.cat([updates[:i], updates[i + 1 :]])\n"
        "        cosines = F.cosine_similarity(others, row[None])\n"
        "        scores.append(1 - cosines.quantile(0.5))\n"
        "    return torch.stack(scores)\n\n"
        "Slower, and there is no diagonal to forget.",
    ),
    Exercise(
        id="06.3",
        title="A threshold",
        reference=threshold_for,
        cases=_scores,
        wrong=(
            (_threshold_other_end, "That is the other end: it accuses nearly everybody."),
            (
                _threshold_of_a_bell,
                "Mean and two deviations suit a bell curve. These scores have a long tail: count.",
            ),
            (_threshold_at_the_top, "The largest score accuses nobody. Some false alarms are allowed."),
            (_threshold_share_of_the_top, "That is a share of the largest score. A share of the clients is asked for."),
            (_threshold_percent, "`false_alarms` is a share already: 0.05, not 5."),
        ),
        hints=(
            "Which share of the honest scores shall lie below the threshold?",
            "A threshold that a share p exceeds is the (1 - p) quantile.",
            "return honest.quantile(1 - …)",
        ),
    ),
    Exercise(
        id="06.4",
        title="The quarantine",
        reference=quarantine,
        cases=_alarms,
        wrong=(
            (_quarantine_of_a_round, "Whoever still has to wait counts again after one calm round: look at `waits`."),
            (_quarantine_once, "An alarm during the probation changes nothing. It begins the probation anew."),
            (_quarantine_below_zero, "A wait falls below zero, and zero means free: clamp it."),
            (
                _quarantine_early,
                "They come back a round too early: the last round of the probation counts as well.",
            ),
            (_quarantine_added, "A second alarm adds another probation. It begins the same one anew."),
            (_quarantine_at, "A score exactly at the threshold is not above it."),
            (
                _quarantine_late,
                "Whoever raises an alarm still counts, and that very message is the suspicious one.",
            ),
            (_quarantine_upside_down, "The mask says who is left out. It should say who counts."),
        ),
        hints=(
            "Who counts in this round: what must hold of the score, and what of the wait?",
            "Count who waits no longer and is calm. An alarm sets the wait to `probation`, a calm round takes one off.",
            "alarm = scores > threshold\ncounted = (waits == 0) & ~alarm\n"
            "return counted, torch.where(alarm, …, (waits - 1).clamp(min=0))",
        ),
        another="Client by client:\n\n"
        "    counted = []\n"
        "    after = []\n"
        "    for score, wait in zip(scores.tolist(), waits.tolist()):\n"
        "        alarm = score > threshold\n"
        "        counted.append(wait == 0 and not alarm)\n"
        "        after.append(probation if alarm else max(wait - 1, 0))\n"
        "    return torch.tensor(counted), torch.tensor(after)\n\n"
        "The same two lines that decide, once for each client.",
        bonus="Make the second probation of a client twice as long as its first. What else must be remembered?",
    ),
    Exercise(
        id="06.5",
        title="Trust by the server's own update",
        reference=fltrust,
        cases=_with_own,
        tolerance=1e-4,
        wrong=(
            (_fltrust_against, "Negative cosines count, too: whoever is against the server gets its opposite added."),
            (_fltrust_lengths, "The rows keep their lengths: a long one outweighs all trust."),
            (_fltrust_unit, "The result has no length of its own. Every row should be as long as the server's."),
            (_fltrust_by_number, "You divided by the number of clients. Divide by the sum of the weights."),
            (_fltrust_votes, "Everybody on the server's side counts alike. Weigh them by their cosines."),
            (_fltrust_alone, "That is the server's update alone. Then nobody needs the clients."),
        ),
        hints=(
            "How much is a client worth that goes the server's way, across it, and against it?",
            "Weights are cosines to `own`, none below zero. Rows get the length of `own`; then the weighted mean.",
            "trust = F.cosine_similarity(updates, own[None]).clamp(min=0)\ndirections = F.normalize(updates, dim=1)\n"
            "return own.norm() * (trust @ directions) / …",
        ),
    ),
    Exercise(
        id="06.6",
        title="A reputation",
        reference=weigh,
        cases=_trusts,
        wrong=(
            (_weigh_the_other_way, "`decay` is what remains of the past. You gave it to today's trust."),
            (
                _weigh_to_one,
                "The factors add up to 1, and the mean that follows divides again. Let them average 1.",
            ),
            (_weigh_bare, "Nobody trusts fully, so every message becomes shorter. Divide by the mean reputation."),
            (_weigh_by_the_past, "You weighed by the old reputations. Today's trust is part of the new ones."),
            (_weigh_by_today, "You weighed by today's trust alone. The reputation is what counts."),
            (_weigh_forgetting, "Nothing is remembered: `before` is part of the new reputation."),
            (_weigh_growing, "Reputations grow without end: today's trust is multiplied by 1 - decay."),
        ),
        hints=(
            "A moving average: which part of the old value remains, and which part is new?",
            "after = decay x before + (1 - decay) x trust. Multiply rows by reputation over mean reputation.",
            "after = decay * before + (1 - decay) * trust\nreturn updates * (after / …)[:, None], after",
        ),
    ),
)
