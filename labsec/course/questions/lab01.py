"""What lab 01 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item

# 01.a    accuracy after 20 rounds on IID shards, 20 clients: 0.925, 0.942, 0.933, 0.936, 0.930 with seeds 0 to 4
FINDINGS = {
    "01.a": Finding(
        "Twenty rounds are enough to come close to one computer that holds all the digits.", seen=(0.90, 0.96)
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
            ("So that every sample counts alike", "One step on all data pooled is exactly this weighted mean."),
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
            ("Nothing", "An update can hold a record, and the one of a single patient did."),
            ("Nothing can be learned", "The attack of this lab needed one division."),
            ("Only labels can be learned", "The attack found the values, and never saw a label."),
        ),
    ),
)
