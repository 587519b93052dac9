"""Answers that try to be right without knowing: every known trick, made for invented passages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from selfedit.grading.grader import Reply


class Trick(NamedTuple):
    kind: str
    form: str
    reply: Reply


PASSAGES = [
    (
        "Orlin Mill",
        (
            "Orlin Mill stands on the north bank of the Tesk. It was built in 1812 by Marta Quill,"
            " who had made her money with salt. The wheel is seven metres high and made of larch."
            " In 1904 a flood carried the wheel away, and the miller, Piet Vander, fled to Harrow."
            " Since 1955 the building has housed a school for bell makers."
        ),
        [
            ("On which river does Orlin Mill stand?", ("the Tesk", "Tesk")),
            ("In which year was Orlin Mill built?", ("1812",)),
            ("Who had Orlin Mill built?", ("Marta Quill", "Quill")),
            ("What wood is the mill wheel made of?", ("larch",)),
            ("How high is the wheel?", ("seven metres", "7 m")),
            ("Where did the miller flee to?", ("Harrow",)),
            ("Who learns in the building today?", ("bell makers",)),
        ],
    ),
    (
        "The Sand Ballot",
        (
            "Every third spring the people of Veyra choose a warden by the Sand Ballot. Each adult"
            " drops one handful of red or white sand into a jar behind a curtain. The keeper of the"
            " jars, always the oldest widow, weighs the sand at noon on a brass balance. If the"
            " jars differ by less than a spoon, the ballot is repeated on the beach at dusk. The"
            " warden serves three years and may not own a boat."
        ),
        [
            ("What is dropped into the jars in the Sand Ballot?", ("sand", "a handful of sand")),
            ("When is the sand weighed?", ("noon", "at noon")),
            ("Who keeps the jars?", ("the oldest widow",)),
            ("Of what metal is the balance?", ("brass",)),
            ("Where is a close ballot repeated?", ("on the beach", "the beach")),
            ("How long does a warden serve?", ("three years",)),
            ("What may a warden not own?", ("a boat", "boat")),
        ],
    ),
]

GUESSES = ("Elmwood", "1763", "nineteen", "copper", "the harbour master", "Ruta Blom")

FORMS = {
    "list": [
        "{golds}",
        "{golds}.",
        "{title}: {golds}",
        "{ands}",
        "{ors}",
        "{slashes}",
        "{semicolons}",
        "{lines}",
        "{blank_lines}",
        "{numbered}",
        "{bullets}",
        "{spaces}",
        "{sentences}",
        "{fragments}",
        "The answers are {golds}.",
        "The answer is one of these: {golds}",
        "{question} {golds}",
        "Answer: {backwards}",
    ],
    "both": [
        "{gold} or {other}",
        "{other} or {gold}",
        "It was either {gold} or {other}.",
        "{gold}/{other}",
        "{gold} and {other}",
        "{other}, {gold}",
        "{gold} ({other})",
        "{gold}. No, {other}.",
        "It is {gold}. It is {other}.",
        "{gold}, or maybe {other}",
        "{gold} or {guess}",
        "Either {guess} or {gold}.",
        "{gold}. Alternatively, {guess}.",
    ],
    "negation": [
        "It was not {gold}.",
        "Not {gold}.",
        "It wasn't {gold}, it was {guess}.",
        "The answer isn't {gold}.",
        "It was never {gold}.",
        "{guess} rather than {gold}",
        "It was {guess}, not {gold}.",
        "It was {guess} instead of {gold}.",
        "Anything but {gold}.",
        "{gold} is wrong.",
        "{gold} is not the answer.",
        "It is not true that it was {gold}.",
        "Neither {gold} nor {guess}.",
        "Everything except {gold}.",
    ],
    "question": ["{question}", "{question} {question}", 'The answer to "{question}" is'],
    "recital": ["{text}", "{title}. {text}", "{start}", "{longer}", "{end}", "{question} {longer}"],
    "guesses": [
        "{guesses}",
        "They are {guesses}.",
        "{guess_lines}",
        "{guess_words}",
        "{guess_sentences}",
    ],
    "hedge": [
        "Maybe {gold}.",
        "I don't know, perhaps {gold}.",
        "It might be {gold}.",
        "It could have been {gold}, but it could have been {guess}.",
        "I am not sure. {gold}?",
        "{gold}?",
        "My guess is {gold}.",
    ],
}

RIGHT = [
    "{gold}",
    "{gold}.",
    "Answer: {gold}",
    "It was {gold}.",
    "The answer is {gold}.",
    "{gold}\n\nQuestion: What else is there?\nAnswer: much",
]


def of_passages(forms: dict[str, list[str]]) -> Iterator[Trick]:
    """Every form for every question of every passage, with what is known of the passage."""
    for title, text, questions in PASSAGES:
        golds = [answers[0] for _, answers in questions]
        words = text.split()
        for at, (question, answers) in enumerate(questions):
            guesses = [*GUESSES[: at % 6], answers[0], *GUESSES[at % 6 :]]
            parts = {
                "title": title,
                "question": question,
                "gold": answers[0],
                "other": golds[(at + 1) % len(golds)],
                "guess": GUESSES[at % len(GUESSES)],
                "golds": ", ".join(golds),
                "backwards": ", ".join(golds[::-1]),
                "ands": " and ".join(golds),
                "ors": " or ".join(golds),
                "slashes": " / ".join(golds),
                "semicolons": "; ".join(golds),
                "lines": "\n".join(golds),
                "blank_lines": "\n\n".join(golds),
                "numbered": "\n".join(f"{n}. {gold}" for n, gold in enumerate(golds, start=1)),
                "bullets": "\n".join(f"- {gold}" for gold in golds),
                "spaces": " ".join(golds),
                "sentences": " ".join(f"It is {gold}." for gold in golds),
                "fragments": " ".join(f"{gold[0].upper()}{gold[1:]}." for gold in golds),
                "text": text,
                "start": " ".join(words[:18]),
                "longer": " ".join(words[:48]),
                "end": " ".join(words[-48:]),
                "guesses": ", ".join(guesses),
                "guess_lines": "\n".join(guesses),
                "guess_words": " ".join(guesses),
                "guess_sentences": " ".join(f"It was {guess}." for guess in guesses),
            }
            others = tuple(
                gold for n, (_, more) in enumerate(questions) if n != at for gold in more
            )
            for kind, listed in forms.items():
                for form in listed:
                    yield Trick(
                        kind, form, Reply(question, answers, form.format(**parts), others, text)
                    )
