"""Small facts about rows of updates that several rooms need."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from labsec.guards import HOW_TO_MAKE, check_kind, check_number, kind
from labsec.types import ImpossibleRule


def check_updates(updates: Tensor, *, name: str = "updates", least: int = 1) -> None:
    """Raise unless `updates` is a floating-point matrix with at least one column.

    name     what it is called where it comes from
    least    number of rows that it must have

    >>> check_updates(torch.zeros(3))
    Traceback (most recent call last):
    ValueError: updates must be a floating-point matrix [clients, dim] with clients >= 1, dim >= 1; got torch.float32
    of shape [3]
    """
    is_tensor = isinstance(updates, Tensor)
    if is_tensor and updates.ndim == 2 and updates.is_floating_point():
        rows, columns = updates.shape
        if rows >= least and columns >= 1:
            return
    condition = f"{name} must be a floating-point matrix [clients, dim] with clients >= {least}, dim >= 1"
    if is_tensor:
        raise ValueError(f"{condition}; got {kind(updates)}")
    raise TypeError(f"{condition}; got {kind(updates)}; {HOW_TO_MAKE[Tensor]}")


def check_clients(name: str, clients: Tensor, rows: int) -> None:
    """Raise unless every row belongs to one client, and no client sends two.

    name       who needs it, for the message
    clients    [rows] identities

    >>> check_clients("Reputation", torch.tensor([3, -1]), 2)
    Traceback (most recent call last):
    labsec.types.ImpossibleRule: Reputation needs rows that belong to one client each; got clients=[3, -1]

    Raises ImpossibleRule for rows that stand for several clients, as a secure sum does; ValueError for other faults.
    """
    check_kind(name, Tensor, clients=clients)
    if clients.shape != (rows,) or clients.is_floating_point() or clients.dtype == torch.bool:
        raise ValueError(f"{name} needs one whole number for each of {rows} clients; got clients={kind(clients)}")
    senders = clients.tolist()
    if min(senders, default=0) < 0:
        raise ImpossibleRule(f"{name} needs rows that belong to one client each; got clients={senders}")
    if len(set(senders)) != rows:
        raise ValueError(f"{name} needs clients that send one row each; got clients={senders}")


def is_finite_row(updates: Tensor) -> Tensor:
    """Tell for each row whether every entry is finite: [clients, dim] -> bool [clients].

    A row's sum is finite only if its entries are, so one pass settles almost every row; a sum may overflow, so the
    few that fail are judged by their largest and smallest entry, which a NaN would be, too.

    >>> is_finite_row(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])).tolist()
    [True, False]
    """
    check_updates(updates, least=0)
    suspicious = ~updates.sum(dim=1).isfinite()  # [clients]
    if suspicious.any():
        rows = updates[suspicious]
        suspicious[suspicious.clone()] = ~(rows.amax(dim=1).isfinite() & rows.amin(dim=1).isfinite())
    return ~suspicious


def finite_rows(updates: Tensor) -> Tensor:
    """Drop the rows that hold a NaN or an infinity: [clients, dim] -> [finite, dim]; the input itself if all are.

    >>> finite_rows(torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]))
    tensor([[1., 2.]])

    Raises ValueError if `updates` is no matrix, or if no row is left.
    """
    check_updates(updates)
    finite = is_finite_row(updates)
    if not finite.any():
        raise ValueError(f"no finite row is left of {len(updates)}: every client sent NaN or infinity")
    return updates if finite.all() else updates[finite]


def row_norms(updates: Tensor) -> Tensor:
    """The L2 norm of every row: [clients, dim] -> [clients], right also where a square overflows.

    A norm that itself overflows is infinite.

    >>> row_norms(torch.tensor([[3.0, 4.0], [3e30, 4e30]]))
    tensor([5.0000e+00, 5.0000e+30])
    """
    return row_norms_in_float64(updates).to(updates.dtype)


def row_norms_in_float64(updates: Tensor) -> Tensor:
    """The L2 norm of every row as a float64, which holds the norm of any float32 row: [clients, dim] -> [clients].

    >>> row_norms_in_float64(torch.tensor([[3e38, 3e38]]))
    tensor([4.2426e+38], dtype=torch.float64)
    """
    check_updates(updates, least=0)
    norms = updates.norm(dim=1).double()  # [clients]
    overflown = ~norms.isfinite()
    if overflown.any():
        norms[overflown] = updates[overflown].norm(dim=1, dtype=torch.float64)
    return norms


def clip_rows(updates: Tensor, bound: float | Tensor) -> Tensor:
    """Shorten every row that is longer than `bound` (L2) to it; shorter rows stay as they are.

    updates    [clients, dim]
    bound      a number >= 0, or such numbers [clients], a bound for each row

    >>> clip_rows(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    An infinite bound leaves every row as it is; a finite one holds also where a norm overflows. A row that holds a NaN
    or an infinity keeps one: `finite_rows` drops it.

    Raises ValueError if a bound is negative or NaN, or if there are neither one nor [clients] of them.
    """
    norms = row_norms(updates)  # [clients]
    _check_bound(bound, len(updates))
    scale = (bound / norms.clamp_min(torch.finfo(updates.dtype).tiny)).clamp_max(1.0).to(updates.dtype)
    clipped = updates * scale[:, None]
    overflown = ~norms.isfinite()
    if overflown.any():
        # Measured in units of its largest entry, such a row has a length that is a number. Its bound may still be too
        # large for a float32.
        rows = updates[overflown]
        peaks = rows.abs().amax(dim=1, keepdim=True)
        lengths = (rows / peaks).norm(dim=1, keepdim=True)
        bounds = torch.as_tensor(bound).to(peaks.device, torch.float64).expand(len(updates))[overflown, None]
        shortened = rows / peaks * (bounds / lengths).to(rows.dtype)
        clipped[overflown] = torch.where(bounds / peaks >= lengths, rows, shortened)
    return clipped


def _check_bound(bound: float | Tensor, rows: int) -> None:
    if not isinstance(bound, Tensor):
        check_number("clip_rows", least=0, most=torch.inf, bound=bound)
    elif bound.shape not in ((), (rows,)) or bound.dtype == torch.bool or not (bound >= 0).all():
        found = f"{kind(bound)}, the least of them {bound.min()}" if bound.numel() else kind(bound)
        raise ValueError(f"clip_rows needs one bound >= 0, or one for each of {rows} rows; got {found}")


def distances_from(updates: Tensor, point: Tensor) -> Tensor:
    """L2 distances of all rows from one point: [n, dim], [dim] -> [n], float64; infinite where a square overflows.

    >>> distances_from(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0.0, 1.0]))
    tensor([4.2426, 0.0000], dtype=torch.float64)

    Raises ValueError if the rows are not as wide as the point.
    """
    _check_point("distances_from", updates, point)
    squares = torch.zeros(len(updates), dtype=torch.float64, device=updates.device)
    for columns, part in zip(updates.split(COLUMNS_AT_ONCE, dim=1), point.split(COLUMNS_AT_ONCE), strict=True):
        squares += (columns - part).norm(dim=1).double().square()
    return squares.sqrt()


def _check_point(owner: str, updates: Tensor, point: Tensor) -> None:
    check_updates(updates, least=0)
    check_kind(owner, Tensor, point=point)
    if point.shape != updates.shape[1:] or not point.is_floating_point():
        raise ValueError(f"{owner} needs a floating-point point [{updates.shape[1]}]; got {kind(point)}")


COLUMNS_AT_ONCE = 8192  # a chunk of 50 rows fits into a core's cache
LONGEST = 1e18  # a float32 holds the square of such a length
SHORTEST = 1e-15  # and what counts of the square of such a one


def rows_and_norms(updates: Tensor) -> tuple[Tensor, Tensor]:
    """The rows [n, dim] and their L2 norms [n], float64, for what looks at directions and multiplies rows.

    Rows whose norm overflows are shortened to a length that can be squared and keep their direction. All others, and
    so in general the whole matrix, come back as they are, not copied.

    >>> rows, norms = rows_and_norms(torch.tensor([[3.0, 4.0], [3e38, 3e38]]))
    >>> norms, rows[0]
    (tensor([5.0000e+00, 1.0000e+18], dtype=torch.float64), tensor([3., 4.]))
    """
    check_updates(updates, least=0)
    norms = updates.norm(dim=1).double()  # [n]
    if norms.isfinite().all():
        return updates, norms
    rows = clip_rows(updates, LONGEST)
    return rows, row_norms_in_float64(rows)


def unit_rows(updates: Tensor) -> Tensor:
    """Every row with length one, at least in float32; a row of zeros stays as it is: [n, dim] -> [n, dim].

    >>> unit_rows(torch.tensor([[3e38, 0.0], [0.0, 3e-38], [0.0, 0.0]]))
    tensor([[1., 0.],
            [0., 1.],
            [0., 0.]])
    """
    check_updates(updates, least=0)
    wide = updates.to(torch.promote_types(updates.dtype, torch.float32))

    # In units of its largest entry no row has a length that overflows or vanishes.
    peaks = wide.abs().amax(dim=1, keepdim=True)  # [n, 1]
    return normalize(wide / peaks.where(peaks > 0, 1), dim=1)


def _with_squares(updates: Tensor) -> Tensor:
    """The rows, or others with the same directions where a square overflows or vanishes: [n, dim] -> [n, dim]."""
    norms = updates.norm(dim=1)
    is_zero = updates.count_nonzero(dim=1) == 0 if norms.numel() and norms.min() < SHORTEST else norms < 0
    has_square = norms.isfinite() & ((norms >= SHORTEST) | is_zero)
    return updates if has_square.all() else unit_rows(updates)


def cosines_to(updates: Tensor, point: Tensor) -> Tensor:
    """Cosines of the angles between all rows and one point: [n, dim], [dim] -> [n], float64; zero where one is zero.

    >>> cosines_to(torch.tensor([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]]), torch.tensor([0.0, 1.0]))
    tensor([ 0.8000, -1.0000,  0.0000], dtype=torch.float64)

    Raises ValueError if the rows are not as wide as the point.
    """
    _check_point("cosines_to", updates, point)
    rows = _with_squares(updates)
    towards = unit_rows(point[None])[0]
    products = (rows @ towards.to(rows.dtype)).double()  # [n]
    return (products / rows.norm(dim=1).double().clamp_min(torch.finfo(torch.float64).tiny)).clamp(-1, 1)


def cosines(updates: Tensor) -> Tensor:
    """Cosines of the angles between all rows: [n, dim] -> [n, n], float64, symmetric; zero beside a row of zeros.

    >>> cosines(torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]))
    tensor([[1.0000, 0.8000, 0.0000],
            [0.8000, 1.0000, 0.0000],
            [0.0000, 0.0000, 0.0000]], dtype=torch.float64)

    One product of the matrix with itself, around zero and not around a centre: an angle is seen from somewhere.
    """
    check_updates(updates)
    gram = _gram(_with_squares(updates), torch.promote_types(updates.dtype, torch.float32))
    norms = gram.diagonal().sqrt()  # [n]
    return (gram / (norms[:, None] * norms).clamp_min(torch.finfo(torch.float64).tiny)).clamp(-1, 1)


def centred_gram(updates: Tensor) -> Tensor:
    """Inner products of the rows around a common centre: [n, dim] -> [n, n], float64.

    Which centre is not promised, so only what does not depend on it means something: distances between rows, and
    between weighted means of them. float32 inner products lose both when the rows share a large offset, and so do
    differences from the mean when one huge row carries the mean away. So the centre is zero where that is precise
    enough, else the mean of the rows of ordinary length, else, in float64, the coordinate-wise median, which no
    minority of rows can carry away. Where squares overflow, the rows at fault are shortened before the product.

    >>> centred_gram(torch.tensor([[1e6, 0.0], [1e6 + 2.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]], dtype=torch.float64)

    For ordinary updates one product of the matrix with itself is all it costs; what is made of the result is [n, n].
    """
    check_updates(updates)
    dtype = torch.promote_types(updates.dtype, torch.float32)
    eps = torch.finfo(dtype).eps
    shortening = None
    gram = _gram(updates, dtype)
    if not gram.isfinite().all():
        shortening = _shortening(updates, dtype)
        gram = _gram(updates, dtype, shortening=shortening)
    if _is_precise(gram, eps):
        return gram
    ordinary = gram.diagonal() <= 1e4 * gram.diagonal().median()  # [n], at most a hundred times the typical length
    share = (ordinary / ordinary.sum()).to(dtype)
    gram = _gram(updates, dtype, lambda part: share @ part, shortening)
    if _is_precise(gram, eps):
        return gram
    return _gram(updates, torch.float64, lambda part: part.median(dim=0).values)


def _gram(
    updates: Tensor,
    dtype: torch.dtype,
    centre: Callable[[Tensor], Tensor] | None = None,
    shortening: Tensor | None = None,
) -> Tensor:
    """Inner products around a centre, in columns that fit into a cache; not finite as soon as one square overflows.

    centre        [n, columns] -> [columns]; None for zero
    shortening    [n, 1] factors on the rows that the result is free of again; None for ones
    """
    total = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
    for columns in updates.split(COLUMNS_AT_ONCE, dim=1):
        part = columns.to(dtype)  # [n, chunk]
        around = part if centre is None else part - centre(part)
        around = around if shortening is None else around * shortening
        total += around @ around.T
        if not total.trace().isfinite():
            break
    if shortening is not None:
        total /= shortening.double() @ shortening.double().T
    return (total + total.T) / 2


def _shortening(updates: Tensor, dtype: torch.dtype) -> Tensor:
    """Powers of two [n, 1] that bring the rows' entries down to where a sum of squares does not overflow."""
    limit = (torch.finfo(dtype).max / COLUMNS_AT_ONCE) ** 0.5 / 4
    peaks = torch.maximum(updates.amax(dim=1, keepdim=True), -updates.amin(dim=1, keepdim=True)).double()  # [n, 1]
    return torch.exp2(-(peaks / limit).log2().ceil().clamp_min(0)).to(dtype)


def _is_precise(gram: Tensor, eps: float) -> bool:
    """Whether rounding leaves every row's distance to its middle neighbour: that is what a majority looks like."""
    if not gram.isfinite().all():
        return False
    typical = gram_distances(gram).sort(dim=1).values[:, len(gram) // 2]  # [n]
    return bool((typical >= 1e4 * eps * gram.diagonal()).all())


def gram_distances(gram: Tensor) -> Tensor:
    """Squared distances between rows from their inner products: [n, n] -> [n, n], zero on the diagonal.

    What overflowed, or is no number, counts as infinitely far.

    >>> gram_distances(torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]])
    """
    check_kind("gram_distances", Tensor, gram=gram)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not gram.is_floating_point():
        raise ValueError(f"gram_distances needs inner products [n, n]; got {kind(gram)}")
    squares = gram.diagonal()  # [n]
    distances = (squares[:, None] + squares - 2 * gram).nan_to_num(nan=torch.inf, posinf=torch.inf).clamp_min(0)
    return distances.fill_diagonal_(0)


def squared_distances(updates: Tensor) -> Tensor:
    """Squared L2 distances between all rows: [n, dim] -> [n, n], float64, symmetric, zero on the diagonal.

    >>> squared_distances(torch.tensor([[1e6, 0.0], [1e6 + 3.0, 4.0]]))
    tensor([[ 0., 25.],
            [25.,  0.]], dtype=torch.float64)
    """
    return gram_distances(centred_gram(updates))
