"""What a client is told when its request cannot be answered, in OpenAI's form."""

from __future__ import annotations

from typing import Literal

from selfedit.errors import SelfEditError, Unavailable, UsageError
from selfedit.storage.neutral import in_line

FailureKind = Literal[
    "invalid_request_error", "authentication_error", "not_found_error", "rate_limit_error",
    "server_error", "timeout_error",
]  # fmt: skip
ErrorBody = dict[str, dict[str, str | None]]


class Failure(Exception):
    """A request's end.

    Args:
        status: HTTP's.
        message: one sentence or two, for a person.
        param: the field it is about.
        code: a word for programs.
        again: seconds after which it may be sent again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        again: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.param, self.code, self.again = param, code, again

    @property
    def body(self) -> ErrorBody:
        """The reply."""
        error = {
            "message": in_line(self.message, 500),
            "type": _type_of(self.status),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


def _type_of(status: int) -> FailureKind:
    kinds: dict[int, FailureKind] = {
        401: "authentication_error",
        404: "not_found_error",
        408: "timeout_error",
        429: "rate_limit_error",
        504: "timeout_error",
    }
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")


def failure_of(error: Exception) -> Failure:
    """What a client is told of an error of ours: what was wrong, not where on this machine."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, UsageError):
        return Failure(400, _with_fix(error))
    if isinstance(error, Unavailable):
        return Failure(503, error.what)
    if isinstance(error, SelfEditError):
        return Failure(500, error.what, code="unreadable_adapter")
    return Failure(500, "the request could not be computed; the server's log says why")


def _with_fix(error: SelfEditError) -> str:
    return error.what if error.fix is None else f"{error.what}: {error.fix}"
