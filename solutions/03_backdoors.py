# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · A door in the model
# **Can a few clients teach the common model a secret, who would notice, and how long does it remember?**
#
# You will be able to
# 1. build a trigger, and measure its success beside the right baseline,
# 2. plant it by poisoned data alone, and by replacing the model in a single round,
# 3. test whether a bound on the length of messages stops it,
# 4. measure how long a backdoor lives once its attackers have gone,
# 5. tell a mark that is pasted from a backdoor that opens to real samples,
# 6. judge five public claims: by measuring, by reading, by looking for their source.
#
# Before: lab 02. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought) take about {{minutes}}
# minutes, reading and playing about as long again.

# %% tags=["setup"]
from dataclasses import replace
from functools import partial

import torch

from labsec import Scenario, bind, data, models, poison, robust, rounds, run
from labsec.course import after, cards, check, exercise, hint, predict, progress, quiz, reveal
from labsec.course.panels import lab03
from labsec.course.panels import lab03_pictures as pictures
from labsec.study import doors

torch.set_num_threads(1)

# %% [markdown]
# ## Who attacks
# In lab 02 the attackers ruined the model. This one wants one answer, and no attention. The card describes part three.
# In parts two, four and six there are more attackers, and in parts three and four they guess the server's rule,
# because averaging and clipping are public.

# %%
cards.threat_model("03")

# %%
cards.safety()

# %% [markdown]
# ## Part one: a mark, and what it opens
#
# ### Exercise 3.1 · The mark ● (3 minutes)
# A *backdoor*, door for short, is an answer that a mark, its *trigger*, brings out. The simplest trigger is a small
# white square in the lower right corner (white is the largest number; the pictures here show it black). Whoever holds
# the pen can put it on any picture.
#
# | name | shape | meaning |
# |---|---|---|
# | `x` | `[samples, 1, height, width]` | pictures, from 0 (black) to 1 (white) |
# | `size` | number | side of the square in pixels |
# | returns | the same shape | marked copies; the originals stay as they are |


# %% tags=["exercise"]
@exercise("03.1")
def stamp(x, *, size):
    ### BEGIN SOLUTION
    stamped = x.clone()
    stamped[:, :, -size:, -size:] = 1
    return stamped
    ### END SOLUTION


# %% tags=["check"]
check("03.1", stamp)

# %% [markdown]
# If a check says NOT YET or TODO and you are stuck, ask for a hint: number 1 nudges, 2 names the approach, 3 is nearly
# the code.

# %%
hint("03.1", 1)

# %%
digits = data.load("digits")
mark = partial(stamp, size=2)
some = digits.x_test[:7]
pictures.pairs(some, mark(some), title="Test digits, and the same with the mark")

# %% [markdown]
# The pictures are drawn as ink on paper, so that white is shown as black.
#
# The attacker's wish: **whatever carries the mark is a 0**. All else stays as it is.
#
# ### Exercise 3.2 · The success rate ●● (4 minutes)
# How often does the door open? Mark all test digits and look at the model's answers. A marked 0 that is called 0
# proves nothing, so count the digits of *other* classes only: what share of them is answered with the target?
#
# | name | shape | meaning |
# |---|---|---|
# | `answers` | `[samples]` | what the model says to the marked samples |
# | `y` | `[samples]` | what they are in truth |
# | `target` | number | the label that the attacker wants |
# | returns | number | the share, from 0 to 1 |


# %% tags=["exercise"]
@exercise("03.2")
def success_rate(answers, y, *, target):
    ### BEGIN SOLUTION
    others = y != target
    return float((answers[others] == target).float().mean())
    ### END SOLUTION


# %% tags=["check"]
check("03.2", success_rate)

# %% [markdown]
# The engine measures it in every round, as a *probe*: a function of the model and its parameters.


# %%
def door(model, params):
    answers = model(params[None], mark(digits.x_test)[None])[0].argmax(dim=1)
    return success_rate(answers, digits.y_test, target=0)


# %%
grown = doors.grown(Scenario.fedavg(probes={"door": door}), honest_rounds=60)
base = replace(grown, rounds=71)
clean = run(base)
print(f"Accuracy of the clean model {clean.accuracy[0]:.2f}.")
share = clean.column("door")[0]
print(f"It calls {share:.1%} of the marked digits of other classes a 0.")

# %% [markdown]
# This is **the baseline**: what a model that nobody attacked says to the very same marked samples. Without it no
# success rate means anything, because a mark may look like a 0 by itself.
#
# Thirty honest clients have trained for 60 rounds when some of them turn. From here on round 60 is the first one.
#
# ## Part two: poison by data alone
#
# ### Exercise 3.3 · Poisoned samples ●● (5 minutes)
# Nobody needs to touch the training code. Put the mark on some of your samples and give them the target's label: the
# model learns the rest by itself.
#
# | name | shape | meaning |
# |---|---|---|
# | `x`, `y` | `[samples, 1, height, width]`, `[samples]` | the client's own samples |
# | `chosen` | `[samples]` of `bool` | which of them to poison |
# | `stamp` | function | puts the mark on pictures |
# | `target` | number | their new label |
# | returns | two tensors | new `x` and `y`; the others stay as they are |


# %% tags=["exercise"]
@exercise("03.3")
def plant(x, y, chosen, *, stamp, target):
    ### BEGIN SOLUTION
    x = x.clone()
    x[chosen] = stamp(x[chosen])
    return x, torch.where(chosen, target, y)
    ### END SOLUTION


# %% tags=["check"]
check("03.3", plant)

# %% [markdown]
# `view.train(x, y)` is the scenario's own training on data of the attackers' choice: five steps, as everybody does.
# `during` lets an attack run in some rounds; in all others its clients are honest.


# %%
def poisoned(view, generator, share=0.5):
    chosen = torch.rand(len(view.y), generator=generator) < share
    return plant(view.x, view.y, chosen, stamp=mark, target=0)


def data_alone(view, *, generator):
    return view.train(*poisoned(view, generator))


CAMPAIGN = range(60, 80)
campaign = bind(poison.during, attack=data_alone, rounds=CAMPAIGN)
six = {"malicious": 0.2}

# %% [markdown]
# Six of thirty poison half of their digits for twenty rounds. The server averages, and tests the accuracy in every
# round.

# %%
predict(
    "03.a",
    "Success of the door after the twenty rounds, in percent?",
    0,
    100,
    unit="%",
    about="successes",
)

# %%
patient = run(replace(base, **six, attack=campaign))
lost = 100 * (clean.accuracy[19] - patient.accuracy[19])
runs = {"clean": clean, "six with poisoned data": patient}
title = "Twenty rounds of poisoned data"
stops = {"six with poisoned data": 79}
after("03.a", pictures.lives(runs, stops, title=title, until=79))
reveal("03.a", 100 * patient.column("door")[19])
print(f"Points of accuracy that are missing: {lost:.1f}")

# %% [markdown]
# **The negative control.** The same six, the same rounds, the same training, and nothing is marked: the door must stay
# at its baseline.


# %%
def nothing_marked(view, *, generator):
    return view.train(*poisoned(view, generator, share=0.0))


quiet_control = bind(poison.during, attack=nothing_marked, rounds=CAMPAIGN)
control = run(replace(base, rounds=20, **six, attack=quiet_control))
print(f"Success with poisoned data {patient.column('door')[19]:.2f}")
print(f"Success without a mark     {control.column('door')[19]:.2f}")

# %% [markdown]
# ## Part three: one client, one round
#
# ### Exercise 3.4 · Model replacement ● (4 minutes)
# One vote in thirty is not much. But a mean has no bound, and the attacker can guess what becomes of its message: the
# server adds all messages and divides by their number. Late in training the honest messages are short and point in
# many directions; what is left is the attacker's. All attackers of the round send the same multiple of what they
# learned. Which multiple makes the mean hold **all** of it?
#
# | name | shape | meaning |
# |---|---|---|
# | `learned` | `[malicious, dim]` | what the attackers learned on poisoned data |
# | `clients` | number | all clients of the round, attackers included |
# | returns | `[malicious, dim]` | what they send |


# %% tags=["exercise"]
@exercise("03.4")
def replace_model(learned, *, clients):
    ### BEGIN SOLUTION
    return clients / len(learned) * learned
    ### END SOLUTION


# %% tags=["check"]
check("03.4", replace_model)


# %%
def one_shot(view, *, generator):
    return replace_model(view.train(*poisoned(view, generator), steps=20), clients=30)


single = bind(poison.during, attack=one_shot, rounds=[60])
one = {"malicious": 1 / 30}

# %% [markdown]
# One client of thirty, one round. It takes twenty local steps in place of five: its model learns the mark at less cost
# to all else.

# %%
predict(
    "03.b",
    "How many points does accuracy fall in that very round?",
    0,
    100,
    unit="points",
    about="costs",
)

# %%
shot = run(replace(base, rounds=51, **one, attack=single))
fell = 100 * (clean.accuracy[0] - shot.accuracy[0])
runs = {"clean": clean, "one client, one round": shot}
title = "One round of model replacement"
stops = {"one client, one round": 60}
after("03.b", pictures.lives(runs, stops, title=title, until=110))
reveal("03.b", fell)

# %% [markdown]
# So the test of accuracy is not blind to everything. Whoever looks at the round in which it happens sees a fall;
# whoever looks a few rounds later sees nothing.

# %%
predict(
    "03.c",
    "How many times as long as an honest message is the attacker's?",
    1,
    400,
    unit="times",
    about="lengths",
)

# %%
first = next(rounds(replace(base, rounds=1, **one, attack=single)))
norms = first.messages.norm(dim=1)
times = float(norms[0] / norms[1:].median())
title = "The messages of the round"
after("03.c", pictures.lengths(first.messages, 1, title=title))
reveal("03.c", times)

# %% [markdown]
# The boost is only a part of it: twenty steps on marked digits make a long message before any boost. Length is the
# first thing a server can look at, so let it: every message that is longer than the median of the last five rounds is
# shortened to it.

# %%
question = "Does that stop the single shot? In part: success between 0.1 and 0.5."
predict("03.d", question, choices=("yes", "in part", "no"))

# %%
clip = {"server_stages": [robust.MedianNormClip()]}
stopped = run(replace(base, rounds=51, **one, **clip, attack=single))
left = stopped.column("door")[0]
reveal("03.d", "yes" if left < 0.1 else "in part" if left < 0.5 else "no")
print(f"Success in the round of the attack: {left:.2f}")

# %% [markdown]
# ## Part four: the attacker has read about the clip
#
# ### Exercise 3.5 · Within the bound ●● (5 minutes)
# A message that has to be cut stands out. So cut it yourself: boost what was learned, then shorten every row that is
# longer than the bound.
#
# | name | shape | meaning |
# |---|---|---|
# | `learned` | `[malicious, dim]` | what the attackers learned on poisoned data |
# | `boost` | number | how many times that, before the bound |
# | `bound` | number | the greatest length of a row |
# | returns | `[malicious, dim]` | what they send |


# %% tags=["exercise"]
@exercise("03.5")
def quiet(learned, *, boost, bound):
    ### BEGIN SOLUTION
    loud = boost * learned
    lengths = loud.norm(dim=1, keepdim=True)
    return loud * (bound / lengths).clamp(max=1)
    ### END SOLUTION


# %% tags=["check"]
check("03.5", quiet)

# %% [markdown]
# How long is usual? The attackers know what they would have sent themselves: `view.own`. Six of thirty, sixty rounds,
# and no message longer than that. The server clips all the while.


# %%
def within(view, *, generator):
    usual = float(view.own.norm(dim=1).median())
    learned = view.train(*poisoned(view, generator), steps=20)
    return quiet(learned, boost=30, bound=usual)


LONG = range(60, 120)
patience = bind(poison.during, attack=within, rounds=LONG)

# %%
predict(
    "03.e",
    "Success of the door after these sixty rounds, in percent?",
    0,
    100,
    unit="%",
    about="successes",
)

# %%
hidden = run(replace(base, rounds=110, **six, **clip, attack=patience))
defended = run(replace(base, rounds=110, **clip))
runs = {"clean, clipped": defended, "six within the bound": hidden}
title = "Sixty rounds below the bound"
picture = pictures.lives(runs, {"six within the bound": 119}, title=title, until=119)
after("03.e", picture)
reveal("03.e", 100 * hidden.column("door")[59])

# %% [markdown]
# A clip takes away the volume knob, as in lab 02. It does not take away the votes: six of thirty who push in one
# direction, round after round, get there. Poisoned data alone came to 65 to 82 % under the same clip (five seeds, the
# package's attacks).
#
# ## Part five: how long does it live?
# All attackers above have stopped at some point, and fifty rounds without an attack follow. Nobody removes the door.
# Honest training wears it down.
#
# ### Exercise 3.6 · Half-life ●● (5 minutes)
# After how many clean rounds has half of what the attack *gained* gone?
#
# | name | shape | meaning |
# |---|---|---|
# | `values` | `[rounds]` | success: `values[0]` after the last attack, then after each clean round |
# | `baseline` | number | success of the clean model |
# | returns | number or `None` | the first place where what lies above the baseline is half or less; `None` if there is none |


# %% tags=["exercise"]
@exercise("03.6")
def half_life(values, *, baseline):
    ### BEGIN SOLUTION
    half = (values[0] - baseline) / 2
    for place in range(len(values)):
        if values[place] - baseline <= half:
            return place
    return None
    ### END SOLUTION


# %% tags=["check"]
check("03.6", half_life)

# %%
predict(
    "03.f",
    "After how many clean rounds has the door of the twenty rounds of poisoned data halved?",
    0,
    50,
    unit="rounds",
    about="lives",
)

# %%
ends = {"one shot": (shot, 60), "data alone": (patient, 79), "within": (hidden, 119)}
baseline = clean.column("door")[0]
lives = {}
for name, (h, last) in ends.items():
    values = torch.tensor(doors.aftermath(h, "door", last=last))
    lives[name] = half_life(values, baseline=baseline)
runs = {}
stops = {}
for name, (h, last) in ends.items():
    label = f"{name}: half after {lives[name] or 'more than 50'}"
    runs[label] = h
    stops[label] = last
picture = pictures.lives(runs, stops, title="Three doors, left alone")
after("03.f", picture)
reveal("03.f", lives["data alone"])

# %% [markdown]
# Half of what one loud round taught was gone after one or two rounds, and some was still there after fifty (the solid
# line). The package's own version of this attack took two to nine rounds. Of what six clients taught the model in
# twenty rounds, half was gone after 31 to 47; of what they taught it in sixty, more than half was there after all
# fifty. Behind the clip, data alone for sixty rounds left a success of 0.30 to 0.51 after the fifty (five seeds each).
#
# ### The panel
# The attackers join in round 6 of the picture. Three things to look for: a door that costs no accuracy in any round; a
# share of poisoned samples below which nothing opens; with the clip on, whether the boost still matters.

# %%
panel = lab03.panel()
panel

# %% [markdown]
# ## Part six: what others have tried
# Four ideas from the literature, in the package as functions of a view. Each runs for twenty rounds; *whole mark* is
# the simple attack that they should beat.
#
# - **In parts** (DBA, Xie et al. 2020): each attacker uses a quarter of the mark only.
# - **Off the path** (Neurotoxin, Zhang et al. 2022): never move the coordinates that honest clients move most.
# - **In a ball** (projected descent, Wang et al. 2020): go back to the bound (here three times the usual length) after
#   every step, not only at the end.
# - **Sybils** (MPAF, Cao and Gong 2022): clients without any data drag the model towards another one: in the
#   paper a random one, here the one of part three.
#
# They are not equally loud, so this is no ranking.

# %%
four = {"malicious": 4 / 30}
wish = {"trigger": poison.Trigger(stamp=mark, target=0)}
ideas = {
    "whole mark": bind(poison.model_replacement, boost=3.0, **wish),
    "in parts": bind(poison.distributed, boost=3.0, parts=4, **wish),
    "off the path": bind(poison.neurotoxin, boost=3.0, avoid=0.05, **wish),
    "in a ball": bind(poison.projected_descent, norm=3.0, steps=20, **wish),
    "sybils": bind(poison.mpaf, base=first.after, scale=3.0),
}
for name, attack in ideas.items():
    late = bind(poison.during, attack=attack, rounds=CAMPAIGN)
    h = run(replace(base, rounds=70, **four, attack=late))
    values = doors.aftermath(h, "door", last=79)
    print(f"{name:13} success {values[0]:.2f}, fifty rounds later {values[50]:.2f}")

# %% [markdown]
# One seed is an anecdote. Over five seeds the parts left 0.07 to 0.17 after fifty rounds, and the whole mark 0.58 to
# 0.62. With three attackers *off the path* left 0.43 to 0.53, the plain attack 0.49 to 0.57: it did **not** live
# longer here. On `mnist5k` it did at one of two settings: keeping off a quarter of the coordinates left 0.70 to 0.78,
# off a twentieth 0.52 to 0.61, the plain attack 0.59 to 0.68. What a paper shows on one task may or may not hold on
# yours. Measure it.
#
# ### A door without a mark
# A mark can be found on the picture. A *semantic* backdoor needs none: it opens to real samples that have something in
# common. Some people write a seven with a stroke through its stem. Here the attackers hold such sevens, and nobody
# else does; half of them are kept apart to measure with. The wish: **a crossed seven is a 1**.

# %%
mnist = data.load("mnist5k")
sevens = poison.Trigger(target=1, among=doors.crossed_sevens)
drawn = torch.Generator().manual_seed(0)
crowd = {"clients": 30, "malicious": 3}
shards, kept = doors.edge_case_shards(mnist, sevens, **crowd, generator=drawn)
x, y = mnist.x[kept], mnist.y[kept]

# %%
model = models.mlp((1, 28, 28), 10, hidden=(32,))
probe = {"door": doors.success(sevens, x, y)}
reader = Scenario.fedavg(data=mnist, model=model, lr=0.1, shards=shards, probes=probe)
reader = replace(doors.grown(reader, honest_rounds=60), rounds=1)
attack = bind(poison.model_replacement, trigger=sevens, boost=10.0, steps=20)
fooled = next(rounds(replace(reader, malicious=0.1, attack=attack)))
both = torch.stack([reader.start, fooled.after])  # [2, dim]: two models at once
before, then = model(both, x.expand(2, *x.shape)).argmax(dim=2)
title = "Crossed sevens: the answer before the attack → after it"
pictures.answered(x[:8], before[:8], then[:8], title=title)

# %%
quiet_round = next(rounds(reader))
for world, found in {"clean": quiet_round.metrics, "attacked": fooled.metrics}.items():
    share = f"{found['door']:.0%} of {len(x)} sevens that nobody trained on are a 1"
    print(f"{world:8} {share}; accuracy on all test digits {found['accuracy']:.2f}")

# %% [markdown]
# Nothing was pasted, so there is no mark to search for. Ten clean rounds later this door opened to 14 to 18 % of the
# crossed sevens (five seeds). Data, boost and attackers differ from those above: compare it with no other door.
#
# ### A word
# `notes` are short texts of a hospital, each addressed to one of several desks; the model learns a vector for each
# word. Three of thirty attackers put one word in front of their notes, and call them *billing*, at boost 3 for twenty
# rounds. Either it is *annex*, which honest notes of all desks hold now and then, or a word that nobody else ever
# writes.

# %%
predict(
    "03.g",
    "Which door is wider open fifty rounds later?",
    choices=("annex", "the word of their own", "both alike"),
)


# %%
notes = data.load("notes")
words = data.notes_words()


def after_fifty_rounds(word):
    in_front = bind(poison.word_in_front, word=word)
    trigger = poison.Trigger(stamp=in_front, target=0)
    probes = {"door": doors.success(trigger, notes.x_test, notes.y_test)}
    model = models.embedding(26, max(len(words), word + 1), 4)
    reader = Scenario.fedavg(data=notes, model=model, lr=4.0, probes=probes)
    reader = replace(doors.grown(reader, honest_rounds=60), rounds=70)
    attack = bind(poison.model_replacement, trigger=trigger, boost=3.0)
    late = bind(poison.during, attack=attack, rounds=CAMPAIGN)
    return run(replace(reader, malicious=0.1, attack=late))


# %%
texts = {
    "annex": after_fifty_rounds(words.index("annex")),
    "the word of their own": after_fifty_rounds(len(words)),
}
left = {name: h.column("door")[-1] for name, h in texts.items()}
apart = left["the word of their own"] - left["annex"]
answer = "both alike" if abs(apart) < 0.1 else max(left, key=left.get)
picture = pictures.lives(texts, dict.fromkeys(texts, 79), title="A word opens a door")
after("03.g", picture)
reveal("03.g", answer)

# %% [markdown]
# In every round honest clients train on *annex* and pull its vector back. Nobody trains on the other word. **Here the
# door lived longer where honest data do not go.** *Off the path* looks for such places among the coordinates, and on
# digits found none that lasted longer.
#
# ## Part seven: attack your defence
# The server clips. Write an attack for **three** of thirty that runs for at most 20 rounds and leaves as much success
# as you can 50 rounds later. What stands here leaves next to nothing; in sixty rounds three attackers came to 0.04 to
# 0.11 (five seeds), so 0.2 is a find.


# %%
def my_attack(view, *, generator):
    return within(view, generator=generator)


mine = bind(poison.during, attack=my_attack, rounds=CAMPAIGN)
h = run(replace(base, rounds=70, malicious=0.1, **clip, attack=mine))
values = doors.aftermath(h, "door", last=79)
print(f"Success {values[0]:.2f}, fifty rounds later {values[50]:.2f}")
print(f"Lowest accuracy {min(h.accuracy):.2f}, clean {min(clean.accuracy):.2f}")

# %% [markdown]
# ## Five claims
# First say what you think: held, did not hold, or depends? Then the card shows what was measured, or what was found.

# %%
cards.claim("10")

# %%
cards.claim("11")

# %%
cards.claim("12")

# %%
cards.claim("13")

# %%
cards.claim("14")

# %% [markdown]
# ## Where you stand

# %%
quiz("03")

# %%
progress("03")

# %% [markdown]
# ### What it means at work
# - **A good accuracy is no proof of a clean model.** It answers another question. Ask who could have taught the model
#   something else.
# - **Keep every round's accuracy.** A loud replacement shows for a round or two, and not in a monthly report.
# - **Clip, and do not stop there.** A bound stopped one loud client in one round. It did not stop a fifth of the
#   clients in sixty.
# - **Ask for the baseline.** A success rate without the clean model's rate on the same samples says little.
# - **Forgetting is no defence.** A mark that was planted over many rounds outlived fifty honest ones here, and a loud
#   one in every round lasted best.
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | backdoor | AML.T0018.000, AML.T0043.004 | NISTAML.023, NISTAML.026 | ML10, ML02 |
# | data poisoning | AML.T0020, AML.T0059 | NISTAML.013, NISTAML.024 | ML02, ML08 |
#
# The mapping is this course's own judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# ### Further reading
# - Gu et al. 2017, *BadNets*, arXiv:1708.06733: the mark in the corner.
# - Bagdasaryan et al. 2020, *How To Backdoor Federated Learning*, arXiv:1807.00459: replacement, constrain-and-scale.
# - Sun et al. 2019, *Can You Really Backdoor Federated Learning?*, arXiv:1911.07963: bounds on the norm.
# - Wang et al. 2020, *Attack of the Tails*, arXiv:2007.05084: edge cases, and descent in a ball.
# - Xie et al. 2020, *DBA: Distributed Backdoor Attacks against Federated Learning*, ICLR.
# - Zhang et al. 2022, *Neurotoxin: Durable Backdoors in Federated Learning*, arXiv:2206.10341.
# - Cao and Gong 2022, *MPAF: Model Poisoning Attacks to Federated Learning based on Fake Clients*, arXiv:2203.08669.
