"""What lab 01 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# 20 clients, weighted mean, learning rate 0.3, five steps on 16 digits unless said otherwise; seeds 0 to 4:
# 01.a    accuracy after 20 rounds, IID shards: 0.925, 0.942, 0.933, 0.936, 0.930
# 01.b    accuracy after 10 rounds, IID shards: FedAvg 0.889 to 0.908, FedSGD 0.546 to 0.733; after 60 rounds
#         0.958 to 0.967 and 0.916 to 0.933
# 01.c    Dirichlet(0.1) shards, 1,000 steps in all: points lost with a message after every 100 steps instead of after
#         every step: 3.6, 2.0, 3.9, 5.6, 3.4; seeds 10 to 14: 2.8, 9.2, 4.7, 3.6, 6.1
# 01.d    points that Dirichlet(0.1) shards cost after 60 rounds: 1.1, 0.6, 1.1, 0.8, 1.4; after 5 rounds: 10 to 29;
#         seeds 10 to 14: 0.8, 1.7, -0.6, 1.9, 2.2; after 5 rounds: 15 to 38
FINDINGS = {
    "01.a": Finding(
        "After twenty rounds the model reads more than nine unseen digits of ten, and no digit has left its client.",
        seen=(0.90, 0.96),
    ),
    "01.b": Finding(
        "At this learning rate, five small steps beat one step on all samples: about 0.9 against 0.5 to 0.7 after ten "
        "rounds. After sixty rounds the gap has shrunk to 2.5 to 5 points.",
        seen="FedAvg",
    ),
    "01.c": Finding(
        "A hundredth of the messages costs 2 to 9 points (ten seeds, of which this lab runs one): the longer clients "
        "train without talking, the further apart they end.",
        seen=(1.0, 10.0),
    ),
    "01.d": Finding(
        "About one point. After five rounds it was 10 to 29 (five seeds; look at the left of the picture): on these "
        "digits, skew delays far more than it damages.",
        seen=(0.0, 3.0),
    ),
}

QUIZ = (
    Item(
        "What does a client send in this lab?",
        (
            ("Its new parameters minus the old ones", "An update is a change, and the server adds the mean change."),
            ("Its new parameters", "Then the server would have to subtract; here the client does."),
            ("One gradient of its whole data set", "That is FedSGD. A client of FedAvg takes several steps first."),
        ),
    ),
    Item(
        "Why are the updates weighted by the number of samples?",
        (
            (
                "So that every sample counts alike",
                "If each client takes one step on its whole shard, this is one step on all data.",
            ),
            ("So that every client counts alike", "For that the plain mean is enough."),
            (
                "Because large clients train better",
                "The weight says how many samples stand behind an update, not how good it is.",
            ),
        ),
    ),
    Item(
        "The clients' labels become more skewed. What do you expect first?",
        (
            ("The model arrives later", "Look at more rounds before you call it damage."),
            ("The messages become longer", "A message has as many numbers as the model has, whatever the data."),
            ("The clients need no server any more", "Each knows fewer kinds of digits: they need one another more."),
        ),
    ),
    Item(
        "Clients take 20 local steps in place of 5. What does that change in the bytes of a round?",
        (
            ("Nothing", "A round sends one update for each client, however many steps are in it."),
            ("Four times as many", "Steps are computed, not sent."),
            ("A quarter", "Fewer rounds may be enough, but each of them costs the same."),
        ),
    ),
    Item(
        "“The data never leave the hospital.” What does that say about what can be learned of a patient?",
        (
            ("It says nothing about that", "An update can hold a record, and the one of a single patient did."),
            ("It says that nothing can be learned", "The attack of this lab needed one division."),
            ("It says that only labels can be learned", "The attack found the values, and never saw a label."),
        ),
    ),
)

TEACHING = Teaching(
    skip="The picture of long walks, and all claims but the first. Exercise 1.2 can be given.",
    discuss=(
        "The server believes the sample counts that clients report. Who gains from a wrong one?",
        "When would you rather have fewer messages, and when fewer local steps?",
        "“The data never leave the hospital.” Which sentence would you put in its place?",
        "What does a law need to know about an update to call it personal data?",
    ),
)
