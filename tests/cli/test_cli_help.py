"""Help as a new user reads it: every verb says what it does, shows an example that works, and has
words for every option; a name that is nearly right leads to the right one.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from selfedit.cli.app import app
from selfedit.cli.setting_options import option_name
from selfedit.cli.verbs import VERBS
from selfedit.config import Settings
from selfedit.config.described import in_words, leaves, nearest_names


def _verbs(group: Any = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name in group:
        if not name.startswith("-"):
            yield " ".join((*path, name)), group[name]
            yield from _verbs(group[name], (*path, name))


ALL = dict(_verbs())
LEAVES = [verb for verb, shown in ALL.items() if shown.default_command]


def test_verbs_stand_in_groups_in_the_order_of_need(run) -> None:
    shown = run("--help").out
    places = [shown.index(f"─ {group} ") for group in VERBS]
    assert places == sorted(places)
    for group, verbs in VERBS.items():
        after = shown[shown.index(f"─ {group} ") :]
        starts = [after.index(f"\n│ {verb} ") for verb in verbs]
        assert starts == sorted(starts)


@pytest.mark.parametrize("verb", ALL)
def test_a_verb_says_in_one_line_what_it_does_and_more_below(verb: str) -> None:
    first, _, more = ALL[verb].help.partition("\n\n")
    assert (15 < len(first) <= 100 and first[0].isupper()) or first.startswith("selfedit")
    assert first.rstrip().endswith((".", "?"))
    assert "Args:" not in first and more


@pytest.mark.parametrize("verb", ALL)
def test_the_example_of_a_verb_can_be_typed(verb: str) -> None:
    epilogue = ALL[verb].help_epilogue
    assert epilogue and epilogue.startswith("For example: selfedit ")
    words = shlex.split(epilogue.removeprefix("For example: selfedit "))
    path = verb.split()
    assert words[: len(path)] == path
    command, _, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert not ALL[verb].default_command or command is ALL[verb].default_command


@pytest.mark.parametrize("verb", LEAVES)
def test_every_option_of_a_verb_has_words(verb: str) -> None:
    for argument in ALL[verb].assemble_argument_collection(parse_docstring=True):
        if argument.parse and argument.show:
            words = argument.parameter.help or ""
            assert words and not words.startswith("default "), argument.name
            options = [name for name in argument.names if name.startswith("--")]
            assert all("_" not in name for name in options), options


def test_every_setting_says_what_it_is_and_what_it_may_be() -> None:
    for dotted, field in leaves(Settings):
        one = in_words(field)
        assert len(one.words) > 8, f"{dotted} has no words"
        # It stands behind the option's name, not behind a noun it could lean on.
        assert not one.words.startswith(("of ", "at ", "the same of", "bound on")), dotted
        assert one.kind != "NUMBER" or one.bounds, f"{dotted} has no bounds"
        assert one.kind != "INT" or one.bounds, f"{dotted} has no bounds"
        assert one.default not in ("None", "False", "True", "()"), dotted


def test_the_help_of_experiment_names_the_experiments(run) -> None:
    from selfedit.experiments.catalog import EXPERIMENTS

    shown = run("experiment", "--help").out
    assert all(f"{name}: " in shown for name in EXPERIMENTS)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["experiment", "few_shot"], "few-shot"),
        (["train", "--edit.max-new-tokns", "3"], "--edit.max-new-tokens"),
        (["trian"], "train"),
        (["show", "knowlege-cpu"], "knowledge-cpu"),
    ],
)
def test_a_name_that_is_nearly_right_leads_to_the_right_one(run, words, meant) -> None:
    done = run(*words)
    assert done.code in (2, 3) and "id you mean" in done.err and meant in done.err


@pytest.mark.parametrize("style", ["edit.max-new-tokens", "edit.max_new_tokens"])
def test_an_option_is_shown_with_dashes_and_taken_as_toml_writes_it_too(style: str) -> None:
    assert option_name("edit.max_new_tokens") == "--edit.max-new-tokens"
    _, bound, _ = app.parse_args(["train", f"--{style}", "7"], exit_on_error=False)
    assert bound.arguments["edit__max_new_tokens"] == "7"


def test_a_models_name_may_be_given_as_its_own(run, tmp_path) -> None:
    done = run("train", "--model.name", "no-such-model", "--out", tmp_path / "run", "-q")
    assert done.code == 2 and "no-such-model" in done.err


def test_nearest_looks_in_the_group_first() -> None:
    known = ["a.rate", "a.size", "b.learning_rate", "steps"]
    assert nearest_names("a.learning_rate", known) == ["a.rate", "a.size"]
    assert nearest_names("learning_rate", known) == ["b.learning_rate"]
    assert nearest_names("step", known) == ["steps"] and nearest_names("zzz", known) == []


def test_the_shell_completes_verbs_options_and_experiments(tmp_path) -> None:
    script = tmp_path / "selfedit.bash"
    script.write_text(app.generate_completion(shell="bash"))
    ask = (
        f'source {script}; tried() {{ COMP_WORDS=(selfedit "$@"); COMP_CWORD=$#; COMPREPLY=();'
        ' _selfedit selfedit "${@: -1}" ""; echo "${COMPREPLY[*]}"; };'
        " tried ad; tried train --inner.optim.l; tried experiment sing"
    )
    shown = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["adapt", "--inner.optim.lr", "single-passage"]
