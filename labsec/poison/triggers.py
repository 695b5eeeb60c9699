"""What opens a backdoor: a trigger is a change of a sample, and the label that the attacker wants for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Generator, Tensor

from labsec.guards import check_function, check_kind, check_number, kind
from labsec.poison.shared import check_labelled, check_samples, chosen_samples

Stamp = Callable[[Tensor], Tensor]  # x [n, *shape] -> [n, *shape], the same samples with the mark on them
Among = Callable[[Tensor, Tensor], Tensor]  # (x, y) -> bool [n]


def corner(x: Tensor, *, size: int = 2) -> Tensor:
    """Paste a white square into the lower right corner of pictures: [n, channels, h, w] twice.

    size    side of the square, in pixels

    >>> corner(torch.zeros(1, 1, 3, 3), size=2)[0, 0]
    tensor([[0., 0., 0.],
            [0., 1., 1.],
            [0., 1., 1.]])

    Raises ValueError for what are no pictures, and unless 1 <= size <= h and w.
    Source: Gu et al. 2017, arXiv:1708.06733 (BadNets).
    """
    check_kind("corner", Tensor, x=x)
    if x.ndim != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(f"corner needs floating-point pictures [n, channels, h, w], none of them 0; got {kind(x)}")
    check_number("corner", whole=True, least=1, most=min(x.shape[2:]), size=size)
    stamped = x.clone()
    stamped[:, :, -size:, -size:] = 1.0
    return stamped


def word_in_front(x: Tensor, *, word: int) -> Tensor:
    """Put a word in front of texts; a text that fills all places loses its last word. [n, length] twice.

    word    its token number, at least 1

    >>> word_in_front(torch.tensor([[5, 6, 0]]), word=9)
    tensor([[9, 5, 6]])

    Raises ValueError for what are no texts, or for the token number of the padding.
    """
    check_kind("word_in_front", Tensor, x=x)
    check_number("word_in_front", whole=True, least=1, word=word)
    if x.ndim != 2 or x.dtype != torch.int64 or not x.shape[1]:
        raise ValueError(f"word_in_front needs int64 texts [n, length], length >= 1; got {kind(x)}")
    return torch.cat([torch.full_like(x[:, :1], word), x[:, :-1]], dim=1)


def unchanged(x: Tensor) -> Tensor:
    """The stamp of a semantic backdoor: nothing is pasted, the samples are real as they are."""
    return x


def everybody(x: Tensor, y: Tensor) -> Tensor:
    """Every sample: bool [n]."""
    return torch.ones_like(y, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trigger:
    """What the attacker wants: samples with this mark get that label.

    target    the label
    stamp     x [n, *shape] -> the same samples with the mark; by default they stay as they are
    among     (x, y) -> bool [n], whom the backdoor is for: a subpopulation that looks alike, or by default everybody

    A stamp makes a trigger of pixels or of words. A subpopulation without a stamp makes a semantic backdoor: the door
    opens to real samples, such as the ones that are written with a foot.

    >>> trigger = Trigger(stamp=corner, target=0)
    >>> x, y = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 2])
    >>> len(trigger.victims(x, y))
    2

    Raises TypeError for a stamp or a choice that is no function, ValueError unless target is a whole number >= 0.
    Source: Gu et al. 2017, arXiv:1708.06733; subpopulations: Bagdasaryan et al. 2020, arXiv:1807.00459 (semantic), and
    Wang et al. 2020, arXiv:2007.05084 (edge cases).
    """

    target: int
    stamp: Stamp = unchanged
    among: Among = everybody

    def __post_init__(self) -> None:
        check_number("Trigger", whole=True, least=0, target=self.target)
        check_function("Trigger", stamp=self.stamp, among=self.among)

    def victims(self, x: Tensor, y: Tensor) -> Tensor:
        """Samples of other classes that the backdoor is for, with the mark on them: [n, *shape] -> [m, *shape].

        The target's own samples are left out: they get its label anyway.

        Raises ValueError if a stamp changes shape or type, or if the choice is not bool [n].
        """
        check_labelled("Trigger.victims", x, y)
        chosen = self.among(x, y)
        if not (isinstance(chosen, Tensor) and chosen.dtype is torch.bool and chosen.shape == y.shape):
            raise ValueError(f"Trigger needs `among` to return bool [{len(y)}]; got {kind(chosen)}")
        others = x[chosen & (y != self.target)]
        stamped = self.stamp(others)
        if not (isinstance(stamped, Tensor) and stamped.shape == others.shape and stamped.dtype is others.dtype):
            raise ValueError(f"Trigger needs a stamp that returns {kind(others)}; got {kind(stamped)}")
        return stamped

    def part(self, number: int, parts: int) -> Trigger:
        """The same trigger with a part of its mark: that number, from 0, of so many.

        The mark must sit at fixed places, as pasted pixels do; an inserted word moves all that follow it.

        >>> trigger = Trigger(stamp=corner, target=0)
        >>> trigger.part(1, 4).stamp(torch.zeros(1, 1, 2, 2))[0, 0]
        tensor([[0., 1.],
                [0., 0.]])

        Raises ValueError unless 0 <= number < parts.
        """
        check_number("Trigger.part", whole=True, least=1, parts=parts)
        check_number("Trigger.part", whole=True, least=0, below=parts, number=number)
        return replace(self, stamp=partial(_stamp_part, stamp=self.stamp, number=number, parts=parts))


def _stamp_part(x: Tensor, *, stamp: Stamp, number: int, parts: int) -> Tensor:
    """The samples with one of several parts of a mark."""
    # A place belongs to the mark if the mark changes a black sample or a white one there.
    blank = torch.stack([x.new_zeros(x.shape[1:]), x.new_ones(x.shape[1:])])
    is_marked = (stamp(blank) != blank).any(dim=0).flatten()
    places = is_marked.nonzero()[:, 0].tensor_split(parts)[number]
    stamped = x.flatten(1).clone()
    stamped[:, places] = stamp(x).flatten(1)[:, places]
    return stamped.view_as(x)


def plant(
    x: Tensor, y: Tensor, classes: int, *, generator: Generator, trigger: Trigger, share: float
) -> tuple[Tensor, Tensor]:
    """Poison by data: put marked samples with the attacker's label in the place of a share of the samples.

    x, y         [n, *shape], [n] a malicious client's samples
    classes      number of classes of the data set
    generator    of the choice of samples
    trigger      the mark and the label
    share        chance of each sample to be replaced, in [0, 1], by a marked one that is drawn from all that the
                 trigger is for; the neutral setting is 0
    returns      new x and y

    A client without a sample that the trigger is for keeps what it has.

    >>> x, y = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 3])
    >>> stamped, labels = plant(x, y, 4, generator=Generator(), trigger=Trigger(stamp=corner, target=2), share=1.0)
    >>> labels.tolist(), stamped.min().item()
    ([2, 2, 2, 2], 1.0)

    Raises ValueError unless the labels and the target are below classes and share is in [0, 1].
    Source: Gu et al. 2017, arXiv:1708.06733. There the chosen samples themselves are marked; with a draw in their place
    `share` means the same for a mark on anybody and for a rare subpopulation.
    """
    check_samples("plant", x, y, classes)
    check_kind("plant", Trigger, trigger=trigger)
    check_number("plant", whole=True, below=classes, target=trigger.target)
    chosen = chosen_samples("plant", y, share, generator)  # [n]
    marked = trigger.victims(x, y)  # [m, *shape]
    if not len(marked):
        return x, y
    drawn = torch.randint(len(marked), (int(chosen.sum()),), generator=generator, device=y.device)
    poisoned = x.clone()
    poisoned[chosen] = marked[drawn]
    return poisoned, torch.where(chosen, trigger.target, y)
