"""The sampler against a real vLLM server on this machine's CPU, with the real model.

`tools/vllm_env.py` makes the server's environment once; where the registry is out of reach the tests
are skipped, and say so.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import vllm_env
from selfedit.config import DirectiveSettings, Settings, make_settings
from selfedit.lm.load import LanguageModel
from selfedit.lm.rules import TokenRule, allowed_tokens
from selfedit.models.names import model_path
from selfedit.rl.policy_tokens import PolicySequence, read_logs
from selfedit.rl.rest_em import run_rounds
from selfedit.rl.rounds import rl_place
from selfedit.sampling.local import LocalSampler
from selfedit.sampling.vllm import VllmSampler
from selfedit.sampling.vllm_check import probe_adapter
from selfedit.tasks.arc.constrained import SelfEditGrammar
from selfedit.tasks.arc.self_edit import CHOICES
from selfedit.tasks.knowledge.contexts import load_contexts
from selfedit.tasks.knowledge.directives import HeaderGrammar
from tiny_run import session_in

pytestmark = [pytest.mark.model, pytest.mark.server, pytest.mark.slow]

OUT_OF_REACH = ("connection", "resolve", "timed out", "Retrying", "No matching distribution")
OPTIONS = """
    -m vllm.entrypoints.openai.api_server --host 127.0.0.1 --dtype float32 --enforce-eager
    --max-model-len 2048 --max-num-seqs 32 --enable-lora --max-lora-rank 32 --max-loras 4
    --logprobs-mode processed_logprobs
"""
SERVER_SECONDS = 300
PROMPTS = 20


@dataclass
class Server:
    """One server process after the other at one address."""

    python: Path
    model: Path
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        environment = {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            # Threads that wait spinning are as many too many beside the tests' own.
            "OMP_NUM_THREADS": "1",
        }
        where = ["--model", str(self.model), "--port", str(self.port)]
        backend = ["--structured-outputs-config", '{"backend": "guidance"}']
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.python), *OPTIONS.split(), *where, *backend],
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        end = time.monotonic() + SERVER_SECONDS
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(0.5)
        raise AssertionError(f"the server did not start: {self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        python = vllm_env.make()
    except vllm_env.NotMade as error:
        if any(word in str(error) for word in OUT_OF_REACH):
            pytest.skip(f"the package registry is out of reach: {error}")
        raise
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    running = Server(python, Path(model_path("smollm2-135m")), log, port)
    running.start()
    try:
        running.wait()
        yield running
    finally:
        running.kill()


def settings_for(server: Server, **values: Any) -> Settings:
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}
    return make_settings(
        {
            "model": "smollm2-135m",
            "sampler": "vllm",
            "vllm": {"url": server.url, "attempts": 20, "timeout": 300},
            "inner": {"lora": lora, "optim": {"epochs": 1}},
            "edit": {"max_new_tokens": 32},
            "answer": {"max_new_tokens": 8},
            "eval": {"sampler": "vllm"},
            "rl": {
                "rounds": 1,
                "contexts": 1,
                "candidates": 2,
                "movement": {"prompts": 1},
                "reward": {"threshold": -1.0},
                "mstep": {"lora": lora, "optim": {"epochs": 1}},
            },
        }
        | values
    )


@pytest.fixture(scope="module")
def prompts(smollm2: LanguageModel) -> list[tuple[int, ...]]:
    texts = [context.text for context in load_contexts("corpus:learn")]
    return [smollm2.encode(texts[n % len(texts)])[: 20 + n] for n in range(PROMPTS)]


def test_texts_and_log_probabilities_are_ours(
    smollm2: LanguageModel, server: Server, prompts: list[tuple[int, ...]]
) -> None:
    settings = settings_for(server)
    sampler, ours = VllmSampler(smollm2, settings), LocalSampler(smollm2, settings)
    adapter = probe_adapter(smollm2, settings)
    under = [None, adapter] * (PROMPTS // 2)
    pairs = zip(
        ours.generate(prompts, under, max_new_tokens=16),
        sampler.generate(prompts, under, max_new_tokens=16),
        strict=True,
    )
    same = [mine.ids == theirs.ids for mine, theirs in pairs]
    assert sum(same) >= 0.95 * PROMPTS
    assert sampler.ready()[1].processed
    for temperature, chosen in ((1.0, None), (0.7, adapter)):
        options: dict[str, Any] = {"max_new_tokens": 12, "temperature": temperature}
        seeds = list(range(6))
        written = sampler.generate(prompts[:6], [chosen] * 6, seeds=seeds, **options)
        sequences: list[PolicySequence] = []
        for prompt, text in zip(prompts, written, strict=False):
            marks = (*[False] * len(prompt), *[True] * len(text.sampled))
            sequences.append(PolicySequence((*prompt, *text.sampled), marks))
        read = read_logs(smollm2, sequences, chosen, temperature)
        for mine, theirs in zip(read, written, strict=True):
            assert theirs.logprobs == pytest.approx(mine, abs=1e-2)
        # Drawn, and by its seed: the same ones give the same texts again.
        assert len({text.ids for text in written}) > 1
        assert sampler.generate(prompts[:6], [chosen] * 6, seeds=seeds, **options) == written


def test_grammars_hold_and_their_log_probabilities_are_ours(
    smollm2: LanguageModel, server: Server, prompts: list[tuple[int, ...]]
) -> None:
    sampler = VllmSampler(smollm2, settings_for(server))
    vocabulary = len(smollm2.head)
    header = HeaderGrammar(smollm2, DirectiveSettings(allowed=True))
    objects = SelfEditGrammar(smollm2.tokenizer, CHOICES, vocabulary=vocabulary)
    for grammar, limit in ((header, 40), (objects, 120)):
        rules: list[TokenRule] = [grammar.row() for _ in range(4)]
        options: dict[str, Any] = {"max_new_tokens": limit, "temperature": 1.0}
        asked = prompts[:4]
        written = sampler.generate(asked, rules=rules, seeds=[1, 2, 3, 4], **options)
        assert len({text.text for text in written}) > 1
        for prompt, text in zip(asked, written, strict=True):
            allowed = allowed_tokens(grammar.row(), text.sampled, vocabulary)
            choices = [len(ids) > 1 for ids in allowed]
            assert any(choices)
            sequence = PolicySequence(
                (*prompt, *text.sampled),
                (*[False] * len(prompt), *choices),
                allowed=tuple(ids for ids in allowed if len(ids) > 1),
            )
            if text.logprobs:
                read = read_logs(smollm2, [sequence], None, 1.0)[0]
                noted = [log for log, real in zip(text.logprobs, choices, strict=True) if real]
                assert noted == pytest.approx(read, abs=1e-2)
        if grammar is objects:
            # Whole objects, in the very tokens that our own sampler would have made.
            assert all(text.finish == "stop" and text.logprobs for text in written)


def test_a_round_of_rest_em_end_to_end(
    smollm2: LanguageModel, server: Server, tmp_path: Path
) -> None:
    settings = settings_for(server)
    for _ in range(2):
        session = session_in(tmp_path / "run", smollm2, settings)
        with session.run as run:
            rounds, policy = run_rounds(session, load_contexts("corpus:learn")[:1])
            trials = run.ledger.trials(rl_place(1))
            edits = run.ledger.self_edits(rl_place(1))
        assert policy is not None and rounds[0].policy is not None
        assert len(edits) == 2 and len({edit.text for edit in edits}) > 1
        assert [len(trial.answers) > 0 for trial in trials] == [True] * len(trials)
        assert {trial.candidate for trial in trials} >= {0, 1}
        # The second time everything is there: nobody needs a server.
        settings = settings.model_copy(
            update={"vllm": settings.vllm.model_copy(update={"url": "http://127.0.0.1:9/v1"})}
        )
