"""What the corpus of `learn`, `choose` and `sealed` promises, as checks that list what breaks it.

A check takes records as the JSON files hold them and returns one line for each thing that is wrong.
"""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from selfedit.grading.text import answer_tokens, contains_gold

Passage = dict[str, Any]

KINDS = ("stated", "combined", "derived")
WORDS = (60, 120)
QUESTIONS = 5
ANSWER_WORDS = 4
SAME_ANSWER = 4  # passages that may share a reference answer: more would reward guessing it
SHARED_RUN = 6  # words in a row that no two passages of different splits share

_LISTS = Path(__file__).with_name("corpus_words.txt").read_text("utf-8").split("\n[")
ORDINARY, STOPWORDS = (frozenset(part.split("]\n")[1].split()) for part in _LISTS[1:])
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_ENDING = re.compile(r"(?<=\w\w)(?:es|s|ed|ing|d)$")
# A capitalised word that does not begin a sentence, a line or what somebody says.
_INSIDE = re.compile(r"(?<![.!?:\"“—–\n])(?<![.!?:]\s)(?<![.!?][\"”]\s)(?<=[\s(\-'“])[A-Z]\w+")


def sentences(text: str) -> list[str]:
    """The sentences of a passage; a line of a list is one."""
    return [part for part in re.split(r"(?<=[.!?])[\"”’)]*\s+|\n", text) if part.strip()]


def stems(text: str) -> set[str]:
    """Content words, lower case, without the endings of plurals, possessives and verbs."""
    words = re.findall(r"[^\W_]+", re.sub(r"['’]s\b", "", text.lower()))
    content = {word for word in words if len(word) > 2 or word.isdigit()}
    return {_ENDING.sub("", word) for word in content - STOPWORDS}


def names(passage: Passage) -> set[str]:
    """The capitalised words inside the passage's sentences and in its title, in lower case.

    A word that the passage writes small as well is no name.
    """
    text = passage["context"]
    capitalised = [*_INSIDE.findall(text), *re.findall(r"[A-Z]\w+", passage["title"])]
    small = set(re.findall(r"\b[a-z]\w+", text))
    return {name.lower() for name in capitalised} - small - ORDINARY - STOPWORDS


def in_passage(passage: Passage) -> list[str]:
    """What is wrong inside one passage."""
    wrong = list(_form(passage))
    for question in passage["questions"]:
        wrong += [f"{question['question']} {problem}" for problem in _question(passage, question)]
    return [f"{passage['id']}: {problem}" for problem in wrong]


def _form(passage: Passage) -> Iterator[str]:
    count = len(passage["context"].split())
    questions = passage["questions"]
    if not WORDS[0] <= count <= WORDS[1]:
        yield f"{count} words"
    if len(questions) < QUESTIONS:
        yield f"{len(questions)} questions"
    if 2 * sum(question["kind"] != "stated" for question in questions) < len(questions):
        yield "fewer than half of the questions combine two sentences"
    yield from (f"{answer!r} answers two questions" for answer in repeated(references(questions)))


def _question(passage: Passage, question: Passage) -> Iterator[str]:
    asked, answers = question["question"], question["answers"]
    if question["kind"] not in KINDS:
        yield f"is of no known kind: {question['kind']}"
    shown = f"{passage['title']}\n{asked}"
    for answer in answers:
        if contains_gold(shown, [answer]):
            yield f"holds its answer {answer!r}"
        if len(answer.split()) > ANSWER_WORDS:
            yield f"{answer!r} is long"
    if len({answer.lower() for answer in answers}) < len(answers):
        yield "has an answer twice"
    if {"yes", "no"} & {answer.lower() for answer in answers}:
        yield "is a yes-or-no question"
    if not stems(asked) & stems(" ".join([passage["title"], *names(passage)])):
        yield "names nothing of its passage"
    if question["kind"] == "derived":
        yield from _derivation(passage, question)
    elif not contains_gold(passage["context"], answers[:1]):
        yield f"has a reference answer that the passage does not hold: {answers[0]!r}"
    elif question["kind"] == "combined":
        yield from _one_sentence_is_enough(passage, question)


def _one_sentence_is_enough(passage: Passage, question: Passage) -> Iterator[str]:
    """A sentence with the answer and, too, every word of the question that the passage has."""
    topical = stems(question["question"]) & stems(passage["context"]) - stems(passage["title"])
    for sentence in sentences(passage["context"]):
        if contains_gold(sentence, question["answers"]) and topical <= stems(sentence):
            yield f"can be answered from one sentence: {sentence}"


def _derivation(passage: Passage, question: Passage) -> Iterator[str]:
    """The sum gives the answer; its numbers stand in the passage, and not all in one sentence."""
    tree = ast.parse(question["derivation"], mode="eval")
    numbers = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    if not numbers <= set(answer_tokens(passage["context"])):
        yield f"derives from numbers that the passage does not hold: {question['derivation']}"
    if any(numbers <= set(answer_tokens(sentence)) for sentence in sentences(passage["context"])):
        yield f"derives from one sentence: {question['derivation']}"
    value = str(compute(tree.body))
    if value not in answer_tokens(question["answers"][0]):
        yield f"is not what its derivation gives, {value}"


def compute(node: ast.expr) -> int:
    """The value of a sum of numbers, with + - * and brackets."""
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](compute(node.left), compute(node.right))
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    raise ValueError(f"not a sum of whole numbers: {ast.unparse(node)}")


def across(passages: Sequence[Passage]) -> list[str]:
    """What is wrong between passages."""
    questions = [question for passage in passages for question in passage["questions"]]
    wrong: list[str] = []
    for what, values in (
        ("id", [passage["id"] for passage in passages]),
        ("title", [passage["title"].lower() for passage in passages]),
        ("question", [" ".join(answer_tokens(question["question"])) for question in questions]),
    ):
        wrong += [f"{what} used twice: {value}" for value in repeated(values)]
    often = repeated(references(questions), SAME_ANSWER)
    wrong += [f"{answer!r} answers more than {SAME_ANSWER} questions" for answer in often]
    return wrong + shared_names(passages)


def references(questions: Iterable[Passage]) -> list[str]:
    """The reference answers, normalised."""
    return [" ".join(answer_tokens(question["answers"][0])) for question in questions]


def repeated(values: Iterable[str], at_most: int = 1) -> list[str]:
    """The values met more than ``at_most`` times."""
    return [value for value, times in Counter(values).items() if times > at_most]


def shared_names(passages: Iterable[Passage]) -> list[str]:
    """Invented names that stand in two passages."""
    first: dict[str, str] = {}
    wrong = []
    for passage in passages:
        for name in sorted(names(passage)):
            owner = first.setdefault(name, passage["id"])
            if owner != passage["id"]:
                wrong.append(f"{name!r} stands in {owner} and in {passage['id']}")
    return wrong


def word_runs(passages: Iterable[Passage]) -> dict[tuple[str, ...], str]:
    """Every run of `SHARED_RUN` words and the passage it stands in."""
    runs: dict[tuple[str, ...], str] = {}
    for passage in passages:
        tokens = re.findall(r"\w+", passage["context"].lower())
        starts = range(len(tokens) - SHARED_RUN + 1)
        runs |= {tuple(tokens[at : at + SHARED_RUN]): passage["id"] for at in starts}
    return runs
