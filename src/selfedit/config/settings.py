"""All settings of a run as one model, read from TOML with dotted overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from selfedit.config.arc import ArcSettings
from selfedit.config.choice import check_name
from selfedit.config.continual import ContinualSettings
from selfedit.config.group import Group
from selfedit.config.inner import InnerSettings
from selfedit.config.judge import JudgeSettings
from selfedit.config.knowledge import AnswerSettings, EditSettings
from selfedit.config.retention import RetentionSettings
from selfedit.config.rl import EvalSettings, RLSettings
from selfedit.config.tables import CptSettings, ExternalSettings, ReplaySettings, SingleSettings
from selfedit.errors import UsageError
from selfedit.storage.bounded import BoundedReader

_RECIPE = BoundedReader("the recipe", fix="see recipes/ for working ones", max_bytes=2**20)


class Settings(Group):
    """All settings of a run."""

    model: str = "smollm2-135m"
    device: str = "auto"
    dtype: str = "auto"
    deterministic: bool = Field(
        default=False,
        description=(
            "equal bytes for equal seeds on a GPU too, by slower kernels; on a CPU they are anyway"
        ),
    )
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default=1,
        description=(
            "processes that train, answer and write, each with its own model;"
            " auto is one for every GPU, and one on a CPU, which shares the cores out itself"
        ),
    )
    sampler: Annotated[str, AfterValidator(check_name)] = Field(
        default="local",
        description=(
            "what writes self-edits: local (this process), or your own as package.module:Name"
        ),
    )
    seed: int = Field(default=0, ge=0)
    train: str = "corpus:train"
    heldout: str | None = "corpus:heldout"
    heldout_contexts: int | None = Field(default=None, ge=1)
    edit: EditSettings = EditSettings()
    inner: InnerSettings = InnerSettings()
    answer: AnswerSettings = AnswerSettings()
    judge: JudgeSettings = JudgeSettings()
    rl: RLSettings = RLSettings()
    eval: EvalSettings = EvalSettings()
    external: ExternalSettings = ExternalSettings()
    single: SingleSettings = SingleSettings()
    replay: ReplaySettings = ReplaySettings()
    cpt: CptSettings = CptSettings()
    arc: ArcSettings = ArcSettings()
    retention: RetentionSettings = RetentionSettings()
    continual: ContinualSettings = ContinualSettings()


def read_settings(
    recipe: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Defaults, then the recipe's TOML, then dotted overrides (``{"inner.optim.lr": 5e-4}``).

    Raises:
        FormatError: the recipe is missing or not TOML.
        UsageError: an unknown setting or a value out of bounds, each named.
    """
    values = {} if recipe is None else _RECIPE.toml(Path(recipe))
    return make_settings(values, recipe or "settings", overrides)


def make_settings(
    values: Mapping[str, Any],
    where: object = "settings",
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Check a tree of settings, with dotted overrides of some.

    Raises:
        UsageError: an unknown setting or a value out of bounds, each named.
    """
    tree = deepcopy(dict(values))
    for dotted, value in (overrides or {}).items():
        _set(tree, dotted.split("."), value)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_shown(e)}" for e in error.errors()]
        fix = "`selfedit train --help` lists every setting with its bounds"
        raise UsageError(
            "these settings cannot be used:\n  " + "\n  ".join(lines), where=where, fix=fix
        ) from None


def _shown(error: ErrorDetails) -> str:
    """The wrong value, unless it may be a key or hold a login."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    return "" if name in ("key_env", "url") else f" (it is {error['input']!r:.200})"


def _set(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        branch = tree.setdefault(name, {})
        if not isinstance(branch, dict):
            raise UsageError(f"{'.'.join(path)} is not a setting", where="settings")
        tree = branch
    tree[path[-1]] = value
