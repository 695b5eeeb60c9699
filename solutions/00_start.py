# %% [markdown]
# # 00 · Start here
# **Who can harm a federation, who can read it, and what does each defence really cost?**
#
# After this lab you can
# 1. say what travels in federated learning and what stays at home,
# 2. name four places from which it is attacked, and what each of them sees,
# 3. predict what noise at the client and noise at the server do to the model and to a private picture,
# 4. name the assumption under which a server reads a picture out of one message, and watch it fade.
#
# Before: nothing. You need no more than Python and a little machine learning. Run time on two cores: {{runtime}}.
# Reading and playing: about 25 minutes.

# %% tags=["setup"]
from labsec import Scenario, bind, plots, poison, run
from labsec.course import cards
from labsec.course.panels import lab00

# %% [markdown]
# ## Preflight
# Three rounds of a real federation. If the next cell prints an accuracy, everything works. If it does not, close this
# page and type `python3 lab.py doctor`: it names the remedy.

# %%
history = run(Scenario(rounds=3))
history

# %% [markdown]
# ## Twenty clients, one model, no shared data
# A bank, a hospital, a telephone: each holds data that must not leave. In federated learning it need not. A server sends
# a model $\theta$ to all, each client $i$ trains it on its own data and sends back only the difference $u_i$, and the
# server adds the average:
#
# $$\theta \leftarrow \theta + \frac{1}{n}\sum_i u_i$$
#
# That is the whole idea (McMahan et al., 2017, who weigh clients by their sample counts; lab 01 does so, too). Here are twenty rounds of it on little pictures of digits, and the same
# with six clients of twenty that send the opposite of what they learned.

# %%
clean = run(Scenario())
attacked = run(Scenario(malicious=0.3, attack=bind(poison.sign_flip, scale=3)))
plots.accuracy(clean=clean, attacked=attacked, title="Six clients of twenty are enough")

# %% [markdown]
# The line fell, although nobody broke in anywhere. **The average believes everyone**, and that is one of four doors.
#
# ## The threat map
#
# | who | sees | can | you meet it in |
# |---|---|---|---|
# | **a client** | the common model, its own data | send any update, train on any data | poisoning and backdoors |
# | **the server** | every update as it arrives, the model | read updates, or send prepared models | reading gradients |
# | **the wire** | what is not encrypted, and always sizes and times | drop, delay, replay | transport |
# | **an outsider** | the finished model | ask it questions | membership inference |
#
# Read the second row again. Encryption on the way ends *at* the server. Whoever fears the server needs another defence.

# %%
cards.threat_model("00")

# %%
cards.safety()

# %% [markdown]
# ## Predict first
# You are about to move sliders over a federation of 100 clients. Write your guesses down; a guess that fails teaches
# most.
#
# 1. A client computes **one** step on **four** digits and sends its update. How many of the four can the server redraw?
# 2. The *server* adds noise to what it received, so that the model is private with $\varepsilon = 4$. How many now?
# 3. Each *client* adds the noise before it sends. What happens to the picture, and what to the accuracy?
# 4. Clients send only the largest tenth of their numbers. Is that privacy?
#
# ## The panel
# Every move runs all fifty rounds again, attack and defence included. The digits belong to one client of that run, and
# the row below them is what the server makes of that client's first message. The grey guess at the right needs no
# message at all: it is the mean of all digits, and **a reconstruction that does not beat it has found nothing**.

# %%
panel = lab00.panel()
panel

# %% [markdown]
# ## What you can find
# **Set ε to 4 and switch who adds the noise.** At the server most of the accuracy stays, and the digits stay sharp: the server
# reads the message *before* it adds noise. At the client the digits vanish, and so does most of the accuracy: each of
# the hundred clients adds enough noise to hide its own update, and 20 times as much ends up in the model as the server
# would need to hide one client in the mean. Same ε, same mechanism, a different promise: the first protects you
# from those who get the *model*, the second from the *server* too.
#
# **Raise ε at the client to 1000.** The guarantee is empty there: it allows an attacker odds of $e^{1000}$ to one. The
# accuracy is nearly back, and yet the picture stays hidden from this attack. A formal guarantee and an attack that fails
# are two different things, and the course keeps them apart.
#
# **Change the batch size.** With one digit the picture is exact. With sixteen, most neurons saw several digits and their
# gradients are mixtures. The leak is *conditional*: one step, few samples, a fully connected first layer, no noise.
#
# **Change the share kept.** The picture dies long before the accuracy does. This server, though, is naive: it does not ask
# *which* numbers were left out. A later lab builds the one that does.
#
# ## The contrast, with seeds
# One run is an anecdote. Five seeds, six values of ε, both places:

# %%
EPSILONS, SEEDS = (1.0, 4.0, 10.0, 100.0, 1e3, 1e5), range(5)
results = {
    where: [[lab00.outcome(seed, epsilon=e, noise_at=where) for e in EPSILONS] for seed in SEEDS]
    for where in ("server", "client")
}
accuracy = {where: [[a for a, _ in row] for row in rows] for where, rows in results.items()}
recovered = {where: [[share for _, share in row] for row in rows] for where, rows in results.items()}

# %%
no_noise = [[lab00.outcome(seed)[0]] * len(EPSILONS) for seed in SEEDS]
plots.curves(
    EPSILONS,
    {"clean": no_noise, "noise at the server": accuracy["server"], "noise at the client": accuracy["client"]},
    title="Noise at the server costs far less than noise at the client",
    xlabel="ε of the whole run (δ = 1e-5, unit: one client)",
    ylabel="accuracy after 50 rounds",
    log=True,
)

# %%
plots.curves(
    EPSILONS,
    {f"noise at the {where}": shares for where, shares in recovered.items()},
    title="Noise at the client hides the digits",
    xlabel="ε of the whole run (δ = 1e-5, unit: one client)",
    ylabel="share of digits recovered (≥ 25 dB)",
    log=True,
)

# %% [markdown]
# The grey bands reach from the worst seed to the best. Both pictures together are the lesson: no place to put the noise
# gives you accuracy *and* a **guarantee** against the server. Where the client's noise leaves the accuracy, ε is so large
# that it promises nothing; the digits stay hidden from *this* attack, and nobody says for how long. Secure aggregation is
# the field's answer, with a price of its own; you will build it, too.

# %%
assert min(row[1] for row in accuracy["server"]) > max(row[1] for row in accuracy["client"])
assert all(share == 0 for row in recovered["client"] for share in row[:4])

# %% [markdown]
# ## What this means at work
# * "The data never leaves the device" is true, and it says nothing about what can be *read from* the updates.
# * Ask of every ε: for the whole run or per round, whose record is the unit, which δ, and **who adds the noise**?
# * Ask of every reconstruction: compared with which guess that needs no access?
# * A robust rule and a private one are different defences. Move ε, change the rule, and see that neither replaces the other.
#
# Standards: model poisoning is NISTAML.011 and reconstruction is listed under privacy attacks in NIST AI 100-2 E2025;
# NIST SP 800-226 explains how to evaluate a claim of differential privacy. The mapping is this course's own judgement.
#
# **Further reading.** McMahan et al. 2017, *Communication-efficient learning of deep networks from decentralized data*,
# arXiv:1602.05629. Geiping et al. 2020, *Inverting gradients*, arXiv:2003.14053. McMahan et al. 2018, *Learning
# differentially private recurrent language models*, arXiv:1710.06963.
#
# **Next:** lab 01, where you build the round yourself.
