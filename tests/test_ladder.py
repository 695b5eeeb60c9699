"""Each rung beyond pictures recovers a case whose truth it never sees, and says why it leaves another alone."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from labsec import data, invert, metrics, models
from labsec.invert.gradinverter import RUNGS
from labsec.invert.ladder import Job, climbed
from labsec.train import local_updates
from labsec.types import BroadcastView, ServerView, generator

DIGITS = data.load("digits")
WIDTHS = [column.width for column in data.credit_columns()]


def captured(model, dataset, picked, *, seed=0, lr=1.0, noise=0.0):
    """A view of one message that was made from the samples of these numbers."""
    params = model.init(generator(seed, "start"))
    samples = torch.as_tensor(picked)[None, None]
    update = local_updates(model, params, dataset.x, dataset.y, samples, lr=lr)
    update = update + noise * torch.randn(update.shape, generator=generator(seed, "noise"))
    return ServerView(params=params, messages=update, model=model, lr=lr, local_steps=1, batch_size=samples.shape[2])


def inverted(view, *, seconds=6.0, **known):
    return invert.gradinverter(view, generator=generator(0, "search"), seconds=seconds, **known)


def climb(name, view, *, seconds=10.0, **told):
    """What becomes of one rung by itself, and its result."""
    knows = {"labels": None, "prior": None, "widths": None, "genome": None, "earlier": (), "stage": None, "best": None}
    draws = generator(0, "search")
    job = Job(view=view, message=0, generator=draws, seconds=seconds, watch=None, **{**knows, **told})
    return climbed(next(rung for rung in RUNGS if rung.name == name), job)


def reason_of(name, view, **told):
    """Why a rung leaves a message alone."""
    tried, found = climb(name, view, **told)
    assert found is None
    assert tried.unexplained is None
    return tried.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bins of a malicious server", "the server followed the protocol"),
        ("words behind a mean of embeddings", "tokens needs a model whose first layer is an embedding of tokens"),
        ("words by the rows of their places", "ordered_tokens needs a model whose first layer is an embedding"),
        ("words in the span of a batch", "span_check needs a transformer with fixed positions"),
        ("words in a GRU, order by order", "searched_order needs a model whose first layer is an embedding"),
        ("a picture with its text", "picture_and_text needs a model of a picture and a text"),
        ("records of a table", "it is not known that the samples are records of a table, nor its columns: widths=None"),
        ("bases of a sequence", "it is not known that the samples are bases: genome=None"),
        ("genotypes", "it is not known that the samples are genotypes: genome=None"),
        ("rank one over several messages", "there is one message alone about these data: earlier=()"),
        ("cosine matching over several messages", "there is one message alone about these data: earlier=()"),
        ("search behind the client's stage", "it is not known that a stage changed the update"),
        ("nearest public samples", "no public samples are at hand: prior=None"),
        ("search from public samples", "no public samples are at hand: prior=None"),
        ("the best result, rounded to its kind", "there is no candidate yet that could be rounded"),
    ],
)
def test_a_picture_leaves_the_reason_of_each_rung_that_needs_more(name, reason):
    assert reason in reason_of(name, captured(models.lenet(DIGITS.shape, 10), DIGITS, [3], lr=0.3))


@pytest.mark.parametrize("name", ["search from public samples", "search behind the client's stage"])
def test_a_search_in_numbers_leaves_a_text_alone(name):
    notes = data.load("notes")
    view = captured(models.embedding(26, 168, 4), notes, [3])
    told = {"prior": notes.x[:9], "stage": torch.clone, "labels": notes.y[[3]]}
    assert "needs samples that are numbers" in reason_of(name, view, **told)


# --- text


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (models.transformer(26, 168, 4), "ordered_tokens"),
        (models.transformer(26, 168, 4, learned_positions=False), "span_check"),
        (models.gru(26, 168, 4), "searched_order"),
    ],
)
def test_a_text_comes_back_in_its_order(model, method):
    notes = data.load("notes")
    found = inverted(captured(model, notes, [3]))
    assert found.method == method
    assert torch.equal(found.estimate, notes.x[[3]])
    assert found.labels.tolist() == [int(notes.y[3])]
    assert found.unexplained < 1e-9 < found.baseline
    assert found.words.tolist() == notes.x[3][notes.x[3] > 0].unique().tolist()


def test_a_gru_gives_away_which_word_occurs_twice():
    notes = data.load("notes")
    texts = [text[text > 0] for text in notes.x[:200]]
    twice = next(i for i, text in enumerate(texts) if len(text) - len(text.unique()) == 1)
    _, found = climb("words in a GRU, order by order", captured(models.gru(26, 168, 4), notes, [twice]))
    assert torch.equal(found.estimate, notes.x[[twice]])


def test_a_mean_of_embeddings_gives_the_bag_and_no_order():
    notes = data.load("notes")
    found = inverted(captured(models.embedding(26, 168, 4), notes, [3]))
    text = notes.x[3][notes.x[3] > 0]
    assert found.estimate[0][: len(text)].tolist() == text.sort().values.tolist()
    assert not torch.equal(found.estimate, notes.x[[3]])


def test_noise_leaves_no_text_and_shows_itself():
    notes = data.load("notes")
    found = inverted(captured(models.transformer(26, 168, 4), notes, [3], noise=1e-2))
    assert not found.succeeded
    assert len(found.words) == 168
    reasons = {rung.name: rung.reason for rung in found.rungs}
    assert "it found no sample that it believes in" in reasons["words by the rows of their places"]
    assert any("noise was added, or something left out" in said for said in found.assumptions)


def test_a_picture_and_its_text_come_out_together():
    notes = data.load("notes")
    x = models.join(DIGITS.x[:20], notes.x[:20], words=168)
    both = replace(DIGITS, x=x, y=notes.y[:20], x_test=x, y_test=notes.y[:20], classes=4)
    _, found = climb("a picture with its text", captured(models.joint((1, 8, 8), 26, 168, 4), both, [3]))
    picture, text = models.parts_of(found.estimate, shape=(1, 8, 8), words=168)
    assert found.unexplained < 1e-6
    assert torch.equal(text, notes.x[[3]])
    assert metrics.psnr(picture, DIGITS.x[[3]])[0] > 37


# --- tables and genomes


def test_records_of_a_table_come_back_once_its_columns_are_known():
    credit = data.load("credit")
    _, found = climb("records of a table", captured(models.mlp(credit.shape, 2), credit, [7]), widths=WIDTHS)
    assert (found.estimate - credit.x[7]).abs().max() < 0.01
    assert metrics.category_accuracy(found.estimate, credit.x[[1]], widths=WIDTHS) < 0.9


def test_bases_come_back_as_letters_and_are_no_genotypes():
    dna = data.load("dna64")
    view = captured(models.sequence_net(dna.shape, 4), dna, [3])
    found = inverted(view, genome=invert.bases)
    assert found.method == "bases"
    assert torch.equal(found.estimate, dna.x[[3]])
    assert reason_of("genotypes", view, genome=invert.bases).endswith("genome=bases")


def test_genotypes_come_back_with_their_rare_alleles():
    snps = data.load("snps")
    picked = [4]
    view = captured(models.mlp(snps.shape, 2, activation=torch.sigmoid), snps, picked)
    _, found = climb("genotypes", view, genome=invert.genotypes, seconds=30)
    truth = snps.x[picked]
    assert float(metrics.genotype_accuracy(found.estimate, truth).min()) > 0.97
    assert metrics.rare_allele_recall(found.estimate, truth, frequencies=snps.x.mean(dim=0)) > 0.9
    assert "needs sequences" in reason_of("bases of a sequence", view, genome=invert.bases)


@pytest.mark.parametrize("name", ["snps", "dna64", "credit"])
def test_a_result_is_rounded_to_what_there_is(name):
    """A candidate that is off by a little everywhere is exact after rounding, but for the numbers of a table."""
    dataset = data.load(name)
    view = captured(models.mlp(dataset.shape, dataset.classes), dataset, [4, 11])
    truth = dataset.x[[4, 11]]
    told = {"snps": {"genome": invert.genotypes}, "dna64": {"genome": invert.bases}, "credit": {"widths": WIDTHS}}[name]
    near = invert.Inversion(method="near", estimate=0.9 * truth + 0.05, labels=dataset.y[[4, 11]])
    _, found = climb("the best result, rounded to its kind", view, best=near, **told)
    if name == "credit":
        assert metrics.category_accuracy(found.estimate, truth, widths=WIDTHS) == 1.0
    else:
        assert torch.equal(found.estimate, truth)
        assert found.unexplained < 1e-9
    assert "it is not known what values" in reason_of("the best result, rounded to its kind", view, best=near)


# --- a malicious server


def broadcast(*, one_hot, bins=512, batch=6):
    activation = F.hardtanh if one_hot else torch.relu
    model = models.mlp(DIGITS.shape, 10, hidden=(bins, 16), activation=activation)
    honest = model.init(generator(0, "honest"))
    public = DIGITS.x[400:]
    draws = generator(0, "direction")
    sent = invert.imprint(honest, model=model, public=public, one_hot=one_hot, generator=draws)
    picked = torch.arange(1, batch + 1)[None, None]
    update = local_updates(model, sent, DIGITS.x, DIGITS.y, picked, lr=0.1)
    return BroadcastView(
        params=sent, honest=honest, messages=update, model=model, lr=0.1, local_steps=1, batch_size=batch
    ), DIGITS.x[picked[0, 0]]


@pytest.mark.parametrize("one_hot", [False, True])
def test_bins_are_read_and_no_search_takes_their_place(one_hot):
    view, truth = broadcast(one_hot=one_hot)
    found = inverted(view, seconds=2)
    assert found.method == "imprint"
    assert int((metrics.best_matches(found.estimate, truth)[1] > 35).sum()) >= 4, "at most two shared a bin"


def test_a_server_that_sent_its_model_has_no_bins():
    view, _ = broadcast(one_hot=False)
    update = local_updates(view.model, view.honest, DIGITS.x, DIGITS.y, torch.tensor([[[1, 2]]]), lr=0.1)
    plain = replace(view, params=view.honest, messages=update, batch_size=2)
    assert "what the server sent has no bins" in reason_of("bins of a malicious server", plain)


# --- public samples


def test_a_public_sample_that_was_behind_the_message_is_named():
    view = captured(models.convnet(DIGITS.shape, 10), DIGITS, [7, 90], lr=0.3)
    _, found = climb("nearest public samples", view, labels=DIGITS.y[[7, 90]], prior=DIGITS.x[:200])
    assert metrics.best_matches(found.estimate, DIGITS.x[[7, 90]])[1].min() > 100
    assert "The samples are among the public ones, or like one of them." in found.assumptions


def test_a_search_from_strangers_pictures_ends_where_none_of_them_is():
    view = captured(models.convnet(DIGITS.shape, 10, activation=torch.tanh), DIGITS, [7], lr=0.3)
    told = {"labels": DIGITS.y[[7]], "prior": DIGITS.x[200:600]}
    _, nearest = climb("nearest public samples", view, **told)
    _, found = climb("search from public samples", view, **told)
    truth = DIGITS.x[[7]]
    assert found.unexplained < nearest.unexplained / 100
    assert metrics.psnr(nearest.estimate, truth)[0] < 25
    assert metrics.psnr(found.estimate, truth)[0] > 30
    assert "where the message is silent, the answer is theirs" in found.assumptions[0]


# --- several messages, and a stage in between


def test_noisy_messages_about_one_sample_are_read_together():
    model = models.mlp(DIGITS.shape, 10)
    views = [captured(model, DIGITS, [7], seed=seed, lr=0.3, noise=3e-3) for seed in range(30)]
    alone = inverted(views[0], seconds=1)
    together = inverted(views[0], earlier=views[1:], seconds=1)
    truth = DIGITS.x[[7]]
    assert together.method == "rank one"
    assert metrics.psnr(together.estimate, truth)[0] > metrics.psnr(alone.estimate, truth)[0] + 3
    assert any("noise was added, or something left out" in said for said in alone.assumptions)


def test_nothing_but_noise_is_no_sample():
    model = models.mlp(DIGITS.shape, 10)
    views = [captured(model, DIGITS, [7], seed=seed, lr=0.3, noise=10.0) for seed in range(3)]
    reason = reason_of("rank one over several messages", views[0], earlier=views[1:])
    assert reason == "no singular value of the first layers stands out from the noise"


def test_several_models_say_more_of_a_batch_than_one():
    model = models.convnet(DIGITS.shape, 10, activation=torch.tanh)
    picked = [7, 8]
    views = [captured(model, DIGITS, picked, seed=seed, lr=0.3) for seed in range(2)]
    name = "cosine matching over several messages"
    _, found = climb(name, views[0], earlier=views[1:], labels=DIGITS.y[picked])
    assert metrics.best_matches(found.estimate, DIGITS.x[picked])[1].min() > 40
    kinked = captured(models.convnet(DIGITS.shape, 10), DIGITS, picked)
    assert "needs activations that bend everywhere" in reason_of(name, kinked, earlier=[kinked])


def test_a_stage_that_is_known_is_seen_through():
    model = models.lenet(DIGITS.shape, 10)
    view = captured(model, DIGITS, [7], lr=0.3)
    most = float(view.messages.abs().quantile(0.7))

    def clipped(update):
        return update.clamp(-most, most)

    view = replace(view, messages=clipped(view.messages))
    _, blind = climb("deep leakage by L-BFGS", view, labels=DIGITS.y[[7]], seconds=2)
    _, told = climb("search behind the client's stage", view, labels=DIGITS.y[[7]], stage=clipped)
    assert metrics.psnr(blind.estimate, DIGITS.x[[7]])[0] < 15
    assert metrics.psnr(told.estimate, DIGITS.x[[7]])[0] > 40
    assert told.unexplained < 1e-6


def test_a_stage_through_which_nothing_goes_back_is_no_search():
    view = captured(models.lenet(DIGITS.shape, 10), DIGITS, [7], lr=0.3)
    view = replace(view, messages=view.messages.sign())
    told = {"labels": DIGITS.y[[7]], "stage": lambda update: update.detach().sign()}
    assert "nothing goes back through this one" in reason_of("search behind the client's stage", view, **told)


def test_a_rounded_message_is_recognised():
    view = captured(models.lenet(DIGITS.shape, 10), DIGITS, [7], lr=0.3)
    step = float(view.messages.abs().max()) / 7
    rounded = replace(view, messages=(view.messages / step).round() * step)
    said = inverted(rounded, seconds=0.3).assumptions
    assert any("values alone: it was rounded, and is matched as if it were not" in each for each in said)
    assert not any("rounded" in each for each in inverted(view, seconds=0.3).assumptions)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"widths": [1, 2]}, r"widths that add up to the places of a sample, \[1, 8, 8\]; got \[1, 2\], together 3"),
        ({"genome": invert.tokens}, "a genome that is bases, genotypes or None"),
        ({"stage": 3}, "stage"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, said):
    view = captured(models.mlp(DIGITS.shape, 10), DIGITS, [3])
    with pytest.raises((ValueError, TypeError), match=said):
        inverted(view, **arguments)


def test_earlier_views_are_of_one_message_and_of_the_same_model():
    model = models.mlp(DIGITS.shape, 10)
    view = captured(model, DIGITS, [3])
    double = replace(view, messages=view.messages.repeat(2, 1))
    with pytest.raises(ValueError, match=r"earlier views of one message each .* earlier\[0\] has 2"):
        inverted(view, earlier=[double])
