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
# 3. say what more local steps buy and cost, what skewed data cost, and how many bytes a round sends,
# 4. read a record out of one client's message, and say when that fails,
# 5. judge seven sentences from sales material: by measuring, by reading, by looking for their source.
#
# Before: lab 00. Run time on two cores: {{runtime}}. Exercises: about {{minutes}} minutes, reading and looking as long
# again. How hard: 1.1 ●, 1.2 ●●●, 1.3 ●●, 1.4 ●, 1.5 ●, 1.6 ●.

# %% tags=["setup"]
from functools import partial
from timeit import repeat

import numpy as np
import torch
import torch.nn.functional as F

from labsec import Scenario, data, invert, metrics, models, rounds, run, train
from labsec.course import after, cards, check, exercise, hint, predict, reveal
from labsec.course.panels import lab01 as pictures
from labsec.types import ServerView
from labsec.types import generator as stream

torch.set_num_threads(1)

# %% [markdown]
# `stream(seed, …)` gives a random generator that depends on its arguments alone: a cell that runs again draws the same.
#
# ## Who is curious here
# In this lab everybody keeps to the protocol. That is enough for trouble, as you will see at the end.

# %%
cards.threat_model("01")

# %%
cards.safety()

# %% [markdown]
# ## Predict first
# 1,438 handwritten digits are divided evenly among 20 clients, 71 or 72 each. In every round a client takes five small
# steps on its own digits and sends what changed; the server averages. Guessing gives 0.10, and one computer that holds
# all the digits reaches 0.98. You will write all of this before you see the answer.

# %%
predict("01.a", "Share of unseen digits right after 20 rounds?", 0, 1, about="accuracy")

# %% [markdown]
# ### Exercise 1.1 · Deal the samples (3 minutes)
# The simplest federation is *independent and identically distributed*, IID for short: shuffle the samples, then deal
# them out like cards. Client $i$ of $n$ gets what lies at the places $i,\ i+n,\ i+2n,\ \ldots$ of the shuffled order.
#
# | name | shape | meaning |
# |---|---|---|
# | `order` | `[samples]` | the samples' numbers, already shuffled |
# | `clients` | number | how many hands to deal |
# | returns | list of `clients` tensors | the numbers in each hand; every number in exactly one |


# %% tags=["exercise"]
@exercise("01.1")
def deal(order, clients):
    ### BEGIN SOLUTION
    return [order[i::clients] for i in range(clients)]
    ### END SOLUTION


# %% tags=["check"]
check("01.1", deal)

# %% [markdown]
# Stuck? Unfold a hint at the check, or ask for one as below: 1 is small, 2 names the approach, 3 is nearly the code. If
# you leave an exercise unsolved, the lab still runs: the course's own answer stands in for yours.

# %%
hint("01.1", 1)

# %%
digits = data.load("digits")
even = deal(torch.randperm(len(digits.y), generator=stream(0, "deal")), 20)

# %% [markdown]
# Now each client's data looks like everybody's. Few hospitals, banks or phones have data like that.
#
# ### Exercise 1.2 · Skew the labels (8 minutes)
# Real clients differ. The usual model draws, for each label $c$, the clients' shares $s_{c1}, \ldots, s_{cn}$ from a
# Dirichlet distribution with a parameter $\alpha$: the smaller $\alpha$, the more a label sits with a few clients. The draw is made for you, you do the cutting: the list of a label's $m_c$ samples, in the order
# of `y`, is cut at $\operatorname{round}(m_c \sum_{j \le i} s_{cj})$, and piece $i$ goes to client $i$.
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
        pieces = members.tensor_split(cuts.tolist())
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]
    ### END SOLUTION


# %% tags=["check"]
check("01.2", skew)

# %%
chance = np.random.default_rng(4)
alpha = 0.3  # Dirichlet's parameter: the smaller, the fewer clients hold a label
shares = torch.from_numpy(chance.dirichlet([alpha] * 20, size=10)).float()
skewed = skew(digits.y, shares)
pictures.shards(digits.y, dealt=even, skewed=skewed)

# %% [markdown]
# A column is a client, a row a digit, and a disc says how many. A client with two or three large discs pulls the model
# towards "it is one of these". Some clients hold many times what others hold; in a moment that will matter.
#
# ### Exercise 1.3 · One local step (6 minutes)
# A client takes a step of gradient descent,
# with the learning rate $\eta$ (`lr`): $\theta' = \theta - \eta\, \nabla_\theta \frac{1}{b} \sum_{j=1}^{b} \ell(\theta; x_j, y_j)$, with the cross-entropy
# as $\ell$. (`None` adds an axis for clients.) `params` is shared: the other clients start from the same tensor, so leave it as it is.
#
# | name | shape | meaning |
# |---|---|---|
# | `model` | function | `model(params[None], x[None])[0]` are the logits, the scores before softmax, `[batch, labels]` |
# | `params` | `[dim]` | *all* weights and biases in one flat vector, $\theta$ |
# | `x`, `y` | `[batch, …]`, `[batch]` | the samples of this step |
# | returns | `[dim]` | the parameters after the step |


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
# Between two messages a client may take several steps; that is what sets FedAvg apart from FedSGD, which takes one.
# What it sends is not the model but the **change**: $u = \theta_\text{new} - \theta_\text{old}$.
#
# | name | shape | meaning |
# |---|---|---|
# | `params` | `[dim]` | what the server sent |
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
# **Why it matters.** Whoever controls a client controls what this function returns: every poisoning attack of the next
# labs is another body for it. And whoever reads its result reads a function of `x`.
#
# ### Exercise 1.5 · The weighted mean (4 minutes)
# The server combines what comes back: $\bar u = \sum_i \frac{n_i}{\sum_j n_j}\, u_i$, where $n_i$ is the number of
# samples that client $i$ says it holds. (*Says*. Nobody checks.)
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `weights` | `[clients]` | sample counts $n_i$, whole numbers |
# | returns | `[dim]` | the weighted mean |


# %% tags=["exercise"]
@exercise("01.5")
def weighted_mean(updates, *, weights):
    ### BEGIN SOLUTION
    return (weights / weights.sum()) @ updates
    ### END SOLUTION


# %% tags=["check"]
check("01.5", weighted_mean)

# %%
updates = torch.tensor([[1, 0.2], [0.8, 0.6], [0.9, -0.1], [-0.6, 0.9], [-0.7, 0.8]])
counts = torch.tensor([90, 70, 80, 5, 10])  # at the tips of the arrows
average = weighted_mean(updates, weights=counts)
pictures.arrows(updates, counts, plain=updates.mean(dim=0), weighted=average)

# %% [markdown]
# The plain mean treats the client with five samples like the one with ninety. The weighted mean follows the data: for
# one step of each client on its whole shard, it is *exactly* one step on everybody's samples. Prove it on paper in two
# lines; the next cell tries it on the skewed shards.

# %%
model = models.mlp(digits.shape, digits.classes)
start = model.init(stream(0, "start"))
known = (model, start, digits.x, digits.y)
alone = torch.stack([local_update(*known, own[None], lr=0.3) for own in skewed])
together = local_update(*known, torch.cat(skewed)[None], lr=0.3)

mean = weighted_mean(alone, weights=torch.tensor([len(own) for own in skewed]))
assert torch.allclose(mean, together, atol=1e-6)

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
    sent = [local_update(model, params, x, y, own, lr=lr) for own in batches]
    return params + weighted_mean(torch.stack(sent), weights=weights)
    ### END SOLUTION


# %% tags=["check"]
check("01.6", fedavg_round)

# %% [markdown]
# ## Run it
# Every part is yours now. Each client draws five batches of 16 from its own hand:


# %%
def draw(parts, number):
    chance = stream(0, number, "batches")
    picks = [torch.randint(len(part), (5, 16), generator=chance) for part in parts]
    return torch.stack([part[pick] for part, pick in zip(parts, picks, strict=True)])


# %%
params = start
weights = torch.tensor([len(part) for part in even])
for number in range(20):
    batches = draw(even, number)  # [clients, steps, batch]
    setting = {"weights": weights, "lr": 0.3}
    params = fedavg_round(model, params, digits.x, digits.y, batches, **setting)
reveal("01.a", metrics.accuracy(model, params, digits.x_test, digits.y_test))

# %% [markdown]
# ### The same, stacked
# Your loop trains one client after another: many small products, and Python spends longer on calling each of them than
# the processor on computing it. The course's engine gives the parameters a leading axis, `[clients, dim]`: one differentiation
# of everybody's loss gives every client's own gradient, as no two share a parameter. Guess the factor first.


# %%
def looped():
    return torch.stack([local_update(*known, own, lr=0.3) for own in batches])


stacked = partial(train.local_updates, *known, batches, lr=0.3)
slow, fast = (min(repeat(way, number=1, repeat=9)) for way in (looped, stacked))
print(f"loop {slow:.4f} s, stacked {fast:.4f} s: {slow / fast:.0f} times faster")
assert torch.allclose(looped(), stacked(), atol=1e-5)

# %% [markdown]
# From here on `run(Scenario(…))` does your round, stacked, and takes **your** `weighted_mean` as its rule. (Left alone,
# a `Scenario` counts every client alike; lab 02 says why.)
#
# ## FedSGD or FedAvg?
# FedSGD takes one step on all of a client's samples; FedAvg takes five on batches of 16. Both send one update a round,
# so both send the same bytes, and here both take the same learning rate.

# %%
predict("01.b", "Which is better after ten rounds?", choices=("FedAvg", "FedSGD"))


# %%
def five_runs(**changes):
    scenario = {"rounds": 60, "aggregate": weighted_mean} | changes
    return [run(Scenario(**scenario, seed=seed)) for seed in range(5)]


# %%
fedavg = five_runs()
fedsgd = five_runs(local_steps=1, batch_size=None)
faster = five_runs(local_steps=1, batch_size=None, lr=1.0)
both = (fedavg, fedsgd)
early = [np.mean([history.accuracy[9] for history in runs]) for runs in both]
lines = {"FedAvg": fedavg, "FedSGD": fedsgd, "FedSGD, rate 1.0": faster}
after("01.b", pictures.accuracy(**lines))
reveal("01.b", "FedAvg" if early[0] > early[1] else "FedSGD")

# %% [markdown]
# The third line is FedSGD at a rate of its own, 1.0: it closes most of the gap, so compare methods only when both are
# tuned.
#
# Communication, not arithmetic, is what a federation of phones is short of; that was the argument of the paper that named
# FedAvg (McMahan et al. 2017). A message is 4,810 numbers of four bytes, nearly a quarter of them zero and left out: 20 clients
# send 305,124 bytes a round at first, and 384,800 come back.
#
# ### How long may they train without talking?
# For the same number of *messages*, more steps are better. Now keep the number of *steps* equal: **1,000 steps in all** for
# every client, under skew ($\alpha = 0.1$). Those who talk after every step send 1,000 messages; those who talk after every hundred send ten.

# %%
question = "How many points are lost if clients send 10 messages instead of 1,000?"
predict("01.c", question, 0, 50, unit="points")


# %%
def walk(steps):
    """How far apart the first round ends, and the accuracy after 1,000 steps."""
    rest = {"alpha": 0.1, "aggregate": weighted_mean, "evaluate_every": 1000 // steps}
    scenario = Scenario(local_steps=steps, rounds=1000 // steps, **rest)
    first = next(rounds(scenario)).messages  # [clients, dim]
    apart = (first - first.mean(dim=0)).norm(dim=1).mean()
    return float(apart), run(scenario).final_accuracy


# %%
walks = {steps: walk(steps) for steps in (1, 5, 20, 100)}
after("01.c", pictures.walks(walks))
reveal("01.c", 100 * (walks[1][1] - walks[100][1]))

# %% [markdown]
# And what does skew itself cost? Sixty rounds with five steps again; only the way the digits were divided differs.

# %%
question = "How many points are lost after 60 rounds if α = 0.1?"
predict("01.d", question, 0, 50, unit="points")

# %%
skewed_runs = five_runs(alpha=0.1)
after("01.d", pictures.accuracy(**{"IID": fedavg, "α = 0.1": skewed_runs}))
pairs = list(zip(fedavg, skewed_runs, strict=True))
reveal("01.d", [100 * (a.final_accuracy - b.final_accuracy) for a, b in pairs])

# %% [markdown]
# With skewed labels each client pulls towards its own digits, and a part of the pulls can cancel in the mean. Remember
# them: whoever throws out "unusual" updates, to be rid of attackers, throws out honest clients with unusual data.
#
# **Try it:** write a plain mean under `@exercise("01.5", use="mine")` and run the cells from *FedSGD or FedAvg?* on
# again. Why can the line of the IID shards hardly change?
#
# ### Move them yourself
# Every move runs forty rounds again; the thin line is one computer with all the data, and the bars are the clients. With
# one local step, does the skew matter? With twenty? What do you save, and lose, when only a tenth take part?

# %%
panel = pictures.panel()
panel

# %% [markdown]
# With five clients of whom a tenth take part, nobody does in most rounds, and the model stays as it is. A real attacker
# need not leave it to chance.
#
# ## Read a message
# The data stay. What does the message hold? Take a table of 455 patients with 30 tumour measurements each, and let a
# client train **one step on one row**. The server sees the update and knows what it told the client to do. It holds no
# row and no label, and the guess to beat is the average patient, who needs no message at all.

# %%
records = data.load("breast_cancer")
network = models.mlp(records.shape, records.classes)
before = network.init(stream(0, "start"))
patient = torch.tensor([[7]])  # one step, one row
update = local_update(network, before, records.x, records.y, patient, lr=0.3)
told = {"model": network, "lr": 0.3, "local_steps": 1, "batch_size": 1}
seen = ServerView(params=before, messages=update[None], **told)
read = invert.analytic(seen)[0]
average = records.x.mean(dim=0)
pictures.record(records.x[7], read, average, title="One patient, read by the server")

# %% [markdown]
# Every cross lies on its bar, without search or training: in the first layer, the gradient of a neuron's weights is the
# gradient of its bias times the input, so one division gives the patient away. With more patients in a message their
# values mix; claim 4 measures how far that helps. A record counts as recovered from 25 dB (*peak signal-to-noise ratio*;
# on values from 0 to 1, a typical error of 0.056), and what a **stranger's message** yields for the same record is
# taken off: patients resemble one another, and a score that anything passes is worth nothing.
#
# ## The claims
# Say first what you think of each sentence, then look. Three things can settle one: measuring, reading, and looking for
# the source of a figure. Before you answer 3 and 6, write down what a source would have to tell you, and give the search
# ten minutes.

# %%
cards.claim("1")

# %%
cards.claim("2")

# %%
cards.claim("3")

# %%
cards.claim("4")

# %%
cards.claim("4b")

# %%
cards.claim("5")

# %%
cards.claim("6")

# %% [markdown]
# In claim 1 both sides are tuned, and very skewed shards still cost about one point: most of what skew costs is delay, not
# all of it. Claim 4 was measured, for one attack: a larger message blunts it, and that says nothing about a better attack. Claim 4b
# is law, and no measurement of ours decides it.
#
# **Write the impact assessment.** Five lines on the way to what Article 35 of the GDPR asks for when the risk is high: what is processed
# and why; who receives updates; what they can learn, and how you know; how likely and severe that is; what you do
# about it, and what is left after that. Then compare.
#
# <details><summary>One possible answer</summary>
#
# 1. *Processing.* Sites train a classifier on tumour measurements; each sends one update a round.
# 2. *Recipients.* The coordinating server sees every single update, with its sender.
# 3. *What can be learned.* With one record in a step, the record itself: measured, see claim 4. With more, fewer records;
#    that is measured for one attack, and says nothing about a better one.
# 4. *Risk.* Likely where batches are small and the server is not trusted; severe, because the values are health data.
# 5. *Measures.* Sum updates so that the server sees no single one, bound and noise what each patient contributes, and
#    test the result by attack. What remains: what the final model itself gives away.
#
# </details>
#
# ## Check yourself

# %%
from labsec.course import progress, quiz

quiz("01")

# %%
progress("01")

# %% [markdown]
# ### What it means at work
# - **Ask what a message holds, not where the data are.** Records in a step, local steps, who sees single updates: these
#   belong in every data-protection impact assessment of a federation.
# - **A sample count is a vote.** The server believes $n_i$; whoever may inflate it controls the weighted mean. Bound it.
# - **Local steps save messages and cost agreement.** Measure both on data as skewed as yours.
# - **A figure without a source** cannot be wrong, and that is what is wrong with it.
#
# **Further reading.** McMahan et al. 2017, *Communication-Efficient Learning of Deep Networks from Decentralized Data*,
# arXiv:1602.05629. Kairouz et al. 2021, *Advances and Open Problems in Federated
# Learning*, arXiv:1912.04977: the map of the field. Geiping et al. 2020, *Inverting Gradients*, arXiv:2003.14053.
#
# Next: lab 02, where one client in thirty stops being honest.
