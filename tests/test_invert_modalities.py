"""Words, records, genomes and two-part samples out of a message: exact where the assumption holds, silent where not."""

from dataclasses import replace

import pytest
import torch

from labsec import data, invert, metrics, models
from labsec.train import local_updates
from labsec.types import ServerView, generator

WIDTHS = [column.width for column in data.credit_columns()]


def captured(model, dataset, picked, *, seed=0, lr=1.0, noise=0.0):
    """A view of one message that was made from the samples of these numbers."""
    params = model.init(generator(seed, "start"))
    samples = torch.as_tensor(picked)[None, None]
    update = local_updates(model, params, dataset.x, dataset.y, samples, lr=lr)
    update = update + noise * torch.randn(update.shape, generator=generator(seed, "noise"))
    return ServerView(params=params, messages=update, model=model, lr=lr, local_steps=1, batch_size=samples.shape[2])


@pytest.fixture(scope="module")
def notes():
    return data.load("notes")


@pytest.fixture(scope="module")
def network():
    """Networks for the notes by kind."""
    return {
        "embedding": models.embedding(26, 168, 4),
        "learned": models.transformer(26, 168, 4),
        "fixed": models.transformer(26, 168, 4, learned_positions=False),
        "gru": models.gru(26, 168, 4),
    }


# --- words


@pytest.mark.parametrize("kind", ["embedding", "learned", "fixed", "gru"])
def test_words_show_in_every_network_and_through_many_steps(kind, notes, network):
    picked = torch.tensor([[3, 40], [500, 3]])
    params = network[kind].init(generator(0))
    update = local_updates(network[kind], params, notes.x, notes.y, picked[None], lr=0.5)
    view = ServerView(params=params, messages=update, model=network[kind], lr=0.5, local_steps=2, batch_size=2)
    wanted = notes.x[picked.flatten()].unique()
    assert invert.words_used(view).tolist() == wanted[wanted > 0].tolist()


def test_noise_makes_every_word_appear(notes, network):
    view = captured(network["embedding"], notes, [3], noise=1e-6)
    assert len(invert.words_used(view)) == 168


def test_a_bag_has_the_right_counts_and_no_order(notes, network):
    repeated = [i for i in range(200) if len(notes.x[i][notes.x[i] > 0].unique()) < int((notes.x[i] > 0).sum())][:5]
    assert len(repeated) == 5
    for number in [0, 1, *repeated]:
        text = notes.x[number][notes.x[number] > 0]
        found = invert.tokens(captured(network["embedding"], notes, [number]))
        assert found.estimate[0][: len(text)].tolist() == text.sort().values.tolist()
        assert not metrics.exact_order(found.estimate, notes.x[[number]]).any()
        assert "order of the text is not in the gradient" in found.assumptions[-1]


def test_two_orders_of_a_bag_send_the_same_message(notes, network):
    """Why no attack on a mean of embeddings can find the order."""
    text = notes.x[0]
    shuffled = torch.cat([text[:14].flip(0), text[14:]])
    both = replace(notes, x=torch.stack([text, shuffled]), y=notes.y[[0, 0]])
    there, back = (captured(network["embedding"], both, [i]).messages for i in (0, 1))
    torch.testing.assert_close(there, back, atol=1e-7, rtol=0)


def test_learned_positions_give_the_order_also_of_repeated_words(notes, network):
    for number in range(20):
        found = invert.ordered_tokens(captured(network["learned"], notes, [number], seed=number))
        assert torch.equal(found.estimate, notes.x[[number]]), number


def test_rows_that_do_not_match_give_no_text(notes, network):
    view = captured(network["learned"], notes, [3], noise=1e-3)
    found = invert.ordered_tokens(view)
    assert len(found.estimate) == 0
    assert not found.succeeded


def test_a_span_gives_one_text_and_falls_silent_when_it_is_full(notes, network):
    for number in range(6):
        found = invert.span_check(captured(network["fixed"], notes, [number], seed=number))
        assert torch.equal(found.estimate, notes.x[[number]]), number
    full = invert.span_check(captured(network["fixed"], notes, range(8)))
    assert len(full.estimate) == 0
    assert "Failed: the inputs span 64 of 64 dimensions." in full.assumptions


def test_a_span_of_two_texts_tells_words_at_their_places(notes, network):
    scores = []
    for seed in range(6):
        picked = [2 * seed, 2 * seed + 1]
        found = invert.span_check(captured(network["fixed"], notes, picked, seed=seed, lr=4.0))
        scores.append(metrics.placed_tokens(found.estimate, notes.x[picked])[0])
        stranger = metrics.placed_tokens(found.estimate, notes.x[[700 + seed, 900 + seed]])[0]
        assert stranger < 0.4
    assert sum(scores) / 6 > 0.85


def test_a_search_finds_the_order_in_a_gru(notes, network):
    for number in (1, 2, 5):
        bag = notes.x[number][notes.x[number] > 0].sort().values
        found = invert.searched_order(captured(network["gru"], notes, [number]), bag=bag)
        assert torch.equal(found.estimate, notes.x[[number]])
        assert found.losses[-1] < 1e-6


def test_a_search_with_the_wrong_counts_ends_far_from_the_message(notes, network):
    number = next(i for i in range(200) if len(notes.x[i][notes.x[i] > 0].unique()) < int((notes.x[i] > 0).sum()))
    found = invert.searched_order(captured(network["gru"], notes, [number]))
    assert found.losses[-1] > 1e-5, "a word that occurs twice was taken once, and the loss says so"
    assert found.assumptions[-1] == "Failed: no order that was tried explains the message."


@pytest.mark.parametrize(
    ("attack", "kind", "message"),
    [
        (invert.tokens, "gru", "tokens needs the mean of embeddings"),
        (invert.ordered_tokens, "fixed", "needs a transformer that learns its positions; got Transformer"),
        (invert.span_check, "learned", "needs a transformer with fixed positions; got Transformer"),
        (invert.searched_order, "embedding", "needs a GRU, models.gru; got Embedding"),
    ],
)
def test_an_attack_on_another_network_says_what_it_needs(attack, kind, message, notes, network):
    with pytest.raises(ValueError, match=message):
        attack(captured(network[kind], notes, [3]))


@pytest.mark.parametrize("attack", [invert.tokens, invert.ordered_tokens, invert.searched_order])
def test_a_batch_and_several_steps_are_refused(attack, notes, network):
    kind = {invert.tokens: "embedding", invert.ordered_tokens: "learned"}.get(attack, "gru")
    view = captured(network[kind], notes, [3, 4])
    with pytest.raises(ValueError, match="needs the message of one text; got batch_size=2"):
        attack(view)
    with pytest.raises(ValueError, match=r"one local step.*got local_steps=5"):
        attack(replace(view, local_steps=5))


def test_pixels_have_no_words():
    digits = data.load("digits")
    view = captured(models.mlp(digits.shape, 10), digits, [3])
    with pytest.raises(ValueError, match="words_used needs a model whose first layer is an embedding of tokens"):
        invert.words_used(view)


# --- records of a table


def test_records_come_back_and_a_stranger_does_not():
    credit = data.load("credit")
    model = models.mlp(credit.shape, 2, hidden=(100, 100))
    picked = [3, 40, 500, 700]
    view = captured(model, credit, picked)
    found = invert.categories(view, widths=WIDTHS, labels=credit.y[picked], generator=generator(0, "search"))
    assert metrics.category_accuracy(found.estimate, credit.x[picked], widths=WIDTHS) > 0.9
    assert metrics.category_accuracy(found.estimate, credit.x[[1, 2, 5, 6]], widths=WIDTHS) < 0.75
    for group in found.estimate.split(WIDTHS, dim=1):
        if group.shape[1] > 1:
            assert torch.equal(group.sum(dim=1), torch.ones(4))


def test_a_large_batch_hides_its_records_and_the_loss_says_so():
    credit = data.load("credit")
    picked = torch.arange(32)
    view = captured(models.mlp(credit.shape, 2, hidden=(8,)), credit, picked)
    found = invert.categories(
        view, widths=WIDTHS, labels=credit.y[:32], generator=generator(0, "search"), restarts=1, iterations=60
    )
    assert metrics.category_accuracy(found.estimate, credit.x[picked], widths=WIDTHS) < 0.8
    assert min(found.losses) > 1e-9


def test_labels_of_a_batch_must_be_given_and_fit():
    credit = data.load("credit")
    view = captured(models.mlp(credit.shape, 2), credit, [3, 4])
    draw = generator(0, "search")
    with pytest.raises(ValueError, match=r"needs the labels of several samples, .*; got labels=None, batch_size=2"):
        invert.categories(view, widths=WIDTHS, generator=draw)
    with pytest.raises(ValueError, match=r"needs int64 labels \[2\], one .*; got torch.int64 of shape \[3\]"):
        invert.categories(view, widths=WIDTHS, labels=torch.tensor([0, 1, 1]), generator=draw)
    with pytest.raises(ValueError, match=r"labels in 0 … 1; got 0 … 2"):
        invert.categories(view, widths=WIDTHS, labels=torch.tensor([0, 2]), generator=draw)
    with pytest.raises(ValueError, match=r"places of a sample, \[29\]; got \[1, 2\], together 3"):
        invert.categories(view, widths=[1, 2], labels=torch.tensor([0, 1]), generator=draw)


# --- genomes


@pytest.mark.parametrize("name", ["dna64", "dna"])
def test_bases_come_back_with_their_label(name):
    dna = data.load(name)
    model = models.sequence_net(dna.shape, 4)
    for number in (3, 40):
        found = invert.bases(captured(model, dna, [number], seed=number), generator=generator(number, "search"))
        assert torch.equal(found.estimate, dna.x[[number]])
        assert found.labels.tolist() == [int(dna.y[number])]
        assert float(metrics.base_accuracy(found.estimate, dna.x[[number + 1]])[0]) < 0.5


def test_noise_hides_the_bases_and_the_loss_says_so():
    dna = data.load("dna64")
    view = captured(models.sequence_net(dna.shape, 4), dna, [3], noise=1.0)
    found = invert.bases(view, generator=generator(0, "search"), restarts=1, iterations=50)
    assert float(metrics.base_accuracy(found.estimate, dna.x[[3]])[0]) < 0.6
    assert min(found.losses) > 0.1
    assert torch.equal(found.estimate.sum(dim=1), torch.ones(1, 64)), "an answer is a sequence, right or wrong"


def test_genotypes_come_back_rare_alleles_included():
    snps = data.load("snps")
    model = models.mlp(snps.shape, 2, activation=torch.sigmoid)
    frequencies = snps.x.mean(dim=0)
    mode = snps.x.mode(dim=0).values[None]
    for picked in ([3], [4, 11]):
        found = invert.genotypes(
            captured(model, snps, picked), labels=snps.y[picked], generator=generator(0, "search")
        ).estimate
        truth = snps.x[picked]
        assert set(found.unique().tolist()) <= {0.0, 0.5, 1.0}
        assert float(metrics.genotype_accuracy(found, truth).min()) > 0.97
        assert metrics.rare_allele_recall(found, truth, frequencies=frequencies) > 0.9
        assert metrics.rare_allele_recall(mode.expand_as(truth), truth, frequencies=frequencies) == 0.0


def test_sequences_need_letters_by_places():
    snps = data.load("snps")
    view = captured(models.mlp(snps.shape, 2), snps, [3])
    with pytest.raises(ValueError, match=r"bases needs sequences \[letters, length\]; MLP .* takes \[128\]"):
        invert.bases(view, generator=generator(0))


# --- a picture and a text


@pytest.fixture(scope="module")
def both(notes):
    faces = data.load("faces")
    x = models.join(faces.x, notes.x[: len(faces.x)], words=168)
    return replace(faces, x=x, y=notes.y[: len(x)], x_test=x, y_test=notes.y[: len(x)], classes=4)


def test_a_picture_and_its_text_come_out_of_one_message(both):
    model = models.joint((1, 25, 25), 26, 168, 4)
    view = captured(model, both, [3])
    found = invert.picture_and_text(view, generator=generator(0, "search"))
    picture, text = models.parts_of(found.estimate, shape=(1, 25, 25), words=168)
    true_picture, true_text = models.parts_of(both.x[[3, 5]], shape=(1, 25, 25), words=168)
    assert torch.equal(text, true_text[:1])
    assert metrics.psnr(picture, true_picture[:1])[0] > 37
    assert metrics.psnr(picture, true_picture[1:])[0] < 25
    assert found.labels.tolist() == [int(both.y[3])]


def test_noise_that_parts_words_and_places_leaves_nothing(both):
    model = models.joint((1, 25, 25), 26, 168, 4)
    view = captured(model, both, [3], noise=1e-2)
    found = invert.picture_and_text(view, generator=generator(0, "search"))
    assert len(found.estimate) == 0
    assert "Failed: the rows of words and places do not match." in found.assumptions
    with pytest.raises(ValueError, match="needs the message of one sample; got batch_size=2"):
        invert.picture_and_text(replace(view, batch_size=2), generator=generator(0))
    pictures = data.load("digits")
    with pytest.raises(ValueError, match=r"models.joint; got MLP"):
        invert.picture_and_text(captured(models.mlp(pictures.shape, 10), pictures, [3]), generator=generator(0))


# --- scores


def test_scores_by_hand():
    truth = torch.tensor([[5, 6, 6, 0], [7, 8, 0, 0]])
    assert metrics.token_recall(torch.tensor([[6, 5, 0, 0], [1, 1, 1, 1]]), truth).tolist() == pytest.approx([2 / 3, 0])
    assert metrics.exact_order(truth.flip(0), truth).all()
    assert not metrics.exact_order(torch.cat([0 * truth, truth]), truth).any(), "only the first two candidates count"
    assert metrics.exact_order(truth[:0], truth).tolist() == [False, False]
    assert metrics.placed_tokens(truth[:1], truth) == (1.0, 3 / 5)
    table = torch.tensor([[0.5, 1.0, 0, 0, 1.0, 0], [0.2, 0, 1.0, 0, 0, 1.0]])
    widths = [1, 3, 2]
    assert metrics.category_accuracy(table.flip(0), table, widths=widths) == 1.0
    assert metrics.category_accuracy(table[:1], table, widths=widths) == 0.5
    assert metrics.category_accuracy(table * torch.nan, table, widths=widths) == 0.0
    frequencies = torch.tensor([0.01, 0.01, 0.3])
    person = torch.tensor([[0.5, 0.5, 0.5]])
    half = torch.tensor([[0.5, 0.0, 0.5]])
    assert metrics.rare_allele_recall(half, person, frequencies=frequencies) == 0.5
    assert metrics.rare_allele_recall(person[:0], person, frequencies=frequencies) == 0.0
    assert metrics.genotype_accuracy(half, person).tolist() == pytest.approx([2 / 3])
    assert metrics.genotype_accuracy(half * torch.nan, person).tolist() == [0.0]
