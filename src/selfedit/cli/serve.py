"""``selfedit serve``: an endpoint with OpenAI's protocol that answers from a library, an adapter or
a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from selfedit.cli.answering import AS_STORED, ModelOptions, open_service
from selfedit.cli.command import resume, say
from selfedit.cli.output import write
from selfedit.errors import Interrupted, Unavailable

if TYPE_CHECKING:
    from selfedit.serving.service import Service

_Most = Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))]


@Parameter(name="*")
@dataclass(frozen=True)
class LimitOptions:
    """How much may be asked.

    Attributes:
        max_batch: texts written at once.
        max_adapters: adapters in one batch.
        max_loaded: adapters in memory.
        max_waiting: texts that may wait; further requests get 429 and when to come again.
        max_connections: open at once.
        max_tokens: of an answer, where a request does not say.
        max_seconds: from a request's arrival to its end.
    """

    max_batch: _Most = 32
    max_adapters: _Most = 16
    max_loaded: _Most = 64
    max_waiting: _Most = 128
    max_connections: _Most = 256
    max_tokens: _Most = 256
    max_seconds: _Most = 600


@Parameter(name="*")
@dataclass(frozen=True)
class DoorOptions:
    """Where clients come in.

    Attributes:
        host: the address to listen at; another than this machine's own wants a token.
        port: 0 takes any that is free; the address is printed.
        token: what clients must send as their API key: a variable that holds it, or @FILE; without
            it SELFEDIT_TOKEN, if that is set.
        allow_host: a name that clients call this server by, besides addresses and localhost.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8600
    token: Annotated[str | None, Parameter(metavar="VARIABLE|@FILE")] = None
    allow_host: Annotated[list[str] | None, Parameter(metavar="NAME")] = None


def serve(
    path: Path,
    /,
    *,
    door: DoorOptions = DoorOptions(),
    options: ModelOptions = AS_STORED,
    limits: LimitOptions = LimitOptions(),
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """An endpoint with OpenAI's API: each question is answered by the document that knows it.

    Ctrl-C ends it. It needs the extra `serve` (pip install 'selfedit[serve]'); the page on serving
    has curl and the openai client.

    Args:
        path: the folder of a library (`selfedit adapt --library`), of an adapter (ours or peft's),
            or of a run, whose last policy answers.
        quiet: no bar while a model is fetched.
    """
    check_extra()
    from selfedit.documents.served import read_served
    from selfedit.run.interrupt import Interrupt
    from selfedit.serving.access import check_open, read_token
    from selfedit.serving.http_server import listening
    from selfedit.serving.limits import DRAIN_SECONDS, Limits
    from selfedit.serving.web_server import answer_requests, web_server

    token = read_token(door.token)
    check_open(door.host, token)
    read_served(path, options.model)  # what is wrong with the folder is said before the port is
    wait = f"finishing what runs, {DRAIN_SECONDS:.0f} s at the most; once more to stop at once"
    with (
        listening(door.host, door.port) as bound,
        Interrupt(resume=resume(), notify=lambda _: say(wait)) as interrupt,
    ):
        service = open_service(path, Limits(**vars(limits)), options, quiet=quiet)
        server = web_server(service, token=token, hosts=[door.host, *(door.allow_host or [])])
        name = f"[{door.host}]" if ":" in door.host else door.host
        address = f"http://{name}:{bound.getsockname()[1]}/v1"
        ended = answer_requests(
            server,
            service,
            bound,
            lambda: interrupt.requested,
            lambda: _say_started(service, address),
        )
        what = "stopped as you asked" if ended else "stopped; what still ran was cut off"
        raise Interrupted(what, fix=f"to serve again: {resume()}")


def _say_started(service: Service, address: str) -> None:
    say(f"{service.shelf.in_words} answers any OpenAI client; Ctrl-C ends it")
    write(address)


def check_extra() -> None:
    """See that the packages of the extra are here.

    Raises:
        Unavailable: they are not.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            what = f"serving needs the package {name}"
            raise Unavailable(what, fix="pip install 'selfedit[serve]'")
