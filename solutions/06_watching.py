# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · The server that looks
# **Can a server tell a bad client from an honest one that is merely different, and who pays when it is wrong?**
#
# You will be able to
# 1. score messages by their length and by their direction,
# 2. choose a threshold, and say whom it accuses among other clients than those it was chosen on,
# 3. do the base-rate sum: how many accusations are true,
# 4. build a quarantine with a memory, and name its price,
# 5. weigh messages by trust, and take a layered defence apart,
# 6. choose a defence, and defend it against a portfolio of attacks.
#
# Before: labs 02 and 03. Run time on two cores: {{runtime}}. The exercises (● easy, ●● some thought) take about
# {{minutes}} minutes, reading and playing about as long again.

# %% tags=["setup"]
from dataclasses import replace

import torch
import torch.nn.functional as F

from labsec import bind, detect, matrix, metrics, poison, robust, rounds, run, train
from labsec.course import after, cards, check, exercise, hint, predict, progress, quiz, reveal
from labsec.course.panels import lab06, lab06_defences
from labsec.course.panels import lab06_pictures as pictures
from labsec.detect import judging
from labsec.federation.history import json_lines
from labsec.study import detection
from labsec.types import ImpossibleRule

torch.set_num_threads(1)

# %% [markdown]
# ## Who attacks
# The server now looks at every message before the message counts. The attackers know that.

# %%
cards.threat_model("06")

# %%
cards.safety()

# %% [markdown]
# ## Part one: two scores
# A *score* says how suspicious a message is. It accuses nobody; that comes later.
#
# ### Exercise 6.1 · A score of lengths ● (4 minutes)
# How long is each message, in units of the usual one? The usual length is the median of the round. Use
# `quantile(0.5)`, which for an even number of clients is the mean of the two in the middle.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | returns | `[clients]` | lengths; 1 is usual |


# %% tags=["exercise"]
@exercise("06.1")
def norm_score(updates):
    ### BEGIN SOLUTION
    lengths = updates.norm(dim=1)
    return lengths / lengths.quantile(0.5)
    ### END SOLUTION


# %% tags=["check"]
check("06.1", norm_score)

# %% [markdown]
# If a check says NOT YET or TODO and you are stuck, ask for a hint: number 1 nudges, 2 names the approach, 3 is nearly
# the code.

# %%
hint("06.1", 1)

# %% [markdown]
# ### Exercise 6.2 · A score of directions ●● (7 minutes)
# Does a message point where the others point? Take the cosines of a row to all *other* rows, and one minus their
# median (again `quantile(0.5)`). A median asks for a majority: a few colluders cannot vouch for each other.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | returns | `[clients]` | from 0, as the others, to 2, against them |


# %% tags=["exercise"]
@exercise("06.2")
def cosine_score(updates):
    ### BEGIN SOLUTION
    directions = F.normalize(updates, dim=1)
    cosines = directions @ directions.T
    n = len(updates)
    others = cosines[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    return 1 - others.quantile(0.5, dim=1)
    ### END SOLUTION


# %% tags=["check"]
check("06.2", cosine_score)

# %% [markdown]
# Here are the messages of one round, by both scores. Six of thirty attack: with a shout, the opposite of what they
# learned ten times as long, or quietly, with ALIE from lab 02: then all six send one and the same message, and lie on
# one point. Suspicious is far to the right (long) and far up (against the others).

# %%
seen = {}
for skew, clients in {"iid": "alike", "dirichlet_0.1": "very unlike"}.items():
    for attack, how in {"sign_flip_x10": "a shout", "alie_1.5": "quiet"}.items():
        s = detection.federation(skew=skew, attack=attack, seed=0, rounds=10)
        truth = bind(detection.only_honest, malicious=6)
        *_, last = rounds(replace(s, server_stages=[truth]))
        sent = last.messages
        seen[f"{clients}, {how}"] = (norm_score(sent), cosine_score(sent))
pictures.crowds(seen, 6, title="Thirty messages of round 10: ✖ the attackers")

# %% [markdown]
# In this picture the server averaged the honest messages only, as if somebody had told it who they are. Otherwise each
# score would be judged on a model that another one failed to protect.
#
# ## Part two: a threshold
#
# ### Exercise 6.3 · How many false alarms? ● (3 minutes)
# Above which score do you accuse? Nobody can say whether 1.4 is guilty. But everybody can say how many *honest*
# messages they are ready to accuse. Choose the threshold that this share of the honest scores lies above.
#
# | name | shape | meaning |
# |---|---|---|
# | `honest` | `[n]` | scores of honest messages |
# | `false_alarms` | number | share of them that may be accused, from 0 to 1 |
# | returns | number | the threshold, as `quantile` computes it |


# %% tags=["exercise"]
@exercise("06.3")
def threshold_for(honest, *, false_alarms):
    ### BEGIN SOLUTION
    return honest.quantile(1 - false_alarms)
    ### END SOLUTION


# %% tags=["check"]
check("06.3", threshold_for)

# %% [markdown]
# Whoever sells a detector tunes it somewhere. Ours was tuned on thirty honest clients with alike data, so that 5 % of
# their messages lie above it. (`watch` runs a federation and returns what scores say of every message.)

# %%
mine = {"norm": norm_score, "cosine": cosine_score}
calm = {"attack": "none"}
tuning = detection.federation(skew="iid", seed=100, **calm)
thresholds = {}
for name, scores in detection.watch(tuning, mine).items():
    thresholds[name] = float(threshold_for(scores.flatten(), false_alarms=0.05))
    print(f"{name:7} threshold {thresholds[name]:.2f}")

# %%
predict(
    "06.a",
    "Very unlike clients, nobody attacks. What share does the cosine threshold accuse?",
    0,
    100,
    unit="% of the messages",
    about="false alarms",
)

# %%
alike = detection.federation(skew="iid", seed=0, **calm)
unlike = detection.federation(skew="dirichlet_0.1", seed=0, **calm)
honest = {"alike": alike, "very unlike": unlike}
said = {name: detection.watch(s, mine) for name, s in honest.items()}
cosines = {name: each["cosine"].flatten() for name, each in said.items()}
limit = thresholds["cosine"]
after("06.a", pictures.above(cosines, limit, title="One threshold, honest clients"))
reveal("06.a", 100 * judging.share_above(cosines["very unlike"], limit))
lengths = said["very unlike"]["norm"].flatten()
share = judging.share_above(lengths, thresholds["norm"])
print(f"The norm's threshold accuses {share:.1%} of the same messages.")

# %% [markdown]
# "5 % false alarms" is no property of a detector. It is one of a detector *and* the clients it was tuned on. One score
# kept its promise here, the other did not, and nobody could have told before: ask for the rate on clients like yours.
#
# Now the sum that every buyer of a detector should do. The federation has 1,000 clients, 1 % of them bad. The detector
# accuses 5 % of the honest ones, and **every** bad one.

# %%
predict(
    "06.b",
    "What share of the accusations is true?",
    0,
    100,
    unit="%",
    about="true accusations",
)

# %%
rates = {"false_alarms": 0.05, "detected": 1.0}
accused = judging.accusations(clients=1000, bad=0.01, **rates)
reveal("06.b", 100 * accused.share_right)

# %% [markdown]
# ### The panel
# The curve shows what every threshold finds, and what it costs. Drag the point, and watch the sum beside it. The ◇ is
# the threshold that was tuned on alike clients while nobody attacked. Three things to look for: an attack that one
# score sees and another does not; what the ◇ does among very unlike clients; the share of bad clients at which most
# accusations become true.

# %%
panel = lab06.panel()
panel

# %% [markdown]
# ## Part three: the quarantine
# One alarm proves little. A quarantine leaves the client out, keeps watching it, and lets it back after some calm
# rounds: its *probation*.
#
# ### Exercise 6.4 · A mask with a memory ●● (8 minutes)
# `waits` says for how many more rounds each client is out; 0 is free. Who counts in this round? Whoever waits no
# longer and is not above the threshold now. And how long do they wait after it? An alarm sets the wait to `probation`,
# also for those who wait already. A calm round takes one off, down to 0. With a probation of 2, an alarm in round 5
# means out in rounds 5, 6 and 7.
#
# | name | shape | meaning |
# |---|---|---|
# | `scores` | `[clients]` | of this round |
# | `waits` | `[clients]`, `int64` | rounds to wait, as the last round left them |
# | `threshold`, `probation` | numbers | a *higher* score is an alarm; rounds of probation |
# | returns | two tensors `[clients]` | who counts now (`bool`), and the new waits |


# %% tags=["exercise"]
@exercise("06.4")
def quarantine(scores, waits, *, threshold, probation):
    ### BEGIN SOLUTION
    alarm = scores > threshold
    counted = (waits == 0) & ~alarm
    return counted, torch.where(alarm, probation, (waits - 1).clamp(min=0))
    ### END SOLUTION


# %% tags=["check"]
check("06.4", quarantine)


# %% [markdown]
# As a stage of the server it needs a place to remember. A stage that returns a mask says which rows count.


# %%
class Guard:
    def __init__(self, score, **settings):
        self.score = score
        self.settings = settings
        self.waits = torch.zeros(30, dtype=torch.int64)

    def __call__(self, updates, *, clients):
        scores = self.score(updates)
        counted, waits = quarantine(scores, self.waits[clients], **self.settings)
        self.waits[clients] = waits
        return counted


# %%
settings = {"threshold": thresholds["norm"], "probation": 10}
loud = {"malicious": 0.2, "attack": bind(poison.sign_flip, scale=10)}
shouted = replace(alike, **loud)
guarded = run(replace(shouted, server_stages=[Guard(norm_score, **settings)]))
print(f"Six of thirty shout; the mean {run(shouted).final_accuracy:.2f}")
print(f"The same behind your guard    {guarded.final_accuracy:.2f}")
print(f"Nobody attacks                {run(alike).final_accuracy:.2f}")

# %% [markdown]
# `detect.Quarantine` does the same, and leaves a note for every decision: who, when, by which detector, with which
# score. As JSON lines they go to a SIEM, the system that collects a company's security events. Here it watches *very
# unlike* clients, and **nobody attacks**.

# %%
stage = detect.Quarantine(norm_score, **settings)
watched = run(replace(unlike, server_stages=[stage]))
print(json_lines(watched.notes[:3]), end="")
print(f"… {len(watched.notes)} decisions in 160 rounds, about honest clients only.")

# %%
title = "Honest, and in quarantine"
pictures.isolated(watched.notes, clients=30, rounds=160, title=title)

# %% [markdown]
# Only 3 to 5 % of honest messages lie above this threshold while everybody counts (five seeds). In quarantine far more
# rounds are lost: every alarm costs ten more of them, and whoever is out goes on sending messages about data that the
# model does not learn (probably that keeps them long).
#
# What does it cost those who are out? Take the accuracy on their classes: each class counts by how many of its samples
# isolated clients hold, times the share of the rounds in which they were out. Compare with the run without a
# quarantine.

# %%
predict(
    "06.c",
    "How many points does this accuracy fall?",
    0,
    100,
    unit="points",
    about="prices",
)

# %%
*_, last = rounds(unlike)
open_door = detection.accuracy_by_class(unlike, last)
outcome = detection.defend(unlike, stage, open_door)
reveal("06.c", -100 * outcome.cost)

# %%
*_, ended = rounds(replace(unlike, server_stages=[stage]))
change = detection.accuracy_by_class(unlike, ended) - open_door
print(f"All digits: {last.metrics['accuracy']:.2f}, with the quarantine {outcome.accuracy:.2f}")
print("Points by digit, 0 to 9:", *(f"{100 * points:+.0f}" for points in change))

# %% [markdown]
# The price is not shared. Most digits lose next to nothing, and one loses most of it all: in this run, and in that of
# seed 1, a digit of which only two or three clients hold ten samples or more. While those are out, nobody teaches it.
#
# ### The attackers have read the manual
# Score and threshold are public, and these attackers see the honest messages. `UnderThreshold` tries its messages on a
# copy of the score before it sends them, and goes as far towards the shout as the score lets pass.

# %%
shout = loud["attack"]
sly = poison.UnderThreshold(shout, norm_score, threshold=thresholds["norm"])
hidden = {"malicious": 0.2, "omniscient": True, "attack": sly}
alone = run(replace(unlike, **hidden)).final_accuracy
print(f"Their attack against the plain mean, nobody watching: {alone:.2f}")

# %%
predict(
    "06.d",
    "Which accuracy does the same attack leave behind the quarantine?",
    0,
    100,
    unit="%",
    about="accuracy",
)

# %%
missed = detection.defend(replace(unlike, **hidden), stage, open_door)
reveal("06.d", 100 * missed.accuracy)

# %%
caught = detection.defend(replace(unlike, **loud), stage, open_door)
print("                    attackers out   honest out   accuracy")
for name, o in {"a shout": caught, "below the threshold": missed}.items():
    print(f"{name:20} {o.bad_out:12.0%} {o.honest_out:12.0%} {o.accuracy:10.2f}")

# %% [markdown]
# This attack does far *more* harm behind the quarantine than without it: 0.42 to 0.70 against 0.91 to 0.94 (five
# seeds). Look at who was out: honest clients in many rounds, these attackers in none of this run, so their share of
# what is averaged grew. Those who know the threshold stay below it; honest clients do not know that there is one.
#
# ## Part four: weigh, do not accuse
#
# ### Exercise 6.5 · Trust by the server's own update ●● (6 minutes)
# FLTrust (Cao et al. 2021) gives the server a hundred clean samples of its own, its *root samples*. It trains on them
# like a client, and trusts a message by its cosine to that update; a negative cosine counts nothing. Every message
# gets the length of the server's own. Then follows the mean, weighted by trust.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `own` | `[dim]` | what the server learned by itself |
# | returns | `[dim]` | the weighted mean |


# %% tags=["exercise"]
@exercise("06.5")
def fltrust(updates, own):
    ### BEGIN SOLUTION
    trust = F.cosine_similarity(updates, own[None]).clamp(min=0)
    directions = F.normalize(updates, dim=1)
    return own.norm() * (trust @ directions) / trust.sum()
    ### END SOLUTION


# %% tags=["check"]
check("06.5", fltrust)

# %% [markdown]
# The right baseline is not an accuracy of 0.10. It is what the server reaches with its hundred samples and **no
# clients at all**.

# %%
_, x, y = detection.held_back()  # no client holds these
model = unlike.network()
root = train.RootUpdate(model, x, y, lr=0.3, steps=5)
params = next(rounds(unlike)).before
for _ in range(160):
    params = params + root(params)
x_test, y_test = unlike.data.x_test, unlike.data.y_test
print(f"The server alone {metrics.accuracy(model, params, x_test, y_test):.2f}")


# %%
def my_fltrust(updates, *, params):
    return fltrust(updates, root(params))


for name, attacked in {"nobody": {}, "a shout": loud, "sly": hidden}.items():
    mean = run(replace(unlike, **attacked)).final_accuracy
    trusted = run(replace(unlike, **attacked, aggregate=my_fltrust)).final_accuracy
    print(f"{name:8} mean {mean:.2f}   FLTrust {trusted:.2f}")

# %% [markdown]
# FLTrust stands: 0.91 to 0.94 in all three rows (five seeds, always these root samples). But the server alone reaches
# 0.87 to 0.92 (five draws of a hundred samples). The clients add a few points only, and the mean that nobody attacks
# has 0.95 to 0.97. Who pays the difference was not measured; the digits that the root samples show least are a first
# guess.
#
# ### Exercise 6.6 · A reputation ●● (6 minutes)
# Trust of one round may be noisy. A *reputation* is its moving average: of the old one `decay` remains, and today's
# trust fills the rest. Then multiply each row by its reputation, divided by the mean reputation, so that a plain mean
# behind it is the weighted mean.
#
# | name | shape | meaning |
# |---|---|---|
# | `updates` | `[clients, dim]` | one row per client |
# | `trust`, `before` | `[clients]` | of this round; the reputations so far |
# | `decay` | number | what remains of the old, from 0 to 1 |
# | returns | `[clients, dim]`, `[clients]` | the weighted rows, and the new reputations |


# %% tags=["exercise"]
@exercise("06.6")
def weigh(updates, trust, before, *, decay):
    ### BEGIN SOLUTION
    after = decay * before + (1 - decay) * trust
    return updates * (after / after.mean())[:, None], after
    ### END SOLUTION


# %% tags=["check"]
check("06.6", weigh)

# %% [markdown]
# ## Part five: layers
# Products stack such layers. *FedShield (our reading; not the named product, of which there is no public description)*
# is a clip to the running median length, a reputation, buckets of two clients, Multi-Krum over the buckets, and a clip
# around the last result. Without root samples, the reputation trusts by the cosine to the median of the messages. Is
# the stack better than its parts? Each line shows a run without an attack, and the worse of two attacks: a shout, and
# min-sum from lab 02. Clients are very unlike.


# %%
off = {"factor": torch.inf, "decay": None, "bucket": 1, "f": 0, "radius": torch.inf}
on = {"factor": 1.0, "decay": 0.9, "bucket": 2, "f": 6, "radius": 0.5}
groups = {
    "clip": ("factor",),
    "reputation": ("decay",),
    "buckets, Multi-Krum": ("bucket", "f"),
    "clip around the last": ("radius",),
}
shields = {"the mean": off, "all layers": on}
for name, fields in groups.items():
    shields[f"only {name}"] = {**off, **{field: on[field] for field in fields}}
    shields[f"without {name}"] = {**on, **{field: off[field] for field in fields}}


# %%
def lost(server):
    left = {}
    for attack in ("none", "sign_flip_x10", "min_sum"):
        s = detection.federation(skew="dirichlet_0.1", attack=attack, seed=0)
        reached = run(replace(s, **server)).final_accuracy
        left[attack] = 100 * (last.metrics["accuracy"] - reached)
    return left.pop("none"), max(left.values())


found = {}
for name, fields in shields.items():
    found[name] = lost({"aggregate": robust.FedShield(**fields)})
trusting = robust.FedShield(**{**off, "decay": 0.9}, root=root)
found["only reputation, by root samples"] = lost({"aggregate": trusting})
pictures.layers(found, title="Layers, one by one and all but one")

# %% [markdown]
# Which layer is missed most? Which two can stand in for each other? Is all of it better than its best part? And what
# does the reputation alone reach with a hundred trusted samples? This is one seed and two attacks: claim 35 and part
# six ask for more.
#
# ### What is left under secure aggregation?
# Later labs hide single messages: the server sees only their sum (lab 09). Which layers survive?


# %%
def secure_sum(updates):
    return updates.mean(dim=0, keepdim=True)


layers = {
    "quarantine": {"server_stages": [stage]},
    "reputation": {"server_stages": [robust.Reputation()]},
    "Multi-Krum": {"aggregate": bind(robust.multi_krum, f=6)},
    "clip at the server": {"server_stages": [bind(robust.norm_clip, bound=1.0)]},
}
hushed = replace(shouted, wire=secure_sum)
for name, fields in layers.items():
    try:
        print(f"{name:24} {run(replace(hushed, **fields)).final_accuracy:.2f}")
    except ImpossibleRule as error:
        print(f"{name:24} refuses: {str(error)[:60]}…")


# %%
def proven_sum(updates):
    return secure_sum(robust.norm_clip(updates, bound=1.0))


proven = run(replace(shouted, wire=proven_sum)).final_accuracy
print(f"Every client proves that it has clipped: {proven:.2f}")

# %% [markdown]
# Quarantine and reputation refuse a sum, and Multi-Krum finds too few rows. Other rules do not refuse, which is worse:
# the median of one row is that row. A clip of the sum comes too late: a shorter shout is still a shout. A bound that
# every client keeps before it sends helps against this shout, if attackers must *prove* that they kept it. It counts
# no votes (lab 03). Noise can be added to a sum, too, and alone it stops no shout (claim 38).
#
# ## Part six: defend it against all of them
# The whole table: thirteen attacks and eight backdoors against the nine rules of lab 02, ten more, and nine layered
# ones and detectors, at three skews, five seeds each; 6 of 30 attack. Backdoors stamp a corner; their success is the
# share of stamped digits of other classes that become a 0. The server holds 100 root samples in all cells. A frame
# marks the worst row of each defence. The last row, *adaptive*, is that worst one again: it is known in hindsight
# only.
#
# Of the rules that this course has not built, three will matter: **FLAME** groups messages by direction, leaves out
# the odd ones, clips and adds noise; **DnC** leaves out those that stand out along the main direction of the messages;
# **RLR** turns the step round in coordinates where few agree. `help(robust.flame)` says more, and so for the others.

# %%
table = matrix.load("defences")
row = table[table.attack == "min_sum"].iloc[100]
comes_back = matrix.check_cell(row, table="defences")
print(f"{row.attack} against {row.rule} comes back: {comes_back}")

# %%
chooser = lab06_defences.panel(table)
chooser

# %% [markdown]
# Look for the defence whose *worst* row you can live with: first by accuracy, then by the success of backdoors. Is it
# the same one? And what does it cost when nobody attacks? Change the group and the skew before you choose.
#
# **Your turn.** Put the server that you would deploy into `my_server`. `matrix.rehearse` tries 19 strategies of attack
# against it, some of them louder or quieter than in the table, in whole runs, on very unlike clients. Those that harm
# most come last.

# %%
my_server = {"aggregate": robust.FedShield(f=6, radius=0.5)}
matrix.rehearse(my_server, skew="dirichlet_0.1").tail(3)

# %% [markdown]
# One seed is an anecdote. Is the last line good enough for a hospital? And what would you look at besides accuracy?
#
# ## Seven claims
# First say what you think: held, did not hold, or depends? Then the card shows what was measured. The first two take
# up claims 34 and 61 of lab 02 with the defences that came since. 61b asks with 20 % malicious clients, and counts
# backdoors, too.

# %%
cards.claim("34b")

# %%
cards.claim("61b")

# %%
cards.claim("35")

# %%
cards.claim("36")

# %%
cards.claim("37")

# %%
cards.claim("38")

# %%
cards.claim("58")

# %% [markdown]
# ## Where you stand

# %%
quiz("06")

# %%
progress("06")

# %% [markdown]
# ### What it means at work
# - **Ask on whom a threshold was tuned.** Its false alarms hold for clients like those, and yours may differ.
# - **Test a detector with attackers who know it.** Here they did more harm with the quarantine than without.
# - **Do the base-rate sum before you buy.** Where few are bad, most of the accused are honest.
# - **An alarm is a reason to look, not a verdict.** Who is out, why, since when, and who decides that they come back?
# - **Look at the classes, not the average.** A quarantine takes its price from those whose data few others hold.
# - **Ask what the server reaches with its own samples alone.** That is the baseline of whatever needs them.
# - **Take layers out, one by one and in pairs.** A layer that is not missed may have a stand-in.
# - **Under secure aggregation nobody looks at single messages.** Decide first which bounds clients must prove.
#
# <details><summary>Standards, and further reading</summary>
#
# | topic | MITRE ATLAS | NIST AI 100-2 E2025 | OWASP ML 2023 |
# |---|---|---|---|
# | untargeted model poisoning | AML.T0018.000, AML.T0031 | NISTAML.011 | ML10 |
# | backdoor | AML.T0018.000, AML.T0043.004 | NISTAML.023, NISTAML.026 | ML10, ML02 |
# | client takeover | AML.T0012 | – | – |
#
# The mapping is this course's own judgement: neither ATLAS nor the OWASP page speaks of federations.
#
# - Cao et al. 2021, *FLTrust*, arXiv:2012.13995: trust by a root data set.
# - Nguyen et al. 2022, *FLAME*, arXiv:2101.02281: pairwise cosines, clips and noise.
# - Zhang et al. 2022, *FLDetector*, arXiv:2207.09209: predict every client's next update.
# - Fung et al. 2020, *FoolsGold*, arXiv:1808.04866: sybils are too much alike.
# - Karimireddy et al. 2022, *Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing*, arXiv:2006.09365.
# - Naseri et al. 2022, *Local and Central Differential Privacy for Robustness and Privacy in Federated Learning*,
#   NDSS.
#
# </details>
