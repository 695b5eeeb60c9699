"""What lab 07 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4:
# 07.a    accuracy with noise at every client, in percent: 12.0, 19.8, 10.6, 12.0, 10.3; with the same multiplier at the
#         server 75.2, 79.7, 81.1, 77.7, 78.0; by zero-out 91.6, 93.6, 91.4, 93.3, 90.8; without noise 95.5, 96.1, 95.5,
#         95.3, 95.8
# 07.b    a formula
# 07.c    the bound from 4,000 trials: 1.66, 1.09, 0.71, 1.74, 1.35
# 07.d    messages whose suspect is named at ε = 1,000, in percent: 97.6, 99.7, 99.3, 99.0, 99.3
# 07.e    labels right at ε = 4, in percent: 17.7, 20.5, 16.0, 17.7, 18.1; from fifty such messages 93, 90, 91, 94, 90
# 07.f    points that the eight loses at ε = 8: 76, 33, 70, 68, 76; the others on average 14, 6, 13, 17, 11;
#         with all eights left in, the eight loses 41, 15, 29, 38, 26
FINDINGS = {
    "07.a": Finding(
        "10 to 20 % in five seeds, where guessing has 10 %: next to nothing is learned.",
        seen=(8.0, 25.0),
    ),
    "07.b": Finding(
        "48.5. Not 4: averaging fifty rounds cancels some of the noise. And not 200: it does not cancel all.",
        seen=(48.0, 49.0),
    ),
    "07.c": Finding(
        "0.7 to 1.7 in five draws of the trials: a bound from below, and not a tight one.",
        seen=(0.5, 2.5),
    ),
    "07.d": Finding(
        "97.6 to 99.7 % in five seeds, where the division shows nothing but noise.",
        seen=(95.0, 100.0),
    ),
    "07.e": Finding(
        "16 to 21 % in five seeds: not much, and up to twice a guess.",
        seen=(13.0, 25.0),
    ),
    "07.f": Finding(
        "33 to 76 points in five seeds, four to seven times as much as the other digits; 15 to 41 if it is not rare.",
        seen=(25.0, 85.0),
    ),
}

QUIZ = (
    Item(
        'A product page says: "differentially private, ε ≤ 4". What do you know?',
        (
            (
                "Little: unit, δ, relation and number of rounds are missing",
                "In the lab four readings of this sentence differed from 4 to more than 300 on one set of terms.",
            ),
            ("That no record can be found", "It bounds odds, and for a client or an example, in a round or a run?"),
            ("That it protects better than ε ≤ 8", "Not if one of them means every round."),
        ),
    ),
    Item(
        "The noise moves from the server to a hundred clients, at the same ε. Why does accuracy fall?",
        (
            (
                "Every message needs all the noise, so their sum holds ten times as much",
                "A hundred independent noises add up to the root of a hundred.",
            ),
            ("Clients draw worse random numbers", "They draw from the same distribution."),
            ("Every message is clipped twice", "It is clipped once in either place."),
        ),
    ),
    Item(
        "An audit of 4,000 runs shows ε ≥ 1.2, and 4 is stated. What follows?",
        (
            ("These runs with this canary do not contradict 4", "Another canary, or more runs, may."),
            ("The true ε is 1.2", "In the lab it was exactly 4, by the formula."),
            ("The mechanism is right", "A broken mechanism passed until the canary was changed."),
        ),
    ),
    Item(
        "At ε = 1,000 a picture can no longer be recognised. Is it protected?",
        (
            (
                "No: whoever has a list of suspects still names the right one",
                "A comparison uses all numbers of the message at once.",
            ),
            ("Yes, there is nothing but noise to see", "One attack saw nothing but noise."),
            ("Yes, if the labels are protected as well", "At this ε all labels are read."),
        ),
    ),
    Item(
        "Fifty rounds with noise for ε = 4 each. What is the ε of the run?",
        (
            ("About 48", "Not 4, and not 200: the squares of 1/noise add up."),
            ("4, because every round has it", "Rounds add up: whoever averages them sees more."),
            ("200, because rounds add up", "That is an upper bound. Averaging leaves some noise, so it is much less."),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercise 7.4, part five, DP-SGD on a model of one's own, and all claims but two.",
    discuss=(
        "Who may choose ε, and who has to live with it?",
        "A hospital trusts the server with the sum. What would have to be true, and how could it check?",
        "The rare class pays for everybody's privacy. Name two ways out, and the price of each.",
        "An auditor found nothing. What may the product page say?",
    ),
)
