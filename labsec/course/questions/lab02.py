"""What lab 02 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Means of seeds 0 to 4, with the smallest and the largest, then seeds 10 to 14:
# 02.a    87.3 points (86.9 … 88.0); 87.7 … 88.9
# 02.b    39.3 points (36.2 … 46.5); 33.1 … 47.9
# 02.c    45.0 points (20.9 … 64.9); 20.3 … 42.3
# 02.d    mean accuracy of the last 50 rounds, seeds 0 to 4 and 10 to 14: the median alone .89 … .94, under ALIE
#         .89 … .95 and never 5 points lower, under IPM .67 … .84 and always more than 7 points lower
FINDINGS = {
    "02.a": Finding("One loud client in thirty destroys the plain mean.", seen=(80.0, 92.0)),
    "02.b": Finding("Believing one client alone costs much where clients differ.", seen=(30.0, 52.0)),
    "02.c": Finding("The attack that did nothing among alike clients now costs tens of points.", seen=(15.0, 70.0)),
    "02.d": Finding("ALIE has delayed the model. IPM still holds it down after 300 rounds.", seen="IPM"),
}

QUIZ = (
    Item(
        "Six of thirty clients flip their update and send it ten times as long. What does the plain mean do?",
        (
            ("It follows them", "The mean has no bound: a row that is long enough moves it anywhere."),
            ("It averages them away", "Errors that point in many directions average away. These all point in one."),
            ("It leaves them out", "The mean looks at nothing; it adds and divides."),
        ),
    ),
    Item(
        "A rule is told f = 6, and seven clients are malicious. What does its guarantee say?",
        (
            ("Nothing", "The guarantee assumes that there are six at most."),
            ("A seventh of it is lost", "There is no such scale: what happens depends on the attack."),
            ("That it holds on average", "It speaks of the worst case, and only up to f."),
        ),
    ),
    Item(
        "Why does an attack such as ALIE stay close to the crowd?",
        (
            ("So that rules that remove far rows keep it", "A small push in every round, in one direction, adds up."),
            ("Because a longer message is cut off on the way", "Nothing here limits the length of a message."),
            ("So that the model learns faster", "It wants the opposite."),
        ),
    ),
    Item(
        "What does a row “no attack” in the table tell?",
        (
            ("The price of each rule", "A rule that costs much when nobody attacks is paid for in every round."),
            ("That the rules work", "Nothing was there to work against."),
            ("Which rule wins", "Against an attack the order may be another."),
        ),
    ),
    Item(
        "A rule withstands every attack of a table. What may you write?",
        (
            ("That these attacks did not break it", "Name them, and whether one of them knew the rule."),
            ("That the rule is secure", "The next attacker has read about the rule."),
            (
                "That more attackers change nothing",
                "The table had a fixed share of them; another share is another run.",
            ),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercises 2.5 and 2.8, and all claims but 8 and 34.",
    discuss=(
        "Your consortium has ten hospitals. What is the smallest share of attackers that you have to expect?",
        "A rule costs accuracy when nobody attacks, most of all for unusual clients. Who pays for the insurance?",
        "What would you ask a vendor whose table shows five attacks that fail?",
        "Should the rule of a federation be public?",
    ),
)
