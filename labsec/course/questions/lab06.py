"""What lab 06 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4, thirty clients, thresholds chosen on seed 100 among alike clients at 5 %:
# 06.a    honest messages of very unlike clients above the cosine threshold, in percent: 29.4, 28.7, 32.5, 33.0, 34.1;
#         above that of the norm 4.5, 4.2, 5.0, 3.2, 3.5
# 06.b    10 / (10 + 49.5), a sum
# 06.c    points lost on the classes that isolated clients hold, norm, very unlike, nobody attacks: 9.1, 18.0, 15.1,
#         22.5, 3.6
# 06.d    share of the rounds in which the six below the threshold were left out, in percent: 0, 0, 0, 2.0, 0; accuracy
#         behind the quarantine 0.48, 0.49, 0.42, 0.70, 0.48, and under the plain mean 0.91, 0.94, 0.93, 0.94, 0.93
FINDINGS = {
    "06.a": Finding(
        "Between 28 and 34 % of all honest messages (five seeds), from a threshold that was sold with 5 %.",
        seen=(24.0, 40.0),
    ),
    "06.b": Finding(
        "10 bad clients and 49.5 honest ones are accused: of six accusations about one is true, by a detector that "
        "misses nobody.",
        seen=(16.0, 17.5),
    ),
    "06.c": Finding(
        "4 to 23 points in five seeds, and nobody had attacked.",
        seen=(2.0, 30.0),
    ),
    "06.d": Finding(
        "42 to 70 % in five seeds, where the plain mean kept 91 to 94 %. The attackers were left out in no round of "
        "four seeds, and in 2 % of the fifth's.",
        seen=(35.0, 80.0),
    ),
}

QUIZ = (
    Item(
        "A detector was tuned to 5 % false alarms on alike clients. How many will it raise among yours?",
        (
            (
                "Nobody knows before it was measured on clients like yours",
                "One score kept its 5 %, another made it 30 %.",
            ),
            ("5 %, because that is how it was tuned", "The share belongs to the clients it was tuned on."),
            ("Fewer, because yours are honest", "Those that it was tuned on were honest, too."),
        ),
    ),
    Item(
        "Of 1,000 clients 10 are bad. Which change makes most accusations true?",
        (
            ("Fewer false alarms", "At 0.1 % it accuses one honest client in place of fifty."),
            ("Finding every bad client", "It finds all ten in the lab's sum, and five of six accusations are false."),
            ("More clients of the same kind", "Right and wrong accusations grow alike."),
        ),
    ),
    Item(
        "Why does a quarantine by length cost some classes more than others?",
        (
            (
                "Some classes are held by a few clients, and those were out",
                "Nobody else teaches their classes in the meantime.",
            ),
            ("Rare classes are attacked more often", "Nobody attacked in that run."),
            ("Long messages hold more samples", "The length says how far the model would move, not how many spoke."),
        ),
    ),
    Item(
        "FLTrust reaches 0.92 under attack. What do you compare that with first?",
        (
            ("What the server reaches with its root samples alone", "That was 0.87 to 0.92, without any client."),
            ("The accuracy of guessing", "One in ten: almost anything beats it."),
            ("The accuracy that the paper reports", "Other data and other clients give other numbers."),
        ),
    ),
    Item(
        "Messages arrive as one secure sum. Which defence still works?",
        (
            ("A bound that every client proves to have kept", "It acts before the sum, and nobody can skip it."),
            ("Multi-Krum", "It compares single messages, and there is one row only."),
            (
                "A clip of the sum at the server",
                "The shout is in it already, and a shorter sum points the same way.",
            ),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercise 6.2, part five up to the secure sum, and all claims but two.",
    discuss=(
        "A hospital has been in quarantine for a month. Who tells it, and what can it do?",
        "Who should choose the root samples, and whose patients will they resemble?",
        "A vendor shows a detection rate of 99 %. Which three numbers do you ask for?",
        "Would you rather see every message, or promise that you cannot?",
    ),
)
