# %% [markdown]
# # 00 · Start here
# **Who can harm a federation, who can read it, and what does each defence really cost?**
#
# After this lab you can
# 1. name what travels in a round of federated learning, and what stays at home,
# 2. name four places from which a federation is attacked, and what is seen from each,
# 3. say against whom noise at the server protects, and against whom noise at the client protects,
# 4. read an $\varepsilon$ with its unit, its rounds, its δ and its neighbours, and say what it promises,
# 5. name two attacks on one message, and for each a setting in which it fails.
#
# Before: nothing. You need no more than Python and a little machine learning. Run time on two cores: {{runtime}}.
# Reading, guessing and playing take about {{minutes}} minutes. The dots say how hard a part is, from ●○○ to ●●●.

# %% tags=["setup"]
from labsec import Scenario, bind, plots, poison, run
from labsec.course import after, cards, predict, quiz, reveal, story
from labsec.course.panels import lab00

# %% [markdown]
# ## The story · ●○○ (4 minutes)
# Run the next cell. It trains a real federation of eight clients in about two seconds, and then tells what happened.
# If it fails, close this page and type `python3 lab.py doctor`. That names the remedy.

# %%
story.opening()

# %% [markdown]
# ## The average · ●○○ (3 minutes)
# The server sends a model $\theta$ to all $n$ clients. Each client $i$ trains it on its own data. It sends back only the
# difference $u_i$, its **update**. The server adds the average:
#
# $$\theta \leftarrow \theta + \frac{1}{n}\sum_i u_i$$
#
# That is the whole idea (McMahan et al., 2017). They weigh clients by their sample counts, and lab 01 does so, too.
# In this course a federation is a `Scenario`. Here are twenty clients, and then the same twenty, six of whom send
# the opposite of what they learned, three times as large.

# %%
clean = run(Scenario())
attacked = run(Scenario(malicious=0.3, attack=bind(poison.sign_flip, scale=3)))
plots.accuracy(clean=clean, attacked=attacked, title="Six of twenty clients lie")

# %% [markdown]
# Nobody broke in anywhere. The average believes every client, and that is one of four doors.
#
# ## The threat map · ●○○ (4 minutes)
#
# | who | sees | can | you meet it in |
# |---|---|---|---|
# | **a client** | the common model, its own data | send any update, train on any data | poisoning and backdoors |
# | **the server** | every update as it arrives, the model | read updates, or send prepared models | reading gradients |
# | **the wire** | what is not encrypted, and always sizes and times | drop, delay, replay | transport |
# | **an outsider** | the finished model | ask it questions | membership inference |
#
# Read the second row again. Encryption on the way ends at the server. Whoever fears the server needs another defence.

# %%
cards.threat_model("00")

# %%
cards.safety()

# %% [markdown]
# ## Predict first · ●●○ (8 minutes)
# The rest of the lab has one federation: 100 clients with 14 or 15 small digits each, and 50 rounds. In each round each
# client takes **one** step on **four** draws from its digits; one digit may come twice. You have four guesses. A guess that fails teaches most.
#
# The server in the story divided numbers of a message, and a digit appeared. Call this attack **redrawing**. A digit
# counts as redrawn from 25 dB on: the picture then differs from the truth by 6 % of the grey scale or less (root mean
# square).

# %%
predict(
    "00.a",
    "What share of all digits can the server redraw from the first messages?",
    unit="%",
    about="what a server reads",
)

# %%
reveal("00.a", lab00.redrawn(batch=4))

# %% [markdown]
# **What an ε promises.** Take two runs that differ in what *one* client sent: they are *neighbours* (here: one message
# replaced by another). Whatever somebody sees of a run, it may be at most $e^\varepsilon$ times as likely in one of them as
# in the other, except with a small chance δ. A small ε hides the client; $e^{1000}$ hides nobody. For the promise every
# long message is first shortened to a bound, which is called *clipping*.
#
# Now the **server** clips, and adds noise to the sum of the messages, so that the model has ε = 4: for one client, for all
# 50 rounds, with δ = 1e-5.

# %%
predict(
    "00.b",
    "What share of the digits can the server redraw now?",
    unit="%",
    about="what a server reads",
)

# %%
reveal("00.b", lab00.redrawn(epsilon=4, noise_at="server"))

# %% [markdown]
# Next, each **client** adds the noise before it sends. The ε is the same, with the same unit, rounds, δ and neighbours.
# Without noise, the model reads 91 % of new digits correctly after 50 rounds.

# %%
predict(
    "00.c",
    "What share of new digits does the model read correctly now?",
    unit="%",
    about="accuracy under noise",
)

# %%
reveal("00.c", lab00.accuracy(epsilon=4, noise_at="client"))

# %% [markdown]
# Last, the clients' ε is 10,000, and each message is made of **one** digit. Redrawing finds no digit in any message.
# Another attacker has a list of all 1,438 digits of all clients with their labels: the suspects. It computes what each
# suspect alone would send, and names the one that fits the message best. Call this attack **matching**. A blind guess
# names the right one in 0.07 % of the messages.

# %%
predict(
    "00.d",
    "In what share of the messages does matching name the right digit?",
    unit="%",
    about="what a server reads",
)

# %%
reveal("00.d", lab00.matched(epsilon=10_000, noise_at="client", batch=1))

# %% [markdown]
# ## The panel · ●●○ (15 minutes)
# Every move runs all fifty rounds again, attack and defence included. The digits belong to one client of that run. The
# rows below them are what redrawing and matching make of its first message. The grey picture at the right needs no
# message: it is the mean of all digits. A redrawn digit that does not beat it has found nothing.

# %%
after("00.d", lab00.panel())

# %% [markdown]
# Try one question at a time. Go back to the start after each.
#
# 1. Set ε to 4 and switch who adds the noise. Which rows change? What happens to the accuracy?
# 2. Let each client add the noise. Raise ε from 4 to 100,000. Which comes back first: the accuracy, or a digit?
# 3. Change the batch size from 1 to 16. Which of the two attacks fades?
# 4. Lower the share kept to 0.1. What does it cost, and whom does it stop?
# 5. Set the malicious fraction to 20 %, and the rule to the median. Then go back to the mean, and let the server add
#    noise with ε = 100. What helps, and what does the server read?
#
# <details><summary>What you can find</summary>
#
# 1. At the server, the rows do not change: it reads first and adds noise later. At the client, both rows fail, and so
#    does the model. The noise of a hundred clients adds up to ten times the standard deviation of the server's.
# 2. The accuracy. At ε = 1000 it is 4 to 7 points below the run without noise. There redrawing finds nothing, and
#    matching names 1 to 5 % of the digits. But ε = 1000 promises next to nothing: odds may change by a factor of
#    $e^{1000}$.
# 3. Redrawing. It finds all digits at batch size 1 and about 29 % at 16. Matching names about 97 % at 16. (Clients hold 14
#    or 15 digits, so that a batch of 16 has many of them twice.) Redrawing by
#    division also needs a fully connected first layer. Other models are not safe for that: Geiping et al. (2020) redraw
#    pictures from convolutional networks by another attack.
# 4. It costs 1 to 14 points of accuracy. It stops redrawing. It does not stop matching, which names 74 to 79 % of the
#    digits. Fewer bytes are no defence against somebody with suspects.
# 5. Under attack, the mean leaves 9 to 13 % right answers and the median 29 to 64 %. With noise at the server, the mean
#    leaves 69 to 80 %. That is not the noise: the server first shortens every long message (clipping). With noise at
#    the clients it is 9 to 13 % again, because liars do not shorten what they send. The server reads less from an
#    honest message only if that client adds noise.
#
# The picture shows one client. These shares are of all clients and five seeds, at batch size 4 unless it is named; they were
# measured for the course and not in this notebook.
# </details>
#
# ## The contrast, with seeds · ●●● (8 minutes)
# One run is an anecdote. Here are five seeds, six values of ε, and both places of the noise. First, what the noise
# costs, together with the clipping that it needs.

# %%
EPSILONS = (1, 4, 10, 100, 300, 1e3)
at_server = [lab00.accuracy(epsilon=e, noise_at="server") for e in EPSILONS]

# %%
at_client = [lab00.accuracy(epsilon=e, noise_at="client") for e in EPSILONS]
no_noise = [lab00.accuracy()] * len(EPSILONS)

# %%
lines = {"clean": no_noise, "at the server": at_server, "at the client": at_client}
after("00.d", lab00.price_picture(EPSILONS, lines))

# %% [markdown]
# Second, what two attacks read although each client adds noise. They use one message of the 50 that a client sends.

# %%
LARGE = (100, 1e3, 1e4, 1e5, 1e6, 1e7)
one = [lab00.shares(epsilon=e, noise_at="client", batch=1) for e in LARGE]

# %%
four = [lab00.shares(epsilon=e, noise_at="client", batch=4) for e in LARGE]

# %%
found = {
    "redrawn, batch 1": [[s.redrawn for s in seeds] for seeds in one],
    "matched, batch 1": [[s.matched for s in seeds] for seeds in one],
    "matched, batch 4": [[s.matched for s in seeds] for seeds in four],
}
after("00.d", lab00.reading_picture(LARGE, found))

# %% [markdown]
# The grey bands reach from the worst seed to the best. Is there an ε here with a useful model **and** a promise against
# the server? Decide before you open this.
#
# <details><summary>What the two pictures say</summary>
#
# No. With noise at the server, ε = 10 leaves a useful model, but promises nothing against the server. With noise at the
# client, the model is useful from ε = 300 on, and the promise is next to nothing there. Redrawing finds nothing up to
# ε = 100,000. Matching names digits clearly from ε = 1000 on (8 %).
#
# An attack that fails says something about *this* attack. Only a small ε says something about all attacks.
#
# More clients, fewer rounds or another task change the numbers. Secure aggregation is the field's answer, with a price
# of its own. A later lab builds it.
# </details>
#
# ## Check yourself · ●○○ (5 minutes)

# %%
quiz("00")

# %% [markdown]
# ## What this means at work
# * "The data never leaves the device" is true. It says nothing about what can be *read from* the updates.
# * Ask of every ε: per round or for the whole run, for which unit, which δ, which neighbours, and **who adds the
#   noise**?
# * Ask of every reconstruction: what does a guess score that needs no access?
# * Ask of every attack that fails: what would an attacker try who knows more?
# * A robust rule and a private one are different defences.
#
# Standards: model poisoning is NISTAML.011 and reconstruction is listed under privacy attacks in NIST AI 100-2 E2025.
# NIST SP 800-226 explains how to evaluate a claim of differential privacy. The mapping is this course's own judgement.
#
# **Further reading.** McMahan et al. 2017, *Communication-efficient learning of deep networks from decentralized data*,
# arXiv:1602.05629. Geiping et al. 2020, *Inverting gradients*, arXiv:2003.14053. McMahan et al. 2018, *Learning
# differentially private recurrent language models*, arXiv:1710.06963.
#
# **Next:** lab 01, where you build the round yourself.
