"""The sampler of a vLLM server: it writes what this process would write, under the same adapters.

Prompts and texts are token ids both ways. What a server computes differs from what this process
computes in the last bits, and with who else is asked; so texts are repeated for equal seeds as far
as vLLM repeats them. Adapters go to the server as files (`selfedit.sampling.vllm_server`), and what
it has is held to the run's own model (`selfedit.sampling.vllm_check`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from selfedit.config import Settings
from selfedit.endpoint.senders import Senders
from selfedit.errors import DataError
from selfedit.lm.generate import Completion
from selfedit.lm.likelihood import Gold
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter, distinct_adapters
from selfedit.lm.rules import Stop, TokenRule
from selfedit.sampling.local import LocalSampler
from selfedit.sampling.vllm_adapters import LoadedAdapters, lent
from selfedit.sampling.vllm_check import Checked, check_server
from selfedit.sampling.vllm_server import START, Gone, VllmServer
from selfedit.sampling.vllm_texts import TextRequest, read_choice

RESTARTS = 4
"""Times one text is asked for again because the server has lost its adapter."""
R = TypeVar("R")


class VllmSampler:
    """Writes with a vLLM server that serves the run's model.

    Args:
        lm: the run's model; the server is held to it.
        settings: ``vllm`` says where the server is.
    """

    def __init__(self, lm: LanguageModel, settings: Settings) -> None:
        self.lm, self.settings = lm, settings
        self._server: VllmServer | None = None
        self._checked: Checked | None = None

    def generate(
        self,
        prompts: Sequence[tuple[int, ...]],
        adapters: Sequence[Adapter | None] | None = None,
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
        rules: Sequence[TokenRule | None] | None = None,
        alphabet: Sequence[int] | None = None,
        stop: Stop | None = None,
    ) -> list[Completion]:
        """See `Sampler`; a server that is away is waited for, and its adapters are loaded anew.

        Raises:
            Unavailable: the server is not there, is not as needed, or has another model.
            DataError: a prompt and its answer are longer than the server takes.
            UsageError: a grammar that cannot be sent to a server.
        """
        none = [None] * len(prompts)
        requests = [
            TextRequest(
                tuple(prompt), max_new_tokens, temperature, top_p, seed, rule, alphabet, stop
            )
            for prompt, seed, rule in zip(prompts, seeds or none, rules or none, strict=True)
        ]
        server, checked = self.ready()
        for number, each in enumerate(requests):
            _check_length(len(each.prompt) + each.limit, checked, f"prompt {number}")
        bodies = [each.body(self.lm) for each in requests]
        under = none if adapters is None else adapters
        numbers = _adapter_numbers(under)
        with server.in_use(), lent(server, distinct_adapters(under)) as loaded:

            def one(index: int) -> Completion:
                name = _Name(loaded, checked.model, numbers[index])
                reply = _completed(server, bodies[index], name)
                return read_choice(
                    self.lm, requests[index], reply, server.failed, processed=checked.processed
                )

            return _side_by_side(server, one, len(requests))

    def log_probabilities(
        self, texts: Sequence[Gold], adapters: Sequence[Adapter | None] | None = None
    ) -> list[float]:
        """See `Sampler`: by the run's own model, as those of trained adapters are read, so that
        both can be compared to the last digits.
        """
        return LocalSampler(self.lm, self.settings).log_probabilities(texts, adapters)

    def load_policy(self, folder: Path) -> None:
        """See `Sampler`: the run's model has the new weights; the server has to be given them.

        Raises:
            Unavailable: it still has others.
        """
        fix = (
            f"start it with the policy's model ({folder}), then the same command again; or begin"
            " another run with rl.mstep.merge = false: the policy then goes to it as an adapter"
        )
        before, self._checked = self._checked, None
        self.ready(fix, before)

    def ready(
        self, fix: str = f"start it with the run's model: {START}", before: Checked | None = None
    ) -> tuple[VllmServer, Checked]:
        """The server, once it is known to have this model; it is looked at once.

        Args:
            fix: what to do where it has another one.
            before: what it was with the weights before these.

        Raises:
            Unavailable: it is not there, or not as needed.
        """
        # Not in the constructor: a run that is finished needs no server.
        self._server = self._server or VllmServer(self.settings.vllm)
        if self._checked is None:
            with self._server.in_use():
                self._checked = check_server(self._server, self.lm, self.settings, fix, before)
        return self._server, self._checked


class _Name:
    """What one text is asked under: the model, or an adapter, which may get another name."""

    def __init__(self, loaded: LoadedAdapters, model: str, number: int | None) -> None:
        self._loaded, self._model, self._number = loaded, model, number

    def now(self, lost_name: str | None) -> str:
        """The name; where ``lost_name`` was it, another one."""
        return self._model if self._number is None else self._loaded.name(self._number, lost_name)


def _completed(server: VllmServer, body: dict[str, Any], name: _Name) -> Any:
    lost_name, last = None, ""
    for _ in range(RESTARTS):
        model = name.now(lost_name)
        try:
            return server.ask("completions", body | {"model": model})
        except Gone as error:
            lost_name, last = model, str(error)
    raise server.failed(last, f"start it as it was: {START}")


def _adapter_numbers(adapters: Sequence[Adapter | None]) -> list[int | None]:
    """Each adapter's place among the distinct ones."""
    places = {id(adapter): number for number, adapter in enumerate(distinct_adapters(adapters))}
    return [None if adapter is None else places[id(adapter)] for adapter in adapters]


def _check_length(tokens: int, checked: Checked, where: str) -> None:
    if tokens > checked.longest > 0:
        what = f"{tokens} tokens exceed the {checked.longest} that the vLLM server takes"
        fix = f"start it with --max-model-len {tokens} or more, or shorten the passage"
        raise DataError(what, where=where, fix=fix)


def _side_by_side(server: VllmServer, one: Callable[[int], R], count: int) -> list[R]:
    """What every text comes to, asked for by as many threads as the settings allow."""
    done: dict[int, R] = {}
    failure: BaseException | None = None
    crew = Senders(one, [(number, number) for number in range(count)], server.settings.concurrency)
    try:
        while crew.busy or (crew.waiting and failure is None):
            if failure is None:
                crew.give_out()
            for number, outcome in crew.collect():
                if isinstance(outcome, BaseException):
                    failure = failure or outcome
                    # Nobody sends again; what has been sent is waited for.
                    server.give_up()
                else:
                    done[number] = outcome
    finally:
        crew.close()
        server.go_on()
    if failure is not None:
        raise failure
    return [done[number] for number in range(count)]


SAMPLER = VllmSampler
