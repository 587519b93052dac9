"""The default grader: known tricks are wrong, right answers right, and on labels it is no worse
than containment.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tricks import FORMS, RIGHT, of_passages

from selfedit.config import Settings
from selfedit.errors import DataError
from selfedit.grading.concise import ConciseGrader, refusal
from selfedit.grading.grader import ContainsGrader, Reply, get_grader
from selfedit.grading.statement import find_statement, states
from selfedit.grading.text import normalise

METAL = "What metal was used in the execution?"
WORDS = [
    "silver",
    "iron",
    ",",
    ".",
    "or",
    "and",
    "not",
    "5",
    "50",
    "the",
    "(",
    ")",
    "/",
    "red",
    "\n",
]


@pytest.mark.parametrize("kind", list(FORMS))
def test_no_trick_is_right(kind: str) -> None:
    tricks = list(of_passages({kind: FORMS[kind]}))
    passed = [(trick.form, trick.reply.answer) for trick in tricks if refusal(trick.reply) is None]
    assert len(passed) <= 0.02 * len(tricks), passed[:5]


def test_the_closed_tricks_are_never_right() -> None:
    """Lists, both alternatives, the question repeated, the passage recited: none, not only few."""
    kinds = {kind: FORMS[kind] for kind in ("list", "both", "question", "recital")}
    assert [trick for trick in of_passages(kinds) if refusal(trick.reply) is None] == []


def test_the_tricks_are_tricks() -> None:
    """Containment lets most of them pass, so there is something to refuse."""
    lists = [trick.reply for trick in of_passages({"list": FORMS["list"]})]
    assert all(grade.correct for grade in ContainsGrader().grade_all(lists))


def test_plain_right_answers_are_right() -> None:
    wrong = [
        (t.reply.answer, refusal(t.reply))
        for t in of_passages({"right": RIGHT})
        if refusal(t.reply) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("question", "golds", "answer"),
    [
        (
            METAL,
            ["silver"],
            "The metal used in the execution was molten silver, poured into his ears.",
        ),
        (METAL, ["silver"], "It was silver, not iron."),
        (METAL, ["silver"], "It was not iron but silver."),
        ("When did the ship leave?", ["1912"], "It did not leave until 1912."),
        ("Where was he born?", ["Eisleben"], "He was born in Eisleben, Saxony."),
        (
            "Who composed the music?",
            ["Murray Gold and Ben Foster"],
            "Ben Foster and Murray Gold composed the music.",
        ),
        ("Who lives there?", ["students"], "A student lives there."),
        ("How many moons?", ["two"], "2 moons"),
        ("Was it a failure or a success?", ["success"], "It was a success."),
        ("What was it not made of?", ["wood"], "It was not made of wood."),
        ("What is it called?", ["Great Assembly"], "It is called the Great Assembly (GA)."),
        ("수도는 어디입니까?", ["서울"], "수도는 서울입니다."),
        ("首都はどこですか。", ["東京"], "首都は東京です。"),
    ],
)
def test_right_in_other_words(question: str, golds: list[str], answer: str) -> None:
    assert refusal(Reply(question, golds, answer)) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("iron", "missing"),
        ("", "missing"),
        ("silver poured hot molten from great height over walls", "heaped"),
        ("silver was poured hot molten from great height over walls", "long"),
        ("gold, silver, copper, tin", "listed"),
        ("silver or iron", "listed"),
        ("It was not silver.", "denied"),
        ("It was iron rather than silver.", "listed"),
        ("Perhaps silver.", "doubted"),
        ("silver?", "doubted"),
    ],
)
def test_it_says_why_not(answer: str, why: str) -> None:
    assert refusal(Reply(METAL, ["silver"], answer)) == why


def test_another_gold_answer_is_refused_only_where_it_is_offered() -> None:
    others = ("Otrar", "Subutai")
    assert refusal(Reply(METAL, ["silver"], "silver, Otrar", others)) == "second"
    assert refusal(Reply(METAL, ["silver"], "silver of Otrar", others)) == "second"
    assert refusal(Reply(METAL, ["silver"], "The metal used in Otrar was silver.", others)) is None
    assert (
        refusal(Reply("Was Otrar taken with silver?", ["silver"], "Otrar, silver", others)) is None
    )


def test_an_alternative_of_the_question_is_no_help() -> None:
    asked = "Was it a failure or a success?"
    assert refusal(Reply(asked, ["success"], asked)) is not None
    assert refusal(Reply(asked, ["success"], "a failure or a success")) == "listed"


def test_by_name_the_default_and_in_batches() -> None:
    grader = get_grader(Settings().answer.grader)
    assert isinstance(grader, ConciseGrader)
    replies = [trick.reply for trick in of_passages({"right": RIGHT, "both": FORMS["both"]})]
    assert [grade.correct for grade in grader.grade_all(replies)] == [
        refusal(reply) is None for reply in replies
    ]
    assert grader.grade(METAL, ["silver"], "silver").score == 1.0
    with pytest.raises(DataError):
        grader.grade(METAL, [" "], "silver")


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text(min_size=1), st.text())
def test_any_text_gets_a_verdict(question: str, gold: str, answer: str) -> None:
    if normalise(gold):
        found = refusal(Reply(question, [gold], answer, (answer, question), answer))
        assert found is None or isinstance(found, str)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_the_statement_holds_the_gold_answer(words: list[str]) -> None:
    said = find_statement(" ".join(words), "red iron")
    if said is not None:
        assert states(" ".join(said.hit), "red iron")
        assert not states(" ".join(said.before), "red iron")
