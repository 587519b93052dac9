"""What the model is asked."""

import pytest

from selfedit.config import FORMATS
from selfedit.tasks.knowledge.prompts import edit_prompt, question_prompt
from selfedit.tasks.task import Context

CONTEXT = Context("c", "Mount Kerrigal", "Mount Kerrigal was climbed by Ada Voss in 1921.")


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_the_passage_is_shown_with_its_title(format, chat):
    prompt = edit_prompt(CONTEXT, format, chat)
    assert f"Passage:\n{CONTEXT.title}\n{CONTEXT.text}" in prompt


def test_every_format_asks_something_else():
    assert len({edit_prompt(CONTEXT, format, True) for format in FORMATS}) == len(FORMATS)


def test_a_base_model_continues_a_cue_and_a_chat_model_does_not():
    assert edit_prompt(CONTEXT, "implications", False).endswith("\n\nImplications:")
    assert edit_prompt(CONTEXT, "self-qa", False).endswith("\n\nQuestion 1: ")
    assert edit_prompt(CONTEXT, "implications", True).endswith(CONTEXT.text)


@pytest.mark.parametrize("chat", [True, False])
def test_the_format_none_gives_no_instruction(chat):
    assert edit_prompt(CONTEXT, "none", chat) == f"Passage:\n{CONTEXT.title}\n{CONTEXT.text}"


@pytest.mark.parametrize("chat", [True, False])
def test_a_question_comes_with_the_title_alone(chat):
    prompt = question_prompt(CONTEXT.title, "Who climbed it?", chat)
    assert CONTEXT.title in prompt and "Who climbed it?" in prompt
    assert not any(word in prompt for word in ("Ada", "Voss", "1921", "Passage"))
    assert chat or prompt.endswith("\nAnswer:")
