# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · One bad client
# **Can one participant in thirty ruin everybody's model, and what does it take to stop it?**
#
# You will be able to
# 1. write four poisoning attacks, and say what each of them has to know,
# 2. build the median, the trimmed mean and Krum, and name the price of each when nobody attacks,
# 3. tell damage from delay,
# 4. explain why the damage of an attack depends on how alike the clients are,
# 5. judge five public claims by measurement,
# 6. attack the rule that you chose, with full knowledge of it.
#
# Before: lab 01. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought, ●●● hard) take about
# {{minutes}} minutes, reading and playing about as long again.

# %% tags=["setup"]
from dataclasses import replace

import torch

from labsec import Scenario, bind, matrix, plots, poison, robust, run
from labsec.course import after, cards, check, exercise, hint, predict, reveal
from labsec.course.panels import lab02, lab02_arrows, lab02_maps, lab02_matrix

torch.set_num_threads(1)

# %%
cards.threat_model("02")

# %%
cards.safety()

# %% [markdown]
# ## Twelve arrows
# Nine honest clients send the grey arrows: each says in which direction two weights should move. Three more send one
# and the same arrow, and you choose it. Drag it far away first. Then drag it slowly towards the crowd, and watch the
# ring.

# %%
arrows = lab02_arrows.panel()
arrows

# %% [markdown]
# The **mean** follows a long arrow without limit. The **median** and the **trimmed mean** give way by a fixed amount,
# however long the arrow is. **Krum**, the ring, always sits *on* somebody. A long arrow only makes it change from one
# honest client to another; near the crowd it jumps onto the three. Now choose *ALIE* in the menu: a short, quiet arrow
# takes Krum further off than any loud one.
#
# So there are two kinds of attack, loud ones and quiet ones. You will write four.

# %% [markdown]
# ## Part one: two attacks that know only themselves
#
# ### Exercise 2.1 · Label flip ● (3 minutes)
# The simplest poison does not touch the code at all: train honestly, on wrong labels. Reverse the scale: of ten
# classes, 0 becomes 9, 1 becomes 8, and so on.
#
# | name | shape | meaning |
# |---|---|---|
# | `y` | `[samples]` | true labels, from 0 |
# | `classes` | number | how many classes there are |
# | returns | `[samples]` | the labels to train on |


# %% tags=["exercise"]
@exercise("02.1")
def flipped(y, classes):
    ### BEGIN SOLUTION
    return classes - 1 - y
    ### END SOLUTION


# %% tags=["check"]
check("02.1", flipped)

# %%
hint("02.1", 1)  # whenever you are stuck: 1 nudges, 2 names the approach, 3 is nearly the code

# %% [markdown]
# ### Exercise 2.2 · Sign flip ● (3 minutes)
# Whoever owns a client also owns its code. One line is enough to send the opposite of what was learned, a little louder:
# $u_i' = -s\,u_i$.
#
# | name | shape | meaning |
# |---|---|---|
# | `view.own` | `[malicious, dim]` | what your clients would send if they were honest |
# | `scale` | number | the boost $s$ |
# | returns | `[malicious, dim]` | what they send instead |


# %% tags=["exercise"]
@exercise("02.2")
def sign_flip(view, *, scale):
    ### BEGIN SOLUTION
    return -scale * view.own
    ### END SOLUTION


# %% tags=["check"]
check("02.2", sign_flip)

# %% [markdown]
# `view` *is* the threat model: it holds what the attackers know and nothing more.
#
# From here on *the mean* counts every client alike, not by sample counts as in lab 01. A client could buy votes by
# reporting a large $n_i$, and no rule below looks at counts either.
#
# Thirty clients with alike data train for 160 rounds. **One** of them sends the opposite of what it learned, thirty
# times as long.

# %%
points = {"low": 0, "high": 100, "unit": "points", "about": "attacks"}
predict("02.a", "How many points does the plain mean lose to it?", **points)

# %%
base = Scenario.fedavg()
one = {"malicious": 1 / 30}
clean = run(base)
whisper = run(replace(base, **one, attack=bind(sign_flip, scale=1)))
shout = run(replace(base, **one, attack=bind(sign_flip, scale=30)))
lost = 100 * (clean.final_accuracy - shout.final_accuracy)
title = "The same client, at boost 1 and at boost 30"
lines = {"clean": clean, "whisper": whisper, "attacked": shout}
after("02.a", plots.accuracy(**lines, title=title, height=1.9))
reveal("02.a", lost)

# %% [markdown]
# The line *whisper* is the same client at boost 1: one reversed vote in thirty changes nothing that you can see. **The
# damage is the attacker's volume knob.** Rules that bound or ignore long messages take the knob away.
#
# The negative control: an "attack" that sends what an honest client sends must leave the run as it was.


# %%
def honest(view):
    return view.own


control = run(replace(base, malicious=0.5, attack=honest))
print("Every round is that of the clean run:", control.accuracy == clean.accuracy)


# %%
def label_flip(x, y, classes, *, generator):
    return x, flipped(y, classes)


six = {"malicious": 0.2, "data_attack": label_flip}
labels = run(replace(base, **six))
louder = run(replace(base, **six, attack=bind(poison.scaled, scale=10)))
print(f"Flipped labels at 6 of 30: {labels.final_accuracy:.3f}")
print(f"The same at boost 10:      {louder.final_accuracy:.3f}")

# %% [markdown]
# Wrong labels alone cost little here, because twenty-four clients pull the other way. Boosted, the same poison decides.
#
# ## Part two: three rules that do not believe everyone
#
# ### Exercise 2.3 · The median ●● (5 minutes)
# Each coordinate on its own: put the clients' values in order and take the one in the middle; of an even number, the mean
# of the two in the middle.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | returns | `[dim]` | the median of every column |


# %% tags=["exercise"]
@exercise("02.3")
def median(updates):
    ### BEGIN SOLUTION
    ordered = updates.sort(dim=0).values
    n = len(updates)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    ### END SOLUTION


# %% tags=["check"]
check("02.3", median)

# %% [markdown]
# ### Exercise 2.4 · The trimmed mean ● (4 minutes)
# Between the mean, which believes all, and the median, which believes one: drop the $f$ largest and the $f$ smallest values
# of every coordinate, and average the rest. $f$ is how many bad clients *the defender believes in*. Nobody tells them the true number.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `f` | number | bad clients to withstand; 0 makes it the mean |
# | returns | `[dim]` | the trimmed mean of every column |


# %% tags=["exercise"]
@exercise("02.4")
def trimmed_mean(updates, *, f):
    ### BEGIN SOLUTION
    return updates.sort(dim=0).values[f : len(updates) - f].mean(dim=0)
    ### END SOLUTION


# %% tags=["check"]
check("02.4", trimmed_mean)

# %% [markdown]
# ### Exercise 2.5 · Krum ●●● (10 minutes)
# Krum looks at whole clients. Each one's score is the sum of the *squared* distances to its $n - f - 2$ nearest other
# clients, and the client with the smallest score is believed, alone. Bad clients far from the crowd have no close
# neighbours; bad clients in the crowd can do little. That is the argument (Blanchard et al. 2017).
#
# `torch.cdist(a, b)` gives distances between the rows of two matrices.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `f` | number | bad clients to withstand |
# | returns | `[dim]` | a copy of the believed client's row |


# %% tags=["exercise"]
@exercise("02.5")
def krum(updates, *, f):
    ### BEGIN SOLUTION
    distances = torch.cdist(updates, updates).square()
    scores = distances.sort(dim=1).values[:, 1 : len(updates) - f - 1].sum(dim=1)
    return updates[scores.argmin()].clone()
    ### END SOLUTION


# %% tags=["check"]
check("02.5", krum)

# %%
shouting = {"malicious": 0.2, "attack": bind(sign_flip, scale=30)}
mine = {
    "median": median,
    "trimmed_mean": bind(trimmed_mean, f=6),
    "krum": bind(krum, f=6),
}
for name, rule in {"mean": robust.mean, **mine}.items():
    result = run(replace(base, **shouting, aggregate=rule))
    print(f"{name:12} {result.final_accuracy:.2f}")

# %% [markdown]
# Six of thirty shout, and your three rules hold; Krum, which believes a single client in every round, a little less well.
#
# What does such a rule cost when nobody attacks? Let the clients' labels be very unlike (Dirichlet 0.1). The training
# stays the same.

# %%
prices = {**points, "about": "prices"}
predict("02.b", "Nobody attacks. How many points does Krum lose to the mean?", **prices)

# %%
unlike = Scenario.fedavg(alpha=0.1)
fair = run(unlike)
alone = run(replace(unlike, aggregate=mine["krum"]))
reveal("02.b", 100 * (fair.final_accuracy - alone.final_accuracy))

# %% [markdown]
# A client whose data are unusual sends an unusual message, and these rules leave unusual messages out. Nobody told them
# that the client is honest.
#
# ## Part three: attacks that hide
#
# ### Exercise 2.6 · A little is enough ●● (6 minutes)
# ALIE (Baruch et al. 2019) shifts *every* coordinate by $z$ standard deviations, one or two at most: so little that
# some honest clients lie further out, but in *all* coordinates at once. All attackers send the same row,
# $u' = \mu - z\,\sigma$, with the mean and the standard deviation (`std`, divided by $m-1$ for $m$ attackers) over the
# attackers' own honest updates. It takes at least two attackers: one alone has no spread.
#
# | name | shape | meaning |
# |---|---|---|
# | `view.own` | `[malicious, dim]` | what your clients would send if they were honest |
# | `z` | number | how many standard deviations |
# | returns | `[malicious, dim]` | what they send: the same row, once for each |


# %% tags=["exercise"]
@exercise("02.6")
def alie(view, *, z):
    ### BEGIN SOLUTION
    row = view.own.mean(dim=0) - z * view.own.std(dim=0)
    return row.expand_as(view.own).clone()
    ### END SOLUTION


# %% tags=["check"]
check("02.6", alie)

# %% [markdown]
# ### Exercise 2.7 · Inner product manipulation ● (4 minutes)
# IPM (Xie et al. 2019) sends the negated mean of honest updates, $u' = -s\,\mu$; here $\mu$ is the mean over the
# attackers' own. With a small $s$ it lies so close to
# the crowd that a rule which picks *points near others* may pick it.
#
# | name | shape | meaning |
# |---|---|---|
# | `view.own` | `[malicious, dim]` | what your clients would send if they were honest |
# | `scale` | number | the factor $s$ |
# | returns | `[malicious, dim]` | what they send: the same row, once for each |


# %% tags=["exercise"]
@exercise("02.7")
def ipm(view, *, scale):
    ### BEGIN SOLUTION
    row = -scale * view.own.mean(dim=0)
    return row.expand_as(view.own).clone()
    ### END SOLUTION


# %% tags=["check"]
check("02.7", ipm)

# %%
# Nine of thirty hide. The defender believes in six, and trims.
hiding = {"malicious": 0.3, "attack": bind(alie, z=1.5)}
trim = {"aggregate": mine["trimmed_mean"]}
easy = run(replace(base, **hiding, **trim))
print(f"Alike clients: {easy.final_accuracy:.2f}")
print(f"The clean mean: {clean.final_accuracy:.2f}")
predict("02.c", "How many points does it cost among very unlike clients?", **points)

# %%
hard = run(replace(unlike, **hiding, **trim))
hidden = 100 * (fair.final_accuracy - hard.final_accuracy)
title = "One attack, one rule, two kinds of clients"
lines = {"clean": fair, "alike": easy, "attacked": hard}
after("02.c", plots.accuracy(**lines, title=title, height=1.9))
reveal("02.c", hidden)

# %% [markdown]
# Where honest clients differ, the standard deviation is large, and so is the room to hide in. Nine are also more than
# the six that the rule was told: six alone cost it little more than its own price. Whoever shows you a robust rule on
# alike clients has shown you half of it. *Min-max* and *min-sum* (Shejwalkar and Houmansadr 2021), in the panel below, use
# this room as well. Min-max goes as far from the honest mean as it can while no honest message is farther from it than
# the two most distant honest messages are from each other. Min-sum bounds the sum of the squared distances in the same way.
#
# ### Damage or delay?
# Training that is cut short looks like training that was harmed. Here is FedSGD, one step in each round, on Dirichlet
# 0.3 shards, with your median.

# %%
slow = Scenario.fedsgd(rounds=300, aggregate=median)
attacked = {
    "ALIE": run(replace(slow, **hiding)),
    "IPM": run(replace(slow, malicious=0.2, attack=bind(ipm, scale=2))),
}
for name, history in attacked.items():
    print(f"{name}: accuracy {history.accuracy[49]:.2f} after 50 rounds")

# %%
question = "Which of the two has done damage that 300 rounds do not undo?"
predict("02.d", question, choices=("ALIE", "IPM", "both", "neither"))


# %%
def late(history):
    return sum(history.accuracy[-50:]) / 50


# Without an attack the median has a price of its own, which is not the attackers'.
calm = run(slow)
harmed = [name for name, h in attacked.items() if late(h) < late(calm) - 0.05]
outcome = {0: "neither", 1: "".join(harmed), 2: "both"}[len(harmed)]
title = "The same runs, six times as long; “clean” is the median alone"
after("02.d", plots.accuracy(clean=calm, **attacked, title=title, height=1.9))
reveal("02.d", outcome)

# %% [markdown]
# So the map below is measured at a plateau, and docs/matrix.md says from which round on each run stays close to the
# clean one. The panel stops after 50 rounds: what it shows may be delay.
#
# ### The panel
# Attackers that need the honest messages of the round see them here. Below the curve stands every message of the last
# round, by its direction and its length. The server sees the messages too, but neither the colours nor the honest mean.
# Find an attack that stands out and fails, and one that is no longer than the honest messages and wins.

# %%
panel = lab02.panel()
panel

# %% [markdown]
# ### Exercise 2.8 · An alarm on norms ● (optional, 4 minutes)
# Why not simply throw out whoever is too long? Raise the alarm when an update's norm exceeds `factor` times the median norm.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `factor` | number | how long is too long, against the median norm (with an even number of clients, the mean of the two in the middle) |
# | returns | `[clients]` of `bool` | True for a suspicious client |


# %% tags=["exercise"]
@exercise("02.8")
def norm_alarm(updates, *, factor):
    ### BEGIN SOLUTION
    norms = updates.norm(dim=1)
    return norms > factor * norms.quantile(0.5)
    ### END SOLUTION


# %% tags=["check"]
check("02.8", norm_alarm)

# %% [markdown]
# A detector needs two numbers: how many bad clients it catches, and **how many honest ones it accuses**.

# %%
from labsec.course.panels import lab02_alarm

alarm = bind(norm_alarm, factor=1.5)
loud = {"malicious": 0.2, "attack": bind(sign_flip, scale=10)}
sly = {"malicious": 0.2, "attack": bind(alie, z=1.5)}
for clients, scenario in {"alike": base, "very unlike": unlike}.items():
    for what, attack in {"nobody": {}, "sign flip x 10": loud, "ALIE": sly}.items():
        accused, caught = lab02_alarm.shares(alarm, replace(scenario, **attack))
        print(f"{clients:12} {what:15} accused {accused:4.0%}   caught {caught:4.0%}")

# %% [markdown]
# The alarm hears everyone who shouts, and misses most of those who hide. With nobody bad at all it still accuses honest clients.
# Lab 06 builds detectors that look at more than the length, and measures them the same way.
#
# ## Part four: every attack against every rule
# `labsec matrix` made the tables: thirty clients, six of them malicious, five seeds, trained to a plateau. They are
# committed so that you need not wait. So that you need not trust them either, this cell runs some rows again.

# %%
table = matrix.load()
for number in (180, 1810, 1840):
    row = table.iloc[number]
    print(row.attack, "against", row.rule, "comes back:", matrix.check_cell(row))

# %% [markdown]
# A row is an attack, a column a rule, and a frame marks the worst row of each rule. Label flip, sign flip and noise know
# nothing but their own updates. The others read the honest updates of the round as well: mimic repeats one honest client,
# and drift pushes against the way the honest clients have gone. Where ALIE has no $z$, it is the paper's: with six of
# thirty so small that it helps Krum. Multi-Krum averages the clients with the best scores, the geometric median has the
# smallest sum of distances, the clips shorten long messages, and mixing averages each message with its neighbours first.
#
# The attacker of the **last row** knows the rule. On federations with other seeds it tried these attacks, on digits at more
# strengths too, and against each rule it plays the one that harmed most there, or, in hindsight, a row of the map that
# harms even more. So judge a rule by its last row, and do not take that for the end of it: better attackers may exist.
#
# Which rule would you deploy? It depends on what you grant the attackers, and on the clients' data. Begin with what you
# see, very unlike clients; then choose alike ones.

# %%
chooser = lab02_matrix.panel(table)
chooser

# %% [markdown]
# Insurance is judged by its premium, too. This is what each rule costs when nobody attacks:

# %%
lab02_maps.prices(table)

# %% [markdown]
# ### How many are too many?
# More and more attackers, against a defender who is even told their number. Each point is the worst of four attacks. At
# one half, which is not drawn, every rule is down to guessing, or to less.

# %%
sweep = matrix.load("breakdown")
worst_of = ("sign_flip_x10", "ipm_2", "min_sum", "drift")
lab02_maps.breakdown(sweep, *worst_of)

# %% [markdown]
# And a few who are loud: three of a hundred flip the sign of what they send, at ever larger boosts. `notes` is a little
# corpus of hospital notes.

# %%
few = matrix.load("three_percent")
lab02_maps.dial(few[few.attack == "sign_flip"])

# %% [markdown]
# ## Part five: attack your defence
# Choose the rule that you would deploy. Then become the attacker who read your documentation. `matrix.rehearse` tries
# the strategies of the last row against it, all but the slow one-round search, in whole runs on very unlike clients.
# Those that harm most come last.

# %%
my_rule = {"aggregate": bind(krum, f=6)}
matrix.rehearse(my_rule, skew="dirichlet_0.1", seed=104).tail(2)

# %% [markdown]
# **The rule answers.** Replace every update by the mean of its nearest neighbours first, so that honest clients become
# more alike, and then trim. And the attacker rehearses again, because each new rule is public as well.

# %%
trimmed = mine["trimmed_mean"]
answer = {"server_stages": [bind(robust.nnm, f=6)], "aggregate": trimmed}
matrix.rehearse(answer, skew="dirichlet_0.1", seed=104).tail(2)

# %% [markdown]
# One seed is an anecdote; the last row of the maps has five. **Try it:** put another rule into `my_rule`. Or write an
# attack of your own, and see whether it beats the last line:


# %%
def my_attack(view):
    return -2 * view.own


mine_too = replace(unlike, seed=104, malicious=0.2, attack=my_attack, **my_rule)
print(f"My own attack leaves {run(mine_too).final_accuracy:.2f}.")

# %% [markdown]
# ## Part six: five claims
# First say what you think: held, did not hold, or depends? Then the card shows what was measured.

# %%
cards.claims("02")

# %%
from labsec.course import progress, quiz

quiz("02")

# %%
progress("02")

# %% [markdown]
# ### What it means at work
# - **"Robust aggregation" is not a property.** Name the rule, its $f$, how different the clients are, and the price without an attack.
# - **Clip first.** A bound on each client's norm costs almost nothing and removes the volume knob. It does not stop an attacker who hides.
# - **Ask for the worst row, and for an adaptive one**, of any vendor's table. Without them it may show only attacks that fail.
# - **A median of honest people with different data is not their mean.** Skewed clients may lose their say first.
# - **Few clients, few votes:** in a consortium of ten hospitals, one compromised site is 10 %.
#
# <details><summary>Standards, and further reading</summary>
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | untargeted model poisoning | AML.T0018.000, AML.T0031 | NISTAML.011 | ML10 |
# | data poisoning | AML.T0020, AML.T0059 | NISTAML.013 | ML02, ML08 |
#
# The mapping is this course's own judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# - Blanchard et al. 2017, *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*, NeurIPS: Krum.
# - Yin et al. 2018, *Byzantine-Robust Distributed Learning*, arXiv:1803.01498: median and trimmed mean.
# - Baruch et al. 2019, *A Little Is Enough*, arXiv:1902.06156. Xie et al. 2019, *Fall of Empires*, arXiv:1903.03936.
# - Fang et al. 2020, *Local Model Poisoning Attacks*, arXiv:1911.11815: attacks that know the rule.
# - Shejwalkar and Houmansadr 2021, *Manipulating the Byzantine*, NDSS: min-max and min-sum.
# - Karimireddy et al. 2021, *Learning from History for Byzantine Robust Optimization*, arXiv:2012.10333: centred clipping.
# - Pillutla et al. 2019, *Robust Aggregation for Federated Learning*, arXiv:1912.13445: the geometric median.
# - Karimireddy et al. 2022, *Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing*, arXiv:2006.09365.
# - Allouah et al. 2023, *Fixing by Mixing*, arXiv:2302.01772: mixing with the nearest neighbours.
#
# </details>
#
# Next: lab 03, where the model keeps its accuracy and hides a door.
