"""Who may be let in: the token from where it lies, and the addresses that want one."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from selfedit.errors import UsageError

VARIABLE = "SELFEDIT_TOKEN"
"""Where the token is looked for unless another place is named."""
LEAST = 8
"""Characters of a token."""
_MOST = 4096


def read_token(where: str | None) -> str | None:
    """The token that clients have to send; None for none.

    Args:
        where: a variable's name, or ``@FILE``; None for `VARIABLE`, if it is set. Never the token
            itself: whoever lists processes would read it.

    Raises:
        UsageError: it is not there, or no token. What was typed is not repeated: it may be one.
    """
    if where is None:
        return _checked(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    if where.startswith("@"):
        try:
            with Path(where[1:]).open(encoding="utf-8") as file:
                return _checked(file.read(_MOST + 1))
        except (OSError, ValueError) as error:
            what = "the token's file cannot be read"
            raise UsageError(what, where="--token", fix="--token @FILE, a text file") from error
    if (value := os.environ.get(where)) is None:
        what = "--token names the variable that holds the token, and there is none of this name"
        fix = f"put the token into {VARIABLE}, or into a file: --token @FILE"
        raise UsageError(what, where="--token", fix=fix)
    return _checked(value)


def check_open(host: str, token: str | None) -> None:
    """See that nobody else on the network can ask unless they know a token.

    Raises:
        UsageError: they could.
    """
    if token is None and not _is_loopback(host):
        what = "other machines could reach this address, and there is no token that they must know"
        fix = f"put a token into {VARIABLE} or name its file (--token @FILE), or leave --host out"
        raise UsageError(what, where=f"--host {host}", fix=fix)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(text: str) -> str:
    token = text.strip()
    # Headers hold printable ASCII; a space would end the token.
    if not LEAST <= len(token) <= _MOST or not all("!" <= letter <= "~" for letter in token):
        what = f"a token is {LEAST} or more letters, digits and signs of ASCII, without spaces"
        raise UsageError(what, where="--token", fix="make one: openssl rand -hex 24")
    return token
