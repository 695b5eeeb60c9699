"""What lab 00 asks: what its predictions come to, and its quiz."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# In percent: seeds 0 to 4, and the mean of seeds 10 to 14, which were not looked at before.
# 00.a    redrawn at batch size 4, no noise: 77.5, 74.8, 78.2, 65.5, 78.5; 72.9
# 00.b    the same under noise at the server, ε = 4: the same numbers
# 00.c    accuracy under noise at the client, ε = 4: 20.3, 11.1, 14.8, 2.2, 6.4; 9.0
# 00.d    matched at batch size 1, ε = 10,000 at the client: 77, 74, 75, 73, 75; 72.0
FINDINGS = {
    "00.a": Finding(
        "Most of them. Where four digits meet in one message, some neurons saw one of them alone and give it away.",
        seen=(60.0, 90.0),
    ),
    "00.b": Finding(
        "Exactly as many as before. The server reads the messages before it adds the noise.", seen=(60.0, 90.0)
    ),
    "00.c": Finding(
        "About as many as a blind guess, which is right in 10 %. A hundred noises arrive, one with every message.",
        seen=(2.0, 25.0),
    ),
    "00.d": Finding(
        "Three quarters, where redrawing found none. Noise that stops one attack may leave enough to another.",
        seen=(65.0, 85.0),
    ),
}

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
            (
                "Against clients that lie",
                "Noise stops nobody from sending a false update. The clipping before it limits what one can do.",
            ),
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
                "For which unit, rounds, δ and neighbours, and who adds the noise",
                "Without these the same number can be strong or empty.",
            ),
            ("None: ε = 4 is ε = 4", "For one round or for the whole run, for a record or for a client: it differs."),
            ("Only whether the model is accurate", "That is a question about its use, not about what it gives away."),
        ),
    ),
)

TEACHING = Teaching(
    skip="The contrast with seeds. The panel's third to fifth questions.",
    discuss=(
        "Which of the four doors of the threat map would your own organisation look at first, and why?",
        "A vendor offers ε = 4 with noise at the server. Who has to be trusted for that promise to mean anything?",
        "Redrawing fails and matching works. What does that say about a report that tested one attack?",
        "Whose handwriting was it in the story, and should that person have been asked?",
    ),
)
