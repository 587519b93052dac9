"""The bodies of OpenAI's protocol: what is understood, what may be there and changes nothing, and
what is refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from selfedit.lm.chat_guard import Message
from selfedit.serving.failures import Failure
from selfedit.storage.neutral import as_unicode, in_line

MOST_TEXTS, MOST_STOPS, MOST_LIKELIEST, MOST_MESSAGES = 16, 4, 20, 512
_IGNORED = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
"""Fields that change no answer."""
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
}
"""Fields that are not computed here, and the values that ask for nothing."""

R = TypeVar("R", bound="SamplingBody")
_Stop = Annotated[str, Field(min_length=1, max_length=256)]
_TokenIds = Annotated[list[int], Field(min_length=1)]


class _StreamOptions(BaseModel):
    include_usage: bool | None = False
    include_obfuscation: bool | None = False


class SamplingBody(BaseModel):
    """What chat and completions share; see OpenAI's reference for each.

    Attributes:
        temperature: greedy where it is not said, as adapters are measured.
        topic: ours: what the question is about, in the words of a document's title.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str = Field("auto", max_length=1024)
    max_tokens: int | None = Field(None, ge=1, le=2**31)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int = Field(1, ge=1, le=MOST_TEXTS)
    stop: _Stop | Annotated[list[_Stop], Field(max_length=MOST_STOPS)] = []
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    topic: str = Field("", max_length=500)

    @property
    def stops(self) -> list[str]:
        """The strings that end a text."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def limit(self) -> int | None:
        """Tokens of each text at the most, where the client says."""
        return self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """Likeliest tokens beside each; None for no logarithms at all."""
        return None


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _ChatMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_TextPart] | None = None
    name: str | None = None
    refusal: str | None = None

    def plain(self) -> Message:
        """As templates take it."""
        parts = self.content or ""
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": as_unicode(text)}


class ChatBody(SamplingBody):
    """The body of ``/v1/chat/completions``."""

    messages: list[_ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_LIKELIEST)

    @model_validator(mode="after")
    def _ends_with_a_user(self) -> Self:
        if self.messages[-1].role != "user":
            raise ValueError("the last message has to be the user's")
        return self

    @property
    def limit(self) -> int | None:
        """See `SamplingBody`; of the two names the newer one counts."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """See `SamplingBody`."""
        return self.top_logprobs if self.logprobs else None

    def plain(self) -> list[Message]:
        """The messages as templates take them."""
        return [message.plain() for message in self.messages]


class CompletionBody(SamplingBody):
    """The body of ``/v1/completions``: texts, or token ids."""

    prompt: str | _TokenIds | Annotated[list[str] | list[_TokenIds], Field(min_length=1)]
    logprobs: int | None = Field(None, ge=0, le=MOST_LIKELIEST)

    @property
    def alternatives(self) -> int | None:
        """See `SamplingBody`."""
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, a text or ids."""
        several = isinstance(self.prompt, list) and not isinstance(self.prompt[0], int)
        prompts: Any = self.prompt if several else [self.prompt]
        return [as_unicode(each) if isinstance(each, str) else each for each in prompts]


def read_request(kind: type[R], body: object) -> R:
    """A request of a body's JSON value.

    Raises:
        Failure: a field is missing, has another form, or asks for what is not computed here.
    """
    if not isinstance(body, dict):
        raise Failure(400, "the body has to be a JSON object")
    fields = {str(name): value for name, value in body.items() if value is not None}
    for name in list(fields):
        if name in kind.model_fields:
            continue
        neutral = _NEUTRAL.get(name)
        if name in _IGNORED or (neutral is not None and fields[name] in neutral):
            del fields[name]
        elif neutral is not None:
            what = f"{name} is not supported here; leave it out"
            raise Failure(400, what, param=name, code="unsupported_parameter")
    try:
        return kind.model_validate(fields, strict=True)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> Failure:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = in_line(".".join(map(str, first["loc"][:3])), 80)
    if first["type"] == "extra_forbidden":
        return Failure(
            400, f"{name} is not a field that is known here; leave it out", param=name,
            code="unknown_parameter",
        )  # fmt: skip
    what = first["msg"].removeprefix("Value error, ")
    return Failure(
        400, f"{name}: {what}" if name else what, param=name or None, code="invalid_value"
    )
