"""The lowest versions that pyproject.toml states in an environment of their own; the newest are those
of `tests/package/test_wheel.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

import versions


def test_every_direct_dependency_states_its_lowest_version() -> None:
    for requirement in versions.direct_requirements():
        assert versions.lowest(requirement).startswith(f"{requirement.name}==")
    assert versions.lowest(Requirement("rich>=13.9,<15")) == "rich==13.9"
    with pytest.raises(ValueError, match="states no lowest"):
        versions.lowest(Requirement("rich"))


def test_what_is_asked_of_pip_has_one_torch_that_is_pinned() -> None:
    for which in ("lowest", "newest"):
        asked = [line for line in versions.wished(which, "9.9") if line.startswith("torch")]
        assert asked == ["torch==9.9"]
    assert "==" not in "".join(versions.wished("newest", "9.9")[1:])


@pytest.mark.slow
def test_the_quick_tests_pass_with_the_lowest_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        python = versions.make_environment(tmp_path, "lowest", versions.pinned_torch())
    except versions.RegistryOutOfReach as error:
        pytest.skip(str(error))
    # What pytest-xdist tells its workers is not for a pytest of its own.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    assert versions.run_tests(python, versions.TESTS) == 0
