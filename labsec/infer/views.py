"""What those know who infer something about data that they cannot see: the threat models of this room.

Nothing here holds who was a member, who has a property, or a label. That is known to `labsec.infer.judging` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsec.guards import check_function, check_kind, kind
from labsec.models import Model
from labsec.types import ServerView


def _no_recipe(*_: Any, **__: Any) -> Tensor:
    raise ValueError("this view needs a recipe to train shadows with, and holds none; see labsec.infer.recipe")


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberView:
    """What somebody knows who holds a trained model and asks of candidates whether it was trained on them.

    Threat model: the model is public, or was sent to everybody who took part; the candidates with their labels are
    the attacker's own. How the model was trained is public too, as it is in a federation, where every client runs the
    same code. Which of the candidates were used is not known, and how many is known only to be about a half.

    params    [dim] the trained model
    model     the architecture
    x, y      [n, *shape], [n] the candidates
    train     (members bool [k, n], *, generator) -> [k, dim]: k models of the same recipe, each trained on those of
              the candidates that its row names; `labsec.infer.recipe` makes one. Without it, `lira` refuses

    Raises ValueError if params, candidates and model do not fit, TypeError for a value of another kind.
    """

    params: Tensor
    model: Model
    x: Tensor
    y: Tensor
    train: Callable[..., Tensor] = _no_recipe

    def __post_init__(self) -> None:
        check_kind("MemberView", Model, model=self.model)
        check_kind("MemberView", Tensor, params=self.params)
        check_function("MemberView", train=self.train)
        if self.params.shape != (self.model.dim,) or not self.params.is_floating_point():
            raise ValueError(f"MemberView needs params [{self.model.dim}]; got {kind(self.params)}")
        self.model.check_data(self.x, self.y, self.params.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class PropertyView(ServerView):
    """What a curious server knows that holds samples of its own, some of which have a property.

    Threat model: the server follows the protocol, and looks at single messages. The property need not have anything
    to do with what the model learns. Which client's data have it is not known.

    x, y    [n, *shape], [n] the server's own samples
    has     bool [n], which of them have the property
    stage   (updates [k, dim], *, generator) -> [k, dim], what the clients do to a message before they send it, such as
            clipping and noise: public, and so imitated. None if they do nothing

    Raises ValueError if the samples do not fit the model, or unless some have the property and some do not.
    """

    x: Tensor
    y: Tensor
    has: Tensor
    stage: Callable[..., Tensor] | None = None

    def __post_init__(self) -> None:
        check_kind("PropertyView", Model, model=self.model)
        check_kind("PropertyView", Tensor, params=self.params, has=self.has)
        if self.stage is not None:
            check_function("PropertyView", stage=self.stage)
        self.model.check_data(self.x, self.y, self.params.dtype)
        if self.has.shape != self.y.shape or self.has.dtype != torch.bool:
            raise ValueError(
                f"PropertyView needs has bool [{len(self.y)}]; got {list(self.has.shape)}, {kind(self.has)}"
            )
        if not 0 < int(self.has.sum()) < len(self.has):
            count = f"{int(self.has.sum())} of {len(self.has)}"
            raise ValueError(f"PropertyView needs samples with and without the property; got {count} with it")
