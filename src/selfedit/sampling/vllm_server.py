"""A vLLM server over HTTP: a request is sent again where it is away, busy or fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from selfedit.config.vllm import VllmSettings
from selfedit.endpoint.http import AGAIN, FIRST_PAUSE, Http
from selfedit.endpoint.reply import Again, retry_after
from selfedit.errors import Unavailable
from selfedit.sampling.vllm_texts import GUIDANCE
from selfedit.storage.bounded import Unreadable, json_value

LEAST = (0, 12)
"""The first version with all that is asked for here."""
START = (
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora --max-lora-rank 64"
    f" --logprobs-mode processed_logprobs {GUIDANCE}"
)
"""How a server is started that can do everything."""


FIRST_ATTEMPTS = 2
"""At first a server that is not there is told at once; later it may have been started anew."""
LOAD, UNLOAD = "load_lora_adapter", "unload_lora_adapter"


class Gone(Exception):
    """The server has no model of this name: it was started anew."""


class VllmServer:
    """One server, asked from any number of threads.

    Args:
        settings: where it is, and how patiently it is asked.

    Raises:
        Unavailable: the package ``openai`` or the key is missing.
    """

    def __init__(self, settings: VllmSettings, first_pause: float = FIRST_PAUSE) -> None:
        self.settings = settings
        self._http = Http(settings, first_pause)
        # The version is not below /v1.
        root = settings.model_copy(update={"url": settings.url.removesuffix("/v1")})
        self._root = Http(root, first_pause)

    def connect(self) -> Mapping[str, Any]:
        """The served model's card, once the server is known to be vLLM and new enough.

        Raises:
            Unavailable: it is not there, is something else, is too old, or serves no such model.
        """
        version = self._sent(self._root, "version", None, FIRST_ATTEMPTS)
        text = str(version.get("version")) if isinstance(version, dict) else ""
        numbers = re.match(r"(\d+)\.(\d+)", text)
        if numbers is None:
            raise self.failed("this is no vLLM server: it names no version", f"start one: {START}")
        if (int(numbers[1]), int(numbers[2])) < LEAST:
            what = f"the server is vLLM {text}, and {'.'.join(map(str, LEAST))} is needed"
            raise self.failed(what, "pip install -U vllm there, and start it again")
        models = self._sent(self._http, "models", None, FIRST_ATTEMPTS)
        cards = models.get("data") if isinstance(models, dict) else None
        if not isinstance(cards, list) or not all(isinstance(card, dict) for card in cards):
            raise self.failed("the server names no models", f"start it anew: {START}")
        # Adapters have the model that they stand on as their parent.
        bases = [card for card in cards if not card.get("parent")]
        matching = [c for c in bases if self.settings.model in (None, c.get("id"))]
        if len(matching) != 1:
            names = ", ".join(str(card.get("id"))[:80] for card in bases[:5]) or "none"
            what = (
                f"the server has no model {self.settings.model}" if not matching else "which model?"
            )
            raise self.failed(f"{what}: it serves {names}", "set vllm.model to one of these")
        return matching[0]

    def ask(self, path: str, body: Mapping[str, Any], attempts: int | None = None) -> Any:
        """What the server replies to a request, as JSON; a sentence where it is about an adapter.

        Raises:
            Gone: it does not know the model named in the request.
            Unavailable: it is not there, failed too often, or declines the request.
        """
        return self._sent(self._http, path, body, attempts or self.settings.attempts)

    def tokens(self, text: str) -> list[int]:
        """How the server's tokenizer cuts a text."""
        body = {"prompt": text, "add_special_tokens": False}
        reply = self._sent(self._root, "tokenize", body, FIRST_ATTEMPTS)
        tokens = reply.get("tokens") if isinstance(reply, dict) else None
        return tokens if isinstance(tokens, list) else []

    def _sent(self, http: Http, path: str, body: Mapping[str, Any] | None, attempts: int) -> Any:
        last = ""
        for attempt in range(1, attempts + 1):
            http.wait()
            try:
                return self._once(http, path, body)
            except Again as again:
                last = again.what
                if attempt < attempts:
                    http.pause(again.after, attempt)
        what = f"the vLLM server gave no usable reply in {attempts} attempts; the last: {last}"
        raise self.failed(
            what, f"start it ({START}), then the same command again: what came is kept"
        )

    def _once(self, http: Http, path: str, body: Mapping[str, Any] | None) -> Any:
        status, headers, raw = http.exchange(path, body)
        if status == 200:
            try:
                return raw if path in (LOAD, UNLOAD) else json_value(raw)
            except Unreadable as error:
                raise Again(f"a reply that is no JSON: {raw[:200]!r}") from error
        answer = f"the vLLM server answers {status} to /{path}: {raw[:300]}"
        if status == 404 and body is not None and "does not exist" in raw:
            raise Gone(answer)
        # A 500 after an adapter says that it cannot be loaded, now or later.
        if status in AGAIN or (status >= 500 and path != LOAD):
            raise Again(answer, retry_after(headers))
        raise self.failed(answer, _fix(status, path, raw))

    def failed(self, what: str, fix: str) -> Unavailable:
        """An error that names this server."""
        return Unavailable(what, where=self.settings.url, fix=fix)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Connections are kept within the block and let go at its end: nobody says when the last
        request has been made.
        """
        try:
            yield
        finally:
            self._http.rest()
            self._root.rest()

    def give_up(self) -> None:
        """Let no thread send again."""
        self._http.stopping.set()

    def go_on(self) -> None:
        """Let threads send, after `give_up`."""
        self._http.stopping.clear()


def _fix(status: int, path: str, raw: str) -> str:
    """What to do after a request that was declined for good."""
    if status in (401, 403):
        return "put the server's key into the environment variable that vllm.key_env names"
    if path == LOAD and status == 404 and "adapter" not in raw:
        return f"start it so that adapters can be loaded: {START}"
    if path == LOAD:
        return (
            "see that it has --enable-lora and a --max-lora-rank of at least the adapter's, and"
            " that it can read the folder: set vllm.folder (and vllm.server_folder) to one that"
            " both see"
        )
    return f"see what it says; it is to be started like this: {START}"
