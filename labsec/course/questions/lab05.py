"""What lab 05 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4:
# 05.a    share of the words at their place, in percent: mean 6, learned and fixed positions 100, GRU 100, 100, 33, 100,
#         100
# 05.b    words named by a step of 16 notes: 100, 97, 98, 96, 103
# 05.c    categories right of 8 rows, in percent: 91.7, 100, 95.8, 81.2, 100; of 16 rows 83, 78, 92, 90, 83; a stranger
#         65, 52, 56, 48, 50 and 57, 57, 55, 59, 62; the most frequent category 40, 55, 45, 35, 43
# 05.d    genotypes right under noise of 0.01: 100 in all five; 0.03: 99, 97, 98, 95, 99; 0.1: 72, 67, 54, 63, 69
# 05.e    pictures read from bins, in percent: 79.7, 70.3, 84.4, 78.1, 70.3; honest model 3, 8, 5, 6, 5
# 05.f    likeness of an honest layer .029, .029, .029, .028, .029; of traps .032 in all five; read from traps 50, 48,
#         42, 50, 48 %
# 05.g    100 rounds: 100 in all five; 10 rounds: 82, 95, 96, 96, 93; one round: nothing stands out in any
FINDINGS = {
    "05.a": Finding(
        "Three of four: both transformers give the order of all five notes, the GRU that of the four in which no word "
        "comes twice. The mean "
        "gives none.",
        seen=(3, 3),
    ),
    "05.b": Finding(
        "96 to 103 in five seeds. The bag holds the words of all sixteen notes, and does not say whose word is whose.",
        seen=(80, 110),
    ),
    "05.c": Finding(
        "81 to 100 % in five seeds (other draws of rows, in claim 20, go down to 72 %); the most frequent category of "
        "each column 35 to 55 %.",
        seen=(60, 100),
    ),
    "05.d": Finding("All of them, in all five seeds: rounding removes the noise.", seen=(95, 100)),
    "05.e": Finding("70 to 84 % in five seeds. The theory says 78 %.", seen=(60, 95)),
    "05.f": Finding(
        "No: 0.03 for both (five seeds), for every trap has a direction of its own. The audit reads 42 to 50 % of the "
        "pictures from the answer to traps, and 3 to 8 % from that to an honest model.",
        seen="no",
    ),
    "05.g": Finding(
        "All of them, in all five seeds: the noise of each round is new, and the person is the same.", seen=(95, 100)
    ),
}

QUIZ = (
    Item(
        "A model takes the mean of the words' rows. What does one step on one note give away?",
        (
            ("The words, and not their order", "Every order has the same mean, and so the same gradient."),
            ("Words and order", "The order does not enter the model, so no number of the message depends on it."),
            ("Nothing without a search", "The rows that moved are the words; nothing is searched for."),
        ),
    ),
    Item(
        "An attack gets 68 % of the genotypes right. What do you ask first?",
        (
            ("What the most frequent genotype gets", "Two thirds, without any message."),
            ("How many seconds it took", "Time says nothing of success."),
            ("Which network it was", "Worth knowing, but not before the baseline."),
        ),
    ),
    Item(
        "Noise makes an error of 0.1 in each genotype, stored as 0, 0.5 or 1. What is lost?",
        (
            ("Nothing", "The nearest value is the right one as long as the error is below a quarter."),
            ("A tenth of the genotypes", "An error of 0.1 changes no rounded value."),
            ("All of them", "A picture would look noisy; a genotype is rounded."),
        ),
    ),
    Item(
        "256 bins, 64 samples. Why are not all samples read?",
        (
            ("Some share a bin", "Each sample is alone with chance (1 - 1/256)^63, which is 0.78."),
            ("There are more samples than bins", "There are four bins for each sample."),
            ("The client adds noise", "Nobody adds noise here."),
        ),
    ),
    Item(
        "Which check at the client measures what its own message gives away?",
        (
            (
                "Attack one's own message before sending it",
                "It asks what the message gives away. It is as good as the attacks that it tries.",
            ),
            ("Compare the directions of the neurons", "That finds bins, and not traps."),
            ("Check the server's certificate", "It says who sent the model, not what the model does."),
        ),
    ),
)

TEACHING = Teaching(
    skip="Parts four and six, and all claims but two.",
    discuss=(
        "Your keyboard learns from what you type. Which rows of which table leave your phone?",
        "A rare allele names a family. Who has to agree that its carrier takes part?",
        "A client refuses to train. Whom does it tell, and what can it prove?",
        "Should the law ask for the privacy of a message, or of all that a server keeps?",
    ),
)
