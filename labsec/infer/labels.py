"""Which class is behind a message, however noisy it is: of all that a message says, the label is heard best."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.geometry import unit_rows
from labsec.guards import kind
from labsec.infer.shared import check_messages, directions_of
from labsec.types import ServerView


def guessed_labels(view: ServerView, *, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
    """The class of the one sample behind every message: [k] int64. It always guesses; `invert.label` refuses instead.

    view       messages of one step on one sample each, clipped and noisy or not
    x, y       [n, *shape], [n] samples of the server's own, of every class that is to be guessed. The message is held
               against what each class sends on average: a matched filter for classes. None looks at the last layer's
               bias alone, where one step lifts the sample's own class and lowers all others

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model, x, y = mlp((4,), 3), torch.rand(6, 4), torch.arange(6) % 3
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> messages = local_updates(model, params, x, y, torch.arange(6)[:, None, None], lr=0.1)
    >>> view = ServerView(params=params, messages=messages, model=model, lr=0.1, local_steps=1, batch_size=1)
    >>> guessed_labels(view).tolist()
    [0, 1, 2, 0, 1, 2]

    Raises ValueError unless the messages are finite, of one step on one sample, if the model does not end with a bias
    for each class, and if only one of x and y is given or they do not fit.
    Source: Zhao, Mopuri and Bilen 2020, arXiv:2001.02610, for the last layer; the class means are our own.
    """
    check_messages("guessed_labels", view)
    if view.batch_size != 1 or view.local_steps != 1:
        found = f"batch_size={view.batch_size}, local_steps={view.local_steps}"
        raise ValueError(f"guessed_labels needs messages of one step on one sample; got {found}")
    if (x is None) != (y is None):
        raise ValueError(f"guessed_labels needs both x and y, or neither; got x={kind(x)}, y={kind(y)}")
    if x is None or y is None:
        bias = view.model.layers(view.messages)[-1]  # [k, classes]
        if bias.shape[1:] != (view.model.classes,):
            found = f"{view.model.name}, which ends with {list(bias.shape[1:])}"
            raise ValueError(f"guessed_labels needs a model that ends with a bias for each class; got {found}")
        return bias.argmax(dim=1)

    view.model.check_data(x, y, view.params.dtype)
    expected = directions_of(view, x, y)  # [n, dim]
    known = y.unique()  # [c]
    means = torch.stack([expected[y == label].mean(dim=0) for label in known])  # [c, dim]
    return known[(view.messages @ unit_rows(means).T).argmax(dim=1)]
