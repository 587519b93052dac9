import tomllib
from enum import Enum
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from selfedit.errors import RunFolderError, SettingsChanged, UsageError
from selfedit.run.settings import (
    REDACTED,
    UNSET,
    changes,
    check_unchanged,
    frozen,
    read_frozen,
    write_settings,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.booleans() | st.integers() | st.floats() | TEXT
NAMES = TEXT.filter(lambda name: "token" not in name.lower())
VALUES = st.recursive(
    SCALARS | st.lists(SCALARS, max_size=3),
    lambda inner: (
        st.dictionaries(NAMES, inner | st.none(), max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
SETTINGS = st.dictionaries(NAMES, VALUES | st.none(), max_size=5)


class Rule(Enum):
    BEST = "best"


@given(SETTINGS)
def test_settings_survive_the_file_and_equal_themselves(settings):
    plain = frozen(settings)
    back = tomllib.loads(tomli_w.dumps(plain).encode().decode())
    assert changes(back, plain) == []
    assert changes(plain, frozen(settings)) == []


@given(
    SETTINGS,
    st.lists(st.sampled_from(["inner", "optim", "a.b", "ü"]), min_size=1, max_size=3),
    st.integers(),
)
def test_one_changed_value_is_the_one_that_is_named(settings, path, number):
    def with_value(value):
        table = {**settings}
        inner = table
        for name in path[:-1]:
            inner[name] = {}
            inner = inner[name]
        inner[path[-1]] = value
        return frozen(table)

    dotted = ".".join(f'"{name}"' if name in ("a.b", "ü") else name for name in path)
    assert changes(with_value(number), with_value(number + 1)) == [(dotted, number, number + 1)]
    assert changes(with_value(None), with_value(number)) == [(dotted, UNSET, number)]
    assert changes(with_value(number), with_value(None)) == [(dotted, number, UNSET)]


def test_what_counts_as_a_change():
    def same(old, new):
        return not changes(frozen({"a": old}), frozen({"a": new}))

    assert (
        same(1, 1.0)
        and same(float("nan"), float("nan"))
        and same((1, 2), [1, 2])
        and same(Rule.BEST, "best")
    )
    assert same({"x": None}, {}) and same({}, None) and same([{"x": 1}], [{"x": 1, "y": None}])
    assert (
        not same(1, True)
        and not same("1", 1)
        and not same([1, 2], [2, 1])
        and not same([1], [1, 1])
    )
    assert not same([{"x": 1}], [{"x": 2}]) and not same({"x": 1}, 1) and not same([], None)
    assert frozen({"x": Path("data/a.json")}) == {"x": "data/a.json"}


def test_where_and_how_many_train_together_may_change_at_a_resume(tmp_path):
    """What may differ is told; what may not is named alone."""
    stored = frozen({"workers": 1, "inner": {"group": "auto"}, "seed": 0})
    wished = frozen({"workers": 2, "inner": {"group": 4}, "seed": 0})
    assert check_unchanged(stored, stored, tmp_path) == []
    assert check_unchanged(stored, wished, tmp_path) == [
        'inner.group: "auto" → 4',
        "workers: 1 → 2",
    ]
    with pytest.raises(SettingsChanged) as caught:
        check_unchanged(stored, {**wished, "seed": 1}, tmp_path)
    assert "seed: 0 → 1" in str(caught.value) and "workers" not in str(caught.value)


def test_the_message_names_every_key_with_both_values_and_the_remedy():
    old = frozen({"inner": {"optim": {"lr": 1e-3}, "rank": 8}, "seed": 0})
    new = frozen(
        {"inner": {"optim": {"lr": 5e-4}, "rank": 8, "racing": True}, "seed": 1, "rule": "best"}
    )
    with pytest.raises(SettingsChanged) as caught:
        check_unchanged(old, new, Path("runs/one/config.toml"))
    assert str(caught.value).splitlines() == [
        "this run was started with other settings:",
        "    inner.optim.lr: 0.001 → 0.0005",
        "    inner.racing: (not set) → true",
        '    rule: (not set) → "best"',
        "    seed: 0 → 1",
        "  where: runs/one/config.toml",
        (
            "  to fix: put the old values back to go on with this run, or give a new folder to"
            " start another"
        ),
    ]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "openai-api-key",
        "token",
        "hf_token",
        "accessToken",
        "password",
        "judge_secret",
    ],
)
def test_secrets_are_not_written(tmp_path, name):
    written = frozen(
        {
            "judge": {name: "hunter2", "more": [{name: ("hunter2",)}]},
            name: {"user": "hunter2", "pin": 77},
        }
    )
    write_settings(tmp_path / "config.toml", written)
    text = (tmp_path / "config.toml").read_text()
    assert "hunter2" not in text and "77" not in text and REDACTED in text
    assert changes(written, frozen({"judge": {name: "other", "more": [{name: ("x",)}]}})) == []


def test_what_only_sounds_like_a_secret_is_written():
    settings = {
        "max_new_tokens": 64,
        "eos_token": "</s>",
        "api_key_env": "KEY",
        "tokenizer": "t",
        "tokens": 1,
    }
    assert frozen(settings) == settings


def test_a_login_in_an_address_is_not_written():
    assert frozen({"url": "https://me:hunter2@host:8000/v1"}) == {
        "url": f"https://{REDACTED}@host:8000/v1"
    }
    assert frozen({"url": "https://host/v1?at=a@b"}) == {"url": "https://host/v1?at=a@b"}


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, [None], b"x", "\ud800", {"deep": [{"er": {1}}]}]
)
def test_what_has_no_place_in_toml_is_refused_by_name(value):
    with pytest.raises(UsageError, match="inner"):
        frozen({"inner": value})


def test_a_missing_or_broken_file_is_explained(tmp_path):
    with pytest.raises(RunFolderError, match="missing"):
        read_frozen(tmp_path / "config.toml")
    for broken in (b"a = ", b"\xff\xfe"):
        (tmp_path / "config.toml").write_bytes(broken)
        with pytest.raises(RunFolderError, match="cannot be read"):
            read_frozen(tmp_path / "config.toml")
