"""FedShield (our reading; not the named product): six layers, of which five are here, each a part of its own."""

from __future__ import annotations

from torch import Generator, Tensor

from labsec.guards import check_number
from labsec.robust.bucketing import bucketing
from labsec.robust.clipping import CenteredClip, MedianNormClip
from labsec.robust.neighbours import multi_krum_mask
from labsec.robust.noise import with_noise
from labsec.robust.reputation import Reputation
from labsec.robust.root import Root
from labsec.robust.senders import finite_rows_of
from labsec.types import ImpossibleRule, Update, Updates


class FedShield:
    """Rule: clip, weigh by reputation, mix in buckets, drop the odd buckets, clip around the last result, add noise.

    Our reading; not the named product, of which there is no public description.

    layer                            setting     left out with    by itself a stage or rule
    clip to the running median norm  factor      torch.inf        MedianNormClip
    trust and reputation             decay       None             Reputation; decay = 0 forgets
    buckets, identities lost         bucket      1                bucketing
    Multi-Krum drops f buckets       f           0                multi_krum_mask
    clip around the last result      radius      torch.inf        CenteredClip
    noise on the result              noise       0                central_noise

    f         bad clients to withstand, each of which spoils a bucket
    radius    bound on the L2 norm of each bucket's difference to the last result, in parameter units
    factor    multiple of the median norm of the last five rounds
    decay     what remains of a reputation from round to round
    root      what the server learns by itself, params [dim] -> [dim]; None for the coordinate median
    bucket    clients in a bucket
    noise     standard deviation on every coordinate of the result, in parameter units

    With every layer left out it is the mean. (The envelope before the first layer, signature and nonce, is no matter of
    updates.) Of 30 clients in buckets of two it can hold f = 6, in buckets of one f = 13.

    >>> import torch
    >>> rule = FedShield(f=1, radius=1.0, bucket=1)
    >>> here = {"clients": torch.arange(5), "params": torch.zeros(1), "generator": torch.Generator()}
    >>> rule(torch.tensor([[0.1], [0.1], [0.2], [0.2], [-900.0]]), **here)
    tensor([0.1875])

    Raises ValueError for a setting out of its range. When called, raises ImpossibleRule unless 0 <= f and 2 f + 2 is
    less than the number of buckets, or if a row stands for several clients; ValueError if no row is finite.
    Sources: those of the parts; in this order, our own.
    """

    def __init__(
        self,
        *,
        f: int,
        radius: float,
        factor: float = 1.0,
        decay: float | None = 0.9,
        root: Root | None = None,
        bucket: int = 2,
        noise: float = 0.0,
    ) -> None:
        check_number("FedShield", whole=True, f=f)
        check_number("FedShield", whole=True, above=0, bucket=bucket)
        check_number("FedShield", least=0, noise=noise)
        self.f = f
        self.bucket = bucket
        self.noise = noise
        self.clip = MedianNormClip(factor=factor)
        self.reputation = None if decay is None else Reputation(decay=decay, root=root)
        self.centre = CenteredClip(radius=radius)

    def __call__(self, updates: Updates, *, clients: Tensor, params: Tensor, generator: Generator) -> Update:
        rows, senders = finite_rows_of(updates, clients, "FedShield")
        buckets = -(-len(rows) // self.bucket)
        if self.f and not (self.f > 0 and 2 * self.f + 2 < buckets):
            raise ImpossibleRule(
                f"FedShield needs 0 <= f and 2f + 2 < clients / bucket, rounded up; "
                f"got f={self.f}, clients={len(rows)}, bucket={self.bucket}"
            )
        rows = self.clip(rows)
        if self.reputation is not None:
            rows = self.reputation(rows, clients=clients.new_tensor(senders), params=params)
        rows = bucketing(rows, size=self.bucket, generator=generator)  # [buckets, dim]
        if self.f:
            rows = rows[multi_krum_mask(rows, f=self.f)]
        return with_noise(self.centre(rows), self.noise, generator)
