# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Less to read?
# **A client sends fewer numbers, or coarser ones, or hides some. How much less does whoever reads the message get?**
#
# You will be able to
# 1. shorten messages by top-k, by stochastic rounding and to their signs, and say which of these is biased,
# 2. count the bytes that really travel,
# 3. pay back what was left out, and say what it is worth,
# 4. attack a shortened message as somebody who knows how it was shortened, once and fifty times,
# 5. judge a mask by an attacker who does not look at what is masked,
# 6. check at the client what the server sent, and name the price in false alarms.
#
# Before: lab 04. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought) take about {{minutes}}
# minutes, reading and playing about as long again.

# %% tags=["setup"]
import math
from dataclasses import replace

import pandas
import torch

from labsec import Scenario, bind, compress, data, invert, mask, metrics, models, run, train
from labsec.course import after, cards, check, exercise, hint, predict, progress, quiz, reveal
from labsec.course.exercises import lab08 as roles
from labsec.course.exercises.threat import threat_card
from labsec.course.panels import lab04_pictures as pictures
from labsec.course.panels import lab08, lab08_leak

torch.set_num_threads(1)

# %% [markdown]
# ## Who attacks
# The curious server of lab 04. This time the clients do something about it, and the server knows what: it must decode
# what they send.

# %%
cards.threat_model("08")

# %%
cards.safety()

# %% [markdown]
# ## Part one: send less
# Thirty clients, forty rounds, a network of 2,410 numbers. Every client sends all of them, in every round.


# %%
def draws(seed):
    return torch.Generator().manual_seed(seed)


digits = data.load("digits")
small = models.mlp(digits.shape, 10, hidden=(32,))
fed = Scenario.fedavg(model=small, rounds=40)
plain_run = run(fed)
print(f"Numbers {small.dim}, accuracy {plain_run.final_accuracy:.2f}")

# %% [markdown]
# ### Exercise 8.1 · Top-k ● (4 minutes)
# Most numbers of an update are near zero. Send the `k` that say most: those that are largest **in size**.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `k` | number | how many numbers each client sends |
# | returns | `[clients, dim]` | the chosen numbers in their places, zeros elsewhere |


# %% tags=["exercise"]
@exercise("08.1")
def top_k(updates, *, k):
    ### BEGIN SOLUTION
    largest = updates.abs().topk(k, dim=1).indices
    return torch.zeros_like(updates).scatter(1, largest, updates.gather(1, largest))
    ### END SOLUTION


# %% tags=["check"]
check("08.1", top_k)

# %%
hint("08.1", 1)  # 1 nudges, 2 names the approach, 3 is nearly the code

# %% [markdown]
# ### Exercise 8.2 · Rounding that is right on average ●● (7 minutes)
# A number takes 32 bits. Rounded to multiples of a `step`, it takes a few. Rounding to the *nearest* multiple errs in
# the same direction every time: it is **biased**, and small numbers never get through. Let a random draw decide
# between the multiple below and the one above, such that the *mean* is the number itself: 0.3 steps become 1 in three
# of ten cases, and 0 in seven.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client; negative numbers as well |
# | `draws` | `[clients, dim]` | random numbers, each evenly from 0 to 1 |
# | `step` | number | the distance of two neighbours |
# | returns | `[clients, dim]` | multiples of `step` |


# %% tags=["exercise"]
@exercise("08.2")
def stochastic_round(updates, draws, *, step):
    ### BEGIN SOLUTION
    places = updates / step
    below = places.floor()
    return (below + (draws < places - below)) * step
    ### END SOLUTION


# %% tags=["check"]
check("08.2", stochastic_round)

# %% [markdown]
# ### Exercise 8.3 · The sign and its scale ● (4 minutes)
# The coarsest rounding of all: of every number its sign, 1 bit, and for the whole row one number: the *scale* $s$
# that brings $s \cdot \mathrm{sign}(u)$ nearest to $u$. Set the slope of $\sum_i (|u_i| - s)^2$ to zero: $s$ is the
# mean size (of all numbers, as in the literature; a number that is exactly zero has no sign, and is sent as zero).
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | returns | `[clients, dim]` | the signs, each row times its scale |


# %% tags=["exercise"]
@exercise("08.3")
def sign_of(updates):
    ### BEGIN SOLUTION
    return updates.sign() * updates.abs().mean(dim=1, keepdim=True)
    ### END SOLUTION


# %% tags=["check"]
check("08.3", sign_of)

# %% [markdown]
# A *stage* of the clients is a function of their updates. Here are yours, in forty rounds:


# %%
def two_bits(updates, *, generator):
    step = updates.abs().amax(dim=1, keepdim=True)  # -1, 0 or 1 steps
    drawn = torch.rand(updates.shape, generator=generator)
    return stochastic_round(updates, drawn, step=step)


def accuracy_of(stage, rounds=40):
    return run(replace(fed, client_stages=[stage], rounds=rounds)).final_accuracy


stages = {f"the largest {k:3} of 2,410": bind(top_k, k=k) for k in (241, 24, 7)}
stages |= {"2 bits, stochastic": two_bits, "the sign and its scale": sign_of}
stages["the sign alone"] = lambda updates: updates.sign()
for name, stage in stages.items():
    print(f"{name:24} {accuracy_of(stage):.2f}")

# %% [markdown]
# A sign without a scale says 1 in each coordinate, however small the update: such steps are far too long. (signSGD
# sends signs alone, and lets the server choose a short step.) Of these ways, only the random rounding is unbiased:
# top-k and the sign err in the same direction again and again.
#
# ## Part two: what travels
#
# ### Exercise 8.4 · Bytes ●● (5 minutes)
# "We send 1 % of the numbers" is not "1 % of the bytes". The server has to know *which* numbers these are. Two ways
# to tell: a **list** of places, $\lceil \log_2 \mathrm{dim} \rceil$ bits each, or a **map** with one bit for every
# entry. Take the shorter one.
#
# | name | shape | meaning |
# |---|---|---|
# | `message` | `[dim]` | zeros where nothing is sent |
# | `bits` | number | of every number that is sent |
# | returns | whole number | bytes; a part of a byte takes a whole one |


# %% tags=["exercise"]
@exercise("08.4")
def bytes_of(message, *, bits):
    ### BEGIN SOLUTION
    kept = int(message.count_nonzero())
    places = min(kept * math.ceil(math.log2(len(message))), len(message))
    return math.ceil((kept * bits + places) / 8)
    ### END SOLUTION


# %% tags=["check"]
check("08.4", bytes_of)

# %% [markdown]
# `compress.encode` writes such a message, and `decode` reads it again. It packs bits, tries several ways to tell the
# places, and adds a short header that says what follows.

# %%
order = torch.arange(16)[None, None]
start = small.init(draws(0))
learned = train.local_updates(small, start, digits.x, digits.y, order, lr=0.3)
sent = {f"the largest {k}": (top_k(learned, k=k), 32) for k in (2410, 241, 24, 7)}
sent["2 bits"] = (two_bits(learned, generator=draws(0)), 2)
sent["sign"] = (sign_of(learned), 1)
print("                   counted   written   of everything")
for name, (rows, bits) in sent.items():
    written = len(compress.encode(rows[0]))
    share = written / (4 * small.dim)
    print(f"{name:18} {bytes_of(rows[0], bits=bits):7} {written:9} {share:15.1%}")

# %% [markdown]
# Where your count is *below* what is written, you did not count the header and the scale. Where it is above, the
# encoder found a shorter way: distances between places in place of a list. Even all 2,410 numbers have zeros: a
# weight does not move if its pixel is empty, or its neuron silent, in all 16 samples.
#
# ### Exercise 8.5 · Error feedback ●● (8 minutes)
# What a client left out is not lost, if it remembers it: **add** what is still owed to the next update, shorten the
# sum, and owe what was left out of *that*. Every client has a memory of its own, and it is kept by its identity: who
# is absent today still owes what it owed.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[k, dim]` | of the clients that take part today |
# | `owed` | `[everybody, dim]` | the memory: row i is that of client i |
# | `clients` | `[k]`, `int64` | who they are |
# | `shorten` | function | such as your top-k: rows in, rows out |
# | returns | `[k, dim]`, `[everybody, dim]` | what they send, and what everybody owes then |


# %% tags=["exercise"]
@exercise("08.5")
def feedback(updates, owed, *, clients, shorten):
    ### BEGIN SOLUTION
    wanted = updates + owed[clients]
    sent = shorten(wanted)
    left = owed.clone()
    left[clients] = wanted - sent
    return sent, left
    ### END SOLUTION


# %% tags=["check"]
check("08.5", feedback)


# %%
# As a stage, it needs a place to remember.
class Remembering:
    def __init__(self, shorten):
        self.shorten = shorten
        self.owed = torch.zeros(fed.clients, small.dim)

    def __call__(self, updates, *, clients):
        told = {"clients": clients, "shorten": self.shorten}
        sent, self.owed = feedback(updates, self.owed, **told)
        return sent


# %%
question = "Every client sends 7 of its 2,410 numbers, and remembers the rest. Which accuracy?"
predict("08.a", question, 0, 100, unit="%", about="accuracy")

# %%
few = bind(top_k, k=7)
reveal("08.a", 100 * accuracy_of(Remembering(few)))
rates = {}
for name, stage in {"the largest 7": few, "the sign": sign_of}.items():
    forgets = accuracy_of(stage), accuracy_of(stage, rounds=160)
    remembers = accuracy_of(Remembering(stage))
    rates[name] = (forgets[0], remembers, forgets[1])
columns = ["forgets", "remembers", "forgets, 160 rounds"]
after("08.a", pandas.DataFrame(rates, index=columns).T.round(2))

# %% [markdown]
# Seven numbers and a memory: so little has to be sent. Much of what forgetting costs is delay, as the last column
# says. Compression is a good idea. Is it a defence?
#
# ## Part three: what is read
# The easiest case for an attacker: one picture in one step, and the label is told (there are only ten to try). The
# network is the LeNet of lab 04, and the attack its best search, `invert.gauss_newton`. It takes the message for the
# gradient, as lab 04 did: call it the **plain** attacker.

# %%
pixels = data.load("mnist5k")
lenet = models.lenet((1, 28, 28), 10)
mean = pixels.x.mean(dim=0)  # a guess without any message


def one_picture(i):  # a view with the message, and for the score picture and label
    return lab08_leak.told(pixels, lenet, i)


def shortened(view, stage):
    return replace(view, messages=stage(view.messages))


def search(view, label, kept=None):
    return invert.gauss_newton(view, label=label, kept=kept).estimate


def at_random(updates, keep, seed=0):  # zeros elsewhere
    return compress.random_k(updates, keep=keep, unbiased=False, generator=draws(seed))


# %%
view, x, label = one_picture(0)
ways = {
    "everything": lambda u: u,
    "largest half": bind(top_k, k=lenet.dim // 2),
    "largest 10 %": bind(top_k, k=lenet.dim // 10),
    "random 10 %": bind(at_random, keep=0.1),
    "4 bits": lambda u: compress.qsgd(u, bits=4, generator=draws(0)),
    "sign": sign_of,
}
found = {name: search(shortened(view, way), label)[0] for name, way in ways.items()}
pictures.strip(x[0], {"mean picture": mean, **found}, title="The plain attacker")

# %% [markdown]
# (A four at 12 dB is below the mean picture, and everybody can read it: look at pictures as well as at decibels.)
# Where nine tenths are missing, or all but the signs, nothing can be seen. One could stop here, and write a brochure.
# But a zero in the message is no gradient of zero: it says that nothing was sent. The plain attacker believes it, and
# is misled. An attacker who knows the method is called **adaptive**.
#
# ### Exercise 8.6 · An attacker who knows what is missing ● (4 minutes)
# The matching loss of lab 04 adds up squares over all entries. Let it look only where the message says something.
#
# | name | shape | meaning |
# |---|---|---|
# | `own` | `[dim]` | the gradient of a guess |
# | `received` | `[dim]` | what arrived; 0 where nothing was sent |
# | returns | number | the sum of squares, with a graph if `own` has one |


# %% tags=["exercise"]
@exercise("08.6")
def gap(own, received):
    ### BEGIN SOLUTION
    kept = received != 0
    return (own - received)[kept].square().sum()
    ### END SOLUTION


# %% tags=["check"]
check("08.6", gap)

# %% [markdown]
# Here it is in the search of lab 04 (`lab08_leak.searched`); a random half of the numbers was sent.


# %%
def lab_04(own, received):
    return (own - received).square().sum()


holed = shortened(view, bind(at_random, keep=0.5))
for name, loss in {"the loss of lab 04": lab_04, "your loss": gap}.items():
    guess = lab08_leak.searched(loss, holed, label)
    print(f"{name:18} {float(metrics.psnr(guess, x.double())):6.1f} dB")

# %% [markdown]
# The package's search does the same with `kept`, and faster. Now send less: a **tenth** of the numbers, at random.

# %%
question = "Ten clients, a random tenth each. How many pictures does the adaptive one read (25 dB)?"
predict("08.b", question, 0, 10, unit="pictures", about="leaks")

# %%
truth, plain, adaptive = [], [], []
for i in range(10):
    view, x, label = one_picture(i)
    view = shortened(view, bind(at_random, keep=0.1, seed=i))
    truth.append(x)
    plain.append(search(view, label))
    adaptive.append(search(view, label, kept=invert.left_in(view)))
x = torch.cat(truth)
guesses = {"plain": torch.cat(plain), "adaptive": torch.cat(adaptive)}
reveal("08.b", int((metrics.psnr(guesses["adaptive"], x) >= 25).sum()))
after("08.b", pictures.rows(x, guesses, title="A random tenth of ten messages", height=0.8))

# %% [markdown]
# Nothing changed but what the attacker believes. A tenth of 13,426 numbers is still 1,343 equations for 784 pixels.
#
# **The negative control**: the same attack on the next client's message, held against this client's picture.

# %%
medians = {}
for name, guess in {**guesses, "mean picture": mean.expand_as(x)}.items():
    both = metrics.psnr(guess, x), metrics.psnr(guess.roll(1, dims=0), x)
    medians[name] = [float(each.quantile(0.5)) for each in both]
columns = ["own message, dB", "stranger's, dB"]
after("08.b", pandas.DataFrame(medians, index=columns).T.round(1))

# %% [markdown]
# ## Part four: the same thing again
# A server that sends the same model twice gets two messages about the same data, if the client answers with the same
# samples. If a pattern or a rounding is drawn anew each time, every message shows something else.
#
# **SFSQ (our reading; not the named product, of which there is no public description)** goes furthest: it cuts every
# number to $[-s, s]$, sends a random sign that is right on average, and then *flips* it with chance $p$. The server
# divides by $1 - 2p$, and the mean of many such messages is the update that was cut. The flip is Warner's randomised
# response of 1965: a single bit says little about its number, and is ε-private with $\varepsilon_0 = \ln((1-p)/p)$.
# But a message has 2,410 bits about the same sample, and by basic composition they add up:

# %%
flips = {p: bind(compress.sfsq, bound=0.05, flip=p) for p in (0.0, 0.25, 0.4)}
for p in (0.25, 0.4):
    a_bit = compress.sfsq_epsilon(flip=p, coordinates=1)
    a_message = compress.sfsq_epsilon(flip=p, coordinates=small.dim)
    reached = f"{p:.0%} flipped: accuracy {accuracy_of(flips[p]):.2f}"
    print(f"{reached}, ε {a_bit:.2f} a bit, ε {a_message:,.0f} a message")

# %% [markdown]
# Better accounting does not help: if every number may change from $-s$ to $s$, the exact ε of a message at δ = 1e-5
# is still 1,519 at 25 % and 277 at 40 %. That promises nothing that anybody could use (lab 07). A promise that is
# missing is not yet an attack, though. So attack: one of 359 test digits is behind the messages, and the attacker
# asks which one. It averages what it has kept, and compares with what each of the 359 would have sent.

# %%
params = small.init(draws(0))
everybody = torch.arange(len(digits.x_test))
each_alone = everybody[:, None, None]  # [clients, 1 step, 1 sample]
suspects = (digits.x_test, digits.y_test, each_alone)
expected = train.local_updates(small, params, *suspects, lr=0.3)


def named(stage, copies, people=100, bound=0.05):
    drawn = draws(copies)
    total = sum(stage(expected[:people], generator=drawn) for _ in range(copies))
    mean_message = total / copies
    who = invert.gallery(mean_message, expected.clamp(-bound, bound), samples=1)[:, 0]
    return 100 * float((who == everybody[:people]).double().mean())


print(f"40 % flipped, one message: {named(flips[0.4], 1):.0f} % of 100 clients named")

# %%
question = "The attacker has kept 50 such messages of each client. How many does it name?"
predict("08.c", question, 0, 100, unit="%", about="leaks")

# %%
reveal("08.c", named(flips[0.4], 50))
table = {}
for p, stage in flips.items():
    table[f"{p:.0%} flipped"] = [f"{named(stage, k):.0f} %" for k in (1, 5, 10, 50)]
columns = ["1 message", "5", "10", "50"]
after("08.c", pandas.DataFrame(table, index=columns).T)

# %% [markdown]
# By chance it would name 0.3 %. Noise that is drawn anew falls, in a mean, with the root of the number of messages. A
# *budget* (lab 07) counts the messages for that reason.
#
# **And the pictures?** Rounding, too, is read by whoever knows it: for every picture the attacker can say how likely
# the messages are, and it searches the likeliest, given that pictures are smooth. Four bits a number, rounded anew in
# each message (QSGD: your 8.2, seven steps up to the largest number):


# %%
def likeliest(messages, view, label):
    seen = replace(view, messages=messages)
    return invert.most_likely(seen, label=label, likelihood=invert.rounded).estimate[0]


view, x, label = one_picture(0)
drawn = draws(0)
copies = [compress.qsgd(view.messages, bits=4, generator=drawn) for _ in range(50)]
found = {"plain": search(replace(view, messages=copies[0]), label)[0]}
for k in (1, 10, 50):
    found[f"adaptive, {k}"] = likeliest(torch.cat(copies[:k]), view, label)
pictures.strip(x[0], found, title="Four bits a number, and more and more messages")

# %% [markdown]
# For five pictures, one message gave 13 to 16 dB, ten gave 20 to 23, and fifty 25 to 29. So one rounded message hides
# more of a picture than one with holes, and many of them do not. Rounding is no promise.
#
# ### The panel
# What every method and rate costs in accuracy and bytes, and what it hides: from the plain attacker, and from the
# adaptive one, who may have kept several messages about the same data. The grey line is at 25 dB. Three things to
# look for: a setting that hides a picture from the plain attacker only; the method that hides most for its bytes; and
# what more messages change.

# %%
panel = lab08.panel()
panel

# %% [markdown]
# ## Part five: masks
# A *mask* hides what tells most, and leaves the rest as it was. **Soteria** (Sun et al. 2021) finds the numbers
# before the last layer that say most about the picture, and sends zeros for their weights: here for 80 % of that
# layer's columns. The attacker reads the paper. It leaves out everything that the mask may have touched, all weights
# of the last layer, and matches what is left (`invert.outside` says which entries these are).

# %%
masked_by = bind(mask.soteria, share=0.8)
view, x, label = lab08_leak.told(pixels, lenet, 0, by=masked_by)
plain = search(view, label)
for name, guess in {"plain attacker": plain, "mean picture": mean[None]}.items():
    print(f"{name:14} {float(metrics.psnr(guess, x)):4.1f} dB")

# %%
question = "How well does the adaptive attacker read the masked picture?"
predict("08.d", question, 0, 120, unit="dB", about="leaks")

# %%
elsewhere = invert.outside(lenet, layers=[-2])
adaptive = search(view, label, kept=elsewhere)
reveal("08.d", float(metrics.psnr(adaptive, x)))
found = {"plain": plain[0], "without the last layer": adaptive[0]}
after("08.d", pictures.strip(x[0], found, title="One masked message, two attackers"))

# %% [markdown]
# Two more, on digits of 8 x 8. **PRECODE** (Scheliga et al. 2022) puts a layer of random numbers before the last one,
# so that the same picture gives another gradient each time. The adaptive attacker leaves out the random layer and all
# behind it, and matches the two convolutions alone (`invert.around`). **Learned perturbation (our reading)** sends
# the update of made-up samples near the client's own, learned such that the update hardly changes. The adaptive
# attacker averages ten such messages.

# %%
x, found = lab08_leak.masked_digits(5)
pictures.rows(x, found, title="Two masks, each with two attackers", height=0.72)

# %% [markdown]
# Below 25 dB, the perturbed digits can be read all the same, by anybody. The masks are not free: in a small
# federation (six clients, 25 rounds, five seeds) accuracy was 0.94 to 0.95 without a mask, 0.90 to 0.91 with Soteria,
# 0.85 to 0.93 with PRECODE, and 0.92 to 0.95 with learned perturbation.
#
# ## Part six: what was there all along
# Batch size and local steps are chosen for other reasons. Below, *everything* is sent, nothing rounded and nothing
# masked. The attacker divides rows by biases (lab 04), and names as many of the 359 test digits as are behind a
# message. Twenty clients.

# %%
question = "Five steps of 16 digits each, as in the course's FedAvg. What share is read out?"
predict("08.e", question, 0, 100, unit="%", about="leaks")

# %%
table = {}
for batch, steps in ((1, 1), (4, 1), (16, 1), (1, 5), (16, 5)):
    shares = lab08_leak.leaks(fed, batch=batch, steps=steps)
    reached = run(replace(fed, batch_size=batch, local_steps=steps)).final_accuracy
    percents = [f"{share:.0f} %" for share in shares]
    name = f"{steps} step{'s' * (steps > 1)} of {batch}"
    table[name] = [*percents, f"{reached:.2f}"]
columns = ["read out", "named right", "by chance", "accuracy, 40 rounds"]
reveal("08.e", shares[0])
after("08.e", pandas.DataFrame(table, index=columns).T)

# %% [markdown]
# Every row below the first hides more than the first, and learns more in as many rounds, from more samples. It is a
# mixture and no promise: this attacker only divides, and suspects are still named far better than by chance. A
# promise takes noise and a budget (lab 07), or a server that sees sums alone (lab 09).
#
# ## Part seven: a server that does more than read
# So far the server follows the protocol. Here it does not: another attacker, with another card.

# %%
threat_card(roles.SENDS_ITS_OWN, title="The server sends a model of its own")

# %% [markdown]
# A server that sends prepared weights reads far more (lab 05), but then there is something to see: the model that
# arrives. `invert.check_up` takes four signs of it at the client, such as how far the rows of the first layer point
# in one direction, and how many neurons stay silent on the client's own data. How odd is too odd? As in lab 06, you
# choose the false alarms: at most 5 % of honest models. `limits_of` sets limits with 120 honest models, all that came
# by in three earlier federations of 40 rounds.


# %%
def signs_in(seed, number=40):
    return lab08_leak.signs_in(replace(fed, seed=seed, rounds=number))


def accused(signs, limits):
    return 100 * sum(bool(invert.alarms(each, limits)) for each in signs) / len(signs)


earlier = [signs for seed in range(100, 103) for signs in signs_in(seed)]
limits = invert.limits_of(earlier, rate=0.05)
others = [signs for seed in range(20) for signs in signs_in(seed)]

# %%
question = "Twenty other federations, all honest. What share of their models is accused?"
predict("08.f", question, 0, 100, unit="%", about="false alarms")

# %%
reveal("08.f", accused(others, limits))

# %% [markdown]
# The rule behind `limits_of` needs models that are drawn alike. The 120 models of three federations are not: those of
# one federation resemble each other, so it was rather three models than 120. Take one model from each of 120
# federations instead.

# %%
spread = [signs_in(100 + i, number=1 + i % 20)[-1] for i in range(120)]
limits = invert.limits_of(spread, rate=0.05)
print(f"Accused of twenty honest federations: {accused(others, limits):.1f} %")

# %% [markdown]
# Now three dishonest servers: imprint bins, trap weights (most neurons are silent for most samples), and one that
# knows the limits, and swaps in only as many trap neurons as the check lets pass (`invert.hidden`).

# %%
tenth = replace(fed, rounds=10)
sent = lab08_leak.servers(tenth, limits)
for name, read in lab08_leak.read_by(tenth, sent).items():
    signs = invert.check_up(sent[name], model=small, x=digits.x[:48])
    rings = ", ".join(invert.alarms(signs, limits)) or "no alarm"
    print(f"{name:16} {read:2} of 16 read; {rings}")

# %% [markdown]
# In eight seeds, bins read 7 to 12 of the 16, traps 3 to 7, hidden traps 0 to 5, and an honest model 0 to 2. The
# check caught all bins and all traps, and two of the eight servers that knew its limits. And no check sees a server
# that only *reads*: it sends an honest model.
#
# ## Part eight: attack your defence
# Make a message that is short *and* holds out. What stands here keeps one number in a hundred, drawn at random and
# multiplied by a hundred. Beat it: fewer clients named from one message and from fifty, at an accuracy of 0.90 or
# more.


# %%
def my_defence(updates, *, generator):
    return compress.random_k(updates, keep=0.01, generator=generator)


message = my_defence(expected[:1], generator=draws(0))
print(f"Accuracy          {accuracy_of(my_defence):.2f}")
print(f"Bytes, one digit  {len(compress.encode(message[0]))} of {4 * small.dim}")
for k in (1, 50):
    share = named(my_defence, k, bound=math.inf)
    print(f"{k:3} messages: {share:4.0f} % of 100 clients named")

# %% [markdown]
# Whatever you found holds against *these* attacks, on one picture a message.
#
# ## Five claims
# First say what you think: held, did not hold, or depends? Then the card shows what was measured.

# %%
cards.claim("50")

# %%
cards.claim("51")

# %%
cards.claim("52")

# %%
cards.claim("53")

# %%
cards.claim("54")

# %% [markdown]
# ## Where you stand

# %%
quiz("08")

# %%
progress("08")

# %% [markdown]
# ### What it means at work
# - **Compress, and call it compression.** With error feedback a few numbers a message were enough to learn. That is a
#   reason to do it, and no reason to send it to somebody you do not trust.
# - **Ask which attacker a figure was measured with.** The same message: none of ten pictures for an attacker who
#   believes zeros, all ten for one who does not. Whoever decodes a message knows the method.
# - **Ask for how many messages it holds.** What is drawn anew in each message averages out. Count messages as you
#   count money.
# - **An ε per bit is no ε.** Ask for the unit, and do the sum over the bits of a message and over all messages.
# - **Start with what costs little**: large batches, several local steps, no model sent twice for the same data.
# - **Look at what the server sends**, and know how often your check accuses an honest one.
#
# <details><summary>Standards, and further reading</summary>
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | gradient inversion | AML.T0024.001 by analogy, AML.T0035 | data reconstruction | ML03 |
# | malicious server | AML.T0018.000/.001 | NISTAML.051, loosely | ML06 |
#
# The mapping is this course's own judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# - Alistarh et al. 2017, *QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding*, arXiv:1610.02132.
# - Karimireddy et al. 2019, *Error Feedback Fixes SignSGD and other Gradient Compression Schemes*, arXiv:1901.09847.
# - Bernstein et al. 2018, *signSGD: Compressed Optimisation for Non-Convex Problems*, arXiv:1802.04434.
# - Aji and Heafield 2017, *Sparse Communication for Distributed Gradient Descent*, arXiv:1704.05021: top-k.
# - Warner 1965, *Randomized Response: A Survey Technique for Eliminating Evasive Answer Bias*.
# - Sun et al. 2021, *Soteria: Provable Defense against Privacy Leakage in Federated Learning from Representation
#   Perspective*, arXiv:2012.06043.
# - Scheliga, Mäder and Seeland 2022, *PRECODE*, arXiv:2108.04725.
# - Balunović et al. 2022, *Bayesian Framework for Gradient Leakage*, arXiv:2111.04706: defences that fall to an
#   attacker who knows them.
# - Yue et al. 2023, *Gradient Obfuscation Gives a False Sense of Security in Federated Learning*, USENIX Security.
#
# </details>
