"""A chat as token ids: the prompt of one, and finished turns to train on, with loss on what the
assistant says.

A model without a chat template gets the plain texts, one after the other.

What the messages say is never read as control tokens (`selfedit.lm.encoding`): a document with
``<|im_end|>`` in it cannot close its own turn. Only the template writes those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerBase

from selfedit.errors import ModelFileError, UsageError, first_line
from selfedit.lm.chat_guard import Message, guarded
from selfedit.lm.encoding import Encoding
from selfedit.lm.template import TODAY, render

if TYPE_CHECKING:
    from selfedit.lm.load import LanguageModel

# At the very end of a prompt: only an open thought is to be closed.
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>\s*$")


def chat_prompt(lm: LanguageModel, user: str, system: str | None = None) -> list[int]:
    """The ids that ask the model to answer ``user``: its chat template with the assistant's turn
    opened.

    Without ``system`` the template does what it does of itself (SmolLM2's puts in its own system
    message).

    Raises:
        UsageError: the template refuses the messages, for instance a system message.
    """
    return conversation_prompt(lm, _messages([(user, None)], system))


def conversation_prompt(lm: LanguageModel, messages: Sequence[Message]) -> list[int]:
    """The ids of a chat of any number of turns with the assistant's turn opened.

    Without a template the texts follow each other, those of one side with an empty line between
    them, and the end of text after what the assistant said.

    Args:
        lm: the model.
        messages: each a ``role`` (system, user, assistant) and its ``content``; the last one is no
            assistant's.

    Raises:
        UsageError: the template refuses them.
    """
    if not lm.has_chat:
        return _plain_conversation(lm, messages)
    # The messages' own control tokens are hidden before the template runs, and put back as plain
    # text.
    hidden, guard = guarded(lm.encoding, list(messages))
    return guard.ids(_render(lm.tokenizer, hidden))


def prompt_text(lm: LanguageModel, messages: Sequence[Message]) -> str:
    """The text that `conversation_prompt` makes ids of, for programs that have templates of their
    own.

    Raises:
        UsageError: the template refuses the messages.
    """
    if not lm.has_chat:
        return "\n\n".join(message["content"] for message in messages)
    return _render(lm.tokenizer, list(messages))


def _plain_conversation(lm: LanguageModel, messages: Sequence[Message]) -> list[int]:
    ids = list(lm.bos)
    for by_assistant, turn in groupby(messages, key=lambda each: each["role"] == "assistant"):
        text = "\n\n".join(message["content"] for message in turn)
        ids += lm.encode_more(text) if len(ids) > len(lm.bos) else lm.encode(text)
        if by_assistant:
            ids.append(lm.end_id)
    return ids


def user_opening(lm: LanguageModel) -> list[int]:
    """The ids of a chat up to where the user begins to speak: what follows them is what users ask.

    Raises:
        UsageError: the model has no chat template.
    """
    if not lm.has_chat:
        raise UsageError(
            "a model without a chat template has no place where a user speaks", where=lm.name
        )
    mark = "\U000f0000"  # of a private use plane: no template has it
    # Everything up to the mark is what the template writes before a user's first word.
    rendered = _render(lm.tokenizer, _messages([(mark, None)], None))
    return lm.encoding.written(rendered.partition(mark)[0])


def chat_turns(
    lm: LanguageModel, turns: Sequence[tuple[str, str]], system: str | None = None
) -> tuple[list[int], list[bool]]:
    """The ids of finished ``(user, assistant)`` turns and, for each id, whether it carries loss.

    Loss is on the assistant's text and on the token that ends its turn, not on what the template
    writes after it. The ids up to the first answer are ``chat_prompt`` of the first user: what is
    trained is what is later asked. For that the prompt and the answer are tokenised apart, which
    gives the template's ids unless an answer starts with white space that the tokenizer would join
    to the template's own line break.

    Raises:
        UsageError: no turns, or a template that refuses them or does not keep earlier turns as they
            were.
    """
    if not turns:
        raise UsageError(
            "There are no turns to make a chat of", fix="pass at least one (user, assistant) pair"
        )
    pieces = _templated(lm, turns, system) if lm.has_chat else _plain_turns(lm, turns, system)
    ids = [token for tokens, _ in pieces for token in tokens]
    return ids, [
        carries for tokens, mask in pieces for carries in (mask if mask else [False] * len(tokens))
    ]


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The control token that a chat template ends the assistant's turn with; None without one.

    Raises:
        UsageError: the template refuses a question with its answer.
        ModelFileError: it fails, or leaves the question out.
    """
    if tokenizer.chat_template is None:
        return None
    question, answer, encoding = "question", "ANSWER", Encoding(tokenizer)
    text = _render(tokenizer, _messages([(question, answer)], None))
    if question not in text.casefold():  # it wants messages in parts, with pictures among them
        what = "The model's chat template leaves out what the user says"
        raise ModelFileError(what, fix="choose a model with another one")
    controls = set(encoding.controls.values())
    after = encoding.written(text.rpartition(answer)[2])
    # The first control token after the answer: what follows it is between turns, not the answer's
    # end.
    return next((token for token in after if token in controls), None)


Piece = tuple[list[int], list[bool]]
"""Ids and their loss mask; an empty mask is one without loss."""


def _templated(
    lm: LanguageModel, turns: Sequence[tuple[str, str]], system: str | None
) -> list[Piece]:
    messages, guard = guarded(lm.encoding, _messages(turns, system))
    text = _render(lm.tokenizer, messages)
    pieces: list[Piece] = []
    done, ids = "", []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(lm.tokenizer, messages[:index])
        answered = _render(lm.tokenizer, messages[: index + 1])
        # One turn is never rewritten by a later one, so only there may a thought be closed for the
        # template.
        if len(turns) == 1:
            answered = _closing_thought(prompt, answered)
        # Templates that drop earlier thoughts (Qwen3's) would train on text that no prompt
        # contains.
        elif not text.startswith(answered):
            raise _rewrites(lm)
        if not (prompt.startswith(done) and answered.startswith(prompt)):
            raise _rewrites(lm)
        # With the ids so far: whether the tokenizer joins across the seam depends on what stands
        # before.
        opening = guard.ids(prompt.removeprefix(done), done, ids)
        ids = [*ids, *opening]
        answer = guard.ids(answered.removeprefix(prompt), prompt, ids)
        ids, done = [*ids, *answer], answered
        pieces += [(opening, []), (answer, _up_to_its_end(guard.encoding, answer))]
    return pieces


def _closing_thought(prompt: str, answered: str) -> str:
    """Where the prompt opens a thought, the finished turn with that thought closed at once, and the
    answer after it: what is trained begins as what is asked.
    """
    opened = _THOUGHT.search(prompt)
    # No open thought, or the template writes the same thought into finished turns: nothing to
    # mend.
    if opened is None or answered.startswith(prompt):
        return answered
    answer = answered.removeprefix(prompt[: opened.start()])
    return f"{prompt}\n</{opened[1]}>\n\n{answer.lstrip()}" if answer != answered else answered


def _rewrites(lm: LanguageModel) -> UsageError:
    what = (
        "This model's chat template rewrites earlier turns, so a finished chat is not what was"
        " asked"
    )
    fix = "pass one turn at a time, or a model with another template"
    return UsageError(what, where=lm.name, fix=fix)


def _up_to_its_end(encoding: Encoding, ids: list[int]) -> list[bool]:
    """Loss on an answer and the control token that ends it, not on what comes after."""
    controls = set(encoding.controls.values())
    # No control token at all (plain endings): loss on everything.
    end = max((index for index, token in enumerate(ids) if token in controls), default=len(ids) - 1)
    return [index <= end for index in range(len(ids))]


def _plain_turns(
    lm: LanguageModel, turns: Sequence[tuple[str, str]], system: str | None
) -> list[Piece]:
    pieces: list[Piece] = []
    for number, (user, assistant) in enumerate(turns):
        # Only the first turn begins a text; later ones go on from an answer.
        question = list(lm.encode_more(user)) if number else chat_prompt(lm, user, system)
        answered = [*lm.encode_more(assistant), lm.end_id]
        pieces += [(question, []), (answered, [True] * len(answered))]
    return pieces


def _messages(turns: Sequence[tuple[str, str | None]], system: str | None) -> list[Message]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    for user, assistant in turns:
        messages.append({"role": "user", "content": user})
        if assistant is not None:
            messages.append({"role": "assistant", "content": assistant})
    return messages


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    # Open for the assistant unless it has spoken last.
    opened = messages[-1]["role"] != "assistant"
    values = {
        "messages": messages,
        "tools": None,
        "documents": None,
        "add_generation_prompt": opened,
    }
    # bos_token, eos_token and their like, which templates name.
    named = {
        name: str(token)
        for name, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str)
    }
    try:
        return render(
            # The date is fixed: a prompt that changes at midnight could not be repeated.
            tokenizer.get_chat_template(),
            named | values | {"date_string": TODAY.strftime("%d %b %Y")},
        )
    except TemplateSyntaxError as error:
        raise _broken(error) from error
    except TemplateError as error:
        if messages[0] == {"role": "system", "content": ""} and len(messages) > 1:
            # It says nothing; where a template has a message of its own, it is there to keep that
            # one out.
            return _render(tokenizer, messages[1:])
        what = f"The model's chat template refuses these messages: {error}"
        raise UsageError(
            what, fix="leave out the system message, or choose a model with another template"
        ) from error
    except Exception as error:  # a template is a program: it can fail in every way there is
        raise _broken(error) from error


def _broken(error: Exception) -> ModelFileError:
    reason = first_line(error)[:300]
    return ModelFileError(
        f"The model's chat template cannot be used: {reason}", fix="choose a model with another one"
    )
