"""A server with OpenAI's API, vLLM's for one, as a contestant: prompts in, a count of tokens out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from selfedit.config.vllm import VllmSettings
from selfedit.errors import Unavailable, UsageError
from selfedit.lm.lora import Adapter, distinct_adapters
from selfedit.sampling.vllm_adapters import lent
from selfedit.sampling.vllm_server import VllmServer

TIMEOUT = 600
"""Seconds a request may take."""


class Server:
    """One server's first model.

    Args:
        url: ``http://host:port`` or ``http://host:port/v1``.

    Raises:
        UsageError: this is no http address.
        Unavailable: it does not answer, or not in OpenAI's form.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError("a server's address starts with http:// or https://", where=url)
        self.url = url.rstrip("/").removesuffix("/v1") + "/v1"
        found = self._ask("models", None)
        try:
            self.model = str(found["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise self._odd("models") from error
        self._vllm = VllmServer(VllmSettings(url=self.url, attempts=1))

    def complete(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> int:
        """Let every prompt (token ids) be continued by ``new_tokens`` tokens, all in one request;
        returns how many.

        Raises:
            Unavailable: it does not answer, or ends a text early (``ignore_eos`` is vLLM's own
                setting).
        """
        return self._complete(prompts, new_tokens, self.model)

    def _complete(self, prompts: Sequence[Sequence[int]], new_tokens: int, model: str) -> int:
        body = {
            "model": model,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": new_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        found = self._ask("completions", body)
        try:
            written = int(found["usage"]["completion_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._odd("completions") from error
        if written != new_tokens * len(prompts):
            what = f"the server wrote {written} tokens instead of {new_tokens * len(prompts)}"
            raise Unavailable(
                what,
                where=self.url,
                fix="compare with a server that knows ignore_eos, such as vLLM",
            )
        return written

    def takes(self, adapter: Adapter) -> bool:
        """Whether it loads adapters of ours: vLLM's runtime LoRA."""
        try:
            with self._vllm.in_use(), lent(self._vllm, [adapter]):
                return True
        except Unavailable:
            return False

    def complete_under(
        self, prompts: Sequence[Sequence[int]], adapters: Sequence[Adapter], new_tokens: int
    ) -> tuple[int, float]:
        """Let every prompt be continued under its adapter, a request each, all at once; the tokens
        written, and the seconds from when the adapters were loaded.

        Raises:
            Unavailable: as `complete`, or an adapter cannot be loaded.
        """
        distinct = distinct_adapters(adapters)
        with self._vllm.in_use(), lent(self._vllm, distinct) as loaded:
            names = {id(each): loaded.name(number) for number, each in enumerate(distinct)}
            asked = [(prompt, names[id(a)]) for prompt, a in zip(prompts, adapters, strict=True)]
            start = time.perf_counter()
            with ThreadPoolExecutor(len(asked)) as pool:
                written = pool.map(
                    lambda each: self._complete([each[0]], new_tokens, each[1]), asked
                )
                return sum(written), time.perf_counter() - start

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except (URLError, OSError) as error:
            fix = "start it, or leave the server out"
            raise Unavailable(
                f"the server does not answer: {error}", where=self.url, fix=fix
            ) from error
        except ValueError as error:
            raise self._odd(path) from error

    def _odd(self, path: str) -> Unavailable:
        return Unavailable(
            f"the server's answer to /{path} is not in OpenAI's form", where=self.url
        )
