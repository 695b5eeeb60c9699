# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · FedAvg from scratch
# **Twenty clients learn one model and show nobody their data. How well does that work, what does it cost, and is it
# true that nothing leaks?**
#
# You will be able to
# 1. divide a data set among clients, evenly or with skewed labels,
# 2. write federated averaging in six small functions, and say what each one sends,
# 3. predict what more local steps buy, and what skewed data costs,
# 4. count the bytes,
# 5. explain why training all clients in one stacked product is so much faster, and show that the result is the same,
# 6. judge six sentences from sales material: two by measurement, two by reading, two by looking for their source.
#
# Before: lab 00. Run time on two cores: {{runtime}}. The six exercises take about {{minutes}} minutes, reading and
# looking about as long again.

# %% tags=["setup"]
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F

from labsec import Scenario, data, invert, metrics, models, plots, robust, run, train
from labsec.course import cards, check, exercise, hint, progress
from labsec.course.panels import lab01 as pictures
from labsec.types import ServerView
from labsec.types import generator as stream

torch.set_num_threads(1)

# %% [markdown]
# Products as small as ours run faster on one core than on two that must agree, so the lab keeps to one.
# `stream(seed, …)` gives a random generator that depends on its arguments alone: run any cell twice and you get the
# same draw twice. Nothing in this course touches the global random state.
#
# ## Who is curious here
# In this lab everybody keeps to the protocol. That is enough for trouble, as you will see at the end.

# %%
cards.threat_model("01")

# %%
cards.safety()

# %% [markdown]
# ## Predict first
# 1,438 handwritten digits are divided evenly among 20 clients, 71 or 72 digits each. In every round a client takes five
# small steps on its own digits and sends what changed; the server averages. **What share of unseen digits is right
# after 20 rounds?** Guessing blindly gives 0.10; one computer that holds all the digits gets close to 0.95.
#
# Put your number in and read on. You will meet it again.

# %%
my_prediction = 0.5

# %% [markdown]
# ## Part one: who holds what
#
# ### Exercise 1.1 · Deal the samples (3 minutes)
# The simplest federation is *independent and identically distributed*, IID for short: shuffle the samples, then deal
# them out like cards. Client $i$ of $n$ gets the numbers at places $i,\ i+n,\ i+2n,\ \ldots$ of the shuffled order.
#
# | name | shape | meaning |
# |---|---|---|
# | `order` | `[samples]` | the samples' numbers, already shuffled |
# | `clients` | number | how many hands to deal |
# | returns | list of `clients` tensors | the numbers in each hand |
#
# Every number must go to exactly one client. 1,438 is not a multiple of 20, so some hands hold one more.


# %% tags=["exercise"]
@exercise("01.1")
def deal(order, clients):
    ### BEGIN SOLUTION
    return [order[i::clients] for i in range(clients)]
    ### END SOLUTION


# %% tags=["check"]
check("01.1", deal)

# %% [markdown]
# If a check says NOT YET or TODO and you are stuck, ask for a hint: number 1 nudges, 2 names the approach, 3 is nearly the
# code. They are also folded below each check.

# %%
hint("01.1", 1)

# %%
digits = data.load("digits")
even = deal(torch.randperm(len(digits.y), generator=stream(0, "deal")), 20)
pictures.shards(digits.y, even, title="Dealt like cards, every client holds a bit of everything")

# %% [markdown]
# A column is a client, a row a digit, and the size of a disc says how many. Nothing stands out, and that is the point:
# each client's data looks like everybody's. No hospital, bank or phone has data like that.
#
# ### Exercise 1.2 · Skew the labels (8 minutes)
# Real clients differ. The usual model draws, for each label $c$, the clients' shares $s_{c1}, \ldots, s_{cn}$ from a
# Dirichlet distribution and cuts that label's samples accordingly. The draw is made for you, you do the cutting:
# a label's samples are cut at $\operatorname{round}(m_c \sum_{j \le i} s_{cj})$, where $m_c$ is how many there are.
#
# | name | shape | meaning |
# |---|---|---|
# | `y` | `[samples]` | labels |
# | `shares` | `[labels, clients]` | the shares; each row adds up to 1 |
# | returns | list of `clients` tensors | places in `y`, every place exactly once |


# %% tags=["exercise"]
@exercise("01.2")
def skew(y, shares):
    ### BEGIN SOLUTION
    parts = [[] for _ in shares[0]]
    for label, share in enumerate(shares):
        members = (y == label).nonzero()[:, 0]
        cuts = (share.cumsum(0) * len(members)).round().long()[:-1]
        for part, piece in zip(parts, members.tensor_split(cuts.tolist()), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]
    ### END SOLUTION


# %% tags=["check"]
check("01.2", skew)

# %% [markdown]
# The smaller Dirichlet's parameter $\alpha$, the more a label sits with a few clients. At $\alpha = 0.3$:


# %%
def shares(alpha, clients, seed):
    return torch.from_numpy(np.random.default_rng(seed).dirichlet([alpha] * clients, size=10)).float()


skewed = skew(digits.y, shares(0.3, 20, seed=4))
pictures.shards(digits.y, skewed, title="At α = 0.3, a client knows some digits well and others hardly at all")

# %% [markdown]
# Look for a column with two or three large discs: that client will pull the model towards "it is one of these".
# Look at the sizes, too. Some clients hold many times what others hold, and in a moment that will matter.
#
# ## Part two: the client
#
# ### Exercise 1.3 · One local step (6 minutes)
# A client does what every student of machine learning has done: one step of gradient descent,
# $\theta' = \theta - \eta\, \nabla_\theta \frac{1}{b} \sum_{j=1}^{b} \ell(\theta; x_j, y_j)$, with the cross-entropy as $\ell$.
#
# | name | shape | meaning |
# |---|---|---|
# | `model` | function | `model(params[None], x[None])[0]` are the logits `[batch, labels]` |
# | `params` | `[dim]` | *all* weights and biases in one flat vector, $\theta$ |
# | `x`, `y` | `[batch, …]`, `[batch]` | the samples of this step |
# | `lr` | number | learning rate $\eta$ |
# | returns | `[dim]` | the parameters after the step |
#
# The `None` adds an axis for clients: the course's models serve many clients at once, and here there is one.


# %% tags=["exercise"]
@exercise("01.3")
def local_step(model, params, x, y, *, lr):
    ### BEGIN SOLUTION
    copy = params.detach().requires_grad_()
    loss = F.cross_entropy(model(copy[None], x[None])[0], y)
    (gradient,) = torch.autograd.grad(loss, copy)
    return params - lr * gradient
    ### END SOLUTION


# %% tags=["check"]
check("01.3", local_step)

# %% [markdown]
# ### Exercise 1.4 · The local update (5 minutes)
# Between two messages a client may take several steps; that is the whole difference between FedSGD (one step) and
# FedAvg (several). What it sends is not the model but the **change**: $u = \theta_\text{new} - \theta_\text{old}$.
#
# | name | shape | meaning |
# |---|---|---|
# | `params` | `[dim]` | what the server sent |
# | `x`, `y` | `[n, …]`, `[n]` | the pool of samples |
# | `batches` | `[steps, batch]` | for each step, the places in the pool to train on |
# | returns | `[dim]` | the update $u$ |


# %% tags=["exercise"]
@exercise("01.4")
def local_update(model, params, x, y, batches, *, lr):
    ### BEGIN SOLUTION
    local = params
    for batch in batches:
        local = local_step(model, local, x[batch], y[batch], lr=lr)
    return local - params
    ### END SOLUTION


# %% tags=["check"]
check("01.4", local_update)

# %% [markdown]
# **Why it matters.** Keep this function in mind. Whoever controls a client controls what it returns: every poisoning
# attack of the next labs is another body for `local_update`. And whoever reads its result reads a function of `x`.
#
# ## Part three: the server
#
# ### Exercise 1.5 · The weighted mean (4 minutes)
# The server combines what comes back: $\bar u = \sum_i \frac{n_i}{\sum_j n_j}\, u_i$, where $n_i$ is the number of
# samples that client $i$ says it holds. (*Says*. Nobody checks.)
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `weights` | `[clients]` | sample counts $n_i$ |
# | returns | `[dim]` | the weighted mean |


# %% tags=["exercise"]
@exercise("01.5")
def weighted_mean(updates, *, weights):
    ### BEGIN SOLUTION
    return (weights / weights.sum()) @ updates
    ### END SOLUTION


# %% tags=["check"]
check("01.5", weighted_mean)

# %% [markdown]
# Five clients, two parameters, and the number of samples at the tip of each arrow:

# %%
updates = torch.tensor([[1.0, 0.2], [0.8, 0.6], [0.9, -0.1], [-0.6, 0.9], [-0.7, 0.8]])
counts = torch.tensor([90, 70, 80, 5, 10])
both = {"plain": updates.mean(dim=0), "weighted": weighted_mean(updates, weights=counts)}
pictures.arrows(updates, counts, **both, title="Three large clients outvote two small ones")

# %% [markdown]
# The plain mean treats the client with five samples like the one with ninety. The weighted mean follows the data:
# for one step of each client over its whole shard, it is *exactly* the gradient step over everybody's samples. Prove it
# on paper in two lines, then believe the next cell, which tries it on the skewed shards.

# %%
model = models.mlp(digits.shape, digits.classes)
start = model.init(stream(0, "start"))
sizes = torch.tensor([len(shard) for shard in skewed])
alone = torch.stack([local_update(model, start, digits.x, digits.y, shard[None], lr=0.3) for shard in skewed])
together = local_update(model, start, digits.x, digits.y, torch.cat(skewed)[None], lr=0.3)
print(f"largest difference: {(weighted_mean(alone, weights=sizes) - together).abs().max():.1e}")
assert torch.allclose(weighted_mean(alone, weights=sizes), together, atol=1e-5)

# %% [markdown]
# ### Exercise 1.6 · The round (4 minutes)
# Send the model out, collect one update from each client, average, move. That is federated averaging, complete.
#
# | name | shape | meaning |
# |---|---|---|
# | `batches` | `[clients, steps, batch]` | what each client trains on, as places in `x` and `y` |
# | `weights` | `[clients]` | sample counts |
# | returns | `[dim]` | the parameters after the round |


# %% tags=["exercise"]
@exercise("01.6")
def fedavg_round(model, params, x, y, batches, *, weights, lr):
    ### BEGIN SOLUTION
    updates = torch.stack([local_update(model, params, x, y, own, lr=lr) for own in batches])
    return params + weighted_mean(updates, weights=weights)
    ### END SOLUTION


# %% tags=["check"]
check("01.6", fedavg_round)

# %% [markdown]
# ## Part four: run it
# Every part is yours now. Each client draws five batches of 16 from its own hand:


# %%
def draw(parts, number, steps=5, batch=16):
    chance = stream(0, number, "batches")
    return torch.stack([part[torch.randint(len(part), (steps, batch), generator=chance)] for part in parts])


# %%
params, weights = start, torch.tensor([len(shard) for shard in even])
for number in range(20):
    batches = draw(even, number)
    params = fedavg_round(model, params, digits.x, digits.y, batches, weights=weights, lr=0.3)

reached = metrics.accuracy(model, params, digits.x_test, digits.y_test)
print(f"After 20 rounds {reached:.3f} of the unseen digits are right. You said {my_prediction:.2f}.")
assert reached > 0.9

# %% [markdown]
# No digit left its client, and the model reads almost all the digits that it has never seen.
#
# ### The same, stacked
# Your loop trains one client after another, and each step is a multiplication so small that Python spends longer
# calling it than the processor spends computing it. The course's engine therefore gives the parameters a leading axis
# for clients, `[clients, dim]`. Clients share no parameter, so one differentiation of everybody's loss gives every
# client's own gradient: a step of all clients is a handful of large products. **Guess the factor before you run the cell.**


# %%
def best_time(function, times=9):
    clock = [perf_counter()]
    for _ in range(times):
        result = function()
        clock.append(perf_counter())
    return result, min(end - begin for begin, end in pairwise(clock))  # the least disturbed one


# %%
work = (model, start, digits.x, digits.y)
looped, slow = best_time(lambda: torch.stack([local_update(*work, own, lr=0.3) for own in batches]))
stacked, fast = best_time(lambda: train.local_updates(*work, batches, lr=0.3))
print(f"Loop {1000 * slow:.1f} ms, stacked {1000 * fast:.1f} ms a round: {slow / fast:.0f} times faster.")
assert torch.allclose(looped, stacked, atol=1e-5)

# %% [markdown]
# The numbers agree to five decimals, so nothing is lost; the factor depends on your machine. It is what makes a slider
# that re-runs a whole federation possible. From here on `run(Scenario(…))` does your round, stacked, and takes
# **your** `weighted_mean` as its rule. (Left alone, a `Scenario` counts every client alike; lab 02 says why.)
#
# ## Part five: what turns the dials
# ### FedSGD or FedAvg?
# FedSGD takes one step on all of a client's samples; FedAvg takes several on small batches. Both send one update a round, so both
# send the same number of bytes. Which line is higher after ten rounds, and why?

# %%
mine = {"rounds": 60, "aggregate": weighted_mean}
fedavg = run(Scenario(**mine))
fedsgd = run(Scenario(**mine, local_steps=1, batch_size=None))
plots.accuracy(FedAvg=fedavg, FedSGD=fedsgd, title="Five small steps a round beat one on all samples")

# %% [markdown]
# FedAvg walks five steps where FedSGD walks one, for the same message. Communication, not arithmetic, is what a
# federation of phones is short of; that was the argument of the paper that named it (McMahan et al. 2017).
#
# ### What does it cost?
# A message is `model.dim` numbers of four bytes, up and down, for every client in every round:

# %%
per_round = 20 * 4 * model.dim
print(f"{model.dim} parameters x 4 bytes x 20 clients = {per_round:,} bytes a round")
assert fedavg.column("bytes_up")[0] == per_round

# %%
patient = run(Scenario(**mine, local_steps=20))
pictures.cost(
    FedAvg=fedavg, FedSGD=fedsgd, FedAvg_20_steps=patient, title="More local steps, more accuracy per megabyte"
)

# %% [markdown]
# Why not a thousand steps, then? Because clients that differ walk apart while they do not talk.
#
# ### IID or skewed?
# The same run three times; only the way in which the digits were divided differs.

# %%
runs = {"IID": fedavg, **{f"α_{alpha}": run(Scenario(**mine, alpha=alpha)) for alpha in (0.3, 0.1)}}
plots.accuracy(**runs, title="The more skewed the labels, the later the model arrives")

# %%
for name, history in runs.items():
    print(f"{name:>5}: {history.accuracy[4]:.2f} after 5 rounds, {history.final_accuracy:.2f} after 60")

# %% [markdown]
# With skewed labels each client pulls towards its own digits, a part of the pulls cancels in the mean, and the model
# arrives later. Remember those pulls: whoever looks for "unusual" updates, to throw out attackers, will find
# honest clients with unusual data. The next labs live in this tension.
#
# **Try it:** plot a wrong answer on purpose. Write a plain mean under `@exercise("01.5", use="mine")` and run the
# cells from *FedSGD or FedAvg?* on again. Which of the three lines can change, and why can the first one hardly?
#
# ### Move them yourself
# Every move runs forty rounds of your federation again; the thin line is one computer with all the data, and the bars
# are the clients. Three things to look for. With one local step, does the skew matter? With twenty? And what do you
# save, and lose, when only a tenth of the clients take part?

# %%
panel = pictures.panel()
panel

# %% [markdown]
# Did you try five clients, of which a tenth take part? In most rounds nobody does, and a round without a message changes
# nothing. A federation's accuracy is also a question of who shows up, and an attacker always does.
#
# ## Part six: six claims
# The rules below were written before the numbers were there.
#
# ### Claim 1 · "Clients send updates, a server averages them, and it works"
# What must it be compared with? With one computer that holds all the data and takes steps of the same size over as
# many samples: 200 batches of 320 in place of 200 batches of 16 at each of 20 clients. And with clients that never talk.


# %%
def federated(seed):
    """Test accuracy after 40 rounds of FedAvg, 20 clients, 5 steps on 16 digits each, by the shards"""
    kinds = {"IID": None, "Dirichlet 0.3": 0.3}
    weighed = {"rounds": 40, "aggregate": robust.weighted_mean, "seed": seed}
    return {name: run(Scenario(**weighed, alpha=alpha)).final_accuracy for name, alpha in kinds.items()}


def without_federation(seed):
    """Test accuracy of pooled training on as many samples, and of one client that trains alone (mean of 20)"""
    pooled = run(Scenario(clients=1, rounds=40, batch_size=320, seed=seed)).final_accuracy
    lonely = data.partition(digits.y, 20, generator=stream(seed, "partition"))
    trained = start + train.local_updates(*work, draw(lonely, seed, steps=200), lr=0.3)
    scores = [metrics.accuracy(model, own, digits.x_test, digits.y_test) for own in trained]
    return {"pooled": pooled, "one client alone": sum(scores) / len(scores)}


# %%
def close_to_pooled(measured, compared):
    gap = {name: compared["pooled"]["mean"] - spread["mean"] for name, spread in measured.items()}
    if gap["IID"] > 0.02 or measured["IID"]["mean"] < compared["one client alone"]["mean"] + 0.02:
        return "did not hold"
    return "held" if gap["Dirichlet 0.3"] <= 0.02 else "depends on how similar the clients' data are"


# %%
cards.claim(
    "1",
    statement="Clients send updates, a server averages them, and the model is as good as one trained on pooled data.",
    measure=federated,
    baseline=without_federation,
    verdict=close_to_pooled,
    seeds=range(5),
    rule="Held if FedAvg's mean is within 0.02 of pooled training, on IID and on Dirichlet(0.3) shards, and at least "
    "0.02 above a client alone on IID shards; depends if only the skewed shards miss it; else did not hold.",
)

# %% [markdown]
# ### Claim 2 · "Hospitals, banks and vehicles run it in production"
# Nothing to measure here; this one is settled by reading. What would count as *production*?

# %%
cards.reading(
    "2",
    statement="Hospitals, banks and vehicles run federated learning in production.",
    says="A keyboard on phones trained with it at scale. In hospitals, 20 institutes trained EXAM and 71 sites trained "
    "FeTS: real data and real sites, as studies. These three sources show no bank and no vehicle.",
    verdict="depends on what counts as production: phones do, the hospitals of these sources ran studies",
    sources=[
        "Hard et al. 2018, Federated Learning for Mobile Keyboard Prediction, arXiv:1811.03604",
        "Dayan et al. 2021, Federated learning for predicting clinical outcomes in patients with COVID-19, Nature Medicine",
        "Pati et al. 2022, Federated learning enables big data for rare cancer boundary detection, "
        "Nature Communications 13:7346",
    ],
)

# %% [markdown]
# ### Claim 3 · "40 % of enterprises use it; in 2024 it was 12 %"
# A source-checking exercise. Before you search, write down what a source would have to tell you; a figure that cannot
# answer these questions is decoration. Then give the search ten minutes, and not more.

# %%
cards.sources(
    "3",
    statement="40 % of enterprises use federated learning, up from 12 % in 2024.",
    asked=[
        "Who asked whom, how many answered, and how were they chosen?",
        "What counts as an enterprise, and what as use: a product, a pilot, an intention?",
        "Were both years measured in the same way?",
    ],
    found="No survey with these two figures, and so none of the three answers.",
    verdict="cannot be tested, because no source for the figures was found",
)

# %% [markdown]
# ### Claim 4 · "The data stay local, so GDPR and HIPAA are satisfied"
# The data stay. Does what *leaves* hold personal data? Take a table of 455 tumour measurements, one row a patient,
# and let a client train one step on one row. The server sees the message and what it told the client to do:


# %%
records = data.load("breast_cancer")
network = models.mlp(records.shape, records.classes)


def one_message(seed, patients):
    params = network.init(stream(seed, "start"))
    update = local_update(network, params, records.x, records.y, patients[None], lr=0.3)
    known = {"model": network, "lr": 0.3, "local_steps": 1, "batch_size": len(patients)}
    return ServerView(params=params, messages=update[None], **known)


# %% [markdown]
# `local_update` is yours, and `ServerView` holds what an honest but curious server knows: no row, no label. The guess
# to beat is the average patient, who needs no message at all.

# %%
average = records.x.mean(dim=0)
guess = invert.analytic(one_message(0, torch.tensor([7])))[0]
pictures.record(records.x[7], guess, average, title="One step, one patient: every value is in the message")

# %% [markdown]
# Every cross lies on its bar. No search, no training, no luck: for the first layer, the gradient of a neuron's weights is
# the gradient of its bias times the input, so one division gives the patient away.
#
# *How close is close?* We measure the peak signal-to-noise ratio (PSNR) on values from 0 to 1: 20 dB is a typical error of
# 0.10, 25 dB of 0.056. A record counts as recovered from 25 dB. And two controls, because a score that anything passes
# is worth nothing: the average patient, and *somebody else's message*, which must say nothing about this patient.


# %%
def share_recovered(seed, batch, shift=0, messages=32):
    """Share of the records that are recovered from their own message (shift 0) or from somebody else's (shift 1)."""
    chosen = torch.stack([torch.randperm(455, generator=stream(seed, i, "patients"))[:batch] for i in range(messages)])
    pairs = zip(chosen.roll(shift, 0), chosen, strict=True)
    scores = [metrics.best_matches(invert.analytic(one_message(seed, sent)), records.x[own])[1] for sent, own in pairs]
    return float((torch.cat(scores) >= 25).float().mean())


def records_read(seed):
    """Share of records recovered (25 dB or more) from one update of one step, by patients in the step"""
    return {f"{batch} in the step": share_recovered(seed, batch) for batch in (1, 4, 16)}


def without_the_message(seed):
    """Share of records matched with 25 dB or more by the average patient, and by what another's message says"""
    guessed = float((metrics.psnr(average.expand_as(records.x), records.x) >= 25).float().mean())
    strangers = {
        f"another's message, {batch} in the step": share_recovered(seed, batch, shift=1) for batch in (1, 4, 16)
    }
    return {"average patient": guessed, **strangers}


# %%
def leaks(measured, compared):
    read, guessed = measured["1 in the step"]["min"], max(spread["max"] for spread in compared.values())
    return "did not hold" if read > 0.5 > guessed else "depends on the number of records in a step"


# %%
cards.claim(
    "4",
    statement="Data that stay local satisfy GDPR and HIPAA (tested: what leaves holds no patient's record).",
    measure=records_read,
    baseline=without_the_message,
    verdict=leaks,
    seeds=range(5),
    rule="Did not hold if in every seed more than half of the records are recovered from the update of a single record, while "
    "neither control matches half; else it depends on the number of records in a step.",
)

# %% [markdown]
# The sentence confuses *where the data are* with *what can be learned about a person*. The European Data Protection Board
# says of trained models that they cannot be taken as anonymous in all cases, and must be judged case by case (Opinion
# 28/2024). An update is closer to the data than a trained model is.
#
# Larger batches blunt the attack and do not end it: read the line of 16 again. And this is the simplest
# attack there is; lab after lab will try a stronger one.
#
# **Write the impact assessment.** Five lines, as Article 35 of the GDPR asks for when the risk is high: what is
# processed and why; who receives updates; what they can learn, and how you know; how likely and how severe that is; what
# you do about it, and what is left after that. Then compare.
#
# <details><summary>One possible answer</summary>
#
# 1. *Processing.* Sites train a classifier on tumour measurements; each sends one update a round.
# 2. *Recipients.* The coordinating server sees every single update, with its sender.
# 3. *What can be learned.* With one record in a step, the record itself: measured, see claim 4. With more, fewer records; that
#    is measured for one attack, and says nothing about a better one.
# 4. *Risk.* Likely where batches are small and the server is not trusted; severe, because the values are health data.
# 5. *Measures.* Sum updates so that the server sees no single one, bound and noise what each patient contributes, and test
#    the result by attack. What remains: what the final model itself gives away.
#
# </details>
#
# ### Claim 5 · "Every node is an entry point, the server a single point of failure"

# %%
cards.reading(
    "5",
    statement="Every node is an entry point, and the server is a single point of failure.",
    says="The survey lists clients, server, engineers and outsiders as possible adversaries, each with what they can see "
    "and do, and devotes a chapter to attacks and failures and one to privacy.",
    verdict="held for the entry points, as a list of who must be considered, not of how likely each is; that one server "
    "is one point of failure is a matter of design and needs no source",
    sources=["Kairouz et al. 2021, Advances and Open Problems in Federated Learning, arXiv:1912.04977"],
)

# %% [markdown]
# This is why every lab opens with a threat-model card: an entry point matters only together with what can be
# seen and done there. In this lab one curious reader at the server was enough.
#
# ### Claim 6 · "Poisoning attacks are up 87 % year on year"

# %%
cards.sources(
    "6",
    statement="Poisoning attacks on federated learning are up 87 % year on year.",
    asked=[
        "Who can count attacks that, when they succeed, look like honest updates?",
        "From how many to how many, and in which years?",
        "Did the attacks grow, or the number of people who look?",
    ],
    found="No count for either year, and nobody who says how they would have counted.",
    verdict="cannot be tested, because no source for the figure was found",
)

# %% [markdown]
# ## Where you stand

# %%
progress()

# %% [markdown]
# ### What it means at work
# - **Ask what a message holds, not where the data are.** Number of records in a step, number of local steps, who sees single
#   updates: these three belong in every data-protection impact assessment of a federation (GDPR, Article 35).
# - **HIPAA's de-identification** (45 CFR 164.514) is about what leaves. An update that gives a record away is no more
#   de-identified than that record.
# - **A sample count is a vote.** The server believes $n_i$; whoever may inflate it owns the weighted mean. Bound it.
# - **Local steps save bandwidth and cost agreement.** Measure both on data as skewed as yours before you choose.
# - **A figure without a source** cannot be wrong, and that is what is wrong with it. Ask the three questions.
#
# ### Further reading
# - McMahan et al. 2017, *Communication-Efficient Learning of Deep Networks from Decentralized Data*, arXiv:1602.05629:
#   FedSGD and FedAvg, as you built them.
# - Kairouz et al. 2021, *Advances and Open Problems in Federated Learning*, arXiv:1912.04977: the map of the field.
# - Geiping et al. 2020, *Inverting Gradients*, arXiv:2003.14053: why the first layer gives the input away, and what
#   can be done about deeper ones.
# - European Data Protection Board, *Opinion 28/2024* on AI models and personal data.
#
# Next: lab 02, where one client in thirty stops being honest.
