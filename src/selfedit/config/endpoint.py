"""Settings of a server that speaks OpenAI's protocol, and of a chat endpoint: a judge's, or that of
a writer of self-edits.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from selfedit.config.group import Group


class ServerSettings(Group):
    """Where to ask, with which key, how hard."""

    url: str = Field(
        default="https://api.openai.com/v1", description="its address up to /chat/completions"
    )
    key_env: str | None = Field(
        default="OPENAI_API_KEY",
        description="environment variable that holds the key; none for a server without",
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="requests under way at once")
    attempts: int = Field(
        default=8, ge=1, le=100, description="times a request is sent before it is given up"
    )
    timeout: float = Field(
        default=120, gt=0, description="seconds without a byte after which a request is sent again"
    )

    @field_validator("key_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        """A key that is typed here would be written into the run's folder."""
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
            raise ValueError(
                "this is no variable's name (capital letters, digits, _): the key goes into the"
                " variable"
            )
        return name

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        """A URL is written into run folders and messages, so nothing secret may stand in it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the URL has to begin with http:// or https:// and a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "the URL must hold no login and no query: the key goes into an environment variable"
            )
        return url.rstrip("/")


class EndpointSettings(ServerSettings):
    """Where to ask, which model, how hard, and at what cost. Replies are kept by url and model."""

    model: str | None = Field(default=None, description="the model's name at the endpoint")
    token_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="what the endpoint calls the longest reply"
    )
    price_in: float | None = Field(default=None, ge=0, description="price of a million tokens read")
    price_out: float | None = Field(
        default=None, ge=0, description="price of a million tokens written"
    )
    cache: str | None = Field(
        default=None, description="file that keeps the replies; absent: in selfedit's cache"
    )
