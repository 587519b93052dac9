"""A run's settings as they are frozen in its folder: plain, without secrets, compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import tomli_w

from selfedit.errors import RunFolderError, SettingsChanged, UsageError
from selfedit.storage.bounded import BoundedReader
from selfedit.storage.files import write_atomic

REDACTED = "<redacted>"
"""Stands in the folder for a value that must not be written down."""

_SECRET = re.compile(
    r"(^|_)(api_?key|access_?key|secret_?key|private_?key|secret|password|passwd|passphrase"
    r"|credentials?|authorization|token)$"
)
_OF_THE_VOCABULARY = re.compile(r"(^|_)(bos|cls|eos|mask|pad|sep|stop|unk)_token$")
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_FIX = "restore it from a copy, or start in a new folder"
MAY_CHANGE = frozenset(
    {
        "workers",
        "inner.group",
        "engine.kind",
        "engine.address",
        "engine.gpus",
        "engine.cpus",
        "engine.tries",
        "engine.start_seconds",
        "run.trackers",
        "run.project",
        "vllm.url",
        "vllm.model",
        "vllm.key_env",
        "vllm.concurrency",
        "vllm.attempts",
        "vllm.timeout",
        "vllm.folder",
        "vllm.server_folder",
        "vllm.tolerance",
    }
)
"""Where inner loops and texts are made and how many together: a resumed run may have others. What
they come to depends on it in the last bits only. And who is told of it, which changes nothing."""
_TOLD = "run."
UNSET = object()
"""Stands for a value that is not there."""


SettingsTree = Mapping[str, Any]  # groups within groups, as TOML holds them
Change = tuple[str, Any, Any]  # a dotted key, its value before and its value now


def frozen(settings: SettingsTree) -> dict[str, Any]:
    """Settings as they are written: values of TOML only, None left out, secrets replaced by
    `REDACTED`.

    Secret is what stands under a key named like ``api_key``, ``password``, ``token`` or
    ``hub_token``, and the login in a URL. ``max_new_tokens``, ``eos_token`` and ``api_key_env``
    (the name of a variable) are not.

    Raises:
        UsageError: if a value has no place in TOML.
    """
    return _table(settings, "", secret=False)


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write `frozen` settings as TOML, atomically."""
    write_atomic(path, tomli_w.dumps(settings).encode())


def read_frozen(path: Path) -> dict[str, Any]:
    """Read settings written by `write_settings`.

    Raises:
        RunFolderError: if the file is not there or not TOML.
    """
    if not path.exists():
        raise RunFolderError("the run's settings are missing", where=path, fix=_FIX)
    return BoundedReader(
        "the run's settings", error=RunFolderError, fix=_FIX, max_bytes=2**22
    ).toml(path)


def check_unchanged(stored: SettingsTree, wished: SettingsTree, where: Path) -> list[str]:
    """Compare two `frozen` settings.

    Returns:
        What differs of `MAY_CHANGE` and bears on numbers, as `described`.

    Raises:
        SettingsChanged: if others differ; names every dotted key with its stored and its given
            value.
    """
    differing = changes(stored, wished)
    differences = [_described(change) for change in differing if change[0] not in MAY_CHANGE]
    if not differences:
        return [_described(change) for change in differing if not change[0].startswith(_TOLD)]
    lines = "".join(f"\n    {line}" for line in differences)
    raise SettingsChanged(
        f"this run was started with other settings:{lines}",
        where=where,
        fix="put the old values back to go on with this run, or give a new folder to start another",
    )


def described(stored: SettingsTree, wished: SettingsTree) -> list[str]:
    """What differs, one line a key: ``inner.optim.lr: 0.001 → 0.0005``."""
    return [_described(change) for change in changes(stored, wished)]


def _described(change: Change) -> str:
    key, old, new = change
    return f"{key}: {_setting_text(old)} → {_setting_text(new)}"


def changes(stored: SettingsTree, wished: SettingsTree) -> list[Change]:
    """Every (dotted key, stored value, given value) that differs, sorted; no value is `UNSET`."""
    old, new = dict(_leaves(stored)), dict(_leaves(wished))
    keys = sorted(old.keys() | new.keys())
    pairs = [(key, old.get(key, UNSET), new.get(key, UNSET)) for key in keys]
    return [(key, before, after) for key, before, after in pairs if not _same(before, after)]


def flat(settings: SettingsTree) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    return _leaves(settings)


def _leaves(table: SettingsTree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; None is no value, and an empty table equals one that is not there."""
    for key, value in table.items():
        name = prefix + (
            key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
        )
        if isinstance(value, Mapping):
            yield from _leaves(value, name + ".")
        elif value is not None:
            yield name, value


def _same(old: Any, new: Any) -> bool:
    """Equality where 1 is 1.0 but not true, NaN is NaN; a secret given or not is no change."""
    if old is UNSET or new is UNSET:
        return REDACTED in (old, new)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return not changes(old, new)
    if isinstance(old, bool) is not isinstance(new, bool):
        return False
    return old == new or (old != old and new != new)


def _setting_text(value: Any) -> str:
    text = "(not set)" if value is UNSET else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def _table(table: Mapping[Any, Any], prefix: str, secret: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if not isinstance(key, str):
            raise UsageError(f"a setting's name is not text: {key!r}", where=name)
        if value is not None:
            plain[key] = _value(value, name, secret or _is_secret(key))
    return plain


def _is_secret(key: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", key).lower()
    return bool(_SECRET.search(words)) and not _OF_THE_VOCABULARY.search(words)


def _value(value: Any, name: str, secret: bool) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Mapping):
        return _table(value, name + ".", secret)
    if isinstance(value, list | tuple):
        return [_value(item, name, secret) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | str | Path) and secret:
        return REDACTED
    if isinstance(value, int | float):
        return value
    if isinstance(value, str | Path):
        return _text(str(value), name)
    raise UsageError(
        f"a setting's value cannot be written to config.toml: {value!r:.80}", where=name
    )


def _text(text: str, name: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"a setting holds text that is not Unicode: {text!r:.80}", where=name
        ) from error
    return _URL_LOGIN.sub(REDACTED, text)
