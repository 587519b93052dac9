"""The command itself: what starting it imports, its help, its exit codes and error output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from selfedit._version import __version__
from selfedit.cli import app
from selfedit.errors import DataError

HEAVY = ("torch", "transformers", "numpy", "matplotlib")


def _loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["adapt", "--help"], ["models"]]
)
def test_starting_imports_nothing_heavy(words: list[str]) -> None:
    loaded = _loaded(
        f"from selfedit.cli import main\ntry:\n    main({words!r})\nexcept SystemExit: pass"
    )
    assert "selfedit.cli.app" in loaded
    assert not loaded & {"torch", "transformers", "matplotlib"}


def test_import_selfedit_imports_nothing_heavy() -> None:
    assert not _loaded("import selfedit; selfedit.UsageError").intersection(HEAVY)


def test_public_names_resolve() -> None:
    import selfedit

    for name in selfedit.__all__:
        assert getattr(selfedit, name) is not None
    assert set(selfedit.__all__) <= set(dir(selfedit))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = selfedit.nonsense


def test_help_lists_every_verb(run) -> None:
    done = run("--help")
    assert done.code == 0
    for verb in (verb for group in app.VERBS.values() for verb in group):
        assert verb in done.out
        assert run(verb, "--help").code == 0


def test_version(run) -> None:
    assert run("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "words", [["no-such-verb"], ["models", "--bogus"], ["adapt"], ["train", "--out"]]
)
def test_wrong_usage_exits_2(run, words: list[str]) -> None:
    assert run(*words).code == 2


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def verb(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app, "app", verb)


def test_our_errors_say_what_where_and_how_to_fix_without_a_traceback(run, monkeypatch) -> None:
    _failing(monkeypatch, DataError("it is broken\x1b[2J", where="line 7", fix="mend it"))
    done = run("models")
    assert done.code == 3
    assert done.out == ""
    assert done.err.startswith("error: it is broken")
    assert "where: line 7" in done.err and "to fix: mend it" in done.err
    assert "Traceback" not in done.err and "\x1b" not in done.err


def test_debug_shows_the_traceback(run, monkeypatch) -> None:
    monkeypatch.setenv("SELFEDIT_DEBUG", "1")
    _failing(monkeypatch, DataError("it is broken"))
    assert "Traceback" in run("models").err


def test_ctrl_c_exits_130_and_names_the_command(run, monkeypatch) -> None:
    _failing(monkeypatch, KeyboardInterrupt())
    done = run("train", "--out", "runs/my run")
    assert done.code == 130
    assert "selfedit train --out 'runs/my run'" in done.err


def test_unexpected_errors_keep_their_traceback(run, monkeypatch) -> None:
    _failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("models")


def test_a_full_disk_exits_4(run, monkeypatch) -> None:
    _failing(monkeypatch, OSError(28, "No space left on device", "x.png"))
    done = run("models")
    assert done.code == 4 and "no room left" in done.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["adapt", "smollm2-135m", "a.md"], "adapt needs --out"),
        (["ask", "smollm2-135m"], "ask needs QUESTIONS"),
        (["arc", "show"], "arc show needs TASK"),
        (["train", "--out"], "--out needs a value"),
        (["adapt", "smollm2-135m", "a.md", "-o"], "-o needs a value"),
    ],
)
def test_what_a_verb_was_not_given_is_named(run, words: list[str], what: str) -> None:
    done = run(*words)
    assert done.code == 2 and f"error: {what}\n" in done.err and "--help` says" in done.err
