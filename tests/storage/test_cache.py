"""Where the cache is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selfedit.storage.cache import cache_dir


def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SELFEDIT_CACHE", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "selfedit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "selfedit"
    monkeypatch.setenv("SELFEDIT_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "mine"
