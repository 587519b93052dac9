"""The endpoint as OpenAI's own client meets it: each question is answered by what knows it, in
company as alone.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import OpenAI

from selfedit.documents.asking import question_ids
from selfedit.lm.chat import conversation_prompt
from selfedit.lm.generate import generate
from small_server import NAMES

pytestmark = pytest.mark.server

QUESTIONS = {
    "Who built Vell?": "vell.md",
    "How deep is Tarn?": "tarn.md",
    "What is a Hölle?": "hölle.md",
    "How is rice cooked?": None,
}


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


def alone(lm, adapters, question: str, new: int) -> str:
    """The greedy answer of one question by itself, from the library alone."""
    name = QUESTIONS[question]
    ids = question_ids(lm, question) if name else conversation_prompt(lm, user(question))
    adapter = None if name is None else adapters[name]
    return generate(lm, [ids], [adapter], max_new_tokens=new)[0].text


def test_the_models_are_the_library_the_model_and_each_document(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", "base-model", *NAMES]
    assert client.models.retrieve("hölle.md").id == "hölle.md"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other.md")


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_is_answered_by_what_knows_it(client, lm, adapters, question: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=user(question), max_tokens=12
    )
    reply, name = raw.parse(), QUESTIONS[question]
    assert reply.choices[0].message.content == alone(lm, adapters, question, 12)
    said = reply.model_extra["selfedit"]
    assert said["document"] == name and said["source"] == ("document" if name else "base")
    assert said["reason"] == (None if name else "no document knows this")
    assert raw.headers["x-selfedit-source"] == said["source"]
    expected = name and name.replace("ö", "%C3%B6")
    assert raw.headers.get("x-selfedit-name") == expected
    prompt = question_ids(lm, question) if name else conversation_prompt(lm, user(question))
    assert reply.usage.prompt_tokens == len(prompt)
    assert reply.usage.total_tokens == len(prompt) + reply.usage.completion_tokens


def test_many_at_once_get_what_each_gets_alone(client, served, lm, adapters) -> None:
    asked = [(question, new) for question in QUESTIONS for new in (3, 9, 14, 20)]
    service, most = served[1], []

    def ask(each: tuple[str, int]) -> str | None:
        most.append(service.scheduler.load["running"])
        reply = client.chat.completions.create(
            model="auto", messages=user(each[0]), max_tokens=each[1]
        )
        return reply.choices[0].message.content

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(ask, asked))
    for (question, new), answer in zip(asked, answers, strict=True):
        assert answer == alone(lm, adapters, question, new)


def test_streams_say_the_same_piece_by_piece(client, lm, adapters) -> None:
    question = "Who built Vell?"
    stream = client.chat.completions.create(
        model="auto", messages=user(question), max_tokens=20, stream=True, n=2,
        stream_options={"include_usage": True},
    )  # fmt: skip
    texts, finishes, usages, sources = {0: "", 1: ""}, {}, [], []
    for chunk in stream:
        sources.append(chunk.model_extra["selfedit"]["document"])
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes |= {choice.index: choice.finish_reason} if choice.finish_reason else {}
    expected = alone(lm, adapters, question, 20)
    assert texts == {0: expected, 1: expected} and len(sources) > 6
    assert set(sources) == {"vell.md"} and finishes == {0: "length", 1: "length"}
    assert [usage.completion_tokens for usage in usages] == [40]


def test_a_named_document_answers_whatever_is_asked(client, lm, adapters) -> None:
    reply = client.chat.completions.create(
        model="tarn.md", messages=user("Who built Vell?"), max_tokens=9
    )
    ids = question_ids(lm, "Who built Vell?")
    expected = generate(lm, [ids], [adapters["tarn.md"]], max_new_tokens=9)[0].text
    assert reply.choices[0].message.content == expected
    with pytest.raises(openai.NotFoundError, match="no model of this name"):
        client.chat.completions.create(model="vell", messages=user("Who?"))


def test_a_follow_up_and_a_topic_find_their_document(client) -> None:
    turns = [*user("Who built Vell?"), {"role": "assistant", "content": "Orda"}, *user("When?")]
    reply = client.chat.completions.create(model="auto", messages=turns, max_tokens=2)
    assert reply.model_extra["selfedit"]["document"] == "vell.md"
    reply = client.chat.completions.create(
        model="auto", messages=user("When?"), max_tokens=2, extra_body={"topic": "Tarn"}
    )
    assert reply.model_extra["selfedit"]["document"] == "tarn.md"


def test_sampling_depends_on_the_seed_alone(client, lm) -> None:
    def sampled(seed: int, n: int = 1) -> list[str | None]:
        reply = client.chat.completions.create(
            model="base-model", messages=user("Hi"), max_tokens=12, temperature=1.0, top_p=0.9,
            seed=seed, n=n,
        )  # fmt: skip
        return [choice.message.content for choice in reply.choices]

    first = sampled(5, 3)
    assert first == [*sampled(5), *sampled(6), *sampled(7)] and len(set(first)) == 3
    ids = conversation_prompt(lm, user("Hi"))
    theirs = generate(lm, [ids], max_new_tokens=12, temperature=1.0, top_p=0.9, seeds=[5])
    assert first[0] == theirs[0].text


def test_a_stop_string_ends_the_text_before_it(client, lm, adapters) -> None:
    text = alone(lm, adapters, "Who built Vell?", 20)
    stop = text[7:10]
    for stream in (False, True):
        reply = client.chat.completions.create(
            model="auto", messages=user("Who built Vell?"), max_tokens=20, stop=["\0never", stop],
            stream=stream,
        )  # fmt: skip
        if stream:
            pieces = [chunk.choices[0] for chunk in reply]
            said = "".join(choice.delta.content or "" for choice in pieces)
            finish = pieces[-1].finish_reason
        else:
            said, finish = reply.choices[0].message.content, reply.choices[0].finish_reason
        assert (said, finish) == (text[: text.index(stop)], "stop")


def test_completions_take_texts_and_token_ids(client, lm, adapters) -> None:
    ids = lm.encode("the harbour of ")
    expected = generate(lm, [ids], [adapters["tarn.md"]], max_new_tokens=9)[0].text
    for prompt in ("the harbour of ", list(ids), ["the harbour of ", "the harbour of "]):
        reply = client.completions.create(model="tarn.md", prompt=prompt, max_tokens=9)
        assert {choice.text for choice in reply.choices} == {expected}
        assert len(reply.choices) == (2 if isinstance(prompt[1], str) and len(prompt) == 2 else 1)
    several = client.completions.create(model="auto", prompt=["Vell is", "Rice is"], max_tokens=2)
    assert [each["document"] for each in several.model_extra["selfedit"]] == ["vell.md", None]
    streamed = client.completions.create(model="tarn.md", prompt=ids, max_tokens=9, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == expected
    with pytest.raises(openai.BadRequestError, match="does not know"):
        client.completions.create(model="auto", prompt=[5, 10**6], max_tokens=2)


def test_logarithms_are_of_each_token_of_the_text(client, lm) -> None:
    reply = client.chat.completions.create(
        model="base-model", messages=user("Hi"), max_tokens=5, logprobs=True, top_logprobs=2
    )
    noted = reply.choices[0].logprobs.content
    assert len(noted) == reply.usage.completion_tokens
    for each in noted:  # greedy: each token is the likeliest
        assert each.logprob == each.top_logprobs[0].logprob >= each.top_logprobs[1].logprob
        assert each.token == each.top_logprobs[0].token
    reply = client.completions.create(model="base-model", prompt="Hi", max_tokens=3, logprobs=0)
    assert len(reply.choices[0].logprobs.token_logprobs) == 3


def test_a_client_that_goes_away_frees_its_place(served, client) -> None:
    service = served[1]
    stream = client.chat.completions.create(
        model="auto", messages=user("Who built Vell?"), max_tokens=1500, stream=True
    )
    while not next(iter(stream)).choices[0].delta.content:
        pass
    assert service.scheduler.load["running"] == 1
    stream.close()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model="auto", messages=user("Who built Vell?"), max_tokens=1500
        )
    until = time.monotonic() + 5
    while service.scheduler.load["running"] and time.monotonic() < until:
        time.sleep(0.02)
    assert service.scheduler.load == {"running": 0, "waiting": 0}
