"""What lab 04 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Seeds 0 to 4, other pictures and another model each, `mnist5k`:
# 04.a    of eight pictures, dense network of 256 neurons: 6, 5, 5, 6, 5
# 04.b    of five pictures, DLG's LeNet, label known: 3, 5, 5, 5, 5; the two others diverged
# 04.c    median of four pictures in dB, eval mode: 48.5, 50.6, 11.5, 15.3, 49.6; train mode: 31.8, 37.0, 15.0, 15.0,
#         27.1
# 04.d    of 80 pictures behind a message of FedAvg, 60 iterations: 0 in all five; the best 9.6, 8.4, 10.5, 8.0, 9.0 dB
FINDINGS = {
    "04.a": Finding(
        "5 or 6 of eight in five seeds, without a search and without a label: each had a neuron for itself.",
        seen=(4, 7),
    ),
    "04.b": Finding(
        "3 of five here. With four more groups of five it was 23 of 25: only the two here diverged, and their "
        "matching loss said so.",
        seen=(2, 5),
    ),
    "04.c": Finding(
        "Eval mode, by 14 to 23 dB in three of five seeds; in the other two the median picture was lost in both modes. "
        "Train mode did not hide it in these three: the searcher knew the mode.",
        seen="eval",
    ),
    "04.d": Finding(
        "None in five seeds: the best of 80 came to 8 to 11 dB, and the mean picture scores more. Look at the picture "
        "before you call that safe.",
        seen=(0, 2),
    ),
}

QUIZ = (
    Item(
        "Why does the division give the picture exactly?",
        (
            (
                "A neuron's row is the picture times a number, and its bias is that number",
                "The learning rate is in both, so it cancels as well.",
            ),
            ("The network is small", "It holds for every width, as long as the neuron saw one picture alone."),
            ("The learning rate is small", "It cancels, whatever it is."),
        ),
    ),
    Item(
        "A search for the picture has ended. How does an attacker who has never seen the truth know whether it worked?",
        (
            (
                "By the matching loss",
                "What the found picture would have sent is held against the message; the truth is not needed.",
            ),
            ("By looking at the picture", "A stranger's digit looks just as real."),
            ("Not at all", "The message itself is the evidence."),
        ),
    ),
    Item(
        "A paper reports 93 % similarity between reconstructed and real faces. What do you ask for first?",
        (
            (
                "By which metric, and what the mean face scores",
                "By the cosine, a mean face comes to about 94 % without any message.",
            ),
            ("How long it took", "That says nothing about whether anything was found."),
            ("Which graphics card was used", "It does not change what a percentage means."),
        ),
    ),
    Item(
        "The connection is encrypted with TLS. Who can still run these attacks?",
        (
            ("The server", "It must decrypt the message in order to use it."),
            ("Nobody", "TLS ends at the server, and the message is read there."),
            ("Everybody on the network", "They see noise."),
        ),
    ),
    Item(
        "Out of a message of FedAvg no picture came to 25 dB. What does that show?",
        (
            (
                "That this search does not redraw them",
                "15 to 44 % of what it found looked most like one of the 80, among four thousand digits (five seeds).",
            ),
            ("That FedAvg protects them", "Digits were plain to see in the noise, and a gallery named many."),
            ("That the message holds nothing", "A score in dB measures pixels, not who was there."),
        ),
    ),
)

TEACHING = Teaching(
    skip="Exercise 4.5, parts six and eight, and all claims but three.",
    discuss=(
        "Who in your company may read a single client's update, and how long is it kept?",
        "A vendor says: “Only gradients leave the hospital.” Which three questions do you ask?",
        "How would you find out that somebody has inverted a message of yours?",
        "A score says that nothing was read out, and you can see the digit. Which number would you report?",
    ),
)
