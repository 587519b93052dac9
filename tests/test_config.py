"""Settings from a recipe and from dotted overrides; every mistake is named."""

import pytest

from selfedit.config import Settings, make_settings, read_settings
from selfedit.errors import FormatError, UsageError

RECIPE = """
seed = 7
train = "passages.json"

[inner.optim]
lr = 5e-4
epochs = 3

[rl.reward]
rule = "improves"

[edit]
format = "self-qa"
directives = {allowed = true, lr = [1e-4, 1e-3]}
"""


def written(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_without_a_recipe():
    assert read_settings() == Settings()
    assert read_settings(None, {}).inner.optim.lr == 1e-3


def test_a_recipe_changes_what_it_names_and_an_override_wins(tmp_path):
    overrides = {
        "inner.optim.lr": 2e-4,
        "rl.candidates": 3,
        "heldout": None,
        "eval.methods": ["base", "passage"],
    }
    settings = read_settings(written(tmp_path, RECIPE), overrides)
    assert (settings.seed, settings.train, settings.heldout) == (7, "passages.json", None)
    assert (settings.inner.optim.lr, settings.inner.optim.epochs, settings.inner.optim.clip) == (
        2e-4,
        3,
        1.0,
    )
    assert (settings.rl.reward.rule, settings.rl.candidates, settings.rl.rounds) == (
        "improves",
        3,
        1,
    )
    assert settings.edit.directives.allowed and settings.edit.directives.lr == (1e-4, 1e-3)
    assert settings.eval.methods == ("base", "passage")


def test_what_is_frozen_reads_back(tmp_path):
    settings = read_settings(written(tmp_path, RECIPE))
    assert make_settings(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("inner.optim.learning_rate", 1e-3),
        ("nonsense", 1),
        ("seed.x", 1),
        ("inner.optim.lr", 0.0),
        ("inner.optim.lr", 1e9),
        ("inner.optim.lr", float("nan")),
        ("inner.optim.epochs", -1),
        ("inner.optim.epochs", "many"),
        ("inner.optim.epochs", 2.5),
        ("inner.optim.schedule", "cosinus"),
        ("inner.lora.rank", 0),
        ("inner.lora.targets", []),
        ("edit.format", "poem"),
        ("edit.top_p", 0.0),
        ("edit.temperature", float("inf")),
        ("edit.directives.lr", [1e-3, 1e-4]),
        ("edit.directives.epochs", [0, 4]),
        ("rl.reward.threshold", 2),
        ("rl.reward.rule", "best"),
        ("rl.candidates", 0),
        ("heldout_contexts", 0),
        ("seed", -1),
        ("seed", None),
        ("rl", 3),
    ],
)
def test_a_wrong_setting_is_named(dotted, value):
    with pytest.raises(UsageError) as caught:
        read_settings(None, {dotted: value})
    assert dotted.split(".")[0] in str(caught.value)
    named = [line.strip().partition(": ")[0] for line in caught.value.what.splitlines()[1:]]
    # A path through something that is no table is named up to there.
    assert any(dotted.startswith(name) or name.startswith(dotted) for name in named), (
        caught.value.what
    )
    assert caught.value.exit_code == 2 and caught.value.fix


@pytest.mark.parametrize("signal", ["loglik", "proxy"])
@pytest.mark.parametrize(
    "beside", [{"rl.racing": True, "rl.repeats": 2}, {"rl.reward.retention": 0.5}]
)
def test_another_reward_is_refused_beside_racing_and_retention(signal, beside):
    read_settings(None, beside)
    with pytest.raises(UsageError, match=r"set rl\.reward\.signal = accuracy"):
        read_settings(None, {**beside, "rl.reward.signal": signal})


def test_every_wrong_setting_is_listed_with_its_value():
    with pytest.raises(UsageError) as caught:
        read_settings(None, {"rl.candidates": 0, "edit.format": "poem"})
    assert "rl.candidates: " in caught.value.what and "edit.format: " in caught.value.what
    assert "'poem'" in caught.value.what


def test_a_dotted_name_below_a_value_of_the_recipe(tmp_path):
    with pytest.raises(UsageError, match=r"seed\.x is not a setting"):
        read_settings(written(tmp_path, RECIPE), {"seed.x": 1})


def test_a_recipe_that_is_not_toml_is_named_with_its_line(tmp_path):
    path = written(tmp_path, "seed = 1\nrl = {\n")
    with pytest.raises(FormatError, match=r"not TOML.*line") as caught:
        read_settings(path)
    assert caught.value.where == str(path) and caught.value.exit_code == 3


def test_a_recipe_that_is_not_text_or_not_there(tmp_path):
    path = tmp_path / "recipe.toml"
    with pytest.raises(FormatError, match="cannot be read"):
        read_settings(path)
    path.write_bytes(b"seed = \xff\xfe")
    with pytest.raises(FormatError, match="not TOML"):
        read_settings(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_settings(tmp_path)


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Settings().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_how_a_model_is_asked_may_be_called_the_models_own(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('model = {name = "m", prompting = "plain"}\n')
    settings = read_settings(recipe)
    assert (settings.model, settings.prompting) == ("m", "plain")
    again = read_settings(recipe, {"model.prompting": "chat", "model": "n"})
    assert (again.model, again.prompting) == ("n", "chat")
    assert read_settings(None, {"prompting": "plain"}).prompting == "plain"
    with pytest.raises(UsageError, match="prompting"):
        read_settings(None, {"model.prompting": "loud"})
    recipe.write_text('model = {name = "m", promting = "plain"}\n')
    with pytest.raises(UsageError, match="model"):
        read_settings(recipe)


@pytest.mark.parametrize(
    ("dotted", "value"), [("workers", "many"), ("workers", "3000"), ("rl.mstep.merge", "maybe")]
)
def test_a_setting_of_several_types_is_named_once_and_as_it_is_written(dotted, value):
    with pytest.raises(UsageError) as caught:
        read_settings(None, {dotted: value})
    lines = caught.value.what.splitlines()[1:]
    assert len(lines) == 1 and lines[0].startswith(f"  {dotted}: "), lines
    assert "; or Input should be 'auto'" in lines[0] and repr(value) in lines[0]


def test_what_is_wrong_is_said_in_words_of_recipes():
    wrong = {"edit.format": "poem", "inner.lora.targets": "q_proj", "dtype": "float12"}
    with pytest.raises(UsageError) as caught:
        read_settings(None, wrong)
    what = caught.value.what
    assert "edit.format: choose among implications," in what and "should be a list" in what
    assert "dtype: Input should be 'auto', 'float32'" in what
    assert "Value error" not in what and "tuple" not in what
