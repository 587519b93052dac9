"""A chat's ids are the template's own, what is trained is what is asked, and the loss is on the
answers.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import compress

import pytest

from selfedit.errors import UsageError
from selfedit.lm.chat import chat_prompt, chat_turns, conversation_prompt, end_of_turn
from selfedit.lm.load import LanguageModel

TURNS = [("Name 2 rivers.", "The Rhine and the Nile."), ("And a lake?", "Lake  12\n\nor so ")]

LLAMA3 = (
    "{{ '<|im_start|>' }}{% if not date_string is defined %}{% set date_string ="
    " strftime_now('%H:%M:%S %f') %}{% endif %}{{ 'Today: ' + date_string }}{% for message in"
    " messages %}{{ '<|im_start|>' + message['role'] + '\n\n' + message['content'] | trim +"
    " '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{%"
    " endif %}"
)
NO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system"
    " here') }}{% endif %}{{ message['content'] + '<|im_end|>' }}{% endfor %}"
)
FORGETFUL = (
    "{% for message in messages[-2:] %}{{ message['role'] + message['content'] + '<|im_end|>' }}{%"
    " endfor %}"
)


def with_template(lm: LanguageModel, template: str | None) -> LanguageModel:
    tokenizer = deepcopy(lm.tokenizer)
    tokenizer.chat_template = template
    return replace(lm, tokenizer=tokenizer, has_chat=template is not None)


def messages(turns: list[tuple[str, str]], system: str | None = None) -> list[dict[str, str]]:
    head = [] if system is None else [{"role": "system", "content": system}]
    pairs = [
        [{"role": "user", "content": u}, {"role": "assistant", "content": a}] for u, a in turns
    ]
    return head + [message for pair in pairs for message in pair]


def template_ids(lm: LanguageModel, chat: list[dict[str, str]], **options: bool) -> list[int]:
    return lm.tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False, **options)  # pyright: ignore


def test_a_conversation_is_the_templates_or_its_texts(tiny_lm: LanguageModel) -> None:
    chat = messages([*TURNS, ("Thanks.", "")], "Be brief.")[:-1]
    expected = template_ids(tiny_lm, chat, add_generation_prompt=True)
    assert conversation_prompt(tiny_lm, chat) == expected
    plain = with_template(tiny_lm, None)
    first, second = (plain.encode(f"Be brief.\n\n{TURNS[0][0]}"), plain.encode_more(TURNS[0][1]))
    assert conversation_prompt(plain, chat[:2]) == [*plain.bos, *first]
    after = plain.encode_more(TURNS[1][0])
    whole = [*plain.bos, *first, *second, plain.end_id, *after]
    assert conversation_prompt(plain, chat[:4]) == whole


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_prompt_is_the_templates(tiny_lm: LanguageModel, system: str | None) -> None:
    asked = messages([("What is 12?", "")], system)[:-1]
    assert chat_prompt(tiny_lm, "What is 12?", system) == template_ids(
        tiny_lm, asked, add_generation_prompt=True
    )


@pytest.mark.parametrize("turns", [TURNS, TURNS[:1]])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_finished_turns_are_the_templates_with_loss_on_the_answers(
    tiny_lm: LanguageModel, turns: list[tuple[str, str]], system: str | None
) -> None:
    ids, mask = chat_turns(tiny_lm, turns, system)
    assert ids == template_ids(tiny_lm, messages(turns, system))
    assert len(ids) == len(mask)
    assert tiny_lm.tokenizer.decode(list(compress(ids, mask))) == "".join(
        f"{answer}<|im_end|>" for _, answer in turns
    )


@pytest.mark.parametrize(
    "answer", ["plain", "\n\nstarts with line breaks", " space", "", "ends <|im_end|> twice"]
)
def test_what_is_trained_starts_as_what_is_asked(tiny_lm: LanguageModel, answer: str) -> None:
    ids, mask = chat_turns(tiny_lm, [("Why?", answer)])
    prompt = chat_prompt(tiny_lm, "Why?")
    assert ids[: len(prompt)] == prompt
    assert not any(mask[: len(prompt)])
    assert tiny_lm.tokenizer.decode(list(compress(ids, mask))) == f"{answer}<|im_end|>"


def test_a_template_that_writes_the_date_writes_the_same_one(tiny_lm: LanguageModel) -> None:
    lm = with_template(tiny_lm, LLAMA3)
    assert chat_prompt(lm, "Hi") == chat_prompt(lm, "Hi")
    assert "Today: 26 Jul 2024" in lm.tokenizer.decode(chat_prompt(lm, "Hi"))
    ids, mask = chat_turns(lm, TURNS)
    assert lm.tokenizer.decode(list(compress(ids, mask))) == "".join(
        f"{answer.strip()}<|im_end|>" for _, answer in TURNS
    )
    assert end_of_turn(lm.tokenizer) == 2


def test_a_template_that_refuses_or_rewrites_is_a_usage_error(tiny_lm: LanguageModel) -> None:
    with pytest.raises(UsageError, match="no system here"):
        chat_prompt(with_template(tiny_lm, NO_SYSTEM), "Hi", "Be brief.")
    with pytest.raises(UsageError, match="rewrites earlier turns"):
        chat_turns(with_template(tiny_lm, FORGETFUL), TURNS)
    with pytest.raises(UsageError, match="no turns"):
        chat_turns(tiny_lm, [])


def test_without_a_template_the_texts_follow_each_other(tiny_lm: LanguageModel) -> None:
    lm = with_template(tiny_lm, None)
    decode = lm.tokenizer.decode
    assert decode(chat_prompt(lm, "Rivers:", "A list.")) == "A list.\n\nRivers:"
    ids, mask = chat_turns(lm, [("Rivers:", " Rhine"), (" More:", " Nile")])
    assert decode(ids) == "Rivers: Rhine<|im_end|> More: Nile<|im_end|>"
    assert decode(list(compress(ids, mask))) == " Rhine<|im_end|> Nile<|im_end|>"
    assert end_of_turn(lm.tokenizer) is None


@pytest.mark.model
def test_the_real_models_turns_are_its_templates(smollm2: LanguageModel) -> None:
    ids, mask = chat_turns(smollm2, TURNS)
    assert ids == template_ids(smollm2, messages(TURNS))
    assert smollm2.tokenizer.decode(list(compress(ids, mask))) == "".join(
        f"{a}<|im_end|>" for _, a in TURNS
    )


def test_an_empty_system_message_keeps_the_templates_own_out_and_is_left_out_where_it_is_refused(
    tiny_lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, empty = chat_prompt(tiny_lm, "Who?"), chat_prompt(tiny_lm, "Who?", system="")
    assert empty != own
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    monkeypatch.setattr(tiny_lm.tokenizer, "chat_template", refusing)
    assert chat_prompt(tiny_lm, "Who?", system="") == chat_prompt(tiny_lm, "Who?")
    with pytest.raises(UsageError, match="no system"):
        chat_prompt(tiny_lm, "Who?", system="be brief")


def test_half_a_surrogate_pair_in_a_text_is_read_as_a_character_nobody_knows(tiny_lm):
    for text in ("half \ud800 a pair", "\udfff"):
        whole = text.replace("\ud800", "\ufffd").replace("\udfff", "\ufffd")
        assert tiny_lm.encode(text) == tiny_lm.encode(whole)
        assert chat_prompt(tiny_lm, text, text) == chat_prompt(tiny_lm, whole, whole)
        turns = chat_turns(tiny_lm, [(text, text)])
        assert turns == chat_turns(tiny_lm, [(whole, whole)])
