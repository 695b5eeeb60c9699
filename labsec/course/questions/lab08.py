"""What lab 08 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4, other models and other draws each:
# 08.a    accuracy with 7 of 2,410 numbers and error feedback, 40 rounds, in percent: 90.8, 89.7, 89.7, 90.3, 88.9;
#         without it 38.4, 27.3, 40.1, 46.0, 30.9; after 160 rounds without it (three seeds) 88.9, 85.5, 85.2
# 08.b    of ten pictures, a random tenth of each message, kept entries alone: 10 in all five; plain 0 in all five; the
#         largest tenth in place of a random one, kept entries alone: 4, 8, 9, 7, 6
# 08.c    clients of 100 named from 50 messages of SFSQ, bound .05, 40 % flipped: 100, 99, 96, 100, 99; from one
#         message 10, 17, 9, 9, 10
# 08.d    dB of five pictures behind Soteria at 80 %, last layer left out: 54.3, 57.8, 53.0, 77.2, 51.2; plain 4.1, 4.7,
#         4.0, 4.3, 4.8
# 08.e    percent of digits read out of five steps of 16: 2.8, 2.6, 1.3, 3.3, 0.6; suspects named right: 52, 51, 51, 51,
#         45, by chance 22
# 08.f    percent of models of twenty honest federations above limits from three others: 24, 43, 14, 14, 0; from one
#         model each of 120 federations: 0, 2, 0, 0, 0
# and four bits a number: plain 9 to 13 dB, knowing and one message 13 to 16, ten 20 to 23, fifty 25 to 29
FINDINGS = {
    "08.a": Finding(
        "89 to 91 % in five seeds, where forgetting what was left out gave 27 to 46 %.",
        seen=(85.0, 94.0),
    ),
    "08.b": Finding(
        "Ten of ten in five seeds, and none for the plain attacker. From the LARGEST tenth it is 4 to 9.",
        seen=(9, 10),
    ),
    "08.c": Finding(
        "96 to 100 % in five seeds, where one message named 9 to 17 %.",
        seen=(90.0, 100.0),
    ),
    "08.d": Finding(
        "51 to 77 dB for five pictures, which is the picture itself; the plain attacker came to 4 or 5 dB. The mask "
        "hid what nobody needs.",
        seen=(40.0, 120.0),
    ),
    "08.e": Finding(
        "1 to 3 % in five seeds. But about half of the suspects that are named were there; by chance it would be 22 %.",
        seen=(0.0, 6.0),
    ),
    "08.f": Finding(
        "24 % here, and 0 to 43 % with limits from four other sets of three federations. It was to be 5 % at most.",
        seen=(10.0, 50.0),
    ),
}

QUIZ = (
    Item(
        "A client sends a random tenth of its numbers. Why does the search of lab 04 fail, and yours not?",
        (
            (
                "It takes the zeros for gradients, and yours leaves them out",
                "What was sent is true. What was not sent is unknown, and no zero.",
            ),
            ("A tenth of the numbers holds too little", "It was 1,343 equations for 784 pixels."),
            ("Yours runs in double precision", "So does the other one."),
        ),
    ),
    Item(
        "Why is rounding to the nearest step worse for learning than rounding at random?",
        (
            (
                "It errs in the same direction every time",
                "Errors that are right on average cancel, over clients and over rounds.",
            ),
            ("It needs more bits", "Both send the same steps."),
            ("It loses large numbers", "It loses small ones: whatever is below half a step is never sent."),
        ),
    ),
    Item(
        "A product flips every bit with a chance of 25 %, “ε = 1.1”. A message has 2,410 bits. What do you ask?",
        (
            (
                "ε of what: a bit, a message, a year of messages?",
                "By basic composition one message comes to about 2,650.",
            ),
            ("Whether the random numbers are good", "They should be, and ε stays in the thousands."),
            ("Nothing: 1.1 is a small ε", "Of one bit. Nobody sends one bit."),
        ),
    ),
    Item(
        "A paper shows that its mask lowers reconstructions from 54 to 4 dB. What is missing?",
        (
            ("An attacker who knows the mask", "One that left the masked layer out read the picture as before."),
            ("More pictures", "With a thousand of them, the attacker still believes the zeros."),
            ("A larger network", "It gives a knowing attacker more equations."),
        ),
    ),
    Item(
        "With error feedback, a client that was absent comes back. What does it send?",
        (
            (
                "What is largest of its new update and its own old debt together",
                "The memory is kept by identity, and waits.",
            ),
            (
                "What the others owed in the meantime",
                "Memories that mix pay one client's debt with another one's data.",
            ),
            ("Its new update alone", "Then what it left out before is lost."),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercise 8.4, the two digit masks of part five, part eight, and all claims but two.",
    discuss=(
        "Your company compresses updates to save bandwidth. May its brochure say “more private”?",
        "How many messages about the same data does your server get in a year, and who counts them?",
        "Large batches and several local steps hide pictures as well. Why is no product called that?",
        "A check at the client accuses an honest server in one round of twenty. What should the client do then?",
    ),
)
