"""Attacks that hide in the honest clients' statistics: ALIE, IPM, mimic."""

from __future__ import annotations

from statistics import NormalDist

import torch

from labsec.geometry import centred_gram
from labsec.guards import check_number
from labsec.poison.shared import all_send, clients_in_round, honest_rows, own_updates
from labsec.types import AttackerView, ImpossibleAttack, Updates


def alie(view: AttackerView, *, z: float | None = None, total: int | None = None) -> Updates:
    """A little is enough: shift every coordinate of the mean by z standard deviations, and let many honest rows
    look more extreme.

    view       the attackers' view; `others` if it holds them, else `own`, at least 2 rows
    z          number of standard deviations; None for the largest at which enough honest clients are farther out
    total      clients in the round, where z is None and the view does not show it
    returns    [malicious, dim], all rows equal

    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> alie(SimpleNamespace(own=torch.zeros(1, 2), others=others), z=1.0)
    tensor([[0.5858, 0.0000]])

    Raises ValueError if there are too few rows, if the number of clients is unknown, if the attackers have the
    majority already, or if z is not finite. Source: Baruch et al. 2019, arXiv:1902.06156, Algorithm 3.
    """
    rows = honest_rows(view, "alie", least=2)
    if z is None:
        z = largest_z(clients_in_round(view, total, "alie"), len(view.own))
    check_number("alie", z=z)
    return all_send(view, rows.mean(dim=0) - z * rows.std(dim=0))


def largest_z(clients: int, malicious: int) -> float:
    """ALIE's number of standard deviations: the largest at which enough honest clients are expected farther out.

    Enough are floor(n / 2 + 1) - m, which with the m attackers are a majority; honest values are taken as normal. It
    grows with the attackers' share, and is negative as long as they are so few that nothing hides them.

    >>> round(largest_z(50, 24), 2)
    1.43

    Raises ImpossibleAttack unless 0 < malicious < floor(clients / 2 + 1) and clients >= 3.
    """
    check_number("alie", whole=True, clients=clients, malicious=malicious)
    supporters = clients // 2 + 1 - malicious
    if not (malicious > 0 and supporters > 0 and clients >= 3):
        raise ImpossibleAttack(
            "alie needs 0 < malicious < clients // 2 + 1 and clients >= 3; "
            f"got malicious={malicious}, clients={clients}"
        )

    # The point of the normal distribution that all honest clients but the supporters stay below.
    honest = clients - malicious
    return NormalDist().inv_cdf((honest - supporters) / honest)


def ipm(view: AttackerView, *, scale: float) -> Updates:
    """Inner product manipulation: send the opposite of the honest mean, `scale` times as long.

    view       the attackers' view; `others` if it holds them, else `own`
    scale      factor, no unit: a small one hides in the crowd, one above honest / malicious reverses the mean
    returns    [malicious, dim], all rows equal

    >>> from types import SimpleNamespace
    >>> ipm(SimpleNamespace(own=torch.tensor([[1.0, 0.0], [3.0, 0.0]]), others=None), scale=0.5)
    tensor([[-1., -0.],
            [-1., -0.]])

    Raises ValueError if there is no row, or if scale is not finite. Source: Xie et al. 2019, arXiv:1903.03936.
    """
    check_number("ipm", scale=scale)
    return all_send(view, -scale * honest_rows(view, "ipm").mean(dim=0))


def mimic(view: AttackerView, *, target: int | None = None) -> Updates:
    """All send a copy of one honest client's message: nothing looks odd, and its data counts many times.

    view       the attackers' view, with `others`
    target     whom to copy, a row of `others`; None for the one farthest out along the first principal component
    returns    [malicious, dim], all rows equal

    >>> from types import SimpleNamespace
    >>> others = torch.tensor([[1.0, 0.0], [1.2, 0.0], [5.0, 0.0]])
    >>> mimic(SimpleNamespace(own=torch.zeros(1, 2), others=others))
    tensor([[5., 0.]])

    Raises ValueError if the view does not hold the honest messages, or if there is no such row.
    Source: Karimireddy et al. 2022, arXiv:2006.09365, section 3. There the direction is learned over the first rounds
    and one client copied ever after; here each round stands for itself, unless `target` says whom to copy.
    """
    own_updates(view, "mimic")
    if view.others is None:
        raise ValueError("mimic needs the honest messages to copy from; got view.others = None (scenario: omniscient)")
    others = honest_rows(view, "mimic")
    if target is None:
        target = _farthest_out(others)
    check_number("mimic", whole=True, target=target)
    if not 0 <= target < len(others):
        raise ValueError(f"mimic needs 0 <= target < honest rows; got target={target}, honest rows={len(others)}")
    return all_send(view, others[target])


def _farthest_out(rows: Updates) -> int:
    """The row with the largest part along the first principal component of the rows."""
    # `centred_gram` does not promise which centre it takes: move it to the mean.
    gram = centred_gram(rows)  # [n, n]
    around_mean = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()

    # The rows' parts along the first principal component are in proportion to the eigenvector of the largest
    # eigenvalue, which `eigh` puts last.
    first = torch.linalg.eigh(around_mean).eigenvectors[:, -1]  # [n]
    return int(first.abs().argmax())
