"""The sampler of a vLLM server, against one in small: the same texts as our own sampler's, and what
becomes of a server that is not as needed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from fake_vllm import FakeVllm
from selfedit.config import DirectiveSettings, Settings
from selfedit.errors import DataError, Unavailable, UsageError
from selfedit.lm.load import LanguageModel, load
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import TokenTree, allowed_tokens
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.sampling.local import LocalSampler
from selfedit.sampling.vllm import VllmSampler
from selfedit.sampling.vllm_check import probe_adapter
from selfedit.tasks.knowledge.directives import HeaderGrammar
from tiny_llama import tiny_llama
from tiny_run import contexts, session_in, tiny_settings

SETTINGS = tiny_settings(vllm__attempts=2, vllm__timeout=20.0)
SAMPLED: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1.0}


@pytest.fixture(scope="module")
def small_lm(small_folder: Path) -> LanguageModel:
    return load(str(small_folder), device="cpu")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfedit.endpoint.http.LONGEST_PAUSE", 0.01)


@pytest.fixture
def server(small_lm: LanguageModel) -> Iterator[FakeVllm]:
    with FakeVllm(small_lm) as running:
        yield running


def at(server: FakeVllm | str, settings: Settings = SETTINGS, **changes: Any) -> Settings:
    url = server if isinstance(server, str) else server.url
    vllm = settings.vllm.model_copy(update={"url": url} | changes)
    return settings.model_copy(update={"vllm": vllm})


def prompts(lm: LanguageModel, count: int = 6) -> list[tuple[int, ...]]:
    return [lm.encode(f"number {n} of a thing with parts") for n in range(count)]


def adapters(lm: LanguageModel, count: int) -> list[Adapter]:
    made = [probe_adapter(lm, SETTINGS) for _ in range(count)]
    for number, adapter in enumerate(made):
        for _, b in adapter.tensors.values():
            b.mul_(number + 1)
    return made


def test_it_writes_what_our_own_sampler_writes_and_leaves_nothing_loaded(
    small_lm: LanguageModel, server: FakeVllm, tmp_path: Path
) -> None:
    first, second = adapters(small_lm, 2)
    asked, under = prompts(small_lm), [None, first, second, first, None, second]
    sampler = VllmSampler(small_lm, at(server, folder=str(tmp_path)))
    ours = LocalSampler(small_lm, SETTINGS)
    for options in (SAMPLED | {"seeds": list(range(6))}, {"max_new_tokens": 9}):
        written = sampler.generate(asked, under, **options)
        for mine, theirs in zip(ours.generate(asked, under, **options), written, strict=True):
            assert mine == theirs
            assert theirs.logprobs == pytest.approx(mine.logprobs, abs=1e-4)
            assert bool(theirs.logprobs) == ("seeds" in options)
    # Every adapter under a name of its own each time: the probe's, and two a call.
    assert len(server.names) == len(set(server.names)) == 5
    assert not server.loaded and not list(tmp_path.iterdir())


def test_an_alphabet_a_stop_and_other_temperatures_are_as_ours(
    small_lm: LanguageModel, server: FakeVllm
) -> None:
    sampler, ours = VllmSampler(small_lm, at(server)), LocalSampler(small_lm, SETTINGS)
    options: dict[str, Any] = {
        "max_new_tokens": 10,
        "alphabet": [5, 9, 40, 41, 42, small_lm.end_id],
        "stop": lambda tokens: len(tokens) == 4,
    }
    assert sampler.generate(prompts(small_lm), **options) == ours.generate(
        prompts(small_lm), **options
    )
    warm = {"max_new_tokens": 6, "temperature": 0.7, "seeds": [3] * 6, "top_p": 0.8}
    written = sampler.generate(prompts(small_lm), **warm)
    assert written == ours.generate(prompts(small_lm), **warm)
    # Cut to its nucleus, a server's distribution is not the one that ours notes.
    assert not any(each.logprobs for each in written)


def test_a_grammar_goes_along_and_is_held_to(small_lm: LanguageModel, server: FakeVllm) -> None:
    settings = DirectiveSettings(allowed=True, tools=())
    grammar = HeaderGrammar(small_lm, settings)
    sampler = VllmSampler(small_lm, at(server))
    options = SAMPLED | {"max_new_tokens": 60, "seeds": [1, 2, 3]}
    rules = [grammar.row() for _ in range(3)]
    for written in sampler.generate(prompts(small_lm, 3), rules=rules, **options):
        assert written.text.startswith("@train lr=")
        assert len(allowed_tokens(grammar.row(), written.sampled, len(small_lm.head))) > 20
    texts = ["alpha", "beta/1", 'gam"ma']
    tree = TokenTree([small_lm.encode(text) for text in texts])
    rows = [tree.row() for _ in range(3)]
    for written in sampler.generate(prompts(small_lm, 3), rules=rows, **options):
        # One path a text, however the server has cut it; its likelihood is then another.
        assert written.text in texts and written.ids in tree.texts
        assert written.finish == "stop" and not written.logprobs


def test_a_grammar_that_cannot_be_written_down_is_refused(
    small_lm: LanguageModel, server: FakeVllm
) -> None:
    class Own:
        done = False

        def allowed(self, mask: Any) -> None:
            mask[:] = True

        def advance(self, token: int) -> None: ...

    with pytest.raises(UsageError, match="Own cannot be sent"):
        VllmSampler(small_lm, at(server)).generate(
            prompts(small_lm, 1), rules=[Own()], max_new_tokens=3
        )


def test_what_a_grammar_forbids_is_not_taken(small_lm: LanguageModel, server: FakeVllm) -> None:
    sampler = VllmSampler(small_lm, at(server))
    sampler.ready()

    def free(path: str, body: dict[str, Any], number: int) -> tuple[int, str] | None:
        body.pop("structured_outputs", None)
        return None

    server.fault = free
    tree = TokenTree([small_lm.encode(text) for text in ("alpha", "beta")])
    with pytest.raises(Unavailable, match="grammar of self-edits forbids"):
        sampler.generate(prompts(small_lm, 1), rules=[tree.row()], max_new_tokens=8)


def test_a_server_started_anew_gets_its_adapters_again(
    small_lm: LanguageModel, server: FakeVllm
) -> None:
    under = adapters(small_lm, 2) * 3
    sampler = VllmSampler(small_lm, at(server))
    options = SAMPLED | {"seeds": list(range(6))}
    expected = sampler.generate(prompts(small_lm), under, **options)
    before, forgotten = len(server.names), server.texts + 3

    def restart(path: str, body: dict[str, Any], number: int) -> tuple[int, str] | None:
        if path == "/v1/completions" and server.texts == forgotten:
            server.loaded.clear()
            raise OSError
        return None

    server.fault = restart
    assert sampler.generate(prompts(small_lm), under, **options) == expected
    # Two loaded, both again under names never used.
    assert len(server.names) - before == 4 and len(set(server.names)) == len(server.names)
    assert not server.loaded


def test_an_error_in_the_middle_unloads_too(small_lm: LanguageModel, server: FakeVllm) -> None:
    sampler = VllmSampler(small_lm, at(server))
    sampler.ready()
    server.fault = lambda path, *_: (500, "down") if path == "/v1/completions" else None
    with pytest.raises(Unavailable, match="2 attempts; the last: the vLLM server answers 500"):
        sampler.generate(prompts(small_lm), adapters(small_lm, 1) * 6, max_new_tokens=4)
    assert server.names and not server.loaded
    server.fault = lambda *_: None
    assert len(sampler.generate(prompts(small_lm), max_new_tokens=4)) == 6


def body_of(choice: Any) -> Any:
    def send(path: str, body: dict[str, Any], number: int) -> tuple[int, str] | None:
        return (200, json.dumps({"choices": [choice]})) if path == "/v1/completions" else None

    return send


def status(code: int, text: str, where: str) -> Any:
    return lambda path, body, number: (code, text) if where in path else None


def hang(path: str, body: dict[str, Any], number: int) -> None:
    time.sleep(0.6)


BAD = {
    "no vLLM": (status(404, "nothing", "version"), "answers 404 to /version"),
    "another program": (status(200, '{"version": 1}', "version"), "no vLLM server"),
    "too old": (status(200, '{"version": "0.8.5"}', "version"), "vLLM 0.8.5, and 0.12"),
    "no models": (status(200, "[]", "models"), "names no models"),
    "no adapters": (status(404, '{"detail":"Not Found"}', "load"), "VLLM_ALLOW_RUNTIME_LORA"),
    "rank too large": (status(500, "rank 64 is greater than max_lora_rank", "load"), "max-lora-rank"),
    "folder unseen": (status(404, "No adapter found for /x", "load"), "vllm.server_folder"),
    "another tokenizer": (status(200, '{"tokens": [1]}', "tokenize"), "into other tokens"),
    "500s": (status(500, "down", "completions"), "2 attempts"),
    "a wrong key": (status(401, "no", "models"), "vllm.key_env"),
    "hangs": (hang, "ReadTimeout"),
    "garbage": (status(200, "<html>", "completions"), "no JSON"),
    "no choice": (status(200, '{"choices": []}', "completions"), "no tokens"),
    "an id too large": (body_of({"token_ids": [10**9]}), "no tokens"),
    "ids of text": (body_of({"token_ids": ["a"]}), "no tokens"),
    "too many": (body_of({"token_ids": [5] * 99}), "no tokens"),
    "no logs": (body_of({"token_ids": [5]}), "no log-probabilities"),
    "logs of text": (body_of({"token_ids": [5], "logprobs": {"token_logprobs": ["x"]}}), "no tokens"),
    "escapes": (status(400, "\x1b]0;PWNED\x07", "completions"), "answers 400"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_server_that_is_not_as_needed_ends_with_what_to_do(
    case: str, small_lm: LanguageModel, server: FakeVllm
) -> None:
    server.fault, message = BAD[case]
    settings = at(server, timeout=0.2 if case == "hangs" else 20.0)
    with pytest.raises(Unavailable) as caught:
        VllmSampler(small_lm, settings).generate(prompts(small_lm, 2), max_new_tokens=4)
    assert message in f"{caught.value.what} {caught.value.fix}" and caught.value.exit_code == 4
    assert caught.value.fix and not server.loaded


def test_nothing_listening_several_models_and_a_missing_key(
    small_lm: LanguageModel, server: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    server.models = ["one", "two"]
    monkeypatch.delenv("NO_KEY", raising=False)
    for settings, message in (
        (at(free), "ConnectError"),
        (at(server), "which model\\?: it serves one, two"),
        (at(server, model="three"), "no model three"),
        (at(server, key_env="NO_KEY"), "NO_KEY holds no key"),
        (at(server, model="one", folder="/not/there"), "vllm.folder is no folder here"),
    ):
        with pytest.raises(Unavailable, match=message):
            VllmSampler(small_lm, settings).ready()
    assert VllmSampler(small_lm, at(server, model="two")).ready()[1].model == "two"


def test_another_model_is_told_from_ours(
    small_lm: LanguageModel, server: FakeVllm, small_folder: Path, tmp_path: Path
) -> None:
    AutoTokenizer.from_pretrained(small_folder).save_pretrained(tmp_path)
    tiny_llama(len(small_lm.tokenizer), seed=1).save_pretrained(tmp_path)
    server.lm = load(str(tmp_path), device="cpu")
    with pytest.raises(Unavailable, match="has another model: "):
        VllmSampler(small_lm, at(server)).ready()


def test_a_merged_policy_wants_a_server_with_its_weights(
    server: FakeVllm, small_folder: Path, tmp_path: Path
) -> None:
    lm = load(str(small_folder), device="cpu")
    sampler = VllmSampler(lm, at(server))
    sampler.ready()
    with torch.no_grad():
        # A policy's step: too small for the tolerance, and still another policy.
        lm.model.get_output_embeddings().weight.mul_(1.002)
    with pytest.raises(Unavailable, match="has another model") as caught:
        sampler.load_policy(tmp_path)
    assert "rl.mstep.merge = false" in str(caught.value.fix) and str(tmp_path) in str(
        caught.value.fix
    )
    server.lm = lm
    VllmSampler(lm, at(server)).load_policy(tmp_path)


def test_a_prompt_longer_than_the_server_takes_is_named(
    small_lm: LanguageModel, server: FakeVllm
) -> None:
    long = [prompts(small_lm, 1)[0], (5,) * 510]
    with pytest.raises(DataError, match="prompt 1"):
        VllmSampler(small_lm, at(server)).generate(long, max_new_tokens=4)


def test_a_run_through_a_server_is_the_run_without_one_and_repeats_nothing(
    small_folder: Path, server: FakeVllm, tmp_path: Path
) -> None:
    lm = load(str(small_folder), device="cpu")
    plain = tiny_settings(rl__rounds=2, rl__mstep__merge=False, vllm__attempts=2)
    through = at(server, plain).model_copy(update={"sampler": "vllm"})
    through = through.model_copy(
        update={"eval": through.eval.model_copy(update={"sampler": "vllm"})}
    )
    # Stopped by a server that is gone for good, gone on with, and gone on with when all is done.
    server.fault = lambda path, body, number: (503, "away") if number > 60 else None
    with pytest.raises(Unavailable, match="503"):
        taught(tmp_path / "run", lm, through)
    half, server.fault = len(server.asked), lambda *_: None
    taken = taught(tmp_path / "run", load(str(small_folder), device="cpu"), through)
    assert 60 < half < len(server.asked) and not server.loaded
    asked = len(server.asked)
    assert taught(tmp_path / "run", load(str(small_folder), device="cpu"), through) == taken
    assert len(server.asked) == asked
    assert taught(tmp_path / "plain", load(str(small_folder), device="cpu"), plain) == taken


def taught(folder: Path, lm: LanguageModel, settings: Settings) -> tuple[Any, ...]:
    """What every trial of a run came to, and its policies."""
    session = session_in(folder, lm, settings)
    with session.run as run:
        rounds, policy = run_rounds(session, contexts(4))
        assert policy is not None
        trials = [
            (t.context_id, t.candidate, [a.text for a in t.answers])
            for n in (1, 2)
            for t in run.ledger.trials(rl_place(n))
        ]
        edits = [(e.context_id, e.text) for n in (1, 2) for e in run.ledger.self_edits(rl_place(n))]
    return [each.policy for each in rounds], sorted(trials, key=str), edits
