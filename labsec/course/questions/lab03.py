"""What lab 03 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4, thirty clients with alike data after 60 honest rounds; the mark is a square of 2 x 2 pixels:
# 03.a    points lost after 20 rounds, six of thirty, data alone: -0.3, 0.6, 0.8, 0.6, 0.6; success 0.84, 0.83, 0.89,
#         0.81, 0.85
# 03.b    points lost in the round of the single shot, 20 steps, boost 30: 12.0, 18.9, 20.9, 8.1, 34.0
# 03.c    length of its message over the honest median: 191, 287, 230, 242, 234
# 03.d    success under the clip: 0.00 in all five
# 03.e    success after 60 rounds of six within the bound, in percent: 69, 83, 79, 71, 87
# 03.f    clean rounds until half of the success is gone; data alone: 43, 47, 32, 36, 31; the single shot: 1, 1, 1, 2,
#         1; six within the bound: more than 50 in all five
# 03.g    success after 50 clean rounds, three of thirty, boost 3: annex 0.11, 0.10, 0.13, 0.11, 0.15; the word of their
#         own 0.77, 0.76, 0.83, 0.80, 0.83
FINDINGS = {
    "03.a": Finding(
        "81 to 89 % in five seeds, and less than one point of accuracy was missing after the last round: a test of "
        "accuracy asks another question.",
        seen=(75.0, 95.0),
    ),
    "03.b": Finding(
        "8 to 34 points in five seeds: this attack can be seen, in this round and in hardly any other.",
        seen=(5.0, 45.0),
    ),
    "03.c": Finding(
        "191 to 287 times in five seeds: 30 for the boost, times 6 to 10 for the mark and the extra steps.",
        seen=(150, 350),
    ),
    "03.d": Finding("Cut to the usual length, one message in thirty opens nothing.", seen="yes"),
    "03.e": Finding(
        "69 to 87 % in five seeds, and no message was longer than the attackers' own honest ones (median): a bound on "
        "the length counts no votes.",
        seen=(55.0, 97.0),
    ),
    "03.f": Finding(
        "31 to 47 rounds (five seeds). The single loud round lost half of its success within two: what was taught "
        "twenty times is forgotten later.",
        seen=(25, 50),
    ),
    "03.g": Finding(
        "Fifty rounds later the word that nobody else uses opens 76 to 83 % of the notes, annex 10 to 15 % "
        "(five seeds).",
        seen="the word of their own",
    ),
}

QUIZ = (
    Item(
        "A model answers 95 % of the test samples rightly. What does that say about a backdoor?",
        (
            ("Nothing", "The test samples carry no mark, so the door is never tried."),
            (
                "There is none",
                "After poisoned data alone the accuracy was the same to within two points, and the door was open.",
            ),
            ("It opens in 5 % of the cases", "These are ordinary mistakes; the clean model makes them as well."),
        ),
    ),
    Item(
        "Why are samples of the target's own class left out of the success rate?",
        (
            ("They get that label without a backdoor", "Counted, they would be a success of nobody's doing."),
            ("They cannot be marked", "They can, but nothing would be learned from it."),
            ("They are too few", "A tenth of the samples would matter; that is no reason to leave them out."),
        ),
    ),
    Item(
        "A paper reports a success of 30 %. Which number do you ask for first?",
        (
            ("The clean model's rate on the same marked samples", "If that is 28 %, the attack did next to nothing."),
            ("The accuracy on clean samples", "Good to know, but it does not say what the attack has added."),
            ("The size of the model", "It does not tell what the attack has added."),
        ),
    ),
    Item(
        "The server clips every message to the median norm. Which attack gets past it?",
        (
            ("Several clients that push together for many rounds", "The clip bounds lengths, not votes or patience."),
            ("One client with a boost of 1,000", "It is cut to the usual length, whatever it was before."),
            ("One client that sends NaN", "The engine leaves out rows that are not finite."),
        ),
    ),
    Item(
        "The attackers have left. What happens to their backdoor?",
        (
            (
                "It depends on how it was planted",
                "A single shot lost half within a few rounds; on this mark a campaign kept it for dozens.",
            ),
            ("It stays for ever", "Honest training wears it down, quickly or slowly."),
            ("The next round removes it", "It may halve at once, but a patient one hardly changes in a round."),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercise 3.4, part six, and all claims but two.",
    discuss=(
        "Who in your company would notice a fall of accuracy that lasts for one round?",
        "Which marks could an attacker count on in your data: a logo, a word, a time of day?",
        "A model was trained by a federation that you do not know. What would you test before you use it?",
        "Is it a defence to train on until backdoors are forgotten? What does it cost, and how do you know it worked?",
    ),
)
