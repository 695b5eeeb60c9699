"""Words out of a gradient: which ones from the rows of the embedding, their order from whatever tells places apart."""

from __future__ import annotations

from dataclasses import replace
from time import process_time

import torch
from torch import Tensor

from labsec.geometry import check_updates
from labsec.guards import check_kind, kind
from labsec.invert.reconstruction import Reconstruction
from labsec.invert.shared import gradient, one_message
from labsec.models import embedding, fixed_positions, gru, transformer
from labsec.types import ServerView

SAME_ROW = 1e-3  # relative distance below which two rows are one
IN_SPAN = 2e-5  # share of a vector outside a space below which it lies in it; a larger one finds more and errs more
LOOSELY = 1e-3  # the same for a single text
SLOWEST_ORDER = 40  # sweeps of the search over orders


def words_used(view: ServerView, *, message: int = 0) -> Tensor:
    """Which words are behind a message: the rows of the embedding that it changes. [k] int64, in rising order.

    view    any update of a model whose first layer is an embedding: of one step or of many, of one text or of many

    A word that does not occur has no part in the loss, so its row has no gradient. The padding 0 never shows.

    >>> from labsec import data, models
    >>> from labsec.train import local_updates
    >>> notes, model = data.load("notes"), models.embedding(26, 168, 4)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, notes.x, notes.y, torch.tensor([[[0]]]), lr=1.0)
    >>> view = ServerView(params=params, messages=update, model=model, lr=1.0, local_steps=1, batch_size=1)
    >>> " ".join(data.notes_words()[token] for token in words_used(view))
    'agreed as by cart change driver friday informed no oxygen sent since twice was'

    Noise on every number of the message, however small, makes every word appear: nothing is left of it.

    Raises ValueError unless the model reads tokens, and as `one_message` does.
    Source: the observation opens DAGER, Petrov et al. 2024, arXiv:2405.15586, and LAMP, Balunović et al. 2022,
    arXiv:2202.08827.
    """
    rows = _word_rows("words_used", view, one_message("words_used", view, message))
    return rows.any(dim=1).nonzero()[:, 0]


def tokens(view: ServerView, *, message: int = 0) -> Reconstruction:
    """The bag of words of one text behind a mean of embeddings: which, and how often each. Their order is lost.

    view       `view.messages[message]` must be the update of one step of plain SGD on one text by `models.embedding`
    returns    estimate [1, length], the words in rising order of their numbers, 0 behind them

    All rows point the same way, and a word that occurs twice has a row twice as long: a row is the word's share of the
    text times the slope of the loss at the mean. That slope is the last layer's weight times its bias' gradient, so the
    shares are exact; the shortest text with such shares is taken.

    Raises ValueError for another model or a batch, and as `gradient` does. A text that repeats itself as a whole cannot
    be told from its half.
    """
    begin = process_time()
    sent = _one_text("tokens", view, message)
    if view.model.origin[0] is not embedding:
        raise ValueError(f"tokens needs the mean of embeddings, models.embedding; got {view.model.name}")
    rows, _, bias = view.model.layers(sent[None])
    weight = view.model.layers(view.params.detach().double()[None])[1][0]  # [classes, width]
    slope = bias[0] @ weight  # [width], of the loss at the mean
    used = rows[0].any(dim=1).nonzero()[:, 0]  # [k]
    shares = rows[0][used] @ slope / slope.square().sum()  # [k], adding up to one

    # The length that makes all counts whole. Among lengths that do so equally well the first is the shortest.
    lengths = torch.arange(max(1, len(used)), view.model.shape[0] + 1)
    counts = shares[None] * lengths[:, None]  # [lengths, k]
    off = (counts - counts.round()).abs().amax(dim=1) if len(used) else torch.zeros(len(lengths))
    best = int((off < SAME_ROW * lengths).nonzero()[0, 0]) if (off < SAME_ROW * lengths).any() else int(off.argmin())
    bag = used.repeat_interleave(counts[best].round().long().clamp_min(1))  # [words]
    return _texts(
        "tokens",
        view,
        bag[None, : view.model.shape[0]],
        begin,
        "One text, one step.",
        "Words come in the order of their numbers: the order of the text is not in the gradient.",
    )


def ordered_tokens(view: ServerView, *, message: int = 0) -> Reconstruction:
    """The words of one text in their order, from a transformer that learns its positions.

    view       `view.messages[message]` must be the update of one step of plain SGD on one text by
               `models.transformer(…, learned_positions=True)`
    returns    estimate [1, length], 0 behind the last word; k is 0 if rows and positions cannot be matched

    The sum of a word vector and a position vector enters the network, so both rows get the same gradient: the row of a
    position equals that of the word there. A word that occurs in several places has the sum of their rows.

    >>> from labsec import data, models
    >>> from labsec.train import local_updates
    >>> notes, model = data.load("notes"), models.transformer(26, 168, 4)
    >>> params = model.init(torch.Generator().manual_seed(0))
    >>> update = local_updates(model, params, notes.x, notes.y, torch.tensor([[[0]]]), lr=1.0)
    >>> view = ServerView(params=params, messages=update, model=model, lr=1.0, local_steps=1, batch_size=1)
    >>> " ".join(data.notes_words()[token] for token in ordered_tokens(view).estimate[0] if token)
    'as agreed oxygen cart was sent twice by friday driver informed no change since'

    Raises ValueError for another model or a batch, and as `gradient` does.
    Source: this course's own; the rows of positions are what DAGER, arXiv:2405.15586, calls position embeddings.
    """
    begin = process_time()
    sent = _one_text("ordered_tokens", view, message)
    model = view.model
    if model.origin[0] is not transformer or not model.origin[1]["learned_positions"]:
        raise ValueError(f"ordered_tokens needs a transformer that learns its positions; got {model.name}")
    words, places = model.layers(sent[None])[:2]
    order = match_rows(words[0], places[0])
    return _texts("ordered_tokens", view, order, begin, "One text, one step.", "Padding stands at the end alone.")


def match_rows(words: Tensor, places: Tensor) -> Tensor:
    """The word at each place, from the gradients of word rows [vocabulary, width] and of place rows [length, width].

    returns    [1, length] token numbers, 0 where a place has no gradient; [0, length] if they do not fit together

    >>> words = torch.tensor([[0.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    >>> match_rows(words, torch.tensor([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0], [0.0, 0.0]]))
    tensor([[1, 2, 1, 0]])

    Raises ValueError unless both are finite rows of one width and type.
    """
    for rows, name in ((words, "words"), (places, "places")):
        check_updates(rows, name=name)
        spoiled = int((~rows.isfinite()).sum())
        if spoiled:
            raise ValueError(f"match_rows needs finite {name}; got {spoiled} NaN or infinite numbers")
    if words.shape[1] != places.shape[1] or words.dtype != places.dtype:
        raise ValueError(f"match_rows needs rows of one width and type; got {kind(words)} and {kind(places)}")
    words = words.detach()
    places = places.detach()
    used = words.any(dim=1).nonzero()[:, 0]  # [k]
    filled = places.any(dim=1).nonzero()[:, 0]  # [n]
    order = torch.zeros(1, len(places), dtype=torch.int64)
    if not len(used) or len(filled) < len(used):
        return order[:0]

    # A word that occurs once has the row of its place.
    apart = torch.cdist(places[filled], words[used], compute_mode="donot_use_mm_for_euclid_dist")  # [n, k]
    nearest, which = (apart / places[filled].norm(dim=1, keepdim=True)).min(dim=1)  # [n], [n]
    sure = nearest < SAME_ROW
    order[0, filled[sure]] = used[which[sure]]

    # The others are sums of the rows of places that are left. Which ones, least squares tell: shares near 0 or 1.
    left = filled[~sure]
    rest = used[~torch.isin(used, used[which[sure]])]
    if len(rest) and len(left) >= len(rest):
        shares = torch.linalg.lstsq(places[left].T, words[rest].T).solution.T  # [rest, left]
        order[0, left] = rest[shares.argmax(dim=0)]

    # What was found has to explain the message.
    found = torch.zeros_like(words).index_add_(0, order[0, filled], places[filled])
    return order if (found - words).norm() < SAME_ROW * len(filled) * words.norm() else order[:0]


def span_check(view: ServerView, *, message: int = 0) -> Reconstruction:
    """The texts of a small batch in their order, from a transformer with fixed positions: who lies in a span.

    view       `view.messages[message]` must be the update of one step of plain SGD by
               `models.transformer(…, learned_positions=False)`
    returns    estimate [batch_size, length]; k is 0 if the batch holds as many words as the model is wide, for then
               every word lies in the span

    The gradients of the query and key matrices are sums of outer products, slope times input, one for each word of each
    text; their rows span the inputs. What entered at a place is a word vector plus a known position vector, so each
    pair of a word and a place is tried, with the words that the embedding's rows give away. A query's slope is a
    mixture of the keys of its own text, so the mixtures say which words belong together.

    Raises ValueError for another model, and as `gradient` does.
    Source: the span check of DAGER, Petrov et al. 2024, arXiv:2405.15586; putting texts together by their mixtures is
    this course's own and takes the place of its second layer. The value matrix is of no use here: what follows it is
    linear, so that all words of a text share one slope, and its gradient has one dimension for each text.
    """
    begin = process_time()
    sent = gradient("span_check", view, message)
    model = view.model
    if model.origin[0] is not transformer or model.origin[1]["learned_positions"]:
        raise ValueError(f"span_check needs a transformer with fixed positions; got {model.name}")
    length = model.shape[0]
    table = model.layers(view.params.detach().double()[None])[0][0]  # [vocabulary, width]
    layers = model.layers(sent[None])
    query = layers[1][0]  # [width, width], slopes of the queries times inputs
    key = layers[2][0]
    used = layers[0][0].any(dim=1).nonzero()[:, 0]  # [k]

    # The span of the inputs. A full one holds every vector, and tells nothing.
    _, sizes, basis = torch.linalg.svd(torch.cat([query, key]))
    rank = int((sizes > _rounding(view, len(sizes))).sum()) if len(used) else 0
    if rank in (0, len(sizes)):
        why = f"Failed: the inputs span {rank} of {len(sizes)} dimensions."
        return _texts("span_check", view, torch.zeros(0, length, dtype=torch.int64), begin, why)
    inputs = table[used][:, None] + fixed_positions(length, table.shape[1]).to(table)  # [k, length, width]
    outside = ((inputs @ basis[rank:].T).norm(dim=2) / inputs.norm(dim=2)).flatten()  # [k * length]

    # As many inputs as the span has dimensions are the most that can have made it.
    pairs = outside.argsort()[:rank]
    # One text holds one word at each place, so a loose test does no harm there.
    pairs = pairs[outside[pairs] < (LOOSELY if view.batch_size == 1 else IN_SPAN)]
    seen = inputs.flatten(0, 1)[pairs]  # [n, width]

    # The mixture of keys that each query's slope is: [n, n].
    slopes = torch.linalg.lstsq(seen.T, query.T).solution  # [n, width]
    keys = seen @ model.layers(view.params.detach().double()[None])[2][0].T  # [n, width]
    mixtures = torch.linalg.lstsq(keys.T, slopes.T).solution.T
    return _texts(
        "span_check",
        view,
        _put_together(mixtures.abs(), used[pairs // length], pairs % length, view.batch_size or 1, length),
        begin,
        "One step; the positions are known.",
        f"The inputs span {rank} of {len(sizes)} dimensions.",
    )


def _rounding(view: ServerView, width: int) -> float:
    """The largest singular value that rounding leaves in the gradient of two matrices [width, width], one on the other.

    A message is a difference of parameters, each rounded to half a unit of its last place, and the learning rate makes
    an error of the gradient of it. A matrix of independent errors has about this largest singular value.
    """
    weights = torch.cat([layer.flatten() for layer in view.model.layers(view.params[None])[1:3]]).double()
    error = torch.finfo(view.messages.dtype).eps / 2 / 3**0.5 * float(weights.square().mean().sqrt()) / view.lr
    return error * (width**0.5 + (2 * width) ** 0.5)


def _put_together(ties: Tensor, word: Tensor, place: Tensor, texts: int, length: int) -> Tensor:
    """Words [n] at places [n], with ties [n, n] >= 0 between those of one text: texts [texts, length].

    Groups with the strongest tie are united, as long as they do not hold two words for one place.
    """
    ties = ties / ties.sum(dim=1, keepdim=True).clamp_min(torch.finfo(ties.dtype).tiny)
    ties = ties + ties.T
    groups = [{i} for i in range(len(word))]
    where = place.tolist()
    for pair in ties.triu(diagonal=1).flatten().argsort(descending=True).tolist():
        if len(groups) <= texts:
            break
        one, other = (next(group for group in groups if i in group) for i in divmod(pair, len(word)))
        if one is not other and not {where[i] for i in one} & {where[i] for i in other}:
            one |= other
            groups.remove(other)

    # The largest groups are the texts; a word that fits into none is left out.
    found = torch.zeros(texts, length, dtype=torch.int64)
    for text, group in zip(found, sorted(groups, key=len, reverse=True), strict=False):
        members = sorted(group)
        text[place[members]] = word[members]
    return found


def searched_order(view: ServerView, *, message: int = 0, bag: Tensor | None = None) -> Reconstruction:
    """The words of one text in their order, from a GRU: the order whose gradient is the one that was received.

    view       `view.messages[message]` must be the update of one step of plain SGD on one text by `models.gru`
    bag        [words] int64, the words with their repetitions in any order; None takes every word that shows, once
    returns    estimate [1, length], 0 behind the last word; `losses` holds the distance of the gradients after each
               sweep, and one that does not end near zero says that the order is wrong

    A GRU forgets: the earlier a word, the shorter its row. That is the first guess; then each sweep tries every swap of
    two words and every move of one, all at once as stacked clients, and takes the best.

    Raises ValueError for another model, a batch or a bag that does not fit, and as `gradient` does.
    Source: the search by swaps and moves is that of LAMP, Balunović et al. 2022, arXiv:2202.08827, without its language
    model, and over the gradient of the embedding alone.
    """
    begin = process_time()
    sent = _one_text("searched_order", view, message)
    model = view.model
    if model.origin[0] is not gru:
        raise ValueError(f"searched_order needs a GRU, models.gru; got {model.name}")
    rows = model.layers(sent[None])[0][0]  # [vocabulary, width]
    used = rows.any(dim=1).nonzero()[:, 0]  # [k]
    bag = used if bag is None else _checked_bag(bag, used, model.shape[0])
    if not len(bag):
        return _texts(
            "searched_order", view, torch.zeros(0, model.shape[0], dtype=torch.int64), begin, "Failed: empty."
        )

    # A small table of the words in the bag stands for the whole embedding, behind a row for the padding.
    layers = model.layers(view.params.detach().double()[None])
    layers[0] = torch.cat([layers[0][:, :1], layers[0][:, used]], dim=1)  # [1, 1 + k, width]
    wanted = torch.cat([rows[:1], rows[used]])  # [1 + k, width]
    label = int(sent[-model.classes :].argmin())  # below zero for the label of a single text, and only there

    def distances(orders: Tensor) -> Tensor:
        """Squared distance of the rows' gradient from the wanted one, relative, for orders [c, words]: [c]."""
        x = torch.zeros(len(orders), 1, model.shape[0], dtype=torch.int64)
        x[:, 0, : orders.shape[1]] = 1 + orders
        stacked = [layer.expand(len(orders), *layer.shape[1:]) for layer in layers]
        stacked[0] = stacked[0].clone().requires_grad_()
        logits = model.forward(stacked, x)[:, 0]  # [c, classes]
        (slopes,) = torch.autograd.grad(-logits.log_softmax(dim=1)[:, label].sum(), stacked[0])
        return (slopes - wanted).square().sum(dim=(1, 2)) / wanted.square().sum()

    best = torch.searchsorted(used, bag)
    best = best[rows[bag].norm(dim=1).argsort(stable=True)][None]  # [1, words], the shortest row first
    losses = [float(distances(best))]
    evaluations = 1
    for _ in range(SLOWEST_ORDER):
        if losses[-1] < SAME_ROW**2:
            break
        tried = _neighbours(best[0])  # [c, words]
        scores = distances(tried)
        evaluations += len(tried)
        if float(scores.min()) >= losses[-1]:
            break
        best = tried[scores.argmin()][None]
        losses.append(float(scores.min()))
    told = ["One text, one step.", "The bag of its words is known."]
    if losses[-1] >= SAME_ROW**2:
        told.append("Failed: no order that was tried explains the message.")
    found = _texts("searched_order", view, used[best], begin, *told)
    return replace(found, losses=tuple(losses), evaluations=evaluations)


def _checked_bag(bag: Tensor, used: Tensor, length: int) -> Tensor:
    check_kind("searched_order", Tensor, bag=bag)
    if bag.ndim != 1 or bag.dtype != torch.int64 or not 1 <= len(bag) <= length:
        raise ValueError(f"searched_order needs a bag of 1 … {length} int64 words; got {kind(bag)}")
    if not torch.equal(bag.unique(), used):
        raise ValueError(f"searched_order needs a bag of the words that show, {used.tolist()}; got {bag.tolist()}")
    return bag


def _neighbours(order: Tensor) -> Tensor:
    """All orders that a swap of two words or a move of one makes of an order [words]: [c, words]."""
    n = len(order)
    every = [order]
    for i in range(n):
        for j in range(i + 1, n):
            swapped = order.clone()
            swapped[i] = order[j]
            swapped[j] = order[i]
            every.append(swapped)
        without = torch.cat([order[:i], order[i + 1 :]])
        every += [torch.cat([without[:j], order[i : i + 1], without[j:]]) for j in range(n) if j != i]
    return torch.stack(every).unique(dim=0)


def _word_rows(name: str, view: ServerView, flat: Tensor) -> Tensor:
    """The first layer [vocabulary, width] of flat numbers [dim]; raises unless the model reads tokens."""
    if view.model.vocabulary is None:
        raise ValueError(f"{name} needs a model whose first layer is an embedding of tokens; got {view.model.name}")
    return view.model.layers(flat[None])[0][0]


def _one_text(name: str, view: ServerView, message: int) -> Tensor:
    """The gradient [dim] of one text; raises for a batch, and unless the model reads tokens."""
    sent = gradient(name, view, message)
    _word_rows(name, view, sent)
    if view.batch_size != 1:
        raise ValueError(f"{name} needs the message of one text; got batch_size={view.batch_size}")
    return sent


def _texts(name: str, view: ServerView, found: Tensor, begin: float, *assumptions: str) -> Reconstruction:
    """The reconstruction of texts [k, words], padded with 0 to the model's length."""
    estimate = torch.zeros(len(found), view.model.shape[0], dtype=torch.int64)
    estimate[:, : found.shape[1]] = found
    return Reconstruction(method=name, estimate=estimate, seconds=process_time() - begin, assumptions=assumptions)
