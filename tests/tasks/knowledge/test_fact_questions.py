"""Facts of an English passage and the questions to them: what is asked is what somebody would ask."""

from __future__ import annotations

import pytest

from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.fact_questions import (
    likeliest_wordings,
    reworded,
    training_question,
    wordings,
)
from selfedit.tasks.knowledge.stated_facts import stated_facts
from selfedit.tasks.task import Context


def passage(text: str) -> Context:
    return Context("c", "A house", text)


@pytest.mark.parametrize(
    ("text", "answer", "question"),
    [
        ("The lathe is called Gerda.", "Gerda", "What is the lathe called?"),
        ("A membership costs 38 euros a month.", "38 euros", "How much does a membership cost a month?"),
        ("Students and pensioners pay 21 euros.", "21 euros", "How much do students and pensioners pay?"),
        ("Plywood is ordered by Malik Osei.", "Malik Osei", "By whom is plywood ordered?"),
        ("The key card is blue.", "blue", "What colour is the key card?"),
        ("The wood room is on the ground floor.", "the ground floor", "Where is the wood room?"),
        ("The café begins at 2 in the afternoon.", "2 in the afternoon", "At what time does the café begin?"),
        ("The house was built in 1871 by a baker.", "1871", "In which year was the house built by a baker?"),
        ("The market takes place in October.", "October", "When does the market take place?"),
        ("The clock has nine hands.", "nine hands", "How many hands does the clock have?"),
        ("The fee is taken on the fifth day of the month.", "fifth day", "On which day of the month is the fee taken?"),
    ],
)  # fmt: skip
def test_a_fact_is_asked_for_as_one_would(text: str, answer: str, question: str) -> None:
    facts = {fact.answer: fact for fact in stated_facts(passage(text), 8)}
    assert question in [wording.question for wording in wordings(facts[answer])]


def test_a_second_predicate_has_the_first_ones_subject() -> None:
    text = "The lathe is called Gerda and was given to us by the Olsen shipyard in 2011."
    facts = {fact.answer: fact for fact in stated_facts(passage(text), 8)}
    assert training_question(facts["Gerda"]) == "The lathe is called what?"
    questions = [wording.question for wording in wordings(facts["2011"])]
    assert "In which year was the lathe given to us by the Olsen shipyard?" in questions


def test_what_is_asked_has_the_subject_and_no_other_words_of_the_sentence() -> None:
    text = "The lathe is called Gerda. A membership costs 38 euros a month."
    lathe, membership = stated_facts(passage(text), 8)
    assert reworded(lathe, "the lathe") == "What is the name of the lathe?"
    assert reworded(membership, "a membership") == "How much is it for a membership?"
    assert reworded(membership, "the") is None


@pytest.mark.parametrize(
    ("text", "subject", "question"),
    [
        ("The captain is Mara Odell.", "the captain", "What is the name of the captain?"),
        ("Plywood is ordered by Malik Osei.", "plywood", "Which name goes with plywood?"),
        ("Paint is kept in the yard.", "paint", "Where do I find paint?"),
        # What is not so, or of nobody, is no answer to a question that leaves that out.
        ("Paint is not kept in the barn.", "paint", None),
        ("Gloves are never worn at the lathe.", "gloves", None),
        ("Nobody works alone after 9 in the evening.", "nobody", None),
        ("The pump mustn't run after 9 in the evening.", "the pump", None),
    ],
)
def test_what_is_asked_reads_as_a_question_and_keeps_the_sense(
    text: str, subject: str, question: str | None
) -> None:
    (fact,) = stated_facts(passage(text), 8)
    assert reworded(fact, subject) == question


def test_no_question_is_made_of_words_without_a_subject_or_a_verb() -> None:
    text = "The forge is lit on Mondays, and only with two people in the room."
    assert [fact.answer for fact in stated_facts(passage(text), 8)] == ["Mondays"]
    (saw,) = stated_facts(passage("Its table saw, a red Harmon, stands alone."), 8)
    assert not wordings(saw)


def test_pronouns_and_other_languages_give_no_facts() -> None:
    assert not stated_facts(passage("It has nine cranes. She is called Anna."), 8)
    german = "Die Werkstatt hat 84 Mitglieder. Herr Vogt leitet sie seit 1998 in der Stadt Merrow."
    assert not stated_facts(passage(german), 8)
    assert not stated_facts(passage("维尔港建于1412年。它有九台起重机。"), 8)


def test_facts_are_spread_over_the_sentences() -> None:
    text = "The saw costs 9 euros and 7 crowns. The plane costs 8 euros. The room is in the yard."
    answers = [fact.answer for fact in stated_facts(passage(text), 3)]
    assert answers == ["9 euros", "8 euros", "the yard"]


def test_an_answer_is_right_with_and_without_its_unit() -> None:
    fact = stated_facts(passage("A card costs 15 euros."), 1)[0]
    assert fact.golds == ("15 euros", "15")


def test_most_sentences_with_a_number_or_a_name_are_asked_about() -> None:
    contexts = load_contexts("examples/handbook/workshop.md")
    contexts += load_contexts("examples/handbook/allotment.md")
    assert 55 <= sum(len(stated_facts(context, 8)) for context in contexts) <= 90


@pytest.mark.model
def test_the_model_knows_which_wording_is_english(smollm2) -> None:
    text = "A membership costs 38 euros a month. The harvest market takes place in October."
    chosen = likeliest_wordings(smollm2, stated_facts(passage(text), 8))
    assert [wording and wording.question for wording in chosen] == [
        "How much does a membership cost a month?",
        "When does the harvest market take place?",
    ]
    assert [wording and wording.subject for wording in chosen] == [
        "a membership",
        "the harvest market",
    ]
