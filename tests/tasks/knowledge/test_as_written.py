"""A self-edit read line by line, as it stands."""

import pytest

from selfedit.config import EditSettings
from selfedit.tasks.knowledge.as_written import as_written


def read(text: str, **settings: object):
    edit = EditSettings.model_validate({"reading": "published", **settings})
    return as_written(text, edit)


def test_lines_stay_as_they_stand() -> None:
    edit = read("Sure, here is a list:\n1. One.\n\n  2. Two?  \n2. Two?\n<b>Three</b>\n* four")
    assert edit.lines == ("1. One.", "2. Two?", "2. Two?", "<b>Three</b>", "* four")
    assert edit.pairs == () and not edit.empty


def test_only_a_first_line_before_a_numbered_one_is_filler() -> None:
    assert read("A fact.\nAnother.").lines == ("A fact.", "Another.")
    assert read("1. A fact.\n1. Another.").lines == ("1. A fact.", "1. Another.")


def test_more_lines_than_are_kept_are_counted() -> None:
    edit = read("\n".join(map(str, range(40))), max_lines=30)
    assert len(edit.lines) == 30 and edit.dropped == {"over max_lines": 10}


@pytest.mark.parametrize("cue", ["", "Question 1: "])
def test_a_quiz_is_cut_where_a_question_begins(cue: str) -> None:
    text = f"{cue}Who?\nAnswer: Ada.\n\nQuestion 2: When\nand where?\nAnswer: 1921."
    assert read(text, format="self-qa").lines == (
        "Question 1: Who?\nAnswer: Ada.",
        "Question 2: When\nand where?\nAnswer: 1921.",
    )


def test_a_chain_of_thought_is_read_after_its_end() -> None:
    text = "It is a mountain.\nFacts:\n1. Ada climbed."
    assert read(text, format="chain-of-thought").lines == ("1. Ada climbed.",)


@pytest.mark.parametrize("text", ["", "\n \n", "\x00\x1b", "\ud800"])
def test_nothing_that_can_be_read_is_an_empty_self_edit(text: str) -> None:
    assert read(text).empty
    assert read(text, format="self-qa").empty
    assert read(f"a\ud800b{text}").lines == ("ab",)
