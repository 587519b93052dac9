"""What a setting names: one of ours, by the name of its file, or anybody's, as
``package.module:Name``.

Code is imported only because a run's own settings name it: nothing that a model's folder holds is
ever a name here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from selfedit.errors import UsageError

_OURS = re.compile(r"[a-z][a-z0-9_]*")
_THEIRS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

HELPERS = ("base", "shared")
"""Modules of such a package that are no choice: what the others are, or are wrapped in."""


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
        found = iter_modules(spec.submodule_search_locations if spec else None)
        return sorted(module.name for module in found if module.name not in HELPERS)

    def load(self, name: str) -> Any:
        """What ``name`` stands for, imported.

        Raises:
            UsageError: there is no such module or name in it.
        """
        if _THEIRS.fullmatch(name):
            return self._load(*name.split(":"))
        if not _OURS.fullmatch(name) or name not in self.names():
            fix = f"choose among {', '.join(self.names())}, or name your own as package.module:Name"
            raise UsageError(f"there is no {name!r}", where=self.setting, fix=fix)
        return self._load(f"{self.package}.{name}", self.attribute)

    def _load(self, module: str, attribute: str) -> Any:
        try:
            return getattr(import_module(module), attribute)
        except ImportError as error:
            fix = "install it, or put its folder into PYTHONPATH"
            raise UsageError(
                f"{module} cannot be imported: {error}", where=self.setting, fix=fix
            ) from error
        except AttributeError:
            fix = f"name what {module} defines"
            raise UsageError(
                f"{module} has no {attribute!r}", where=self.setting, fix=fix
            ) from None


def check_name(name: str) -> str:
    """A setting's value that may stand for code: one of our names, or ``package.module:Name``; else
    ValueError.
    """
    if not (_OURS.fullmatch(name) or _THEIRS.fullmatch(name)):
        raise ValueError(f"{name!r} is neither a name nor package.module:Name")
    return name
