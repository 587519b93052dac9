"""Questions to the facts of an English passage, by rule: two wordings that are trained, one that is
asked.

A model of 135 million parameters asked for a quiz writes two or three questions about a passage;
asked for a question to a given answer it writes nonsense. It does know which of several sentences
is English. So a clause is turned into questions by rule, each word taken for the verb in turn
(overgenerate and rank, Heilman and Smith 2010, "Good question!"), and the likeliest is trained,
beside the clause itself with "what" in the answer's place.

What is asked keeps the clause's subject and nothing else of its words, "What is the name of the
lathe?": a model that has learned "What is the lathe called?" answers that, and not what a person
asks, who has other words. Measured so a document seemed learned three times as well as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from selfedit.grading.lexicon import NEGATIONS, word_set
from selfedit.grading.statement import content_words
from selfedit.lm.load import LanguageModel
from selfedit.lm.perplexity import row_losses
from selfedit.tasks.knowledge.stated_facts import Fact

_AUXILIARIES = word_set(
    "is are was were has have had may must can could should would will shall might"
)
_HAVING = {"has": "does", "have": "do", "had": "did"}
_ASKING_PREPOSITIONS = word_set("at in on by for with from until into to after before of under")
_PAST = {
    "became": "become", "began": "begin", "bought": "buy", "brought": "bring", "built": "build",
    "came": "come", "cost": "cost", "drew": "draw", "fell": "fall", "found": "find",
    "gave": "give", "grew": "grow", "held": "hold", "kept": "keep", "led": "lead", "lost": "lose",
    "left": "leave", "made": "make", "met": "meet", "paid": "pay", "ran": "run", "rose": "rise",
    "sold": "sell", "sent": "send", "spent": "spend", "struck": "strike", "taught": "teach",
    "took": "take", "went": "go", "won": "win", "wrote": "write",
}  # fmt: skip
_SMALL_FIRST = re.compile(
    r"^(?:the|a|an|each|every|its|his|her|their|our|your|all|one|two|at|no|any)$", re.I
)
_LONGEST_SUBJECT = 8


def training_question(fact: Fact) -> str:
    """The clause with the question's word in the answer's place, "The lathe is called what?"."""
    before, asking = _asking(fact)[-1]
    return _as_question([*before, asking, fact.after])


class FactWording(NamedTuple):
    """A question to a fact, and the clause's subject that was read for it."""

    question: str
    subject: str


def wordings(fact: Fact) -> list[FactWording]:
    """Questions to a fact as one would ask it, most of them no English; none for a fact that is its
    clause's subject.
    """
    by_question: dict[str, FactWording] = {}
    # "Its saw, a red Harmon": what stands beside a subject has no verb.
    if "," in fact.before:
        return []
    # "on the fifth day of the month": what says of what goes with it.
    near, far = (fact.after, "") if fact.after.startswith("of ") else ("", fact.after)
    for before, asking in _asking(fact):
        for verb, inverted in _inverted(before):
            question = _as_question([asking, near, *inverted, far])
            by_question.setdefault(question, FactWording(question, " ".join(before[:verb])))
    return list(by_question.values())


def likeliest_wordings(lm: LanguageModel, facts: Sequence[Fact]) -> list[FactWording | None]:
    """For each fact the wording that the model finds the likeliest, by the mean loss of its tokens;
    None for a fact without any.
    """
    every = [wordings(fact) for fact in facts]
    rows = [lm.document(wording.question) for of_fact in every for wording in of_fact]
    losses = iter(row_losses(lm, rows, None))
    chosen: list[FactWording | None] = []
    for of_fact in every:
        ranked = list(zip(islice(losses, len(of_fact)), of_fact, strict=True))
        chosen.append(min(ranked)[1] if ranked else None)
    return chosen


def reworded(fact: Fact, subject: str) -> str | None:
    """The question of somebody who has none of the passage's words but the subject; None for one
    that says too little or too much, and of what is not so.
    """
    words, before = subject.split(), fact.before.split()
    if not 1 <= len(words) <= _LONGEST_SUBJECT or not content_words(subject):
        return None
    # "Paint is not kept in the house" does not say where paint is found.
    if {*re.sub("n[’']t", " not", fact.before).casefold().split()} & NEGATIONS:
        return None
    last, predicate = before[-1], {*before[len(words) :]}
    # What is called something, or is somebody, is asked for the name.
    called = predicate & {"called", "named", "nicknamed"} or predicate <= {"is", "are", "was"}
    unit = " ".join(fact.answer.split()[1:])
    return {
        "money": f"How much is it for {subject}?",
        "count": f"How many {unit} is it for {subject}?",
        "time": f"{last.capitalize()} what time is it for {subject}?",
        "year": f"Which year is it for {subject}?",
        "rank": f"When is it for {subject}?",
        "day": f"When is it for {subject}?",
        "colour": f"What is the colour of {subject}?",
        "place": f"Where do I find {subject}?",
        "name": f"What is the name of {subject}?" if called else f"Which name goes with {subject}?",
    }[fact.kind]


def _asking(fact: Fact) -> list[tuple[list[str], str]]:
    """The words before the answer, and what asks for it: with "at 2" both become "at what time"."""
    before = _words(re.sub(r"(?:^| )up to$", "", fact.before))
    # "the fifth day": the question has "which" in the place of the article.
    if before and before[-1] == "the":
        before.pop()
    last = before[-1] if before else ""
    joined = last if last in _ASKING_PREPOSITIONS else ""
    unit = fact.answer.split()[-1]
    if fact.kind in ("day", "place") or last == "every":
        when = {"day": "when", "place": "where"}.get(fact.kind, "how often")
        return [(before[:-1] if joined or last == "every" else before, when)]
    asking = {
        "money": ["how much"],
        "count": [f"how many {' '.join(fact.answer.split()[1:])}"],
        "time": ["what time"],
        "year": ["which year"],
        "rank": [f"which {unit}"],
        "colour": ["what colour"],
        "name": ["whom"] if joined == "by" else ["who", "what"],
    }[fact.kind]
    # The preposition goes to the front with what asks.
    rest = before[:-1] if joined else before
    return [(rest, f"{joined} {each}".strip()) for each in asking]


def _inverted(before: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Where the verb is, and the words before the answer as they stand in a question: "is the lathe
    called", "does a card cost".
    """
    words = list(enumerate(before[1 : _LONGEST_SUBJECT + 1], start=1))
    if auxiliary := next((each for each in words if each[1] in _AUXILIARIES), None):
        index, word = auxiliary
        yield index, [word, *before[:index], *before[index + 1 :]]
        if word not in _HAVING:
            return
    for index, word in words:
        # Every word may be the verb: the model ranks what comes of it.
        for helper, plain in _plain_forms(word):
            yield index, [helper, *before[:index], plain, *before[index + 1 :]]


def _plain_forms(word: str) -> Iterator[tuple[str, str]]:
    """What a word would be as a verb after do, does or did."""
    if word in _HAVING:
        yield _HAVING[word], "have"
        return
    if word in _PAST:
        yield "did", _PAST[word]
    if word.endswith("ed") and len(word) > 4:
        yield "did", word[:-2]
        yield "did", word[:-1]
    if word.endswith("ies") and len(word) > 4:
        yield "does", word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "oes")):
        yield "does", word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        yield "does", word[:-1]
    elif word.isalpha() and word.islower():
        yield "do", word


def _words(text: str) -> list[str]:
    """The words of a clause; its first one small, unless it seems a name."""
    words = text.split()
    if words and (len(words) < 2 or not words[1][:1].isupper() or _SMALL_FIRST.match(words[0])):
        words[0] = words[0][:1].lower() + words[0][1:]
    return words


def _as_question(parts: list[str]) -> str:
    text = re.sub(r"\s+([,;])", r"\1", " ".join(part for part in parts if part)).rstrip(" ,;")
    return f"{text[:1].upper()}{text[1:]}?"
