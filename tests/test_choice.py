"""Names in the settings that stand for code: ours by the name of a file, anybody's as
package.module:Name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selfedit.config import REMEDY_CHOICE, make_settings
from selfedit.config.choice import Choice
from selfedit.errors import UsageError
from selfedit.rl.rewards.base import REWARDS, reward_of
from selfedit.rl.updates.base import UPDATES
from selfedit.sampling.base import SAMPLERS


@pytest.mark.parametrize(
    "choice", [REWARDS, UPDATES, SAMPLERS, REMEDY_CHOICE], ids=lambda choice: choice.setting
)
def test_every_one_of_ours_can_be_loaded_by_its_name(choice: Choice) -> None:
    assert choice.names() and "base" not in choice.names()
    for name in choice.names():
        assert callable(choice.load(name))


def test_what_they_share_is_none_of_them() -> None:
    assert SAMPLERS.names() == ["local", "vllm"]


def test_the_defaults_are_among_them() -> None:
    settings = make_settings({})
    assert settings.rl.reward.signal in REWARDS.names()
    assert settings.rl.update in UPDATES.names() and settings.sampler in SAMPLERS.names()


def test_one_of_ones_own_needs_no_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_rewards.py").write_text(
        "class Mine:\n    def __init__(self, settings): self.settings = settings\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = make_settings({"rl": {"reward": {"signal": "their_rewards:Mine"}}})
    assert "their_rewards" not in sys.modules, "naming it is not importing it"
    assert type(reward_of(settings)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magic", "there is no 'magic'"),
        ("no_such_package.rewards:Mine", "cannot be imported"),
        ("selfedit.rl.rewards.accuracy:Missing", "has no 'Missing'"),
        ("base", "there is no 'base'"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        reward_of(make_settings({"rl": {"reward": {"signal": name}}}))
    assert "rl.reward.signal" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../up", "os.system", "a:b:c", "a:b()", "", "Accuracy", "a/b:C", ":C"]
)
def test_what_cannot_be_a_name_is_refused_with_the_settings(name: str) -> None:
    with pytest.raises(UsageError, match=r"rl\.reward\.signal"):
        make_settings({"rl": {"reward": {"signal": name}}})
