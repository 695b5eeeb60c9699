# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Beyond pixels
# **Texts, tables and genomes are no pictures. Does a message hide them better?**
#
# You will be able to
# 1. say which words are behind a message, and what decides whether their order is, too,
# 2. search for a row of a table with a softmax for each category, and compare it with a guess,
# 3. decode genotypes out of a noisy message, and say why single scores mislead,
# 4. build one bin of a malicious server, and predict how many samples it catches,
# 5. check at the client what the server has sent, and name what the check does not see,
# 6. say what the size of a message and the places in it tell.
#
# Before: labs 01 and 04. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought) take about
# {{minutes}} minutes, reading and playing about as long again.

# %% tags=["setup"]
import torch
import torch.nn.functional as F

from labsec import bind, data, invert, metrics, models
from labsec.course import (
    after,
    cards,
    check,
    exercise,
    hint,
    predict,
    progress,
    quiz,
    reveal,
)
from labsec.course.exercises import lab05 as roles
from labsec.course.exercises.threat import threat_card
from labsec.course.panels import lab05
from labsec.course.panels import lab05_pictures as pictures
from labsec.study import beyond
from labsec.types import ServerMemory, generator

torch.set_num_threads(1)

# %% [markdown]
# ## Who attacks
# A curious server: it follows the protocol, and reads what it receives. Two other roles come later in this lab.

# %%
cards.threat_model("05")

# %%
cards.safety()

# %% [markdown]
# All names, notes, credits and genomes of this lab are invented, by seeded code in the folder `data/`.
#
# ## Part one: text
# A hospital's notes are sorted to four desks. The model has a *table* with 168 rows of numbers: one for each of 167
# words, and row 0 for the empty places at a note's end. A note is the mean of its words' rows, and one linear layer
# reads that mean.
#
# ### Exercise 5.1 · The words, from the rows ● (4 minutes)
# A client sends the update of the whole table. Which words are in its note?
#
# | name | shape | meaning |
# |---|---|---|
# | `rows` | `[vocabulary, width]` | the update of the table |
# | returns | `[words]`, whole | numbers of the words, rising |


# %% tags=["exercise"]
@exercise("05.1")
def words_in(rows):
    ### BEGIN SOLUTION
    return rows.abs().sum(dim=1).nonzero()[:, 0]
    ### END SOLUTION


# %% tags=["check"]
check("05.1", words_in)

# %% [markdown]
# If a check says NOT YET or TODO and you are stuck, ask for a hint: number 1 nudges, 2 names the approach, 3 is nearly
# the code.

# %%
hint("05.1", 1)

# %%
notes = data.load("notes")
words = data.notes_words()
bag = models.embedding(26, 168, 4)
view = beyond.one_message(bag, notes, torch.tensor([0]), seed=0)
table = view.model.layers(view.messages)[0][0]
print("read :", " ".join(words[i] for i in words_in(table)))
print("truth:", " ".join(words[i] for i in notes.x[0] if i))

# %% [markdown]
# All words, without a search. Compare with what needs no message: the same number of the most frequent words. And with
# the *stranger control*: the words of another client's note, held against this one.


# %%
def share_named(named, note):
    truth = note[note > 0].unique()
    return float(torch.isin(truth, named).float().mean())


mine = words_in(table)
frequent = notes.x_test[notes.x_test > 0].bincount().topk(len(mine)).indices
stranger = notes.x[7].unique()
for name, named in {"message": mine, "guess": frequent, "stranger": stranger}.items():
    print(f"{name:9} {share_named(named, notes.x[0]):.0%} of the note's words")

# %% [markdown]
# ### And the order?
# Here are four models. The attacks follow the literature (DAGER, LAMP), partly in versions of this course's own; they
# are in `labsec.invert.tokens`.
#
# | model | how it reads |
# |---|---|
# | mean | of the words' rows, as above |
# | learned positions | a transformer that adds a learned row for each place |
# | fixed positions | the same, with sines and cosines that nobody learns |
# | GRU | word by word, with a memory |

# %%
predict(
    "05.a",
    "One note in the step. How many of these four models give away the order?",
    0,
    4,
    unit="models",
    about="orders",
)

# %%
sizes = (26, 168, 4)
readers = {
    "mean": (bag, invert.tokens),
    "learned positions": (models.transformer(*sizes), invert.ordered_tokens),
    "fixed positions": (
        models.transformer(*sizes, learned_positions=False),
        invert.span_check,
    ),
    "GRU": (models.gru(*sizes), invert.searched_order),
}
in_place = {}
for name, (model, attack) in readers.items():
    shares = []
    for seed in range(5):
        note = beyond.drawn(notes, 1, seed=seed)
        seen = beyond.one_message(model, notes, note, seed=seed, lr=4.0)
        shares.append(metrics.placed_tokens(attack(seen).estimate, notes.x[note])[1])
    in_place[name] = shares
usual = beyond.most_frequent(notes.x_test)[None]
in_place["guess"] = [metrics.placed_tokens(usual, notes.x[beyond.drawn(notes, 1, seed=seed)])[1] for seed in range(5)]
after(
    "05.a",
    pictures.shares(in_place, title="Words at their right place", xlabel="of five notes"),
)
reveal("05.a", 3)

# %% [markdown]
# The mean gives every order the same gradient: the words are known, their order is in no number of the message. Where
# a model knows places, the message knows them, too. The GRU's result depends on the note: this search is given every
# word once, so it misses notes that repeat one. That is one of these five notes, but more than half of all notes,
# which is why claim 19 below does not count the GRU as read.
#
# **What a client could have done.** Put many notes into a step: then the bag holds the words of all of
# them, and nobody's alone. To withhold the table is not enough: the linear layer's weight divided by its bias is still
# the mean of the words' rows, and a server that knows the table can search for the words of a short note.

# %%
predict(
    "05.b",
    "A step of 16 notes. How many of the 167 words does its message name?",
    0,
    167,
    unit="words",
    about="bags",
)

# %%
named = {}
for batch in (1, 4, 16, 64):
    view = beyond.one_message(bag, notes, beyond.drawn(notes, batch, seed=0), seed=0)
    named[batch] = len(words_in(view.model.layers(view.messages)[0][0]))
print("notes in the step -> words named:", named)
reveal("05.b", named[16])

# %% [markdown]
# ## Part two: a table
# A bank's table has five numbers and six categories: 29 places. A search may move all places freely, and end with
# half a car and a third of a house. So let it move *free numbers*, and make a row of them that a client could hold.
#
# ### Exercise 5.2 · The category, by softmax ●● (7 minutes)
# Make rows of free numbers: for a column of width 1 a sigmoid, for a wider one a softmax over its places.
#
# | name | shape | meaning |
# |---|---|---|
# | `free` | `[rows, places]` | any numbers |
# | `widths` | list | places of each column; they add up to `places` |
# | returns | `[rows, places]` | numbers in [0, 1]; each category adds up to 1 |


# %% tags=["exercise"]
@exercise("05.2")
def as_rows(free, widths):
    ### BEGIN SOLUTION
    parts = free.split(list(widths), dim=1)
    soft = [p.softmax(dim=1) if p.shape[1] > 1 else p.sigmoid() for p in parts]
    return torch.cat(soft, dim=1)
    ### END SOLUTION


# %% tags=["check"]
check("05.2", as_rows)

# %% [markdown]
# `beyond.matched` searches for the free numbers whose gradient is most like the one received; it asks your function
# what they mean. The labels are known (lab 04). A cell is one category of one client's row.

# %%
predict(
    "05.c",
    "Eight rows in a step. What share of the categories does the search get right?",
    0,
    100,
    unit="% of the cells",
    about="cells",
)

# %%
credit = data.load("credit")
widths = [column.width for column in data.credit_columns()]
net = models.mlp(credit.shape, 2, hidden=(256,))
usual_row = beyond.usual_record(credit.x_test, widths)
scores = {"message": {}, "guess": {}, "stranger": {}}
for batch in (1, 4, 8, 16):
    own, other = beyond.drawn(credit, 2 * batch, seed=0).split(batch)
    seen = beyond.one_message(net, credit, own, seed=0)
    found = beyond.matched(seen, credit.y[own], lambda z: as_rows(z, widths), seed=0)
    right = bind(metrics.category_accuracy, widths=widths)
    scores["message"][batch] = right(found, credit.x[own])
    scores["guess"][batch] = right(usual_row.expand(batch, -1), credit.x[own])
    scores["stranger"][batch] = right(found, credit.x[other])
after("05.c", pictures.by_batch(scores, title="Categories that are right"))
reveal("05.c", 100 * scores["message"][8])

# %% [markdown]
# Look at the two lines below. The guess, the most frequent category of each column, reads no message and is right for
# 17 to 54 % of the cells. The stranger line holds the rows that were found against another client's rows. From four
# rows on it lies above the guess, since each row found is paired with the row that it fits best. A share of right
# cells without these two lines says nothing.
#
# **What a client could have done.** Put more rows into a step. It helps slowly: of 16 rows the search still gets 72 to
# 91 % of the cells, the better of guess and stranger 56 to 62 % (claim 20 below, five seeds). Or look: a client can
# run this attack on its own message before it sends it.
#
# ## Part three: genomes
# A person has 0, 1 or 2 copies of the rarer allele at each of 128 places. The values are stored as 0, 0.5 and 1.
#
# ### Exercise 5.3 · The genotype decoder ● (4 minutes)
# An attack brings home values with errors. Which genotypes are meant?
#
# | name | shape | meaning |
# |---|---|---|
# | `values` | any | genotypes divided by 2, with errors; some below 0 or above 1 |
# | returns | same shape, whole | 0, 1 or 2 copies |


# %% tags=["exercise"]
@exercise("05.3")
def copies(values):
    ### BEGIN SOLUTION
    return (2 * values).round().clamp(0, 2).long()
    ### END SOLUTION


# %% tags=["check"]
check("05.3", copies)

# %% [markdown]
# A client adds noise to its message: 0.01 on every number, so that the noise is about half as long as the message. Of
# a picture this would leave a noisy copy. And of a genome?

# %%
predict(
    "05.d",
    "What share of the 128 genotypes comes back right?",
    0,
    100,
    unit="%",
    about="genotypes",
)

# %%
snps = data.load("snps")
snp_net = models.mlp((128,), 2)
person = beyond.drawn(snps, 1, seed=0)
genome = copies(snps.x[person])
read = {}
for std in (0.0, 0.01, 0.03, 0.1):
    seen = beyond.noisy(beyond.one_message(snp_net, snps, person, seed=0), std=std, seed=0)
    read[std] = float((copies(invert.analytic(seen)[:1]) == genome).double().mean())
    print(f"noise {std:4}: {read[std]:.0%} of the genotypes")
guess = float((copies(snps.x.mode(dim=0).values[None]) == genome).double().mean())
print(f"The most frequent genotype of every place: {guess:.0%}")
reveal("05.d", 100 * read[0.01])

# %% [markdown]
# Rounding removes an error below a quarter altogether: few possible values make data *easier* to read. And a share of
# right genotypes flatters. Whoever answers with the most frequent one is right for two thirds, and finds not one rare
# allele. These are what names a person.

# %%
frequencies = snps.x.mean(dim=0)
for std in (0.01, 0.03):
    found = []
    for seed in range(20):
        who = beyond.drawn(snps, 1, seed=seed)
        seen = beyond.noisy(beyond.one_message(snp_net, snps, who, seed=seed), std=std, seed=seed)
        estimate = invert.analytic(seen)[:1]
        found.append(metrics.rare_allele_recall(estimate, snps.x[who], frequencies=frequencies))
    carriers = [each for each in found if each == each]
    share = sum(carriers) / len(carriers)
    print(f"noise {std}: {share:.0%} of the rare alleles of {len(carriers)} carriers")

# %% [markdown]
# Sequences of bases are read by convolutions, here with sigmoids and with ReLUs.

# %%
dna = data.load("dna64")
for name, bend in {"sigmoid": torch.sigmoid, "ReLU": torch.relu}.items():
    reader = models.sequence_net((4, 64), 4, activation=bend)
    seen = beyond.one_message(reader, dna, torch.tensor([7]), seed=0)
    found = invert.bases(seen, restarts=1, generator=generator(0, "dna"))
    share = float(metrics.base_accuracy(found.estimate, dna.x[[7]])[0])
    print(f"{name:8} {share:.0%} of 64 bases; matching loss ends at {found.losses[-1]:.1e}")
usual_bases = F.one_hot(dna.x.mean(dim=0).argmax(dim=0), 4).T[None].float()
share = float(metrics.base_accuracy(usual_bases, dna.x[[7]])[0])
print(f"guess    {share:.0%}")

# %% [markdown]
# **What a client could have done.** Ask how its data are coded. Where few values are possible, small noise may hide
# nothing: 0.01 lost no genotype here, 0.03 a few, and 0.1 left little more than the guess. Noise with a guarantee is
# lab 07.
#
# ## Part four: a picture and a text
# A model that sees a picture and reads a note at once sends one message about both. Does each hide the other?

# %%
digits = data.load("digits")
shape = digits.shape
both = models.joint(shape, 26, 168, 4)
one = models.join(digits.x[:1], notes.x[:1], words=168)
sample = data.Dataset(name="both", x=one, y=notes.y[:1], x_test=one, y_test=notes.y[:1], classes=4)
seen = beyond.one_message(both, sample, torch.tensor([0]), seed=0)
found = invert.picture_and_text(seen, restarts=1, generator=generator(0, "both"))
picture, text = models.parts_of(found.estimate, shape=shape, words=168)
print("text   :", " ".join(words[i] for i in text[0] if i))
mean_digit = digits.x.mean(dim=0)[None]
for name, shown in {"picture": picture, "mean digit": mean_digit}.items():
    print(f"{name:11} {float(metrics.psnr(shown, digits.x[:1])[0]):.0f} dB")
print(f"stranger    {float(metrics.psnr(picture, digits.x[1:2])[0]):.0f} dB")

# %% [markdown]
# The words come first, exactly, and then the picture is searched for with the text known. More kinds of data in one
# message are more rows to read, not a mixture that nobody can part. **What a client could have done:** send the parts
# of the model that see the picture and those that read the note in different rounds, of different samples.
#
# ## Part five: a server that does not follow the protocol
# In a batch of 64 an honest message mixes samples. But the server chooses the model that clients train. This is
# another attacker, with another card.

# %%
threat_card(roles.SENDS_ITS_OWN, title="The server sends a model of its own")

# %% [markdown]
# The server gives all neurons of the first layer one random direction (perpendicular to the mean picture), and each
# neuron a threshold of its own, higher from neuron to neuron. It sets the thresholds with public pictures, so that
# every bin is about equally likely. A neuron wakes for all samples above its threshold. So neuron $k$ adds up the
# samples from *bin* $k$ on, and neuron $k+1$ those from bin $k+1$ on.
#
# ### Exercise 5.4 · One imprint bin ●● (6 minutes)
# A neuron's weight moves by the sum of slope times sample, its bias by the sum of the slopes. A single sample lies in
# bin `k`. Read it.
#
# | name | shape | meaning |
# |---|---|---|
# | `weight` | `[bins, in]` | the update of the first layer's weight |
# | `bias` | `[bins]` | that of its bias |
# | `k` | number | the bin; not the last |
# | returns | `[in]` | the sample in it |


# %% tags=["exercise"]
@exercise("05.4")
def in_bin(weight, bias, k):
    ### BEGIN SOLUTION
    return (weight[k] - weight[k + 1]) / (bias[k] - bias[k + 1])
    ### END SOLUTION


# %% tags=["check"]
check("05.4", in_bin)

# %% [markdown]
# Now through a real round: `broadcast` is the server's place in a scenario, and every client trains on what it got.

# %%
mnist = data.load("mnist5k")
net256 = models.mlp(mnist.shape, 10, hidden=(256,))
bins = bind(invert.imprint, model=net256, public=mnist.x_test, one_hot=False)
answer = beyond.one_round(net256, mnist, batch=64, seed=0, broadcast=bins)
weight, bias = (layer[0].double() for layer in net256.layers(answer.view.messages)[:2])
apart = (bias[:-1] - bias[1:]).abs()
opened = (apart > 1e-5 * bias.abs().max()).nonzero()[:, 0].tolist()
read = torch.stack([in_bin(weight, bias, k) for k in opened]).clamp(0, 1).view(-1, 1, 28, 28)
scores = metrics.best_matches(read.float(), answer.truth)[1]

# %%
predict(
    "05.e",
    "64 pictures, 256 bins. What share of the pictures is read (25 dB or more)?",
    0,
    100,
    unit="%",
    about="bins",
)

# %%
after(
    "05.e",
    pictures.caught(answer.truth, read.float(), title="Truth, and what the bins hold (120 dB, the most shown: equal)"),
)
reveal("05.e", 100 * float((scores >= 25).double().mean()))
print(f"{len(opened)} of 256 bins hold something.")

# %% [markdown]
# A sample comes back if it is alone in its bin: each of the 63 others must miss it, with chance $1 - 1/n$ each. That
# is $(1 - 1/n)^{B-1}$, for 256 bins and 64 samples 0.78. Compare with an honest model of the same shape:

# %%
honest = beyond.one_round(net256, mnist, batch=64, seed=0)
candidates = invert.analytic(honest.view)
strangers = beyond.one_round(net256, mnist, batch=64, seed=1).truth
for name, shown, truth in (
    ("honest model", candidates, honest.truth),
    ("bins, stranger's pictures", read.float(), strangers),
    ("mean picture", mnist.x.mean(dim=0)[None].expand(64, -1, -1, -1), honest.truth),
):
    share = float((metrics.best_matches(shown, truth)[1] >= 25).double().mean())
    print(f"{name:26} {share:.0%}")

# %% [markdown]
# ### Exercise 5.5 · The client's own check ●● (6 minutes)
# These bins give all neurons one direction. An honest layer has many. Measure it: the mean size of the cosine
# between two different rows of the first layer.
#
# | name | shape | meaning |
# |---|---|---|
# | `weight` | `[neurons, in]` | the first layer, as it arrived |
# | returns | number | from 0, all at right angles, to 1, all along one line |


# %% tags=["exercise"]
@exercise("05.5")
def likeness(weight):
    ### BEGIN SOLUTION
    directions = F.normalize(weight, dim=1)
    cosines = (directions @ directions.T).abs()
    n = len(weight)
    return (cosines.sum() - n) / (n * (n - 1))
    ### END SOLUTION


# %% tags=["check"]
check("05.5", likeness)

# %% [markdown]
# The server has read this course, too. It now sends *traps* (`invert.trap_weights`, Boenisch et al.): neurons that
# wake for few pictures, so that a picture is often alone in one.

# %%
predict(
    "05.f",
    "Does your check tell the traps from an honest model?",
    choices=["yes", "no"],
)

# %%
traps = bind(invert.trap_weights, model=net256, scale=0.7)
sent = {"an honest server": None, "bins": bins, "traps": traps}
alike = {}
leaked = {}
for name, broadcast in sent.items():
    got = beyond.one_round(net256, mnist, batch=64, seed=0, broadcast=broadcast)
    alike[name] = float(likeness(net256.layers(got.view.params[None])[0][0]))
    leaked[name] = beyond.audit(got)
print(f"{'':18} likeness   read by the client from its own message")
for name in sent:
    print(f"{name:18} {alike[name]:8.2f}   {leaked[name]:.0%} of 64 pictures")
reveal("05.f", "yes" if alike["traps"] > 2 * alike["an honest server"] else "no")

# %% [markdown]
# The last column is a better check: **attack your own message before you send it.** It asks what matters, but it is
# only as good as the attacks that it tries. `beyond.audit` tries two: the ratios of single neurons, and those of the
# differences of neighbours. Without the second it would miss the bins. Try it with batches of 4 or 16: an honest model
# gives pictures away, too, when the batch is small.
#
# **What a client could have done.** Look at what arrives, compare it with the last round's and with what others got,
# audit its own message, and refuse.

# %% [markdown]
# ### The panel
# How many bins, how many samples, and a client that looks before it trains. Three things to look for: between which
# batches half of the pictures become safe, with 64 neurons; whether more neurons help the server or the client; what
# the check costs an honest server.

# %%
panel = lab05.panel()
panel

# %% [markdown]
# ## Part six: what is left when nobody can read the numbers
# Suppose that all numbers are encrypted, and that only the ones that are not zero are sent, each with its place. For
# one note that is about a tenth of the numbers. The places are in the clear: the server needs them to add up.
#
# ### Exercise 5.6 · What the places say ● (5 minutes)
# The flat message holds the table first, row by row, and then the other layers.
#
# | name | shape | meaning |
# |---|---|---|
# | `places` | `[k]`, whole | of the numbers that are sent |
# | `vocabulary`, `width` | numbers | rows of the table, and numbers in a row |
# | returns | `[words]`, whole | numbers of the words, rising, each once |


# %% tags=["exercise"]
@exercise("05.6")
def words_by_place(places, *, vocabulary, width):
    ### BEGIN SOLUTION
    inside = places[places < vocabulary * width]
    return (inside // width).unique()
    ### END SOLUTION


# %% tags=["check"]
check("05.6", words_by_place)

# %%
seen = beyond.one_message(bag, notes, torch.tensor([0]), seed=0)
places = seen.messages[0].nonzero()[:, 0]
named = words_by_place(places, vocabulary=168, width=32)
print("by the places alone:", " ".join(words[i] for i in named))
print(f"numbers sent: {len(places)} of {seen.messages.shape[1]}")
print(f"words, by the size alone: {(len(places) - 4 * 32 - 4) // 32}; truth {len(named)}")

# %% [markdown]
# These are counts, not clocks: nothing was timed, so nothing depends on this machine. The size of a message names the
# number of different words, and the places name them. **What a client could have done:** send all rows, which costs
# all that was saved. Or add the rows of as many other words: that costs less, and hides the words only among twice as
# many.
#
# ## Part seven: a server that keeps its messages
# One more role. It breaks no rule.

# %%
threat_card(roles.KEEPS_MESSAGES, title="The server keeps every message")

# %% [markdown]
# A client holds one person's genotypes and adds noise of 0.1 to every number: it is about five times as long as the
# message. In every round the server sends another model, and the client answers about the same person.
# `invert.rank_one` lays all its messages one below the other.

# %%
predict(
    "05.g",
    "Noise of 0.1, 100 rounds. What share of the genotypes comes back right?",
    0,
    100,
    unit="%",
    about="rounds",
)

# %%
kept = {}
for count in (1, 10, 100):
    answers = []
    for number in range(count):
        fresh = beyond.one_message(snp_net, snps, person, seed=1000 + number)
        answers.append(beyond.noisy(fresh, std=0.1, seed=number))
    memory = ServerMemory(rounds=tuple(answers), clients=(torch.tensor([3]),) * count)
    found = invert.rank_one(memory, client=3).estimate
    kept[count] = float((copies(found) == genome).double().mean()) if len(found) else 0.0
    print(f"{count:4} rounds: {kept[count]:.0%}")
reveal("05.g", 100 * kept[100])

# %% [markdown]
# The 0 % is no score: with one message nothing stands out of the noise, and the attack gives no answer. The guess of
# part three, 68 %, is the line to compare with: ten messages are somewhat better, a hundred give everything. Noise
# that is enough for one message is not enough for a hundred. **What a client could have done:** count its own rounds.
# How much noise for how many rounds is the sum of lab 07.
#
# ## Five claims
# First say what you think: held, did not hold, or depends? Then the card shows what was measured. A ✗ beside a high
# number means that a guess comes close to it, or that one of the five seeds fell short; the rule is in the card.

# %%
cards.claim("19")

# %%
cards.claim("20")

# %%
cards.claim("23")

# %%
cards.claim("33")

# %%
cards.claim("65")

# %% [markdown]
# ## Where you stand

# %%
quiz("05")

# %%
progress("05")

# %% [markdown]
# ### What it means at work
# - **Ask how the data are coded.** A genotype has only three values, so rounding removes moderate noise. Do not judge
#   a genome by what the same noise does to a picture.
# - **Ask for the guess.** A share of right cells means nothing without the most frequent answer and a stranger beside
#   it.
# - **Look at what arrives.** A client that trains whatever it is sent works for the sender.
# - **Audit before sending.** Attack your own message first. An audit finds only what its attacks can read.
# - **Size and places are data.** What is encrypted may still be counted.
# - **Count rounds.** A server that keeps messages breaks no rule, and sees through noise that was made for one.
#
# <details><summary>Standards, and further reading</summary>
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | gradient inversion | AML.T0024.001 by analogy, AML.T0035 | data reconstruction | ML03 |
# | malicious server | AML.T0018.000, AML.T0018.001 | NISTAML.051, loosely | ML06 |
#
# The mapping is this course's own judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# - Petrov et al. 2024, *DAGER*, arXiv:2405.15586: exact text out of gradients.
# - Balunović et al. 2022, *LAMP*, arXiv:2202.08827: text by search.
# - Vero et al. 2023, *TabLeak*, arXiv:2210.01785: tables, by softmax and ensembles.
# - Fowl et al. 2022, *Robbing the Fed*, arXiv:2110.13057: bins.
# - Boenisch et al. 2023, *When the Curious Abandon Honesty*, arXiv:2112.02918: trap weights.
#
# </details>
