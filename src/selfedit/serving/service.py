"""From a question to texts on their way: who answers, what the prompt is, whether it fits, and a
place in the batch.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfedit.documents.asking import asking_messages
from selfedit.documents.shelf import Shelf, Source
from selfedit.lm.chat import conversation_prompt
from selfedit.lm.chat_guard import Message
from selfedit.lm.live_row import live_row
from selfedit.lm.load import LanguageModel
from selfedit.serving.failures import Failure
from selfedit.serving.limits import AGAIN_SECONDS, Limits
from selfedit.serving.requests import ChatBody, CompletionBody, SamplingBody
from selfedit.serving.scheduler import Closing, QueueFull, Scheduler
from selfedit.serving.ticket import Emit, Ticket


@dataclass(frozen=True)
class Asked:
    """A prompt and who answers it.

    Attributes:
        source: the adapter, or the model itself.
        ids: of the prompt.
    """

    source: Source
    ids: tuple[int, ...]


class Service:
    """Answers on one model; used from any thread.

    Args:
        shelf: what can answer.
        limits: how much may be asked.
    """

    def __init__(self, shelf: Shelf, limits: Limits) -> None:
        self.shelf, self.limits = shelf, limits
        self.lm: LanguageModel = shelf.lm
        self.scheduler = Scheduler(
            shelf.lm,
            most=limits.max_batch,
            adapters=limits.max_adapters,
            waiting=limits.max_waiting,
        )
        # Tokenizers and templates are not for two threads at once.
        self._prompting = threading.Lock()

    def chat(self, request: ChatBody) -> list[Asked]:
        """What a chat asks.

        Raises:
            Failure: no such model, or too long.
            SelfEditError: its adapter cannot be used, or the template refuses the messages.
        """
        messages = request.plain()
        users = [each["content"] for each in reversed(messages) if each["role"] == "user"]
        source = self._source(request.model, users, request.topic)
        return [Asked(source, self._fitting(self._chat_ids(source, messages, request.topic)))]

    def completions(self, request: CompletionBody) -> list[Asked]:
        """What completions ask: each prompt as it is, routed by what it says.

        Raises:
            Failure, SelfEditError: see `chat`.
        """
        return [self._completion(request, prompt) for prompt in request.prompts]

    def _completion(self, request: CompletionBody, prompt: str | list[int]) -> Asked:
        if isinstance(prompt, str):
            text = prompt
            with self._prompting:
                ids = (*self.lm.bos, *self.lm.encode(prompt))
        else:
            ids = self._known(prompt)
            text = self.lm.decode(ids)
        return Asked(self._source(request.model, [text], request.topic), self._fitting(ids))

    def _known(self, prompt: list[int]) -> tuple[int, ...]:
        if not all(0 <= token < len(self.lm.head) for token in prompt):
            what = (
                f"the prompt has a token that the model does not know: 0 to {len(self.lm.head) - 1}"
            )
            raise Failure(400, what, param="prompt", code="invalid_value")
        return tuple(prompt)

    def _source(self, name: str, questions: Sequence[str], topic: str) -> Source:
        if name not in self.shelf.names:
            what = "there is no model of this name here; see /v1/models"
            raise Failure(404, what, param="model", code="model_not_found")
        with self._prompting:  # the router reads words with the tokenizer
            return self.shelf.source(name, questions, topic)

    def _chat_ids(self, source: Source, messages: list[Message], topic: str) -> tuple[int, ...]:
        if source.wants_form:
            messages = asking_messages(messages, topic, chat=self.lm.has_chat)
        with self._prompting:
            return tuple(conversation_prompt(self.lm, messages))

    def _fitting(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        most = self.lm.max_tokens
        if not ids:
            raise Failure(400, "the prompt is empty", code="invalid_value")
        if len(ids) >= most:
            what = (
                f"the prompt has {len(ids)} tokens; the model's context is {most}, answer included"
            )
            raise Failure(400, what, code="context_length_exceeded")
        return ids

    def submit(
        self, request: SamplingBody, prompts: Sequence[Asked], emit_to: Callable[[int], Emit]
    ) -> list[Ticket]:
        """Let the answers be written: ``n`` of each prompt, one after the other.

        Args:
            request: how they are to be written.
            prompts: what is asked.
            emit_to: who is told of the text of a number.

        Raises:
            Failure: nothing more is taken now.
        """
        seed = secrets.randbits(62) if request.seed is None else request.seed
        rows = [
            live_row(
                prompt.ids,
                prompt.source.adapter,
                self._limit(request, prompt.ids),
                temperature=request.temperature,
                top_p=request.top_p,
                seed=(seed + number) % 2**63,
                alternatives=request.alternatives,
            )
            for prompt in prompts
            for number in range(request.n)
        ]
        try:
            emits = [emit_to(number) for number in range(len(rows))]
            return self.scheduler.submit(rows, request.stops, emits)
        except QueueFull:
            what = "too many requests wait already; try again soon"
            raise Failure(429, what, code="queue_full", again=AGAIN_SECONDS) from None
        except Closing:
            raise Failure(503, "the server is being stopped", code="closing") from None

    def _limit(self, request: SamplingBody, ids: Sequence[int]) -> int:
        """Tokens that may be written: as many as the context still holds at the most."""
        return min(request.limit or self.limits.max_tokens, self.lm.max_tokens - len(ids))
