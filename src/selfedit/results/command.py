"""A run's frozen settings as the command that starts it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import cast

from selfedit.config import Settings
from selfedit.run.settings import SettingsTree, changes

_BEGINNINGS = {
    "adapt": "adapt {model} DOCUMENTS -o FOLDER",
    "library": "adapt {model} DOCUMENTS --library -o FOLDER",
    "knowledge": "train --out FOLDER",
    "train": "train --out FOLDER",
}
_OF_ADAPT = {"samples": "--samples", "edit.format": "--format"}
"""Settings that `selfedit adapt` has under another name."""


def command_of(kind: str, settings: SettingsTree) -> list[str]:
    """The command's lines: the verb, then an option for each setting that is not its default.

    Args:
        kind: of the run, as its folder says.
        settings: as the folder has them. Of a path that is a whole one the last part is kept, which
            says nothing about who ran it.
    """
    of_documents = kind in ("adapt", "library")
    beginning = _BEGINNINGS.get(kind, f"experiment {kind} --out FOLDER")
    model = shlex.quote(_value_text(settings.get("model", "MODEL")))
    lines = [f"selfedit {beginning.format(model=model)}"]
    if of_documents and "own_questions" not in settings:
        lines.append("--no-own-questions")
    left_out = {"data", "own_questions", "prompting", *(["model"] if of_documents else [])}
    for key, value in _changed(settings, but=left_out):
        written = key.replace("_", "-")  # as --help shows them
        option = _OF_ADAPT.get(key, f"--{written}") if of_documents else f"--{written}"
        lines.append(f"{option} {shlex.quote(_value_text(value))}")
    # A run on documents freezes only what it uses; how it is asked may be among it or not.
    if (prompting := settings.get("prompting", "auto")) != "auto":
        lines.append(f"--prompting {shlex.quote(_value_text(prompting))}")
    return lines


def _changed(settings: SettingsTree, but: set[str]) -> Iterator[tuple[str, object]]:
    defaults = Settings().model_dump(mode="json")
    used = {name: value for name, value in settings.items() if name not in but}
    # A group that the run does not use is not in its settings: it is not set to nothing.
    known = {name: value for name, value in defaults.items() if name in used}
    for key, _, value in changes(known, used):
        yield key, value if isinstance(value, str | int | float | list) else "none"


def _value_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_value_text, cast("list[object]", value)))
    if isinstance(value, bool):
        return str(value).lower()
    path = PurePath(text := str(value))
    return path.name if path.is_absolute() or text.startswith("~") else text


def data_lines(data: Mapping[str, object]) -> list[str]:
    """What a run read, each with its SHA-256."""
    return [f"{_value_text(name)}: {digest}" for name, digest in sorted(data.items())]
