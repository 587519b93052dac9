"""Settings of a vLLM server: where it is, and how adapters come to it."""

from __future__ import annotations

from pydantic import Field

from selfedit.config.endpoint import ServerSettings


class VllmSettings(ServerSettings):
    """Where the server is, which of its models is the run's, and how adapters come to it. A run may
    go on with others.
    """

    url: str = Field(
        default="http://127.0.0.1:8000/v1", description="the server's address up to /completions"
    )
    model: str | None = Field(
        default=None, description="the model's name at the server; left out, the one that it serves"
    )
    key_env: str | None = Field(
        default=None,
        description="environment variable that holds the server's key, if it wants one",
    )
    concurrency: int = Field(default=64, ge=1, le=1024, description="requests under way at once")
    attempts: int = Field(
        default=12,
        ge=1,
        le=100,
        description=(
            "times a request is sent before it is given up; with 12 a server may be away for some"
            " four minutes"
        ),
    )
    folder: str | None = Field(
        default=None,
        description=(
            "where adapters are put for the server to read; left out, a temporary folder of this"
            " machine. A server on another machine needs a folder that both see"
        ),
    )
    server_folder: str | None = Field(
        default=None,
        description="the same folder as the server sees it, where that is another path",
    )
    tolerance: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description=(
            "nats a token by which the server may find fixed texts likelier or less likely than the"
            " run's model does; above it the server has another model"
        ),
    )
