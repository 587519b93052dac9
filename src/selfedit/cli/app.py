"""The command ``selfedit``: its verbs, and how errors become messages and exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from selfedit._version import __version__
from selfedit.cli import command
from selfedit.errors import Interrupted, SelfEditError, UsageError

VERBS = {
    "demo": (
        "The whole loop, small: a model learns invented passages, and learns to write better"
        " self-edits."
    ),
    "train": (
        "ReST-EM on your passages, from a recipe; the same command again goes on where it stopped."
    ),
    "experiment": (
        "One of the paper's tables, from a recipe; the same command again goes on where it stopped."
    ),
    "arc": (
        "ARC's tasks: show them, prime a model, filter by what Oracle TTT solves, time the adapter"
        " bank."
    ),
    "show": "What a recipe asks a model and trains it on, in text and tokens; nothing is run.",
    "adapt": "Documents into an adapter, with what the model recalls before and after.",
    "ask": "Put questions to a model, with or without an adapter.",
    "serve": (
        "An endpoint with OpenAI's API: each question is answered by the document that knows"
        " it.\n\nFor example: selfedit serve library/ --port 8600 (docs/serve.md has curl and the"
        " openai client)."
    ),
    "chat": (
        "Ask a library, an adapter or a policy in the terminal, line by line.\n\nFor example:"
        " selfedit chat library/, or printf 'Who built the harbour?\\nAnd when?\\n' | selfedit"
        " chat library/."
    ),
    "evaluate": (
        "The table of a run, also with another grader; or a model's accuracy on questions from a"
        " file."
    ),
    "compare": "Runs with different settings on the same passages, paired with the first.",
    "grade": "How far a grader agrees with the labels of a file, on questions it has not seen.",
    "signal": "How much of a run's reward is signal, per inner loop spent.",
    "export": (
        "An adapter, a document's or a run's policy as a merged model, PEFT's files or GGUF with a"
        " Modelfile; onto a hub.\n\nFor example: selfedit export handbook/ -o out/ --as gguf"
        " (docs/export.md)."
    ),
    "bench": (
        "What it costs, side by side with others: inner, generate, profile, arithmetic, racing."
    ),
    "launch": "A run through a scheduler of many machines: slurm.",
    "view": (
        "A live page in the browser over a run, a library or a folder of runs; it only reads.\n\n"
        "For example: selfedit view runs/ (docs/view.md shows it)."
    ),
    "report": "Pictures and a page of a run.",
    "data": "The paper's data files: look through them, link them where its recipes expect them.",
    "models": "The models with short names: list them, fetch one, print its folder.",
    "doctor": "Is everything here that selfedit needs?",
}

_HELP = """Self-adapting language models: a model writes its own training data, trains an adapter \
on it, and learns by
reinforcement which self-edits make it better.

Exit codes: 0 done, 2 wrong usage or settings, 3 wrong or missing data, 4 something needed is not \
there, 130
interrupted (the same command again goes on). SELFEDIT_DEBUG=1 shows where an error was raised."""

app = App(
    name="selfedit",
    help=_HELP,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(negative="", show_default=lambda value: value or None),
    suppress_keyboard_interrupt=False,
)
_OF_PATHS = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL,
}  # fmt: skip
GROUPS = ("arc", "bench", "data", "launch")
"""Verbs with verbs of their own: apps, which say themselves how their help looks."""

for _verb, _line in VERBS.items():
    _look = {} if _verb in GROUPS else {"help_format": "plaintext"}
    app.command(f"selfedit.cli.{_verb}:{_verb}", name=_verb, help=_line, **_look)


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
    return _run_as_process(words) if tokens is None else _run(words)


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
