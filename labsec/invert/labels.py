"""Which classes are behind a message: read off the last layer, before anything is searched for."""

from __future__ import annotations

import torch
from torch import Tensor

from labsec.guards import check_kind, kind
from labsec.invert.shared import gradient
from labsec.models import Model
from labsec.types import ServerView


def label(view: ServerView, *, message: int = 0) -> int:
    """The class of the one sample behind a message.

    The slope of the cross-entropy at the logits is softmax - one-hot: above zero for all classes but the sample's own.
    The last layer's bias has this slope as its gradient, so that its one negative entry names the class.

    view       `view.messages[message]` must be the update of one client: one step of plain SGD on one sample

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model = mlp((4,), 3)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, torch.rand(1, 4), torch.tensor([2]), torch.tensor([[[0]]]), lr=0.1)
    >>> label(ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=1))
    2

    Raises ValueError unless it is one step on one sample, and if the entries are not negative for exactly one class:
    then this is no gradient of one sample, or noise hides it.
    Source: Zhao, Mopuri and Bilen 2020, iDLG, arXiv:2001.02610, which looks at the weights of the last layer; the bias
    has the same sign without the assumption that the features are positive.
    """
    slopes = _bias_gradient("label", view, message)  # [classes]
    if view.batch_size != 1:
        raise ValueError(f"label needs a message of one sample; got batch_size={view.batch_size}: see label_counts")
    negative = int((slopes < 0).sum())
    if negative != 1:
        raise ValueError(
            "label needs a bias gradient of the last layer that is negative for exactly one class; "
            f"it is for {negative} of {len(slopes)}: this is no gradient of one sample, or noise hides it"
        )
    return int(slopes.argmin())


def label_counts(view: ServerView, *, message: int = 0, examples: Tensor | None = None) -> Tensor:
    """How many samples of each class are behind a message.

    The last layer's bias gradient is the mean over the batch of softmax - one-hot. What the softmax would be is
    estimated by the model itself, so that the counts n of the classes solve a linear system: the gradient times the
    batch is sum_k n_k (softmax on class k - one-hot of k). They are rounded to whole numbers that add up to the batch.

    view        `view.messages[message]` must be the update of one client: one step of plain SGD
    examples    [classes, *shape] a typical sample of each class, such as the class means of data of one's own. None
                takes the model to answer everybody as it answers a sample of .5 everywhere, which a model does
                that has not been trained
    returns     [classes] int64 counts, which add up to `view.batch_size`

    >>> from labsec.models import mlp
    >>> from labsec.train import local_updates
    >>> model = mlp((4,), 3)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> x, y = torch.full((4, 4), 0.5), torch.tensor([2, 0, 2, 2])
    >>> update = local_updates(model, params, x, y, torch.tensor([[[0, 1, 2, 3]]]), lr=0.1)
    >>> label_counts(ServerView(params=params, messages=update, model=model, lr=0.1, local_steps=1, batch_size=4))
    tensor([1, 0, 3])

    Raises ValueError unless it is one step with a batch of known size, and if examples are of another shape, or not
    finite. On a trained model, or with examples that are not typical, counts are wrong without a sign.
    Source: the idea is Geng et al. 2021, arXiv:2110.09074, and Wainakh et al. 2021, arXiv:2105.09369; the linear
    system over the classes is this course's own.
    """
    slopes = _bias_gradient("label_counts", view, message)  # [classes]
    batch = view.batch_size
    if batch is None or batch < 1:
        raise ValueError(f"label_counts needs a batch of known size; got batch_size={batch}")
    model = view.model
    if model.vocabulary is not None and examples is None:
        raise ValueError(f"label_counts needs examples for {model.name}, whose samples are tokens; got None")

    # What the model says to a sample of each class.
    params = view.params.detach().double()
    if examples is None:
        examples = torch.full((1, *model.shape), 0.5, dtype=torch.float64, device=params.device)
    else:
        examples = _checked(examples, model)
    with torch.no_grad():
        answers = model(params[None], examples[None])[0].softmax(dim=1)  # [classes or 1, classes]
    answers = answers.expand(model.classes, -1)

    # The columns add up to zero, so the system lacks one equation: the counts add up to the batch.
    columns = (answers - torch.eye(model.classes, dtype=torch.float64, device=params.device)).T  # [classes, class k]
    system = torch.cat([columns, torch.ones_like(columns[:1])])
    right = torch.cat([slopes * batch, slopes.new_tensor([batch])])
    counts = torch.linalg.lstsq(system, right[:, None]).solution[:, 0]  # [classes]
    return _whole(counts.clamp_min(0), batch)


def _checked(examples: Tensor, model: Model) -> Tensor:
    """Examples [classes, *shape], float64, or token numbers as they are."""
    check_kind("label_counts", Tensor, examples=examples)
    wanted = [model.classes, *model.shape]
    is_text = model.vocabulary is not None
    if list(examples.shape) != wanted or examples.is_floating_point() == is_text:
        numbers = "int64" if is_text else "floating-point"
        raise ValueError(f"label_counts needs {numbers} examples {wanted}, one for each class; got {kind(examples)}")
    if is_text:
        return examples
    wrong = int((~examples.isfinite()).sum())
    if wrong:
        raise ValueError(f"label_counts needs finite examples; {wrong} numbers are NaN or infinite")
    return examples.double()


def _bias_gradient(name: str, view: ServerView, message: int) -> Tensor:
    """The gradient of the last layer's bias [classes], float64."""
    own = gradient(name, view, message)
    model = view.model
    if model.shapes[-1] != (model.classes,):
        raise ValueError(f"{name} needs a last layer with a bias for each class; {model.name} has {model.shapes[-1]}")
    return own[-model.classes :]


def _whole(counts: Tensor, total: int) -> Tensor:
    """Whole numbers [classes] near the counts that add up to the total: the largest rests are rounded up."""
    scaled = counts * (total / counts.sum())
    floors = scaled.floor()
    missing = total - int(floors.sum())
    floors[(scaled - floors).argsort(descending=True, stable=True)[:missing]] += 1
    return floors.long()
