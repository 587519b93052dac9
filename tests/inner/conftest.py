"""Models of the inner loop's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfedit.lm.load import LanguageModel, load


@pytest.fixture(scope="session")
def small64(small_folder: Path) -> LanguageModel:
    """That model in float64, where rounding hides no mistake."""
    return load(str(small_folder), device="cpu", dtype="float64")
