"""What a setting names: one of ours, by the name of its file, or anybody's, as
``package.module:Name``.

Code is imported only because a run's own settings name it: nothing that a model's folder holds is
ever a name here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selfedit.errors import UsageError

_OURS = re.compile(r"[a-z][a-z0-9_]*")
_THEIRS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Choice:
    """What one setting chooses among.

    Attributes:
        setting: its dotted name, for messages.
        package: where ours are: a module each, whose name is theirs.
        attribute: what such a module calls its implementation.
    """

    setting: str
    package: str
    attribute: str

    def names(self) -> list[str]:
        """Ours, sorted; no module of them is imported."""
        spec = find_spec(self.package)
        folders = (spec.submodule_search_locations if spec else None) or []
        files = [file for folder in folders for file in Path(folder).glob("*.py")]
        # What implementations share lies beside them, and names none of its own.
        mark = f"\n{self.attribute} = "
        return sorted(file.stem for file in files if mark in file.read_text(encoding="utf-8"))

    def load(self, name: str) -> Any:
        """What ``name`` stands for, imported.

        Raises:
            UsageError: there is no such module or name in it.
        """
        ours = {known: f"{self.package}.{known}:{self.attribute}" for known in self.names()}
        return load_named(name, ours, self.setting)


def load_named(name: str, ours: Mapping[str, str], setting: str) -> Any:
    """What a setting's value stands for, imported.

    Args:
        name: one of ours, or ``package.module:Name``.
        ours: where ours are, each as ``package.module:Name``.
        setting: its dotted name, for messages.

    Raises:
        UsageError: there is no such module or name in it.
    """
    reference = ours.get(name, name)
    if not _THEIRS.fullmatch(reference):
        fix = f"choose among {', '.join(sorted(ours))}, or name your own as package.module:Name"
        raise UsageError(f"there is no {name!r}", where=setting, fix=fix)
    module, attribute = reference.split(":")
    try:
        home = import_module(module)
    except ImportError as error:
        fix = "install it, or put its folder into PYTHONPATH"
        raise UsageError(f"{module} cannot be imported: {error}", where=setting, fix=fix) from error
    if not hasattr(home, attribute):
        fix = f"name what {module} defines"
        raise UsageError(f"{module} has no {attribute!r}", where=setting, fix=fix)
    return getattr(home, attribute)


def check_name(name: str) -> str:
    """A setting's value that may stand for code: one of our names, or ``package.module:Name``; else
    ValueError.
    """
    if not (_OURS.fullmatch(name) or _THEIRS.fullmatch(name)):
        raise ValueError(f"{name!r} is neither a name nor package.module:Name")
    return name


def check_choice(name: str, ours: tuple[str, ...]) -> str:
    """The same where ours are known without a look at the files; the message lists them."""
    if name not in ours and not _THEIRS.fullmatch(name):
        raise ValueError(f"choose among {', '.join(ours)}, or name your own as package.module:Name")
    return name


def text_or_file(value: str) -> str:
    """A text, or what the UTF-8 file holds whose path stands after ``@``; else ValueError.

    A run's frozen settings keep the text: they must not change with a file.
    """
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the text cannot be read: {error}") from None
