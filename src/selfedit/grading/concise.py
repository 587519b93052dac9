"""The default grader: right if a gold answer is stated, briefly, and nothing is offered beside it.

``contains`` can be talked into a yes: an answer that lists every gold answer of a passage is right
to every question. Here an answer that states a gold answer (:mod:`selfedit.grading.statement`) is
refused if it is

- *long*: up to the end of that sentence it has more than a few content words that neither the
  question nor a gold answer has; a sentence that takes up words of the question may say more than
  one that does not;
- *heaped*: long, and not even a sentence;
- *second*: another gold answer of the passage is offered, as an item of its own or in words that do
  not take up the question;
- *listed*: the gold answer is an item of a list, or ``or`` stands between it and something else;
- *denied*: a negation that the question has not stands before it, or what follows takes it back;
- *doubted*: ``maybe``, ``I am not sure``, a question mark;
- *recited*: many words in a row are the passage's, and they do not answer the question in one short
  sentence.

*second* and *recited* need the passage (:class:`~selfedit.grading.grader.Reply`): without it, a
recital is found by its length alone. Words that deny, doubt and join are English; the other rules
hold in any language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from selfedit.grading.case import Case
from selfedit.grading.grader import Grade, Grader, Reply
from selfedit.grading.lexicon import NEGATIONS, word_set
from selfedit.grading.rivals import CLAUSE, stands_alone
from selfedit.grading.statement import answer_text, content_words, find_statement, states, words_of
from selfedit.grading.text import contains_gold, usable_golds

FEW = 5
"""New content words a statement may have, and as many for each question word it takes up."""
FEW_ALONE = 4
"""New content words that a statement may have that takes up no word of the question."""
RECITED = 14
"""Words in a row of the passage that are a recital."""

_NEAR = 6  # words before a gold answer in which a negation denies it
_DENIALS = re.compile(
    r"\b(?:rather than|instead of|other than|anything but|apart from|except(?: for)?|unlike|opposed"
    r" to|far from|"
    r"(?:wrong|false|untrue|incorrect)(?: that| to)?|not true)\b[^,;]*$"
)
_AFFIRMED = re.compile(r"\bnot (?:only|until|just|merely|simply|before|\w+ until)\b")
_TAKEN_BACK = NEGATIONS | word_set("wrong false untrue incorrect mistaken")
_DOUBTS = re.compile(
    r"\b(?:maybe|perhaps|possibly|presumably|guess|unsure|uncertain|unclear|unknown|not sure|dont"
    r" know|do not know|"
    r"(?:might|could|may) (?:be|have)|i (?:think|believe)|no idea)\b"
)


def _long(case: Case) -> bool:
    return len(case.new) > (FEW * (1 + case.taken_up) if case.taken_up else FEW_ALONE)


def _heaped(case: Case) -> bool:
    """Long, and no sentence: words one after another."""
    return (
        not case.taken_up
        and _long(case)
        and not CLAUSE.intersection(words_of(case.statement.beside))
    )


def _second(case: Case) -> bool:
    if any(stands_alone(other, case.statement) for other in case.others):
        return True
    stated = [other for other in case.others if contains_gold(case.statement.beside, [other])]
    words = {word for other in stated for word in content_words(other)}
    mostly = len(stated) > 1 and 2 * len(words & set(case.new)) >= len(case.new)
    return bool(stated) and (mostly or not case.taken_up)


def _lists_alternatives(case: Case) -> bool:
    joints = [set(joint.split()) for joint in case.rivals.joints]
    joined = any(joint & {"and", "&"} for joint in joints) and not case.taken_up
    return case.rivals.choice or len(joints) > 1 or joined


def _denied(case: Case) -> bool:
    text = " ".join(words_of(" ".join(_clause(case.statement.before))))
    if _DENIALS.search(text):
        return True
    if NEGATIONS.intersection(words_of(case.reply.question)) and case.taken_up:
        return False
    near = _AFFIRMED.sub("", text).split()[-_NEAR:]
    return bool(NEGATIONS.intersection(near)) or _taken_back(case.statement.after)


def _clause(words: Sequence[str]) -> Sequence[str]:
    """The words since the last mark that ends a clause; a comma does, if what it parts off says
    something.
    """
    start = 0
    for at, word in enumerate(words):
        ends = word in (";", ":") or word.lower() in ("although", "though")
        ends = ends or (
            word.lower() == "but" and words[at - 1].lower() not in ("anything", "all", "everything")
        )
        if ends or (word == "," and content_words(" ".join(words[start:at]))):
            start = at + 1
    return words[start:]


def _taken_back(after: Sequence[str]) -> bool:
    """Whether one of the next words, up to a mark, says that it is not so."""
    row: list[str] = []
    for word in after[:4]:
        if not words_of(word) or not any(map(str.isalnum, word)):
            break
        row += words_of(word)
    return bool(_TAKEN_BACK.intersection(row))


def _doubted(case: Case) -> bool:
    statement, question = case.statement, " ".join(words_of(case.reply.question))
    near = " ".join(
        words_of(
            " ".join([statement.lead, *statement.before, *statement.hit, *statement.after[:5]])
        )
    )
    asks = "?" in " ".join([*statement.hit, *statement.after]) and "?" not in case.gold
    return asks or any(doubt[0] not in question for doubt in _DOUBTS.finditer(near))


def _recited(case: Case) -> bool:
    statement = case.statement
    runs = _word_runs(words_of(case.reply.passage)) & _word_runs(
        words_of(answer_text(case.reply.answer))
    )
    if not runs:
        return False
    beyond = runs - _word_runs(
        words_of(" ".join([*statement.before, *statement.hit, *statement.after]))
    )
    return bool(beyond) or 2 * case.taken_up < len(case.asked) or len(case.new) > 2 * FEW


def _word_runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + RECITED]) for at in range(len(words) - RECITED + 1)}


RULES: dict[str, Callable[[Case], bool]] = {
    "heaped": _heaped,
    "long": _long,
    "second": _second,
    "listed": _lists_alternatives,
    "denied": _denied,
    "doubted": _doubted,
    "recited": _recited,
}
"""Why an answer that states a gold answer is refused, in the order in which it is asked."""
AT_ANY_LENGTH = {name: rule for name, rule in RULES.items() if rule is not _long}
"""The rules for graders that let an answer be as long as it likes."""


def refusal(reply: Reply, rules: Mapping[str, Callable[[Case], bool]] = RULES) -> str | None:
    """Why the answer is not right: ``missing`` (it states no gold answer) or the name of one of the
    rules; else None.

    Raises:
        DataError: there is no gold answer.
    """
    statements = {gold: find_statement(reply.answer, gold) for gold in usable_golds(reply.golds)}
    stated = {gold: statement for gold, statement in statements.items() if statement is not None}
    reasons = [
        _reason(Case(reply, gold, statement), rules)
        for gold, statement in stated.items()
        if not _in_another(gold, stated)
    ]
    if not reasons:
        return "missing"
    return None if None in reasons else reasons[0]


def _in_another(gold: str, stated: Iterable[str]) -> bool:
    """Whether a longer one of the stated gold answers says this one: ``Brannoch`` where ``Ada
    Brannoch`` is stated.
    """
    return any(
        states(longer, gold) and not states(gold, longer) for longer in stated if longer != gold
    )


def _reason(case: Case, rules: Mapping[str, Callable[[Case], bool]]) -> str | None:
    return next((name for name, rule in rules.items() if rule(case)), None)


class ConciseGrader(Grader):
    """Right if a gold answer is stated briefly and nothing is offered beside it; the score is 1 or
    0.
    """

    name = "concise"

    def grade(self, question: str, golds: Sequence[str], answer: str) -> Grade:
        """Grade one answer of whose passage nothing is known."""
        return self.grade_all([Reply(question, golds, answer)])[0]

    def grade_all(self, replies: Sequence[Reply]) -> list[Grade]:
        """Grade many answers, in their order."""
        verdicts = [refusal(reply) is None for reply in replies]
        return [Grade(verdict, float(verdict), self.name) for verdict in verdicts]
