"""What lab 00 asks: its quiz. It asks for no prediction that is kept."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item

FINDINGS: dict[str, Finding] = {}

QUIZ = (
    Item(
        "Which of these travels from a client to the server in federated learning?",
        (
            ("What the client's training changed in the model", "The records stay; the change is what is sent."),
            (
                "A sample of the client's records",
                "No record is sent. What can be read from the change is another matter.",
            ),
            ("The client's accuracy, and nothing else", "The server could make no model of that."),
        ),
    ),
    Item(
        "The server adds noise to the sum that it has received. Against whom does that protect?",
        (
            ("Against those who get the model", "They see the model after the noise was added."),
            ("Against the server", "The server has read every message before it adds the noise."),
            ("Against clients that lie", "Noise that hides records stops nobody from sending a false update."),
        ),
    ),
    Item(
        "An attack redraws nothing from a noisy message. What follows?",
        (
            ("This attack fails here", "Another attack may know more about the noise, or see more messages."),
            ("The message is private", "Only a guarantee such as a small ε says that of every attack."),
            ("The noise was at the client", "It says nothing about who added the noise."),
        ),
    ),
    Item(
        "A reconstruction scores 12 dB. What do you ask first?",
        (
            ("What a guess scores that saw no message", "A score means something only beside such a guess."),
            ("Whether 12 dB is a good number", "On easy pictures an average picture may score as much."),
            ("How long the attack took", "Time matters later; first, did it find anything at all?"),
        ),
    ),
    Item(
        "A vendor says “ε = 4”. Which question is left?",
        (
            (
                "For which unit, over how many rounds, with which δ, and who adds the noise",
                "Without these the same number can be strong or empty.",
            ),
            ("None: ε = 4 is ε = 4", "For one round or for the whole run, for a record or for a client: it differs."),
            ("Only whether the model is accurate", "That is a question about its use, not about what it gives away."),
        ),
    ),
)
