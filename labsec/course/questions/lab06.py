"""What lab 06 asks: what its prediction comes to, its quiz, and advice for those who teach it."""

from __future__ import annotations

from labsec.course.questions.base import Finding, Item, Teaching

# Points lost behind a bound of 0.5, seeds 0 to 4: 4.2, 3.3, 3.1, 4.5, 3.6
FINDINGS = {
    "06.a": Finding(
        "Behind the bound a loud minority costs little: each of the six counts as one vote.", seen=(2.0, 6.0)
    ),
}

QUIZ = (
    Item(
        "What does the attacker of this lab have to know?",
        (
            ("Its own update", "The card says what else it could see."),
            ("The server's bound", "It sends the opposite of what it learned, whatever the bound is."),
            ("The other clients' updates", "It looks at nobody else."),
        ),
    ),
    Item(
        "Why is each row shortened, and not the mean?",
        (
            ("The long rows would have had their say", "A bound on the mean limits its length, not its direction."),
            ("It is faster", "It takes about as long."),
            ("The mean has no length", "It is a row like the others, and has one."),
        ),
    ),
    Item(
        "What does the bound not stop?",
        (
            ("Attackers who stay below it", "Six votes in thirty remain six votes."),
            ("Attackers who send very long messages", "Each counts as one message of the bound's length."),
            ("Noise of a thousand times the usual length", "It is shortened like everything else."),
        ),
    ),
    Item(
        "The bound is ten times the usual length. What does it change?",
        (
            ("Almost nothing", "A message may still be ten times as loud as an honest one."),
            ("Honest messages become longer", "A bound shortens; it never stretches."),
            ("Attackers are left out", "A long message is shortened and still counts."),
        ),
    ),
    Item(
        "Attackers and honest clients send messages of one length. What decides now?",
        (
            ("How many they are", "Every message counts as one vote, and the mean follows the larger part."),
            ("Who sends first", "The server waits for all of them."),
            ("Whose data set is larger", "This mean does not look at sample counts."),
        ),
    ),
)

TEACHING = Teaching(
    skip="The attack that knows the bound.",
    discuss=(
        "Who should choose the bound, and from which data?",
        "Which honest clients send the longest messages, and what does the bound do to them?",
    ),
)
