"""The command ``selfedit``: its verbs, and how errors become messages and exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter

from selfedit._version import __version__
from selfedit.cli import command
from selfedit.cli.verbs import VERBS, WITH_VERBS, example_of
from selfedit.errors import Interrupted, SelfEditError, UsageError

_HELP = """Self-adapting language models: a model writes its own training data, trains an adapter
on it, and learns by reinforcement which self-edits make it better.

Exit codes: 0 done, 2 wrong usage or settings, 3 wrong or missing data, 4 something needed is not
there, 130 interrupted (the same command again goes on). SELFEDIT_DEBUG=1 shows where an error was
raised."""

app = App(
    name="selfedit",
    help=_HELP,
    help_format="markdown",
    version=__version__,
    default_parameter=Parameter(negative="", show_default=lambda value: value or None),
    suppress_keyboard_interrupt=False,
)
_OF_PATHS = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
}  # fmt: skip


def _register() -> None:
    """Name each verb's function; it is imported when it is asked for, or for the list of all."""
    for order, (name, verbs) in enumerate(VERBS.items()):
        group = Group(name, sort_key=order)
        for number, verb in enumerate(verbs):
            look = {"help_format": "markdown", "help_epilogue": example_of(verb)}
            path = f"selfedit.cli.{verb}:{verb}"
            # An app says itself how its help looks; cyclopts refuses to be told for it.
            kept = {} if verb in WITH_VERBS else look
            app.command(path, name=verb, group=group, sort_key=number, **kept)

    app.register_install_completion_command(
        name="--install-completion", help="Complete verbs and options in this shell from now on."
    )
    last = Group("Options", sort_key=len(VERBS))
    for flag in ("--help", "--version", "--install-completion"):
        app[flag].group = last


_register()


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        tokens: the words after ``selfedit``; None takes the process's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal that speaks Latin-1 or ASCII shows ? for the rest
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if tokens is None else tokens)
    command.words = words
    # The list shows the first line of each verb's docstring, for which it must be imported.
    if not words or words[0] in ("--help", "-h"):
        _import_verbs()
    return _run_as_process(words) if tokens is None else _run(words)


def _import_verbs() -> None:
    """For the list of all verbs."""
    for group in VERBS.values():
        for verb in group:
            app[verb]


def _run_as_process(words: list[str]) -> int:
    """Run the one command of this process, which a signal ends with 130 whenever it comes."""
    from selfedit.run.interrupt import end_at_signals, ignore_signals

    try:
        end_at_signals()
        code = _run(words)
        ignore_signals()
    except KeyboardInterrupt:  # once more, while the first was being answered
        ignore_signals()
        return Interrupted.exit_code
    return code


def _run(words: list[str]) -> int:
    """Run one command; its errors become messages."""
    try:
        result = app(words, result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except MissingArgumentError as error:
        return _tell(_missing(error))
    except CycloptsError as error:
        _say(f"error: {error}")  # its own panel would print what was typed as it stands
        return UsageError.exit_code
    except SelfEditError as error:
        return _tell(error)
    except KeyboardInterrupt:
        _say(f"stopped; to go on: {command.resume()}")
        return Interrupted.exit_code
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; without this Python complains again when it flushes
        # at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from selfedit.storage.files import storage_error

        explained = storage_error(error, error.filename) or _unusable(error)
        if explained is None:
            raise
        return _tell(explained)


def _missing(error: MissingArgumentError) -> UsageError:
    """What a verb was not given. cyclopts says that its parameter "requires an argument"."""
    verb, argument = " ".join(error.command_chain or ()), error.argument
    name = error.keyword or (argument.name if argument else "a word more")
    what = f"{name} needs a value" if error.keyword else f"{verb} needs {name}"
    return UsageError(what, fix=f"`selfedit {verb} --help` says what it is, and has an example")


def _unusable(error: OSError) -> SelfEditError | None:
    """An error about a path that a command was given: not there, or not to be written."""
    if error.filename is None or error.errno not in _OF_PATHS:
        return None
    what = f"this path cannot be used: {error.strerror}"
    return UsageError(what, where=error.filename, fix="give one that can be read and written")


def _tell(error: SelfEditError) -> int:
    if os.environ.get("SELFEDIT_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    _say(f"error: {error}" if error.exit_code != Interrupted.exit_code else str(error))
    return error.exit_code


def _say(text: str) -> None:
    command.say(text)
