"""``selfedit view``: a live page over runs, a library, an adapter."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from selfedit.cli.answering import AS_STORED, ModelOptions, open_service
from selfedit.cli.command import resume, say
from selfedit.cli.output import write
from selfedit.cli.serve import DoorOptions, check_extra
from selfedit.errors import Interrupted

_TOKEN_BYTES = 24


@Parameter(name="*")
@dataclass(frozen=True)
class PageDoor(DoorOptions):
    """Where the page is.

    Attributes:
        host: the address to listen at.
        port: 0 takes any that is free; the address is printed.
        token: what the address holds: a variable that holds it, or @FILE; without it
            SELFEDIT_TOKEN if that is set, else a new one each time.
        allow_host: a name that browsers call this server by, besides addresses and localhost.
    """

    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8601


def view(
    path: Path,
    /,
    *,
    door: PageDoor = PageDoor(),
    options: ModelOptions = AS_STORED,
    no_ask: bool = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """A live page in the browser over a run, a library or a folder of runs; it only reads.

    Runs may be finished or under way. The address printed holds a token that lets you in. Ctrl-C
    ends it. It needs the extra `serve` (pip install 'selfedit[serve]').

    Args:
        path: the folder of a run or a library, or one that holds some.
        no_ask: nothing can be asked, and no model is ever loaded.
        quiet: no bar while a model is fetched.
    """
    check_extra()
    from selfedit.run.interrupt import Interrupt
    from selfedit.serving.access import read_token
    from selfedit.serving.http_server import http_server, listening, run_server
    from selfedit.serving.limits import Limits
    from selfedit.view.app import ViewPage

    # A token there always is: other people may have accounts on this machine.
    token = read_token(door.token) or secrets.token_urlsafe(_TOKEN_BYTES)
    limits = Limits()
    asking = partial(open_service, limits=limits, options=options, quiet=quiet)
    page = ViewPage(path, None if no_ask else asking)
    app = page.application(token, [door.host, *(door.allow_host or [])])
    with (
        listening(door.host, door.port) as bound,
        Interrupt(resume=resume(), notify=lambda _: say("stopping")) as interrupt,
    ):
        name = f"[{door.host}]" if ":" in door.host else door.host
        address = f"http://{name}:{bound.getsockname()[1]}/#token={token}"
        run_server(
            http_server(app, limits.max_connections),
            bound,
            lambda: interrupt.requested,
            lambda: _say_address(address),
            page.close,
        )
        raise Interrupted("stopped as you asked", fix=f"to look again: {resume()}")


def _say_address(address: str) -> None:
    say("open this address in a browser; Ctrl-C ends it")
    write(address)
