# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · How much is ε?
# **A product promises “differential privacy, ε ≤ 4”. What can somebody who reads the messages still find out?**
#
# You will be able to
# 1. bound what one client can change, and add noise that hides it,
# 2. put the noise at the client or at the server, and name the price of each,
# 3. account for a whole run, and refuse a round before it runs,
# 4. audit a mechanism, and catch one that is broken,
# 5. say what is missing in “ε ≤ 4”, what is read at which ε (pictures, labels, members), and who pays for the noise.
#
# Before: labs 01 and 04. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought, ●●● take your
# time) take about {{minutes}} minutes, reading and playing about as long again.

# %% tags=["setup"]
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from labsec import bind, infer, metrics, privacy, rounds, run, train
from labsec.course import after, cards, check, exercise, hint, predict, progress, quiz, reveal
from labsec.course.claims.lab07 import share_named
from labsec.course.exercises.lab07 import CLIP, SCENARIO
from labsec.course.panels import lab04_pictures, lab07
from labsec.course.panels import lab07_pictures as pictures
from labsec.infer import broken, rate
from labsec.types import generator

torch.set_num_threads(1)

# %% [markdown]
# ## Who attacks
# Nobody breaks a rule. The server reads messages, everybody else reads the models that come out. **They know all about
# the protection except which random numbers were drawn.**

# %%
cards.threat_model("07")

# %%
cards.safety()

# %% [markdown]
# ## Part one: a bound, and noise
#
# ### Exercise 7.1 · A bound on every client ● (3 minutes)
# Noise can hide what one client changes only if that has a limit. Shorten every update that is longer than the bound
# to the bound; leave the others as they are.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `bound` | number | the greatest length (L2) of a row: the *clip* |
# | returns | `[clients, dim]` | rows that are no longer than that |


# %% tags=["exercise"]
@exercise("07.1")
def shortened(updates, *, bound):
    ### BEGIN SOLUTION
    lengths = updates.norm(dim=1, keepdim=True)
    return updates * (bound / lengths).clamp(max=1)
    ### END SOLUTION


# %% tags=["check"]
check("07.1", shortened)

# %%
hint("07.1", 1)  # whenever you are stuck: 1 nudges, 2 names the approach, 3 is nearly the code

# %% [markdown]
# ### Exercise 7.2 · The noise ●● (6 minutes)
# A server that is trusted adds up the shortened rows, adds normal noise to the **sum**, and divides by the number of
# clients. `noise` is a *multiplier*: the standard deviation on the sum is `noise` times the clip.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client, as long as they like |
# | `clip`, `noise` | numbers | the bound on a row; the multiplier |
# | `generator` | | where the noise is drawn from: `torch.randn(…, generator=generator)` |
# | returns | `[dim]` | the noisy mean |


# %% tags=["exercise"]
@exercise("07.2")
def noisy_mean(updates, *, clip, noise, generator):
    ### BEGIN SOLUTION
    total = shortened(updates, bound=clip).sum(dim=0)
    drawn = torch.randn(total.shape, generator=generator)
    return (total + noise * clip * drawn) / len(updates)
    ### END SOLUTION


# %% tags=["check"]
check("07.2", noisy_mean)

# %% [markdown]
# How much noise? **ε** bounds how surely anybody can tell two cases apart: whatever they look for, its chance in one
# case is at most $e^ε$ times that in the other, plus **δ**. Which two cases? Here: a client sends *one row or another*
# (*replace-one*). An *accountant* (`terms`) turns ε, δ and the other terms into a multiplier, and asks for all of them.


# %%
def terms(**changes):
    usual = {"unit": "client", "delta": 1e-5, "relation": "replace-one", "rate": 1.0}
    return privacy.Accountant(**{**usual, "rounds": 50, **changes})


noise = terms().noise_for(4.0)
print(f"multiplier {noise:.2f}:", terms().in_words(4.0))

# %% [markdown]
# A hundred clients, fifty rounds. If the server adds the noise, one client hides in the noise of the sum. A client
# that does not trust the server adds noise *before* sending, and then every message by itself has to be noisy enough
# (`privacy.local_noise`). Same ε, same δ, same relation, same multiplier.

# %%
plain = run(SCENARIO).final_accuracy
server = bind(noisy_mean, clip=CLIP, noise=noise)
central = run(replace(SCENARIO, aggregate=server)).final_accuracy
print(f"no noise {plain:.2f}, noise at the server {central:.2f}")
percent = {"low": 0, "high": 100, "unit": "%"}
question = "Which accuracy is left when every client adds the noise itself?"
predict("07.a", question, **percent, about="accuracy")

# %%
client = bind(privacy.local_noise, clip=CLIP, noise=noise)
local = run(replace(SCENARIO, client_stages=[client])).final_accuracy
reveal("07.a", 100 * local)

# %% [markdown]
# A hundred messages bring a hundred noises, and their sum holds ten times as much noise ($\sqrt{100}$) as one. That is
# the price of trusting nobody (five seeds: 0.75 to 0.81 at the server, guessing is 0.10). Secure sums (lab 09) lie in
# between: every client adds a tenth of the noise, and nobody sees anything but the sum.
#
# ## Part two: a whole run
#
# ### Exercise 7.3 · One number for a run ●● (6 minutes)
# Everybody is in every round, and round $t$ has the multiplier $z_t$. Then all rounds together give away as much as a
# *single* round. Think of measurements: whoever averages several, each weighted by its precision $1/z_t^2$, gets one
# whose precision is the sum. Its multiplier is $1/\sqrt{\sum_t 1/z_t^2}$ (Dong et al. 2019).
#
# And what is hidden? *Zero-out*: a client took part, or its row is zero. The sum moves by **one** clip at most.
# *Replace-one*: it sent one row or another. The sum moves by **two** clips at most, and the noise is half as much in
# units of that move. The single round that is asked for is stated by zero-out.
#
# | name | shape | meaning |
# |---|---|---|
# | `noises` | `[rounds]` | the multiplier of every round |
# | `relation` | text | `"zero-out"` or `"replace-one"` |
# | returns | number | the multiplier of one zero-out round that gives away as much |


# %% tags=["exercise"]
@exercise("07.3")
def together(noises, *, relation):
    ### BEGIN SOLUTION
    whole = float((1 / noises**2).sum() ** -0.5)
    return whole / 2 if relation == "replace-one" else whole
    ### END SOLUTION


# %% tags=["check"]
check("07.3", together)

# %%
question = "A vendor means ε = 4 in each of fifty rounds. What is the ε of the run?"
predict("07.b", question, 0, 200, about="budgets")

# %%
one = terms(rounds=1, relation="zero-out")  # what "together" speaks of
each = terms(rounds=1).noise_for(4.0)
fifty = together(torch.full((50,), each), relation="replace-one")
reveal("07.b", one.epsilon(fifty))

# %% [markdown]
# So “ε ≤ 4” says little by itself. Here are four products that all say it, and what each of them means on *one* set of
# terms: per client, whole run of fifty rounds, δ = 1e-5, replace-one.

# %%
said = {
    "all terms as above": {},
    "zero-out": {"relation": "zero-out"},
    "each round": {"rounds": 1},
    "each round, zero-out, δ = 0.01": {"rounds": 1, "relation": "zero-out", "delta": 0.01},
}
for name, own in said.items():
    used = terms(**own).noise_for(4.0)
    rule = bind(noisy_mean, clip=CLIP, noise=used)
    left = run(replace(SCENARIO, aggregate=rule)).final_accuracy
    print(f"{name:30} noise {used:5.2f}, ε = {terms().epsilon(used):5.1f}, accuracy {left:.2f}")

# %% [markdown]
# ε, δ, the relation, the rounds: the fifth term is the **unit**. All this hides a *client*, with everything that it
# holds. DP-SGD (part six) mostly hides one *example*, and a client here holds fourteen or fifteen.
#
# ### Exercise 7.4 · A budget that refuses ●● (5 minutes)
# What has been sent cannot be called back. So a budget must say no **before** a round runs. All rounds together may
# give away at most as much as one round with the multiplier `least`. How many of the planned rounds run? The first
# that does not fit ends the run.
#
# | name | shape | meaning |
# |---|---|---|
# | `noises` | `[rounds]` | the multipliers that are planned, in order |
# | `least` | number | the multiplier of the whole budget |
# | returns | whole number | how many rounds run |


# %% tags=["exercise"]
@exercise("07.4")
def rounds_that_fit(noises, *, least):
    ### BEGIN SOLUTION
    spent = (1 / noises**2).cumsum(dim=0)
    return int((spent <= 1 / least**2).sum())
    ### END SOLUTION


# %% tags=["check"]
check("07.4", rounds_that_fit)

# %% [markdown]
# `privacy.Budget` keeps its books in a file that survives a crash, and `privacy.charge_round` asks it before the server
# sends anything. Here is noise that makes ε = 4 in 50 rounds, and a budget of ε = 2.

# %%
whole = terms(rounds=1, relation="zero-out").noise_for(2.0)
planned = torch.full((50,), noise / 2)  # replace-one: half, in units of the move
print("by your count:", rounds_that_fit(planned, least=whole))
with TemporaryDirectory() as folder:
    fixed = {"unit": "client", "delta": 1e-5, "relation": "replace-one", "people": 100}
    budget = privacy.Budget(Path(folder, "books.sqlite"), **fixed, epsilon=2.0)
    charged = bind(privacy.charge_round, budget=budget, noise=noise)
    try:
        run(replace(SCENARIO, aggregate=server, broadcast=charged))
    except privacy.BudgetExceeded as error:
        print(f"after {len(budget.rows())} rounds: {error}")

# %% [markdown]
# ## Part three: the audit
# Everything so far is arithmetic about code that *should* have been written. An audit asks the code. It plants a
# **canary**, an update made to be found, runs the mechanism many times with it and without it, and tries to tell which
# was which. Whoever guesses better than ε allows has **shown** that ε is larger.
#
# ### Exercise 7.5 · The audit ●●● (8 minutes)
# A run whose score lies above the threshold is an alarm. With the canary it is *found*, without it the alarm is
# *false*. *(ε, δ)* promises of these two shares: found ≤ $e^ε$ · false alarms + δ. Solve for ε. But you have seen only
# some runs, and luck is no proof: `rate(hits, trials)` gives `low` and `high`, between which the true share lies with
# 95 % confidence. Use the ends that make ε *small*; below zero nothing is shown: 0.
#
# | name | shape | meaning |
# |---|---|---|
# | `with_canary`, `without` | `[trials]` each | scores of the runs |
# | `threshold`, `delta` | numbers | an alarm is a score above it; δ |
# | returns | number | ε is at least this |


# %% tags=["exercise"]
@exercise("07.5")
def lower_bound(with_canary, without, *, threshold, delta):
    ### BEGIN SOLUTION
    found = rate(int((with_canary > threshold).sum()), len(with_canary))
    alarms = rate(int((without > threshold).sum()), len(without))
    if found.low <= delta:
        return 0.0
    return max(0.0, math.log((found.low - delta) / alarms.high))
    ### END SOLUTION


# %% tags=["check"]
check("07.5", lower_bound)

# %% [markdown]
# The mechanism is your `noisy_mean`, one round, ε = 4 by zero-out. The canary is a hundred clips long; nine other
# clients send nothing. The score is how far the result points along the canary. The threshold must not be chosen on
# the runs that are counted, or luck chooses it: the first half of the runs chooses, the second half counts.

# %%
canary = torch.zeros(50).index_fill(0, torch.tensor(0), 100.0)
others = torch.zeros(9, 50)
mine = bind(noisy_mean, clip=1.0, noise=one.noise_for(4.0))


def scores(first, *, seed):
    rows = torch.cat([first[None], others])
    draw = generator(seed, "trials")
    return torch.stack([mine(rows, generator=draw) @ canary for _ in range(4000)])


present = scores(canary, seed=0)
absent = scores(0 * canary, seed=1)
question = "4,000 runs each, stated ε = 4. ε is at least …?"
predict("07.c", question, 0, 8, about="bounds")

# %%
tried = absent[:2000].quantile(torch.linspace(0.5, 0.999, 200))
first = [lower_bound(present[:2000], absent[:2000], threshold=t, delta=1e-5) for t in tried]
best = tried[first.index(max(first))]
reveal("07.c", lower_bound(present[2000:], absent[2000:], threshold=best, delta=1e-5))

# %% [markdown]
# The true ε *is* 4, by the formula. So a low bound clears nobody: it says that *these* trials with *this* canary showed
# no more. Whoever also takes it for granted that the noise is Gaussian gets more out of the same trials: `infer.audit`
# computes both bounds, and takes the larger one. Now five broken mechanisms. All of them state ε = 4.


# %%
def audited(made, *, relation="zero-out", rounds=1, planted=canary):
    case = {"rows": others, "stated": 4.0, "delta": 1e-5, "trials": 2000, "rounds": rounds}
    case |= {"relation": relation, "generator": generator(0, "audit")}
    return infer.audit(made, canary=planted, **case)


def fair(relation="zero-out", rounds=1):
    return {"clip": 1.0, "noise": terms(relation=relation, rounds=rounds).noise_for(4.0)}


twice = bind(noisy_mean, **fair("replace-one"))
shown = {
    "yours": audited(mine),
    "yours, for replace-one": audited(twice, relation="replace-one"),
    "noise divided twice": audited(bind(broken.divided_twice, **fair())),
    "rows not shortened": audited(bind(broken.unclipped, **fair())),
    "numbers shortened": audited(bind(broken.clipped_by_coordinate, **fair())),
    "the same noise, two rounds": audited(broken.SameNoise(**fair(rounds=2)), rounds=2),
    "replace-one, zero-out's noise": audited(mine, relation="replace-one"),
}
lows = {name: found.low for name, found in shown.items()}
pictures.bounds(lows, 4.0, title="Seven mechanisms that state ε = 4, audited")

# %% [markdown]
# The two at the top are as they should be, and stay below the blue line. Four of the five broken ones are caught, and
# no test of accuracy would have caught them: with less noise models are better. One escapes: where every *number* is
# clipped at 1, a row may be $\sqrt{50}$ clips long, but this canary puts all its length into one number. Here is another
# canary, which is spread over all numbers:

# %%
spread = torch.full((50,), 100 / math.sqrt(50))
numbers = bind(broken.clipped_by_coordinate, **fair())
for name, made in {"yours": mine, "numbers shortened": numbers}.items():
    print(f"{name:18} ε is at least {audited(made, planted=spread).low:.1f}")

# %% [markdown]
# An audit is as good as its canary, and the auditor should not be the author. (That yours shows less here is luck.) The
# course audits its own mechanisms, DP-SGD among them, in docs/audit.md.
#
# ## Part four: what is read at which ε
# Back to the messages. Every digit is a client of its own, and takes one step on itself. It shortens its update and
# adds noise for ε = … in this *one* message. First the attack of lab 04: the neuron that moved most holds the picture.

# %%
digits = SCENARIO.data
model = SCENARIO.network()
start = model.init(generator(0, "start"))
alone = torch.arange(len(digits.x))[:, None, None]
sent = train.local_updates(model, start, digits.x, digits.y, alone, lr=SCENARIO.lr)
expected = shortened(sent, bound=CLIP)  # what each would send without noise
who = torch.arange(0, len(digits.x), 5)  # those whose messages are attacked


def noisy(epsilon, *, seed=0):
    std = CLIP * terms(rounds=1).noise_for(epsilon)
    return privacy.gaussian_noise(expected[who], std=std, generator=generator(seed, "sent"))


def divided(messages):
    weight, bias = model.layers(messages)[:2]
    k = bias.abs().argmax(dim=1)[:, None]
    rows = weight.take_along_dim(k[:, :, None], dim=1)[:, 0] / bias.gather(1, k)
    return rows.clamp(0, 1).view(-1, *digits.shape)


# %%
read = {}
for epsilon in (10**7, 10**6, 10**5, 10**4, 1000):
    read[f"ε = {epsilon:,}"] = divided(noisy(epsilon))[3]
lab04_pictures.strip(digits.x[who[3]], read, title="One message, by one division")

# %% [markdown]
# ### Exercise 7.6 · An attacker who knows about the noise ●● (4 minutes)
# At ε = 1,000 a division shows noise. Another attacker has a list of suspects, and computes what each of them would have
# sent: `expected`. Which one is behind a noisy message? Normal noise is less likely the longer it is.
#
# | name | shape | meaning |
# |---|---|---|
# | `messages` | `[k, dim]` | what was received, noise and all |
# | `expected` | `[candidates, dim]` | what each candidate sends without noise |
# | returns | `[k]`, whole | the number of the most likely candidate |


# %% tags=["exercise"]
@exercise("07.6")
def suspects(messages, expected):
    ### BEGIN SOLUTION
    return torch.cdist(messages, expected).argmin(dim=1)
    ### END SOLUTION


# %% tags=["check"]
check("07.6", suspects)

# %%
question = "ε = 1,000, 1,438 suspects. What share of the messages do you name right?"
predict("07.d", question, **percent, about="leaks")

# %%
named = suspects(noisy(1000.0), expected)
reveal("07.d", 100 * float((named == who).double().mean()))

# %%
question = "ε = 4. You say the nearest suspect's label. What share is right? Guessing: 10 %."
predict("07.e", question, **percent, about="leaks")

# %%
found = {"pictures (division)": {}, "suspects": {}, "labels": {}}
for epsilon in (1.0, 4.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e5, 1e6):
    messages = noisy(epsilon)
    named = suspects(messages, expected)
    clear = metrics.psnr(divided(messages), digits.x[who]) >= 25
    hits = (clear, named == who, digits.y[named] == digits.y[who])
    for line, hit in zip(found.values(), hits, strict=True):
        line[epsilon] = float(hit.double().mean())
after("07.e", pictures.cliffs(found, title="Three cliffs, far apart"))
reveal("07.e", 100 * found["labels"][4.0])

# %% [markdown]
# The nearest suspect comes from all 4,810 numbers of a message at once: “the picture cannot be recognised” speaks of
# *one* attack. Each question has a cliff of its own: pictures by division (25 dB or more) between ε = $10^5$ and $10^6$, the right
# suspect between 30 and 1,000, labels between 4 and 100. What does ε = 4 *promise*? But for δ, the odds of one case
# against another grow at most $e^4 = 55$ times. Where all are equally likely beforehand, one of ten labels is then right
# in at most 86 % of the messages, one of 1,438 suspects in at most 4 %. So ε = 4 is a promise about suspects, and hardly
# one about labels: a *small* secret needs a small ε. This attack stays far below what is allowed; the best one may not.
# And one message is not a run. If the client sends its digit again and again, with ε = 4 **each** time:

# %%
for count in (1, 10, 50):
    mean = torch.stack([noisy(4.0, seed=seed) for seed in range(count)]).mean(dim=0)
    named = suspects(mean, expected)
    right = float((digits.y[named] == digits.y[who]).double().mean())
    total = terms(rounds=count).epsilon(terms(rounds=1).noise_for(4.0))
    print(f"{count:3} messages, ε = {total:4.1f} in all: {right:.0%} of the labels")

# %% [markdown]
# ### The panel
# The same questions with the ε of a **whole run** of fifty rounds, the accuracy beside them, and one question more:
# *membership*. Was this sample in the training at all? Its score (AUC) is the chance that a member looks more like one
# than a stranger does; 0.50 is guessing. “All 50” is the worst case: one digit, sent fifty times with the same model.
# The curves are of five seeds. Look for an ε at which the model is good and little is read, for what changes when the
# noise moves to the server, and **who** may look then, and for the attack that is the last to give up.

# %%
panel = lab07.panel()
panel

# %% [markdown]
# ## Part five: same ε, different risk
# Under two mechanisms with the same ε and δ an attacker may do unequally well (Hayes et al. 2023). Again somebody has a
# list of suspects, a hundred digits, knows all else that is in the noisy sums, and sees every step. The one digit is in
# each step, or it is drawn into a step with some chance. The noise is always made for ε = 20 per example, zero-out.
# `share_named` adds up over the steps what speaks for each suspect.

# %%
for steps, chance in ((1, 1.0), (100, 1.0), (100, 0.1), (100, 0.01)):
    share = share_named(0, epsilon=20.0, rounds=steps, rate=chance)
    print(f"{steps:3} steps, drawn with chance {chance:4}: {share:.0f} % are named")

# %% [markdown]
# Guessing names 1 %. Over five seeds it was 40 to 49 % in the first two lines, which differ by luck alone, and 14 to
# 20 % in the last. (ε, δ) is *one* point of a curve: how much is found, for each share of false alarms. Mechanisms may
# share the point and differ elsewhere. So products sorted by ε are not sorted by risk: measure *this* mechanism.
#
# ## Part six: your own model, and who pays
# DP-SGD (Abadi et al. 2016) shortens the gradient of every *example* and adds noise in every step. `privacy.train_own`
# does it with any `torch.nn.Module`, by the library opacus, and states what it guarantees. **Put in a network of your
# own.**

# %%
torch.manual_seed(0)
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
steps = {"rate": 0.1, "steps": 200, "lr": 1.0, "clip": 1.0, "delta": 1e-5}
for epsilon in (math.inf, 4.0, 1.0):
    own = terms(unit="example", relation="zero-out", rate=0.1, rounds=200)
    how = {**steps, "noise": own.noise_for(epsilon), "generator": generator(0, "own")}
    trained = privacy.train_own(network, digits.x, digits.y, **how)
    said = trained.module(digits.x_test).argmax(dim=1)
    right = float((said == digits.y_test).double().mean())
    print(f"accuracy {right:.2f}, ε = {trained.epsilon:.3g}")
print(trained)

# %% [markdown]
# Per *example*, and with all data in one place, ε = 4 costs little here. It promises next to nothing to somebody who
# holds fifteen of them: for all of these together, ε is many times as large (claim 39).
#
# Back to clients, noise at the server, and a digit that is rare: four of five eights are taken out. In 150 rounds a
# federation without noise learns to tell most eights all the same.

# %%
order = torch.randperm(len(digits.y), generator=generator(0, "rare"))
eights = order[digits.y[order] == 8]
kept = order[~torch.isin(order, eights[len(eights) // 5 :])]


def by_digit(noise, samples=kept):
    shards = [samples[i::100] for i in range(100)]
    rule = bind(noisy_mean, clip=CLIP, noise=noise)
    *_, last = rounds(replace(SCENARIO, rounds=150, shards=shards, aggregate=rule))
    return metrics.accuracy_by_class(model, last.after, digits.x_test, digits.y_test)


quiet = by_digit(0.0)
much = terms(rounds=150).noise_for(8.0)
private = by_digit(much)
lost = 100 * (quiet - private)
others_lose = lost[torch.arange(10) != 8].mean()
print(f"At ε = 8 the nine other digits lose {others_lose:.0f} points on average.")
question = "And the eight?"
predict("07.f", question, 0, 100, unit="points", about="prices")

# %%
shares = {"without noise": quiet.tolist(), "ε = 8": private.tolist()}
after("07.f", pictures.by_class(shares, rare=8, title="Accuracy by digit"))
usual = 100 * (by_digit(0.0, order) - by_digit(much, order))
print(f"Control, no eight taken out: it loses {usual[8]:.0f} points.")
reveal("07.f", float(lost[8]))

# %% [markdown]
# Over five seeds the rare eight lost 33 to 76 points, the other digits 6 to 17 on average. Where no eight was taken out,
# it lost 15 to 41: it is a hard digit anyway, and being rare about doubled what it pays. Noise hides what few clients
# say; that is its purpose, and those who are few pay for it. Not only they: look at the 1.
#
# ## Five claims
# First say what you think: held, did not hold, or depends? The cards show unseen seeds of a hundred clients, each of
# which takes one longer step on all its data in each round.

# %%
cards.claim("38b")

# %%
cards.claim("39")

# %%
cards.claim("40")

# %%
cards.claim("41")

# %%
cards.claim("42")

# %% [markdown]
# ## Where you stand

# %%
quiz("07")

# %%
progress("07")

# %% [markdown]
# ### What it means at work
# - **Ask for all terms:** ε, δ, the unit, the relation, and for how many rounds. Put offers on *one* set of them before
#   you compare. Ask where the noise is added, and whom that makes you trust.
# - **Count before a round runs,** in a file that outlives the process.
# - **Audit the code, not the paper.** A canary and a few thousand runs catch what accuracy hides. What an audit does
#   not find is not proven absent.
# - **Ask what is to be hidden.** A label is a smaller secret than a picture, and needs a smaller ε. Test with an
#   attacker who knows about the noise. Look at the rare classes, and say who pays.
#
# <details><summary>Standards, and further reading</summary>
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | membership inference | AML.T0024.000 | membership inference | ML04 |
# | gradient inversion | AML.T0024.001 by analogy, AML.T0035 | data reconstruction | ML03 |
#
# NIST SP 800-226 (2025) explains how to evaluate a claim of differential privacy. The mapping is this course's own
# judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# - Abadi et al. 2016, *Deep Learning with Differential Privacy*, arXiv:1607.00133: DP-SGD.
# - McMahan et al. 2018, *Learning Differentially Private Recurrent Language Models*, arXiv:1710.06963: clients as unit.
# - Andrew et al. 2021, *Differentially Private Learning with Adaptive Clipping*, arXiv:1905.03871: a clip that is found
#   while the run goes on (`privacy.AdaptiveClip`).
# - Balle and Wang 2018, arXiv:1805.06530: how much a Gaussian gives away, exactly.
# - Dong, Roth and Su 2019, *Gaussian Differential Privacy*, arXiv:1905.02383: why precisions add up.
# - Jagielski et al. 2020, *Auditing Differentially Private Machine Learning*, arXiv:2006.07709.
# - Nasr et al. 2023, *Tight Auditing of Differentially Private Machine Learning*, arXiv:2302.07956.
# - Hayes et al. 2023, *Bounding Training Data Reconstruction in DP-SGD*, arXiv:2302.07225: same ε, different risk.
# - Carlini et al. 2022, *Membership Inference Attacks From First Principles*, arXiv:2112.03570: LiRA.
#
# </details>
